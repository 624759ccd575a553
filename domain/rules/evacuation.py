"""Who must leave a node before a window begins there, when, and who may not be asked to.

A contract about interruption binds windows as it binds preemption: what is protected stays until it ends by itself.
"""

from collections.abc import Iterable, Mapping

from domain.client import Client
from domain.job.values import Attempt, AttemptNumber, Job, Protection
from domain.messages import ClientId
from domain.reservation import Owner, OwnerKind
from domain.time_range import TimeRange

FOREVER = 1 << 62
"""After the end of everything, as in `domain.planning.openings`."""
LEAD_MS = 1_000
"""An attempt is told to leave so long before its grace period has to begin, for messages and clocks."""


def owns(owner: Owner, job: Job) -> bool:
    """Whether a job may run on the nodes of a reservation while a window of it is open."""
    if owner.kind is OwnerKind.CLIENT:
        return job.spec.client_id == owner.id
    if owner.kind is OwnerKind.WORKFLOW:
        return job.spec.workflow_id == owner.id
    return owner.kind is OwnerKind.PARTITION and partition_of(job) == owner.id


def partition_of(job: Job) -> str:
    """The partition that a job is limited to; empty for none."""
    return job.spec.requirement.partition


def contract_of(clients: Mapping[ClientId, Client], job: Job) -> Protection | None:
    """The contract about interruption that holds for a job: its own, else its client's."""
    if job.protection is not None:
        return job.protection
    client = clients.get(job.spec.client_id)
    return None if client is None else client.protection


def must_be_left_alone(job: Job, number: AttemptNumber, contract: Protection | None, at_ms: int) -> bool:
    """Whether a contract forbids to send a live attempt away at a moment."""
    if contract is None:
        return False
    if contract.never or (contract.until_ms is not None and at_ms < contract.until_ms):
        return True
    if not contract.after_checkpoint:
        return False
    saved = job.checkpoints.get(job.live[number].task)
    return saved is None or saved.attempt != number


def would_leave(job: Job, contract: Protection | None, now_ms: int) -> bool:
    """Whether an attempt that starts now is sure to save its state and go when a window needs its node."""
    if not job.spec.checkpoints:
        return False
    if contract is None:
        return True
    bound = contract.until_ms is not None and now_ms < contract.until_ms
    return not (contract.never or contract.after_checkpoint or bound)


def notice_ms(job: Job) -> int:
    """How long before a window begins an attempt of a job is told to leave."""
    return job.spec.grace_ms + LEAD_MS


def latest_end_ms(job: Job, attempt: Attempt) -> int:
    """When a live attempt has ended for sure: by its walltime; FOREVER if it has none, or stands still."""
    if job.spec.walltime_ms is None or job.paused or attempt.suspended_at_ms is not None:
        return FOREVER
    return attempt.placed_ms + job.paused_ms + attempt.suspended_ms + job.spec.walltime_ms


def leaves_at_ms(job: Job, attempt: Attempt, windows: Iterable[TimeRange]) -> int | None:
    """When an attempt is to be told to leave for the first window that it would meet; None if it meets none."""
    end_ms = latest_end_ms(job, attempt)
    met = [window.start_ms for window in windows if window.start_ms < end_ms]
    return min(met) - notice_ms(job) if met else None
