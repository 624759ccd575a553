"""What live attempts hold, for read models that count resources: events about ends name attempts, not amounts.

A projection keeps its own `Holdings` in two tables, so that it can go on after a restart without reading the log again.
Only live work is kept: an attempt leaves when it ends, a job when it has ended and nothing of it runs.
"""

from collections.abc import Iterable
from typing import Protocol, TypeAlias

import msgspec
from sqlalchemy import Connection, Table, select

from domain import intervals
from domain.job import events as e
from domain.job.values import AttemptNumber, JobSpec, NodeSlots, without_cores
from domain.messages import ClientId, Event, JobId, Recorded
from domain.resources import Resources
from projections.projection import Handler
from projections.rows import delete_rows, insert_rows, update_rows

_encode = msgspec.json.Encoder().encode
_decode_nodes = msgspec.json.Decoder(tuple[NodeSlots, ...]).decode
_decode_resources = msgspec.json.Decoder(Resources).decode

Nodes: TypeAlias = tuple[NodeSlots, ...]


class Held:
    """One live job: its owner, what each slot of its attempts holds, and where they are."""

    __slots__ = ("_still", "client_id", "ended", "live", "resources", "suspended")

    def __init__(self, client_id: ClientId, resources: Resources, ended: bool = False) -> None:
        self.client_id, self.resources, self.ended = client_id, resources, ended
        self.live: dict[AttemptNumber, Nodes] = {}
        self.suspended: set[AttemptNumber] = set()
        """Of these, attempts that stand still for others: they hold all but their cores."""
        self._still: Held | None = None

    @property
    def still(self) -> "Held":
        """The same owner with what a suspended attempt holds."""
        if self._still is None:
            self._still = Held(self.client_id, without_cores(self.resources))
        return self._still

    def of(self, number: AttemptNumber) -> "Held":
        """The owner with what this attempt holds now."""
        return self.still if number in self.suspended else self


Released: TypeAlias = tuple[Held, Nodes]
"""Whose it was and how much on each slot, and where."""


class Holdings:
    """Live jobs and attempts, and which of them the tables do not show yet."""

    def __init__(self, jobs: Table, attempts: Table) -> None:
        self.jobs: dict[JobId, Held] = {}
        self._jobs_table, self._attempts_table = jobs, attempts
        self._new_jobs: dict[JobId, Held] = {}
        self._changed_jobs: dict[JobId, Held] = {}
        self._gone_jobs: dict[JobId, None] = {}
        self._new_attempts: dict[tuple[JobId, AttemptNumber], Nodes] = {}
        self._changed_attempts: dict[tuple[JobId, AttemptNumber], None] = {}
        self._gone_attempts: list[tuple[JobId, AttemptNumber]] = []

    def load(self, connection: Connection) -> None:
        """Reads all live work."""
        for job_id, client_id, resources, ended in connection.execute(select(self._jobs_table)):
            self.jobs[job_id] = Held(client_id, _decode_resources(resources), ended)
        for job_id, number, nodes, suspended in connection.execute(select(self._attempts_table)):
            self.jobs[job_id].live[number] = _decode_nodes(nodes)
            if suspended:
                self.jobs[job_id].suspended.add(number)

    def enter(self, spec: JobSpec) -> None:
        """A job was submitted, or opened again."""
        job_id = spec.job_id
        held = Held(spec.client_id, spec.requirement.resources)
        if job_id in self._gone_jobs:  # ended and retried in one batch: its row is still there
            del self._gone_jobs[job_id]
            self._changed_jobs[job_id] = held
        else:
            self._new_jobs[job_id] = held
        self.jobs[job_id] = held

    def place(self, job_id: JobId, first: AttemptNumber, count: int, nodes: Nodes) -> Held:
        """Attempts were bound to nodes."""
        held = self.jobs[job_id]
        for number in range(first, first + count):
            held.live[number] = nodes
            self._new_attempts[job_id, number] = nodes
        return held

    def suspend(self, job_id: JobId, numbers: Iterable[AttemptNumber], *, suspended: bool) -> list[Released]:
        """Attempts stand still or go on: what they held until now, and where."""
        held, freed = self.jobs[job_id], []
        for number in numbers:
            freed.append((held.of(number), held.live[number]))
            if suspended:
                held.suspended.add(number)
            else:
                held.suspended.discard(number)
            if (job_id, number) not in self._new_attempts:
                self._changed_attempts[job_id, number] = None
        return freed

    def release(self, job_id: JobId, numbers: Iterable[AttemptNumber]) -> list[Released]:
        """Attempts have ended; what they held, and where."""
        held = self.jobs[job_id]
        freed = []
        for number in numbers:
            freed.append((held.of(number), held.live.pop(number)))
            held.suspended.discard(number)
            self._changed_attempts.pop((job_id, number), None)
            if self._new_attempts.pop((job_id, number), None) is None:
                self._gone_attempts.append((job_id, number))
        if held.ended and not held.live:
            self._forget(job_id)
        return freed

    def close(self, job_id: JobId) -> None:
        """The job has ended; it stays for as long as something of it runs."""
        held = self.jobs[job_id]
        held.ended = True
        if not held.live:
            self._forget(job_id)
        elif job_id not in self._new_jobs:
            self._changed_jobs[job_id] = held

    def _forget(self, job_id: JobId) -> None:
        del self.jobs[job_id]
        self._changed_jobs.pop(job_id, None)
        if self._new_jobs.pop(job_id, None) is None:
            self._gone_jobs[job_id] = None

    def flush(self, connection: Connection) -> None:
        """Brings the tables up to date; what came and went in the same batch never touches them."""
        insert_rows(connection, self._jobs_table, map(_job_row, self._new_jobs, self._new_jobs.values()))
        update_rows(connection, self._jobs_table, map(_job_row, self._changed_jobs, self._changed_jobs.values()))
        delete_rows(connection, self._jobs_table, [(job_id,) for job_id in self._gone_jobs])
        insert_rows(
            connection,
            self._attempts_table,
            [self._attempt_row(job_id, number, nodes) for (job_id, number), nodes in self._new_attempts.items()],
        )
        update_rows(
            connection,
            self._attempts_table,
            [self._attempt_row(job_id, n, self.jobs[job_id].live[n]) for job_id, n in self._changed_attempts],
        )
        delete_rows(connection, self._attempts_table, self._gone_attempts)
        self._new_jobs, self._changed_jobs, self._gone_jobs = {}, {}, {}
        self._new_attempts, self._changed_attempts, self._gone_attempts = {}, {}, []

    def _attempt_row(self, job_id: JobId, number: AttemptNumber, nodes: Nodes) -> tuple[JobId, int, str, bool]:
        return (job_id, number, _encode(nodes).decode(), number in self.jobs[job_id].suspended)


