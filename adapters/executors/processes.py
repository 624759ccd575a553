"""What the kernel says about processes (`proc(5)`), and signals that cannot hit the wrong one."""

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_PR_SET_CHILD_SUBREAPER = 36
_DEATH_WAIT_MS = 1_000


class ProcessStat(NamedTuple):
    """One line of `/proc/<pid>/stat`, as far as it matters here."""

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int
    """When it started, in clock ticks since the machine did: with the pid it names a process for ever."""
    rss_kib: int

    @property
    def is_alive(self) -> bool:
        """Whether it can still do anything; a zombie cannot."""
        return self.state not in "ZX"


Stats = Mapping[int, ProcessStat]


def stat_of(pid: int) -> ProcessStat | None:
    """What the kernel says about a process, zombies included; None if there is none."""
    line = _read(f"/proc/{pid}/stat")
    if line is None:
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    words = line[line.rindex(b")") + 2 :].split()
    return ProcessStat(pid, words[0].decode(), int(words[1]), int(words[3]), int(words[19]), int(words[21]) * PAGE_KIB)


def all_stats() -> dict[int, ProcessStat]:
    """All processes that can be seen."""
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    return {pid: stat for pid in pids if (stat := stat_of(pid)) is not None}


def children_of(pid: int) -> list[int]:
    """Direct children of a process of one thread, zombies included."""
    listed = _read(f"/proc/{pid}/task/{pid}/children")
    if listed is None:  # a kernel built without CONFIG_PROC_CHILDREN
        return [stat.pid for stat in all_stats().values() if stat.parent == pid]
    return [int(child) for child in listed.split()]


def with_descendants(roots: Iterable[int], stats: Stats) -> list[ProcessStat]:
    """The living among these processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    found: dict[int, ProcessStat] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in stats and pid not in found:
            found[pid] = stats[pid]
            waiting += children.get(pid, ())
    return [stat for stat in found.values() if stat.is_alive]


def family(leader: int, stats: Stats) -> list[ProcessStat]:
    """The living processes of a session, and those which they started outside of it."""
    return with_descendants([s.pid for s in stats.values() if s.session == leader or s.pid == leader], stats)


def variable_of(pid: int, name: str) -> str | None:
    """A variable in the environment a process was started with; None if unset, or not ours to read."""
    prefix = f"{name}=".encode()
    for entry in (_read(f"/proc/{pid}/environ") or b"").split(b"\0"):
        if entry.startswith(prefix):
            return os.fsdecode(entry[len(prefix) :])
    return None


def proportional_kib(pid: int) -> int:
    """Memory of a process in KiB, with shared pages divided among their users; 0 if it is gone or not ours."""
    for line in (_read(f"/proc/{pid}/smaps_rollup") or b"").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1])
    return 0


def boot_id() -> str:
    """Names this start of the machine: pids and ticks of another one mean nothing."""
    return (_read("/proc/sys/kernel/random/boot_id") or b"").decode().strip()


def adopt_orphans() -> None:
    """Become the parent of every orphan among this process's descendants, instead of init (`prctl(2)`)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")


def send(stat: ProcessStat, number: signal.Signals) -> bool:
    """Signal exactly this process, never a later one with its pid; False if it is gone."""
    descriptor = _open_process(stat)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def kill(stat: ProcessStat) -> None:
    """Kill exactly this process; one that runs as somebody else cannot be killed, only outlived."""
    with suppress(PermissionError):
        send(stat, signal.SIGKILL)


def end_all(find: Callable[[], list[ProcessStat]], until_s: float = float("inf")) -> int:
    """Kill what `find` returns until it finds nothing; returns how many were killed.

    Blocks until all are dead, or until a time of the monotonic clock (and a second) has come.
    """
    killed: set[tuple[int, int]] = set()
    while (victims := find()) and time.monotonic() < until_s:
        descriptors = [fd for stat in victims if (fd := _open_process(stat)) is not None]
        killed |= {(stat.pid, stat.start_ticks) for stat in victims}
        for descriptor in descriptors:
            # One that may not be signalled (it runs as somebody else) is waited for instead.
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        _await_deaths(descriptors)
    return len(killed)


def _await_deaths(descriptors: list[int]) -> None:
    """Wait until each process is dead, or a second has passed, and let go of the descriptors."""
    for descriptor in descriptors:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(_DEATH_WAIT_MS)
        os.close(descriptor)


def _open_process(stat: ProcessStat) -> int | None:
    try:
        descriptor = os.pidfd_open(stat.pid)
    except ProcessLookupError:
        return None
    now = stat_of(stat.pid)
    if now is None or now.start_ticks != stat.start_ticks:
        os.close(descriptor)
        return None
    return descriptor


def _read(path: str) -> bytes | None:
    """A file of `/proc`; None when its process is gone or belongs to somebody else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except (ProcessLookupError, PermissionError):
        return None
    finally:
        os.close(descriptor)
