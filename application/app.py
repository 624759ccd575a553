"""The application: commands in, one commit for many of them, the farm kept up to date, listeners told.

Group commit: whoever holds the commit lock decides and stores everything that is waiting at that moment, in one
durable transaction; the others find their reply ready. A lone caller pays for no hand-over at all.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from application import farms
from application.commands import HANDLERS
from application.consequences import follow
from application.decider import ROUTES, Aggregate, Batch, Stream, load_stream
from application.ports import Clock, Ids, Log, Remembered, Unless
from application.refusals import Refusals
from domain import errors
from domain.farm import Farm
from domain.messages import Command, Meta, Recorded, StreamId, Value

ATTEMPTS = 4
FIRST_WAIT_S = 0.05


class Reply(Value, frozen=True):
    """What a command is answered once it is durable."""

    position: int
    """The log position after it; a reader that has come so far has seen its effect."""
    events: int = 0
    """How many events it caused; 0 means that everything was so already."""


class Request(NamedTuple):
    """Commands that succeed or fail together."""

    commands: tuple[Command, ...]
    meta: Meta
    remember: bool = False
    """Whether the command id came from outside and must answer the same when it comes again."""
    unless: Unless | None = None
    """A condition that the requester's decision depends on; only for a request committed alone."""
    also: Callable[[Batch], None] | None = None
    """Stages events that no command stands for (a cycle's reasons)."""


Outcome = Reply | errors.TaskSchedulerError
Listener = Callable[[Sequence[Recorded]], None]


