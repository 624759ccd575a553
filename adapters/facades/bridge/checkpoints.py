"""Checkpoints of callers in the words of the core."""

from typing import Any

from adapters.facades.bridge import names
from adapters.facades.bridge.desk import Desk
from adapters.facades.bridge.jobs import Jobs, jobs_of
from domain.checkpoint import (
    CheckpointType,
    DiscardCheckpoint,
    RestoreCheckpoint,
    TakeCheckpoint,
    VerifyCheckpoint,
)


class Checkpoints:
    """All checkpoints that facades of one application have told the core of."""

    def __init__(self, desk: Desk, jobs: Jobs) -> None:
        self._desk, self._jobs = desk, jobs

    def knows_job(self, name: str) -> bool:
        """Whether the application has a job of this name."""
        return self._jobs.known(name) or bool(self._desk.app.log.stream(names.job_id(name), upto=1))

    def taken(self, checkpoint_id: str, job: str, told: Any, progress: float, actor: str) -> None:
        """A job was saved; `told` has path, size_bytes, validation_hash and checkpoint_type."""
        self._desk.do(
            TakeCheckpoint(
                checkpoint_id=names.safe(checkpoint_id),
                job_id=names.job_id(job),
                task=0,
                attempt=self._jobs.attempt(job),
                location=told.path,
                size_bytes=told.size_bytes,
                sha256=told.validation_hash,
                progress=int(progress),
                type=CheckpointType(told.checkpoint_type.value),
            ),
            actor,
        )

    def restored(self, checkpoint_id: str, actor: str) -> None:
        """A job was brought back from it."""
        self._desk.do(RestoreCheckpoint(checkpoint_id=names.safe(checkpoint_id), attempt=0), actor)

    def verified(self, checkpoint_id: str, problem: str, actor: str) -> None:
        """Its artefact was read again; an empty problem means it is sound."""
        self._desk.do(VerifyCheckpoint(checkpoint_id=names.safe(checkpoint_id), problem=problem), actor)

    def discarded(self, checkpoint_id: str, why: str, actor: str) -> None:
        """It is no longer kept."""
        self._desk.do(DiscardCheckpoint(checkpoint_id=names.safe(checkpoint_id), why=why), actor)


def checkpoints_of(desk: Desk) -> Checkpoints:
    """The checkpoints of an application, the same for all its facades."""
    return desk.shared(Checkpoints, lambda: Checkpoints(desk, jobs_of(desk)))
