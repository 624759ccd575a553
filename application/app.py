"""The application: commands in, one commit for many of them, the farm kept up to date, listeners told.

Group commit: whoever holds the commit lock decides and stores everything that is waiting at that moment, in one
durable transaction; the others find their reply ready. A lone caller pays for no hand-over at all.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from application import farms
from application.commands import HANDLERS, RecordCheckpoint
from application.consequences import follow
from application.decider import ROUTES, Aggregate, Batch, Stream, load_stream
from application.ports import Clock, Ids, Log, Remembered, Unless
from application.refusals import Refusals
from application.reservations import TakeNodes
from domain import checkpoint, dependency, errors, node, workflow
from domain.farm import Farm
from domain.job import commands as c
from domain.messages import Command, Event, Meta, Recorded, StreamId, Value
from domain.reservation import ActivateReservation, SetAside

ATTEMPTS = 4
FIRST_WAIT_S = 0.05


class Reply(Value, frozen=True):
    """What a command is answered once it is durable."""

    position: int
    """The log position after it; a reader that has come so far has seen its effect."""
    events: int = 0
    """How many events it caused; 0 means that everything was so already."""


class Request(msgspec.Struct, frozen=True):
    """Commands that succeed or fail together."""

    commands: tuple[Command, ...]
    meta: Meta
    remember: bool = False
    """Whether the command id came from outside and must answer the same when it comes again."""
    unless: Unless | None = None
    """A condition that the requester's decision depends on; only for a request committed alone."""
    facts: tuple[tuple[StreamId, Event], ...] = ()
    """Events that no command stands for (a cycle's reasons), after those of the commands."""


Outcome = Reply | errors.TaskSchedulerError
Listener = Callable[[Sequence[Recorded]], None]


class Application:
    """Milepost's core over one log: everything that changes the farm goes through `handle`."""

    def __init__(self, log: Log, clock: Clock, ids: Ids, *, farm: Farm | None = None) -> None:
        self.log, self.clock, self.ids = log, clock, ids
        self.farm, self._snapshot_at = farms.load_and_tell(log) if farm is None else (farm, farm.position)
        self.lock = threading.RLock()
        """Held while deciding, storing and folding; whoever reads the farm for longer than a moment takes it."""
        self._pending: deque[_Ticket] = deque()
        self._leading = threading.Lock()
        """Held by the caller that commits for all who wait. Nobody may take it while holding `lock`."""
        self._listeners: list[Listener] = []
        self._refusals = Refusals()

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
        while ticket.outcome is None:
            if self._leading.acquire(blocking=False):
                self._lead(ticket)
            else:
                ticket.turn.acquire()  # until it is done, or its caller is to lead
        return ticket.outcome

    def _lead(self, ticket: "_Ticket") -> None:
        """Commits what waits, then lets the first of those who came meanwhile lead.

        Whoever finds the lead taken has handed in a ticket before, so the leader sees it when it looks afterwards.
        """
        try:
            with self.lock:
                if ticket.outcome is None:
                    self._commit_tickets([self._pending.popleft() for _ in range(len(self._pending))])
        finally:
            self._leading.release()
            with suppress(IndexError):
                self._pending[0].let_go()

    def commit_all(self, requests: Sequence[Request]) -> list[Outcome]:
        """Commits these requests in one transaction of their own."""
        with self.lock:
            return self._commit(requests)

    def record(self, events: Sequence[Recorded], after: Sequence[Any]) -> None:
        """Stores and folds events that were decided elsewhere, with the state after each.

        For whoever is alone with the log: the events are the next ones. VersionConflict if they are not.
        """
        with self.lock:
            self.log.append(events)
            self._fold(events, after)

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
        except errors.TaskSchedulerError as error:
            _settle(tickets, error)
            raise
        except BaseException as error:
            _settle(tickets, errors.StoreError(f"the commit failed: {error!r}"))
            raise
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            ticket.settle(outcome)

    def _commit(self, requests: Sequence[Request]) -> list[Outcome]:
        """Decide, append, fold; decided anew when another writer was faster (several processes on one store)."""
        for attempt in range(ATTEMPTS):
            batch = Batch(self.farm, self.log, self.clock.now_ms(), trust_fresh=attempt == 0)
            refusals = self._refusals.copy()
            outcomes, remembered = self._stage_all(batch, requests, refusals)
            try:
                first = self._append(batch, requests, remembered)
            except errors.PositionConflict as conflict:
                self.catch_up()
                if requests[0].unless is not None:
                    return [conflict for _ in requests]
            except errors.VersionConflict:
                self.catch_up()
                if attempt:
                    time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
            else:
                self._refusals = refusals
                return [outcome.reply(first) if isinstance(outcome, _Staged) else outcome for outcome in outcomes]
        return [errors.VersionConflict() for _ in requests]

    def _stage_all(
        self, batch: Batch, requests: Sequence[Request], refusals: Refusals
    ) -> "tuple[list[Outcome | _Staged], list[Remembered]]":
        """Decides all requests, a command id that comes twice once; and what to remember of them."""
        known: dict[str, Outcome | _Staged] = {}
        outcomes: list[Outcome | _Staged] = []
        for request in requests:
            command_id = request.meta.command_id
            if request.remember and command_id in known:
                outcomes.append(known[command_id])
                continue
            outcomes.append(self._stage(batch, request, refusals))
            if request.remember:
                known[command_id] = outcomes[-1]
        remembered = [
            Remembered(command_id, staged.upto, staged.upto - staged.start)
            for command_id, staged in known.items()
            if isinstance(staged, _Staged)
        ]
        return outcomes, remembered

    def _stage(self, batch: Batch, request: Request, refusals: Refusals) -> "Outcome | _Staged":
        """Decides one request; what it staged is rolled back if a command of it is refused."""
        meta, mark = request.meta, batch.mark()
        if request.remember:
            reply = self.log.remembered(meta.command_id)
            if reply is not None:
                return Reply(*reply)
        command = request.commands[0] if request.commands else None
        try:
            for command in request.commands:
                start = len(batch.events)
                HANDLERS.get(type(command), Batch.do)(batch, command, meta)
                follow(batch, start, meta)
        except errors.TaskSchedulerError as error:
            batch.roll_back(mark)
            if command is not None:
                refusals.record(batch, command, error, meta)
            return error
        for stream, event in request.facts:
            batch.record(stream, event, meta)
        return _Staged(mark.events, len(batch.events))

    def _append(self, batch: Batch, requests: Sequence[Request], remembered: Sequence[Remembered]) -> int:
        """Stores the batch, if there is something to store, and folds it; the position of its first event."""
        first = self.farm.position + 1
        if not batch.events and not remembered:
            if self.log.position() >= first:
                raise errors.VersionConflict()  # "it is so already" must be true of the log, not of an old farm
            return first
        unless = requests[0].unless or batch.condition()
        stored = self.log.append(batch.events, unless=unless, snapshots=batch.snapshots, remembered=remembered)
        if stored != first:  # other processes wrote in between, but to no stream and of no topic that mattered here
            self.catch_up(stored - 1)
            batch.events = [Recorded(at, *recorded[1:]) for at, recorded in enumerate(batch.events, stored)]
        if batch.events:
            self._fold(batch.events, batch.after)
        return stored

    def _fold(self, events: Sequence[Recorded], after: Sequence[Any]) -> None:
        apply = self.farm.apply
        for (position, stream, version, event, _), state in zip(events, after, strict=True):
            apply(position, stream, version, event, state)
        for listener in self._listeners:
            listener(events)

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

    __slots__ = ("outcome", "request", "turn")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.outcome: Outcome | None = None
        self.turn = threading.Lock()
        """Free once, each time its caller is to look again."""
        self.turn.acquire()

    def settle(self, outcome: "Outcome") -> None:
        """Gives the outcome to the caller."""
        self.outcome = outcome
        self.let_go()

    def let_go(self) -> None:
        """Lets the caller look again."""
        with suppress(RuntimeError):  # it was told already
            self.turn.release()


