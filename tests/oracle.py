"""A second planner, slow and obviously right: plain loops over jobs and nodes, one task at a time, no index, no cache.

It says what a cycle must do and why the rest waits, in the words of the rules. Best fit is the node with the fewest
free GPUs, then cores, then the lowest registration number; a gang fills nodes in that order, all of it or nothing.

A job that waits for room holds a reservation, as far as the backfill policy goes: the earliest moment at which its next
task fits as long as it may run, found by trying every moment at which something ends. Nothing starts where it would
touch one. On which node a reservation of one slot lies is a rule (the lowest number); where several sets of nodes could
hold a gang, the planner may choose, and the oracle takes its choice over once it has seen that the gang fits there.
"""

import math
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from domain import intervals
from domain.cycle import NUMBERS_MS
from domain.decisions import Plan, Reason, ReasonCode, Reserved, segment_name
from domain.farm import Farm
from domain.job.values import PRIORITY_RANK, Attempt, Job, NodeSlots, coarse
from domain.node import Node
from domain.planning.placing import Attempts
from domain.policies import Policies
from domain.resources import Requirement, Resources, has_attributes
from tests import schedules
from tests.contents import amount_of

Reasons = tuple[Reason, ...]
Gangs = Mapping[str, tuple[NodeSlots, ...]]
"""Where a plan has reserved room for the gangs of which jobs."""

NEVER = 1 << 62
"""When something ends of which nobody knows when."""
FOR_ROOM = (ReasonCode.RESOURCES_SHORT, ReasonCode.SLOTS_SHORT, ReasonCode.BEHIND_HEAD)
"""What a job waits for that can start as soon as enough has ended."""
LIMITS = (ReasonCode.CLIENT_LIMIT, ReasonCode.CLIENT_SUSPENDED)
LACKING = tuple(code for code in ReasonCode if code not in (*LIMITS, ReasonCode.BEHIND_HEAD))


class Expected(NamedTuple):
    """What a cycle must say."""

    placed: list[tuple[str, int, tuple[NodeSlots, ...]]]
    """(job, task, nodes), one row a task, in the order of placing."""
    blocked: dict[str, Reasons]
    """Reasons by segment name."""
    also: dict[str, list[Reasons]]
    """What is as true of some of them."""
    reserved: list[Reserved]
    """In the order of the queue."""


class Held(NamedTuple):
    """What is taken from a node, from one moment until another."""

    amount: Resources
    start_ms: int
    end_ms: int


def expected(
    farm: Farm, policies: Policies, now_ms: int, gangs: Gangs | None = None, *, over: Attempts = ()
) -> Expected:
    """One cycle by plain loops; attempts that are `over` count as ended."""
    return Oracle(farm, policies, now_ms, gangs, over=over).run()


def one_by_one(made: Plan) -> list[tuple[str, int, tuple[NodeSlots, ...]]]:
    """What a plan places, one row a task, as the oracle says it."""
    return in_runs(
        [
            (place.job_id, task, where.nodes)
            for place in made.decisions
            for where in place.placements
            for task in intervals.members(where.tasks)
        ]
    )


def in_runs(rows: list[tuple[str, int, tuple[NodeSlots, ...]]]) -> list[tuple[str, int, tuple[NodeSlots, ...]]]:
    """Tasks that follow each other to the same nodes are one set, in which their order is not told."""
    runs = groupby(rows, key=lambda row: (row[0], row[2]))
    return [row for _, run in runs for row in sorted(run)]


def gangs_of(made: Plan) -> Gangs:
    """The choice of a plan among nodes that could hold a gang."""
    return {each.job_id: each.nodes for each in made.reserved}


