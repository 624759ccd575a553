"""`milepost shares`: what clients are guaranteed, use, lend and borrow, and which guarantees were not honoured."""

from typing import Any

import click
from rich.console import Group, RenderableType

from adapters.cli.changing import resolve
from adapters.cli.complete import complete_clients
from adapters.cli.frame import Desk, verb
from adapters.cli.looking import at_option, given
from adapters.cli.render import Cell, Column, moment, table
from projections.words import duration_text

Row = dict[str, Any]


@verb("shares", "milepost shares", "milepost shares --client studio", "milepost shares --at -1h --json")
@click.option("--client", shell_complete=complete_clients, help="Only this client.")
@at_option
def shares(desk: Desk, client: str | None, at: str | None) -> None:
    """Show what each client is guaranteed, demands, uses, lends and borrows, and which guarantees were broken."""
    with desk.door() as door:
        who = resolve(door, "client", client) if client else None
        desk.answer(door.get("/api/shares", **given({"client": who, "at": at})), _page)


def _page(found: Row) -> RenderableType:
    if not found["rows"]:
        return "There are no clients yet; `milepost client add` makes one, and a first job makes `default`."
    parts: list[RenderableType] = [_table(found), _policy(found)]
    if found["breaches"]:
        parts.append(_breaches(found["breaches"], found["at_ms"]))
    return Group(*parts)


def _policy(found: Row) -> str:
    if found["period_ms"] is None:
        return "Guarantees are not kept: the sharing policy is `none`. `lending` keeps them."
    kept = f"{found['guaranteed_percent']} % of the farm is guaranteed"
    broken = "" if found["breaches"] else "; no guarantee was broken"
    return f"{kept}; what is lent comes back within {duration_text(found['period_ms'])}{broken}."


def _table(found: Row) -> RenderableType:
    gpus = bool(found["capacity_gpus"])
    columns = [
        Column("CLIENT"),
        Column("GUARANTEED", right=True),
        Column("DEMANDED", right=True, drop=3),
        Column("USED", right=True),
        Column("LENT TO", flexible=True, wraps=True),
        Column("BORROWED FROM", flexible=True, wraps=True),
        Column("RECLAIMED", right=True, drop=1),
        Column("FAIR SHARE", right=True, drop=2),
    ]
    return table(columns, [_line(row, gpus) for row in found["rows"]])


def _line(row: Row, gpus: bool) -> tuple[str | Cell, ...]:
    fair = row["fair_share"]
    return (
        row["client_id"],
        f"{_amounts(row, 'guaranteed_', gpus)} ({row['guarantee_percent']} %)",
        _amounts(row, "demanded_", gpus),
        _amounts(row, "used_", gpus),
        _loans(row["lent"], gpus),
        _loans(row["borrowed"], gpus),
        _amounts(row, "reclaimed_", gpus) if row["reclaimed_millicores"] or row["reclaimed_gpus"] else "",
        "" if fair is None else f"{fair:.2f}",
    )


def _amounts(row: Row, prefix: str, gpus: bool) -> str:
    """Cores, and GPUs after a plus where the farm has any: `12.5 + 2`."""
    cores = f"{row[f'{prefix}millicores'] / 1000:g}"
    return f"{cores} + {row[f'{prefix}gpus']}" if gpus else cores


def _loans(loans: list[Row], gpus: bool) -> str:
    return ", ".join(f"{loan['client_id'] or 'nobody'} {_amounts(loan, '', gpus)}" for loan in loans)


def _breaches(rows: list[Row], now_ms: int) -> RenderableType:
    columns = [
        Column("BROKEN FOR"),
        Column("SINCE"),
        Column("LASTED", right=True),
        Column("ALLOWED", right=True, drop=1),
        Column("EVENTS", right=True),
    ]
    return table(columns, [_breach(row, now_ms) for row in rows])


def _breach(row: Row, now_ms: int) -> tuple[str | Cell, ...]:
    closed = "goes on" if row["closed"] is None else f"@{row['closed']}"
    return (
        row["client_id"],
        moment(row["opened_ms"], now_ms),
        Cell(duration_text(row["lasted_ms"]), "red"),
        duration_text(row["period_ms"]),
        f"@{row['opened']} to {closed}" if row["closed"] is not None else f"@{row['opened']}, {closed}",
    )
