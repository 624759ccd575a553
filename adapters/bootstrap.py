"""The composition root: log, application, executor, process managers and read models, connected.

A `Server` does everything; `open_direct` gives the application without an executor, for commands while no server runs;
`open_readonly` reads beside a running writer.
"""

import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path

from adapters.artefacts import verify
from adapters.clock import SystemClock, SystemIds
from adapters.executors.local import LocalExecutor, LocalNode, machine_nodes
from adapters.queries import Queries
from adapters.store.sqlite import SQLiteLog, open_log, read_log
from adapters.threads import Loops
from adapters.troubles import disk_trouble
from adapters.views import Views
from application import farms
from application.app import Application, Request
from application.dispatcher import Dispatcher
from application.ports import Executor
from application.power import Hook, PowerSwitch, no_hook
from application.scheduler import Scheduler
from application.simulation.portfolio import PortfolioReviewer
from application.watchdog import Timing, Watchdog
from domain.farm import Farm
from domain.job.commands import RequeueTasks
from domain.messages import Meta, NodeId, node_stream
from domain.node import DrainNode, Node, NodeDrained, NodeStatus, TakeOffline, UndrainNode
from domain.rules.bookings import somebody_waits

ACTOR = "server"
LEFT_OUT = "not configured on this server"


class Ending(StrEnum):
    """What a clean stop does with what runs."""

    DRAIN = "drain"
    """Start nothing more and wait until everything that runs has ended."""
    TERMINATE = "terminate"
    """End what runs, so that it waits again, then shut the nodes down."""
    LEAVE = "leave"
    """Leave attempts and their nodes as they are for the next server; shut down nodes on which nothing runs."""


class Direct:
    """The application over a store that no server holds: commands and queries, nothing executes."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.app = Application(open_log(data_dir), SystemClock(), SystemIds())
        self.views = Views(data_dir, self.app.log)
        self.queries = Queries(
            self.app.log, self.views, farm=lambda: self.app.farm, data_dir=data_dir, lock=self.app.lock
        )

    def close(self) -> None:
        """Gives the store back."""
        self.views.close()
        self.app.close()


class ReadOnly:
    """Queries beside whoever writes; the read models are as fresh as their last owner left them, then caught up."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.log: SQLiteLog = read_log(data_dir)
        self.views = Views(data_dir, self.log)
        self._farm: Farm | None = None
        self.queries = Queries(self.log, self.views, farm=self._present, data_dir=data_dir)

    def _present(self) -> Farm:
        if self._farm is None:
            self._farm = farms.load(self.log)
        elif self.log.position() > self._farm.position:
            self._farm = Farm.fold(self.log.replay(self._farm.position), self._farm)
        return self._farm

    def close(self) -> None:
        """Lets go of the store."""
        self.views.close()
        self.log.close()


def open_direct(data_dir: Path) -> Direct:
    """The application for commands without a server; StoreLocked if a server (or another command) has the store."""
    return Direct(data_dir)


def open_readonly(data_dir: Path) -> ReadOnly:
    """The queries of a store; StoreNotFound if there is none."""
    return ReadOnly(data_dir)


def open_server(
    data_dir: Path, *, nodes: int | Sequence[LocalNode] = 1, timing: Timing | None = None, power_hook: Hook = no_hook
) -> "Server":
    """A server over a data directory, with this machine as one node or several; not yet started."""
    log = open_log(data_dir)
    try:
        known = machine_nodes(nodes) if isinstance(nodes, int) else nodes
        return Server(data_dir, log, known, timing or Timing(), power_hook)
    except BaseException:
        log.close()
        raise


