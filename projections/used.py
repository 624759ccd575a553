"""What the read model `usage` answers: energy, time and money of a span, in all, per client, per node, per hour."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, select

from domain import errors
from domain.messages import ClientId, NodeId
from domain.tariff import DAY_MS, HOUR_MS, MINUTE_MS
from projections.bill import Bill
from projections.draws import NO_TOTALS, Level, Totals, after
from projections.tables import DRAWS
from projections.usage import NOBODY, rows_at, stored_bill
from projections.words import time_text

MAX_PARTS = 2_000
"""A span is cut into no more parts than that."""


class Which(NamedTuple):
    """Whose usage, and where; None means all."""

    client_id: ClientId | None = None
    node_id: NodeId | None = None


ALL = Which()


class Used(msgspec.Struct, frozen=True):
    """What was used; energy in joules, money in the tariff's currency."""

    core_s: float = 0.0
    gpu_s: float = 0.0
    task_s: float = 0.0
    """Attempts times seconds; one on several nodes counts on its first."""
    used_j: float = 0.0
    """Energy that work drew."""
    idle_j: float = 0.0
    """Energy that nodes drew because they were on, whatever they did; nobody's."""
    used_cost: float = 0.0
    idle_cost: float = 0.0
    on_s: float = 0.0
    """Nodes times seconds in which they were on."""
    node_cost: float = 0.0
    """What nodes cost beside energy: their `price_per_h` for the time in which they were on."""


class Usage(msgspec.Struct, frozen=True):
    """Usage from `from_ms` until before `to_ms`."""

    from_ms: int
    to_ms: int
    total: Used
    clients: dict[ClientId, Used]
    """Those that used something; what is idle is nobody's."""
    nodes: dict[NodeId, Used]
    """Those that were on or used."""
    currencies: tuple[str, ...]
    """Of the tariffs in force in that time; sums of several currencies mean nothing."""


class Part(NamedTuple):
    """Usage in one part of a span."""

    from_ms: int
    to_ms: int
    used: Used


def usage(connection: Connection, from_ms: int, to_ms: int, which: Which = ALL) -> Usage:
    """What was used in a span, in all, per client and per node; BadInput if it is empty.

    With a client only what its work drew, without idle power and the price of nodes.
    """
    _must_not_be_empty(from_ms, to_ms)
    bill = stored_bill(connection)
    start, end = (_totals(connection, bill, at_ms, which) for at_ms in (from_ms, to_ms))
    spans = {key: totals.minus(start.get(key, NO_TOTALS)) for key, totals in end.items()}
    spans = {key: totals for key, totals in spans.items() if any(totals)}
    clients = sorted({client_id for _, client_id in spans if client_id != NOBODY})
    nodes = sorted({node_id for node_id, _ in spans})
    return Usage(
        from_ms=from_ms,
        to_ms=to_ms,
        total=_used(spans.items()),
        clients={each: _used((key, found) for key, found in spans.items() if key[1] == each) for each in clients},
        nodes={each: _used((key, found) for key, found in spans.items() if key[0] == each) for each in nodes},
        currencies=bill.currencies(from_ms, to_ms),
    )


def parts(connection: Connection, from_ms: int, to_ms: int, part_ms: int, which: Which = ALL) -> list[Part]:
    """The same for every hour or day (`part_ms`) of a span, by the clock of the last tariff in force in it.

    The first and the last part are as long as the span reaches. BadInput if it is empty or has too many parts.
    """
    _must_not_be_empty(from_ms, to_ms)
    bill = stored_bill(connection)
    edges = _edges(from_ms, to_ms, part_ms, bill.at(to_ms - 1).utc_offset_min * MINUTE_MS)
    found = zip(pairwise(edges), pairwise(_sums(connection, bill, edges, which)), strict=True)
    return [Part(*span, _shown(*(now.minus(then) for then, now in zip(*two, strict=True)))) for span, two in found]


def length_of(word: str) -> int:
    """The length of a part in milliseconds: `hour` or `day`."""
    return {"hour": HOUR_MS, "day": DAY_MS}[word]


def _must_not_be_empty(from_ms: int, to_ms: int) -> None:
    if to_ms <= from_ms:
        raise errors.BadInput(problem=f"the time from {time_text(from_ms)} to {time_text(to_ms)} is empty")


def _edges(from_ms: int, to_ms: int, part_ms: int, offset_ms: int) -> list[int]:
    first = from_ms - (from_ms + offset_ms) % part_ms + part_ms
    if (to_ms - first) // part_ms >= MAX_PARTS:
        raise errors.BadInput(problem=f"that are more than {MAX_PARTS:,} parts; ask for days, or for less time")
    return [from_ms, *range(first, to_ms, part_ms), to_ms]


Key = tuple[NodeId, ClientId]


def _totals(connection: Connection, bill: Bill, at_ms: int, which: Which) -> dict[Key, Totals]:
    """The integrals of all draws up to a moment, by node and client."""
    keys, where = _draws(connection, which)
    return {keys[row.draw]: row.totals_at(at_ms, bill) for row in rows_at(connection, at_ms, where)}


def _draws(connection: Connection, which: Which) -> tuple[dict[int, Key], list[ColumnElement[bool]]]:
    """The draws that are meant, and the conditions that they meet."""
    wanted = ((DRAWS.c.client_id, which.client_id), (DRAWS.c.node_id, which.node_id))
    where = [column == value for column, value in wanted if value is not None]
    rows = connection.execute(select(DRAWS).where(*where))
    return {row.number: (row.node_id, row.client_id) for row in rows}, where


def _sums(connection: Connection, bill: Bill, edges: list[int], which: Which) -> Iterator[tuple[Totals, Totals]]:
    """The sums of work and of idle nodes at every edge; at each only what has changed since the last is read."""
    keys, where = _draws(connection, which)
    states: dict[int, tuple[Totals, Level]] = {}
    since_ms = 0
    for edge in edges:
        price_hours = bill.price_hours(since_ms, edge) if states else 0.0
        rows = {row.draw: row for row in rows_at(connection, edge, where, since_ms)}
        for draw, (totals, level) in states.items():
            if draw not in rows:
                states[draw] = after(totals, level, edge - since_ms, price_hours), level
        for draw, row in rows.items():
            states[draw] = row.state_at(edge, bill)
        yield _both((keys[draw], totals) for draw, (totals, _) in states.items())
        since_ms = edge


def _both(found: Iterable[tuple[Key, Totals]]) -> tuple[Totals, Totals]:
    """The sums of work and of idle nodes."""
    work, idle = NO_TOTALS, NO_TOTALS
    for (_, client_id), totals in found:
        if client_id == NOBODY:
            idle = idle.plus(totals)
        else:
            work = work.plus(totals)
    return work, idle


def _used(found: Iterable[tuple[Key, Totals]]) -> Used:
    return _shown(*_both(found))


def _shown(work: Totals, idle: Totals) -> Used:
    return Used(
        core_s=work.millicore_ms / 1_000_000,
        gpu_s=work.gpu_ms / 1_000,
        task_s=work.count_ms / 1_000,
        used_j=work.microjoules / 1_000_000,
        idle_j=idle.microjoules / 1_000_000,
        used_cost=work.cost,
        idle_cost=idle.cost,
        on_s=idle.count_ms / 1_000,
        node_cost=idle.node_cost,
    )
