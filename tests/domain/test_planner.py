"""plan() by example: who goes first, where tasks go, what is left out, and what is said about it."""

from typing import Any

import pytest

from domain.decisions import Blocked, Place, Plan, Reason, ReasonCode, segment_name
from domain.job.values import Attempt, Job, Placement, PlacementReason, Priority
from domain.node import NodeStatus
from domain.planning.planner import plan
from domain.policies import Policies
from tests.builders import FIFO, HOUR, NOW, STRICT, client, farm, having, job, need, node, placements, running

GREEDY = Policies()
ON_N1, ON_N2, ON_N3 = (("n1", 1),), (("n2", 1),), (("n3", 1),)


def planned(*args: Any, by: Policies = GREEDY, **fields: Any) -> Plan:
    return plan(farm(*args, **fields), by, NOW)


def blocked(cores: float, *reasons: Reason, jobs: int = 1, priority: Priority = Priority.MEDIUM) -> Blocked:
    return Blocked(segment_name("show", priority, need(cores)), reasons, jobs)


def short(needed: int, available: int, on: str = "n1", resource: str = "millicores") -> Reason:
    return Reason(ReasonCode.RESOURCES_SHORT, "", resource, needed, available, on)


# -- the whole plan --------------------------------------------------------------------------------------------------


def test_a_plan_says_what_starts_where_and_why_and_what_waits_for_what() -> None:
    """n1 has 4 cores; 3 + 2 do not fit. The node will be 3/4 full; there was one candidate."""
    made = planned([node(cores=4)], [job(cores=3), job(cores=2)])
    why = PlacementReason("best-fit", "priority", 0.75, 1)
    place = Place("job-1", (Placement("0", ON_N1),), why)
    assert made == Plan(1, (place,), (blocked(2, short(2_000, 1_000)),), None)


def test_an_empty_farm_plans_nothing() -> None:
    assert planned() == Plan(1, (), (), None)


# -- who goes first --------------------------------------------------------------------------------------------------


def test_the_more_urgent_job_goes_first_whatever_came_before() -> None:
    urgent = [job(priority=priority) for priority in (Priority.LOW, Priority.MEDIUM, Priority.CRITICAL, Priority.HIGH)]
    made = planned([node(cores=3)], urgent)
    assert [place.job_id for place in made.decisions] == ["job-3", "job-4", "job-2"]


def test_first_come_first_served_does_not_look_at_priority() -> None:
    made = planned([node(cores=1)], [job(priority=Priority.LOW), job(priority=Priority.CRITICAL)], by=FIFO)
    assert [place.job_id for place in made.decisions] == ["job-1"]


def test_of_equally_urgent_jobs_the_older_goes_first_and_of_equally_old_ones_the_lower_id() -> None:
    waiting = [job("job-c", submitted_ms=7), job("job-b", submitted_ms=9), job("job-a", submitted_ms=9)]
    made = planned([node(cores=2)], waiting)
    assert [place.job_id for place in made.decisions] == ["job-c", "job-a"]


def test_a_small_job_starts_beside_a_large_one_that_waits() -> None:
    made = planned([node(cores=4)], [running(cores=3), job(cores=2), job(cores=1)])
    assert placements(made) == [("job-3", "0", ON_N1)]


