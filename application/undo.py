"""Undo: what one command changed is changed back by other commands, so every rule holds for those, too.

Decided from the log alone: the events of the command say what it changed and how it was before. A thing that was
changed again later is not touched, unless that later change was undone itself. All of a command is undone, or nothing.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import reduce
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec.structs import replace

from application.decider import CLIENT, NODE, Aggregate, Batch, load_stream
from domain import client, dependency, errors, node, partition, reservation, workflow
from domain.cycle import CommandRefused, PoliciesAdopted
from domain.job import commands as c
from domain.job import events as e
from domain.messages import Command, Event, Meta, Recorded, StreamId, topic_of
from domain.policies import Policies
from domain.undo import UNDO, CommandUndone, undo_stream, undone_by

Do = Callable[[Batch, Command, Meta], object]
"""Carries one command out on a batch."""


class Undo(Command, frozen=True, kw_only=True, tag="undo"):
    """Change back what one command changed, all of it or nothing."""

    command_id: str
    why: str = ""


class Facet(NamedTuple):
    """One thing about a stream that commands change."""

    what: str
    kinds: tuple[type[Event], ...]
    """Facts that change it."""
    before: Callable[[Batch, Recorded], Any]
    """How it was before such a fact."""
    after: Callable[[Any], Any]
    """How it is after it."""
    back: Callable[[Any, Any, str], Iterable[Command | Policies]]
    """What makes it as it was, from a fact about the same stream, the value before, and why."""
    resets: tuple[type[Event], ...] = ()
    """Facts that change it on their way; they cannot be undone."""


def undo(batch: Batch, command: Undo, meta: Meta, do: Do, adopt: Callable[[Policies], Command]) -> None:
    """Stages what changes a command's changes back, and the fact that it was undone.

    CommandNotFound, NothingToUndo, UndoForbidden, AlreadyUndone or UndoOvertaken say why not, and what would help.
    """
    found = _events_of(batch, command.command_id, meta)
    backs = _backs(batch, command, found)
    said = Meta(meta.actor, meta.command_id, f"{UNDO}{command.command_id}", meta.cycle)
    start = len(batch.events)
    try:
        for back in backs:
            do(batch, adopt(back) if isinstance(back, Policies) else back, said)
    except (errors.NotAllowed, errors.NotFound, errors.Invalid) as error:
        raise errors.UndoForbidden(command_id=command.command_id, problem=error.message) from error
    changes = len(batch.events) - start
    if not changes:
        raise errors.NothingToUndo(command_id=command.command_id)
    undone = CommandUndone(
        at_ms=batch.now_ms,
        command_id=command.command_id,
        actor=found[0].meta.actor,
        changes=changes,
        why=command.why,
    )
    batch.record(undo_stream(batch.now_ms), undone, said)


# -- what a command did ------------------------------------------------------------------------------------------------


def _events_of(batch: Batch, command_id: str, meta: Meta) -> list[Recorded]:
    """What a command changed, stored or staged before in this batch. No command can undo itself."""
    if not command_id or command_id == meta.command_id:
        raise errors.CommandNotFound(command_id=command_id)
    stored = batch.log.of_command(command_id)
    staged = [each for each in batch.events if each.meta.command_id == command_id]
    found = [each for each in (*stored, *staged) if type(each.event) is not CommandRefused]
    if found:
        return found
    if stored or staged or batch.log.remembered(command_id) is not None:
        raise errors.NothingToUndo(command_id=command_id)
    raise errors.CommandNotFound(command_id=command_id)


def _backs(batch: Batch, command: Undo, found: list[Recorded]) -> list[Command | Policies]:
    """What changes all of it back."""
    changes: dict[tuple[StreamId, str], list[Recorded]] = {}
    for recorded in found:
        facet = _FACETS.get(type(recorded.event))
        if facet is not None:
            changes.setdefault((recorded.stream, facet.what), []).append(recorded)
        elif type(recorded.event) not in _NEEDS_NONE:
            raise errors.UndoForbidden(command_id=command.command_id, problem=_no_way_back(found))
    why = f"undoes {command.command_id}" + (f": {command.why}" if command.why else "")
    return [back for change in changes.values() for back in _back(batch, command.command_id, change, why)]


def _back(batch: Batch, command_id: str, change: list[Recorded], why: str) -> Iterable[Command | Policies]:
    """What changes one thing back; nothing if the command left it as it was."""
    first, last = change[0], change[-1]
    facet = _FACETS[type(first.event)]
    if not _differs(batch, facet, change):
        return ()
    _check_still_so(batch, command_id, facet, last)
    return facet.back(first.event, facet.before(batch, first), why)


def _no_way_back(found: Iterable[Recorded]) -> str:
    """What of it cannot be changed back, and what helps instead."""
    kinds = {type(each.event): each for each in found}
    for kind, (did, helps) in _INSTEAD.items():
        if kind in kinds:
            return f"it {did} {kinds[kind].stream}; {helps}"
    other = next(each for kind, each in kinds.items() if kind not in _FACETS and kind not in _NEEDS_NONE)
    return f"it led to {topic_of(type(other.event))} in {other.stream}, which nothing takes back"


# -- what has happened since ---------------------------------------------------------------------------------------


def _check_still_so(batch: Batch, command_id: str, facet: Facet, last: Recorded) -> None:
    """AlreadyUndone or UndoOvertaken unless the newest change that stands is that of the command.

    Undoing a change makes stand again what stood before it; undoing one that is older than the command is a new change.
    """
    standing: tuple[str, ...] = (command_id,)
    before: dict[str, tuple[str, ...]] = {command_id: ()}
    by: dict[str, Recorded] = {}
    undone = last
    for each in _later(batch, facet, last):
        other, undoes, stood = each.meta.command_id, undone_by(each.meta.cause), standing
        before.setdefault(other, standing)
        by[other] = each
        standing = before.get(undoes, (*standing, other))
        if command_id in stood and command_id not in standing:
            undone = each
    if command_id not in standing:
        raise errors.AlreadyUndone(command_id=command_id, undone_by=undone.meta.command_id, **_who(undone))
    if standing[-1] != command_id:
        newest = by[standing[-1]]
        what = f"{facet.what} of {last.stream}" if facet is not _POLICIES else facet.what
        raise errors.UndoOvertaken(command_id=command_id, what=what, by=newest.meta.command_id, **_who(newest))


def _later(batch: Batch, facet: Facet, last: Recorded) -> list[Recorded]:
    """The last fact of each later command that left the same thing as it was not before.

    Nothing is read when the stream has not grown since.
    """
    stream, version = last.stream, last.version
    staged = batch.streams.get(stream)
    if (batch.farm.versions.get(stream) if staged is None else staged.version) == version:
        return []
    grown = [*batch.log.stream(stream, version), *_staged(batch, stream, version)]
    relevant = (each for each in grown if type(each.event) in (*facet.kinds, *facet.resets))
    of_commands = [list(of_command) for _, of_command in groupby(relevant, lambda each: each.meta.command_id)]
    return [of_command[-1] for of_command in of_commands if _differs(batch, facet, of_command)]


def _differs(batch: Batch, facet: Facet, change: list[Recorded]) -> bool:
    """Whether a thing is another after these facts of one command."""
    if any(type(each.event) in facet.resets for each in change):
        return True
    return bool(facet.before(batch, change[0]) != facet.after(change[-1].event))


def _staged(batch: Batch, stream: StreamId, after: int = 0) -> list[Recorded]:
    return [each for each in batch.events if each.stream == stream and each.version > after]


def _who(recorded: Recorded) -> dict[str, str]:
    at = datetime.fromtimestamp(recorded.event.at_ms / 1000, UTC)
    return {"actor": recorded.meta.actor, "at": at.strftime("%Y-%m-%d %H:%M:%S UTC")}


# -- what can be changed back --------------------------------------------------------------------------------------


def _state_before(batch: Batch, aggregate: Aggregate, recorded: Recorded) -> Any:
    """The state of a stream just before one of its events."""
    state = load_stream(batch.log, aggregate, recorded.stream, recorded.version - 1).state
    earlier = (each.event for each in _staged(batch, recorded.stream) if each.version < recorded.version)
    return reduce(aggregate.evolve, earlier, state)


def _setting(
    what: str, kinds: tuple[type[Event], type[Command]], name: str, value_name: str, before_name: str
) -> Facet:
    """A value of what a field names; its facts say how it was before."""
    fact, sets = kinds

    def back(event: Event, value: Any, why: str) -> Iterable[Command]:
        kind: Callable[..., Command] = sets
        return (kind(**{name: getattr(event, name), value_name: value}, why=why),)

    return Facet(
        what,
        (fact,),
        before=lambda batch, recorded: getattr(recorded.event, before_name),
        after=attrgetter(value_name),
        back=back,
    )


def _switch(
    what: str,
    on: tuple[type[Event], type[Command]],
    off: tuple[type[Event], type[Command]],
    name: str,
    resets: tuple[type[Event], ...] = (),
) -> Facet:
    """Something that is so or not, of what a field names."""
    turns_on, turns_off = on[0], off[0]

    def back(event: Event, value: bool, why: str) -> Iterable[Command]:
        kind: Callable[..., Command] = on[1] if value else off[1]
        return (kind(**{name: getattr(event, name)}, why=why),)

    return Facet(
        what,
        (turns_on, turns_off),
        before=lambda batch, recorded: type(recorded.event) is turns_off,
        after=lambda event: type(event) is turns_on,
        back=back,
        resets=resets,
    )


def _drained_why(batch: Batch, recorded: Recorded) -> str | None:
    """Why a node was drained before it no longer was; None for one that was not."""
    if type(recorded.event) is node.NodeDrained:
        return None
    return str(_state_before(batch, NODE, recorded).why)


def _drain_back(event: Any, drained_why: str | None, why: str) -> Iterable[Command]:
    """A node is drained for the reason for which it was, which is what people want to read beside it."""
    yield node.UndrainNode(node_id=event.node_id, why=why)  # should it be drained for another reason
    if drained_why is not None:
        yield node.DrainNode(node_id=event.node_id, why=drained_why)


def _policies_before(batch: Batch, recorded: Recorded) -> Policies:
    """The set in force before another was adopted; a farm begins with the one that is built in."""
    version = recorded.version - 1
    found = [
        *batch.log.stream(recorded.stream, version - 1, version),
        *(each for each in _staged(batch, recorded.stream) if each.version == version),
    ]
    return _unnumbered(found[-1].event) if found else replace(Policies(), version=0)


def _unnumbered(event: Any) -> Policies:
    assert isinstance(event, PoliciesAdopted)
    return replace(event.policies, version=0)


_POLICIES = Facet(
    "the set of policies", (PoliciesAdopted,), _policies_before, _unnumbered, lambda _, before, why: (before,)
)

_ALL = (
    _setting("the priority", (e.JobPriorityChanged, c.PrioritizeJob), "job_id", "priority", "before"),
    _setting("the deadline", (e.JobDeadlineChanged, c.SetDeadline), "job_id", "deadline_ms", "before_ms"),
    _setting("the protection", (e.JobProtectionChanged, c.ProtectJob), "job_id", "protection", "before"),
    _setting(
        "the protection",
        (client.ClientProtectionChanged, client.ProtectClient),
        "client_id",
        "protection",
        "before",
    ),
    _switch("the hold", (e.JobHeld, c.HoldJob), (e.JobUnheld, c.UnholdJob), "job_id"),
    _switch("the pause", (e.JobPaused, c.PauseJob), (e.JobResumed, c.ResumeJob), "job_id", resets=(e.JobRetried,)),
    Facet(
        "what may be used",
        (client.ClientSharesChanged,),
        lambda batch, recorded: _state_before(batch, CLIENT, recorded).shares,
        lambda event: event.shares,
        lambda event, before, why: (client.ChangeShares(client_id=event.client_id, shares=before, why=why),),
    ),
    _switch(
        "the suspension",
        (client.ClientSuspended, client.SuspendClient),
        (client.ClientReinstated, client.ReinstateClient),
        "client_id",
    ),
    Facet(
        "the drain",
        (node.NodeDrained, node.NodeUndrained),
        _drained_why,
        lambda event: event.why if type(event) is node.NodeDrained else None,
        _drain_back,
    ),
    _POLICIES,
)
_FACETS: dict[type[Event], Facet] = {kind: facet for facet in _ALL for kind in facet.kinds}

_NEEDS_NONE: tuple[type[Event], ...] = (CommandUndone, e.ClaimReleased)
"""What needs no way back: it says only what was done, or the next cycle decides it anew."""

_INSTEAD: dict[type[Event], tuple[str, str]] = {
    workflow.WorkflowSubmitted: ("submitted", "`milepost cancel` ends its jobs"),
    e.JobSubmitted: ("submitted", "`milepost cancel` ends it"),
    workflow.WorkflowCancelled: ("cancelled", "`milepost retry` opens its jobs again"),
    e.JobCancelled: ("cancelled", "`milepost retry` opens it again"),
    e.JobRetried: ("opened again", "`milepost cancel` ends it"),
    e.TasksStopping: ("stopped tasks of", "they wait again and start by themselves"),
    client.ClientRegistered: ("made known", "`milepost client suspend` takes no more work from it"),
    partition.PartitionDefined: ("defined", "`milepost partition remove` removes it"),
    partition.PartitionChanged: ("changed the terms of", "`milepost partition set` changes them again"),
    partition.PartitionRemoved: ("removed", "`milepost partition add` makes it again"),
    reservation.ReservationMade: ("made", "`milepost reserve cancel` takes it back"),
    reservation.ReservationChanged: ("moved the end of", "`milepost reserve extend` moves it again"),
    reservation.ReservationEnded: ("ended a window of", "`milepost reserve` makes another one"),
    reservation.ReservationCancelled: ("cancelled", "`milepost reserve` makes another one"),
    dependency.DependencyDeclared: ("declared", "`milepost bypass` lets the job start without it"),
    dependency.DependencyBypassed: ("bypassed", "`milepost hold` keeps the job from starting further tasks"),
    node.NodeRegistered: ("registered", "`milepost drain` places nothing more there"),
    node.NodeMaintenanceStarted: ("began the maintenance of", "the command end-maintenance ends it"),
    node.NodeMaintenanceEnded: ("ended the maintenance of", "the command start-maintenance begins it again"),
    node.NodeQuarantined: ("quarantined", "the command recover-node trusts it again"),
    node.NodeRecovered: ("trusted again", "the command quarantine-node sets it aside"),
}
"""What has no command that changes it back, the most telling first: what was done, and what helps."""
