"""Watches over the actions of one Open Job Description session from outside the runner, so that none outlives it.

`openjd-sessions` gives every action a process session of its own, where a signal for the runner's process group does
not arrive. The guard makes up for that, whoever manages the runner: it suspends and resumes the actions together with
the runner, and when the runner ends, in order or by SIGKILL, it kills what is left. Actions are known by the variable
OPENJD_SESSION_WORKING_DIR, which the library sets for each of them and which all that they start inherits.
"""

import contextlib
import os
import select
import signal
import time
import traceback
from pathlib import Path
from typing import NoReturn

from adapters.executors.processes import ProcessStat, all_stats, end_all, send, stat_of, variable_of

SESSION_DIR = "OPENJD_SESSION_WORKING_DIR"
WATCH_S = 0.25
"""How long actions may go on when the runner was suspended, or stand still when it was resumed."""
LAST_LOOK_S = 0.05
"""An action that was being started when the runner was killed carries its variable after this time."""
SUSPEND_ROUNDS = 5


class Guard:
    """A process in a session of its own that lives no longer than its maker; to be made before any thread."""

    def __init__(self, directory: Path) -> None:
        """Start it; the session's working directory will be below `directory`."""
        self._directory = directory
        runner = os.getpid()
        watched, self._lifeline = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._lifeline)
            _stand_guard(runner, watched, directory)
        os.close(watched)

    def dismiss(self) -> None:
        """Kill what is left, and return when nothing is, the guard included; doing so again changes nothing."""
        if not self._pid:
            return
        end_all(lambda: actions(self._directory))
        with contextlib.suppress(BrokenPipeError):  # somebody killed the guard
            os.write(self._lifeline, b".")
        os.close(self._lifeline)
        os.waitpid(self._pid, 0)
        self._pid = 0


def actions(directory: Path) -> list[ProcessStat]:
    """The living processes of sessions whose working directory is below this one."""
    below = f"{directory}{os.sep}"
    return [
        stat
        for stat in all_stats().values()
        if stat.is_alive and (variable_of(stat.pid, SESSION_DIR) or "").startswith(below)
    ]


def _stand_guard(runner: int, watched: int, directory: Path) -> NoReturn:
    """The guard's whole life: whatever happens, it never returns into the program that it was forked from."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _follow(runner, watched, directory)
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def _follow(runner: int, watched: int, directory: Path) -> None:
    """Do as the runner does until its end of the pipe closes: after a dot when all is well, without when it died."""
    suspended = False
    while not select.select([watched], [], [], WATCH_S)[0]:
        stat = stat_of(runner)
        if stat is not None and (stat.state == "T") != suspended:
            suspended = not suspended
            _suspend(directory) if suspended else _resume(directory)
    if not os.read(watched, 1):
        end_all(lambda: actions(directory))
        time.sleep(LAST_LOOK_S)
        end_all(lambda: actions(directory))


def _suspend(directory: Path) -> None:
    """Stop all actions; again, because they may start processes meanwhile."""
    for _ in range(SUSPEND_ROUNDS):
        if not [stat for stat in actions(directory) if stat.state != "T" and _send(stat, signal.SIGSTOP)]:
            return


def _resume(directory: Path) -> None:
    for stat in actions(directory):
        _send(stat, signal.SIGCONT)


def _send(stat: ProcessStat, number: signal.Signals) -> bool:
    """Whether the process could be told; one that took another user's rights cannot."""
    try:
        return send(stat, number)
    except PermissionError:
        return False