def test_in_strict_order_nothing_starts_before_the_head_of_the_queue() -> None:
    """The head needs 2 of 1 free cores, so the small jobs behind it, of whatever shape, wait for it."""
    waiting = [running(cores=3), job(cores=2), job(cores=1), job(cores=0.5), job(cores=2)]
    made = planned([node(cores=4)], waiting, by=STRICT)
    behind = Reason(ReasonCode.BEHIND_HEAD, entity="job-2")
    assert made.decisions == ()
    assert {each.segment: each for each in made.passed_over} == {
        each.segment: each
        for each in (blocked(2, short(2_000, 1_000), jobs=2), blocked(1, behind), blocked(0.5, behind))
    }


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (job("job-1", cores=1, client_id="limited"), ReasonCode.CLIENT_LIMIT),
        (job("job-1", cores=1, client_id="gone"), ReasonCode.CLIENT_SUSPENDED),
        (job("job-1", cores=5), ReasonCode.TOO_LARGE),
        (job("job-1", requirement=need(1, attributes=[having("os", "vms")])), ReasonCode.ATTRIBUTE_MISSING),
        (job("job-1", requirement=need(1, gpus=1)), ReasonCode.NODES_UNAVAILABLE),
    ],
)
def test_in_strict_order_a_job_that_waits_for_anything_but_room_holds_up_nobody(first: Job, why: ReasonCode) -> None:
    """Its client's limit, an impossible demand, a node that is away: nobody knows for how long."""
    clients = [client("limited", max_tasks=0), client("gone", suspended=True)]
    nodes = [node(cores=4), node(cores=4, gpus=1, status=NodeStatus.OFFLINE)]
    made = planned(nodes, [first, job("job-2", cores=2)], clients, by=STRICT)
    assert placements(made) == [("job-2", "0", ON_N1)]
    assert [reason.code for row in made.passed_over for reason in row.reasons] == [why]
    assert made.decisions[0].reason.overtook == ""


def test_in_strict_order_a_gang_waits_for_room_too() -> None:
    gang = job("job-2", requirement=need(2, slots=2))
    made = planned([node(cores=4)], [running(cores=1), gang, job("job-3", cores=1)], by=STRICT)
    assert made.decisions == ()
    codes = {reason.code for row in made.passed_over for reason in row.reasons}
    assert codes == {ReasonCode.SLOTS_SHORT, ReasonCode.BEHIND_HEAD}


def test_in_strict_order_what_stands_before_the_blocked_head_starts() -> None:
    made = planned([node(cores=4)], [job(cores=1), job(cores=4), job(cores=1)], by=STRICT)
    assert placements(made) == [("job-1", "0", ON_N1)]


# -- where tasks go --------------------------------------------------------------------------------------------------


def test_a_task_goes_to_the_tightest_node_that_fits() -> None:
    made = planned([node(cores=8), node(cores=2), node(cores=4)], [job(cores=2)])
    assert placements(made) == [("job-1", "0", ON_N2)]


def test_a_node_with_a_gpu_is_kept_for_those_who_need_it() -> None:
    made = planned([node(cores=2, gpus=1), node(cores=64)], [job(cores=2), job(requirement=need(1, gpus=1))])
    assert placements(made) == [("job-1", "0", ON_N2), ("job-2", "0", ON_N1)]


def test_among_equal_nodes_the_one_registered_first_is_taken() -> None:
    made = planned([node("b"), node("a")], [job(cores=1)])
    assert placements(made) == [("job-1", "0", (("b", 1),))]


def test_tasks_of_a_job_fill_one_node_after_the_other_and_what_does_not_fit_waits() -> None:
    """2 + 4 cores for 10 tasks of one core: tasks 1-2 on the tighter node, 3-6 on the other, 7-10 wait."""
    made = planned([node(cores=4), node(cores=2)], [job(tasks="1-10")])
    assert placements(made) == [("job-1", "1-2", ON_N2), ("job-1", "3-6", ON_N1)]
    assert made.passed_over == (blocked(1, short(1_000, 0)),)


def test_the_reason_of_a_placement_is_that_of_its_first_task() -> None:
    """The first of 3 tasks had 2 candidates, and fills 1 of 2 cores of the tighter one."""
    (place,) = planned([node(cores=4), node(cores=2)], [job(tasks="1-3")]).decisions
    assert place.reason == PlacementReason("best-fit", "priority", 0.5, 2)


def test_every_resource_counts() -> None:
    requirement = need(1, memory_mib=4, gpus=1, storage_mib=2, network_mbps=3, licence=1)
    full: dict[str, Any] = {"memory_mib": 4, "gpus": 1, "storage_mib": 2, "network_mbps": 3, "licence": 1}
    assert len(planned([node(cores=1, **full)], [job(requirement=requirement)]).decisions) == 1
    for name, amount in full.items():
        less = full | {name: amount - 1}
        made = planned([node(cores=1, **less)], [job(requirement=requirement)])
        assert made.decisions == ()
        assert made.passed_over[0].reasons == (Reason(ReasonCode.TOO_LARGE, "", name, amount, amount - 1, "n1"),)


