"""What happened to jobs and nodes from one time to another: a fold of events, recorded or simulated alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from application.simulation.metrics import BOUND_S
from domain import intervals, node
from domain.farm_snapshot import FarmSnapshot
from domain.job import events as e
from domain.job.values import AttemptNumber, Job, JobStatus, NodeSlots
from domain.messages import ClientId, Event, JobId, NodeId, Recorded
from domain.node import Node
from domain.resources import Resources


class Fate(msgspec.Struct, frozen=True):
    """What became of one job. Times in milliseconds since 1970-01-01 UTC; None for what had not happened in the end."""

    client_id: ClientId
    submitted_ms: int
    started_ms: int | None = None
    """When a task of it was placed for the first time."""
    ended_ms: int | None = None
    ended: JobStatus | None = None
    deadline_ms: int | None = None

    def wait_ms(self, now_ms: int) -> int:
        """From its submission to its start, or until now."""
        started_ms = now_ms if self.started_ms is None else self.started_ms
        return max(0, started_ms - self.submitted_ms)

    @property
    def slowdown(self) -> float | None:
        """Bounded slowdown (see `metrics`); None unless it has completed."""
        if self.started_ms is None or self.ended_ms is None or self.ended is not JobStatus.COMPLETED:
            return None
        run_ms = self.ended_ms - self.started_ms
        return max(1.0, (self.ended_ms - self.submitted_ms) / max(run_ms, BOUND_S * 1_000))

    @property
    def on_time(self) -> bool:
        """Whether it completed at or before its deadline."""
        ended = self.ended_ms is not None and self.ended is JobStatus.COMPLETED
        return ended and self.deadline_ms is not None and (self.ended_ms or 0) <= self.deadline_ms


class Course:
    """Follows the jobs that wait or run at the beginning and those that come later."""

    def __init__(self, start: FarmSnapshot, first_starts: Mapping[JobId, int], from_ms: int) -> None:
        self.fates: dict[JobId, Fate] = {}
        self.use = Use(start, from_ms)
        for each in start.jobs:
            job: Job = each.state
            if job.ended is None:
                self.fates[job.spec.job_id] = Fate(
                    job.spec.client_id,
                    job.submitted_ms,
                    first_starts.get(job.spec.job_id),
                    deadline_ms=job.deadline_ms,
                )

    def see(self, recorded: Iterable[Recorded]) -> None:
        """Takes events in, in their order."""
        for each in recorded:
            take = self._TAKE.get(type(each.event))
            if take is not None:
                take(self, each.event)
            self.use.see(each.event)

    def _submitted(self, event: e.JobSubmitted) -> None:
        spec = event.spec
        self.fates[spec.job_id] = Fate(spec.client_id, event.at_ms, deadline_ms=spec.deadline_ms)

    def _placed(self, event: e.TasksPlaced) -> None:
        fate = self.fates.get(event.job_id)
        if fate is not None and fate.started_ms is None:
            self.fates[event.job_id] = replace(fate, started_ms=event.at_ms)

    def _ended(self, event: Event, ended: JobStatus) -> None:
        job_id = event.job_id  # type: ignore[attr-defined]
        if job_id in self.fates:
            self.fates[job_id] = replace(self.fates[job_id], ended_ms=event.at_ms, ended=ended)

    def _retried(self, event: e.JobRetried) -> None:
        job = event.job
        fate = self.fates.get(event.job_id, Fate(job.spec.client_id, job.submitted_ms, deadline_ms=job.deadline_ms))
        self.fates[event.job_id] = replace(fate, ended_ms=None, ended=None)

    def _deadline(self, event: e.JobDeadlineChanged) -> None:
        if event.job_id in self.fates:
            self.fates[event.job_id] = replace(self.fates[event.job_id], deadline_ms=event.deadline_ms)

    _TAKE: ClassVar[dict[type[Event], Callable[["Course", Any], None]]] = {
        e.JobSubmitted: _submitted,
        e.TasksPlaced: _placed,
        e.JobCompleted: partial(_ended, ended=JobStatus.COMPLETED),
        e.JobFailed: partial(_ended, ended=JobStatus.FAILED),
        e.JobCancelled: partial(_ended, ended=JobStatus.CANCELLED),
        e.JobRetried: _retried,
        e.JobDeadlineChanged: _deadline,
    }


class Use:
    """How much of the cores was in use, on nodes that take work, as an integral over time."""

    def __init__(self, start: FarmSnapshot, from_ms: int) -> None:
        self.capacity_ms = 0
        """Millicores × milliseconds that nodes offered."""
        self.used_ms: dict[ClientId, int] = {}
        """Those of them that attempts of each client held."""
        self._at_ms = from_ms
        self._nodes: dict[NodeId, Node] = {}
        self._capacity = 0
        self._used: dict[ClientId, int] = {}
        self._held: dict[NodeId, dict[ClientId, int]] = {}
        """Millicores in use by node, whatever it does."""
        self._jobs: dict[JobId, tuple[ClientId, Resources]] = {}
        self._live: dict[tuple[JobId, AttemptNumber], tuple[NodeSlots, ...]] = {}
        for known in start.nodes:
            self._put(known.state)
        for each in start.jobs:
            job: Job = each.state
            self._jobs[job.spec.job_id] = job.spec.client_id, job.spec.requirement.resources
            for number, attempt in job.live.items():
                self._hold((job.spec.job_id, number), attempt.nodes)

    def see(self, event: Event) -> None:
        """Takes one event in."""
        if isinstance(event, e.TasksPlaced):
            self.pass_to(event.at_ms)
            for key, nodes in _attempts(event):
                self._hold(key, nodes)
        elif isinstance(event, e.TasksSucceeded | e.TasksFailed | e.TasksStopped):
            self._free(event.at_ms, event.job_id, [end.attempt for end in event.ends])
        elif isinstance(event, e.TasksLost):
            self._free(event.at_ms, event.job_id, event.attempts)
        elif isinstance(event, e.JobSubmitted):
            self._jobs[event.spec.job_id] = event.spec.client_id, event.spec.requirement.resources
        elif isinstance(event, e.JobRetried):
            self._jobs[event.job_id] = event.job.spec.client_id, event.job.spec.requirement.resources
        elif isinstance(event, node.NodeEvent):
            self.pass_to(event.at_ms)
            self._put(node.evolve(self._nodes.get(event.node_id), event))

    def pass_to(self, at_ms: int) -> None:
        """Counts the time that has passed since the last event."""
        passed_ms = at_ms - self._at_ms
        if passed_ms <= 0:
            return
        self._at_ms = at_ms
        self.capacity_ms += self._capacity * passed_ms
        for client_id, millicores in self._used.items():
            if millicores:
                self.used_ms[client_id] = self.used_ms.get(client_id, 0) + millicores * passed_ms

    def share(self, client_id: ClientId | None = None) -> float | None:
        """What all, or one client, held of what there was, 0..1; None when there was nothing."""
        if not self.capacity_ms:
            return None
        used_ms = sum(self.used_ms.values()) if client_id is None else self.used_ms.get(client_id, 0)
        return used_ms / self.capacity_ms

    def _put(self, after: Node) -> None:
        self._count(after.node_id, -1)
        self._nodes[after.node_id] = after
        self._count(after.node_id, 1)

    def _count(self, node_id: NodeId, sign: int) -> None:
        """Adds a node and what is held there to the sums, or takes it out; only while it takes work."""
        known = self._nodes.get(node_id)
        if known is not None and known.takes_work:
            self._capacity += sign * known.capacity.millicores
            for client_id, millicores in self._held.get(node_id, {}).items():
                self._used[client_id] = self._used.get(client_id, 0) + sign * millicores

    def _hold(self, key: tuple[JobId, AttemptNumber], nodes: tuple[NodeSlots, ...]) -> None:
        self._live[key] = nodes
        self._change(key[0], nodes, 1)

    def _free(self, at_ms: int, job_id: JobId, numbers: Sequence[AttemptNumber]) -> None:
        self.pass_to(at_ms)
        for number in numbers:
            self._change(job_id, self._live.pop((job_id, number)), -1)

    def _change(self, job_id: JobId, nodes: tuple[NodeSlots, ...], sign: int) -> None:
        client_id, need = self._jobs[job_id]
        for node_id, slots in nodes:
            held = self._held.setdefault(node_id, {})
            held[client_id] = held.get(client_id, 0) + sign * slots * need.millicores
            if self._nodes[node_id].takes_work:
                self._used[client_id] = self._used.get(client_id, 0) + sign * slots * need.millicores


def _attempts(event: e.TasksPlaced) -> Iterable[tuple[tuple[JobId, AttemptNumber], tuple[NodeSlots, ...]]]:
    for placement in event.placements:
        for nth in range(intervals.size(placement.tasks)):
            yield (event.job_id, placement.first_attempt + nth), placement.nodes
