"""How a node's state follows from its facts."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from domain.node import events as e
from domain.node.values import Node, NodeStatus


def evolve(node: Node | None, event: e.NodeEvent) -> Node:
    """The state after one more fact."""
    if isinstance(event, e.NodeRegistered):
        return Node(event.node_id, event.capacity, event.attributes)
    return _EVOLVE[type(event)](node, event)


def _capabilities_changed(node: Node, event: e.NodeCapabilitiesChanged) -> Node:
    return replace(node, capacity=event.capacity, attributes=event.attributes)


def _online(node: Node, event: e.NodeEvent) -> Node:
    return replace(node, status=NodeStatus.ONLINE, suspected=False, why="", asleep=False)


def _offline(node: Node, event: e.NodeOffline | e.NodeLost) -> Node:
    return replace(node, status=NodeStatus.OFFLINE, suspected=False, why=event.why)


def _lost(node: Node, event: e.NodeLost) -> Node:
    """A node that was set aside stays so when it restarts, until a person says otherwise."""
    return node if node.status in (NodeStatus.MAINTENANCE, NodeStatus.ERROR) else _offline(node, event)


def _drained(node: Node, event: e.NodeDrained) -> Node:
    return replace(node, draining=True, why=event.why)


def _undrained(node: Node, event: e.NodeUndrained) -> Node:
    return replace(node, draining=False, why="")


def _maintenance_started(node: Node, event: e.NodeMaintenanceStarted) -> Node:
    return replace(
        node,
        status=NodeStatus.MAINTENANCE,
        suspected=False,
        why=event.why,
        reservation_id=event.reservation_id,
    )


def _maintenance_ended(node: Node, event: e.NodeMaintenanceEnded) -> Node:
    return replace(node, status=NodeStatus.OFFLINE, suspected=False, why="", reservation_id="")


def _suspected(node: Node, event: e.NodeSuspected) -> Node:
    return replace(node, suspected=True)


def _quarantined(node: Node, event: e.NodeQuarantined) -> Node:
    return replace(node, status=NodeStatus.ERROR, suspected=False, why=event.cause)


def _stopping(node: Node, event: e.NodeStopping) -> Node:
    return replace(node, status=NodeStatus.STOPPING, suspected=False, why=event.why, asleep=True)


def _starting(node: Node, event: e.NodeStarting) -> Node:
    return replace(node, status=NodeStatus.STARTING, suspected=False, why=event.why, asleep=False)


def _retired(node: Node, event: e.NodeRetired) -> Node:
    return replace(node, retired=True)


_EVOLVE: dict[type[e.NodeEvent], Callable[[Any, Any], Node]] = {
    e.NodeCapabilitiesChanged: _capabilities_changed,
    e.NodeOnline: _online,
    e.NodeOffline: _offline,
    e.NodeDrained: _drained,
    e.NodeUndrained: _undrained,
    e.NodeMaintenanceStarted: _maintenance_started,
    e.NodeMaintenanceEnded: _maintenance_ended,
    e.NodeSuspected: _suspected,
    e.NodeRecovered: _online,
    e.NodeLost: _lost,
    e.NodeQuarantined: _quarantined,
    e.NodeStopping: _stopping,
    e.NodeStarting: _starting,
    e.NodeRetired: _retired,
}
