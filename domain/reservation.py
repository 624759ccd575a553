"""Reservation: whole nodes set aside for a span of time, once or again and again, for somebody or for maintenance.

A reservation that repeats is one stream whose occurrences begin and end one after the other. Which nodes it has was
decided when it was made and stands in the event, so that nothing has to be worked out again.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from domain import errors
from domain.messages import SAFE_ID, Command, Event, NodeId, ReservationId, Value
from domain.resources import AttributeNeed
from domain.time_range import TimeRange

PREFIX = "resv-"
MAX_TIME_MS = 253_402_300_799_999
"""The last moment of the year 9999."""


class OwnerKind(StrEnum):
    """For whom capacity is set aside."""

    CLIENT = "client"
    WORKFLOW = "workflow"
    PARTITION = "partition"
    MAINTENANCE = "maintenance"
    """Nobody: the nodes are out of service."""


class Owner(Value, frozen=True):
    """Whose jobs may start on the nodes meanwhile: those of a client, of a workflow, or limited to a partition."""

    kind: OwnerKind
    id: str = ""
    """Empty for maintenance."""

    @property
    def text(self) -> str:
        """`client:show`, or `maintenance`."""
        return f"{self.kind}:{self.id}" if self.id else str(self.kind)


MAINTENANCE = Owner(OwnerKind.MAINTENANCE)


class Capacity(Value, frozen=True):
    """What was asked for: nodes that meet every condition given, all of these or as many as are needed."""

    nodes: tuple[NodeId, ...] = ()
    partition: str = ""
    attributes: tuple[AttributeNeed, ...] = ()
    whole_farm: bool = False
    """Any node will do, so that no other condition is needed."""
    count: int | None = None
    """So many nodes of those; None means all."""
    millicores: int | None = None
    """As many nodes of those as have so much processor time together; None means all."""


class Repetition(Value, frozen=True):
    """How a window comes again: every so often from its first start on."""

    every_ms: int
    times: int | None = None
    """How many windows there are in all; None means no such bound."""
    until_ms: int | None = None
    """No window begins at or after this moment; None means no such bound."""


class ReservationStatus(StrEnum):
    """Where a reservation stands."""

    MADE = "made"
    """Its next window lies ahead."""
    ACTIVE = "active"
    ENDED = "ended"
    CANCELLED = "cancelled"


class ReservationMade(Event, frozen=True, kw_only=True, tag="reservation.made"):
    """Nodes were set aside."""

    reservation_id: ReservationId
    owner: Owner
    nodes: tuple[NodeId, ...]
    """Those that were chosen, in the order of their registration."""
    window: TimeRange
    """The first one."""
    asked: Capacity = Capacity()
    repeat: Repetition | None = None
    follows: bool = False
    """Whether it ends with its workflow, should that be before the end of the window."""
    forced: tuple[str, ...] = ()
    """What stood against it and was overruled, in words."""
    why: str = ""


class ReservationChanged(Event, frozen=True, kw_only=True, tag="reservation.changed"):
    """The present window ends at another time than before."""

    reservation_id: ReservationId
    window: TimeRange
    before_ms: int
    """When it was to end."""
    why: str = ""


class ReservationActivated(Event, frozen=True, kw_only=True, tag="reservation.activated"):
    """A window has begun."""

    reservation_id: ReservationId
    owner: Owner
    occurrence: int
    """1 for the first window."""
    window: TimeRange
    nodes: tuple[NodeId, ...]
    busy: tuple[NodeId, ...] = ()
    """Those where something of others still runs, which the window must wait for."""


class ReservationEnded(Event, frozen=True, kw_only=True, tag="reservation.ended"):
    """A window is over, as planned or because somebody ended it."""

    reservation_id: ReservationId
    owner: Owner
    occurrence: int
    window: TimeRange
    nodes: tuple[NodeId, ...]
    next: TimeRange | None = None
    """The window that comes next; None after the last one."""
    next_occurrence: int = 0
    missed: int = 0
    """How many windows went by while nobody was there to begin them, this one included."""
    why: str = ""


class ReservationCancelled(Event, frozen=True, kw_only=True, tag="reservation.cancelled"):
    """The nodes are no longer set aside, now and later."""

    reservation_id: ReservationId
    owner: Owner
    nodes: tuple[NodeId, ...]
    why: str = ""


ReservationEvent = ReservationMade | ReservationChanged | ReservationActivated | ReservationEnded | ReservationCancelled


class MakeReservation(Command, frozen=True, kw_only=True, tag="make-reservation"):
    """Set nodes aside."""

    reservation_id: ReservationId
    """Made by the caller, so that asking twice is harmless."""
    owner: Owner
    window: TimeRange
    asked: Capacity
    repeat: Repetition | None = None
    follows: bool = False
    force: bool = False
    """Whether it is made although work would be lost or somebody would be in its way."""
    why: str = ""


class SetAside(Command, frozen=True, kw_only=True, tag="set-aside"):
    """Nodes were chosen for a reservation, and what stands against it was weighed."""

    wish: MakeReservation
    nodes: tuple[NodeId, ...]
    forced: tuple[str, ...] = ()

    @property
    def reservation_id(self) -> ReservationId:
        """Which reservation."""
        return self.wish.reservation_id


class ChangeReservation(Command, frozen=True, kw_only=True, tag="change-reservation"):
    """Let the present window, or the next one if none has begun, end at another time."""

    reservation_id: ReservationId
    end_ms: int
    force: bool = False
    why: str = ""


class ActivateReservation(Command, frozen=True, kw_only=True, tag="activate-reservation"):
    """The time of a window has come."""

    reservation_id: ReservationId
    occurrence: int
    busy: tuple[NodeId, ...] = ()


class EndReservation(Command, frozen=True, kw_only=True, tag="end-reservation"):
    """A window is over."""

    reservation_id: ReservationId
    occurrence: int | None = None
    """Which one; None means the one that has begun."""
    why: str = ""


class CancelReservation(Command, frozen=True, kw_only=True, tag="cancel-reservation"):
    """Set the nodes aside no longer."""

    reservation_id: ReservationId
    why: str = ""


ReservationCommand = SetAside | ChangeReservation | ActivateReservation | EndReservation | CancelReservation


class Reservation(Value, frozen=True):
    """The state of one reservation: the fold of its events."""

    reservation_id: ReservationId
    owner: Owner
    nodes: tuple[NodeId, ...]
    window: TimeRange
    """The present one, or the next one if none has begun."""
    made_ms: int
    asked: Capacity = Capacity()
    repeat: Repetition | None = None
    follows: bool = False
    why: str = ""
    occurrence: int = 1
    status: ReservationStatus = ReservationStatus.MADE

    @property
    def is_over(self) -> bool:
        """Whether nothing of it lies ahead."""
        return self.status in (ReservationStatus.ENDED, ReservationStatus.CANCELLED)

    @property
    def is_maintenance(self) -> bool:
        """Whether its nodes go out of service."""
        return self.owner.kind is OwnerKind.MAINTENANCE


Events = tuple[ReservationEvent, ...]


def window_from(window: TimeRange, occurrence: int, repeat: Repetition | None, at_ms: int) -> tuple[TimeRange, int]:
    """The first window, this one or a later one, that is not over at a moment; with 0 if there is none any more."""
    if window.end_ms > at_ms:
        return window, occurrence
    if repeat is None:
        return window, 0
    later = (at_ms - window.end_ms) // repeat.every_ms + 1
    found, number = window.later(later * repeat.every_ms), occurrence + later
    if (repeat.times is not None and number > repeat.times) or found.end_ms > MAX_TIME_MS:
        return found, 0
    return found, 0 if repeat.until_ms is not None and found.start_ms >= repeat.until_ms else number


def decide(reservation: Reservation | None, command: ReservationCommand, now_ms: int) -> Events:
    """The facts that follow from a command in the present state of its reservation."""
    if isinstance(command, SetAside):
        return set_aside(reservation, command, now_ms)
    if reservation is None:
        raise errors.ReservationNotFound(reservation_id=command.reservation_id)
    return _DECIDE[type(command)](reservation, command, now_ms)


def set_aside(reservation: Reservation | None, command: SetAside, now_ms: int) -> Events:
    """A reservation is made once, for a time that is not over, on at least one node."""
    wish = command.wish
    if reservation is not None:
        known = (reservation.owner, reservation.asked, reservation.repeat, reservation.follows)
        if known == (wish.owner, wish.asked, wish.repeat, wish.follows):
            return ()
        raise errors.ReservationExists(reservation_id=wish.reservation_id)
    check_wish(wish, now_ms)
    if not command.nodes:
        raise errors.ReservationInvalid(reservation_id=wish.reservation_id, problem="no node is like that")
    made = ReservationMade(
        at_ms=now_ms,
        reservation_id=wish.reservation_id,
        owner=wish.owner,
        nodes=command.nodes,
        window=wish.window,
        asked=wish.asked,
        repeat=wish.repeat,
        follows=wish.follows,
        forced=command.forced,
        why=wish.why,
    )
    return (made,)


def check_wish(wish: MakeReservation, now_ms: int) -> None:
    """ReservationInvalid names what can never be right about it."""
    window, owner = wish.window, wish.owner
    problems = {
        "its id must be `resv-` and plain letters, digits, `_.@+-`": not wish.reservation_id.startswith(PREFIX)
        or SAFE_ID.fullmatch(wish.reservation_id) is None,
        "it must end after it has begun": window.end_ms <= window.start_ms,
        "its time is over already": window.end_ms <= now_ms,
        "its time lies outside the years 1970 to 9999": not 0 <= window.start_ms <= window.end_ms <= MAX_TIME_MS,
        "only maintenance is for nobody": bool(owner.id) is (owner.kind is OwnerKind.MAINTENANCE),
        "it must say which nodes": not _names_something(wish.asked),
        "it cannot ask for a number of nodes and for cores at once": wish.asked.count is not None
        and wish.asked.millicores is not None,
        "it asks for nothing": any(each is not None and each < 1 for each in (wish.asked.count, wish.asked.millicores)),
        "only one for a workflow can end with it, and none that repeats": wish.follows
        and (owner.kind is not OwnerKind.WORKFLOW or wish.repeat is not None),
    }
    problems |= _problems_of(wish.repeat, window)
    for problem, broken in problems.items():
        if broken:
            raise errors.ReservationInvalid(reservation_id=wish.reservation_id, problem=problem)


def _names_something(asked: Capacity) -> bool:
    return bool(asked.nodes or asked.partition or asked.attributes or asked.whole_farm)


def _problems_of(repeat: Repetition | None, window: TimeRange) -> dict[str, bool]:
    if repeat is None:
        return {}
    return {
        "its windows would overlap each other: each lasts longer than the time to the next": (
            repeat.every_ms < window.lasts_ms
        ),
        "it must come at least once": repeat.times is not None and repeat.times < 1,
        "it must begin before the end of its repetition": repeat.until_ms is not None
        and repeat.until_ms <= window.start_ms,
    }


def change(reservation: Reservation, command: ChangeReservation, now_ms: int) -> Events:
    """The present window, or the next one, may end at any time ahead that leaves the window after it alone."""
    _must_not_be_over(reservation, "changing it")
    window, repeat = reservation.window, reservation.repeat
    changed = TimeRange(window.start_ms, command.end_ms)
    if changed == window:
        return ()
    problems = {
        "it must end after it has begun, and not in the past": command.end_ms <= max(window.start_ms, now_ms),
        "the next window would begin before it ends": repeat is not None and changed.lasts_ms > repeat.every_ms,
        "its time lies outside the years 1970 to 9999": command.end_ms > MAX_TIME_MS,
    }
    for problem, broken in problems.items():
        if broken:
            raise errors.ReservationInvalid(reservation_id=reservation.reservation_id, problem=problem)
    return (
        ReservationChanged(
            at_ms=now_ms,
            reservation_id=reservation.reservation_id,
            window=changed,
            before_ms=window.end_ms,
            why=command.why,
        ),
    )


def activate(reservation: Reservation, command: ActivateReservation, now_ms: int) -> Events:
    """A window begins once, while its time is."""
    if reservation.status is not ReservationStatus.MADE or command.occurrence != reservation.occurrence:
        return ()
    if not reservation.window.holds(now_ms):
        return ()
    return (
        ReservationActivated(
            at_ms=now_ms,
            reservation_id=reservation.reservation_id,
            owner=reservation.owner,
            occurrence=reservation.occurrence,
            window=reservation.window,
            nodes=reservation.nodes,
            busy=command.busy,
        ),
    )


def end(reservation: Reservation, command: EndReservation, now_ms: int) -> Events:
    """A window that has begun can be ended at any time; one that nobody began ends when its time is over."""
    if reservation.is_over or command.occurrence not in (None, reservation.occurrence):
        return ()
    missed = reservation.status is ReservationStatus.MADE
    if missed and reservation.window.end_ms > now_ms:
        raise errors.ReservationStateForbids(
            reservation_id=reservation.reservation_id,
            status="not active",
            verb="ending it",
            hint="`milepost reserve cancel` takes it back",
        )
    after_ms = max(now_ms, reservation.window.end_ms)
    found, number = window_from(reservation.window, reservation.occurrence, reservation.repeat, after_ms)
    skipped = (number or reservation.occurrence + 1) - reservation.occurrence - 1
    return (
        ReservationEnded(
            at_ms=now_ms,
            reservation_id=reservation.reservation_id,
            owner=reservation.owner,
            occurrence=reservation.occurrence,
            window=TimeRange(reservation.window.start_ms, min(reservation.window.end_ms, now_ms)),
            nodes=reservation.nodes,
            next=found if number else None,
            next_occurrence=number,
            missed=skipped + missed,
            why=command.why,
        ),
    )


def cancel(reservation: Reservation, command: CancelReservation, now_ms: int) -> Events:
    """A reservation that is not over can be taken back at any time, active or not."""
    if reservation.status is ReservationStatus.CANCELLED:
        return ()
    _must_not_be_over(reservation, "cancelling it")
    return (
        ReservationCancelled(
            at_ms=now_ms,
            reservation_id=reservation.reservation_id,
            owner=reservation.owner,
            nodes=reservation.nodes,
            why=command.why,
        ),
    )


def _must_not_be_over(reservation: Reservation, verb: str) -> None:
    if reservation.is_over:
        raise errors.ReservationStateForbids(
            reservation_id=reservation.reservation_id, status=reservation.status, verb=verb, hint="make another one"
        )


def evolve(reservation: Reservation | None, event: ReservationEvent) -> Reservation:
    """The state after one more fact."""
    if isinstance(event, ReservationMade):
        return Reservation(
            reservation_id=event.reservation_id,
            owner=event.owner,
            nodes=event.nodes,
            window=event.window,
            made_ms=event.at_ms,
            asked=event.asked,
            repeat=event.repeat,
            follows=event.follows,
            why=event.why,
        )
    return _EVOLVE[type(event)](reservation, event)


def _changed(reservation: Reservation, event: ReservationChanged) -> Reservation:
    return replace(reservation, window=event.window)


def _activated(reservation: Reservation, event: ReservationActivated) -> Reservation:
    return replace(reservation, status=ReservationStatus.ACTIVE)


def _ended(reservation: Reservation, event: ReservationEnded) -> Reservation:
    if event.next is None:
        return replace(reservation, status=ReservationStatus.ENDED, window=event.window)
    return replace(reservation, status=ReservationStatus.MADE, window=event.next, occurrence=event.next_occurrence)


def _cancelled(reservation: Reservation, event: ReservationCancelled) -> Reservation:
    return replace(reservation, status=ReservationStatus.CANCELLED)


_DECIDE: dict[type[ReservationCommand], Callable[[Reservation, Any, int], Events]] = {
    ChangeReservation: change,
    ActivateReservation: activate,
    EndReservation: end,
    CancelReservation: cancel,
}

_EVOLVE: dict[type[ReservationEvent], Callable[[Any, Any], Reservation]] = {
    ReservationChanged: _changed,
    ReservationActivated: _activated,
    ReservationEnded: _ended,
    ReservationCancelled: _cancelled,
}
