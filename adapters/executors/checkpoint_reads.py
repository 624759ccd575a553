"""Reads announced checkpoints where they lie: size and SHA-256, in small steps between other work.

A supervisor has one thread, and a checkpoint can be many gigabytes; so each step reads at most one mebibyte.
"""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path

from domain.messages import Value

STEP_BYTES = 1 << 20


class Seal(Value, frozen=True):
    """What makes sure that a file is still the same."""

    size_bytes: int
    sha256: str


Done = Callable[[Seal | str], None]
"""Takes the seal, or a sentence why there is none."""


class CheckpointReads:
    """The files waiting to be read, one after the other."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Path, Done]] = deque()
        self._current: _Reading | None = None

    def add(self, path: Path, done: Done) -> None:
        """Read a file when its turn comes; `done` is called from a later `step`."""
        self._waiting.append((path, done))

    def is_busy(self) -> bool:
        """Whether another step is due."""
        return self._current is not None or bool(self._waiting)

    def step(self) -> None:
        """Open the next file or read a little more of the present one."""
        if self._current is None:
            self._current = _Reading(*self._waiting.popleft())
        result = self._current.step()
        if result is not None:
            done, self._current = self._current.done, None
            done(result)


class _Reading:
    """One regular file, opened once: what is announced is that file, not another one put in its place."""

    def __init__(self, path: Path, done: Done) -> None:
        self.done = done
        self._path = path
        self._hash = hashlib.sha256()
        self._size = 0
        self._descriptor: int | None = None
        self._before: tuple[int, ...] = ()

    def step(self) -> Seal | str | None:
        """The seal, a problem, or None when there is more to read."""
        try:
            result = self._read() if self._descriptor is not None else self._open()
        except OSError as error:
            result = error.strerror or str(error)
        if result is not None and self._descriptor is not None:
            os.close(self._descriptor)
        return result

    def _open(self) -> str | None:
        # Without O_NONBLOCK, a named pipe in the place of the file would stop the supervisor.
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self._descriptor)
        self._before = _identity(status)
        return None if stat.S_ISREG(status.st_mode) else "it is not a regular file"

    def _read(self) -> Seal | str | None:
        assert self._descriptor is not None
        part = os.read(self._descriptor, STEP_BYTES)
        self._hash.update(part)
        self._size += len(part)
        if part:
            return None
        if _identity(self._path.stat()) != self._before:
            return "it was changed while it was read"
        return Seal(self._size, self._hash.hexdigest())


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
