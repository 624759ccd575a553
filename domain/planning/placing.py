"""Where tasks go: the tentative part of a cycle, on a fork of the node index, beside limits and reservations."""

from collections.abc import Callable, Collection
from functools import partial
from typing import TypeAlias

from domain import intervals
from domain.decisions import Place, Reason, Reserved, Segment
from domain.farm import Farm
from domain.indices.endings import Ending
from domain.indices.nodeindex import bits, slots_in
from domain.job.values import AttemptNumber, Job, Placement, PlacementReason, coarse
from domain.messages import JobId
from domain.planning.lanes import Lane, QueueKey, Stop
from domain.planning.limits import Limits
from domain.planning.openings import FOREVER, Openings
from domain.policies import Context, Made
from domain.resources import Requirement
from domain.rules import Rule, rules_of

Attempts: TypeAlias = Collection[tuple[JobId, AttemptNumber]]

Rank: TypeAlias = int | tuple[int, ...]
"""One number where a single rule has a say, else one for each."""
_Chosen: TypeAlias = tuple[int, tuple[tuple[int, int], ...], float]
"""How many tasks go to which nodes (number, slots of one task), and how well the first of these suits."""


def _ranker(rules: tuple[Rule, ...]) -> Callable[[Segment], Rank]:
    """What the rules that rank say of a segment; not a method, so that a cycle is freed as soon as it is over."""
    return rules[0].rank if len(rules) == 1 else partial(_ranks, rules)


def _ranks(rules: tuple[Rule, ...], segment: Segment) -> Rank:
    return tuple([rule.rank(segment) for rule in rules])


