"""A log that stores late: many appends in one transaction of the log behind it, for simulations into a kept store.

Nobody is owed an answer before the end of a simulation, so nothing has to be durable at once. What is stored behind is
always a beginning of the whole, cut between two appends: a crash loses the end and nothing else.
"""

import threading
from collections.abc import Iterator, Sequence

from application.ports import Log, Remembered, StateSnapshot, Unless
from domain import errors
from domain.messages import Event, Recorded, StreamId, topic_of

EVERY = 5_000
"""Events to a transaction; more gain nothing that can be measured."""


class BufferedLog:
    """Collects appends and stores them in the log behind: every so many events, before they are read, and at the end.

    This must be the only writer of that log. It remembers the version of every stream that was written through it.
    """

    def __init__(self, inner: Log, every: int = EVERY) -> None:
        self.inner, self._every = inner, every
        self._lock = threading.RLock()
        self._stored = inner.position()
        """The last position that the log behind has."""
        self._was_empty = self._stored == 0
        self._events: list[Recorded] = []
        self._snapshots: list[StateSnapshot] = []
        self._replies: dict[str, tuple[int, int]] = {}
        """Not stored yet: position and number of events by command id."""
        self._versions: dict[StreamId, int] = {}

    def append(
        self,
        events: Sequence[Recorded],
        *,
        unless: Unless | None = None,
        snapshots: Sequence[StateSnapshot] = (),
        remembered: Sequence[Remembered] = (),
    ) -> int:
        """See `application.ports.Log`; all of it is stored together, but later."""
        with self._lock:
            if len(self._events) >= self._every:
                self.flush()  # first: should that fail, nothing of this append is kept
            first = self.position() + 1
            if unless is not None and unless.position < first - 1:
                self._check(unless)
            replies = {reply.command_id: (first + reply.upto - 1, reply.events) for reply in remembered}
            if len(replies) < len(remembered) or any(map(self.remembered, replies)):
                raise errors.VersionConflict()
            self._events += self._numbered(events, first)
            self._replies |= replies
            self._snapshots += snapshots
        return first

    def _check(self, unless: Unless) -> None:
        """PositionConflict if something of these topics came after that position."""
        topics = frozenset(unless.topics)
        late = self._events[max(0, unless.position - self._stored) :]
        if any(topic_of(type(recorded.event)) in topics for recorded in late) or (
            unless.position < self._stored and topics and self.inner.read(unless.position, 1, None, unless.topics)
        ):
            raise errors.PositionConflict(position=unless.position)

    def _numbered(self, events: Sequence[Recorded], first: int) -> Sequence[Recorded]:
        """The events at their positions, their versions noted; VersionConflict if one is not the next of its stream."""
        versions, known, in_place, at = self._versions, self._versions.get, True, first
        for position, stream, version, _, _ in events:
            last = known(stream)
            if last is None:
                last = self._version(stream)
            if version != last + 1:
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
            self._versions[stream] = version - 1

    def _version(self, stream: StreamId) -> int:
        """Of a stream that the log behind had before, read once."""
        known = self._versions.get(stream)
        if known is None:
            before = () if self._was_empty else self.inner.stream(stream)
            known = self._versions[stream] = before[-1].version if before else 0
        return known

    def flush(self) -> None:
        """Stores what is not stored yet, in one transaction; StoreError leaves it for the next time."""
        with self._lock:
            if not self._events and not self._snapshots and not self._replies:
                return
            before = self._stored
            replies = [Remembered(command_id, at - before, many) for command_id, (at, many) in self._replies.items()]
            first = self.inner.append(self._events, snapshots=self._snapshots, remembered=replies)
            if first != before + 1:
                raise errors.StoreError("another process has written to the store of a simulation; start anew")
            self._stored += len(self._events)
            self._events, self._snapshots, self._replies = [], [], {}

    def _flush_after(self, upto: int | None) -> None:
        """Stores what somebody wants to read who reads up to a position."""
        with self._lock:
            if upto is None or upto > self._stored:
                self.flush()

    def position(self) -> int:
        """The position of the last event, stored or not."""
        with self._lock:
            return self._stored + len(self._events)

    def read(self, after: int, limit: int, upto: int | None = None, topics: Sequence[str] = ()) -> list[Recorded]:
        """Events in order."""
        self._flush_after(upto)
        return self.inner.read(after, limit, upto, topics)

    def replay(self, after: int, upto: int | None = None) -> Iterator[tuple[int, StreamId, int, Event]]:
        """Events in order, without metadata."""
        self._flush_after(upto)
        return self.inner.replay(after, upto)

    def stream(self, stream: StreamId, after: int = 0, upto: int | None = None) -> list[Recorded]:
        """Events of one stream."""
        with self._lock:
            if self._was_empty and stream not in self._versions:
                return []
            self.flush()
        return self.inner.stream(stream, after, upto)

    def snapshot(self, stream: StreamId, upto: int | None = None, topic: str | None = None) -> StateSnapshot | None:
        """The newest snapshot of a stream."""
        with self._lock:
            if self._snapshots:
                self.flush()
        return self.inner.snapshot(stream, upto, topic)

    def save_snapshots(self, snapshots: Sequence[StateSnapshot]) -> None:
        """Stores snapshots with the events before them, never earlier."""
        with self._lock:
            self._snapshots += snapshots

    def forget_snapshots(self) -> None:
        """Deletes every snapshot."""
        with self._lock:
            self._snapshots.clear()
            self.inner.forget_snapshots()

    def remembered(self, command_id: str) -> tuple[int, int] | None:
        """The reply to a command that was answered before."""
        with self._lock:
            return self._replies.get(command_id) or self.inner.remembered(command_id)

    def of_command(self, command_id: str) -> list[Recorded]:
        """The events of a command."""
        self._flush_after(None)
        return self.inner.of_command(command_id)

    def position_at(self, at_ms: int) -> int:
        """The position of the last event at or before a time."""
        self._flush_after(None)
        return self.inner.position_at(at_ms)

    def streams(self, prefix: str, limit: int) -> list[StreamId]:
        """Stream ids with a prefix."""
        self._flush_after(None)
        return self.inner.streams(prefix, limit)

    def close(self) -> None:
        """Stores the rest and closes the log behind, which is closed even if that fails."""
        try:
            self.flush()
        finally:
            self.inner.close()
