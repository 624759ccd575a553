"""Nodes: what machines there are, what they can do, how they stand, and how full they are now.

One row per node. What is used follows from the placements and ends of attempts, never from what a node says of itself.
"""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection, select

from domain import node as n
from domain.checkpoint import CheckpointEvent
from domain.client import ClientEvent
from domain.cycle import CommandRefused, CycleDecided, PoliciesAdopted
from domain.dependency import DependencyEvent
from domain.forecasting.promises import ForecastsMade, ForecastsScored
from domain.messages import Event, NodeId, Recorded
from domain.node import NodeStatus
from domain.observed import ObservedExternally
from domain.partition import PartitionEvent
from domain.reservation import ReservationEvent
from domain.resources import NOTHING, Resources
from domain.undo import CommandUndone
from domain.workflow import WorkflowEvent
from projections import holdings, tables
from projections.holdings import Held, Holdings, Nodes
from projections.projection import Fold, Handler, Projection
from projections.rows import insert_rows, update_rows

_encode = msgspec.json.Encoder().encode
_decode_attributes = msgspec.json.Decoder(dict[str, tuple[str, ...]]).decode
_decode_named = msgspec.json.Decoder(tuple[tuple[str, int], ...]).decode


class NodeView(msgspec.Struct, frozen=True):
    """One node as it stands."""

    node_id: NodeId
    status: NodeStatus
    draining: bool
    suspected: bool
    retired: bool
    why: str
    """Why it is in a state that takes no work."""
    capacity: Resources
    used: Resources
    """What the attempts placed there hold."""
    attempts: int
    """How many attempts are placed there."""
    attributes: n.Attributes
    changed_ms: int
    """When its status or capacity changed last."""
    asleep: bool
    """Whether it was powered down to save energy, and can be powered up."""


def list_nodes(
    connection: Connection, status: NodeStatus | None = None, retired: bool = False, limit: int = 10_000
) -> list[NodeView]:
    """Nodes by id; retired ones only when asked for."""
    query = select(tables.NODES).order_by(tables.NODES.c.node_id).limit(limit)
    if status is not None:
        query = query.where(tables.NODES.c.status == status)
    if not retired:
        query = query.where(tables.NODES.c.retired.is_(False))
    return [_view(_Row.stored(row)) for row in connection.execute(query)]


def node(connection: Connection, node_id: NodeId) -> NodeView | None:
    """One node; None if there is none by that id."""
    row = connection.execute(select(tables.NODES).where(tables.NODES.c.node_id == node_id)).one_or_none()
    return None if row is None else _view(_Row.stored(row))


class _Row(msgspec.Struct, gc=False):
    """A row of `nodes`, its amounts as vectors."""

    number: int
    node_id: NodeId
    capacity: Resources
    attributes: n.Attributes
    changed_ms: int
    status: NodeStatus = NodeStatus.OFFLINE
    draining: bool = False
    suspected: bool = False
    retired: bool = False
    why: str = ""
    used: Resources = NOTHING
    attempts: int = 0
    asleep: bool = False

    def columns(self) -> tuple[object, ...]:
        """As the table has them."""
        flags = (self.draining, self.suspected, self.retired)
        words = (self.number, self.node_id, self.status.value, *flags, self.why, _encode(self.attributes).decode())
        return (*words, *_amounts(self.capacity), *_amounts(self.used), self.attempts, self.changed_ms, self.asleep)

    @classmethod
    def stored(cls, row: Any) -> "_Row":
        """The row that the table has."""
        return cls(
            number=row.number,
            node_id=row.node_id,
            capacity=_resources(row[8:14]),
            attributes=_decode_attributes(row.attributes),
            changed_ms=row.changed_ms,
            status=NodeStatus(row.status),
            draining=row.draining,
            suspected=row.suspected,
            retired=row.retired,
            why=row.why,
            used=_resources(row[14:20]),
            attempts=row.attempts,
            asleep=row.asleep,
        )


def _amounts(resources: Resources) -> tuple[object, ...]:
    return (*resources.amounts(), _encode(resources.named).decode())


def _resources(columns: Sequence[Any]) -> Resources:
    millicores, memory_mib, gpus, storage_mib, network_mbps, named = columns
    return Resources(millicores, memory_mib, gpus, storage_mib, network_mbps, _decode_named(named))


def _view(row: _Row) -> NodeView:
    return NodeView(
        node_id=row.node_id,
        status=row.status,
        draining=row.draining,
        suspected=row.suspected,
        retired=row.retired,
        why=row.why,
        capacity=row.capacity,
        used=row.used,
        attempts=row.attempts,
        attributes=row.attributes,
        changed_ms=row.changed_ms,
        asleep=row.asleep,
    )


