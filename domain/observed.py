"""Observed: what somebody outside says of a thing that this core has no word for, kept as the last value of each name.

Other programs hold jobs, nodes and ledgers of their own and change them as they like. Where the core has a word for a
change (a priority, a placement, an end), that word is recorded; `ObservedExternally` is for the rest.
"""

from typing import Any

from domain.messages import Command, Event, StreamId, Value


class ObservedExternally(Event, frozen=True, kw_only=True, tag="external.observed"):
    """Something outside has other values than before."""

    stream_id: StreamId
    what: str
    """What sort of thing it is, in one word such as `job` or `ledger`."""
    changes: dict[str, Any] = {}
    """Name to value as JSON has them; names that are not mentioned are as they were."""
    forgotten: tuple[str, ...] = ()
    """Names that it has no longer."""
    why: str = ""


class Observe(Command, frozen=True, kw_only=True, tag="observe-external"):
    """Take note of what something outside has become."""

    stream_id: StreamId
    what: str
    changes: dict[str, Any] = {}
    forgotten: tuple[str, ...] = ()
    why: str = ""


class Observed(Value, frozen=True):
    """The last value of each name: the fold of what was observed."""

    what: str
    values: dict[str, Any] = {}


def external_stream(what: str, name: str) -> StreamId:
    """The stream of a thing outside, by its sort and the name that it has there."""
    return f"external-{what}-{name}"


def decide(known: Observed | None, command: Observe, now_ms: int) -> tuple[ObservedExternally, ...]:
    """Only what differs from the last time is a fact."""
    values = {} if known is None else known.values
    changes = {name: value for name, value in command.changes.items() if name not in values or values[name] != value}
    forgotten = tuple([name for name in command.forgotten if name in values])
    if known is not None and not changes and not forgotten:
        return ()
    return (
        ObservedExternally(
            at_ms=now_ms,
            stream_id=command.stream_id,
            what=command.what,
            changes=changes,
            forgotten=forgotten,
            why=command.why,
        ),
    )


def evolve(known: Observed | None, event: ObservedExternally) -> Observed:
    """The values after one more fact."""
    values = event.changes if known is None else {**known.values, **event.changes}
    if event.forgotten:
        values = {name: value for name, value in values.items() if name not in event.forgotten}
    return Observed(event.what, values)
