"""What a reservation would cost: the queue run ahead with it and without, and who starts later, or too late.

Both times every waiting job keeps the earliest room for itself in the order in force (conservative backfill), with the
run times that are expected, between the windows there are. Limits of clients, and what is still to be submitted, are
left out; so is the work that is sent away, which is told of beside.
"""

from collections.abc import Iterator
from copy import copy
from heapq import nsmallest
from typing import NamedTuple

from domain import intervals
from domain.farm import Farm
from domain.indices.booked import Booked
from domain.indices.endings import expected
from domain.job.values import Job
from domain.messages import JobId, Value
from domain.planning.openings import Outlook
from domain.policies import Context, made
from domain.reservation import Reservation
from domain.rules.bookings import Calendar, returning

MOST_TASKS = 1_000
"""So many tasks are walked, the first in the queue first."""
MOST_OF_A_JOB = 50
"""So many of one job at most."""


class Course(NamedTuple):
    """When the first task of a job starts and the last one walked ends; None where none is in sight."""

    start_ms: int | None
    end_ms: int | None


class Later(Value, frozen=True):
    """One waiting job that starts later; times in ms since 1970, None for not at all in sight."""

    job_id: JobId
    before_ms: int | None
    after_ms: int | None
    deadline_ms: int | None = None
    at_risk: bool = False
    """Whether it would end in time without the reservation, and not with it."""


class Harm(Value, frozen=True):
    """What a reservation would cost those who wait."""

    later: tuple[Later, ...]
    """In the order of the queue."""
    walked: int
    """How many waiting jobs were looked at."""
    waiting: int
    """How many there are."""


def harm_of(farm: Farm, reservation: Reservation, now_ms: int) -> Harm:
    """Who of the first in the queue would start later. The farm is only read. O(tasks walked × nodes)."""
    twin = copy(farm)
    twin.reservations = Booked()
    twin.reservations.update({**farm.reservations, reservation.reservation_id: reservation})
    jobs = list(_in_order(farm, now_ms))
    before, after = (dict(_courses(each, jobs, now_ms)) for each in (farm, twin))
    later = [
        Later(job_id, course.start_ms, after[job_id].start_ms, farm.jobs[job_id].deadline_ms, at_risk)
        for job_id, course in before.items()
        if (at_risk := _is_late(farm.jobs[job_id], after[job_id]) and not _is_late(farm.jobs[job_id], course))
        or _is_later(after[job_id], course)
    ]
    return Harm(tuple(later), len(before), len(farm.queue))


def _in_order(farm: Farm, now_ms: int) -> Iterator[Job]:
    """The first jobs of the queue, by the order in force."""
    context = Context(farm, made(farm.policies), now_ms)
    key, jobs = context.made.order.key, farm.jobs
    places = (
        (key(jobs[job_id], context), submitted_ms, job_id)
        for line in farm.queue.lines.values()
        for submitted_ms, job_id in line
    )
    for _, _, job_id in nsmallest(MOST_TASKS, places):
        yield jobs[job_id]


def _courses(farm: Farm, jobs: list[Job], now_ms: int) -> Iterator[tuple[JobId, Course]]:
    context = Context(farm, made(farm.policies), now_ms)
    outlook = Outlook(farm.index, expected(context), now_ms)
    calendar = Calendar(farm, now_ms) if farm.reservations else None
    open_mask = farm.index.open_mask | (returning(farm) if calendar is not None else 0)
    left = MOST_TASKS
    for job in jobs:
        if left <= 0:
            return
        tasks = min(left, MOST_OF_A_JOB, max(1, intervals.size(job.waiting)))
        left -= tasks
        nodes = open_mask & farm.index.capable(job.spec.requirement)
        for rule in context.made.filters:
            nodes = rule.mask(job, nodes, farm.index, context) if nodes else 0
        yield job.spec.job_id, _course(job, tasks, nodes, outlook, context, calendar)


def _course(job: Job, tasks: int, nodes: int, outlook: Outlook, context: Context, calendar: Calendar | None) -> Course:
    run_ms = context.run_ms(job)
    gaps = None if calendar is None else calendar.gaps(job, run_ms)
    start_ms = last_ms = None
    for _ in range(tasks):
        opening = outlook.reserve(job.spec.requirement, nodes, run_ms, gaps)
        if opening is None:
            return Course(start_ms, None)
        start_ms = opening.start_ms if start_ms is None else min(start_ms, opening.start_ms)
        last_ms = opening.start_ms if last_ms is None else max(last_ms, opening.start_ms)
    return Course(start_ms, None if run_ms is None or last_ms is None else last_ms + run_ms)


def _is_later(after: Course, before: Course) -> bool:
    if before.start_ms is None:
        return False
    return after.start_ms is None or after.start_ms > before.start_ms


def _is_late(job: Job, course: Course) -> bool:
    return job.deadline_ms is not None and (course.end_ms is None or course.end_ms > job.deadline_ms)
