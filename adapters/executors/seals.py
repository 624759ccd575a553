"""What makes sure that a checkpoint is still the same: its size and SHA-256, read where it lies."""

import hashlib
import os
import stat
from pathlib import Path

from domain.messages import Value

PIECE_BYTES = 1 << 20


class Seal(Value, frozen=True):
    """The content of a file, in short."""

    size_bytes: int
    sha256: str


def seal(path: Path) -> Seal | str:
    """The seal of a regular file, or a sentence why there is none."""
    try:
        # Without O_NONBLOCK, a named pipe in the place of the file would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return error.strerror or str(error)
    try:
        return _seal(path, descriptor)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(descriptor)


def _seal(path: Path, descriptor: int) -> Seal | str:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        return "it is not a regular file"
    digest, size_bytes = hashlib.sha256(), 0
    while piece := os.read(descriptor, PIECE_BYTES):
        digest.update(piece)
        size_bytes += len(piece)
    # What was announced is the file that was opened, not another one put in its place.
    if _identity(path.stat()) != _identity(before):
        return "it was changed while it was read"
    return Seal(size_bytes, digest.hexdigest())


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