class Application:
    """Milepost's core over one log: everything that changes the farm goes through `handle`."""

    def __init__(self, log: Log, clock: Clock, ids: Ids, *, farm: Farm | None = None) -> None:
        self.log, self.clock, self.ids = log, clock, ids
        self.farm = farms.load(log) if farm is None else farm
        self.lock = threading.RLock()
        """Held while deciding, storing and folding; whoever reads the farm for longer than a moment takes it."""
        self._pending: deque[_Ticket] = deque()
        self._listeners: list[Listener] = []
        self._refusals = Refusals()
        self._snapshot_at = self.farm.position

    # -- doors ---------------------------------------------------------------------------------------------------

    def handle(self, command: Command, actor: str, command_id: str = "") -> Reply:
        """Carries a command out, durably, or raises the domain error that says why not."""
        return self.handle_all((command,), actor, command_id)

    def handle_all(self, commands: Sequence[Command], actor: str, command_id: str = "") -> Reply:
        """Carries several commands out in one transaction, all or none."""
        meta = Meta(actor, command_id or self.ids.new("cmd"))
        return _or_raise(self.commit(Request(tuple(commands), meta, remember=bool(command_id))))

    def commit(self, request: Request) -> Outcome:
        """Commits one request together with whatever else waits at that moment."""
        ticket = _Ticket(request)
        self._pending.append(ticket)
        with self.lock:
            if ticket.outcome is None:
                self._commit_tickets([self._pending.popleft() for _ in range(len(self._pending))])
        assert ticket.outcome is not None
        return ticket.outcome

    def commit_all(self, requests: Sequence[Request]) -> list[Outcome]:
        """Commits these requests in one transaction of their own."""
        with self.lock:
            return self._commit(requests)

    def listen(self, listener: Listener) -> None:
        """Calls `listener` with the events of every commit, in order, right after it; it must be quick."""
        self._listeners.append(listener)

    def load(self, aggregate: Aggregate, stream: StreamId, upto: int | None = None) -> Stream:
        """One stream's state, live or ended, now or at a version."""
        return load_stream(self.log, aggregate, stream, upto)

    # -- committing ----------------------------------------------------------------------------------------------

    def _commit_tickets(self, tickets: "list[_Ticket]") -> None:
        try:
            outcomes = self._commit([ticket.request for ticket in tickets])
        except BaseException as error:
            for ticket in tickets:
                ticket.outcome = errors.StoreError(f"the store failed: {error}")
            raise
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            ticket.outcome = outcome

    def _commit(self, requests: Sequence[Request]) -> list[Outcome]:
        """Decide, append, fold; decided anew when another writer was faster (several processes on one store)."""
        for attempt in range(ATTEMPTS):
            batch = Batch(self.farm, self.log, self.clock.now_ms(), trust_fresh=attempt == 0)
            outcomes = [self._stage(batch, request) for request in requests]
            if not batch.events:
                return [self._settled(outcome, self.farm.position) for outcome in outcomes]
            unless = requests[0].unless or batch.condition()
            try:
                self._append(batch, unless, requests, outcomes)
            except errors.PositionConflict as conflict:
                self.catch_up()
                if requests[0].unless is not None:
                    return [conflict for _ in requests]
            except errors.VersionConflict:
                self.catch_up()
                if attempt:
                    time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
            else:
                return [self._settled(outcome, self.farm.position) for outcome in outcomes]
        raise errors.VersionConflict()

    def _stage(self, batch: Batch, request: Request) -> "Outcome | _Staged":
        """Decides one request; what it staged is rolled back if a command of it is refused."""
        meta, mark = request.meta, batch.mark()
        if request.remember:
            reply = self.log.remembered(meta.command_id)
            if reply is not None:
                return msgspec.json.decode(reply, type=Reply)
        command = request.commands[0] if request.commands else None
        try:
            for command in request.commands:
                start = len(batch.events)
                handler = HANDLERS.get(type(command))
                if handler is not None:
                    handler(batch, command, meta)
                else:
                    batch.do(command, meta)
                follow(batch, start, meta)
        except errors.TaskSchedulerError as error:
            batch.roll_back(mark)
            if command is not None:
                self._refusals.record(batch, command, error, meta)
            return error
        if request.also is not None:
            request.also(batch)
        return _Staged(mark.events, len(batch.events))

    def _append(
        self,
        batch: Batch,
        unless: Unless | None,
        requests: Sequence[Request],
        outcomes: "Sequence[Outcome | _Staged]",
    ) -> None:
        first_expected = self.farm.position + 1
        remembered = [
            Remembered(
                request.meta.command_id, msgspec.json.encode(Reply(first_expected + out.upto - 1, out.upto - out.start))
            )
            for request, out in zip(requests, outcomes, strict=True)
            if request.remember and isinstance(out, _Staged)
        ]
        first = self.log.append(batch.events, unless=unless, snapshots=batch.snapshots, remembered=remembered)
        if first != first_expected:
            self.catch_up(first - 1)
        self._fold(batch, first)

    def _fold(self, batch: Batch, first: int) -> None:
        apply, position = self.farm.apply, first
        for recorded, state in zip(batch.events, batch.after, strict=True):
            apply(position, recorded.stream, recorded.version, recorded.event, state)
            position += 1
        if self._listeners:
            committed = [Recorded(first + at, *recorded[1:]) for at, recorded in enumerate(batch.events)]
            for listener in self._listeners:
                listener(committed)

    def _settled(self, outcome: "Outcome | _Staged", position: int) -> Outcome:
        if isinstance(outcome, _Staged):
            return Reply(position, outcome.upto - outcome.start)
        return outcome

    def catch_up(self, upto: int | None = None) -> None:
        """Folds what another process has written."""
        with self.lock:
            while recorded := self.log.read(self.farm.position, 1_000, upto):
                for position, stream, version, event, _ in recorded:
                    self.farm.apply(position, stream, version, event)
                for listener in self._listeners:
                    listener(recorded)

    # -- snapshots of the whole farm -----------------------------------------------------------------------------

    def snapshot_if_due(self, every: int = farms.SNAPSHOT_EVERY) -> bool:
        """Stores a snapshot of the farm once so many events have come since the last one."""
        with self.lock:
            if self.farm.position - self._snapshot_at < every:
                return False
            snapshot = self.farm.snapshot()
            self._snapshot_at = self.farm.position
        farms.save(self.log, snapshot)
        return True

    def close(self) -> None:
        """Stores a snapshot if that saves the next start some replay, and closes the log."""
        self.snapshot_if_due(farms.WORTH_A_SNAPSHOT)
        self.log.close()


class _Ticket:
    """A request in the group commit's waiting room."""

    __slots__ = ("outcome", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.outcome: Outcome | None = None


class _Staged(NamedTuple):
    """The span of a request's events within its batch."""

    start: int
    upto: int


def _or_raise(outcome: Outcome) -> Reply:
    if isinstance(outcome, errors.TaskSchedulerError):
        raise outcome
    return outcome


COMMANDS: tuple[type[Command], ...] = tuple(dict.fromkeys([*HANDLERS, *ROUTES]))
"""Every command that the application carries out."""


def state_of(app: Application, aggregate: Aggregate, stream: StreamId) -> Any:
    """The present state of a stream, from the farm if it lives, else from the log."""
    with app.lock:
        return Batch(app.farm, app.log, 0).load(aggregate, stream).state
