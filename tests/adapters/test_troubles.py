"""What is said when a disk refuses: with errors that the libraries really raise."""

import errno
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.threads import Loops
from adapters.troubles import disk_trouble
from domain.errors import StoreError

AFTERWARDS = "then start the server again: what was acknowledged is safe, and what runs goes on"


def raised_by(what: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011 (each library has its own)
        what()
    return raised.value


def full(connection: sqlite3.Connection) -> sqlite3.Connection:
    """A database that cannot grow any more."""
    connection.execute("PRAGMA max_page_count = 2")
    return connection


def fill(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE t (x)")
    connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


def test_a_full_log_is_named_with_what_helps(tmp_path: Path) -> None:
    connection = full(sqlite3.connect(tmp_path / "milepost.db"))
    error = raised_by(lambda: fill(connection))
    connection.close()
    assert disk_trouble(error, tmp_path) == f"{tmp_path}/milepost.db: the disk is full; make room on it, {AFTERWARDS}"
    wrapped = StoreError("the store failed")
    wrapped.__cause__ = error
    assert disk_trouble(wrapped) == f"milepost.db: the disk is full; make room on it, {AFTERWARDS}"


def test_full_read_models_are_named_without_links_to_anybodys_documentation(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/views.db")

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("PRAGMA max_page_count = 2"))
            connection.execute(sa.text("CREATE TABLE t (x)"))
            connection.execute(sa.text("INSERT INTO t VALUES (zeroblob(100000))"))

    error = raised_by(write)
    engine.dispose()
    assert "sqlalche" in str(error)
    assert disk_trouble(error, tmp_path) == f"{tmp_path}/views.db: the disk is full; make room on it, {AFTERWARDS}"


def test_a_damaged_file_can_be_made_anew_or_not(tmp_path: Path) -> None:
    (tmp_path / "milepost.db").write_bytes(b"no database" * 1000)
    connection = sqlite3.connect(tmp_path / "milepost.db")
    error = raised_by(lambda: connection.execute("SELECT * FROM sqlite_master"))
    connection.close()
    said = disk_trouble(error, tmp_path) or ""
    assert said.startswith(f"{tmp_path}/milepost.db: the file is damaged; if it is views.db, `milepost rebuild`")


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/farm/server.json"), "/farm/server.json: the disk is full;"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "/farm: the disk is full;"),
        (OSError(errno.EROFS, "Read-only file system", "/farm/x"), "/farm/x: it cannot be written;"),
        (OSError(errno.EIO, "Input/output error", "/farm/x"), "/farm/x: the disk failed;"),
    ],
)
def test_files_are_spoken_of_in_the_same_way(error: OSError, begins: str) -> None:
    said = disk_trouble(error, Path("/farm"))
    assert said is not None
    assert said.startswith(begins)


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), ConnectionRefusedError(errno.ECONNREFUSED, "refused"), sqlite3.OperationalError("no such table")],
)
def test_other_errors_are_none_of_the_disk(error: Exception) -> None:
    assert disk_trouble(error) is None


def test_a_loop_that_ends_for_want_of_room_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def write(stop: threading.Event) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/farm/milepost.db")

    loops = Loops(disk_trouble)
    loops.start("dispatcher", write)
    assert loops.failed.wait(10)
    loops.stop()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"milepost: dispatcher stopped: /farm/milepost.db: the disk is full; make room on it, {AFTERWARDS}"


def test_a_loop_that_ends_by_a_mistake_shows_the_way_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    def stumble(stop: threading.Event) -> None:
        raise KeyError("missing")

    loops = Loops(disk_trouble)
    loops.start("views", stumble)
    assert loops.failed.wait(10)
    loops.stop()
    said = capsys.readouterr().err
    assert said.startswith("milepost: views stopped: 'missing'\nTraceback")