def _job_row(job_id: JobId, held: Held) -> tuple[JobId, ClientId, str, bool]:
    return (job_id, held.client_id, _encode(held.resources).decode(), held.ended)


class Holder(Protocol):
    """A fold that wants to know who holds how much where."""

    holdings: Holdings

    def hold(self, held: Held, nodes: Nodes, times: int, at_ms: int) -> None:
        """`times` attempts of a job on the same nodes began (or ended, when negative) to hold their resources."""
        ...


def _submitted(fold: Holder, event: e.JobSubmitted, recorded: Recorded) -> None:
    fold.holdings.enter(event.spec)


def _retried(fold: Holder, event: e.JobRetried, recorded: Recorded) -> None:
    fold.holdings.enter(event.job.spec)


def _placed(fold: Holder, event: e.TasksPlaced, recorded: Recorded) -> None:
    for placement in event.placements:
        count = intervals.size(placement.tasks)
        held = fold.holdings.place(event.job_id, placement.first_attempt, count, placement.nodes)
        fold.hold(held, placement.nodes, count, event.at_ms)


def _ended(fold: Holder, event: e.TasksSucceeded | e.TasksFailed | e.TasksStopped, recorded: Recorded) -> None:
    _release(fold, event.job_id, [end.attempt for end in event.ends], event.at_ms)


def _lost(fold: Holder, event: e.TasksLost, recorded: Recorded) -> None:
    _release(fold, event.job_id, event.attempts, event.at_ms)


def _release(fold: Holder, job_id: JobId, numbers: Iterable[AttemptNumber], at_ms: int) -> None:
    for held, nodes in fold.holdings.release(job_id, numbers):
        fold.hold(held, nodes, -1, at_ms)


def _suspended(fold: Holder, event: e.TasksSuspended, recorded: Recorded) -> None:
    _change(fold, event, suspended=True)


def _resumed(fold: Holder, event: e.TasksResumed, recorded: Recorded) -> None:
    _change(fold, event, suspended=False)


def _change(fold: Holder, event: e.TasksSuspended | e.TasksResumed, *, suspended: bool) -> None:
    held = fold.holdings.jobs[event.job_id]
    for before, nodes in fold.holdings.suspend(event.job_id, event.attempts, suspended=suspended):
        fold.hold(before, nodes, -1, event.at_ms)
        fold.hold(held.still if suspended else held, nodes, 1, event.at_ms)


def _closed(fold: Holder, event: e.JobCompleted | e.JobFailed | e.JobCancelled, recorded: Recorded) -> None:
    fold.holdings.close(event.job_id)


HANDLERS: dict[type[Event], Handler] = {
    e.JobSubmitted: _submitted,
    e.JobRetried: _retried,
    e.TasksPlaced: _placed,
    e.TasksSucceeded: _ended,
    e.TasksFailed: _ended,
    e.TasksStopped: _ended,
    e.TasksLost: _lost,
    e.TasksSuspended: _suspended,
    e.TasksResumed: _resumed,
    e.JobCompleted: _closed,
    e.JobFailed: _closed,
    e.JobCancelled: _closed,
}

IGNORED: tuple[type[Event], ...] = (
    e.JobQueued,
    e.JobUnqueued,
    e.JobHeld,
    e.JobUnheld,
    e.JobPaused,
    e.JobResumed,
    e.JobPriorityChanged,
    e.JobDeadlineChanged,
    e.TasksStarted,
    e.ProgressMarked,
    e.PartialPublished,
    e.TaskCheckpointed,
    e.TasksStopping,
    e.TasksRequeued,
    e.TasksPreempted,
    e.RoomClaimed,
    e.ClaimReleased,
    e.JobProtectionChanged,
    e.JobApproved,
)
"""Job events that move no resources."""
