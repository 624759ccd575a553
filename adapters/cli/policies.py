"""`milepost policy`: the rules that plan the farm; which are in force, which there are, and what others would bring."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from adapters.cli.changing import why_option
from adapters.cli.complete import complete_edit, complete_family
from adapters.cli.frame import Desk, verb
from adapters.cli.looking import at_option, given
from adapters.cli.policypages import adopted_page, catalog_page, diff_page, history_page, set_page
from adapters.clock import SystemIds
from adapters.importers.catalog import catalog
from adapters.importers.edits import differences, edited
from adapters.importers.policies import load_policies
from adapters.importers.tariffs import load_tariff
from adapters.plugins import load_plugins
from application.commands import AdoptPolicies
from domain.errors import BadInput
from domain.policies import Policies

if TYPE_CHECKING:
    from adapters.door import Door

NUMBER = re.compile(r"\d{1,9}")
NOW = "now"
SUFFIXES = (".toml", ".json")
TARIFF_FILE = click.Path(path_type=Path, dir_okay=False)
dry_option = click.option("--dry-run", is_flag=True, help="Only show what would change.")
items = click.argument("items", metavar="FILE|KEY=VALUE...", nargs=-1, required=True, shell_complete=complete_edit)


@click.group("policy")
def policy() -> None:
    """Show, adopt and compare the policies that plan the farm."""


@verb("show", "milepost policy show", "milepost policy show --at -7d --json")
@at_option
def show(desk: Desk, at: str | None) -> None:
    """Show the set in force: every answer with the parameters that are not as by default, and the tariff."""
    with desk.door() as door:
        desk.answer(door.get("/api/policies", **given({"at": at})), set_page)


@verb("list", "milepost policy list", "milepost policy list energy", "milepost policy list order --json")
@click.argument("family", required=False, shell_complete=complete_family)
def list_policies(desk: Desk, family: str | None) -> None:
    """List the policies that there are, of this installation and of plug-ins, with their parameters and defaults."""

    desk.answer({"rows": catalog(family)}, catalog_page)


@verb(
    "adopt",
    "milepost policy adopt ours.toml --why 'the new show'",
    "milepost policy adopt energy=night-savings order=edf energy.idle_after_s=600",
    "milepost policy adopt clients.studio.placement=spread backfill=4 --dry-run",
    "milepost policy adopt energy.idle_after_s=        (as by default again)",
)
@items
@why_option
@dry_option
def adopt(desk: Desk, items: tuple[str, ...], why: str, dry_run: bool) -> None:
    """Let cycles follow other policies from now on; what is not said stays as it is.

    A file is TOML or JSON; keys are those that `milepost policy diff` shows. A policy that is named has no parameters
    but those said with it.
    """
    with desk.door(write=not dry_run, create=not dry_run) as door:
        _carry_out(desk, door, items, why, dry_run)


@verb("tariff", "milepost policy tariff night.toml --why 'new contract'", "milepost policy tariff prices.csv --dry-run")
@click.argument("file", type=TARIFF_FILE)
@why_option
@dry_option
def tariff(desk: Desk, file: Path, why: str, dry_run: bool) -> None:
    """Let another tariff be in force: what a kilowatt-hour costs at which time of which day.

    \b
    price = 0.30                    outside the windows
    currency = "EUR"
    utc_offset = "+01:00"           of the clock that the windows mean
    [[windows]]
    from = "22:00"
    until = "06:00"
    price = 0.12
    days = ["mon", "sat"]           every day if nothing is said

    The same as JSON, or as CSV with the columns from,until,price,days; its line without times is the price outside.
    """

    with desk.door(write=not dry_run, create=not dry_run) as door:
        before = _in_force(door)
        _adopt(desk, door, before, replace(before, tariff=load_tariff(file)), why, dry_run)


@verb("history", "milepost policy history", "milepost policy history --limit 5 --json")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
def history(desk: Desk, limit: int) -> None:
    """Show all sets that were in force, the newest first: since when, by whom, why, and what changed."""
    with desk.door() as door:
        desk.answer(door.get("/api/policies/history", limit=limit), lambda found: history_page(desk, found))


@verb(
    "diff",
    "milepost policy diff 2 3",
    "milepost policy diff 2                      (against the set in force)",
    "milepost policy diff now ours.toml",
    "milepost policy diff energy=balanced,order=edf",
)
@click.argument("first", metavar="SET", shell_complete=complete_edit)
@click.argument("second", metavar="[SET]", required=False, shell_complete=complete_edit)
def diff(desk: Desk, first: str, second: str | None) -> None:
    """Show where two sets differ: numbers of sets, `now`, files, or changes such as order=edf,backfill=2.

    With one set, what is in force is compared with it. Files and changes are read over the set in force.
    """
    with desk.door() as door:
        before = _named_set(door, first if second is not None else NOW)
        after = _named_set(door, second if second is not None else first)

    rows = [each._asdict() for each in differences(before, after)]
    desk.answer({"rows": rows}, diff_page)


for command in (show, list_policies, adopt, tariff, history, diff):
    policy.add_command(command)


# -- adopting ------------------------------------------------------------------------------------------------------


def _carry_out(desk: Desk, door: "Door", texts: tuple[str, ...], why: str, dry_run: bool) -> None:
    before = _in_force(door)
    _adopt(desk, door, before, applied(before, texts), why, dry_run)


def applied(policies: Policies, texts: tuple[str, ...]) -> Policies:
    """The set with files and changes over it, checked in the end: they may depend on each other."""

    load_plugins()
    for text in texts:
        is_file = "=" not in text or (text.lower().endswith(SUFFIXES) and Path(text).exists())
        policies = load_policies(Path(text), policies) if is_file else edited(policies, text)
    policies.check()
    return policies


def _adopt(desk: Desk, door: "Door", before: Policies, after: Policies, why: str, dry_run: bool) -> None:

    after.check()
    changes, command_id = [each._asdict() for each in differences(before, after)], SystemIds().new("cmd")
    answer: dict[str, Any] = {"changed": False, "version": before.version, "changes": changes}
    answer |= {"position": None, "command_id": command_id, "undo": None}
    if not dry_run:
        reply = door.handle([AdoptPolicies(policies=after, why=why)], command_id)
        changed = reply.events > 0
        answer |= {"changed": changed, "position": reply.position, "undo": command_id if changed else None}
        answer["version"] = door.get("/api/policies")["set"]["version"]
    answer["policies"] = msgspec.to_builtins(after)
    desk.answer(answer, lambda found: adopted_page(found, dry_run))
    if answer["undo"]:
        desk.note(f"to undo: milepost undo {command_id}")


# -- sets ----------------------------------------------------------------------------------------------------------


def _in_force(door: "Door") -> Policies:
    return _read(door.get("/api/policies")["set"])


def _read(line: dict[str, Any]) -> Policies:

    return msgspec.convert(line["policies"], Policies)


def _named_set(door: "Door", text: str) -> Policies:
    """The set that a person means: a number, `now`, a file, or changes of the set in force."""
    if text == NOW:
        return _in_force(door)
    if NUMBER.fullmatch(text):
        rows = door.get("/api/policies/history", limit=10_000)["rows"]
        found = next((row for row in rows if row["version"] == int(text)), None)
        if found is None:
            known = f"1 to {rows[0]['version']}" if len(rows) > 1 else "1"
            raise BadInput(problem=f"there is no set {text} of policies; there is {known}")
        return _read(found)
    return applied(_in_force(door), changes_of(text))


def changes_of(text: str) -> tuple[str, ...]:
    """One word as several changes: `order=edf,backfill=2`; a comma within a value stays where no `=` follows it."""
    if text.lower().endswith(SUFFIXES) and Path(text).exists():
        return (text,)
    return tuple(re.split(r",(?=[A-Za-z][\w.-]*=)", text))
