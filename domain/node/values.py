"""What a node is made of: its status words, its attributes, and its state."""

from enum import StrEnum

from domain.messages import NodeId, ReservationId, Value
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
    asleep: bool = False
    """Whether it was powered down to save energy: it can be powered up when it is needed."""
    reservation_id: ReservationId = ""
    """The window of maintenance that took it out of service, should it be so; empty when a person did it."""

    @property
    def takes_work(self) -> bool:
        """Whether attempts may be placed there."""
        return self.status is NodeStatus.ONLINE and not self.draining and not self.suspected

    @property
    def sleeps(self) -> bool:
        """Whether it is down to save energy and can be powered up for work."""
        return self.asleep and self.status is NodeStatus.OFFLINE and not self.draining and not self.retired

    @property
    def wakes(self) -> bool:
        """Whether it was told to power up and takes work once it is there."""
        return self.status is NodeStatus.STARTING and not self.draining and not self.retired
