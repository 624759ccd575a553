"""A referee who watches the log, event by event, and knows nothing but the rules that must never be broken.

    no gap in positions or versions · no node over-allocated · nothing placed on a node that takes no work ·
    no task live twice at once · no start before a dependency is satisfied or bypassed · client limits ·
    an acyclic graph

It keeps books of its own, in plain dictionaries, and never asks the farm.
"""

from collections.abc import Iterable
from typing import Any

from domain import client, node
from domain.client import Client, ClientEvent
from domain.dependency import DependencyEvent, DependencyState
from domain.dependency import evolve as evolve_edge
from domain.intervals import members
from domain.job import events as e
from domain.job.values import JobSpec, NodeSlots
from domain.messages import Recorded, StreamId
from domain.node import Node, NodeEvent
from domain.resources import Resources

NOTHING = Resources()


class Referee:
    """Books of one log; `see` raises an AssertionError at the first event that breaks a rule."""

    def __init__(self) -> None:
        self.position = 0
        self.now_ms = 0
        self.versions: dict[StreamId, int] = {}
        self.nodes: dict[str, Node] = {}
        self.clients: dict[str, Client] = {}
        self.specs: dict[str, JobSpec] = {}
        self.edges: dict[str, Any] = {}
        self.live: dict[tuple[str, int], tuple[int, tuple[NodeSlots, ...]]] = {}
        """(job, attempt number) → task, nodes."""
        self.suspended: set[tuple[str, int]] = set()
        """Of these, who holds no cores."""
        self.used: dict[str, Resources] = {}

    def watch(self, recorded: Iterable[Recorded]) -> None:
        """Sees them all; whoever breaks a rule is named with what led there."""
        seen = []
        for each in recorded:
            seen.append(each)
            try:
                self.see(each)
            except AssertionError as error:
                raise AssertionError("\n".join([str(error), *map(str, seen[-30:])])) from error

    def see(self, recorded: Recorded) -> None:
        """The next event of the log."""
        position, stream, version, event, _ = recorded
        assert position == self.position + 1, f"a gap in positions before {position}"
        assert version == self.versions.get(stream, 0) + 1, f"a gap in the versions of {stream} before {version}"
        self.position, self.versions[stream] = position, version
        if isinstance(event, NodeEvent):
            self.nodes[event.node_id] = node.evolve(self.nodes.get(event.node_id), event)
        elif isinstance(event, ClientEvent):
            self.clients[event.client_id] = client.evolve(self.clients.get(event.client_id), event)
        elif isinstance(event, DependencyEvent):
            self.edges[stream] = evolve_edge(self.edges.get(stream), event)
        else:
            self._job(event)

    def _job(self, event: Any) -> None:
        if isinstance(event, e.JobSubmitted):
            self.specs[event.spec.job_id] = event.spec
        elif isinstance(event, e.TasksPlaced):
            self._placed(event)
        elif isinstance(event, e.TasksSucceeded | e.TasksFailed | e.TasksStopped):
            for end in event.ends:
                self._over(event.job_id, end.attempt, end.task)
        elif isinstance(event, e.TasksLost):
            for number in event.attempts:
                self._over(event.job_id, number, self.live[event.job_id, number][0])
        elif isinstance(event, e.TasksSuspended | e.TasksResumed):
            for number in event.attempts:
                self._suspend(event.job_id, number, isinstance(event, e.TasksSuspended))

    def _placed(self, event: e.TasksPlaced) -> None:
        spec = self.specs[event.job_id]
        for edge in self.edges.values():
            waits = edge.successor_id == event.job_id and edge.state in (
                DependencyState.PENDING,
                DependencyState.FAILED,
            )
            assert not waits, f"{event.job_id} was started before {edge.predecessor_id}"
        for placement in event.placements:
            for number, task in enumerate(members(placement.tasks), placement.first_attempt):
                running = [t for (job_id, _), (t, _) in self.live.items() if job_id == event.job_id]
                assert task not in running, f"task {task} of {event.job_id} runs twice at once"
                self.live[event.job_id, number] = (task, placement.nodes)
                self._take(spec, placement.nodes, 1)
        self._within_limits(spec)

    def _take(self, spec: JobSpec, nodes: tuple[NodeSlots, ...], times: int) -> None:
        for node_id, slots in nodes:
            where = self.nodes[node_id]
            assert times < 0 or where.takes_work, f"{spec.job_id} was placed on {node_id}, which takes no work"
            used = self.used.get(node_id, NOTHING).plus(spec.requirement.resources, slots * times)
            assert times < 0 or where.capacity.fits(used), f"{node_id} is over-allocated by {spec.job_id}"
            self.used[node_id] = used

    def _suspend(self, job_id: str, number: int, suspended: bool) -> None:
        """Cores are given back or taken again; nobody who stands still may find them given away twice."""
        key, cores = (job_id, number), Resources(self.specs[job_id].requirement.resources.millicores)
        assert (key in self.suspended) is not suspended, f"attempt {number} of {job_id} stood so already"
        for node_id, slots in self.live[key][1]:
            self.used[node_id] = self.used[node_id].plus(cores, -slots if suspended else slots)
            cap = self.nodes[node_id].capacity
            assert suspended or cap.fits(self.used[node_id]), f"{node_id} is over-allocated by {job_id} going on"
        self.suspended.symmetric_difference_update({key})

    def held_by(self, job_id: str, number: int) -> Resources:
        """What each slot of a live attempt holds."""
        need = self.specs[job_id].requirement.resources
        return need.minus(Resources(need.millicores)) if (job_id, number) in self.suspended else need

    def _over(self, job_id: str, number: int, task: int) -> None:
        held = self.held_by(job_id, number)
        was, nodes = self.live.pop((job_id, number))
        self.suspended.discard((job_id, number))
        assert was == task, f"attempt {number} of {job_id} was of task {was}, not {task}"
        for node_id, slots in nodes:
            self.used[node_id] = self.used[node_id].plus(held, -slots)

    def _within_limits(self, spec: JobSpec) -> None:
        owner = self.clients[spec.client_id]
        assert not owner.suspended, f"{owner.client_id} is suspended, {spec.job_id} was started"
        running = [self.specs[job_id] for job_id, _ in self.live if self.specs[job_id].client_id == spec.client_id]
        most, percent = owner.shares.max_tasks, owner.shares.limit_percent
        assert most is None or len(running) <= most, f"{owner.client_id} runs {len(running)} of {most} tasks"
        held = sum(
            self.held_by(job_id, number).millicores * self.specs[job_id].requirement.slots
            for job_id, number in self.live
            if self.specs[job_id].client_id == spec.client_id
        )
        whole = sum(each.capacity.millicores for each in self.nodes.values() if not each.retired)
        assert held * 100 <= percent * whole, f"{owner.client_id} holds {held} of {percent} % of {whole} millicores"

    def acyclic(self) -> bool:
        """Whether no job waits for itself, over all edges that make one wait (Kahn's algorithm).

        An edge that is satisfied never will again: its predecessor has completed, which nothing takes back.
        """
        left = [edge for edge in self.edges.values() if edge.blocks]
        while left:
            waiting = {edge.successor_id for edge in left}
            rest = [edge for edge in left if edge.predecessor_id in waiting]
            if len(rest) == len(left):
                return False
            left = rest
        return True
