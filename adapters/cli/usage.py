"""`milepost usage`: time, energy and money, by client, node, day or hour."""

from typing import Any

import click
from rich.console import RenderableType

from adapters.cli.changing import resolve
from adapters.cli.complete import complete_clients, complete_nodes
from adapters.cli.frame import Desk, verb
from adapters.cli.looking import given
from adapters.cli.render import Cell, Column, clock, table

Document = dict[str, Any]
BY = ("client", "node", "day", "hour")
HOUR_S, KWH_J = 3_600, 3_600_000
NO_FIGURES = "no node says what it draws: attributes watts_idle and watts_peak (see the settings, or a node file)"


@verb(
    "usage",
    "milepost usage",
    "milepost usage --from -7d --by day",
    "milepost usage --from 2026-03-01 --to 2026-04-01 --client studio --by node --json",
    "milepost usage --node node-2 --from 08:00 --by hour",
)
@click.option("--from", "since", metavar="WHEN", help="First moment: -7d, @123, ISO 8601. Default: the first event.")
@click.option("--to", "until", metavar="WHEN", help="Last moment. Default: now.")
@click.option("--client", shell_complete=complete_clients, help="Only what work of this client used.")
@click.option("--node", shell_complete=complete_nodes, help="Only what was used of this node.")
@click.option("--by", type=click.Choice(BY), default="client", show_default=True, help="What a row stands for.")
def usage(desk: Desk, since: str | None, until: str | None, client: str | None, node: str | None, by: str) -> None:
    """Show the time, energy and money that work and nodes used.

    Energy follows from the power figures of nodes, money from the tariff that was in force at each moment. Clients pay
    for what their work adds to the idle power of nodes that are on; idle power is nobody's and has its own row.
    """
    with desk.door() as door:
        which = {
            "client": resolve(door, "client", client) if client else None,
            "node": resolve(door, "node", node) if node else None,
        }
        wanted = given({"since": since, "until": until, "by": by, **which})
        desk.answer(door.get("/api/usage", **wanted), lambda found: _page(desk, found))


def _page(desk: Desk, found: Document) -> RenderableType:
    total = found["total"]
    if not found["rows"] and not total["on_s"]:
        return f"Nothing was used from {clock(found['from_ms'])} to {clock(found['to_ms'])}."
    desk.note(f"from {clock(found['from_ms'])} to {clock(found['to_ms'])}")
    if total["on_s"] and not total["used_j"] and not total["idle_j"]:
        desk.note(NO_FIGURES)
    if len(found["currencies"]) > 1:
        desk.note(f"prices were in {', then '.join(found['currencies'])}: do not add them up over all that time")
    return table(_columns(found["by"]), _lines(found))


def _columns(by: str) -> list[Column]:
    return [
        Column({"day": "FROM", "hour": "FROM"}.get(by, by.upper())),
        Column("CORE HOURS", right=True),
        Column("GPU HOURS", right=True, drop=3),
        Column("TASK HOURS", right=True, drop=5),
        Column("ENERGY", right=True, drop=1),
        Column("IDLE", right=True, drop=4),
        Column("COST", right=True, drop=1),
        Column("IDLE COST", right=True, drop=4),
        Column("HOURS ON", right=True, drop=6),
        Column("NODE COST", right=True, drop=2),
    ]


def _lines(found: Document) -> list[tuple[str | Cell, ...]]:
    currency = found["currencies"][-1] if found["currencies"] else ""
    total = found["total"]
    lines = [_line(row["name"] or clock(row["from_ms"]), row, currency) for row in found["rows"]]
    idle_only = total["idle_j"] or total["on_s"]
    if found["by"] == "client" and idle_only:
        nothing = dict.fromkeys(("core_s", "gpu_s", "task_s", "used_j", "used_cost"), 0)
        lines.append(_line("idle", total | nothing, currency, "dim"))
    return [*lines, _line("total", total, currency, "bold")]


def _line(name: str, used: Document, currency: str, style: str = "") -> tuple[Cell, ...]:
    texts = (
        name,
        _hours(used["core_s"]),
        _hours(used["gpu_s"]),
        _hours(used["task_s"]),
        energy_text(used["used_j"] + used["idle_j"]),
        energy_text(used["idle_j"]),
        money_text(used["used_cost"] + used["idle_cost"], currency),
        money_text(used["idle_cost"], currency),
        _hours(used["on_s"]),
        money_text(used["node_cost"], currency),
    )
    return tuple(Cell(text, style) for text in texts)


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR_S:,.2f}" if seconds else ""


def energy_text(joules: float) -> str:
    """`12.345 kWh`; empty for nothing."""
    return f"{joules / KWH_J:,.3f} kWh" if joules else ""


def money_text(amount: float, currency: str) -> str:
    """`12.34 EUR`, small amounts with more digits; empty for nothing."""
    if not amount:
        return ""
    return f"{amount:,.{2 if amount >= 0.1 else 5}f} {currency}".rstrip()
