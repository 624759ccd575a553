"""The attempts of one node, from claim to end: what a supervisor does apart from talking to servers."""

import logging
import os
import selectors
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from adapters.clock import SystemClock
from adapters.executors.attempt import TOLD_TO_END, Attempt, Ending, over_limit
from adapters.executors.attempt_files import AttemptFiles
from adapters.executors.background import Background
from adapters.executors.files import sync_folder
from adapters.executors.hearing import Hearing
from adapters.executors.layout import Layout
from adapters.executors.leftovers import settle
from adapters.executors.processes import (
    ProcessStat,
    all_stats,
    children_of,
    kill,
    stat_of,
    variable_of,
    with_descendants,
)
from adapters.executors.spawn import ATTEMPT_DIR, LaunchError, spawn
from adapters.executors.timers import Timers
from application.ports import AttemptExited, AttemptReport, Launch
from domain.job.values import FailureClass
from domain.messages import NodeId
from domain.wording import duration_text

MEMORY_EVERY_S = 0.5
"""How often memory is compared with its limit. The limit is on what is really used: address space (`RLIMIT_AS`) says
nothing about programs that reserve more than they touch. What is used and given back between two looks is judged in
the end, by the largest peak of one process; several that are each below the limit can be above it for so long."""
ZERO_CORE_AT_ONCE = 64
"""How many attempts that hold no processor time run at once on a node, for nothing else bounds their number. Further
ones wait, in order; those that are suspended do not count."""
RETRY_S = 1.0
"""When to try again what failed for want of disk space."""
CLEAR_EVERY_S = 0.05
"""When to look again whether killed processes are gone, should no signal tell."""

DISK_THREADS = 8
"""How many ends can be on their way to the disk at once."""
READER_THREADS = 2
"""How many checkpoints can be read at once."""
NEVER_STARTED = Ending(FailureClass.SIGNAL, "never started")

logger = logging.getLogger(__name__)


