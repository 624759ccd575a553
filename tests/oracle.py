"""A second planner, slow and obviously right: plain loops over jobs and nodes, one task at a time, no index, no cache.

It says what a cycle must do and why the rest waits, in the words of the rules: best fit is the node with the fewest
free GPUs, then cores, then the lowest registration number; a gang fills nodes in that order, all of it or nothing.
"""

from typing import Any, NamedTuple

from domain import intervals
from domain.decisions import Reason, ReasonCode, segment_name
from domain.farm import Farm
from domain.job.values import PRIORITY_RANK, Job, NodeSlots
from domain.node import Node
from domain.policies import Policies
from domain.resources import Requirement, Resources, has_attributes
from tests.contents import amount_of

Reasons = tuple[Reason, ...]


class Expected(NamedTuple):
    """What a cycle must say."""

    placed: list[tuple[str, int, tuple[NodeSlots, ...]]]
    """(job, task, nodes), one row a task, in the order of placing."""
    blocked: dict[str, Reasons]
    """Reasons by segment name."""


def expected(farm: Farm, policies: Policies, now_ms: int) -> Expected:
    """One cycle by plain loops."""
    return Oracle(farm, policies, now_ms).run()


class Oracle:
    """The farm as lists, and what this cycle has taken so far."""

    def __init__(self, farm: Farm, policies: Policies, now_ms: int) -> None:
        self.farm, self.policies, self.now_ms = farm, policies, now_ms
        self.nodes = [each for each in farm.nodes.values() if not each.retired]
        self.free = {each.node_id: each.capacity for each in farm.nodes.values()}
        self.use: dict[str, list[Requirement]] = {}
        """What each client's tasks require, one entry a task."""
        for each in farm.jobs.values():
            for attempt in each.live.values():
                self.take(each, attempt.nodes)
        self.placed: list[tuple[str, int, tuple[NodeSlots, ...]]] = []
        self.blocked: dict[str, Reasons] = {}
        self.shapes: dict[Requirement, Reasons] = {}

    def run(self) -> Expected:
        jobs = sorted((each for each in self.farm.jobs.values() if each.startable and self.ready(each)), key=self.key)
        for at, each in enumerate(jobs):
            reasons = self.place(each)
            if reasons is None:
                continue
            self.blocked.setdefault(name_of(each), reasons)
            if self.policies.backfill == "none":
                behind = (Reason(ReasonCode.BEHIND_HEAD, entity=each.spec.job_id),)
                for other in jobs[at + 1 :]:
                    self.blocked.setdefault(name_of(other), behind)
                break
        return Expected(self.placed, self.blocked)

    def key(self, job: Job) -> tuple[Any, ...]:
        rank = -PRIORITY_RANK[job.priority] if self.policies.order == "priority" else 0
        return (rank, job.submitted_ms, job.spec.job_id)

    def ready(self, job: Job) -> list[int]:
        tasks = list(intervals.members(job.waiting))
        for until_ms, delayed in job.delayed:
            if until_ms <= self.now_ms:
                tasks += intervals.members(delayed)
        return sorted(tasks)

    def place(self, job: Job) -> Reasons | None:
        """Places one task after the other; why the next one waits, None when all are placed."""
        requirement = job.spec.requirement
        for task in self.ready(job):
            limit = self.limit(job)
            if limit is not None:
                return (limit,)
            nodes = self.choose(requirement)
            if nodes is None:
                if requirement not in self.shapes:
                    self.shapes[requirement] = self.why_not(requirement, name_of(job))
                return self.shapes[requirement]
            self.take(job, nodes)
            self.placed.append((job.spec.job_id, task, nodes))
        return None

    def take(self, job: Job, nodes: tuple[NodeSlots, ...]) -> None:
        for node_id, slots in nodes:
            for _ in range(slots):
                self.free[node_id] = self.free[node_id].minus(job.spec.requirement.resources)
        self.use.setdefault(job.spec.client_id, []).append(job.spec.requirement)

    # -- which nodes ---------------------------------------------------------------------------------------------

    def choose(self, requirement: Requirement) -> tuple[NodeSlots, ...] | None:
        """One slot after the other, on the best of the nodes that may still be used."""
        missing, nodes = requirement.slots, []
        for each in self.best_first(self.fitting(requirement)):
            most = 1 if requirement.distinct_nodes else missing
            slots = 0
            left = self.free[each.node_id]
            while slots < min(most, missing) and holds(left, requirement.resources):
                left, slots = left.minus(requirement.resources), slots + 1
            nodes.append((each.node_id, slots))
            missing -= slots
            if not missing:
                return tuple(nodes)
        return None

    def fitting(self, requirement: Requirement) -> list[Node]:
        return [n for n in self.open(requirement) if holds(self.free[n.node_id], requirement.resources)]

    def open(self, requirement: Requirement) -> list[Node]:
        return [n for n in self.nodes if n.takes_work and meets(n, requirement)]

    def best_first(self, nodes: list[Node]) -> list[Node]:
        """Fewest free GPUs, then cores; sorting is stable, so registration comes last."""
        return sorted(nodes, key=lambda n: (self.left(n, "gpus"), self.left(n, "millicores")))

    def left(self, node: Node, kind: str) -> int:
        """How much a node has free: none, if it shrank below what it holds."""
        return max(0, amount_of(self.free[node.node_id], kind))

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
        able = [n for n in self.open(requirement) if n.capacity.fits(requirement.resources)]
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
            what, slots = "slots", sum(room(n.capacity, requirement) for n in able)
        return (Reason(ReasonCode.TOO_LARGE, "", what, requirement.slots, slots),) if slots < requirement.slots else ()

    def slots_short(self, requirement: Requirement, fitting: list[Node]) -> Reason:
        if requirement.distinct_nodes:
            return Reason(ReasonCode.SLOTS_SHORT, "", "nodes", requirement.slots, len(fitting))
        slots = sum(room(self.free[n.node_id], requirement) for n in fitting)
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


def room(have: Resources, requirement: Requirement) -> int:
    """How many slots fit, no more than are needed counted."""
    slots = 0
    while slots < requirement.slots * 99 and holds(have, requirement.resources):
        have, slots = have.minus(requirement.resources), slots + 1
    return slots


def too_small(node: Node, need: Resources) -> Reasons:
    return tuple(
        Reason(ReasonCode.TOO_LARGE, "", kind, amount, amount_of(node.capacity, kind), node.node_id)
        for kind, amount in need.items()
        if amount_of(node.capacity, kind) < amount
    )
