"""A book of windows, kept from the events of a run alone: whether each began in time and found its nodes free."""

from collections.abc import Sequence

from domain import node
from domain.messages import NodeId, Recorded, ReservationId
from domain.node import Node, NodeMaintenanceStarted, NodeStatus
from domain.reservation import ReservationActivated, ReservationEnded


class WindowsBook:
    """Windows of maintenance."""

    def __init__(self) -> None:
        self.begun = 0
        self.late: list[str] = []
        """Windows that began late, and nodes that were taken late, or never although they were up in the end."""
        self.in_the_way: list[str] = []
        """Windows that found somebody on their nodes."""
        self._nodes: dict[NodeId, Node] = {}
        self._start_ms: dict[ReservationId, int] = {}
        """Of windows that are open."""

    def watch(self, recorded: Sequence[Recorded]) -> None:
        """Takes a commit in."""
        for each in recorded:
            event = each.event
            if isinstance(event, node.NodeEvent):
                self._nodes[event.node_id] = node.evolve(self._nodes.get(event.node_id), event)
            if isinstance(event, NodeMaintenanceStarted):
                self._taken(event)
            elif isinstance(event, ReservationActivated):
                self._began(event)
            elif isinstance(event, ReservationEnded):
                self._over(event)

    def _began(self, event: ReservationActivated) -> None:
        self.begun += 1
        self._start_ms[event.reservation_id] = event.window.start_ms
        if event.at_ms > event.window.start_ms:
            self.late.append(
                f"{event.reservation_id}.{event.occurrence} began {event.at_ms - event.window.start_ms} ms late"
            )
        if event.busy:
            self.in_the_way.append(f"{event.reservation_id}.{event.occurrence} found {', '.join(event.busy)} busy")

    def _taken(self, event: NodeMaintenanceStarted) -> None:
        start_ms = self._start_ms.get(event.reservation_id, event.at_ms)
        if event.at_ms > start_ms:
            self.late.append(f"{event.node_id} was taken {event.at_ms - start_ms} ms late")

    def _over(self, event: ReservationEnded) -> None:
        if self._start_ms.pop(event.reservation_id, None) is None:
            self.late.append(f"{event.reservation_id}.{event.occurrence} never began")
        up = [node_id for node_id in event.nodes if self._nodes[node_id].status is NodeStatus.ONLINE]
        if up:
            self.late.append(f"{event.reservation_id}.{event.occurrence} left {', '.join(up)} in service")
