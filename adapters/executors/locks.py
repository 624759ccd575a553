"""Proof of life by `flock`: the kernel lets go of a lock when the last process that holds it is dead, never before."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType


class FileLock:
    """An exclusive lock on a file, held until somebody says `release` or all processes that inherited it have died."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def write(self, content: bytes) -> None:
        """Say in the file who holds it."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, content, 0)

    def release(self) -> None:
        """Let go."""
        # Closing alone is not enough: a child that another thread forks just now shares the lock until it runs exec.
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def try_lock(path: Path) -> FileLock | None:
    """The lock on a file (made if missing), None if somebody holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return FileLock(descriptor)


def lock_within(path: Path, timeout_s: float) -> FileLock | None:
    """The lock on a file, waiting for whoever only looks whether it is held."""
    deadline = time.monotonic() + timeout_s
    while (lock := try_lock(path)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return lock


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock; a missing file is held by nobody.

    The kernel's list is asked first: trying a lock that is free would hold it for a moment, and whoever tries to take
    it just then would be turned away.
    """
    try:
        inode = path.stat().st_ino
    except FileNotFoundError:
        return False
    listed = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    if not any("FLOCK" in words and any(word.endswith(f":{inode}") for word in words) for words in listed):
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return False
    finally:
        os.close(descriptor)