class Server:
    """Everything running in one process over one store."""

    def __init__(
        self,
        data_dir: Path,
        log: SQLiteLog,
        nodes: Sequence[LocalNode],
        timing: Timing,
        power_hook: Hook = no_hook,
    ) -> None:
        self.data_dir = data_dir
        self.app = Application(log, SystemClock(), SystemIds())
        self._configured = frozenset(node.node_id for node in nodes)
        self._left_over = self._still_used()
        self.executor: Executor = LocalExecutor(
            data_dir, nodes, left_over=self._left_over, asleep=self._asleep(), lease_ms=timing.lease_ms
        )
        self.scheduler = Scheduler(self.app)
        self.watchdog = Watchdog(self.app, self.executor, timing)
        self.power = PowerSwitch(self.app, self.executor, power_hook)
        self.dispatcher = Dispatcher(self.app, self.executor, node_reports=self.watchdog.hear, verify=verify)
        self.views = Views(data_dir, log)
        self.queries = Queries(
            log, self.views, farm=lambda: self.app.farm, data_dir=data_dir, lock=self.app.lock, live=True
        )
        self.loops = Loops(partial(disk_trouble, data_dir=data_dir))
        self._wake_views = threading.Event()
        self.app.listen(lambda recorded: self._wake_views.set())

    def _still_used(self) -> list[LocalNode]:
        """Nodes of an earlier configuration that still hold attempts: they finish what they run."""
        farm = self.app.farm
        return [
            LocalNode(node.node_id, node.capacity, node.attributes)
            for node in farm.nodes.values()
            if node.node_id not in self._configured and not node.retired and farm.attempts_on(node.node_id)
        ]

    def _asleep(self) -> list[NodeId]:
        """Nodes that were powered down: work wakes them, or a person, but not the start of a server."""
        return [node_id for node_id in sorted(self.app.farm.asleep) if self._sleeps(self.app.farm.nodes[node_id])]

    @staticmethod
    def _sleeps(node: Node) -> bool:
        return node.asleep and node.status is NodeStatus.OFFLINE and not node.retired

    # -- running -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Reconnects to the nodes (or starts them), asks for all that is owed, and lets the loops run."""
        self._settle_configuration()
        self.executor.open()
        self.dispatcher.resume()
        self.power.resume()
        self._dispatching = self.loops.start("dispatcher", self.dispatcher.run, self.executor.wake)
        self._watching = self.loops.start("watchdog", self.watchdog.run)
        self._scheduling = self.loops.start("scheduler", self.scheduler.run, self.scheduler.wake)
        self.loops.start("power", self.power.run, self.power.wake)
        self.loops.start("portfolio", PortfolioReviewer(self.app).run)
        self.loops.start("views", lambda stop: self.views.run(stop, self._wake_views), self._wake_views.set)
        self.loops.start("housekeeping", self._keep_house)

    def _settle_configuration(self) -> None:
        """Nodes that are configured no longer take no work; those that hold nothing are offline at once."""
        used = {node.node_id for node in self._left_over}
        for node in list(self.app.farm.nodes.values()):
            node_id = node.node_id
            if node_id in self._configured:
                if self._was_left_out(node):
                    self.app.handle(UndrainNode(node_id=node_id), ACTOR)
            elif node.status is NodeStatus.ONLINE:
                drain = DrainNode(node_id=node_id, why=LEFT_OUT)
                self.app.handle(drain if node_id in used else TakeOffline(node_id=node_id, why=LEFT_OUT), ACTOR)

    def _was_left_out(self, node: Node) -> bool:
        """Whether a node is drained for want of configuration; what came after may have another reason."""
        if not node.draining:
            return False
        events = (recorded.event for recorded in reversed(self.app.log.stream(node_stream(node.node_id))))
        return next((event.why == LEFT_OUT for event in events if isinstance(event, NodeDrained)), False)

    def _keep_house(self, stop: threading.Event) -> None:
        while not stop.wait(2.0):
            self.app.snapshot_if_due()

    def live_attempts(self) -> int:
        """How many attempts run or are about to."""
        with self.app.lock:
            return sum(len(job.live) for job in self.app.farm.jobs.values())

    def idle(self) -> bool:
        """Whether nothing runs and nothing that waits could start by itself: not now, and not when time passes."""
        with self.app.lock:
            farm = self.app.farm
            if any(job.live and not job.paused for job in farm.jobs.values()) or farm.delayed:
                return False
            if any(not job.queued and self._starts_later(job.spec.not_before_ms) for job in farm.jobs.values()):
                return False
            if not self.watchdog.settled(self._configured):
                return False
            if farm.reservations and somebody_waits(farm, self.app.clock.now_ms()):
                return False
            return not self.scheduler.cycle().decisions

    def _starts_later(self, not_before_ms: int | None) -> bool:
        return not_before_ms is not None and not_before_ms > self.app.clock.now_ms() - 1_000

    # -- stopping ------------------------------------------------------------------------------------------------

    def stop(self, how: Ending = Ending.LEAVE, progress: Callable[[int], None] | None = None) -> None:
        """A clean stop; `progress` is told how many attempts are still running."""
        self._scheduling.stop()
        try:
            if how is Ending.TERMINATE:
                self._terminate_attempts()
                self._await(self.live_attempts, progress)
            elif how is Ending.DRAIN:
                self._await(self._moving_attempts, progress)
            else:
                self._dispatching.stop()  # what those that stay have to say is for the next server
            self._watching.stop()
            self._shut_down(self._unused() if how is Ending.LEAVE else self._all_nodes())
        finally:
            self.close()

    def _moving_attempts(self) -> int:
        """Live attempts that can come to an end: those of a paused job would never, and wait again instead."""
        with self.app.lock:
            return sum(len(job.live) for job in self.app.farm.jobs.values() if not job.paused)

    def _terminate_attempts(self) -> None:
        with self.app.lock:  # so that none of them ends between the look and the command
            running = [job_id for job_id, job in self.app.farm.jobs.items() if job.live and job.ended is None]
            meta = Meta(ACTOR)
            self.app.commit_all([Request((RequeueTasks(job_id=job_id),), meta) for job_id in running])

    def _await(self, attempts: Callable[[], int], progress: Callable[[int], None] | None) -> None:
        seen = -1
        while (left := attempts()) and not self.loops.failed.is_set():
            if progress is not None and left != seen:
                progress(left)
            seen = left
            time.sleep(0.05)

    def _all_nodes(self) -> list[NodeId]:
        """All that this server works with, also those that have not reported yet."""
        return sorted(self._configured.union(node.node_id for node in self._left_over))

    def _unused(self) -> list[NodeId]:
        return [node_id for node_id in self._all_nodes() if not self.app.farm.attempts_on(node_id)]

    def staying(self) -> dict[NodeId, int]:
        """How many attempts hold each node that a stop with `LEAVE` leaves as it is."""
        with self.app.lock:
            counts = {node_id: len(self.app.farm.attempts_on(node_id)) for node_id in self._all_nodes()}
        return {node_id: count for node_id, count in counts.items() if count}

    def _shut_down(self, nodes: Sequence[NodeId]) -> None:
        for node_id in nodes:
            known = self.app.farm.nodes.get(node_id)
            if known is not None and known.status is NodeStatus.ONLINE:
                self.app.handle(TakeOffline(node_id=node_id, why="the server was stopped"), ACTOR)
        for node_id in nodes:
            self.executor.stop_node(node_id)

    def close(self) -> None:
        """Stops the loops and lets go of nodes and store, whatever runs."""
        self.loops.stop()
        self.executor.close()
        self.views.close()
        self.app.close()
