"""What is booked: nothing starts where it would meet a window that is not its own, and owners start on their nodes.

A rule of the cycle. It goes by the clock and not by whether somebody has begun or ended a window, so that a timer that
is late lets nothing slip in. A job meets a window if it may still run when that begins: by its walltime, by the
estimate if it has none, for ever if there is no estimate either. A job that saves its state when told to end may start
all the same, if it can be told in time; it is sent away then (`domain.rules.evacuation`).
"""

from typing import TYPE_CHECKING

from domain.decisions import Reason, ReasonCode, Segment
from domain.indices.nodeindex import bits, slots_in
from domain.job.values import Job
from domain.node import NodeStatus
from domain.planning.closures import FOREVER, Closure, Closures, Gaps
from domain.reservation import Owner, OwnerKind, Reservation, ReservationStatus, window_from
from domain.resources import Requirement
from domain.rules import Rule, rule
from domain.rules.evacuation import contract_of, notice_ms, owns, partition_of, would_leave

if TYPE_CHECKING:
    from domain.farm import Farm
    from domain.planning.placing import Placing
    from domain.policies import Made

_Names = tuple[str | None, str | None, str | None]
"""What of a job can make it an owner: client, workflow, partition; None for what owns nothing."""


class Calendar:
    """The coming windows on a farm as jobs see them: each all that are not its own."""

    def __init__(self, farm: "Farm", now_ms: int) -> None:
        self.farm, self.now_ms = farm, now_ms
        self._rows: list[tuple[Owner, Closure]] = []
        self._owners: set[tuple[OwnerKind, str]] = set()
        for reservation in farm.reservations.values():
            row = _closure(reservation, farm.reservations.mask(reservation, farm.index), now_ms)
            if row is not None:
                self._rows.append((reservation.owner, row))
                self._owners.add((reservation.owner.kind, reservation.owner.id))
        self._views: dict[_Names, Closures] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def view(self, job: Job) -> Closures:
        """The windows that are not a job's, and the nodes that are set aside for it now."""
        spec, owners = job.spec, self._owners
        client_id = spec.client_id if (OwnerKind.CLIENT, spec.client_id) in owners else None
        workflow_id = spec.workflow_id if (OwnerKind.WORKFLOW, spec.workflow_id) in owners else None
        partition = partition_of(job)
        names = (client_id, workflow_id, partition if (OwnerKind.PARTITION, partition) in owners else None)
        view = self._views.get(names)
        if view is None:
            view = self._views[names] = self._seen_by(job)
        return view

    def _seen_by(self, job: Job) -> Closures:
        foreign = [row for owner, row in self._rows if not owns(owner, job)]
        own = 0
        for owner, row in self._rows:
            if row.window.start_ms <= self.now_ms and owns(owner, job):
                own |= row.nodes
        return Closures(foreign, own)

    def undisturbed_ms(self, job: Job, run_ms: int | None) -> int:
        """How long a job must have a node to itself from its start on: until it ends, or can be told to leave."""
        if would_leave(job, contract_of(self.farm.clients, job), self.now_ms):
            return notice_ms(job) + 1
        if job.spec.walltime_ms is not None:
            return job.spec.walltime_ms
        return FOREVER if run_ms is None else run_ms

    def gaps(self, job: Job, run_ms: int | None) -> Gaps | None:
        """Where and when a job can run between the windows of others; None where nothing stands against it."""
        view = self.view(job)
        return Gaps(view, self.undisturbed_ms(job, run_ms)) if view.rows else None

    def boundary_ms(self) -> int | None:
        """When the next window begins or ends; None if none will."""
        moments = [moment for _, row in self._rows for moment in (row.window.start_ms, row.window.end_ms)]
        return min([moment for moment in moments if moment > self.now_ms], default=None)


def _closure(reservation: Reservation, nodes: int, now_ms: int) -> Closure | None:
    """The windows of a reservation that are not over by the clock; None if none is left."""
    window, occurrence = window_from(reservation.window, reservation.occurrence, reservation.repeat, now_ms)
    if not occurrence:
        return None
    reservation_id, is_maintenance = reservation.reservation_id, reservation.is_maintenance
    return Closure(window, occurrence, reservation.repeat, nodes, reservation_id, is_maintenance)


def returning(farm: "Farm") -> int:
    """Mask of the nodes that are out of service for a window, and come back when that ends."""
    mask, index = 0, farm.index
    for reservation in farm.reservations.values():
        if reservation.is_maintenance and reservation.status is ReservationStatus.ACTIVE:
            for number in bits(farm.reservations.mask(reservation, index)):
                if farm.nodes[index.ids[number]].status is NodeStatus.MAINTENANCE:
                    mask |= 1 << number
    return mask & index.registered_mask


