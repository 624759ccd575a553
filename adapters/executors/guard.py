"""The guard of a supervisor: its parent, which waits for its death and then ends everything it leaves.

Three processes make a supervisor: a launcher, which returns as soon as the supervisor answers; the guard; and the
supervisor. Orphans of a supervisor that was killed become the guard's children (`PR_SET_CHILD_SUBREAPER`), so the
guard ends exactly the processes of the node, also those that changed session and name. It shares the node's lock:
the lock is free only when the supervisor is dead and its attempts are gone. A signal on the parent's death
(`PR_SET_PDEATHSIG`) would reach first processes only, and would make starting one four times as dear, since it
needs a full fork.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable

from adapters.clock import SystemClock
from adapters.executors.layout import Layout
from adapters.executors.leftovers import settle_node
from adapters.executors.locks import FileLock, lock_within
from adapters.executors.processes import (
    ProcessStat,
    adopt_orphans,
    all_stats,
    children_of,
    end_all,
    with_descendants,
)
from domain.messages import NodeId

LOCK_WAIT_S = 2.0
"""How long somebody may look whether the lock is held before it counts as held."""

READY = "ready"

logger = logging.getLogger(__name__)

Supervise = Callable[[Layout, NodeId, FileLock, Callable[[], None]], None]


def detach(layout: Layout, node_id: NodeId, supervise: Supervise) -> str:
    """Start guard and supervisor in the background; returns an empty text when the supervisor is ready, or why not."""
    layout.create()
    folder = layout.node(node_id)
    folder.create()
    lock = lock_within(folder.lock, LOCK_WAIT_S)
    if lock is None:
        return f"{node_id} is supervised already"
    reading, writing = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        os.close(reading)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # standard output is the launcher's alone
        _guard(layout, node_id, lock, supervise, writing)
    os.close(writing)
    with os.fdopen(reading) as file:
        answer = file.read()
    return "" if answer == READY else answer or "it died while it was starting"


def _guard(layout: Layout, node_id: NodeId, lock: FileLock, supervise: Supervise, answer: int) -> None:
    """Become the guard, start the supervisor, wait; never returns."""
    os.setsid()
    adopt_orphans()
    child = os.fork()
    if child == 0:
        _exit_after(lambda: _supervise(layout, node_id, lock, supervise, answer))
    os.close(answer)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _exit_after(lambda: _watch(layout, node_id, child))


def _supervise(layout: Layout, node_id: NodeId, lock: FileLock, supervise: Supervise, answer: int) -> None:
    """Supervise, and answer the launcher once: that the supervisor is ready, or what went wrong."""
    with os.fdopen(answer, "w") as file:

        def ready() -> None:
            file.write(READY)
            file.close()

        try:
            supervise(layout, node_id, lock, ready)
        except Exception as error:
            if not file.closed:
                file.write(str(error))
            raise


def _watch(layout: Layout, node_id: NodeId, supervisor: int) -> None:
    _, status = os.waitpid(supervisor, 0)
    if status == 0:
        return
    killed = end_all(_descendants)
    why = f"its supervisor died ({_how(status)})"
    settle_node(layout, node_id, why, SystemClock().now_ms())
    logger.error("%s: %s; %d processes were left and ended", node_id, why, killed)


def _descendants() -> list[ProcessStat]:
    return with_descendants(children_of(os.getpid()), all_stats())


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _exit_after(body: Callable[[], None]) -> None:
    """Run the life of a forked process and leave, whatever happens, without unwinding the parent's stack."""
    code = 1
    try:
        body()
        code = 0
    except BaseException:
        logger.exception("ended by an error")
        raise
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
