"""Recovery actions of callers as commands of the core."""

from adapters.facades.bridge import names
from adapters.facades.bridge.desk import Desk
from domain.checkpoint import RestoreCheckpoint
from domain.dependency import BypassDependency
from domain.errors import JobNotFound
from domain.job.commands import CancelJob, RequeueTasks, RetryJob
from domain.messages import Command

AGAIN = ("restart_job", "restore_checkpoint", "reschedule", "preempt", "retry")


def carry_out(desk: Desk, action: str, job: str | None, node: str | None, checkpoint: str | None, actor: str) -> bool:
    """Does something about the job, or about all jobs of the node; False for what only a person can do.

    JobNotFound for a job that the core does not know; any refusal of the core as it is.
    """
    app = desk.app
    if job is not None:
        job_ids = [names.job_id(job)]
    else:
        job_ids = [] if node is None else sorted({job_id for job_id, _ in app.farm.attempts_on(names.node_id(node))})
    commands = [command for job_id in job_ids for command in _commands(desk, action, job_id, checkpoint)]
    if action == "manual":
        return False
    app.handle_all(commands, actor)
    return True


def _commands(desk: Desk, action: str, job_id: str, checkpoint: str | None) -> list[Command]:
    farm = desk.app.farm
    live = farm.jobs.get(job_id)
    if live is None and not desk.app.log.stream(job_id, upto=1):
        raise JobNotFound(job_id=job_id)
    if action in AGAIN:
        why = f"recovery: {action}"
        first: Command = RetryJob(job_id=job_id, why=why) if live is None else RequeueTasks(job_id=job_id, why=why)
        resumes = action == "restore_checkpoint" and checkpoint is not None
        return [first, RestoreCheckpoint(checkpoint_id=names.safe(checkpoint or ""), attempt=0)] if resumes else [first]
    if action == "skip":
        return [BypassDependency(dependency_id=edge.dependency_id, why="recovery") for edge in farm.edges_into(job_id)]
    return [CancelJob(job_id=job_id, why="recovery")] if action == "abort" else []
