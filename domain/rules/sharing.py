"""Guarantees within a cycle: who comes first, who may borrow, and what must come back to whom.

A client whose use plus one more task stays within its guarantee comes before everybody else; above its guarantee it
borrows. Percentages are of the cores and of the GPUs of all nodes that have not left the farm, each resource by itself;
a task is judged by those of the two that it asks for, so one without a GPU by its cores alone, and one that asks for
neither takes nothing that is shared.

Under `wait` lent capacity comes back by itself, because it is lent only to tasks that end within the reclaim period.
A task that may run longer is started only in what nobody is guaranteed. While a client waits for something that is
guaranteed to it, nothing of a borrower starts on the nodes where that will fit first. Under `preempt` anything may be
lent, and `reclaims` says whose it must be taken back from.
"""

from collections.abc import Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from domain import intervals
from domain.decisions import Reason, ReasonCode, Segment
from domain.indices.endings import expected
from domain.indices.nodeindex import bits
from domain.indices.queue import Line
from domain.job.values import Job
from domain.messages import ClientId, JobId
from domain.planning.lanes import Lane, Stop
from domain.planning.openings import FOREVER
from domain.policies import Made, SharingPolicy
from domain.resources import Requirement
from domain.rules import Rule, rule
from domain.rules.keeping import Budget, Demand, kept_for

if TYPE_CHECKING:
    from domain.farm import Farm
    from domain.planning.placing import Placing

WHAT = ("millicores", "gpus")
Pair = tuple[int, int]
"""Millicores and GPUs."""
NOTHING: Pair = (0, 0)


class Borrower(NamedTuple):
    """A client above its guarantee."""

    client_id: ClientId
    millicores: int
    gpus: int
    """How much of each it holds beyond its guarantee."""


class Reclaim(NamedTuple):
    """A task that its client is guaranteed the capacity for, and who holds that."""

    job: Job
    """The first job of the owner that waits; its next task is within the guarantee."""
    tasks: int
    """How many tasks of this requirement are within the guarantee, at most."""
    borrowers: tuple[Borrower, ...]
    """Who is furthest above its guarantee first, in parts of the farm; never the owner."""


class Account:
    """One client within one cycle, in millicores and GPUs, tentative placements included."""

    __slots__ = ("bounded", "ceiling", "client_id", "cores", "gpus", "guarantee", "lends", "long_cores", "long_gpus")

    def __init__(self, client_id: ClientId, guarantee: Pair, ceiling: Pair | None, lends: bool, used: Pair) -> None:
        self.client_id, self.guarantee, self.lends = client_id, guarantee, lends
        self.ceiling: Pair = (0, 0) if ceiling is None else ceiling
        """The most that it may hold, where that is bounded."""
        self.bounded = ceiling is not None
        self.cores, self.gpus = guarantee[0] - used[0], guarantee[1] - used[1]
        """What is left of its guarantee; less than nothing while it borrows."""
        self.long_cores, self.long_gpus = guarantee
        """The same, if it held nothing but tasks that may run longer than the reclaim period."""

    def has(self, requirement: Requirement) -> bool:
        """Whether one more task stays within the guarantee, judged by what it asks for; none that asks for neither."""
        resources, slots = requirement.resources, requirement.slots
        millicores, gpus = resources.millicores, resources.gpus
        if slots > 1:
            millicores, gpus = millicores * slots, gpus * slots
        if gpus:
            return gpus <= self.gpus and (not millicores or millicores <= self.cores)
        return 0 < millicores <= self.cores

    def count_of(self, requirement: Requirement) -> int:
        """How many more tasks stay within the guarantee; none that asks for neither cores nor GPUs."""
        resources, slots = requirement.resources, requirement.slots
        millicores, gpus = resources.millicores, resources.gpus
        if gpus or slots > 1:
            return max(0, tasks_in((self.cores, self.gpus), (millicores * slots, gpus * slots)))
        return self.cores // millicores if 0 < millicores <= self.cores else 0

    def left(self) -> Pair:
        """What it leaves unused of its guarantee."""
        return max(0, self.cores), max(0, self.gpus)

    def excess(self) -> Pair:
        """What it holds beyond its guarantee."""
        return max(0, -self.cores), max(0, -self.gpus)

    def used(self) -> Pair:
        """What it holds."""
        return self.guarantee[0] - self.cores, self.guarantee[1] - self.gpus

    def lent_long(self) -> Pair:
        """What it holds beyond its guarantee for tasks that may run longer than the reclaim period."""
        return max(0, -self.long_cores), max(0, -self.long_gpus)


