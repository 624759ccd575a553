"""What a command says when it cannot do what it was asked: one line, and an exit code for scripts."""

import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from adapters.cli.text import one_line
from adapters.troubles import disk_trouble
from domain import errors

OK = 0
FAILED = 1
BAD_INPUT = 2
REFUSED = 3
UNAVAILABLE = 5
BUG = 70
INTERRUPTED = 130

MEANINGS = {
    OK: "done",
    FAILED: "the work that was waited for failed or was cancelled",
    BAD_INPUT: "bad input or usage, an unknown id included; nothing was changed",
    REFUSED: "a rule or the present state does not allow it; nothing was changed",
    UNAVAILABLE: "the store or the server cannot be used",
    BUG: "a mistake in Milepost itself",
    INTERRUPTED: "interrupted",
}

STORE_LIBRARIES = ("sqlite3", "sqlalchemy", "eventsourcing")
"""What stands below the store. Named, not imported: most commands need none of it in this process."""
STORE_HINT = "if views.db is damaged, `milepost rebuild` makes it anew from the log"
DEBUG_VARIABLE = "MILEPOST_DEBUG"


class Failure(msgspec.Struct, frozen=True):
    """Why a command did not work, for people and for programs."""

    exit_code: int
    message: str
    code: str
    fields: Mapping[str, Any] = {}

    def document(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {"error": {"code": self.code, "message": self.message, "fields": dict(self.fields)}}


def failure_of(error: BaseException) -> Failure:
    """The exit code and the one line for anything that can go wrong."""
    if isinstance(error, errors.TaskSchedulerError):
        fields = {name: _plain(value) for name, value in error.fields.items()}
        return Failure(_exit_code(error), one_line(error.message), error.code, fields)
    if isinstance(error, click.UsageError):
        return Failure(BAD_INPUT, _usage_line(error), "usage")
    if isinstance(error, UnicodeEncodeError):
        return Failure(BAD_INPUT, one_line(f"{error.object[:60]!a} is not UTF-8 text"), "input.invalid")
    if isinstance(error, click.ClickException):
        return Failure(BAD_INPUT, one_line(error.format_message()), "usage")
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return Failure(INTERRUPTED, "interrupted", "interrupted")
    below = _failure_below(error)
    if below is not None:
        return below
    hint = f"; {DEBUG_VARIABLE}=1 shows where" if not os.environ.get(DEBUG_VARIABLE) else ""
    return Failure(BUG, one_line(f"a mistake in Milepost itself: {type(error).__name__}: {error}") + hint, "bug")


def _failure_below(error: BaseException) -> Failure | None:
    """What the system or the store refused; None for anything else."""
    trouble = disk_trouble(error)
    if trouble is not None:
        return Failure(UNAVAILABLE, one_line(trouble), "store.failed")
    if isinstance(error, OSError):
        return Failure(UNAVAILABLE, one_line(_system_text(error)), "unavailable")
    if type(error).__module__.partition(".")[0] in STORE_LIBRARIES:
        return Failure(UNAVAILABLE, one_line(f"the store failed: {_store_text(error)}; {STORE_HINT}"), "store.failed")
    return None


def report(failure: Failure, as_json: bool) -> None:
    """Says what went wrong: a line on standard error, and with `--json` an object on standard output too."""
    click.echo(f"milepost: {failure.message}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(failure.document(), order="deterministic"))


def show_traceback() -> None:
    """The way to the present error, for those who asked for it."""
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc(file=sys.stderr)


def _exit_code(error: errors.TaskSchedulerError) -> int:
    if isinstance(error, errors.StoreError) or error.code.startswith("http."):
        return UNAVAILABLE
    if isinstance(error, errors.Invalid | errors.NotFound):
        return BAD_INPUT
    return BUG if error.code == "internal" else REFUSED


_MISPLACED = {
    "milepost": "options stand after the command's name",
    "milepost submit": "what belongs to the command stands after `--`",
}


REASONS = ("--reason", "--because", "--message", "--comment", "--note", "-m")
"""How other programs call `--why`."""


def _takes_a_reason(error: click.UsageError) -> bool:
    params = error.ctx.command.params if error.ctx else []
    return any("--why" in param.opts and not getattr(param, "is_flag", False) for param in params)


def _usage_line(error: click.UsageError) -> str:
    """Click's message as part of one sentence, with the place where help is found."""
    path = error.ctx.command_path if error.ctx else "milepost"
    if isinstance(error, click.NoSuchOption) and path in _MISPLACED:
        return f"no such option {error.option_name!r}; {_MISPLACED[path]}; see `{path} --help`"
    if isinstance(error, click.NoSuchOption) and error.option_name in REASONS and _takes_a_reason(error):
        return f"no such option {error.option_name!r}; did you mean '--why'?"
    text = one_line(error.format_message()).rstrip(".").replace(". Did you", "; did you")
    text = text[:1].lower() + text[1:]
    return text if text.endswith("?") else f"{text}; see `{path} --help`"


def _system_text(error: OSError) -> str:
    if not error.strerror:
        return str(error) or type(error).__name__
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _store_text(error: BaseException) -> str:
    """What the store's driver says, without the statement and the link that a library puts around it."""
    text = str(getattr(error, "orig", None) or error).partition("\n")[0]
    return text.partition(" (Background on this error")[0]


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
