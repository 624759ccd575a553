"""Allocations and the allocator (§10.1, 10.2)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import (
    AllocationStrategy,
    ConfigurationError,
    ResourceAllocation,
    ResourceAllocator,
    ResourceRequirement,
    ResourceType,
)
from domain.client import ClientSharesChanged
from tests.facades.common.worlds import RatedNode, World, node

CPU, GPU = ResourceType.CPU, ResourceType.GPU


@pytest.fixture
def allocator(world: World) -> ResourceAllocator:
    made = ResourceAllocator(app=world.app)
    made.register_owner("ada", {CPU: 4})
    made.register_owner("bob", {CPU: 8}, {CPU: 10})
    return made


def test_an_allocation_by_itself(world: World) -> None:
    mine = ResourceAllocation("ada", {CPU: 4}, borrowed={"bob": {CPU: 2}}, lent={"cyd": {CPU: 1}})
    assert (mine.total_allocated(CPU), mine.total_allocated(GPU), mine.start_time, mine.end_time) == (
        5,
        0,
        world.now,
        None,
    )
    assert [mine.is_overallocated(CPU, limit) for limit in (4, 5)] == [True, False]
    assert [mine.can_borrow(CPU, 1, limit) for limit in (5, 6)] == [False, True]
    mine.borrow_from("bob", CPU, 1)
    mine.lend_to("bob", CPU, 9)
    assert (mine.borrowed, mine.lent["bob"], mine.total_allocated(CPU)) == ({"bob": {CPU: 3}}, {CPU: 9}, 0)
    mine.update_utilization(CPU, 3)
    told = mine.to_dict()
    assert (told["resources"], told["utilization"], told["start_time"]) == (
        {"cpu": 4},
        {"cpu": 3},
        world.now.isoformat(),
    )


def test_a1_a2_owners_and_totals(world: World, allocator: ResourceAllocator) -> None:
    assert (allocator.guaranteed_resources, allocator.max_resources) == (
        {"ada": {CPU: 4}, "bob": {CPU: 8}},
        {"ada": {CPU: 4}, "bob": {CPU: 10}},
    )
    assert set(allocator.allocations) == {"ada", "bob"}
    allocator.update_total_resources({CPU: 20})
    assert (allocator.total_resources, allocator.reserved_resources) == ({CPU: 20}, {CPU: 12})
    allocator.register_owner("cyd", {CPU: 2})
    assert allocator.reserved_resources == {CPU: 14}
    shares = {event.client_id: event.shares.guarantee_percent for event in world.events(ClientSharesChanged)}
    assert shares == {"ada": 20, "bob": 40, "cyd": 10}


def test_a3_a_job_gets_its_amounts_and_a_node(world: World, allocator: ResourceAllocator) -> None:
    job = world.job("j", cpu=2, owner="ada")
    job.resource_requirements.append(ResourceRequirement(resource_type=CPU, amount=1))
    allocation = allocator.allocate_resources("ada", job, [node("off", status="offline"), node("n1")]).unwrap()
    assert allocation is allocator.allocations["ada"]
    assert (allocation.resources, allocation.nodes, job.assigned_node_id) == ({CPU: 3}, ["n1"], "n1")
    assert "No suitable nodes" in str(allocator.allocate_resources("ada", world.job("k", cpu=9), [node()]).error)
    assert "No suitable nodes" in str(allocator.allocate_resources("ada", world.job("k"), []).error)


def test_a3_what_is_missing_is_borrowed(world: World, allocator: ResourceAllocator) -> None:
    mine = allocator.allocate_resources("ada", world.job("j", cpu=6), [node()]).unwrap()
    assert (mine.borrowed, allocator.allocations["bob"].lent) == ({"bob": {CPU: 2}}, {"ada": {CPU: 2}})
    assert mine.total_allocated(CPU) == 6


def test_a3_too_much_is_refused_and_nothing_stays_borrowed(world: World, allocator: ResourceAllocator) -> None:
    job = world.job("j", cpu=13)
    refused = allocator.allocate_resources("ada", job, [node(cores=99)])
    assert "Resource limit exceeded" in str(refused.error)
    assert all(each in str(refused.error) for each in ("cpu", "requested 13", "allocated 0", "maximum 4"))
    assert refused.code == "resource.exceeded"
    assert not any(each.borrowed or each.lent or each.resources for each in allocator.allocations.values())
    assert job.assigned_node_id is None
    allocator.borrowing_enabled = False
    assert not allocator.allocate_resources("ada", world.job("k", cpu=5), [node()])
    assert not allocator.allocate_resources("stranger", world.job("l", cpu=1), [node()])
    assert allocator.allocations["stranger"].resources == {}


def test_a3_a_list_of_owners_asks_for_the_guarantees(allocator: ResourceAllocator) -> None:
    assert allocator.allocate_resources(["ada", "?"], [node()]) == {"ada": {CPU: 4}}


def test_a4_a_release_gives_back_what_is_no_longer_used(world: World, allocator: ResourceAllocator) -> None:
    first, second = world.job("j", cpu=3), world.job("k", cpu=3)
    for job in (first, second):
        assert allocator.allocate_resources("ada", job, [node()])
    mine, theirs = allocator.allocations["ada"], allocator.allocations["bob"]
    assert mine.borrowed == {"bob": {CPU: 2}}
    assert allocator.release_resources("ada", first)
    assert (mine.nodes, first.assigned_node_id, mine.total_allocated(CPU)) == (["n1"], None, 3)
    assert allocator.release_resources("ada", second)
    assert (mine.borrowed, theirs.lent, mine.total_allocated(CPU)) == ({}, {}, 0)
    assert not allocator.release_resources("?", first)


def test_a4_only_the_excess_goes_back_while_the_rest_is_used(world: World, allocator: ResourceAllocator) -> None:
    job = world.job("j", cpu=6)
    mine = allocator.allocate_resources("ada", job, [node()]).unwrap()
    mine.update_utilization(CPU, 1)
    allocator.release_resources("ada", job)
    assert mine.borrowed == {"bob": {CPU: 1}}


def test_a5_a6_lending_keeps_within_what_is_idle(world: World, allocator: ResourceAllocator) -> None:
    allocator.register_owner("cyd", {CPU: 1}, {CPU: 9})
    can = allocator.can_borrow_resources
    assert [can("bob", "cyd", {CPU: amount}) for amount in (8, 9)] == [True, False]
    assert [can("bob", "ada", {CPU: amount}) for amount in (4, 5)] == [True, False], "within the borrower's maximum"
    assert not any(can(*pair, {CPU: 1}) for pair in (("?", "ada"), ("ada", "?"), ("ada", "ada")))


def test_a6_borrowing_and_returning(world: World, allocator: ResourceAllocator) -> None:
    allocator.register_owner("cyd", {CPU: 1}, {CPU: 9})
    assert allocator.borrow_resources("bob", "cyd", {CPU: 3}).value == {CPU: 3}
    assert not allocator.borrow_resources("bob", "cyd", {CPU: 6})
    assert allocator.return_borrowed_resources("cyd", "bob", {CPU: 1}).value == {CPU: 1}
    assert allocator.return_borrowed_resources("cyd", "bob").value == {CPU: 2}
    assert not allocator.return_borrowed_resources("cyd", "bob")
    assert not allocator.return_borrowed_resources("?", "bob")
    assert not any(each.borrowed or each.lent for each in allocator.allocations.values())
    allocator.allocations["bob"].update_utilization(CPU, 7)
    assert [allocator.can_borrow_resources("bob", "cyd", {CPU: amount}) for amount in (1, 2)] == [True, False]
    allocator.borrowing_enabled = False
    assert not allocator.can_borrow_resources("bob", "cyd", {CPU: 1})


def test_a7_the_node_by_strategy(world: World) -> None:
    nodes = [
        RatedNode(id="a", name="a", cpu_cores=8, current_load={"cpu": 4}, power_efficiency_rating=10),
        RatedNode(id="b", name="b", cpu_cores=64, power_efficiency_rating=20),
        RatedNode(id="c", name="c", cpu_cores=16, current_load={"cpu": 1}, power_efficiency_rating=30),
    ]
    wanted = {
        AllocationStrategy.FAIR_SHARE: "b",
        AllocationStrategy.PRIORITY_BASED: "a",
        AllocationStrategy.DEADLINE_FIRST: "a",
        AllocationStrategy.RESOURCE_EFFICIENT: "a", AllocationStrategy.ENERGY_EFFICIENT: "c",
    }  # fmt: skip
    for strategy, best in wanted.items():
        allocator = ResourceAllocator(strategy)
        allocator.register_owner("ada", {CPU: 99})
        job = world.job(cpu=1)
        assert allocator.allocate_resources("ada", job, nodes)
        assert job.assigned_node_id == best, strategy
    assert [each.id for each in nodes] == ["a", "b", "c"]


def test_a7_nodes_that_score_themselves(world: World, allocator: ResourceAllocator) -> None:
    class Scoring(RatedNode):
        def calculate_performance_score(self, job: Any) -> float:
            return self.power_efficiency_rating

    job = world.job(cpu=1)
    allocator.allocate_resources(
        "ada", job, [Scoring(id=f"s{n}", name="s", cpu_cores=1, power_efficiency_rating=n) for n in (1, 3, 2)]
    )
    assert job.assigned_node_id == "s3"


def test_a8_use_in_percent(world: World, allocator: ResourceAllocator) -> None:
    running = world.job("j", cpu=2, owner="ada", status="running")
    allocator.allocate_resources("ada", running, [node()])
    other = world.job("k", cpu=9, owner="bob", status="running")
    assert allocator.calculate_resource_usage("ada", [running, other, world.job("w", cpu=1, owner="ada")], []) == {
        CPU: 100.0
    }
    assert allocator.allocations["ada"].utilization == {CPU: 2}
    allocator.allocations["ada"].resources[CPU] = 8
    assert allocator.calculate_resource_usage("ada", [running], []) == {CPU: 25.0}
    assert allocator.calculate_resource_usage("bob", [other], []) == {CPU: 0.0}
    assert allocator.calculate_resource_usage("?", [], []) == {}


def test_a9_strategies_of_the_callers(world: World, allocator: ResourceAllocator) -> None:
    allocator.register_strategy("last", lambda job, nodes: nodes[-1])
    allocator.strategy = "last"
    job = world.job(cpu=1)
    assert allocator.allocate_resources("ada", job, [node("a"), node("b")])
    assert job.assigned_node_id == "b"
    with pytest.raises(ConfigurationError):
        allocator.register_strategy("last", lambda job, nodes: None)
    with pytest.raises(ConfigurationError, match="fair_share"):
        ResourceAllocator("nonsense")
    picky = ResourceAllocator(lambda job, nodes: None)
    assert not picky.allocate_resources("ada", world.job(), [node()])
    broken = ResourceAllocator(lambda job, nodes: 1 / 0)
    broken.register_owner("ada", {CPU: 1})
    assert broken.allocate_resources("ada", world.job("z", cpu=1), [node()])


def test_a9_licences_are_tracked_by_name(world: World, allocator: ResourceAllocator) -> None:
    allocator.register_resource("houdini", 2)
    need = ResourceRequirement(resource_type=ResourceType.SPECIALIZED, amount=1, unit="houdini")
    jobs = [world.job(each, resource_requirements=[need]) for each in "abc"]
    assert [bool(allocator.allocate_resources("ada", job, [node()])) for job in jobs] == [True, True, False]
    allocator.release_resources("ada", jobs[0])
    assert allocator.allocate_resources("ada", jobs[2], [node()])
    with pytest.raises(ConfigurationError):
        allocator.register_resource("houdini", 3)


MOVES = st.tuples(
    st.sampled_from(["allocate", "release", "borrow", "return", "use"]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(1, 9),
)


@given(st.lists(MOVES, max_size=25))
def test_14_5_what_is_lent_is_what_is_borrowed_and_nobody_falls_below_zero(moves: list[Any]) -> None:
    allocator, world, owners = ResourceAllocator(), World(), ["o0", "o1", "o2"]
    for number, owner in enumerate(owners):
        allocator.register_owner(owner, {CPU: 3 * number + 1, GPU: 2}, {CPU: 12, GPU: 4})
    held: list[tuple[str, Any]] = []
    for number, (what, one, other, amount) in enumerate(moves):
        if what == "allocate":
            job = world.job(f"j{number}", cpu=amount)
            if allocator.allocate_resources(owners[one], job, [node(cores=99)]):
                held.append((owners[one], job))
        elif what == "release" and held:
            allocator.release_resources(*held.pop(one % len(held)))
        elif what == "borrow":
            allocator.borrow_resources(owners[one], owners[other], {CPU: amount, GPU: amount % 3})
        elif what == "return":
            allocator.return_borrowed_resources(owners[one], owners[other], {CPU: amount} if amount % 2 else None)
        elif what == "use":
            allocator.allocations[owners[one]].update_utilization(CPU, amount)
        _balanced(allocator)


def _balanced(allocator: ResourceAllocator) -> None:
    """Both sides of the ledger say the same, and nothing is below zero."""
    for kind in (CPU, GPU):
        known = allocator.allocations.values()
        lent = {(each.owner_id, who): amounts.get(kind, 0) for each in known for who, amounts in each.lent.items()}
        borrowed = {
            (who, each.owner_id): amounts.get(kind, 0) for each in known for who, amounts in each.borrowed.items()
        }
        assert {key: value for key, value in lent.items() if value} == {key: v for key, v in borrowed.items() if v}
        for each in known:
            assert each.resources.get(kind, 0) >= 0
            assert each.total_allocated(kind) >= 0
            guarantee = allocator.guaranteed_resources[each.owner_id][kind]
            assert sum(amounts.get(kind, 0) for amounts in each.lent.values()) <= guarantee
