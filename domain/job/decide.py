"""The rules of a job: which wishes become facts.

Every function is one command; its docstring is the rule. Wanted state already there: no events. Rule broken: an error.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

from msgspec.structs import replace

from domain import errors, intervals
from domain.job import commands as c
from domain.job import events as e
from domain.job import interrupting
from domain.job.checks import check_slots, check_spec, check_time, must_not_have_ended, ready
from domain.job.evolve import evolve
from domain.job.interrupting import released
from domain.job.values import (
    AttemptEnd,
    AttemptNumber,
    FailureClass,
    Job,
    JobStatus,
    Placement,
    Priority,
    StopCause,
    TaskCheckpoint,
    gate,
)
from domain.messages import NodeId

Events = tuple[e.JobEvent, ...]
MAX_BACKOFF_MS = 3_600_000
_ASKED_FOR = (
    StopCause.CANCELLED,
    StopCause.REQUEUED,
    StopCause.GANG_BROKEN,
    StopCause.PREEMPTED,
    StopCause.EVACUATED,
)
"""An attempt stopped for one of these did not fail."""
PROGRESS_STEP = 25
"""Progress is a fact only when it crosses a multiple of this; the rest is telemetry."""


def decide(job: Job | None, command: c.JobCommand, now_ms: int) -> Events:
    """The facts that follow from a command in the present state of its job."""
    if isinstance(command, c.SubmitJob):
        return submit(job, command, now_ms)
    if job is None:
        raise errors.JobNotFound(job_id=command.job_id)
    return _DECIDE[type(command)](job, command, now_ms)


def submit(job: Job | None, command: c.SubmitJob, now_ms: int) -> Events:
    """A job is accepted once; the same submission again is harmless, another one under its id is refused."""
    spec = command.spec
    if job is not None:
        if job.spec == spec:
            return ()
        raise errors.JobExists(job_id=spec.job_id)
    check_spec(spec)
    starts_later = spec.not_before_ms is not None and spec.not_before_ms > now_ms
    queued = not command.after and not starts_later
    return (e.JobSubmitted(at_ms=now_ms, spec=spec, queued=queued, held=command.held),)


def queue(job: Job, command: c.QueueJob, now_ms: int) -> Events:
    """A job that has not ended is queued once."""
    if job.queued or job.ended is not None:
        return ()
    return (e.JobQueued(at_ms=now_ms, job_id=job.spec.job_id),)


def unqueue(job: Job, command: c.UnqueueJob, now_ms: int) -> Events:
    """A queued job whose dependency was reopened starts nothing further; what runs goes on."""
    if not job.queued or job.ended is not None:
        return ()
    unqueued = e.JobUnqueued(at_ms=now_ms, job_id=job.spec.job_id, why=command.why)
    return (unqueued, *released(job, "unqueued", now_ms))


def hold(job: Job, command: c.HoldJob, now_ms: int) -> Events:
    """Any job that has not ended can be held; running tasks go on."""
    must_not_have_ended(job, "hold")
    if job.held:
        return ()
    return (e.JobHeld(at_ms=now_ms, job_id=job.spec.job_id, why=command.why), *released(job, "held", now_ms))


def unhold(job: Job, command: c.UnholdJob, now_ms: int) -> Events:
    """A held job is given back to the queue."""
    must_not_have_ended(job, "unhold")
    return (e.JobUnheld(at_ms=now_ms, job_id=job.spec.job_id, why=command.why),) if job.held else ()


def pause(job: Job, command: c.PauseJob, now_ms: int) -> Events:
    """Any job that has not ended can be paused; its attempts keep their resources, suspended."""
    must_not_have_ended(job, "pause")
    if job.paused:
        return ()
    return (e.JobPaused(at_ms=now_ms, job_id=job.spec.job_id, why=command.why), *released(job, "paused", now_ms))


def resume(job: Job, command: c.ResumeJob, now_ms: int) -> Events:
    """A paused job goes on."""
    must_not_have_ended(job, "resume")
    return (e.JobResumed(at_ms=now_ms, job_id=job.spec.job_id, why=command.why),) if job.paused else ()


def prioritize(job: Job, command: c.PrioritizeJob, now_ms: int) -> Events:
    """The priority of a job that has not ended can change at any time."""
    must_not_have_ended(job, "prioritize")
    if job.priority is command.priority:
        return ()
    return (
        e.JobPriorityChanged(
            at_ms=now_ms,
            job_id=job.spec.job_id,
            priority=Priority(command.priority),
            before=job.priority,
            why=command.why,
        ),
    )


def set_deadline(job: Job, command: c.SetDeadline, now_ms: int) -> Events:
    """The deadline of a job that has not ended can change at any time."""
    must_not_have_ended(job, "set-deadline")
    check_time(job.spec.job_id, "deadline_ms", command.deadline_ms)
    if job.deadline_ms == command.deadline_ms:
        return ()
    return (
        e.JobDeadlineChanged(
            at_ms=now_ms,
            job_id=job.spec.job_id,
            deadline_ms=command.deadline_ms,
            before_ms=job.deadline_ms,
            why=command.why,
        ),
    )


def place(job: Job, command: c.PlaceTasks, now_ms: int) -> Events:
    """Only waiting tasks of a startable job whose back-off has passed are placed, each on all its slots."""
    if not command.placements:
        return ()
    if not job.startable:
        raise errors.TasksNotWaiting(job_id=job.spec.job_id, tasks=command.placements[0].tasks)
    free, number = ready(job, now_ms), job.next_attempt
    numbered = []
    for placement in command.placements:
        left = intervals.difference(free, placement.tasks)
        count = intervals.size(placement.tasks)
        if intervals.size(free) - intervals.size(left) != count:
            raise errors.TasksNotWaiting(job_id=job.spec.job_id, tasks=placement.tasks)
        check_slots(job, placement.nodes)
        numbered.append(Placement(placement.tasks, placement.nodes, number))
        free, number = left, number + count
    return (
        e.TasksPlaced(
            at_ms=now_ms,
            job_id=job.spec.job_id,
            client_id=job.spec.client_id,
            placements=tuple(numbered),
            reason=command.reason,
        ),
    )


def report_started(job: Job, command: c.ReportStarted, now_ms: int) -> Events:
    """A live attempt starts once; reports about superseded attempts are ignored."""
    live = job.live
    new = [n for n in dict.fromkeys(command.attempts) if n in live and live[n].started_ms is None]
    return (e.TasksStarted(at_ms=now_ms, job_id=job.spec.job_id, attempts=tuple(new)),) if new else ()


def report_progress(job: Job, command: c.ReportProgress, now_ms: int) -> Events:
    """Progress is recorded when it crosses a step; going backwards is not progress."""
    attempt = job.live.get(command.attempt)
    if attempt is None:
        return ()
    percent = max(0, min(100, command.percent))
    step = percent - percent % PROGRESS_STEP
    if step <= attempt.progress:
        return ()
    return (
        e.ProgressMarked(
            at_ms=now_ms,
            job_id=job.spec.job_id,
            task=attempt.task,
            attempt=command.attempt,
            percent=step,
            status=command.status,
        ),
    )


def report_partial(job: Job, command: c.ReportPartial, now_ms: int) -> Events:
    """What a live attempt publishes is recorded; a superseded one publishes nothing."""
    attempt = job.live.get(command.attempt)
    if attempt is None:
        return ()
    return (
        e.PartialPublished(
            at_ms=now_ms,
            job_id=job.spec.job_id,
            task=attempt.task,
            attempt=command.attempt,
            path=command.path,
            quality=command.quality,
            cost_ms=command.cost_ms,
        ),
    )


def note_checkpoint(job: Job, command: c.NoteCheckpoint, now_ms: int) -> Events:
    """Only a live attempt can leave a checkpoint for its task, each checkpoint once."""
    attempt = job.live.get(command.attempt)
    if attempt is None:
        raise errors.AttemptNotFound(job_id=job.spec.job_id, attempt=command.attempt)
    known = job.checkpoints.get(attempt.task)
    if known is not None and known.checkpoint_id == command.checkpoint_id:
        return ()
    ran_ms = attempt.ran_ms(now_ms)
    return (
        e.TaskCheckpointed(
            at_ms=now_ms,
            job_id=job.spec.job_id,
            task=attempt.task,
            attempt=command.attempt,
            checkpoint_id=command.checkpoint_id,
            location=command.location,
            progress=command.progress,
            ran_ms=ran_ms,
            kept_ms=_kept_before(known, command.attempt) + ran_ms,
        ),
    )


def _kept_before(known: TaskCheckpoint | None, number: AttemptNumber) -> int:
    """The run time that an attempt had to begin with, because it went on from a checkpoint of another one."""
    if known is None:
        return 0
    return known.kept_ms - known.ran_ms if known.attempt == number else known.kept_ms


def report_ended(job: Job, command: c.ReportEnded, now_ms: int) -> Events:
    """Every live attempt ends once: well, badly, or because it was told to; failed tasks retry while they may."""
    ends = _of_live_attempts(job, command.ends)
    events: list[e.JobEvent] = []
    succeeded = tuple(end for end in ends if end.failure is None)
    if succeeded:
        events.append(e.TasksSucceeded(at_ms=now_ms, job_id=job.spec.job_id, ends=succeeded))
    if len(succeeded) < len(ends):
        events += _ended_badly(job, [end for end in ends if end.failure is not None], now_ms)
    return _and_close(job, events, now_ms)


def _of_live_attempts(job: Job, ends: tuple[AttemptEnd, ...]) -> list[AttemptEnd]:
    """The first report about each live attempt; what names another task than the attempt's is about something else."""
    known: dict[AttemptNumber, AttemptEnd] = {}
    for end in ends:
        attempt = job.live.get(end.attempt)
        if attempt is not None and attempt.task == end.task:
            known.setdefault(end.attempt, end)
    return list(known.values())


