"""What the nodes of a course drew and what that cost: a fold of events, recorded or simulated alike."""

from collections.abc import Iterable, Sequence

from domain import intervals, node
from domain.cycle import PoliciesAdopted
from domain.farm_snapshot import FarmSnapshot
from domain.job import events as e
from domain.job.values import AttemptNumber, Job, NodeSlots, Placement, without_cores
from domain.messages import Event, JobId, NodeId, Recorded
from domain.node import Node, NodeStatus
from domain.resources import NOTHING, Resources
from domain.rules.energy import figures_of, watts
from domain.tariff import Tariff

JOULES_PER_KWH = 3_600_000.0


class Drawn:
    """Follows the power of all nodes that are on; between two events it is constant."""

    def __init__(self, start: FarmSnapshot, from_ms: int) -> None:
        self.joules, self.cost = 0.0, 0.0
        self.tariff: Tariff = start.policies.tariff
        self._at_ms, self._watts = from_ms, 0.0
        self._nodes: dict[NodeId, Node] = {}
        self._by_node: dict[NodeId, float] = {}
        self._used: dict[NodeId, Resources] = {}
        self._needs: dict[JobId, Resources] = {}
        self._live: dict[tuple[JobId, AttemptNumber], tuple[tuple[NodeSlots, ...], Resources]] = {}
        for each in start.jobs:
            job: Job = each.state
            self._needs[job.spec.job_id] = job.spec.requirement.resources
            for number, attempt in job.live.items():
                held = attempt.held(self._needs[job.spec.job_id])
                self._hold((job.spec.job_id, number), attempt.nodes, held)
        for known in start.nodes:
            self._nodes[known.state.node_id] = known.state
            self._settle(known.state.node_id)

    @property
    def kwh(self) -> float:
        """So far, in kilowatt-hours."""
        return self.joules / JOULES_PER_KWH

    def see(self, recorded: Iterable[Recorded]) -> None:
        """Takes events in, in their order."""
        for each in recorded:
            self.pass_to(each.event.at_ms)
            for node_id in dict.fromkeys(self._take(each.event)):
                self._settle(node_id)

    def pass_to(self, at_ms: int) -> None:
        """Counts the time that has passed since the last event."""
        if at_ms > self._at_ms:
            self.joules += self._watts * (at_ms - self._at_ms) / 1_000
            self.cost += self.tariff.cost(self._watts, self._at_ms, at_ms)
            self._at_ms = at_ms

    def _take(self, event: Event) -> Sequence[NodeId]:
        """Changes what is known; the nodes whose power that may change."""
        if isinstance(event, node.NodeEvent):
            self._nodes[event.node_id] = node.evolve(self._nodes.get(event.node_id), event)
            return [event.node_id]
        if isinstance(event, e.JobSubmitted):
            self._needs[event.spec.job_id] = event.spec.requirement.resources
        elif isinstance(event, e.JobRetried):
            self._needs[event.job_id] = event.job.spec.requirement.resources
        elif isinstance(event, PoliciesAdopted):
            self.tariff = event.policies.tariff
        return self._moved(event)

    def _moved(self, event: Event) -> Sequence[NodeId]:
        """Where attempts began, ended, stood still or went on."""
        if isinstance(event, e.TasksPlaced):
            return [node_id for placement in event.placements for node_id in self._placed(event.job_id, placement)]
        if isinstance(event, e.TasksSucceeded | e.TasksFailed | e.TasksStopped):
            return self._free(event.job_id, [end.attempt for end in event.ends])
        if isinstance(event, e.TasksLost):
            return self._free(event.job_id, event.attempts)
        if isinstance(event, e.TasksSuspended | e.TasksResumed):
            need = self._needs[event.job_id]
            now = without_cores(need) if isinstance(event, e.TasksSuspended) else need
            return [node_id for number in event.attempts for node_id in self._change((event.job_id, number), now)]
        return ()

    def _placed(self, job_id: JobId, placement: Placement) -> Sequence[NodeId]:
        for nth in range(intervals.size(placement.tasks)):
            self._hold((job_id, placement.first_attempt + nth), placement.nodes, self._needs[job_id])
        return [node_id for node_id, _ in placement.nodes]

    def _hold(self, key: tuple[JobId, AttemptNumber], nodes: tuple[NodeSlots, ...], need: Resources) -> None:
        self._live[key] = nodes, need
        for node_id, slots in nodes:
            self._used[node_id] = self._used.get(node_id, NOTHING).plus(need, slots)

    def _free(self, job_id: JobId, numbers: Sequence[AttemptNumber]) -> Sequence[NodeId]:
        return [node_id for number in numbers for node_id in self._release((job_id, number))]

    def _release(self, key: tuple[JobId, AttemptNumber]) -> Sequence[NodeId]:
        nodes, need = self._live.pop(key)
        for node_id, slots in nodes:
            self._used[node_id] = self._used[node_id].minus(need, slots)
        return [node_id for node_id, _ in nodes]

    def _change(self, key: tuple[JobId, AttemptNumber], need: Resources) -> Sequence[NodeId]:
        nodes = self._live[key][0]
        self._release(key)
        self._hold(key, nodes, need)
        return [node_id for node_id, _ in nodes]

    def _settle(self, node_id: NodeId) -> None:
        known = self._nodes[node_id]
        free = known.capacity.minus(self._used.get(node_id, NOTHING))
        drawn = 0.0 if known.status is NodeStatus.OFFLINE else watts(figures_of(known), known.capacity, free)
        self._watts += drawn - self._by_node.get(node_id, 0.0)
        self._by_node[node_id] = drawn
