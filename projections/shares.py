"""Shares: what each client is guaranteed, demands and uses, what it got back, and where its guarantee was not honoured.

Who lends to whom follows from these rows alone (`domain.rules.ledger`). A client is *unmet* while a task of it waits
that may start and would stay within its guarantee. Unmet for longer than the reclaim period, while a sharing policy
that keeps guarantees is in force, is a breach: the events that opened and closed it are kept. *Reclaimed* is lent
capacity that came back while its owner was unmet.
"""

from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, func, select

from domain import client as c
from domain import intervals
from domain import node as n
from domain.catalog import AnyEvent
from domain.cycle import PoliciesAdopted
from domain.indices.usage import MOVING, held_change
from domain.job import events as e
from domain.job.evolve import EVOLVE
from domain.job.values import Job
from domain.messages import ClientId, Event, JobId, NodeId, Recorded
from domain.policies.sharing import in_force
from domain.rules import ledger
from domain.rules.ledger import Pair, Stand
from projections import share_tables as tables
from projections.projection import Fold, Handler, Projection
from projections.rows import Row, Rows, delete_rows, insert_rows, update_rows

_encode = msgspec.json.Encoder().encode
_decode_job = msgspec.json.Decoder(Job).decode


class ShareView(msgspec.Struct, frozen=True):
    """One client as it stands."""

    client_id: ClientId
    guarantee_percent: int
    lends: bool
    used_millicores: int
    used_gpus: int
    waiting_millicores: int
    waiting_gpus: int
    """What its tasks ask for that may start."""
    unmet_position: int | None
    unmet_ms: int | None
    """Since when a task waits that its guarantee has room for, and the event since."""


class BreachView(msgspec.Struct, frozen=True):
    """A guarantee that was not honoured within the reclaim period."""

    client_id: ClientId
    opened: int
    opened_ms: int
    closed: int | None
    closed_ms: int | None
    """The event that ended it; None while it goes on."""
    period_ms: int


class FarmShares(msgspec.Struct, frozen=True):
    """What all shares are a part of."""

    millicores: int
    gpus: int
    period_ms: int | None
    """The reclaim period in force; None while no sharing policy keeps guarantees."""


def farm_shares(connection: Connection) -> FarmShares:
    """The capacity of the farm and the period in force."""
    row = connection.execute(select(tables.SHARES_FARM)).one_or_none()
    return FarmShares(0, 0, None) if row is None else FarmShares(*row[1:])


def standing(connection: Connection) -> list[ShareView]:
    """All clients, by id."""
    rows = connection.execute(select(tables.SHARES).order_by(tables.SHARES.c.client_id))
    return [ShareView(*row) for row in rows]


def breaches(
    connection: Connection, client_id: ClientId = "", upto: int | None = None, limit: int = 1_000
) -> list[BreachView]:
    """Guarantees that were not honoured, the newest first; those closed after position `upto` count as going on."""
    table = tables.SHARES_BREACHES
    query = select(table).order_by(table.c.opened.desc(), table.c.client_id).limit(limit)
    if client_id:
        query = query.where(table.c.client_id == client_id)
    if upto is not None:
        query = query.where(table.c.opened <= upto)
    found = [BreachView(*row) for row in connection.execute(query)]
    if upto is None:
        return found
    return [replace(each, closed=None, closed_ms=None) if (each.closed or 0) > upto else each for each in found]


def reclaimed(connection: Connection, upto: int | None = None) -> dict[ClientId, Pair]:
    """Millicores and GPUs that came back to each client while it was unmet, up to a position."""
    table = tables.SHARES_RECLAIMS
    query = select(table.c.client_id, func.sum(table.c.millicores), func.sum(table.c.gpus)).group_by(table.c.client_id)
    if upto is not None:
        query = query.where(table.c.position <= upto)
    return {client_id: (int(millicores), int(gpus)) for client_id, millicores, gpus in connection.execute(query)}


# -- the fold ----------------------------------------------------------------------------------------------------


