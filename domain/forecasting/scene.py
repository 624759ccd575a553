"""The farm at one moment, as far as it takes to run it ahead: what runs, what waits in which order, and where it fits.

Taken in O(jobs + nodes) while the farm stands still; it shares nothing that changes, so that the farm can go on while
`domain.forecasting.runahead` walks.
"""

from typing import Any, NamedTuple

import msgspec

from domain import intervals
from domain.farm import Farm
from domain.forecasting.chances import Run, run_of
from domain.indices.nodeindex import amounts_of, slots_in
from domain.indices.performance import kind_of
from domain.job.values import Attempt, Job
from domain.messages import ClientId, JobId
from domain.planning.limits import Limits
from domain.policies import Context, Policies, made
from domain.resources import Requirement

Place = tuple[Any, ...]
"""Where a job stands in the queue: order key, submit time, id."""


class Lane(msgspec.Struct, frozen=True, eq=False):
    """What waits of one client and requirement, and so fits in the same places."""

    client_id: ClientId
    requirement: Requirement
    nodes: int
    """Mask of the nodes that it may use; 0 if it can never start as things are."""
    needs: tuple[tuple[str, int], ...]
    limited: bool
    """Whether its client may not use all it can get."""


class Work(NamedTuple):
    """One job that can come to its end by itself: what is left of it."""

    job_id: JobId
    lane: Lane
    place: Place
    run: Run | None
    """How long its attempts run; None where no past run tells."""
    most_ms: int | None
    """Its walltime."""
    ready: int
    """Tasks that may start as soon as its predecessors have completed."""
    later: tuple[tuple[int, int], ...]
    """(from when, how many): tasks that may start no earlier."""
    running: int
    behind: tuple[JobId, ...]
    """Who must complete before."""


class Going(NamedTuple):
    """An attempt that runs."""

    job_id: JobId
    nodes: tuple[tuple[int, int], ...]
    """(node number, slots)."""
    lane: Lane
    run: Run | None
    most_ms: int | None
    since_ms: int
    """When it was placed, put off by all pauses."""
    stopping: bool
    stands: bool
    """Whether it is paused or suspended, so that nobody knows when it goes on."""


