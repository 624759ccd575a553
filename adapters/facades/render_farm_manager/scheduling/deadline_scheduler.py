"""The deadline scheduler, with priorities that are inherited by the jobs that wait for urgent ones."""

from typing import TYPE_CHECKING

from render_farm_manager.core.models import JobPriority, RenderJob, RenderNode
from render_farm_manager.core.reading import rank_of
from render_farm_manager.core.rules import promotion
from render_farm_manager.scheduling.deadlines import DeadlineRules

if TYPE_CHECKING:
    from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor

__all__ = ["DeadlineScheduler"]


class DeadlineScheduler(DeadlineRules):
    """Places jobs by priority and deadline; who waits for an urgent job is as urgent while that one is unfinished."""

    def __init__(
        self,
        audit_logger: "AuditLogger",
        performance_monitor: "PerformanceMonitor",
        deadline_safety_margin_hours: float = 2.0,
        enable_preemption: bool = True,
    ) -> None:
        super().__init__(audit_logger, performance_monitor, deadline_safety_margin_hours, enable_preemption)
        self._effective_priorities: dict[str, JobPriority] = {}
        """Callers write here, too; entries are never removed or lowered, and those of callers stay as they are."""
        self._noted: dict[str, JobPriority] = {}
        """The entries that were made here."""

    def schedule_jobs(self, jobs: list[RenderJob], nodes: list[RenderNode]) -> dict[str, str]:
        """Which job shall start where, by job id; preempting where that is allowed and needed."""
        plan: dict[str, str] = {}
        with self.performance_monitor.time_operation("schedule_jobs"):
            self.update_priorities(jobs)
            plan = self._plan(jobs, nodes)
        return plan  # noqa: RET504 (a context of the caller may swallow what the plan raises)

    def _inherit(self, jobs: list[RenderJob]) -> None:
        """Notes the highest priority among the jobs that come before one, where it is above its own."""
        waiting = [job for job in jobs if job.dependencies]
        if not waiting:
            return
        by_id, effective, noted = {job.id: job for job in jobs}, self._effective_priorities, self._noted
        for job in waiting:
            before = [by_id[name].priority for name in job.dependencies if name in by_id]
            ranks = [rank_of(priority) for priority in before]
            rank = promotion.inherited(ranks, rank_of(job.priority)) if ranks else None
            known = effective.get(job.id)
            if rank is not None and known == noted.get(job.id) and rank > rank_of(known):
                effective[job.id] = noted[job.id] = before[ranks.index(rank)]

    def _turn(self, job: RenderJob, by_id: dict[str, RenderJob]) -> int:
        """Its rank, or the inherited one while a job of the list that comes before it has not completed."""
        rank = rank_of(job.priority)
        inherited = rank_of(self._effective_priorities.get(job.id)) if self._effective_priorities else 0
        if inherited > rank:
            known = (by_id.get(before) for before in job.dependencies)
            if any(each is not None and each.status != "completed" for each in known):
                return inherited
        return rank
