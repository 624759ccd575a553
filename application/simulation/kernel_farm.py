"""An application whose farm is brought up to date when somebody looks at it, and not before.

The kernel decides whole traces without a farm; most simulations end without anybody asking for one. Whoever does ask
gets the farm that every event was folded into, at the position that the log has then.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

from application import farms
from application.app import Application, Listener
from application.simulation.farms import MACHINE
from domain.farm import Farm
from domain.indices.performance import kind_of
from domain.job.events import JobCompleted, JobSubmitted, TasksSucceeded
from domain.job.values import JobSpec
from domain.messages import Event, Recorded, StreamId

MOST_KEPT = 50_000
"""So many events are kept for the next look; where more have come since the last one, they are read from the log."""


class LateApplication(Application):
    """As `Application`, but its farm may be behind its log while nobody looks."""

    _behind: Farm | None = None
    """The farm as it was when somebody looked last."""
    _since: list[Recorded] | None = None
    """What was appended since; None when that was too much to be kept."""

    @cached_property
    def farm(self) -> Farm:  # type: ignore[override]  # stands in the instance's own table unless it is behind
        """The farm, every event of the log folded in."""
        known, since = self._behind, self._since
        assert known is not None
        self._behind, self._since = None, None
        if since is None:
            return Farm.fold(self.log.replay(known.position), known)
        return _folded(known, since)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Everybody who is told of commits."""
        return tuple(self._listeners)

    def append_unfolded(self, events: Sequence[Recorded]) -> None:
        """Stores events that are the next ones of the log; listeners hear nothing of them."""
        with self.lock:
            self.log.append(events)
            if self._behind is None:
                self._behind, self._since = self.__dict__.pop("farm"), []
            if self._since is not None:
                if len(self._since) + len(events) > MOST_KEPT:
                    self._since = None
                else:
                    self._since += events

    def snapshot_if_due(self, every: int = farms.SNAPSHOT_EVERY) -> bool:
        """As `Application.snapshot_if_due`, without a look at the farm while none is due."""
        if self._behind is not None and self.log.position() - self._snapshot_at < every:
            return False
        return super().snapshot_if_due(every)


def _folded(farm: Farm, recorded: Sequence[Recorded]) -> Farm:
    """A farm after more events, which are the kernel's."""
    farm = Farm.fold(_lasting(farm, recorded), farm)
    if recorded:
        position, _, _, event, _ = recorded[-1]
        farm.position, farm.now_ms = position, event.at_ms
    return farm


def _lasting(farm: Farm, recorded: Sequence[Recorded]) -> Iterator[tuple[int, StreamId, int, Event]]:
    """The events without those of jobs that came and went meanwhile: all that these leave is how long they ran.

    That is learned in passing, in its place among what is learned from the others.
    """
    over = {stream for _, stream, _, event, _ in recorded if type(event) is JobCompleted}
    specs: dict[StreamId, JobSpec] = {}
    learn = farm.performance.record
    for position, stream, version, event, _ in recorded:
        if stream in over:
            kind = type(event)
            if kind is JobSubmitted:
                specs[stream] = event.spec  # type: ignore[attr-defined]
                continue
            spec = specs.get(stream)
            if spec is not None:
                if kind is TasksSucceeded:
                    (end,) = event.ends  # type: ignore[attr-defined]
                    learn(spec.client_id, kind_of(spec), farm.classes[MACHINE], end.ended_ms - end.started_ms)
                continue
        yield position, stream, version, event
