"""The kernel beside the engine: the same log item by item, the same farm afterwards, on random and on published traces.

Random traces are small and crowded, or spread over days, because that is where rows are refreshed and days open.
"""

from collections.abc import Callable
from itertools import count, zip_longest
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.importers.swf import LoaderRules, Overrun, load_swf
from adapters.store.buffered import BufferedLog
from adapters.store.objects import ObjectLog
from adapters.store.sqlite import open_log
from application import farms
from application.simulation import kernel_farm
from application.simulation.engine import Pass, Progress
from application.simulation.farms import Needs, Outage, SimulatedNode, whole
from application.simulation.traces import TraceRun
from application.simulation.workload import Trace, TraceJob
from domain import rules
from domain.errors import BadInput
from domain.farm_snapshot import FarmSnapshot
from domain.job.values import PRIORITY_RANK, JobSpec, Priority
from domain.messages import JobId, Recorded
from domain.policies import Policies
from domain.resources import Requirement, Resources
from tests.application.test_trace_agreement import KTH, SWF, needs_kth, policies_of

ORDERS = ("fifo", "priority", "sjf", "saf", "edf", "slack", "f1", "f2", "f3", "f4")
BACKFILLS = ("none", "greedy", "easy", "1")
PLACEMENTS = ("best-fit", "worst-fit", "first-fit")
PASSES = tuple(Pass)
STARTS_MS = (0, 86_390_000, 1_700_000_000_123)
"""The second one is ten seconds before midnight."""
TRACES = sorted(path.name for path in SWF.glob("*.swf*") if "schedule" not in path.name)


OVERRUNS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "extend": lambda run_s, requested_s: (run_s, max(requested_s, run_s)),
    "kill": lambda run_s, requested_s: (min(run_s, requested_s), requested_s),
    "keep": lambda run_s, requested_s: (run_s, requested_s),
}


def random_trace(rng: Random) -> Trace:
    """Up to forty jobs in a few seconds or over days; some run longer than they said, a few are too large."""
    processors, overrun = rng.choice((1, 2, 3, 5, 8, 16)), OVERRUNS[rng.choice(sorted(OVERRUNS))]
    span_s = rng.choice((0, 3, 12, 40, 200, 3_000, 90_000, 300_000))
    longest_s = rng.choice((2, 6, 20, 100, 1_000, 60_000))
    jobs = []
    for number in range(1, rng.randint(1, rng.choice((6, 16, 40))) + 1):
        requested_s = rng.randint(1, longest_s)
        run_s = requested_s + rng.randint(1, longest_s) if rng.random() < 0.2 else rng.randint(1, requested_s)
        size = rng.choice((1, 1, rng.randint(1, processors), processors)) + (rng.random() < 0.02)
        run_s, requested_s = overrun(run_s, requested_s)
        jobs.append(TraceJob(number, rng.randint(0, span_s), run_s, size, requested_s))
    return Trace(tuple(sorted(jobs, key=lambda job: (job.submit_s, job.number))), processors)


def random_needs(rng: Random, trace: Trace) -> dict[int, Needs]:
    """Of some traces nothing is known, of others the priorities, deadlines and names of most jobs."""
    if rng.random() < 0.6:
        return {}
    return {
        job.number: Needs(
            whole(job.processors).requirement,
            name=rng.choice(("", "x")),
            priority=rng.choice(sorted(Priority, key=PRIORITY_RANK.__getitem__)),
            deadline_s=rng.choice((None, job.submit_s + rng.randint(1, 1_000))),
        )
        for job in trace.jobs
        if rng.random() < 0.8
    }


class Ran:
    """Everything that a run leaves for others to see."""

    def __init__(self, trace: Trace, policies: Policies, *, kernel: bool, **given: Any) -> None:
        self.told: list[Progress] = []
        self.run = TraceRun(trace, ObjectLog(), policies, kernel=kernel, **given)
        self.completed = self.run.run(self.told.append)
        self.log = self.run.app.log.read(0, 1 << 62)

    def counted(self) -> dict[str, Any]:
        """What is counted, and the farm."""
        run, simulator = self.run, self.run.simulator
        return {
            "completed": self.completed,
            "told": self.told,
            "starts": list(run.starts.items()),
            "ends": list(run.ends.items()),
            "placed": run.placed,
            "impossible": run.impossible,
            "cycled": simulator.cycled,
            "arrived": simulator.arrived,
            "now_ms": simulator.clock.now_ms(),
            "farm": run.app.farm.snapshot(),
        }


def compare(trace: Trace, policies: Policies, **given: Any) -> bool:
    """Both ways leave the same; whether the kernel applied."""
    ours, wanted = (Ran(trace, policies, kernel=kernel, **given) for kernel in (True, False))
    story = (
        f"{policies.order} {policies.backfill} {policies.placement} {given} on {trace.processors}: {trace.jobs[:40]}"
    )
    for mine, engines in zip_longest(ours.log, wanted.log):
        assert mine == engines, story
    assert ours.counted() == wanted.counted(), story
    assert not wanted.run.by_kernel
    return ours.run.by_kernel


