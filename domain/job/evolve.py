"""How a job's state follows from its facts: no checks, no clock, no policy; history is trusted."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from domain import intervals
from domain.intervals import TaskSet
from domain.job import events as e
from domain.job.values import (
    Attempt,
    AttemptEnd,
    AttemptNumber,
    Claim,
    Job,
    JobStatus,
    Placement,
    StopCause,
    TaskCheckpoint,
    gate,
)


def evolve(job: Job | None, event: e.JobEvent) -> Job:
    """The state after one more fact."""
    return EVOLVE[type(event)](job, event)


def _submitted(job: Job | None, event: e.JobSubmitted) -> Job:
    spec = event.spec
    first, gated = gate(spec, spec.tasks)
    return Job(
        spec=spec,
        submitted_ms=event.at_ms,
        priority=spec.priority,
        deadline_ms=spec.deadline_ms,
        queued=event.queued,
        held=event.held,
        waiting=first,
        protection=spec.protection,
        gated=gated,
    )


def _approved(job: Job, event: e.JobApproved) -> Job:
    return replace(job, waiting=intervals.union(job.waiting, event.tasks), gated="", approved=True)


def _queued(job: Job, event: e.JobQueued) -> Job:
    return replace(job, queued=True)


def _unqueued(job: Job, event: e.JobUnqueued) -> Job:
    return replace(job, queued=False)


def _held(job: Job, event: e.JobHeld) -> Job:
    return replace(job, held=True)


def _unheld(job: Job, event: e.JobUnheld) -> Job:
    return replace(job, held=False)


def _paused(job: Job, event: e.JobPaused) -> Job:
    return replace(job, paused=True, paused_at_ms=event.at_ms)


def _resumed(job: Job, event: e.JobResumed) -> Job:
    since_ms = job.paused_at_ms if job.paused_at_ms is not None else event.at_ms
    return replace(job, paused=False, paused_at_ms=None, paused_ms=job.paused_ms + event.at_ms - since_ms)


def _priority_changed(job: Job, event: e.JobPriorityChanged) -> Job:
    return replace(job, priority=event.priority)


def _deadline_changed(job: Job, event: e.JobDeadlineChanged) -> Job:
    return replace(job, deadline_ms=event.deadline_ms)


def _placed(job: Job, event: e.TasksPlaced) -> Job:
    live = dict(job.live)
    waiting, delayed = job.waiting, job.delayed
    number, at_ms = job.next_attempt, event.at_ms
    for placement in event.placements:
        waiting = intervals.difference(waiting, placement.tasks)
        if delayed:
            delayed = _without(delayed, placement.tasks)
        number = placement.first_attempt
        for low, high in intervals.intervals(placement.tasks):
            for task in range(low, high + 1):
                live[number] = Attempt(task, placement.nodes, at_ms)
                number += 1
    claim = job.claim and _claim_after(job.claim, event.placements)
    return replace(job, live=live, waiting=waiting, delayed=delayed, next_attempt=number, claim=claim)


def _claim_after(claim: Claim, placements: tuple[Placement, ...]) -> Claim | None:
    """What is still held once tasks have started; each uses up a place on the same nodes, if there is one."""
    places = list(claim.places)
    for placement in placements:
        for _ in range(intervals.size(placement.tasks)):
            if placement.nodes in places:
                places.remove(placement.nodes)
    return replace(claim, places=tuple(places)) if places else None


def _without(delayed: tuple[tuple[int, TaskSet], ...], tasks: TaskSet) -> tuple[tuple[int, TaskSet], ...]:
    rest = ((until_ms, intervals.difference(some, tasks)) for until_ms, some in delayed)
    return tuple((until_ms, some) for until_ms, some in rest if some)


def _started(job: Job, event: e.TasksStarted) -> Job:
    live = dict(job.live)
    for number in event.attempts:
        live[number] = replace(live[number], started_ms=event.at_ms)
    return replace(job, live=live)


def _progress_marked(job: Job, event: e.ProgressMarked) -> Job:
    return _with_attempt(job, event.attempt, replace(job.live[event.attempt], progress=event.percent))


def _partial_published(job: Job, event: e.PartialPublished) -> Job:
    return job


def _checkpointed(job: Job, event: e.TaskCheckpointed) -> Job:
    newest = TaskCheckpoint(event.checkpoint_id, event.location, event.progress)
    if event.ran_ms is not None:
        newest = replace(newest, attempt=event.attempt, ran_ms=event.ran_ms, kept_ms=event.kept_ms)
    return replace(job, checkpoints=job.checkpoints | {event.task: newest})


def _succeeded(job: Job, event: e.TasksSucceeded) -> Job:
    live = dict(job.live)
    for end in event.ends:
        del live[end.attempt]
    succeeded = intervals.union(job.succeeded, _tasks(event.ends))
    if not job.failures and not job.checkpoints and not job.preempted:
        return replace(job, live=live, succeeded=succeeded)
    over = {end.task for end in event.ends}  # these tasks neither fail nor resume any more
    failures = {task: count for task, count in job.failures.items() if task not in over}
    checkpoints = {task: newest for task, newest in job.checkpoints.items() if task not in over}
    preempted = {task: count for task, count in job.preempted.items() if task not in over}
    return replace(job, live=live, succeeded=succeeded, failures=failures, checkpoints=checkpoints, preempted=preempted)


def _failed(job: Job, event: e.TasksFailed) -> Job:
    failures = dict(job.failures)
    for end in event.ends:
        failures[end.task] = failures.get(end.task, 0) + 1
    after = _ended(job, tuple(end.attempt for end in event.ends), _tasks(event.ends))
    return replace(after, failures=failures)


def _lost(job: Job, event: e.TasksLost) -> Job:
    if job.ended is JobStatus.CANCELLED:
        return _ended_cancelled(job, event.attempts, event.tasks)
    return _ended(job, event.attempts, event.tasks)


def _stopping(job: Job, event: e.TasksStopping) -> Job:
    live = dict(job.live)
    grace_ms = None if event.grace_ms == job.spec.grace_ms else event.grace_ms
    for number in event.attempts:
        live[number] = replace(live[number], stopping=event.cause, grace_ms=grace_ms)
    return replace(job, live=live)


def _preempted(job: Job, event: e.TasksPreempted) -> Job:
    tasks = {each.task: job.preempted.get(each.task, 0) + 1 for each in event.attempts}
    return replace(job, preempted=job.preempted | tasks)


def _suspended(job: Job, event: e.TasksSuspended) -> Job:
    live = dict(job.live)
    for number in event.attempts:
        live[number] = replace(live[number], suspended_at_ms=event.at_ms)
    return replace(job, live=live)


def _tasks_resumed(job: Job, event: e.TasksResumed) -> Job:
    live = dict(job.live)
    for number in event.attempts:
        attempt = live[number]
        since_ms = event.at_ms if attempt.suspended_at_ms is None else attempt.suspended_at_ms
        stood_ms = attempt.suspended_ms + event.at_ms - since_ms
        live[number] = replace(attempt, suspended_at_ms=None, suspended_ms=stood_ms, resumed_ms=event.at_ms)
    return replace(job, live=live)


def _room_claimed(job: Job, event: e.RoomClaimed) -> Job:
    places = tuple([place.nodes for place in event.places])
    return replace(job, claim=Claim(event.mode, event.why, event.at_ms, places))


def _claim_released(job: Job, event: e.ClaimReleased) -> Job:
    return replace(job, claim=None)


def _protection_changed(job: Job, event: e.JobProtectionChanged) -> Job:
    return replace(job, protection=event.protection)


def _stopped(job: Job, event: e.TasksStopped) -> Job:
    numbers, tasks = tuple(end.attempt for end in event.ends), _tasks(event.ends)
    if event.cause is StopCause.CANCELLED or job.ended is JobStatus.CANCELLED:
        return _ended_cancelled(job, numbers, tasks)
    return _ended(job, numbers, tasks)


def _requeued(job: Job, event: e.TasksRequeued) -> Job:
    failed = intervals.difference(job.failed, event.tasks)
    if event.not_before_ms is None:
        return replace(job, failed=failed, waiting=intervals.union(job.waiting, event.tasks))
    return replace(job, failed=failed, delayed=tuple(sorted((*job.delayed, (event.not_before_ms, event.tasks)))))


def _completed(job: Job, event: e.JobCompleted) -> Job:
    return replace(job, ended=JobStatus.COMPLETED, ended_ms=event.at_ms)


def _job_failed(job: Job, event: e.JobFailed) -> Job:
    return replace(job, ended=JobStatus.FAILED, ended_ms=event.at_ms)


def _cancelled(job: Job, event: e.JobCancelled) -> Job:
    return replace(
        job,
        ended=JobStatus.CANCELLED,
        ended_ms=event.at_ms,
        cancelled=intervals.union(job.cancelled, job.unplaced),
        waiting="",
        delayed=(),
        gated="",
    )


def _retried(job: Job | None, event: e.JobRetried) -> Job:
    return event.job


def _with_attempt(job: Job, number: AttemptNumber, attempt: Attempt) -> Job:
    return replace(job, live=job.live | {number: attempt})


def _ended(job: Job, numbers: tuple[AttemptNumber, ...], tasks: TaskSet) -> Job:
    live = {n: attempt for n, attempt in job.live.items() if n not in numbers}
    return replace(job, live=live, failed=intervals.union(job.failed, tasks))


def _ended_cancelled(job: Job, numbers: tuple[AttemptNumber, ...], tasks: TaskSet) -> Job:
    live = {n: attempt for n, attempt in job.live.items() if n not in numbers}
    return replace(job, live=live, cancelled=intervals.union(job.cancelled, tasks))


def _tasks(ends: tuple[AttemptEnd, ...]) -> TaskSet:
    return str(ends[0].task) if len(ends) == 1 else intervals.of(end.task for end in ends)


EVOLVE: dict[type[e.JobEvent], Callable[[Any, Any], Job]] = {
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
    e.TasksSucceeded: _succeeded,
    e.TasksFailed: _failed,
    e.TasksLost: _lost,
    e.TasksStopping: _stopping,
    e.TasksStopped: _stopped,
    e.TasksRequeued: _requeued,
    e.TasksPreempted: _preempted,
    e.TasksSuspended: _suspended,
    e.TasksResumed: _tasks_resumed,
    e.RoomClaimed: _room_claimed,
    e.ClaimReleased: _claim_released,
    e.JobProtectionChanged: _protection_changed,
    e.JobCompleted: _completed,
    e.JobFailed: _job_failed,
    e.JobCancelled: _cancelled,
    e.JobApproved: _approved,
    e.JobRetried: _retried,
}
