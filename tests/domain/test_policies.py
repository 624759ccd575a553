"""Policies are named answers with checked parameters; strangers use the same hooks as the built-in ones."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from domain.errors import PolicyInvalid
from domain.job.values import Job, Priority
from domain.messages import Value
from domain.planning.planner import plan
from domain.policies import FAMILIES, ClientPolicies, Context, OrderKey, Policies, made, register
from domain.policies.backfill import Conservative, Depth, Easy, Greedy, NoBackfill
from domain.policies.order import ByPriority, Fifo
from tests.builders import NOW, farm, job, node, placements


class ShortestName(Value, frozen=True):
    """An order of no use to anybody: by the length of the name, up to a limit."""

    monotone = False
    moves = False
    limit: int = 99

    def key(self, job: Job, context: Context) -> OrderKey:
        """Short names first."""
        return (min(self.limit, len(job.spec.name)),)


@pytest.fixture
def shortest_name() -> Iterator[None]:
    register("order", "shortest-name", ShortestName)
    yield
    del FAMILIES["order"]["shortest-name"]


BUILT_IN = {
    "order": "edf f1 f2 f3 f4 fcfs fifo multifactor priority saf sjf slack unicef unicep wfp3",
    "priority": "ageing combined fair fair-share given inherited urgent",
    "estimate": "predicted requested",
    "filter": "client-pools dedicated gpu-nodes-for-gpu-jobs large-memory-nodes",
    "placement": "best-fit first-fit power specialized spread weighted worst-fit",
    "backfill": "conservative depth easy greedy none",
    "sharing": "lending none",
    "preemption": "checkpoint none requeue suspend",
    "energy": "balanced efficiency night-savings performance",
}


def test_every_built_in_policy_is_registered_under_its_name() -> None:
    for family, names in BUILT_IN.items():
        assert set(names.split()) <= FAMILIES[family].keys()
    assert BUILT_IN.keys() == FAMILIES.keys()


@pytest.mark.parametrize(("family", "name"), [(family, name) for family in BUILT_IN for name in FAMILIES[family]])
def test_every_built_in_policy_works_without_parameters(family: str, name: str) -> None:
    if family == "filter":
        Policies(filters=(name,)).check()
    else:
        Policies(**{family: name}).check()  # type: ignore[arg-type]  # a family is a field


def test_the_policies_in_force_at_first_are_complete() -> None:
    Policies().check()


def by_order(**limit: object) -> Policies:
    return Policies(order="shortest-name", parameters={"order": limit})


@pytest.mark.parametrize(
    ("policies", "problem"),
    [
        (Policies(placement="magic"), f"no placement policy 'magic'; known are {', '.join(FAMILIES['placement'])}"),
        (Policies(backfill="magic"), "no backfill policy 'magic'; known are conservative, depth, easy, greedy, none"),
        (Policies(filters=("magic",)), "there is no filter policy 'magic'"),
        (Policies(parameters={"order": {"limit": 3}}), "order policy 'priority' has no parameter limit; it has none"),
        (Policies(parameters={"odor": {}}), "there is no policy family odor, only order, priority, estimate, filter"),
        (Policies(parameters={"filter": {"dedicated": {}}}), "filter dedicated has parameters and is not among"),
        (by_order(limit="x"), "Expected `int`, got `str`"),
        (by_order(limits=1), "'shortest-name' has no parameter limits; it has limit"),
        (Policies(backfill="depth", parameters={"backfill": {"reservations": 0}}), "Expected `int` >= 1"),
        (Policies(clients={"show": ClientPolicies(placement="magic")}), "client 'show': there is no placement policy"),
        (
            Policies(clients={"show": ClientPolicies(parameters={"order": {}})}),
            "client 'show': there is no policy family order, only priority, estimate, placement",
        ),
    ],
)
@pytest.mark.usefixtures("shortest_name")
def test_policies_that_cannot_be_are_refused_and_the_error_says_what_is_wrong(policies: Policies, problem: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        policies.check()
    before, known, names = problem.partition("known are ")
    assert before + known in str(caught.value)
    assert set(names.split(", ")) <= set(str(caught.value).partition(known or " ")[2].split(", ")) | {""}


@pytest.mark.usefixtures("shortest_name")
def test_a_stranger_orders_the_queue_inside_segments_and_across_them() -> None:
    waiting = [job(f"job-{k}", cores=cores, name="x" * k) for k, cores in ((4, 1), (2, 1), (3, 2), (1, 2))]
    planned = plan(farm([node(cores=9)], waiting), Policies(order="shortest-name"), NOW)
    assert [place.job_id for place in planned.decisions] == ["job-1", "job-2", "job-3", "job-4"]
    assert planned.decisions[0].reason.order == "shortest-name"
    planned = plan(farm([node(cores=9)], waiting), by_order(limit=2), NOW)
    # those with names of 2 and more are alike, so the time of their submission decides
    assert [place.job_id for place in planned.decisions] == ["job-1", "job-4", "job-2", "job-3"]


def test_a_policy_is_registered_once_under_its_name() -> None:
    register("order", "fifo", Fifo)
    with pytest.raises(PolicyInvalid, match="order policy 'fifo' is registered already"):
        register("order", "fifo", ByPriority)
    with pytest.raises(PolicyInvalid, match="there is no policy family 'odor'"):
        register("odor", "rose", Fifo)


def context(policies: Policies, *waiting: Job) -> Context:
    return Context(farm([node()], waiting), made(policies), NOW)


def test_priorities_are_ordered_from_critical_to_low() -> None:
    keys = [ByPriority().key(job(f"job-{each}", priority=each), context(Policies())) for each in Priority]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == len(Priority)


def test_the_objects_of_a_set_are_made_once() -> None:
    policies = Policies()
    assert made(policies) is made(policies)
    assert made(policies) is not made(Policies())


def test_a_client_may_have_answers_of_its_own() -> None:
    """Research is placed by the order of registration; everybody else by best fit, so on the tighter node."""
    own = {"research": ClientPolicies(placement="first-fit")}
    policies = Policies(order="fifo", clients=own)
    waiting = [job("job-1", client_id="research"), job("job-2", client_id="show")]
    planned = plan(farm([node(cores=8), node(cores=2)], waiting), policies, NOW)
    assert placements(planned) == [("job-1", "0", (("n1", 1),)), ("job-2", "0", (("n2", 1),))]
    assert [place.reason.policy for place in planned.decisions] == ["first-fit", "best-fit"]


def test_policies_survive_a_trip_through_json() -> None:
    policies = Policies(
        version=7,
        order="multifactor",
        backfill="depth",
        parameters={"order": {"age": 2.0}, "backfill": {"reservations": 3}},
        filters=("dedicated",),
        clients={"show": ClientPolicies(estimate="predicted")},
    )
    policies.check()
    assert msgspec.json.decode(msgspec.json.encode(policies), type=Policies) == policies


@pytest.mark.parametrize(
    ("backfill", "overtakes", "reservations"),
    [
        (Greedy(), True, 0),
        (NoBackfill(), False, 0),
        (Easy(), True, 1),
        (Depth(), True, 1),
        (Depth(reservations=4), True, 4),
        (Conservative(), True, None),
    ],
)
def test_backfill_is_one_rule_with_a_depth(backfill: Any, overtakes: bool, reservations: int | None) -> None:
    assert (backfill.overtakes, backfill.reservations) == (overtakes, reservations)
    assert reservations == 0 or backfill.reserves_for(job("job-1"), context(Policies()))
