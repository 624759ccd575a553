"""Commands that tell what happened and why, from the log: events, story, explain, audit."""

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from adapters.cli import exits, preemptions
from adapters.cli import values as v
from adapters.cli.changing import resolve
from adapters.cli.complete import complete_all_jobs, complete_any
from adapters.cli.frame import Desk, place, verb
from adapters.cli.looking import at_option, given
from adapters.cli.render import Cell, Column, clock, styled, table
from adapters.cli.text import plain
from domain.log_level import LogLevel

if TYPE_CHECKING:
    from adapters.door import Door

FOLLOW_S = 0.3
PAGE = 1_000
limit_option = click.option("--limit", type=v.whole(1, 100_000), metavar="N", help="At most so many.")
since = click.option("--since", metavar="WHEN", help="Nothing before this: -1h or ISO 8601.")
until = click.option("--until", metavar="WHEN", help="Nothing after this.")
topic_option = click.option("--topic", metavar="TOPIC", help="Only this kind, such as job.failed.")


@verb(
    "events",
    "milepost events --follow",
    "milepost events job-01kx… --json",
    "milepost events --topic node.lost --since -1d",
)
@click.argument("entity", required=False, shell_complete=complete_any)
@topic_option
@click.option("--after", type=v.whole(0), metavar="POSITION", help="Only later ones.")
@limit_option
@since
@until
@click.option("--follow", is_flag=True, help="Go on with new ones as they come, until interrupted.")
def events(desk: Desk, entity: str | None, follow: bool, limit: int | None, **filters: Any) -> int | None:
    """Print events as they are stored, oldest first; with --json one object per line."""
    with desk.door() as door:
        filters = given({**filters, "entity": entity})
        try:
            _print_events(desk, door, filters, limit, follow)
        except KeyboardInterrupt:
            return exits.OK
    return None


def _print_events(desk: Desk, door: "Door", filters: dict[str, Any], limit: int | None, follow: bool) -> None:
    """Page after page; then, to follow, whatever comes after the last position that was looked at."""
    left = limit
    while left is None or left > 0:
        found = door.get("/api/events", **filters, limit=PAGE if left is None else min(left, PAGE))
        for row in found["rows"]:
            click.echo(msgspec.json.encode(row) if desk.as_json else _event_line(row))
        left = None if left is None else left - len(found["rows"])
        if found["next_after"] is not None:
            filters["after"] = found["next_after"]
        elif follow:
            filters["after"] = max(found["position"], filters.get("after") or 0)
            time.sleep(FOLLOW_S)
        else:
            return


def _event_line(row: dict[str, Any]) -> str:
    return f"{row['position']:>6}  {clock(row['at_ms'])}  {row['topic']:<24}  {plain(row['sentence'])}"


@verb("story", "milepost story job-01kx…", "milepost story node-2 --limit 20")
@click.argument("entity", metavar="ID", shell_complete=complete_any)
@limit_option
def story(desk: Desk, entity: str, limit: int | None) -> None:
    """Tell what happened to a job, node, workflow, client or checkpoint, in sentences."""
    with desk.door() as door:
        found = door.get(place("/api/story", entity), **given({"limit": limit}))
        desk.answer(found, _story)


def _story(found: dict[str, Any]) -> Any:
    rows = [(clock(row["at_ms"]), Cell(row["actor"], "dim"), row["sentence"]) for row in found["rows"]]
    lines = table([Column("TIME"), Column("BY", drop=1), Column("WHAT", flexible=True, least=30, wraps=True)], rows)
    lines.caption = None if found["complete"] else "earlier ones are left out; --limit shows more"
    return lines


@verb("explain", "milepost explain job-01kx…", "milepost explain job-01kx… --at -10m")
@click.argument("job", shell_complete=complete_all_jobs)
@at_option
def explain(desk: Desk, job: str, at: str | None) -> None:
    """Say why a job waits, or why it ran where and when it did; read from the log."""
    with desk.door() as door:
        found = door.get(place("/api/explain", job), **given({"at": at}))
        desk.answer(found, lambda answer: "\n".join(plain(line) for line in answer["text"].splitlines()))


@verb(
    "audit",
    "milepost audit --level warning --since -1d",
    "milepost audit --actor user:ada --entity job-01kx…",
    "milepost audit preemptions --since -7d       (who made way for whom, and what it cost)",
)
@click.argument("view", type=click.Choice(["preemptions"]), required=False)
@click.option("--entity", metavar="ID", shell_complete=complete_any, help="Only about this.")
@click.option("--actor", help="Only what this one did, such as user:ada or scheduler.")
@click.option("--level", type=click.Choice([str(each) for each in LogLevel]), help="Only this grade and graver ones.")
@topic_option
@since
@until
@limit_option
def audit(desk: Desk, view: str | None, entity: str | None, **filters: Any) -> None:
    """Show who did what, when, why, and what came of it; newest first.

    `preemptions` sums up who made way for whom: the work lost, the waiting time spared to the other one, and the
    regret, which is the first less the second, in hours of one core.
    """
    if view == "preemptions":
        _no_more_filters(filters)
        preemptions.show(desk, entity, filters["since"], filters["until"], filters["limit"])
        return
    with desk.door() as door:
        filters["entity"] = resolve(door, "any", entity) if entity else None
        desk.answer(door.get("/api/audit", **given(filters)), lambda found: _audit(found["rows"]))


def _no_more_filters(filters: dict[str, Any]) -> None:
    """Preemptions have neither actor nor level nor topic."""
    for name in ("actor", "level", "topic"):
        if filters[name] is not None:
            raise click.UsageError(f"--{name} is not for preemptions")


def _audit(rows: list[dict[str, Any]]) -> Any:
    if not rows:
        return "Nothing of that kind is on record."
    columns = [
        Column("TIME"),
        Column("LEVEL", drop=1),
        Column("BY", drop=2),
        Column("WHAT", flexible=True, least=30, wraps=True),
        Column("WHY", flexible=True, drop=3, wraps=True),
        Column("COMMAND", drop=4),
    ]
    lines = [
        (clock(row["at_ms"]), styled(row["level"]), row["actor"], row["summary"], _why(row), row["command_id"])
        for row in rows
    ]
    return table(columns, lines)


def _why(row: dict[str, Any]) -> str:
    """What its sentence does not say: that of a refusal ends with the reason."""
    return "" if row["outcome"] == "refused" else str(row["reason"])
