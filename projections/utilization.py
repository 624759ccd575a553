"""Utilization: how much of the farm was used, by whom and where, between any two moments.

Meters count millicores, GPUs and attempts: one for all that is used, one per client and one per node, and likewise
for the capacity that was in service (nodes that are online, draining ones too) with nodes in the place of attempts.
Sums are exact to the millisecond, and cost one lookup per meter however long the span.
"""

from bisect import bisect_right
from itertools import pairwise
from typing import get_args

import msgspec
from sqlalchemy import Connection, func, select

from domain import errors
from domain import node as n
from domain.checkpoint import CheckpointEvent
from domain.client import ClientEvent
from domain.cycle import CommandRefused, CycleDecided, PoliciesAdopted
from domain.dependency import DependencyEvent
from domain.forecasting.promises import ForecastsMade, ForecastsScored
from domain.messages import Event, NodeId, Recorded
from domain.observed import ObservedExternally
from domain.partition import PartitionEvent
from domain.reservation import ReservationEvent
from domain.undo import CommandUndone
from domain.workflow import WorkflowEvent
from projections import holdings
from projections.holdings import Held, Holdings, Nodes
from projections.meters import MINUTE_MS, NO_SUMS, Meter, Minute, Sums
from projections.projection import Fold, Handler, Projection
from projections.rows import Row, Rows, insert_rows, update_rows
from projections.tables import METERS, USAGE, USAGE_ATTEMPTS, USAGE_JOBS, USAGE_NODES
from projections.words import time_text

_USED, _CLIENT, _NODE, _CAPACITY, _NODE_CAPACITY = "used", "client", "node", "capacity", "node-capacity"


class ClientUse(msgspec.Struct, frozen=True):
    """What one client used."""

    client_id: str
    core_s: float
    gpu_s: float
    task_s: float
    """Attempts times seconds."""
    core_percent: float | None
    """Of the farm's capacity; None if there was none."""
    gpu_percent: float | None


class NodeUse(msgspec.Struct, frozen=True):
    """What was used of one node while it was in service."""

    node_id: NodeId
    core_s: float
    gpu_s: float
    capacity_core_s: float
    capacity_gpu_s: float
    core_percent: float | None
    gpu_percent: float | None


class Utilization(msgspec.Struct, frozen=True):
    """Use of the farm from `from_ms` until before `to_ms`.

    The sums are exact; a percentage can pass 100 where attempts ran on a node that was not in service.
    """

    from_ms: int
    to_ms: int
    core_s: float
    gpu_s: float
    task_s: float
    capacity_core_s: float
    capacity_gpu_s: float
    core_percent: float | None
    gpu_percent: float | None
    clients: tuple[ClientUse, ...]
    nodes: tuple[NodeUse, ...]


class UsePoint(msgspec.Struct, frozen=True):
    """Means over one part of a span of time, for a curve."""

    at_ms: int
    """Where the part begins."""
    cores: float
    gpus: float
    tasks: float
    capacity_cores: float
    capacity_gpus: float


def utilization(connection: Connection, from_ms: int, to_ms: int) -> Utilization:
    """What was used and what there was in a span of time: in all, per client that used something, and per node.

    BadInput if the span is empty.
    """
    _must_not_be_empty(from_ms, to_ms)
    sums = _sums_between(connection, from_ms, to_ms)
    used, capacity = sums.get((_USED, ""), NO_SUMS), sums.get((_CAPACITY, ""), NO_SUMS)
    clients = sorted(name for kind, name in sums if kind == _CLIENT)
    nodes = sorted({name for kind, name in sums if kind in (_NODE, _NODE_CAPACITY)})
    return Utilization(
        from_ms=from_ms,
        to_ms=to_ms,
        core_s=used.millicore_ms / 1_000_000,
        gpu_s=used.gpu_ms / 1000,
        task_s=used.count_ms / 1000,
        capacity_core_s=capacity.millicore_ms / 1_000_000,
        capacity_gpu_s=capacity.gpu_ms / 1000,
        core_percent=_percent(used.millicore_ms, capacity.millicore_ms),
        gpu_percent=_percent(used.gpu_ms, capacity.gpu_ms),
        clients=tuple(_client_use(name, sums[_CLIENT, name], capacity) for name in clients),
        nodes=tuple(
            _node_use(name, sums.get((_NODE, name), NO_SUMS), sums.get((_NODE_CAPACITY, name), NO_SUMS))
            for name in nodes
        ),
    )


