"""Workflow: what a person submits, a named set of jobs and the dependencies between them."""

from msgspec.structs import replace

from domain import errors
from domain.job.values import JobStatus
from domain.messages import MAX_NAME_CHARS, SAFE_ID, ClientId, Command, Event, JobId, Value, WorkflowId


class WorkflowSubmitted(Event, frozen=True, kw_only=True, tag="workflow.submitted"):
    """A workflow entered the farm together with its jobs."""

    workflow_id: WorkflowId
    name: str
    client_id: ClientId
    jobs: tuple[JobId, ...]


class WorkflowJobAdded(Event, frozen=True, kw_only=True, tag="workflow.job_added"):
    """A running workflow grew by a job."""

    workflow_id: WorkflowId
    job_id: JobId


class WorkflowCompleted(Event, frozen=True, kw_only=True, tag="workflow.completed"):
    """Every job of it completed."""

    workflow_id: WorkflowId


class WorkflowFailed(Event, frozen=True, kw_only=True, tag="workflow.failed"):
    """A job of it failed and nothing else of it can go on."""

    workflow_id: WorkflowId
    failed: tuple[JobId, ...]


class WorkflowCancelled(Event, frozen=True, kw_only=True, tag="workflow.cancelled"):
    """A person ended it, or every job of it that did not complete was cancelled."""

    workflow_id: WorkflowId
    why: str = ""


class WorkflowReopened(Event, frozen=True, kw_only=True, tag="workflow.reopened"):
    """A job of an ended workflow was retried; tells all that a reader needs who has forgotten the workflow."""

    workflow_id: WorkflowId
    job_id: JobId
    name: str
    client_id: ClientId
    jobs: tuple[JobId, ...]
    outcomes: dict[JobId, JobStatus] = {}
    """How its other ended jobs ended."""


class WorkflowArchived(Event, frozen=True, kw_only=True, tag="workflow.archived"):
    """An ended workflow was put away: lists no longer show it."""

    workflow_id: WorkflowId


WorkflowEvent = (
    WorkflowSubmitted
    | WorkflowJobAdded
    | WorkflowCompleted
    | WorkflowFailed
    | WorkflowCancelled
    | WorkflowReopened
    | WorkflowArchived
)


class SubmitWorkflow(Command, frozen=True, kw_only=True, tag="submit-workflow"):
    """Enter a workflow; its jobs are submitted in the same transaction."""

    workflow_id: WorkflowId
    name: str
    client_id: ClientId
    jobs: tuple[JobId, ...]


class AddWorkflowJob(Command, frozen=True, kw_only=True, tag="add-workflow-job"):
    """Let a workflow that has not ended grow by a job."""

    workflow_id: WorkflowId
    job_id: JobId


class EndWorkflow(Command, frozen=True, kw_only=True, tag="end-workflow"):
    """Its jobs have all ended, or can never go on."""

    workflow_id: WorkflowId
    outcome: JobStatus
    failed: tuple[JobId, ...] = ()
    why: str = ""


class ReopenWorkflow(Command, frozen=True, kw_only=True, tag="reopen-workflow"):
    """A job of it was retried."""

    workflow_id: WorkflowId
    job_id: JobId
    outcomes: dict[JobId, JobStatus] = {}


class ArchiveWorkflow(Command, frozen=True, kw_only=True, tag="archive-workflow"):
    """Put an ended workflow away."""

    workflow_id: WorkflowId


WorkflowCommand = SubmitWorkflow | AddWorkflowJob | EndWorkflow | ReopenWorkflow | ArchiveWorkflow


class Workflow(Value, frozen=True):
    """The state of one workflow: the fold of its events."""

    workflow_id: WorkflowId
    name: str
    client_id: ClientId
    jobs: tuple[JobId, ...] = ()
    ended: JobStatus | None = None
    archived: bool = False


def decide(workflow: Workflow | None, command: WorkflowCommand, now_ms: int) -> tuple[WorkflowEvent, ...]:
    """A workflow is submitted once with at least one job, grows until it ends, and is archived only after that."""
    if isinstance(command, SubmitWorkflow):
        return _submit(workflow, command, now_ms)
    if workflow is None:
        raise errors.WorkflowNotFound(workflow_id=command.workflow_id)
    if isinstance(command, AddWorkflowJob):
        return _add(workflow, command, now_ms)
    if isinstance(command, EndWorkflow):
        return _end(workflow, command, now_ms)
    if isinstance(command, ReopenWorkflow):
        return () if workflow.ended is None else (_reopened(workflow, command, now_ms),)
    return _archive(workflow, now_ms)


