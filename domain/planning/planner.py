"""plan(): the scheduling cycle, a pure function from the farm to decisions and reasons.

It reads the farm, places tentatively on a fork of the node index, and never touches its arguments. The queue is a merge
of segments; one whose shape fits nowhere is not looked into, so that the cost grows with shapes and starts, not with
what waits. Blocked jobs hold reservations as deep as the backfill policy says, and nothing that starts delays these.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from domain.decisions import Blocked, Plan, Segment
from domain.farm import Farm
from domain.indices.queue import Line
from domain.indices.queue import Place as QueuePlace
from domain.job.values import Job
from domain.messages import JobId
from domain.planning.lanes import Head, Lane, QueueKey, Stop
from domain.planning.openings import FOREVER
from domain.planning.passed_over import PassedOver
from domain.planning.placing import Attempts
from domain.planning.waiting import Waiting
from domain.policies import Policies

CONFLICTING = (
    "node.drained",
    "node.offline",
    "node.lost",
    "node.suspected",
    "node.quarantined",
    "node.stopping",
    "node.maintenance_started",
    "node.capabilities_changed",
    "node.retired",
    "client.shares_changed",
    "client.suspended",
    "reservation.made",
    "reservation.changed",
    "policies.adopted",
    "dependency.declared",
    "dependency.reopened",
    "client.protection_changed",
    "job.tasks_placed",
    "job.tasks_resumed",
    "job.room_claimed",
)
"""Topics that could make a decision of a plan wrong; everything about the jobs placed is guarded by their versions."""


def plan(farm: Farm, policies: Policies, now_ms: int, *, over: Attempts = ()) -> Plan:
    """One scheduling cycle over the farm as it is, with the time given; same input, same plan.

    Attempts that are `over` count as ended although nobody has said so yet: for agreement with simulators that look
    at the ends they expect, and not only at those that came.
    """
    cycle = Cycle(farm, policies, now_ms, over)
    if not cycle.closing and nothing_waits(farm, now_ms):
        return Plan(farm.position, (), (), farm.next_back_off(now_ms))
    cycle.run()
    return cycle.plan(cycle.passed_over().rows())


def nothing_waits(farm: Farm, now_ms: int) -> bool:
    """Whether no task could be placed, were there any amount of room."""
    return not farm.queue.lines and not farm.delayed_due(now_ms)


def fits_now(farm: Farm, policies: Policies, job: Job, now_ms: int, *, over: Attempts = ()) -> bool:
    """Whether one task of a job has room at this moment, nothing being reserved."""
    return Cycle(farm, policies, now_ms, over).has_room(job)


class Cycle(Waiting):
    """One cycle: the queue in order, reservations for blocked heads, and what was passed over."""

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
        wakes = [rule.wake_at_ms() for rule in self.closing]
        return min(
            [at_ms for at_ms in (self.farm.next_back_off(self.now_ms), *wakes) if at_ms is not None], default=None
        )

    def passed_over(self) -> PassedOver:
        """The blocked segments with their reasons."""
        overtaken = self.backfill.overtakes
        found = PassedOver(self.farm, self.index, self.made, self.context, overtaken=overtaken)
        found.add(self.blocked)
        found.add_short(self.short)
        return found

    def has_room(self, job: Job) -> bool:
        """Whether one more task of a job could start now."""
        fitting = self.allowed(job, self.index.fitting(job.spec.requirement))
        return self.choose(job, fitting, 1, FOREVER) is not None

    def run(self) -> None:
        """Everything: the queue in its order, then what rules add."""
        self.place_in_order()
        self.others = tuple([command for rule in self.closing for command in rule.end(self)])

    # -- the order of the queue ----------------------------------------------------------------------------------

    def place_in_order(self) -> None:
        """Looks at jobs lowest key first; a segment leaves the merge when nothing of it can start any more."""
        backfill = self.backfill
        one_head = (backfill.reservations == 1 or not backfill.overtakes) and backfill.for_anybody and not self.rules
        heap = self._heads(one_head and not self.filters)
        if one_head:
            heap = self._place_until_blocked(heap)
        heapify(heap)
        while heap:
            if self._rank_rose(heap):
                continue
            lane, _, job = heap[0][3:]
            stop = self.place(lane, job)
            if stop is Stop.LATER:
                continue
            if stop is Stop.DONE:
                lane.waiting -= 1
                self._advance(heap)
            elif self._goes_on(heap, lane, job, stop):
                self._advance(heap)
            else:
                heappop(heap)
                if self.head is not None and not backfill.overtakes:
                    self._all_behind(heap)
                    return

    def _goes_on(self, heap: list[Head], lane: Lane, job: Job, stop: Stop) -> bool:
        """Whether another job of a lane may start, or hold a reservation, where its first one could not start."""
        self._pass_over(lane, stop, job)
        if stop is Stop.LIMITED:
            return False
        if stop is Stop.RULED:
            if lane.barred_ms is None and not self._has_reservations_left():
                lane.barred_ms = self._barred_ms(lane, job)
            if not self._waits_for_time(lane, job):
                return True
        if self.head is None or self._has_reservations_left():
            if not self._waits_for_room(lane):
                return False
            self._wait_for_room(heap[0][:3], job)
        return self.backfill.overtakes and (stop is not Stop.LACKING or self._has_reservations_left())

    def _place_until_blocked(self, heap: list[Head]) -> list[Head]:
        """The usual case, at most one reservation: what lacks room from the beginning is only compared, not looked at.

        Returns what is left to be looked at once the head of the queue is blocked and holds its reservation: what fits
        beside it; and everybody, if there is no telling when the head can start.
        """
        first = self._first_short()
        heapify(heap)
        while heap and (first is None or heap[0][:3] < first):
            lane, _, job = heap[0][3:]
            stop = self.place(lane, job)
            if stop is Stop.DONE:
                lane.waiting -= 1
                self._advance(heap)
                continue
            self._pass_over(lane, stop)
            if stop is Stop.LACKING and self._waits_for_room(lane):
                first = heap[0][:3]
                break
            heappop(heap)
        if first is None:
            return []
        self._wait_for_room(first, self.farm.jobs[first[2]])
        if not self.backfill.overtakes:
            self._all_wait_for(first[2], heap + self._look_at_short())
            return []
        return heap + self._look_at_short() if self._has_reservations_left() else self._beside_the_head(heap)

    def _first_short(self) -> QueueKey | None:
        """The first place in the queue where somebody waits for room, of those that lack it from the beginning."""
        first: QueueKey | None = None
        jobs, context, key_of, in_lines = self.farm.jobs, self.context, self.order.key, self.in_lines
        for line in self.short:
            if self._line_waits(line):
                for submitted_ms, job_id in (line.first(),) if in_lines else line:
                    key = key_of(jobs[job_id], context), submitted_ms, job_id
                    if first is None or key < first:
                        first = key
        return first

    def _look_at_short(self) -> list[Head]:
        """The heads of the lines that lack room from the beginning, to be looked at after all."""
        heads = [self._line_head(line) for line in self.short]
        self.short = []
        return heads

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
            elif self._is_too_long(lane):
                self._pass_over(lane, Stop.BEHIND)
            else:
                short = self._short_ones(lane, (job.submitted_ms, job.spec.job_id), walk)
                following = next(short, None)
                if following is not None:
                    kept.append(self._head(lane, short, following))
        return kept

    def _is_too_long(self, lane: Lane) -> bool:
        """Whether every job of a lane is known to end after the reservation begins, without a look at each."""
        if lane.line is None or not self.made.as_requested:
            return False
        return self.now_ms + lane.line.shortest_ms(self.farm.jobs) > self.reserved[0].start_ms

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
        following = next(walk, None) if lane.barred_ms is None else self._next_not_barred(lane.barred_ms, walk)
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
                self._wait_for_room(key, job)

    def _heads(self, ask: bool) -> list[Head]:
        """The first job of every lane; but if asked for, what fits nowhere now is set aside as `short`."""
        heads: list[Head] = []
        back = self._back_from_delay()
        apart = {self.farm.queue.segment_of(job) for job in back}
        scarce = self.index.scarce()
        for segment, line in self.farm.queue.lines.items():
            if ask and self._is_short(segment, line, scarce) and segment not in apart:
                self.short.append(line)
            else:
                heads.append(self._line_head(line))
        for job in back:
            lane = self._lane(self.farm.queue.segment_of(job), 1)
            heads.append(self._head(lane, iter(()), (job.submitted_ms, job.spec.job_id)))
        return heads

    def _is_short(self, segment: Segment, line: Line, scarce: tuple[int, int, int]) -> bool:
        """Whether a line's requirement fits nowhere now, which says it all if its client has no limit."""
        need = line.need
        if (
            need.millicores < scarce[0]
            and need.memory_mib < scarce[1]
            and need.gpus < scarce[2]
            and self.index.fitting(segment.requirement)
        ):
            return False
        return not self.limits.concern(segment.client_id)

    def _back_from_delay(self) -> list[Job]:
        """Jobs whose only tasks to be placed come back from a back-off."""
        due = self.farm.delayed_due(self.now_ms)
        jobs = [self.farm.jobs[job_id] for job_id in due if job_id not in self.farm.queue]
        return [job for job in jobs if job.startable]

    def _line_head(self, line: Line) -> Head:
        """The first job of a line, in a lane with all that stand there."""
        walk = line.walk() if self.in_lines else iter(self._sorted(line))
        place = next(walk)
        segment = line.segment or self.farm.queue.segment_of(self.farm.jobs[place[1]])
        return self._head(self._lane(segment, len(line), line), walk, place)

    def _sorted(self, line: Line) -> list[QueuePlace]:
        key, jobs, context = self.order.key, self.farm.jobs, self.context
        return sorted(line, key=lambda place: (key(jobs[place[1]], context), place))

    def _head(self, lane: Lane, walk: Iterator[QueuePlace], place: QueuePlace) -> Head:
        job = self.farm.jobs[place[1]]
        return self.key_of(job, lane.segment), *place, lane, walk, job

    def _rank_rose(self, heap: list[Head]) -> bool:
        """Puts the first lane back where it belongs by now, if that is elsewhere."""
        if not self.ranked:
            return False
        (before, key), submitted_ms, job_id, lane, walk, job = heap[0]
        if before == self.last_rank:
            return False
        rank = self.rank(lane.segment)
        if rank == before:
            return False
        heapreplace(heap, ((rank, key), submitted_ms, job_id, lane, walk, job))
        return True
