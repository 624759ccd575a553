"""The Log port over a recorder: rows in and out, decoded once.

A `RowRecorder` is an `eventsourcing` application recorder that also takes and gives plain rows, because building a
dataclass per event costs more than storing it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from adapters.store.mapper import decode, decode_event, mention_of, row_of
from application.ports import Remembered, StateSnapshot, Unless
from domain.messages import Event, Recorded, StreamId


class Row(NamedTuple):
    """One stored event as the table holds it."""

    position: int
    stream: StreamId
    version: int
    topic: str
    state: bytes


NewRow = tuple[StreamId, int, str, bytes]


class RowRecorder(Protocol):
    """What a recorder must offer beyond the library's interface."""

    def append_rows(
        self,
        rows: Sequence[NewRow],
        unless: Unless | None,
        snapshots: Sequence[StateSnapshot],
        remembered: Sequence[Remembered],
    ) -> int:
        """All in one transaction; the position of the first row."""
        ...

    def max_position(self) -> int:
        """The position of the last row."""
        ...

    def select_rows(self, after: int, limit: int, upto: int | None, topics: Sequence[str]) -> list[Row]:
        """Rows by position."""
        ...

    def select_states(self, after: int, limit: int, upto: int | None) -> list[tuple[int, StreamId, int, bytes]]:
        """Rows by position, without their topics."""
        ...

    def select_stream(self, stream: StreamId, after: int, upto: int | None) -> list[Row]:
        """Rows of one stream by version."""
        ...

    def select_snapshot(self, stream: StreamId, upto: int | None, topic: str | None) -> StateSnapshot | None:
        """The newest snapshot of a stream."""
        ...

    def insert_snapshots(self, snapshots: Sequence[StateSnapshot]) -> None:
        """Adds snapshots."""
        ...

    def delete_snapshots(self) -> None:
        """Removes all snapshots."""
        ...

    def select_remembered(self, command_id: str) -> tuple[int, int] | None:
        """A remembered reply: position, number of events."""
        ...

    def select_mentioning(self, text: bytes) -> list[Row]:
        """Rows whose state has these bytes in it, by position."""
        ...

    def select_streams(self, prefix: str, limit: int) -> list[StreamId]:
        """Stream ids with a prefix."""
        ...

    def shut(self) -> None:
        """Closes what is open."""
        ...


class RecorderLog:
    """A Log kept by a recorder."""

    def __init__(self, recorder: RowRecorder) -> None:
        self.recorder = recorder

    def append(
        self,
        events: Sequence[Recorded],
        *,
        unless: Unless | None = None,
        snapshots: Sequence[StateSnapshot] = (),
        remembered: Sequence[Remembered] = (),
    ) -> int:
        """See `application.ports.Log`."""
        return self.recorder.append_rows(list(map(row_of, events)), unless, snapshots, remembered)

    def position(self) -> int:
        """The position of the last event."""
        return self.recorder.max_position()

    def read(self, after: int, limit: int, upto: int | None = None, topics: Sequence[str] = ()) -> list[Recorded]:
        """Events in order."""
        return _decoded(self.recorder.select_rows(after, limit, upto, topics))

    def replay(self, after: int, upto: int | None = None) -> Iterator[tuple[int, StreamId, int, Event]]:
        """Events in order, without metadata, fetched in pages."""
        while rows := self.recorder.select_states(after, PAGE, upto):
            for at, stream, version, state in rows:
                yield at, stream, version, decode_event(state)
            after = rows[-1][0]

    def stream(self, stream: StreamId, after: int = 0, upto: int | None = None) -> list[Recorded]:
        """Events of one stream."""
        return _decoded(self.recorder.select_stream(stream, after, upto))

    def snapshot(self, stream: StreamId, upto: int | None = None, topic: str | None = None) -> StateSnapshot | None:
        """The newest snapshot of a stream."""
        return self.recorder.select_snapshot(stream, upto, topic)

    def save_snapshots(self, snapshots: Sequence[StateSnapshot]) -> None:
        """Stores snapshots."""
        self.recorder.insert_snapshots(snapshots)

    def forget_snapshots(self) -> None:
        """Deletes every snapshot."""
        self.recorder.delete_snapshots()

    def remembered(self, command_id: str) -> tuple[int, int] | None:
        """The reply to a command that was answered before: position, number of events."""
        return self.recorder.select_remembered(command_id)

    def of_command(self, command_id: str) -> list[Recorded]:
        """The events of a command: they lie together, before the position of the reply that is remembered."""
        reply = self.recorder.select_remembered(command_id)
        if reply is None:
            rows = self.recorder.select_mentioning(mention_of(command_id))
        else:
            position, events = reply
            rows = self.recorder.select_rows(position - events, events, position, ())
        return [each for each in _decoded(rows) if each.meta.command_id == command_id]

    def position_at(self, at_ms: int) -> int:
        """Binary search: times never fall as positions rise, and positions have no gaps."""
        low, high = 0, self.recorder.max_position()
        while low < high:
            middle = (low + high + 1) // 2
            row = self.recorder.select_states(middle - 1, 1, None)[0]
            if decode_event(row[3]).at_ms <= at_ms:
                low = middle
            else:
                high = middle - 1
        return low

    def streams(self, prefix: str, limit: int) -> list[StreamId]:
        """Stream ids with a prefix."""
        return self.recorder.select_streams(prefix, limit)

    def close(self) -> None:
        """Closes the recorder."""
        self.recorder.shut()


def _decoded(rows: Sequence[Row]) -> list[Recorded]:
    return [Recorded(at, stream, version, *decode(topic, state)) for at, stream, version, topic, state in rows]


PAGE = 250
"""Rows per page of a replay: enough to forget the cost of a query, few enough to stay in the processor's cache."""
