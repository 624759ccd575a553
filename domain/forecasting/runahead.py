"""When everything that lives will have ended: the farm run ahead once, as it stands, with the run times it has learned.

A list schedule (Graham 1969): whenever an attempt ends, what stands first in the queue and fits takes the room, node by
node, within the limits of clients and after predecessors. Left out are reservations of blocked jobs, failures, power,
and what is still to be submitted.

Errors travel along. What the runs before a start have in common puts it off as a whole; their own errors do so divided
by how many run side by side, because whichever ends first makes the room: a pooled renewal process, whose variance is
that of one of its parts over their number (Cox 1962). A job ends with the latest of its tasks (Clark 1961). Runs that
started together would all end together; so that room comes piecemeal, as it will, each frees its own a little sooner or
later than expected, by the quantiles of its error in a fixed order.
"""

import math
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import msgspec

from domain.forecasting.chances import Run, latest, latest_of, outlived
from domain.forecasting.scene import Going, Lane, Place, Scene, Work
from domain.indices.nodeindex import bits, slots_in
from domain.messages import JobId

MOST_STARTS = 25_000
"""So many starts are walked, those of one job on one node in one moment as one; the rest is spread over the farm."""
MOST_LOOKS = 400_000
"""So often a lane is held against what has become free."""

FEW = 3
"""So many nodes are looked at one by one; of more the index knows at once which of them fit."""

Nodes: TypeAlias = tuple[tuple[int, int], ...]
"""(node number, slots)."""


