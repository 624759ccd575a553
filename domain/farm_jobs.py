"""How each event of a job moves the farm's indices: nodes, queue, ends, back-offs, tallies, and what is forgotten."""

from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from domain.job import events as e
from domain.job.values import Job
from domain.messages import Event

if TYPE_CHECKING:
    from domain.farm import Farm


def _resettle(farm: "Farm", before: Job | None, after: Job, event: Event) -> None:
    farm.jobs[after.spec.job_id] = after
    farm._settle(after)
    farm.tallies.move(before, after)


def _paused(farm: "Farm", before: Job | None, after: Job, event: Event) -> None:
    _resettle(farm, before, after, event)
    farm.endings.move(after, farm.index)


def _suspension(farm: "Farm", before: Job, after: Job, event: e.TasksSuspended | e.TasksResumed) -> None:
    """Cores are given back or taken again; everything else stays where it is."""
    farm._release(before, event.attempts)
    farm.jobs[after.spec.job_id] = after
    for number in event.attempts:
        farm._allocate(after, number, after.live[number])


def _retried(farm: "Farm", before: Job | None, after: Job, event: e.JobRetried) -> None:
    farm._reopen(after)
    farm.jobs[after.spec.job_id] = after
    farm._settle(after)
    farm.tallies.reopen(after)


def _only_state(farm: "Farm", before: Job | None, after: Job, event: Event) -> None:
    farm.jobs[after.spec.job_id] = after


def _placed(farm: "Farm", before: Job, after: Job, event: e.TasksPlaced) -> None:
    farm.jobs[after.spec.job_id] = after
    for number in range(before.next_attempt, after.next_attempt):
        farm._allocate(after, number, after.live[number])
    farm._settle(after)
    farm.tallies.move(before, after)


FREEING = frozenset({e.TasksSucceeded, e.TasksFailed, e.TasksStopped, e.TasksLost})
"""What lets nodes fall idle."""


def _ended(farm: "Farm", before: Job, after: Job, event: e.TasksSucceeded | e.TasksFailed | e.TasksStopped) -> None:
    if farm.idle.from_ms is not None:
        farm._note_freed(before, event)
    farm._release(before, [end.attempt for end in event.ends])
    _keep_or_forget(farm, before, after)


def _succeeded(farm: "Farm", before: Job, after: Job, event: e.TasksSucceeded) -> None:
    farm.learn(before, event)
    _ended(farm, before, after, event)


def _lost(farm: "Farm", before: Job, after: Job, event: e.TasksLost) -> None:
    if farm.idle.from_ms is not None:
        farm._note_freed(before, event)
    farm._release(before, event.attempts)
    _keep_or_forget(farm, before, after)


def _closed(farm: "Farm", before: Job, after: Job, event: Event) -> None:
    _keep_or_forget(farm, before, after)


def _keep_or_forget(farm: "Farm", before: Job, after: Job) -> None:
    farm.tallies.move(before, after)
    if after.ended is not None and not after.live:
        farm._forget_job(after)
    else:
        farm.jobs[after.spec.job_id] = after
        farm._settle(after)


JOB_INDEX: dict[type[Event], Callable[..., None]] = dict.fromkeys(get_args(e.JobEvent), _resettle) | {
    e.JobPaused: _paused,
    e.JobResumed: _paused,
    e.TasksPlaced: _placed,
    e.TasksStarted: _only_state,
    e.ProgressMarked: _only_state,
    e.PartialPublished: _only_state,
    e.TaskCheckpointed: _only_state,
    e.TasksStopping: _only_state,
    e.TasksPreempted: _only_state,
    e.TasksSuspended: _suspension,
    e.TasksResumed: _suspension,
    e.RoomClaimed: _only_state,
    e.ClaimReleased: _only_state,
    e.JobProtectionChanged: _only_state,
    e.TasksSucceeded: _succeeded,
    e.TasksFailed: _ended,
    e.TasksStopped: _ended,
    e.TasksLost: _lost,
    e.JobCompleted: _closed,
    e.JobFailed: _closed,
    e.JobCancelled: _closed,
    e.JobRetried: _retried,
}