def somebody_waits(farm: "Farm", now_ms: int) -> bool:
    """Whether the first job of some line of the queue gets room by the end of a window alone. O(lines × nodes)."""
    calendar = Calendar(farm, now_ms)
    if farm.queue.lines and any(_is_due(each, now_ms) for each in farm.reservations.values()):
        return True
    open_mask = farm.index.open_mask | returning(farm)
    for line in farm.queue.lines.values():
        job = farm.jobs[next(line.walk())[1]]
        gaps = calendar.gaps(job, job.spec.walltime_ms)
        nodes = open_mask & farm.index.capable(job.spec.requirement)
        if gaps is not None and any(now_ms < gaps.start_from(number, now_ms) < FOREVER for number in bits(nodes)):
            return True
    return False


def _is_due(reservation: Reservation, now_ms: int) -> bool:
    """Whether a window that has begun is over by the clock, and nobody has ended it yet."""
    return reservation.status is ReservationStatus.ACTIVE and reservation.window.end_ms <= now_ms


class Bookings(Rule):
    """Keeps jobs off the windows of others, and sends owners to their own nodes first."""

    by_time = True

    def __init__(self, calendar: Calendar) -> None:
        self.calendar, self._now_ms = calendar, calendar.now_ms
        self._cycle: Placing | None = None
        self._barred = False
        """Whether somebody was kept off a node."""

    def begin(self, cycle: "Placing") -> None:
        """Keeps the scratch at hand, whose free room says whether the nodes of an owner are enough."""
        self._cycle = cycle

    def _closed(self, job: Job, end_ms: int) -> tuple[Closures, int]:
        """What a job sees, and the mask of the nodes that it may not use from now until `end_ms`."""
        view = self.calendar.view(job)
        if not view.rows:
            return view, 0
        run_ms = None if end_ms >= FOREVER else end_ms - self._now_ms
        return view, view.closed(min(self._now_ms + self.calendar.undisturbed_ms(job, run_ms), FOREVER))

    def allowed(self, job: Job, nodes: int, end_ms: int) -> int:
        """All but those where a foreign window begins before it ends."""
        closed = self._closed(job, end_ms)[1]
        if nodes & closed:
            self._barred = True
            nodes &= ~closed
        return nodes

    def preferred(self, job: Job, nodes: int, end_ms: int) -> int:
        """Those that are set aside for it now, if they are enough."""
        own = nodes & self.calendar.view(job).own
        if not own or own == nodes:
            return nodes
        return own if self._are_enough(job.spec.requirement, own, end_ms) else nodes

    def _are_enough(self, requirement: Requirement, nodes: int, end_ms: int) -> bool:
        """Whether a task could start on some nodes alone, beside what is kept there for others."""
        cycle = self._cycle
        if cycle is None or not nodes:
            return False
        if requirement.slots > 1:
            return slots_in(cycle._gang_rooms(requirement, nodes, end_ms)) >= requirement.slots
        return cycle.openings is None or cycle.openings.beside(requirement, nodes, end_ms) != 0

    def bars(self, job: Job, nodes: int, end_ms: int) -> bool:
        """Whether it keeps a job off some nodes of a mask, and so lets it wait for the end of a window."""
        return bool(nodes & self._closed(job, end_ms)[1])

    def barred_ms(self, job: Job, nodes: int, end_ms: int) -> int | None:
        """What needs a node longer meets at least the same windows; jobs of no workflow own what their client does."""
        if job.spec.workflow_id is not None or nodes & ~self._closed(job, end_ms)[1]:
            return None
        return self.calendar.undisturbed_ms(job, None if end_ms >= FOREVER else end_ms - self._now_ms)

    def gaps(self, job: Job, run_ms: int | None) -> Gaps | None:
        """Where and when a blocked job can be promised room."""
        return self.calendar.gaps(job, run_ms)

    def why(self, segment: Segment, job: Job, end_ms: int) -> tuple[Reason, ...]:
        """The window that leaves a job the most time of those that keep it off all nodes where it would fit."""
        if self._cycle is None:
            return ()
        requirement = segment.requirement
        fitting = self._cycle.index.fitting(requirement)
        view, closed = self._closed(job, end_ms)
        if not fitting & closed or self._are_enough(requirement, fitting & ~closed, end_ms):
            return ()
        return (self._reason(view, fitting & closed, job, end_ms),)

    def _reason(self, view: Closures, nodes: int, job: Job, end_ms: int) -> Reason:
        row, number = view.latest(nodes)
        run_ms = 0 if end_ms >= FOREVER else end_ms - self._now_ms
        return Reason(
            ReasonCode.MAINTENANCE if row.is_maintenance else ReasonCode.RESERVED,
            entity=row.reservation_id,
            needed=job.spec.walltime_ms or run_ms,
            available=max(0, row.window.start_ms - self._now_ms),
            node_id=self.calendar.farm.index.ids[number],
            until_ms=row.window.end_ms,
        )

    def wake_at_ms(self) -> int | None:
        """When a window begins or ends, if somebody was kept off a node."""
        return self.calendar.boundary_ms() if self._barred else None


@rule
def bookings(farm: "Farm", made: "Made", now_ms: int) -> Rule | None:
    """The windows on a farm; None if nothing is booked."""
    if not farm.reservations:
        return None
    calendar = Calendar(farm, now_ms)
    return Bookings(calendar) if calendar else None
