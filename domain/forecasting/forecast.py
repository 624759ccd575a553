"""When a waiting job will start, as far as the farm can know now: an expected moment, and the interval around it.

The queue is walked three times in the order in force, each job ahead keeping the earliest room for itself (conservative
backfill: Mu'alem & Feitelson, 2001), each time with other run times: as past runs predict them for the expected start,
as requested for the latest, and as short as past runs make likely for the earliest, where besides only those ahead keep
room that hold a reservation under the policies. Nobody knows what will be submitted later, or which node will be lost.
"""

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from heapq import nsmallest
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from domain import errors, intervals
from domain.decisions import Reason, ReasonCode
from domain.dependency import DependencyState
from domain.farm import Farm
from domain.forecasting.foresight import Bookings, Bound, Shares, end_ms, run_ms
from domain.indices.endings import Ending
from domain.indices.performance import kind_of
from domain.job.values import Job
from domain.messages import JobId, Value
from domain.planning import blockers
from domain.planning.openings import Opening
from domain.policies import Context, OrderKey, Policies, made
from domain.resources import Requirement
from domain.rules.bookings import Calendar, returning

SHOWN_AHEAD = 10
"""So many of the jobs ahead are named."""
MOST_AHEAD = 1_000
"""So many of the jobs ahead keep room of their own; the work of the others is spread over the whole farm."""
MOST_STEPS = 500_000
"""How many steps of nodes' timelines one walk looks at, at most about; tasks beyond are treated as jobs beyond are."""
MOST_BEFORE = 200
"""So many unfinished predecessors, direct or not, are followed."""


class Basis(StrEnum):
    """What the expected start rests on: where the run times of running jobs and of those ahead come from."""

    HISTORY = "history"
    """Past runs of the same clients and kinds, for all of them."""
    REQUESTED = "requested"
    """Requested walltimes, for want of past runs; starts are mostly earlier."""
    MIXED = "mixed"
    """Past runs for some, requested walltimes for others."""
    INCOMPLETE = "incomplete"
    """For some nobody knows anything: neither past runs nor a walltime."""


class StartForecast(Value, frozen=True):
    """When the next task of a job will start; all times in ms since 1970, None where nothing can be said."""

    job_id: JobId
    expected_ms: int | None = None
    earliest_ms: int | None = None
    """For a job that somebody must let go on: if that were done now."""
    latest_ms: int | None = None
    """None also if the queue was too long to be walked to the job, and where nobody knows how long something runs."""
    ahead: tuple[JobId, ...] = ()
    """The first of those before it in the queue, in order."""
    ahead_total: int = 0
    """How many there are."""
    basis: Basis = Basis.REQUESTED
    unknown: Reason | None = None
    """What must change before it can start at all, which time alone does not do."""


def forecast_start(farm: Farm, policies: Policies, now_ms: int, job_id: JobId) -> StartForecast | None:
    """When a job will start if what runs ends as foreseen and nothing else is submitted; None if no task of it waits.

    The farm is only read. JobNotFound for a job that does not live. O(jobs) to find those ahead, and at most about
    MOST_AHEAD jobs and MOST_STEPS steps in each of the three walks.
    """
    job = farm.jobs.get(job_id)
    if job is None:
        raise errors.JobNotFound(job_id=job_id)
    if job.ended is not None or not job.unplaced:
        return None
    scene = _Scene(Context(farm, made(policies), now_ms), job)
    ahead = StartForecast(job_id, ahead=scene.first_ahead(), ahead_total=len(scene.ahead), unknown=scene.unknown)
    if scene.unknown is not None:
        earliest_ms = _Walk(scene, Bound.EARLIEST).start_ms() if scene.unknown.code in _SOMEBODY else None
        return replace(ahead, earliest_ms=earliest_ms)
    walks = {bound: _Walk(scene, bound) for bound in Bound}
    early, expected, late = (walks[bound].start_ms() for bound in Bound)
    if expected is not None:
        expected += walks[Bound.EXPECTED].backlog_ms
        early = expected if early is None else min(early, expected)
        late = None if late is None else max(late, expected)
    basis = walks[Bound.EXPECTED].basis
    return replace(ahead, earliest_ms=early, expected_ms=expected, latest_ms=late, basis=basis)


_SOMEBODY = (ReasonCode.HELD, ReasonCode.PAUSED, ReasonCode.DEPENDENCY)
"""What somebody can undo at any moment, so that an earliest start can be said."""


_Place: TypeAlias = tuple[OrderKey, int, JobId]
"""Where a job stands in the queue: order key, submit time, id."""


# -- who stands before it ----------------------------------------------------------------------------------------


