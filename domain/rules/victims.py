"""Who may be interrupted for whom, and the cheapest set of them that makes enough room.

The objective, in its order: the highest level of priority among the victims, the lower the better; the sum of their
costs (work to be done again, and slack that is not there, as the policy weighs them); their number; their names. Only
sets are compared of which no victim can be left out. On one node, and for a gang over all nodes, the search begins with
the cheapest first and leaves out what is not needed; up to `SETS` sets are then tried for a better one, on the most
promising nodes first, so that small farms get the best there is, and large ones never wait for it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

from domain.indices.nodeindex import NodeIndex, bits, slots_in
from domain.job.interrupting import expected_loss_ms, has_saved
from domain.job.values import AttemptNumber, Job, NodeSlots, PreemptionMode, Protection, Victim, unsaved_ms
from domain.messages import JobId
from domain.policies import Context, Preemption
from domain.resources import Requirement, Resources
from domain.rules.evacuation import contract_of

SETS = 4_096
"""How many sets of victims are tried, at most, for one requirement and right in one cycle."""
ALTERNATIVES = 3
"""How many ways that were not taken are told."""
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
MILLIONTHS = 1_000_000
"""Costs are whole numbers of these, so that sums are the same in any order."""


class Candidate(NamedTuple):
    """One attempt that no contract protects; sorts by what it costs to interrupt it."""

    level: float
    cost: int
    """In millionths of the policy's unit."""
    job_id: JobId
    attempt: AttemptNumber
    nodes: tuple[tuple[int, int], ...]
    """(node number, slots)."""
    frees: Resources
    """What each slot gives back at last."""
    lost_ms: int
    slack_ms: int | None
    """How much longer its job could wait and still meet its deadline; None without one."""
    job: Job

    @property
    def name(self) -> tuple[JobId, AttemptNumber]:
        """Which attempt it is."""
        return self.job_id, self.attempt

    def on(self, number: int) -> int:
        """How many slots it has on a node."""
        return sum([slots for node, slots in self.nodes if node == number])

    def victim(self, ids: Sequence[str], now_ms: int) -> Victim:
        """The same as the log tells of it."""
        attempt, requirement = self.job.live[self.attempt], self.job.spec.requirement
        nodes: tuple[NodeSlots, ...] = tuple([(ids[number], slots) for number, slots in self.nodes])
        return Victim(
            job_id=self.job_id,
            attempt=self.attempt,
            task=attempt.task,
            nodes=nodes,
            millicores=requirement.resources.millicores * requirement.slots,
            level=self.level,
            ran_ms=attempt.ran_ms(now_ms),
            at_risk_ms=unsaved_ms(self.job, self.attempt, now_ms),
            lost_ms=self.lost_ms,
        )


Right: TypeAlias = Callable[[Candidate], bool]
"""Whether a preemptor may interrupt this one."""