class Host:
    """Runs the live attempts of a node."""

    def __init__(
        self,
        layout: Layout,
        node_id: NodeId,
        selector: selectors.BaseSelector,
        timers: Timers,
        tell: Callable[[AttemptReport], None],
    ) -> None:
        self._disk = Background(selector, DISK_THREADS)
        self._readers = Background(selector, READER_THREADS)
        self._layout, self._node_id, self._folder = layout, node_id, layout.node(node_id)
        self._selector, self._timers, self._tell = selector, timers, tell
        self._clock = SystemClock()
        self._claimed: dict[str, Launch] = {}
        """Taken, but a power cut could still undo that."""
        self._ready: dict[str, Launch] = {}
        """To be started, in order."""
        self._crowd: dict[str, Launch] = {}
        """To be started when fewer attempts run that hold no processor time."""
        self._crowd_suspended: set[str] = set()
        self._live: dict[str, Attempt] = {}
        self._concluding: set[str] = set()
        """Attempts whose end is being recorded."""
        self._by_session: dict[int, Attempt] = {}
        self._looks_again: set[str] = set()
        self._samples_memory = False
        self._closing: Ending | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, waits to run, or has an end to be recorded."""
        return not (self._live or self._claimed or self._ready or self._crowd or self._concluding)

    @property
    def has_ready(self) -> bool:
        """Whether `start_next` has something to do."""
        return bool(self._ready)

    def claim(self, launches: Sequence[Launch], then: Callable[[OSError | None], None]) -> None:
        """Take these attempts and sync that to the disk; `then` they are ready, or the disk refused.

        Those taken before are told again.
        """
        try:
            for launch in launches:
                self._claim(launch)
        except OSError as error:
            then(error)
            return
        self._disk.do(partial(sync_folder, self._layout.attempts), partial(self._synced, then))

    def start_next(self) -> None:
        """Start the process of the attempt that was claimed first."""
        attempt_id = next(iter(self._ready))
        launch, files = self._ready.pop(attempt_id), self._files(attempt_id)
        if self._closing is None and not launch.resources.millicores and self._is_crowded():
            self._crowd[attempt_id] = launch
            return
        if self._closing is not None:
            self._conclude(files, self._end_unstarted(attempt_id, self._closing))
            return
        try:
            self._begin(launch, files)
        except (LaunchError, OSError) as error:
            self._conclude(files, self._end_unstarted(attempt_id, Ending(FailureClass.LAUNCH, str(error))))

    def terminate(self, launch: Launch, grace_s: float) -> None:
        """End an attempt; one never started is taken, so that it cannot start any more."""
        attempt = self._live.get(launch.attempt_id)
        if attempt is not None:
            self._end(attempt, TOLD_TO_END, grace_s)
            return
        if self._crowd.pop(launch.attempt_id, None) is not None:
            self._crowd_suspended.discard(launch.attempt_id)
            self._conclude(self._files(launch.attempt_id), self._end_unstarted(launch.attempt_id, NEVER_STARTED))
            return
        files = self._files(launch.attempt_id)
        if files.take():
            self._conclude(files, self._end_unstarted(launch.attempt_id, NEVER_STARTED))
        else:
            self._retell(files)

    def suspend(self, attempt_id: str) -> None:
        """Stop an attempt where it is."""
        if attempt_id in self._live:
            self._live[attempt_id].suspend(self._timers.now_s())
            self._let_in()
        elif attempt_id in self._crowd:
            self._crowd_suspended.add(attempt_id)

    def resume(self, attempt_id: str) -> None:
        """Let an attempt go on."""
        self._crowd_suspended.discard(attempt_id)
        self._let_in()
        attempt = self._live.get(attempt_id)
        if attempt is not None and attempt.is_suspended:
            attempt.resume(self._timers.now_s())
            self._watch_walltime(attempt)

    def end_all(self, ending: Ending, grace_s: float | None = None) -> None:
        """End all attempts, each after its own grace period unless one is given."""
        for attempt in list(self._live.values()):
            own_s = attempt.launch.grace_ms / 1000
            self._end(attempt, ending, own_s if grace_s is None else grace_s)
        crowd, self._crowd, self._crowd_suspended = self._crowd, {}, set()
        for attempt_id in crowd:
            self._conclude(self._files(attempt_id), self._end_unstarted(attempt_id, ending))

    def close(self, ending: Ending) -> None:
        """End all attempts and start no more."""
        self._closing = ending
        self.end_all(ending)

    def retell_live(self) -> None:
        """Report all live attempts again, as they stand now."""
        for attempt in list(self._live.values()):
            self._retell(attempt.files)

    def reap(self) -> None:
        """Take leave of dead children: first processes of attempts, and orphans that were adopted."""
        while (pid := _dead_child()) is not None:
            leader = self._by_session.get(pid)
            owner = leader or self._owner(stat_of(pid))
            _, status, usage = os.wait4(pid, 0)
            if leader is not None:
                leader.left(status, usage)
            elif owner is not None:
                owner.account(usage)
        for attempt in list(self._live.values()):
            if attempt.exit is not None and not attempt.is_over:
                self._clear(attempt)

    def _files(self, attempt_id: str) -> AttemptFiles:
        return AttemptFiles(self._layout.attempt(attempt_id))

    def _claim(self, launch: Launch) -> None:
        if any(launch.attempt_id in taken for taken in (self._claimed, self._ready, self._crowd)):
            return
        files = self._files(launch.attempt_id)
        marker = self._folder.live / files.attempt_id
        if not files.is_claimed():
            marker.touch()
            if files.claim(launch):
                self._claimed[launch.attempt_id] = launch
                return
            marker.unlink()
        self._retell(files)

    def _synced(self, then: Callable[[OSError | None], None], result: OSError | None) -> None:
        if result is None:
            self._ready.update(self._claimed)
            self._claimed.clear()
        then(result)

    def _is_crowded(self) -> bool:
        idlers = [a for a in self._live.values() if not a.launch.resources.millicores and not a.is_suspended]
        return len(idlers) >= ZERO_CORE_AT_ONCE

    def _let_in(self) -> None:
        """Let the next of the crowd be started, if there is room."""
        waiting = (attempt_id for attempt_id in self._crowd if attempt_id not in self._crowd_suspended)
        first = next(waiting, None)
        if first is not None and not self._is_crowded():
            self._ready[first] = self._crowd.pop(first)

    def _begin(self, launch: Launch, files: AttemptFiles) -> None:
        folders = (
            files.folder / (launch.work.cwd or "work"),
            self._layout.checkpoints(launch.job_id, launch.task),
        )
        quiet = partial(self._finish, launch.attempt_id)
        with ExitStack() as undo:
            hearing = Hearing(files, folders, self._timers, self._readers, self._tell, quiet)
            undo.callback(hearing.close)
            reading, writing = os.pipe2(os.O_CLOEXEC)
            undo.callback(os.close, reading)
            try:
                pid = spawn(launch, files, self._layout, writing)
            except LaunchError as error:
                hearing.note("launch", f"not started: {error}")
                raise
            finally:
                os.close(writing)
            undo.pop_all()
        self._take_in(Attempt(launch, files, hearing, pid, reading, self._timers.now_s()), reading)

    def _take_in(self, attempt: Attempt, output: int) -> None:
        """The process runs: report it, listen to it, watch it."""
        self._live[attempt.attempt_id] = attempt
        self._by_session[attempt.pid] = attempt
        os.set_blocking(output, False)
        self._selector.register(output, selectors.EVENT_READ, partial(self._listen, attempt))
        self._tell(attempt.write_start(self._clock.now_ms()))
        self._watch_walltime(attempt)
        if attempt.launch.resources.memory_mib and not self._samples_memory:
            self._samples_memory = True
            self._timers.after(MEMORY_EVERY_S, self._sample_memory)

    def _listen(self, attempt: Attempt) -> None:
        if attempt.read() == b"":
            self._close_output(attempt)

    def _close_output(self, attempt: Attempt) -> None:
        if attempt.output is not None:
            self._selector.unregister(attempt.output)
            os.close(attempt.output)
            attempt.output = None

    def _end(self, attempt: Attempt, ending: Ending, grace_s: float) -> None:
        if attempt.end(ending, self._timers.now_s(), grace_s) and grace_s > 0:
            attempt.timers.append(self._timers.after(grace_s, partial(self._kill, attempt)))

    def _kill(self, attempt: Attempt) -> None:
        if attempt.exit is None:
            attempt.kill()

    def _watch_walltime(self, attempt: Attempt) -> None:
        walltime_ms = attempt.launch.walltime_ms
        if walltime_ms is None or attempt.exit is not None or attempt.is_suspended:
            return
        left_s = walltime_ms / 1000 - attempt.run_s(self._timers.now_s())
        if left_s > 0:
            attempt.timers.append(self._timers.after(left_s, partial(self._watch_walltime, attempt)))
        else:
            over = Ending(FailureClass.WALLTIME, f"ran longer than its walltime of {duration_text(walltime_ms)}")
            self._end(attempt, over, attempt.launch.grace_ms / 1000)

    def _sample_memory(self) -> None:
        limited = [a for a in self._live.values() if a.launch.resources.memory_mib and a.exit is None]
        stats = all_stats() if limited else {}
        for attempt in limited:
            limit_mib = attempt.launch.resources.memory_mib
            used_kib = attempt.memory_kib(stats, limit_mib * 1024)
            if used_kib > limit_mib * 1024:
                self._end(attempt, Ending(FailureClass.MEMORY, over_limit(used_kib, limit_mib)), 0)
        self._samples_memory = bool(limited)
        if limited:
            self._timers.after(MEMORY_EVERY_S, self._sample_memory)

    def _clear(self, attempt: Attempt) -> None:
        """The leader has ended: kill what it leaves, and when nothing is left, finish."""
        remnants = self._remnants(attempt)
        for stat in remnants:
            kill(stat)
        if remnants:
            self._clear_again(attempt)
            return
        del self._by_session[attempt.pid]
        attempt.hang_up()
        self._close_output(attempt)
        self._finish(attempt.attempt_id)

    def _clear_again(self, attempt: Attempt) -> None:
        """Look once more in a moment, should no signal tell that the killed are gone."""

        def look() -> None:
            self._looks_again.discard(attempt.attempt_id)
            if not attempt.is_over:
                self._clear(attempt)

        if attempt.attempt_id not in self._looks_again:
            self._looks_again.add(attempt.attempt_id)
            self._timers.after(CLEAR_EVERY_S, look)

    def _remnants(self, attempt: Attempt) -> list[ProcessStat]:
        """Living processes of an attempt whose leader has ended: all of them hang below orphans adopted here.

        Whoever hides its origin (another session, another environment) goes with the last attempt.
        """
        orphans = [pid for pid in children_of(os.getpid()) if not self._is_running_leader(pid)]
        if not orphans:
            return []
        stats, last = all_stats(), len(self._live) == 1
        mine = (attempt, None) if last else (attempt,)
        return with_descendants([pid for pid in orphans if self._owner(stats.get(pid)) in mine], stats)

    def _is_running_leader(self, pid: int) -> bool:
        return pid in self._by_session and self._by_session[pid].exit is None

    def _owner(self, stat: ProcessStat | None) -> Attempt | None:
        if stat is None:
            return None
        if stat.session in self._by_session:
            return self._by_session[stat.session]
        folder = variable_of(stat.pid, ATTEMPT_DIR) or ""
        return self._live.get(folder.rpartition("/")[2])

    def _finish(self, attempt_id: str) -> None:
        """Record and report the end, unless processes are left or checkpoints are still being read."""
        attempt = self._live.get(attempt_id)
        if attempt is not None and attempt.is_over and not attempt.hearing.is_busy:
            for timer in attempt.timers:
                self._timers.cancel(timer)
            attempt.hearing.close()
            self._conclude(attempt.files, attempt.report(self._clock.now_ms()))

    def _conclude(self, files: AttemptFiles, end: AttemptExited) -> None:
        """Record an end, as soon as the disk takes it, and only then report it."""
        self._concluding.add(files.attempt_id)
        self._disk.do(partial(_record, files, end), partial(self._concluded, files, end))

    def _concluded(self, files: AttemptFiles, end: AttemptExited, recorded: AttemptExited | OSError) -> None:
        if isinstance(recorded, OSError):
            logger.warning("the end of %s cannot be recorded yet: %s", files.attempt_id, recorded)
            self._timers.after(RETRY_S, partial(self._conclude, files, end))
            return
        (self._folder.live / files.attempt_id).unlink(missing_ok=True)
        self._live.pop(files.attempt_id, None)
        self._concluding.discard(files.attempt_id)
        self._tell(recorded)
        self._let_in()

    def _retell(self, files: AttemptFiles) -> None:
        """Report an attempt again, as it stands now; one that nobody runs and that has not ended is lost."""
        attempt = self._live.get(files.attempt_id)
        if attempt is None and files.attempt_id not in self._concluding and self._is_ours(files):
            settle([files], "its supervisor died", self._clock.now_ms())
        for report in files.replay():
            self._tell(report)
        if attempt is not None and attempt.hearing.progress is not None:
            self._tell(attempt.hearing.progress)

    def _is_ours(self, files: AttemptFiles) -> bool:
        """Whether nobody else can be running it: taken for this node, or for none."""
        launch = files.read_launch()
        return files.read_end() is None and (launch is None or launch.node_id == self._node_id)

    def _end_unstarted(self, attempt_id: str, ending: Ending) -> AttemptExited:
        now_ms = self._clock.now_ms()
        return AttemptExited(attempt_id=attempt_id, failure=ending.failure, message=ending.message, ended_ms=now_ms)


def _record(files: AttemptFiles, end: AttemptExited) -> AttemptExited:
    """Record an end; the one that counts is the first that was recorded."""
    files.write_end(end)
    return files.read_end() or end


def _dead_child() -> int | None:
    """A child that has ended and was not waited for; its entry in `/proc` stays until then."""
    try:
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if info is None else info.si_pid