def _ended_badly(job: Job, ends: list[AttemptEnd], now_ms: int) -> list[e.JobEvent]:
    events: list[e.JobEvent] = []
    for cause in _ASKED_FOR:
        stopped = tuple(end for end in ends if job.live[end.attempt].stopping is cause)
        if stopped:
            events.append(e.TasksStopped(at_ms=now_ms, job_id=job.spec.job_id, ends=stopped, cause=cause))
            if cause is not StopCause.CANCELLED and job.ended is None:
                tasks = intervals.of(end.task for end in stopped)
                events.append(e.TasksRequeued(at_ms=now_ms, job_id=job.spec.job_id, tasks=tasks, why=cause.value))
    ends = [end for end in ends if job.live[end.attempt].stopping not in _ASKED_FOR]
    lost = [end for end in ends if end.failure is FailureClass.LOST]
    if lost:
        events += _lost_with_their_node(job, lost, now_ms)
    failed = tuple(_as_failure(job, end) for end in ends if end.failure is not FailureClass.LOST)
    if failed:
        events.append(e.TasksFailed(at_ms=now_ms, job_id=job.spec.job_id, ends=failed))
        events += _retries(job, failed, now_ms)
    return events


def _lost_with_their_node(job: Job, ends: list[AttemptEnd], now_ms: int) -> list[e.JobEvent]:
    """An end that its node could not see is a loss, not a failure: it costs no retry."""
    by_node: dict[NodeId, list[AttemptNumber]] = {}
    for end in ends:
        by_node.setdefault(job.live[end.attempt].nodes[0][0], []).append(end.attempt)
    return [
        event for node_id, numbers in sorted(by_node.items()) for event in _lost(job, node_id, tuple(numbers), now_ms)
    ]


