"""Answers about reservations: what is booked, and what would come of one more."""

from adapters.queries.answers.parts import Answer
from domain.reservation import ReservationStatus
from domain.rules.conflicts import Obstacle


class ReservationLine(Answer, frozen=True, kw_only=True):
    """One reservation as it stands."""

    reservation_id: str
    status: ReservationStatus
    owner: str
    """`client:show`, `workflow:wf-…`, `partition:gpu` or `maintenance`."""
    nodes: tuple[str, ...]
    start_ms: int
    """Of the present window, the next one if none has begun, or the last one."""
    end_ms: int
    occurrence: int
    """Which window that is; 1 for the first."""
    every_ms: int | None
    """How often it comes again; None for once."""
    times: int | None
    until_ms: int | None
    follows: bool
    """Whether it ends with its workflow."""
    made_ms: int
    why: str


class ReservationsAnswer(Answer, frozen=True, kw_only=True):
    """Reservations, by the start of their windows."""

    rows: list[ReservationLine]
    position: int
    at_ms: int


class ReservationAnswer(Answer, frozen=True, kw_only=True):
    """One reservation, and what has become of it."""

    reservation: ReservationLine
    made_by: str
    ended_ms: int | None
    begun: int
    """How many windows have begun."""
    missed: int
    """How many went by with nobody there."""
    in_service: tuple[str, ...]
    """Its nodes that are not out of service; all of them, unless it is maintenance that has begun."""
    position: int
    at_ms: int


class BookedAnswer(Answer, frozen=True, kw_only=True):
    """One window on one node, the present or the next of its reservation."""

    reservation_id: str
    owner: str
    start_ms: int
    end_ms: int
    active: bool


class ConflictAnswer(Answer, frozen=True, kw_only=True):
    """One thing in the way of a reservation on one node."""

    obstacle: Obstacle
    node_id: str
    job_id: str
    attempt: int
    reservation_id: str
    until_ms: int | None
    """When it is out of the way by itself; None when nobody knows."""
    lost_ms: int
    """Run time that would be done again."""


class LaterAnswer(Answer, frozen=True, kw_only=True):
    """One job that would start later, or end too late."""

    job_id: str
    name: str
    before_ms: int | None
    """When it starts without the reservation; None where it runs already, or nobody knows."""
    after_ms: int | None
    deadline_ms: int | None
    at_risk: bool
    """Whether it would meet its deadline without the reservation, and not with it."""


class PreviewAnswer(Answer, frozen=True, kw_only=True):
    """What would come of a reservation."""

    nodes: tuple[str, ...]
    refused: str
    """Why it would not be made; empty if it would."""
    conflicts: list[ConflictAnswer]
    later: list[LaterAnswer]
    walked: int
    """How many of the waiting jobs were looked at, the first in the queue first."""
    waiting: int
    position: int
    at_ms: int
