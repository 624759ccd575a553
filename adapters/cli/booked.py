"""How reservations look on the command line: the list, one on a page, and what would come of one more."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from adapters.cli.render import Cell, Column, clock, fields, heading, short, styled, table
from domain.rules.conflicts import Obstacle
from projections.words import duration_text, listed, plural

Row = dict[str, Any]


def table_of(found: Row) -> RenderableType:
    """All reservations, a line each."""
    if not found["rows"]:
        return "Nothing is reserved; `milepost reserve` and `milepost maintenance` set nodes aside."
    columns = [
        Column("RESERVATION"),
        Column("FOR"),
        Column("STATUS"),
        Column("FROM"),
        Column("LASTS", right=True),
        Column("AGAIN", drop=1),
        Column("NODES", flexible=True),
        Column("WHY", drop=2, flexible=True, wraps=True),
    ]
    return table(columns, [_line(row) for row in found["rows"]])


def _line(row: Row) -> tuple[str | Cell, ...]:
    return (
        row["reservation_id"],
        row["owner"],
        styled(row["status"]),
        clock(row["start_ms"]),
        duration_text(row["end_ms"] - row["start_ms"]),
        "" if row["every_ms"] is None else f"every {duration_text(row['every_ms'])}",
        listed(row["nodes"]),
        row["why"],
    )


def made_text(row: Row) -> str:
    """What was made, in one line."""
    nodes = f"{plural(len(row['nodes']), 'node')} ({listed(row['nodes'])})"
    again = "" if row["every_ms"] is None else f", every {duration_text(row['every_ms'])}"
    lasts = duration_text(row["end_ms"] - row["start_ms"])
    return f"{row['reservation_id']}  {nodes} for {row['owner']} from {clock(row['start_ms'])} for {lasts}{again}"


def page(found: Row) -> RenderableType:
    """One reservation with what has become of it."""
    row = found["reservation"]
    pairs: list[tuple[str, str | Cell]] = [
        ("reservation", row["reservation_id"]),
        ("for", row["owner"]),
        ("status", styled(row["status"])),
        ("window", f"{row['occurrence']}"),
        ("from", clock(row["start_ms"])),
        ("until", clock(row["end_ms"])),
        ("again", "" if row["every_ms"] is None else f"every {duration_text(row['every_ms'])}"),
        ("times", "" if row["times"] is None else str(row["times"])),
        ("last before", clock(row["until_ms"])),
        ("follows", "its workflow" if row["follows"] else ""),
        ("nodes", listed(row["nodes"])),
        ("in service", listed(found["in_service"]) if row["status"] == "active" else ""),
        ("made", f"{clock(row['made_ms'])} by {found['made_by']}"),
        ("over", clock(found["ended_ms"])),
        ("begun", plural(found["begun"], "window") if found["begun"] else ""),
        ("missed", plural(found["missed"], "window") if found["missed"] else ""),
        ("why", row["why"]),
    ]
    return fields(pairs)


def booked_text(node: Row) -> str:
    """What is booked on a node: the first windows."""
    texts = []
    for each in node["booked"][:3]:
        when = f"until {clock(each['end_ms'])}" if each["active"] else f"from {clock(each['start_ms'])}"
        texts.append(f"{each['owner']} {when} ({each['reservation_id']})")
    more = len(node["booked"]) - 3
    return "; ".join(texts) + (f"; {more} more" if more > 0 else "")


# -- a dry run ---------------------------------------------------------------------------------------------------

_SAYS = {
    Obstacle.PROTECTED: "may not be interrupted: the window waits",
    Obstacle.STOPPED: "is stopped and begins again",
    Obstacle.CHECKPOINTED: "saves its state and leaves",
    Obstacle.RESERVED: "has the node at that time",
    Obstacle.PROMISED: "has room promised there",
}


def preview_page(found: Row) -> Iterator[RenderableType]:
    """What would come of a reservation."""
    yield f"Nodes: {plural(len(found['nodes']), 'node')} ({listed(found['nodes'])})"
    yield f"It would be refused: {found['refused']}" if found["refused"] else "It would be made."
    if found["conflicts"]:
        columns = [
            Column("NODE"),
            Column("IN THE WAY"),
            Column("WHAT HAPPENS"),
            Column("FREE BY ITSELF"),
            Column("LOST"),
        ]
        yield heading("In the way")
        yield table(columns, [_conflict(each) for each in found["conflicts"]])
    if found["later"]:
        columns = [Column("JOB"), Column("NAME", drop=1), Column("STARTS"), Column("WITH IT"), Column("DEADLINE")]
        yield heading("Who starts later")
        yield table(columns, [_later(each) for each in found["later"]])
    elif found["waiting"]:
        yield f"None of the {plural(found['walked'], 'waiting job')} looked at would start later."
    if found["walked"] < found["waiting"]:
        yield f"(the first {found['walked']} of {found['waiting']} waiting jobs were looked at)"


def _conflict(each: Row) -> tuple[str, ...]:
    return (
        each["node_id"],
        each["reservation_id"] or each["job_id"],
        _SAYS[Obstacle(each["obstacle"])],
        clock(each["until_ms"]) or "nobody knows",
        duration_text(each["lost_ms"]) if each["lost_ms"] else "",
    )


def _later(each: Row) -> tuple[str | Cell, ...]:
    after = each["after_ms"]
    late = "" if after is None or each["before_ms"] is None else f" ({duration_text(after - each['before_ms'])} later)"
    deadline = clock(each["deadline_ms"]) + (" at risk" if each["at_risk"] else "")
    starts = clock(each["before_ms"]) or "runs"
    return (each["job_id"], short(each["name"]), starts, f"{clock(after) or 'not in sight'}{late}", deadline)
