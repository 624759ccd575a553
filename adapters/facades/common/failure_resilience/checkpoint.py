"""Saving jobs as they stand, and bringing them back."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.facades.bridge import names
from adapters.facades.bridge.checkpoints import checkpoints_of
from application.app import Application
from common.core.base import Result
from common.core.enums import CheckpointStatus, CheckpointType
from common.core.exceptions import CheckpointNotFoundError
from common.core.interfaces import CheckpointManagerInterface
from common.core.jobs import Checkpoint
from common.core.ranks import word_of
from common.core.utils import create_directory_if_not_exists, generate_id, serialize_model
from common.failure_resilience import artefacts
from common.failure_resilience.artefacts import Artefact
from common.failure_resilience.retention import removable
from common.failure_resilience.storages import (
    CheckpointFrequency,
    CheckpointStorage,
    FileCheckpointStorage,
    FrequencyLike,
    MemoryCheckpointStorage,
    PeriodicFrequency,
    ProgressFrequency,
    YoungDalyFrequency,
    is_due,
)
from common.hooks import guarded
from common.manager import Managed, coded
from common.plain import from_plain
from common.seeing import remembered_job

_log = logging.getLogger(__name__)
NOT_FOUND = "checkpoint.not-found"
_TYPES = {kind.value: kind for kind in CheckpointType} | {"differential": CheckpointType.DELTA}
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)
"""What reading an artefact that somebody damaged can raise."""


class _Kept:
    def __init__(self) -> None:
        self.checkpoints: dict[str, dict[str, Checkpoint]] = {}
        self.bases: dict[str, str | None] = {}
        self.complete: dict[str, bool] = {}
        """Whether a job was complete when it was seen last."""


class CheckpointManager(Managed, CheckpointManagerInterface):
    """The checkpoints of all jobs: artefacts in a storage, and what became of them in the log."""

    _what = "checkpoints"

    def __init__(
        self,
        base_directory: str | Path | None = None,
        retention_days: float = 7,
        max_checkpoints_per_job: int = 10,
        *,
        storage: CheckpointStorage | None = None,
        frequency: FrequencyLike | None = None,
        app: Application | None = None,
    ) -> None:
        super().__init__(app)
        self.base_directory = Path(tempfile.gettempdir()) / "checkpoints" if base_directory is None else base_directory
        self.retention_days, self.max_checkpoints_per_job = retention_days, max_checkpoints_per_job
        if storage is None:
            create_directory_if_not_exists(self.base_directory)
        self.storage: CheckpointStorage = storage or FileCheckpointStorage(self.base_directory)
        self.frequency: FrequencyLike = frequency or PeriodicFrequency(timedelta(hours=1))
        self._papers = self._book("checkpoint")
        self._core = checkpoints_of(self._desk)
        self._kept = self._shared(self._load)
        self.checkpoints: dict[str, dict[str, Checkpoint]] = self._kept.checkpoints

    def _load(self) -> _Kept:
        kept = _Kept()
        for checkpoint_id, values in self._papers.load().items():
            checkpoint = Checkpoint(**from_plain(values["checkpoint"]))
            kept.checkpoints.setdefault(checkpoint.job_id, {})[checkpoint_id] = checkpoint
            kept.bases[checkpoint_id] = values["base"]
        return kept

    def _changed(self, checkpoint: Checkpoint) -> None:
        self._papers.touch(checkpoint.id, lambda: self._plain(checkpoint))
        self._desk.done(self._papers.waiting)

    def _plain(self, checkpoint: Checkpoint) -> Mapping[str, Any] | None:
        if checkpoint.id not in self.checkpoints.get(checkpoint.job_id, {}):
            return None
        return {"checkpoint": serialize_model(checkpoint), "base": self._kept.bases.get(checkpoint.id)}

    # -- taking --------------------------------------------------------------------------------------------------

    def create_checkpoint(
        self,
        job: Any,
        checkpoint_type: CheckpointType = CheckpointType.FULL,
        metadata: Mapping[str, Any] | None = None,
    ) -> Result[Checkpoint]:
        """K1: saves a job as it stands; nothing is entered if that fails."""
        try:
            found = self._job(job)
            checkpoint, base = self._save(found, _TYPES[word_of(checkpoint_type)], metadata)
        except Exception as error:  # noqa: BLE001 (storages and jobs are strangers' code; it is logged with its trace)
            _log.exception("a checkpoint could not be taken")
            return coded(f"Checkpoint creation failed: {error}", getattr(error, "code", "checkpoint.creation"))
        self.checkpoints.setdefault(found.id, {})[checkpoint.id] = checkpoint
        self._kept.bases[checkpoint.id] = base
        self._kept.complete[found.id] = found.is_complete() if hasattr(found, "is_complete") else False
        if hasattr(found, "last_checkpoint_time"):
            found.last_checkpoint_time = checkpoint.timestamp
        self._see(found)
        self._core.taken(checkpoint.id, found.id, checkpoint, found.get_progress(), self._what)
        self._clean(found.id)
        self._changed(checkpoint)
        return Result.ok(checkpoint)

    def _job(self, job: Any) -> Any:
        if not isinstance(job, str):
            return job
        if self._desk.is_new or not self._core.knows_job(job):
            raise CheckpointNotFoundError(f"the application knows no job {job!r}")
        return remembered_job(self._desk.app.log, job)

    def _save(
        self, job: Any, kind: CheckpointType, metadata: Mapping[str, Any] | None
    ) -> tuple[Checkpoint, str | None]:
        """The checkpoint with its artefact written, and the id of what it is a difference to."""
        state = artefacts.state_of(job)
        base = self._base_for(job.id, kind)
        if base is None and kind in (CheckpointType.INCREMENTAL, CheckpointType.DELTA):
            kind = CheckpointType.FULL
        checkpoint = Checkpoint(
            id=generate_id(f"cp_{job.id}"),
            job_id=job.id,
            checkpoint_type=kind,
            path="",
            timestamp=self._desk.now(),
            metadata={**(metadata or {}), "progress": job.get_progress(), "status": word_of(job.get_status())},
        )
        if base is not None:
            artefact = artefacts.difference(checkpoint, job, state, *base)
        else:
            artefact = artefacts.full(checkpoint, job, None if kind is CheckpointType.METADATA else state)
        data = artefact.encode()
        checkpoint.path = self.storage.write(self._key(checkpoint), data)
        checkpoint.size_bytes, checkpoint.validation_hash = len(data), artefacts.sha256(data)
        checkpoint.status = CheckpointStatus.COMPLETE
        return checkpoint, artefact.base

    def _base_for(self, job_id: str, kind: CheckpointType) -> tuple[str, dict[str, Any]] | None:
        """The newest checkpoint that a difference can be made to, with its state; None if there is none."""
        if kind not in (CheckpointType.INCREMENTAL, CheckpointType.DELTA):
            return None
        for known in reversed(self.list_checkpoints(job_id)):
            suits = known.checkpoint_type is CheckpointType.FULL or (
                kind is CheckpointType.INCREMENTAL and known.checkpoint_type is not CheckpointType.METADATA
            )
            if suits and known.is_restorable():
                try:
                    return known.id, self._state(known)[0]
                except _UNREADABLE + (CheckpointNotFoundError,):  # noqa: RUF005 (the types stand together)
                    continue
        return None

    def _key(self, checkpoint: Checkpoint) -> str:
        return f"{names.safe(checkpoint.job_id)}/{names.safe(checkpoint.id)}.json"

    # -- bringing back -------------------------------------------------------------------------------------------

    def restore_checkpoint(
        self, checkpoint_id: str, job_factory: Callable[[dict[str, Any]], Any] | None = None
    ) -> Result[Any]:
        """K2: the job that was saved, made by the factory or in its own class."""
        checkpoint = self._find(checkpoint_id)
        if checkpoint is None:
            return coded(f"checkpoint {checkpoint_id!r} not found", NOT_FOUND)
        try:
            state, kind = self._state(checkpoint)
        except _Unsound as problem:
            return self._failed(checkpoint, str(problem))
        except CheckpointNotFoundError as error:
            return self._failed(checkpoint, f"its artefact is missing ({error})")
        except _UNREADABLE as error:
            return self._failed(checkpoint, f"its artefact cannot be read ({error})")
        if state is None:
            return coded(f"checkpoint {checkpoint_id!r} holds no job state", "checkpoint.restore")
        try:
            job = artefacts.job_of(state, kind) if job_factory is None else job_factory(dict(state))
        except Exception as error:  # noqa: BLE001 (a stranger's factory; it is logged with its trace)
            _log.exception("the factory could not make a job of checkpoint %s", checkpoint_id)
            return coded(
                f"checkpoint {checkpoint_id!r} was read, but no job could be made of it: {error}", "checkpoint.restore"
            )
        checkpoint.status = CheckpointStatus.RESTORED
        checkpoint.restore_count += 1
        checkpoint.last_restore_time = self._desk.now()
        self._core.restored(checkpoint.id, self._what)
        self._changed(checkpoint)
        return Result.ok(job)

    def _failed(self, checkpoint: Checkpoint, problem: str) -> Result[Any]:
        checkpoint.status = CheckpointStatus.FAILED
        self._core.verified(checkpoint.id, problem, self._what)
        self._changed(checkpoint)
        return coded(f"checkpoint {checkpoint.id!r}: {problem}", "checkpoint.restore")

    def _artefact(self, checkpoint: Checkpoint) -> Artefact:
        data = self.storage.read(self._key(checkpoint))
        if checkpoint.validation_hash is not None and artefacts.sha256(data) != checkpoint.validation_hash:
            raise _Unsound(f"hash mismatch: its artefact is not what it was ({len(data)} bytes)")
        return Artefact.decode(data)

    def _state(self, checkpoint: Checkpoint) -> tuple[Any, str]:
        """The whole state and its class, what it is a difference to included; None for one without state."""
        artefact = self._artefact(checkpoint)
        if artefact.base is None:
            return artefact.job_state, artefact.job_class
        base = self._find(artefact.base)
        if base is None:
            raise CheckpointNotFoundError(f"it builds on {artefact.base!r}, which is gone")
        return artefacts.merged(self._state(base)[0] or {}, artefact), artefact.job_class

    # -- looking -------------------------------------------------------------------------------------------------

    def get_latest_checkpoint(self, job_id: str) -> Checkpoint | None:
        """K3: the newest one of a job."""
        known = self.list_checkpoints(job_id)
        return known[-1] if known else None

    def list_checkpoints(self, job_id: str) -> list[Checkpoint]:
        """K4: those of a job, oldest first; of one that nobody has seen here, what the storage has."""
        if job_id not in self.checkpoints:
            for key in self.storage.list(f"{names.safe(job_id)}/"):
                self._read(key)
        return sorted(self.checkpoints.get(job_id, {}).values(), key=lambda each: (each.timestamp, each.id))

    def _find(self, checkpoint_id: str) -> Checkpoint | None:
        for known in self.checkpoints.values():
            if checkpoint_id in known:
                return known[checkpoint_id]
        ending = f"/{names.safe(checkpoint_id)}.json"
        for key in self.storage.list(""):
            if key.endswith(ending):
                return self._read(key)
        return None

    def _read(self, key: str) -> Checkpoint | None:
        """Enters a checkpoint that only the storage has; None if it is none that can be read."""
        try:
            data = self.storage.read(key)
            artefact = Artefact.decode(data)
            checkpoint = Checkpoint(**from_plain(artefact.checkpoint))
        except _UNREADABLE + (CheckpointNotFoundError,) as error:  # noqa: RUF005 (the types stand together)
            _log.warning("%s is passed over: %s", key, error)
            return None
        checkpoint.size_bytes, checkpoint.validation_hash = len(data), artefacts.sha256(data)
        checkpoint.status, checkpoint.path = CheckpointStatus.COMPLETE, self._location(key)
        self._kept.bases[checkpoint.id] = artefact.base
        return self.checkpoints.setdefault(checkpoint.job_id, {}).setdefault(checkpoint.id, checkpoint)

    def _location(self, key: str) -> str:
        return (
            str(Path(self.base_directory, *key.split("/"))) if isinstance(self.storage, FileCheckpointStorage) else key
        )

    def validate_checkpoint(self, checkpoint_id: str) -> Result[bool]:
        """K6: whether the artefact is there, is what it was, and can be read."""
        checkpoint = self._find(checkpoint_id)
        if checkpoint is None:
            return coded(f"checkpoint {checkpoint_id!r} not found", NOT_FOUND)
        try:
            self._artefact(checkpoint)
        except _Unsound as problem:
            return self._failed(checkpoint, str(problem))
        except CheckpointNotFoundError:
            return self._failed(checkpoint, "its artefact is missing")
        except _UNREADABLE as error:
            return coded(f"checkpoint {checkpoint_id!r}: its artefact cannot be read ({error})", "checkpoint.restore")
        checkpoint.status = CheckpointStatus.VERIFIED
        self._core.verified(checkpoint.id, "", self._what)
        self._changed(checkpoint)
        return Result.ok(True)

    # -- removing ------------------------------------------------------------------------------------------------

    def delete_checkpoint(self, checkpoint_id: str) -> Result[bool]:
        """K5: removes the artefact and the entry."""
        checkpoint = self._find(checkpoint_id)
        if checkpoint is None:
            return coded(f"checkpoint {checkpoint_id!r} not found", NOT_FOUND)
        self._remove(checkpoint, "")
        self._desk.done(self._papers.waiting)
        return Result.ok(True)

    def _remove(self, checkpoint: Checkpoint, why: str) -> None:
        self.storage.delete(self._key(checkpoint))
        del self.checkpoints[checkpoint.job_id][checkpoint.id]
        self._core.discarded(checkpoint.id, why, self._what)
        self._changed(checkpoint)

    def clean_expired_checkpoints(self) -> int:
        """K7: removes what is too old or too many, of all jobs; how many that were."""
        for key in self.storage.list(""):
            self._read(key)
        return sum(self._clean(job_id) for job_id in list(self.checkpoints))

    def _clean(self, job_id: str) -> int:
        limit = self._desk.now() - timedelta(days=self.retention_days)
        complete = self._kept.complete.get(job_id, False)
        gone = removable(self.list_checkpoints(job_id), self._kept.bases, limit, self.max_checkpoints_per_job, complete)
        for checkpoint in gone:
            self._remove(checkpoint, "too old or too many")
        return len(gone)

    # -- when ----------------------------------------------------------------------------------------------------

    def should_checkpoint(self, job: Any, now: datetime | None = None) -> bool:
        """K8: whether one is due by the frequency."""
        last, at = self.get_latest_checkpoint(job.id), now or self._desk.now()
        hourly = PeriodicFrequency(timedelta(hours=1))
        told = f"the frequency of checkpoints, asked for job {job.id},"
        return guarded(told, is_due, self.frequency, job, last, at, instead=lambda: hourly.is_due(job, last, at))


class _Unsound(Exception):
    """An artefact is not what it was."""


__all__ = [
    "CheckpointFrequency",
    "CheckpointManager",
    "CheckpointStorage",
    "FileCheckpointStorage",
    "MemoryCheckpointStorage",
    "PeriodicFrequency",
    "ProgressFrequency",
    "YoungDalyFrequency",
]
