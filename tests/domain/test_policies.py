"""Policies are named answers with checked parameters; strangers use the same hooks as the built-in ones."""

from collections.abc import Iterator

import pytest

from domain.errors import PolicyInvalid
from domain.job.values import Job, Priority
from domain.messages import Value
from domain.planner import plan
from domain.policies import FAMILIES, OrderKey, Policies, register
from domain.policies.backfill import Greedy, NoBackfill
from domain.policies.order import ByPriority, Fifo
from domain.policies.placement import BestFit
from tests.builders import NOW, farm, job, need, node


class ShortestName(Value, frozen=True):
    """An order of no use to anybody: by the length of the name, up to a limit."""

    monotone = False
    limit: int = 99

    def key(self, job: Job, now_ms: int) -> OrderKey:
        """Short names first."""
        return (min(self.limit, len(job.spec.name)),)


@pytest.fixture
def shortest_name() -> Iterator[None]:
    register("order", "shortest-name", ShortestName)
    yield
    del FAMILIES["order"]["shortest-name"]


def test_every_built_in_policy_is_registered_under_its_name() -> None:
    assert {
        "order": {"fifo": Fifo, "priority": ByPriority},
        "placement": {"best-fit": BestFit},
        "backfill": {"greedy": Greedy, "none": NoBackfill},
    } == FAMILIES


def test_the_policies_in_force_at_first_are_complete() -> None:
    Policies().check()


@pytest.mark.parametrize(
    ("policies", "problem"),
    [
        (Policies(order="magic"), "there is no order policy 'magic'; known are fifo, priority"),
        (Policies(backfill="magic"), "there is no backfill policy 'magic'; known are greedy, none"),
        (Policies(parameters={"order": {"limit": 3}}), "order policy 'priority' has no parameter limit"),
        (Policies(parameters={"odor": {}}), "there is no policy family odor, only order, placement, backfill"),
        (Policies(order="shortest-name", parameters={"order": {"limit": "x"}}), "Expected `int`, got `str`"),
        (Policies(order="shortest-name", parameters={"order": {"limits": 1}}), "has no parameter limits"),
    ],
)
@pytest.mark.usefixtures("shortest_name")
def test_policies_that_cannot_be_are_refused_and_the_error_says_what_is_wrong(policies: Policies, problem: str) -> None:
    if "known are fifo" in problem:
        problem = problem.replace("priority", "priority, shortest-name")
    with pytest.raises(PolicyInvalid) as caught:
        policies.check()
    assert problem in str(caught.value)


@pytest.mark.usefixtures("shortest_name")
def test_a_stranger_orders_the_queue_inside_segments_and_across_them() -> None:
    waiting = [job(f"job-{k}", cores=cores, name="x" * k) for k, cores in ((4, 1), (2, 1), (3, 2), (1, 2))]
    made = plan(farm([node(cores=9)], waiting), Policies(order="shortest-name"), NOW)
    assert [place.job_id for place in made.decisions] == ["job-1", "job-2", "job-3", "job-4"]
    assert made.decisions[0].reason.order == "shortest-name"
    limited = Policies(order="shortest-name", parameters={"order": {"limit": 2}})
    made = plan(farm([node(cores=9)], waiting), limited, NOW)
    # those with names of 2 and more are alike, so the time of their submission decides
    assert [place.job_id for place in made.decisions] == ["job-1", "job-4", "job-2", "job-3"]


def test_a_policy_is_registered_once_under_its_name() -> None:
    register("order", "fifo", Fifo)
    with pytest.raises(PolicyInvalid, match="order policy 'fifo' is registered already"):
        register("order", "fifo", ByPriority)
    with pytest.raises(PolicyInvalid, match="there is no policy family 'odor'"):
        register("odor", "rose", Fifo)


def test_priorities_are_ordered_from_critical_to_low() -> None:
    keys = [ByPriority().key(job(priority=priority), NOW) for priority in Priority]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == len(Priority)


def test_best_fit_scores_how_full_a_node_will_be() -> None:
    index = farm([node(cores=4), node(cores=0)]).index
    assert BestFit().score(index, 0, need(1)) == 0.25
    assert BestFit().score(index, 0, need(4)) == 1.0
    assert BestFit().score(index, 1, need(0)) == 1.0  # no cores at all


def test_backfill_goes_on_always_or_only_while_nothing_is_blocked() -> None:
    assert [Greedy().goes_on_after(count) for count in (0, 1, 9)] == [True, True, True]
    assert [NoBackfill().goes_on_after(count) for count in (0, 1, 9)] == [True, False, False]
