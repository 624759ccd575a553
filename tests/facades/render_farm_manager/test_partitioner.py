"""Sharing the farm: rules R40 to R49."""

from typing import Any

import pytest

from render_farm_manager.core.models import RenderClient
from render_farm_manager.resource_management.resource_partitioner import ResourcePartitioner
from tests.facades.render_farm_manager.farms import client, job, node, parts


def partitioner(**more: Any) -> ResourcePartitioner:
    return ResourcePartitioner(*parts(), **more)


def nodes(count: int) -> list[Any]:
    return [node(f"n{i}") for i in range(count)]


def told(of: ResourcePartitioner, event_type: str) -> list[dict[str, Any]]:
    return [entry.details for entry in of.audit_logger.logs if entry.event_type == event_type]


def test_r40_whole_nodes_for_guarantees_offline_ones_too() -> None:
    of = partitioner(allow_borrowing=False)
    farm = [node(f"n{i}", status="offline" if i % 2 else "online") for i in range(10)]
    result = of.allocate_resources([client("a", 35), client("b", 29)], farm)
    assert [result[name].allocated_nodes for name in "ab"] == [["n0", "n1", "n2"], ["n3", "n4"]]
    assert [result[name].allocated_percentage for name in "ab"] == [30.0, 20.0]


def test_r41_too_many_guarantees_are_scaled() -> None:
    of = partitioner(allow_borrowing=False)
    result = of.allocate_resources([client("a", 80), client("b", 70)], nodes(10))
    assert [len(result[name].allocated_nodes) for name in "ab"] == [5, 4]  # 8 and 7 times 10/15
    assert told(of, "resource_allocation_scaled") == [
        {"scale_factor": 10 / 15, "original_total_guaranteed": 15, "scaled_total_guaranteed": 9}
    ]


@pytest.mark.parametrize(
    ("guaranteed", "most", "lent"),
    [(40, 100, 10), (40, 40, 0), (40, 0, 0), (0, 100, 0)],
)
def test_r43_demand_is_estimated_when_nobody_said(guaranteed: int, most: int, lent: int) -> None:
    of = partitioner(borrowing_limit_percentage=100)
    result = of.allocate_resources([client("a", guaranteed, most)], nodes(10))
    total = guaranteed // 10 + (6 if lent else 0)
    assert len(result["a"].allocated_nodes) == total
    assert result["a"].borrowed_percentage == (60.0 if lent else 0.0)


def test_r44_leftovers_follow_demand_and_none_is_left() -> None:
    of = partitioner(borrowing_limit_percentage=100)
    owners = [client(name, 10) for name in "abc"]
    for owner, demand in zip(owners, (10, 60, 30), strict=True):
        of.add_client(owner)
        of.update_client_demand(owner.id, demand)
    result = of.allocate_resources(owners, nodes(20))
    # 14 are left: floor(60/100 × 14) = 8, floor(4.2) = 4, floor(1.4) = 1, and the last one goes to b
    assert [len(result[name].allocated_nodes) for name in "abc"] == [3, 11, 6]
    every = [name for share in result.values() for name in share.allocated_nodes]
    assert sorted(every) == sorted(f"n{i}" for i in range(20))


def test_r44_nobody_wants_anything() -> None:
    of = partitioner()
    of.add_client(client("a", 10))
    result = of.allocate_resources([client("a", 10)], nodes(10))
    assert (len(result["a"].allocated_nodes), result["a"].borrowed_percentage) == (1, 0.0)


@pytest.mark.parametrize(("cap", "kept"), [(50.0, 5), (20.0, 2), (5.0, 1), (0.0, 9), (100.0, 9)])
def test_r45_borrowing_is_capped_but_for_one_node(cap: float, kept: int) -> None:
    of = partitioner(borrowing_limit_percentage=cap)
    result = of.allocate_resources([client("a", 10), client("b", 0)], nodes(10))
    assert result["a"].borrowed_percentage == kept * 10.0
    assert len(result["a"].allocated_nodes) == 1 + kept


def test_r46_every_other_client_is_a_lender_in_equal_parts() -> None:
    of = partitioner()
    owners = [client("a", 30), client("b", 20), client("c", 20)]
    for owner in owners:
        of.add_client(owner)
    of.update_client_demand("a", 50)
    result = of.allocate_resources(owners, nodes(10))
    assert (result["a"].allocated_percentage, result["a"].borrowed_percentage) == (60.0, 30.0)
    assert result["a"].borrowed_from == {"b": 15.0, "c": 15.0}
    assert result["b"].lent_to == result["c"].lent_to == {"a": 15.0}
    assert of.get_borrowed_from("a") == {"b": 15.0, "c": 15.0}
    assert of.get_lent_to("b") == {"a": 15.0}
    assert (of.get_borrowed_percentage("a"), of.get_lent_percentage("b")) == (30.0, 15.0)
    lent = sum(share.lent_percentage for share in result.values())
    assert lent == pytest.approx(sum(share.borrowed_percentage for share in result.values()))