def test_attributes_decide_where_a_task_may_go() -> None:
    nodes = [node(attributes={"os": ("macos",)}), node(attributes={"os": ("linux",), "features": ("avx2",)})]
    demands = [having("os", "linux", "windows"), having("features", all_of=("avx2",))]
    assert placements(planned(nodes, [job(requirement=need(attributes=demands))])) == [("job-1", "0", ON_N2)]


@pytest.mark.parametrize(
    "state",
    [{"draining": True}, {"suspected": True}, *({"status": s} for s in NodeStatus if s is not NodeStatus.ONLINE)],
)
def test_nothing_is_placed_on_a_node_that_takes_no_work(state: dict[str, Any]) -> None:
    made = planned([node(**state), node(cores=64)], [job(cores=1)])
    assert placements(made) == [("job-1", "0", ON_N2)]


def test_a_task_that_needs_nothing_starts_on_a_full_node() -> None:
    made = planned([node(cores=1)], [running(cores=1), job(cores=0, tasks="0-9")])
    assert placements(made) == [("job-2", "0-9", ON_N1)]


def test_a_node_that_lost_a_gpu_in_use_still_takes_what_needs_none() -> None:
    busy = running(requirement=need(1, gpus=1))
    made = planned([node(cores=8)], [busy, job(cores=2)])
    assert placements(made) == [("job-2", "0", ON_N1)]


# -- gangs -----------------------------------------------------------------------------------------------------------


def test_a_gang_of_processors_takes_slots_wherever_they_are() -> None:
    """5 slots of one core: 2 on the tighter node, 3 on the other."""
    made = planned([node(cores=4), node(cores=2)], [job(requirement=need(1, slots=5))])
    assert placements(made) == [("job-1", "0", (("n2", 2), ("n1", 3)))]


def test_a_gang_of_nodes_takes_one_slot_of_each() -> None:
    made = planned([node(cores=4), node(cores=2)], [job(requirement=need(1, slots=2, distinct=True))])
    assert placements(made) == [("job-1", "0", (("n2", 1), ("n1", 1)))]


def test_a_gang_starts_whole_or_not_at_all() -> None:
    """4 slots, but one of the 4 cores is taken; 2 different nodes, but only one is free."""
    short_of_slots = planned([node(cores=4)], [running(cores=1), job(requirement=need(1, slots=4))])
    assert short_of_slots.passed_over[0].reasons == (Reason(ReasonCode.SLOTS_SHORT, "", "slots", 4, 3),)
    apart = need(1, slots=2, distinct=True)
    short_of_nodes = planned([node(cores=4), node(cores=1)], [running(on="n2"), job(requirement=apart)])
    assert short_of_nodes.passed_over[0].reasons == (Reason(ReasonCode.SLOTS_SHORT, "", "nodes", 2, 1),)
    assert short_of_slots.decisions == short_of_nodes.decisions == ()


def test_each_task_of_a_gang_job_is_a_gang_of_its_own() -> None:
    made = planned([node(cores=4), node(cores=2)], [job(requirement=need(1, slots=3), tasks="1-3")])
    assert placements(made) == [("job-1", "1", (("n2", 2), ("n1", 1))), ("job-1", "2", (("n1", 3),))]


# -- who may not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [{"held": True}, {"paused": True}, {"queued": False}])
def test_a_job_that_may_not_start_is_neither_placed_nor_passed_over(state: dict[str, Any]) -> None:
    assert planned([node()], [job(**state)]) == Plan(1, (), (), None)


def test_a_task_limit_counts_what_runs_and_what_this_plan_starts() -> None:
    """At most 3 tasks, 1 runs: 2 of 5 start."""
    made = planned([node(cores=9)], [running(), job(tasks="1-5")], [client(max_tasks=3)])
    assert placements(made) == [("job-2", "1-2", ON_N1)]
    assert made.passed_over == (blocked(1, Reason(ReasonCode.CLIENT_LIMIT, "show", "tasks", 1, 0)),)