class Oracle:
    """The farm as lists, and what this cycle has taken so far."""

    def __init__(
        self, farm: Farm, policies: Policies, now_ms: int, gangs: Gangs | None = None, *, over: Attempts = ()
    ) -> None:
        self.farm, self.policies, self.now_ms, self.gangs = farm, policies, now_ms, gangs or {}
        self.nodes = [each for each in farm.nodes.values() if not each.retired]
        self.free = {each.node_id: each.capacity for each in farm.nodes.values()}
        self.held: dict[str, list[Held]] = {each.node_id: [] for each in farm.nodes.values()}
        self.use: dict[str, list[Requirement]] = {}
        """What each client's tasks require, one entry a task."""
        for each in farm.jobs.values():
            for number, attempt in each.live.items():
                if (each.spec.job_id, number) not in over:
                    self.take(each, attempt.nodes, self.end_of(each, attempt))
        self.placed: list[tuple[str, int, tuple[NodeSlots, ...]]] = []
        self.blocked: dict[str, tuple[Job, Reasons]] = {}
        """By segment, its first job that was passed over."""
        self.also: dict[str, list[Reasons]] = {}
        self.reserved: list[Reserved] = []

    def run(self) -> Expected:
        jobs = sorted((each for each in self.farm.jobs.values() if each.startable and self.ready(each)), key=self.key)
        for at, each in enumerate(jobs):
            reasons = self.place(each)
            if reasons is None:
                continue
            self.blocked.setdefault(name_of(each), (each, reasons))
            if reasons[0].code not in FOR_ROOM:
                continue
            if self.policies.backfill == "none":
                behind = (Reason(ReasonCode.BEHIND_HEAD, entity=each.spec.job_id),)
                for other in jobs[at + 1 :]:
                    self.blocked.setdefault(name_of(other), (other, behind))
                break
            if len(self.reserved) < depth_of(self.policies):
                self.reserve(each)
                if len(self.reserved) == depth_of(self.policies):
                    self.look_behind(jobs[at + 1 :])
        return Expected(in_runs(self.placed), self.reasons(), self.also, self.reserved)

    def look_behind(self, jobs: list[Job]) -> None:
        """What fits by now, but not beside the reservations, may be said to wait for these, whatever is full later."""
        for each in jobs:
            if self.choose(each.spec.requirement, NEVER) is None:
                self.also.setdefault(name_of(each), []).append(self.behind(each.spec.requirement))

    def reasons(self) -> dict[str, Reasons]:
        """Why each segment waits: what it lacks is what it lacks in the end, when all is placed that could be.

        Which of two equal nodes is the nearest miss may have been said of any segment of the same shape. What is behind
        the head in strict order may as well be said to be impossible.
        """
        said: dict[str, Reasons] = {}
        for segment, (job, reasons) in self.blocked.items():
            requirement, code = job.spec.requirement, reasons[0].code
            said[segment] = self.why_not(requirement, segment) if code in LACKING else reasons
            alike = [name for name, (each, _) in self.blocked.items() if each.spec.requirement == requirement]
            lacking = [] if code in LIMITS else [self.why_not(requirement, name) for name in alike]
            if code in LACKING or any(each and each[0].code not in FOR_ROOM for each in lacking):
                self.also.setdefault(segment, []).extend(lacking)
        return said

    def key(self, job: Job) -> tuple[Any, ...]:
        return (SCORES[self.policies.order](job, self.now_ms), job.submitted_ms, job.spec.job_id)

    def ready(self, job: Job) -> list[int]:
        tasks = list(intervals.members(job.waiting))
        for until_ms, delayed in job.delayed:
            if until_ms <= self.now_ms:
                tasks += intervals.members(delayed)
        first = set(intervals.members(coarse(job.spec))) if job.spec.progressive is not None else set(tasks)
        return sorted(tasks, key=lambda task: (task not in first, task))

    def place(self, job: Job) -> Reasons | None:
        """Places one task after the other; why the next one waits, None when all are placed."""
        requirement = job.spec.requirement
        end_ms = self.end_from(job, self.now_ms)
        for task in self.ready(job):
            limit = self.limit(job)
            if limit is not None:
                return (limit,)
            nodes = self.choose(requirement, end_ms)
            if nodes is None:
                return self.behind(requirement) or self.why_not(requirement, name_of(job))
            self.take(job, nodes, end_ms)
            self.placed.append((job.spec.job_id, task, nodes))
        return None

    def take(self, job: Job, nodes: tuple[NodeSlots, ...], end_ms: int = NEVER) -> None:
        """A task starts now, or runs."""
        need = job.spec.requirement.resources
        for node_id, slots in nodes:
            for _ in range(slots):
                self.free[node_id] = self.free[node_id].minus(need)
                self.held[node_id].append(Held(need, self.now_ms, end_ms))
        self.use.setdefault(job.spec.client_id, []).append(job.spec.requirement)

    # -- when ----------------------------------------------------------------------------------------------------

    def end_from(self, job: Job, start_ms: int) -> int:
        """When a task ends by request that starts at some moment."""
        return NEVER if job.spec.walltime_ms is None else start_ms + job.spec.walltime_ms

    def end_of(self, job: Job, attempt: Attempt) -> int:
        """When a running task ends by request: not as long as its job is paused; at any moment if it is overdue."""
        end_ms = self.end_from(job, attempt.placed_ms + job.paused_ms)
        return NEVER if job.paused else max(end_ms, self.now_ms)

    def free_at(self, node_id: str, at_ms: int) -> Resources:
        """What a node has free at a moment if all goes as expected, and what is overdue ends at once."""
        free = self.farm.nodes[node_id].capacity
        for each in self.held[node_id]:
            if each.start_ms <= at_ms < each.end_ms:
                free = free.minus(each.amount)
        return free

    def room_between(self, node_id: str, requirement: Requirement, start_ms: int, end_ms: int) -> int:
        """How many slots of a task a node has room for, all the time from one moment until another."""
        begins = {each.start_ms for each in self.held[node_id]} | {each.end_ms for each in self.held[node_id]}
        moments = [start_ms, *(ms for ms in begins if start_ms < ms < end_ms)]
        most = most_on_a_node(requirement)
        return min(slots_in(self.free_at(node_id, ms), requirement, most) for ms in moments)

    def reserve(self, job: Job) -> None:
        """Tries every moment at which something ends; what begins later can only take room away."""
        requirement = job.spec.requirement
        ends = {each.end_ms for held in self.held.values() for each in held}
        for start_ms in sorted({self.now_ms, *ends} - {NEVER}):
            end_ms = self.end_from(job, start_ms)
            rooms = {
                n.node_id: self.room_between(n.node_id, requirement, start_ms, end_ms) for n in self.able(requirement)
            }
            if sum(rooms.values()) >= requirement.slots:
                nodes = self.filled(job, rooms)
                self.reserved.append(Reserved(job.spec.job_id, start_ms, nodes))
                for node_id, slots in nodes:
                    self.held[node_id] += [Held(requirement.resources, start_ms, end_ms)] * slots
                return

    def filled(self, job: Job, rooms: dict[str, int]) -> tuple[NodeSlots, ...]:
        """The first node for one slot; for a gang what the planner chose, if that is right."""
        wanted = job.spec.requirement.slots
        if wanted == 1:
            return (next((node_id, 1) for node_id, room in rooms.items() if room),)
        given = self.gangs.get(job.spec.job_id, ())
        valid = len(dict(given)) == len(given) and all(0 < slots <= rooms.get(node_id, 0) for node_id, slots in given)
        if valid and sum(slots for _, slots in given) == wanted:
            return given
        nodes = []
        for node_id, room in rooms.items():
            nodes.append((node_id, min(room, wanted)))
            wanted -= nodes[-1][1]
        return tuple((node_id, slots) for node_id, slots in nodes if slots)

    # -- which nodes ---------------------------------------------------------------------------------------------

    def choose(self, requirement: Requirement, end_ms: int | None = None) -> tuple[NodeSlots, ...] | None:
        """One slot after the other, on the best of the nodes that may still be used; no end: whatever is reserved."""
        missing, nodes = requirement.slots, []
        for each in self.best_first(self.fitting(requirement)):
            slots = slots_in(self.free[each.node_id], requirement, most_on_a_node(requirement))
            if end_ms is not None:
                slots = min(slots, self.room_between(each.node_id, requirement, self.now_ms, end_ms))
            slots = min(slots, missing)
            if slots:
                nodes.append((each.node_id, slots))
            missing -= slots
            if not missing:
                return tuple(nodes)
        return None

    def fitting(self, requirement: Requirement) -> list[Node]:
        return [n for n in self.open(requirement) if holds(self.free[n.node_id], requirement.resources)]

    def able(self, requirement: Requirement) -> list[Node]:
        """Those that could hold a slot if they were empty."""
        return [n for n in self.open(requirement) if n.capacity.fits(requirement.resources)]

    def open(self, requirement: Requirement) -> list[Node]:
        return [n for n in self.nodes if n.takes_work and meets(n, requirement)]

    def best_first(self, nodes: list[Node]) -> list[Node]:
        """Fewest free GPUs, then cores; sorting is stable, so registration comes last."""
        return sorted(nodes, key=lambda n: (self.left(n, "gpus"), self.left(n, "millicores")))

    def left(self, node: Node, kind: str) -> int:
        """How much a node has free: none, if it shrank below what it holds."""
        return max(0, amount_of(self.free[node.node_id], kind))

    # -- why not: reservations -----------------------------------------------------------------------------------

    def behind(self, requirement: Requirement) -> Reasons:
        """The first reservation, for what would fit if there were none."""
        if not self.reserved or self.choose(requirement) is None:
            return ()
        return (Reason(ReasonCode.BEHIND_HEAD, self.reserved[0].job_id, until_ms=self.reserved[0].start_ms),)

    # -- why not: the client -------------------------------------------------------------------------------------

    def limit(self, job: Job) -> Reason | None:
        """The limit that one more task would break, the tightest first."""
        client = self.farm.clients.get(job.spec.client_id)
        if client is None:
            return None
        if client.suspended:
            return Reason(ReasonCode.CLIENT_SUSPENDED, entity=client.client_id)
        mine, one = self.use.get(client.client_id, []), job.spec.requirement.total()
        rooms: list[tuple[str, int, int]] = []
        if client.shares.max_tasks is not None:
            rooms.append(("tasks", 1, client.shares.max_tasks - len(mine)))
        if client.shares.limit_percent < 100:
            for kind in ("millicores", "gpus"):
                all_of_it = sum(amount_of(n.capacity, kind) for n in self.nodes)
                used = sum(amount_of(each.total(), kind) for each in mine)
                rooms.append((kind, amount_of(one, kind), all_of_it * client.shares.limit_percent // 100 - used))
        rooms = [room for room in rooms if room[1] > 0]
        kind, needed, left = min(rooms, key=lambda room: room[2] // room[1], default=("", 0, 0))
        if left >= needed:
            return None
        return Reason(ReasonCode.CLIENT_LIMIT, client.client_id, kind, needed, max(0, left))

    # -- why not: the nodes --------------------------------------------------------------------------------------

    def why_not(self, requirement: Requirement, segment: str) -> Reasons:
        never = self.never(requirement)
        if never:
            return never
        if not any(n.takes_work for n in self.nodes):
            return (Reason(ReasonCode.NO_NODES, needed=requirement.slots),)
        able = self.able(requirement)
        if not able:
            return (Reason(ReasonCode.NODES_UNAVAILABLE, needed=requirement.slots),)
        fitting = self.fitting(requirement)
        if requirement.slots > 1 and fitting:
            return (self.slots_short(requirement, fitting),)
        return self.short(requirement, able, segment)

    def never(self, requirement: Requirement) -> Reasons:
        """Why no registered node could hold it, even if all were empty and open."""
        if not self.nodes or any(meets(n, requirement) and n.capacity.fits(requirement.resources) for n in self.nodes):
            return self.gang_too_large(requirement) if self.nodes and requirement.slots > 1 else ()
        for demand in requirement.attributes:
            if all(has_attributes(n.attributes, (demand,)) for n in self.nodes):
                return (Reason(ReasonCode.ATTRIBUTE_MISSING, entity=demand.name),)
        meeting = [n for n in self.nodes if meets(n, requirement)]
        if not meeting:
            return tuple(Reason(ReasonCode.ATTRIBUTE_MISSING, entity=d.name) for d in requirement.attributes)
        lacking = [too_small(n, requirement.resources) for n in meeting]
        return min(lacking, key=lambda reasons: (len(reasons), -reasons[0].available))

    def gang_too_large(self, requirement: Requirement) -> Reasons:
        able = [n for n in self.nodes if meets(n, requirement) and n.capacity.fits(requirement.resources)]
        if requirement.distinct_nodes:
            what, slots = "nodes", len(able)
        else:
            what, slots = "slots", sum(room_of(n.capacity, requirement) for n in able)
        return (Reason(ReasonCode.TOO_LARGE, "", what, requirement.slots, slots),) if slots < requirement.slots else ()

    def slots_short(self, requirement: Requirement, fitting: list[Node]) -> Reason:
        if requirement.distinct_nodes:
            return Reason(ReasonCode.SLOTS_SHORT, "", "nodes", requirement.slots, len(fitting))
        slots = sum(room_of(self.free[n.node_id], requirement) for n in fitting)
        return Reason(ReasonCode.SLOTS_SHORT, "", "slots", requirement.slots, slots)

    def short(self, requirement: Requirement, able: list[Node], segment: str) -> Reasons:
        """The nearest miss: a node that lacks one thing only if there is one, else each thing by itself."""
        needs = requirement.resources.items()
        known = self.farm.blocked.get(segment)
        last_time = known.reasons[0].node_id if known and known.reasons else ""
        for kind, amount in needs:
            others = [(k, a) for k, a in needs if k != kind]
            near = [n for n in able if all(amount_of(self.free[n.node_id], k) >= a for k, a in others)]
            if near:
                return (self.miss(kind, amount, near, last_time),)
        return tuple(self.miss(kind, amount, able, last_time) for kind, amount in needs)

    def miss(self, kind: str, amount: int, nodes: list[Node], last_time: str) -> Reason:
        best = max(nodes, key=lambda n: (n.node_id == last_time, self.left(n, kind)))
        return Reason(ReasonCode.RESOURCES_SHORT, "", kind, amount, self.left(best, kind), best.node_id)


def name_of(job: Job) -> str:
    return segment_name(job.spec.client_id, job.priority, job.spec.requirement)


def meets(node: Node, requirement: Requirement) -> bool:
    return has_attributes(node.attributes, requirement.attributes) is None


def holds(free: Resources, need: Resources) -> bool:
    """Whether all that is asked for is there; what is not asked for may even be overdrawn."""
    return all(amount_of(free, kind) >= amount for kind, amount in need.items())


def most_on_a_node(requirement: Requirement) -> int:
    return 1 if requirement.distinct_nodes else requirement.slots


def room_of(have: Resources, requirement: Requirement) -> int:
    """How many slots fit; of those that need nothing, more than enough."""
    return slots_in(have, requirement, requirement.slots * 99)


def slots_in(have: Resources, requirement: Requirement, most: int) -> int:
    """How many slots fit, counted up to a bound."""
    slots = 0
    while slots < most and holds(have, requirement.resources):
        have, slots = have.minus(requirement.resources), slots + 1
    return slots


def too_small(node: Node, need: Resources) -> Reasons:
    return tuple(
        Reason(ReasonCode.TOO_LARGE, "", kind, amount, amount_of(node.capacity, kind), node.node_id)
        for kind, amount in need.items()
        if amount_of(node.capacity, kind) < amount
    )


# -- policies --------------------------------------------------------------------------------------------------------


def depth_of(policies: Policies) -> float:
    """How many blocked jobs hold a reservation."""
    given: int = policies.parameters.get("backfill", {}).get("reservations", 1)
    return {"easy": 1, "depth": given, "conservative": math.inf}.get(policies.backfill, 0)


def priority(job: Job, now_ms: int) -> float:
    return -PRIORITY_RANK[job.priority]


def rigid(job: Job) -> schedules.Job | None:
    """A job in whole seconds and processors; none if nobody knows how long it runs."""
    if job.spec.walltime_ms is None:
        return None
    processors = job.spec.requirement.total().millicores // 1_000 or 1
    requested, submit = job.spec.walltime_ms // 1_000, job.submitted_ms // 1_000
    return schedules.Job(0, submit, 0, processors, requested)


def by_deadline(job: Job, now_ms: int) -> float:
    return math.inf if job.deadline_ms is None else job.deadline_ms


def by_slack(job: Job, now_ms: int) -> float:
    """A run time that nobody knows counts as none."""
    return math.inf if job.deadline_ms is None else job.deadline_ms - now_ms - (job.spec.walltime_ms or 0)


def by_rule(name: str) -> Callable[[Job, int], float]:
    """An order that needs the run time: jobs without one last."""

    def score(job: Job, now_ms: int) -> float:
        known = rigid(job)
        return math.inf if known is None else schedules.ORDERS[name](known, now_ms // 1_000)

    return score


BY_RUN_TIME = ("sjf", "saf", "wfp3", "unicep", "f1", "f2", "f3", "f4")
SCORES: dict[str, Callable[[Job, int], float]] = {
    "fifo": lambda job, now_ms: 0,
    "priority": priority,
    "edf": by_deadline,
    "slack": by_slack,
    **{name: by_rule(name) for name in BY_RUN_TIME},
}
"""Orders by name: lower goes first."""


# -- reasons that are recorded ---------------------------------------------------------------------------------------


def differing(made: Plan, wanted: Expected, farm: Farm, now_ms: int) -> list[str]:
    """Segments whose reasons are not what they must be.

    Numbers may be those of a record younger than a minute, of this segment or of another one with the same shape.
    """
    said = {blocked.segment: blocked.reasons for blocked in made.passed_over}
    return [
        segment
        for segment in sorted(said.keys() | wanted.blocked.keys())
        if not any(
            alike(said.get(segment, ()), each, young(farm, segment, now_ms))
            for each in (wanted.blocked.get(segment, ()), *wanted.also.get(segment, ()))
        )
    ]


def alike(here: Reasons, there: Reasons, records: list[Reasons]) -> bool:
    if here not in records or len(here) != len(there):
        return here == there
    return all(a.same_blocker(b) for a, b in zip(here, there, strict=True))


def young(farm: Farm, segment: str, now_ms: int) -> list[Reasons]:
    """What was recorded of a shape within the last minute."""
    shape = segment.rsplit("/", 1)[-1]
    fresh = [name for name, at_ms in farm.blocked_ms.items() if now_ms - at_ms < NUMBERS_MS]
    return [farm.blocked[name].reasons for name in fresh if name.endswith(f"/{shape}")]
