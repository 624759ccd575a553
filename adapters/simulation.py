"""One simulation from files to figures: what to run, on what, under which policies, and what came of it.

Whoever calls it shows the results; nothing here prints or asks.
"""

import gzip
import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from adapters.importers.nodes import load_nodes, load_outages
from adapters.importers.pods import is_pod_list, load_pods
from adapters.importers.policies import table_of
from adapters.importers.swf import LoaderRules, load_swf, write_swf
from adapters.settings import FILE_NAME as SETTINGS_FILE
from adapters.store.buffered import BufferedLog
from adapters.store.objects import ObjectLog
from adapters.store.sqlite import LOG_FILE, open_log, read_log
from application.ports import Log
from application.simulation.engine import Pass, Progress
from application.simulation.farms import NO_NODE, Needs, Outage, SimulatedNode, Use, uses
from application.simulation.lublin import Synthetic, generate
from application.simulation.metrics import Completed, Metrics, metrics
from application.simulation.traces import TraceRun
from application.simulation.workload import Trace
from domain.errors import BadInput
from domain.policies import FAMILIES, Policies

ORIGIN = "origin_ms"
"""The parameter of orders that look at submit times on the trace's clock: when its second 0 is."""
GZIP_SUFFIX = ".gz"
SNAPSHOT_EVERY = 10_000
"""Events between two snapshots of the farm in a kept store, so that its past is found quickly."""

Check = Callable[[], None]
Tell = Callable[[Progress], None]


class Wanted(msgspec.Struct, frozen=True):
    """What to simulate."""

    source: Path | Synthetic
    """A trace (SWF, or a list of GPU pods), or what to invent."""
    policies: Policies
    rules: LoaderRules = LoaderRules()
    passes: Pass = Pass.INSTANT
    nodes: Path | None = None
    """None makes one node of all processors."""
    outages: Path | None = None
    first: int | None = None
    """Only so many jobs, the first to arrive."""
    data_dir: Path | None = None
    """Where the store is kept; None keeps it in memory."""


class Farm(NamedTuple):
    """A workload with the machine that it runs on, before anything is run."""

    trace: Trace
    needs: Mapping[int, Needs]
    nodes: tuple[SimulatedNode, ...]
    """None are one node of all processors of the trace."""
    outages: tuple[Outage, ...]


class Outcome(msgspec.Struct, frozen=True):
    """What came of a simulation; the same for the same wishes, however fast it was."""

    trace: Trace
    """As it was run, with everything that was left out counted."""
    starts: dict[int, int]
    """Start by job number, in seconds on the trace's clock."""
    measures: Metrics
    policies: Policies
    passes: Pass
    nodes: int
    unfinished: int
    """Jobs that arrived and never completed: nodes that they need did not come back, or policies kept them off."""
    restarts: int
    """How often a job was started again after a node was lost."""
    resources: dict[str, Use]
    """By kind of resource, for farms of more than one kind of amount."""
    events: int
    cycles: int
    seconds: float
    """That the simulation took, without reading files."""

    @property
    def jobs_per_s(self) -> float:
        """Simulated jobs for each second that it took."""
        return len(self.trace.jobs) / self.seconds if self.seconds else 0.0

    def document(self) -> dict[str, Any]:
        """All of it but the starts and the time it took, for `--json`."""
        trace = self.trace
        return {
            "trace": trace.name,
            "processors": trace.processors,
            "nodes": self.nodes,
            "pass": self.passes.value,
            **msgspec.to_builtins(self.measures),
            "unfinished": self.unfinished,
            "restarts": self.restarts,
            "dropped": dict(trace.dropped),
            "adjusted": dict(trace.adjusted),
            "resources": msgspec.to_builtins(self.resources),
            "events": self.events,
            "cycles": self.cycles,
            "policies": table_of(self.policies),
        }


def prepare(wanted: Wanted) -> Farm:
    """Reads all files and checks everything that can be known before; BadInput or PolicyInvalid says what is wrong."""
    wanted.policies.check()
    if wanted.data_dir is not None:
        _check_vacant(wanted.data_dir)
    nodes = () if wanted.nodes is None else load_nodes(wanted.nodes)
    if wanted.outages is not None and not nodes:
        raise BadInput(problem="--outages says which nodes are down, so it needs --nodes")
    outages = () if wanted.outages is None else load_outages(wanted.outages, nodes)
    trace, needs = _workload(wanted, nodes)
    if wanted.first is not None:
        trace = replace(trace, jobs=trace.jobs[: wanted.first])
    return Farm(trace, needs, nodes, outages)


