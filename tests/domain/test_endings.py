"""When what runs is expected to end: kept in order by what was requested, or made anew for other estimates."""

from typing import Any

import pytest
from hypothesis import given

import domain.job
from domain import workflow
from domain.farm import Farm
from domain.indices.endings import Ending, expected
from domain.indices.performance import Performance
from domain.job.commands import SubmitJob
from domain.job.values import Attempt, Job
from domain.policies import Context, Policies, made
from tests.builders import NOW, SECOND, farm, job, need, node, resources, spec
from tests.history import SHAPES, History, made_by, random_moves, submit
from tests.random_farms import farms

REQUESTED, PREDICTED = Policies(), Policies(estimate="predicted")
NODES = [node("n1"), node("n2")]


def runs(job_id: str, *since_s: int, on: str = "n1", **fields: Any) -> Job:
    """A job whose attempts were placed so many seconds ago."""
    live = {number: Attempt(number, ((on, 1),), NOW - ago * SECOND) for number, ago in enumerate(since_s, 1)}
    return job(job_id, tasks="1-9", waiting="", live=live, **fields)


def seen(on: Farm, by: Policies = REQUESTED) -> list[tuple[str, int, int]]:
    """(job, attempt, seconds from now) of all that is expected, in order."""
    rows = expected(Context(on, made(by), NOW))
    return [(each.job_id, each.attempt, (each.end_ms - NOW) // SECOND) for each in rows]


def test_ends_are_in_order_and_counted_from_the_placement() -> None:
    on = farm(NODES, [runs("job-a", 3, 1, walltime_ms=10 * SECOND), runs("job-b", 4, walltime_ms=12 * SECOND)])
    assert seen(on) == [("job-a", 1, 7), ("job-b", 1, 8), ("job-a", 2, 9)]


def test_an_ending_says_what_comes_free_on_which_nodes() -> None:
    gang = Attempt(0, (("n2", 2), ("n1", 1)), NOW)
    on = farm(NODES, [job("job-a", requirement=need(1, slots=3), waiting="", live={4: gang}, walltime_ms=SECOND)])
    assert expected(Context(on, made(REQUESTED), NOW)) == [
        Ending(NOW + SECOND, "job-a", 4, ((1, 2), (0, 1)), resources(1))
    ]


def test_nobody_foresees_the_end_of_what_may_run_for_ever_or_is_paused() -> None:
    on = farm(NODES, [runs("job-a", 1), runs("job-b", 1, walltime_ms=SECOND, paused=True)])
    assert seen(on) == []


def test_the_time_a_job_was_paused_does_not_count() -> None:
    assert seen(farm(NODES, [runs("job-a", 4, walltime_ms=9 * SECOND, paused_ms=3 * SECOND)])) == [("job-a", 1, 8)]


def test_what_is_overdue_was_expected_in_the_past() -> None:
    assert seen(farm(NODES, [runs("job-a", 9, walltime_ms=4 * SECOND)])) == [("job-a", 1, -5)]


def test_other_estimates_are_asked_for_every_attempt() -> None:
    """Two runs of 6 s are known; the attempt that has run for 7 s is expected to take what was requested."""
    on = farm(NODES, [runs("job-a", 7, 1, walltime_ms=10 * SECOND), runs("job-b", 1, walltime_ms=4 * SECOND, name="b")])
    on.performance = Performance()
    for _ in range(2):
        on.performance.record("show", "job-a", "any", 6 * SECOND)
    assert seen(on, PREDICTED) == [("job-a", 1, 3), ("job-b", 1, 3), ("job-a", 2, 5)]
    assert seen(on) == [("job-a", 1, 3), ("job-b", 1, 3), ("job-a", 2, 9)]


@given(farms)
def test_what_is_kept_in_order_is_what_comes_of_looking_at_every_attempt(on: Farm) -> None:
    assert list(on.endings.rows) == by_hand(on)


@pytest.mark.parametrize("seed", range(40))
def test_ends_follow_all_that_happens_to_jobs(seed: int) -> None:
    history = made_by([])
    for move, number in random_moves(seed, 80):
        (submit_with_times if move is submit else move)(history, number)
        assert list(history.farm.endings.rows) == by_hand(history.farm), str(history)
    assert list(Farm.restore(history.farm.snapshot()).endings.rows) == by_hand(history.farm)


def submit_with_times(history: History, number: int) -> None:
    """A workflow of one job of three tasks, which may say how long they run."""
    name = f"{len(history.rows)}"
    wish = workflow.SubmitWorkflow(workflow_id=f"wf-{name}", name=name, client_id="show", jobs=(f"job-{name}",))
    history.ask(workflow, wish.workflow_id, wish)
    wanted = spec(
        f"job-{name}",
        requirement=SHAPES[number % len(SHAPES)],
        tasks="1-3",
        workflow_id=wish.workflow_id,
        retries=number % 3,
        walltime_ms=(None, 5 * SECOND, 60 * SECOND)[number // 2 % 3],
    )
    history.ask(domain.job, wanted.job_id, SubmitJob(spec=wanted))


def by_hand(on: Farm) -> list[Ending]:
    rows = []
    for each in on.jobs.values():
        walltime_ms = each.spec.walltime_ms
        for number, attempt in each.live.items():
            if walltime_ms is not None and not each.paused:
                nodes = tuple((on.index.numbers[node_id], slots) for node_id, slots in attempt.nodes)
                end_ms = attempt.placed_ms + each.paused_ms + walltime_ms
                rows.append(Ending(end_ms, each.spec.job_id, number, nodes, each.spec.requirement.resources))
    return sorted(rows)
