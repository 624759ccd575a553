"""The supervisor of one node: runs its attempts, outlives the server, and leaves nothing behind.

    python -m adapters.executors.supervisor --data DATA --node NODE

One thread, one loop: child processes, their output, the server's orders, timers. What an attempt is and how it ended
lies in its files before anybody is told, so the server may come and go (`wire`), and so may this process: if it dies,
its guard ends what it leaves (`guard`).
"""

import argparse
import logging
import os
import resource
import selectors
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from adapters.clock import SystemClock
from adapters.executors.attempt import Ending
from adapters.executors.door import Door
from adapters.executors.guard import Post, detach
from adapters.executors.host import RETRY_S, Host
from adapters.executors.identity import own_identity
from adapters.executors.layout import Layout
from adapters.executors.lease import Lease
from adapters.executors.leftovers import settle_node
from adapters.executors.locks import is_held
from adapters.executors.processes import adopt_orphans
from adapters.executors.pulse import Pulse
from adapters.executors.timers import Timers
from adapters.executors.wire import (
    DEFAULT_IDLE_MS,
    Acknowledged,
    AnyRequest,
    Hello,
    Order,
    Renew,
    Resume,
    Start,
    Stop,
    Suspend,
    Terminate,
    Welcome,
)
from application.ports import NodeHeartbeat
from domain.job.values import FailureClass
from domain.messages import NodeId

CLAIM_AT_ONCE = 32
"""How many attempts are claimed with one write to the disk."""
OPEN_FILES = 4096
"""Each attempt takes two descriptors here; its own processes inherit the limit."""

logger = logging.getLogger(__name__)


