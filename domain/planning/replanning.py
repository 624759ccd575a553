"""Cycles that remember: the same plans as `plan`, at a fraction of the cost while jobs only arrive.

When nothing has ended, left or changed since the last cycle, what it passed over still waits: free resources have only
shrunk, and the reservation of the head stands. So only the jobs that came since need a look, if the order puts them
behind the head; where one of them starts, the others may lack more than they did, which takes no look at their jobs.
Anything else that happened makes the next cycle a whole one.
"""

from bisect import bisect_left
from collections.abc import Sequence
from heapq import merge
from operator import attrgetter
from typing import NamedTuple

from domain.decisions import Blocked, Plan
from domain.farm import Farm
from domain.indices.queue import Line
from domain.messages import JobId
from domain.planning.lanes import Lane, QueueKey
from domain.planning.openings import Shadow
from domain.planning.placing import Attempts
from domain.planning.planner import Cycle, nothing_waits
from domain.policies import Context, Policies, made
from domain.rules import rules_of


class Planned(NamedTuple):
    """A plan, and which of its reasons are news."""

    plan: Plan
    fresh: Sequence[Blocked] = ()
    """The only rows of `passed_over` that may be others than the recorded ones."""
    gone: tuple[str, ...] = ()
    """Segments with a recorded row that are not passed over any more, by name."""


class _Memory(NamedTuple):
    """What the last cycle leaves to the next one."""

    policies: Policies
    plan: Plan
    head: QueueKey | None = None
    shadow: Shadow | None = None
    lanes: tuple[Lane, ...] = ()
    short: tuple[Line, ...] = ()
    """Who was passed over, looked at or not."""
    alike: bool = True
    """Whether their reasons can be brought up to date without a look at their jobs."""


class Planner:
    """Plans for one farm, one after the other."""

    def __init__(self) -> None:
        self._memory: _Memory | None = None

    def plan(
        self,
        farm: Farm,
        policies: Policies,
        now_ms: int,
        *,
        over: Attempts = (),
        arrived: Sequence[JobId] | None = None,
    ) -> Planned:
        """The plan of this moment.

        `arrived` are the jobs queued since the last plan, where nothing but that, and what the last plan decided, has
        happened; None when anything may have. Without any, only time has passed, and everything is looked at anew.
        """
        objects = made(policies)
        rules = rules_of(farm, objects, now_ms)
        if not rules and nothing_waits(farm, now_ms):
            return self._idle(farm, policies, now_ms)
        known = self._memory
        if known is not None and arrived and not over and not rules:
            planned = self._after_arrivals(known, Context(farm, objects, now_ms), arrived)
            if planned is not None:
                return planned
        cycle = Cycle(farm, policies, now_ms, over, rules)
        cycle.run()
        planned = _planned(cycle)
        self._memory = None if rules or over else _memory_of(cycle, planned.plan, cycle.blocked, cycle.short)
        return planned

    def _idle(self, farm: Farm, policies: Policies, now_ms: int) -> Planned:
        """The plan of an empty queue."""
        plan = Plan(farm.position, (), (), farm.next_back_off(now_ms))
        self._memory = _Memory(policies, plan)
        return Planned(plan, (), tuple(sorted(farm.blocked)))

    def forget(self) -> None:
        """The last plan did not come true."""
        self._memory = None

    def _after_arrivals(self, known: _Memory, context: Context, arrived: Sequence[JobId]) -> Planned | None:
        """The plan, if what the last cycle found still holds for all others; else None."""
        if not _still_holds(known, context, arrived):
            return None
        if known.head is not None and all(_joins(known, context.farm, job_id) for job_id in arrived):
            return self._wait_too(known, context.farm, arrived)
        return self._go_on(known, context, arrived)

    def _go_on(self, known: _Memory, context: Context, arrived: Sequence[JobId]) -> Planned | None:
        """Looks at the new jobs only; None if one starts and the others must be looked at to say what they lack now."""
        before, shadow = known.plan, known.shadow
        cycle = Cycle(context.farm, known.policies, context.now_ms, rules=())
        cycle.head, cycle.openings, cycle.reserved = known.head, shadow, list(before.reserved)
        if shadow is not None:
            shadow.index = cycle.index
        cycle.lanes = {lane.segment: lane for lane in known.lanes}
        cycle.place_arrivals([job_id for job_id in arrived if not _is_short(known, context.farm, job_id)])
        lanes = (*known.lanes, *cycle.blocked)
        if cycle.decisions and before.passed_over:
            if not known.alike:
                return None
            cycle.blocked, cycle.short = list(lanes), list(known.short)
            planned = _planned(cycle)
        else:
            fresh = cycle.passed_over().rows()
            planned = Planned(cycle.plan(tuple(merge(before.passed_over, fresh, key=_segment_of))), fresh)
        self._memory = _memory_of(cycle, planned.plan, lanes, known.short)
        return planned

    def _wait_too(self, known: _Memory, farm: Farm, arrived: Sequence[JobId]) -> Planned:
        """The same plan again, without its decisions, which were carried out."""
        before = known.plan
        lanes = {lane.segment: lane for lane in known.lanes}
        for job_id in arrived:
            lane = lanes.get(farm.queue.segment_of(farm.jobs[job_id]))
            if lane is not None:
                lane.waiting += 1
        again = Plan(farm.position, (), before.passed_over, before.wake_at_ms, before.reserved)
        self._memory = known._replace(plan=again)
        return Planned(again)


