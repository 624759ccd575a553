"""A server's side of one node: starts its supervisor, talks to it, notices its death, buries it.

One thread per node. Orders are kept until the supervisor has acknowledged them and are given again on every new
connection. Only the node's lock decides whether a supervisor lives: a broken connection alone means nothing.
"""

import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from adapters.clock import SystemClock
from adapters.executors.attempt_files import AttemptFiles
from adapters.executors.identity import read_identity
from adapters.executors.layout import Layout
from adapters.executors.leftovers import settle, settle_node
from adapters.executors.locks import FileLock, is_held, try_lock
from adapters.executors.spawn import python_path
from adapters.executors.wire import (
    DEFAULT_IDLE_MS,
    Acknowledged,
    AnyReply,
    Hello,
    LineBuffer,
    Order,
    Renew,
    Start,
    Stop,
    Superseded,
    Terminate,
    Welcome,
    decode_reply,
    encode,
)
from application.ports import AnyReport, AttemptExited, AttemptReport, AttemptStarted, Launch, NodeGone, NodeUp
from domain.errors import NodeStateForbids
from domain.job.values import FailureClass
from domain.messages import NodeId, Value

PROBE_EVERY_S = 0.01
"""How often to look for a supervisor that starts or may have died."""
CONNECT_TIMEOUT_S = 1.0
RETRY_S = 1.0
"""When to try again what failed for want of disk space."""
_RECEIVE_BYTES = 1 << 18
NO_LONGER = "it is configured no longer"

logger = logging.getLogger(__name__)

Deliver = Callable[[Sequence[AnyReport]], None]
MakeOrder = Callable[[int], Order]
"""Makes an order of its number."""


class Terms(Value, frozen=True):
    """On what terms a server works with its nodes."""

    since_ns: int
    """When the server began, on the machine's monotonic clock."""
    lease_ms: int
    heartbeat_ms: int
    server_lock: str
    idle_ms: int = DEFAULT_IDLE_MS
    """When supervisors on which nothing runs end themselves, no server having lived for so long."""


class LinkState(StrEnum):
    """Where the link stands."""

    JOINING = "joining"
    """The supervisor is being started or looked for; orders are kept for it."""
    UP = "up"
    GONE = "gone"
    """The supervisor is dead and buried."""
    SUPERSEDED = "taken over by another server"


class Death(NamedTuple):
    """A supervisor is dead for certain: its lock is held here."""

    lock: FileLock
    why: str


