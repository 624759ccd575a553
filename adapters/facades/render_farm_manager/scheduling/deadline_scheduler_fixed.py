"""The deadline scheduler without inheritance of priorities, under its own import path."""

from render_farm_manager.core.models import RenderJob, RenderNode
from render_farm_manager.scheduling.deadlines import DeadlineRules

__all__ = ["DeadlineScheduler"]


class DeadlineScheduler(DeadlineRules):
    """Places jobs by priority and deadline."""

    def schedule_jobs(self, jobs: list[RenderJob], nodes: list[RenderNode]) -> dict[str, str]:
        """Which job shall start where, by job id; preempting where that is allowed and needed."""
        plan: dict[str, str] = {}
        with self.performance_monitor.time_operation("schedule_jobs"):
            self.update_priorities(jobs)
            plan = self._plan(jobs, nodes)
        return plan  # noqa: RET504 (a context of the caller may swallow what the plan raises)