def _as_failure(job: Job, end: AttemptEnd) -> AttemptEnd:
    """An attempt that was stopped for its walltime failed by walltime, whatever signal did it."""
    over = job.live[end.attempt].stopping is StopCause.WALLTIME
    return replace(end, failure=FailureClass.WALLTIME) if over else end


def _retries(job: Job, failed: tuple[AttemptEnd, ...], now_ms: int) -> list[e.JobEvent]:
    """One requeue event per back-off: the delay doubles with each failure of a task."""
    if job.ended is not None:
        return []
    groups: dict[tuple[int, FailureClass], list[int]] = {}
    for end in failed:
        before = job.failures.get(end.task, 0)
        if before < job.spec.retries and end.failure is not None:
            delay = min(job.spec.backoff_ms << min(before, 32), MAX_BACKOFF_MS)
            groups.setdefault((delay, end.failure), []).append(end.task)
    return [
        e.TasksRequeued(
            at_ms=now_ms,
            job_id=job.spec.job_id,
            tasks=intervals.of(tasks),
            why=failure.value,
            not_before_ms=now_ms + delay if delay else None,
        )
        for (delay, failure), tasks in sorted(groups.items())
    ]


def lose(job: Job, command: c.LoseAttempts, now_ms: int) -> Events:
    """Attempts of a lost node are over; their tasks wait again at once, without counting as failures."""
    numbers = tuple(n for n in dict.fromkeys(command.attempts) if n in job.live)
    if not numbers:
        return ()
    return _and_close(job, _lost(job, command.node_id, numbers, now_ms), now_ms)


def _lost(job: Job, node_id: NodeId, numbers: tuple[AttemptNumber, ...], now_ms: int) -> list[e.JobEvent]:
    tasks = intervals.of(job.live[n].task for n in numbers)
    job_id = job.spec.job_id
    events: list[e.JobEvent] = [
        e.TasksLost(at_ms=now_ms, job_id=job_id, node_id=node_id, attempts=numbers, tasks=tasks)
    ]
    if job.ended is None:
        events.append(e.TasksRequeued(at_ms=now_ms, job_id=job_id, tasks=tasks, why=FailureClass.LOST.value))
    return events


def stop(job: Job, command: c.StopAttempts, now_ms: int) -> Events:
    """Live attempts are told to end, each once."""
    return _stopping(job, command.attempts, command.cause, now_ms)


