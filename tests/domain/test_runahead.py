"""Running a farm ahead: ends that can be worked out by hand, and errors against farms that really ran by chance."""

from heapq import heapify, heappop, heappush
from random import Random
from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from domain.decisions import Plan
from domain.dependency import Dependency, DependencyState
from domain.farm import Farm
from domain.forecasting import runahead
from domain.forecasting.runahead import Walk
from domain.forecasting.scene import Scene
from domain.indices.performance import PerformanceState, Recent
from domain.job.values import Attempt, Job, StopCause
from domain.node import NodeStatus
from domain.planning.planner import plan
from domain.policies import Policies
from tests.builders import NOW, STRICT, client, farm, having, job, need, node, running
from tests.contents import contents
from tests.history import History, histories

MINUTE = 60_000
KNOWN = PerformanceState((Recent("show", "work", 10 * MINUTE, 10 * MINUTE, 63, 0),))
"""Runs of ten minutes, hardly ever off."""


def work(job_id: str = "", deadline_ms: int = NOW, **fields: Any) -> Job:
    """A job of the known kind, with a deadline, so that its end is asked for."""
    return replace(job(job_id, kind="work", **fields), deadline_ms=deadline_ms)


def ends(made: Farm, shortest: bool = False, policies: Policies | None = None) -> dict[str, float]:
    """The expected ends in minutes from now, rounded."""
    scene = Scene(made, policies or made.policies, NOW)
    return {name: round((end.mean_ms - NOW) / MINUTE, 1) for name, end in Walk(scene, shortest).ends.items()}


def known_farm(*jobs: Job, cores: float = 1, nodes: int = 1, **fields: Any) -> Farm:
    fields = {"clients": [client()], "performance": KNOWN} | fields
    return farm([node(cores=cores) for _ in range(nodes)], jobs, **fields)


def test_jobs_follow_each_other_in_the_order_in_force() -> None:
    assert ends(known_farm(work(), work(), work())) == {"job-1": 10, "job-2": 20, "job-3": 30}
    assert ends(known_farm(work(), work(), work(), cores=2)) == {"job-1": 10, "job-2": 10, "job-3": 20}


def test_tasks_run_in_waves_and_the_job_ends_with_the_last() -> None:
    found = ends(known_farm(work(tasks="1-5"), work(), cores=2))
    assert found == {"job-1": pytest.approx(30, abs=0.2), "job-2": pytest.approx(30, abs=0.2)}


def test_what_runs_goes_on_from_where_it_is() -> None:
    going = replace(running(kind="work"), deadline_ms=NOW, live={1: Attempt(0, (("n1", 1),), NOW - 4 * MINUTE)})
    assert ends(known_farm(going, work())) == {"job-1": 6, "job-2": 16}
    stopping = replace(going, live={1: Attempt(0, (("n1", 1),), NOW, stopping=StopCause.REQUEUED)})
    assert ends(known_farm(stopping, work()))["job-2"] == 10
    assert ends(known_farm(replace(going, paused=True), work())) == {}


def test_what_waits_for_approval_or_was_suspended_ends_when_somebody_says_so() -> None:
    assert ends(known_farm(work(tasks="0-1", waiting="0", gated="1"), work(), cores=2)) == {"job-2": 10}
    attempt = Attempt(0, (("n1", 1),), NOW, suspended_at_ms=NOW)
    suspended = replace(running(kind="work"), deadline_ms=NOW, live={1: attempt})
    assert ends(known_farm(suspended, work())) == {"job-2": 10}


def test_nodes_that_sleep_are_powered_up_when_needed() -> None:
    asleep = replace(node(cores=1), status=NodeStatus.OFFLINE, asleep=True)
    assert ends(farm([asleep], [work()], [client()], performance=KNOWN)) == {"job-1": 10}
    off = replace(asleep, asleep=False)
    assert ends(farm([off], [work()], [client()], performance=KNOWN)) == {}


def test_it_starts_where_it_fits() -> None:
    made = farm(
        [node(cores=1), node(cores=1, attributes={"os": ("linux",)})],
        [work(requirement=need(1, attributes=(having("os", "linux"),))) for _ in range(2)] + [work(), work(cores=2)],
        [client()], performance=KNOWN,
    )  # fmt: skip
    assert ends(made) == {"job-1": 10, "job-2": 20, "job-3": 10}


def test_a_gang_waits_for_all_its_slots() -> None:
    gang = work(requirement=need(1, slots=2, distinct=True))
    long = work(walltime_ms=None)
    assert ends(known_farm(long, gang, nodes=2))["job-2"] == 20
    assert ends(known_farm(gang, gang, nodes=3)) == {"job-1": 10, "job-2": 20}


def test_limits_of_clients_hold_work_back() -> None:
    made = known_farm(work(), work(), cores=4, clients=[client(max_tasks=1)])
    assert ends(made) == {"job-1": 10, "job-2": 20}
    assert ends(known_farm(work(), clients=[client(suspended=True)])) == {}


def test_strict_order_lets_nobody_pass() -> None:
    jobs = [work(), work(cores=2), work()]
    assert ends(known_farm(*jobs, cores=2)) == {"job-1": 10, "job-3": 10, "job-2": 20}
    assert ends(known_farm(*jobs, cores=2), policies=STRICT) == {"job-1": 10, "job-2": 20, "job-3": 30}


