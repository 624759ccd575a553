"""Files that appear whole or not at all, so that a crash between any two instructions leaves a readable directory.

The file system has to know hard links, and rename has to be atomic: any local one of Linux will do.
"""

import os
import threading
from pathlib import Path


def write_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file in one step; `durable` means it also survives a power cut from here on."""
    draft = _draft(path, content, durable)
    draft.replace(path)
    if durable:
        sync_folder(path.parent)


def write_once(path: Path, content: bytes) -> bool:
    """Write a file durably unless it exists; False, changing nothing, if somebody was faster."""
    draft = _draft(path, content, durable=True)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_if_there(path: Path) -> bytes | None:
    """The content of a file, None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _draft(path: Path, content: bytes, durable: bool) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_all(descriptor, content)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return draft


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte to a blocking descriptor."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