class Scene:
    """What one moment of a farm holds for a walk."""

    def __init__(self, farm: Farm, policies: Policies, now_ms: int) -> None:
        self.position, self.now_ms = farm.position, now_ms
        self._farm, self._context = farm, Context(farm, made(policies), now_ms)
        self.overtakes = self._context.made.backfill.overtakes
        self.index = farm.index.fork()
        self.millicores = sum([node.capacity.millicores for node in farm.nodes.values() if node.takes_work])
        self.limits = (Limits(farm), Limits(farm))
        """One for each of two walks, which count on there."""
        self.works: dict[JobId, Work] = {}
        self.going: list[Going] = []
        self.width = farm.promises.width
        """By how much deviations are widened, as past forecasts have turned out."""
        self.wanted: dict[JobId, Job] = {}
        """Live jobs with a deadline."""
        self.guesses = False
        """Whether of some no past run tells how long they run."""
        self._asleep = sum([1 << farm.index.numbers[node_id] for node_id in farm.asleep])
        """Nodes that are powered up when they are needed, which is taken to be at once."""
        self._lanes: dict[tuple[ClientId, Requirement], Lane] = {}
        self._runs = {
            (each.client_id, each.kind): (_mean_ms(each.last_ms, each.before_ms), each.checked, each.missed_ms)
            for each in farm.performance.state().recent
        }
        for job in farm.jobs.values():
            self._take(job)
        del self._farm, self._context  # what follows must not look at what may have changed

    def _take(self, job: Job) -> None:
        spec = job.spec
        run, lane = self._run(job), self._lane(job)
        for attempt in job.live.values():
            self._go(job, attempt, lane, run)
        if job.ended is not None:
            return
        if job.deadline_ms is not None:
            self.wanted[spec.job_id] = job
        behind = self._behind(job)
        ready, later = self._waiting(job)
        stuck = job.paused or job.gated or ((ready or later) and (job.held or not lane.nodes))
        if behind is None or stuck:
            return
        self.guesses = self.guesses or run is None
        place = (self._context.made.order.key(job, self._context), job.submitted_ms, spec.job_id)
        most_ms = spec.walltime_ms
        self.works[spec.job_id] = Work(spec.job_id, lane, place, run, most_ms, ready, later, len(job.live), behind)

    def _waiting(self, job: Job) -> tuple[int, tuple[tuple[int, int], ...]]:
        """How many tasks may start at once, and from when on how many others."""
        ready, from_ms = intervals.size(job.waiting), job.spec.not_before_ms
        if not job.delayed and (job.queued or from_ms is None):
            return ready, ()
        later = [(until_ms, intervals.size(tasks)) for until_ms, tasks in job.delayed]
        if not job.queued and from_ms is not None and from_ms > self.now_ms:
            later = [(max(from_ms, until_ms), count) for until_ms, count in [(from_ms, ready), *later]]
            ready = 0
        return ready, tuple(later)

    def _behind(self, job: Job) -> tuple[JobId, ...] | None:
        """The live jobs that must complete before it starts; None if that will not happen by itself."""
        job_id, jobs = job.spec.job_id, self._farm.jobs
        if job.queued or job_id not in self._farm.incoming:
            return ()
        before = [edge.predecessor_id for edge in self._farm.edges_into(job_id) if edge.blocks]
        if any(each not in jobs or jobs[each].ended is not None for each in before):
            return None
        return tuple(before)

    def _go(self, job: Job, attempt: Attempt, lane: Lane, run: Run | None) -> None:
        numbers, spec = self._farm.index.numbers, job.spec
        self.guesses = self.guesses or run is None
        nodes = tuple([(numbers[node_id], slots) for node_id, slots in attempt.nodes])
        since_ms = attempt.placed_ms + job.paused_ms + attempt.suspended_ms
        stopping, stands = attempt.stopping is not None, job.paused or attempt.suspended_at_ms is not None
        self.going.append(Going(spec.job_id, nodes, lane, run, spec.walltime_ms, since_ms, stopping, stands))

    def _run(self, job: Job) -> Run | None:
        known = self._runs.get((job.spec.client_id, kind_of(job.spec)))
        return None if known is None else run_of(*known, job.spec.walltime_ms)

    def _lane(self, job: Job) -> Lane:
        key = (job.spec.client_id, job.spec.requirement)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._new_lane(job)
        return lane

    def _new_lane(self, job: Job) -> Lane:
        client_id, requirement = job.spec.client_id, job.spec.requirement
        limited = self.limits[0].concern(client_id)
        if limited:
            for limits in self.limits:
                limits.allows(client_id, requirement)  # what the client holds counts as of now
        return Lane(client_id, requirement, self._nodes(job), amounts_of(requirement.resources), limited)

    def _nodes(self, job: Job) -> int:
        """The nodes that tasks of a job may use, if these are enough for one of them."""
        farm, requirement = self._farm, job.spec.requirement
        client = farm.clients.get(job.spec.client_id)
        if client is not None and client.suspended:
            return 0
        nodes = (farm.index.open_mask | self._asleep) & farm.index.capable(requirement)
        for rule in self._context.made.filters:
            nodes = rule.mask(job, nodes, farm.index, self._context) if nodes else 0
        if requirement.slots == 1 or not nodes:
            return nodes
        enough = slots_in(farm.index.rooms_when_empty(nodes, requirement)) >= requirement.slots
        return nodes if enough else 0


def _mean_ms(last_ms: int, before_ms: int | None) -> int:
    return last_ms if before_ms is None else (last_ms + before_ms) // 2