class NodeLink:
    """The link to one node."""

    def __init__(
        self,
        layout: Layout,
        node_id: NodeId,
        up: NodeUp | None,
        terms: Terms,
        deliver: Deliver,
        *,
        wanted: bool = True,
        asleep: bool = False,
    ) -> None:
        """`up` is what to report when the supervisor answers; None means that it is to end.

        No supervisor is started for a node that is not `wanted`; one that lives finishes what it runs. None is started
        for one that is `asleep` until `revive`.
        """
        self.node_id = node_id
        self._layout, self._folder = layout, layout.node(node_id)
        self._up, self._wanted, self._terms, self._deliver = up, wanted, terms, deliver
        self._asleep, self._is_at_rest = asleep, False
        self._lock = threading.Lock()
        """Guards the fields below it."""
        self._state = LinkState.JOINING
        self._owed: dict[int, Order] = {}
        """Orders that the supervisor has not acknowledged."""
        self._running: set[str] = set()
        """Attempts whose end was not reported yet, as far as this server knows."""
        self._last_number = 0
        self._socket: socket.socket | None = None
        self._unsent = bytearray()
        self._was_up = False
        """Whether the present supervisor has answered."""
        self._is_stopping = False
        """Whether the present supervisor was told to end, so that it will hang up."""
        self._launch_problem = ""
        self._renew_at_s = 0.0
        self._closed, self._revived = threading.Event(), threading.Event()
        self._bell = -1
        self._thread = threading.Thread(target=self._run, name=f"link to {node_id}", daemon=True)

    def open(self) -> None:
        """Begin; a report follows that the node is up or gone, unless it sleeps and nothing of it lives."""
        self._folder.create()
        if self._asleep and not is_held(self._folder.lock) and not self._folder.live_attempts():
            self._state = LinkState.GONE
            self._is_at_rest = True
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        if self._up is None:
            self.order(Stop)
        self._thread.start()

    def await_stop(self, until_s: float) -> None:
        """Wait until the supervisor is dead if it was told to end, or until a time of the monotonic clock."""
        while self._is_stopping and self._state in (LinkState.JOINING, LinkState.UP) and time.monotonic() < until_s:
            self._closed.wait(PROBE_EVERY_S)

    def close(self) -> None:
        """Hang up; supervisor and attempts stay as they are."""
        self._closed.set()
        self._revived.set()
        os.eventfd_write(self._bell, 1)
        self._thread.join()
        os.close(self._bell)

    def order(self, *makes: MakeOrder) -> bool:
        """Give orders, now or as soon as the supervisor answers; False if the node is gone.

        NodeStateForbids if another server has taken over.
        """
        with self._lock:
            if self._state is LinkState.SUPERSEDED:
                raise NodeStateForbids(node_id=self.node_id, status=self._state.value, verb="giving orders")
            if self._state is LinkState.GONE:
                return False
            orders = [make(number) for number, make in enumerate(makes, self._last_number + 1)]
            self._last_number += len(orders)
            self._owed.update((order.number, order) for order in orders)
            self._is_stopping |= any(isinstance(order, Stop) for order in orders)
            self._running.update(order.launch.attempt_id for order in orders if isinstance(order, Start))
            self._send(b"".join(map(encode, orders)))
            return True

    def revive(self) -> bool:
        """Start the supervisor again if it is gone; False for a node that is wanted no longer."""
        with self._lock:
            if self._state is LinkState.GONE and self._wanted:
                self._state = LinkState.JOINING
                self._is_stopping = False
                self._revived.set()
        return self._wanted

    # -- the life of a supervisor, seen from here ------------------------------------------------------------------

    def _run(self) -> None:
        unseen: Callable[[], str | None] | None = self._died_unseen
        if self._is_at_rest:
            self._await_revival()
            unseen = None
        while (death := self._live(unseen)) is not None:
            self._bury(death)
            self._await_revival()
            unseen = None

    def _await_revival(self) -> None:
        """Wait until the node is to be started again, or this link has to end."""
        self._revived.wait()
        self._revived.clear()

    def _live(self, unseen: Callable[[], str | None] | None) -> Death | None:
        """Start a supervisor unless one lives, serve until it is dead; None when this link has to end first.

        `unseen` says whether one died before this link was made: then none is started.
        """
        tried = started = self._was_up = False
        while not self._closed.is_set() and self._state is not LinkState.SUPERSEDED:
            lock = try_lock(self._folder.lock)
            if lock is not None:
                why = self._cause_of_death() if started else unseen and unseen()
                if why:
                    return Death(lock, why)
                lock.release()
                self._launch()
            elif tried:
                self._closed.wait(PROBE_EVERY_S)
            connection = self._connect()
            tried, started = True, started or lock is not None or connection is not None
            if connection is not None:
                self._converse(connection)
        return None

    def _died_unseen(self) -> str | None:
        """Why nobody lives on the node; None if nobody ever did, or the last one had nothing to do any more."""
        if not self._wanted:
            return NO_LONGER
        if read_identity(self._folder.lock) is not None and self._folder.live_attempts():
            return "its supervisor died while no server was there"
        return None

    def _launch(self) -> None:
        """Start a supervisor; returns when it answers or has failed, which the lock will tell."""
        arguments = ["--data", str(self._layout.data_dir), "--node", self.node_id]
        with self._folder.log.open("ab") as log:
            launcher = subprocess.run(
                [sys.executable, "-P", "-m", "adapters.executors.supervisor", *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd="/",
                env=_supervisor_environment(), start_new_session=True, check=False, text=True,
            )  # fmt: skip
        failed = launcher.returncode != 0
        self._launch_problem = (launcher.stdout or f"see {self._folder.log}") if failed else ""

    def _cause_of_death(self) -> str:
        if self._folder.stopped.exists():
            return "it was stopped"
        if self._launch_problem:
            return f"its supervisor could not be started: {self._launch_problem}"
        return "its supervisor died"

    def _bury(self, death: Death) -> None:
        """Make sure that nothing of the node's attempts lives, put it on file, and report the node gone."""
        with death.lock:
            while not self._closed.is_set():
                try:
                    self._settle(death.why)
                    return
                except OSError as error:
                    logger.warning("%s cannot be settled yet: %s", self.node_id, error)
                    self._closed.wait(RETRY_S)

    def _settle(self, why: str) -> None:
        """Report what ended before the supervisor died, what became of the orders it left, and then the node's end."""
        with self._lock:
            known = sorted({*self._running, *self._folder.live_attempts()})
        files = [AttemptFiles(self._layout.attempt(attempt_id)) for attempt_id in known]
        ended = [each for each in files if each.read_end() is not None]
        settle_node(self._layout, self.node_id, why, SystemClock().now_ms())
        reports: list[AnyReport] = [report for each in ended for report in each.replay()]
        while True:
            with self._lock:
                owed = list(self._owed.values())
                if not owed:
                    # In one step, or somebody could start the node again and then hear that it is gone.
                    self._state = LinkState.GONE
                    self._running.clear()
                    gone = NodeGone(node_id=self.node_id, why=why, verified=True, for_good=not self._wanted)
                    self._deliver([*reports, gone])
                    return
            for order in owed:
                reports += self._settle_order(order, why, known)
            self._acknowledged(owed[-1].number)

    def _settle_order(self, order: Order, why: str, settled: Sequence[str]) -> list[AttemptReport]:
        """What became of one order. A start that came to nothing is lost with the node and needs no report."""
        if not isinstance(order, Start | Terminate):
            return []
        attempt_id = order.launch.attempt_id
        ended = attempt_id not in settled and AttemptFiles(self._layout.attempt(attempt_id)).read_end() is not None
        told = refuse(self._layout, order.launch, why)
        return told if ended or isinstance(order, Terminate) else []

    # -- the connection --------------------------------------------------------------------------------------------

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_TIMEOUT_S)
        # The path may be longer than the address of a socket can be; this one is short.
        folder = os.open(self._folder.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{folder}/socket")
        except OSError:  # nobody listens yet, or nobody listens any more: the lock will tell which
            connection.close()
            return None
        finally:
            os.close(folder)
        connection.setblocking(False)
        return connection

    def _converse(self, connection: socket.socket) -> None:
        """Greet, repeat what is owed, then listen until the connection breaks."""
        terms, lines = self._terms, LineBuffer()
        hello = Hello(
            since_ns=terms.since_ns, lease_ms=terms.lease_ms, server_lock=terms.server_lock, idle_ms=terms.idle_ms
        )
        with self._lock:
            self._socket = connection
            self._unsent.clear()
            self._send(b"".join(map(encode, (hello, *self._owed.values()))))
        try:
            while not self._closed.is_set() and self._listen(connection, lines):
                continue
        except (OSError, ValueError, msgspec.DecodeError) as error:
            # A supervisor that ends leaves the last heartbeats unread, which counts as a reset.
            hung_up = self._is_stopping and isinstance(error, ConnectionError)
            level = logging.INFO if hung_up else logging.WARNING
            logger.log(level, "the connection to %s broke: %s", self.node_id, error)
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def _listen(self, connection: socket.socket, lines: LineBuffer) -> bool:
        """Wait for the next thing to happen, at most for a heartbeat; False when the supervisor has hung up."""
        if not self._await_news(connection):
            return True
        try:
            data = connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return True
        self._hear([decode_reply(line) for line in lines.feed(data)])
        return bool(data)

    def _await_news(self, connection: socket.socket) -> bool:
        """Renew the lease in time and send what waits; whether there is something to read, or nobody to read from."""
        now_s = time.monotonic()
        with self._lock:
            if now_s >= self._renew_at_s:
                self._renew_at_s = now_s + self._terms.heartbeat_ms / 1000
                self._send(encode(Renew()))
            writing = select.POLLOUT if self._unsent else 0
        poll = select.poll()
        poll.register(connection, select.POLLIN | writing)
        poll.register(self._bell, select.POLLIN)
        ready = dict(poll.poll(max(1, 1000 * (self._renew_at_s - now_s))))
        if self._bell in ready:
            os.eventfd_read(self._bell)
        happened = ready.get(connection.fileno(), 0)
        if happened & select.POLLOUT:
            with self._lock:
                self._send(b"")
        return bool(happened & ~select.POLLOUT)

    def _hear(self, replies: list[AnyReply]) -> None:
        reports: list[AnyReport] = []
        for reply in replies:
            match reply:
                case Acknowledged():
                    self._acknowledged(reply.number)
                case Welcome():
                    reports += self._welcomed()
                case Superseded():
                    self._superseded()
                case _:
                    reports.append(reply)
        if reports:
            self._note_running(reports)
            self._deliver(reports)

    def _note_running(self, reports: list[AnyReport]) -> None:
        with self._lock:
            for report in reports:
                if isinstance(report, AttemptStarted):
                    self._running.add(report.attempt_id)
                elif isinstance(report, AttemptExited):
                    self._running.discard(report.attempt_id)

    def _superseded(self) -> None:
        logger.error("%s listens to another server now", self.node_id)
        with self._lock:
            self._state = LinkState.SUPERSEDED

    def _welcomed(self) -> list[AnyReport]:
        with self._lock:
            self._state = LinkState.UP
            again, self._was_up = self._was_up, True
        return [] if again or self._up is None else [self._up]

    def _acknowledged(self, number: int) -> None:
        with self._lock:
            for settled in [owed for owed in self._owed if owed <= number]:
                del self._owed[settled]

    def _send(self, data: bytes) -> None:
        """Send as much as the socket takes, keep the rest; with the lock held."""
        if self._socket is None:
            return
        self._unsent += data
        try:
            while self._unsent:
                sent = self._socket.send(memoryview(self._unsent)[:_RECEIVE_BYTES])
                del self._unsent[:sent]
        except BlockingIOError:
            os.eventfd_write(self._bell, 1)
        except OSError as error:  # the thread that listens finds out as well, and what is owed will be sent again
            logger.info("%s cannot be written to: %s", self.node_id, error)


def refuse(layout: Layout, launch: Launch, why: str) -> list[AttemptReport]:
    """What is known of an attempt on a node that is gone; if it had not ended, it is lost and never runs."""
    files, now_ms = AttemptFiles(layout.attempt(launch.attempt_id)), SystemClock().now_ms()
    lost = AttemptExited(attempt_id=launch.attempt_id, failure=FailureClass.LOST, message=why, ended_ms=now_ms)
    if not files.claim_void(lost) and files.read_end() is None:
        settle([files], why, now_ms)
    return files.replay()


def _supervisor_environment() -> dict[str, str]:
    """The server's environment with this code on the path, and without marks of an attempt that the server runs in."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_ATTEMPT")}
    return variables | python_path(variables)
