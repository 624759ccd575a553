"""Usage: the energy and time that were used, by whom and where, and what that cost, between any two moments.

A node that is on (any status but offline) draws its idle power, and on top of it a part of the way to its peak power
as large as the larger share of its cores and GPUs in use: the linear model of Fan, Weber & Barroso (2007), rounded down
to whole milliwatts. The part on top is paid by those who hold something there, each in proportion to its own larger
share (the dominant share of Ghodsi et al., 2011); what a node draws idle is nobody's. Suspended attempts hold no cores.
Prices are those of the tariff in force at each moment. Sums are exact to the millisecond, money in double precision.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection, func, select

from domain import node as n
from domain.checkpoint import CheckpointEvent
from domain.client import ClientEvent
from domain.cycle import CommandRefused, CycleDecided, PoliciesAdopted
from domain.dependency import DependencyEvent
from domain.forecasting.promises import ForecastsMade, ForecastsScored
from domain.messages import ClientId, Event, NodeId, Recorded
from domain.node import NodeStatus
from domain.observed import ObservedExternally
from domain.partition import PartitionEvent
from domain.policies.placement import power_figures
from domain.reservation import ReservationEvent
from domain.tariff import Tariff
from domain.undo import CommandUndone
from domain.workflow import WorkflowEvent
from projections import holdings
from projections.bill import Bill
from projections.draws import NOTHING_DRAWN, QUARTER_MS, Draw, Level, Quarter, price_per_h_of
from projections.holdings import Held, Holdings, Nodes
from projections.projection import Fold, Handler, Projection
from projections.rows import Row, Rows, insert_rows, update_rows
from projections.tables import DRAW_ATTEMPTS, DRAW_JOBS, DRAW_NODES, DRAWN, DRAWS, TARIFFS

NOBODY: ClientId = ""
"""Whose idle power is."""
_encode = msgspec.json.Encoder().encode
_decode_tariff = msgspec.json.Decoder(Tariff).decode
Amounts = list[int]
"""Millicores, GPUs and attempts that one client holds on one node."""


class _NodeRow(Row):
    """A row of `draw_nodes`; then, only in memory, what each client holds there."""

    node_id: NodeId
    status: str
    millicores: int
    gpus: int
    idle_milliwatts: int
    peak_milliwatts: int
    price_per_h: float
    held: dict[ClientId, Amounts] = {}

    @property
    def is_on(self) -> bool:
        """Whether it draws anything."""
        return self.status != NodeStatus.OFFLINE

    def idle(self) -> Level:
        """What it draws with nothing to do."""
        return Level(self.idle_milliwatts, 0, 0, 1, self.price_per_h) if self.is_on else NOTHING_DRAWN

    def levels(self, touched: Iterable[ClientId]) -> list[tuple[ClientId, Level]]:
        """What clients hold and draw there: those that an event has touched, and all whose part that may change."""
        span = self.peak_milliwatts - self.idle_milliwatts
        if span <= 0:
            return [(client_id, Level(0, *self.held[client_id])) for client_id in touched]
        cores, gpus = max(1, self.millicores), self.gpus
        used, used_gpus, total, upto = 0, 0, 0, []
        clients = sorted(self.held)
        for client_id in clients:
            millicores, held_gpus, _ = self.held[client_id]
            used += millicores
            used_gpus += held_gpus
            # The larger share of cores and GPUs, in a unit that is the same for all of one node.
            total += max(millicores * gpus, held_gpus * cores) if gpus else millicores
            upto.append(total)
        dynamic, past, found = self._dynamic(span, used, used_gpus) if total else 0, 0, []
        for client_id, share in zip(clients, upto, strict=True):
            drawn = dynamic * share // total if dynamic else 0
            found.append((client_id, Level(drawn - past, *self.held[client_id])))
            past = drawn
        return found

    def _dynamic(self, span: int, millicores: int, gpus: int) -> int:
        """Milliwatts above idle power with so much in use."""
        if not self.is_on:
            return 0
        by_cores = span * millicores // self.millicores if self.millicores else 0
        by_gpus = span * gpus // self.gpus if self.gpus else 0
        return min(span, max(by_cores, by_gpus))


class UsageFold(Fold):
    """All draws, the power figures of all nodes, the tariffs, and what live attempts hold."""

    def __init__(self) -> None:
        self.holdings = Holdings(DRAW_JOBS, DRAW_ATTEMPTS)
        self.nodes: Rows[NodeId, _NodeRow] = Rows(DRAW_NODES, _NodeRow)
        self.draws: dict[NodeId, dict[ClientId, Draw]] = {}
        self.bill = Bill()
        self._touched: dict[NodeId, dict[ClientId, None]] = {}
        """Where the present event has changed something, and whose holdings."""
        self._drawn = 0
        """How many draws there are."""
        self._new_draws: list[tuple[int, NodeId, ClientId]] = []
        self._new_tariffs: list[tuple[int, int, str]] = []
        self._changed: list[Quarter] = []

    def load(self) -> None:
        """Reads live work, nodes, tariffs, and every draw's open quarter."""
        self.holdings.load(self.connection)
        self.nodes.load_all(self.connection)
        self.bill = stored_bill(self.connection)
        by_number = {}
        for number, node_id, client_id in self.connection.execute(select(DRAWS)):
            draw = self.draws.setdefault(node_id, {})[client_id] = Draw(number, self.bill, self._changed)
            by_number[number] = (node_id, client_id, draw)
        self._drawn = len(by_number)
        for row in rows_at(self.connection):
            node_id, client_id, draw = by_number[row.draw]
            draw.open(row)
            _, *amounts, _ = draw.level
            if client_id != NOBODY and any(amounts):
                self.nodes.known[node_id].held[client_id] = amounts

    def register(self, row: _NodeRow) -> None:
        """A node that is not in the table yet."""
        self.nodes.add(row.node_id, row)
        self.draws[row.node_id] = {}
        self._draw(row.node_id, NOBODY)

    def node(self, node_id: NodeId) -> _NodeRow:
        """A node that changes, and with it what its clients draw."""
        row = self.nodes.known[node_id]
        self._touched[node_id] = dict.fromkeys(row.held)
        return self.nodes.get(node_id, self.connection)

    def hold(self, held: Held, nodes: Nodes, times: int, at_ms: int) -> None:
        """Attempts began (or ended) to hold resources; each counts on the first of its nodes alone."""
        resources, count = held.resources, times
        for node_id, slots in nodes:
            self._touched.setdefault(node_id, {})[held.client_id] = None
            on_node = self.nodes.known[node_id].held
            amounts = on_node.get(held.client_id)
            if amounts is None:
                amounts = on_node[held.client_id] = [0, 0, 0]
            amounts[0] += resources.millicores * slots * times
            amounts[1] += resources.gpus * slots * times
            amounts[2] += count
            count = 0

    def settle(self, at_ms: int) -> None:
        """Writes down what an event has changed, once for each node that it touched."""
        for node_id, touched in self._touched.items():
            row, draws = self.nodes.known[node_id], self.draws[node_id]
            idle, draw = row.idle(), draws[NOBODY]
            if draw.level != idle:
                draw.move(at_ms, idle)
            for client_id, level in row.levels(touched):
                draw = draws.get(client_id) or self._draw(node_id, client_id)
                if draw.level != level:
                    draw.move(at_ms, level)
                if level == NOTHING_DRAWN:
                    del row.held[client_id]
        self._touched.clear()

    def adopt(self, position: int, at_ms: int, tariff: Tariff) -> None:
        """Another tariff is in force from now on; the same one again changes nothing."""
        if tariff != self.bill.present:
            self.bill.adopt(at_ms, tariff)
            self._new_tariffs.append((position, at_ms, _encode(tariff).decode()))

    def flush(self) -> None:
        """Writes draws, the quarters that changed, tariffs, nodes and live work."""
        insert_rows(self.connection, DRAWS, self._new_draws)
        insert_rows(self.connection, TARIFFS, self._new_tariffs)
        insert_rows(self.connection, DRAWN, [row.columns() for row in self._changed if not row.is_stored])
        update_rows(self.connection, DRAWN, [row.columns() for row in self._changed if row.is_stored])
        for row in self._changed:
            row.is_stored, row.is_changed = True, False
        self._new_draws.clear()
        self._new_tariffs.clear()
        self._changed.clear()
        self.nodes.flush(self.connection)
        self.holdings.flush(self.connection)

    def _draw(self, node_id: NodeId, client_id: ClientId) -> Draw:
        self._drawn += 1
        draw = self.draws[node_id][client_id] = Draw(self._drawn, self.bill, self._changed)
        self._new_draws.append((draw.number, node_id, client_id))
        return draw


