"""One job in a queue."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from adapters.facades.bridge import times
from common.core.ranks import rank_of


class QueuedJob:
    """A job, when it came, and how its priority changed since."""

    __slots__ = (
        "_seen_priority",
        "clock",
        "effective_priority",
        "estimated_start_time",
        "job",
        "last_preemption_time",
        "last_priority_decay",
        "place",
        "preemption_count",
        "priority_updates",
        "retry_count",
        "submit_time",
        "user_notified",
    )

    def __init__(self, job: Any, submit_time: datetime) -> None:
        self.job, self.submit_time = job, submit_time
        self.effective_priority = self._seen_priority = job.get_priority()
        self.priority_updates: list[tuple[datetime, Any]] = [(submit_time, self.effective_priority)]
        self.last_priority_decay = submit_time
        self.preemption_count = 0
        self.last_preemption_time: datetime | None = None
        self.estimated_start_time: datetime | None = None
        self.place = 0
        """Counts what entered the queue; where it stands in the list."""
        self.user_notified = False
        self.retry_count = 0
        self.clock: Callable[[], datetime] = times.now
        """Where it reads the time."""

    def look(self) -> bool:
        """Takes the job's priority over; whether the caller has written another one."""
        present = self.job.get_priority()
        if present == self._seen_priority:
            return False
        self._note(present)
        return True

    def wait_time(self) -> timedelta:
        """How long it has waited."""
        return self.clock() - self.submit_time

    def update_priority(self, priority: Any) -> None:
        """Gives the job another priority; nothing if it has that one."""
        if priority != self.job.get_priority():
            self.job.priority = priority
            self._note(priority)

    def _note(self, priority: Any) -> None:
        self.effective_priority = self._seen_priority = priority
        self.priority_updates.append((self.clock(), priority))

    def record_preemption(self) -> None:
        """The job gave way."""
        self.preemption_count += 1
        self.last_preemption_time = self.clock()

    def get_priority_history(self) -> list[tuple[datetime, Any]]:
        """When it had which priority, oldest first."""
        return list(self.priority_updates)

    def __lt__(self, other: "QueuedJob") -> bool:
        return self.order() < other.order()

    def order(self) -> tuple[Any, ...]:
        """Higher rank first, then the earlier one, then by id."""
        return (-rank_of(self.effective_priority), self.submit_time, self.job.id)
