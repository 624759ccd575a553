"""Node: a machine, or a part of one, that can hold attempts.

Status words follow the published enumeration; draining and suspected are flags beside ONLINE, as in Slurm and
OpenCue (a draining node finishes what it runs; a suspected one has missed heartbeats but is not given up).
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from domain import errors
from domain.messages import SAFE_ID, Command, Event, NodeId, Value
from domain.resources import Resources


class NodeStatus(StrEnum):
    """Where a node stands."""

    ONLINE = "online"
    OFFLINE = "offline"
    MAINTENANCE = "maintenance"
    ERROR = "error"
    STARTING = "starting"
    STOPPING = "stopping"


Attributes = dict[str, tuple[str, ...]]


class NodeRegistered(Event, frozen=True, kw_only=True, tag="node.registered"):
    """A node became known to the farm, offline until it reports."""

    node_id: NodeId
    capacity: Resources
    attributes: Attributes = {}


class NodeCapabilitiesChanged(Event, frozen=True, kw_only=True, tag="node.capabilities_changed"):
    """The node has other amounts or attributes than before."""

    node_id: NodeId
    capacity: Resources
    attributes: Attributes = {}


class NodeOnline(Event, frozen=True, kw_only=True, tag="node.online"):
    """The node's supervisor reported: it can hold attempts."""

    node_id: NodeId


class NodeOffline(Event, frozen=True, kw_only=True, tag="node.offline"):
    """The node was shut down in order; nothing runs there."""

    node_id: NodeId
    why: str = ""


class NodeDrained(Event, frozen=True, kw_only=True, tag="node.drained"):
    """No further attempt is placed there; what runs goes on."""

    node_id: NodeId
    why: str = ""


class NodeUndrained(Event, frozen=True, kw_only=True, tag="node.undrained"):
    """The node takes work again."""

    node_id: NodeId
    why: str = ""


class NodeMaintenanceStarted(Event, frozen=True, kw_only=True, tag="node.maintenance_started"):
    """The node is out of service on purpose."""

    node_id: NodeId
    why: str = ""


class NodeMaintenanceEnded(Event, frozen=True, kw_only=True, tag="node.maintenance_ended"):
    """The node is back in service."""

    node_id: NodeId


class NodeSuspected(Event, frozen=True, kw_only=True, tag="node.suspected"):
    """The node has missed heartbeats; nothing new is placed there."""

    node_id: NodeId
    silent_ms: int


class NodeRecovered(Event, frozen=True, kw_only=True, tag="node.recovered"):
    """A suspected or quarantined node can be trusted again."""

    node_id: NodeId


class NodeLost(Event, frozen=True, kw_only=True, tag="node.lost"):
    """The node is given up: its supervisor and attempts are gone, or its lease has ended."""

    node_id: NodeId
    why: str


class NodeQuarantined(Event, frozen=True, kw_only=True, tag="node.quarantined"):
    """The node misbehaves; nothing is placed there until a person says so."""

    node_id: NodeId
    cause: str


class NodeRetired(Event, frozen=True, kw_only=True, tag="node.retired"):
    """The node has left the farm for good."""

    node_id: NodeId


NodeEvent = (
    NodeRegistered
    | NodeCapabilitiesChanged
    | NodeOnline
    | NodeOffline
    | NodeDrained
    | NodeUndrained
    | NodeMaintenanceStarted
    | NodeMaintenanceEnded
    | NodeSuspected
    | NodeRecovered
    | NodeLost
    | NodeQuarantined
    | NodeRetired
)


class RegisterNode(Command, frozen=True, kw_only=True, tag="register-node"):
    """Make a node known, or tell that its capabilities changed."""

    node_id: NodeId
    capacity: Resources
    attributes: Attributes = {}


class BringOnline(Command, frozen=True, kw_only=True, tag="bring-online"):
    """The supervisor of the node reported."""

    node_id: NodeId


class TakeOffline(Command, frozen=True, kw_only=True, tag="take-offline"):
    """The node was shut down in order."""

    node_id: NodeId
    why: str = ""


class DrainNode(Command, frozen=True, kw_only=True, tag="drain-node"):
    """Place nothing more there."""

    node_id: NodeId
    why: str = ""


class UndrainNode(Command, frozen=True, kw_only=True, tag="undrain-node"):
    """Take work again."""

    node_id: NodeId
    why: str = ""


class StartMaintenance(Command, frozen=True, kw_only=True, tag="start-maintenance"):
    """Take the node out of service."""

    node_id: NodeId
    why: str = ""


class EndMaintenance(Command, frozen=True, kw_only=True, tag="end-maintenance"):
    """Put the node back in service."""

    node_id: NodeId


class SuspectNode(Command, frozen=True, kw_only=True, tag="suspect-node"):
    """Heartbeats are missing."""

    node_id: NodeId
    silent_ms: int


