"""From a live attempt of a job to the launch that an executor gets. The same attempt makes the same launch."""

from application.ports import Launch
from domain.job.values import AttemptNumber, Job, attempt_id
from domain.resources import Resources


def launch_of(job: Job, number: AttemptNumber) -> Launch:
    """The launch of one live attempt."""
    spec, attempt = job.spec, job.live[number]
    host, slots = attempt.nodes[0]
    checkpoint = job.checkpoints.get(attempt.task)
    return Launch(
        attempt_id=attempt_id(spec.job_id, attempt.task, number),
        job_id=spec.job_id,
        task=attempt.task,
        attempt=number,
        node_id=host,
        nodes=attempt.nodes,
        work=spec.work,
        resources=spec.requirement.resources if slots == 1 else Resources().plus(spec.requirement.resources, slots),
        grace_ms=spec.grace_ms,
        walltime_ms=spec.walltime_ms,
        workflow_id=spec.workflow_id or spec.job_id,  # a job alone is all that was submitted, and stands for itself
        output_dir=spec.output_dir,
        partial_overhead=None if spec.progressive is None else spec.progressive.overhead_percent,
        restore_from=checkpoint.location if checkpoint is not None else None,
    )