class Roll:
    """All attempts that may be interrupted at this moment, by node; made when the first preemptor asks."""

    def __init__(self, context: Context, policy: Preemption) -> None:
        self._context, self._policy, self._farm = context, policy, context.farm
        self.wakes_ms: list[int] = []
        """When some contract or cool-down ends that protects an attempt now."""
        self.by_node: dict[int, list[Candidate]] = {}
        """In the order of their cost."""
        self.nodes = 0
        """The nodes where there are any."""
        clients, jobs = self._farm.clients, self._farm.jobs
        closed = {client_id for client_id, each in clients.items() if _is_closed(each.protection)}
        for running in self._farm.interruptions.running.values():
            for job in [jobs[job_id] for job_id in running]:
                if job.protection is None and job.spec.client_id in closed:
                    continue
                for candidate in self._of(job):
                    self._enter(candidate)
        for number, candidates in self.by_node.items():
            candidates.sort(key=_by_cost)
            self.nodes |= 1 << number

    def _enter(self, candidate: Candidate) -> None:
        for number, _ in candidate.nodes:
            self.by_node.setdefault(number, []).append(candidate)

    def _of(self, job: Job) -> Iterator[Candidate]:
        """The attempts of a job that may be interrupted."""
        policy, now_ms = self._policy, self._context.now_ms
        contract = contract_of(self._farm.clients, job)
        if not self._may_be(job, contract):
            return
        level, slack_ms = self._context.level(job), self._slack_ms(job)
        requirement, numbers = job.spec.requirement, self._farm.index.numbers
        cores = requirement.resources.millicores * requirement.slots
        tight = 0.0 if slack_ms is None else min(1.0, max(0.0, 1 - slack_ms / _DAY_MS))
        for number, attempt in job.live.items():
            if not self._may_be_now(job, number, contract):
                continue
            lost_ms = expected_loss_ms(job, number, policy.mode, now_ms)
            cost = policy.lost_weight * lost_ms / _HOUR_MS * cores / 1_000 + policy.slack_weight * tight
            held = attempt.held(requirement.resources)
            frees = Resources(held.millicores) if policy.mode is PreemptionMode.SUSPEND else held
            nodes = tuple([(numbers[node_id], slots) for node_id, slots in attempt.nodes])
            yield Candidate(
                level, round(cost * MILLIONTHS), job.spec.job_id, number, nodes, frees, lost_ms, slack_ms, job
            )

    def _slack_ms(self, job: Job) -> int | None:
        if job.deadline_ms is None:
            return None
        return job.deadline_ms - self._context.now_ms - (self._context.run_ms(job) or 0)

    def _may_be(self, job: Job, contract: Protection | None) -> bool:
        """Whether a mode and a contract let any attempt of a job be interrupted now."""
        if self._policy.mode is PreemptionMode.CHECKPOINT and not job.spec.checkpoints:
            return False
        if contract is None:
            walltime_ms = job.spec.walltime_ms
            return walltime_ms is None or walltime_ms <= self._policy.protect_longer_than_h * _HOUR_MS
        if contract.until_ms is not None and self._context.now_ms < contract.until_ms:
            self.wakes_ms.append(contract.until_ms)
            return False
        return not contract.never

    def _may_be_now(self, job: Job, number: AttemptNumber, contract: Protection | None) -> bool:
        """The same of one attempt: nobody that leaves anyway, and nobody who was interrupted only just before."""
        attempt, policy, now_ms = job.live[number], self._policy, self._context.now_ms
        if attempt.stopping is not None:
            return False
        if policy.mode is PreemptionMode.SUSPEND and attempt.suspended_at_ms is not None:
            return False
        if contract is None and attempt.ran_ms(now_ms) > policy.protect_longer_than_h * _HOUR_MS:
            return False
        if contract is not None and contract.after_checkpoint and not has_saved(job, number):
            return False
        times = job.preempted.get(attempt.task, 0)
        if times:
            since_ms = attempt.placed_ms if attempt.started_ms is None else attempt.started_ms
            cool_ms = max(since_ms, attempt.resumed_ms or 0) + times * policy.cool_down_s * 1_000
            if now_ms < cool_ms:
                self.wakes_ms.append(cool_ms)
                return False
        return True

    def strike(self, victims: Iterable[Candidate]) -> set[int]:
        """Takes victims off, who can make way only once; the nodes where they were."""
        touched = set()
        for victim in victims:
            for number, _ in victim.nodes:
                self.by_node[number].remove(victim)
                touched.add(number)
        return touched


def _is_closed(contract: Protection | None) -> bool:
    return contract is not None and contract.never


def _by_cost(candidate: Candidate) -> tuple[float, int, JobId, AttemptNumber]:
    return candidate[:4]


class Way(NamedTuple):
    """A set of victims that makes enough room, and of which none can be left out; sorts by the objective."""

    level: float
    cost: int
    size: int
    names: tuple[tuple[JobId, AttemptNumber], ...]
    victims: tuple[Candidate, ...]

    @classmethod
    def of(cls, victims: Iterable[Candidate]) -> "Way":
        """The way that these victims are."""
        chosen = tuple(sorted(victims, key=_by_cost))
        return cls(
            max([victim.level for victim in chosen]),
            sum([victim.cost for victim in chosen]),
            len(chosen),
            tuple(sorted([victim.name for victim in chosen])),
            chosen,
        )