def test_a_share_of_the_farm_counts_processors_of_all_nodes_that_have_not_left() -> None:
    """50 % of 4 + 4 cores, the offline node counted and the retired one not: 4 cores, so one task of 3."""
    nodes = [
        node(cores=4),
        node(cores=4, status=NodeStatus.OFFLINE),
        node(cores=90, status=NodeStatus.OFFLINE, retired=True),
    ]
    made = planned(nodes, [job(cores=1.5, tasks="1-5")], [client(limit_percent=50)])
    assert placements(made) == [("job-1", "1-2", ON_N1)]
    assert made.passed_over[0].reasons == (Reason(ReasonCode.CLIENT_LIMIT, "show", "millicores", 1_500, 1_000),)


def test_a_share_of_the_farm_counts_gpus_by_themselves() -> None:
    """50 % of 2 GPUs is one, although cores are left."""
    made = planned(
        [node(cores=99, gpus=2)], [job(requirement=need(1, gpus=1), tasks="1-5")], [client(limit_percent=50)]
    )
    assert placements(made) == [("job-1", "1", ON_N1)]
    assert made.passed_over[0].reasons == (Reason(ReasonCode.CLIENT_LIMIT, "show", "gpus", 1, 0),)


def test_a_gang_counts_against_a_limit_with_all_its_slots() -> None:
    """50 % of 8 cores hold one gang of 3, not two."""
    made = planned([node(cores=8)], [job(requirement=need(1, slots=3), tasks="1-2")], [client(limit_percent=50)])
    assert placements(made) == [("job-1", "1", (("n1", 3),))]
    assert made.passed_over[0].reasons == (Reason(ReasonCode.CLIENT_LIMIT, "show", "millicores", 3_000, 1_000),)


def test_the_limit_of_one_client_leaves_the_others_alone() -> None:
    waiting = [job(client_id="show"), job(client_id="research"), job(client_id="show", cores=0.5)]
    made = planned([node()], waiting, [client("show", max_tasks=1), client("research")])
    assert [place.job_id for place in made.decisions] == ["job-1", "job-2"]


def test_nothing_of_a_suspended_client_starts_and_that_is_the_reason_even_when_the_farm_is_full() -> None:
    for nodes in ([node()], [node(cores=1)]):
        waiting = [job(client_id="research"), job()]
        made = planned(nodes, waiting, [client(suspended=True)])
        assert made.passed_over == (blocked(1, Reason(ReasonCode.CLIENT_SUSPENDED, "show")),)


# -- back-off --------------------------------------------------------------------------------------------------------


def test_a_task_in_back_off_starts_when_that_is_over_and_the_plan_says_when_to_look_again() -> None:
    waiting = [job(tasks="1-4", waiting="1", delayed=((NOW, "2"), (NOW + 5, "3"), (NOW + 9, "4")))]
    made = planned([node()], waiting)
    assert placements(made) == [("job-1", "1-2", ON_N1)]
    assert made.wake_at_ms == NOW + 5


def test_a_job_with_nothing_but_a_back_off_that_is_over_takes_its_place_in_the_queue() -> None:
    late = job(tasks="7", waiting="", delayed=((NOW - 1, "7"),))
    made = planned([node(cores=1)], [late, job()])
    assert placements(made) == [("job-1", "7", ON_N1)]
    assert made.passed_over == (blocked(1, short(1_000, 0)),)


def test_jobs_that_come_back_from_a_back_off_are_counted_where_they_wait() -> None:
    late = [job(tasks="7", waiting="", delayed=((NOW, "7"),)) for _ in range(2)]
    made = planned([node(cores=1)], [running(), *late, job()])
    assert made.passed_over == (blocked(1, short(1_000, 0), jobs=3),)


def test_time_alone_changes_nothing_without_a_back_off() -> None:
    assert planned([node(cores=1)], [job(cores=1), job(cores=1)]).wake_at_ms is None


# -- reasons ---------------------------------------------------------------------------------------------------------


