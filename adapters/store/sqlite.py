"""The log in an SQLite file: WAL, durable on acknowledgement, one writer, any number of readers.

A recorder of `eventsourcing` with three additions inside its insert transaction: a condition on the log's position,
snapshots, and remembered replies. The writer lock is a file lock that the kernel releases when its holder dies.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import ConnectionPoolClosedError, Mapper, StoredEvent, Transcoder
from eventsourcing.sqlite import (
    SQLITE3_DEFAULT_LOCK_TIMEOUT,
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteDatastore,
    SQLiteFactory,
)

from adapters.store.log import NewRow, RecorderLog, Row
from adapters.store.mapper import StructMapper
from application.ports import Remembered, StateSnapshot, Unless
from domain import errors
from domain.messages import StreamId

LOG_FILE = "milepost.db"
LOCK_FILE = "server.lock"
_COLUMNS = "originator_id, originator_version, topic, state"
_INSERT_SNAPSHOT = (
    "INSERT INTO stored_snapshots VALUES (?,?,?,?) ON CONFLICT DO UPDATE "
    "SET topic=excluded.topic, state=excluded.state WHERE topic<>excluded.topic"
)


_ROWS_AT_ONCE = (100, 10)
"""A statement with many rows costs two thirds of as many with one; few sizes, so that each is prepared once."""


class DurablePool(SQLiteConnectionPool):
    """Connections that have a commit on the disk before they say so, whatever SQLite's build default.

    Made here because the library's remember one prepared statement, and each append needs four.
    """

    def _create_connection(self) -> SQLiteConnection:
        connection = sqlite3.connect(
            self.db_name,
            uri=True,
            check_same_thread=False,
            isolation_level=None,
            timeout=self.lock_timeout or SQLITE3_DEFAULT_LOCK_TIMEOUT,
        )
        if not self.is_sqlite_memory_mode and connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.row_factory = sqlite3.Row
        return SQLiteConnection(connection, self.max_age)

    _closing = False

    def get_connection(self, timeout: float | None = None, *, is_writer: bool | None = None) -> SQLiteConnection:
        """As the library's, until closing begins."""
        if self._closing:
            raise ConnectionPoolClosedError
        return super().get_connection(timeout, is_writer=is_writer)

    def close(self) -> None:
        """Lets threads finish what they read: a connection closed under a thread takes the whole process down."""
        self._closing = True
        with self._put_condition:
            self._put_condition.wait_for(lambda: not self._in_use, self.pool_timeout)
            self._in_use.clear()  # what is in use even now is left to its thread
            super().close()


class DurableDatastore(SQLiteDatastore):
    """The library's datastore over durable connections."""

    def __init__(self, db_name: str, **options: Any) -> None:
        super().__init__(db_name, **options)
        self.pool.close()
        self.pool = DurablePool(db_name=db_name, lock_timeout=options.get("lock_timeout"))


