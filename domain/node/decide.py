"""The rules of a node: which wishes become facts."""

from collections.abc import Callable
from typing import Any

from domain import errors
from domain.messages import SAFE_ID
from domain.node import commands as c
from domain.node import events as e
from domain.node.values import Node, NodeStatus

Events = tuple[e.NodeEvent, ...]


def decide(node: Node | None, command: c.NodeCommand, now_ms: int) -> Events:
    """The facts that follow from a command in the present state of its node."""
    if isinstance(command, c.RegisterNode):
        return register(node, command, now_ms)
    if node is None:
        raise errors.NodeNotFound(node_id=command.node_id)
    if node.retired:
        raise errors.NodeStateForbids(node_id=node.node_id, status="retired", verb=_verb(command))
    return _DECIDE[type(command)](node, command, now_ms)


def register(node: Node | None, command: c.RegisterNode, now_ms: int) -> Events:
    """A node is registered with amounts that are not negative; registering it again with others changes them."""
    if SAFE_ID.fullmatch(command.node_id) is None:
        raise errors.NodeInvalid(node_id=command.node_id, problem="an id is plain letters, digits, `_.@+-`")
    if command.capacity.is_negative() or not command.capacity.is_canonical():
        problem = "its capacity is negative, or its named resources are not sorted, not 0, under names of their own"
        raise errors.NodeInvalid(node_id=command.node_id, problem=problem)
    if node is None:
        kind: type[e.NodeRegistered] | type[e.NodeCapabilitiesChanged] = e.NodeRegistered
    elif node.retired:
        raise errors.NodeStateForbids(node_id=node.node_id, status="retired", verb="register")
    elif (node.capacity, node.attributes) == (command.capacity, command.attributes):
        return ()
    else:
        kind = e.NodeCapabilitiesChanged
    return (kind(at_ms=now_ms, node_id=command.node_id, capacity=command.capacity, attributes=command.attributes),)


def bring_online(node: Node, command: c.BringOnline, now_ms: int) -> Events:
    """An offline or starting node comes online when its supervisor reports; a quarantined one stays so."""
    if node.status in (NodeStatus.OFFLINE, NodeStatus.STARTING, NodeStatus.STOPPING):
        return (e.NodeOnline(at_ms=now_ms, node_id=node.node_id),)
    if node.suspected:
        return (e.NodeRecovered(at_ms=now_ms, node_id=node.node_id),)
    return ()


def take_offline(node: Node, command: c.TakeOffline, now_ms: int) -> Events:
    """A node that was shut down in order is offline."""
    if node.status is NodeStatus.OFFLINE:
        return ()
    return (e.NodeOffline(at_ms=now_ms, node_id=node.node_id, why=command.why),)


def drain(node: Node, command: c.DrainNode, now_ms: int) -> Events:
    """Any node can be drained, whatever its status."""
    return () if node.draining else (e.NodeDrained(at_ms=now_ms, node_id=node.node_id, why=command.why),)


def undrain(node: Node, command: c.UndrainNode, now_ms: int) -> Events:
    """A drained node takes work again."""
    undrained = e.NodeUndrained(at_ms=now_ms, node_id=node.node_id, why=command.why)
    return (undrained,) if node.draining else ()


def start_maintenance(node: Node, command: c.StartMaintenance, now_ms: int) -> Events:
    """Maintenance takes a node out of service from any other status."""
    if node.status is NodeStatus.MAINTENANCE:
        return ()
    return (
        e.NodeMaintenanceStarted(
            at_ms=now_ms, node_id=node.node_id, why=command.why, reservation_id=command.reservation_id
        ),
    )


def end_maintenance(node: Node, command: c.EndMaintenance, now_ms: int) -> Events:
    """Only a node in maintenance can leave it."""
    if node.status is not NodeStatus.MAINTENANCE:
        raise errors.NodeStateForbids(node_id=node.node_id, status=node.status, verb="end-maintenance")
    return (e.NodeMaintenanceEnded(at_ms=now_ms, node_id=node.node_id),)


def suspect(node: Node, command: c.SuspectNode, now_ms: int) -> Events:
    """An online node that misses heartbeats is suspected once."""
    if node.suspected or node.status is not NodeStatus.ONLINE:
        return ()
    return (e.NodeSuspected(at_ms=now_ms, node_id=node.node_id, silent_ms=command.silent_ms),)


def recover(node: Node, command: c.RecoverNode, now_ms: int) -> Events:
    """A suspected or quarantined node is trusted again."""
    if not node.suspected and node.status is not NodeStatus.ERROR:
        return ()
    return (e.NodeRecovered(at_ms=now_ms, node_id=node.node_id),)


def lose(node: Node, command: c.LoseNode, now_ms: int) -> Events:
    """A node that is not offline already can be given up, one in maintenance or quarantine without leaving that."""
    if node.status is NodeStatus.OFFLINE:
        return ()
    return (e.NodeLost(at_ms=now_ms, node_id=node.node_id, why=command.why),)


def quarantine(node: Node, command: c.QuarantineNode, now_ms: int) -> Events:
    """A misbehaving node is set aside until a person recovers it."""
    if node.status is NodeStatus.ERROR:
        return ()
    return (e.NodeQuarantined(at_ms=now_ms, node_id=node.node_id, cause=command.cause),)


def stop(node: Node, command: c.StopNode, now_ms: int) -> Events:
    """Only an online node is powered down, once; that nothing runs there is for whoever asks to see to."""
    if node.status is not NodeStatus.ONLINE:
        if node.asleep:
            return ()
        raise errors.NodeStateForbids(node_id=node.node_id, status=node.status, verb="stop-node")
    return (e.NodeStopping(at_ms=now_ms, node_id=node.node_id, why=command.why),)


def start(node: Node, command: c.StartNode, now_ms: int) -> Events:
    """Only a node that was powered down, or is about to be, is powered up."""
    if node.status in (NodeStatus.ONLINE, NodeStatus.STARTING):
        return ()
    if not node.asleep:
        raise errors.NodeStateForbids(node_id=node.node_id, status=node.status, verb="start-node")
    return (e.NodeStarting(at_ms=now_ms, node_id=node.node_id, why=command.why),)


def retire(node: Node, command: c.RetireNode, now_ms: int) -> Events:
    """Only an offline node can leave for good, so that nothing is lost with it."""
    if node.status is not NodeStatus.OFFLINE:
        raise errors.NodeStateForbids(node_id=node.node_id, status=node.status, verb="retire")
    return (e.NodeRetired(at_ms=now_ms, node_id=node.node_id),)


def _verb(command: c.NodeCommand) -> str:
    return str(command.__struct_config__.tag)


_DECIDE: dict[type[c.NodeCommand], Callable[[Node, Any, int], Events]] = {
    c.BringOnline: bring_online,
    c.TakeOffline: take_offline,
    c.DrainNode: drain,
    c.UndrainNode: undrain,
    c.StartMaintenance: start_maintenance,
    c.EndMaintenance: end_maintenance,
    c.SuspectNode: suspect,
    c.RecoverNode: recover,
    c.LoseNode: lose,
    c.QuarantineNode: quarantine,
    c.StopNode: stop,
    c.StartNode: start,
    c.RetireNode: retire,
}
