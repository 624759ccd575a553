"""`server.json`: how other processes of the same user find the server of a data directory and prove who they are.

It names process, address and token, can be read by its owner only, and is there exactly while the HTTP door is open. A
server that died leaves it behind; such a file names another process than the one that locked the store last.
"""

import os
from pathlib import Path

import msgspec

from adapters.executors.processes import stat_of

SERVER_FILE = "server.json"
LOCK_FILE = "server.lock"


class ServerFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `server.json`."""

    pid: int
    url: str
    """Such as `http://127.0.0.1:41237`, without a slash at the end."""
    token: str
    """Whoever knows it may do what the owner may."""
    started_ms: int
    version: str


def write_server_file(data_dir: Path, content: ServerFile) -> None:
    """Writes the file for its owner only, whole or not at all."""
    temporary = data_dir / f".{SERVER_FILE}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(content), indent=1))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(data_dir / SERVER_FILE)


def read_server_file(data_dir: Path) -> ServerFile | None:
    """The server that holds this directory now; None if there is none, or the file is one that a dead server left."""
    try:
        content = msgspec.json.decode((data_dir / SERVER_FILE).read_bytes(), type=ServerFile)
        holder = (data_dir / LOCK_FILE).read_text(errors="replace").strip()
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return content if holder == str(content.pid) and _lives(content.pid) else None


def remove_server_file(data_dir: Path, token: str) -> None:
    """Removes the file unless another server has put its own there since."""
    path = data_dir / SERVER_FILE
    try:
        content = msgspec.json.decode(path.read_bytes(), type=ServerFile)
    except (FileNotFoundError, msgspec.DecodeError):
        return
    if content.token == token:
        path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    """Whether there is such a process; a zombie, which its parent has not noticed yet, answers nobody."""
    stat = stat_of(pid)
    return stat is not None and stat.is_alive
