"""Rules that let one job follow another: at once, after a while, on a condition, or by hand."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from adapters.facades.bridge import times
from common.core.enums import TransitionTrigger
from common.core.ranks import word_of

Statuses = Mapping[str, Any]


class TransitionRule:
    """When the first has completed, the second may go on."""

    def __init__(
        self,
        from_id: str,
        to_id: str,
        trigger: TransitionTrigger = TransitionTrigger.AUTOMATIC,
        condition: str | None = None,
        delay_seconds: float = 0,
    ) -> None:
        self.from_id, self.to_id = from_id, to_id
        self.trigger, self.condition, self.delay_seconds = TransitionTrigger(trigger), condition, delay_seconds
        self.enabled = True
        self.last_evaluated: datetime | None = None
        self.clock: Callable[[], datetime] = times.now
        """Where the rule reads the time."""
        self.judge: Callable[[TransitionRule, Statuses], bool] | None = None
        """Whether the condition holds; a tracker sets it to the conditions that are registered there."""

    def should_transition(self, job_statuses: Statuses, completion_times: Mapping[str, datetime] | None = None) -> bool:
        """Whether the second may go on now, by these statuses and times of completion."""
        self.last_evaluated = now = self.clock()
        before, after = job_statuses.get(self.from_id), job_statuses.get(self.to_id)
        if not self.enabled or before is None or after is None:
            return False
        if word_of(before) != "completed" or word_of(after) != "pending":
            return False
        if self.trigger is TransitionTrigger.TIME_BASED:
            done = (completion_times or {}).get(self.from_id)
            return done is not None and now - done >= timedelta(seconds=self.delay_seconds)
        if self.trigger in (TransitionTrigger.CONDITION_BASED, TransitionTrigger.DATA_DRIVEN):
            return self.judge is not None and self.judge(self, job_statuses)
        return self.trigger is TransitionTrigger.AUTOMATIC