class _Staged(Value, frozen=True):
    """The span of a request's events within its batch."""

    start: int
    upto: int

    def reply(self, first: int) -> Reply:
        """The answer once the batch is stored from position `first` on."""
        return Reply(first + self.upto - 1, self.upto - self.start)


def _settle(tickets: Sequence[_Ticket], failure: errors.TaskSchedulerError) -> None:
    for ticket in tickets:
        ticket.settle(failure)


def _or_raise(outcome: Outcome) -> Reply:
    if isinstance(outcome, errors.TaskSchedulerError):
        raise outcome
    return outcome


INTERNAL = (
    c.QueueJob,
    c.UnqueueJob,
    c.PlaceTasks,
    c.ReportStarted,
    c.ReportEnded,
    c.ReportProgress,
    c.ReportPartial,
    c.NoteCheckpoint,
    c.LoseAttempts,
    c.StopAttempts,
    node.RegisterNode,
    node.BringOnline,
    node.TakeOffline,
    node.SuspectNode,
    node.LoseNode,
    workflow.SubmitWorkflow,
    workflow.AddWorkflowJob,
    workflow.EndWorkflow,
    workflow.ReopenWorkflow,
    dependency.SatisfyDependency,
    dependency.FailDependency,
    dependency.ReopenDependency,
    checkpoint.TakeCheckpoint,
    checkpoint.RestoreCheckpoint,
    RecordCheckpoint,
    SetAside,
    ActivateReservation,
    TakeNodes,
)
"""What only parts of the system say, because it is true only when they do: plans, reports, consequences."""

COMMANDS: tuple[type[Command], ...] = tuple(
    kind for kind in dict.fromkeys([*HANDLERS, *ROUTES]) if kind not in INTERNAL
)
"""Every command that may come from outside."""


def state_of(app: Application, aggregate: Aggregate, stream: StreamId) -> Any:
    """The present state of a stream, from the farm if it lives, else from the log."""
    with app.lock:
        return Batch(app.farm, app.log, 0).load(aggregate, stream).state
