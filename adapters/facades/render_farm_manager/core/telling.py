"""What a manager tells its audit logger and its performance monitor, which may be anybody's.

Every fact is told as an event, looked up on the logger at each call because callers replace it there. Typed calls are
made only to those that have them, by keyword.
"""

from typing import Any

from render_farm_manager.core.models import RenderJob


class Telling:
    """Tells facts to the two listeners of a manager."""

    audit_logger: Any
    performance_monitor: Any

    def _log(self, event_type: str, description: str, **details: Any) -> None:
        self.audit_logger.log_event(event_type, description, **details)

    def _typed(self, name: str, /, **details: Any) -> None:
        """A typed call to the audit logger, if it has one of that name."""
        call = getattr(self.audit_logger, name, None)
        if call is not None:
            call(**details)

    def _measured(self, name: str, /, **figures: Any) -> None:
        """A typed call to the performance monitor, if it has one of that name."""
        call = getattr(self.performance_monitor, name, None)
        if call is not None:
            call(**figures)

    def _typed_update(self, job: RenderJob) -> None:
        """A job has another status; the typed call only has room for priorities, which are the same."""
        self._typed(
            "log_job_updated",
            job_id=job.id,
            client_id=job.client_id,
            name=job.name,
            old_priority=job.priority,
            new_priority=job.priority,
        )

    def _typed_completion(self, job: RenderJob, completion_time: str) -> None:
        self._typed(
            "log_job_completed",
            job_id=job.id,
            client_id=job.client_id,
            name=job.name,
            completion_time=completion_time,
        )
