"""The executor that runs nothing: in process, for benchmarks and simulations.

Unless told otherwise every attempt starts and succeeds at once. It keeps what the port promises, the fence included.
"""

import threading
from collections.abc import Callable, Iterable, Sequence

from adapters.executors.inbox import Inbox
from adapters.executors.machine import LocalNode
from application.ports import (
    AnyReport,
    AttemptExited,
    AttemptStarted,
    Clock,
    Launch,
    NodeGone,
    NodeHeartbeat,
    NodeUp,
)
from domain.errors import NodeNotFound
from domain.job.values import FailureClass
from domain.messages import NodeId

Outcome = Callable[[Launch], AttemptExited | None]
"""How an attempt ends at once; None means it runs until `terminate` or `finish`."""


class NoopExecutor:
    """Nodes without machines; attempts without processes."""

    def __init__(
        self, nodes: Sequence[LocalNode], clock: Clock, outcome: Outcome | None = None, heartbeat_ms: int = 500
    ) -> None:
        self._nodes = {node.node_id: node for node in nodes}
        self._clock, self._outcome, self._heartbeat_ms = clock, outcome, heartbeat_ms
        self._beat_ms = clock.now_ms()
        self._lock = threading.Lock()
        self._inbox = Inbox()
        self._up: set[NodeId] = set()
        self._ends: dict[str, AttemptExited] = {}
        self._running: dict[str, tuple[Launch, AttemptStarted]] = {}

    def open(self) -> None:
        """All nodes are up."""
        for node_id in self._nodes:
            self.start_node(node_id)

    def start(self, launches: Sequence[Launch]) -> None:
        """Report these attempts started and, as the outcome says, ended."""
        reports: list[AnyReport] = []
        with self._lock:
            now_ms, ends, outcome = self._clock.now_ms(), self._ends, self._outcome
            for launch in launches:
                attempt_id = launch.attempt_id
                if attempt_id in ends or attempt_id in self._running or launch.node_id not in self._up:
                    reports += self._again(launch, "its node is gone", now_ms)
                    continue
                started = AttemptStarted(attempt_id=attempt_id, at_ms=now_ms)
                reports.append(started)
                end = (
                    outcome(launch)
                    if outcome is not None
                    else AttemptExited(attempt_id=attempt_id, exit_code=0, started_ms=now_ms, ended_ms=now_ms)
                )
                if end is None:
                    self._running[attempt_id] = (launch, started)
                else:
                    ends[attempt_id] = end
                    reports.append(end)
        self._inbox.put(reports)

    def terminate(self, launch: Launch, grace_ms: int) -> None:
        """End an attempt at once, as SIGTERM would; one never started never will."""
        with self._lock:
            now_ms = self._clock.now_ms()
            running = self._running.pop(launch.attempt_id, None)
            if running is not None:
                self._ends[launch.attempt_id] = AttemptExited(
                    attempt_id=launch.attempt_id,
                    signal=15,
                    failure=FailureClass.SIGNAL,
                    message="told to end",
                    started_ms=running[1].at_ms,
                    ended_ms=now_ms,
                )
            self._inbox.put(self._again(launch, "never started", now_ms, FailureClass.SIGNAL))

    def finish(self, end: AttemptExited) -> None:
        """Let a running attempt end like this; one that has ended stays as it is."""
        with self._lock:
            if self._running.pop(end.attempt_id, None) is not None:
                self._ends[end.attempt_id] = end
                self._inbox.put([end])

    def suspend(self, launch: Launch) -> None:
        """Nothing runs, so nothing stops."""

    def resume(self, launch: Launch) -> None:
        """Nothing was stopped."""

    def reports(self, timeout_s: float) -> list[AnyReport]:
        """What was seen since the last call, with a sign of life of every node now and then."""
        reports = self._inbox.take(timeout_s)
        now_ms = self._clock.now_ms()
        if now_ms - self._beat_ms >= self._heartbeat_ms:
            self._beat_ms = now_ms
            reports += [NodeHeartbeat(node_id=node_id) for node_id in sorted(self._up)]
        return reports

    def wake(self) -> None:
        """Let a waiting `reports` return now."""
        self._inbox.wake()

    def start_node(self, node_id: NodeId) -> None:
        """The node is up."""
        node = self._node(node_id)
        self._up.add(node_id)
        self._inbox.put([NodeUp(node_id=node_id, capacity=node.capacity, attributes=node.attributes)])

    def stop_node(self, node_id: NodeId) -> None:
        """The node is gone, and so are its attempts."""
        self._node(node_id)
        if node_id not in self._up:
            return
        with self._lock:
            self._up.discard(node_id)
            now_ms = self._clock.now_ms()
            lost = [launch for launch, _ in self._running.values() if launch.node_id == node_id]
            for launch in lost:
                del self._running[launch.attempt_id]
                self._again(launch, f"{node_id} was stopped", now_ms)
        self._inbox.put([NodeGone(node_id=node_id, why="stopped", verified=True)])

    def fence(self, node_id: NodeId) -> bool:
        """Nothing of the node is left."""
        if node_id in self._nodes:
            self.stop_node(node_id)
        return True

    def close(self) -> None:
        """Nothing to let go of."""

    def _node(self, node_id: NodeId) -> LocalNode:
        try:
            return self._nodes[node_id]
        except KeyError:
            raise NodeNotFound(node_id=node_id) from None

    def _again(
        self, launch: Launch, why: str, now_ms: int, failure: FailureClass = FailureClass.LOST
    ) -> Iterable[AnyReport]:
        """What is known of an attempt; one that neither runs nor ended ends now, for this reason."""
        attempt_id = launch.attempt_id
        if attempt_id in self._running:
            return [self._running[attempt_id][1]]
        if attempt_id not in self._ends:
            self._ends[attempt_id] = AttemptExited(attempt_id=attempt_id, failure=failure, message=why, ended_ms=now_ms)
        end = self._ends[attempt_id]
        started = [] if end.started_ms is None else [AttemptStarted(attempt_id=attempt_id, at_ms=end.started_ms)]
        return [*started, end]