def agree(rng: Random, order: str, backfill: str, passes: Pass) -> bool:
    trace = random_trace(rng)
    policies = replace(policies_of(order, backfill), placement=rng.choice(PLACEMENTS))
    return compare(
        trace, policies, passes=passes, needs=random_needs(rng, trace), start_ms=rng.choice(STARTS_MS)
    ) or not any(job.processors <= trace.processors for job in trace.jobs)


# -- the same log ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("backfill", BACKFILLS)
@pytest.mark.parametrize("order", ORDERS)
def test_the_kernel_leaves_the_log_of_the_engine(order: str, backfill: str, passes: Pass) -> None:
    rng = Random(f"{order} {backfill} {passes}")
    for _ in range(3):
        assert agree(rng, order, backfill, passes)


@pytest.mark.soak
@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("backfill", BACKFILLS)
@pytest.mark.parametrize("order", ORDERS)
def test_thousands_of_traces_leave_the_same_log(order: str, backfill: str, passes: Pass) -> None:
    rng = Random(f"many {order} {backfill} {passes}")
    for _ in range(200):
        assert agree(rng, order, backfill, passes)


@given(st.randoms(use_true_random=False), st.sampled_from(ORDERS), st.sampled_from(BACKFILLS), st.sampled_from(PASSES))
def test_a_trace_on_which_kernel_and_engine_differ_can_be_made_small(
    rng: Random, order: str, backfill: str, passes: Pass
) -> None:
    assert agree(rng, order, backfill, passes)


@pytest.mark.slow
@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("name", TRACES or [pytest.param("", marks=pytest.mark.skip(reason="no traces there"))])
def test_published_traces_leave_the_same_log(name: str, passes: Pass) -> None:
    """The first 2,000 jobs of each; one that names neither its machine nor processors is left out."""
    try:
        trace = load_swf(SWF / name, LoaderRules(overrun=Overrun.KEEP))
    except BadInput as error:
        pytest.skip(str(error))
    trace = replace(trace, jobs=trace.jobs[:2_000])
    assert compare(trace, FIFO_EASY, passes=passes, start_ms=trace.start_unix_s * 1_000)


@pytest.mark.slow
@needs_kth
@pytest.mark.parametrize("passes", PASSES)
def test_a_published_schedule_is_the_same_both_ways(passes: Pass) -> None:
    """28,481 jobs of an IBM SP2; `test_trace_agreement` has the figures and the schedule."""
    assert compare(load_swf(KTH), FIFO_EASY, passes=passes)


# -- where it applies ------------------------------------------------------------------------------------------------

FIFO_EASY = Policies(order="fifo", backfill="easy")
SMALL = Trace(tuple(TraceJob(number, number, 5, 1 + number % 2, 9) for number in range(1, 9)), 2)
PLAIN = whole(1).requirement


def changed(**fields: int) -> Trace:
    return replace(SMALL, jobs=(*SMALL.jobs[:3], replace(SMALL.jobs[3], **fields), *SMALL.jobs[4:]))


@pytest.mark.parametrize(
    ("trace", "policies", "given"),
    [
        (SMALL, FIFO_EASY, {"nodes": [SimulatedNode("a", Resources(2_000))]}),
        (SMALL, FIFO_EASY, {"outages": [Outage("machine", 3, 4)]}),
        (SMALL, FIFO_EASY, {"forecasts": True}),
        (SMALL, FIFO_EASY, {"kernel": False}),
        (SMALL, FIFO_EASY, {"needs": {3: Needs(PLAIN, client_id="ada")}}),
        (SMALL, FIFO_EASY, {"needs": {3: Needs(Requirement(Resources(1_000), slots=2))}}),
        (changed(run_s=0), FIFO_EASY, {}),
        (replace(SMALL, jobs=()), FIFO_EASY, {}),
        (SMALL, replace(FIFO_EASY, order="wfp3"), {}),
        (SMALL, replace(FIFO_EASY, order="multifactor"), {}),
        (SMALL, replace(FIFO_EASY, order="portfolio"), {}),
        (SMALL, replace(FIFO_EASY, priority="ageing"), {}),
        (SMALL, replace(FIFO_EASY, estimate="predicted"), {}),
        (SMALL, replace(FIFO_EASY, placement="weighted"), {}),
        (SMALL, replace(FIFO_EASY, backfill="conservative"), {}),
        (SMALL, policies_of("fifo", "2"), {}),
        (SMALL, replace(FIFO_EASY, energy="balanced"), {}),
        (SMALL, replace(FIFO_EASY, sharing="lending"), {}),
        (SMALL, replace(FIFO_EASY, preemption="requeue"), {}),
    ],
)
def test_anything_else_is_left_to_the_engine(trace: Trace, policies: Policies, given: dict[str, Any]) -> None:
    run = TraceRun(trace, ObjectLog(), policies, **given)
    assert len(run.run()) == len(trace.jobs)
    assert not run.by_kernel


def test_a_plain_trace_is_run_by_the_kernel() -> None:
    assert compare(SMALL, FIFO_EASY)


