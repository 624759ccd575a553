"""Who makes way for whom in one cycle: rights, the cheapest victims, and the proof that the preemptor then starts.

After everything is placed that could be, those that found no room are looked at, the highest level first, then the
order of the queue. What is leaving anyway counts as gone. For each task the cheapest victims are looked for
(`domain.rules.victims`), given back on a fork of the index, and the task is placed there by the same placement policy,
filters and rules as ever; only if that succeeds is anybody interrupted. No room is taken that is reserved for another
job before this one would have ended.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from domain import intervals
from domain.indices.endings import Ending, expected
from domain.indices.nodeindex import NodeIndex
from domain.indices.queue import Line
from domain.job.checks import ready
from domain.job.commands import ClaimRoom, PreemptTasks
from domain.job.values import Alternative, ClaimedPlace, Job, PreemptionCause, PreemptionMode
from domain.messages import ClientId, Command, JobId
from domain.planning.lanes import Lane, Shape, Stop
from domain.planning.openings import FOREVER, Outlook
from domain.policies import Preemption
from domain.resources import Requirement, Resources
from domain.rules.claims import mask_of, release_leaving
from domain.rules.sharing import NOTHING, Pair, Sharing, need_of
from domain.rules.victims import ALTERNATIVES, MILLIONTHS, Candidate, Right, Roll, Way, Ways, worse_in

if TYPE_CHECKING:
    from domain.planning.planner import Cycle


class Bid(NamedTuple):
    """One right of a preemptor, and against whom it has it."""

    cause: PreemptionCause
    right: Right
    key: object
    """Equal for equal rights, so that what was found for one task is known for the next."""


class Take(NamedTuple):
    """Room for one task: by what right, where it starts, and at whose cost."""

    cause: PreemptionCause | None
    """None for room that comes free without anybody making way for this job."""
    nodes: tuple[tuple[int, int], ...]
    way: Way | None
    """Who makes way; None where the victims of another task leave enough."""
    ways: list[Way]
    """All that were found, the best first."""
    otherwise_ms: int | None


class MakingWay:
    """Those that found no room, and what they take from others."""

    def __init__(self, cycle: "Cycle", policy: Preemption) -> None:
        self._cycle, self._policy, self._farm = cycle, policy, cycle.farm
        self._commands: list[Command] = []
        self._left = policy.most_victims
        self._ways: dict[object, Ways] = {}
        self._expected: dict[JobId, int | None] = {}
        """When the next task of a job would start if nobody made way."""
        self._begun: set[JobId] = set()
        """Jobs of which such a moment was worked out in this cycle."""
        self.wakes_ms: list[int] = []

    def open(self) -> list[Command]:
        """What is to be done."""
        lanes = self._lanes()
        if not lanes:
            return []
        self.wakes_ms += self._roll.wakes_ms
        for lane in lanes if self._roll.nodes else ():
            for job in self._jobs(lane):
                if self._left <= 0 or not self._serve(lane, job):
                    break
        if self._commands and self._policy.mode is PreemptionMode.SUSPEND:
            self.wakes_ms.append(self._cycle.now_ms + 1)  # the room is free as soon as this is written
        return self._commands

    # -- who asks ------------------------------------------------------------------------------------------------

    def _lanes(self) -> list[Lane]:
        """Those that lack room and could have a right to some, the highest level first, then as in the queue."""
        cycle, lowest, found = self._cycle, self._lowest, []
        lanes = [lane for lane in cycle.blocked if lane.stop in (Stop.LACKING, Stop.RULED)]
        for lane in lanes + [self._lane(line) for line in cycle.short if self._line_may(line, lowest)]:
            job = lane.job or self._first(lane)
            if job is not None and self._may(job, cycle.context.level(job), lowest):
                found.append((-cycle.context.level(job), cycle.place_of(job), lane))
        return [lane for _, _, lane in sorted(found, key=lambda each: each[:2])]

    def _line_may(self, line: Line, lowest: float) -> bool:
        """Whether any job of a line could have a right, as far as one of them says it of all."""
        if self._policy.deadlines or not self._cycle.made.static_levels:
            return True
        job = self._farm.jobs[line.first()[1]]
        return self._may(job, self._cycle.context.level(job), lowest)

    def _lane(self, line: Line) -> Lane:
        """A lane for a line that the cycle has set aside because it fits nowhere."""
        assert line.segment is not None
        return Lane(line.segment, Shape(), self._cycle.limits.concern(line.segment.client_id), line)

    def _first(self, lane: Lane) -> Job | None:
        """The first job of a lane that was not placed, where the cycle has not said."""
        return next((job for job in self._in_line(lane) if self._unplaced(job)), None)

    def _in_line(self, lane: Lane) -> Iterator[Job]:
        """The jobs of a lane in the order of the queue."""
        line, jobs = lane.line, self._farm.jobs
        if line is not None:
            for place in line.walk() if self._cycle.in_lines else self._cycle._sorted(line):
                yield jobs[place[1]]

    @cached_property
    def _lowest(self) -> float:
        """The lowest level at which anything runs."""
        made, farm = self._cycle.made, self._farm
        lowest = farm.interruptions.lowest()
        if lowest is None:
            return FOREVER
        if made.uniform and made.static_levels:
            one = min(farm.interruptions.running[lowest])
            return self._cycle.context.level(farm.jobs[one])
        return -FOREVER

    def _may(self, job: Job, level: float, lowest: float) -> bool:
        """Whether a job could have any right at all."""
        return (
            level - lowest >= self._policy.levels
            or job.spec.job_id in self._owed
            or (self._policy.deadlines and job.deadline_ms is not None)
        )

    @cached_property
    def _sharing(self) -> Sharing | None:
        """The rule that keeps guarantees, where it is in force."""
        return next((each for each in self._cycle.rules if isinstance(each, Sharing)), None)

    @cached_property
    def _owed(self) -> dict[JobId, frozenset[ClientId]]:
        """Jobs that may take back what their client lent, and who holds it."""
        if self._sharing is None or self._cycle.made.sharing.reclaim != "preempt":
            return {}
        return {
            reclaim.job.spec.job_id: frozenset([known.client_id for known in reclaim.borrowers])
            for reclaim in self._sharing.reclaims()
        }

    @cached_property
    def _excess(self) -> dict[ClientId, Pair]:
        """What may still be taken from other clients, which keep what is guaranteed to them."""
        return {} if self._sharing is None else self._sharing.borrowed()

    def _jobs(self, lane: Lane) -> Iterator[Job]:
        """The jobs of a lane of which some task was not placed, in the order of the queue."""
        if lane.line is None and lane.job is not None:
            yield lane.job
        for job in self._in_line(lane):
            if self._unplaced(job):
                yield job

    # -- what it takes -------------------------------------------------------------------------------------------

    @cached_property
    def _roll(self) -> Roll:
        return Roll(self._cycle.context, self._policy)

    @cached_property
    def _index(self) -> NodeIndex:
        """What is free once all has left that was told to, and all is held that was claimed."""
        index = self._cycle.index.fork()
        running = self._farm.interruptions.running.values()
        release_leaving(index, [self._farm.jobs[job_id] for jobs in running for job_id in jobs])
        return index

    def _serve(self, lane: Lane, job: Job) -> bool:
        """Takes room for as many tasks of a job as can be had; False if one found none."""
        if job.claim is not None:
            return True
        cycle, end_ms = self._cycle, self._cycle.end_ms(job)
        tasks = self._unplaced(job)
        _, most = cycle._most(lane, job, tasks, end_ms)
        nodes = self._nodes(job, end_ms)
        takes: list[Take] = []
        wanted = min(tasks, most)
        while wanted > 0 and self._left > 0:
            taken = self._comes_free(job, nodes, end_ms, takes) or self._take(job, nodes, end_ms, takes)
            if taken is None:
                break
            if taken.cause is not None:
                takes.append(taken)
                self._left -= 0 if taken.way is None else taken.way.size
                self._count(lane, job, taken, end_ms)
            wanted -= 1
        if takes:
            self._claim(job, takes)
        return wanted == 0 and most > 0

    @cached_property
    def _placed(self) -> dict[JobId, int]:
        """How many tasks this cycle has placed, by job."""
        placed: dict[JobId, int] = {}
        for place in self._cycle.decisions:
            count = sum([intervals.size(placement.tasks) for placement in place.placements])
            placed[place.job_id] = placed.get(place.job_id, 0) + count
        return placed

    def _unplaced(self, job: Job) -> int:
        """How many ready tasks of a job this cycle has not placed."""
        return intervals.size(ready(job, self._cycle.now_ms)) - self._placed.get(job.spec.job_id, 0)

    def _nodes(self, job: Job, end_ms: int) -> int:
        """Where a job may go at all: not where room is reserved that it would not leave in time."""
        cycle, requirement = self._cycle, job.spec.requirement
        nodes = cycle.ruled(job, cycle.allowed(job, cycle.index.open_mask & cycle.index.capable(requirement)), end_ms)
        numbers = cycle.index.numbers
        for reserved in cycle.reserved:
            if reserved.job_id == job.spec.job_id:
                break
            if reserved.start_ms < end_ms:
                nodes &= ~mask_of([tuple([(numbers[node_id], slots) for node_id, slots in reserved.nodes])])
        return nodes

    def _comes_free(self, job: Job, nodes: int, end_ms: int, takes: list[Take]) -> Take | None:
        """Room for one more task once all has left that was told to: it is spoken for, and claimed beside other room.

        None if there is none.
        """
        place = self._placed_on_fork(job, nodes, end_ms)
        if place is None or not takes:
            return None if place is None else Take(None, place, None, [], None)
        otherwise_ms = self._next_ms(job)
        del self._expected[job.spec.job_id]
        return Take(takes[0].cause, place, None, [], otherwise_ms)

    def _placed_on_fork(self, job: Job, nodes: int, end_ms: int) -> tuple[tuple[int, int], ...] | None:
        """Places one task on the fork as the cycle would, and takes its room there; None if it does not fit."""
        cycle, requirement = self._cycle, job.spec.requirement
        known, cycle.index = cycle.index, self._index
        openings, cycle.openings = cycle.openings, None
        try:
            fitting = cycle.ruled(job, cycle.allowed(job, self._index.fitting(requirement) & nodes), end_ms)
            chosen = cycle.choose(job, fitting, 1, end_ms) if fitting else None
        finally:
            cycle.index, cycle.openings = known, openings
        if chosen is None:
            return None
        for number, slots in chosen[1]:
            self._index.allocate(number, requirement.resources, slots)
        for ways in self._ways.values():
            ways.forget([number for number, _ in chosen[1]])
        return chosen[1]

    def _take(self, job: Job, nodes: int, end_ms: int, takes: list[Take]) -> Take | None:
        """Room for one task by the first right that gives any, proven by placing it there."""
        for bid in self._bids(job):
            if takes and bid.cause is not takes[0].cause:
                continue
            found = self._ways_for(job.spec.requirement, nodes, bid).found()
            for way in found:
                if way.size > self._left or not self._keeps_guarantees(job, way):
                    continue
                otherwise_ms = self._next_ms(job)
                place = self._prove(job, way, nodes, end_ms)
                if place is not None:
                    del self._expected[job.spec.job_id]
                    return Take(bid.cause, place, way, found, otherwise_ms)
        return None

    def _ways_for(self, requirement: Requirement, nodes: int, bid: Bid) -> Ways:
        key = (requirement, nodes, bid.key)
        known = self._ways.get(key)
        if known is None:
            known = self._ways[key] = Ways(self._index, self._roll, requirement, nodes, bid.right)
        return known

    def _prove(self, job: Job, way: Way, nodes: int, end_ms: int) -> tuple[tuple[int, int], ...] | None:
        """Gives back what the victims hold, and places the task; if that fails, all is as before."""
        for victim in way.victims:
            for number, slots in victim.nodes:
                self._index.release(number, victim.frees, slots)
        place = self._placed_on_fork(job, nodes, end_ms)
        if place is None:
            for victim in way.victims:
                for number, slots in victim.nodes:
                    self._index.allocate(number, victim.frees, slots)
            return None
        touched = self._roll.strike(way.victims)
        for ways in self._ways.values():
            ways.forget(touched)
        return place

    def _keeps_guarantees(self, job: Job, way: Way) -> bool:
        """Whether all other clients keep what is guaranteed to them; if so, what they lose counts as taken.

        Without that two rights could take the same room from each other for ever.
        """
        if self._sharing is None:
            return True
        left = dict(self._excess)
        for victim in way.victims:
            spec = victim.job.spec
            if spec.client_id != job.spec.client_id:
                need, has = need_of(spec.requirement), left.get(spec.client_id, NOTHING)
                left[spec.client_id] = has[0] - need[0], has[1] - need[1]
        if any(min(each) < 0 for each in left.values()):
            return False
        self._excess = left
        return True

    def _may_lose(self, job: Job, victim: Candidate) -> bool:
        """Whether a victim is of the same client, or of one that holds more than is guaranteed to it."""
        client_id = victim.job.spec.client_id
        return self._sharing is None or client_id == job.spec.client_id or client_id in self._excess

    # -- rights --------------------------------------------------------------------------------------------------

    def _bids(self, job: Job) -> Iterator[Bid]:
        """The rights of a job, one after the other: by priority, as an owner, for its deadline."""
        level, own, levels = self._cycle.context.level(job), job.spec.job_id, self._policy.levels
        if level - self._lowest >= levels:

            def stands_below(victim: Candidate) -> bool:
                return level - victim.level >= levels and self._may_lose(job, victim)

            yield Bid(PreemptionCause.PRIORITY, stands_below, (level, self._sharing and job.spec.client_id))
        borrowers = self._owed.get(own)
        if borrowers is not None:
            yield Bid(PreemptionCause.RECLAIM, lambda victim: victim.job.spec.client_id in borrowers, borrowers)
        needs_ms = self._needs_ms(job)
        if needs_ms is not None:

            def has_time(victim: Candidate) -> bool:
                spare = victim.slack_ms is None or victim.slack_ms > needs_ms
                return victim.job_id != own and victim.level <= level and spare and self._may_lose(job, victim)

            yield Bid(PreemptionCause.DEADLINE, has_time, own)

    def _needs_ms(self, job: Job) -> int | None:
        """How long a job runs that starts in time if it starts now, and would not otherwise; else None."""
        run_ms = self._cycle.context.run_ms(job)
        if not self._policy.deadlines or job.deadline_ms is None or run_ms is None:
            return None
        latest_ms, now_ms = job.deadline_ms - run_ms, self._cycle.now_ms
        from_ms = latest_ms - self._policy.deadline_window_s * 1_000
        if now_ms < from_ms:
            self.wakes_ms.append(from_ms)
            return None
        if now_ms > latest_ms:
            return None
        otherwise_ms = self._next_ms(job)
        return run_ms if otherwise_ms is None or otherwise_ms > latest_ms else None

    # -- what would have been ------------------------------------------------------------------------------------

    @cached_property
    def _outlook(self) -> Outlook:
        """What ends when, as far as anybody can foresee: what was told to end does so within its grace."""
        cycle, jobs = self._cycle, self._farm.jobs
        rows = []
        for ending in expected(cycle.context):
            job = jobs[ending.job_id]
            attempt = job.live[ending.attempt]
            if attempt.stopping is not None:
                grace_ms = job.spec.grace_ms if attempt.grace_ms is None else attempt.grace_ms
                rows.append(Ending(min(ending.end_ms, cycle.now_ms + grace_ms), *ending[1:]))
            else:
                rows.append(ending)
        return Outlook(cycle.index, sorted([*rows, *cycle.started]), cycle.now_ms)

    def _next_ms(self, job: Job) -> int | None:
        """When the next task of a job would start if nobody made way: as reserved, else by what ends when."""
        job_id = job.spec.job_id
        if job_id not in self._expected:
            cycle, requirement = self._cycle, job.spec.requirement
            nodes = cycle.allowed(job, cycle.index.open_mask & cycle.index.capable(requirement))
            opening = self._outlook.reserve(requirement, nodes, cycle.context.run_ms(job))
            known = [each.start_ms for each in cycle.reserved if each.job_id == job_id and job_id not in self._begun]
            self._expected[job_id] = known[0] if known else None if opening is None else opening.start_ms
            self._begun.add(job_id)
        return self._expected[job_id]

    # -- what is written -----------------------------------------------------------------------------------------

    def _count(self, lane: Lane, job: Job, taken: Take, end_ms: int) -> None:
        """Limits and rules count the task as if it had started."""
        if lane.limited:
            self._cycle.limits.take(lane.segment.client_id, lane.segment.requirement, 1)
        for each in self._cycle.rules:
            each.took(job, taken.nodes, 1, end_ms)

    def _claim(self, job: Job, takes: list[Take]) -> None:
        """The claim of the preemptor, then what becomes of its victims, job by job."""
        ids, cause = self._index.ids, takes[0].cause
        assert cause is not None
        victims = self._needed([victim for taken in takes if taken.way is not None for victim in taken.way.victims])
        places = [
            (tuple([(ids[number], slots) for number, slots in taken.nodes]), taken.otherwise_ms) for taken in takes
        ]
        self._commands.append(
            ClaimRoom(
                job_id=job.spec.job_id,
                mode=self._policy.mode,
                why=cause,
                places=tuple([ClaimedPlace(nodes, otherwise_ms) for nodes, otherwise_ms in places]),
                victims=tuple([victim.victim(ids, self._cycle.now_ms) for victim in victims]),
                alternatives=tuple(self._alternatives(takes[0])),
                considered=len(takes[0].ways),
            )
        )
        by_job: dict[JobId, list[int]] = {}
        for victim in victims:
            by_job.setdefault(victim.job_id, []).append(victim.attempt)
        for job_id, attempts in sorted(by_job.items()):
            self._commands.append(self._preempt(job_id, tuple(sorted(attempts)), job.spec.job_id, cause))

    def _needed(self, victims: list[Candidate]) -> list[Candidate]:
        """Those without whom the claimed places would not all be free: what one left over may be enough for another."""
        if len(victims) == 1:
            return victims
        needed = list(victims)
        for victim in sorted(victims, reverse=True, key=lambda each: each[:4]):
            free = self._index.free
            if all(free[number].fits(Resources().plus(victim.frees, slots)) for number, slots in victim.nodes):
                for number, slots in victim.nodes:
                    self._index.allocate(number, victim.frees, slots)
                needed.remove(victim)
                self._left += 1
        return needed

    def _preempt(
        self, job_id: JobId, attempts: tuple[int, ...], preemptor: JobId, cause: PreemptionCause
    ) -> PreemptTasks:
        grace_s = self._policy.grace_s
        return PreemptTasks(
            job_id=job_id,
            attempts=attempts,
            preemptor=preemptor,
            mode=self._policy.mode,
            why=cause,
            grace_ms=None if grace_s is None else grace_s * 1_000,
        )

    def _alternatives(self, taken: Take) -> Iterator[Alternative]:
        """The next best ways, and in what they are worse."""
        if taken.way is None:
            return
        others = [way for way in taken.ways if way.names != taken.way.names]
        for way in others[:ALTERNATIVES]:
            numbers = sorted({number for victim in way.victims for number, _ in victim.nodes})
            yield Alternative(
                victims=way.names,
                nodes=tuple([self._index.ids[number] for number in numbers]),
                worse=worse_in(way, taken.way),
                level=way.level,
                cost=way.cost / MILLIONTHS,
            )
