"""plan(): the scheduling cycle, a pure function from the farm to decisions and reasons.

It reads the farm, places tentatively on a fork of the node index, and never touches its arguments. The queue is a merge
of segments; one whose shape fits nowhere is not looked into, so that the cost grows with shapes and starts, not with
what waits. Blocked jobs hold reservations as deep as the backfill policy says, and nothing that starts delays these.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from domain import blockers
from domain.decisions import Blocked, Plan, Reserved, Segment
from domain.endings import expected
from domain.farm import Farm
from domain.job.values import Job
from domain.lanes import Head, Lane, QueueKey, Shape, Stop
from domain.messages import Command, JobId
from domain.openings import FOREVER, Openings, Outlook, Shadow
from domain.passed_over import rows_of
from domain.placing import Attempts, Placing
from domain.policies import OrderKey, Policies, made
from domain.queue import Line
from domain.queue import Place as QueuePlace

CONFLICTING = (
    "node.drained",
    "node.offline",
    "node.lost",
    "node.suspected",
    "node.quarantined",
    "node.maintenance_started",
    "node.capabilities_changed",
    "node.retired",
    "client.shares_changed",
    "client.suspended",
    "policies.adopted",
    "dependency.declared",
    "dependency.reopened",
    "job.tasks_placed",
)
"""Topics that could make a decision of a plan wrong; everything about the jobs placed is guarded by their versions."""


def plan(farm: Farm, policies: Policies, now_ms: int, *, over: Attempts = ()) -> Plan:
    """One scheduling cycle over the farm as it is, with the time given; same input, same plan.

    Attempts that are `over` count as ended although nobody has said so yet: for agreement with simulators that look
    at the ends they expect, and not only at those that came.
    """
    cycle = Cycle(farm, policies, now_ms, over)
    if not cycle.rules and nothing_waits(farm, now_ms):
        return Plan(farm.position, (), (), farm.next_back_off(now_ms))
    cycle.run()
    return cycle.plan(cycle.passed_over())


def nothing_waits(farm: Farm, now_ms: int) -> bool:
    """Whether no task could be placed, were there any amount of room."""
    return not farm.queue.lines and not farm.delayed_due(now_ms)


def fits_now(farm: Farm, policies: Policies, job: Job, now_ms: int, *, over: Attempts = ()) -> bool:
    """Whether one task of a job has room at this moment, nothing being reserved."""
    return Cycle(farm, policies, now_ms, over).has_room(job)


class Cycle(Placing):
    """One cycle: the queue in order, reservations for blocked heads, and what was passed over."""

    def __init__(self, farm: Farm, policies: Policies, now_ms: int, over: Attempts = ()) -> None:
        super().__init__(farm, made(policies), now_ms, over)
        self.order = self.made.order
        self.same_keys = getattr(self.order, "same_in_segment", False) and self.made.static_levels
        """Whether all jobs of a lane have the same order key."""
        self.ranked = tuple([rule for rule in self.rules if rule.ranks])
        """The rules that put segments before others."""
        self.others: tuple[Command, ...] = ()
        """What rules want done besides."""
        self.shapes: dict[Any, Shape] = {}
        """By requirement; by segment where filters may tell segments apart."""
        self.lanes: dict[Segment, Lane] = {}
        self.blocked: list[Lane] = []

    def plan(self, passed_over: tuple[Blocked, ...]) -> Plan:
        """What was decided, as a value."""
        return Plan(
            position=self.farm.position,
            decisions=tuple(self.decisions),
            passed_over=passed_over,
            wake_at_ms=self._wake_at_ms(),
            reserved=tuple(self.reserved),
            others=self.others,
        )

    def _wake_at_ms(self) -> int | None:
        """When time alone could change the answer: a back-off ends, or a rule says something else."""
        wakes = [rule.wake_at_ms() for rule in self.rules]
        return min(
            [at_ms for at_ms in (self.farm.next_back_off(self.now_ms), *wakes) if at_ms is not None], default=None
        )

    def passed_over(self) -> tuple[Blocked, ...]:
        """The blocked segments with their reasons, by name."""
        overtaken = self.backfill.overtakes
        return rows_of(self.farm, self.index, self.made, self.context, self.blocked, overtaken=overtaken)

    def has_room(self, job: Job) -> bool:
        """Whether one more task of a job could start now."""
        fitting = self.allowed(job, self.index.fitting(job.spec.requirement))
        return self.choose(job, fitting, 1, FOREVER) is not None

    def run(self) -> None:
        """Everything: the queue in its order, then what rules add."""
        self.place_in_order()
        self.others = tuple([command for rule in self.rules for command in rule.end(self)])

    # -- the order of the queue ----------------------------------------------------------------------------------

    def place_in_order(self) -> None:
        """Looks at jobs lowest key first; a segment leaves the merge when nothing of it can start any more."""
        backfill = self.backfill
        one_head = (backfill.reservations == 1 or not backfill.overtakes) and backfill.for_anybody and not self.rules
        fitting, lacking = self._heads(one_head)
        if one_head:
            fitting, lacking = self._place_until_blocked(fitting, lacking)
        heap = fitting + lacking
        heapify(heap)
        while heap:
            if self._rank_rose(heap):
                continue
            lane, _, job = heap[0][3:]
            stop = self.place(lane, job)
            if stop is Stop.DONE:
                lane.waiting -= 1
            else:
                self._pass_over(lane, stop, job)
                if stop is Stop.LIMITED:
                    heappop(heap)
                    continue
                if stop is not Stop.RULED and (self.head is None or self._has_reservations_left()):
                    if not self._waits_for_room(lane):
                        heappop(heap)
                        continue
                    self._wait_for_room(heap[0])
                    if not backfill.overtakes:
                        heappop(heap)
                        self._all_behind(heap)
                        return
                if stop is Stop.LACKING and not self._has_reservations_left():
                    heappop(heap)
                    continue
            self._advance(heap)

    def _place_until_blocked(self, fitting: list[Head], lacking: list[Head]) -> tuple[list[Head], list[Head]]:
        """The usual case, at most one reservation: what lacks room from the beginning is only compared, not looked at.

        Returns what is left to be looked at once the head of the queue is blocked and holds its reservation: what fits
        beside it; and everybody, if there is no telling when the head can start.
        """
        waiting = [head for head in lacking if self._waits_for_room(head[3])]
        first = min(waiting, default=None, key=_queue_key)
        heapify(fitting)
        while fitting and (first is None or fitting[0][:3] < first[:3]):
            lane, _, job = fitting[0][3:]
            stop = self.place(lane, job)
            if stop is Stop.DONE:
                lane.waiting -= 1
                self._advance(fitting)
                continue
            self._pass_over(lane, stop)
            if stop is Stop.LACKING and self._waits_for_room(lane):
                first = fitting[0]
                break
            heappop(fitting)
        if first is not None:
            self._wait_for_room(first)
            if not self.backfill.overtakes:
                self._pass_over(first[3], Stop.LACKING)
                self._all_behind(fitting)
                self._all_behind(lacking)
                return [], []
            if self._has_reservations_left():
                return fitting, lacking
        for head in lacking:
            self._pass_over(head[3], Stop.LACKING)
        return ([] if first is None else self._beside_the_head(fitting)), []

    def _beside_the_head(self, heap: list[Head]) -> list[Head]:
        """The lanes of which something may still start; of those that must not touch what is kept, the short jobs."""
        if self.openings is None:
            return heap
        kept = []
        for entry in heap:
            lane, walk, job = entry[3:]
            requirement = lane.segment.requirement
            fits = 0 if lane.shape.lacking else self.index.fitting(requirement)
            if lane.limited or self.filters or requirement.slots > 1:
                kept.append(entry)
            elif not fits:
                lane.shape.lacking = True
                self._pass_over(lane, Stop.LACKING)
            elif self.openings.beside(requirement, fits, FOREVER):
                kept.append(entry)
            else:
                short = self._short_ones(lane, (job.submitted_ms, job.spec.job_id), walk)
                following = next(short, None)
                if following is not None:
                    kept.append(self._head(lane, short, following))
        return kept

    def _short_ones(self, lane: Lane, place: QueuePlace | None, walk: Iterator[QueuePlace]) -> Iterator[QueuePlace]:
        """From a job of a lane on, those that end before the reservation begins; the others are behind it."""
        start_ms, jobs = self.reserved[0].start_ms, self.farm.jobs
        while place is not None:
            if self.end_ms(jobs[place[1]]) <= start_ms:
                yield place
            else:
                self._pass_over(lane, Stop.BEHIND)
            place = next(walk, None)

    def _advance(self, heap: list[Head]) -> None:
        """The first lane goes on to its next job."""
        key, _, _, lane, walk, _ = heap[0]
        following = next(walk, None)
        if following is None:
            heappop(heap)
            return
        job = self.farm.jobs[following[1]]
        if not self.same_keys:
            key = self.key_of(job, lane.segment)
        heapreplace(heap, (key, following[0], following[1], lane, walk, job))

    def place_arrivals(self, arrived: Sequence[JobId]) -> None:
        """Looks at these jobs alone, which came last: all others are known to wait still."""
        for key in sorted([self.place_of(self.farm.jobs[job_id]) for job_id in arrived]):
            job, line = self.farm.jobs[key[2]], self.farm.queue.line_of(key[2])
            lane = self._lane(line.segment or self.farm.queue.segment_of(job), 1, line)
            if self.head is not None and not self.backfill.overtakes:
                self._behind(lane)
                continue
            stop = self.place(lane, job)
            if stop is Stop.DONE:
                lane.waiting -= 1
                continue
            self._pass_over(lane, stop)
            if stop is not Stop.LIMITED and self._waits_for_room(lane):
                self._wait_for_room((*key, lane, iter(()), job))

    def place_of(self, job: Job) -> QueueKey:
        """Where a job stands in the queue: jobs are looked at in this order."""
        return self.order.key(job, self.context), job.submitted_ms, job.spec.job_id

    def _heads(self, ask: bool) -> tuple[list[Head], list[Head]]:
        """The first job of every lane: of those that fit somewhere now, or may not for other reasons, and the rest.

        Who does not `ask` finds out later.
        """
        fitting: list[Head] = []
        lacking: list[Head] = []
        in_lines, index = self.order.monotone and self.made.static_levels, self.index
        for segment, line in self.farm.queue.lines.items():
            lane = self._lane(segment, len(line), line)
            shape = lane.shape
            if ask and not shape.asked and not self.filters:
                shape.asked, shape.lacking = True, not index.fitting(segment.requirement)
            walk = line.walk() if in_lines else iter(self._sorted(line))
            (lacking if shape.lacking and not lane.limited else fitting).append(self._head(lane, walk, next(walk)))
        for job_id in self.farm.delayed_due(self.now_ms):
            job = self.farm.jobs[job_id]
            if job.startable and job_id not in self.farm.queue:
                lane = self._lane(self.farm.queue.segment_of(job), 1)
                head = self._head(lane, iter(()), (job.submitted_ms, job_id))
                (lacking if lane.shape.lacking and not lane.limited else fitting).append(head)
        return fitting, lacking

    def _sorted(self, line: Line) -> list[QueuePlace]:
        key, jobs, context = self.order.key, self.farm.jobs, self.context
        return sorted(line, key=lambda place: (key(jobs[place[1]], context), place))

    def _lane(self, segment: Segment, waiting: int, line: Line | None = None) -> Lane:
        """The lane of a segment, with so many more jobs in it."""
        lane = self.lanes.get(segment)
        if lane is None:
            kind = segment if self.filters else segment.requirement
            shape = self.shapes.get(kind)
            if shape is None:
                shape = self.shapes[kind] = Shape()
            lane = self.lanes[segment] = Lane(segment, shape, self.limits.concern(segment.client_id), line)
        lane.waiting += waiting
        return lane

    def _head(self, lane: Lane, walk: Iterator[QueuePlace], place: QueuePlace) -> Head:
        job = self.farm.jobs[place[1]]
        return self.key_of(job, lane.segment), *place, lane, walk, job

    def key_of(self, job: Job, segment: Segment) -> OrderKey:
        """The order's key, after the ranks that rules give to the segment."""
        key = self.order.key(job, self.context)
        return (self.rank(segment), key) if self.ranked else key

    def rank(self, segment: Segment) -> tuple[int, ...]:
        """What rules make of a segment by now."""
        return tuple([rule.rank(segment) for rule in self.ranked])

    def _rank_rose(self, heap: list[Head]) -> bool:
        """Puts the first lane back where it belongs by now, if that is elsewhere."""
        if not self.ranked:
            return False
        (before, key), submitted_ms, job_id, lane, walk, job = heap[0]
        rank = self.rank(lane.segment)
        if rank == before:
            return False
        heapreplace(heap, ((rank, key), submitted_ms, job_id, lane, walk, job))
        return True

    # -- what cannot start ---------------------------------------------------------------------------------------

    def _pass_over(self, lane: Lane, stop: Stop, job: Job | None = None) -> None:
        """Notes why the first job of a lane was passed over, which is said of all behind it."""
        if lane.stop is not Stop.DONE:
            return
        lane.stop = stop
        self.blocked.append(lane)
        if self.rules and job is not None and stop in (Stop.LIMITED, Stop.RULED):
            lane.reasons = self.ruled_out(lane, job)
        if stop is Stop.LIMITED and not lane.reasons:
            lane.reasons = self.limit(lane)
        elif stop is Stop.BEHIND:
            lane.reasons = (blockers.behind(self.reserved[0].job_id, self.reserved[0].start_ms),)

    def _behind(self, lane: Lane) -> None:
        """In strict order it waits for the head, whether or not it would fit."""
        if lane.stop is Stop.DONE and self.head is not None:
            lane.stop, lane.reasons = Stop.BEHIND, (blockers.behind(self.head[2]),)
            self.blocked.append(lane)

    def _waits_for_room(self, lane: Lane) -> bool:
        """Whether it gets room when something ends; what fits on no node, or on none that takes work, does not."""
        return lane.stop is Stop.BEHIND or blockers.waits_for_room(self.index, lane.segment.requirement)

    def _wait_for_room(self, head: Head) -> None:
        """A job is blocked: the first such is the head of the queue, and as many as may hold a reservation."""
        if self.head is None:
            self.head = head[:3]
        if self._has_reservations_left() and self.backfill.reserves_for(head[5], self.context):
            self._reserve(head[5])

    def _has_reservations_left(self) -> bool:
        depth = self.backfill.reservations
        return depth is None or len(self.reserved) < depth

    def _reserve(self, job: Job) -> None:
        """Keeps the earliest room for the next task of a blocked job."""
        if self.openings is None:
            self.openings = self._look_ahead()
        requirement = job.spec.requirement
        nodes = self.allowed(job, self.index.open_mask & self.index.capable(requirement))
        opening = self.openings.reserve(requirement, nodes, self.context.run_ms(job))
        if opening is not None:
            places = tuple([(self.index.ids[number], slots) for number, slots in opening.nodes])
            self.reserved.append(Reserved(job.spec.job_id, opening.start_ms, places))

    def _look_ahead(self) -> Openings:
        """What is expected to end when, from the farm and from what this cycle has started."""
        endings = expected(self.context)
        if self.over:
            endings = [each for each in endings if (each.job_id, each.attempt) not in self.over]
        if self.started:
            endings = sorted([*endings, *self.started])
        kind = Shadow if self.backfill.reservations == 1 else Outlook
        return kind(self.index, endings, self.now_ms)

    def _all_behind(self, heads: list[Head]) -> None:
        """In strict order everything that could ever start waits for the blocked head."""
        for head in heads:
            if blockers.waits_for_room(self.index, head[3].segment.requirement):
                self._behind(head[3])
            else:
                self._pass_over(head[3], Stop.LACKING)


def _queue_key(head: Head) -> QueueKey:
    return head[:3]
