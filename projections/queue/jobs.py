"""How the events of jobs, their tasks and attempts change the rows of the queue view."""

from functools import lru_cache
from typing import TypeAlias

import msgspec

from domain import intervals
from domain.checkpoint import CheckpointRestored
from domain.decisions import segment_name
from domain.intervals import TaskSet
from domain.job import events as e
from domain.job.values import PRIORITY_RANK, AttemptEnd, FailureClass, StopCause, coarse
from domain.messages import Event, Recorded
from domain.resources import Requirement
from projections.projection import Handler
from projections.queue.rows import AttemptRow, JobRow, QueueFold
from projections.story import failure_text
from projections.words import plural

_JobEnd: TypeAlias = e.JobCompleted | e.JobFailed | e.JobCancelled
_encode = msgspec.json.Encoder().encode
_decode_back_off = msgspec.json.Decoder(list[tuple[int, TaskSet]]).decode


def _submitted(fold: QueueFold, event: e.JobSubmitted, recorded: Recorded) -> None:
    spec, at_ms = event.spec, event.at_ms
    tasks = intervals.size(spec.tasks)
    row = JobRow(
        recorded.position,
        spec.job_id,
        spec.name,
        spec.client_id,
        spec.workflow_id,
        at_ms,
        spec.not_before_ms,
        spec.walltime_ms,
        tasks,
        _requirement(spec.requirement),
        "",
        PRIORITY_RANK[spec.priority],
        spec.deadline_ms,
        event.queued,
        event.held,
    )
    row.queued_ms = at_ms if event.queued else None
    row.waiting = tasks
    if spec.progressive is not None and spec.progressive.approve:
        row.gated = tasks - intervals.size(coarse(spec))
    row.held_by = recorded.meta.actor if event.held else ""
    row.segment = segment_name(spec.client_id, spec.priority, spec.requirement)
    fold.jobs.add(spec.job_id, row)
    if spec.workflow_id is not None:
        fold.workflow(spec.workflow_id, recorded)


@lru_cache(4_096)
def _requirement(requirement: Requirement) -> str:
    """JSON of a requirement; the few different ones of a farm are encoded once."""
    return _encode(requirement).decode()


