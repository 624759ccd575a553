"""What can be asked of a node."""

from domain.messages import Command, NodeId, ReservationId
from domain.node.values import Attributes
from domain.resources import Resources


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
    reservation_id: ReservationId = ""


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


class StopNode(Command, frozen=True, kw_only=True, tag="stop-node"):
    """Power the node down until somebody needs it."""

    node_id: NodeId
    why: str = ""


class StartNode(Command, frozen=True, kw_only=True, tag="start-node"):
    """Power the node up again."""

    node_id: NodeId
    why: str = ""


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
    | StopNode
    | StartNode
    | RetireNode
)
