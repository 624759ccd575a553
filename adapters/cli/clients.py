"""`milepost client`: who owns work, what each may count on, and what each may not exceed."""

from typing import Any

import click

from adapters.cli import values as v
from adapters.cli.changing import each_of, resolve, why_option
from adapters.cli.complete import complete_clients
from adapters.cli.frame import Desk, verb
from adapters.cli.render import Cell, Column, short, styled, table
from domain.client import ChangeShares, RegisterClient, ReinstateClient, Shares, SuspendClient
from domain.messages import Command

PERCENT = v.whole(0, 100)
given_clients = click.argument("clients", metavar="CLIENT...", nargs=-1, required=True, shell_complete=complete_clients)
guarantee = click.option(
    "--guarantee", type=PERCENT, metavar="PERCENT", help="Of the farm's cores and GPUs; `lending` keeps it."
)
limit = click.option("--limit", type=PERCENT, metavar="PERCENT", help="Never more than this of cores and GPUs.")
tier = click.option("--tier", help="A word of your own, such as standard or rush.")
borrow = click.option("--borrow/--no-borrow", default=None, help="Whether it may use more than its guarantee.")
borrow_limit = click.option(
    "--borrow-limit", type=PERCENT, metavar="PERCENT", help="How far above its guarantee it may go, of the farm."
)
lend = click.option("--lend/--no-lend", default=None, help="Whether others may use what it leaves unused.")
max_tasks = click.option("--max-tasks", type=v.whole(1), metavar="N", help="How many tasks may run at once.")


@click.group("client")
def client() -> None:
    """Show and change clients: their guarantees and limits."""


@verb("list", "milepost client list", "milepost client list --json")
def list_clients(desk: Desk) -> None:
    """Show all clients with what they may use and what they use now."""
    with desk.door() as door:
        desk.answer(door.get("/api/clients"), lambda found: _table(found["rows"]))


@verb("add", "milepost client add studio --guarantee 50", "milepost client add lab --limit 75 --max-tasks 16 --no-lend")
@click.argument("client_id", metavar="CLIENT")
@click.option("--name", default="", help="What people call it. Default: its id.")
@guarantee
@limit
@tier
@max_tasks
@borrow
@borrow_limit
@lend
def add(desk: Desk, client_id: str, name: str, **shares: Any) -> None:
    """Make a client known."""
    command = RegisterClient(client_id=client_id, name=name, shares=_shares({}, shares))
    with desk.door(write=True, create=True) as door:
        reply = door.handle([command])
        answer = {"client_id": client_id, "changed": reply.events > 0, "position": reply.position}
        desk.answer(answer, lambda _: f"{client_id}  added" + ("" if reply.events else " (as before)"))


@verb("set", "milepost client set lab --limit 50 --borrow-limit 20", "milepost client set lab --no-max-tasks")
@click.argument("client_id", metavar="CLIENT", shell_complete=complete_clients)
@guarantee
@limit
@tier
@max_tasks
@borrow
@borrow_limit
@lend
@click.option("--no-max-tasks", is_flag=True, help="No limit on running tasks.")
@why_option
def set_shares(desk: Desk, client_id: str, no_max_tasks: bool, why: str, **shares: Any) -> int:
    """Change what a client may use; what is not named stays."""
    if not no_max_tasks and all(value is None for value in shares.values()):
        raise click.UsageError("there is nothing to change: give a share, such as --guarantee, --limit or --no-lend")
    if no_max_tasks and shares["max_tasks"] is not None:
        raise click.UsageError("--max-tasks and --no-max-tasks at once")
    with desk.door(write=True) as door:
        rows = {row["client_id"]: row for row in door.get("/api/clients")["rows"]}

        def make(found: str) -> list[Command]:
            before = rows[found] | ({"max_tasks": None} if no_max_tasks else {})
            return [ChangeShares(client_id=found, shares=_shares(before, shares), why=why)]

        return each_of(desk, door, [client_id], lambda text: [resolve(door, "client", text)], make, "changed")


@verb("suspend", "milepost client suspend lab --why 'invoice open'")
@given_clients
@why_option
def suspend(desk: Desk, clients: tuple[str, ...], why: str) -> int:
    """Take no more work from a client and start none of its tasks."""

    def make(found: str) -> list[Command]:
        return [SuspendClient(client_id=found, why=why)]

    with desk.door(write=True) as door:
        return each_of(desk, door, clients, lambda text: [resolve(door, "client", text)], make, "suspended")


@verb("reinstate", "milepost client reinstate lab")
@given_clients
@why_option
def reinstate(desk: Desk, clients: tuple[str, ...], why: str) -> int:
    """Welcome a suspended client again."""

    def make(found: str) -> list[Command]:
        return [ReinstateClient(client_id=found, why=why)]

    with desk.door(write=True) as door:
        return each_of(desk, door, clients, lambda text: [resolve(door, "client", text)], make, "reinstated")


for command in (list_clients, add, set_shares, suspend, reinstate):
    client.add_command(command)


def _shares(before: dict[str, Any], given: dict[str, Any]) -> Shares:
    """The shares as they were, or as they are by default, with what was given in their place."""
    names = {
        "guarantee_percent": "guarantee", "limit_percent": "limit", "tier": "tier", "max_tasks": "max_tasks",
        "borrow": "borrow", "borrow_percent": "borrow_limit", "lend": "lend",
    }  # fmt: skip
    default = Shares()
    merged = {name: before.get(name, getattr(default, name)) for name in names}
    merged |= {name: given[short] for name, short in names.items() if given[short] is not None}
    return Shares(**merged)


def _table(rows: list[dict[str, Any]]) -> Any:
    if not rows:
        return "There are no clients yet; `milepost client add` makes one, and a first job makes `default`."
    columns = [
        Column("CLIENT"),
        Column("NAME", drop=3, flexible=True),
        Column("STATUS"),
        Column("GUARANTEE", right=True, drop=1),
        Column("LIMIT", right=True),
        Column("BORROWS", right=True, drop=6),
        Column("LENDS", drop=6),
        Column("TASKS", right=True),
        Column("CORES", right=True),
        Column("GPUS", right=True, drop=4),
        Column("JOBS", right=True, drop=2),
        Column("TIER", drop=5),
    ]
    return table(columns, [_line(row) for row in rows])


def _line(row: dict[str, Any]) -> tuple[str | Cell, ...]:
    tasks = f"{row['running_tasks']}" + (f"/{row['max_tasks']}" if row["max_tasks"] is not None else "")
    return (
        row["client_id"],
        short(row["name"]) if row["name"] != row["client_id"] else "",
        styled("suspended" if row["suspended"] else "active"),
        f"{row['guarantee_percent']} %",
        f"{row['limit_percent']} %",
        f"{row['borrow_percent']} %" if row["borrow"] else "nothing",
        "yes" if row["lend"] else "nothing",
        tasks,
        f"{row['used_millicores'] / 1000:g}",
        str(row["used_gpus"]) if row["used_gpus"] else "",
        str(row["live_jobs"]),
        row["tier"],
    )