def _workload(wanted: Wanted, nodes: tuple[SimulatedNode, ...]) -> tuple[Trace, Mapping[int, Needs]]:
    source, rules = wanted.source, wanted.rules
    cores = sum(node.capacity.millicores // 1_000 for node in nodes)
    if nodes and rules.processors is not None:
        raise BadInput(problem="--nodes says how large the machine is; leave --procs out")
    if isinstance(source, Synthetic):
        return generate(replace(source, processors=cores) if nodes else source), {}
    if not is_pod_list(source):
        return load_swf(source, replace(rules, processors=cores) if nodes else rules), {}
    if not nodes:
        raise BadInput(problem=f"{source}: a list of GPU pods runs on nodes; name their file with --nodes")
    pods = load_pods(source)
    return replace(pods.trace, processors=cores), pods.needs


def run(wanted: Wanted, farm: Farm, *, check: Check, tell: Tell) -> Outcome:
    """Simulates; what `check` raises ends it, and a kept store then holds the beginning."""
    trace = farm.trace
    start_ms = trace.start_unix_s * 1_000  # in memory too, so that both have the same events
    policies = with_origin(wanted.policies, start_ms)
    log = _open(wanted.data_dir)
    began_s = time.perf_counter()
    try:
        course = TraceRun(
            trace,
            log,
            policies,
            passes=wanted.passes,
            nodes=farm.nodes,
            start_ms=start_ms,
            needs=farm.needs,
            outages=farm.outages,
            check=check,
        )
        completed = course.run(lambda progress: _tell(course, tell, progress, keep=wanted.data_dir is not None))
        events = log.position()
    except BaseException:
        log.close()  # the farm in memory may be ahead of the log: no snapshot of it
        raise
    course.app.close()
    return _outcome(wanted, farm, course, completed, events, time.perf_counter() - began_s)


def _tell(course: TraceRun, tell: Tell, progress: Progress, *, keep: bool) -> None:
    if keep:
        course.app.snapshot_if_due(SNAPSHOT_EVERY)
    tell(progress)


def _open(data_dir: Path | None) -> Log:
    return ObjectLog() if data_dir is None else BufferedLog(open_log(data_dir))


def _outcome(
    wanted: Wanted, farm: Farm, course: TraceRun, completed: list[Completed], events: int, seconds: float
) -> Outcome:
    trace, impossible = farm.trace, len(course.impossible)
    measures = metrics(completed, trace.processors)
    resources: dict[str, Use] = {}
    if farm.nodes:
        jobs = {job.number: job for job in trace.jobs}
        held = ((course.needs_of(jobs[each.number]).requirement, each.run_s) for each in completed)
        resources = uses(held, farm.nodes, measures.makespan_s)
        measures = replace(measures, utilization=resources["millicores"].used_share)
    left_out = {NO_NODE: impossible} if impossible else {}
    return Outcome(
        trace=replace(trace, dropped=dict(sorted({**trace.dropped, **left_out}.items()))),
        starts=course.starts,
        measures=measures,
        policies=wanted.policies,
        passes=wanted.passes,
        nodes=len(course.nodes),
        unfinished=len(trace.jobs) - impossible - len(completed),
        restarts=course.placed - len(course.starts),
        resources=resources,
        events=events,
        cycles=course.simulator.cycled,
        seconds=seconds,
    )


def with_origin(policies: Policies, start_ms: int) -> Policies:
    """The same policies; an order that reads submit times on the trace's clock is told when that began."""
    fields = getattr(FAMILIES["order"].get(policies.order), "__struct_fields__", ())
    own = policies.parameters.get("order", {})
    if ORIGIN not in fields or ORIGIN in own or not start_ms:
        return policies
    return replace(policies, parameters={**policies.parameters, "order": {**own, ORIGIN: start_ms}})


def _check_vacant(data_dir: Path) -> None:
    """BadInput unless a simulation can be kept there without mixing it with anything."""
    if data_dir.exists() and not data_dir.is_dir():
        raise BadInput(problem=f"--data {data_dir}: not a directory")
    if (data_dir / LOG_FILE).exists():
        log = read_log(data_dir)
        try:
            position = log.position()
        finally:
            log.close()
        if position:
            raise BadInput(problem=f"--data {data_dir}: holds a store of {position} events already; name a new one")
    elif data_dir.exists() and {each.name for each in data_dir.iterdir()} - {SETTINGS_FILE}:
        raise BadInput(problem=f"--data {data_dir}: holds other things; name a new directory")


# -- schedules ---------------------------------------------------------------------------------------------------------


def check_out(path: Path, wanted: Wanted) -> None:
    """BadInput unless a schedule can be written there."""
    if path.is_dir() or not path.parent.is_dir():
        raise BadInput(problem=f"--out {path}: {'a directory' if path.is_dir() else 'its directory does not exist'}")
    inputs = (each for each in (wanted.source, wanted.nodes, wanted.outages) if isinstance(each, Path))
    if any(path.exists() and each.exists() and path.samefile(each) for each in inputs):
        raise BadInput(problem=f"--out {path}: that is what the simulation reads")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BadInput(problem=f"--out {path}: not writable")


def write_schedule(outcome: Outcome, path: Path) -> None:
    """Writes the trace with the simulated waits as SWF, whole or not at all; gzip if the name ends so."""
    part = path.with_name(f".{path.name}.part")
    policies = msgspec.json.encode(table_of(outcome.policies)).decode()
    try:
        with part.open("wb") as file:
            zipped = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if path.suffix == GZIP_SUFFIX else file
            with io.TextIOWrapper(zipped, encoding="utf-8", newline="\n") as stream:
                write_swf(outcome.trace, outcome.starts, stream, policies=policies)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
