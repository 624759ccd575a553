"""`milepost simulate`: a trace, or an invented workload, through the very same planning in virtual time."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
from click.shell_completion import CompletionItem
from msgspec.structs import replace
from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapters import simulation
from adapters.cli import exits
from adapters.cli import values as v
from adapters.cli.frame import Desk, verb
from adapters.cli.render import Column, console, fields, heading, table
from adapters.importers.policies import load_policies, named
from adapters.importers.swf import LoaderRules, Overrun, Size
from adapters.plugins import load_plugins
from adapters.simulation import Outcome, Wanted
from application.simulation import engine
from application.simulation.lublin import MAX_JOBS, MAX_PROCESSORS, Synthetic
from domain.policies import FAMILIES, Policies
from projections.words import duration_text

DEFAULTS = Policies(order="fifo", backfill="easy")
BY_NAME = ("order", "priority", "estimate", "placement")
Options = dict[str, Any]

FILE = click.Path(path_type=Path, dir_okay=False)
FORCED = b"milepost: forced; a kept store lacks the last events\n"


def decimal(text: str) -> float:
    """A number such as 0.8."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a number") from None
    if number != number or number < 0:
        raise ValueError(f"{text[:40]!r} is not a number of 0 or more")
    return number


def backfill(text: str) -> str | int:
    """A policy, or how many blocked jobs hold a reservation."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < v.MAX_DIGITS else text


def proposed(family: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What the shell proposes for a policy: the names that are registered."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        load_plugins(lambda _: None)
        return [CompletionItem(name) for name in sorted(FAMILIES[family]) if name.startswith(incomplete)]

    return complete


def policy_option(family: str, brief: str, **attrs: Any) -> Callable[[Any], Any]:
    """An option that names the answer of one family."""
    return click.option(f"--{family}", shell_complete=proposed(family), metavar="NAME", help=brief, **attrs)


@verb(
    "simulate",
    "milepost simulate KTH-SP2-1996-2.1-cln.swf.gz",
    "milepost simulate trace.swf --order wfp3 --backfill 4 --out schedule.swf",
    "milepost simulate trace.swf --policies ours.toml --data ./kept && milepost queue --all --data ./kept",
    "milepost simulate pods.csv --nodes nodes.csv --backfill greedy",
    "milepost simulate trace.swf --nodes nodes.toml --outages outages.csv",
    "milepost simulate --synthetic 10000 --seed 1 --load 0.8 --json",
)
@click.argument("trace", required=False, type=FILE)
@policy_option("order", "Who is looked at first. Default: fifo.")
@click.option(
    "--backfill",
    type=v.Written("name", backfill),
    shell_complete=proposed("backfill"),
    metavar="NAME|K",
    help="none, greedy, easy, conservative, or how many blocked jobs hold a reservation. Default: easy.",
)
@policy_option("priority", "How urgent a job is by now. Default: given.")
@policy_option("placement", "Which of the nodes that fit. Default: best-fit.")
@policy_option("estimate", "How long a job will run. Default: requested.")
@click.option("--policies", type=FILE, metavar="FILE", help="All of these and their parameters, as TOML or JSON.")
@click.option(
    "--nodes", type=FILE, metavar="FILE", help="The nodes, as TOML, JSON or CSV. Default: one of all processors."
)
@click.option(
    "--outages", type=FILE, metavar="FILE", help="When which node is down: node,down_start_s,down_end_s,cause."
)
@click.option(
    "--procs", type=v.whole(1, MAX_PROCESSORS), metavar="N", help="Size of the machine. Default: what the trace says."
)
@click.option(
    "--overrun",
    type=click.Choice([str(each) for each in Overrun]),
    help="Jobs that ran longer than requested: raise the request, keep both, or cut the run. Default: extend.",
)
@click.option(
    "--size-field",
    type=click.Choice([str(each) for each in Size]),
    help="Which number of processors counts. Default: requested.",
)
@click.option(
    "--pass",
    "passes",
    type=click.Choice([str(each) for each in engine.Pass]),
    default="instant",
    show_default=True,
    help="One cycle for all events of a moment, or one after each event.",
)
@click.option("--jobs", type=v.whole(1), metavar="N", help="Only the first N jobs.")
@click.option(
    "--synthetic",
    type=v.whole(1, MAX_JOBS),
    metavar="N",
    help="Invent N jobs after Lublin & Feitelson (2003), in place of TRACE.",
)
@click.option(
    "--seed", type=v.whole(), metavar="S", help="Of what is invented: the same jobs for the same seed. Default: 1."
)
@click.option(
    "--load",
    type=v.Written("number", decimal),
    metavar="X",
    help="Offered load of what is invented. Default: as published.",
)
@click.option(
    "--overestimate",
    type=v.Written("number", decimal),
    metavar="X",
    help="Requests of what is invented lie between the run time r and (1+X)r. Default: 0.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the schedule as SWF, field 3 being the simulated wait; .gz compresses it.",
)
def simulate(desk: Desk, out: Path | None, **options: Any) -> int:
    """Run a workload in virtual time, planned as on a real farm, and measure the schedule.

    TRACE is in the Standard Workload Format, plain or gzip, or a list of GPU pods (CSV). With --data everything that
    happened is kept in a new store, which every other command can then look into; else nothing is kept.

    \b
    average wait       from submission to the (last) start
    bounded slowdown   max(1, (wait + run) / max(run, 10 s)), averaged over jobs
    utilization        processor seconds used, over those of the machine in the makespan
    makespan           from the first submission to the last completion
    delayed            jobs that did not start in the second of their submission
    on time            of the jobs with a deadline, those that completed by then
    starts             SHA-256 of the lines "id start", sorted by id, joined by newlines
    """
    load_plugins()
    wanted = _wanted(desk, options)
    if out is not None:
        simulation.check_out(out, wanted)
    farm = simulation.prepare(wanted)
    with _interruptible() as check, _progress(desk, len(farm.trace.jobs)) as tell:
        try:
            outcome = simulation.run(wanted, farm, check=check, tell=tell)
        except click.Abort:
            if wanted.data_dir is not None:
                desk.note(f"what was simulated so far is kept in {wanted.data_dir}")
            raise
    if out is not None:
        simulation.write_schedule(outcome, out)
    desk.answer(outcome.document(), lambda _: _page(outcome))
    click.echo(_speed(outcome), err=True)
    return exits.OK


for option in simulate.params:
    if option.name == "data_dir":
        assert isinstance(option, click.Option)
        option.help = "Keep the store of the simulation in this new directory. Default: it is not kept."


# -- what is wanted ----------------------------------------------------------------------------------------------------


def _wanted(desk: Desk, options: Options) -> Wanted:
    """The options as wishes; a usage error for those that do not go together."""
    nodes = options["nodes"]
    return Wanted(
        source=_source(options),
        policies=_policies(options),
        rules=_rules(options),
        passes=engine.Pass(options["passes"]),
        nodes=nodes,
        outages=options["outages"],
        first=options["jobs"],
        data_dir=desk.named_data_dir,
    )


def _source(options: Options) -> Path | Synthetic:
    trace: Path | None = options["trace"]
    jobs = options["synthetic"]
    invented = {name: options[name] for name in ("seed", "load", "overestimate") if options[name] is not None}
    if (trace is None) == (jobs is None):
        raise click.UsageError("name a TRACE, or the number of jobs to invent with --synthetic")
    if trace is not None:
        if invented:
            raise click.UsageError(f"--{next(iter(invented))} is for --synthetic; {trace.name} is as it is")
        return trace
    for name in ("overrun", "size_field"):
        if options[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} is for a TRACE, not for --synthetic")
    processors = options["procs"]
    return Synthetic(jobs, **invented, **({"processors": processors} if processors is not None else {}))


def _rules(options: Options) -> LoaderRules:
    rules = LoaderRules(processors=options["procs"])
    if options["overrun"] is not None:
        rules = replace(rules, overrun=Overrun(options["overrun"]))
    if options["size_field"] is not None:
        rules = replace(rules, size=Size(options["size_field"]))
    return rules


def _policies(options: Options) -> Policies:
    """Those of the file, or else the defaults, with what the command line says in their place."""
    file: Path | None = options["policies"]
    policies = DEFAULTS if file is None else load_policies(file, DEFAULTS)
    for family in (*BY_NAME, "backfill"):
        if options[family] is not None:
            policies = named(policies, family, options[family])
    policies.check()
    return policies


# -- while it runs -----------------------------------------------------------------------------------------------------


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """A check that raises Abort after the first SIGINT; the second ends the process where it is."""
    asked = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            os.write(2, FORCED)
            os._exit(exits.INTERRUPTED)
        asked.set()

    def check() -> None:
        if asked.is_set():
            raise click.Abort

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(desk: Desk, jobs: int) -> Iterator[Callable[[engine.Progress], None]]:
    """Shows how many jobs have arrived, where somebody sees it."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda progress: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("simulating", total=jobs)
        yield lambda progress: bar.update(task, completed=min(progress.arrived, jobs))


