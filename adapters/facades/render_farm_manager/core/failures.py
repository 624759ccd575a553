"""Nodes that fail or leave, and what becomes of their jobs."""

from typing import TYPE_CHECKING

from render_farm_manager.core.models import RenderJob, RenderJobStatus, RenderNode

if TYPE_CHECKING:
    from render_farm_manager.core.manager import RenderFarmManager

MOST_ERRORS = 3
"""A job that was interrupted so often by failing nodes is given up."""


def handle(farm: "RenderFarmManager", node_id: str, error: str) -> list[str]:
    """A node failed; the ids of affected jobs."""
    farm._typed("log_error", message=f"Node {node_id} failed: {error}", source="NodeFailureHandler", severity="high")
    node = farm.nodes.get(node_id)
    if node is None:
        return []
    job = farm.jobs.get(node.current_job_id or "")
    farm._recorder.look_at(job, node)
    old, node.status, node.last_error = node.status, "error", error
    _tell_status(farm, node, old, error, log_level="warning")
    affected = []
    if job is not None:
        affected.append(job.id)
        _interrupt(farm, job, node, error)
    farm._typed("log_node_failure", node_id=node_id)
    farm.performance_metrics.node_failures_count += 1
    farm._measured("update_node_failure_count", node_id=node_id)
    farm._recorder.node(node, error)
    farm._recorder.done()
    return affected


def _interrupt(farm: "RenderFarmManager", job: RenderJob, node: RenderNode, error: str) -> None:
    """The job of a failed node waits again, from its checkpoint if it can; or is given up."""
    if job.supports_checkpoint:
        job.last_checkpoint_time = farm._now()
        farm._log(
            "job_checkpoint",
            f"Job {job.name} goes on from its checkpoint",
            job_id=job.id,
            checkpoint_time=job.last_checkpoint_time.isoformat(),
            progress=job.progress,
            log_level="info",
        )
    _take_back(job, node)
    farm._log(
        "job_affected_by_node_failure",
        f"Job {job.name} lost node {node.name}",
        job_id=job.id,
        node_id=node.id,
        error=error,
        log_level="warning",
    )
    if job.error_count >= MOST_ERRORS:
        _give_up(farm, job)
    farm._recorder.job(job, f"node {node.id} failed: {error}")


def _take_back(job: RenderJob, node: RenderNode) -> None:
    job.status, job.assigned_node_id = RenderJobStatus.QUEUED, None
    job.error_count += 1
    node.current_job_id = None


def _give_up(farm: "RenderFarmManager", job: RenderJob) -> None:
    job.status = RenderJobStatus.FAILED
    farm._log(
        "job_failed",
        f"Job {job.name} failed {job.error_count} times",
        job_id=job.id,
        error_count=job.error_count,
        max_threshold=MOST_ERRORS,
        log_level="error",
    )
    reason = f"its error count {job.error_count} reached the threshold of {MOST_ERRORS}"
    farm._typed("log_job_failed", job_id=job.id, reason=reason)


def report_status(farm: "RenderFarmManager", node_id: str, status: str, error: str | None) -> bool:
    """A node has another status; one that is no longer online loses its job. False if it is unknown."""
    node = farm.nodes.get(node_id)
    if node is None:
        return False
    job = farm.jobs.get(node.current_job_id or "")
    farm._recorder.look_at(job, node)
    old, node.status = node.status, status
    if status == "error" and error:
        node.last_error = error
    if old == "online" and status != "online" and node.current_job_id:
        if job is not None and job.status == "running":
            _take_back(job, node)
            farm._log(
                "job_interrupted",
                f"Job {job.name} lost node {node.name}",
                job_id=job.id,
                node_id=node_id,
                old_status=old,
                new_status=status,
                error=error,
            )
            farm._recorder.job(job, f"node {node_id} is {status}")
        node.current_job_id = None
    _tell_status(farm, node, old, error)
    farm._recorder.node(node, error or "")
    farm._recorder.done()
    return True


def _tell_status(farm: "RenderFarmManager", node: RenderNode, old: str, error: str | None, **more: str) -> None:
    farm._log(
        "node_status_updated",
        f"Node {node.name} went from {old} to {node.status}",
        node_id=node.id,
        node_name=node.name,
        old_status=old,
        new_status=node.status,
        error=error,
        **more,
    )