class _ClientRow(Row):
    """A row of `shares`, and its waiting tasks by what one of them needs."""

    client_id: ClientId
    guarantee_percent: int = 0
    lends: bool = True
    used_millicores: int = 0
    used_gpus: int = 0
    waiting_millicores: int = 0
    waiting_gpus: int = 0
    unmet_position: int | None = None
    unmet_ms: int | None = None
    waits: dict[Pair, int] = {}

    def unmet(self, capacity: Pair) -> bool:
        """Whether a waiting task would stay within the guarantee, judged by what it asks for."""
        if not self.guarantee_percent:
            return False
        whole = ledger.guaranteed_part(capacity, self.guarantee_percent)
        cores, gpus = whole[0] - self.used_millicores, whole[1] - self.used_gpus
        for need in self.waits:
            if (need[0] or need[1]) and (not need[0] or need[0] <= cores) and (not need[1] or need[1] <= gpus):
                return True
        return False


class _FarmRow(Row):
    """The one row of `shares_farm`."""

    number: int = 1
    millicores: int = 0
    gpus: int = 0
    period_ms: int | None = None


class _NodeRow(Row):
    node_id: NodeId
    millicores: int
    gpus: int


class SharesFold(Fold):
    """All clients, the jobs that live, and the capacity."""

    def __init__(self) -> None:
        self.clients: Rows[ClientId, _ClientRow] = Rows(tables.SHARES, _ClientRow)
        self.farm: Rows[int, _FarmRow] = Rows(tables.SHARES_FARM, _FarmRow)
        self.nodes: Rows[NodeId, _NodeRow] = Rows(tables.SHARES_NODES, _NodeRow)
        self.jobs: dict[JobId, Job] = {}
        self._stored: set[JobId] = set()
        self._changed: dict[JobId, None] = {}
        self._unmet: dict[ClientId, _ClientRow] = {}
        self._breaches: list[tuple[Any, ...]] = []
        self._reclaims: list[tuple[Any, ...]] = []

    def load(self) -> None:
        """Reads it all: clients, nodes and live jobs are what memory is made for."""
        for rows in (self.clients, self.farm, self.nodes):
            rows.load_all(self.connection)
        for row in self.clients.known.values():
            row.waits = {}
            if row.unmet_ms is not None:
                self._unmet[row.client_id] = row
        for job_id, state in self.connection.execute(select(tables.SHARES_JOBS)):
            job = self.jobs[job_id] = _decode_job(state)
            self._stored.add(job_id)
            need, tasks = _waits(job)
            if tasks:
                waits = self.clients.known[job.spec.client_id].waits
                waits[need] = waits.get(need, 0) + tasks

    def flush(self) -> None:
        """Writes what the batch changed."""
        for rows in (self.clients, self.farm, self.nodes):
            rows.flush(self.connection)
        fresh: list[tuple[str, str]] = []
        known: list[tuple[str, str]] = []
        gone: list[tuple[str]] = []
        for job_id in self._changed:
            job = self.jobs.get(job_id)
            if job is None:
                gone += [(job_id,)] if job_id in self._stored else []
                self._stored.discard(job_id)
            else:
                (known if job_id in self._stored else fresh).append((job_id, _encode(job).decode()))
                self._stored.add(job_id)
        insert_rows(self.connection, tables.SHARES_JOBS, fresh)
        update_rows(self.connection, tables.SHARES_JOBS, known)
        delete_rows(self.connection, tables.SHARES_JOBS, gone)
        insert_rows(self.connection, tables.SHARES_BREACHES, self._breaches)
        insert_rows(self.connection, tables.SHARES_RECLAIMS, self._reclaims)
        self._changed, self._breaches, self._reclaims = {}, [], []

    # -- what changes --------------------------------------------------------------------------------------------

    def client(self, client_id: ClientId) -> _ClientRow:
        """The row of a client, made when it is first heard of."""
        found = self.clients.find(client_id, self.connection)
        return self.clients.add(client_id, _ClientRow(client_id=client_id, waits={})) if found is None else found

    def whole(self) -> _FarmRow:
        """The row of the farm."""
        found = self.farm.find(1, self.connection)
        return self.farm.add(1, _FarmRow()) if found is None else found

    def job(self, before: Job | None, after: Job, event: Any, recorded: Recorded) -> None:
        """A job went from one state to the next."""
        spec = after.spec
        row = self.client(spec.client_id)
        lent = None
        if before is not None:
            self._count_waits(row, before, -1)
            if type(event) in MOVING:
                lent = self._lent_to_unmet(row, event)
                self._hold(row, before, event)
        if after.ended is not None and not after.live:
            self.jobs.pop(spec.job_id, None)
        else:
            self.jobs[spec.job_id] = after
            self._count_waits(row, after, 1)
        self._changed[spec.job_id] = None
        if lent is not None:
            self._note_reclaimed(lent, recorded)
        self.look_at(row, recorded)

    def _hold(self, row: _ClientRow, before: Job, event: Any) -> None:
        cores, gpus = held_change(before, event)
        need, slots = before.spec.requirement.resources, before.spec.requirement.slots
        row.used_millicores += need.millicores * slots * cores
        row.used_gpus += need.gpus * slots * gpus

    def _count_waits(self, row: _ClientRow, job: Job, sign: int) -> None:
        """Counts the tasks of a job in that may start, or out."""
        need, tasks = _waits(job)
        if not tasks:
            return
        count = row.waits.get(need, 0) + tasks * sign
        if count:
            row.waits[need] = count
        else:
            del row.waits[need]
        row.waiting_millicores += need[0] * tasks * sign
        row.waiting_gpus += need[1] * tasks * sign

    def look_at(self, row: _ClientRow, recorded: Recorded) -> None:
        """Opens or closes the time in which a client waits for its guarantee."""
        whole = self.farm.known.get(1)
        period_ms = None if whole is None else whole.period_ms
        unmet = whole is not None and period_ms is not None and row.unmet((whole.millicores, whole.gpus))
        if unmet is (row.unmet_ms is not None):
            return
        row = self.client(row.client_id)
        if unmet:
            row.unmet_position, row.unmet_ms = recorded.position, recorded.event.at_ms
            self._unmet[row.client_id] = row
            return
        assert row.unmet_ms is not None
        if period_ms is not None and recorded.event.at_ms - row.unmet_ms > period_ms:
            ends = (row.unmet_position, row.unmet_ms, recorded.position, recorded.event.at_ms, period_ms)
            self._breaches.append((row.client_id, *ends))
        row.unmet_position = row.unmet_ms = None
        del self._unmet[row.client_id]

    def look_at_all(self, recorded: Recorded) -> None:
        """What all shares depend on has changed."""
        for client_id in sorted(self.clients.known):
            self.look_at(self.clients.known[client_id], recorded)

    # -- what comes back -----------------------------------------------------------------------------------------

    def _lent_to_unmet(self, row: _ClientRow, event: Any) -> dict[ClientId, Pair] | None:
        """What those lend who wait for their guarantee; None where nothing can come back to them now."""
        if type(event) is e.TasksPlaced or not (self._unmet.keys() - {row.client_id}):
            return None
        return self._lent()

    def _lent(self) -> dict[ClientId, Pair]:
        whole = self.whole()
        capacity = (whole.millicores, whole.gpus)
        rows = self.clients.known.values()
        parts = {row.client_id: ledger.guaranteed_part(capacity, row.guarantee_percent) for row in rows}
        cores = [Stand(row.client_id, parts[row.client_id][0], row.used_millicores, row.lends) for row in rows]
        gpus = [Stand(row.client_id, parts[row.client_id][1], row.used_gpus, row.lends) for row in rows]
        of_cores, of_gpus = ledger.lent_by(capacity[0], cores), ledger.lent_by(capacity[1], gpus)
        return {client_id: (of_cores.get(client_id, 0), of_gpus.get(client_id, 0)) for client_id in self._unmet}

    def _note_reclaimed(self, before: dict[ClientId, Pair], recorded: Recorded) -> None:
        after = self._lent()
        for client_id in sorted(before.keys() & after.keys()):
            back = [max(0, was - now) for was, now in zip(before[client_id], after[client_id], strict=True)]
            if any(back):
                self._reclaims.append((recorded.position, client_id, recorded.event.at_ms, *back))


