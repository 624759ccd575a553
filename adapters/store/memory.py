"""The log in memory: part of the product, for simulations and tests. Same interface, nothing durable."""

from bisect import insort
from collections.abc import Sequence
from itertools import islice

from eventsourcing.persistence import StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from adapters.store.log import NewRow, RecorderLog, Row
from application.ports import Remembered, StateSnapshot, Unless
from domain import errors
from domain.messages import StreamId


class MemoryLogRecorder(POPOApplicationRecorder):
    """The library's in-memory recorder with conditional appends, snapshots and remembered replies."""

    def __init__(self) -> None:
        super().__init__()
        self._snapshots: dict[StreamId, list[tuple[int, str, bytes]]] = {}
        self._replies: dict[str, tuple[int, int]] = {}

    def append_rows(
        self,
        rows: Sequence[NewRow],
        unless: Unless | None,
        snapshots: Sequence[StateSnapshot],
        remembered: Sequence[Remembered],
    ) -> int:
        """All of it, or nothing and an error; the position of the first row."""
        with self._database_lock:
            first = len(self._stored_events) + 1
            if unless is not None:
                self._check(unless)
            replies = {reply.command_id: (first + reply.upto - 1, reply.events) for reply in remembered}
            if len(replies) < len(remembered) or not replies.keys().isdisjoint(self._replies):
                raise errors.VersionConflict()
            self._add(rows)
            self._replies |= replies
            self.insert_snapshots(snapshots)
        self._notify_listeners()
        return first

    def _check(self, unless: Unless) -> None:
        for stored in self._stored_events[unless.position :]:
            if stored.topic in unless.topics:
                raise errors.PositionConflict(position=unless.position)

    def _add(self, rows: Sequence[NewRow]) -> None:
        index, fresh = self._stored_events_index, set()
        for stream, version, _, _ in rows:
            if version in index[stream] or (stream, version) in fresh:
                raise errors.VersionConflict()
            fresh.add((stream, version))
        for stream, version, topic, state in rows:
            index[stream][version] = len(self._stored_events)
            self._stored_events.append(StoredEvent(stream, version, topic, state))

    def max_position(self) -> int:
        """The position of the last row."""
        with self._database_lock:
            return len(self._stored_events)

    def select_rows(self, after: int, limit: int, upto: int | None, topics: Sequence[str]) -> list[Row]:
        """Rows by position."""
        with self._database_lock:  # nobody sees half an append
            events = self._stored_events
            end = len(events) if upto is None else min(upto, len(events))
            found = (at for at in range(max(after, 0), end) if not topics or events[at].topic in topics)
            return [_row(at + 1, events[at]) for at in islice(found, limit)]

    def select_states(self, after: int, limit: int, upto: int | None) -> list[tuple[int, StreamId, int, bytes]]:
        """Rows by position, without their topics."""
        return [
            (at, stream, version, state) for at, stream, version, _, state in self.select_rows(after, limit, upto, ())
        ]

    def select_stream(self, stream: StreamId, after: int, upto: int | None) -> list[Row]:
        """Rows of one stream by version."""
        with self._database_lock:
            index = self._stored_events_index.get(stream, {})
            versions = sorted(v for v in index if v > after and (upto is None or v <= upto))
            return [_row(index[version] + 1, self._stored_events[index[version]]) for version in versions]

    def select_snapshot(self, stream: StreamId, upto: int | None, topic: str | None) -> StateSnapshot | None:
        """The newest snapshot of a stream, at or below a version, of one topic or of any."""
        below = [s for s in self._snapshots.get(stream, []) if upto is None or s[0] <= upto]
        known = [s for s in below if topic is None or s[1] == topic]
        return StateSnapshot(stream, *known[-1]) if known else None

    def insert_snapshots(self, snapshots: Sequence[StateSnapshot]) -> None:
        """Adds snapshots."""
        for stream, version, topic, state in snapshots:
            known = self._snapshots.setdefault(stream, [])
            if (version, topic) not in ((each[0], each[1]) for each in known):
                known[:] = [each for each in known if each[0] != version]
                insort(known, (version, topic, state))

    def delete_snapshots(self) -> None:
        """Removes all snapshots."""
        self._snapshots.clear()

    def select_remembered(self, command_id: str) -> tuple[int, int] | None:
        """A remembered reply: position, number of events."""
        return self._replies.get(command_id)

    def select_mentioning(self, text: bytes) -> list[Row]:
        """Rows whose state has these bytes in it."""
        with self._database_lock:
            return [_row(at, stored) for at, stored in enumerate(self._stored_events, 1) if text in stored.state]

    def select_streams(self, prefix: str, limit: int) -> list[StreamId]:
        """Stream ids that begin so, in order."""
        with self._database_lock:
            streams = [s for s, versions in self._stored_events_index.items() if versions and s.startswith(prefix)]
        return sorted(streams)[:limit]

    def shut(self) -> None:
        """Nothing is open."""


def _row(position: int, stored: StoredEvent) -> Row:
    return Row(position, str(stored.originator_id), stored.originator_version, stored.topic, stored.state)


class MemoryLog(RecorderLog):
    """A log that lives as long as the process."""

    def __init__(self) -> None:
        super().__init__(MemoryLogRecorder())
