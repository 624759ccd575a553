"""plan(): the scheduling cycle, a pure function from the farm to decisions and reasons.

It reads the farm, places tentatively on a fork of the node index, and never touches its arguments. The queue is a merge
of segments; one that is blocked is dropped whole, so that the cost grows with shapes and starts, not with what waits.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heapreplace
from typing import Any, TypeAlias

import msgspec

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from domain import blockers, intervals
from domain.decisions import Blocked, Place, Plan, Reason, Segment
from domain.farm import Farm
from domain.job.values import Job, NodeSlots, Placement, PlacementReason
from domain.limits import Limits
from domain.messages import JobId
from domain.policies import OrderKey, Policies
from domain.queue import Line
from domain.queue import Place as QueuePlace
from domain.resources import Requirement

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


def plan(farm: Farm, policies: Policies, now_ms: int) -> Plan:
    """One scheduling cycle over the farm as it is, with the time given; same input, same plan."""
    cycle = _Cycle(farm, policies, now_ms)
    cycle.place_in_order()
    return Plan(
        position=farm.position,
        decisions=tuple(cycle.decisions),
        passed_over=tuple(cycle.passed_over()),
        wake_at_ms=_next_back_off(farm, now_ms),
    )


class _Cycle:
    """The scratch of one cycle: tentative free resources, limits, and what is blocked by now."""

    def __init__(self, farm: Farm, policies: Policies, now_ms: int) -> None:
        self.farm, self.now_ms = farm, now_ms
        self.order = policies.policy("order")
        self.order_name = policies.order
        self.placement = policies.policy("placement")
        self.placement_name = policies.placement
        self.backfill = policies.policy("backfill")
        self.index = farm.index.fork()
        self.limits = Limits(farm)
        self.decisions: list[Place] = []
        self.shapes: dict[Requirement, _Shape] = {}
        self.lanes: dict[Segment, _Lane] = {}
        self.blocked: list[_Lane] = []

    # -- the order of the queue ----------------------------------------------------------------------------------

    def place_in_order(self) -> None:
        """Looks at jobs lowest key first; a segment leaves the merge when its shape or client is blocked."""
        heap = self._heads()
        heapify(heap)
        while heap:
            _, _, _, lane, walk, job = heap[0]
            reasons = self._place(lane, job)
            if reasons is not None:
                self._block(lane, reasons)
                heappop(heap)
                if not self.backfill.goes_on_after(len(self.blocked)):
                    self._all_behind(job, heap)
                    return
                continue
            lane.waiting -= 1
            following = next(walk, None)
            if following is None:
                heappop(heap)
            else:
                heapreplace(heap, self._head(lane, walk, following))

    def _heads(self) -> "list[_Head]":
        heads = []
        for segment, line in self.farm.queue.lines.items():
            walk = line.walk() if self.order.monotone else iter(self._sorted(line))
            heads.append(self._head(self._lane(segment, len(line), line), walk, next(walk)))
        for job_id in sorted(self.farm.delayed):
            job = self.farm.jobs[job_id]
            if self.farm.delayed[job_id] <= self.now_ms and job.startable and job_id not in self.farm.queue:
                lane = self._lane(self.farm.queue.segment_of(job), 1)
                heads.append(self._head(lane, iter(()), (job.submitted_ms, job_id)))
        return heads

    def _sorted(self, line: Any) -> list[QueuePlace]:
        key, jobs = self.order.key, self.farm.jobs
        return sorted(line, key=lambda place: (key(jobs[place[1]], self.now_ms), place))

    def _lane(self, segment: Segment, waiting: int, line: Line | None = None) -> "_Lane":
        """The lane of a segment, with so many more jobs in it."""
        lane = self.lanes.get(segment)
        if lane is None:
            shape = self.shapes.get(segment.requirement)
            if shape is None:
                shape = self.shapes[segment.requirement] = _Shape()
            lane = self.lanes[segment] = _Lane(segment, shape, self.limits.concern(segment.client_id), line)
        lane.waiting += waiting
        return lane

    def _head(self, lane: "_Lane", walk: Iterator[QueuePlace], place: QueuePlace) -> "_Head":
        job = self.farm.jobs[place[1]]
        return self.order.key(job, self.now_ms), *place, lane, walk, job

    def _block(self, lane: "_Lane", reasons: tuple[Reason, ...]) -> None:
        if lane.blocked is None:
            self.blocked.append(lane)
        lane.blocked = reasons

    def _all_behind(self, head: Job, heap: "list[_Head]") -> None:
        """In strict order everything else waits for the blocked head."""
        behind = (blockers.behind(head.spec.job_id),)
        for _, _, _, lane, _, _ in heap:
            if lane.blocked is None:
                self._block(lane, behind)

    # -- one job -------------------------------------------------------------------------------------------------

    def _place(self, lane: "_Lane", job: Job) -> tuple[Reason, ...] | None:
        """Places as many ready tasks as possible; the blockers if some are left, None if all found a place."""
        segment, shape = lane.segment, lane.shape
        ready = _ready(job, self.now_ms) if job.delayed else job.waiting
        left = intervals.size(ready)
        placements: list[Placement] = []
        reasons: tuple[Reason, ...] | None = None
        why: PlacementReason | None = None
        while left:
            room = self.limits.allows(segment.client_id, segment.requirement) if lane.limited else None
            if room is not None and room <= 0:
                reasons = (self.limits.reason(segment.client_id, segment.requirement),)
                break
            reasons = shape.blocked
            if reasons is not None:
                break
            fitting = self.index.fitting(segment.requirement)
            chosen = self._choose(fitting, segment.requirement, left if room is None else min(left, room))
            if chosen is None:
                reasons = shape.blocked = blockers.of_shape(self.farm, self.index, segment, fitting)
                break
            count, nodes, score = chosen
            if why is None:
                why = PlacementReason(self.placement_name, self.order_name, score, fitting.bit_count())
            tasks = ready if count == left else intervals.take(ready, count)
            ready, left = intervals.difference(ready, tasks), left - count
            placements.append(Placement(tasks, nodes))
            self._take(lane, nodes, count)
        if why is not None:
            self.decisions.append(Place(job.spec.job_id, tuple(placements), why))
        return reasons

    def _choose(self, fitting: int, requirement: Requirement, tasks: int) -> "_Chosen | None":
        if requirement.slots > 1:
            return self._choose_gang(fitting, requirement)
        if not fitting:
            return None
        number = self.placement.choose(self.index, fitting, requirement)
        score = self.placement.score(self.index, number, requirement)
        if tasks > 1:
            room = self.index.free[number].count_of(requirement.resources)
            tasks = tasks if room is None else min(tasks, room)
        return tasks, ((self.index.ids[number], 1),), score

    def _choose_gang(self, fitting: int, requirement: Requirement) -> "_Chosen | None":
        """All slots at once or none: nodes are filled in the order in which the placement policy would take them."""
        missing = requirement.slots
        if requirement.distinct_nodes and fitting.bit_count() < missing:
            return None
        nodes: list[NodeSlots] = []
        score = 0.0
        while missing and fitting:
            number = self.placement.choose(self.index, fitting, requirement)
            score = score or self.placement.score(self.index, number, requirement)
            fitting &= ~(1 << number)
            room = 1 if requirement.distinct_nodes else self.index.free[number].count_of(requirement.resources)
            slots = missing if room is None else min(missing, room)
            nodes.append((self.index.ids[number], slots))
            missing -= slots
        return None if missing else (1, tuple(nodes), score)

    def _take(self, lane: "_Lane", nodes: tuple[NodeSlots, ...], tasks: int) -> None:
        requirement = lane.segment.requirement
        for node_id, slots in nodes:
            self.index.allocate(self.index.numbers[node_id], requirement.resources, slots * tasks)
        if lane.limited:
            self.limits.take(lane.segment.client_id, requirement, tasks)

    # -- what was passed over ------------------------------------------------------------------------------------

    def passed_over(self) -> list[Blocked]:
        """The blocked segments with their reasons, by name."""
        rows = [Blocked(lane.name, lane.blocked or (), lane.waiting) for lane in self.blocked]
        rows.sort(key=lambda blocked: blocked.segment)
        return rows


class _Shape(msgspec.Struct, gc=False):
    """What is known about one requirement: its blockers, once it has found no place.

    Free resources only shrink within a cycle, so it stays blocked.
    """

    blocked: tuple[Reason, ...] | None = None


class _Lane(msgspec.Struct, gc=False):
    """A segment in the merge: what holds for all its jobs."""

    segment: Segment
    shape: _Shape
    limited: bool
    """Whether its client may not use all it can get."""
    line: Line | None = None
    """Where its jobs stand; None when they only come back from a back-off."""
    waiting: int = 0
    """Jobs of which this cycle has not placed every task."""
    blocked: tuple[Reason, ...] | None = None
    """Why it was passed over."""

    @property
    def name(self) -> str:
        """The segment's name in the log."""
        return self.segment.name if self.line is None else self.line.name


_Head: TypeAlias = tuple[OrderKey, int, JobId, _Lane, Iterator[QueuePlace], Job]
"""The next job of a lane: order key, submit time, id (no two heads compare equal up to there), and who follows."""

_Chosen: TypeAlias = tuple[int, tuple[NodeSlots, ...], float]
"""How many tasks go to which nodes, and how well the first of these suits."""


def _next_back_off(farm: Farm, now_ms: int) -> int | None:
    """When the next back-off ends that has not ended yet; a job may have several."""
    return min((ms for job_id in farm.delayed for ms, _ in farm.jobs[job_id].delayed if ms > now_ms), default=None)


def _ready(job: Job, now_ms: int) -> intervals.TaskSet:
    ready = job.waiting
    for until_ms, tasks in job.delayed:
        if until_ms <= now_ms:
            ready = intervals.union(ready, tasks)
    return ready