def _submit(workflow: Workflow | None, command: SubmitWorkflow, now_ms: int) -> tuple[WorkflowEvent, ...]:
    if not command.jobs:
        raise errors.WorkflowInvalid(workflow_id=command.workflow_id, problem="it has no jobs")
    if len(set(command.jobs)) < len(command.jobs):
        raise errors.WorkflowInvalid(workflow_id=command.workflow_id, problem="it names a job twice")
    if not command.workflow_id.startswith("wf-") or SAFE_ID.fullmatch(command.workflow_id) is None:
        problem = "its id must be `wf-` and plain letters, digits, `_.@+-`"
        raise errors.WorkflowInvalid(workflow_id=command.workflow_id, problem=problem)
    if len(command.name) > MAX_NAME_CHARS:
        problem = f"its name is longer than {MAX_NAME_CHARS} characters"
        raise errors.WorkflowInvalid(workflow_id=command.workflow_id, problem=problem)
    if workflow is None:
        return (
            WorkflowSubmitted(
                at_ms=now_ms,
                workflow_id=command.workflow_id,
                name=command.name,
                client_id=command.client_id,
                jobs=command.jobs,
            ),
        )
    if (workflow.name, workflow.jobs[: len(command.jobs)]) == (command.name, command.jobs):
        return ()
    raise errors.WorkflowInvalid(workflow_id=command.workflow_id, problem="another one was submitted under this id")


def _add(workflow: Workflow, command: AddWorkflowJob, now_ms: int) -> tuple[WorkflowEvent, ...]:
    if command.job_id in workflow.jobs:
        return ()
    if workflow.ended is not None:
        raise errors.WorkflowStateForbids(workflow_id=workflow.workflow_id, status=workflow.ended, verb="adding a job")
    return (WorkflowJobAdded(at_ms=now_ms, workflow_id=workflow.workflow_id, job_id=command.job_id),)


def _end(workflow: Workflow, command: EndWorkflow, now_ms: int) -> tuple[WorkflowEvent, ...]:
    if workflow.ended is not None:
        return ()
    workflow_id = workflow.workflow_id
    if command.outcome is JobStatus.COMPLETED:
        return (WorkflowCompleted(at_ms=now_ms, workflow_id=workflow_id),)
    if command.outcome is JobStatus.CANCELLED:
        return (WorkflowCancelled(at_ms=now_ms, workflow_id=workflow_id, why=command.why),)
    return (WorkflowFailed(at_ms=now_ms, workflow_id=workflow_id, failed=command.failed),)


def _reopened(workflow: Workflow, command: ReopenWorkflow, now_ms: int) -> WorkflowReopened:
    return WorkflowReopened(
        at_ms=now_ms,
        workflow_id=workflow.workflow_id,
        job_id=command.job_id,
        name=workflow.name,
        client_id=workflow.client_id,
        jobs=workflow.jobs,
        outcomes=command.outcomes,
    )


def _archive(workflow: Workflow, now_ms: int) -> tuple[WorkflowEvent, ...]:
    if workflow.archived:
        return ()
    if workflow.ended is None:
        raise errors.WorkflowStateForbids(workflow_id=workflow.workflow_id, status="not ended", verb="archive")
    return (WorkflowArchived(at_ms=now_ms, workflow_id=workflow.workflow_id),)


_OUTCOME: dict[type[WorkflowEvent], JobStatus] = {
    WorkflowCompleted: JobStatus.COMPLETED,
    WorkflowFailed: JobStatus.FAILED,
    WorkflowCancelled: JobStatus.CANCELLED,
}


def evolve(workflow: Workflow | None, event: WorkflowEvent) -> Workflow:
    """The state after one more fact."""
    if isinstance(event, WorkflowSubmitted):
        return Workflow(event.workflow_id, event.name, event.client_id, event.jobs)
    if isinstance(event, WorkflowReopened):
        return Workflow(event.workflow_id, event.name, event.client_id, event.jobs)
    assert workflow is not None
    if isinstance(event, WorkflowJobAdded):
        return replace(workflow, jobs=(*workflow.jobs, event.job_id))
    if isinstance(event, WorkflowArchived):
        return replace(workflow, archived=True)
    return replace(workflow, ended=_OUTCOME[type(event)])
