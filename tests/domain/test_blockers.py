"""Why not: what no node could ever hold, what the nodes cannot hold now, and all that keeps one job waiting."""

from typing import Any

import pytest

from domain.decisions import Blocked, Reason, ReasonCode, segment_name
from domain.dependency import Dependency, DependencyState
from domain.job.values import Attempt, Priority
from domain.node import Node, NodeStatus
from domain.planning import blockers
from domain.planning.planner import plan
from domain.policies import Policies
from domain.resources import Requirement
from tests.builders import NOW, farm, having, job, need, node

OFF: dict[str, Any] = {"status": NodeStatus.OFFLINE}
TOO_LARGE, MISSING = ReasonCode.TOO_LARGE, ReasonCode.ATTRIBUTE_MISSING

NODES = [
    node(cores=4, memory_mib=16, attributes={"os": ("linux",)}),
    node(cores=8, memory_mib=8, gpus=1, attributes={"os": ("macos",)}, **OFF),
]
IMPOSSIBLE = [
    (need(8), ()),  # the offline node could
    (need(4, memory_mib=16), ()),
    (need(9), (Reason(TOO_LARGE, "", "millicores", 9_000, 8_000, "n2"),)),
    # n1 lacks one thing, n2 lacks one thing; of the first of them most is there on n1
    (need(8, memory_mib=16), (Reason(TOO_LARGE, "", "millicores", 8_000, 4_000, "n1"),)),
    (need(9, gpus=1), (Reason(TOO_LARGE, "", "millicores", 9_000, 8_000, "n2"),)),  # n1 lacks two things
    (need(licence=2), (Reason(TOO_LARGE, "", "licence", 2, 0, "n1"),)),
    (need(attributes=[having("os", "windows")]), (Reason(MISSING, "os"),)),
    (need(attributes=[having("zone", "b"), having("os", "linux")]), (Reason(MISSING, "zone"),)),
    # each demand is met by some node, both by none
    (need(attributes=[having("os", "linux"), having("os", "macos")]), (Reason(MISSING, "os"), Reason(MISSING, "os"))),
    (need(8, attributes=[having("os", "linux")]), (Reason(TOO_LARGE, "", "millicores", 8_000, 4_000, "n1"),)),
    (need(4, slots=3), ()),  # 1 + 2
    (need(4, slots=4), (Reason(TOO_LARGE, "", "slots", 4, 3),)),
    (need(4, slots=2, distinct=True), ()),
    (need(4, slots=3, distinct=True), (Reason(TOO_LARGE, "", "nodes", 3, 2),)),
    (need(0, slots=99), ()),
]


@pytest.mark.parametrize(("requirement", "reasons"), IMPOSSIBLE)
def test_what_no_node_could_ever_hold_is_known_before_it_is_submitted(
    requirement: Requirement, reasons: tuple[Reason, ...]
) -> None:
    assert blockers.impossible(farm(NODES).index, requirement) == reasons


def test_nothing_is_impossible_before_the_first_node_is_registered() -> None:
    assert blockers.impossible(farm().index, need(99)) == ()


def test_a_node_that_has_left_for_good_makes_nothing_possible() -> None:
    gone = node(cores=64, **OFF, retired=True)
    assert blockers.impossible(farm([node(cores=4), gone]).index, need(8)) == (
        Reason(TOO_LARGE, "", "millicores", 8_000, 4_000, "n1"),
    )
    assert blockers.impossible(farm([gone]).index, need(99)) == ()


def reasons_for(requirement: Requirement, *nodes: Node) -> tuple[Reason, ...]:
    (blocked,) = plan(farm(nodes, [job(requirement=requirement)]), Policies(), NOW).passed_over
    return blocked.reasons


def test_without_a_node_that_takes_work_that_is_the_reason() -> None:
    assert reasons_for(need(1)) == (Reason(ReasonCode.NO_NODES, needed=1),)
    assert reasons_for(need(1, slots=3), node(**OFF)) == (Reason(ReasonCode.NO_NODES, needed=3),)
    assert reasons_for(need(1), node(draining=True)) == (Reason(ReasonCode.NO_NODES, needed=1),)