def _memory_of(cycle: Cycle, plan: Plan, lanes: Sequence[Lane], short: Sequence[Line]) -> _Memory:
    shadow = cycle.openings if isinstance(cycle.openings, Shadow) else None
    head, made = cycle.head, cycle.made
    alike = made.as_requested and not made.filters and not any(lane.limited for lane in lanes)
    if alike and head is not None:
        alike = cycle.farm.jobs[head[2]].spec.requirement.slots == 1
    return _Memory(made.policies, plan, head, shadow, tuple(lanes), tuple(short), alike)


def _still_holds(known: _Memory, context: Context, arrived: Sequence[JobId]) -> bool:
    """Whether whatever the last cycle passed over is sure to wait, whichever of the arrived jobs start."""
    wake_ms, now_ms, made = known.plan.wake_at_ms, context.now_ms, context.made
    if known.policies is not made.policies or (wake_ms is not None and wake_ms <= now_ms):
        return False
    head = known.head
    if head is None:
        return True
    order, depth = made.order, made.backfill.reservations
    if order.moves or not made.static_levels or depth not in (0, 1):
        return False
    if depth == 1 and (known.shadow is None or not known.plan.reserved or known.shadow.start_ms <= now_ms):
        return False
    jobs = [context.farm.jobs[job_id] for job_id in arrived]
    return min([(order.key(job, context), job.submitted_ms, job.spec.job_id) for job in jobs]) > head


def _is_short(known: _Memory, farm: Farm, job_id: JobId) -> bool:
    """Whether a new job stands behind others that fit nowhere."""
    return bool(known.short) and farm.queue.line_of(job_id) in known.short


def _planned(cycle: Cycle) -> Planned:
    """What a whole cycle says."""
    passed_over = cycle.passed_over()
    return Planned(cycle.plan(passed_over.rows()), passed_over.fresh, passed_over.gone())


def _joins(known: _Memory, farm: Farm, job_id: JobId) -> bool:
    """Whether a new job fits nowhere now and stands behind others of its segment of which that is known."""
    line = farm.queue.line_of(job_id)
    if line in known.short:
        return True
    requirement = farm.jobs[job_id].spec.requirement
    if requirement.slots > 1 or farm.index.fitting(requirement):
        return False
    rows = known.plan.passed_over
    at = bisect_left(rows, line.name, key=_segment_of)
    return at < len(rows) and rows[at].segment == line.name


_segment_of = attrgetter("segment")