# -- what came of it ---------------------------------------------------------------------------------------------------


def _speed(outcome: Outcome) -> str:
    jobs = len(outcome.trace.jobs)
    speed = f"{outcome.jobs_per_s:,.0f} jobs/s, {outcome.events:,} events"
    return f"simulated {jobs:,} jobs in {outcome.seconds:.2f} s ({speed})"


def _page(outcome: Outcome) -> RenderableType:
    """All figures for people."""
    trace, found = outcome.trace, outcome.measures
    on_time = "" if found.on_time_share is None else f"{found.on_time_share:.2%}"
    machine = f"{trace.processors:,} processors" + (f" on {outcome.nodes:,} nodes" if outcome.nodes > 1 else "")
    parts: list[RenderableType] = [
        fields(
            [
                ("trace", f"{trace.name}, {len(trace.jobs):,} jobs"),
                ("machine", machine),
                ("policies", _in_words(outcome)),
                ("completed", f"{found.jobs:,} jobs"),
                ("unfinished", f"{outcome.unfinished:,} jobs" if outcome.unfinished else ""),
                ("restarts", f"{outcome.restarts:,} after a node was lost" if outcome.restarts else ""),
                ("average wait", f"{found.average_wait_s:,.2f} s"),
                ("median wait", f"{found.median_wait_s:,.1f} s"),
                ("95 % waited at most", f"{found.p95_wait_s:,} s"),
                ("longest wait", f"{found.max_wait_s:,} s"),
                ("average bounded slowdown", f"{found.average_bounded_slowdown:,.3f}"),
                ("utilization", f"{found.utilization:.2%}"),
                ("makespan", f"{found.makespan_s:,} s ({duration_text(found.makespan_s * 1_000)})"),
                ("delayed", f"{found.jobs_delayed:,} jobs"),
                ("throughput", f"{found.throughput_per_hour:,.2f} jobs/h"),
                ("on time", on_time),
                ("starts", found.starts_sha256),
            ]
        )
    ]
    if len(outcome.resources) > 1:
        rows = [(name, f"{use.capacity:,}", f"{use.used_share:.2%}") for name, use in outcome.resources.items()]
        columns = [Column("RESOURCE"), Column("CAPACITY", right=True), Column("USED", right=True)]
        parts += [heading("Resources"), table(columns, rows)]
    parts += _counts("Left out", trace.dropped) + _counts("Adjusted", trace.adjusted)
    return Group(*parts)


def _counts(title: str, counts: dict[str, int]) -> list[RenderableType]:
    if not counts:
        return []
    columns = [Column("REASON"), Column("JOBS", right=True)]
    return [heading(title), table(columns, [(reason, f"{count:,}") for reason, count in counts.items()])]


def _in_words(outcome: Outcome) -> str:
    policies = outcome.policies
    depth = policies.parameters.get("backfill", {}).get("reservations")
    words = [policies.order, f"{policies.backfill} backfill" if depth is None else f"backfill {depth}"]
    words += [policies.priority, policies.placement, policies.estimate, *policies.filters]
    return f"{', '.join(words)}; one pass per {outcome.passes}"
