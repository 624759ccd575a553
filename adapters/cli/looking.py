"""Commands that show the farm as it stands, or stood: queue, nodes, status."""

import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import RenderableType
from rich.live import Live

from adapters.cli import exits
from adapters.cli import values as v
from adapters.cli.booked import booked_text
from adapters.cli.changing import resolve
from adapters.cli.complete import complete_clients
from adapters.cli.frame import Desk, verb
from adapters.cli.render import Cell, Column, ago, console, fields, moment, short, styled, table
from domain.job.values import JobStatus
from domain.node import NodeStatus
from projections.words import lateness_text, size_text

WATCH_S = 1.0
ORDERS = ("priority", "oldest", "newest", "deadline", "name", "ended")
Document = dict[str, Any]
Fetch = Callable[[], Document]
Show = Callable[[Document], RenderableType]
at_option = click.option("--at", metavar="WHEN", help="As it was: -5m, @123 (log position) or ISO 8601.")
watch_option = click.option("--watch", is_flag=True, help="Go on showing it as it changes, until interrupted.")


@verb(
    "queue",
    "milepost queue",
    "milepost queue --why --client studio",
    "milepost queue --all --status failed",
    "milepost queue --at -10m",
    "milepost queue --watch --json       (one document per change)",
)
@click.option("--all", "everything", is_flag=True, help="Also jobs that have ended.")
@click.option("--status", type=click.Choice([str(each) for each in JobStatus]), multiple=True, help="Only these.")
@click.option("--client", shell_complete=complete_clients, help="Only jobs of this client.")
@click.option("--workflow", metavar="WF", help="Only jobs of this workflow.")
@click.option("--text", help="Only jobs with this in their name or id.")
@click.option("--order", type=click.Choice(ORDERS), help="Default: priority, then age.")
@click.option("--why", is_flag=True, help="Say what each waiting job waits for.")
@click.option("--limit", type=v.whole(1, 10_000), default=200, show_default=True, help="At most so many.")
@click.option("--offset", type=v.whole(0), default=0, help="Leave out so many first.")
@at_option
@watch_option
def queue(
    desk: Desk, everything: bool, status: tuple[str, ...], why: bool, at: str | None, watch: bool, **filters: Any
) -> int | None:
    """Show what waits and runs, in the order in which it is looked at."""
    with desk.door() as door:
        for kind in ("workflow", "client"):
            if filters[kind]:
                filters[kind] = resolve(door, kind, filters[kind])
        filters |= {"all": "1" if everything else None, "status": ",".join(status) or None, "at": at}

        def fetch() -> Document:
            found: Document = door.get("/api/queue", **given(filters))
            return found

        return look(desk, fetch, lambda found: _queue_table(desk, found, why), watch)


@verb("nodes", "milepost nodes", "milepost nodes --at -1h", "milepost nodes --watch")
@at_option
@watch_option
def nodes(desk: Desk, at: str | None, watch: bool) -> int | None:
    """Show the nodes: how they stand and what they hold."""
    with desk.door() as door:

        def fetch() -> Document:
            found: Document = door.get("/api/nodes", **given({"at": at}))
            return found

        return look(desk, fetch, _node_table, watch)


@verb("status", "milepost status", "milepost status --json")
def status(desk: Desk) -> None:
    """Show how the farm stands in numbers, and whether a server runs."""
    with desk.door() as door:
        desk.answer(door.get("/api/status"), lambda found: _status_page(desk, found))


def look(desk: Desk, fetch: Fetch, show: Show, watch: bool) -> int | None:
    """Answers once, or again and again whenever the rows have changed."""
    if not watch:
        desk.answer(fetch(), show)
        return None
    try:
        _watch(desk, fetch, show)
    except KeyboardInterrupt:
        return exits.OK
    return None