# -- rows --------------------------------------------------------------------------------------------------------


def rows_at(
    connection: Connection, at_ms: int | None = None, where: Iterable[Any] = (), since_ms: int = 0
) -> list[Quarter]:
    """The row of every draw (or of those that meet conditions) that was open at a moment, or is open now.

    With `since_ms` only those that begin in the quarter of that moment or later.
    """
    other = DRAWN.alias()
    newest = select(func.max(other.c.quarter)).where(other.c.draw == DRAWS.c.number)
    if at_ms is not None:
        newest = newest.where(other.c.quarter <= at_ms // QUARTER_MS)
    query = select(DRAWN).join(DRAWS, DRAWS.c.number == DRAWN.c.draw).where(*where)
    query = query.where(DRAWN.c.quarter == newest.correlate(DRAWS).scalar_subquery())
    query = query.where(DRAWN.c.quarter >= since_ms // QUARTER_MS)
    return [Quarter.stored(row) for row in connection.execute(query.order_by(DRAWN.c.draw))]


def stored_bill(connection: Connection) -> Bill:
    """The tariffs that were in force."""
    rows = connection.execute(select(TARIFFS).order_by(TARIFFS.c.position))
    return Bill((row.from_ms, _decode_tariff(row.tariff)) for row in rows)


# -- events ------------------------------------------------------------------------------------------------------


def _registered(fold: UsageFold, event: n.NodeRegistered, recorded: Recorded) -> None:
    fold.register(_NodeRow(event.node_id, NodeStatus.OFFLINE.value, *_figures(event)))


def _capabilities_changed(fold: UsageFold, event: n.NodeCapabilitiesChanged, recorded: Recorded) -> None:
    row = fold.node(event.node_id)
    row.millicores, row.gpus, row.idle_milliwatts, row.peak_milliwatts, row.price_per_h = _figures(event)


def _figures(event: n.NodeRegistered | n.NodeCapabilitiesChanged) -> tuple[int, int, int, int, float]:
    figures = power_figures(event.attributes, event.capacity)
    idle, peak = (figures.idle_watts or 0) * 1_000, (figures.peak_watts or 0) * 1_000
    return event.capacity.millicores, event.capacity.gpus, idle, peak, price_per_h_of(event.attributes)


def _stands(status: NodeStatus, fold: UsageFold, event: n.NodeEvent, recorded: Recorded) -> None:
    fold.node(event.node_id).status = status.value


def _lost(fold: UsageFold, event: n.NodeLost, recorded: Recorded) -> None:
    """A node that was set aside stays so, and stays on, until a person says otherwise."""
    if fold.nodes.known[event.node_id].status not in (NodeStatus.MAINTENANCE, NodeStatus.ERROR):
        fold.node(event.node_id).status = NodeStatus.OFFLINE.value


def _adopted(fold: UsageFold, event: PoliciesAdopted, recorded: Recorded) -> None:
    fold.adopt(recorded.position, event.at_ms, event.policies.tariff)


def _settling(handler: Handler) -> Handler:
    """The handler, and after it all that it has changed is written down at the event's moment."""

    def handle(fold: UsageFold, event: Event, recorded: Recorded) -> None:
        handler(fold, event, recorded)
        fold.settle(event.at_ms)

    return handle


_HANDLERS: dict[type[Event], Handler] = {
    n.NodeRegistered: _registered,
    n.NodeCapabilitiesChanged: _capabilities_changed,
    n.NodeOnline: partial(_stands, NodeStatus.ONLINE),
    n.NodeRecovered: partial(_stands, NodeStatus.ONLINE),
    n.NodeOffline: partial(_stands, NodeStatus.OFFLINE),
    n.NodeLost: _lost,
    n.NodeMaintenanceStarted: partial(_stands, NodeStatus.MAINTENANCE),
    n.NodeMaintenanceEnded: partial(_stands, NodeStatus.OFFLINE),
    n.NodeQuarantined: partial(_stands, NodeStatus.ERROR),
    n.NodeStopping: partial(_stands, NodeStatus.STOPPING),
    n.NodeStarting: partial(_stands, NodeStatus.STARTING),
}

PROJECTION = Projection(
    "usage",
    (DRAWS, DRAWN, DRAW_NODES, TARIFFS, DRAW_JOBS, DRAW_ATTEMPTS),
    UsageFold,
    {kind: _settling(handler) for kind, handler in (_HANDLERS | holdings.HANDLERS).items()}
    | {PoliciesAdopted: _adopted},
    ignored=(
        n.NodeDrained,
        n.NodeUndrained,
        n.NodeSuspected,
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
        ForecastsMade,
        ForecastsScored,
    ),
)
