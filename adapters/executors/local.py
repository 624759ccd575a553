"""The executor of this machine: attempts as real processes on logical nodes, each with a supervisor of its own.

    server ── link ── supervisor (one per node, outlives the server) ── attempts (a session each)

Files are the truth (`attempt_files`), sockets only save time (`wire`). So a server may crash at any moment: the next
one connects to the supervisors that live, buries those that died, and asks again for what it is owed.
"""

import logging
import signal
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from adapters.executors.attempt_files import AttemptFiles
from adapters.executors.identity import living, read_identity
from adapters.executors.inbox import Inbox
from adapters.executors.layout import Layout, NodeFolder
from adapters.executors.leftovers import end_processes, processes_of
from adapters.executors.link import NO_LONGER, PROBE_EVERY_S, MakeOrder, NodeLink, Terms, refuse
from adapters.executors.locks import is_held, try_lock
from adapters.executors.machine import LocalNode, machine_nodes
from adapters.executors.processes import all_stats, end_all, kill, send, with_descendants
from adapters.executors.wire import DEFAULT_IDLE_MS, Resume, Start, Stop, Suspend, Terminate
from application.ports import AnyReport, Launch, NodeGone, NodeUp
from domain.errors import NodeNotFound
from domain.messages import NodeId

__all__ = ["LocalExecutor", "LocalNode", "kill_node", "machine_nodes", "read_output"]

GONE = "its node is gone"
KILL_TIMEOUT_S = 10.0
"""How long a supervisor may take to come up before it can be killed."""
FENCE_TIMEOUT_S = 4.0
LAST_TRY_S = 1.0
STOP_TIMEOUT_S = 5.0
"""How long nodes that were told to stop may take until the executor hangs up."""

logger = logging.getLogger(__name__)


class LocalExecutor:
    """Runs attempts on this machine. One server at a time: the newest takes the nodes over."""

    def __init__(
        self,
        data_dir: Path,
        nodes: Sequence[LocalNode],
        *,
        lease_ms: int = 10_000,
        heartbeat_ms: int = 500,
        server_lock: Path | None = None,
        left_over: Sequence[LocalNode] = (),
        asleep: Collection[NodeId] = (),
        idle_ms: int = DEFAULT_IDLE_MS,
    ) -> None:
        """`server_lock` is the file that the server holds locked while it lives (default `server.lock` in the data
        directory): supervisors that hear nothing for `lease_ms` while it is held end their attempts; those on which
        nothing runs end themselves when it was held by nobody for `idle_ms`.

        Nodes that are `left_over` from an earlier configuration finish what they run and are never started. Those that
        are `asleep` are not started until `start_node`.
        """
        self._layout = Layout(data_dir)
        self._inbox = Inbox()
        lock = (server_lock or self._layout.server_lock).resolve()
        self._terms = Terms(time.monotonic_ns(), lease_ms, heartbeat_ms, str(lock), idle_ms)
        self._links = {node.node_id: self._link(node.node_id, _up(node), wanted=False) for node in left_over}
        self._links |= {
            node.node_id: self._link(node.node_id, _up(node), wanted=True, asleep=node.node_id in asleep)
            for node in nodes
        }
        self._is_open = self._is_closed = False

    def open(self) -> None:
        """Connect to the supervisors that live, start those that never ran or were stopped, and bury those that died.

        A node that died is reported gone and left down until `start_node`. So is one that is configured no longer and
        not `left_over` either; what runs there is asked to leave, each attempt with its own grace period.
        """
        if self._is_open:
            return
        self._is_open = True
        self._layout.create()
        for node_id in self._layout.known_nodes():
            folder = self._layout.node(node_id)
            if node_id not in self._links and (is_held(folder.lock) or folder.live_attempts()):
                self._links[node_id] = self._link(node_id, None, wanted=False)
        for link in self._links.values():
            link.open()

    def start(self, launches: Sequence[Launch]) -> None:
        """Run these attempts; on a node that is gone they are lost at once and never run. `BadInput` for a bad id."""
        by_node: dict[NodeId, list[Launch]] = {}
        for launch in launches:
            self._check(launch)
            by_node.setdefault(launch.node_id, []).append(launch)
        for node_id, own in by_node.items():
            if not self._order(node_id, *[partial(Start, launch=launch) for launch in own]):
                for launch in own:
                    self._inbox.put(refuse(self._layout, launch, GONE))

    def terminate(self, launch: Launch, grace_ms: int) -> None:
        """SIGTERM to the attempt's process group, SIGKILL to all its processes after the grace period."""
        self._check(launch)
        if not self._order(launch.node_id, partial(Terminate, launch=launch, grace_ms=grace_ms)):
            self._inbox.put(refuse(self._layout, launch, GONE))

    def suspend(self, launch: Launch) -> None:
        """SIGSTOP to all processes of the attempt."""
        self._order(launch.node_id, partial(Suspend, attempt_id=launch.attempt_id))

    def resume(self, launch: Launch) -> None:
        """SIGCONT to all processes of the attempt."""
        self._order(launch.node_id, partial(Resume, attempt_id=launch.attempt_id))

    def reports(self, timeout_s: float) -> list[AnyReport]:
        """What was seen since the last call, in order; waits up to `timeout_s` for the first one."""
        return self._inbox.take(timeout_s)

    def wake(self) -> None:
        """Let a waiting `reports` return now."""
        self._inbox.wake()

    def start_node(self, node_id: NodeId) -> None:
        """Start the supervisor of a node that was reported gone; one that is configured no longer stays down."""
        if not self._known(node_id).revive():
            self._inbox.put([NodeGone(node_id=node_id, why=NO_LONGER, for_good=True)])

    def stop_node(self, node_id: NodeId) -> None:
        """Ask what runs there to leave, each attempt with its own grace period, and end the supervisor.

        A node that is gone was reported so, and is not again.
        """
        self._known(node_id).order(Stop)

    def fence(self, node_id: NodeId) -> bool:
        """Kill what is left of a silent node as `kill_node` does, also when supervisor and guard are frozen."""
        dead = kill_node(self._layout.data_dir, node_id, FENCE_TIMEOUT_S)
        if not dead:
            logger.warning("%s is silent, and something of it cannot be killed", node_id)
        return dead

    def close(self) -> None:
        """Hang up; supervisors and attempts stay as they are, but for nodes that were told to stop: they end first.

        The executor cannot be opened again.
        """
        if self._is_open and not self._is_closed:
            self._is_closed = True
            until_s = time.monotonic() + STOP_TIMEOUT_S
            for link in self._links.values():
                link.await_stop(until_s)
            for link in self._links.values():
                link.close()

    def _link(self, node_id: NodeId, up: NodeUp | None, *, wanted: bool, asleep: bool = False) -> NodeLink:
        return NodeLink(self._layout, node_id, up, self._terms, self._inbox.put, wanted=wanted, asleep=asleep)

    def _known(self, node_id: NodeId) -> NodeLink:
        if node_id not in self._links:
            raise NodeNotFound(node_id=node_id)
        return self._links[node_id]

    def _order(self, node_id: NodeId, *makes: MakeOrder) -> bool:
        """Whether the node took the orders; one that was never heard of is as good as gone."""
        link = self._links.get(node_id)
        return link is not None and link.order(*makes)

    def _check(self, launch: Launch) -> None:
        self._layout.attempt(launch.attempt_id)
        self._layout.checkpoints(launch.job_id, launch.task)


