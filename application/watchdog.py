"""The watchdog: heartbeats, leases, start times and walltimes become commands when their time has come.

The rules of losing a node: one whose supervisor is certainly dead is lost at once, except that a server which was down
itself waits one lease after its start before it declares anything lost that it has not heard itself, unless the
executor has looked at the machine; one that is only silent is suspected, and lost when lease and margin have passed,
because by then it has stopped its attempts itself, and when the executor is sure of that as well (`Executor.fence`).
Silence counts only while somebody listens: a dispatcher that is busy with something else has not heard, that is all.
"""

import threading
from collections.abc import Iterable, Sequence

from application.app import Application, Request
from application.ports import Executor, NodeGone, NodeHeartbeat, NodeReport, NodeUp
from application.power import POWERED_DOWN
from application.timers import Timers
from application.windows import Windows
from domain import errors, node
from domain.messages import Command, Meta, NodeId, Recorded, Value, node_stream

ACTOR = "watchdog"
AT_ONCE = 500
"""Most commands in one commit, so that others need not wait long for the lock."""
MAX_DOUBLINGS = 5
"""Of the time until a node that does not come up is started once more."""


class Timing(Value, frozen=True):
    """How patient the watchdog is, in milliseconds."""

    lease_ms: int = 10_000
    """How long a node may be silent before it stops its attempts."""
    margin_ms: int = 2_000
    """Added to lease and walltime, for clocks and messages under way."""
    suspect_ms: int = 3_000
    """How long a node may be silent before nothing new is placed there."""
    respawn_ms: int = 2_000
    """How long a lost node stays down before it is started again, doubled each time that fails; negative: for good."""