class NodesFold(Fold):
    """All nodes, and what live attempts hold."""

    def __init__(self) -> None:
        self.holdings = Holdings(tables.NODES_JOBS, tables.NODES_ATTEMPTS)
        self.nodes: dict[NodeId, _Row] = {}
        self._new: dict[NodeId, _Row] = {}
        self._changed: dict[NodeId, _Row] = {}

    def load(self) -> None:
        """Reads all nodes and all live work."""
        self.holdings.load(self.connection)
        for row in self.connection.execute(select(tables.NODES)):
            self.nodes[row.node_id] = _Row.stored(row)

    def add(self, row: _Row) -> None:
        """A node that is not in the table yet."""
        self.nodes[row.node_id] = self._new[row.node_id] = row

    def change(self, event: n.NodeEvent) -> _Row:
        """The row of a node that an event is about."""
        row = self._changed[event.node_id] = self.nodes[event.node_id]
        row.changed_ms = event.at_ms
        return row

    def hold(self, held: Held, nodes: Nodes, times: int, at_ms: int) -> None:
        """Attempts began (or ended) to hold resources there."""
        for node_id, slots in nodes:
            row = self._changed[node_id] = self.nodes[node_id]
            row.used = row.used.plus(held.resources, slots * times)
            row.attempts += times

    def flush(self) -> None:
        """Writes nodes and live work."""
        insert_rows(self.connection, tables.NODES, [row.columns() for row in self._new.values()])
        changed = [row.columns() for node_id, row in self._changed.items() if node_id not in self._new]
        update_rows(self.connection, tables.NODES, changed)
        self.holdings.flush(self.connection)
        self._new, self._changed = {}, {}


def _registered(fold: NodesFold, event: n.NodeRegistered, recorded: Recorded) -> None:
    fold.add(_Row(recorded.position, event.node_id, event.capacity, event.attributes, event.at_ms))


def _capabilities_changed(fold: NodesFold, event: n.NodeCapabilitiesChanged, recorded: Recorded) -> None:
    row = fold.change(event)
    row.capacity, row.attributes = event.capacity, event.attributes


def _online(fold: NodesFold, event: n.NodeOnline | n.NodeRecovered, recorded: Recorded) -> None:
    row = fold.change(event)
    row.status, row.suspected, row.why, row.asleep = NodeStatus.ONLINE, False, "", False


def _offline(fold: NodesFold, event: n.NodeOffline | n.NodeLost, recorded: Recorded) -> None:
    row = fold.change(event)
    row.status, row.suspected, row.why = NodeStatus.OFFLINE, False, event.why


def _lost(fold: NodesFold, event: n.NodeLost, recorded: Recorded) -> None:
    """A node that was set aside stays so until a person says otherwise."""
    if fold.nodes[event.node_id].status not in (NodeStatus.MAINTENANCE, NodeStatus.ERROR):
        _offline(fold, event, recorded)


def _drained(fold: NodesFold, event: n.NodeDrained, recorded: Recorded) -> None:
    row = fold.change(event)
    row.draining, row.why = True, event.why


def _undrained(fold: NodesFold, event: n.NodeUndrained, recorded: Recorded) -> None:
    row = fold.change(event)
    row.draining, row.why = False, ""


def _maintenance_started(fold: NodesFold, event: n.NodeMaintenanceStarted, recorded: Recorded) -> None:
    row = fold.change(event)
    row.status, row.suspected, row.why = NodeStatus.MAINTENANCE, False, event.why


def _maintenance_ended(fold: NodesFold, event: n.NodeMaintenanceEnded, recorded: Recorded) -> None:
    row = fold.change(event)
    row.status, row.suspected, row.why = NodeStatus.OFFLINE, False, ""


def _suspected(fold: NodesFold, event: n.NodeSuspected, recorded: Recorded) -> None:
    fold.change(event).suspected = True


def _quarantined(fold: NodesFold, event: n.NodeQuarantined, recorded: Recorded) -> None:
    row = fold.change(event)
    row.status, row.suspected, row.why = NodeStatus.ERROR, False, event.cause


def _stopping(fold: NodesFold, event: n.NodeStopping, recorded: Recorded) -> None:
    row = fold.change(event)
    row.status, row.suspected, row.why, row.asleep = NodeStatus.STOPPING, False, event.why, True


def _starting(fold: NodesFold, event: n.NodeStarting, recorded: Recorded) -> None:
    row = fold.change(event)
    row.status, row.suspected, row.why, row.asleep = NodeStatus.STARTING, False, event.why, False


def _retired(fold: NodesFold, event: n.NodeRetired, recorded: Recorded) -> None:
    fold.change(event).retired = True


_HANDLERS: dict[type[Event], Handler] = {
    n.NodeRegistered: _registered,
    n.NodeCapabilitiesChanged: _capabilities_changed,
    n.NodeOnline: _online,
    n.NodeOffline: _offline,
    n.NodeDrained: _drained,
    n.NodeUndrained: _undrained,
    n.NodeMaintenanceStarted: _maintenance_started,
    n.NodeMaintenanceEnded: _maintenance_ended,
    n.NodeSuspected: _suspected,
    n.NodeRecovered: _online,
    n.NodeLost: _lost,
    n.NodeQuarantined: _quarantined,
    n.NodeStopping: _stopping,
    n.NodeStarting: _starting,
    n.NodeRetired: _retired,
}

PROJECTION = Projection(
    "nodes",
    (tables.NODES, tables.NODES_JOBS, tables.NODES_ATTEMPTS),
    NodesFold,
    _HANDLERS | holdings.HANDLERS,
    ignored=(
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