class Bound(NamedTuple):
    """Something that bounds what a borrower may start."""

    code: ReasonCode
    entity: ClientId
    left: Pair


class Sharing(Rule):
    """Guarantees in one cycle."""

    ranks = True
    last_rank = 1
    whole = True
    alike = True

    def __init__(self, farm: "Farm", policy: SharingPolicy, now_ms: int) -> None:
        self._farm, self._now_ms = farm, now_ms
        self._waits = policy.reclaim == "wait"
        self._period_ms = policy.reclaim_period_s * 1000
        self._until_ms = now_ms + self._period_ms if self._waits else FOREVER
        """What ends later than this may not borrow what is to come back."""
        self._owners: dict[tuple[ClientId, bool], ClientId] = {}
        self._reasons: dict[tuple[ClientId, Pair, bool], tuple[Reason, ...]] = {}
        """What was said already; room only shrinks within a cycle."""
        self._cycle: Placing
        self._free: Pair | None = None
        """What is free on nodes that take work or sleep, once asked for; kept up with what starts, as the next two."""
        self._kept_back: Pair | None = None
        """What clients that do not lend leave unused of their guarantees."""
        self._spare: Pair | None = None
        """What nobody is guaranteed of the capacity in service, less what long tasks of borrowers hold of it."""
        self._none_short: dict[Segment, bool] = {}

    def begin(self, cycle: "Placing") -> None:
        """Nothing is worked out before it is asked for."""
        self._cycle = cycle

    # -- the accounts --------------------------------------------------------------------------------------------

    @cached_property
    def _capacity(self) -> Pair:
        live = [node.capacity for node in self._farm.nodes.values() if not node.retired]
        return sum([each.millicores for each in live]), sum([each.gpus for each in live])

    @cached_property
    def _accounts(self) -> dict[ClientId, Account]:
        return {client_id: self._open(client_id) for client_id in sorted({*self._farm.clients, *self._farm.use})}

    def _open(self, client_id: ClientId) -> Account:
        client, use = self._farm.clients.get(client_id), self._farm.use.get(client_id)
        used = NOTHING if use is None else (use.millicores, use.gpus)
        if client is None:
            return Account(client_id, NOTHING, None, True, used)
        shares = client.shares
        most = shares.guarantee_percent + (shares.borrow_percent if shares.borrow else 0)
        ceiling = None if most >= 100 else self._percent(most)
        return Account(client_id, self._percent(shares.guarantee_percent), ceiling, shares.lend, used)

    def _percent(self, percent: int) -> Pair:
        """A part of the farm, rounded down."""
        return self._capacity[0] * percent // 100, self._capacity[1] * percent // 100

    def _account(self, client_id: ClientId) -> Account:
        known = self._accounts.get(client_id)
        if known is None:
            known = self._accounts[client_id] = self._open(client_id)
        return known

    def _free_now(self) -> Pair:
        if self._free is None:
            free = self._cycle.index.free
            nodes = [free[number] for number in bits(self._cycle.index.open_mask)]
            asleep = [self._farm.nodes[node_id] for node_id in sorted(self._farm.asleep)]
            nodes += [node.capacity for node in asleep if node.sleeps or node.wakes]  # whoever may start wakes them
            self._free = sum([max(0, each.millicores) for each in nodes]), sum([max(0, each.gpus) for each in nodes])
        return self._free

    def _kept_back_now(self) -> Pair:
        if self._kept_back is None:
            self._kept_back = total([account.left() for account in self._accounts.values() if not account.lends])
        return self._kept_back

    def _spare_now(self) -> Pair:
        if self._spare is None:
            for (client_id, walltime_ms), held in self._farm.usage.held.items():
                if walltime_ms is None or walltime_ms > self._period_ms:
                    account = self._account(client_id)
                    account.long_cores, account.long_gpus = account.long_cores - held[0], account.long_gpus - held[1]
            accounts = self._accounts.values()
            in_service = plus(self._free_now(), total([account.used() for account in accounts]))
            taken = plus(
                total([account.guarantee for account in accounts]), total([account.lent_long() for account in accounts])
            )
            self._spare = in_service[0] - taken[0], in_service[1] - taken[1]
        return self._spare

    # -- the rule ------------------------------------------------------------------------------------------------

    def rank(self, segment: Segment) -> int:
        """0 as long as one more task stays within the guarantee of its client, else 1."""
        account = self._accounts.get(segment.client_id)
        return 1 if account is None or not account.has(segment.requirement) else 0

    def room(self, segment: Segment, job: Job, end_ms: int) -> int | None:
        """What is left of the guarantee first; beyond that as much as may be borrowed for so long."""
        requirement = segment.requirement
        account = self._accounts.get(segment.client_id) or self._account(segment.client_id)
        within = account.count_of(requirement)
        if within:
            return within
        long = end_ms > self._until_ms
        if not long and not account.bounded and self._all_lend:
            return None
        need = need_of(requirement)
        if need == NOTHING:
            return None
        least = min([max(0, tasks_in(left, need)) for left in self._lefts(account, long)], default=None)
        if least == 0:
            self.whole = not long or self._nobody_is_short(segment)
        return least

    @cached_property
    def _all_lend(self) -> bool:
        """Whether nobody keeps for itself what it leaves unused."""
        return all(account.lends or account.guarantee == NOTHING for account in self._accounts.values())

    def _lefts(self, account: Account, long: bool) -> Iterator[Pair]:
        """How much more a client above its guarantee may start, by each thing that bounds it; as in `_bounds`."""
        if account.bounded:
            used = account.used()
            yield account.ceiling[0] - used[0], account.ceiling[1] - used[1]
        if not self._all_lend:
            kept = self._kept_back_now()
            if not account.lends:
                kept = above(kept, account.left())
            yield above(self._free_now(), kept)
        if long:
            spare = self._spare_now()
            yield max(0, spare[0]) + max(0, account.long_cores), max(0, spare[1]) + max(0, account.long_gpus)

    def _bounds(self, account: Account, long: bool) -> Iterator[Bound]:
        """What bounds a client above its guarantee, in the order of `_lefts`."""
        lefts = self._lefts(account, long)
        if account.bounded:
            yield Bound(ReasonCode.BORROW_LIMIT, account.client_id, next(lefts))
        if not self._all_lend:
            yield Bound(ReasonCode.GUARANTEE, self._owner_beside(account, lends=False), next(lefts))
        if long:
            yield Bound(ReasonCode.GUARANTEE, self._owner_beside(account), next(lefts))

    def _owner_beside(self, account: Account, lends: bool = True) -> ClientId:
        """The other client with the largest guarantee, of those first that leave some of it unused."""
        known = self._owners.get((account.client_id, lends))
        if known is None:
            others = [
                (each.left() == NOTHING, -each.guarantee[0], -each.guarantee[1], each.client_id)
                for each in self._accounts.values()
                if each is not account and (lends or not each.lends)
            ]
            known = self._owners[account.client_id, lends] = min(others)[-1] if others else account.client_id
        return known

    def _nobody_is_short(self, segment: Segment) -> bool:
        """Whether all jobs of a segment may run longer than the reclaim period."""
        known = self._none_short.get(segment)
        if known is None:
            line = self._farm.queue.lines.get(segment)
            known = self._none_short[segment] = line is not None and not self._has_short(line)
        return known

    def _has_short(self, line: Line) -> bool:
        """Whether some job of a line ends within the period, by the estimate policy."""
        jobs, end_ms = self._farm.jobs, self._cycle.end_ms
        if not self._cycle.made.as_requested:
            return any(end_ms(jobs[job_id]) <= self._until_ms for _, job_id in line.walk())
        period_ms = self._period_ms
        for _, job_id in line.walk():  # the same by walltimes, without asking: there may be thousands
            walltime_ms = jobs[job_id].spec.walltime_ms
            if walltime_ms is not None and walltime_ms <= period_ms:
                return True
        return False

    def allowed(self, job: Job, nodes: int, end_ms: int) -> int:
        """A borrower keeps off the nodes where something will fit first that waits for its guarantee."""
        if not self._waits or not self._cycle.blocked or self._account(job.spec.client_id).has(job.spec.requirement):
            return nodes
        return nodes & ~self._kept_nodes

    def took(self, job: Job, nodes: tuple[tuple[int, int], ...], tasks: int, end_ms: int) -> None:
        """Counts what starts."""
        spec = job.spec
        account = self._accounts.get(spec.client_id) or self._account(spec.client_id)
        millicores, gpus = need_of(spec.requirement)
        if tasks > 1:
            millicores, gpus = millicores * tasks, gpus * tasks
        if self._kept_back is not None and not account.lends:
            before = account.left()
            after = max(0, account.cores - millicores), max(0, account.gpus - gpus)
            self._kept_back = plus(above(self._kept_back, before), after)
        account.cores -= millicores
        account.gpus -= gpus
        if self._free is not None:
            self._free = above(self._free, (millicores, gpus))
        if end_ms > self._until_ms:
            self._took_long(account, millicores, gpus)

    def _took_long(self, account: Account, millicores: int, gpus: int) -> None:
        before = account.lent_long()
        account.long_cores -= millicores
        account.long_gpus -= gpus
        if self._spare is not None:
            more = above(account.lent_long(), before)
            self._spare = self._spare[0] - more[0], self._spare[1] - more[1]

    def why(self, segment: Segment, job: Job, end_ms: int) -> tuple[Reason, ...]:
        """Whose guarantee, or which cap on borrowing, is in the way, with its numbers."""
        need, account = need_of(segment.requirement), self._account(segment.client_id)
        if account.has(segment.requirement):
            return ()
        long = end_ms > self._until_ms
        known = self._reasons.get((account.client_id, need, long))
        if not known:
            known = self._reasons[account.client_id, need, long] = self._why(account, need, long)
        return known

    def _why(self, account: Account, need: Pair, long: bool) -> tuple[Reason, ...]:
        reasons = []
        for code, entity, left in self._bounds(account, long):
            for what, needed, available in zip(WHAT, need, left, strict=True):
                if needed > available:
                    reasons.append(Reason(code, entity, what, needed, max(0, available)))
        if not reasons and self._waits and self._demands:
            reasons.append(Reason(ReasonCode.GUARANTEE, self._demands[0].owner))
        return tuple(reasons)

    # -- what waits for its guarantee ----------------------------------------------------------------------------

    @cached_property
    def _demands(self) -> list[Demand]:
        """What fits nowhere by now although it is within a guarantee. Those that borrow are looked at after it."""
        index, budgets = self._cycle.index, dict[ClientId, Budget]()
        found = []
        for lane, job in self._blocked():
            client_id, requirement = lane.segment.client_id, lane.segment.requirement
            budget = budgets.get(client_id)
            if budget is None:
                budget = budgets[client_id] = Budget(*self._account(client_id).left())
            nodes = self._cycle.allowed(job, index.open_mask & index.capable(requirement))
            found.append(Demand(client_id, budget, requirement, nodes, partial(self._tasks, lane)))
        return found

    def _blocked(self) -> list[tuple[Lane, Job]]:
        """The lanes that wait for room within the guarantee of their client, each with its first blocked job."""
        blocked = self._cycle.blocked
        lanes = [(lane, lane.job) for lane in blocked if lane.stop is Stop.LACKING and self.rank(lane.segment) == 0]
        return [(lane, job) for lane, job in lanes if job is not None]

    def _tasks(self, lane: Lane) -> int:
        """Tasks of a lane that wait, from its first blocked job on; more than are within the guarantee do not count."""
        assert lane.job is not None
        most = self._account(lane.segment.client_id).count_of(lane.segment.requirement)
        spec = lane.job.spec
        count = max(1, intervals.size(lane.job.waiting) - self._placed.get(spec.job_id, 0))
        first = (lane.job.submitted_ms, spec.job_id)
        for place in lane.line.walk() if lane.line is not None else ():
            if count >= most:
                return most
            if place > first:
                waiting = self._farm.jobs[place[1]].waiting
                count += 1 if waiting.isdigit() else intervals.size(waiting)
        return count

    @cached_property
    def _placed(self) -> dict[JobId, int]:
        """Tasks that this cycle has placed by now, by job."""
        return {
            each.job_id: sum([intervals.size(placement.tasks) for placement in each.placements])
            for each in self._cycle.decisions
        }

    @cached_property
    def _kept_nodes(self) -> int:
        """The nodes where what waits for its guarantee will fit first, if no borrower starts there meanwhile."""
        endings = expected(self._cycle.context)
        if not endings or endings[0].end_ms > self._until_ms or not self._demands:
            return 0
        return kept_for(self._demands, self._cycle.index, endings, self._until_ms)

    def borrowed(self) -> dict[ClientId, Pair]:
        """What each client holds beyond its guarantee by now; those that hold no more than theirs are absent."""
        return {each.client_id: each.excess() for each in self._accounts.values() if each.excess() != NOTHING}

    def reclaims(self) -> tuple[Reclaim, ...]:
        """After everything is placed: what waits for its guarantee, in the order of the queue, and who has borrowed."""
        above_theirs = sorted(
            [Borrower(each.client_id, *each.excess()) for each in self._accounts.values() if each.excess() != NOTHING],
            key=lambda each: (-self._part(each), each.client_id),
        )
        found = []
        for lane, job in self._blocked():
            borrowers = tuple([each for each in above_theirs if each.client_id != lane.segment.client_id])
            if borrowers:
                tasks = self._account(lane.segment.client_id).count_of(lane.segment.requirement)
                found.append(Reclaim(job, tasks, borrowers))
        return tuple(found)

    def _part(self, borrower: Borrower) -> int:
        """How far above its guarantee it is, in millionths of the farm: of cores or of GPUs, the larger."""
        parts = zip((borrower.millicores, borrower.gpus), self._capacity, strict=True)
        return max([amount * 1_000_000 // whole if whole else 0 for amount, whole in parts])


def need_of(requirement: Requirement) -> Pair:
    """What one task takes of what is shared, over all its slots."""
    resources, slots = requirement.resources, requirement.slots
    return resources.millicores * slots, resources.gpus * slots


def tasks_in(left: Pair, need: Pair) -> int:
    """How many tasks fit, judged by what they ask for; negative where less than nothing is left, 0 for no need."""
    if not need[1]:
        return left[0] // need[0] if need[0] else 0
    by_gpus = left[1] // need[1]
    return min(by_gpus, left[0] // need[0]) if need[0] else by_gpus


def plus(one: Pair, other: Pair) -> Pair:
    """The sum."""
    return one[0] + other[0], one[1] + other[1]


def above(one: Pair, other: Pair) -> Pair:
    """By how much one is more than the other; where it is less, none."""
    return max(0, one[0] - other[0]), max(0, one[1] - other[1])


def total(pairs: list[Pair]) -> Pair:
    """The sum of all."""
    return sum([pair[0] for pair in pairs]), sum([pair[1] for pair in pairs])


@rule
def lending(farm: "Farm", made: Made, now_ms: int) -> Rule | None:
    """Where guarantees are kept, and some client has one or may not borrow as it likes."""
    if not made.sharing.keeps_guarantees:
        return None
    for client in farm.clients.values():
        shares = client.shares
        if shares.guarantee_percent or not shares.borrow or shares.borrow_percent < 100:
            return Sharing(farm, made.sharing, now_ms)
    return None