class SQLiteLogRecorder(SQLiteApplicationRecorder):
    """The application recorder with conditional appends, snapshots and remembered replies."""

    def construct_create_table_statements(self) -> list[str]:
        """The library's events table and two of our own."""
        return [
            *super().construct_create_table_statements(),
            "CREATE TABLE IF NOT EXISTS stored_snapshots (originator_id TEXT, originator_version INTEGER, "
            "topic TEXT, state BLOB, PRIMARY KEY (originator_id, originator_version)) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS remembered "
            "(command_id TEXT PRIMARY KEY, position INTEGER, events INTEGER) WITHOUT ROWID",
        ]

    def _insert_events(self, c: Any, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        rows = [(_text(s.originator_id), s.originator_version, s.topic, s.state) for s in stored_events]
        first = self._insert_rows(c, rows, kwargs.get("unless"))
        return list(range(first, first + len(rows)))

    def _insert_rows(self, c: Any, rows: Sequence[NewRow], unless: Unless | None) -> int:
        c.execute(self.select_max_notification_id_statement)
        last = int(c.fetchone()[0] or 0)
        if unless is not None and last > unless.position:
            self._check(c, unless)
        at = 0
        for size in _ROWS_AT_ONCE:
            statement = self.insert_events_statement + ",(?,?,?,?)" * (size - 1)
            while at + size <= len(rows):
                c.execute(statement, list(chain.from_iterable(rows[at : at + size])))
                at += size
        c.executemany(self.insert_events_statement, rows[at:])
        return last + 1

    def _check(self, c: Any, unless: Unless) -> None:
        marks = ",".join("?" * len(unless.topics))
        c.execute(
            f"SELECT 1 FROM {self.events_table_name} WHERE rowid>? AND topic IN ({marks}) LIMIT 1",
            (unless.position, *unless.topics),
        )
        if c.fetchone() is not None:
            raise errors.PositionConflict(position=unless.position)

    def append_rows(
        self,
        rows: Sequence[NewRow],
        unless: Unless | None,
        snapshots: Sequence[StateSnapshot],
        remembered: Sequence[Remembered],
    ) -> int:
        """All in one durable transaction; the position of the first row."""
        with self._write() as c:
            first = self._insert_rows(c, rows, unless)
            if snapshots:
                c.executemany(_INSERT_SNAPSHOT, snapshots)
            if remembered:
                replies = [(reply.command_id, first + reply.upto - 1, reply.events) for reply in remembered]
                c.executemany("INSERT INTO remembered VALUES (?,?,?)", replies)
        return first

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Cursor]:
        """A transaction that holds the write lock from its first statement on."""
        with _store_errors(), self.datastore.get_connection(commit=True) as connection:
            cursor = connection._sqlite_conn.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if connection._sqlite_conn.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()

    def _fetch(self, statement: str, params: Sequence[Any]) -> list[Any]:
        with _store_errors(), self.datastore.get_connection(commit=False) as connection:
            cursor = connection._sqlite_conn.cursor()
            cursor.row_factory = None
            try:
                return cursor.execute(statement, params).fetchall()
            finally:
                cursor.close()

    def max_position(self) -> int:
        """The position of the last row."""
        return int(self._fetch(self.select_max_notification_id_statement, ())[0][0] or 0)

    def select_rows(self, after: int, limit: int, upto: int | None, topics: Sequence[str]) -> list[Row]:
        """Rows by position."""
        return self._select(f"rowid, {_COLUMNS}", after, limit, upto, topics)

    def select_states(self, after: int, limit: int, upto: int | None) -> list[tuple[int, StreamId, int, bytes]]:
        """Rows by position, without their topics."""
        return self._select("rowid, originator_id, originator_version, state", after, limit, upto, ())

    def _select(self, columns: str, after: int, limit: int, upto: int | None, topics: Sequence[str]) -> list[Any]:
        params: list[Any] = [after]
        where = "rowid>?"
        if upto is not None:
            where += " AND rowid<=?"
            params.append(upto)
        if topics:
            where += f" AND topic IN ({','.join('?' * len(topics))})"
            params += topics
        statement = f"SELECT {columns} FROM {self.events_table_name} WHERE {where} ORDER BY rowid LIMIT ?"
        return self._fetch(statement, (*params, limit))

    def select_stream(self, stream: StreamId, after: int, upto: int | None) -> list[Row]:
        """Rows of one stream by version."""
        statement = (
            f"SELECT rowid, {_COLUMNS} FROM {self.events_table_name} "
            "WHERE originator_id=? AND originator_version>? AND originator_version<=? ORDER BY originator_version"
        )
        return self._fetch(statement, (stream, after, (1 << 62) if upto is None else upto))

    def select_snapshot(self, stream: StreamId, upto: int | None, topic: str | None) -> StateSnapshot | None:
        """The newest snapshot of a stream, at or below a version, of one topic or of any."""
        rows = self._fetch(
            "SELECT originator_id, originator_version, topic, state FROM stored_snapshots "
            "WHERE originator_id=? AND originator_version<=? AND topic=coalesce(?, topic) "
            "ORDER BY originator_version DESC LIMIT 1",
            (stream, (1 << 62) if upto is None else upto, topic),
        )
        return StateSnapshot(*rows[0]) if rows else None

    def insert_snapshots(self, snapshots: Sequence[StateSnapshot]) -> None:
        """Adds snapshots."""
        with self._write() as c:
            c.executemany(_INSERT_SNAPSHOT, snapshots)

    def delete_snapshots(self) -> None:
        """Removes all snapshots."""
        with self._write() as c:
            c.execute("DELETE FROM stored_snapshots")

    def select_remembered(self, command_id: str) -> tuple[int, int] | None:
        """A remembered reply: position, number of events."""
        rows = self._fetch("SELECT position, events FROM remembered WHERE command_id=?", (command_id,))
        return rows[0] if rows else None

    def select_mentioning(self, text: bytes) -> list[Row]:
        """Rows whose state has these bytes in it; looks at every row."""
        statement = f"SELECT rowid, {_COLUMNS} FROM {self.events_table_name} WHERE instr(state, ?) ORDER BY rowid"
        return self._fetch(statement, (text,))

    def select_streams(self, prefix: str, limit: int) -> list[StreamId]:
        """Stream ids that begin so, by the primary key, one jump per stream."""
        found: list[StreamId] = []
        bound, inclusive = prefix, True
        while len(found) < limit:
            rows = self._fetch(
                f"SELECT originator_id FROM {self.events_table_name} WHERE originator_id"
                f"{'>=' if inclusive else '>'}? ORDER BY originator_id LIMIT 1",
                (bound,),
            )
            if not rows or not rows[0][0].startswith(prefix):
                break
            bound, inclusive = rows[0][0], False
            found.append(bound)
        return found

    def shut(self) -> None:
        """Closes all connections."""
        self.datastore.close()