class _Scene:
    """What all walks for one job have in common: the queue in order, and the predecessors that must end first."""

    def __init__(self, context: Context, job: Job) -> None:
        self.context, self.job = context, job
        self.farm, self.now_ms = context.farm, context.now_ms
        self.open_mask = self.farm.index.open_mask | (returning(self.farm) if self.farm.reservations else 0)
        """Nodes that take work, or will when a window of maintenance ends."""
        self.chain, self._is_whole = _chain(self.farm, job)
        """The job and its unfinished predecessors, none before its own; too long a chain is cut."""
        self.places = list(self._places())
        own = self.place_of(job)
        self.ahead = [place for place in self.places if place < own]
        self.unknown = self._unknown()

    def _places(self) -> Iterator[_Place]:
        """All jobs that may start, in no order."""
        farm, jobs = self.farm, self.farm.jobs
        for line in farm.queue.lines.values():
            for _, job_id in line:
                yield self.place_of(jobs[job_id])
        for job_id in farm.delayed_due(self.now_ms):
            if jobs[job_id].startable and job_id not in farm.queue:
                yield self.place_of(jobs[job_id])

    def place_of(self, job: Job) -> _Place:
        """Where a job stands in the queue, or would."""
        return self.context.made.order.key(job, self.context), job.submitted_ms, job.spec.job_id

    def first_ahead(self) -> tuple[JobId, ...]:
        """The first few of those ahead."""
        return tuple([job_id for _, _, job_id in nsmallest(SHOWN_AHEAD, self.ahead)])

    def rivals(self, bound: Bound) -> list[_Place]:
        """Who may take room first, in any order: those ahead, and at worst everybody if room is kept for nobody."""
        backfill = self.context.made.backfill
        if bound is Bound.LATEST and backfill.overtakes and backfill.reservations == 0:
            return self.places
        if len(self.chain) == 1:
            return self.ahead
        last = max(map(self.place_of, self.chain))
        return [place for place in self.places if place <= last]

    def nodes(self, requirement: Requirement, job: Job) -> int:
        """Mask of the nodes that take work and could hold a task of a job if they were empty."""
        index = self.farm.index
        nodes = self.open_mask & index.capable(requirement)
        for rule in self.context.made.filters:
            nodes = rule.mask(job, nodes, index, self.context) if nodes else 0
        return nodes

    def _unknown(self) -> Reason | None:
        """What keeps the job, or one that it waits for, from starting at whatever time."""
        if not self._is_whole:
            return Reason(ReasonCode.DEPENDENCY, entity=self.chain[-2].spec.job_id)
        for member in reversed(self.chain):
            reason = self._stops(member)
            if reason is not None:
                own = member is self.job
                return reason if own else Reason(ReasonCode.DEPENDENCY, entity=member.spec.job_id)
        return None

    def _stops(self, job: Job) -> Reason | None:
        """What keeps a job from starting at whatever time, its predecessors apart."""
        failed = [e for e in self.farm.edges_into(job.spec.job_id) if e.blocks and not self._may_end(e.predecessor_id)]
        failed += [e for e in self.farm.edges_into(job.spec.job_id) if e.state is DependencyState.FAILED]
        if failed:
            return Reason(ReasonCode.DEPENDENCY_FAILED, entity=failed[0].predecessor_id)
        if job.held or job.paused:
            return Reason(ReasonCode.HELD if job.held else ReasonCode.PAUSED)
        return self._has_no_node(job) if job.unplaced else None

    def _may_end(self, job_id: JobId) -> bool:
        job = self.farm.jobs.get(job_id)
        return job is not None and job.ended is None

    def _has_no_node(self, job: Job) -> Reason | None:
        client, requirement = self.farm.clients.get(job.spec.client_id), job.spec.requirement
        if client is not None and client.suspended:
            return Reason(ReasonCode.CLIENT_SUSPENDED, entity=job.spec.client_id)
        index = self.farm.index
        never = blockers.impossible(index, requirement)
        if never:
            return never[0]
        if not self.open_mask:
            return Reason(ReasonCode.NO_NODES, needed=requirement.slots)
        nodes = self.open_mask & index.capable(requirement)
        if not nodes:
            return Reason(ReasonCode.NODES_UNAVAILABLE, needed=requirement.slots)
        for name, rule in zip(self.context.made.policies.filters, self.context.made.filters, strict=True):
            nodes = rule.mask(job, nodes, index, self.context)
            if not nodes:
                return Reason(ReasonCode.FILTERED, entity=name)
        return None


def _chain(farm: Farm, job: Job) -> tuple[list[Job], bool]:
    """A job after all live predecessors that it still waits for, direct or not, each after its own; are these all?"""
    order: list[Job] = []
    seen, due = {job.spec.job_id}, [(job, False)]
    while due and len(seen) <= MOST_BEFORE + 1:
        member, done = due.pop()
        if done:
            order.append(member)
            continue
        due.append((member, True))
        for edge in farm.edges_into(member.spec.job_id):
            before = farm.jobs.get(edge.predecessor_id)
            if edge.blocks and before is not None and edge.predecessor_id not in seen:
                seen.add(edge.predecessor_id)
                due.append((before, False))
    rest = [member for member, done in reversed(due) if done]
    return order + rest, not rest


