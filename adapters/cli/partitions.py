"""`milepost partition`: named sets of nodes that jobs can be limited to, with limits and walltimes of their own."""

from typing import Any

import click
import msgspec

from adapters.cli import values as v
from adapters.cli.changing import each_of, resolve, why_option
from adapters.cli.complete import complete_clients, complete_nodes, complete_partitions
from adapters.cli.frame import Desk, verb
from adapters.cli.looking import at_option, given
from adapters.cli.render import Column, fields, table
from domain.errors import PartitionNotFound
from domain.messages import Command
from domain.partition import ChangePartition, DefinePartition, RemovePartition, Terms
from domain.resources import AttributeNeed
from projections.words import duration_text

PERCENT = v.whole(0, 100)
Row = dict[str, Any]
nodes_option = click.option(
    "--node", "nodes", metavar="NODE", multiple=True, shell_complete=complete_nodes, help="A node that belongs to it."
)
attr_option = click.option(
    "--attr",
    "attributes",
    type=v.ATTRIBUTE,
    metavar="NAME=VALUE[,VALUE]",
    multiple=True,
    help="All nodes that have one of these values belong to it too, those that register later as well.",
)
clients_option = click.option(
    "--client",
    "clients",
    metavar="CLIENT",
    multiple=True,
    shell_complete=complete_clients,
    help="Only for this client.",
)
max_tasks = click.option(
    "--max-tasks", type=v.whole(1), metavar="N", help="How many tasks of its jobs may run at once."
)
limit = click.option("--limit", "limit_percent", type=PERCENT, metavar="PERCENT", help="Of its cores and GPUs, in all.")
client_limit = click.option(
    "--client-limit", "client_percent", type=PERCENT, metavar="PERCENT", help="Of its cores and GPUs, for one client."
)
max_walltime = click.option(
    "--max-walltime", "max_walltime_ms", type=v.DURATION, metavar="TIME", help="The longest walltime of a job."
)
default_walltime = click.option(
    "--default-walltime",
    "default_walltime_ms",
    type=v.DURATION,
    metavar="TIME",
    help="The walltime of a job that names none. Default: the longest.",
)
named = click.argument("name", metavar="PARTITION", shell_complete=complete_partitions)
LIFTED = {
    "any-client": "clients", "max-tasks": "max_tasks", "max-walltime": "max_walltime_ms",
    "default-walltime": "default_walltime_ms", "attr": "attributes", "node": "nodes",
}  # fmt: skip
"""What `--no` can lift, and the terms that it means."""
no_option = click.option(
    "--no", "lifted", type=click.Choice(sorted(LIFTED)), multiple=True, help="Lift this term; any-client admits all."
)


@click.group("partition")
def partition() -> None:
    """Show and change partitions: sets of nodes that jobs can be limited to."""


@verb("list", "milepost partition list", "milepost partition list --at -1h")
@at_option
def list_partitions(desk: Desk, at: str | None) -> None:
    """Show all partitions with their nodes and what is used of them."""
    with desk.door() as door:
        desk.answer(door.get("/api/partitions", **given({"at": at})), lambda found: _table(found["rows"]))


@verb("show", "milepost partition show gpu")
@named
@at_option
def show_partition(desk: Desk, name: str, at: str | None) -> None:
    """Show one partition: its terms, its nodes, and what is used of it."""
    with desk.door() as door:
        found = _row(door.get("/api/partitions", **given({"at": at}))["rows"], name)
        desk.answer(found, _page)


@verb(
    "add",
    "milepost partition add gpu --attr gpu=a100 --max-walltime 24h",
    "milepost partition add night --node n1 --node n2 --client lab --limit 50",
)
@click.argument("name", metavar="PARTITION")
@nodes_option
@attr_option
@clients_option
@max_tasks
@limit
@client_limit
@max_walltime
@default_walltime
def add(desk: Desk, name: str, **terms: Any) -> None:
    """Make a partition: nodes by name, by what they have, or both."""
    with desk.door(write=True, create=True) as door:
        terms["clients"] = tuple(resolve(door, "client", each) for each in terms["clients"])
        command = DefinePartition(partition=name, terms=_terms({}, terms))
        reply = door.handle([command])
        answer = {"partition": name, "changed": reply.events > 0, "position": reply.position}
        desk.answer(answer, lambda _: f"{name}  added" + ("" if reply.events else " (as before)"))