def objective(way: Way) -> tuple[float, int, int, tuple[tuple[JobId, AttemptNumber], ...]]:
    """What is compared: the least is best."""
    return way[:4]


def worse_in(way: Way, best: Way) -> str:
    """The first measure in which a way is worse than the best."""
    for name, mine, least in zip(("level", "cost", "victims"), way, best, strict=False):
        if mine != least:
            return name
    return "name"


class Ways:
    """The ways to make room on one index for tasks of one requirement, by one right to interrupt."""

    def __init__(self, index: NodeIndex, roll: Roll, requirement: Requirement, nodes: int, right: Right) -> None:
        self._index, self._roll, self._requirement, self._right = index, roll, requirement, right
        self._nodes = nodes
        """Where the tasks may go."""
        self._known: dict[int, Way | None] = {}
        """The first way found on each node, for one slot more than fits there."""
        self._better: dict[int, list[Way]] = {}
        """All ways on nodes where every set was tried."""
        self._left = SETS
        """How many sets may still be tried."""
        self._slots = 0
        """How many slots there are for a gang without any victim."""

    def forget(self, nodes: Iterable[int]) -> None:
        """Room or candidates on these nodes have changed."""
        for number in nodes:
            self._known.pop(number, None)
            self._better.pop(number, None)

    def found(self) -> list[Way]:
        """All ways that were found for one more task, the best first; empty if there is none."""
        one = self._requirement.slots == 1
        ways = [self._pared(way) for way in self._for_a_slot()] if one else self._for_a_gang()
        return sorted({way.names: way for way in ways}.values(), key=objective)

    # -- one slot: every node by itself --------------------------------------------------------------------------

    def _for_a_slot(self) -> list[Way]:
        first = []
        for number in bits(self._nodes & self._roll.nodes):
            way = self._first_on(number)
            if way is not None:
                first.append((way, number))
        if not first:
            return []
        first.sort(key=lambda each: objective(each[0]))
        lowest, ways = first[0][0].level, [way for way, _ in first]
        for way, number in first:
            if way.level == lowest:  # a lower level than that of the first way found there makes no room on a node
                ways += self._better_on(number, lowest)
        return ways

    def _pared(self, way: Way) -> Way:
        """The same without those that are not needed because a gang among the others makes room on another node."""
        if way.size == 1 or all(len(victim.nodes) == 1 for victim in way.victims):
            return way
        chosen = list(way.victims)
        for victim in way.victims[::-1]:
            rest = [other for other in chosen if other is not victim]
            nodes = {number for other in rest for number, _ in other.nodes if self._nodes >> number & 1}
            if any(self._freed(number, rest).fits(self._requirement.resources) for number in sorted(nodes)):
                chosen = rest
        return way if len(chosen) == way.size else Way.of(chosen)

    def _freed(self, number: int, victims: Iterable[Candidate]) -> Resources:
        """What is free on a node once these have made way."""
        free = self._index.free[number]
        for victim in victims:
            free = free.plus(victim.frees, victim.on(number))
        return free

    def _first_on(self, number: int) -> Way | None:
        if number not in self._known:
            free, need = self._index.free[number], self._requirement.resources
            self._known[number] = self._first(number, lambda freed: freed.fits(need), free)
        return self._known[number]

    def _first(self, number: int, enough: Callable[[Resources], bool], free: Resources) -> Way | None:
        """The cheapest first until it is enough, then without those that are not needed, the dearest first."""
        chosen: list[Candidate] = []
        for candidate in self._on(number):
            if enough(free):
                break
            free = free.plus(candidate.frees, candidate.on(number))
            chosen.append(candidate)
        if not chosen or not enough(free):
            return None
        for candidate in chosen[::-1]:
            less = free.minus(candidate.frees, candidate.on(number))
            if enough(less):
                chosen.remove(candidate)
                free = less
        return Way.of(chosen)

    def _on(self, number: int) -> list[Candidate]:
        return [candidate for candidate in self._roll.by_node.get(number, ()) if self._right(candidate)]

    def _better_on(self, number: int, level: float) -> list[Way]:
        """All ways on a node with victims up to a level, if there are few enough sets to try."""
        known = self._better.get(number)
        if known is not None and (not known or known[0].level <= level):
            return known
        candidates = [candidate for candidate in self._on(number) if candidate.level <= level]
        need = self._requirement.resources
        found = self._better[number] = self._all(candidates, lambda chosen: self._freed(number, chosen).fits(need))
        return found

    def _all(self, candidates: list[Candidate], enough: Callable[[tuple[Candidate, ...]], bool]) -> list[Way]:
        """Every set of which no victim can be left out; none if there are more sets than may still be tried."""
        if 1 << len(candidates) > self._left:
            return []
        self._left -= 1 << len(candidates)
        minimal: list[frozenset[tuple[JobId, AttemptNumber]]] = []
        for size in range(1, len(candidates) + 1):
            for chosen in combinations(candidates, size):
                names = frozenset([candidate.name for candidate in chosen])
                if not any(known <= names for known in minimal) and enough(chosen):
                    minimal.append(names)
        by_name = {candidate.name: candidate for candidate in candidates}
        return [Way.of([by_name[name] for name in sorted(names)]) for names in minimal]

    # -- a gang: slots on many nodes at once ---------------------------------------------------------------------

    def _for_a_gang(self) -> list[Way]:
        self._slots = slots_in(self._index.rooms(self._nodes, self._requirement))
        candidates = self._everybody()
        first = self._slot_by_slot()
        ways = [] if first is None else [first]
        return ways + self._all(candidates, lambda chosen: self._slots_with(chosen) >= self._requirement.slots)

    def _everybody(self) -> list[Candidate]:
        found = {c.name: c for number in bits(self._nodes & self._roll.nodes) for c in self._on(number)}
        return sorted(found.values(), key=_by_cost)

    def _slots_with(self, victims: Iterable[Candidate]) -> int:
        """How many slots there are once these have made way."""
        index, freed = self._index, dict[int, Resources]()
        for victim in victims:
            for number, slots in victim.nodes:
                if self._nodes >> number & 1:
                    freed[number] = freed.get(number, index.free[number]).plus(victim.frees, slots)
        return self._slots + sum(
            [self._room(after) - self._room(index.free[number]) for number, after in freed.items()]
        )

    def _room(self, free: Resources) -> int:
        """How many slots fit, no more than a node may have."""
        most = 1 if self._requirement.distinct_nodes else self._requirement.slots
        room = free.count_of(self._requirement.resources)
        return most if room is None else min(most, room)

    def _slot_by_slot(self) -> Way | None:
        """The cheapest way to one slot more, again and again, then without those that are not needed."""
        chosen: dict[tuple[JobId, AttemptNumber], Candidate] = {}
        total, more = self._slots_with(()), dict[int, Way | None]()
        while total < self._requirement.slots:
            for number in bits(self._nodes & self._roll.nodes):
                if number not in more:
                    more[number] = self._one_more_on(number, chosen)
            ways = [way for way in more.values() if way is not None]
            if not ways:
                return None
            for victim in min(ways, key=objective).victims:
                chosen[victim.name] = victim
                for number, _ in victim.nodes:
                    more.pop(number, None)
            total = self._slots_with(chosen.values())
        for victim in sorted(chosen.values(), key=_by_cost, reverse=True):
            rest = [other for other in chosen.values() if other is not victim]
            if self._slots_with(rest) >= self._requirement.slots:
                del chosen[victim.name]
        return Way.of(chosen.values()) if chosen else None

    def _one_more_on(self, number: int, chosen: dict[tuple[JobId, AttemptNumber], Candidate]) -> Way | None:
        """The first way found to one slot more on a node than there are with those chosen by now."""
        free = self._freed(number, chosen.values())
        room = self._room(free)
        if self._requirement.distinct_nodes and room:
            return None
        others = Ways(
            self._index, self._roll, self._requirement, self._nodes, lambda c: self._right(c) and c.name not in chosen
        )
        return others._first(number, lambda freed: self._room(freed) > room, free)
