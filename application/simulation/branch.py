"""A branch of a log: what was recorded up to a position, and what a simulation adds from there on, in memory.

The recorded log is only read, so that a past may be continued in many ways at once at no cost but that of the events
that are new.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from application.ports import Log, Remembered, StateSnapshot, Unless
from domain import errors
from domain.messages import Event, Recorded, StreamId, topic_of


class BranchLog:
    """A log over another one that ends, as far as this one is concerned, at a position."""

    def __init__(self, base: Log, position: int) -> None:
        self.base, self.start = base, position
        self._events: list[Recorded] = []
        """The k-th stands at position `start` + k + 1."""
        self._streams: dict[StreamId, list[int]] = {}
        """Of each stream that grew here the indices in `_events`."""
        self._first: dict[StreamId, int] = {}
        """And the version of the first of them."""
        self._snapshots: dict[StreamId, dict[int, StateSnapshot]] = {}
        self._replies: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    # -- writing -------------------------------------------------------------------------------------------------

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
            first = self.position() + 1
            if unless is not None and unless.topics and self.read(unless.position, 1, topics=unless.topics):
                raise errors.PositionConflict(position=unless.position)
            replies = {reply.command_id: (first + reply.upto - 1, reply.events) for reply in remembered}
            if len(replies) < len(remembered) or any(self.remembered(known) for known in replies):
                raise errors.VersionConflict()
            self._check_versions(events)
            for at, recorded in enumerate(events, first):
                self._add(recorded if recorded.position == at else Recorded(at, *recorded[1:]))
            self._replies |= replies
            self.save_snapshots(snapshots)
            return first

    def _check_versions(self, events: Sequence[Recorded]) -> None:
        """VersionConflict unless every stream goes on where it ends."""
        expected: dict[StreamId, int] = {}
        for _, stream, version, _, _ in events:
            known = expected.get(stream)
            if known is None:
                known = self._next_version(stream, version)
            if version != known:
                raise errors.VersionConflict()
            expected[stream] = version + 1

    def _next_version(self, stream: StreamId, asked: int) -> int:
        """The version that comes next in a stream; of one that did not grow here only whether it is the one asked."""
        grown = self._streams.get(stream)
        if grown is not None:
            return self._first[stream] + len(grown)
        around = [each.version for each in self.base.stream(stream, max(asked - 2, 0), asked) if self._is_past(each)]
        return asked if around == ([asked - 1] if asked > 1 else []) else -1

    def _is_past(self, recorded: Recorded) -> bool:
        return recorded.position <= self.start

    def _add(self, recorded: Recorded) -> None:
        self._streams.setdefault(recorded.stream, []).append(len(self._events))
        self._first.setdefault(recorded.stream, recorded.version)
        self._events.append(recorded)

    # -- reading -------------------------------------------------------------------------------------------------

    def position(self) -> int:
        """The position of the last event."""
        return self.start + len(self._events)

    def read(self, after: int, limit: int, upto: int | None = None, topics: Sequence[str] = ()) -> list[Recorded]:
        """Events in order."""
        past = self.start if upto is None else min(upto, self.start)
        found = self.base.read(after, limit, past, topics) if after < past else []
        for recorded in self._own(after, upto):
            if len(found) >= limit:
                break
            if not topics or topic_of(type(recorded.event)) in topics:
                found.append(recorded)
        return found

    def _own(self, after: int, upto: int | None) -> Iterator[Recorded]:
        end = len(self._events) if upto is None else min(upto - self.start, len(self._events))
        for at in range(max(after - self.start, 0), end):
            yield self._events[at]

    def replay(self, after: int, upto: int | None = None) -> Iterator[tuple[int, StreamId, int, Event]]:
        """Events in order, without metadata."""
        past = self.start if upto is None else min(upto, self.start)
        if after < past:
            yield from self.base.replay(after, past)
        for recorded in self._own(after, upto):
            yield recorded[:4]

    def stream(self, stream: StreamId, after: int = 0, upto: int | None = None) -> list[Recorded]:
        """Events of one stream."""
        found = [each for each in self.base.stream(stream, after, upto) if self._is_past(each)]
        own = [self._events[at] for at in self._streams.get(stream, ())]
        return found + [each for each in own if each.version > after and (upto is None or each.version <= upto)]

    def streams(self, prefix: str, limit: int) -> list[StreamId]:
        """Stream ids with a prefix; those of the past as far as they had begun."""
        past = {
            name
            for name in self.base.streams(prefix, self.base.position())
            if self._is_past(self.base.stream(name, 0, 1)[0])
        }
        return sorted(past.union(name for name in self._streams if name.startswith(prefix)))[:limit]

    def position_at(self, at_ms: int) -> int:
        """Times never fall as positions rise."""
        if self._events and at_ms >= self._events[0].event.at_ms:
            return self.start + bisect_right(self._events, at_ms, key=lambda recorded: recorded.event.at_ms)
        return min(self.start, self.base.position_at(at_ms))

    # -- caches and replies --------------------------------------------------------------------------------------

    def snapshot(self, stream: StreamId, upto: int | None = None, topic: str | None = None) -> StateSnapshot | None:
        """The newest snapshot that was made here: one of the past might stand for more than has happened yet."""
        known = self._snapshots.get(stream, {})
        for version in sorted(known, reverse=True):
            if (upto is None or version <= upto) and (topic is None or known[version].topic == topic):
                return known[version]
        return None

    def save_snapshots(self, snapshots: Sequence[StateSnapshot]) -> None:
        """Keeps snapshots."""
        for snapshot in snapshots:
            of_stream = self._snapshots.setdefault(snapshot.stream, {})
            known = of_stream.get(snapshot.version)
            if known is None or known.topic != snapshot.topic:
                of_stream[snapshot.version] = snapshot

    def forget_snapshots(self) -> None:
        """Drops every snapshot that was made here."""
        self._snapshots.clear()

    def remembered(self, command_id: str) -> tuple[int, int] | None:
        """The reply to a command that was answered before."""
        known = self._replies.get(command_id) or self.base.remembered(command_id)
        return known if known is not None and (command_id in self._replies or known[0] <= self.start) else None

    def of_command(self, command_id: str) -> list[Recorded]:
        """The events of a command."""
        past = [each for each in self.base.of_command(command_id) if self._is_past(each)]
        return past + [each for each in self._events if each.meta.command_id == command_id]

    def close(self) -> None:
        """Nothing of its own is open; the recorded log stays as it is."""