class RecoverNode(Command, frozen=True, kw_only=True, tag="recover-node"):
    """Trust the node again."""

    node_id: NodeId


class LoseNode(Command, frozen=True, kw_only=True, tag="lose-node"):
    """Give the node up; its attempts are lost with it."""

    node_id: NodeId
    why: str


class QuarantineNode(Command, frozen=True, kw_only=True, tag="quarantine-node"):
    """Trust the node no longer."""

    node_id: NodeId
    cause: str


class RetireNode(Command, frozen=True, kw_only=True, tag="retire-node"):
    """Remove the node from the farm."""

    node_id: NodeId


NodeCommand = (
    RegisterNode
    | BringOnline
    | TakeOffline
    | DrainNode
    | UndrainNode
    | StartMaintenance
    | EndMaintenance
    | SuspectNode
    | RecoverNode
    | LoseNode
    | QuarantineNode
    | RetireNode
)


class Node(Value, frozen=True):
    """The state of one node: the fold of its events."""

    node_id: NodeId
    capacity: Resources
    attributes: Attributes = {}
    status: NodeStatus = NodeStatus.OFFLINE
    draining: bool = False
    suspected: bool = False
    retired: bool = False
    why: str = ""
    """Why it is in a state that takes no work."""

    @property
    def takes_work(self) -> bool:
        """Whether attempts may be placed there."""
        return self.status is NodeStatus.ONLINE and not self.draining and not self.suspected


Events = tuple[NodeEvent, ...]


def decide(node: Node | None, command: NodeCommand, now_ms: int) -> Events:
    """The facts that follow from a command in the present state of its node."""
    if isinstance(command, RegisterNode):
        return register(node, command, now_ms)
    if node is None:
        raise errors.NodeNotFound(node_id=command.node_id)
    if node.retired:
        raise errors.NodeStateForbids(node_id=node.node_id, status="retired", verb=_verb(command))
    return _DECIDE[type(command)](node, command, now_ms)


def register(node: Node | None, command: RegisterNode, now_ms: int) -> Events:
    """A node is registered with amounts that are not negative; registering it again with others changes them."""
    if SAFE_ID.fullmatch(command.node_id) is None:
        raise errors.NodeInvalid(node_id=command.node_id, problem="an id is plain letters, digits, `_.@+-`")
    if command.capacity.is_negative() or not command.capacity.is_canonical():
        problem = "its capacity is negative, or its named resources are not sorted, not 0, under names of their own"
        raise errors.NodeInvalid(node_id=command.node_id, problem=problem)
    if node is None:
        kind: type[NodeRegistered] | type[NodeCapabilitiesChanged] = NodeRegistered
    elif node.retired:
        raise errors.NodeStateForbids(node_id=node.node_id, status="retired", verb="register")
    elif (node.capacity, node.attributes) == (command.capacity, command.attributes):
        return ()
    else:
        kind = NodeCapabilitiesChanged
    return (kind(at_ms=now_ms, node_id=command.node_id, capacity=command.capacity, attributes=command.attributes),)


def bring_online(node: Node, command: BringOnline, now_ms: int) -> Events:
    """An offline or starting node comes online when its supervisor reports; a quarantined one stays so."""
    if node.status in (NodeStatus.OFFLINE, NodeStatus.STARTING, NodeStatus.STOPPING):
        return (NodeOnline(at_ms=now_ms, node_id=node.node_id),)
    if node.suspected:
        return (NodeRecovered(at_ms=now_ms, node_id=node.node_id),)
    return ()


def take_offline(node: Node, command: TakeOffline, now_ms: int) -> Events:
    """A node that was shut down in order is offline."""
    if node.status is NodeStatus.OFFLINE:
        return ()
    return (NodeOffline(at_ms=now_ms, node_id=node.node_id, why=command.why),)


def drain(node: Node, command: DrainNode, now_ms: int) -> Events:
    """Any node can be drained, whatever its status."""
    return () if node.draining else (NodeDrained(at_ms=now_ms, node_id=node.node_id, why=command.why),)


def undrain(node: Node, command: UndrainNode, now_ms: int) -> Events:
    """A drained node takes work again."""
    undrained = NodeUndrained(at_ms=now_ms, node_id=node.node_id, why=command.why)
    return (undrained,) if node.draining else ()


def start_maintenance(node: Node, command: StartMaintenance, now_ms: int) -> Events:
    """Maintenance takes a node out of service from any other status."""
    if node.status is NodeStatus.MAINTENANCE:
        return ()
    return (NodeMaintenanceStarted(at_ms=now_ms, node_id=node.node_id, why=command.why),)


def end_maintenance(node: Node, command: EndMaintenance, now_ms: int) -> Events:
    """Only a node in maintenance can leave it."""
    if node.status is not NodeStatus.MAINTENANCE:
        raise errors.NodeStateForbids(node_id=node.node_id, status=node.status, verb="end-maintenance")
    return (NodeMaintenanceEnded(at_ms=now_ms, node_id=node.node_id),)


