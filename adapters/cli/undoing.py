"""`milepost undo`: change back what commands changed, each command as a whole."""

from typing import TYPE_CHECKING, Any

import click

from adapters.cli import exits
from adapters.cli.changing import why_option
from adapters.cli.complete import complete_commands
from adapters.cli.frame import Desk, place, verb
from adapters.cli.text import plain
from adapters.clock import SystemIds
from domain import errors

if TYPE_CHECKING:
    from adapters.door import Door

SHOWN = 20
"""So many changes are told of each command; `--json` has more."""


@verb(
    "undo",
    "milepost undo cmd-01kx…",
    "milepost undo cmd-01kx… --dry-run",
    "milepost undo cmd-01kx… --why 'the wrong show'",
)
@click.argument("commands", metavar="COMMAND...", nargs=-1, required=True, shell_complete=complete_commands)
@click.option("--dry-run", is_flag=True, help="Only show what would be changed.")
@why_option
def undo(desk: Desk, commands: tuple[str, ...], dry_run: bool, why: str) -> int:
    """Change back what a command changed, all of it or nothing.

    What can be undone: hold, unhold, pause, resume, prioritize, deadline, protect, drain, undrain, client set, suspend
    and reinstate, sets of policies, and undo itself. Those commands print their id, and `milepost audit` shows it; the
    beginning of an id is enough where it is unique. A thing that was changed again since is left alone: undo that later
    change first.
    """
    with desk.door(write=not dry_run) as door:
        results = [_one(desk, door, text, why, dry_run) for text in commands]
    desk.answer({"results": [{name: value for name, value in each.items() if name != "exit"} for each in results]})
    return max(int(each["exit"]) for each in results)


def _one(desk: Desk, door: "Door", text: str, why: str, dry_run: bool) -> dict[str, Any]:
    """What became of one command."""
    try:
        found = door.get(place("/api/undo", text), why=why)
        done = {} if dry_run else _carry_out(door, found["command_id"], why)
    except errors.StoreError:
        raise  # the others would fail alike
    except errors.TaskSchedulerError as refusal:
        failure = exits.failure_of(refusal)
        click.echo(f"milepost: {failure.message}", err=True)
        return {"id": text, "ok": False, **failure.document(), "exit": failure.exit_code}
    if not desk.as_json:
        _tell(found, done)
    undone = {name: found[name] for name in ("actor", "at_ms", "changes", "rows")}
    return {"id": found["command_id"], "ok": True, "changed": not dry_run, **undone, **done, "exit": exits.OK}


def _carry_out(door: "Door", command_id: str, why: str) -> dict[str, Any]:
    from application.undo import Undo  # noqa: PLC0415 (slow to load, and `--help` does without)

    own_id = SystemIds().new("cmd")
    reply = door.handle([Undo(command_id=command_id, why=why)], own_id)
    return {"position": reply.position, "command_id": own_id}


def _tell(found: dict[str, Any], done: dict[str, Any]) -> None:
    """The command, what was changed or would be, and how to have it again."""
    click.echo(f"{found['command_id']}  {'undone' if done else 'would be undone'}")
    for row in found["rows"][:SHOWN]:
        click.echo(f"  {plain(row['sentence'])}")
    if found["changes"] > SHOWN:
        click.echo(f"  and {found['changes'] - SHOWN} more")
    if done:
        click.echo(f"to have it again: milepost undo {done['command_id']}", err=True)