def _stagger() -> Iterator[float]:
    """Quantiles of a normal distribution, spread evenly whatever their number, and none without its opposite."""
    yield 0.0
    normal = NormalDist()
    for parts in (4, 8, 16, 32, 64):
        for part in range(1, parts // 2, 2):
            quantile = normal.inv_cdf(part / parts)
            yield from (-quantile, quantile)


_STAGGER = tuple(_stagger())


class End(NamedTuple):
    """When a job ends: a normal distribution."""

    mean_ms: float
    deviation_ms: float = 0.0


class Cause(NamedTuple):
    """What an end, or a moment, hands on to what starts then."""

    pooled: float = 0.0
    """Variance that comes from the own errors of runs before, in ms²."""
    common_ms: float = 0.0
    """Deviation that comes from what these runs have in common."""

    def worse(self, other: "Cause") -> "Cause":
        """The larger of both parts."""
        return Cause(max(self.pooled, other.pooled), max(self.common_ms, other.common_ms))


_NOW = Cause()


class _Course(msgspec.Struct, eq=False, dict=False):
    """One job on its way through a walk."""

    work: Work
    ready: int
    left: int
    """Tasks that have not ended."""
    open: int
    """Predecessors that have not completed."""
    cause: Cause = _NOW
    """What its start or its last end so far depends on."""
    end_ms: float = -math.inf
    own: float = 0.0
    """Mean and variance of the latest end so far, without the errors of its start."""
    followers: list["_Course"] = []


class _Line(msgspec.Struct, eq=False):
    """The jobs of one lane that have tasks to start, the first in the queue first."""

    lane: Lane
    queue: list[tuple[Place, _Course]] = []
    lacking: bool = False
    """Whether it fitted nowhere when it was tried last: only where room has come since can it fit."""


class _Bundle(NamedTuple):
    """Attempts of one job that were started together in the same place: their room becomes free."""

    course: _Course | None
    lane: Lane
    nodes: Nodes
    tasks: int
    run: Run
    cause: Cause


class _Over(NamedTuple):
    """One of two moments, or both: the expected end of attempts, and when their room becomes free."""

    bundle: _Bundle
    ends: bool
    frees: bool


class _Arrival(NamedTuple):
    """Tasks that may start from a moment on."""

    course: _Course
    tasks: int


class Walk:
    """One run ahead. `shortest`: what no past run tells of takes no time; else as long as requested, or for ever."""

    def __init__(self, scene: Scene, shortest: bool = False) -> None:
        self.ends: dict[JobId, End] = {}
        """Of all jobs that end by themselves, up to the last one with a deadline."""
        self._scene, self._shortest = scene, shortest
        self._index, self._limits = scene.index.fork(), scene.limits[shortest]
        self._now_ms = scene.now_ms
        self._events: list[tuple[int, int, _Over | _Arrival]] = []
        self._entered = 0
        self._running: dict[int, int] = {}
        """How many attempts run of lanes that may use the same nodes."""
        self._turns: dict[int, int] = {}
        """Whose turn it is there to end a little sooner or later."""
        self._starts, self._looks = MOST_STARTS, MOST_LOOKS
        self._lines: dict[int, _Line] = {}
        self._courses = {each.job_id: _course(each) for each in scene.works.values()}
        self._wanted = len(scene.wanted.keys() & self._courses.keys())
        self._begin()
        while self._events and self._wanted:
            self._step()
        if self._wanted:
            self._spread()

    # -- the beginning -------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for course in self._courses.values():
            for job_id in course.work.behind:
                course.open += 1  # for ever, if that one does not come to its end by itself
                before = self._courses.get(job_id)
                if before is not None:
                    before.followers.append(course)
        for going in self._scene.going:
            self._take(going)
        for course in self._courses.values():
            if not course.open:
                self._admit(course, self._now_ms)

    def _take(self, going: Going) -> None:
        self._count(going.lane, 1)
        run = self._rest_of(going)
        if run is not None and not going.stands:
            course = self._courses.get(going.job_id)
            end_ms = max(self._now_ms, going.since_ms + run.mean_ms)
            self._expect(end_ms, _Bundle(course, going.lane, going.nodes, 1, run, _NOW))

    def _rest_of(self, going: Going) -> Run | None:
        """How long an attempt runs in all; None if nobody knows."""
        lived_ms = max(0, self._now_ms - going.since_ms)
        if going.stopping:
            return Run(lived_ms)
        if going.run is not None:
            return outlived(going.run, lived_ms, going.most_ms)
        if self._shortest:
            return Run(lived_ms)
        return None if going.most_ms is None else Run(going.most_ms)

    def _admit(self, course: _Course, at_ms: float) -> None:
        """All predecessors of a job have completed: its tasks may start as soon as their own times have come."""
        ready, course.ready = course.ready, 0
        if ready:
            self._enter(at_ms, _Arrival(course, ready))
        for from_ms, count in course.work.later:
            self._enter(max(at_ms, from_ms), _Arrival(course, count))

    def _expect(self, end_ms: float, bundle: _Bundle) -> None:
        """Enters the expected end of attempts, and when their room becomes free."""
        free_ms, nodes = end_ms, bundle.lane.nodes
        if bundle.run.own and self._running.get(nodes, 0) > 1:
            turn = self._turns.get(nodes, 0)
            self._turns[nodes] = (turn + 1) % len(_STAGGER)
            free_ms = max(self._now_ms + 1, end_ms + _STAGGER[turn] * math.sqrt(bundle.run.own))
        if free_ms == end_ms:
            self._enter(end_ms, _Over(bundle, True, True))
            return
        self._enter(end_ms, _Over(bundle, True, False))
        self._enter(free_ms, _Over(bundle, False, True))

    def _enter(self, at_ms: float, event: _Over | _Arrival) -> None:
        self._entered += 1
        heappush(self._events, (math.ceil(at_ms), self._entered, event))

    # -- one moment ----------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Everything that ends or arrives in the next moment, then whatever can start."""
        events, freed, cause = self._events, 0, _NOW
        self._now_ms = events[0][0]
        while events and events[0][0] == self._now_ms:
            event = heappop(events)[2]
            if isinstance(event, _Arrival):
                cause = cause.worse(self._arrive(event))
                continue
            bundle, ends, frees = event
            if ends:
                self._note(bundle)
            if frees:
                cause = cause.worse(self._free(bundle))
                for number, _ in bundle.nodes:
                    freed |= 1 << number
        self._serve(freed, cause)

    def _arrive(self, arrival: _Arrival) -> Cause:
        course = arrival.course
        if not course.ready:
            lane = course.work.lane
            line = self._lines.get(id(lane))
            if line is None:
                line = self._lines[id(lane)] = _Line(lane)
            heappush(line.queue, (course.work.place, course))
        course.ready += arrival.tasks
        return course.cause

    def _free(self, bundle: _Bundle) -> Cause:
        """The room of attempts is free; what they hand on to those who take it."""
        lane, count = bundle.lane, bundle.tasks
        beside = self._count(lane, -count) + count
        for number, slots in bundle.nodes:
            self._index.release(number, lane.requirement.resources, slots * count)
        if lane.limited:
            self._limits.take(lane.client_id, lane.requirement, -count)
        pooled, common_ms = bundle.cause
        return Cause(pooled + bundle.run.own / beside, common_ms + bundle.run.common_ms)

    def _note(self, bundle: _Bundle) -> None:
        """Some tasks of a job have ended, perhaps the last ones."""
        course = bundle.course
        if course is None:
            return
        pooled, common_ms = bundle.cause
        course.left -= bundle.tasks
        course.cause = course.cause.worse(Cause(pooled, common_ms + bundle.run.common_ms))
        end_ms, own = latest_of(bundle.tasks, self._now_ms, bundle.run.own)
        if course.end_ms > -math.inf:
            end_ms, own = latest(course.end_ms, course.own, end_ms, own)
        course.end_ms, course.own = end_ms, own
        if course.left == 0:
            self._complete(course)

    def _complete(self, course: _Course) -> None:
        job_id, (pooled, common_ms) = course.work.job_id, course.cause
        self.ends[job_id] = End(course.end_ms, math.sqrt(course.own + pooled + common_ms * common_ms))
        self._wanted -= job_id in self._scene.wanted
        for follower in course.followers:
            follower.open -= 1
            follower.cause = follower.cause.worse(Cause(pooled + course.own, common_ms))
            if not follower.open:
                self._admit(follower, max(self._now_ms, course.end_ms))

    # -- starting ------------------------------------------------------------------------------------------------

    def _serve(self, freed: int, cause: Cause) -> None:
        """Starts what can, in the order of the queue; `freed` are the nodes where room has come."""
        strict = not self._scene.overtakes
        heads = []
        for line in self._lines.values():
            came = freed & line.lane.nodes
            if strict and came:
                line.lacking = False  # it may not get its turn now
            if line.queue and (strict or came or not line.lacking):
                heads.append((line.queue[0][0], line))
        self._looks -= len(self._lines)
        if len(heads) > 1:
            heapify(heads)
        while heads and self._starts > 0 and self._looks > 0:
            line = heappop(heads)[1]
            if self._fill(line, freed, cause):
                if line.queue:
                    heappush(heads, (line.queue[0][0], line))
            elif strict:
                return

    def _fill(self, line: _Line, freed: int, cause: Cause) -> bool:
        """Starts the tasks of the first job of a line, as many as fit; whether all did."""
        course = line.queue[0][1]
        while course.ready:
            if self._starts <= 0:
                return False
            allowed = self._allowed(line.lane, course.ready)
            if allowed <= 0:
                line.lacking = False  # what has become free meanwhile was not looked at
                return False
            found = self._find(line, freed, allowed)
            if found is None:
                line.lacking = True
                return False
            self._start(course, found[0], found[1], cause)
        heappop(line.queue)
        line.lacking = line.lacking and bool(line.queue)
        return True

    def _allowed(self, lane: Lane, tasks: int) -> int:
        if not lane.limited:
            return tasks
        allowed = self._limits.allows(lane.client_id, lane.requirement)
        return tasks if allowed is None else min(tasks, allowed)

    def _find(self, line: _Line, freed: int, most: int) -> tuple[Nodes, int] | None:
        """Nodes with room, and for how many tasks there."""
        lane, index = line.lane, self._index
        need = lane.requirement.resources
        if lane.requirement.slots > 1:
            gang = self._find_gang(lane)
            return None if gang is None else (gang, 1)
        nodes = freed & lane.nodes if line.lacking else lane.nodes
        if line.lacking and nodes.bit_count() <= FEW:
            free = index.free
            number = next((each for each in bits(nodes) if free[each].fits(need)), -1)
        else:
            number = index.best_fit(nodes & self._fitting(lane), need)
        if number < 0:
            return None
        room = 1 if most == 1 else index.free[number].count_of(need)
        return ((number, 1),), most if room is None else min(most, room)

    def _fitting(self, lane: Lane) -> int:
        """The nodes of a lane that can hold one slot now."""
        nodes = lane.nodes
        for resource, amount in lane.needs:
            nodes &= self._index.at_least(resource, amount)
        return nodes

    def _find_gang(self, lane: Lane) -> Nodes | None:
        """The roomiest nodes first, until all slots of one task have a place."""
        rooms = self._index.rooms(self._fitting(lane), lane.requirement)
        left, nodes = lane.requirement.slots, []
        if slots_in(rooms) < left:
            return None
        for room in sorted(rooms, reverse=True):
            for number in bits(rooms[room]):
                if left > 0 and room > 0:
                    nodes.append((number, min(room, left)))
                    left -= room
        return tuple(nodes)

    def _start(self, course: _Course, nodes: Nodes, count: int, cause: Cause) -> None:
        work, lane = course.work, course.work.lane
        for number, slots in nodes:
            self._index.allocate(number, lane.requirement.resources, slots * count)
        if lane.limited:
            self._limits.take(lane.client_id, lane.requirement, count)
        course.ready -= count
        self._count(lane, count)
        self._starts -= 1
        run = self._whole_run(work)
        if run is not None:
            self._expect(self._now_ms + run.mean_ms, _Bundle(course, lane, nodes, count, run, cause))

    def _count(self, lane: Lane, tasks: int) -> int:
        running = self._running[lane.nodes] = self._running.get(lane.nodes, 0) + tasks
        return running

    def _whole_run(self, work: Work) -> Run | None:
        if work.run is not None:
            return work.run
        if self._shortest:
            return Run(1)
        return None if work.most_ms is None else Run(work.most_ms)

    # -- what was not walked -------------------------------------------------------------------------------------

    def _spread(self) -> None:
        """Gives an end to what still waits when the walk was cut short: in the order of the queue, over all cores."""
        if self._starts > 0 and self._looks > 0:
            return
        amount, millicores = 0.0, max(1, self._scene.millicores)
        for _, course in sorted(head for line in self._lines.values() for head in line.queue):
            run, requirement = self._whole_run(course.work), course.work.lane.requirement
            if run is None:
                continue
            amount += run.mean_ms * course.ready * requirement.slots * requirement.resources.millicores
            waits_ms = amount / millicores
            error = run.deviation_ms / run.mean_ms
            self.ends[course.work.job_id] = End(self._now_ms + waits_ms + run.mean_ms, error * waits_ms + run.mean_ms)


def _course(work: Work) -> _Course:
    left = work.ready + work.running + sum([count for _, count in work.later])
    return _Course(work, work.ready, left, 0)