def test_a_rule_of_ones_own_is_obeyed_by_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have nothing to say now and something later."""
    monkeypatch.setattr(rules, "_FACTORIES", [*rules._FACTORIES, lambda farm, made, now_ms: None])
    run = TraceRun(SMALL, ObjectLog(), FIFO_EASY)
    run.run()
    assert not run.by_kernel


def test_whoever_listens_hears_every_event() -> None:
    run, heard = TraceRun(SMALL, ObjectLog(), FIFO_EASY), list[Recorded]()
    run.app.listen(heard.extend)
    run.run()
    assert not run.by_kernel
    assert heard == run.app.log.read(0, 1_000)


def test_a_log_that_has_something_in_it_is_gone_on_with_by_the_engine() -> None:
    log = ObjectLog()
    TraceRun(SMALL, log, FIFO_EASY).run()
    later = replace(SMALL, jobs=tuple(replace(job, number=job.number + 100) for job in SMALL.jobs))
    run = TraceRun(later, log, FIFO_EASY, start_ms=1_000_000)
    assert len(run.run()) == len(later.jobs)
    assert not run.by_kernel


# -- the farm, interruptions, kept stores ----------------------------------------------------------------------------


def long_trace(jobs: int = 1_600) -> Trace:
    """A machine that is crowded at times."""
    rng = Random(4)
    rows = [(rng.randint(0, jobs * 40), rng.randint(1, 300), rng.randint(1, 8)) for _ in range(jobs)]
    return Trace(tuple(TraceJob(n, at, run, size, run * 2) for n, (at, run, size) in enumerate(sorted(rows), 1)), 10)


@pytest.mark.parametrize("most", [0, 3_000, 1_000_000])
def test_whoever_looks_at_the_farm_meanwhile_sees_it_as_the_engine_leaves_it(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the events since the last look were kept for that, or must be read from the log."""
    monkeypatch.setattr(kernel_farm, "MOST_KEPT", most)
    seen: list[list[tuple[FarmSnapshot, int]]] = []
    for kernel in (True, False):
        run = TraceRun(long_trace(), ObjectLog(), FIFO_EASY, kernel=kernel)
        looks: list[tuple[FarmSnapshot, int]] = []

        def look(_: Progress, run: TraceRun = run, looks: list[tuple[FarmSnapshot, int]] = looks) -> None:
            assert run.app.farm.position == run.app.log.position()
            looks.append((run.app.farm.snapshot(), run.simulator.clock.now_ms()))

        run.run(look)
        seen.append(looks)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 4
    assert any(snapshot.jobs and snapshot.blocked for snapshot, _ in seen[0])


class StopError(Exception):
    """Somebody does not want to wait."""


@pytest.mark.parametrize("after", [0, 1, 2, 700])
def test_who_interrupts_finds_a_beginning_of_the_log(after: int) -> None:
    whole_log = Ran(long_trace(), FIFO_EASY, kernel=True).log
    checks = count()

    def check() -> None:
        if next(checks) == after:
            raise StopError

    run = TraceRun(long_trace(), ObjectLog(), FIFO_EASY, check=check)
    with pytest.raises(StopError):
        run.run()
    assert run.by_kernel
    log = run.app.log.read(0, 1 << 62)
    assert log == whole_log[: len(log)]
    assert len(log) < len(whole_log)
    assert run.app.farm.position == len(log)


class Broken(TraceRun):
    """Fails in the middle of second 5, when the second of its two jobs arrives."""

    def _spec(self, job_id: JobId, job: TraceJob, needs: Needs) -> JobSpec:
        if job.number == 6:
            raise StopError
        return super()._spec(job_id, job, needs)


def test_what_was_written_of_a_moment_that_is_not_finished_is_not_kept() -> None:
    trace = changed(submit_s=4)
    trace = replace(trace, jobs=(*trace.jobs[:4], *(replace(job, submit_s=5) for job in trace.jobs[4:])))
    run = Broken(trace, ObjectLog(), FIFO_EASY)
    with pytest.raises(StopError):
        run.run()
    assert run.by_kernel
    log = run.app.log.read(0, 1 << 62)
    assert log == [each for each in Ran(trace, FIFO_EASY, kernel=False).log if each.event.at_ms < 5_000]


def test_a_kept_store_has_the_same_events_and_snapshots(tmp_path: Path) -> None:
    kept = []
    for kernel in (True, False):
        log = open_log(tmp_path / str(kernel))
        run = TraceRun(long_trace(), BufferedLog(log), FIFO_EASY, kernel=kernel)
        run.run(lambda _, run=run: run.app.snapshot_if_due(1_000))  # type: ignore[misc]
        run.app.close()
        log = open_log(tmp_path / str(kernel))
        upto = log.position()
        snapshots = [log.snapshot(farms.FARM_STREAM, at) for at in range(0, upto + 1, 100)]
        kept.append((log.read(0, 1 << 62), snapshots, farms.load(log).snapshot()))
        assert run.by_kernel is kernel
        log.close()
    assert kept[0] == kept[1]