def _queued(fold: QueueFold, event: e.JobQueued, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    job.queued, job.queued_ms = True, event.at_ms


def _unqueued(fold: QueueFold, event: e.JobUnqueued, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    job.queued, job.queued_ms, job.why = False, None, event.why


def _held(fold: QueueFold, event: e.JobHeld, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    job.held, job.held_by, job.why = True, recorded.meta.actor, event.why


def _unheld(fold: QueueFold, event: e.JobUnheld, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    job.held, job.held_by, job.why = False, "", ""


def _paused(fold: QueueFold, event: e.JobPaused, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    job.paused, job.paused_by, job.why = True, recorded.meta.actor, event.why or job.why


def _resumed(fold: QueueFold, event: e.JobResumed, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    job.paused, job.paused_by = False, ""
    job.why = job.why if job.held else ""


def _priority_changed(fold: QueueFold, event: e.JobPriorityChanged, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    job.priority = PRIORITY_RANK[event.priority]
    job.segment = f"{job.client_id}/{event.priority}/{job.segment.rpartition('/')[2]}"


def _deadline_changed(fold: QueueFold, event: e.JobDeadlineChanged, recorded: Recorded) -> None:
    fold.job(event.job_id).deadline_ms = event.deadline_ms


def _completed(fold: QueueFold, event: e.JobCompleted, recorded: Recorded) -> None:
    _end_job(fold, event, "completed", "")


def _failed(fold: QueueFold, event: e.JobFailed, recorded: Recorded) -> None:
    job = _end_job(fold, event, "failed", "")
    others = intervals.size(event.failed) - 1
    job.why = job.failure + (f"; {plural(others, 'other task')} failed, too" if others else "")


def _cancelled(fold: QueueFold, event: e.JobCancelled, recorded: Recorded) -> None:
    job = _end_job(fold, event, "cancelled", event.why)
    job.cancelled += job.waiting + job.delayed
    job.waiting = job.delayed = job.gated = 0
    job.back_off = ""


def _end_job(fold: QueueFold, event: _JobEnd, status: str, why: str) -> JobRow:
    job = fold.job(event.job_id)
    job.status, job.ended_ms, job.why = status, event.at_ms, why
    return job


def _approved(fold: QueueFold, event: e.JobApproved, recorded: Recorded) -> None:
    fold.job(event.job_id).gated = 0


def _retried(fold: QueueFold, event: e.JobRetried, recorded: Recorded) -> None:
    state = event.job
    job = fold.job(event.job_id)
    job.ended_ms, job.why = None, ""
    job.queued, job.held, job.paused, job.paused_by = state.queued, state.held, state.paused, ""
    job.gated = intervals.size(state.gated)
    job.waiting = intervals.size(state.waiting) + job.gated
    job.succeeded = intervals.size(state.succeeded)
    job.failed = job.cancelled = 0


# -- tasks and attempts ------------------------------------------------------------------------------------------


def _placed(fold: QueueFold, event: e.TasksPlaced, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    for placement in event.placements:
        tasks, number, nodes = placement.tasks, placement.first_attempt, placement.nodes
        count = intervals.size(tasks)
        _leave_queue(job, tasks, count)
        job.running += count
        job.attempts += count
        host, as_json = nodes[0][0], _encode(nodes).decode()
        for task in intervals.members(tasks):
            row = AttemptRow(job.number, number, task, host, as_json, event.at_ms)
            fold.attempts.add((job.number, number), row)
            number += 1


def _leave_queue(job: JobRow, tasks: TaskSet, count: int) -> None:
    """Takes tasks from those in back-off, and what is not among them from those that wait."""
    if not job.delayed:
        job.waiting -= count
        return
    before = job.delayed
    left = [(ms, intervals.difference(some, tasks)) for ms, some in _decode_back_off(job.back_off)]
    _set_back_off(job, [(ms, some) for ms, some in left if some])
    job.waiting -= count - (before - job.delayed)


def _set_back_off(job: JobRow, delayed: list[tuple[int, TaskSet]]) -> None:
    job.back_off = _encode(sorted(delayed)).decode() if delayed else ""
    job.delayed = sum(intervals.size(tasks) for _, tasks in delayed)


def _started(fold: QueueFold, event: e.TasksStarted, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    if job.started_ms is None:
        job.started_ms = event.at_ms
    for number in event.attempts:
        fold.attempt(job, number).started_ms = event.at_ms


def _progress_marked(fold: QueueFold, event: e.ProgressMarked, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    attempt = fold.attempt(job, event.attempt)
    job.running_percent += event.percent - attempt.progress
    attempt.progress, attempt.status_text = event.percent, event.status


def _partial_published(fold: QueueFold, event: e.PartialPublished, recorded: Recorded) -> None:
    attempt = fold.attempt(fold.job(event.job_id), event.attempt)
    attempt.partial_path, attempt.partial_quality = event.path, event.quality
    attempt.partial_cost_ms += event.cost_ms


def _checkpointed(fold: QueueFold, event: e.TaskCheckpointed, recorded: Recorded) -> None:
    fold.attempt(fold.job(event.job_id), event.attempt).checkpoint_id = event.checkpoint_id


def _restored(fold: QueueFold, event: CheckpointRestored, recorded: Recorded) -> None:
    fold.attempt(fold.job(event.job_id), event.attempt).restored_from = event.checkpoint_id


def _tasks_succeeded(fold: QueueFold, event: e.TasksSucceeded, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    job.succeeded += len(event.ends)
    for end in event.ends:
        _end_attempt(fold, job, end, "succeeded", event.at_ms)


def _tasks_failed(fold: QueueFold, event: e.TasksFailed, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    job.failed += len(event.ends)
    last = event.ends[-1]
    job.failure = f"task {last.task} failed: {failure_text(last)}"
    for end in event.ends:
        _end_attempt(fold, job, end, "failed", event.at_ms)


def _tasks_stopped(fold: QueueFold, event: e.TasksStopped, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    _count_stopped(job, len(event.ends), event.cause is StopCause.CANCELLED)
    for end in event.ends:
        _end_attempt(fold, job, end, event.cause.value, event.at_ms)


def _tasks_lost(fold: QueueFold, event: e.TasksLost, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    _count_stopped(job, len(event.attempts), False)
    for number in event.attempts:
        row = _close_attempt(fold, job, number, "lost", event.at_ms)
        row.failure, row.message = FailureClass.LOST.value, f"node {event.node_id} went away"


def _count_stopped(job: JobRow, tasks: int, cancelled: bool) -> None:
    """What ends after its job was cancelled counts as cancelled, whatever ended it."""
    if cancelled or (job.ended_ms is not None and job.status == "cancelled"):
        job.cancelled += tasks
    else:
        job.failed += tasks


def _end_attempt(fold: QueueFold, job: JobRow, end: AttemptEnd, outcome: str, at_ms: int) -> None:
    """The executor's own times count where it knows them, so that run times are exact."""
    row = _close_attempt(fold, job, end.attempt, outcome, at_ms if end.ended_ms is None else end.ended_ms)
    if end.started_ms is not None:
        row.started_ms = end.started_ms
    row.exit_code, row.signal, row.message = end.exit_code, end.signal, end.message
    row.failure = None if end.failure is None else end.failure.value
    row.cpu_ms, row.max_rss_mib = end.cpu_ms, end.max_rss_mib


def _close_attempt(fold: QueueFold, job: JobRow, number: int, outcome: str, at_ms: int) -> AttemptRow:
    row = fold.attempt(job, number)
    job.running -= 1
    job.running_percent -= row.progress
    row.outcome, row.ended_ms = outcome, at_ms
    return row


def _stopping(fold: QueueFold, event: e.TasksStopping, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    for number in event.attempts:
        fold.attempt(job, number).stopping = event.cause.value


def _preempted(fold: QueueFold, event: e.TasksPreempted, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    for each in event.attempts:
        fold.attempt(job, each.attempt).preempted_by = event.preemptor


def _tasks_suspended(fold: QueueFold, event: e.TasksSuspended, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    for number in event.attempts:
        fold.attempt(job, number).suspended_ms = event.at_ms


def _tasks_resumed(fold: QueueFold, event: e.TasksResumed, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    for number in event.attempts:
        fold.attempt(job, number).suspended_ms = None


def _nothing(fold: QueueFold, event: Event, recorded: Recorded) -> None:
    """What is held and what is protected stands in the audit; no row of the queue tells of it."""


def _requeued(fold: QueueFold, event: e.TasksRequeued, recorded: Recorded) -> None:
    job = fold.job(event.job_id)
    count = intervals.size(event.tasks)
    job.failed -= count
    if event.not_before_ms is None:
        job.waiting += count
    else:
        known = _decode_back_off(job.back_off) if job.back_off else []
        _set_back_off(job, [*known, (event.not_before_ms, event.tasks)])


HANDLERS: dict[type[Event], Handler] = {
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
    e.TasksPreempted: _preempted,
    e.TasksSuspended: _tasks_suspended,
    e.TasksResumed: _tasks_resumed,
    e.RoomClaimed: _nothing,
    e.ClaimReleased: _nothing,
    e.JobProtectionChanged: _nothing,
    e.JobApproved: _approved,
    e.JobCompleted: _completed,
    e.JobFailed: _failed,
    e.JobCancelled: _cancelled,
    e.JobRetried: _retried,
    CheckpointRestored: _restored,
}
