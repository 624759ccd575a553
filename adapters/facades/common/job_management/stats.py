"""What a queue counts."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from adapters.facades.bridge import times
from common.core.enums import Priority
from common.core.ranks import word_of

COUNTS = (
    "total_jobs_submitted",
    "total_jobs_started",
    "total_jobs_completed",
    "total_jobs_failed",
    "total_jobs_cancelled",
    "current_queue_length",
    "peak_queue_length",
)
SPANS = ("total_wait_time", "avg_wait_time", "max_wait_time")
TABLES = ("by_priority", "by_user", "by_project")


class QueueStats:
    """Jobs that came, started and ended, and how long they waited."""

    def __init__(self) -> None:
        self.total_jobs_submitted = 0
        self.total_jobs_started = 0
        self.total_jobs_completed = 0
        self.total_jobs_failed = 0
        self.total_jobs_cancelled = 0
        self.current_queue_length = 0
        self.peak_queue_length = 0
        self.total_wait_time = timedelta(0)
        self.avg_wait_time = timedelta(0)
        """Per started job."""
        self.max_wait_time = timedelta(0)
        self.by_priority: dict[Any, int] = dict.fromkeys(Priority, 0)
        self.by_user: dict[str, int] = {}
        self.by_project: dict[str, int] = {}
        self.clock: Callable[[], datetime] = times.now
        """Where it reads the time."""
        self.last_updated: datetime = times.now()

    def update_on_submit(self, job: Any) -> None:
        """A job came."""
        self.total_jobs_submitted += 1
        self.current_queue_length += 1
        self.peak_queue_length = max(self.peak_queue_length, self.current_queue_length)
        priority, owner, project = job.get_priority(), job.get_owner(), job.get_project()
        self.by_priority[priority] = self.by_priority.get(priority, 0) + 1
        self.by_user[owner] = self.by_user.get(owner, 0) + 1
        self.by_project[project] = self.by_project.get(project, 0) + 1
        self.last_updated = self.clock()

    def update_on_start(self, job: Any, submit_time: datetime) -> None:
        """A job left the queue to run."""
        now = self.last_updated = self.clock()
        self.total_jobs_started += 1
        self._shorter()
        waited = now - submit_time
        self.total_wait_time += waited
        self.max_wait_time = max(self.max_wait_time, waited)
        self.avg_wait_time = self.total_wait_time / self.total_jobs_started

    def update_on_complete(self, job: Any) -> None:
        """A job completed."""
        self.total_jobs_completed += 1
        self.last_updated = self.clock()

    def update_on_fail(self, job: Any) -> None:
        """A job failed."""
        self.total_jobs_failed += 1
        self.last_updated = self.clock()

    def update_on_cancel(self, job: Any) -> None:
        """A job was taken out of the queue for good."""
        self.total_jobs_cancelled += 1
        self._shorter()
        self.last_updated = self.clock()

    def _shorter(self) -> None:
        self.current_queue_length = max(0, self.current_queue_length - 1)

    # -- as plain values -----------------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """All of it as JSON has it; spans in seconds."""
        values: dict[str, Any] = {name: getattr(self, name) for name in COUNTS}
        values |= {name: getattr(self, name).total_seconds() for name in SPANS}
        values |= {name: {word_of(key): count for key, count in getattr(self, name).items()} for name in TABLES[:1]}
        values |= {name: dict(getattr(self, name)) for name in TABLES[1:]}
        return values | {"last_updated": self.last_updated.isoformat()}

    def read(self, values: dict[str, Any]) -> None:
        """Puts such values back."""
        for name in COUNTS:
            setattr(self, name, values[name])
        for name in SPANS:
            setattr(self, name, timedelta(seconds=values[name]))
        known = {level.value: level for level in Priority}
        self.by_priority = {known.get(word, word): count for word, count in values["by_priority"].items()}
        self.by_user, self.by_project = dict(values["by_user"]), dict(values["by_project"])
        self.last_updated = datetime.fromisoformat(values["last_updated"])
