"""One live attempt: its process, its signals, its clock, and how it came to an end.

The first process leads a session of its own. What it starts stays in that session or descends from it, and the
supervisor adopts what is orphaned; so "all processes of the attempt" is a question to the kernel, not to a list kept
here.
"""

import logging
import os
import resource
import signal
from contextlib import suppress
from typing import NamedTuple

from adapters.executors.attempt_files import AttemptFiles, StartRecord
from adapters.executors.hearing import Hearing
from adapters.executors.process_lines import EXIT_TIMED_OUT
from adapters.executors.processes import (
    ProcessStat,
    Stats,
    all_stats,
    boot_id,
    family,
    kill,
    proportional_kib,
    send,
    stat_of,
)
from adapters.executors.timers import Timer
from application.ports import AttemptExited, AttemptStarted, Launch
from domain.job.values import FailureClass

BOOT_ID = boot_id()
READ_BYTES = 1 << 16
_SUSPEND_ROUNDS = 5

logger = logging.getLogger(__name__)


class Ending(NamedTuple):
    """Why somebody here ends an attempt."""

    failure: FailureClass
    message: str


TOLD_TO_END = Ending(FailureClass.SIGNAL, "told to end")


class Exit(NamedTuple):
    """How the first process ended: by itself or by a signal."""

    code: int | None
    signal: int | None


