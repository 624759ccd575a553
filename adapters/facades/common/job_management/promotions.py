"""Promotion by deadline, one step from what a caller said: repeating it changes nothing more."""

from datetime import datetime, timedelta
from typing import Any

from common.core.ranks import TERMINAL, at_rank, rank_of, word_of
from domain.policies import promotion

HOUR = timedelta(hours=1)


def hours_needed(job: Any) -> float:
    """How much longer a job has to run, in hours; 0 if nobody knows."""
    duration = job.get_estimated_duration()
    return 0.0 if duration is None else float(duration / HOUR) * (1 - job.get_progress() / 100)


def hours_left(job: Any, now: datetime) -> float:
    """How long it is until the deadline of a job that has one, in hours; negative once it is past."""
    return float((job.get_deadline() - now) / HOUR)


class Promotions:
    """What each job's priority was before it was promoted."""

    def __init__(self) -> None:
        self._base: dict[str, tuple[Any, Any]] = {}
        """By job: what the caller said, and what it was promoted to."""

    def apply(self, job: Any, now: datetime, margin_hours: float) -> Any | None:
        """The level that a job with a deadline should have now, if it is above the one that it has."""
        if word_of(job.get_status()) in TERMINAL or job.get_deadline() is None:
            return None
        present = job.get_priority()
        base, last = self._base.get(job.id, (present, present))
        if present != last:
            base = present
        rank = promotion.promoted(rank_of(base), hours_needed(job), hours_left(job, now), margin_hours, 24)
        if rank <= rank_of(present):
            return None
        raised = at_rank(present, rank)
        self._base[job.id] = (base, raised)
        return raised
