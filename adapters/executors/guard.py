"""The guard of a supervisor: its parent, which waits for its death and then ends everything it leaves.

Three processes make a supervisor: a launcher, which returns as soon as the supervisor answers; the guard; and the
supervisor. Orphans of a supervisor that was killed become the guard's children (`PR_SET_CHILD_SUBREAPER`), so the
guard ends exactly the processes of the node, also those that changed session and name. It shares the node's lock:
the lock is free only when the supervisor is dead and its attempts are gone. It listens to the supervisor's `pulse`
as well: one that hangs when its lease is over is killed, since it cannot end its attempts itself any more.

A signal on the parent's death (`PR_SET_PDEATHSIG`) would reach first processes only, and would make starting one four
times as dear, since it needs a full fork.
"""

import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

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
from adapters.executors.pulse import Listening, Pulse
from domain.messages import NodeId

LOOK_EVERY_S = 0.5
"""How often to look whether the supervisor hangs."""
LOCK_WAIT_S = 2.0
"""How long somebody may look whether the lock is held before it counts as held."""

READY = "ready"

logger = logging.getLogger(__name__)


class Post(NamedTuple):
    """What a supervisor is given by its guard."""

    layout: Layout
    node_id: NodeId
    lock: FileLock
    """The node's lock, which both hold."""
    pulse: Pulse


Supervise = Callable[[Post, Callable[[], None]], None]


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
    listening, beating = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(listening)
        post = Post(layout, node_id, lock, Pulse(beating))
        _exit_after(lambda: _supervise(post, supervise, answer))
    os.close(answer)
    os.close(beating)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _exit_after(lambda: _watch(layout, node_id, child, Listening(listening)))


def _supervise(post: Post, supervise: Supervise, answer: int) -> None:
    """Supervise, and answer the launcher once: that the supervisor is ready, or what went wrong."""
    with os.fdopen(answer, "w") as file:

        def ready() -> None:
            file.write(READY)
            file.close()

        try:
            supervise(post, ready)
        except Exception as error:
            if not file.closed:
                file.write(str(error))
            raise


def _watch(layout: Layout, node_id: NodeId, supervisor: int, listening: Listening) -> None:
    hung = _await_end(supervisor, listening)
    _, status = os.waitpid(supervisor, 0)
    if status == 0:
        return
    killed = end_all(_descendants)
    why = "its supervisor hung when its lease was over" if hung else f"its supervisor died ({_how(status)})"
    settle_node(layout, node_id, why, SystemClock().now_ms())
    logger.error("%s: %s; %d processes were left and ended", node_id, why, killed)


def _await_end(supervisor: int, listening: Listening) -> bool:
    """Wait until the supervisor is dead; one that hangs when its lease is over is killed, and True returned."""
    descriptor = os.pidfd_open(supervisor)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    hung = False
    while not poll.poll(1000 * LOOK_EVERY_S):
        if not hung and listening.hangs(time.monotonic()):
            hung = True
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    return hung


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