def test_r46_whoever_wants_most_gets_the_odd_node() -> None:
    of = partitioner()
    owners = [client("a", 30), client("b", 30)]
    for owner in owners:
        of.add_client(owner)
        of.update_client_demand(owner.id, 50)
    farm = nodes(9)
    before = of.allocate_resources(owners, farm)["b"].allocated_percentage
    of.update_client_demand("b", 80)
    assert of.allocate_resources(owners, farm)["b"].allocated_percentage > before


def test_r46_without_borrowing_nothing_is_lent() -> None:
    of = partitioner()
    of.allow_borrowing = False
    result = of.allocate_resources([client("a", 30), client("b", 20)], nodes(10))
    for share in result.values():
        assert (share.borrowed_percentage, share.lent_percentage, share.borrowed_from, share.lent_to) == (0, 0, {}, {})


def test_r47_nothing_to_share() -> None:
    of = partitioner()
    assert of.allocate_resources([], nodes(3)) == of.current_allocations == {}
    result = of.allocate_resources([client("a", 50)], [])
    assert (result["a"].allocated_percentage, result["a"].allocated_nodes) == (0.0, [])
    assert of.current_allocations is result


def test_r47_none_means_what_is_known_and_an_empty_list_is_empty() -> None:
    of = partitioner()
    of.add_client(client("a", 50))
    for each in nodes(4):
        of.add_node(each)
    assert len(of.allocate_resources()["a"].allocated_nodes) == 2
    assert of.allocate_resources([], None) == {}
    assert of.allocate_resources(None, [])["a"].allocated_nodes == []


def test_r47_twice_the_farm_is_twice_the_nodes() -> None:
    owners = [client("a", 30), client("b", 45), RenderClient(client_id="c", name="C", service_tier="basic")]
    small, large = (partitioner().allocate_resources(owners, nodes(count)) for count in (50, 100))
    for name in "abc":
        assert abs(len(large[name].allocated_nodes) - 2 * len(small[name].allocated_nodes)) <= 2


@pytest.mark.parametrize(
    ("amount", "allowed"),
    [(20.0, True), (20.1, False), (10.0, True)],
)
def test_r48_half_of_the_lenders_guarantee_within_the_borrowers_limit(amount: float, allowed: bool) -> None:
    of = partitioner()
    assert of.can_borrow_resources(client("a", 40), client("b", 30, 50), amount) is allowed
    assert of.can_borrow_resources(client("a", 80), client("b", 30, 50), 20.0) is True
    assert of.can_borrow_resources(client("a", 80), client("b", 30, 50), 20.5) is False
    of.allow_borrowing = False
    assert of.can_borrow_resources(client("a", 40), client("b", 30, 50), amount) is False


def test_r49_use_is_the_share_of_nodes_that_show_own_jobs() -> None:
    of = partitioner()
    farm = [node("n0", current_job_id="a"), node("n1", current_job_id="b", status="offline"), node("n2"), node("n3")]
    farm[2].current_job_id = "foreign"
    jobs = [job("a", status="completed"), job("b"), job("foreign", client_id="c2"), job("c")]
    assert of.calculate_resource_usage("c1", jobs, farm) == 50.0
    assert of.calculate_resource_usage("c1", jobs, []) == 0.0


def test_demand_is_of_known_clients_and_in_percent() -> None:
    of = partitioner()
    of.add_client(client("a", 50))
    of.allocate_resources(None, nodes(4))
    of.update_client_demand("nobody", 50)
    assert of.current_allocations != {}
    of.update_client_demand("a", 150)
    assert (of.client_demand, of.current_allocations) == ({"a": 100.0}, {})
    of.update_client_demand("a", -1)
    assert of.client_demand == {"a": 0.0}
    assert (of.get_borrowed_percentage("a"), of.get_lent_percentage("a")) == (0.0, 0.0)
    assert (of.get_borrowed_from("a"), of.get_lent_to("a")) == ({}, {})
    assert [each["demand_percentage"] for each in told(of, "client_demand_updated")] == [100.0, 0.0]


def test_what_is_told() -> None:
    of = partitioner()
    of.add_client(client("a", 50))
    of.add_node(node())
    assert told(of, "client_added_to_partitioner") == [
        {
            "client_id": "a",
            "client_name": "Client a",
            "sla_tier": "premium",
            "guaranteed_resources": 50,
            "max_resources": 100,
        }
    ]
    assert told(of, "node_added_to_partitioner") == [{"node_id": "n1", "node_name": "Node n1", "node_status": "online"}]
    of.allocate_resources(None, nodes(4))
    assert told(of, "resources_allocated") == [
        {
            "client_id": "a",
            "allocated_percentage": 50.0,
            "allocated_node_count": 2,
            "borrowed_percentage": 0,
            "lent_percentage": 0,
            "total_nodes": 4,
        }
    ]
    assert of.performance_monitor.client_metrics["a"]["allocated_percentage"] == 50.0
    assert list(of.performance_monitor.operation_times) == ["allocate_resources"]
