"""`milepost audit preemptions`: who made way for whom, what it cost, and how much of it is to be regretted."""

from typing import Any

from rich.console import Group

from adapters.cli.changing import resolve
from adapters.cli.frame import Desk
from adapters.cli.looking import given
from adapters.cli.render import Cell, Column, clock, table
from domain.job.values import PreemptionCause
from projections.words import listed, plural

STYLES = {"held": "yellow", "started": "green", "released": "dim"}
RIGHTS = {
    PreemptionCause.PRIORITY: "priority",
    PreemptionCause.RECLAIM: "takes back",
    PreemptionCause.DEADLINE: "deadline",
}
HOUR_MS = 3_600_000


def show(desk: Desk, entity: str | None, since: str | None, until: str | None, limit: int | None) -> None:
    """Preemptions in a span of time, or those of a job, newest first, with their sums."""
    with desk.door() as door:
        job = resolve(door, "job", entity) if entity else None
        found = door.get("/api/preemptions", **given({"job": job, "since": since, "until": until, "limit": limit}))
        desk.answer(found, _page)


def _page(found: dict[str, Any]) -> Any:
    if not found["rows"]:
        return "Nobody has made way for anybody."
    columns = [
        Column("TIME"),
        Column("FOR"),
        Column("BY RIGHT OF", drop=2),
        Column("MODE", drop=3),
        Column("MADE WAY", flexible=True, least=16),
        Column("LOST", right=True),
        Column("SPARED", right=True),
        Column("REGRET", right=True),
        Column("STANDS", drop=1),
    ]
    return Group(table(columns, [_line(row) for row in found["rows"]]), _sums(found))


def _line(row: dict[str, Any]) -> tuple[str | Cell, ...]:
    jobs = list(dict.fromkeys(victim["job_id"] for victim in row["victims"]))
    regret = row["regret_core_ms"]
    return (
        clock(row["at_ms"]),
        row["job_id"],
        RIGHTS[PreemptionCause(row["why"])],
        row["mode"],
        listed(jobs) + (f" ({len(row['victims'])} attempts)" if len(row["victims"]) > 1 else ""),
        core_hours(row["lost_core_ms"]) + ("…" if row["leaving"] else ""),
        "?" if row["unknown"] else core_hours(row["spared_core_ms"]),
        Cell(core_hours(regret), "red" if regret > 0 else "green"),
        Cell(row["state"] + (f" ({row['released_why']})" if row["released_why"] else ""), STYLES[row["state"]]),
    )


def _sums(found: dict[str, Any]) -> str:
    lost, spared = core_hours(found["lost_core_ms"]), core_hours(found["spared_core_ms"])
    unknown = f"; of {plural(found['unknown'], 'task')} nobody knows what it was spared" if found["unknown"] else ""
    attempts = plural(found["victims"], "attempt")
    return (
        f"{attempts} made way: {lost} core hours lost, {spared} spared, regret {core_hours(found['regret_core_ms'])}"
        f"{unknown}."
    )


def core_hours(core_ms: int) -> str:
    """Processor time in hours of one core."""
    return f"{core_ms / HOUR_MS:,.2f}"