def _watch(desk: Desk, fetch: Fetch, show: Show) -> None:
    if not desk.as_json and console().is_terminal:
        with Live(show(fetch()), console=console(), auto_refresh=False) as live:
            while True:
                time.sleep(WATCH_S)
                live.update(show(fetch()), refresh=True)
    seen: Any = None
    while True:
        found = fetch()
        if found["rows"] != seen:
            seen = found["rows"]
            desk.answer(found, show)
        time.sleep(WATCH_S)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _queue_table(desk: Desk, found: Document, why: bool) -> RenderableType:
    rows = found["rows"]
    if not rows:
        return "The queue is empty." if not found["total"] else "No more jobs."
    columns = [
        Column("JOB"),
        Column("NAME", flexible=True, least=8),
        Column("CLIENT", drop=5),
        Column("STATUS"),
        Column("PRIORITY", drop=4),
        Column("DEADLINE", drop=3),
        Column("TASKS", right=True, drop=1),
        Column("DONE", right=True, drop=2),
        Column("SUBMITTED", right=True, drop=6),
        Column("WAITS FOR", drop=0 if why else 7, flexible=True, least=30, wraps=True),
    ]
    now_ms = found["at_ms"]
    lines = [
        (
            row["job_id"], short(row["name"]), row["client_id"], styled(row["status"]), row["priority"],
            deadline_cell(row, now_ms), f"{row['succeeded']}/{row['tasks']}", f"{row['progress']} %",
            ago(row["submitted_ms"], now_ms),
            waits_for(row) if why or row["held"] or row["paused"] else "",
        )
        for row in rows
    ]  # fmt: skip
    more = found["total"] - len(rows)
    if more > 0:
        desk.note(f"{more} more; --limit and --offset show them")
    return table(columns, lines)


def waits_for(row: Document) -> str:
    """What keeps a job, with what the person said who held or paused it; of a failed one, how it failed."""
    if row["status"] == JobStatus.FAILED:
        return str(row["note"])
    said = f" ({row['note']})" if row["note"] and row["held"] is not row["paused"] else ""  # who said it is clear
    return f"{row['why']}{said}"


def deadline_cell(row: Document, now_ms: int) -> Cell:
    """`in 2 h` for a deadline ahead, `met`, or by how much the job is late, or was when it ended."""
    if row["deadline_ms"] is None:
        return Cell("")
    late_ms = row["late_ms"] if row["ended_ms"] is not None else now_ms - row["deadline_ms"]
    if late_ms > 0:
        return Cell(lateness_text(late_ms), "red")
    if row["ended_ms"] is None:
        return Cell(ago(row["deadline_ms"], now_ms))
    return Cell("met" if row["status"] == JobStatus.COMPLETED else "")


def _node_table(found: Document) -> RenderableType:
    if not found["rows"]:
        return "There are no nodes yet; `milepost serve` registers this machine."
    columns = [
        Column("NODE"),
        Column("STATUS"),
        Column("ATTEMPTS", right=True),
        Column("CORES", right=True),
        Column("MEMORY", right=True, drop=2),
        Column("GPUS", right=True, drop=1),
        Column("OTHER", drop=4, flexible=True),
        Column("WHY", drop=3, flexible=True, wraps=True),
        Column("BOOKED", drop=5, flexible=True),
    ]
    return table(columns, [_node_line(row) for row in found["rows"]])


def _node_line(row: Document) -> tuple[str | Cell, ...]:
    have, used = row["capacity"], row["used"]
    named = [f"{name} {used['named'].get(name, 0)}/{count}" for name, count in have["named"].items()]
    return (
        row["node_id"],
        styled(node_word(row)),
        str(row["attempts"]),
        f"{used['millicores'] / 1000:g}/{have['millicores'] / 1000:g}",
        f"{size_text(used['memory_mib'])}/{size_text(have['memory_mib'])}",
        f"{used['gpus']}/{have['gpus']}" if have["gpus"] else "",
        ", ".join(named),
        row["why"],
        booked_text(row),
    )


def node_word(row: Document) -> str:
    """The one word that says most about a node."""
    sleeps = row["asleep"] and row["status"] == NodeStatus.OFFLINE
    for flag in ("retired", "asleep", "suspected", "draining"):
        if sleeps if flag == "asleep" else row[flag]:
            return flag
    return str(row["status"])


def _status_page(desk: Desk, found: Document) -> RenderableType:
    server = found["server"]
    running = "none; `milepost serve` starts one"
    if server:
        running = f"{server['url']} (pid {server['pid']}), since {moment(server['started_ms'], desk.clock.now_ms())}"
    return fields(
        [
            ("server", running),
            ("data", found["data_dir"]),
            ("jobs", _counts(found["jobs"])),
            ("nodes", _counts(found["nodes"])),
            ("attempts", str(found["live_attempts"])),
            ("log", f"{found['position']} events" + (f", views {found['lag']} behind" if found["lag"] else "")),
            ("version", found["version"]),
        ]
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none"
