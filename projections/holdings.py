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
from domain.job.values import AttemptNumber, JobSpec, NodeSlots
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

    __slots__ = ("client_id", "ended", "live", "resources")

    def __init__(self, client_id: ClientId, resources: Resources, ended: bool = False) -> None:
        self.client_id, self.resources, self.ended = client_id, resources, ended
        self.live: dict[AttemptNumber, Nodes] = {}


class Holdings:
    """Live jobs and attempts, and which of them the tables do not show yet."""

    def __init__(self, jobs: Table, attempts: Table) -> None:
        self.jobs: dict[JobId, Held] = {}
        self._jobs_table, self._attempts_table = jobs, attempts
        self._new_jobs: dict[JobId, Held] = {}
        self._changed_jobs: dict[JobId, Held] = {}
        self._gone_jobs: dict[JobId, None] = {}
        self._new_attempts: dict[tuple[JobId, AttemptNumber], Nodes] = {}
        self._gone_attempts: list[tuple[JobId, AttemptNumber]] = []

    def load(self, connection: Connection) -> None:
        """Reads all live work."""
        for job_id, client_id, resources, ended in connection.execute(select(self._jobs_table)):
            self.jobs[job_id] = Held(client_id, _decode_resources(resources), ended)
        for job_id, number, nodes in connection.execute(select(self._attempts_table)):
            self.jobs[job_id].live[number] = _decode_nodes(nodes)

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

    def release(self, job_id: JobId, numbers: Iterable[AttemptNumber]) -> tuple[Held, list[Nodes]]:
        """Attempts have ended; where they were."""
        held = self.jobs[job_id]
        freed = []
        for number in numbers:
            freed.append(held.live.pop(number))
            if self._new_attempts.pop((job_id, number), None) is None:
                self._gone_attempts.append((job_id, number))
        if held.ended and not held.live:
            self._forget(job_id)
        return held, freed

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
            [(job_id, number, _encode(nodes).decode()) for (job_id, number), nodes in self._new_attempts.items()],
        )
        delete_rows(connection, self._attempts_table, self._gone_attempts)
        self._new_jobs, self._changed_jobs, self._gone_jobs = {}, {}, {}
        self._new_attempts, self._gone_attempts = {}, []


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
    held, freed = fold.holdings.release(job_id, numbers)
    for nodes in freed:
        fold.hold(held, nodes, -1, at_ms)


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
)
"""Job events that move no resources."""
