"""Progressive output: pictures of a job that runs, at the times that were planned for it."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from math import floor
from typing import TYPE_CHECKING

from adapters.facades.bridge.wallclock import now
from render_farm_manager.core.interfaces import ProgressiveResultInterface
from render_farm_manager.core.models import ProgressiveOutputConfig, RenderJob

if TYPE_CHECKING:
    from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor

MOST_OUTPUTS = 10
OVERHEADS = {10: 0.02, 25: 0.03, 50: 0.05, 75: 0.08}
"""What one output costs by its quality, as a fraction of the job."""
LEVELS = ((25.0, 10), (50.0, 25), (75.0, 50))
"""Below so much progress the output has that quality; 75 above all."""


class ProgressiveRenderer(ProgressiveResultInterface):
    """Plans and makes pictures of unfinished jobs."""

    _clock: Callable[[], datetime] = staticmethod(now)

    def __init__(
        self,
        audit_logger: "AuditLogger",
        performance_monitor: "PerformanceMonitor",
        default_config: ProgressiveOutputConfig | None = None,
    ) -> None:
        self.audit_logger = audit_logger
        self.performance_monitor = performance_monitor
        self.default_config = default_config or ProgressiveOutputConfig()
        self.scheduled_outputs: dict[str, list[datetime]] = {}
        self.generated_outputs: dict[str, dict[int, str]] = {}
        """Paths by quality, by job."""
        self.quality_overhead_factors = dict(OVERHEADS)

    def schedule_progressive_output(
        self, job: RenderJob, config: ProgressiveOutputConfig | None = None
    ) -> list[datetime]:
        """When pictures of a job shall be made; none if it, or the configuration, does not want any."""
        config = config or self.default_config
        times: list[datetime] = []
        with self.performance_monitor.time_operation("schedule_progressive_output"):
            if config.enabled and job.supports_progressive_output:
                times = self._times(job, config)
                self._tell(job, config, times)
            self.scheduled_outputs[job.id] = times
        return times

    def _times(self, job: RenderJob, config: ProgressiveOutputConfig) -> list[datetime]:
        start = max(self._clock(), job.submission_time)
        minutes = job.estimated_duration_hours * 60
        if minutes <= config.interval_minutes:
            return [start + timedelta(minutes=minutes / 2)]
        count = _outputs(minutes, config.interval_minutes)
        return [start + timedelta(minutes=turn * config.interval_minutes) for turn in range(1, count + 1)]

    def _tell(self, job: RenderJob, config: ProgressiveOutputConfig, times: list[datetime]) -> None:
        self.audit_logger.log_event(
            "progressive_output_scheduled",
            f"{len(times)} progressive outputs of job {job.id} are planned",
            job_id=job.id,
            num_outputs=len(times),
            interval_minutes=config.interval_minutes,
            scheduled_times=[at.isoformat() for at in times],
        )

    def generate_progressive_output(self, job: RenderJob, quality_level: int) -> str:
        """Makes a picture now and says where it is; ValueError for a job that does not support it."""
        if not job.supports_progressive_output:  # told before the timing begins: nothing that times may keep it back
            raise ValueError(f"job {job.id} does not support progressive output")
        path = ""
        with self.performance_monitor.time_operation("generate_progressive_output"):
            at = self._clock()
            name = f"progressive_{quality_level}pct_{at:%Y%m%d_%H%M%S}.exr"
            path = os.path.join(job.output_path, "progressive", name)  # noqa: PTH118 (the caller's own text, as it is)
            self.generated_outputs.setdefault(job.id, {})[quality_level] = path
            job.last_progressive_output_time = at
            self.audit_logger.log_event(
                "progressive_output_generated",
                f"Job {job.id} shows a picture of quality {quality_level}",
                job_id=job.id,
                quality_level=quality_level,
                output_path=path,
                job_progress=job.progress,
            )
        return path

    def estimate_overhead(self, job: RenderJob, config: ProgressiveOutputConfig | None = None) -> float:
        """What the pictures of a job cost. Quirk: factors are fractions, their bound is in percent."""
        config = config or self.default_config
        if not config.enabled or not job.supports_progressive_output:
            return 0.0
        count = _outputs(job.estimated_duration_hours * 60, config.interval_minutes)
        each = sum(self.quality_overhead_factors.get(level, 0.0) for level in config.quality_levels)
        return min(count * each, config.max_overhead_percentage)

    def get_latest_progressive_output(self, job_id: str) -> str | None:
        """The path of the best picture so far; None if there is none."""
        outputs = self.generated_outputs.get(job_id)
        return outputs[max(outputs)] if outputs else None

    def process_pending_outputs(self, jobs: list[RenderJob]) -> dict[str, list[tuple[int, str]]]:
        """Makes the pictures of running jobs that are due, and says which: (quality, path) by job."""
        made: dict[str, list[tuple[int, str]]] = {}
        at = self._clock()
        for job in jobs:
            if job.status != "running" or not job.supports_progressive_output:
                continue
            planned = self.scheduled_outputs.get(job.id)
            if not planned:
                continue
            due = [when for when in planned if when <= at]
            if due:
                self.scheduled_outputs[job.id] = [when for when in planned if when > at]
                level = _level(job.progress)
                made[job.id] = [(level, self.generate_progressive_output(job, level)) for _ in due]
        return made


def _outputs(minutes: float, interval: float) -> int:
    """How many outputs a job of that length gets."""
    return 1 if minutes <= interval else min(floor(minutes / interval), MOST_OUTPUTS)


def _level(progress: float) -> int:
    """The quality that fits a job's progress."""
    return next((level for below, level in LEVELS if progress < below), 75)
