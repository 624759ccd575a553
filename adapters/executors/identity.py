"""Who supervises a node: written into the node's lock file by the process that holds it."""

import os
from pathlib import Path

import msgspec

from adapters.executors.files import read_if_there
from adapters.executors.processes import ProcessStat, boot_id, stat_of
from domain.messages import Value


class Identity(Value, frozen=True):
    """A supervisor and its guard, certain beyond the reuse of pids."""

    pid: int
    start_ticks: int
    guard_pid: int
    guard_start_ticks: int
    boot_id: str
    started_ms: int


def own_identity(now_ms: int) -> Identity:
    """This process as supervisor, its parent as guard."""
    own, guard = stat_of(os.getpid()), stat_of(os.getppid())
    assert own is not None
    assert guard is not None
    return Identity(own.pid, own.start_ticks, guard.pid, guard.start_ticks, boot_id(), now_ms)


def read_identity(lock: Path) -> Identity | None:
    """Who holds the lock or held it last; None if nobody ever did, or died before anything could be started."""
    try:
        return msgspec.json.decode(read_if_there(lock) or b"", type=Identity)
    except msgspec.DecodeError:
        return None


def living(identity: Identity) -> list[ProcessStat]:
    """The processes of an identity that live, the guard first."""
    if identity.boot_id != boot_id():
        return []
    named = ((identity.guard_pid, identity.guard_start_ticks), (identity.pid, identity.start_ticks))
    stats = [stat for pid, ticks in named if (stat := stat_of(pid)) is not None and stat.start_ticks == ticks]
    return [stat for stat in stats if stat.is_alive]
