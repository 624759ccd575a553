"""plan() on thousands of random small farms: it does what plain loops would, changes nothing, and explains the rest."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from domain.cycle import POLICY_STREAM, PoliciesAdopted
from domain.decisions import Plan
from domain.farm import Farm
from domain.job.values import Job
from domain.planning import waiting
from domain.planning.openings import Outlook
from domain.planning.planner import plan
from domain.policies import Policies
from tests.builders import NOW, farm
from tests.contents import amount_of, check_index, contents, levels_of
from tests.history import History, book, histories, let_work_make_way, limit_to_partition, run_cycle
from tests.oracle import FOR_ROOM, SCORES, Held, Oracle, differing, expected, gangs_of, name_of, one_by_one
from tests.random_farms import ALL_POLICIES, BACKFILLS, farms, policies, random_farm

GREEDY, STRICT = Policies(), Policies(backfill="none")
EASY = [each for each in ALL_POLICIES if each.backfill == "easy"]


def agrees(on: Farm, by: Policies) -> None:
    made = plan(on, by, NOW)
    check(made, on, by, NOW, story(on))


def check(made: Plan, on: Farm, by: Policies, now_ms: int, told: str) -> None:
    """A plan says what plain loops say: what starts where, what is reserved where and when, and why the rest waits."""
    wanted = expected(on, by, now_ms, gangs_of(made))
    assert one_by_one(made) == wanted.placed, f"{by}\n{told}"
    assert list(made.reserved) == wanted.reserved, f"{by}\n{told}"
    assert not differing(made, wanted, on, now_ms), f"{made.passed_over}\n{wanted.blocked}\n{by}\n{told}"


def story(of: Farm) -> str:
    """A farm as the rows that matter, to be read by a person."""
    rows = [*of.nodes.values(), *of.clients.values(), *of.jobs.values(), *of.blocked.values()]
    return "\n".join(["the farm:", *map(str, rows)])


@given(farms, policies)
def test_a_plan_is_what_plain_loops_would_do(on: Farm, by: Policies) -> None:
    agrees(on, by)


@pytest.mark.parametrize("rule", BACKFILLS, ids=str)
def test_thousands_of_plans_are_what_plain_loops_would_do(rule: tuple[str, dict[str, Any]]) -> None:
    look(rule, 40)


@pytest.mark.soak
@pytest.mark.parametrize("rule", BACKFILLS, ids=str)
def test_many_more_plans_are_what_plain_loops_would_do(rule: tuple[str, dict[str, Any]]) -> None:
    look(rule, 1_000)


def look(rule: tuple[str, dict[str, Any]], times: int) -> None:
    """So many random farms for every order."""
    rng = Random(f"{rule} {times}")
    backfill, parameters = rule
    for order in SCORES:
        for _ in range(times):
            agrees(random_farm(rng), Policies(order=order, backfill=backfill, parameters=parameters))


def test_the_random_farms_know_every_reason_to_wait() -> None:
    rng = Random(0)
    seen = {
        (reason.code.value, reason.resource)
        for _ in range(1_500)
        for blocked in plan(random_farm(rng), rng.choice(ALL_POLICIES), NOW).passed_over
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
    turned.blocked, turned.blocked_ms = dict(reversed(on.blocked.items())), on.blocked_ms
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
def test_in_strict_order_nothing_starts_behind_a_job_that_waits_for_room(on: Farm) -> None:
    """One that waits for anything else holds up nobody."""
    made, oracle = plan(on, STRICT, NOW), Oracle(on, STRICT, NOW)
    reasons = {blocked.segment: blocked.reasons for blocked in made.passed_over}
    left = {each.spec.job_id for each, _ in left_over(on, after(on, made))}
    jobs = sorted((each for each in on.jobs.values() if each.startable and oracle.ready(each)), key=oracle.key)
    blocked = [j for j in jobs if j.spec.job_id in left and reasons[name_of(j)][0].code in FOR_ROOM]
    behind = jobs[jobs.index(blocked[0]) + 1 :] if blocked else []
    assert {each.spec.job_id for each in behind} <= left, story(on)


@given(farms, policies)
def test_what_is_free_is_enough_now_and_later(on: Farm, by: Policies) -> None:
    """All that runs, starts and is reserved fits on the nodes at every moment, if all ends as expected."""
    made = plan(on, by, NOW)
    now = Oracle(on, by, NOW)
    later = after(on, made, by)
    for each in made.reserved:
        job = on.jobs[each.job_id]
        held = Held(job.spec.requirement.resources, each.start_ms, later.end_from(job, each.start_ms))
        for node_id, slots in each.nodes:
            later.held[node_id] += [held] * slots
    for node_id, holds in later.held.items():
        for moment in {NOW, *(each.start_ms for each in holds), *(each.end_ms for each in holds)}:
            for name, left in later.free_at(node_id, moment).items():
                assert left >= min(0, amount_of(now.free_at(node_id, moment), name)), story(on)


@given(farms, policies)
def test_a_reservation_is_for_a_job_that_waits_and_for_all_slots_of_one_task(on: Farm, by: Policies) -> None:
    made = plan(on, by, NOW)
    waiting = {each.spec.job_id for each, _ in left_over(on, after(on, made))}
    for each in made.reserved:
        wanted = on.jobs[each.job_id].spec.requirement
        assert each.job_id in waiting
        assert each.start_ms >= NOW
        assert sum(slots for _, slots in each.nodes) == wanted.slots
        assert not wanted.distinct_nodes or all(slots == 1 for _, slots in each.nodes)
    assert len({each.job_id for each in made.reserved}) == len(made.reserved)


@given(farms, policies)
def test_what_starts_before_a_blocked_head_names_it_and_when_it_starts(on: Farm, by: Policies) -> None:
    made, oracle = plan(on, by, NOW), Oracle(on, by, NOW)
    starts = {each.job_id: each.start_ms for each in made.reserved}
    for place in made.decisions:
        why = place.reason
        assert (why.policy, why.order) == ("best-fit", by.order)
        if why.overtook:
            assert oracle.key(on.jobs[why.overtook]) < oracle.key(on.jobs[place.job_id]), story(on)
            assert why.overtook_start_ms == starts.get(why.overtook), story(on)


def test_one_reservation_is_the_same_by_either_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short way for one reservation gives the plans of the long way for any number."""
    rng = Random(1)
    on = [random_farm(rng) for _ in range(1_000)]
    short = [plan(each, EASY[at % len(EASY)], NOW) for at, each in enumerate(on)]
    monkeypatch.setattr(waiting, "Shadow", Outlook)
    for at, each in enumerate(on):
        assert plan(each, EASY[at % len(EASY)], NOW) == short[at], story(each)
    assert sum(bool(made.reserved) for made in short) > 100