def test_successors_follow_when_their_predecessors_have_completed() -> None:
    edge = Dependency("dep-1", "job-1", "job-2", state=DependencyState.PENDING)
    late = work("job-2", queued=False)
    assert ends(known_farm(work("job-1"), late, cores=2, dependencies=[edge])) == {"job-1": 10, "job-2": 20}
    failed = replace(edge, state=DependencyState.FAILED, predecessor_id="job-0")
    assert ends(known_farm(work("job-1"), late, dependencies=[failed])) == {"job-1": 10}
    held = work("job-1", held=True)
    assert ends(known_farm(held, late, dependencies=[edge])) == {}


def test_start_times_and_back_offs_are_waited_for() -> None:
    later = work(queued=False, not_before_ms=NOW + 30 * MINUTE)
    delayed = work(tasks="0-1", waiting="0", delayed=((NOW + 15 * MINUTE, "1"),))
    assert ends(known_farm(later, delayed, cores=2)) == {"job-1": 40, "job-2": 25}


def test_without_past_runs_walltimes_are_the_most_and_nothing_the_least() -> None:
    jobs = [work(walltime_ms=60 * MINUTE), work(walltime_ms=60 * MINUTE)]
    bare = known_farm(*jobs, performance=PerformanceState())
    assert ends(bare) == {"job-1": 60, "job-2": 120}
    assert ends(bare, shortest=True) == {"job-1": 0, "job-2": 0}
    endless = known_farm(work(), work(), performance=PerformanceState())
    assert ends(endless) == {}
    assert ends(endless, shortest=True) == {"job-1": 0, "job-2": 0}


def test_what_is_not_walked_is_spread_over_the_farm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runahead, "MOST_STARTS", 4)
    found = ends(known_farm(*[work() for _ in range(12)], cores=2))
    assert [found[f"job-{n}"] for n in range(1, 5)] == [10, 10, 20, 20]
    assert found["job-12"] == pytest.approx(60, abs=15)
    assert found["job-5"] <= found["job-8"] <= found["job-12"]


def test_a_scene_does_not_change_with_the_farm() -> None:
    made = known_farm(work(), work())
    scene = Scene(made, made.policies, NOW)
    before = Walk(scene).ends
    made.index.allocate(0, need(1).resources)
    made.jobs.clear()
    assert Walk(Scene(made, made.policies, NOW)).ends == {}
    assert Walk(scene, shortest=True).ends == before


@settings(max_examples=settings.default.max_examples // 2)
@given(histories())
def test_a_walk_changes_nothing_and_all_that_ends_ends_later_than_now(history: History) -> None:
    made = history.farm
    before = contents(made)
    scene = Scene(made, made.policies, history.now_ms)
    for shortest in (False, True):
        for name, end in Walk(scene, shortest).ends.items():
            assert end.mean_ms >= history.now_ms
            assert end.deviation_ms >= 0
            assert made.jobs[name].ended is None
    assert contents(made) == before


# -- the same as what happens ------------------------------------------------------------------------------------


def test_a_walk_starts_first_what_the_planner_starts() -> None:
    jobs = [work(cores=1 + n % 3, tasks="0-1") for n in range(6)]
    made = known_farm(*jobs, cores=4, nodes=2)
    planned: Plan = plan(made, made.policies, NOW)
    at_once = {name for name, minutes in ends(made).items() if minutes <= 10.5}
    whole = {each.job_id for each in planned.decisions if sum(p.tasks.count(",") + 1 for p in each.placements) == 2}
    assert at_once >= whole - {each.job_id for each in planned.decisions if len(each.placements) == 1}


def ran(rng: Random, jobs: int, lanes: int, off: float) -> float:
    """When the last of these jobs ends on so many cores, in minutes: predicted from two runs, as the farm does it."""
    prediction_off = (rng.gauss(0, off) + rng.gauss(0, off)) / 2
    free = [0.0] * lanes
    heapify(free)
    last = 0.0
    for _ in range(jobs):
        last = heappop(free) + rng.gauss(10 - prediction_off, off)
        heappush(free, last)
    return last


@pytest.mark.parametrize(("jobs", "lanes"), [(1, 1), (5, 1), (30, 1), (40, 8), (64, 16)])
def test_errors_along_a_queue_are_those_of_farms_that_ran(jobs: int, lanes: int) -> None:
    off = 2.0
    error_ms = round(MINUTE * off * 1.5**0.5 / 1.2533)
    checked = 100_000
    known = PerformanceState((Recent("show", "work", 10 * MINUTE, 10 * MINUTE, checked, checked * error_ms),))
    made = known_farm(*[work() for _ in range(jobs)], cores=lanes, performance=known)
    end = Walk(Scene(made, made.policies, NOW)).ends[f"job-{jobs}"]
    rng = Random(jobs)
    found = [ran(rng, jobs, lanes, off) for _ in range(3_000)]
    assert (end.mean_ms - NOW) / MINUTE == pytest.approx(fmean(found), abs=1.5)
    assert end.deviation_ms / MINUTE == pytest.approx(pstdev(found), rel=0.2)
