"""What a dead supervisor leaves: finds the processes of its attempts, ends them, records that they are lost.

To be called by whoever holds the node's lock, so that no other supervisor lives. A process belongs to an attempt if
it is in the session of the attempt's first process, descends from such a process, or carries the attempt's folder in
its environment. Pids are trusted only together with the time the process started and the machine's boot.
"""

from collections.abc import Iterable

from adapters.executors.attempt_files import AttemptFiles
from adapters.executors.layout import Layout
from adapters.executors.processes import (
    ProcessStat,
    Stats,
    all_stats,
    boot_id,
    end_all,
    variable_of,
    with_descendants,
)
from adapters.executors.spawn import ATTEMPT_DIR
from application.ports import AttemptExited
from domain.job.values import FailureClass
from domain.messages import NodeId


def settle_node(layout: Layout, node_id: NodeId, why: str, now_ms: int) -> None:
    """End what is left on a node whose supervisor is dead, and record its attempts as lost."""
    folder = layout.node(node_id)
    attempts = [AttemptFiles(layout.attempt(attempt_id)) for attempt_id in folder.live_attempts()]
    settle(attempts, why, now_ms)
    for files in attempts:
        (folder.live / files.attempt_id).unlink(missing_ok=True)


def settle(attempts: Iterable[AttemptFiles], why: str, now_ms: int) -> None:
    """End all processes of these attempts, then record as lost each that has no recorded end."""
    claimed = [files for files in attempts if files.is_claimed()]
    end_processes(claimed)
    for files in claimed:
        start = files.read_start()
        files.write_end(
            AttemptExited(
                attempt_id=files.attempt_id,
                failure=FailureClass.LOST,
                message=why,
                started_ms=None if start is None else start.at_ms,
                ended_ms=now_ms,
            )
        )


def end_processes(attempts: Iterable[AttemptFiles], until_s: float = float("inf")) -> int:
    """Kill every process of these attempts and wait until they are dead, as `end_all` does; how many there were."""
    claimed = list(attempts)
    return end_all(lambda: processes_of(claimed, all_stats()), until_s) if claimed else 0


def processes_of(attempts: Iterable[AttemptFiles], stats: Stats) -> list[ProcessStat]:
    """The living processes of these attempts."""
    claimed = list(attempts)
    sessions, folders = _sessions(claimed, stats), {str(files.folder) for files in claimed}
    roots = [
        stat.pid
        for stat in stats.values()
        if stat.is_alive and (stat.session in sessions or variable_of(stat.pid, ATTEMPT_DIR) in folders)
    ]
    return with_descendants(roots, stats)


def _sessions(attempts: Iterable[AttemptFiles], stats: Stats) -> set[int]:
    """Sessions whose leader, alive or a zombie, is certainly the first process of one of these attempts."""
    boot, sessions = boot_id(), set()
    for files in attempts:
        start = files.read_start()
        leader = stats.get(start.pid) if start is not None and start.boot_id == boot else None
        if leader is not None and start is not None and leader.start_ticks == start.start_ticks:
            sessions.add(leader.pid)
    return sessions