def suspect(node: Node, command: SuspectNode, now_ms: int) -> Events:
    """An online node that misses heartbeats is suspected once."""
    if node.suspected or node.status is not NodeStatus.ONLINE:
        return ()
    return (NodeSuspected(at_ms=now_ms, node_id=node.node_id, silent_ms=command.silent_ms),)


def recover(node: Node, command: RecoverNode, now_ms: int) -> Events:
    """A suspected or quarantined node is trusted again."""
    if not node.suspected and node.status is not NodeStatus.ERROR:
        return ()
    return (NodeRecovered(at_ms=now_ms, node_id=node.node_id),)


def lose(node: Node, command: LoseNode, now_ms: int) -> Events:
    """A node that is not offline already can be given up, one in maintenance or quarantine without leaving that."""
    if node.status is NodeStatus.OFFLINE:
        return ()
    return (NodeLost(at_ms=now_ms, node_id=node.node_id, why=command.why),)


def quarantine(node: Node, command: QuarantineNode, now_ms: int) -> Events:
    """A misbehaving node is set aside until a person recovers it."""
    if node.status is NodeStatus.ERROR:
        return ()
    return (NodeQuarantined(at_ms=now_ms, node_id=node.node_id, cause=command.cause),)


def retire(node: Node, command: RetireNode, now_ms: int) -> Events:
    """Only an offline node can leave for good, so that nothing is lost with it."""
    if node.status is not NodeStatus.OFFLINE:
        raise errors.NodeStateForbids(node_id=node.node_id, status=node.status, verb="retire")
    return (NodeRetired(at_ms=now_ms, node_id=node.node_id),)


def _verb(command: NodeCommand) -> str:
    return str(command.__struct_config__.tag)


def evolve(node: Node | None, event: NodeEvent) -> Node:
    """The state after one more fact."""
    if isinstance(event, NodeRegistered):
        return Node(event.node_id, event.capacity, event.attributes)
    return _EVOLVE[type(event)](node, event)


def _capabilities_changed(node: Node, event: NodeCapabilitiesChanged) -> Node:
    return replace(node, capacity=event.capacity, attributes=event.attributes)


def _online(node: Node, event: NodeEvent) -> Node:
    return replace(node, status=NodeStatus.ONLINE, suspected=False, why="")


def _offline(node: Node, event: NodeOffline | NodeLost) -> Node:
    return replace(node, status=NodeStatus.OFFLINE, suspected=False, why=event.why)


def _lost(node: Node, event: NodeLost) -> Node:
    """A node that was set aside stays so when it restarts, until a person says otherwise."""
    return node if node.status in (NodeStatus.MAINTENANCE, NodeStatus.ERROR) else _offline(node, event)


def _drained(node: Node, event: NodeDrained) -> Node:
    return replace(node, draining=True, why=event.why)


def _undrained(node: Node, event: NodeUndrained) -> Node:
    return replace(node, draining=False, why="")


def _maintenance_started(node: Node, event: NodeMaintenanceStarted) -> Node:
    return replace(node, status=NodeStatus.MAINTENANCE, suspected=False, why=event.why)


def _maintenance_ended(node: Node, event: NodeMaintenanceEnded) -> Node:
    return replace(node, status=NodeStatus.OFFLINE, suspected=False, why="")


def _suspected(node: Node, event: NodeSuspected) -> Node:
    return replace(node, suspected=True)


def _quarantined(node: Node, event: NodeQuarantined) -> Node:
    return replace(node, status=NodeStatus.ERROR, suspected=False, why=event.cause)


def _retired(node: Node, event: NodeRetired) -> Node:
    return replace(node, retired=True)


_DECIDE: dict[type[NodeCommand], Callable[[Node, Any, int], Events]] = {
    BringOnline: bring_online,
    TakeOffline: take_offline,
    DrainNode: drain,
    UndrainNode: undrain,
    StartMaintenance: start_maintenance,
    EndMaintenance: end_maintenance,
    SuspectNode: suspect,
    RecoverNode: recover,
    LoseNode: lose,
    QuarantineNode: quarantine,
    RetireNode: retire,
}

_EVOLVE: dict[type[NodeEvent], Callable[[Any, Any], Node]] = {
    NodeCapabilitiesChanged: _capabilities_changed,
    NodeOnline: _online,
    NodeOffline: _offline,
    NodeDrained: _drained,
    NodeUndrained: _undrained,
    NodeMaintenanceStarted: _maintenance_started,
    NodeMaintenanceEnded: _maintenance_ended,
    NodeSuspected: _suspected,
    NodeRecovered: _online,
    NodeLost: _lost,
    NodeQuarantined: _quarantined,
    NodeRetired: _retired,
}
