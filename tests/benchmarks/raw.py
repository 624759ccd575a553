"""The floor of everything durable: plain `sqlite3` with the table and the settings of Milepost's own store."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from adapters.store.log import NewRow, RecorderLog
from adapters.store.mapper import encode
from adapters.store.sqlite import SQLiteLog, SQLiteLogRecorder
from domain.messages import Recorded
from tests.benchmarks.harness import seconds

_INSERT = "INSERT INTO stored_events VALUES (?,?,?,?)"
_SELECT = "SELECT rowid, originator_id, originator_version, state FROM stored_events ORDER BY rowid"


def connect(path: Path) -> sqlite3.Connection:
    """A connection as the store's: WAL, a commit is on the disk before it returns."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def create(path: Path, like: SQLiteLog) -> sqlite3.Connection:
    """An empty log with the very table definitions of a store."""
    assert isinstance(like.recorder, SQLiteLogRecorder)
    connection = connect(path)
    for statement in like.recorder.create_table_statements:
        connection.execute(statement)
    return connection


def rows_of(events: Iterable[Recorded]) -> list[NewRow]:
    """Events as the store keeps them, metadata included."""
    return [(stream, version, *encode(event, meta)) for _, stream, version, event, meta in events]


def stored_rows(log: RecorderLog, after: int, upto: int) -> list[NewRow]:
    """What the log really holds in a span of positions, byte for byte."""
    return [row[1:] for row in log.recorder.select_rows(after, upto - after, upto, ())]


def insert(connection: sqlite3.Connection, commits: Iterable[Sequence[NewRow]]) -> float:
    """Seconds for one durable transaction after the other."""

    def work() -> None:
        for rows in commits:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, rows)
            connection.execute("COMMIT")

    return seconds(work)


def walk(connection: sqlite3.Connection) -> Iterator[tuple[int, str, int, bytes]]:
    """The whole log in order: position, stream, version, state."""
    return iter(connection.execute(_SELECT))
