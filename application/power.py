"""The power switch: nodes that are told to power down or up really do, and the log hears how that went.

A node that is told to power down is taken leave of in order (its supervisor ends), then a hook may cut its power; one
that is told to power up gets its power first, then its supervisor. After a crash `resume` asks for what is still owed.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

from application.app import Application, Request
from application.ports import Executor
from domain import errors, node
from domain.messages import Command, Meta, NodeId, Recorded, node_stream
from domain.node import NodeStatus
from domain.rules.energy import wake_ms_of

ACTOR = "power"
PATIENCE = 3
"""How many times as long as a node says that it takes to come up it is waited for."""
LEAST_PATIENCE_MS = 60_000
POWERED_DOWN = "powered down"
"""Why a node is offline that sleeps."""

logger = logging.getLogger(__name__)


class Switch(StrEnum):
    """What a hook is asked for."""

    OFF = "off"
    ON = "on"


Hook = Callable[[Switch, NodeId], str]
"""Switches the power of a machine; returns what went wrong, or an empty string."""


def no_hook(switch: Switch, node_id: NodeId) -> str:
    """For machines whose power stays on: only their supervisors stop and start."""
    return ""


class _Wanted(NamedTuple):
    """One thing to be done for a node, and the event that wants it."""

    kind: type[node.NodeEvent]
    node_id: NodeId
    cause: str


class PowerSwitch:
    """Carries out what was decided about the power of nodes."""

    def __init__(self, app: Application, executor: Executor, hook: Hook = no_hook) -> None:
        self.app, self.executor, self._hook = app, executor, hook
        self._wanted: deque[_Wanted] = deque()
        self._wake = threading.Event()
        self._awaited: dict[NodeId, int] = {}
        """Until when nodes that were told to power up are waited for."""
        app.listen(self._saw)

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            event = each.event
            if isinstance(event, (node.NodeStopping, node.NodeStarting)):
                self._want(type(event), event.node_id, f"{each.stream}@{each.version}")
            elif isinstance(event, node.NodeOffline) and self._sleeps(event.node_id):
                self._want(node.NodeOffline, event.node_id, f"{each.stream}@{each.version}")
            elif isinstance(event, (node.NodeOnline, node.NodeLost)):
                self._awaited.pop(event.node_id, None)

    def _sleeps(self, node_id: NodeId) -> bool:
        known = self.app.farm.nodes.get(node_id)
        return known is not None and known.asleep

    def _want(self, kind: type[node.NodeEvent], node_id: NodeId, cause: str) -> None:
        self._wanted.append(_Wanted(kind, node_id, cause))
        self._wake.set()

    def resume(self) -> None:
        """Asks again for what nodes are owed: at every start, so also after a crash."""
        with self.app.lock:
            for node_id, known in self.app.farm.nodes.items():
                cause = f"{node_stream(node_id)}@{self.app.farm.versions[node_stream(node_id)]}"
                if known.status is NodeStatus.STOPPING:
                    self._want(node.NodeStopping, node_id, cause)
                elif known.status is NodeStatus.STARTING:
                    self._want(node.NodeStarting, node_id, cause)
                elif known.asleep and known.status is NodeStatus.OFFLINE:  # nobody knows whether its power was cut
                    self._want(node.NodeOffline, node_id, cause)

    def run(self, stop: threading.Event) -> None:
        """Switches until told to stop."""
        while not stop.is_set():
            self._wake.wait(0.5)
            self._wake.clear()
            self.perform()

    def wake(self) -> None:
        """Lets `run` look again now."""
        self._wake.set()

    def perform(self) -> None:
        """Does what is wanted by now, and gives up nodes that do not come up."""
        while self._wanted:
            wanted = self._wanted.popleft()
            known = self.app.farm.nodes.get(wanted.node_id)
            if known is not None and not known.retired:
                self._perform(wanted, known)
        self._give_up(self.app.clock.now_ms())

    def _perform(self, wanted: _Wanted, known: node.Node) -> None:
        if wanted.kind is node.NodeStopping and known.status is NodeStatus.STOPPING:
            self._stop(wanted)
        elif wanted.kind is node.NodeOffline and known.asleep:
            problem = self._hook(Switch.OFF, wanted.node_id)
            if problem:  # it sleeps all the same: nothing is placed there, and it can be powered up
                logger.warning("the power of %s was not cut: %s", wanted.node_id, problem)
        elif wanted.kind is node.NodeStarting and known.status is NodeStatus.STARTING:
            self._start(wanted, known)

    def _stop(self, wanted: _Wanted) -> None:
        """Ends the supervisor; that it has ended is heard of as that of any node (see the watchdog)."""
        try:
            self.executor.stop_node(wanted.node_id)
        except errors.NodeNotFound:  # not one of this server's: its hook alone has it in hand
            self._say(node.TakeOffline(node_id=wanted.node_id, why=POWERED_DOWN), wanted.cause)

    def _start(self, wanted: _Wanted, known: node.Node) -> None:
        problem = self._hook(Switch.ON, wanted.node_id)
        if problem:
            self._say(node.LoseNode(node_id=wanted.node_id, why=f"it could not be powered up: {problem}"), wanted.cause)
            return
        patience_ms = max(LEAST_PATIENCE_MS, PATIENCE * wake_ms_of(known.attributes))
        self._awaited[wanted.node_id] = self.app.clock.now_ms() + patience_ms
        try:
            self.executor.start_node(wanted.node_id)
        except errors.NodeNotFound:
            logger.info("%s is powered up; it will report when it is there", wanted.node_id)

    def _give_up(self, now_ms: int) -> None:
        for node_id in [each for each, until_ms in self._awaited.items() if until_ms <= now_ms]:
            del self._awaited[node_id]
            self._say(node.LoseNode(node_id=node_id, why="it did not come up"), "")

    def _say(self, command: Command, cause: str) -> None:
        for outcome in self.app.commit_all([Request((command,), Meta(ACTOR, self.app.ids.new("cmd"), cause=cause))]):
            if isinstance(outcome, errors.TaskSchedulerError):
                raise outcome
