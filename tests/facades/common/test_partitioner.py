"""The partitioner (§10.3)."""

from typing import Any

import pytest

from common import (
    BorrowingPolicy,
    ConfigurationError,
    PartitioningPolicy,
    ResourceAllocator,
    ResourcePartitioner,
    ResourceType,
)
from tests.facades.common.worlds import World, node

CPU, NETWORK = ResourceType.CPU, ResourceType.NETWORK
POLICY = PartitioningPolicy


def partitioner_of(world: World, *args: Any, **more: Any) -> ResourcePartitioner:
    """Two owners, one of whom matters three times as much."""
    made = ResourcePartitioner(None, *args, app=world.app, **more)
    made.register_owner("ada", {CPU: 4}, priority=1)
    made.register_owner("bob", {CPU: 8}, {CPU: 20}, priority=3)
    return made


def cpus(shares: dict[str, Any]) -> dict[str, float]:
    """The processors of each owner."""
    return {owner: amounts.get(CPU, 0.0) for owner, amounts in shares.items()}


def test_b1_owners_and_thresholds(world: World) -> None:
    made = partitioner_of(world)
    assert made.owner_priorities == {"ada": 1, "bob": 3}
    assert (made.allocation_monitors, made.adaptive_weights) == ({"ada": {}, "bob": {}}, {"ada": 1.0, "bob": 1.0})
    made.set_total_resources({CPU: 9})
    assert made.allocator.total_resources == {CPU: 9}
    for given, kept in ((0.5, 0.5), (2, 1.0), (-1, 0.0)):
        made.set_borrowing_threshold(CPU, given)
        assert made.borrowing_thresholds == {CPU: kept}
    assert (
        ResourcePartitioner(ResourceAllocator(), borrowing_policy=BorrowingPolicy.NONE).allocator.borrowing_enabled
        is False
    )


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (POLICY.FIXED, {"ada": 4, "bob": 8}),
        (POLICY.DYNAMIC, {"ada": 4, "bob": 8}),
        (POLICY.WEIGHTED, {"ada": 4, "bob": 12}),
        (POLICY.ADAPTIVE, {"ada": 8, "bob": 8}),
        (POLICY.PROPORTIONAL, {"ada": 8, "bob": 8}),
    ],
)
def test_b2_the_farm_is_divided_by_policy(world: World, policy: PartitioningPolicy, wanted: dict[str, float]) -> None:
    made = partitioner_of(world, policy)
    shares = made.allocate_resources(["ada", "bob"], [node(cores=10, status="offline"), node("n2", cores=6)])
    assert cpus(shares) == wanted
    assert made.allocator.total_resources[CPU] == 16
    (entry,) = made.get_allocation_history()
    assert entry["timestamp"] == world.now.isoformat()
    assert entry["partitioning_policy"] == policy.value
    assert entry["total_resources"]["cpu"] == 16
    assert entry["allocations"]["ada"]["cpu"] == wanted["ada"]
    made.get_allocation_history().clear()
    assert len(made.partition_history) == 1


def test_b2_guarantees_are_scaled_to_what_there_is(world: World) -> None:
    made = partitioner_of(world)
    assert cpus(made.allocate_resources(["ada", "bob", "?"], [node(cores=6)])) == {"ada": 2, "bob": 4}
    assert cpus(made.allocate_resources(["ada"], [node(cores=6)])) == {"ada": 4}
    assert cpus(made.allocate_resources(["ada"], [])) == {"ada": 0}


def test_b2_demand_where_it_is_known(world: World) -> None:
    made = partitioner_of(world, POLICY.DYNAMIC)
    made.owner_demands = {"ada": {CPU: 3}, "bob": {CPU: 1}}
    assert cpus(made.allocate_resources(["ada", "bob"], [node(cores=16)])) == {"ada": 7, "bob": 9}
    made.partitioning_policy = POLICY.PROPORTIONAL
    assert cpus(made.allocate_resources(["ada", "bob"], [node(cores=16)])) == {"ada": 12, "bob": 4}


def test_b3_the_borrowing_policy_decides_before_the_ledger(world: World) -> None:
    def can(policy: BorrowingPolicy, amount: float = 1, **more: Any) -> list[bool]:
        made = partitioner_of(World(), POLICY.FIXED, policy, **more)
        return [
            made.can_borrow_resources("ada", "bob", {CPU: amount}),
            made.can_borrow_resources("bob", "ada", {CPU: amount}),
        ]

    assert can(BorrowingPolicy.NONE) == [False, False]
    assert can(BorrowingPolicy.PRIORITY) == [True, False]
    assert can(BorrowingPolicy.UNRESTRICTED) == [True, True]
    assert can(BorrowingPolicy.UNRESTRICTED, 5) == [False, False]
    assert can(BorrowingPolicy.PERMISSION) == [False, False]
    assert can(BorrowingPolicy.PERMISSION, permission=lambda lender, borrower, amounts: lender == "bob") == [
        False,
        True,
    ]
    assert can(BorrowingPolicy.PERMISSION, permission=lambda *args: 1 / 0) == [False, False]


def test_b3_above_the_threshold_nothing_is_lent(world: World) -> None:
    made = partitioner_of(world)
    made.allocation_monitors["bob"][CPU] = 70.0
    assert made.can_borrow_resources("bob", "ada", {CPU: 1})
    made.allocation_monitors["bob"][CPU] = 71.0
    assert not made.can_borrow_resources("bob", "ada", {CPU: 1})
    made.set_borrowing_threshold(CPU, 0.9)
    assert made.can_borrow_resources("bob", "ada", {CPU: 1})


def test_b4_borrowing_and_the_monitor(world: World) -> None:
    made = partitioner_of(world, POLICY.ADAPTIVE)
    assert made.borrow_resources("bob", "ada", {CPU: 2}).value == {CPU: 2}
    assert made.return_borrowed_resources("ada", "bob").value == {CPU: 2}
    assert not made.borrow_resources("bob", "ada", {CPU: 99})
    job = world.job("j", cpu=2, owner="ada", status="running")
    made.allocator.allocate_resources("ada", job, [node()])
    assert made.calculate_resource_usage("ada", [job], []) == {CPU: 100.0}
    assert made.allocation_monitors["ada"] == {CPU: 100.0}
    assert made.adaptive_weights["ada"] == pytest.approx(0.7 + 0.3)
    job.status = "completed"  # type: ignore[assignment]
    made.calculate_resource_usage("ada", [job], [])
    assert made.adaptive_weights["ada"] == pytest.approx(0.7)


def test_b5_policies_of_the_callers(world: World) -> None:
    def half(
        owners: list[str], totals: dict[Any, float], partitioner: ResourcePartitioner
    ) -> dict[str, dict[Any, float]]:
        return {owner: {kind: amount / 2 for kind, amount in totals.items()} for owner in owners}

    made = partitioner_of(world, half)
    assert cpus(made.allocate_resources(["ada", "bob"], [node()])) == {"ada": 4, "bob": 4}
    made.register_policy("half", half)
    made.partitioning_policy = "half"
    assert made.allocate_resources(["ada"], [node()])["ada"][NETWORK] == 0.5
    assert [entry["partitioning_policy"] for entry in made.partition_history] == ["custom", "half"]
    with pytest.raises(ConfigurationError):
        made.register_policy("fixed", half)
    with pytest.raises(ConfigurationError, match="weighted"):
        ResourcePartitioner(partitioning_policy="nonsense")
    broken = partitioner_of(World(), lambda *args: 1 / 0)
    assert cpus(broken.allocate_resources(["ada"], [node()])) == {"ada": 4}