@contextmanager
def _store_errors() -> Iterator[None]:
    """VersionConflict for a key that is taken, StoreError for whatever else a database can do to us."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise errors.VersionConflict() from error
    except (EventSourcingError, sqlite3.Error) as error:
        raise errors.StoreError(f"the store failed: {error}") from error


def _text(originator_id: UUID | str) -> str:
    """As the library's own recorder stores and looks for ids."""
    return originator_id.hex if isinstance(originator_id, UUID) else originator_id


class SQLiteLogFactory(SQLiteFactory):
    """Builds our recorder and mapper from an environment, as the library's applications do."""

    application_recorder_class = SQLiteLogRecorder

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        asked = self.datastore
        asked.close()
        self.datastore = DurableDatastore(
            asked.pool.db_name,
            lock_timeout=asked.pool.lock_timeout,
            single_row_tracking=asked.single_row_tracking,
            originator_id_type=asked.originator_id_type,
        )

    def mapper(
        self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None
    ) -> Mapper[Any]:
        """Ours, unless another class is asked for."""
        return super().mapper(transcoder, mapper_class or StructMapper)


class WriterLock:
    """The right to write to the store in a data directory; StoreLocked names the process that has it."""

    def __init__(self, data_dir: Path) -> None:
        self._file = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise errors.StoreLocked(path=str(data_dir), pid=pid) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Gives the right back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


_OF_THE_DISK = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY}
)
"""What is wrong with the disk, or with who uses the file, and not with what is in it."""


def _disk_trouble(error: BaseException | None) -> sqlite3.Error | None:
    """The driver's error below an error, if it says nothing against the file itself: a full disk, for example."""
    while error is not None:
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            return error if code & 0xFF in _OF_THE_DISK else None
        error = error.__cause__ or error.__context__
    return None


class SQLiteLog(RecorderLog):
    """A log in a file, for writing (with the writer lock) or reading only."""

    def __init__(self, path: Path, lock: WriterLock | None = None) -> None:
        env = {"SQLITE_DBNAME": str(path), "ORIGINATOR_ID_TYPE": "text", "CREATE_TABLE": "yes" if lock else "no"}
        try:
            recorder = SQLiteLogFactory(env).application_recorder()
            assert isinstance(recorder, SQLiteLogRecorder)
            recorder.max_position()  # a reader makes no tables: this is its first look at the file
        except (EventSourcingError, sqlite3.Error, errors.StoreError) as error:
            trouble = _disk_trouble(error)
            if trouble is not None:
                raise errors.StoreError(f"{path} cannot be used now: {trouble}") from error
            raise errors.BadInput(problem=f"{path} is not a Milepost store ({error})") from error
        super().__init__(recorder)
        self._lock = lock

    def close(self) -> None:
        """Closes the file, then gives the writer lock back."""
        super().close()
        if self._lock is not None:
            self._lock.release()


def open_log(data_dir: Path) -> SQLiteLog:
    """The log of a data directory for writing, made if it is new; StoreLocked if another process writes there."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(data_dir)
    try:
        return SQLiteLog(data_dir / LOG_FILE, lock)
    except BaseException:
        lock.release()
        raise


def read_log(data_dir: Path) -> SQLiteLog:
    """The log of a data directory for reading; StoreNotFound if there is none."""
    if not (data_dir / LOG_FILE).exists():
        raise errors.StoreNotFound(path=str(data_dir))
    return SQLiteLog(data_dir / LOG_FILE)


__all__ = ["SQLiteLog", "SQLiteLogFactory", "SQLiteLogRecorder", "StructMapper", "WriterLock", "open_log", "read_log"]
