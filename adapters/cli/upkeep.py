"""Commands that make and mend: init, demo, rebuild, and the completion script of a shell."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

from adapters import settings
from adapters.cli import exits
from adapters.cli import values as v
from adapters.cli.frame import Desk, verb
from adapters.cli.render import console
from domain.errors import BadInput, ExtraMissing

if TYPE_CHECKING:
    from application.ports import Log
    from projections.compare import Comparison

DIFFERENCES_SHOWN = 10
SHELLS = ("bash", "zsh", "fish")
DEMO_NODES = 4


@verb("init", "milepost init", "milepost init /srv/farm && milepost serve --data /srv/farm")
@click.argument("directory", required=False, type=click.Path(path_type=Path, resolve_path=True, file_okay=False))
@click.option("--force", is_flag=True, help="Write the settings anew although there are some.")
def init(desk: Desk, directory: Path | None, force: bool) -> None:
    """Make a data directory: an empty store, and milepost.toml with every setting, its meaning and its default."""
    from adapters.store.sqlite import LOG_FILE, open_log  # noqa: PLC0415 (slow to load, and last of all needed)

    if directory is not None and desk.named_data_dir not in (None, directory):
        raise click.UsageError("a directory and --data at once")
    data_dir = directory or desk.data_dir
    path = data_dir / settings.FILE_NAME
    if path.exists() and not force:
        raise BadInput(f"{path} is there already; --force writes it anew")
    data_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(settings.EXAMPLE)
    if not (data_dir / LOG_FILE).exists():
        open_log(data_dir).close()
    desk.answer({"data_dir": str(data_dir), "settings": str(path)}, lambda _: _made(data_dir, path))


def _made(data_dir: Path, path: Path) -> str:
    return f"made  {data_dir}\nread  {path}\nthen  milepost serve --data {data_dir}"


@verb("demo", "milepost demo", "milepost demo --nodes 2 --data ./demo", "milepost demo --json")
@click.option("--nodes", type=v.whole(2, 64), default=DEMO_NODES, show_default=True, help="How many nodes.")
def demo(desk: Desk, nodes: int) -> int:
    """Watch a small farm do real work: a render, a simulation with checkpoints, a lost node.

    Takes under a minute. Works in a directory of its own, a temporary one unless --data names an empty one.
    """
    if find_spec("numpy") is None:
        raise ExtraMissing(extra="samples")
    from adapters.demo import run_demo  # noqa: PLC0415 (loads the whole farm)

    return run_demo(desk.named_data_dir, nodes, desk.as_json, console(markup=True))


@verb("rebuild", "milepost rebuild", "milepost rebuild --check      (beside a running server, too)")
@click.option("--check", is_flag=True, help="Only compare with fresh ones; exit code 1 if they differ.")
def rebuild(desk: Desk, check: bool) -> int:
    """Drop the read models and make them anew from the log, which loses nothing."""
    from adapters.store.sqlite import open_log, read_log  # noqa: PLC0415 (slow to load, as all of the store)

    log = read_log(desk.data_dir)
    try:
        if check:
            return _check(desk, log)
    finally:
        log.close()
    writable = open_log(desk.data_dir)  # nobody else may keep them meanwhile
    try:
        position = _rebuild(desk.data_dir, writable)
    finally:
        writable.close()
    desk.answer({"position": position}, lambda _: f"the read models are made anew, up to position {position}")
    return exits.OK


def _rebuild(data_dir: Path, log: "Log") -> int:
    """A new file in the place of the old one, which may be damaged beyond reading."""
    from adapters.views import VIEWS_FILE, Views  # noqa: PLC0415 (as above)

    for suffix in ("", "-wal", "-shm"):
        (data_dir / f"{VIEWS_FILE}{suffix}").unlink(missing_ok=True)
    views = Views(data_dir, log)
    try:
        return views.catch_up()
    finally:
        views.close()


def _check(desk: Desk, log: "Log") -> int:
    from adapters.views import VIEWS_FILE  # noqa: PLC0415 (as above)
    from projections.runner import ProjectionRunner  # noqa: PLC0415 (as above)
    from projections.tables import open_views  # noqa: PLC0415 (as above)

    engine = open_views(f"sqlite:///{desk.data_dir / VIEWS_FILE}")
    try:
        found = ProjectionRunner(engine, log.read, log.position).compare()
    finally:
        engine.dispose()
    desk.answer(found, lambda _: _compared(found))
    return exits.FAILED if found.differences else exits.OK


def _compared(found: "Comparison") -> str:
    if not found.differences:
        return f"all {found.rows} rows are what the log says, up to position {found.position}"
    lines = [
        f"{each.table} {each.key} has {each.found} where the log says {each.expected}"
        for each in found.differences[:DIFFERENCES_SHOWN]
    ]
    more = len(found.differences) - len(lines)
    return "\n".join([*lines, f"and {more} more"] if more else lines) + "\n`milepost rebuild` makes them anew"


@click.command(
    "completion",
    epilog="\b\nExamples:\n"
    '  eval "$(milepost completion bash)"                                    in ~/.bashrc\n'
    '  eval "$(milepost completion zsh)"                                     in ~/.zshrc\n'
    "  milepost completion fish > ~/.config/fish/completions/milepost.fish",
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_context
def completion(ctx: click.Context, shell: str | None, as_json: bool) -> None:
    """Print the script that lets a shell complete commands, options and ids. Default: your login shell."""
    shell = shell or Path(os.environ.get("SHELL", "")).name
    kind: Any = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        raise click.UsageError(f"name the shell: {', '.join(SHELLS)}", ctx)
    script = kind(ctx.find_root().command, {}, "milepost", "_MILEPOST_COMPLETE").source()
    desk = Desk(Path(), as_json)
    desk.answer({"shell": shell, "script": script}, lambda _: script)
    sys.stdout.flush()
