"""Scenarios for any aggregate with `decide` and `evolve`: given these facts, when that is asked, then this follows.

    given(submitted(), placed()).when(CancelJob(job_id="job-1")).then(JobCancelled(at_ms=NOW, job_id="job-1"), ...)

An aggregate is anything that has the two functions as attributes, usually its module.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any, Protocol

import msgspec

from domain.catalog import AnyEvent
from domain.errors import TaskSchedulerError
from domain.messages import Command, Event
from tests.builders import NOW

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyEvent).decode


class Decider(Protocol):
    """The two functions of an aggregate."""

    decide: Callable[[Any, Any, int], tuple[Any, ...]]
    evolve: Callable[[Any, Any], Any]


class Given:
    """An aggregate after some facts."""

    def __init__(self, decider: Decider, facts: tuple[Event, ...]) -> None:
        self.decider, self.facts = decider, facts
        self.state: Any = reduce(decider.evolve, facts, None)

    def when(self, command: Command, at: int = NOW) -> "When":
        """Somebody asks for something at a given time."""
        return When(self, command, at)


class When:
    """What a decider answers to one command."""

    def __init__(self, before: Given, command: Command, at: int) -> None:
        self.before, self.command = before, command
        self.facts: tuple[Event, ...] = ()
        self.refusal: TaskSchedulerError | None = None
        try:
            self.facts = before.decider.decide(before.state, command, at)
        except TaskSchedulerError as error:
            self.refusal = error

    def then(self, *facts: Event) -> Given:
        """Exactly these facts follow; the aggregate after them, for the next step or a look at its state."""
        assert self.refusal is None, self._story(f"it was refused: {self.refusal!r}")
        assert self.facts == facts, self._story("expected " + listing(facts))
        return Given(self.before.decider, (*self.before.facts, *facts))

    def then_kinds(self, *kinds: type[Event]) -> Given:
        """Facts of exactly these types follow, whatever is in them."""
        assert self.refusal is None, self._story(f"it was refused: {self.refusal!r}")
        assert tuple(map(type, self.facts)) == kinds, self._story("expected " + ", ".join(k.__name__ for k in kinds))
        return Given(self.before.decider, (*self.before.facts, *self.facts))

    def then_nothing(self) -> Given:
        """It is so already: no fact follows."""
        return self.then()

    def then_raises(self, error: type[TaskSchedulerError], **fields: object) -> None:
        """A rule forbids it, with an error of this class that carries these fields."""
        assert isinstance(self.refusal, error), self._story(f"expected {error.__name__}, not {self.refusal!r}")
        assert self.refusal.fields.items() >= fields.items(), self._story(f"its fields are {self.refusal.fields}")

    def _story(self, expectation: str) -> str:
        return "\n".join(
            (expectation, f"after {listing(self.before.facts)}", f"when {self.command}", listing(self.facts))
        )


def scenarios(decider: Decider) -> Callable[..., Given]:
    """The `given` of one aggregate."""

    def given(*facts: Event) -> Given:
        return Given(decider, facts)

    return given


def replayed(decider: Decider, facts: tuple[Event, ...] | list[Event]) -> Any:
    """The state after facts that were written to a log and read again."""
    return reduce(decider.evolve, map(stored, facts), None)


def stored(event: Event) -> Event:
    """An event as it comes back from the log."""
    return _decode(_encode(event))


def listing(facts: tuple[Event, ...] | list[Event]) -> str:
    """The story so far, one fact a line, as the log holds it."""
    return "\n".join(["facts:", *(f"  {_encode(fact).decode()}" for fact in facts)])
