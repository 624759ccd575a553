"""The log in memory as the events themselves, never encoded: for simulations, which keep every event and read few."""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from application.ports import Remembered, StateSnapshot, Unless
from domain import errors
from domain.messages import Event, Recorded, StreamId, topic_of


class ObjectLog:
    """A log that lives as long as the process. Versions have no gaps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        """Held while something is added; events become visible all at once, so reading them needs no lock."""
        self._events: list[Recorded] = []
        self._streams: dict[StreamId, list[int]] = {}
        """Positions by stream; the k-th is that of version k + 1."""
        self._snapshots: dict[StreamId, list[StateSnapshot]] = {}
        """By version, ascending."""
        self._replies: dict[str, tuple[int, int]] = {}

    def append(
        self,
        events: Sequence[Recorded],
        *,
        unless: Unless | None = None,
        snapshots: Sequence[StateSnapshot] = (),
        remembered: Sequence[Remembered] = (),
    ) -> int:
        """See `application.ports.Log`."""
        with self._lock:
            first = len(self._events) + 1
            if unless is not None and unless.position < len(self._events):
                self._check(unless)
            replies = {reply.command_id: (first + reply.upto - 1, reply.events) for reply in remembered}
            if len(replies) < len(remembered) or not replies.keys().isdisjoint(self._replies):
                raise errors.VersionConflict()
            self._events += self._numbered(events, first)
            self._replies |= replies
        self.save_snapshots(snapshots)
        return first

    def _check(self, unless: Unless) -> None:
        topics = frozenset(unless.topics)
        for recorded in self._events[unless.position :]:
            if topic_of(type(recorded.event)) in topics:
                raise errors.PositionConflict(position=unless.position)

    def _numbered(self, events: Sequence[Recorded], first: int) -> list[Recorded]:
        """The events at their positions, entered in their streams; VersionConflict if one is not the next of its."""
        streams, numbered = self._streams, list[Recorded]()
        for at, recorded in enumerate(events, first):
            position, stream, version, event, meta = recorded
            known = streams.get(stream)
            if known is None:
                known = streams[stream] = []
            if version != len(known) + 1:
                for added in numbered:
                    streams[added.stream].pop()
                raise errors.VersionConflict()
            known.append(at)
            numbered.append(recorded if position == at else Recorded(at, stream, version, event, meta))
        return numbered

    def position(self) -> int:
        """The position of the last event."""
        return len(self._events)

    def read(self, after: int, limit: int, upto: int | None = None, topics: Sequence[str] = ()) -> list[Recorded]:
        """Events in order."""
        end = len(self._events) if upto is None else min(upto, len(self._events))
        found: list[Recorded] = []
        for at in range(max(after, 0), end):
            if len(found) == limit:
                break
            recorded = self._events[at]
            if not topics or topic_of(type(recorded.event)) in topics:
                found.append(recorded)
        return found

    def replay(self, after: int, upto: int | None = None) -> Iterator[tuple[int, StreamId, int, Event]]:
        """Events in order, without metadata."""
        end = len(self._events) if upto is None else min(upto, len(self._events))
        for at in range(max(after, 0), end):
            yield self._events[at][:4]

    def stream(self, stream: StreamId, after: int = 0, upto: int | None = None) -> list[Recorded]:
        """Events of one stream."""
        with self._lock:
            positions = self._streams.get(stream, [])[max(after, 0) : upto if upto is None else max(upto, 0)]
        return [self._events[position - 1] for position in positions]

    def snapshot(self, stream: StreamId, upto: int | None = None, topic: str | None = None) -> StateSnapshot | None:
        """The newest snapshot of a stream."""
        for known in reversed(self._snapshots.get(stream, ())):
            if (upto is None or known.version <= upto) and (topic is None or known.topic == topic):
                return known
        return None

    def save_snapshots(self, snapshots: Sequence[StateSnapshot]) -> None:
        """Stores snapshots."""
        for snapshot in snapshots:
            known = self._snapshots.setdefault(snapshot.stream, [])
            at = bisect_right(known, snapshot.version, key=lambda each: each.version)
            if at and known[at - 1].version == snapshot.version:
                if known[at - 1].topic != snapshot.topic:
                    known[at - 1] = snapshot
            else:
                known.insert(at, snapshot)

    def forget_snapshots(self) -> None:
        """Deletes every snapshot."""
        self._snapshots.clear()

    def remembered(self, command_id: str) -> tuple[int, int] | None:
        """The reply to a command that was answered before."""
        return self._replies.get(command_id)

    def position_at(self, at_ms: int) -> int:
        """Times never fall as positions rise."""
        return bisect_right(self._events, at_ms, key=lambda recorded: recorded.event.at_ms)

    def streams(self, prefix: str, limit: int) -> list[StreamId]:
        """Stream ids with a prefix."""
        with self._lock:
            return sorted(name for name, known in self._streams.items() if known and name.startswith(prefix))[:limit]

    def close(self) -> None:
        """Nothing is open."""