def test_the_nearest_miss_is_a_node_that_lacks_one_thing_only() -> None:
    """n1 has the cores but not the memory, n2 lacks both, n3 has more memory than n1 but still too little."""
    nodes = [node(cores=4, memory_mib=8), node(cores=4, memory_mib=8), node(cores=4, memory_mib=8)]
    busy = [
        job("job-x", requirement=need(1, memory_mib=6), waiting="", live={1: Attempt(0, ON_N1, NOW)}),
        job("job-y", requirement=need(3, memory_mib=6), waiting="", live={1: Attempt(0, ON_N2, NOW)}),
        job("job-z", requirement=need(1, memory_mib=5), waiting="", live={1: Attempt(0, ON_N3, NOW)}),
    ]
    made = planned(nodes, [*busy, job(requirement=need(3, memory_mib=4))])
    assert made.passed_over[0].reasons == (short(4, 3, "n3", "memory_mib"),)


def test_when_every_node_lacks_several_things_each_is_named_with_its_best_node() -> None:
    nodes = [node(cores=4, memory_mib=8), node(cores=4, memory_mib=8)]
    busy = [
        job("job-x", requirement=need(3, memory_mib=7), waiting="", live={1: Attempt(0, ON_N1, NOW)}),
        job("job-y", requirement=need(2, memory_mib=8), waiting="", live={1: Attempt(0, ON_N2, NOW)}),
    ]
    made = planned(nodes, [*busy, job(requirement=need(3, memory_mib=4))])
    assert made.passed_over[0].reasons == (short(3_000, 2_000, "n2"), short(4, 1, "n1", "memory_mib"))


def test_the_nearest_miss_stays_the_same_node_while_it_is_one() -> None:
    """n2 has as little free as n1 and was named last time; n3 is offline now, so it can be named no more."""
    nodes = [node(cores=2), node(cores=2), node(cores=2, status=NodeStatus.OFFLINE)]
    waiting = [running(on="n1"), running(on="n2"), job(cores=2)]
    for last_time, named in (("n2", "n2"), ("n3", "n1"), ("gone", "n1"), ("", "n1")):
        earlier = blocked(2, short(2_000, 0, last_time))
        made = planned(nodes, waiting, blocked=(earlier,), blocked_ms={earlier.segment: NOW - HOUR})
        assert made.passed_over == (blocked(2, short(2_000, 1_000, named)),)


@pytest.mark.parametrize(("age_ms", "available"), [(0, 500), (59_999, 500), (60_000, 0)])
def test_what_was_recorded_within_a_minute_is_said_again_as_long_as_it_holds(age_ms: int, available: int) -> None:
    """Only numbers may be old: the same resource is still short on the same node."""
    earlier = blocked(1, short(1_000, 500))
    on = farm([node(cores=1)], [running(), job()], blocked=(earlier,), blocked_ms={earlier.segment: NOW - age_ms})
    assert plan(on, GREEDY, NOW).passed_over == (blocked(1, short(1_000, available)),)


def test_what_was_recorded_is_forgotten_at_once_when_it_holds_no_more() -> None:
    """n2 was named; it is away now."""
    earlier = blocked(1, short(1_000, 500, "n2"))
    nodes = [node(cores=1), node(cores=1, draining=True)]
    on = farm(nodes, [running(), job()], blocked=(earlier,), blocked_ms={earlier.segment: NOW})
    assert plan(on, GREEDY, NOW).passed_over == (blocked(1, short(1_000, 0, "n1")),)


def test_what_this_plan_takes_is_no_longer_available() -> None:
    made = planned([node(cores=4)], [job(cores=1), job(cores=4)])
    assert made.passed_over == (blocked(4, short(4_000, 3_000)),)


def test_jobs_of_one_shape_share_their_reason() -> None:
    made = planned([node(cores=1)], [running(), *(job() for _ in range(50))])
    assert made.passed_over == (blocked(1, short(1_000, 0), jobs=50),)


def test_segments_are_listed_by_name() -> None:
    waiting = [job(cores=cores, priority=priority) for cores in (3, 2) for priority in Priority]
    names = [each.segment for each in planned([], waiting).passed_over]
    assert names == sorted(names)
    assert len(names) == 8
