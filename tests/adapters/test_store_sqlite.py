"""The log in a file: what every log promises, durably, with one writer and any number of readers."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.store.mapper import StructMapper
from adapters.store.sqlite import (
    LOCK_FILE,
    LOG_FILE,
    DurablePool,
    SQLiteLog,
    SQLiteLogFactory,
    SQLiteLogRecorder,
    WriterLock,
    open_log,
    read_log,
)
from application.ports import Log, Remembered, StateSnapshot, Unless
from domain import errors
from domain.messages import Recorded
from tests.contracts.log import LogContract, drained, held, history, positions, together


class TestSQLiteLog(LogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        log = open_log(tmp_path / "data")
        yield log
        log.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


# -- the file --------------------------------------------------------------------------------------------------------


def test_what_was_appended_is_there_for_the_next_process(data: Path) -> None:
    log = open_log(data)
    log.append(history(3), snapshots=[StateSnapshot("job-1", 3, "job.snapshot", b"x")])
    log.append([drained(1)], remembered=[Remembered("cmd-a", 1, 1)])
    before = log.read(0, 10)
    log.close()
    again = open_log(data)
    assert again.read(0, 10) == before
    assert again.snapshot("job-1") == StateSnapshot("job-1", 3, "job.snapshot", b"x")
    assert again.remembered("cmd-a") == (4, 1)
    assert again.append([drained(2)]) == 5
    again.close()


def test_every_commit_is_on_the_disk_before_it_is_acknowledged(data: Path) -> None:
    log = open_log(data)
    assert isinstance(log.recorder, SQLiteLogRecorder)
    with log.recorder.datastore.get_connection(commit=True) as connection:
        cursor = connection._sqlite_conn.cursor()
        (journal,), (synchronous,) = (
            tuple(cursor.execute(f"PRAGMA {name}").fetchone()) for name in ("journal_mode", "synchronous")
        )
    assert (journal, synchronous) == ("wal", 2)  # 2 is FULL
    log.close()


def test_the_file_is_a_plain_table_of_readable_events(data: Path) -> None:
    log = open_log(data)
    log.append([held("job-1", 1)])
    log.close()
    with sqlite3.connect(data / LOG_FILE) as connection:
        (row,) = connection.execute(
            "SELECT rowid, originator_id, originator_version, topic, json_extract(state, '$.event.job_id'), "
            "json_extract(state, '$.meta.actor') FROM stored_events"
        )
    connection.close()
    assert row == (1, "job-1", 1, "job.held", "job-1", "user:ada")


def test_a_file_that_is_something_else_is_named_in_the_error(data: Path) -> None:
    data.mkdir()
    (data / LOG_FILE).write_bytes(b"not a database, certainly not one of SQLite's" * 100)
    for opens in (open_log, read_log):
        with pytest.raises(errors.BadInput, match=LOG_FILE):
            opens(data)
    with pytest.raises(errors.BadInput, match=LOG_FILE):
        open_log(data)  # the lock was given back


def test_a_database_without_our_tables_is_no_store(data: Path) -> None:
    data.mkdir()
    sqlite3.connect(data / LOG_FILE).close()
    with sqlite3.connect(data / LOG_FILE) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(errors.BadInput, match="not a Milepost store"):
        read_log(data)


def test_a_full_disk_says_nothing_against_the_store(data: Path) -> None:
    """As on a full disk: no file may grow, not even those that a database makes beside itself."""
    log = open_log(data)
    log.close()
    code = (
        "import resource, sys; from pathlib import Path; from adapters.store.sqlite import open_log;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)); open_log(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data)], capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"domain.errors.StoreError: {data / LOG_FILE} cannot be used now: "), done.stderr


def test_a_store_that_is_not_there_is_not_made_by_reading(data: Path) -> None:
    with pytest.raises(errors.StoreNotFound) as caught:
        read_log(data)
    assert caught.value.fields == {"path": str(data)}
    assert not data.exists()


@pytest.mark.parametrize("name", ["with space", "100%", "a#b?c", "é√"])
def test_a_data_directory_may_be_called_anything(tmp_path: Path, name: str) -> None:
    log = open_log(tmp_path / name)
    log.append([held("job-1", 1)])
    log.close()
    assert (tmp_path / name / LOG_FILE).is_file()
    reader = read_log(tmp_path / name)
    assert reader.position() == 1
    reader.close()


# -- failures --------------------------------------------------------------------------------------------------------


def test_a_store_that_fails_is_a_store_error_and_the_log_goes_on_afterwards(data: Path) -> None:
    log = open_log(data)
    log.append(history(1))
    assert isinstance(log.recorder, SQLiteLogRecorder)
    insert = log.recorder.insert_events_statement
    log.recorder.insert_events_statement = "INSERT INTO nowhere VALUES (?,?,?,?)"
    with pytest.raises(errors.StoreError, match="nowhere"):
        log.append(history(1, first=2))
    log.recorder.insert_events_statement = insert
    assert log.append(history(1, first=2)) == 2
    log.close()


def test_a_store_that_another_program_holds_for_too_long_is_a_store_error(data: Path) -> None:
    open_log(data).close()
    env = {"SQLITE_DBNAME": str(data / LOG_FILE), "SQLITE_LOCK_TIMEOUT": "3", "ORIGINATOR_ID_TYPE": "text"}
    recorder = SQLiteLogFactory(env).application_recorder()
    assert isinstance(recorder, SQLiteLogRecorder)
    assert recorder.datastore.pool.lock_timeout == 3
    recorder.datastore.close()
    recorder.datastore.pool = DurablePool(db_name=str(data / LOG_FILE), lock_timeout=0.05)  # type: ignore[arg-type]
    other = sqlite3.connect(data / LOG_FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(errors.StoreError, match="locked"):
        recorder.append_rows([("job-1", 1, "job.held", b"{}")], None, (), ())
    other.execute("ROLLBACK")
    other.close()
    assert recorder.append_rows([("job-1", 1, "job.held", b"{}")], None, (), ()) == 1
    recorder.shut()


# -- one writer ------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_which_process_has_the_store(data: Path) -> None:
    log = open_log(data)
    with pytest.raises(errors.StoreLocked) as caught:
        open_log(data)
    assert caught.value.fields == {"path": str(data), "pid": str(os.getpid())}
    log.close()
    open_log(data).close()


def test_the_lock_can_be_given_back_twice(data: Path) -> None:
    data.mkdir()
    lock = WriterLock(data)
    lock.release()
    lock.release()
    WriterLock(data).release()


def test_a_lock_file_that_nobody_holds_stops_nobody(data: Path) -> None:
    data.mkdir()
    (data / LOCK_FILE).write_text("4711 and more than fits in it")
    log = open_log(data)
    assert (data / LOCK_FILE).read_text() == str(os.getpid())
    log.close()


HOLDER = """
import sys
from pathlib import Path
from adapters.store.sqlite import open_log
from tests.contracts.log import history
log = open_log(Path(sys.argv[1]))
log.append(history(2))
print("holds", flush=True)
sys.stdin.read()
"""


def test_a_writer_that_was_killed_leaves_the_store_free_and_whole(data: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "holds\n"
    with pytest.raises(errors.StoreLocked, match=str(holder.pid)):
        open_log(data)
    reader = read_log(data)
    assert reader.position() == 2
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    holder.stdin.close()
    holder.stdout.close()
    log = open_log(data)
    assert log.append(history(1, first=3)) == 3
    assert reader.position() == 3
    reader.close()
    log.close()


# -- many readers ----------------------------------------------------------------------------------------------------


def test_a_reader_sees_what_is_written_beside_it(data: Path) -> None:
    log, reader = open_log(data), read_log(data)
    log.append(history(2))
    assert positions(reader.read(0, 10)) == [1, 2]
    log.append([drained(1)])
    assert reader.position() == 3
    reader.close()
    log.close()


def test_reading_goes_on_while_a_write_is_under_way(data: Path) -> None:
    log, reader = open_log(data), read_log(data)
    log.append(history(2))
    other = sqlite3.connect(data / LOG_FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert reader.position() == 2
    assert log.position() == 2
    other.execute("ROLLBACK")
    other.close()
    reader.close()
    log.close()


def test_more_threads_than_connections_may_read(data: Path) -> None:
    log = open_log(data)
    log.append(history(100))

    def read(_: int) -> None:
        for after in range(50):
            assert len(log.read(after, 10)) == 10

    together(read, 24)
    log.close()


# -- several processes on one file -----------------------------------------------------------------------------------


def without_lock(data: Path) -> SQLiteLog:
    """A log that writes without asking who else does, as a second process on a shared store would."""
    log = SQLiteLog(data / LOG_FILE)
    assert isinstance(log.recorder, SQLiteLogRecorder)
    return log


def test_two_connections_that_want_the_same_version_get_it_once(data: Path) -> None:
    open_log(data).close()
    one, two = without_lock(data), without_lock(data)
    results: list[str] = []

    def append(number: int) -> None:
        for version in range(1, 21):
            try:
                (one, two)[number].append([held("job-1", version)])
                results.append("stored")
            except errors.VersionConflict:
                results.append("conflict")

    together(append, 2)
    assert results.count("stored") == 20
    assert positions(one.read(0, 100)) == list(range(1, 21))
    one.close()
    two.close()


def test_a_condition_counts_what_another_connection_wrote(data: Path) -> None:
    open_log(data).close()
    one, two = without_lock(data), without_lock(data)
    two.append([drained(1)])
    with pytest.raises(errors.PositionConflict):
        one.append([held("job-1", 1)], unless=Unless(0, ("node.drained",)))
    assert one.append([held("job-1", 1)], unless=Unless(1, ("node.drained",))) == 2
    one.close()
    two.close()


def append_from_outside(data: Path, name: str) -> None:
    log = SQLiteLog(data / LOG_FILE)
    for version in range(1, 26):
        log.append([held(name, 2 * version - 1), held(name, 2 * version)])
    log.close()


def test_processes_that_append_at_once_leave_no_gap_and_no_mixture(data: Path) -> None:
    open_log(data).close()
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=append_from_outside, args=(data, f"job-{n}")) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    log = read_log(data)
    recorded: list[Recorded] = log.read(0, 1_000)
    assert positions(recorded) == list(range(1, 101))
    assert all(recorded[at].stream == recorded[at + 1].stream for at in range(0, 100, 2))
    log.close()


# -- the library's way in --------------------------------------------------------------------------------------------


def test_the_librarys_recorder_and_ours_are_one_table(data: Path) -> None:
    log = open_log(data)
    log.append([held("job-1", 1)])
    assert isinstance(log.recorder, SQLiteLogRecorder)
    mapper = StructMapper()
    (notification,) = log.recorder.select_notifications(1, 10)
    recorded = mapper.to_domain_event(notification)
    assert recorded == log.read(0, 1)[0]
    log.recorder.insert_events([mapper.to_stored_event(held("job-1", 2))])
    assert positions(log.stream("job-1")) == [1, 2]
    with pytest.raises(errors.PositionConflict):
        log.recorder.insert_events([mapper.to_stored_event(held("job-1", 3))], unless=Unless(0, ("job.held",)))
    assert log.position() == 2
    log.close()


@pytest.mark.parametrize("times", range(5))
def test_a_log_closed_under_its_readers_ends_them_with_an_error_and_nothing_worse(data: Path, times: int) -> None:
    log = open_log(data)
    log.append(history(500))
    busy = threading.Barrier(5)

    def read_on() -> None:
        while True:
            assert len(log.read(0, 500)) == 500

    def work(number: int) -> None:
        busy.wait(5)
        if number == 0:
            log.close()
        else:
            with pytest.raises(errors.StoreError):
                read_on()

    together(work, 5)
    again = open_log(data)
    assert again.position() == 500
    again.close()
