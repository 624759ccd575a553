"""`milepost deadlines`: which jobs may be late, how likely that is, and how good such forecasts have been."""

from collections.abc import Sequence
from typing import Any

import click
from rich.console import Group, RenderableType

from adapters.cli import values as v
from adapters.cli.changing import resolve
from adapters.cli.complete import complete_clients
from adapters.cli.frame import Desk, verb
from adapters.cli.looking import at_option, given
from adapters.cli.render import Cell, Column, ago, clock, fields, heading, short, table
from domain.forecasting.promises import Word
from projections.words import duration_text, plural

Document = dict[str, Any]
STYLES = {Word.LATE: "red", Word.AT_RISK: "yellow", Word.TIGHT: "cyan", Word.AHEAD: "green"}


@verb(
    "deadlines",
    "milepost deadlines",
    "milepost deadlines --client studio --all",
    "milepost deadlines --at -1h",
    "milepost deadlines --score          (how good the forecasts were)",
)
@click.option("--client", shell_complete=complete_clients, help="Only jobs of this client.")
@click.option("--all", "everything", is_flag=True, help="Also jobs that are well ahead.")
@click.option("--score", is_flag=True, help="How forecasts turned out, now that the ends are known.")
@click.option("--limit", type=v.whole(1, 10_000), help="At most so many; 200 unless said.")
@click.option("--offset", type=v.whole(0), help="Leave out so many first.")
@at_option
def deadlines(
    desk: Desk, client: str | None, everything: bool, score: bool, limit: int | None, offset: int | None, at: str | None
) -> None:
    """Show live jobs that may miss their deadline: the most likely first, then the least slack.

    A job is late when its deadline has passed or it surely misses it, at risk from one chance in four on, tight while
    the deadline lies in the interval in which it ends nine times of ten.
    """
    if score and (everything or limit is not None or offset is not None):
        raise click.UsageError("--score sums up all ended jobs; leave --all, --limit and --offset out")
    with desk.door() as door:
        wanted: dict[str, Any] = {"client": resolve(door, "client", client) if client else None, "at": at}
        if score:
            desk.answer(door.get("/api/deadlines/score", **given(wanted)), _score_page)
            return
        wanted |= {"all": "1" if everything else None, "limit": limit, "offset": offset}
        desk.answer(door.get("/api/deadlines", **given(wanted)), lambda found: _risk_table(desk, found))


# -- at risk -----------------------------------------------------------------------------------------------------


def _risk_table(desk: Desk, found: Document) -> RenderableType:
    if found["note"]:
        desk.note(found["note"])
    if not found["rows"]:
        return _nobody(found)
    more = found["total"] - len(found["rows"])
    if more > 0:
        desk.note(f"{more} more; --limit and --offset show them")
    columns = [
        Column("JOB"),
        Column("NAME", drop=3, flexible=True, least=8),
        Column("CLIENT", drop=5),
        Column("STANDS"),
        Column("LATE", right=True),
        Column("DEADLINE", right=True),
        Column("EXPECTED END", right=True, drop=1),
        Column("BETWEEN", drop=4),
        Column("SLACK", right=True),
        Column("IN THE WAY", drop=2, flexible=True, least=24, wraps=True),
    ]
    return table(columns, [_risk_line(row, found["at_ms"]) for row in found["rows"]])


def _nobody(found: Document) -> str:
    ahead = found["words"][Word.AHEAD]
    if found["total"]:
        return "No more jobs."
    if not ahead:
        return "No live job has a deadline."
    return f"Nothing is at risk: {plural(ahead, 'job')} with a deadline, well ahead (--all shows them)."


def _risk_line(row: Document, now_ms: int) -> Sequence[str | Cell]:
    return (
        row["job_id"],
        short(row["name"]),
        row["client_id"],
        Cell(row["word"], STYLES[Word(row["word"])]),
        percent(row["probability"]),
        ago(row["deadline_ms"], now_ms),
        ago(row["expected_ms"], now_ms) or "?",
        _between(row),
        slack_text(row["slack_ms"]),
        row["why"],
    )


def percent(probability: float | None) -> str:
    """A chance in percent, never more certain than it is: `63 %`, `<1 %`, `>99 %`; `?` where nobody can say."""
    if probability is None:
        return "?"
    if 0 < probability < 0.01:
        return "<1 %"
    if 0.99 < probability < 1:
        return ">99 %"
    return f"{probability * 100:.0f} %"


def slack_text(slack_ms: int | None) -> str:
    """What is left between the expected end and the deadline: `12 min`, `-3 h`; `?` where nobody can say."""
    if slack_ms is None:
        return "?"
    return f"-{duration_text(-slack_ms)}" if slack_ms < 0 else duration_text(slack_ms)


def _between(row: Document) -> str:
    """The interval as local times, with the date where it is needed to tell them apart."""
    early, late = clock(row["earliest_ms"]), clock(row["latest_ms"])
    if not early and not late:
        return ""
    if early[:10] == late[:10]:
        late = late[11:]
    return f"{early or '?'} – {late or '?'}"


# -- scores ------------------------------------------------------------------------------------------------------


def _score_page(found: Document) -> RenderableType:
    if not found["scored"]:
        return "No job with a forecast has ended yet."
    summary = fields(
        [
            ("Ended with forecasts", str(found["scored"])),
            ("Completed", f"{found['completed']}, {found['late']} of them late"),
        ]
    )
    parts: list[RenderableType] = [summary]
    for name, title in (("first", "First forecasts"), ("last", "Last forecasts before the end")):
        parts += [heading(title), _calibration(found[name], found["confidence"])]
        if found[name]["deciles"]:
            parts.append(_deciles(found[name]["deciles"]))
    return Group(*parts)


def _calibration(found: Document, confidence: float) -> RenderableType:
    error_ms, within, brier = found["error_ms"], found["within"], found["brier"]
    return fields(
        [
            ("Expected end off by", "" if error_ms is None else f"{duration_text(round(error_ms))} on average"),
            ("In the interval", "" if within is None else f"{percent(within)} (meant: {percent(confidence)})"),
            ("Brier score", "" if brier is None else f"{brier:.3f} (0 is perfect, 0.25 is guessing)"),
        ]
    )


def _deciles(rows: Sequence[Document]) -> RenderableType:
    columns = [
        Column("CHANCE STATED"),
        Column("JOBS", right=True),
        Column("ON AVERAGE", right=True),
        Column("WERE LATE", right=True),
    ]
    lines = [
        (
            f"{row['from_percent']}–{row['to_percent']} %",
            str(row["jobs"]),
            percent(row["forecast"]),
            percent(row["late"]),
        )
        for row in rows
    ]
    return table(columns, lines)
