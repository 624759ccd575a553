"""The facts of jobs, tasks and attempts as sentences."""

from collections.abc import Callable
from typing import Any

from domain import intervals
from domain.job import events as e
from domain.job.values import AttemptEnd, FailureClass, PlacementReason, StopCause
from domain.messages import Event
from projections.words import (
    because,
    duration_text,
    listed,
    nodes_text,
    requirement_text,
    size_text,
    tasks_text,
    time_text,
)


def _submitted(event: e.JobSubmitted) -> str:
    spec = event.spec
    count = intervals.size(spec.tasks)
    what = "one task that needs" if count == 1 else f"{count} tasks that each need"
    state = ", held" if event.held else "" if event.queued else ", not queued yet"
    return (
        f"{spec.job_id} “{spec.name}” of {spec.client_id} was submitted with {what} "
        f"{requirement_text(spec.requirement)}, priority {spec.priority.value}{state}."
    )


def _queued(event: e.JobQueued) -> str:
    return f"{event.job_id} was queued: nothing but resources stands before it."


def _unqueued(event: e.JobUnqueued) -> str:
    return f"{event.job_id} left the queue{because(event.why)}"


def _held(event: e.JobHeld) -> str:
    return f"{event.job_id} was held{because(event.why)}"


def _unheld(event: e.JobUnheld) -> str:
    return f"{event.job_id} is no longer held{because(event.why)}"


def _paused(event: e.JobPaused) -> str:
    return f"{event.job_id} was paused{because(event.why)[:-1]}; its attempts are suspended where they are."


def _resumed(event: e.JobResumed) -> str:
    return f"{event.job_id} goes on after its pause{because(event.why)}"


def _priority_changed(event: e.JobPriorityChanged) -> str:
    change = f"from {event.before.value} to {event.priority.value}"
    return f"The priority of {event.job_id} changed {change}{because(event.why)}"


def _deadline_changed(event: e.JobDeadlineChanged) -> str:
    before = "none" if event.before_ms is None else time_text(event.before_ms)
    after = "none" if event.deadline_ms is None else time_text(event.deadline_ms)
    return f"The deadline of {event.job_id} changed from {before} to {after}{because(event.why)}"


def _placed(event: e.TasksPlaced) -> str:
    if len(event.placements) == 1:
        placement = event.placements[0]
        single = intervals.size(placement.tasks) == 1
        where = f"{'was' if single else 'were'} placed on {nodes_text(placement.nodes)}"
        return f"{tasks_text(placement.tasks)} of {event.job_id} {where}{_chosen(event.reason)}."
    parts = [f"{placement.tasks} on {nodes_text(placement.nodes)}" for placement in event.placements]
    count = sum(intervals.size(placement.tasks) for placement in event.placements)
    return f"{count} tasks of {event.job_id} were placed: {listed(parts)}{_chosen(event.reason)}."


def _chosen(reason: PlacementReason) -> str:
    """Why there."""
    nodes = "node" if reason.candidates == 1 else "nodes"
    return f" ({reason.policy}: score {reason.score:.2f}, {reason.candidates} {nodes} to choose from)"


def _started(event: e.TasksStarted) -> str:
    numbers = event.attempts
    if len(numbers) == 1:
        return f"Attempt {numbers[0]} of {event.job_id} began to run."
    return f"Attempts {intervals.of(numbers)} of {event.job_id} began to run."


def _progress_marked(event: e.ProgressMarked) -> str:
    status = f": {event.status}" if event.status else ""
    return f"Task {event.task} of {event.job_id} has come to {event.percent} % (attempt {event.attempt}){status}."


def _partial_published(event: e.PartialPublished) -> str:
    return f"Task {event.task} of {event.job_id} published {event.path} at quality {event.quality} of 100."


def _approved(event: e.JobApproved) -> str:
    return f"{tasks_text(event.tasks)} of {event.job_id} may go on: its first tasks were approved{because(event.why)}"


def _checkpointed(event: e.TaskCheckpointed) -> str:
    return (
        f"Task {event.task} of {event.job_id} can resume from checkpoint {event.checkpoint_id} "
        f"at {event.progress} % (attempt {event.attempt})."
    )


def _tasks_succeeded(event: e.TasksSucceeded) -> str:
    return f"{_tasks(event.ends)} of {event.job_id} succeeded{_ran(event.ends)}."


def _tasks_failed(event: e.TasksFailed) -> str:
    return f"{_tasks(event.ends)} of {event.job_id} failed{_ran(event.ends)}: {failure_text(event.ends[0])}."


def _tasks_lost(event: e.TasksLost) -> str:
    return f"{tasks_text(event.tasks)} of {event.job_id} went away with node {event.node_id}; how far is not known."


def _stopping(event: e.TasksStopping) -> str:
    numbers = intervals.of(event.attempts)
    attempts = f"Attempts {numbers}" if len(event.attempts) > 1 else f"Attempt {numbers}"
    verb = "were" if len(event.attempts) > 1 else "was"
    return (
        f"{attempts} of {event.job_id} {verb} told to stop within {duration_text(event.grace_ms)}, "
        f"because {CAUSE_TEXT[event.cause]}{because(event.why)}"
    )


