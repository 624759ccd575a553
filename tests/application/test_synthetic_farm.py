"""Invented farms: the same for the same seed, as large as asked for, and as fast as their classes say."""

import math
import statistics
from collections import Counter
from itertools import pairwise

import pytest

from application.simulation.synthetic_farm import (
    HOUR_S,
    STUDIO,
    FarmModel,
    NodeClass,
    Owner,
    SyntheticFarm,
    SyntheticJob,
    WorkKind,
    generate,
    outages,
)
from domain.client import RegisterClient
from domain.job.commands import SubmitJob
from domain.job.values import Attempt
from domain.node import RegisterNode
from domain.resources import Requirement, Resources
from tests.builders import job as built

CORES = Resources(millicores=4_000)
FAST = NodeClass("fast", 2, Resources(millicores=8_000), {"render": 2.0})
SLOW = NodeClass("slow", 1, Resources(millicores=4_000, memory_mib=64), {"render": 0.5})


def drawn(*task_s: float, requirement: Requirement | None = None, kind: str = "render") -> SyntheticJob:
    return SyntheticJob("job-1", 10, "film", kind, requirement or Requirement(CORES), task_s, 3_600, 7_200)


def small(*jobs: SyntheticJob) -> SyntheticFarm:
    return SyntheticFarm((FAST, SLOW), (Owner("film", 100, 1.0),), jobs)


def test_the_same_seed_draws_the_same_and_another_seed_something_else() -> None:
    assert generate(STUDIO, 7) == generate(STUDIO, 7)
    assert generate(STUDIO, 7) != generate(STUDIO, 8)


def test_every_kind_gets_its_share_of_what_is_scarce_for_it_and_load_scales_it() -> None:
    farm = generate(STUDIO, 3)
    for kind in STUDIO.kinds:
        jobs = [each for each in farm.jobs if each.kind == kind.name]
        amount = getattr(kind.requirement.total(), kind.scarce)
        work = sum(farm.fastest_ms(each, task) for each in jobs for task in range(len(each.task_s))) / 1_000 * amount
        capacity = STUDIO.capacity_of(kind.scarce) * len(STUDIO.hourly) * HOUR_S
        most = amount * kind.most_tasks * kind.median_s * STUDIO.longest * 2 / capacity  # the last job goes beyond
        assert kind.share <= work / capacity + 1e-3
        assert work / capacity <= kind.share + most
    tasks = [sum(len(each.task_s) for each in generate(STUDIO, 3, load).jobs) for load in (0.5, 1.0)]
    assert tasks[0] == pytest.approx(tasks[1] / 2, rel=0.15)


def test_jobs_come_by_time_within_the_day_and_stay_within_their_bounds() -> None:
    farm, kinds = generate(STUDIO, 5), {kind.name: kind for kind in STUDIO.kinds}
    assert [each.submit_s for each in farm.jobs] == sorted(each.submit_s for each in farm.jobs)
    assert len(farm.by_id) == len(farm.jobs)
    for each in farm.jobs:
        kind = kinds[each.kind]
        assert 0 <= each.submit_s < len(STUDIO.hourly) * HOUR_S
        assert 1 <= len(each.task_s) <= kind.most_tasks
        assert 0 < max(each.task_s) <= kind.median_s * STUDIO.longest
        assert each.deadline_s is None or each.deadline_s >= each.submit_s + STUDIO.least_lead_s
        assert each.deadline_s is None or each.deadline_s % 900 == 0


def test_walltimes_are_enough_on_every_class_that_could_hold_a_task() -> None:
    farm = generate(STUDIO, 5)
    for each in farm.jobs:
        able = [name for name in farm.classes if name.capacity.fits(each.requirement.resources)]
        longest_ms = max(farm.run_ms(each, task, name) for task in range(len(each.task_s)) for name in able)
        assert each.walltime_s * 1_000 >= longest_ms


