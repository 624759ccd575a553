"""What a simulated farm draws and what that costs, integrated over the events of its nodes and attempts."""

from collections.abc import Sequence

from application.app import Application
from domain import intervals, node
from domain.job import events as e
from domain.job.values import AttemptNumber, NodeSlots
from domain.messages import Event, JobId, NodeId, Recorded
from domain.node import NodeStatus
from domain.rules.energy import figures_of, watts
from domain.tariff import Tariff

JOULES_PER_KWH = 3_600_000.0


class EnergyMeter:
    """Reads one farm's power from the events on; between two events it is constant."""

    def __init__(self, app: Application, tariff: Tariff) -> None:
        self._app, self.tariff = app, tariff
        self.joules, self.cost = 0.0, 0.0
        """So far, up to the last event of each node."""
        self._drawn: dict[NodeId, tuple[int, float]] = {}
        """Since when each node draws how many watts."""
        self._held: dict[tuple[JobId, AttemptNumber], tuple[NodeSlots, ...]] = {}

    def see(self, recorded: Sequence[Recorded]) -> None:
        """Takes in a commit that the farm has folded already."""
        touched: dict[NodeId, None] = {}
        for each in recorded:
            for node_id in self._touched(each.event):
                touched[node_id] = None
        for node_id in touched:
            self._settle(node_id, recorded[-1].event.at_ms)

    def settle(self, at_ms: int) -> None:
        """Counts everything up to a moment."""
        for node_id in self._drawn:
            self._settle(node_id, at_ms)

    def _touched(self, event: Event) -> Sequence[NodeId]:
        if isinstance(event, e.TasksPlaced):
            for placement in event.placements:
                for number in range(placement.first_attempt, placement.first_attempt + intervals.size(placement.tasks)):
                    self._held[event.job_id, number] = placement.nodes
            return [node_id for placement in event.placements for node_id, _ in placement.nodes]
        if isinstance(event, (e.TasksSucceeded, e.TasksFailed, e.TasksStopped)):
            return self._freed(event.job_id, [end.attempt for end in event.ends])
        if isinstance(event, e.TasksLost):
            return self._freed(event.job_id, event.attempts)
        if isinstance(event, (e.TasksSuspended, e.TasksResumed)):
            held = [self._held.get((event.job_id, number), ()) for number in event.attempts]
            return [node_id for nodes in held for node_id, _ in nodes]
        node_id = getattr(event, "node_id", None)
        return [] if node_id is None or not isinstance(event, node.NodeEvent) else [node_id]

    def _freed(self, job_id: JobId, numbers: Sequence[AttemptNumber]) -> list[NodeId]:
        return [node_id for number in numbers for node_id, _ in self._held.pop((job_id, number), ())]

    def _settle(self, node_id: NodeId, at_ms: int) -> None:
        since_ms, drawn = self._drawn.get(node_id, (at_ms, 0.0))
        if drawn:
            self.joules += drawn * (at_ms - since_ms) / 1_000
            self.cost += self.tariff.cost(drawn, since_ms, at_ms)
        self._drawn[node_id] = (at_ms, self._watts(node_id))

    def _watts(self, node_id: NodeId) -> float:
        farm = self._app.farm
        known = farm.nodes[node_id]
        if known.status is NodeStatus.OFFLINE:
            return 0.0
        return watts(figures_of(known), known.capacity, farm.index.free[farm.index.numbers[node_id]])
