"""The facts of a node's life, in the order in which they usually happen."""

from domain.messages import Event, NodeId, ReservationId
from domain.node.values import Attributes
from domain.resources import Resources


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
    reservation_id: ReservationId = ""
    """The window of maintenance that it is for, and that gives it back; empty when a person did it."""


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


class NodeStopping(Event, frozen=True, kw_only=True, tag="node.stopping"):
    """The node is told to power down; nothing runs there, and nothing is placed there until it is back."""

    node_id: NodeId
    why: str = ""


class NodeStarting(Event, frozen=True, kw_only=True, tag="node.starting"):
    """The node is told to power up again; it is back once it reports."""

    node_id: NodeId
    why: str = ""


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
    | NodeStopping
    | NodeStarting
    | NodeRetired
)
