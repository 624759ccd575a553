"""`milepost whatif`: what is on record, run again in virtual time under other policies or on other nodes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Group, RenderableType

from adapters.cli import exits
from adapters.cli import values as v
from adapters.cli.frame import Desk, verb
from adapters.cli.render import Column, clock, fields, heading, table
from adapters.cli.simulating import BY_NAME, FILE, backfill, policy_option, proposed
from adapters.importers.nodes import load_nodes
from adapters.importers.policies import load_policies, named
from adapters.plugins import load_plugins
from adapters.simulation import with_origin
from adapters.store.sqlite import read_log
from adapters.times import parse_moment
from application.simulation import engine
from application.simulation.whatif import MOVED_MS, JobChange, Totals, WhatIf, policies_at, what_if
from domain.errors import BadInput
from domain.policies import Policies
from projections.words import duration_text

if TYPE_CHECKING:
    from application.ports import Log

SHOWN = 20
Options = dict[str, Any]


@verb(
    "whatif",
    "milepost whatif --from -7d --order sjf --backfill easy",
    "milepost whatif --from -7d --to -1d --policies ours.toml",
    "milepost whatif --from 2026-03-01T08:00 --nodes more.toml --json",
    "milepost whatif --from @1 --order wfp3 --data ./kept",
)
@click.option(
    "--from", "since", required=True, metavar="WHEN", help="First moment: -7d, @123 (log position), ISO 8601."
)
@click.option("--to", "until", metavar="WHEN", help="Last moment. Default: that of the last event.")
@policy_option("order", "Who is looked at first.")
@click.option(
    "--backfill",
    type=v.Written("name", backfill),
    shell_complete=proposed("backfill"),
    metavar="NAME|K",
    help="none, greedy, easy, conservative, or how many blocked jobs hold a reservation.",
)
@policy_option("priority", "How urgent a job is by now.")
@policy_option("placement", "Which of the nodes that fit.")
@policy_option("estimate", "How long a job will run.")
@click.option("--policies", type=FILE, metavar="FILE", help="All of these and their parameters, as TOML or JSON.")
@click.option("--nodes", type=FILE, metavar="FILE", help="Other nodes, as TOML, JSON or CSV. Default: those on record.")
@click.option(
    "--pass",
    "passes",
    type=click.Choice([str(each) for each in engine.Pass]),
    default="instant",
    show_default=True,
    help="One cycle for all events of a moment, or one after each event.",
)
@click.option("--limit", type=v.whole(0), default=SHOWN, show_default=True, help="Show at most so many jobs.")
def whatif(desk: Desk, since: str, until: str | None, limit: int, **options: Any) -> int:
    """Run what is on record again under other policies or on other nodes, and compare.

    Submissions, wishes of persons, run times, failures and what happened to nodes are those on record; which job
    starts when and where is planned anew. What is not said is as it was at the first moment; with neither policies nor
    nodes, everything is as on record, changes included. Nothing is written.

    \b
    wait               from submission to the first start, or to the last moment
    bounded slowdown   over jobs that completed in both courses
    on time            over jobs whose deadline lies at or before the last moment
    utilization        core time held, over that of nodes that took work
    energy             what nodes drew by their power figures, and its cost under the tariffs in force
    """
    load_plugins()
    log = read_log(desk.data_dir)
    try:
        from_ms, to_ms = times_of(desk, log, since, until)
        nodes = () if options["nodes"] is None else load_nodes(options["nodes"])
        policies = wanted_policies(options, log, from_ms)
        found = what_if(log, from_ms, to_ms, policies=policies, nodes=nodes, passes=engine.Pass(options["passes"]))
    finally:
        log.close()
    desk.answer(msgspec.to_builtins(found), lambda _: _page(found, limit))
    return exits.OK


def times_of(desk: Desk, log: "Log", since: str, until: str | None) -> tuple[int, int]:
    """First and last moment; BadInput unless something is on record between them, in that order."""
    last = log.read(log.position() - 1, 1)
    if not last:
        raise BadInput(problem="nothing is on record yet")
    from_ms = _time_of(desk, log, since, "--from")
    to_ms = last[0].event.at_ms if until is None else _time_of(desk, log, until, "--to")
    if to_ms < from_ms:
        raise BadInput(problem=f"--from ({clock(from_ms)}) is later than --to ({clock(to_ms)})")
    return from_ms, to_ms


def _time_of(desk: Desk, log: "Log", text: str, option: str) -> int:
    moment = parse_moment(text, desk.clock.now_ms())
    if moment.at_ms is not None:
        return moment.at_ms
    position = moment.position or 0
    found = log.read(position - 1, 1) if position > 0 else []
    if not found:
        raise BadInput(problem=f"{option}: there is no event {text}; the log has {log.position():,}")
    return found[0].event.at_ms


def wanted_policies(options: Options, log: "Log", from_ms: int) -> Policies | None:
    """Those of the file and the options, over those on record; None if nothing is said about policies."""
    file: Path | None = options["policies"]
    families = [family for family in (*BY_NAME, "backfill") if options[family] is not None]
    if file is None and not families:
        return None
    policies = recorded = policies_at(log, from_ms)
    if file is not None:
        policies = load_policies(file, policies)
    for family in families:
        policies = named(policies, family, options[family])
    policies.check()
    return policies if policies.order == recorded.order else with_origin(policies, log.read(0, 1)[0].event.at_ms)


# -- for people ------------------------------------------------------------------------------------------------------


def _page(found: WhatIf, limit: int) -> RenderableType:
    parts: list[RenderableType] = [
        fields(
            [
                ("from", clock(found.from_ms)),
                ("to", f"{clock(found.to_ms)} ({duration_text(found.to_ms - found.from_ms)})"),
                ("policies", f"{found.policies.order}, {found.policies.backfill} backfill"),
                ("jobs", f"{len(found.jobs):,}, of which {found.moved:,} start at another time"),
                ("not possible", f"{len(found.refused):,} of what was said then" if found.refused else ""),
                ("estimated", f"the run times of {len(found.estimated):,} jobs" if found.estimated else ""),
            ]
        ),
        heading("All jobs"),
        _totals(found.recorded, found.simulated),
    ]
    if len(found.clients) > 1:
        parts += [heading("Clients"), _clients(found)]
    changed = [each for each in found.jobs if abs(each.wait_change_ms or 0) >= MOVED_MS]
    if changed and limit:
        parts += [heading("Jobs with the greatest changes"), _jobs(found, changed, limit)]
    if found.refused and limit:
        rows = [(each.command, each.entity, each.message) for each in found.refused[:limit]]
        columns = [Column("COMMAND"), Column("OF"), Column("WHY NOT", flexible=True, wraps=True)]
        parts += [heading("Not possible this time"), table(columns, rows)]
    return Group(*parts)


_CHANGES = [Column("", flexible=True), Column("RECORDED", right=True), Column("WHAT IF", right=True)]


def _totals(recorded: Totals, simulated: Totals) -> RenderableType:
    rows = [(name, measure_text(name, recorded), measure_text(name, simulated)) for name in MEASURES]
    return table(_CHANGES, [row for row in rows if row[1] or row[2]])


def _clients(found: WhatIf) -> RenderableType:
    columns = [Column("CLIENT"), Column("JOBS", right=True)]
    for name in MEASURES:
        columns += [Column(name.upper(), right=True, drop=1), Column("WHAT IF", right=True, drop=1)]
    rows = []
    for each in found.clients:
        row = [each.client_id, f"{each.jobs:,}"]
        for name in MEASURES:
            row += [measure_text(name, each.recorded), measure_text(name, each.simulated)]
        rows.append(row)
    return table(columns, rows)


def _jobs(found: WhatIf, changed: Sequence[JobChange], limit: int) -> RenderableType:
    shown = sorted(changed, key=lambda each: (-abs(each.wait_change_ms or 0), each.job_id))[:limit]
    columns = [
        Column("JOB"), Column("CLIENT", drop=1), Column("WAIT", right=True), Column("WHAT IF", right=True),
        Column("CHANGE", right=True),
    ]  # fmt: skip
    rows = []
    for each in shown:
        if each.simulated is not None and each.wait_change_ms:
            sign = "-" if each.wait_change_ms < 0 else "+"
            waits = (duration_text(fate.wait_ms(found.to_ms)) for fate in (each.recorded, each.simulated))
            rows.append((each.job_id, each.recorded.client_id, *waits, sign + duration_text(abs(each.wait_change_ms))))
    return table(columns, rows)


MEASURES = {
    "started": ("started", "{:,}"),
    "completed": ("completed", "{:,}"),
    "failed": ("failed", "{:,}"),
    "average wait": ("average_wait_s", "{:,.1f} s"),
    "slowdown": ("average_bounded_slowdown", "{:,.2f}"),
    "on time": ("on_time_share", "{:.1%}"),
    "utilization": ("utilization", "{:.1%}"),
    "energy": ("energy_kwh", "{:,.2f} kWh"),
    "energy cost": ("energy_cost", "{:,.2f}"),
}


def measure_text(name: str, totals: Totals) -> str:
    """One measure of a course as people read it; empty where there is none."""
    field, form = MEASURES[name]
    value = getattr(totals, field)
    return "" if value is None else form.format(value)