def _waits(job: Job) -> tuple[Pair, int]:
    """What one task of a job needs over all its slots, and how many of them may start."""
    resources, slots = job.spec.requirement.resources, job.spec.requirement.slots
    tasks = intervals.size(job.waiting) if job.waiting and job.startable else 0
    return (resources.millicores * slots, resources.gpus * slots), tasks


def _submitted(fold: SharesFold, event: e.JobSubmitted, recorded: Recorded) -> None:
    fold.job(None, EVOLVE[e.JobSubmitted](None, event), event, recorded)


def _changed(fold: SharesFold, event: Any, recorded: Recorded) -> None:
    before = fold.jobs.get(event.job_id)
    if before is not None:
        fold.job(before, EVOLVE[type(event)](before, event), event, recorded)


def _retried(fold: SharesFold, event: e.JobRetried, recorded: Recorded) -> None:
    before = fold.jobs.get(event.job_id)
    fold.job(before, EVOLVE[e.JobRetried](before, event), event, recorded)


def _shares(fold: SharesFold, event: c.ClientRegistered | c.ClientSharesChanged, recorded: Recorded) -> None:
    row = fold.client(event.client_id)
    row.guarantee_percent, row.lends = event.shares.guarantee_percent, event.shares.lend
    fold.look_at(row, recorded)


