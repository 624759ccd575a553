"""`milepost policy compare`: what is on record, run again under several sets of policies, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Group, RenderableType

from adapters.cli import exits
from adapters.cli.complete import complete_edit
from adapters.cli.frame import Desk, verb
from adapters.cli.policies import NOW, applied, changes_of, policy
from adapters.cli.render import Column, clock, fields, table
from adapters.cli.simulating import FILE
from adapters.cli.whatif import MEASURES, measure_text, times_of
from adapters.importers.nodes import load_nodes
from adapters.plugins import load_plugins
from adapters.simulation import with_origin
from adapters.store.sqlite import read_log
from application.simulation.whatif import WhatIf, policies_at, what_if
from domain.errors import BadInput
from projections.words import duration_text

if TYPE_CHECKING:
    from application.ports import Log
    from domain.policies import Policies

SHOWN = ("average wait", "slowdown", "on time", "utilization", "energy", "energy cost", "completed", "failed")
WEEK_MS = 7 * 86_400_000
THEN = "then"


@verb(
    "compare",
    "milepost policy compare ours.toml theirs.toml --from -2d",
    "milepost policy compare energy=performance energy=night-savings,order=edf",
    "milepost policy compare now order=sjf,backfill=easy --from @1 --json",
)
@click.argument("sets", metavar="SET...", nargs=-1, required=True, shell_complete=complete_edit)
@click.option(
    "--from", "since", metavar="WHEN", help="First moment: -7d, @123, ISO 8601. Default: a week before the last."
)
@click.option("--to", "until", metavar="WHEN", help="Last moment. Default: that of the last event.")
@click.option("--nodes", type=FILE, metavar="FILE", help="Other nodes, as TOML, JSON or CSV. Default: those on record.")
def compare(desk: Desk, sets: tuple[str, ...], since: str | None, until: str | None, nodes: Path | None) -> int:
    """Run what is on record again under each of several sets of policies, and show what each would have brought.

    A set is a file, changes such as order=edf,backfill=2, `then` or `now`: the set in force at the first moment, over
    which files and changes are read, or the last one on record. Submissions, run times, failures and what happened to
    nodes are those on record (see `milepost whatif`). Slowdown is over jobs that completed in both courses. Energy
    follows from the power figures of nodes, its cost from the tariff of each set. Nothing is written.
    """
    load_plugins()
    log = read_log(desk.data_dir)
    try:
        from_ms, to_ms = times_of(desk, log, since or _a_week_before_the_end(log), until)
        chosen = {text: _policies(log, from_ms, text) for text in sets}
        other = () if nodes is None else load_nodes(nodes)
        found = {text: what_if(log, from_ms, to_ms, policies=each, nodes=other) for text, each in chosen.items()}
    finally:
        log.close()
    desk.answer(_document(found, from_ms, to_ms), lambda _: _page(found, from_ms, to_ms))
    return exits.OK


policy.add_command(compare)


def _a_week_before_the_end(log: "Log") -> str:
    first, last = log.read(0, 1), log.read(log.position() - 1, 1)
    if not first or not last:
        raise BadInput(problem="nothing is on record yet")
    if last[0].event.at_ms - first[0].event.at_ms <= WEEK_MS:
        return "@1"
    return f"@{log.position_at(last[0].event.at_ms - WEEK_MS)}"


def _policies(log: "Log", from_ms: int, text: str) -> "Policies":
    recorded = policies_at(log, from_ms)
    if text in (THEN, NOW):
        return recorded if text == THEN else policies_at(log, log.read(log.position() - 1, 1)[0].event.at_ms)
    policies = applied(recorded, changes_of(text))
    return policies if policies.order == recorded.order else with_origin(policies, log.read(0, 1)[0].event.at_ms)


def _document(found: dict[str, WhatIf], from_ms: int, to_ms: int) -> dict[str, Any]:
    rows = [
        {
            "set": text,
            "jobs": len(each.jobs),
            "moved": each.moved,
            "refused": len(each.refused),
            **{name: msgspec.to_builtins(getattr(each, name)) for name in ("recorded", "simulated", "policies")},
        }
        for text, each in found.items()
    ]
    return {"from_ms": from_ms, "to_ms": to_ms, "rows": rows}


def _page(found: dict[str, WhatIf], from_ms: int, to_ms: int) -> RenderableType:
    first = next(iter(found.values()))
    summary = fields(
        [
            ("from", clock(from_ms)),
            ("to", f"{clock(to_ms)} ({duration_text(to_ms - from_ms)})"),
            ("jobs", f"{len(first.jobs):,}"),
        ]
    )
    names: Sequence[str] = [name for name in SHOWN if name in MEASURES]
    columns = [Column("SET", flexible=True, least=16, wraps=True)]
    columns += [Column(name.upper(), right=True, drop=at) for at, name in enumerate(names)]
    rows = [("(on record)", *(measure_text(name, first.recorded) for name in names))]
    rows += [(text, *(measure_text(name, each.simulated) for name in names)) for text, each in found.items()]
    return Group(summary, "", table(columns, rows))