def requeue(job: Job, command: c.RequeueTasks, now_ms: int) -> Events:
    """Running tasks of a job that has not ended are stopped, to wait again when their attempts are gone."""
    must_not_have_ended(job, "requeue")
    numbers = tuple(
        n for n, a in job.live.items() if command.tasks is None or intervals.contains(command.tasks, a.task)
    )
    return _stopping(job, numbers, StopCause.REQUEUED, now_ms, command.why)


def _stopping(job: Job, numbers: tuple[AttemptNumber, ...], cause: StopCause, now_ms: int, why: str = "") -> Events:
    new = tuple(n for n in dict.fromkeys(numbers) if n in job.live and job.live[n].stopping is None)
    if not new:
        return ()
    spec = job.spec
    return (
        e.TasksStopping(at_ms=now_ms, job_id=spec.job_id, attempts=new, cause=cause, grace_ms=spec.grace_ms, why=why),
    )


def approve(job: Job, command: c.ApproveJob, now_ms: int) -> Events:
    """The tasks of a job that wait for approval go on; it is given once. NothingToApprove for a job that asks none."""
    if job.spec.progressive is None or not job.spec.progressive.approve:
        raise errors.NothingToApprove(job_id=job.spec.job_id)
    if not job.gated and job.ended is None:
        return ()
    must_not_have_ended(job, "approve")
    return (e.JobApproved(at_ms=now_ms, job_id=job.spec.job_id, tasks=job.gated, why=command.why),)


def retry(job: Job, command: c.RetryJob, now_ms: int) -> Events:
    """A failed or cancelled job is opened again for the tasks that did not succeed, once nothing of it runs.

    NothingToRetry for a job of which every task has succeeded.
    """
    if job.ended is None or job.live:
        status = "still stopping" if job.ended is not None else job.status
        raise errors.JobNotEnded(job_id=job.spec.job_id, status=status, verb="retry")
    tasks = intervals.union(job.failed, job.cancelled)
    if not tasks:
        raise errors.NothingToRetry(job_id=job.spec.job_id, status=job.ended)
    first, gated = gate(job.spec, tasks) if not job.approved else (tasks, "")
    opened = replace(
        job,
        ended=None,
        ended_ms=None,
        failed="",
        cancelled="",
        waiting=first,
        gated=gated,
        failures={},
        paused=False,
        paused_at_ms=None,
    )
    return (e.JobRetried(at_ms=now_ms, job_id=job.spec.job_id, tasks=tasks, job=opened, why=command.why),)


def cancel(job: Job, command: c.CancelJob, now_ms: int) -> Events:
    """A job ends at once when cancelled; its running attempts are told to stop. A cancelled one stays as it is."""
    if job.ended is JobStatus.CANCELLED:
        return ()
    must_not_have_ended(job, "cancel")
    cancelled = e.JobCancelled(at_ms=now_ms, job_id=job.spec.job_id, why=command.why)
    return (
        *released(job, "cancelled", now_ms),
        cancelled,
        *_stopping(job, tuple(job.live), StopCause.CANCELLED, now_ms),
    )


def _and_close(job: Job, events: list[e.JobEvent], now_ms: int) -> Events:
    """Adds the end of the job where these events were its last."""
    if not events or job.ended is not None:
        return tuple(events)
    after = reduce(evolve, events, job)
    if after.waiting or after.delayed or after.live or after.gated:
        return tuple(events)
    if after.failed:
        return (*events, e.JobFailed(at_ms=now_ms, job_id=job.spec.job_id, failed=after.failed))
    if after.cancelled:
        return (*events, e.JobCancelled(at_ms=now_ms, job_id=job.spec.job_id, why="tasks of it were cancelled"))
    return (*events, e.JobCompleted(at_ms=now_ms, job_id=job.spec.job_id))


_DECIDE: dict[type[c.JobCommand], Callable[[Job, Any, int], Events]] = {
    c.SubmitJob: submit,
    c.QueueJob: queue,
    c.UnqueueJob: unqueue,
    c.HoldJob: hold,
    c.UnholdJob: unhold,
    c.PauseJob: pause,
    c.ResumeJob: resume,
    c.PrioritizeJob: prioritize,
    c.SetDeadline: set_deadline,
    c.PlaceTasks: place,
    c.ReportStarted: report_started,
    c.ReportEnded: report_ended,
    c.ReportProgress: report_progress,
    c.ReportPartial: report_partial,
    c.NoteCheckpoint: note_checkpoint,
    c.LoseAttempts: lose,
    c.StopAttempts: stop,
    c.RequeueTasks: requeue,
    c.ClaimRoom: interrupting.claim,
    c.PreemptTasks: interrupting.preempt,
    c.ResumeTasks: interrupting.resume_tasks,
    c.ReleaseClaim: interrupting.release,
    c.ProtectJob: interrupting.protect,
    c.ApproveJob: approve,
    c.RetryJob: retry,
    c.CancelJob: cancel,
}