def test_clients_submit_as_much_as_they_are_guaranteed_and_give_deadlines_as_often_as_said() -> None:
    farm = generate(STUDIO, 11)
    count = Counter(each.client_id for each in farm.jobs)
    due = Counter(each.client_id for each in farm.jobs if each.deadline_s is not None)
    for owner in STUDIO.owners:
        assert count[owner.client_id] / len(farm.jobs) == pytest.approx(owner.guarantee_percent / 100, abs=0.06)
        assert due[owner.client_id] / count[owner.client_id] == pytest.approx(owner.with_deadline, abs=0.12)


def test_run_times_within_a_kind_are_heavy_tailed() -> None:
    kind = WorkKind("render", Requirement(CORES), 600, 0.6, 1.0, 1)
    model = FarmModel((FAST,), (kind,), (Owner("film", 100, 0.0),), (1,) * 200)
    times = [each.task_s[0] for each in generate(model, 1).jobs]
    assert statistics.median(times) == pytest.approx(600, rel=0.1)
    assert statistics.mean(times) > 1.1 * statistics.median(times)


def test_a_task_takes_its_nominal_time_over_the_speed_of_the_class() -> None:
    job = drawn(100, 50)
    farm = small(job)
    assert [farm.run_ms(job, 0, each) for each in (FAST, SLOW)] == [50_000, 200_000]
    assert farm.run_ms(drawn(100, kind="unknown"), 0, FAST) == 100_000
    assert farm.fastest_ms(job, 1) == 25_000
    large = drawn(100, requirement=Requirement(Resources(memory_mib=64)))
    assert farm.fastest_ms(large, 0) == 200_000  # the fast class has no memory


def test_an_attempt_runs_as_long_as_its_slowest_node_needs() -> None:
    farm = small(drawn(100))
    assert [node.node_id for node in farm.nodes] == ["fast-01", "slow-01", "fast-02"]
    for nodes, run_ms in ((("fast-01",), 50_000), (("fast-01", "fast-02"), 50_000), (("fast-02", "slow-01"), 200_000)):
        attempt = Attempt(0, tuple((node_id, 1) for node_id in nodes), 0)
        assert farm.run_of(built("job-1"), attempt, 1) == (run_ms, None)


def test_what_is_submitted_is_what_was_drawn() -> None:
    farm = small(drawn(100, 50))
    (arrival,) = farm.arrivals(start_ms=1_000)
    (command,) = arrival.commands
    assert isinstance(command, SubmitJob)
    spec = command.spec
    assert (arrival.at_ms, spec.tasks, spec.kind, spec.walltime_ms, spec.deadline_ms) == (
        11_000, "0-1", "render", 3_600_000, 7_201_000,
    )  # fmt: skip
    opening = farm.opening()
    assert [each.shares.guarantee_percent for each in opening if isinstance(each, RegisterClient)] == [100]
    registered = [each for each in opening if isinstance(each, RegisterNode)]
    assert [each.attributes["class"] for each in registered] == [("fast",), ("slow",), ("fast",)]


def test_nodes_fail_as_often_and_as_long_as_said() -> None:
    kind = WorkKind("render", Requirement(CORES), 600, 0.6, 0.001, 1)
    farm = generate(FarmModel((NodeClass("n", 50, CORES, {}),), (kind,), (Owner("film", 100, 0.0),), (1,)), 1)
    mtbf_s, repair_s, until_s = 100 * HOUR_S, HOUR_S, 4_000 * HOUR_S
    found = outages(farm, 1, mtbf_s, repair_s, until_s)
    assert found == outages(farm, 1, mtbf_s, repair_s, until_s)
    mean_repair_s = repair_s * math.exp(0.5)
    assert len(found) == pytest.approx(50 * until_s / (mtbf_s + mean_repair_s), rel=0.1)
    assert statistics.median(each.up_s - each.down_s for each in found) == pytest.approx(repair_s, rel=0.1)
    for node in farm.nodes:
        own = [each for each in found if each.node_id == node.node_id]
        assert all(before.up_s < after.down_s + 1 for before, after in pairwise(own))
