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
        self._versions: dict[StreamId, int] = {}
        """The version of the last event of each stream."""
        self._streams: dict[StreamId, list[Recorded]] = {}
        """Events by stream, as far as they were sorted; few streams are ever read, so that is done for the first."""
        self._sorted = 0
        """So many events were."""
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
            replies = self._new_replies(remembered, first) if remembered else {}
            self._events += self._numbered(events, first)
            self._replies.update(replies)
        if snapshots:
            self.save_snapshots(snapshots)
        return first

    def _new_replies(self, remembered: Sequence[Remembered], first: int) -> dict[str, tuple[int, int]]:
        """VersionConflict if a command was answered before, or twice here."""
        replies = {reply.command_id: (first + reply.upto - 1, reply.events) for reply in remembered}
        if len(replies) < len(remembered) or not replies.keys().isdisjoint(self._replies):
            raise errors.VersionConflict()
        return replies

    def _check(self, unless: Unless) -> None:
        topics = frozenset(unless.topics)
        for recorded in self._events[unless.position :]:
            if topic_of(type(recorded.event)) in topics:
                raise errors.PositionConflict(position=unless.position)

    def _numbered(self, events: Sequence[Recorded], first: int) -> Sequence[Recorded]:
        """The events at their positions; VersionConflict if one is not the next of its stream."""
        versions, known, at = self._versions, self._versions.get, first
        in_place = True
        for position, stream, version, _, _ in events:
            if version != known(stream, 0) + 1:
                self._take_back(events[: at - first])
                raise errors.VersionConflict()
            versions[stream] = version
            if position != at:
                in_place = False
            at += 1
        if in_place:
            return events
        return [Recorded(at, *recorded[1:]) for at, recorded in enumerate(events, first)]

    def _take_back(self, events: Sequence[Recorded]) -> None:
        """The versions of their streams are those before these events again; versions have no gaps."""
        for _, stream, version, _, _ in reversed(events):
            if version > 1:
                self._versions[stream] = version - 1
            else:
                del self._versions[stream]

    def _sort(self) -> dict[StreamId, list[Recorded]]:
        """Events by stream, all of them."""
        streams = self._streams
        for recorded in self._events[self._sorted :]:
            streams.setdefault(recorded[1], []).append(recorded)
        self._sorted = len(self._events)
        return streams

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
            if stream not in self._versions:
                return []
            return self._sort()[stream][max(after, 0) : upto if upto is None else max(upto, 0)]

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

    def of_command(self, command_id: str) -> list[Recorded]:
        """The events of a command."""
        position, events = self._replies.get(command_id, (len(self._events), len(self._events)))
        return [each for each in self._events[position - events : position] if each.meta.command_id == command_id]

    def position_at(self, at_ms: int) -> int:
        """Times never fall as positions rise."""
        return bisect_right(self._events, at_ms, key=lambda recorded: recorded.event.at_ms)

    def streams(self, prefix: str, limit: int) -> list[StreamId]:
        """Stream ids with a prefix."""
        with self._lock:
            return sorted(name for name in self._versions if name.startswith(prefix))[:limit]

    def close(self) -> None:
        """Nothing is open."""