# -- one walk ----------------------------------------------------------------------------------------------------


class _Course(NamedTuple):
    """When the first task of a job starts, and when its last one ends; None where nobody knows."""

    start_ms: int | None
    end_ms: int | None
    left: int = 0
    """Work of tasks that found no place in the walk, in millicores × ms."""


class _Walk:
    """The queue with one set of run times, every job keeping its room, up to the job that is asked for."""

    def __init__(self, scene: _Scene, bound: Bound) -> None:
        self.scene, self.bound = scene, bound
        self._now_ms, self._backfill = scene.now_ms, scene.context.made.backfill
        self._performance = scene.farm.performance
        self._shares = Shares(scene.farm, scene.now_ms)
        self._sources: set[Basis] = set()
        endings = sorted(self._endings())
        self._bookings = Bookings(scene.farm.index, endings, scene.now_ms)
        self._calendar = Calendar(scene.farm, scene.now_ms) if scene.farm.reservations else None
        self._steps_left, self._steps = MOST_STEPS, len(endings)
        self._from_ms = scene.now_ms
        """In strict order: the start of the job before."""
        self._blocked = 0
        self._left_out = False
        """Whether some tasks that may start first found no place in this walk."""
        self._backlog = 0
        """The work of those that are not the job's predecessors, in millicores × ms."""

    def _endings(self) -> Iterator[Ending]:
        numbers = self.scene.farm.index.numbers
        for job in self.scene.farm.jobs.values():
            for number, attempt in job.live.items():
                until_ms = end_ms(self._performance, job, attempt, self._now_ms, self.bound)
                self._shares.hold(job, until_ms)
                self._note_source(job)
                if until_ms is not None:
                    nodes = tuple([(numbers[node_id], slots) for node_id, slots in attempt.nodes])
                    yield Ending(until_ms, job.spec.job_id, number, nodes, job.spec.requirement.resources)

    def _note_source(self, job: Job) -> None:
        known = self._performance.predicted_ms(job.spec.client_id, kind_of(job.spec)) is not None
        requested = Basis.INCOMPLETE if job.spec.walltime_ms is None else Basis.REQUESTED
        self._sources.add(Basis.HISTORY if known else requested)

    @property
    def basis(self) -> Basis:
        """Where the run times of this walk came from."""
        if Basis.INCOMPLETE in self._sources:
            return Basis.INCOMPLETE
        return Basis.MIXED if len(self._sources) > 1 else next(iter(self._sources), Basis.REQUESTED)

    @property
    def backlog_ms(self) -> int:
        """How long the whole farm would take for what found no place in the walk."""
        return self._on_whole_farm_ms(self._backlog)

    def _on_whole_farm_ms(self, work: int) -> int:
        return work // max(1, self._millicores)

    @cached_property
    def _millicores(self) -> int:
        nodes = [node for node in self.scene.farm.nodes.values() if node.takes_work]
        return sum(node.capacity.millicores for node in nodes)

    def start_ms(self) -> int | None:
        """When the job that is asked for starts its next task."""
        courses: dict[JobId, _Course] = {}
        chain = {member.spec.job_id: member for member in self.scene.chain}
        del chain[self.scene.job.spec.job_id]
        for job in self._in_order():
            if chain.get(job.spec.job_id) is job:
                courses[job.spec.job_id] = self._follow(job, courses)
            elif self._keeps_room():
                self._step_back(job)
        for job_id, member in chain.items():
            if job_id not in courses:
                courses[job_id] = self._follow(member, courses)
        start_ms = self._follow(self.scene.job, courses, most=1).start_ms
        return None if self.bound is Bound.LATEST and self._left_out else start_ms

    def _in_order(self) -> Iterator[Job]:
        """Those that may take room first, as far as they are walked; the others become backlog."""
        rivals, jobs = self.scene.rivals(self.bound), self.scene.farm.jobs
        walked = nsmallest(MOST_AHEAD, rivals) if len(rivals) > MOST_AHEAD else sorted(rivals)
        for *_, job_id in walked:
            if job_id != self.scene.job.spec.job_id:
                yield jobs[job_id]
        if len(rivals) > len(walked):
            self._left_out = True
            others = [place for place in rivals if place > walked[-1]] if self.bound is Bound.EXPECTED else []
            for *_, job_id in others:
                self._backlog += self._work(jobs[job_id], _ready(jobs[job_id], self._now_ms))

    def _keeps_room(self) -> bool:
        """Whether a job ahead keeps room at all: for the earliest start only while the policy keeps it some."""
        if self.bound is not Bound.EARLIEST or not self._backfill.overtakes:
            return True
        depth = self._backfill.reservations
        return depth is None or self._blocked < depth

    def _step_back(self, job: Job) -> None:
        """Lets a job ahead take its room."""
        course = self._book(job, _ready(job, self._now_ms), self._now_ms)
        self._blocked += course.start_ms != self._now_ms
        self._backlog += course.left

    def _follow(self, job: Job, courses: dict[JobId, _Course], most: int = intervals.MAX_TASKS) -> _Course:
        """Books a member of the chain: after its predecessors, its start time, and the back-offs of its tasks."""
        from_ms: int | None = self._now_ms
        spec = job.spec
        if not job.queued and spec.not_before_ms is not None:
            from_ms = max(self._now_ms, spec.not_before_ms)
        for edge in self.scene.farm.edges_into(spec.job_id):
            if edge.blocks and edge.predecessor_id in courses:
                end_ms = courses[edge.predecessor_id].end_ms
                from_ms = None if end_ms is None or from_ms is None else max(from_ms, end_ms)
        if from_ms is None:
            return _Course(None, None)
        return self._course(job, from_ms, most)

    def _course(self, job: Job, from_ms: int, most: int) -> _Course:
        starts: list[int | None] = []
        live = job.live.values()
        ends = [end_ms(self._performance, job, attempt, self._now_ms, self.bound) for attempt in live]
        for until_ms, tasks in ((from_ms, job.waiting), *job.delayed):
            if tasks and most > len(starts):
                course = self._book(job, min(most, intervals.size(tasks)), max(from_ms, until_ms))
                starts.append(course.start_ms)
                ended_ms = course.end_ms
                ends.append(None if ended_ms is None else ended_ms + self._on_whole_farm_ms(course.left))
        known = [each for each in ends if each is not None]
        start_ms = next((each for each in starts if each is not None), None)
        return _Course(start_ms, max(known, default=from_ms) if len(known) == len(ends) else None)

    def _book(self, job: Job, tasks: int, from_ms: int) -> _Course:
        """Keeps room for tasks of a job, one after the other, as long as there is some and steps are left."""
        lasts_ms, nodes = run_ms(self._performance, job, self.bound), self.scene.nodes(job.spec.requirement, job)
        self._note_source(job)
        start_ms: int | None = None
        last_ms: int | None = None
        for booked in range(tasks):
            if job is not self.scene.job and not self._spend(job.spec.requirement, nodes):
                self._left_out = True
                return _Course(start_ms, last_ms or from_ms, self._work(job, tasks - booked))
            opening = self._opening(job, nodes, lasts_ms, from_ms)
            if opening is None:
                return _Course(start_ms, None)
            end_ms = None if lasts_ms is None else opening.start_ms + lasts_ms
            last_ms = None if end_ms is None else max(last_ms or 0, end_ms)
            start_ms = opening.start_ms if start_ms is None else min(start_ms, opening.start_ms)
            self._shares.take(job, end_ms)
        return _Course(start_ms, last_ms)

    def _opening(self, job: Job, nodes: int, lasts_ms: int | None, from_ms: int) -> Opening | None:
        """The earliest room for one task, within its client's limit; in strict order after those before it."""
        within_ms = self._shares.from_ms(job)
        if within_ms is None or not nodes:
            return None
        from_ms = max(from_ms, within_ms, self._from_ms)
        gaps = None if self._calendar is None else self._calendar.gaps(job, lasts_ms)
        opening = self._bookings.reserve_from(from_ms, job.spec.requirement, nodes, lasts_ms, gaps)
        if opening is None:
            self._left_out = True
        elif not self._backfill.overtakes:
            self._from_ms = opening.start_ms
        return opening

    def _spend(self, requirement: Requirement, nodes: int) -> bool:
        """Whether enough steps are left to look for one more opening: in every timeline, for a gang at each step."""
        looked = 3 * nodes.bit_count() + self._steps
        self._steps_left -= looked if requirement.slots == 1 else looked * max(1, self._steps)
        self._steps += 2
        return self._steps_left >= 0

    def _work(self, job: Job, tasks: int) -> int:
        """How much tasks of a job are to do, in millicores × ms."""
        requirement = job.spec.requirement
        per_task = requirement.slots * requirement.resources.millicores
        return (run_ms(self._performance, job, self.bound) or 0) * tasks * per_task


def _ready(job: Job, now_ms: int) -> int:
    """How many tasks of a job could start now."""
    due = [intervals.size(tasks) for until_ms, tasks in job.delayed if until_ms <= now_ms]
    return intervals.size(job.waiting) + sum(due)