@given(farms, policies)
def test_on_an_idle_farm_something_starts_if_anything_can(on: Farm, by: Policies) -> None:
    jobs = [replace(each, live={}) for each in on.jobs.values()]
    idle = farm(on.nodes.values(), jobs, on.clients.values())
    oracle = Oracle(idle, by, NOW)
    can = [each for each, _ in left_over(idle, oracle) if oracle.limit(each) is None]
    if any(oracle.choose(each.spec.requirement) for each in can):
        assert plan(idle, by, NOW).decisions, story(idle)


def after(on: Farm, made: Plan, by: Policies = GREEDY) -> Oracle:
    """The farm as plain lists after a plan was carried out."""
    oracle = Oracle(on, by, NOW)
    for job_id, task, nodes in one_by_one(made):
        oracle.take(on.jobs[job_id], nodes, oracle.end_from(on.jobs[job_id], NOW))
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


@given(histories(without=(book, let_work_make_way, limit_to_partition)), policies)
def test_a_farm_with_a_past_is_planned_as_plain_loops_would(history: History, by: Policies) -> None:
    made = plan(history.farm, by, history.now_ms)
    check(made, history.farm, by, history.now_ms, str(history))


@given(histories(without=(book, let_work_make_way, limit_to_partition)))
def test_one_cycle_starts_all_that_can_start(history: History) -> None:
    history.write(POLICY_STREAM, PoliciesAdopted(at_ms=history.now_ms, policies=GREEDY))
    run_cycle(history, 0)
    assert plan(history.farm, GREEDY, history.now_ms).decisions == (), str(history)