class Watchdog:
    """Turns signs of life, and their absence, into commands."""

    def __init__(self, app: Application, executor: Executor, timing: Timing | None = None) -> None:
        self.app, self.executor, self.timing = app, executor, timing or Timing()
        self._started_ms = self._listened_ms = app.clock.now_ms()
        self._heard_ms: dict[NodeId, int] = {}
        self._gone: dict[NodeId, NodeGone] = {}
        """Nodes reported gone that are not declared lost yet."""
        self._respawn_at: dict[NodeId, int] = {}
        self._awaited: set[NodeId] = set()
        """Nodes that were started again and have said nothing yet."""
        self._given_up: set[NodeId] = set()
        """Nodes declared lost by this server."""
        self._starts: dict[NodeId, int] = {}
        """How often a node was started again since it was last up."""
        self._returning: set[NodeId] = set()
        """Nodes that are offline although their supervisors may live: their next sign of life brings them back."""
        self._lock = threading.Lock()
        with app.lock:
            self._timers = Timers(app.farm, self.timing.lease_ms + self.timing.margin_ms)
            self._windows = Windows(app.farm)
            app.listen(self._saw)

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            if type(each.event) is node.NodeMaintenanceEnded:
                self._returning.add(each.event.node_id)
        self._timers.see(recorded)
        self._windows.see(recorded)

    def run(self, stop: threading.Event) -> None:
        """Looks around twice a second until told to stop."""
        while not stop.wait(0.5):
            self.tick()

    # -- signs of life -------------------------------------------------------------------------------------------

    def hear(self, reports: Sequence[NodeReport]) -> None:
        """Takes in what executors say about nodes; to be called every time somebody has listened to them."""
        now_ms = self.app.clock.now_ms()
        for report in reports:
            if isinstance(report, NodeGone):
                if self._fell_asleep(report):
                    continue
                with self._lock:
                    self._gone[report.node_id] = report
                    self._awaited.discard(report.node_id)
                    self._returning.discard(report.node_id)
                self._lose_gone(now_ms)
                continue
            self._heard_ms[report.node_id] = now_ms
            if isinstance(report, NodeUp):
                self._up(report)
            elif isinstance(report, NodeHeartbeat):
                self._recovered(report.node_id)
        self._listened_ms = now_ms

    def _fell_asleep(self, report: NodeGone) -> bool:
        """Whether a node is gone because it was powered down: then nothing is lost, and it is not started again."""
        known = self.app.farm.nodes.get(report.node_id)
        if known is None or not known.asleep:
            return False
        cause = f"{node_stream(report.node_id)}@{self.app.farm.versions[node_stream(report.node_id)]}"
        off = node.TakeOffline(node_id=report.node_id, why=POWERED_DOWN)
        self.app.commit(Request((off,), Meta(ACTOR, self.app.ids.new("cmd"), cause=cause)))
        self._given_up.add(report.node_id)
        return True

    def _up(self, report: NodeUp) -> None:
        with self._lock:
            gone = self._gone.pop(report.node_id, None)
        if gone is not None:
            self._lose(gone)
        with self._lock:
            self._respawn_at.pop(report.node_id, None)
            self._awaited.discard(report.node_id)
            self._starts.pop(report.node_id, None)
        known = self.app.farm.nodes.get(report.node_id)
        if known is not None and (known.retired or known.status is node.NodeStatus.MAINTENANCE):
            return
        register = node.RegisterNode(node_id=report.node_id, capacity=report.capacity, attributes=report.attributes)
        self.app.handle_all((register, node.BringOnline(node_id=report.node_id)), ACTOR)

    def _recovered(self, node_id: NodeId) -> None:
        known = self.app.farm.nodes.get(node_id)
        if known is None or known.retired:
            return
        if known.suspected:
            self.app.handle(node.RecoverNode(node_id=node_id), ACTOR)
        elif node_id in self._returning:
            self._returning.discard(node_id)
            self.app.handle(node.BringOnline(node_id=node_id), ACTOR)

    def settled(self, nodes: Iterable[NodeId]) -> bool:
        """Whether each of these nodes has said that it is up or gone, and none is awaited back.

        One that was started again and did not come up is tried further, but not waited for.
        """
        with self._lock:
            if self._gone or self._awaited or self._respawn_at.keys() - self._starts.keys():
                return False
            if self._returning - self._given_up:
                return False
        return all(self._has_settled(node_id) for node_id in nodes)

    def _has_settled(self, node_id: NodeId) -> bool:
        known = self.app.farm.nodes.get(node_id)
        if known is None:
            return False
        if known.asleep and known.status is node.NodeStatus.OFFLINE:
            return True
        if known.status in (node.NodeStatus.STOPPING, node.NodeStatus.STARTING):
            return False
        return node_id in self._heard_ms or node_id in self._given_up

    # -- what time brings ----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Everything whose time has come by now."""
        now_ms = self.app.clock.now_ms()
        self._lose_gone(now_ms)
        self._silent()
        self._respawn(now_ms)
        due = self._due(now_ms)
        for at in range(0, len(due), AT_ONCE):
            self._carry_out(due[at : at + AT_ONCE])

    def _carry_out(self, commands: Sequence[Command]) -> None:
        """One commit for many, each by itself: thousands of jobs may wait for the same moment."""
        requests = [Request((command,), Meta(ACTOR, self.app.ids.new("cmd"))) for command in commands]
        for outcome in self.app.commit_all(requests):
            if isinstance(outcome, errors.TaskSchedulerError):
                raise outcome

    def _lose_gone(self, now_ms: int) -> None:
        waited = now_ms - self._started_ms >= self.timing.lease_ms
        with self._lock:
            # A node that reported to this server before died before its eyes.
            gone = [r for node_id, r in self._gone.items() if waited or r.verified or node_id in self._heard_ms]
            for report in gone:
                del self._gone[report.node_id]
        for report in gone:
            self._lose(report)

    def _lose(self, report: NodeGone) -> None:
        known = self.app.farm.nodes.get(report.node_id)
        if known is not None and known.retired:
            return
        if known is not None:
            self.app.handle(node.LoseNode(node_id=report.node_id, why=report.why), ACTOR)
        self._given_up.add(report.node_id)
        if self.timing.respawn_ms >= 0 and not report.for_good:
            with self._lock:
                delay_ms = self.timing.respawn_ms << min(self._starts.get(report.node_id, 0), MAX_DOUBLINGS)
                self._respawn_at[report.node_id] = self.app.clock.now_ms() + delay_ms

    def _silent(self) -> None:
        for node_id, known in list(self.app.farm.nodes.items()):
            if known.status is not node.NodeStatus.ONLINE:
                continue
            silent_ms = self._listened_ms - self._heard_ms.get(node_id, self._started_ms)
            is_over = silent_ms > self.timing.lease_ms + self.timing.margin_ms
            if is_over and self.executor.fence(node_id):  # else something of it may still run
                why = f"silent for {silent_ms} ms, longer than its lease"
                self.app.handle(node.LoseNode(node_id=node_id, why=why), ACTOR)
                self._given_up.add(node_id)
                self._returning.add(node_id)
            elif silent_ms > self.timing.suspect_ms and not known.suspected:
                self.app.handle(node.SuspectNode(node_id=node_id, silent_ms=silent_ms), ACTOR)

    def _respawn(self, now_ms: int) -> None:
        with self._lock:
            due = [node_id for node_id, at_ms in self._respawn_at.items() if at_ms <= now_ms]
            for node_id in due:
                del self._respawn_at[node_id]
                self._awaited.add(node_id)
                self._starts[node_id] = self._starts.get(node_id, 0) + 1
        for node_id in due:
            self.executor.start_node(node_id)

    def _due(self, now_ms: int) -> list[Command]:
        """Start times, attempts over their walltime that their node did not stop, windows that begin and end."""
        with self.app.lock:
            return self._timers.due(now_ms) + self._windows.due(now_ms)
