"""The slow planner with windows: every window written out, every job held against each of them.

A window is closed to a job that does not own it: whatever may still run when it begins does not start there, unless it
saves its state when told to leave and can be told in time. Room is promised only between such windows. An owner goes to
its own nodes first while its window is open, if these are enough.
"""

from msgspec.structs import replace

from domain.decisions import Plan, ReasonCode, Reserved
from domain.farm import Farm
from domain.job.values import Job, NodeSlots
from domain.node import Node
from domain.policies import Policies
from domain.reservation import OwnerKind, Reservation
from domain.resources import Requirement
from domain.rules.evacuation import LEAD_MS
from domain.time_range import TimeRange
from tests.oracle import FOR_ROOM, NEVER, Gangs, Held, Oracle, depth_of, most_on_a_node, name_of, slots_in

FAR_MS = 400_000
"""Beyond every end and every gap of the small farms; what comes again for ever is written out so far."""


def windows_of(reservation: Reservation, now_ms: int) -> list[TimeRange]:
    """All windows that are not over, one after the other."""
    found, repeat = [], reservation.repeat
    window, number = reservation.window, reservation.occurrence
    while window.start_ms < now_ms + FAR_MS:
        if window.end_ms > now_ms:
            found.append(window)
        if repeat is None or number == repeat.times:
            break
        window, number = window.later(repeat.every_ms), number + 1
        if repeat.until_ms is not None and window.start_ms >= repeat.until_ms:
            break
    return found


def owned(reservation: Reservation, job: Job) -> bool:
    owner = reservation.owner
    if owner.kind is OwnerKind.CLIENT:
        return owner.id == job.spec.client_id
    return owner.kind is OwnerKind.WORKFLOW and owner.id == job.spec.workflow_id


