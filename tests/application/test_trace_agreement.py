"""The simulator beside naive ones: small random traces start for start, a published one, and farms cycle by cycle.

`tests.schedules` is a second simulator that shares nothing with the product; `tests.oracle` plans single cycles of any
farm. Random traces are small and crowded, with many things in the same second, because that is where schedules differ.
"""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.importers.swf import load_swf
from adapters.store.objects import ObjectLog
from application.cycles import Cycles
from application.simulation.engine import Pass
from application.simulation.farms import Needs, SimulatedNode, whole
from application.simulation.metrics import metrics
from application.simulation.traces import TraceRun
from application.simulation.workload import Trace, TraceJob
from domain.decisions import Plan
from domain.job.values import PRIORITY_RANK, Priority
from domain.planning.placing import Attempts
from domain.planning.planner import plan
from domain.policies import Policies
from domain.resources import Requirement
from tests import schedules
from tests.builders import need, resources
from tests.oracle import expected, gangs_of, one_by_one

SWF = Path(os.environ.get("MILEPOST_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "swf"
KTH = SWF / "KTH-SP2-1996-2-predictsim-input.swf.gz"
PUBLISHED = SWF / "KTH-SP2-1996-2-pyss-EASY-schedule.swf.gz"
needs_kth = pytest.mark.skipif(not PUBLISHED.exists(), reason="the traces are not there; see MILEPOST_TEST_DATA")

ORDERS = sorted(schedules.ORDERS)
BACKFILLS = ("none", "greedy", "easy", "1", "2", "3", "conservative")
PASSES = tuple(Pass)
PRIORITIES = sorted(Priority, key=lambda priority: PRIORITY_RANK[priority])

Overrun = Callable[[schedules.Job], schedules.Job]
OVERRUNS: dict[str, Overrun] = {
    "extend": lambda job: job._replace(requested=max(job.requested, job.run)),
    "kill": lambda job: job._replace(run=min(job.requested, job.run)),
    "keep": lambda job: job,
}


def random_jobs(rng: Random, processors: int) -> list[schedules.Job]:
    """Up to sixteen jobs that crowd a machine; about every fifth runs longer than it said."""
    span, longest = rng.choice((0, 3, 12, 40)), rng.choice((2, 6, 20))
    jobs = []
    for number in range(1, rng.randint(1, 16) + 1):
        requested = rng.randint(1, longest)
        run = requested + rng.randint(1, longest) if rng.random() < 0.2 else rng.randint(1, requested)
        submit = rng.randint(0, span)
        deadline = rng.choice((None, submit + rng.randint(1, 3 * longest)))
        size = rng.choice((1, 1, rng.randint(1, processors), processors))
        jobs.append(schedules.Job(number, submit, run, size, requested, deadline, rng.randrange(4)))
    return jobs


def simulated(jobs: list[schedules.Job], processors: int, order: str, backfill: str, passes: Pass) -> dict[int, int]:
    """The starts as the product simulates them."""
    needs = {job.id: needs_of(job) for job in jobs}
    run = TraceRun(trace_of(jobs, processors), ObjectLog(), policies_of(order, backfill), passes=passes, needs=needs)
    return {done.number: done.start_s for done in run.run()}


def trace_of(jobs: list[schedules.Job], processors: int) -> Trace:
    rows = [TraceJob(job.id, job.submit, job.run, job.processors, job.requested) for job in jobs]
    return Trace(tuple(sorted(rows, key=lambda row: (row.submit_s, row.number))), processors)


def needs_of(job: schedules.Job) -> Needs:
    requirement = whole(job.processors).requirement
    return Needs(requirement, priority=PRIORITIES[job.rank], deadline_s=job.deadline)


def policies_of(order: str, backfill: str) -> Policies:
    """A number is a depth of reservations."""
    if backfill.isdigit():
        return Policies(order=order, backfill="depth", parameters={"backfill": {"reservations": int(backfill)}})
    return Policies(order=order, backfill=backfill)


def agree(rng: Random, order: str, backfill: str, passes: Pass, overrun: str) -> None:
    processors = rng.choice((1, 2, 3, 5, 8))
    jobs = [OVERRUNS[overrun](job) for job in random_jobs(rng, processors)]
    wanted = schedules.simulate(jobs, processors, order, backfill, passes.value)
    made = simulated(jobs, processors, order, backfill, passes)
    assert made == wanted, "\n".join([f"{order} {backfill} {passes} {overrun} on {processors}", *map(str, jobs)])


def look(order: str, passes: Pass, times: int) -> None:
    """So many random traces for each backfill and each way to treat jobs that run too long."""
    rng = Random(f"{order} {passes}")
    for backfill in BACKFILLS:
        for overrun in OVERRUNS:
            for _ in range(times):
                agree(rng, order, backfill, passes, overrun)


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("order", ORDERS)
def test_every_job_starts_in_the_second_that_the_naive_simulator_says(order: str, passes: Pass) -> None:
    look(order, passes, 2)


@pytest.mark.soak
@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("order", ORDERS)
def test_thousands_of_traces_agree_start_for_start(order: str, passes: Pass) -> None:
    look(order, passes, 100)


@given(
    st.randoms(use_true_random=False),
    st.sampled_from(ORDERS),
    st.sampled_from(BACKFILLS),
    st.sampled_from(PASSES),
    st.sampled_from(sorted(OVERRUNS)),
)
def test_a_trace_on_which_both_simulators_disagree_can_be_made_small(
    rng: Random, order: str, backfill: str, passes: Pass, overrun: str
) -> None:
    agree(rng, order, backfill, passes, overrun)


# -- a published schedule --------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_kth
@pytest.mark.parametrize(
    ("passes", "wait", "slowdown"), [(Pass.EVENT, 6_836.87, 92.577), (Pass.INSTANT, 6_834.59, 92.688)]
)
def test_a_published_schedule_is_reproduced_job_by_job(passes: Pass, wait: float, slowdown: float) -> None:
    """28,481 jobs of an IBM SP2 under EASY; the schedule has every wait, under passes after each event."""
    trace = load_swf(KTH)
    run = TraceRun(trace, ObjectLog(), Policies(order="fifo", backfill="easy"), passes=passes)
    measured = metrics(run.run(), trace.processors)
    assert round(measured.average_wait_s, 2) == wait
    assert round(measured.average_bounded_slowdown, 3) == slowdown
    if passes is Pass.EVENT:
        published = {int(line[0]): int(line[1]) + int(line[2]) for line in schedules.swf_lines(PUBLISHED)}
        assert run.starts == {number: published[number] for number in run.starts}
        assert len(run.starts) == len(published) == 28_481
        assert measured.starts_sha256 == "e49e86725e57d4a0621990fcd1c29981e2b67d44f5c631fe0de2e9970d46eadd"


# -- farms, cycle by cycle -------------------------------------------------------------------------------------------


class Watched(Cycles):
    """Cycles as they are, each compared with a plan made from nothing, with plain loops, and with what was promised."""

    story: Callable[[], str]
    promised: tuple[str, int] | None = None
    """The head of the queue, and when it would start at the latest."""
    heads = 0
    """How many jobs were promised a start."""

    def cycle(self, *, over: Attempts = ()) -> Plan:
        """The same plan, looked at."""
        farm, now_ms = self.app.farm, self.app.clock.now_ms()
        idle = not any(job.live for job in farm.jobs.values())
        anew = plan(farm, farm.policies, now_ms, over=over)
        wanted = expected(farm, farm.policies, now_ms, gangs_of(anew), over=over)
        made = super().cycle(over=over)
        assert (one_by_one(made), made.reserved) == (one_by_one(anew), anew.reserved), self.story()
        assert (wanted.placed, wanted.reserved) == (one_by_one(made), list(made.reserved)), self.story()
        assert made.decisions or not (idle and made.passed_over), f"all is idle and nothing starts\n{self.story()}"
        self.keep_promise(made, now_ms)
        return made

    def keep_promise(self, made: Plan, now_ms: int) -> None:
        """The head starts no later than was said, and is told no later time, until another job comes before it."""
        first = made.reserved[0] if made.reserved else None
        head, start_ms = self.promised or ("", 0)
        started = [place.job_id for place in made.decisions if not place.reason.overtook]
        if head and (not started or started[0] == head):  # else another job came before it
            assert first is not None or started, f"{head} was forgotten\n{self.story()}"
            assert not started or now_ms <= start_ms, f"{head} started late\n{self.story()}"
            put_off = not started and first is not None and first.job_id == head and first.start_ms > start_ms
            assert not put_off, f"{head} was put off\n{self.story()}"
        elif head:
            assert self.app.farm.policies.order != "fifo", f"{head} fell back\n{self.story()}"
        self.heads += first is not None and first.job_id != head
        self.promised = None if first is None else (first.job_id, first.start_ms)


def random_nodes(rng: Random) -> list[SimulatedNode]:
    """One to four nodes of different sizes; every other one has GPUs."""
    return [
        SimulatedNode(
            f"n{number}", resources(rng.choice((1, 2, 4, 8)), rng.choice((4, 8)), gpus=rng.choice((0, 0, 1, 2)))
        )
        for number in range(rng.randint(1, 4))
    ]


def random_need(rng: Random) -> Requirement:
    slots = rng.choice((1, 1, 1, 2, 3))
    memory_mib, gpus = rng.choice((0, 0, 4)), rng.choice((0, 0, 1))
    return need(rng.choice((1, 1, 2, 4)), slots=slots, distinct=rng.random() < 0.3, memory_mib=memory_mib, gpus=gpus)


def watch(rng: Random, order: str, backfill: str, passes: Pass) -> Watched:
    """A small trace on a small farm, no job of which runs longer than it said; all that are possible run."""
    jobs = [OVERRUNS["kill"](job) for job in random_jobs(rng, 1)]
    needs = {job.id: Needs(random_need(rng), priority=PRIORITIES[job.rank], deadline_s=job.deadline) for job in jobs}
    nodes, policies = random_nodes(rng), policies_of(order, backfill)
    run = TraceRun(trace_of(jobs, 1), ObjectLog(), policies, passes=passes, nodes=nodes, needs=needs)
    cycles = Watched(run.app, run.simulator._start)
    cycles.story = lambda: "\n".join([f"{order} {backfill} {passes}", *map(str, [*nodes, *jobs, *needs.items()])])
    run.simulator.cycles = cycles
    done = run.run()
    assert len(done) + len(run.impossible) == len(jobs), cycles.story()
    moments = {job.submit for job in jobs} | {each.end_s for each in done}
    assert passes is Pass.EVENT or run.simulator.cycled <= len(moments), cycles.story()
    return cycles


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("backfill", BACKFILLS)
def test_on_a_farm_each_cycle_is_right_and_the_head_of_the_queue_is_never_delayed(backfill: str, passes: Pass) -> None:
    rng = Random(f"{backfill} {passes}")
    heads = sum(watch(rng, order, backfill, passes).heads for order in ("fifo", *ORDERS) for _ in range(3))
    assert heads > 20 or backfill in ("none", "greedy")


@pytest.mark.soak
@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("backfill", BACKFILLS)
def test_thousands_of_farms_keep_what_they_promise(backfill: str, passes: Pass) -> None:
    rng = Random(f"many {backfill} {passes}")
    for order in ("fifo", *ORDERS):
        for _ in range(100):
            watch(rng, order, backfill, passes)


@given(st.randoms(use_true_random=False), st.sampled_from(ORDERS), st.sampled_from(BACKFILLS), st.sampled_from(PASSES))
def test_a_farm_whose_head_is_delayed_can_be_made_small(rng: Random, order: str, backfill: str, passes: Pass) -> None:
    watch(rng, order, backfill, passes)
