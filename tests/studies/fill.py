"""How full a farm was while somebody waited, kept from the events of a run alone, zone by zone."""

from collections.abc import Mapping, Sequence

from domain import intervals, node
from domain.job import events as e
from domain.job.values import AttemptNumber, JobSpec, NodeSlots
from domain.messages import JobId, NodeId, Recorded
from domain.node import Node, NodeEvent


class Fill:
    """Integrals over time of processors used, of those that take work, and of all, where a task waits for them.

    A task that is limited to a partition waits for the zone of that name, any other for all zones.
    """

    def __init__(self, zone_of: Mapping[NodeId, str]) -> None:
        self._zone_of = zone_of
        self._at_ms = 0
        zones = set(zone_of.values())
        self._waiting = dict.fromkeys(zones, 0)
        self._used, self._open, self._whole = (dict.fromkeys(zones, 0) for _ in range(3))
        self._used_ms, self._open_ms, self._whole_ms = 0, 0, 0
        self._nodes: dict[NodeId, Node] = {}
        self._specs: dict[JobId, JobSpec] = {}
        self._live: dict[tuple[JobId, AttemptNumber], tuple[NodeSlots, ...]] = {}

    @property
    def of_open(self) -> float:
        """Used, of the processors of nodes that take work."""
        return self._used_ms / self._open_ms if self._open_ms else 1.0

    @property
    def of_all(self) -> float:
        """Used, of all processors: what is down or out of service counts as unused."""
        return self._used_ms / self._whole_ms if self._whole_ms else 1.0

    def watch(self, recorded: Sequence[Recorded]) -> None:
        """Takes a commit in."""
        for each in recorded:
            event = each.event
            self._pass_to(event.at_ms)
            if isinstance(event, NodeEvent):
                self._put(event)
            elif isinstance(event, e.JobSubmitted):
                self._specs[event.spec.job_id] = event.spec
                self._wait(event.spec.job_id, intervals.size(event.spec.tasks))
            elif isinstance(event, e.TasksPlaced):
                self._placed(event)
            elif isinstance(event, e.TasksSucceeded | e.TasksStopped | e.TasksFailed):
                self._free(event.job_id, [end.attempt for end in event.ends])
            elif isinstance(event, e.TasksLost):
                self._free(event.job_id, event.attempts)
            elif isinstance(event, e.TasksRequeued):
                self._wait(event.job_id, intervals.size(event.tasks))
            elif isinstance(event, e.TasksSuspended | e.TasksResumed):
                sign = -1 if isinstance(event, e.TasksSuspended) else 1
                for number in event.attempts:
                    self._hold(event.job_id, self._live[event.job_id, number], sign)

    def _pass_to(self, at_ms: int) -> None:
        lasted_ms, self._at_ms = at_ms - self._at_ms, at_ms
        if lasted_ms:
            for zone, waiting in self._waiting.items():
                if waiting:
                    self._used_ms += self._used[zone] * lasted_ms
                    self._open_ms += self._open[zone] * lasted_ms
                    self._whole_ms += self._whole[zone] * lasted_ms

    def _put(self, event: NodeEvent) -> None:
        before = self._nodes.get(event.node_id)
        after = self._nodes[event.node_id] = node.evolve(before, event)
        zone, had = self._zone_of[event.node_id], before is not None and before.takes_work
        self._open[zone] += (after.takes_work - had) * after.capacity.millicores
        self._whole[zone] += after.capacity.millicores if before is None else 0

    def _placed(self, event: e.TasksPlaced) -> None:
        for placement in event.placements:
            tasks = intervals.size(placement.tasks)
            self._wait(event.job_id, -tasks)
            for number in range(placement.first_attempt, placement.first_attempt + tasks):
                self._live[event.job_id, number] = placement.nodes
                self._hold(event.job_id, placement.nodes, 1)

    def _wait(self, job_id: JobId, tasks: int) -> None:
        partition = self._specs[job_id].requirement.partition
        for zone in (partition,) if partition else self._waiting:
            self._waiting[zone] += tasks

    def _free(self, job_id: JobId, numbers: Sequence[AttemptNumber]) -> None:
        for number in numbers:
            self._hold(job_id, self._live.pop((job_id, number)), -1)

    def _hold(self, job_id: JobId, nodes: Sequence[NodeSlots], sign: int) -> None:
        millicores = self._specs[job_id].requirement.resources.millicores
        for node_id, slots in nodes:
            self._used[self._zone_of[node_id]] += sign * slots * millicores
