"""Jobs that get on and come to their end."""

from datetime import datetime
from math import floor
from typing import TYPE_CHECKING

from render_farm_manager.core.models import RenderJob, RenderJobStatus

if TYPE_CHECKING:
    from render_farm_manager.core.manager import RenderFarmManager

OVER = (RenderJobStatus.COMPLETED, RenderJobStatus.CANCELLED)


def progress(farm: "RenderFarmManager", job_id: str, percent: float) -> bool:
    """A job is so far; told at every tenth, completed at 100, cancelled or not. False if it is unknown."""
    job = farm.jobs.get(job_id)
    if job is None:
        return False
    farm._recorder.look_at(job)
    old, job.progress = job.progress, max(0.0, min(100.0, percent))
    if floor(job.progress / 10) > floor(old / 10):
        farm._log(
            "job_progress_updated",
            f"Job {job.name} is at {job.progress} %",
            job_id=job_id,
            job_name=job.name,
            client_id=job.client_id,
            old_progress=old,
            new_progress=job.progress,
        )
    if job.progress >= 100 and job.status != RenderJobStatus.COMPLETED:
        _finish_by_progress(farm, job)
    farm._recorder.job(job)
    farm._recorder.done()
    return True


def _finish_by_progress(farm: "RenderFarmManager", job: RenderJob) -> None:
    at = _end(farm, job)
    farm._log(
        "job_completed",
        f"Job {job.name} completed",
        job_id=job.id,
        job_name=job.name,
        client_id=job.client_id,
        deadline=job.deadline.isoformat(),
        completion_time=at.isoformat(),
    )
    _count(farm, job, at)
    farm._typed_completion(job, at.isoformat())
    farm._typed_update(job)


def complete(farm: "RenderFarmManager", job_id: str) -> bool:
    """A job is done, wherever it stood; False if it is unknown, completed or cancelled."""
    job = farm.jobs.get(job_id)
    if job is None or job.status in OVER:
        return False
    farm._recorder.look_at(job)
    old = job.status
    at = _end(farm, job)
    farm._log(
        "job_completed",
        f"Job {job.name} completed",
        job_id=job_id,
        job_name=job.name,
        client_id=job.client_id,
        old_status=old,
        completion_time=at.isoformat(),
    )
    farm._typed_completion(job, at.isoformat())
    _count(farm, job, at)
    farm._recorder.job(job)
    farm._recorder.done()
    return True


def by_node(farm: "RenderFarmManager", node_id: str, job_id: str, metrics: dict[str, float]) -> bool:
    """A node is done with its job, and something is learned from it; False unless the job is assigned to it."""
    node, job = farm.nodes.get(node_id), farm.jobs.get(job_id)
    if node is None or job is None or job.assigned_node_id != node_id:
        return False
    farm._recorder.look_at(job, node)
    at = _end(farm, job)
    farm.node_specializer.update_performance_history(job, node, metrics)
    hours = _count(farm, job, at)
    known = farm.performance_metrics
    mean = known.average_job_turnaround_hours
    known.average_job_turnaround_hours = (mean * 9 + hours) / 10 if mean else hours
    farm._log(
        "job_completed",
        f"Job {job.name} completed on node {node.name}",
        job_id=job_id,
        job_name=job.name,
        client_id=job.client_id,
        node_id=node_id,
        turnaround_hours=hours,
        deadline_met=job.deadline >= at,
        performance_metrics=metrics,
    )
    farm._recorder.job(job)
    farm._recorder.node(node)
    farm._recorder.done()
    return True


def _end(farm: "RenderFarmManager", job: RenderJob) -> datetime:
    """The job is completed and its node free; when."""
    job.status, job.progress = RenderJobStatus.COMPLETED, 100.0
    farm._free(job)
    return farm._now()


def _count(farm: "RenderFarmManager", job: RenderJob, at: datetime) -> float:
    """Counts a completed job; how many hours it took from its submission on."""
    metrics = farm.performance_metrics
    metrics.total_jobs_completed += 1
    metrics.jobs_completed_on_time += job.deadline >= at
    hours = (at - job.submission_time).total_seconds() / 3600
    farm._measured("update_job_turnaround_time", job_id=job.id, turnaround_hours=hours, client_id=job.client_id)
    return hours