@verb(
    "set",
    "milepost partition set gpu --max-walltime 12h",
    "milepost partition set night --no any-client --limit 100",
)
@named
@nodes_option
@attr_option
@clients_option
@max_tasks
@limit
@client_limit
@max_walltime
@default_walltime
@no_option
@why_option
def set_terms(desk: Desk, name: str, lifted: tuple[str, ...], why: str, **terms: Any) -> int:
    """Change the terms of a partition; what is not named stays, and names given take the place of those before."""
    if not lifted and all(value in (None, ()) for value in terms.values()):
        raise click.UsageError("there is nothing to change: give a term, or --no and the one to lift")
    with desk.door(write=True) as door:
        terms["clients"] = tuple(resolve(door, "client", each) for each in terms["clients"])

        def make(found: str) -> list[Command]:
            before = _row(door.get("/api/partitions")["rows"], found)
            return [ChangePartition(partition=found, terms=_terms(before, terms, lifted), why=why)]

        return each_of(desk, door, [name], lambda text: [resolve(door, "partition", text)], make, "changed")


@verb("remove", "milepost partition remove night --why 'the nodes went back'")
@click.argument("names", metavar="PARTITION...", nargs=-1, required=True, shell_complete=complete_partitions)
@why_option
def remove(desk: Desk, names: tuple[str, ...], why: str) -> int:
    """Remove partitions that no job uses any more; their nodes stay."""

    def make(found: str) -> list[Command]:
        return [RemovePartition(partition=found, why=why)]

    with desk.door(write=True) as door:
        return each_of(desk, door, names, lambda text: [resolve(door, "partition", text)], make, "removed")


for each in (list_partitions, show_partition, add, set_terms, remove):
    partition.add_command(each)


def _row(rows: list[Row], name: str) -> Row:
    found = next((row for row in rows if row["partition"] == name), None)
    if found is None:
        raise PartitionNotFound(partition=name)
    return found


def _terms(before: Row, terms: Row, lifted: tuple[str, ...] = ()) -> Terms:
    """The terms as they were, or as by default, with what was given in their place and what was lifted gone."""
    default = Terms()
    gone = {LIFTED[word] for word in lifted}
    merged: Row = {}
    for name in Terms.__struct_fields__:
        value = terms[name]
        if name in gone or value is None or value == ():
            value = getattr(default, name) if name in gone or not before else _before(before, name)
        merged[name] = value
    for name in ("nodes", "clients"):
        merged[name] = tuple(sorted(set(merged[name])))
    merged["attributes"] = tuple(sorted(merged["attributes"], key=lambda need: need.name))
    return Terms(**merged)


def _before(row: Row, name: str) -> Any:
    """A term of a row of `/api/partitions`."""
    if name == "nodes":
        return tuple(row["named_nodes"])
    if name == "attributes":
        return tuple(msgspec.convert(each, AttributeNeed) for each in row["needs"])
    return tuple(row[name]) if name == "clients" else row[name]


def _table(rows: list[Row]) -> Any:
    if not rows:
        return "There are no partitions; `milepost partition add` makes one. Jobs that name none may use any node."
    columns = [
        Column("PARTITION"),
        Column("NODES", right=True),
        Column("CORES", right=True),
        Column("GPUS", right=True, drop=3),
        Column("TASKS", right=True),
        Column("JOBS", right=True, drop=2),
        Column("WALLTIME", right=True, drop=4),
        Column("TERMS", flexible=True, wraps=True, drop=1),
    ]
    return table(columns, [_line(row) for row in rows])


def _line(row: Row) -> tuple[str, ...]:
    tasks = f"{row['running_tasks']}" + (f"/{row['max_tasks']}" if row["max_tasks"] is not None else "")
    return (
        row["partition"],
        str(len(row["nodes"])),
        f"{row['used_millicores'] / 1000:g}/{row['capacity_millicores'] / 1000:g}",
        f"{row['used_gpus']}/{row['capacity_gpus']}" if row["capacity_gpus"] else "",
        tasks,
        str(row["live_jobs"]),
        "" if row["max_walltime_ms"] is None else duration_text(row["max_walltime_ms"]),
        row["text"],
    )


def _page(row: Row) -> Any:
    longest, default = row["max_walltime_ms"], row["default_walltime_ms"]
    return fields(
        [
            ("partition", row["partition"]),
            ("nodes now", ", ".join(row["nodes"]) or "none"),
            ("by name", ", ".join(row["named_nodes"])),
            ("by attribute", ", ".join(row["attributes"])),
            ("for", ", ".join(row["clients"]) or "every client"),
            ("cores", f"{row['used_millicores'] / 1000:g} of {row['capacity_millicores'] / 1000:g} in use"),
            ("gpus", f"{row['used_gpus']} of {row['capacity_gpus']} in use" if row["capacity_gpus"] else ""),
            ("tasks", f"{row['running_tasks']} running, {row['live_jobs']} live jobs"),
            ("max tasks", "" if row["max_tasks"] is None else str(row["max_tasks"])),
            ("limit", f"{row['limit_percent']} % of it in all, {row['client_percent']} % for one client"),
            ("max walltime", "" if longest is None else duration_text(longest)),
            ("default walltime", "" if default is None else duration_text(default)),
        ]
    )
