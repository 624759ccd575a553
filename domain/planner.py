"""plan(): the scheduling cycle, a pure function from the farm to decisions and reasons.

It reads the farm, places tentatively on a fork of the node index, and never touches its arguments. The queue is a merge
of segments; one that is blocked is dropped whole, so that the cost grows with shapes and starts, not with what waits.
"""

from heapq import heapify, heappop, heapreplace
from typing import Any, NamedTuple

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from domain import blockers, intervals
from domain.decisions import Blocked, Place, Plan, Reason, Segment
from domain.farm import Farm
from domain.job.values import Job, NodeSlots, Placement, PlacementReason
from domain.limits import Limits
from domain.policies import Policies
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


def plan(farm: Farm, policies: Policies, now_ms: int) -> Plan:
    """One scheduling cycle over the farm as it is, with the time given; same input, same plan."""
    cycle = _Cycle(farm, policies, now_ms)
    cycle.place_in_order()
    return Plan(
        position=farm.position,
        decisions=tuple(cycle.decisions),
        passed_over=tuple(cycle.passed_over()),
        wake_at_ms=min((ms for ms in farm.delayed.values() if ms > now_ms), default=None),
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
        self.blocked: dict[Segment, tuple[Reason, ...]] = {}
        self.shapes: dict[Any, tuple[Reason, ...]] = {}
        """Requirements that found no place; free resources only shrink within a cycle, so they stay blocked."""

    # -- the order of the queue ----------------------------------------------------------------------------------

    def place_in_order(self) -> None:
        """Looks at jobs lowest key first; a segment leaves the merge when its shape or client is blocked."""
        heap = self._heads()
        heapify(heap)
        while heap:
            _, segment, walk, job = heap[0]
            reasons = self._place(segment, job)
            if reasons is not None:
                self.blocked[segment] = reasons
                heappop(heap)
                if not self.backfill.goes_on_after(len(self.blocked)):
                    self._all_behind(job, heap)
                    return
                continue
            following = next(walk, None)
            if following is None:
                heappop(heap)
            else:
                heapreplace(heap, self._entry(segment, walk, following))

    def _heads(self) -> list["_Head"]:
        heads = []
        for segment, line in self.farm.queue.lines.items():
            walk = line.walk() if self.order.monotone else iter(self._sorted(line))
            heads.append(self._entry(segment, walk, next(walk)))
        for job_id in sorted(self.farm.delayed):
            job = self.farm.jobs[job_id]
            if self.farm.delayed[job_id] <= self.now_ms and job.startable and job_id not in self.farm.queue:
                place = (job.submitted_ms, job_id)
                heads.append(self._entry(self.farm.queue.segment_of(job), iter(()), place))
        return heads

    def _sorted(self, line: Any) -> list[QueuePlace]:
        key, jobs = self.order.key, self.farm.jobs
        return sorted(line, key=lambda place: (key(jobs[place[1]], self.now_ms), place))

    def _entry(self, segment: Segment, walk: Any, place: QueuePlace) -> "_Head":
        job = self.farm.jobs[place[1]]
        return _Head((self.order.key(job, self.now_ms), place), segment, walk, job)

    def _all_behind(self, head: Job, heap: list["_Head"]) -> None:
        """In strict order everything else waits for the blocked head."""
        behind = (blockers.behind(head.spec.job_id),)
        for entry in heap:
            self.blocked.setdefault(entry.segment, behind)

    # -- one job -------------------------------------------------------------------------------------------------

    def _place(self, segment: Segment, job: Job) -> tuple[Reason, ...] | None:
        """Places as many ready tasks as possible; the blockers if some are left, None if all found a place."""
        requirement = segment.requirement
        known = self.shapes.get(requirement)
        if known is not None:
            return known
        ready = _ready(job, self.now_ms)
        left = intervals.size(ready)
        placements: list[Placement] = []
        reasons: tuple[Reason, ...] | None = None
        why: PlacementReason | None = None
        while left:
            allowed = self.limits.allows(segment.client_id, requirement)
            if allowed is not None and allowed <= 0:
                reasons = (self.limits.reason(segment.client_id, requirement),)
                break
            fitting = self.index.fitting(requirement)
            chosen = self._choose(fitting, segment, left if allowed is None else min(left, allowed))
            if chosen is None:
                reasons = self.shapes[requirement] = blockers.of_shape(self.farm, self.index, segment, fitting)
                break
            if why is None:
                why = self._why(fitting, chosen.score)
            tasks = intervals.take(ready, chosen.tasks)
            ready = intervals.difference(ready, tasks)
            left -= chosen.tasks
            placements.append(Placement(tasks, chosen.nodes))
            self._take(segment, chosen)
        if why is not None:
            self.decisions.append(Place(job.spec.job_id, tuple(placements), why))
        return reasons

    def _choose(self, fitting: int, segment: Segment, tasks: int) -> "_Chosen | None":
        requirement = segment.requirement
        if requirement.slots > 1:
            return self._choose_gang(fitting, segment)
        if not fitting:
            return None
        number = self.placement.choose(self.index, fitting, requirement)
        score = self.placement.score(self.index, number, requirement)
        room = self.index.free[number].count_of(requirement.resources)
        if room is not None and room < tasks:
            tasks = room
        return _Chosen(tasks, ((self.index.ids[number], 1),), score)

    def _choose_gang(self, fitting: int, segment: Segment) -> "_Chosen | None":
        """All slots at once or none: nodes are filled in the order in which the placement policy would take them."""
        requirement, missing = segment.requirement, segment.requirement.slots
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
        return None if missing else _Chosen(1, tuple(nodes), score)

    def _take(self, segment: Segment, chosen: "_Chosen") -> None:
        need = segment.requirement.resources
        for node_id, slots in chosen.nodes:
            self.index.allocate(self.index.numbers[node_id], need, slots * chosen.tasks)
        self.limits.take(segment.client_id, segment.requirement, chosen.tasks)

    def _why(self, fitting: int, score: float) -> PlacementReason:
        return PlacementReason(self.placement_name, self.order_name, score, fitting.bit_count())

    # -- what was passed over ------------------------------------------------------------------------------------

    def passed_over(self) -> list[Blocked]:
        """The blocked segments with their reasons, by name."""
        lines = self.farm.queue.lines
        rows = [
            Blocked(segment.name, reasons, len(lines[segment]) if segment in lines else 1)
            for segment, reasons in self.blocked.items()
        ]
        rows.sort(key=lambda blocked: blocked.segment)
        return rows


class _Chosen(NamedTuple):
    tasks: int
    nodes: tuple[NodeSlots, ...]
    score: float


class _Head(NamedTuple):
    """The next job of a segment; the key ends with the job id, so that no two compare equal."""

    key: Any
    segment: Segment
    walk: Any
    job: Job


def _ready(job: Job, now_ms: int) -> intervals.TaskSet:
    ready = job.waiting
    for until_ms, tasks in job.delayed:
        if until_ms <= now_ms:
            ready = intervals.union(ready, tasks)
    return ready
