"""What the nodes view answers, worked out by hand from a few events."""

import pytest
from sqlalchemy import Engine

from domain import node
from domain.node import NodeStatus
from domain.resources import NOTHING, Resources
from projections import nodes
from tests.builders import NOW, need, resources
from tests.projections.reading import folded
from tests.projections.world import World


@pytest.fixture
def world() -> World:
    made = World()
    made.add_node("n2", cores=4)
    made.add_node("n1", cores=8)
    return made


def test_nodes_are_listed_by_id_with_what_they_have(engine: Engine, world: World) -> None:
    attributes = {"os": ("linux",)}
    world.do(node.RegisterNode(node_id="n3", capacity=resources(2, licence=3), attributes=attributes))
    with folded(engine, world, nodes.PROJECTION) as connection:
        found = nodes.list_nodes(connection)
        online = nodes.list_nodes(connection, status=NodeStatus.ONLINE)
    assert [view.node_id for view in found] == ["n1", "n2", "n3"]
    assert [view.node_id for view in online] == ["n1", "n2"]
    assert (found[0].capacity, found[0].used, found[0].attempts) == (Resources(8000, 8192), NOTHING, 0)
    assert (found[2].capacity, found[2].attributes) == (resources(2, licence=3), attributes)
    assert found[2].status is NodeStatus.OFFLINE


def test_what_attempts_hold_is_counted_until_they_end(engine: Engine, world: World) -> None:
    world.submit("job-1", tasks="1-3", requirement=need(1, memory_mib=512, licence=1))
    world.submit("job-2", requirement=need(2, slots=2))
    world.place("job-1", "1-3", "n1")
    world.place("job-2", "0", "n1", "n2")
    world.end("job-1", 2)
    with folded(engine, world, nodes.PROJECTION) as connection:
        first, second = nodes.list_nodes(connection)
    # Two tasks of one core, 512 MiB and one licence, and one slot of two cores.
    assert (first.used, first.attempts) == (resources(4, memory_mib=1024, licence=2), 3)
    assert (second.used, second.attempts) == (resources(2), 1)


def test_status_and_flags_follow_the_events(engine: Engine, world: World) -> None:
    world.now_ms += 5
    world.do(
        node.DrainNode(node_id="n1", why="dust"),
        node.SuspectNode(node_id="n1", silent_ms=9000),
        node.QuarantineNode(node_id="n2", cause="disk"),
    )
    with folded(engine, world, nodes.PROJECTION) as connection:
        first, second = nodes.list_nodes(connection)
    assert (first.status, first.draining, first.suspected, first.why) == (NodeStatus.ONLINE, True, True, "dust")
    assert (second.status, second.draining, second.why) == (NodeStatus.ERROR, False, "disk")
    assert (first.changed_ms, second.changed_ms) == (NOW + 5, NOW + 5)
    world.do(
        node.RecoverNode(node_id="n1"),
        node.UndrainNode(node_id="n1"),
        node.StartMaintenance(node_id="n2", why="new disk"),
        node.LoseNode(node_id="n2", why="power"),
    )
    with folded(engine, world, nodes.PROJECTION) as connection:
        first, second = nodes.list_nodes(connection)
    assert (first.status, first.draining, first.suspected, first.why) == (NodeStatus.ONLINE, False, False, "")
    assert (second.status, second.why) == (NodeStatus.MAINTENANCE, "new disk")  # set aside it stays so


def test_a_retired_node_is_shown_only_when_asked_for(engine: Engine, world: World) -> None:
    world.do(node.TakeOffline(node_id="n1"), node.RetireNode(node_id="n1"))
    with folded(engine, world, nodes.PROJECTION) as connection:
        assert [view.node_id for view in nodes.list_nodes(connection)] == ["n2"]
        assert [view.node_id for view in nodes.list_nodes(connection, retired=True)] == ["n1", "n2"]
        retired = nodes.node(connection, "n1")
        assert nodes.node(connection, "n9") is None
    assert retired is not None
    assert retired.retired


def test_capacity_can_change(engine: Engine, world: World) -> None:
    world.do(node.RegisterNode(node_id="n1", capacity=resources(1), attributes={"gpu": ("a",)}))
    with folded(engine, world, nodes.PROJECTION) as connection:
        view = nodes.node(connection, "n1")
    assert view is not None
    assert (view.capacity, view.attributes) == (resources(1), {"gpu": ("a",)})
