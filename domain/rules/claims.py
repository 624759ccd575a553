"""Room that is held for preemptors, and suspended work that waits for its cores, within one cycle.

A job for which work made way starts on the room that it gave as soon as that is free, before anybody is looked at, and
until then nobody else gets it. Suspended work goes on as soon as its cores are free where it stands and nobody that
comes before it could use them; until then nothing of its level or below starts on its nodes.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from domain import intervals
from domain.decisions import Place, Reason, ReasonCode, Segment
from domain.indices.endings import Ending
from domain.indices.nodeindex import NodeIndex
from domain.job.checks import ready
from domain.job.commands import ReleaseClaim, ResumeTasks
from domain.job.values import AttemptNumber, Job, NodeSlots, Placement, PlacementReason
from domain.messages import Command, JobId
from domain.node import NodeStatus
from domain.planning.lanes import Lane, Shape
from domain.planning.openings import FOREVER
from domain.resources import Requirement, Resources

if TYPE_CHECKING:
    from domain.planning.placing import Placing

Nodes = tuple[tuple[int, int], ...]
"""(node number, slots)."""
CLAIMED = "claim"
"""Stands for the placement policy where a task starts on room that was held for it."""


class Still(NamedTuple):
    """One suspended attempt; sorts by who goes on first."""

    rank: float
    """Its level, the highest first."""
    since_ms: int
    job_id: JobId
    attempt: AttemptNumber
    nodes: Nodes
    millicores: int
    """Of each slot."""


class Holding:
    """What is held in one cycle, and for whom."""

    def __init__(self, cycle: "Placing") -> None:
        self._cycle, self._farm = cycle, cycle.farm
        self._held: dict[JobId, list[Nodes]] = {}
        """Places that are not free yet, by the job that waits for them."""
        self._free: dict[JobId, int] = {}
        """How many tasks of these jobs may start elsewhere."""
        self._still: list[Still] = []
        """Who stands still, in the order in which they may go on."""
        self._closed: list[tuple[float, int]] = []
        """(level, nodes): where nothing of this level or below may start."""
        self._commands: list[Command] = []
        self._resumed: dict[JobId, list[AttemptNumber]] = {}

    def begin(self) -> None:
        """Claims first, then suspended work, before anybody is looked at."""
        if self._farm.interruptions.claims:
            self._honour()
        if self._farm.interruptions.suspended:
            self._still = sorted(self._standing())
            self._wake(self._highest_waiting())

    # -- claims --------------------------------------------------------------------------------------------------

    def _honour(self) -> None:
        """Starts what can start on the room held for it, and takes the rest of that room from everybody else."""
        farm, placed = self._farm, dict[JobId, list[Nodes]]()
        jobs = [farm.jobs[job_id] for job_id in farm.interruptions.claims]
        for job in sorted(jobs, key=lambda job: (job.claim.at_ms if job.claim else 0, job.spec.job_id)):
            job_id = job.spec.job_id
            problem = self._void(job)
            if problem:
                self._commands.append(ReleaseClaim(job_id=job_id, why=problem))
                continue
            for place in self._places(job):
                (placed if self._starts(job, place) else self._held).setdefault(job_id, []).append(place)
            if job_id in placed:
                self._place(job, placed[job_id])
        for job_id, places in self._held.items():
            self._hold(farm.jobs[job_id], places)

    def _places(self, job: Job) -> list[Nodes]:
        numbers = self._cycle.index.numbers
        claimed = () if job.claim is None else job.claim.places
        return [tuple([(numbers[node_id], slots) for node_id, slots in place]) for place in claimed]

    def _void(self, job: Job) -> str:
        """Why a claim can never be used any more; empty while it can."""
        now_ms, nodes = self._cycle.now_ms, self._farm.nodes
        if not job.startable or intervals.size(ready(job, now_ms)) < len(self._places(job)):
            return "its tasks do not wait any more"
        for place in job.claim.places if job.claim else ():
            for node_id, _ in place:
                node = nodes[node_id]
                if node.status is not NodeStatus.ONLINE or node.draining:
                    return f"{node_id} takes no work any more"
        mask = mask_of(self._places(job))
        if self._cycle.allowed(job, mask) != mask or self._cycle.ruled(job, mask, self._cycle.end_ms(job)) != mask:
            return "it may not use these nodes any more"
        return "" if all(self._will_fit(job, place) for place in self._places(job)) else "its room is gone"

    def _will_fit(self, job: Job, place: Nodes) -> bool:
        """Whether a place is free once all that was told to leave its nodes has left."""
        index, farm = self._cycle.index, self._farm
        for number, slots in place:
            free = index.free[number]
            for job_id, attempt in farm.attempts_on(index.ids[number]):
                leaving = farm.jobs[job_id]
                if leaving.live[attempt].stopping is not None:
                    free = free.plus(*_held_on(leaving, attempt, index.ids[number]))
            if not free.fits(_times(job.spec.requirement.resources, slots)):
                return False
        return True

    def _starts(self, job: Job, place: Nodes) -> bool:
        """Whether a task can start on its place now; if so, the place is taken."""
        cycle, need = self._cycle, job.spec.requirement.resources
        lane, end_ms = self._lane(job), cycle.end_ms(job)
        if mask_of([place]) & ~cycle.index.open_mask:
            return False  # a node that is only suspected may come back
        if not all(cycle.index.free[number].fits(_times(need, slots)) for number, slots in place):
            return False
        if cycle._most(lane, job, 1, end_ms)[1] < 1:
            return False
        cycle._take(lane, job, place, 1, end_ms)
        return True

    def _lane(self, job: Job) -> Lane:
        segment = self._farm.queue.segment_of(job)
        return Lane(segment, Shape(), self._cycle.limits.concern(segment.client_id))

    def _place(self, job: Job, places: Iterable[Nodes]) -> None:
        """Decides on the tasks that start; the others of the job are looked at in their turn."""
        cycle, job_id = self._cycle, job.spec.job_id
        tasks, ids, placements = ready(job, cycle.now_ms), cycle.index.ids, list[Placement]()
        for place in places:
            one = intervals.take(tasks, 1)
            tasks = intervals.difference(tasks, one)
            placements.append(Placement(one, tuple([(ids[number], slots) for number, slots in place])))
        reason = PlacementReason(CLAIMED, cycle.made.policies.order, 1.0, 1)
        cycle.decisions.append(Place(job_id, tuple(placements), reason))
        cycle.partly[job_id] = len(cycle.decisions) - 1, tasks

    def _hold(self, job: Job, places: list[Nodes]) -> None:
        """Takes places that are not free yet from what others find free, which may leave less than nothing."""
        cycle, requirement = self._cycle, job.spec.requirement
        cycle._own_index()
        end_ms = cycle.end_ms(job)
        for place in places:
            for number, slots in place:
                cycle.index.allocate(number, requirement.resources, slots)
            if cycle.ends_matter and end_ms < FOREVER:
                ending = Ending(end_ms, job.spec.job_id, len(cycle.started), place, requirement.resources)
                cycle.started.append(ending)
        if cycle.limits.concern(job.spec.client_id):
            cycle.limits.take(job.spec.client_id, requirement, len(places))
        waiting = ready(job, cycle.now_ms)
        left = cycle.partly[job.spec.job_id][1] if job.spec.job_id in cycle.partly else waiting
        self._free[job.spec.job_id] = intervals.size(left) - len(places)

    # -- suspended work ------------------------------------------------------------------------------------------

    def _standing(self) -> Iterator[Still]:
        """Suspended attempts that may go on: not those of a paused job, nor those that were told to end."""
        numbers, context = self._cycle.index.numbers, self._cycle.context
        for job_id in self._farm.interruptions.suspended:
            job = self._farm.jobs[job_id]
            if job.paused:
                continue
            for number, attempt in job.live.items():
                if attempt.suspended_at_ms is None or attempt.stopping is not None:
                    continue
                nodes = tuple([(numbers[node_id], slots) for node_id, slots in attempt.nodes])
                cores = job.spec.requirement.resources.millicores
                yield Still(-context.level(job), attempt.suspended_at_ms, job_id, number, nodes, cores)

    def _highest_waiting(self) -> list[tuple[float, Requirement]]:
        """The levels at which somebody waits, the highest first, with what is asked for there."""
        jobs, level = self._farm.jobs, self._cycle.context.level
        lines = self._farm.queue.lines.items()
        return sorted(
            [(level(jobs[line.first()[1]]), segment.requirement) for segment, line in lines],
            key=lambda each: each[0],
            reverse=True,
        )

    def _wake(self, waiting: list[tuple[float, Requirement]]) -> None:
        """Lets those go on whose cores are free and wanted by nobody before them; the others keep their nodes."""
        left = []
        for still in self._still:
            if self._fits(still) and not self._is_wanted(still, waiting):
                self._resume(still)
            else:
                left.append(still)
                self._closed.append((-still.rank, mask_of([still.nodes])))
        self._still = left

    def _fits(self, still: Still) -> bool:
        free = self._cycle.index.free
        return all(free[number].millicores >= still.millicores * slots for number, slots in still.nodes)

    def _is_wanted(self, still: Still, waiting: list[tuple[float, Requirement]]) -> bool:
        """Whether somebody of a higher level could start on one of its nodes now."""
        mask = mask_of([still.nodes])
        for level, requirement in waiting:
            if level <= -still.rank:
                return False
            if self._cycle.index.fitting(requirement) & mask:
                return True
        return False

    def _resume(self, still: Still) -> None:
        self._cycle._own_index()
        for number, slots in still.nodes:
            self._cycle.index.allocate(number, Resources(still.millicores), slots)
        self._resumed.setdefault(still.job_id, []).append(still.attempt)

    # -- what others are told ------------------------------------------------------------------------------------

    def room(self, job: Job) -> int | None:
        """How many tasks may start elsewhere of a job for which room is held."""
        return self._free.get(job.spec.job_id) if self._free else None

    def took(self, job: Job, tasks: int) -> None:
        """So many tasks of a job start."""
        if job.spec.job_id in self._free:
            self._free[job.spec.job_id] -= tasks

    def allowed(self, job: Job, nodes: int) -> int:
        """Nodes without suspended work of its level or above."""
        if self._closed:
            level = self._cycle.context.level(job)
            for least, mask in self._closed:
                if level <= least:
                    nodes &= ~mask
        return nodes

    def why(self, segment: Segment, job: Job) -> tuple[Reason, ...]:
        """It waits for the room that it claimed, or suspended work goes on first where it would fit."""
        job_id, index = job.spec.job_id, self._cycle.index
        places = self._held.get(job_id)
        if places and self._free.get(job_id, 0) <= 0:
            return (Reason(ReasonCode.ROOM_CLAIMED, node_id=index.ids[places[0][0][0]]),)
        if self._closed:
            fitting, level = index.fitting(segment.requirement), self._cycle.context.level(job)
            for still in self._still:
                if level <= -still.rank and fitting & mask_of([still.nodes]):
                    node_id = index.ids[still.nodes[0][0]]
                    return (Reason(ReasonCode.SUSPENDED_FIRST, entity=still.job_id, node_id=node_id),)
        return ()

    def end(self) -> list[Command]:
        """After all is placed: whoever stands still and finds its cores free after all goes on."""
        self._wake([])
        resumed = [ResumeTasks(job_id=job_id, attempts=tuple(of)) for job_id, of in sorted(self._resumed.items())]
        return [*self._commands, *resumed]


def mask_of(places: Iterable[Nodes]) -> int:
    """The nodes of some places."""
    mask = 0
    for place in places:
        for number, _ in place:
            mask |= 1 << number
    return mask


def release_leaving(index: NodeIndex, jobs: Iterable[Job]) -> None:
    """Gives back on an index what all that was told to end still holds."""
    for job in jobs:
        for number, attempt in job.live.items():
            if attempt.stopping is not None:
                held = attempt.held(job.spec.requirement.resources)
                for node_id, slots in job.live[number].nodes:
                    index.release(index.numbers[node_id], held, slots)


def _held_on(job: Job, number: AttemptNumber, node_id: str) -> tuple[Resources, int]:
    """What an attempt holds on a node: of each slot, and how many slots."""
    attempt = job.live[number]
    nodes: tuple[NodeSlots, ...] = attempt.nodes
    return attempt.held(job.spec.requirement.resources), sum([slots for name, slots in nodes if name == node_id])


def _times(need: Resources, slots: int) -> Resources:
    return need if slots == 1 else Resources().plus(need, slots)
