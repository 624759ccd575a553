"""The sentences about reservations and their windows."""

from collections.abc import Callable
from typing import Any

from domain.messages import Event
from domain.reservation import (
    Owner,
    OwnerKind,
    Repetition,
    ReservationActivated,
    ReservationCancelled,
    ReservationChanged,
    ReservationEnded,
    ReservationMade,
)
from domain.time_range import TimeRange
from projections.words import because, duration_text, listed, plural, time_text


def owner_text(owner: Owner) -> str:
    """For whom: `for client show`, `for maintenance`."""
    return f"for {owner.kind} {owner.id}" if owner.id else "for maintenance"


def window_text(window: TimeRange) -> str:
    """When, and how long: `from 2026-03-01 10:00:00 UTC for 4 h`."""
    return f"from {time_text(window.start_ms)} for {duration_text(window.lasts_ms)}"


def repeat_text(repeat: Repetition | None) -> str:
    """How often: `, every 7 d, 12 times`; empty for once."""
    if repeat is None:
        return ""
    times = f", {plural(repeat.times, 'time')} in all" if repeat.times is not None else ""
    until = f", until {time_text(repeat.until_ms)}" if repeat.until_ms is not None else ""
    return f", every {duration_text(repeat.every_ms)}{times}{until}"


def _made(event: ReservationMade) -> str:
    nodes = f"{plural(len(event.nodes), 'node')} ({listed(event.nodes)})"
    follows = ", at most until its workflow has ended" if event.follows else ""
    forced = f" Overruled: {'; '.join(event.forced)}." if event.forced else ""
    said = f"{nodes} {'was' if len(event.nodes) == 1 else 'were'} set aside {owner_text(event.owner)}"
    when = f"{window_text(event.window)}{repeat_text(event.repeat)}{follows}"
    return f"Reservation {event.reservation_id}: {said} {when}{because(event.why)}{forced}"


def _changed(event: ReservationChanged) -> str:
    now, before = time_text(event.window.end_ms), time_text(event.before_ms)
    return f"The window of reservation {event.reservation_id} ends at {now}, not at {before}{because(event.why)}"


def _activated(event: ReservationActivated) -> str:
    waits = f"; {listed(event.busy)} still at work, which it waits for" if event.busy else ""
    nodes = f"{plural(len(event.nodes), 'node')} {owner_text(event.owner)}"
    until = time_text(event.window.end_ms)
    return f"Window {event.occurrence} of reservation {event.reservation_id} began: {nodes} until {until}{waits}."


def _ended(event: ReservationEnded) -> str:
    missed = f" {plural(event.missed, 'window')} went by unattended." if event.missed else ""
    following = f" The next one begins at {time_text(event.next.start_ms)}." if event.next is not None else ""
    said = f"Window {event.occurrence} of reservation {event.reservation_id} is over{because(event.why)}"
    return f"{said}{missed}{following}"


def _cancelled(event: ReservationCancelled) -> str:
    nodes = plural(len(event.nodes), "node")
    what = "maintenance" if event.owner.kind is OwnerKind.MAINTENANCE else f"{event.owner.kind} {event.owner.id}"
    return f"Reservation {event.reservation_id} of {nodes} for {what} was cancelled{because(event.why)}"


SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    ReservationMade: _made,
    ReservationChanged: _changed,
    ReservationActivated: _activated,
    ReservationEnded: _ended,
    ReservationCancelled: _cancelled,
}
