"""What a cycle knows of those who cannot start: why they were passed over, and what is reserved for the first ones."""

from collections.abc import Iterator
from typing import Any

from domain.decisions import Reserved, Segment
from domain.farm import Farm
from domain.indices.endings import expected
from domain.indices.queue import Line
from domain.indices.queue import Place as QueuePlace
from domain.job.values import Job
from domain.messages import Command, JobId
from domain.planning import blockers
from domain.planning.lanes import Head, Lane, QueueKey, Shape, Stop
from domain.planning.openings import Openings, Outlook, Shadow
from domain.planning.placing import Attempts, Placing
from domain.policies import OrderKey, Policies, made
from domain.rules import Rule


class Waiting(Placing):
    """The scratch of one cycle about lanes: their places in the queue, the head, and who is blocked."""

    def __init__(
        self,
        farm: Farm,
        policies: Policies,
        now_ms: int,
        over: Attempts = (),
        rules: tuple[Rule, ...] | None = None,
    ) -> None:
        super().__init__(farm, made(policies), now_ms, over, rules)
        self.order = self.made.order
        self.same_keys = getattr(self.order, "same_in_segment", False) and self.made.static_levels
        """Whether all jobs of a lane have the same order key."""
        self.others: tuple[Command, ...] = ()
        """What rules want done besides."""
        self.shapes: dict[Any, Shape] = {}
        """By requirement; by segment where filters may tell segments apart."""
        self.lanes: dict[Segment, Lane] = {}
        self.short: list[Line] = []
        """Lines whose requirement fits nowhere from the beginning, and nothing more is asked about them."""
        self.in_lines = self.order.monotone and self.made.static_levels
        """Whether jobs stand in their lines in the order in which they are looked at."""

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

    def place_of(self, job: Job) -> QueueKey:
        """Where a job stands in the queue: jobs are looked at in this order."""
        return self.order.key(job, self.context), job.submitted_ms, job.spec.job_id

    def key_of(self, job: Job, segment: Segment) -> OrderKey:
        """The order's key, after the ranks that rules give to the segment."""
        key = self.order.key(job, self.context)
        return (self.rank(segment), key) if self.ranked else key

    # -- what cannot start ---------------------------------------------------------------------------------------

    def _pass_over(self, lane: Lane, stop: Stop, job: Job | None = None) -> None:
        """Notes why the first job of a lane was passed over, which is said of all behind it."""
        if lane.stop is not Stop.DONE:
            return
        lane.stop, lane.job = stop, job
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

    def _barred_ms(self, lane: Lane, job: Job) -> int | None:
        """From how long a need of nodes on a rule keeps all of a segment off every node where it fits."""
        requirement = lane.segment.requirement
        if requirement.slots > 1:
            return None  # a gang may fit on the nodes that are left to a shorter one
        end_ms, fitting = self.end_ms(job), self.allowed(job, self.index.fitting(requirement))
        found = [rule.barred_ms(job, fitting, end_ms) for rule in self.rules if rule.by_time]
        return min([each for each in found if each is not None], default=None)

    def _next_not_barred(self, barred_ms: int, walk: Iterator[QueuePlace]) -> QueuePlace | None:
        """The next job of a lane that needs its nodes less long than one that was kept off them, or may leave early."""
        jobs, as_requested = self.farm.jobs, self.made.as_requested
        for place in walk:
            spec = jobs[place[1]].spec
            lasts_ms = spec.walltime_ms
            if spec.checkpoints or spec.workflow_id is not None:
                return place
            if (lasts_ms is None and not as_requested) or (lasts_ms is not None and lasts_ms < barred_ms):
                return place
        return None

    def _waits_for_time(self, lane: Lane, job: Job) -> bool:
        """Whether a job that rules keep off all nodes where it fits waits for nothing but some moment to come."""
        if self.head is not None and not self._has_reservations_left():
            return False
        end_ms = self.end_ms(job)
        fitting = self.allowed(job, self.index.fitting(lane.segment.requirement))
        if not any(rule.bars(job, fitting, end_ms) for rule in self.rules if rule.by_time):
            return False
        return not any(rule.why(lane.segment, job, end_ms) for rule in self.rules if not rule.by_time)

    def _line_waits(self, line: Line) -> bool:
        """As `_waits_for_room`, remembered until something about the nodes themselves changes."""
        version, waits = line.waits
        if version != self.index.version and line.segment is not None:
            waits = blockers.waits_for_room(self.index, line.segment.requirement)
            line.waits = self.index.version, waits
        return waits

    def _wait_for_room(self, place: QueueKey, job: Job) -> None:
        """A job is blocked: the first such is the head of the queue, and as many as may hold a reservation."""
        if self.head is None:
            self.head = place
        if self._has_reservations_left() and self.backfill.reserves_for(job, self.context):
            self._reserve(job)

    def _has_reservations_left(self) -> bool:
        depth = self.backfill.reservations
        return depth is None or len(self.reserved) < depth

    def _reserve(self, job: Job) -> None:
        """Keeps the earliest room for the next task of a blocked job."""
        if self.openings is None:
            self.openings = self._look_ahead()
        requirement = job.spec.requirement
        nodes = self.allowed(job, self.index.open_mask & self.index.capable(requirement))
        run_ms = self.context.run_ms(job)
        gaps = next((found for rule in self.rules if (found := rule.gaps(job, run_ms)) is not None), None)
        opening = self.openings.reserve(requirement, nodes, run_ms, gaps)
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

    def _all_wait_for(self, job_id: JobId, heads: list[Head]) -> None:
        """In strict order, once the first job waits for room: only its own segment says what it lacks."""
        for head in heads:
            if head[2] == job_id:
                self._pass_over(head[3], Stop.LACKING)
        self._all_behind(heads)

    def _all_behind(self, heads: list[Head]) -> None:
        """In strict order everything that could ever start waits for the blocked head."""
        for head in heads:
            if blockers.waits_for_room(self.index, head[3].segment.requirement):
                self._behind(head[3])
            else:
                self._pass_over(head[3], Stop.LACKING)