def _tasks_stopped(event: e.TasksStopped) -> str:
    return f"{_tasks(event.ends)} of {event.job_id} stopped{_ran(event.ends)}, because {CAUSE_TEXT[event.cause]}."


def _requeued(event: e.TasksRequeued) -> str:
    when = "at once" if event.not_before_ms is None else f"from {time_text(event.not_before_ms)} on"
    verb = "waits" if intervals.size(event.tasks) == 1 else "wait"
    return f"{tasks_text(event.tasks)} of {event.job_id} {verb} again, {when}, after {AFTER_TEXT[event.why]}."


def _completed(event: e.JobCompleted) -> str:
    return f"{event.job_id} completed: every task succeeded."


def _job_failed(event: e.JobFailed) -> str:
    count = intervals.size(event.failed)
    return f"{event.job_id} failed with {'task' if count == 1 else f'{count} tasks,'} {event.failed}."


def _job_cancelled(event: e.JobCancelled) -> str:
    return f"{event.job_id} was cancelled{because(event.why)}"


def _retried(event: e.JobRetried) -> str:
    count = intervals.size(event.tasks)
    tasks = f"{'task' if count == 1 else f'{count} tasks,'} {event.tasks}"
    return f"{event.job_id} was opened again for {tasks}{because(event.why)}"


def _tasks(ends: tuple[AttemptEnd, ...]) -> str:
    if len(ends) == 1:
        return f"Task {ends[0].task}"
    return tasks_text(intervals.of(end.task for end in ends))


def _ran(ends: tuple[AttemptEnd, ...]) -> str:
    """How long a single attempt ran, where that is known."""
    end = ends[0]
    if len(ends) > 1 or end.started_ms is None or end.ended_ms is None:
        return ""
    return f" after {duration_text(max(0, end.ended_ms - end.started_ms))}"


def failure_text(end: AttemptEnd) -> str:
    """Why an attempt did not succeed: `exit code 3`, `signal 9`, and what was said of it, unless that is the same."""
    what = {
        FailureClass.EXIT: f"exit code {end.exit_code}",
        FailureClass.SIGNAL: f"signal {end.signal}",
        FailureClass.DECLARED: "it said so itself",
        FailureClass.WALLTIME: "it ran longer than its walltime",
        FailureClass.MEMORY: f"it went over its memory limit at {size_text(end.max_rss_mib)}",
        FailureClass.LAUNCH: "it could not be started",
        FailureClass.LOST: "its node went away",
        None: "no reason is known",
    }[end.failure]
    same = what.removeprefix("it ")  # such a message says all of it, perhaps with a number more
    if end.message.startswith(same):
        return what + end.message.removeprefix(same)
    return f"{what} ({end.message})" if end.message else what


CAUSE_TEXT = {
    StopCause.CANCELLED: "the job was cancelled",
    StopCause.REQUEUED: "it was requeued",
    StopCause.WALLTIME: "it ran longer than its walltime",
    StopCause.GANG_BROKEN: "another node of its gang was lost",
    StopCause.PREEMPTED: "work that comes before it needs its room",
    StopCause.EVACUATED: "its node is needed for what was booked there",
}
AFTER_TEXT: dict[str, str] = {
    FailureClass.EXIT: "a bad exit code",
    FailureClass.SIGNAL: "a signal",
    FailureClass.DECLARED: "a failure that the program declared",
    FailureClass.WALLTIME: "running out of walltime",
    FailureClass.MEMORY: "going over the memory limit",
    FailureClass.LAUNCH: "a failed launch",
    FailureClass.LOST: "the loss of a node",
    StopCause.CANCELLED: "a cancellation",
    StopCause.REQUEUED: "a requeue",
    StopCause.GANG_BROKEN: "the loss of another node of its gang",
    StopCause.PREEMPTED: "making way for work that comes before it",
    StopCause.EVACUATED: "leaving its node to what was booked there",
}


SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    e.JobSubmitted: _submitted,
    e.JobQueued: _queued,
    e.JobUnqueued: _unqueued,
    e.JobHeld: _held,
    e.JobUnheld: _unheld,
    e.JobPaused: _paused,
    e.JobResumed: _resumed,
    e.JobPriorityChanged: _priority_changed,
    e.JobDeadlineChanged: _deadline_changed,
    e.TasksPlaced: _placed,
    e.TasksStarted: _started,
    e.ProgressMarked: _progress_marked,
    e.PartialPublished: _partial_published,
    e.TaskCheckpointed: _checkpointed,
    e.TasksSucceeded: _tasks_succeeded,
    e.TasksFailed: _tasks_failed,
    e.TasksLost: _tasks_lost,
    e.TasksStopping: _stopping,
    e.TasksStopped: _tasks_stopped,
    e.TasksRequeued: _requeued,
    e.JobCompleted: _completed,
    e.JobFailed: _job_failed,
    e.JobCancelled: _job_cancelled,
    e.JobApproved: _approved,
    e.JobRetried: _retried,
}
