"""Reservations: what was and is set aside, for whom, where and when, and what became of it. One row each."""

from typing import Any, get_args

import msgspec
from sqlalchemy import Boolean, Connection, Text, select

from domain.catalog import TOPICS
from domain.messages import Event, NodeId, Recorded, ReservationId
from domain.reservation import (
    Owner,
    OwnerKind,
    Repetition,
    ReservationActivated,
    ReservationCancelled,
    ReservationChanged,
    ReservationEnded,
    ReservationEvent,
    ReservationMade,
    ReservationStatus,
)
from domain.time_range import TimeRange
from projections import tables as t
from projections.projection import Fold, Handler, Projection
from projections.rows import Row, Rows

RESERVATIONS = t._table(
    "reservations",
    t._key("number"),
    t._fixed("reservation_id", Text, unique=True),
    t._fixed("owner_kind", Text),
    t._fixed("owner_id", Text),
    t._fixed("nodes", Text),
    t._fixed("every_ms", nullable=True),
    t._fixed("times", nullable=True),
    t._fixed("until_ms", nullable=True),
    t._fixed("follows", Boolean),
    t._fixed("made_ms"),
    t._fixed("made_by", Text),
    t._fixed("why", Text),
    t._col("start_ms"),
    t._col("end_ms"),
    t._col("status", Text),
    t._col("occurrence"),
    t._null("ended_ms"),
    t._col("begun"),
    t._col("missed"),
)

_encode = msgspec.json.Encoder().encode
_decode_nodes = msgspec.json.Decoder(tuple[NodeId, ...]).decode
LIVE = (ReservationStatus.MADE, ReservationStatus.ACTIVE)


class ReservationView(msgspec.Struct, frozen=True):
    """One reservation as it stands."""

    reservation_id: ReservationId
    status: ReservationStatus
    owner: Owner
    nodes: tuple[NodeId, ...]
    window: TimeRange
    """The present one, the next one if none has begun, or the last one."""
    occurrence: int
    repeat: Repetition | None
    follows: bool
    made_ms: int
    made_by: str
    ended_ms: int | None
    """When it was over for good."""
    begun: int
    """How many windows have begun so far."""
    missed: int
    """How many went by with nobody there to begin them."""
    why: str


def list_reservations(connection: Connection, ended: bool = False, limit: int = 10_000) -> list[ReservationView]:
    """By the start of the present window, then by id; those that are over only when asked for."""
    table = RESERVATIONS
    query = select(table).order_by(table.c.start_ms, table.c.reservation_id).limit(limit)
    if not ended:
        query = query.where(table.c.status.in_(LIVE))
    return [_view(_Row(*found)) for found in connection.execute(query)]


def reservation(connection: Connection, reservation_id: ReservationId) -> ReservationView | None:
    """One reservation; None if there is none by that id."""
    table = RESERVATIONS
    found = connection.execute(select(table).where(table.c.reservation_id == reservation_id)).one_or_none()
    return None if found is None else _view(_Row(*found))


class _Row(Row):
    """A row of `reservations`."""

    number: int
    reservation_id: ReservationId
    owner_kind: str
    owner_id: str
    nodes: str
    every_ms: int | None
    times: int | None
    until_ms: int | None
    follows: bool
    made_ms: int
    made_by: str
    why: str
    start_ms: int
    end_ms: int
    status: str = ReservationStatus.MADE.value
    occurrence: int = 1
    ended_ms: int | None = None
    begun: int = 0
    missed: int = 0


def _view(row: _Row) -> ReservationView:
    repeat = None if row.every_ms is None else Repetition(row.every_ms, row.times, row.until_ms)
    return ReservationView(
        reservation_id=row.reservation_id,
        status=ReservationStatus(row.status),
        owner=Owner(OwnerKind(row.owner_kind), row.owner_id),
        nodes=_decode_nodes(row.nodes),
        window=TimeRange(row.start_ms, row.end_ms),
        occurrence=row.occurrence,
        repeat=repeat,
        follows=bool(row.follows),
        made_ms=row.made_ms,
        made_by=row.made_by,
        ended_ms=row.ended_ms,
        begun=row.begun,
        missed=row.missed,
        why=row.why,
    )


class ReservationsFold(Fold):
    """The reservations that a batch is about."""

    def __init__(self) -> None:
        self.rows: Rows[ReservationId, _Row] = Rows(
            RESERVATIONS, _Row, "reservation_id", done=lambda row: row.status not in LIVE
        )

    def row(self, reservation_id: ReservationId) -> _Row:
        """The row of a reservation."""
        return self.rows.get(reservation_id, self.connection)

    def flush(self) -> None:
        """Writes the rows."""
        self.rows.flush(self.connection)


def _made(fold: ReservationsFold, event: ReservationMade, recorded: Recorded) -> None:
    repeat = event.repeat
    row = _Row(
        number=recorded.position,
        reservation_id=event.reservation_id,
        owner_kind=event.owner.kind.value,
        owner_id=event.owner.id,
        nodes=_encode(event.nodes).decode(),
        every_ms=None if repeat is None else repeat.every_ms,
        times=None if repeat is None else repeat.times,
        until_ms=None if repeat is None else repeat.until_ms,
        follows=event.follows,
        made_ms=event.at_ms,
        made_by=recorded.meta.actor,
        why=event.why,
        start_ms=event.window.start_ms,
        end_ms=event.window.end_ms,
    )
    fold.rows.add(event.reservation_id, row)


def _changed(fold: ReservationsFold, event: ReservationChanged, recorded: Recorded) -> None:
    fold.row(event.reservation_id).end_ms = event.window.end_ms


def _activated(fold: ReservationsFold, event: ReservationActivated, recorded: Recorded) -> None:
    row = fold.row(event.reservation_id)
    row.status = ReservationStatus.ACTIVE.value
    row.begun += 1


def _ended(fold: ReservationsFold, event: ReservationEnded, recorded: Recorded) -> None:
    row = fold.row(event.reservation_id)
    row.missed += event.missed
    if event.next is None:
        row.status, row.ended_ms, row.end_ms = ReservationStatus.ENDED.value, event.at_ms, event.window.end_ms
    else:
        row.status, row.occurrence = ReservationStatus.MADE.value, event.next_occurrence
        row.start_ms, row.end_ms = event.next.start_ms, event.next.end_ms


def _cancelled(fold: ReservationsFold, event: ReservationCancelled, recorded: Recorded) -> None:
    row = fold.row(event.reservation_id)
    row.status, row.ended_ms = ReservationStatus.CANCELLED.value, event.at_ms


_HANDLERS: dict[type[Event], Handler] = {
    ReservationMade: _made,
    ReservationChanged: _changed,
    ReservationActivated: _activated,
    ReservationEnded: _ended,
    ReservationCancelled: _cancelled,
}

_OTHERS: tuple[Any, ...] = tuple(kind for kind in TOPICS.values() if kind not in get_args(ReservationEvent))

PROJECTION = Projection("reservations", (RESERVATIONS,), ReservationsFold, _HANDLERS, ignored=_OTHERS)
