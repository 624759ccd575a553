"""The rules of interruption: room that is held for a job, attempts that make way, contracts that forbid it."""

from domain import errors, intervals
from domain.job import commands as c
from domain.job import events as e
from domain.job.checks import check_slots, check_time, must_not_have_ended, ready
from domain.job.values import Job, PreemptedAttempt, PreemptionMode, StopCause, unsaved_ms

Events = tuple[e.JobEvent, ...]


def claim(job: Job, command: c.ClaimRoom, now_ms: int) -> Events:
    """Room is held for waiting tasks of a startable job, as many as there are places; one claim at a time."""
    tasks = ready(job, now_ms)
    if not job.startable or job.claim is not None or not 0 < len(command.places) <= intervals.size(tasks):
        raise errors.TasksNotWaiting(job_id=job.spec.job_id, tasks=tasks)
    for place in command.places:
        check_slots(job, place.nodes)
    requirement = job.spec.requirement
    return (
        e.RoomClaimed(
            at_ms=now_ms,
            job_id=job.spec.job_id,
            client_id=job.spec.client_id,
            mode=command.mode,
            why=command.why,
            places=command.places,
            victims=command.victims,
            alternatives=command.alternatives,
            considered=command.considered,
            millicores=requirement.resources.millicores * requirement.slots,
        ),
    )


def release(job: Job, command: c.ReleaseClaim, now_ms: int) -> Events:
    """What is held is held no more."""
    return released(job, command.why, now_ms)


def released(job: Job, why: str, now_ms: int) -> Events:
    """The end of a job's claim, if it has one."""
    return () if job.claim is None else (e.ClaimReleased(at_ms=now_ms, job_id=job.spec.job_id, why=why),)


def preempt(job: Job, command: c.PreemptTasks, now_ms: int) -> Events:
    """Live attempts that are not stopping make way, unless their job's own contract forbids it at this moment.

    Suspended ones cannot be suspended again. AttemptNotFound, JobProtected.
    """
    for number in command.attempts:
        attempt = job.live.get(number)
        again = attempt is not None and command.mode is PreemptionMode.SUSPEND and attempt.suspended_at_ms is not None
        if attempt is None or attempt.stopping is not None or again:
            raise errors.AttemptNotFound(job_id=job.spec.job_id, attempt=number)
        if is_protected(job, number, now_ms):
            raise errors.JobProtected(job_id=job.spec.job_id, attempt=number)
    preempted = e.TasksPreempted(
        at_ms=now_ms,
        job_id=job.spec.job_id,
        attempts=tuple([_loss(job, number, command.mode, now_ms) for number in command.attempts]),
        preemptor=command.preemptor,
        mode=command.mode,
        why=command.why,
    )
    return (preempted, _making_way(job, command, now_ms))


def is_protected(job: Job, number: int, now_ms: int) -> bool:
    """Whether a job's own contract forbids to interrupt one of its attempts now."""
    contract = job.protection
    if contract is None:
        return False
    if contract.never or (contract.until_ms is not None and now_ms < contract.until_ms):
        return True
    return contract.after_checkpoint and not has_saved(job, number)


def has_saved(job: Job, number: int) -> bool:
    """Whether an attempt has saved its state since its own start."""
    saved = job.checkpoints.get(job.live[number].task)
    return saved is not None and saved.attempt == number


def expected_loss_ms(job: Job, number: int, mode: PreemptionMode, now_ms: int) -> int:
    """How much run time is to be done again: nothing where the state is kept or saved on demand."""
    keeps = mode is PreemptionMode.SUSPEND or (mode is PreemptionMode.CHECKPOINT and job.spec.checkpoints)
    return 0 if keeps else unsaved_ms(job, number, now_ms)


def _loss(job: Job, number: int, mode: PreemptionMode, now_ms: int) -> PreemptedAttempt:
    attempt = job.live[number]
    saved = job.checkpoints.get(attempt.task)
    return PreemptedAttempt(
        attempt=number,
        task=attempt.task,
        ran_ms=attempt.ran_ms(now_ms),
        lost_ms=expected_loss_ms(job, number, mode, now_ms),
        checkpoint_id=None if saved is None else saved.checkpoint_id,
    )


def _making_way(job: Job, command: c.PreemptTasks, now_ms: int) -> e.TasksSuspended | e.TasksStopping:
    job_id, preemptor = job.spec.job_id, command.preemptor
    if command.mode is PreemptionMode.SUSPEND:
        return e.TasksSuspended(at_ms=now_ms, job_id=job_id, attempts=command.attempts, preemptor=preemptor)
    return e.TasksStopping(
        at_ms=now_ms,
        job_id=job_id,
        attempts=command.attempts,
        cause=StopCause.PREEMPTED,
        grace_ms=job.spec.grace_ms if command.grace_ms is None else command.grace_ms,
    )


def resume_tasks(job: Job, command: c.ResumeTasks, now_ms: int) -> Events:
    """Suspended attempts that have not ended go on; those of a paused job stand still until that is resumed, too."""
    suspended = tuple(
        n for n in dict.fromkeys(command.attempts) if n in job.live and job.live[n].suspended_at_ms is not None
    )
    return (e.TasksResumed(at_ms=now_ms, job_id=job.spec.job_id, attempts=suspended),) if suspended else ()


def protect(job: Job, command: c.ProtectJob, now_ms: int) -> Events:
    """The contract of a job that has not ended can change at any time; what was interrupted before stays so."""
    must_not_have_ended(job, "protect")
    if command.protection is not None:
        check_time(job.spec.job_id, "protection", command.protection.until_ms)
    if job.protection == command.protection:
        return ()
    return (
        e.JobProtectionChanged(
            at_ms=now_ms,
            job_id=job.spec.job_id,
            protection=command.protection,
            before=job.protection,
            why=command.why,
        ),
    )
