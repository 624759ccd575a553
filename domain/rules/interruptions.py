"""Who runs at which priority, who stands suspended, and for whom room is held: what preemption asks in every cycle.

Owned by the farm's fold, and made anew from the jobs' states whenever its other indices are.
"""

from collections.abc import Iterable

from domain.job.values import PRIORITY_RANK, Job, Priority
from domain.messages import JobId


class Interruptions:
    """Jobs by what preemption may do about them. O(1) per event, but for jobs with suspended attempts."""

    __slots__ = ("claims", "running", "suspended")

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self.running: dict[Priority, set[JobId]] = {priority: set() for priority in PRIORITY_RANK}
        """Jobs with live attempts, by the priority that a person gave them."""
        self.suspended: set[JobId] = set()
        """Jobs with attempts that stand still for others."""
        self.claims: set[JobId] = set()
        """Jobs for which room is held."""
        for job in jobs:
            self.settle(None, job, suspends=True)

    def settle(self, before: Job | None, after: Job, *, suspends: bool = False) -> None:
        """Follows a job from one state to the next; `suspends` says that attempts may be suspended since."""
        job_id = after.spec.job_id
        was = before.priority if before is not None and before.live else None
        now = after.priority if after.live else None
        if was is not now:
            if was is not None:
                self.running[was].discard(job_id)
            if now is not None:
                self.running[now].add(job_id)
        if after.claim is not None:
            self.claims.add(job_id)
        elif self.claims:
            self.claims.discard(job_id)
        if suspends or job_id in self.suspended:
            if any(attempt.suspended_at_ms is not None for attempt in after.live.values()):
                self.suspended.add(job_id)
            else:
                self.suspended.discard(job_id)

    def lowest(self) -> Priority | None:
        """The lowest priority at which anything runs; None if nothing does."""
        return next((priority for priority, jobs in self.running.items() if jobs), None)
