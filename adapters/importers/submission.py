"""From an imported workflow to the command that submits it: one job per step, one edge per step dependency."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from adapters.importers.openjd import ImportedJob, ImportedWorkflow
from application.commands import DEFAULT_CLIENT, Submit
from domain import intervals
from domain.job.commands import SubmitJob
from domain.job.values import JobSpec, Priority, Progressive, Protection
from domain.messages import ClientId, JobId, WorkflowId


class Extras(msgspec.Struct, frozen=True):
    """What stands beside a template and never inside it; the same for all its jobs."""

    client_id: ClientId = DEFAULT_CLIENT
    priority: Priority = Priority.MEDIUM
    deadline_ms: int | None = None
    not_before_ms: int | None = None
    retries: int = 0
    backoff_ms: int = 1_000
    walltime_ms: int | None = None
    """Takes the place of the template's own timeouts."""
    grace_ms: int | None = None
    output_dir: str | None = None
    held: bool = False
    progressive: Progressive | None = None
    """For jobs of so many tasks that some come after others."""
    after: tuple[JobId, ...] = ()
    """Jobs before those of the workflow that wait for nothing else in it."""
    partition: str = ""
    """Only nodes of this partition; empty means any."""
    protection: Protection | None = None
    """When they may be interrupted; None means as their client's contract says."""
    checkpoints: bool = False
    """Whether they save their state when told to end."""


def submission_of(imported: ImportedWorkflow, new_id: Callable[[str], str], extras: Extras) -> Submit:
    """The command, with fresh ids; job k of it is job k of the template."""
    workflow_id = new_id("wf")
    ids = {job.name: new_id("job") for job in imported.jobs}
    edges = tuple((ids[before], ids[after]) for before, after in imported.dependencies)
    waiting = {after for _, after in edges}
    jobs = []
    for job in imported.jobs:
        job_id = ids[job.name]
        after = () if job_id in waiting else extras.after
        jobs.append(SubmitJob(spec=_spec(job, job_id, workflow_id, extras), held=extras.held, after=after))
    return Submit(jobs=tuple(jobs), workflow_id=workflow_id, workflow_name=imported.name, dependencies=edges)


def _spec(job: ImportedJob, job_id: JobId, workflow_id: WorkflowId, extras: Extras) -> JobSpec:
    grace_ms = extras.grace_ms if extras.grace_ms is not None else job.grace_ms
    more: dict[str, Any] = {} if grace_ms is None else {"grace_ms": grace_ms}
    return JobSpec(
        job_id=job_id,
        name=job.name,
        client_id=extras.client_id,
        work=job.work,
        requirement=replace(job.requirement, partition=extras.partition) if extras.partition else job.requirement,
        tasks=job.tasks,
        workflow_id=workflow_id,
        priority=extras.priority,
        walltime_ms=extras.walltime_ms if extras.walltime_ms is not None else job.walltime_ms,
        retries=extras.retries,
        backoff_ms=extras.backoff_ms,
        deadline_ms=extras.deadline_ms,
        not_before_ms=extras.not_before_ms,
        output_dir=extras.output_dir,
        progressive=_progressive(job, extras.progressive),
        protection=extras.protection,
        checkpoints=extras.checkpoints,
        **more,
    )


def _progressive(job: ImportedJob, wanted: Progressive | None) -> Progressive | None:
    """Nothing for a job of which all tasks would come first."""
    if wanted is None or intervals.every(job.tasks, wanted.every) != job.tasks:
        return wanted
    return replace(wanted, every=1, approve=False)
