"""plan() on thousands of random small farms: it does what plain loops would, changes nothing, and explains the rest."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given

from domain import intervals
from domain.cycle import POLICY_STREAM, PoliciesAdopted
from domain.decisions import Plan
from domain.farm import Farm
from domain.job.values import Job, NodeSlots
from domain.planner import plan
from domain.policies import Policies
from tests.builders import NOW, farm
from tests.contents import check_index, contents, levels_of
from tests.history import History, histories, run_cycle
from tests.oracle import Oracle, expected, name_of
from tests.random_farms import farms, policies, random_farm

GREEDY, STRICT = Policies(), Policies(backfill="none")
ALL = [Policies(order=order, backfill=backfill) for order in ("priority", "fifo") for backfill in ("greedy", "none")]


def one_by_one(made: Plan) -> list[tuple[str, int, tuple[NodeSlots, ...]]]:
    """What a plan places, one row a task, as the oracle says it."""
    return [
        (place.job_id, task, where.nodes)
        for place in made.decisions
        for where in place.placements
        for task in intervals.members(where.tasks)
    ]


def agrees(on: Farm, by: Policies) -> None:
    made, wanted = plan(on, by, NOW), expected(on, by, NOW)
    assert one_by_one(made) == wanted.placed, story(on)
    assert {blocked.segment: blocked.reasons for blocked in made.passed_over} == wanted.blocked, story(on)


def story(of: Farm) -> str:
    """A farm as the rows that matter, to be read by a person."""
    rows = [*of.nodes.values(), *of.clients.values(), *of.jobs.values(), *of.blocked.values()]
    return "\n".join(["the farm:", *map(str, rows)])


@given(farms, policies)
def test_a_plan_is_what_plain_loops_would_do(on: Farm, by: Policies) -> None:
    agrees(on, by)


@pytest.mark.parametrize("seed", range(10))
def test_thousands_of_plans_are_what_plain_loops_would_do(seed: int) -> None:
    rng = Random(seed)
    for _ in range(300):
        agrees(random_farm(rng), rng.choice(ALL))


def test_the_random_farms_know_every_reason_to_wait() -> None:
    rng = Random(0)
    seen = {
        (reason.code.value, reason.resource)
        for _ in range(1_500)
        for blocked in plan(random_farm(rng), rng.choice(ALL), NOW).passed_over
        for reason in blocked.reasons
    }
    shorts = {("resources-short", kind) for kind in ("millicores", "memory_mib", "gpus", "licence")}
    limits = {("client-limit", kind) for kind in ("tasks", "millicores", "gpus")}
    sizes = {("too-large", kind) for kind in ("millicores", "memory_mib", "gpus", "licence", "slots", "nodes")}
    others = {"client-suspended", "no-nodes", "nodes-unavailable", "attribute-missing", "behind-head"}
    assert seen == {
        *shorts,
        *limits,
        *sizes,
        ("slots-short", "slots"),
        ("slots-short", "nodes"),
        *((c, "") for c in others),
    }


@given(farms, policies)
def test_planning_changes_nothing_and_is_the_same_again(on: Farm, by: Policies) -> None:
    levels = levels_of(on.index)
    before = contents(on, levels)
    made = plan(on, by, NOW)
    assert contents(on, levels) == before
    assert levels_of(on.index) == levels
    assert plan(on, by, NOW) == made
    check_index(on.index)


@given(farms, policies)
def test_the_plan_depends_on_what_there_is_and_not_on_how_it_came_about(on: Farm, by: Policies) -> None:
    """Jobs in another order, clients in another order, a farm from a snapshot: the same plan."""
    made = plan(on, by, NOW)
    assert plan(Farm.restore(on.snapshot()), by, NOW) == made
    turned = farm(on.nodes.values(), reversed(on.jobs.values()), reversed(on.clients.values()))
    turned.blocked = dict(reversed(on.blocked.items()))
    assert plan(turned, by, NOW) == made


@given(farms, policies)
def test_every_startable_job_is_placed_or_passed_over_with_a_reason(on: Farm, by: Policies) -> None:
    made = plan(on, by, NOW)
    placed = {(job_id, task) for job_id, task, _ in one_by_one(made)}
    reasons = {blocked.segment: blocked.reasons for blocked in made.passed_over}
    oracle = Oracle(on, by, NOW)
    waiting: Counter[str] = Counter()
    for each in on.jobs.values():
        ready = oracle.ready(each) if each.startable else []
        assert {task for job_id, task in placed if job_id == each.spec.job_id} <= set(ready), story(on)
        if any((each.spec.job_id, task) not in placed for task in ready):
            waiting[name_of(each)] += 1
            assert reasons[name_of(each)], story(on)
    assert {blocked.segment: blocked.jobs for blocked in made.passed_over} == waiting, story(on)
    assert [blocked.segment for blocked in made.passed_over] == sorted(waiting)


@given(farms)
def test_greedy_planning_passes_over_nothing_that_could_start(on: Farm) -> None:
    oracle = after(on, plan(on, GREEDY, NOW))
    for each, task in left_over(on, oracle):
        starts = oracle.limit(each) is None and oracle.choose(each.spec.requirement) is not None
        assert not starts, f"task {task} of {each.spec.job_id} could start\n{story(on)}"


@given(farms, policies)
def test_no_plan_takes_what_is_not_there(on: Farm, by: Policies) -> None:
    before, oracle = Oracle(on, by, NOW), after(on, plan(on, by, NOW))
    for node_id, free in oracle.free.items():
        for name, left in free.items():
            assert left >= 0 or left == dict(before.free[node_id].items()).get(name), story(on)
    for client_id, known in on.clients.items():
        most, now = known.shares.max_tasks, len(oracle.use.get(client_id, ()))
        assert most is None or now <= max(most, len(before.use.get(client_id, ()))), story(on)


@given(farms)
def test_in_strict_order_nothing_starts_behind_a_job_that_waits(on: Farm) -> None:
    oracle = Oracle(on, STRICT, NOW)
    placed = {(job_id, task) for job_id, task, _ in one_by_one(plan(on, STRICT, NOW))}
    jobs = sorted((each for each in on.jobs.values() if each.startable and oracle.ready(each)), key=oracle.key)
    started = [[(each.spec.job_id, task) in placed for task in oracle.ready(each)] for each in jobs]
    flat = [start for tasks in started for start in tasks]
    assert flat == sorted(flat, reverse=True), story(on)


def after(on: Farm, made: Plan) -> Oracle:
    """The farm as plain lists after a plan was carried out."""
    oracle = Oracle(on, GREEDY, NOW)
    for job_id, task, nodes in one_by_one(made):
        oracle.take(on.jobs[job_id], nodes)
        oracle.placed.append((job_id, task, nodes))
    return oracle


def left_over(on: Farm, oracle: Oracle) -> list[tuple[Job, int]]:
    """Ready tasks that were not placed."""
    placed = {(job_id, task) for job_id, task, _ in oracle.placed}
    startable = [each for each in on.jobs.values() if each.startable]
    return [(j, t) for j in startable for t in oracle.ready(j) if (j.spec.job_id, t) not in placed]


@given(farms, policies)
def test_the_plan_wakes_when_the_next_back_off_ends(on: Farm, by: Policies) -> None:
    ends = [ms for each in on.jobs.values() for ms, _ in each.delayed if ms > NOW]
    assert plan(on, by, NOW).wake_at_ms == min(ends, default=None)


@given(farms, policies)
def test_decisions_come_in_the_order_of_the_queue(on: Farm, by: Policies) -> None:
    keys = [Oracle(on, by, NOW).key(on.jobs[place.job_id]) for place in plan(on, by, NOW).decisions]
    assert keys == sorted(keys), story(on)


@given(histories(), policies)
def test_a_farm_with_a_past_is_planned_as_plain_loops_would(history: History, by: Policies) -> None:
    made, wanted = plan(history.farm, by, history.now_ms), expected(history.farm, by, history.now_ms)
    assert one_by_one(made) == wanted.placed, str(history)
    assert {blocked.segment: blocked.reasons for blocked in made.passed_over} == wanted.blocked, str(history)


@given(histories())
def test_one_cycle_starts_all_that_can_start(history: History) -> None:
    history.write(POLICY_STREAM, PoliciesAdopted(at_ms=history.now_ms, policies=GREEDY))
    run_cycle(history, 0)
    assert plan(history.farm, GREEDY, history.now_ms).decisions == (), str(history)