def history(connection: Connection, from_ms: int, to_ms: int, points: int = 100) -> list[UsePoint]:
    """The farm's use as a curve of equal parts of a span, a millisecond each at least. BadInput if it is empty."""
    _must_not_be_empty(from_ms, to_ms)
    points = max(1, min(points, to_ms - from_ms))
    edges = [from_ms + (to_ms - from_ms) * at // points for at in range(points + 1)]
    parts = zip(pairwise(edges), _curve(connection, _USED, edges), _curve(connection, _CAPACITY, edges), strict=True)
    return [_point(start_ms, end_ms - start_ms, used, capacity) for (start_ms, end_ms), used, capacity in parts]


def _point(at_ms: int, span_ms: int, used: Sums, capacity: Sums) -> UsePoint:
    return UsePoint(
        at_ms=at_ms,
        cores=used.millicore_ms / span_ms / 1000,
        gpus=used.gpu_ms / span_ms,
        tasks=used.count_ms / span_ms,
        capacity_cores=capacity.millicore_ms / span_ms / 1000,
        capacity_gpus=capacity.gpu_ms / span_ms,
    )


def _must_not_be_empty(from_ms: int, to_ms: int) -> None:
    if to_ms <= from_ms:
        raise errors.BadInput(problem=f"the time from {time_text(from_ms)} to {time_text(to_ms)} is empty")


def _client_use(client_id: str, used: Sums, capacity: Sums) -> ClientUse:
    return ClientUse(
        client_id=client_id,
        core_s=used.millicore_ms / 1_000_000,
        gpu_s=used.gpu_ms / 1000,
        task_s=used.count_ms / 1000,
        core_percent=_percent(used.millicore_ms, capacity.millicore_ms),
        gpu_percent=_percent(used.gpu_ms, capacity.gpu_ms),
    )


def _node_use(node_id: NodeId, used: Sums, capacity: Sums) -> NodeUse:
    return NodeUse(
        node_id=node_id,
        core_s=used.millicore_ms / 1_000_000,
        gpu_s=used.gpu_ms / 1000,
        capacity_core_s=capacity.millicore_ms / 1_000_000,
        capacity_gpu_s=capacity.gpu_ms / 1000,
        core_percent=_percent(used.millicore_ms, capacity.millicore_ms),
        gpu_percent=_percent(used.gpu_ms, capacity.gpu_ms),
    )


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _sums_between(connection: Connection, from_ms: int, to_ms: int) -> dict[tuple[str, str], Sums]:
    """Integrals over a span by kind and name of meter; those that stood at nothing all the time are left out."""
    names = {number: (kind, name) for number, kind, name in connection.execute(select(METERS))}
    start = {row.meter: row.sums_at(from_ms) for row in _latest(connection, from_ms)}
    end = {row.meter: row.sums_at(to_ms) for row in _latest(connection, to_ms)}
    spans = {names[number]: _less(sums, start.get(number, NO_SUMS)) for number, sums in end.items()}
    return {name: sums for name, sums in spans.items() if any(sums)}


def _less(end: Sums, start: Sums) -> Sums:
    return Sums(*(after - before for after, before in zip(end, start, strict=True)))


def _curve(connection: Connection, kind: str, edges: list[int]) -> list[Sums]:
    """Integrals of a meter between neighbouring edges, from the rows of that span and the one before it."""
    query = select(USAGE).join(METERS, METERS.c.number == USAGE.c.meter)
    query = query.where(METERS.c.kind == kind, METERS.c.name == "")
    before = query.where(USAGE.c.minute < edges[0] // MINUTE_MS).order_by(USAGE.c.minute.desc()).limit(1)
    within = query.where(USAGE.c.minute.between(edges[0] // MINUTE_MS, edges[-1] // MINUTE_MS))
    found = [*connection.execute(before), *connection.execute(within.order_by(USAGE.c.minute))]
    rows = [Minute.stored(row) for row in found]
    starts = [row.start_ms for row in rows]
    sums = []
    for edge in edges:
        at = bisect_right(starts, edge) - 1
        sums.append(rows[at].sums_at(edge) if at >= 0 else NO_SUMS)
    return [_less(after, before) for before, after in pairwise(sums)]


def _latest(connection: Connection, at_ms: int | None = None) -> list[Minute]:
    """The row of every meter that was open at a moment, or is open now: one index lookup each."""
    other = USAGE.alias()
    newest = select(func.max(other.c.minute)).where(other.c.meter == METERS.c.number)
    if at_ms is not None:
        newest = newest.where(other.c.minute <= at_ms // MINUTE_MS)
    query = select(USAGE).join(METERS, METERS.c.number == USAGE.c.meter)
    query = query.where(USAGE.c.minute == newest.correlate(METERS).scalar_subquery()).order_by(USAGE.c.meter)
    return [Minute.stored(row) for row in connection.execute(query)]


class _NodeRow(Row):
    """A row of `usage_nodes`."""

    node_id: NodeId
    millicores: int
    gpus: int
    online: bool = False


class UtilizationFold(Fold):
    """All meters, the capacity of all nodes, and what live attempts hold."""

    def __init__(self) -> None:
        self.holdings = Holdings(USAGE_JOBS, USAGE_ATTEMPTS)
        self.meters: dict[tuple[str, str], Meter] = {}
        self.nodes: Rows[NodeId, _NodeRow] = Rows(USAGE_NODES, _NodeRow)
        self._clients: dict[str, Meter] = {}
        self._nodes: dict[str, Meter] = {}
        self._new_meters: list[tuple[int, str, str]] = []
        self._changed: list[Minute] = []

    def load(self) -> None:
        """Reads live work, nodes, and every meter's open minute."""
        self.holdings.load(self.connection)
        self.nodes.load_all(self.connection)
        by_number = {}
        for number, kind, name in self.connection.execute(select(METERS).order_by(METERS.c.number)):
            by_number[number] = self.meters[kind, name] = Meter(number, self._changed)
        for row in _latest(self.connection):
            by_number[row.meter].open(row)

    def meter(self, kind: str, name: str = "") -> Meter:
        """A meter, made when it is first asked for."""
        meter = self.meters.get((kind, name))
        if meter is None:
            meter = self.meters[kind, name] = Meter(len(self.meters) + 1, self._changed)
            self._new_meters.append((meter.number, kind, name))
        return meter

    def hold(self, held: Held, nodes: Nodes, times: int, at_ms: int) -> None:
        """Attempts began (or ended) to hold resources."""
        resources, slots = held.resources, 0
        for node_id, on_node in nodes:
            slots += on_node
            amount = on_node * times
            self.meter(_NODE, node_id).change(at_ms, resources.millicores * amount, resources.gpus * amount, times)
        millicores, gpus = resources.millicores * slots * times, resources.gpus * slots * times
        self.meter(_USED).change(at_ms, millicores, gpus, times)
        self.meter(_CLIENT, held.client_id).change(at_ms, millicores, gpus, times)

    def serve(self, node: _NodeRow, sign: int, at_ms: int) -> None:
        """The capacity of a node comes into service, or leaves it."""
        amounts = (node.millicores * sign, node.gpus * sign, sign)
        self.meter(_CAPACITY).change(at_ms, *amounts)
        self.meter(_NODE_CAPACITY, node.node_id).change(at_ms, *amounts)

    def flush(self) -> None:
        """Writes meters, the minutes that changed, nodes and live work."""
        insert_rows(self.connection, METERS, self._new_meters)
        insert_rows(self.connection, USAGE, [row.columns() for row in self._changed if not row.is_stored])
        update_rows(self.connection, USAGE, [row.columns() for row in self._changed if row.is_stored])
        for row in self._changed:
            row.is_stored, row.is_changed = True, False
        self._new_meters.clear()
        self._changed.clear()
        self.nodes.flush(self.connection)
        self.holdings.flush(self.connection)


def _registered(fold: UtilizationFold, event: n.NodeRegistered, recorded: Recorded) -> None:
    row = _NodeRow(event.node_id, event.capacity.millicores, event.capacity.gpus)
    fold.nodes.add(event.node_id, row)


def _capabilities_changed(fold: UtilizationFold, event: n.NodeCapabilitiesChanged, recorded: Recorded) -> None:
    row = fold.nodes.get(event.node_id, fold.connection)
    if row.online:
        fold.serve(row, -1, event.at_ms)
    row.millicores, row.gpus = event.capacity.millicores, event.capacity.gpus
    if row.online:
        fold.serve(row, 1, event.at_ms)


def _in_service(fold: UtilizationFold, event: n.NodeOnline | n.NodeRecovered, recorded: Recorded) -> None:
    row = fold.nodes.get(event.node_id, fold.connection)
    if not row.online:
        row.online = True
        fold.serve(row, 1, event.at_ms)


def _out_of_service(fold: UtilizationFold, event: n.NodeEvent, recorded: Recorded) -> None:
    row = fold.nodes.get(event.node_id, fold.connection)
    if row.online:
        row.online = False
        fold.serve(row, -1, event.at_ms)


_HANDLERS: dict[type[Event], Handler] = {
    n.NodeRegistered: _registered,
    n.NodeCapabilitiesChanged: _capabilities_changed,
    n.NodeOnline: _in_service,
    n.NodeRecovered: _in_service,
    n.NodeOffline: _out_of_service,
    n.NodeLost: _out_of_service,
    n.NodeMaintenanceStarted: _out_of_service,
    n.NodeMaintenanceEnded: _out_of_service,
    n.NodeQuarantined: _out_of_service,
    n.NodeStopping: _out_of_service,
}

PROJECTION = Projection(
    "utilization",
    (METERS, USAGE, USAGE_NODES, USAGE_JOBS, USAGE_ATTEMPTS),
    UtilizationFold,
    _HANDLERS | holdings.HANDLERS,
    ignored=(
        n.NodeDrained,
        n.NodeUndrained,
        n.NodeSuspected,
        n.NodeStarting,
        n.NodeRetired,
        *holdings.IGNORED,
        *get_args(WorkflowEvent),
        *get_args(DependencyEvent),
        *get_args(CheckpointEvent),
        *get_args(ReservationEvent),
        *get_args(ClientEvent),
        *get_args(PartitionEvent),
        CycleDecided,
        CommandRefused,
        CommandUndone,
        ObservedExternally,
        PoliciesAdopted,
        ForecastsMade,
        ForecastsScored,
    ),
)
