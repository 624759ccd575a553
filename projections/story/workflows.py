"""The facts of workflows, dependencies and checkpoints as sentences."""

from collections.abc import Callable
from typing import Any

from domain import checkpoint as k
from domain import dependency as d
from domain import workflow as w
from domain.messages import Event
from projections.words import because, listed, plural, size_text


def _workflow_submitted(event: w.WorkflowSubmitted) -> str:
    jobs = plural(len(event.jobs), "job")
    return f"Workflow {event.workflow_id} “{event.name}” of {event.client_id} was submitted with {jobs}."


def _job_added(event: w.WorkflowJobAdded) -> str:
    return f"Workflow {event.workflow_id} grew by {event.job_id}."


def _workflow_completed(event: w.WorkflowCompleted) -> str:
    return f"Workflow {event.workflow_id} completed."


def _workflow_failed(event: w.WorkflowFailed) -> str:
    return f"Workflow {event.workflow_id} failed{because(listed(event.failed))}"


def _workflow_cancelled(event: w.WorkflowCancelled) -> str:
    return f"Workflow {event.workflow_id} was cancelled{because(event.why)}"


def _workflow_reopened(event: w.WorkflowReopened) -> str:
    return f"Workflow {event.workflow_id} was opened again by {event.job_id}."


def _workflow_archived(event: w.WorkflowArchived) -> str:
    return f"Workflow {event.workflow_id} was archived."


def _declared(event: d.DependencyDeclared) -> str:
    return f"{event.successor_id} waits for {event.predecessor_id} ({event.type.value})."


def _satisfied(event: d.DependencySatisfied) -> str:
    return f"{event.successor_id} no longer waits for {event.predecessor_id}, which has completed."


def _dependency_failed(event: d.DependencyFailed) -> str:
    return f"{event.successor_id} cannot start, because {event.predecessor_id} did not complete{because(event.why)}"


def _bypassed(event: d.DependencyBypassed) -> str:
    return f"{event.successor_id} need not wait for {event.predecessor_id}{because(event.why)}"


def _dependency_reopened(event: d.DependencyReopened) -> str:
    return f"{event.successor_id} waits for {event.predecessor_id} again."


def _taken(event: k.CheckpointTaken) -> str:
    size = size_text(event.size_bytes >> 20) if event.size_bytes >= 1 << 20 else f"{event.size_bytes} bytes"
    return (
        f"Task {event.task} of {event.job_id} saved checkpoint {event.checkpoint_id} at {event.progress} % "
        f"({event.type.value}, {size})."
    )


def _verified(event: k.CheckpointVerified) -> str:
    return f"Checkpoint {event.checkpoint_id} of {event.job_id} was read again and is sound."


def _corrupt(event: k.CheckpointCorrupt) -> str:
    return f"Checkpoint {event.checkpoint_id} of {event.job_id} cannot be used{because(event.why)}"


def _restored(event: k.CheckpointRestored) -> str:
    return f"Attempt {event.attempt} of {event.job_id} resumes from checkpoint {event.checkpoint_id}."


def _discarded(event: k.CheckpointDiscarded) -> str:
    return f"Checkpoint {event.checkpoint_id} of {event.job_id} is no longer kept{because(event.why)}"


SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    w.WorkflowSubmitted: _workflow_submitted,
    w.WorkflowJobAdded: _job_added,
    w.WorkflowCompleted: _workflow_completed,
    w.WorkflowFailed: _workflow_failed,
    w.WorkflowCancelled: _workflow_cancelled,
    w.WorkflowReopened: _workflow_reopened,
    w.WorkflowArchived: _workflow_archived,
    d.DependencyDeclared: _declared,
    d.DependencySatisfied: _satisfied,
    d.DependencyFailed: _dependency_failed,
    d.DependencyBypassed: _bypassed,
    d.DependencyReopened: _dependency_reopened,
    k.CheckpointTaken: _taken,
    k.CheckpointVerified: _verified,
    k.CheckpointCorrupt: _corrupt,
    k.CheckpointRestored: _restored,
    k.CheckpointDiscarded: _discarded,
}
