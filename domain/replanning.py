"""Cycles that remember: the same plans as `plan`, at a fraction of the cost while jobs only arrive.

When nothing has ended, left or changed since the last cycle, what it passed over still waits: free resources have only
shrunk, and the reservation of the head stands. So only the jobs that came since need a look, if the order puts them
behind the head. Anything else that happened makes the next cycle a whole one.
"""

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from domain.decisions import Blocked, Plan
from domain.farm import Farm
from domain.lanes import QueueKey
from domain.messages import JobId
from domain.openings import Shadow
from domain.placing import Attempts
from domain.planner import Cycle, nothing_waits
from domain.policies import Policies, made
from domain.rules import rules_of


class Planned(NamedTuple):
    """A plan, and which of its reasons can be news."""

    plan: Plan
    fresh: tuple[Blocked, ...] | None
    """The only rows of `passed_over` that the last plan did not have; None when any may be new, or gone."""


class _Memory(NamedTuple):
    """What the last cycle leaves to the next one."""

    policies: Policies
    plan: Plan
    head: QueueKey | None
    shadow: Shadow | None


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
        ruled = rules_of(farm, made(policies), now_ms)
        if not ruled and nothing_waits(farm, now_ms):
            return self._idle(farm, policies, now_ms)
        cycle = Cycle(farm, policies, now_ms, over)
        if cycle.rules:
            self._memory = None
            cycle.run()
            return Planned(cycle.plan(cycle.passed_over()), None)
        known = self._memory
        if known is not None and arrived and not over and self._still_holds(known, cycle, arrived):
            if known.head is not None and all(_joins(known, cycle, job_id) for job_id in arrived):
                return self._wait_too(known, cycle)
            planned = self._go_on(known, cycle, arrived)
            if planned is not None:
                return planned
            cycle = Cycle(farm, policies, now_ms, over)
        cycle.place_in_order()
        planned = Planned(cycle.plan(cycle.passed_over()), None)
        self._remember(cycle, planned.plan)
        return planned

    def _idle(self, farm: Farm, policies: Policies, now_ms: int) -> Planned:
        """The plan of an empty queue."""
        plan = Plan(farm.position, (), (), farm.next_back_off(now_ms))
        self._memory = _Memory(policies, plan, None, None)
        return Planned(plan, None)

    def forget(self) -> None:
        """The last plan did not come true."""
        self._memory = None

    def _still_holds(self, known: _Memory, cycle: Cycle, arrived: Sequence[JobId]) -> bool:
        """Whether whatever the last cycle passed over is sure to wait, whichever of the arrived jobs start."""
        wake_ms = known.plan.wake_at_ms
        if known.policies is not cycle.made.policies or (wake_ms is not None and wake_ms <= cycle.now_ms):
            return False
        head = known.head
        if head is None:
            return True
        order, depth = cycle.order, cycle.backfill.reservations
        if order.moves or not cycle.made.static_levels or depth not in (0, 1):
            return False
        if depth == 1 and (known.shadow is None or not known.plan.reserved or known.shadow.start_ms <= cycle.now_ms):
            return False
        jobs = cycle.farm.jobs
        return all(cycle.place_of(jobs[job_id]) > head for job_id in arrived)

    def _go_on(self, known: _Memory, cycle: Cycle, arrived: Sequence[JobId]) -> Planned | None:
        """None if something starts while others wait: they may lack more than they did, so a whole cycle has to say."""
        before = known.plan
        cycle.head, cycle.openings = known.head, known.shadow
        cycle.reserved = list(before.reserved)
        cycle.place_arrivals(arrived)
        if cycle.decisions and before.passed_over:
            return None
        rows, fresh = before.passed_over, []
        for row in cycle.passed_over():
            at = bisect_left(rows, row.segment, key=_segment_of)
            if at == len(rows) or rows[at].segment != row.segment:
                rows = (*rows[:at], row, *rows[at:])
                fresh.append(row)
        planned = Planned(cycle.plan(rows), tuple(fresh))
        self._remember(cycle, planned.plan)
        return planned

    def _wait_too(self, known: _Memory, cycle: Cycle) -> Planned:
        """The same plan again, without its decisions, which were carried out."""
        before = known.plan
        again = Plan(cycle.farm.position, (), before.passed_over, before.wake_at_ms, before.reserved)
        self._memory = known._replace(plan=again)
        return Planned(again, ())

    def _remember(self, cycle: Cycle, plan: Plan) -> None:
        shadow = cycle.openings if isinstance(cycle.openings, Shadow) else None
        if cycle.over:
            self._memory = None
        else:
            self._memory = _Memory(cycle.made.policies, plan, cycle.head, shadow)


def _joins(known: _Memory, cycle: Cycle, job_id: JobId) -> bool:
    """Whether a new job fits nowhere now and stands behind others of its segment of which that is known."""
    line = cycle.farm.queue.line_of(job_id)
    job = cycle.farm.jobs[job_id]
    if job.spec.requirement.slots > 1 or cycle.index.fitting(job.spec.requirement):
        return False
    rows = known.plan.passed_over
    at = bisect_left(rows, line.name, key=_segment_of)
    return at < len(rows) and rows[at].segment == line.name


_segment_of = attrgetter("segment")