def test_nodes_that_could_hold_it_but_are_out_of_service_are_the_reason_however_busy_the_others_are() -> None:
    unavailable = (Reason(ReasonCode.NODES_UNAVAILABLE, needed=1),)
    assert reasons_for(need(8), node(cores=4), node(cores=8, **OFF)) == unavailable
    linux = need(1, attributes=[having("os", "linux")])
    assert reasons_for(linux, node(), node(attributes={"os": ("linux",)}, draining=True)) == unavailable


def test_what_is_free_on_a_node_that_shrank_is_never_less_than_nothing() -> None:
    busy = job("job-x", cores=4, waiting="", live={1: Attempt(0, (("n1", 1),), NOW)})
    made = plan(farm([node(cores=2)], [busy, job(cores=1)]), Policies(), NOW)
    assert made.passed_over[0].reasons == (Reason(ReasonCode.RESOURCES_SHORT, "", "millicores", 1_000, 0, "n1"),)


# -- one job ---------------------------------------------------------------------------------------------------------


def edge(predecessor_id: str, state: DependencyState) -> Dependency:
    return Dependency(f"dep-{predecessor_id}:job-1", predecessor_id, "job-1", state=state)


SHORT = Reason(ReasonCode.RESOURCES_SHORT, "", "millicores", 1_000, 0, "n1")
RECORDED = Blocked(segment_name("show", Priority.MEDIUM, need(1)), (SHORT,), 1)


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({}, (SHORT,)),
        ({"held": True}, (Reason(ReasonCode.HELD),)),
        ({"held": True, "paused": True}, (Reason(ReasonCode.HELD), Reason(ReasonCode.PAUSED))),
        ({"queued": False}, ()),
        ({"queued": False, "not_before_ms": NOW + 1}, (Reason(ReasonCode.START_TIME, until_ms=NOW + 1),)),
        ({"queued": False, "not_before_ms": NOW}, ()),
        ({"waiting": ""}, ()),
        ({"waiting": "", "delayed": ((NOW + 1, "0"),)}, (Reason(ReasonCode.BACK_OFF, until_ms=NOW + 1),)),
        ({"delayed": ((NOW + 1, "0"),)}, (Reason(ReasonCode.BACK_OFF, until_ms=NOW + 1), SHORT)),
        ({"waiting": "", "delayed": ((NOW, "0"),)}, (SHORT,)),  # the back-off is over, the farm is full
        (
            {"waiting": "", "delayed": ((NOW - 5, "0"), (NOW + 5, "1"))},
            (Reason(ReasonCode.BACK_OFF, until_ms=NOW + 5), SHORT),
        ),
    ],
)
def test_a_job_waits_for_its_own_reasons_and_those_recorded_for_its_segment(
    fields: dict[str, Any], reasons: tuple[Reason, ...]
) -> None:
    made = farm([], [job("job-1", **fields)], blocked=(RECORDED,))
    assert blockers.of_job(made, made.jobs["job-1"], NOW) == reasons


def test_a_job_waits_for_the_predecessors_that_are_not_settled() -> None:
    edges = [edge(f"job-{state}", state) for state in DependencyState]
    made = farm([], [job("job-1", queued=False)], dependencies=edges)
    assert blockers.of_job(made, made.jobs["job-1"], NOW) == (
        Reason(ReasonCode.DEPENDENCY_FAILED, "job-failed"),
        Reason(ReasonCode.DEPENDENCY, "job-pending"),
    )


def test_reasons_are_the_same_blocker_when_only_numbers_differ() -> None:
    assert SHORT.same_blocker(Reason(ReasonCode.RESOURCES_SHORT, "", "millicores", 9_000, 500, "n1"))
    others = (
        Reason(ReasonCode.SLOTS_SHORT, "", "millicores", 1_000, 0, "n1"),
        Reason(ReasonCode.RESOURCES_SHORT, "", "gpus", 1_000, 0, "n1"),
        Reason(ReasonCode.RESOURCES_SHORT, "", "millicores", 1_000, 0, "n2"),
        Reason(ReasonCode.RESOURCES_SHORT, "x", "millicores", 1_000, 0, "n1"),
    )
    assert not any(SHORT.same_blocker(other) for other in others)
