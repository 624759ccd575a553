"""What all commands share: the options `--data` and `--json`, the door to the farm, help in sections, error lines."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import msgspec

from adapters.cli import exits
from adapters.clock import SystemClock
from domain.errors import BadInput, StoreError, StoreNotFound

if TYPE_CHECKING:
    from adapters.door import Door

DATA_VARIABLE = "MILEPOST_DATA_DIR"
LOG_FILE = "milepost.db"
SETTINGS_FILE = "milepost.toml"


class NoServer(StoreError):
    """no server works on {path}, so nothing would happen; start `milepost serve`, or let `milepost run` do the work"""

    code = "server.none"


class Desk:
    """What a command has at hand: the data directory, the clock, and how its answer is wanted."""

    def __init__(self, named_data_dir: Path | None, as_json: bool) -> None:
        self.named_data_dir, self.as_json = named_data_dir, as_json
        self.data_dir = named_data_dir or default_data_dir()
        self.clock = SystemClock()

    @contextmanager
    def door(self, *, write: bool = False, create: bool = False) -> "Iterator[Door]":
        """The farm: its server if one runs, else the store itself; `create` makes one where there is nothing yet."""
        from adapters.door import connect  # noqa: PLC0415 (costs more than all the rest; `--help` does without)

        fresh = write and not (self.data_dir / LOG_FILE).exists()
        if fresh and not (create and is_vacant(self.data_dir)):
            raise StoreNotFound(path=str(self.data_dir))
        door = connect(self.data_dir, write)
        if fresh:
            serve = f"milepost serve --data {shlex.quote(str(self.data_dir))}"
            self.note(f"new farm in {self.data_dir}; no server runs there: `{serve}` (or run) does its work")
        try:
            yield door
        finally:
            door.close()

    def answer(self, document: Any, show: Callable[[Any], Any] | None = None) -> None:
        """Prints a document as JSON, or as `show` makes it for people."""
        if self.as_json:
            click.echo(msgspec.json.encode(document))
        elif show is not None:
            shown = show(document)
            if shown is not None:
                self.print(shown)

    def print(self, *shown: Any) -> None:
        """Prints text and tables for people."""
        for each in shown:
            if isinstance(each, str):
                click.echo(each)
            else:
                from adapters.cli.render import put  # noqa: PLC0415 (tables are slow to load, and often not needed)

                put(each)

    def note(self, text: str) -> None:
        """Says something beside the answer, on standard error; not with `--json`."""
        if not self.as_json:
            click.echo(text, err=True)


class Verb(click.Command):
    """A command with `--data` and `--json`, whose function is given a `Desk` first."""

    def __init__(self, name: str, function: Callable[..., int | None], examples: Sequence[str], **attrs: Any) -> None:
        def run(data_dir: Path | None, as_json: bool, **values: Any) -> int | None:
            return function(Desk(data_dir, as_json), **values)

        params = [*reversed(getattr(function, "__click_params__", [])), data_option(), json_option()]
        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None
        super().__init__(name, callback=run, params=params, help=function.__doc__, epilog=epilog, **attrs)


def place(*parts: str) -> str:
    """The path of a question about something that a person named: `place("/api/jobs", "job-1")`."""
    first, *names = parts
    if not all(names):
        raise BadInput("an id is empty")
    return "/".join([first, *(quote(name, safe="") for name in names)])


def need_server(desk: Desk, door: "Door") -> None:
    """NoServer unless somebody works on the farm."""
    if not door.is_server:
        raise NoServer(path=str(desk.data_dir))


def verb(name: str, *examples: str, **attrs: Any) -> Callable[[Callable[..., int | None]], Verb]:
    """Makes a command of a function; the examples stand at the end of its help."""
    return lambda function: Verb(name, function, examples, **attrs)


def data_option() -> click.Option:
    """Where the farm's data lies."""
    return click.Option(
        ["--data", "data_dir"],
        type=click.Path(path_type=Path, resolve_path=True),
        metavar="DIR",
        help=f"Data directory of the farm. Default: ${DATA_VARIABLE}, else your user data directory.",
    )


def json_option() -> click.Option:
    """How the answer is wanted."""
    return click.Option(["--json", "as_json"], is_flag=True, help="Print JSON instead of text.")


def is_vacant(data_dir: Path) -> bool:
    """Whether a store can be made there without mixing it with other things."""
    return not data_dir.exists() or {each.name for each in data_dir.iterdir()} <= {SETTINGS_FILE}


def default_data_dir() -> Path:
    """The data directory when none is named."""
    named = os.environ.get(DATA_VARIABLE)
    if named:
        return Path(named).absolute()
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_data_dir("milepost"))


def carry_out(group: click.Group, args: Sequence[str] | None) -> int:
    """Runs one command line; its exit code."""
    given = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a character shows another one instead
            stream.reconfigure(errors="replace")
    try:
        for word in given:
            word.encode()  # fails for bytes that are no text
        result = group.main(given, prog_name="milepost", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return exits.BAD_INPUT
    except BrokenPipeError:
        # Whoever read the output has enough; the interpreter must not complain about it at its end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (whatever it is, it becomes one line and a code)
        failure = exits.failure_of(error)
        exits.show_traceback()
        exits.report(failure, wants_json(given))
        return failure.exit_code
    return result if isinstance(result, int) else exits.OK


def wants_json(args: Sequence[str]) -> bool:
    """Whether `--json` is among the options, also when they could not be understood."""
    options = args[: args.index("--")] if "--" in args else args
    return "--json" in options
