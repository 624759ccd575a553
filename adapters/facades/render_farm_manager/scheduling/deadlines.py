"""The rules of the deadline schedulers: whose turn it is, on which node, and who makes room for whom.

A scheduler changes nothing but priorities: never a status, an assignment or a node. Its answers follow from the lists
it is given, which need not be the whole farm.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from adapters.facades.bridge.wallclock import now
from render_farm_manager.core.interfaces import SchedulerInterface
from render_farm_manager.core.models import JobPriority, RenderJob, RenderNode
from render_farm_manager.core.reading import ENDED, TOP_RANK, WAITING, can_hold, is_free, rank_of
from render_farm_manager.core.rules import displacement, promotion
from render_farm_manager.node_specialization.specialties import suits

if TYPE_CHECKING:
    from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor

DAY_H = 24.0
BY_RANK = {1: JobPriority.LOW, 2: JobPriority.MEDIUM, 3: JobPriority.HIGH, 4: JobPriority.CRITICAL}


class Victim(NamedTuple):
    """A running job that may be asked to make room, and where."""

    node: RenderNode
    job: RenderJob
    rank: int


class DeadlineRules(SchedulerInterface):
    """Places jobs by priority and deadline."""

    _clock: Callable[[], datetime] = staticmethod(now)

    def __init__(
        self,
        audit_logger: "AuditLogger",
        performance_monitor: "PerformanceMonitor",
        deadline_safety_margin_hours: float = 2.0,
        enable_preemption: bool = True,
    ) -> None:
        self.audit_logger = audit_logger
        self.performance_monitor = performance_monitor
        self.deadline_safety_margin_hours = deadline_safety_margin_hours
        self.enable_preemption = enable_preemption
        self._promoted: dict[str, tuple[int, str]] = {}
        """The rank that a job had before it was raised, and the priority that it was raised to."""

    # -- priorities ----------------------------------------------------------------------------------------------

    def update_priorities(self, jobs: list[RenderJob]) -> list[RenderJob]:
        """Raises jobs whose deadline is near by one level at most, however often it is asked; the same objects."""
        with self.performance_monitor.time_operation("update_priorities"):
            at, margin, promoted = self._clock(), self.deadline_safety_margin_hours, promotion.promoted
            for job in jobs:
                if job.status in ENDED:
                    self._promoted.pop(job.id, None)
                    continue
                left = (job.deadline - at).total_seconds() / 3600
                need = job.estimated_duration_hours * (1 - job.progress / 100)
                if left >= 2 * DAY_H and need + margin < left:
                    continue
                rank = rank_of(job.priority)
                base = self._base_rank(job, rank)
                raised = promoted(base, need, left, margin, DAY_H)
                if raised > rank > 0:
                    self._raise(job, base, raised, need, left)
            self._inherit(jobs)
        return jobs

    def _base_rank(self, job: RenderJob, rank: int) -> int:
        """The rank that a person gave a job, if it still has the priority that it was raised to."""
        base, raised_to = self._promoted.get(job.id, (rank, ""))
        return base if raised_to == job.priority else rank

    def _raise(self, job: RenderJob, base: int, raised: int, need: float, left: float) -> None:
        """Gives a job a higher priority; how much work and time it has left is told, in hours."""
        before, after = job.priority, BY_RANK[raised]
        job.priority = after
        self._promoted[job.id] = (base, after)
        self.audit_logger.log_event(
            "priority_updated",
            f"Job {job.id} is raised because its deadline is near",
            job_id=job.id,
            original_priority=before,
            new_priority=after,
            time_until_deadline=left,
            estimated_time_needed=need,
        )

    def _inherit(self, jobs: list[RenderJob]) -> None:
        """Priorities handed on to those that wait; nothing here."""

    def _turn(self, job: RenderJob, by_id: dict[str, RenderJob]) -> int:
        """The rank by which a job gets its turn."""
        return rank_of(job.priority)

    # -- placing -------------------------------------------------------------------------------------------------

    def _plan(self, jobs: list[RenderJob], nodes: list[RenderNode]) -> dict[str, str]:
        """A free node for each job that may run, or one whose job must make room; the most urgent first."""
        plan: dict[str, str] = {}
        by_id = {job.id: job for job in jobs}
        ready = [job for job in jobs if job.status in WAITING and (not job.dependencies or _is_ready(job, by_id))]
        ready.sort(key=lambda job: (-self._turn(job, by_id), job.deadline))
        free = _Free(nodes)
        victims = self._victims(by_id, nodes) if self.enable_preemption else []
        for job in ready:
            if not free and not victims:
                break
            node = free.take(job)
            if node is not None:
                plan[job.id] = node.id
                self._tell("job_scheduled", job, node)
            elif victims:
                self._displace(job, victims, plan)
        return plan

    def _victims(self, by_id: dict[str, RenderJob], nodes: list[RenderNode]) -> list[Victim]:
        """The jobs that nodes show and that may be asked to make room, in the order of the nodes; ended ones, too."""
        found = []
        for node in nodes:
            if node.current_job_id and node.status == "online":
                running = by_id.get(node.current_job_id)
                if running is not None and running.can_be_preempted:
                    found.append(Victim(node, running, rank_of(running.priority)))
        return found

    def _displace(self, job: RenderJob, victims: list[Victim], plan: dict[str, str]) -> None:
        """Takes the first node whose job must make room for this one; each node once."""
        if type(self).should_preempt is DeadlineRules.should_preempt and "should_preempt" not in self.__dict__:
            rank, late = rank_of(job.priority), self._is_late(job)
            if not late and rank != TOP_RANK:
                return
            below = [displacement.displaces(rank, each, late, TOP_RANK) for each in range(TOP_RANK + 1)]
            passing = (at for at, each in enumerate(victims) if below[each.rank])
        else:
            passing = (at for at, each in enumerate(victims) if self.should_preempt(each.job, job))
        found = next((at for at in passing if can_hold(victims[at].node, job)), None)
        if found is not None:
            chosen = victims.pop(found)
            plan[job.id] = chosen.node.id
            self._tell("job_preemption", job, chosen.node, preempted_job_id=chosen.job.id)

    def _tell(self, event_type: str, job: RenderJob, node: RenderNode, **more: str) -> None:
        self.audit_logger.log_event(
            event_type,
            f"Job {job.id} goes to node {node.id}",
            job_id=job.id,
            **more,
            node_id=node.id,
            priority=job.priority,
            deadline=job.deadline.isoformat(),
        )

    # -- questions -----------------------------------------------------------------------------------------------

    def _is_late(self, job: RenderJob) -> bool:
        """Whether a job that starts now misses its deadline, with the margin."""
        left = (job.deadline - self._clock()).total_seconds() / 3600
        need = job.estimated_duration_hours * (1 - job.progress / 100)
        return displacement.is_late(need, left, self.deadline_safety_margin_hours)

    def can_meet_deadline(self, job: RenderJob, available_nodes: list[RenderNode]) -> bool:
        """Whether a job that starts now is in time, and one of the nodes could hold it, whatever that does now."""
        return not self._is_late(job) and any(can_hold(node, job) for node in available_nodes)

    def should_preempt(self, running_job: RenderJob, pending_job: RenderJob) -> bool:
        """Whether a running job must make room: for a critical one, or for a higher one that would be late."""
        if not running_job.can_be_preempted:
            return False
        waiting, running = rank_of(pending_job.priority), rank_of(running_job.priority)
        return displacement.displaces(waiting, running, self._is_late(pending_job), TOP_RANK)


def _is_ready(job: RenderJob, by_id: dict[str, RenderJob]) -> bool:
    """Whether no job of the list that comes before this one holds it back."""
    known = (by_id.get(before) for before in job.dependencies)
    return promotion.is_ready(None if each is None else (each.status, each.progress) for each in known)


class _Free:
    """The free nodes, the most efficient first, and among them those that are meant for each type of job."""

    def __init__(self, nodes: list[RenderNode]) -> None:
        self._nodes = sorted([node for node in nodes if is_free(node)], key=lambda node: -node.power_efficiency_rating)
        self._order = list(range(len(self._nodes)))
        self._meant: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._order)

    def take(self, job: RenderJob) -> RenderNode | None:
        """The most efficient node that can hold a job, one that is meant for it if there is one; it is free no more."""
        nodes, kind = self._nodes, job.job_type
        meant = self._meant.get(kind)
        if meant is None:
            meant = self._meant[kind] = [at for at in self._order if suits(kind, nodes[at])]
        for order in (meant, self._order):
            for at in order:
                if can_hold(nodes[at], job):
                    self._order.remove(at)
                    for other in self._meant.values():
                        if at in other:
                            other.remove(at)
                    return nodes[at]
        return None
