"""Checkpoint: saved state of a task from which a later attempt resumes.

The artefact (file, size, SHA-256) belongs to the program; the snapshot of the Job taken in the same transaction belongs
to us. Restoring is both together. A FULL checkpoint stands alone.
"""

from enum import StrEnum

from msgspec.structs import replace

from domain import errors
from domain.messages import CheckpointId, Command, Event, JobId, Value


class CheckpointType(StrEnum):
    """What a checkpoint is relative to."""

    FULL = "full"
    INCREMENTAL = "incremental"
    DELTA = "delta"
    METADATA = "metadata"


class CheckpointState(StrEnum):
    """Whether it can be used."""

    TAKEN = "taken"
    VERIFIED = "verified"
    CORRUPT = "corrupt"
    DISCARDED = "discarded"


class CheckpointTaken(Event, frozen=True, kw_only=True, tag="checkpoint.taken"):
    """A task saved its state."""

    checkpoint_id: CheckpointId
    job_id: JobId
    task: int
    attempt: int
    location: str
    size_bytes: int
    sha256: str
    progress: int
    """How much of the task it stands for, in percent."""
    job_version: int
    """The version of the job's stream whose snapshot was stored with it."""
    position: int
    """The log position that the snapshot follows."""
    type: CheckpointType = CheckpointType.FULL


class CheckpointVerified(Event, frozen=True, kw_only=True, tag="checkpoint.verified"):
    """The artefact was read again and is what it was."""

    checkpoint_id: CheckpointId
    job_id: JobId


class CheckpointCorrupt(Event, frozen=True, kw_only=True, tag="checkpoint.corrupt"):
    """The artefact is missing or has changed; nothing resumes from it."""

    checkpoint_id: CheckpointId
    job_id: JobId
    why: str


class CheckpointRestored(Event, frozen=True, kw_only=True, tag="checkpoint.restored"):
    """An attempt was started from it."""

    checkpoint_id: CheckpointId
    job_id: JobId
    attempt: int


class CheckpointDiscarded(Event, frozen=True, kw_only=True, tag="checkpoint.discarded"):
    """It is no longer kept."""

    checkpoint_id: CheckpointId
    job_id: JobId
    why: str = ""


CheckpointEvent = CheckpointTaken | CheckpointVerified | CheckpointCorrupt | CheckpointRestored | CheckpointDiscarded


class TakeCheckpoint(Command, frozen=True, kw_only=True, tag="take-checkpoint"):
    """A task reported that it saved its state."""

    checkpoint_id: CheckpointId
    job_id: JobId
    task: int
    attempt: int
    location: str
    size_bytes: int
    sha256: str
    progress: int = 0
    job_version: int = 0
    position: int = 0
    type: CheckpointType = CheckpointType.FULL


class VerifyCheckpoint(Command, frozen=True, kw_only=True, tag="verify-checkpoint"):
    """Somebody read the artefact again; an empty problem means it is sound."""

    checkpoint_id: CheckpointId
    problem: str = ""


class RestoreCheckpoint(Command, frozen=True, kw_only=True, tag="restore-checkpoint"):
    """An attempt starts from it."""

    checkpoint_id: CheckpointId
    attempt: int


class DiscardCheckpoint(Command, frozen=True, kw_only=True, tag="discard-checkpoint"):
    """Keep it no longer."""

    checkpoint_id: CheckpointId
    why: str = ""


CheckpointCommand = TakeCheckpoint | VerifyCheckpoint | RestoreCheckpoint | DiscardCheckpoint


class Checkpoint(Value, frozen=True):
    """The state of one checkpoint."""

    checkpoint_id: CheckpointId
    job_id: JobId
    task: int
    location: str
    size_bytes: int
    sha256: str
    progress: int
    job_version: int
    type: CheckpointType = CheckpointType.FULL
    state: CheckpointState = CheckpointState.TAKEN

    @property
    def usable(self) -> bool:
        """Whether an attempt may start from it."""
        return self.state in (CheckpointState.TAKEN, CheckpointState.VERIFIED)


def decide(checkpoint: Checkpoint | None, command: CheckpointCommand, now_ms: int) -> tuple[CheckpointEvent, ...]:
    """A checkpoint is taken once; only a usable one is restored; a discarded one is gone."""
    if isinstance(command, TakeCheckpoint):
        return () if checkpoint is not None else (_taken(command, now_ms),)
    if checkpoint is None:
        raise errors.CheckpointNotFound(checkpoint_id=command.checkpoint_id)
    ids = (now_ms, checkpoint.checkpoint_id, checkpoint.job_id)
    if isinstance(command, DiscardCheckpoint):
        gone = checkpoint.state is CheckpointState.DISCARDED
        return () if gone else (_discarded(*ids, command.why),)
    if not checkpoint.usable:
        raise errors.CheckpointStateForbids(
            checkpoint_id=checkpoint.checkpoint_id,
            state=checkpoint.state,
            verb=command.__struct_config__.tag,
        )
    if isinstance(command, RestoreCheckpoint):
        return (_restored(*ids, command.attempt),)
    if command.problem:
        return (_corrupt(*ids, command.problem),)
    verified = checkpoint.state is CheckpointState.VERIFIED
    return () if verified else (_verified(*ids),)


def _taken(command: TakeCheckpoint, now_ms: int) -> CheckpointTaken:
    return CheckpointTaken(
        at_ms=now_ms,
        checkpoint_id=command.checkpoint_id,
        job_id=command.job_id,
        task=command.task,
        attempt=command.attempt,
        location=command.location,
        size_bytes=command.size_bytes,
        sha256=command.sha256,
        progress=command.progress,
        job_version=command.job_version,
        position=command.position,
        type=command.type,
    )


def _verified(now_ms: int, checkpoint_id: str, job_id: str) -> CheckpointVerified:
    return CheckpointVerified(at_ms=now_ms, checkpoint_id=checkpoint_id, job_id=job_id)


def _corrupt(now_ms: int, checkpoint_id: str, job_id: str, why: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(at_ms=now_ms, checkpoint_id=checkpoint_id, job_id=job_id, why=why)


def _restored(now_ms: int, checkpoint_id: str, job_id: str, attempt: int) -> CheckpointRestored:
    return CheckpointRestored(at_ms=now_ms, checkpoint_id=checkpoint_id, job_id=job_id, attempt=attempt)


def _discarded(now_ms: int, checkpoint_id: str, job_id: str, why: str) -> CheckpointDiscarded:
    return CheckpointDiscarded(at_ms=now_ms, checkpoint_id=checkpoint_id, job_id=job_id, why=why)


def evolve(checkpoint: Checkpoint | None, event: CheckpointEvent) -> Checkpoint:
    """The state after one more fact."""
    if isinstance(event, CheckpointTaken):
        return Checkpoint(
            event.checkpoint_id,
            event.job_id,
            event.task,
            event.location,
            event.size_bytes,
            event.sha256,
            event.progress,
            event.job_version,
            event.type,
        )
    assert checkpoint is not None
    if isinstance(event, CheckpointVerified):
        return replace(checkpoint, state=CheckpointState.VERIFIED)
    if isinstance(event, CheckpointCorrupt):
        return replace(checkpoint, state=CheckpointState.CORRUPT)
    if isinstance(event, CheckpointDiscarded):
        return replace(checkpoint, state=CheckpointState.DISCARDED)
    return checkpoint
