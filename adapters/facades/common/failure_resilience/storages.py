"""Where artefacts of checkpoints lie, and how often checkpoints are due."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from common.core.exceptions import CheckpointNotFoundError
from common.core.jobs import Checkpoint


class CheckpointStorage(ABC):
    """Bytes by key; a key is `<job>/<checkpoint>.json`."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> str:
        """Stores all of it or nothing; where it lies."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """What was stored; CheckpointNotFoundError if nothing was."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes it; what is not there is removed already."""

    @abstractmethod
    def list(self, prefix: str) -> "list[str]":
        """The keys that begin so, sorted."""


class FileCheckpointStorage(CheckpointStorage):
    """Files below a directory, each written under another name first and then renamed."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def write(self, key: str, data: bytes) -> str:
        """See the base; the path of the file."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            unfinished.write_bytes(data)
            unfinished.replace(path)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()
        return str(path)

    def read(self, key: str) -> bytes:
        """See the base."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError as error:
            raise CheckpointNotFoundError(f"there is no file {self._path(key)}") from error

    def delete(self, key: str) -> None:
        """See the base; a directory that has become empty goes, too."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()

    def list(self, prefix: str) -> "list[str]":
        """See the base."""
        files = self.directory.glob("*/*.json")
        keys = (f"{file.parent.name}/{file.name}" for file in files)
        return sorted(key for key in keys if key.startswith(prefix))

    def _path(self, key: str) -> Path:
        path = self.directory.joinpath(*key.split("/"))
        if ".." in Path(key).parts or Path(key).is_absolute():
            raise CheckpointNotFoundError(f"key {key!r} leads out of {self.directory}")
        return path


class MemoryCheckpointStorage(CheckpointStorage):
    """Bytes in this process, for as long as it runs."""

    def __init__(self) -> None:
        self.artefacts: dict[str, bytes] = {}

    def write(self, key: str, data: bytes) -> str:
        """See the base."""
        self.artefacts[key] = data
        return f"memory:{key}"

    def read(self, key: str) -> bytes:
        """See the base."""
        if key not in self.artefacts:
            raise CheckpointNotFoundError(f"nothing was stored under {key!r}")
        return self.artefacts[key]

    def delete(self, key: str) -> None:
        """See the base."""
        self.artefacts.pop(key, None)

    def list(self, prefix: str) -> "list[str]":
        """See the base."""
        return sorted(key for key in self.artefacts if key.startswith(prefix))


class CheckpointFrequency(ABC):
    """When the next checkpoint of a job is due."""

    @abstractmethod
    def is_due(self, job: Any, last: Checkpoint | None, now: datetime) -> bool:
        """Whether one should be taken now, the last one being that."""


class PeriodicFrequency(CheckpointFrequency):
    """One at once, then one each time an interval has passed."""

    def __init__(self, interval: timedelta) -> None:
        self.interval = interval

    def is_due(self, job: Any, last: Checkpoint | None, now: datetime) -> bool:
        """Whether none was taken, or the last one is so old."""
        return last is None or now - last.timestamp >= self.interval


class ProgressFrequency(CheckpointFrequency):
    """One each time so many percent were gained."""

    def __init__(self, min_delta: float) -> None:
        self.min_delta = min_delta

    def is_due(self, job: Any, last: Checkpoint | None, now: datetime) -> bool:
        """Whether so much was gained since the last one, or since the beginning."""
        before = 0.0 if last is None else float(last.metadata.get("progress", 0.0))
        return bool(job.get_progress() - before >= self.min_delta)


class YoungDalyFrequency(PeriodicFrequency):
    """The interval that loses the least to checkpoints and failures together: √(2 · cost · time between failures).

    Young, CACM 1974; Daly, FGCS 2006 (first order).
    """

    def __init__(self, cost: timedelta, mtbf: timedelta) -> None:
        self.cost, self.mtbf = cost, mtbf
        super().__init__(timedelta(seconds=(2 * cost.total_seconds() * mtbf.total_seconds()) ** 0.5))


FrequencyLike = CheckpointFrequency | Callable[[Any, Checkpoint | None, datetime], bool]


def is_due(frequency: FrequencyLike, job: Any, last: Checkpoint | None, now: datetime) -> bool:
    """The answer of a frequency, or of a function with the same arguments."""
    if isinstance(frequency, CheckpointFrequency) or hasattr(frequency, "is_due"):
        return bool(frequency.is_due(job, last, now))
    return bool(frequency(job, last, now))