class WindowOracle(Oracle):
    """One cycle by plain loops, with what is booked."""

    def __init__(self, farm: Farm, policies: Policies, now_ms: int, gangs: Gangs | None = None) -> None:
        super().__init__(farm, policies, now_ms, gangs)
        self.windows = [(each, windows_of(each, now_ms)) for each in farm.reservations.values()]
        self.waiting: list[str] = []
        """Jobs that a window alone keeps from starting."""

    def run_all(self) -> None:
        jobs = sorted((each for each in self.farm.jobs.values() if each.startable and self.ready(each)), key=self.key)
        for each in jobs:
            reason = self.place_one_by_one(each)
            if reason in (None, "limit"):
                continue
            if self.never(each.spec.requirement):
                continue
            if reason == "lacking" and self.why_not(each.spec.requirement, name_of(each))[0].code not in FOR_ROOM:
                continue
            if self.policies.backfill == "none":
                return
            if len(self.reserved) < depth_of(self.policies):
                self.reserve(each)

    def place_one_by_one(self, job: Job) -> str | None:
        """Places one task after the other; what kind of thing keeps the next one from starting."""
        requirement, end_ms = job.spec.requirement, self.end_from(job, self.now_ms)
        for task in self.ready(job):
            if self.limit(job) is not None:
                return "limit"
            fitting = self.fitting(requirement)
            usable = [each for each in fitting if not self.closed(job, each.node_id, self.now_ms)]
            own = [each for each in usable if self.is_own(job, each.node_id)]
            nodes = self.pick(requirement, own, end_ms) or self.pick(requirement, usable, end_ms)
            if nodes is None:
                return self.kind_of_stop(job, fitting, usable)
            self.take(job, nodes, end_ms)
            self.placed.append((job.spec.job_id, task, nodes))
        return None

    def kind_of_stop(self, job: Job, fitting: list[Node], usable: list[Node]) -> str:
        requirement = job.spec.requirement
        if fitting and not usable:
            self.waiting.append(job.spec.job_id)
            return "window"
        if self.reserved and self.pick(requirement, usable) is not None:
            return "behind"
        if len(usable) < len(fitting) and self.pick(requirement, fitting) is not None:
            self.waiting.append(job.spec.job_id)
            return "window"
        return "lacking"

    def pick(
        self, requirement: Requirement, nodes: list[Node], end_ms: int | None = None
    ) -> tuple[NodeSlots, ...] | None:
        """As `choose`, on some nodes only."""
        missing, taken = requirement.slots, []
        for each in self.best_first(nodes):
            slots = slots_in(self.free[each.node_id], requirement, most_on_a_node(requirement))
            if end_ms is not None:
                slots = min(slots, self.room_between(each.node_id, requirement, self.now_ms, end_ms))
            slots = min(slots, missing)
            if slots:
                taken.append((each.node_id, slots))
            missing -= slots
            if not missing:
                return tuple(taken)
        return None

    # -- windows -------------------------------------------------------------------------------------------------

    def undisturbed_ms(self, job: Job) -> int:
        never = job.protection is not None and job.protection.never
        if job.spec.checkpoints and not never:
            return job.spec.grace_ms + LEAD_MS + 1
        return NEVER if job.spec.walltime_ms is None else job.spec.walltime_ms

    def closed(self, job: Job, node_id: str, start_ms: int) -> bool:
        end_ms = start_ms + self.undisturbed_ms(job)
        return any(
            window.start_ms < end_ms and window.end_ms > start_ms
            for reservation, windows in self.windows
            if node_id in reservation.nodes and not owned(reservation, job)
            for window in windows
        )

    def is_own(self, job: Job, node_id: str) -> bool:
        return any(
            window.holds(self.now_ms)
            for reservation, windows in self.windows
            if node_id in reservation.nodes and owned(reservation, job)
            for window in windows
        )

    def reserve(self, job: Job) -> None:
        """Tries every moment at which something ends, windows included."""
        requirement = job.spec.requirement
        ends = {each.end_ms for held in self.held.values() for each in held}
        ends |= {window.end_ms for _, windows in self.windows for window in windows}
        for start_ms in sorted(ms for ms in {self.now_ms, *ends} if ms < self.now_ms + FAR_MS // 2):
            end_ms = self.end_from(job, start_ms)
            rooms = {
                each.node_id: 0
                if self.closed(job, each.node_id, start_ms)
                else self.room_between(each.node_id, requirement, start_ms, end_ms)
                for each in self.able(requirement)
            }
            if sum(rooms.values()) >= requirement.slots:
                nodes = self.filled(job, rooms)
                self.reserved.append(Reserved(job.spec.job_id, start_ms, nodes))
                for node_id, slots in nodes:
                    self.held[node_id] += [Held(requirement.resources, start_ms, end_ms)] * slots
                return


def check_reasons(made: Plan, farm: Farm, now_ms: int) -> None:
    """Every segment says why, and what is said of a window is true of that window."""
    for blocked in made.passed_over:
        assert blocked.reasons, blocked
        for reason in blocked.reasons:
            if reason.code not in (ReasonCode.RESERVED, ReasonCode.MAINTENANCE) or reason.until_ms is None:
                continue
            known = farm.reservations[reason.entity]
            assert known.is_maintenance is (reason.code is ReasonCode.MAINTENANCE)
            assert reason.node_id in known.nodes
            ahead = [w for w in windows_of(known, now_ms) if w.end_ms == reason.until_ms]
            assert [max(0, window.start_ms - now_ms) for window in ahead] == [reason.available]


def with_reservations(made: Farm, *reservations: Reservation) -> Farm:
    """The same farm with these reservations."""
    for each in reservations:
        made.reservations[each.reservation_id] = each
        made.versions[each.reservation_id] = 1
    return made


def changed(made: Farm, job_id: str, **spec: object) -> None:
    """Gives a job of a farm other fields of its specification that leave it where it stands in the queue."""
    job = made.jobs[job_id]
    made.jobs[job_id] = replace(job, spec=replace(job.spec, **spec))