class Placing:
    """The scratch of one cycle: tentative free resources, limits, reservations, and what is placed by now."""

    def __init__(
        self, farm: Farm, made: Made, now_ms: int, over: Attempts = (), rules: tuple[Rule, ...] | None = None
    ) -> None:
        """`rules` are those of this moment, where somebody has asked for them already."""
        self.farm, self.made, self.now_ms, self.over = farm, made, now_ms, over
        self.context = Context(farm, made, now_ms)
        self.backfill, self.filters = made.backfill, made.filters
        self.ends_matter = made.backfill.reservations != 0
        self.index = farm.index
        """The farm's own until something is placed; see `_own_index`."""
        self.limits = Limits(farm)
        self.openings: Openings | None = None
        self.reserved: list[Reserved] = []
        self.head: QueueKey | None = None
        """The first job that waits for room, by its place in the queue."""
        self.started: list[Ending] = []
        """What this cycle has placed, until there are reservations that follow it themselves."""
        self.decisions: list[Place] = []
        self.blocked: list[Lane] = []
        """What was passed over by now, in the order in which it was looked at."""
        self.partly: dict[JobId, tuple[int, intervals.TaskSet]] = {}
        """Jobs whose rank rose while they were placed: which decision that is, and the tasks that are left."""
        self.closing = rules_of(farm, made, now_ms) if rules is None else rules
        """All rules of this moment: those that are asked while tasks are placed, and those that only end the cycle."""
        self.rules: tuple[Rule, ...] = tuple([rule for rule in self.closing if not rule.only_ends])
        self.ranked = tuple([rule for rule in self.rules if rule.ranks])
        """The rules that put segments before others."""
        self.rank: Callable[[Segment], Rank] = _ranker(self.ranked)
        """What rules make of a segment by now."""
        self.last_rank = self.ranked[0].last_rank if len(self.ranked) == 1 else None
        """The rank that cannot rise any further."""
        for job_id, number in over:
            self._release(farm.jobs[job_id], number)
        for rule in self.rules:
            rule.begin(self)

    def _own_index(self) -> None:
        """From now on tentative: the farm's index stays as it is."""
        if self.index is self.farm.index:
            self.index = self.farm.index.fork()
            if self.openings is not None:
                self.openings.index = self.index

    def _release(self, job: Job, number: AttemptNumber) -> None:
        self._own_index()
        attempt = job.live[number]
        for node_id, slots in attempt.nodes:
            self.index.release(self.index.numbers[node_id], attempt.held(job.spec.requirement.resources), slots)

    def place(self, lane: Lane, job: Job) -> Stop:
        """Places as many ready tasks of a job as possible, and says why no more."""
        requirement = lane.segment.requirement
        ready = _ready(job, self.now_ms) if job.delayed else job.waiting
        before, ready = self.partly.pop(job.spec.job_id, (-1, ready)) if self.partly else (-1, ready)
        left = intervals.size(ready)
        rank = self.rank(lane.segment) if self.ranked and left > 1 else None
        placements: list[Placement] = []
        stop = Stop.DONE
        why: PlacementReason | None = None
        end_ms = self.end_ms(job) if self.ends_matter or self.rules else FOREVER
        while left:
            stop, most = self._may(lane, job, left, end_ms, rank if placements else None)
            if most <= 0:
                break
            fitting = self.index.fitting(requirement)
            if self.filters:
                fitting = self.allowed(job, fitting)
            usable = self.ruled(job, fitting, end_ms) if self.rules else fitting
            best = self.preferred(job, usable, end_ms) if self.rules else usable
            chosen = self.choose(job, best, most, end_ms) if best else None
            if chosen is None:
                stop = (
                    self._why_not(lane, job, usable, fitting) if usable or not fitting else self._barred(job, fitting)
                )
                break
            count, taken, score = chosen
            if why is None:
                why = self._why(job, score, fitting)
            if count == left:
                tasks, left = ready, 0
            else:
                tasks, left = _first(job, ready, count), left - count
                ready = intervals.difference(ready, tasks)
            ids = self.index.ids
            placements.append(Placement(tasks, tuple([(ids[number], slots) for number, slots in taken])))
            self._take(lane, job, taken, count, end_ms)
        if why is not None:
            before = self._decide(job, tuple(placements), why, before)
        if stop is Stop.LATER:
            self.partly[job.spec.job_id] = before, ready
        return stop

    def _may(self, lane: Lane, job: Job, left: int, end_ms: int, rank: Rank | None) -> tuple[Stop, int]:
        """How many of so many tasks may start, as far as rank, limits, rules and shape go; what none at all means."""
        if rank is not None and self.rank(lane.segment) != rank:
            return Stop.LATER, 0
        if lane.shape.lacking and not lane.limited:
            return Stop.LACKING, 0  # before rules are asked, who have to say something else only as long as it fits
        stop, most = Stop.DONE, left
        if lane.limited or self.rules:
            stop, most = self._most(lane, job, left, end_ms)
        return (Stop.LACKING, 0) if most > 0 and lane.shape.lacking else (stop, most)

    def _barred(self, job: Job, fitting: int) -> Stop:
        """What it means that rules leave a job no node: nothing for others, unless a rule treats a segment alike."""
        end_ms = self.end_ms(job)
        for rule in self.rules:
            if rule.alike and not rule.allowed(job, fitting, end_ms):
                return Stop.LIMITED
        return Stop.RULED

    def _decide(self, job: Job, placements: tuple[Placement, ...], why: PlacementReason, before: int) -> int:
        """Adds to what was decided for a job before, if anything was; which decision that is."""
        if before < 0:
            self.decisions.append(Place(job.spec.job_id, placements, why))
            return len(self.decisions) - 1
        known = self.decisions[before]
        self.decisions[before] = Place(job.spec.job_id, known.placements + placements, known.reason)
        return before

    def end_ms(self, job: Job) -> int:
        """When an attempt of a job that starts now is expected to end."""
        run_ms = self.context.run_ms(job)
        return FOREVER if run_ms is None else self.now_ms + run_ms

    def allowed(self, job: Job, nodes: int) -> int:
        """Those nodes of a mask that no filter keeps a job off."""
        for rule in self.filters:
            nodes = rule.mask(job, nodes, self.index, self.context) if nodes else 0
        return nodes

    def ruled(self, job: Job, nodes: int, end_ms: int) -> int:
        """Those nodes of a mask that no rule keeps a job off which ends at `end_ms`."""
        for rule in self.rules:
            nodes = rule.allowed(job, nodes, end_ms) if nodes else 0
        return nodes

    def preferred(self, job: Job, nodes: int, end_ms: int) -> int:
        """Those nodes of a mask that a job should be given first, if rules say so and these are enough for it."""
        for rule in self.rules:
            nodes = rule.preferred(job, nodes, end_ms) if nodes else 0
        return nodes

    def _most(self, lane: Lane, job: Job, most: int, end_ms: int) -> tuple[Stop, int]:
        """How many of so many tasks limits and rules let start, and what none at all means."""
        stop = Stop.DONE
        if lane.limited:
            left = self.limits.allows(lane.segment.client_id, lane.segment.requirement)
            if left is not None and left < most:
                most = left
                if left <= 0:
                    return Stop.LIMITED, 0
        for rule in self.rules:
            room = rule.room(lane.segment, job, end_ms)
            if room is not None and room < most:
                most = room
                if room <= 0:
                    stop = Stop.LIMITED if rule.whole else Stop.RULED
                    break
        return stop, most

    def ruled_out(self, lane: Lane, job: Job) -> tuple[Reason, ...]:
        """What rules have against a job, all of them."""
        end_ms = self.end_ms(job)
        return tuple([reason for rule in self.rules for reason in rule.why(lane.segment, job, end_ms)])

    def _why(self, job: Job, score: float, fitting: int) -> PlacementReason:
        made, policies = self.made, self.made.policies
        placement = policies.placement if made.uniform else made.name_of("placement", job.spec.client_id)
        if self.head is None:
            return PlacementReason(placement, policies.order, score, fitting.bit_count())
        head = self.head[2]
        kept = self.reserved[0].start_ms if self.reserved and self.reserved[0].job_id == head else None
        return PlacementReason(placement, policies.order, score, fitting.bit_count(), head, kept)

    def _why_not(self, lane: Lane, job: Job, usable: int, fitting: int) -> Stop:
        """Behind a reservation, if it would fit without; else its shape lacks room, which holds for all alike.

        A gang that would fit on more nodes than rules leave it lacks nothing but these.
        """
        if self.reserved and usable and self.choose(job, usable, 1, 0) is not None:
            return Stop.BEHIND
        if usable != fitting and self.choose(job, fitting, 1, 0) is not None:
            return Stop.RULED
        lane.shape.lacking = True
        return Stop.LACKING

    def choose(self, job: Job, fitting: int, tasks: int, end_ms: int) -> _Chosen | None:
        """Nodes for up to so many tasks of a job, of those that fit; None if the reservations leave none."""
        requirement = job.spec.requirement
        if requirement.slots > 1:
            return self._choose_gang(job, fitting, end_ms)
        if self.openings is not None:
            fitting = self.openings.beside(requirement, fitting, end_ms)
        if not fitting:
            return None
        made = self.made
        placement = made.placement if made.uniform else made.of("placement", job.spec.client_id)
        number = placement.choose(job, fitting, self.index, self.context)
        score = placement.score(job, number, self.index, self.context)
        if tasks > 1 and getattr(placement, "one_at_a_time", False):
            tasks = 1
        elif tasks > 1:
            room = self._room(number, requirement, end_ms)
            tasks = tasks if room is None else min(tasks, room)
        return tasks, ((number, 1),), score

    def _room(self, number: int, requirement: Requirement, end_ms: int) -> int | None:
        """How many slots fit on a node now, beside the reservations; None means without bound."""
        room = self.index.free[number].count_of(requirement.resources)
        if self.openings is None:
            return room
        beside = self.openings.room(number, requirement.resources, end_ms)
        return room if beside is None else beside if room is None else min(room, beside)

    def _choose_gang(self, job: Job, fitting: int, end_ms: int) -> _Chosen | None:
        """All slots at once or none: nodes are filled in the order in which the placement policy would take them."""
        requirement = job.spec.requirement
        missing = requirement.slots
        rooms = self._gang_rooms(requirement, fitting, end_ms)
        if slots_in(rooms) < missing:
            return None
        placement = self.made.of("placement", job.spec.client_id)
        nodes: list[tuple[int, int]] = []
        score = 0.0
        while missing:
            number = placement.choose(job, fitting, self.index, self.context)
            fitting &= ~(1 << number)
            slots = min(missing, next(room for room, mask in rooms.items() if mask >> number & 1))
            if slots:
                score = score or placement.score(job, number, self.index, self.context)
                nodes.append((number, slots))
                missing -= slots
        return 1, tuple(nodes), score

    def _gang_rooms(self, requirement: Requirement, fitting: int, end_ms: int) -> dict[int, int]:
        """Slots → nodes that have so many for a task of a gang, beside the reservations."""
        rooms = self.index.rooms(fitting, requirement)
        if self.openings is None:
            return rooms
        for number in bits(self.openings.bounded(end_ms) & fitting):
            beside = self.openings.room(number, requirement.resources, end_ms)
            room = next(room for room, mask in rooms.items() if mask >> number & 1)
            if beside is not None and beside < room:
                rooms[room] ^= 1 << number
                rooms[beside] = rooms.get(beside, 0) | 1 << number
        return rooms

    def _take(self, lane: Lane, job: Job, nodes: tuple[tuple[int, int], ...], tasks: int, end_ms: int) -> None:
        requirement = lane.segment.requirement
        self._own_index()
        for number, slots in nodes:
            self.index.allocate(number, requirement.resources, slots * tasks)
        if lane.limited:
            self.limits.take(lane.segment.client_id, requirement, tasks)
        for rule in self.rules:
            rule.took(job, nodes, tasks, end_ms)
        if not self.ends_matter:
            return
        taken = nodes if tasks == 1 else tuple([(number, slots * tasks) for number, slots in nodes])
        if self.openings is not None:
            self.openings.take(taken, requirement.resources, end_ms)
        elif end_ms < FOREVER:
            self.started.append(Ending(end_ms, job.spec.job_id, len(self.started), taken, requirement.resources))

    def limit(self, lane: Lane) -> tuple[Reason, ...]:
        """The limit that stops a lane, with its numbers."""
        return (self.limits.reason(lane.segment.client_id, lane.segment.requirement),)


def _first(job: Job, ready: intervals.TaskSet, count: int) -> intervals.TaskSet:
    """So many of the ready tasks: the lowest, or of a progressive job those that come first."""
    if job.spec.progressive is None:
        return intervals.take(ready, count)
    before = intervals.take(intervals.intersection(ready, coarse(job.spec)), count)
    return intervals.union(before, intervals.take(intervals.difference(ready, before), count - intervals.size(before)))


def _ready(job: Job, now_ms: int) -> intervals.TaskSet:
    ready = job.waiting
    for until_ms, tasks in job.delayed:
        if until_ms <= now_ms:
            ready = intervals.union(ready, tasks)
    return ready