class Attempt:
    """The processes of one attempt, from the claim to the last of them."""

    def __init__(
        self, launch: Launch, files: AttemptFiles, hearing: Hearing, pid: int, output: int, now_s: float
    ) -> None:
        self.launch, self.files, self.hearing = launch, files, hearing
        self.pid = pid
        """The first process, leader of the session."""
        self.output: int | None = output
        """The reading end of the pipe it prints to, None when that is closed."""
        self.exit: Exit | None = None
        """How the leader ended; None while it runs."""
        self.is_over = False
        """Whether no process is left and nothing will be printed any more."""
        self.ending: Ending | None = None
        """Why somebody here ends it."""
        self.timers: list[Timer] = []
        """What is to happen to it later, unless it ends before."""
        self._started_ms: int | None = None
        self._started_s = now_s
        self._suspended_since_s: float | None = None
        self._suspended_s = 0.0
        self._cpu_s = 0.0
        self._max_rss_kib = 0
        self._peak_kib = 0
        """The most that one of its processes, now dead, has had."""
        self._inherited_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        """A peak that is not above this says nothing: the kernel hands that of the supervisor down to its children."""

    @property
    def attempt_id(self) -> str:
        """The fencing token."""
        return self.launch.attempt_id

    def write_start(self, now_ms: int) -> AttemptStarted:
        """Put down that the first process runs."""
        stat = stat_of(self.pid)
        self._started_ms = now_ms
        # Without the file (a full disk) the attempt runs as well; the mark in its environment still finds it.
        try:
            self.files.write_start(StartRecord(self.pid, stat.start_ticks if stat else 0, BOOT_ID, now_ms))
        except OSError as error:
            logger.warning("the start of %s could not be recorded: %s", self.attempt_id, error)
        return AttemptStarted(attempt_id=self.attempt_id, at_ms=now_ms, pid=self.pid)

    def run_s(self, now_s: float) -> float:
        """How long it has run, without the time it stood suspended."""
        upto_s = now_s if self._suspended_since_s is None else self._suspended_since_s
        return upto_s - self._started_s - self._suspended_s

    @property
    def is_suspended(self) -> bool:
        """Whether its processes are stopped on purpose."""
        return self._suspended_since_s is not None

    def suspend(self, now_s: float) -> None:
        """Stop all its processes; again and again until none was started meanwhile."""
        if self.exit is not None or self.ending is not None:
            return
        if self._suspended_since_s is None:
            self._suspended_since_s = now_s
        for _ in range(_SUSPEND_ROUNDS):
            running = [stat for stat in self.processes(all_stats()) if stat.state != "T"]
            if not [stat for stat in running if send(stat, signal.SIGSTOP)]:
                return

    def resume(self, now_s: float) -> None:
        """Let all its processes go on."""
        if self._suspended_since_s is None:
            return
        self._suspended_s += now_s - self._suspended_since_s
        self._suspended_since_s = None
        for stat in self.processes(all_stats()):
            send(stat, signal.SIGCONT)

    def end(self, ending: Ending, now_s: float, grace_s: float) -> bool:
        """Ask all processes of its group to leave, or kill all at once without a grace period.

        The first reason stays. False if there is nobody to ask any more.
        """
        if self.exit is not None or self._has_left():
            return False
        first, self.ending = self.ending is None, self.ending or ending
        if grace_s <= 0:
            self.kill()
        elif first:
            with suppress(ProcessLookupError, PermissionError):  # the kill after the grace period says the rest
                os.killpg(self.pid, signal.SIGTERM)
            self.resume(now_s)
        return True

    def kill(self) -> None:
        """Kill all processes that it has now; the supervisor clears away what they leave."""
        for stat in self.processes(all_stats()):
            kill(stat)

    def processes(self, stats: Stats) -> list[ProcessStat]:
        """Its living processes."""
        return family(self.pid, stats)

    def memory_kib(self, stats: Stats, limit_kib: int) -> int:
        """Memory of all its processes; exact where it matters, that is above the limit.

        Resident sets are cheap to read, but count memory shared between processes more than once.
        """
        processes = self.processes(stats)
        used_kib = sum(stat.rss_kib for stat in processes)
        if used_kib > limit_kib:
            used_kib = sum(proportional_kib(stat.pid) or stat.rss_kib for stat in processes)
        self._max_rss_kib = max(self._max_rss_kib, used_kib)
        return used_kib

    def account(self, usage: resource.struct_rusage) -> None:
        """Add what one of its processes, now dead, has used."""
        self._cpu_s += usage.ru_utime + usage.ru_stime
        self._peak_kib = max(self._peak_kib, usage.ru_maxrss)
        self._max_rss_kib = max(self._max_rss_kib, self._peak_kib)

    def left(self, status: int, usage: resource.struct_rusage) -> None:
        """Its leader has ended."""
        code = os.waitstatus_to_exitcode(status)
        self.exit = Exit(code, None) if code >= 0 else Exit(None, -code)
        self.account(usage)

    def read(self) -> bytes | None:
        """Take in a piece of what was printed: empty when nobody can print any more, None when there is nothing now."""
        if self.output is None:
            return None
        try:
            piece = os.read(self.output, READ_BYTES)
        except BlockingIOError:
            return None
        self.hearing.hear(piece)
        return piece

    def hang_up(self) -> None:
        """No process is left: take in the rest of what was printed and close the pipe."""
        while self.read():
            continue
        self.is_over = True
        self.hearing.end()

    def report(self, now_ms: int) -> AttemptExited:
        """Its end, once no process is left."""
        leader = self.exit or Exit(None, None)
        failure, message = self._verdict(leader)
        return AttemptExited(
            attempt_id=self.attempt_id,
            exit_code=leader.code,
            signal=leader.signal,
            failure=failure,
            message=message,
            started_ms=self._started_ms,
            ended_ms=now_ms,
            cpu_ms=round(self._cpu_s * 1000),
            max_rss_mib=-(-self._max_rss_kib // 1024),
        )

    def _verdict(self, leader: Exit) -> tuple[FailureClass | None, str]:
        if self.ending is not None:
            # Even with exit code 0: many programs leave so after saving their state, with the work undone.
            return self.ending.failure, self.ending.message
        limit_mib = self.launch.resources.memory_mib
        if limit_mib and self._peak_kib > max(limit_mib * 1024, self._inherited_kib):
            # Also with exit code 0: who gets away with it takes memory that was promised to others.
            return FailureClass.MEMORY, over_limit(self._peak_kib, limit_mib)
        declared = self.hearing.declared_failure
        if leader.signal is not None:
            return FailureClass.SIGNAL, declared or f"ended by {signal_name(leader.signal)}"
        if leader.code == EXIT_TIMED_OUT and self.launch.work.runner != "command":
            return FailureClass.WALLTIME, declared or "it ran longer than its timeout"
        if leader.code:
            return (FailureClass.DECLARED, declared) if declared else (FailureClass.EXIT, f"exit code {leader.code}")
        return None, ""

    def _has_left(self) -> bool:
        """Whether its leader has ended already and only waits to be seen."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def over_limit(used_kib: int, limit_mib: int) -> str:
    """How an attempt that used more memory than it holds is spoken of."""
    return f"used {-(-used_kib // 1024)} MiB of memory, its limit is {limit_mib} MiB"


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; real-time signals have numbers only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