class Supervisor:
    """The loop: waits for something to happen, does it, tells the server."""

    def __init__(self, layout: Layout, node_id: NodeId, pulse: Pulse) -> None:
        """Binds `socket` in the current directory."""
        self._node_id = node_id
        self._pulse = pulse
        self._server_lock = layout.server_lock
        self._selector = selectors.DefaultSelector()
        self._timers = Timers()
        self._door = Door(Path("socket"), self._selector, self._hear, self._lost_server)
        self._host = Host(layout, node_id, self._selector, self._timers, self._door.tell)
        self._lease = Lease(lambda: is_held(self._server_lock))
        self._orders: deque[Order] = deque()
        self._orders_wait = False
        self._stops = False
        self._idle_s: float = DEFAULT_IDLE_MS / 1000
        self._idle_since_s: float | None = None
        """Since when nothing has run and no server has lived."""
        self._listen_to_signals()

    def run(self) -> None:
        """Serve until told to stop and nothing runs any more."""
        self._check_lease()
        while not (self._stops and self._host.is_idle):
            self._turn()
        self._door.close()

    def _turn(self) -> None:
        busy = self._host.has_ready or self._may_order()
        for key, _ in self._selector.select(0 if busy else self._timers.wait_s()):
            key.data()
        self._timers.run_due()
        if self._host.has_ready:
            self._host.start_next()
        elif self._may_order():
            self._obey()
        self._door.flush()

    def _may_order(self) -> bool:
        return bool(self._orders) and not self._orders_wait and not self._stops

    def _hear(self, request: AnyRequest) -> None:
        """Heartbeats are answered at once, orders wait for their turn."""
        match request:
            case Hello():
                self._greet(request)
            case Renew():
                self._lease.renew(self._timers.now_s())
                self._door.tell(NodeHeartbeat(node_id=self._node_id))
            case _:
                self._orders.append(request)

    def _greet(self, hello: Hello) -> None:
        # Orders of the server before are its own concern: they count otherwise, and it gives them again if it lives.
        self._orders = deque()
        self._server_lock = Path(hello.server_lock)
        self._idle_s = hello.idle_ms / 1000
        now_s = self._timers.now_s()
        self._lease.renew(now_s, hello.lease_ms / 1000)
        self._pulse.beat(self._lease, self._server_lock, now_s)  # the guard has to know these terms before we can hang
        self._door.tell(Welcome())
        self._host.retell_live()

    def _lost_server(self) -> None:
        self._lease.disconnect(self._timers.now_s())

    def _obey(self) -> None:
        """Carry out the next order, or as many starts as can be claimed together."""
        orders, starts = self._orders, _leading_starts(self._orders)
        self._orders_wait = True
        if starts:
            self._host.claim([start.launch for start in starts], lambda error: self._obeyed(orders, starts, error))
            return
        try:
            self._carry_out(orders[0])
        except OSError as error:
            self._obeyed(orders, [orders[0]], error)
        else:
            self._obeyed(orders, [orders[0]], None)

    def _obeyed(self, orders: deque[Order], done: Sequence[Order], error: OSError | None) -> None:
        """Go on with the next order; or, if the disk refused, with the same ones a little later."""
        if error is not None:
            logger.warning("orders have to wait: %s", error)
            self._timers.after(RETRY_S, self._go_on)
            return
        for _ in done:
            orders.popleft()
        if orders is self._orders:  # those of a server before are not counted any more
            self._door.tell(Acknowledged(done[-1].number))
        self._go_on()

    def _go_on(self) -> None:
        self._orders_wait = False

    def _carry_out(self, order: Order) -> None:
        match order:
            case Terminate(launch=launch, grace_ms=grace_ms):
                self._host.terminate(launch, grace_ms / 1000)
            case Suspend(attempt_id=attempt_id):
                self._host.suspend(attempt_id)
            case Resume(attempt_id=attempt_id):
                self._host.resume(attempt_id)
            case Stop():
                self._stop()

    def _stop(self) -> None:
        if not self._stops:
            self._stops = True
            self._host.close(Ending(FailureClass.LOST, f"{self._node_id} was stopped"))

    def _check_lease(self) -> None:
        now_s = self._timers.now_s()
        is_over = self._lease.is_over(now_s)
        if self._host.is_idle:
            self._check_use(now_s)
        elif is_over:
            logger.warning("cut off from a living server: all attempts end")
            cut_off = Ending(FailureClass.LOST, f"{self._node_id} was cut off from the server")
            self._host.end_all(cut_off, grace_s=0)
        self._pulse.beat(self._lease, self._server_lock, now_s)
        self._timers.after(self._lease.check_every_s, self._check_lease)

    def _check_use(self, now_s: float) -> None:
        """A node on which nothing runs is of no use without a server: it ends when none has come for a while."""
        if self._door.is_served or self._orders or is_held(self._server_lock):
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        elif now_s - self._idle_since_s >= self._idle_s:
            logger.info("nothing runs, and no server has lived for %.0f s: the node ends", self._idle_s)
            self._stop()

    def _listen_to_signals(self) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        terminated: list[int] = []
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda number, _: terminated.append(number))

        def woken() -> None:
            os.read(reading, 4096)
            self._host.reap()
            if terminated:
                self._stop()

        self._selector.register(reading, selectors.EVENT_READ, woken)


def _leading_starts(orders: deque[Order]) -> list[Start]:
    starts: list[Start] = []
    for order in orders:
        if not isinstance(order, Start) or len(starts) == CLAIM_AT_ONCE:
            break
        starts.append(order)
    return starts


def supervise(post: Post, ready: Callable[[], None]) -> None:
    """Supervise a node whose lock this process holds; `ready` is called when the socket answers."""
    layout, node_id = post.layout, post.node_id
    clock, folder = SystemClock(), layout.node(node_id)
    adopt_orphans()
    limit_resources()
    settle_node(layout, node_id, "its supervisor died", clock.now_ms())
    folder.stopped.unlink(missing_ok=True)
    post.lock.write(msgspec.json.encode(own_identity(clock.now_ms())))
    os.chdir(folder.folder)
    supervisor = Supervisor(layout, node_id, post.pulse)
    ready()
    logger.info("%s is up, pid %d", node_id, os.getpid())
    supervisor.run()
    folder.stopped.touch()
    logger.info("%s ended in order", node_id)


def limit_resources() -> None:
    """Limits that attempts inherit: no core files, and enough open files."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def main(argv: list[str] | None = None) -> int:
    """Start a supervisor in the background; returns when it answers: 0, or 1 with the reason on standard output."""
    parser = argparse.ArgumentParser(prog="python -m adapters.executors.supervisor", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data directory")
    parser.add_argument("--node", required=True, help="id of the node")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    problem = detach(Layout(options.data), options.node, supervise)
    print(problem, end="")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