def read_output(data_dir: Path, attempt_id: str) -> Path:
    """The file with all that an attempt printed; it exists once the attempt was started."""
    return AttemptFiles(Layout(data_dir).attempt(attempt_id)).output


def supervisor_pid(data_dir: Path, node_id: NodeId) -> int | None:
    """The process that supervises a node: SIGTERM ends it in order, with what it runs. None if none lives."""
    identity = read_identity(Layout(data_dir).node(node_id).lock)
    lives = identity is not None and any(each.pid == identity.pid for each in living(identity))
    return identity.pid if identity is not None and lives else None


def kill_node(data_dir: Path, node_id: NodeId, timeout_s: float = KILL_TIMEOUT_S) -> bool:
    """Kill a node's supervisor, its guard and everything it runs, as a power cut would; whether all are dead.

    Returns when they are, or a second or two after the timeout: what sits in a system call that does not return, or
    runs as somebody else, cannot be killed.
    """
    layout = Layout(data_dir)
    folder = layout.node(node_id)
    if not folder.folder.is_dir():
        return True
    until_s = time.monotonic() + timeout_s
    while (lock := try_lock(folder.lock)) is None and time.monotonic() < until_s:
        _kill_keepers(folder, until_s)
        time.sleep(PROBE_EVERY_S)  # a supervisor that is just being started has not put down its name yet
    attempts = [AttemptFiles(layout.attempt(attempt_id)) for attempt_id in folder.live_attempts()]
    end_processes(attempts, max(until_s, time.monotonic() + LAST_TRY_S))
    if lock is None:
        return False
    with lock:
        return not processes_of(attempts, all_stats())


def _kill_keepers(folder: NodeFolder, until_s: float) -> None:
    """Kill the guard, the supervisor and all their descendants."""
    identity = read_identity(folder.lock)
    keepers = [] if identity is None else living(identity)
    pids = {keeper.pid for keeper in keepers}
    # While they stand still, whatever they run stays below them: they adopt its orphans, and clear nothing away.
    for keeper in keepers:
        send(keeper, signal.SIGSTOP)
    end_all(lambda: [stat for stat in with_descendants(pids, all_stats()) if stat.pid not in pids], until_s)
    for keeper in keepers:
        kill(keeper)
    end_all(lambda: [] if identity is None else living(identity), until_s)


def _up(node: LocalNode) -> NodeUp:
    return NodeUp(node_id=node.node_id, capacity=node.capacity, attributes=node.attributes)