def _node(fold: SharesFold, event: n.NodeRegistered | n.NodeCapabilitiesChanged, recorded: Recorded) -> None:
    row = fold.nodes.find(event.node_id, fold.connection)
    if row is None:
        row = fold.nodes.add(event.node_id, _NodeRow(node_id=event.node_id, millicores=0, gpus=0))
    _resize(fold, row, event.capacity.millicores, event.capacity.gpus, recorded)


def _left(fold: SharesFold, event: n.NodeRetired, recorded: Recorded) -> None:
    _resize(fold, fold.nodes.get(event.node_id, fold.connection), 0, 0, recorded)


def _resize(fold: SharesFold, row: _NodeRow, millicores: int, gpus: int, recorded: Recorded) -> None:
    whole = fold.whole()
    whole.millicores += millicores - row.millicores
    whole.gpus += gpus - row.gpus
    row.millicores, row.gpus = millicores, gpus
    fold.look_at_all(recorded)


def _policies(fold: SharesFold, event: PoliciesAdopted, recorded: Recorded) -> None:
    """A breach that is open when another period comes into force is judged by the new one."""
    lending = in_force(event.policies)
    fold.whole().period_ms = None if lending is None else lending.reclaim_period_s * 1000
    fold.look_at_all(recorded)


_CHANGES: tuple[type[Event], ...] = (
    *sorted(MOVING, key=lambda kind: kind.__name__),
    e.JobQueued,
    e.JobUnqueued,
    e.JobHeld,
    e.JobUnheld,
    e.JobPaused,
    e.JobResumed,
    e.TasksRequeued,
    e.JobApproved,
    e.JobCompleted,
    e.JobFailed,
    e.JobCancelled,
)
"""Facts of a job that change what it holds, or what of it may start."""

_HANDLERS: dict[type[Event], Handler] = {
    e.JobSubmitted: _submitted,
    e.JobRetried: _retried,
    **dict.fromkeys(_CHANGES, _changed),
    c.ClientRegistered: _shares,
    c.ClientSharesChanged: _shares,
    n.NodeRegistered: _node,
    n.NodeCapabilitiesChanged: _node,
    n.NodeRetired: _left,
    PoliciesAdopted: _policies,
}


def _others() -> Iterable[type[Event]]:
    """All topics that say nothing about shares; a new one must be looked at here when it is added."""
    return [kind for kind in get_args(AnyEvent) if kind not in _HANDLERS]


PROJECTION = Projection(
    "shares",
    (
        tables.SHARES,
        tables.SHARES_FARM,
        tables.SHARES_NODES,
        tables.SHARES_JOBS,
        tables.SHARES_BREACHES,
        tables.SHARES_RECLAIMS,
    ),
    SharesFold,
    _HANDLERS,
    ignored=_others(),
)
