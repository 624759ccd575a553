"""Which running jobs may be asked to give way, how often, and what becomes of them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from adapters.facades.bridge import times
from common.core.enums import PreemptionAction, PreemptionTrigger
from common.core.ranks import rank_of, word_of

PER_DAY = {"critical": 0, "high": 1, "medium": 2, "low": 4, "background": 8}


class PreemptionPolicy:
    """The protection of running jobs."""

    def __init__(
        self,
        max_preemptions_per_day: Mapping[Any, int] | None = None,
        min_runtime_before_preemption: timedelta = timedelta(hours=1),
        protection_after_preemption: timedelta = timedelta(hours=6),
        checkpoint_before_preemption: bool = True,
    ) -> None:
        self.max_preemptions_per_day: dict[Any, int] = dict(
            PER_DAY if max_preemptions_per_day is None else max_preemptions_per_day
        )
        self.min_runtime_before_preemption = min_runtime_before_preemption
        self.protection_after_preemption = protection_after_preemption
        self.checkpoint_before_preemption = checkpoint_before_preemption
        self.preemption_history: dict[str, list[datetime]] = {}

    def can_preempt(
        self,
        job: Any,
        trigger: PreemptionTrigger,
        runtime: timedelta | None = None,
        current_time: datetime | None = None,
    ) -> tuple[bool, str | None]:
        """E1: whether a job may be asked to give way now, and if not, why."""
        if rank_of(job.get_priority()) == 4:
            return False, f"Critical job {job.id!r} never gives way"
        if not job.is_preemptible():
            return False, f"job {job.id!r} may not be preempted"
        if trigger == PreemptionTrigger.MAINTENANCE:
            return True, None
        if runtime is not None and runtime < self.min_runtime_before_preemption:
            return False, f"job {job.id!r} ran for {runtime} only, the minimum is {self.min_runtime_before_preemption}"
        return self._by_history(job, current_time or times.now())

    def _by_history(self, job: Any, now: datetime) -> tuple[bool, str | None]:
        history = self.preemption_history.get(job.id, [])
        if history and now - max(history) < self.protection_after_preemption:
            return False, f"job {job.id!r} was recently preempted"
        today = sum(1 for at in history if at.date() == now.date())
        most = self._per_day(job.get_priority())
        if today >= most:
            return False, f"job {job.id!r} has reached the maximum preemptions of a day ({most})"
        return True, None

    def _per_day(self, priority: Any) -> int:
        known = {word_of(key): count for key, count in self.max_preemptions_per_day.items()}
        return known.get(word_of(priority), 0)

    def record_preemption(self, job_id: str, time: datetime | None = None) -> None:
        """E2: a job gave way."""
        self.preemption_history.setdefault(job_id, []).append(time or times.now())

    def get_action_for_trigger(self, job: Any, trigger: PreemptionTrigger) -> PreemptionAction:
        """E3: what becomes of a job that gives way for such a reason."""
        rank = rank_of(job.get_priority())
        if trigger == PreemptionTrigger.HIGHER_PRIORITY:
            return PreemptionAction.MIGRATE if rank in (2, 3) else PreemptionAction.CHECKPOINT_AND_STOP
        if trigger == PreemptionTrigger.RESOURCE_SHORTAGE:
            return PreemptionAction.REQUEUE if rank <= 1 else PreemptionAction.CONTINUE_LIMITED
        if trigger == PreemptionTrigger.FAIRNESS:
            return PreemptionAction.REQUEUE
        if trigger == PreemptionTrigger.DEADLINE:
            return PreemptionAction.CANCEL
        return PreemptionAction.CHECKPOINT_AND_STOP
