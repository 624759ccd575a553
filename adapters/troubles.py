"""What an operator can do when the disk below a farm refuses: which file, what is wrong, and what helps.

The libraries in between say it in their own ways, some with links to their documentation; the cause below is always an
`OSError` or an error of SQLite, and both carry a code.
"""

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LOG_FILE, VIEWS_FILE = "milepost.db", "views.db"
VIEWS_LIBRARY = "sqlalchemy"
"""Only the read models are reached through it."""
AFTERWARDS = "then start the server again: what was acknowledged is safe, and what runs goes on"


class Trouble(NamedTuple):
    """One way in which a disk refuses."""

    what: str
    help: str
    errnos: tuple[int, ...]
    sqlite_codes: tuple[int, ...]
    """Primary result codes (https://sqlite.org/rescode.html)."""


TROUBLES = (
    Trouble("the disk is full", "make room on it", (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (sqlite3.SQLITE_FULL,)),
    Trouble("it cannot be written", "make it writable", (errno.EROFS, errno.EACCES), (sqlite3.SQLITE_READONLY,)),
    Trouble("the disk failed", "look at the disk", (errno.EIO,), (sqlite3.SQLITE_IOERR,)),
    Trouble(
        "the file is damaged",
        f"if it is {VIEWS_FILE}, `milepost rebuild` makes it anew; {LOG_FILE} has to come back from a copy",
        (),
        (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB),
    ),
)


def disk_trouble(error: BaseException, data_dir: Path | None = None) -> str | None:
    """One line for people about an error that comes from a disk; None for any other error.

    `data_dir` completes the names of files; without it they stand alone.
    """
    chain = list(_causes(error))
    for cause in chain:
        found = next((each for each in TROUBLES if _is(each, cause)), None)
        if found is not None:
            return f"{_file(chain, cause, data_dir)}: {found.what}; {found.help}, {AFTERWARDS}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it was made of, the outermost first."""
    while error is not None:
        yield error
        original = getattr(error, "orig", None)  # where SQLAlchemy keeps the driver's error
        error = original if isinstance(original, BaseException) else error.__cause__


def _is(trouble: Trouble, error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in trouble.errnos
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    return isinstance(code, int) and code & 0xFF in trouble.sqlite_codes


def _file(chain: list[BaseException], cause: BaseException, data_dir: Path | None) -> str:
    if isinstance(cause, OSError):
        return str(cause.filename or data_dir or "the data directory")
    of_views = any(type(each).__module__.partition(".")[0] == VIEWS_LIBRARY for each in chain)
    name = VIEWS_FILE if of_views else LOG_FILE
    return str(data_dir / name if data_dir is not None else name)
