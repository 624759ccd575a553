"""Questions about what is booked: all reservations, one of them, what nodes are booked for, what one more would do."""

from collections.abc import Iterable

import msgspec

from adapters.queries import past
from adapters.queries.answers.reservations import (
    BookedAnswer,
    ConflictAnswer,
    LaterAnswer,
    PreviewAnswer,
    ReservationAnswer,
    ReservationLine,
    ReservationsAnswer,
)
from adapters.queries.lines import shared
from adapters.queries.resolve import Kind, id_of
from adapters.queries.sources import Sources
from application.preview import preview
from domain import errors
from domain.messages import NodeId
from domain.node import NodeStatus
from domain.reservation import MakeReservation, Reservation, ReservationStatus
from projections import reservations
from projections.reservations import ReservationView


def list_reservations(sources: Sources, *, all: bool = False, at: str = "") -> ReservationsAnswer:
    """Reservations that are not over, by the start of their windows; with `all` the others too, those of the past."""
    if at:
        point = sources.point(at)
        found: Iterable[Reservation | ReservationView] = past.farm_at(sources.log, point).reservations.values()
        rows = sorted([_line(each) for each in found], key=lambda line: (line.start_ms, line.reservation_id))
        return ReservationsAnswer(rows=rows, position=point.position, at_ms=point.at_ms)
    with sources.rows() as (connection, position):
        views = reservations.list_reservations(connection, ended=all)
    return ReservationsAnswer(rows=[_line(view) for view in views], position=position, at_ms=sources.clock.now_ms())


def show_reservation(sources: Sources, id: str) -> ReservationAnswer:
    """One reservation: what it has, when it comes again, and what has become of it."""
    reservation_id = id_of(sources, Kind.RESERVATION, id).id
    with sources.rows() as (connection, position):
        view = reservations.reservation(connection, reservation_id)
    if view is None:
        raise errors.StoreError(f"the read models do not show reservation {reservation_id!r} yet; ask again")
    with sources.present() as farm:
        in_service = tuple(
            [each for each in view.nodes if farm.nodes[each].status not in (NodeStatus.MAINTENANCE, NodeStatus.OFFLINE)]
        )
    more = {"in_service": in_service, "position": position, "at_ms": sources.clock.now_ms()}
    return shared(ReservationAnswer, view, reservation=_line(view), **more)


def _line(found: Reservation | ReservationView) -> ReservationLine:
    repeat = found.repeat
    return shared(
        ReservationLine,
        found,
        owner=found.owner.text,
        start_ms=found.window.start_ms,
        end_ms=found.window.end_ms,
        every_ms=None if repeat is None else repeat.every_ms,
        times=None if repeat is None else repeat.times,
        until_ms=None if repeat is None else repeat.until_ms,
    )


def booked_on(found: Iterable[Reservation | ReservationView]) -> dict[NodeId, list[BookedAnswer]]:
    """What is booked on each node, the earliest window first."""
    booked: dict[NodeId, list[BookedAnswer]] = {}
    for each in sorted(found, key=lambda one: (one.window.start_ms, one.reservation_id)):
        answer = BookedAnswer(
            reservation_id=each.reservation_id,
            owner=each.owner.text,
            start_ms=each.window.start_ms,
            end_ms=each.window.end_ms,
            active=each.status is ReservationStatus.ACTIVE,
        )
        for node_id in each.nodes:
            booked.setdefault(node_id, []).append(answer)
    return booked


def preview_reservation(sources: Sources, *, wish: str) -> PreviewAnswer:
    """What would come of a reservation, `wish` being the command as JSON: its nodes, conflicts, and who is hurt."""
    try:
        command = msgspec.json.decode(wish, type=MakeReservation)
    except msgspec.DecodeError as error:
        raise errors.BadInput(problem=f"the wish cannot be read: {error}", place="wish") from None
    now_ms = sources.clock.now_ms()
    with sources.present() as farm:
        found = preview(farm, sources.log, now_ms, command)
        names = {each.job_id: farm.jobs[each.job_id].spec.name for each in found.harm.later}
        position = farm.position
    return PreviewAnswer(
        nodes=found.nodes,
        refused=found.refused,
        conflicts=[shared(ConflictAnswer, each) for each in found.conflicts],
        later=[shared(LaterAnswer, each, name=names[each.job_id]) for each in found.harm.later],
        walked=found.harm.walked,
        waiting=found.harm.waiting,
        position=position,
        at_ms=now_ms,
    )
