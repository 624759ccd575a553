"""Nodes kept from borrowers: where something that waits for its guarantee will fit first.

Running tasks end one after the other as expected. Whoever waits gets the first nodes that are large enough by then, if
nothing else starts there. While no borrower may start on such a node, those ends only come nearer, so the last of them
bounds the wait.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from operator import attrgetter

from domain.indices.endings import Ending
from domain.indices.nodeindex import NodeIndex, bits
from domain.messages import ClientId
from domain.resources import Requirement, Resources


class Budget:
    """What is left of one client's guarantee; all that it waits for shares it."""

    __slots__ = ("gpus", "millicores")

    def __init__(self, millicores: int, gpus: int) -> None:
        self.millicores, self.gpus = millicores, gpus

    def count_of(self, need: Resources) -> int:
        """How many slots of a need that asks for cores or GPUs are within it."""
        counts = [self.millicores // need.millicores] if need.millicores else []
        return min([*counts, self.gpus // need.gpus] if need.gpus else counts)


class Demand:
    """Tasks of one requirement that wait for what is guaranteed to their client."""

    def __init__(
        self, owner: ClientId, budget: Budget, requirement: Requirement, nodes: int, count: Callable[[], int]
    ) -> None:
        self.owner, self.budget, self.requirement = owner, budget, requirement
        self.nodes = nodes
        """Those that could hold a slot of it if they were empty."""
        self._count = count

    @cached_property
    def tasks(self) -> int:
        """How many wait, up to as many as are within the guarantee; counted when somebody asks."""
        return self._count()


class _Search:
    """One demand while ends are looked at."""

    __slots__ = (
        "_most",
        "budget",
        "found",
        "gpus",
        "memory_mib",
        "millicores",
        "missing",
        "need",
        "nodes",
        "on",
        "slots",
    )

    def __init__(self, demand: Demand, index: NodeIndex) -> None:
        requirement = demand.requirement
        self.need, self.nodes, self.slots = requirement.resources, demand.nodes, requirement.slots
        self.millicores, self.memory_mib, self.gpus = self.need.millicores, self.need.memory_mib, self.need.gpus
        self.missing, self.found = self.slots * demand.tasks, 0
        self._most = demand.tasks if requirement.distinct_nodes else self.missing
        """Slots that one node may hold of all these tasks."""
        self.on: dict[int, int] = {}
        """Slots found, by node."""
        self.budget = demand.budget if self.slots == 1 else None
        """Of a gang nobody knows before the end whether it uses anything up."""
        if self.slots > 1:
            for room, mask in index.rooms(index.fitting(requirement) & demand.nodes, requirement).items():
                for number in bits(mask):
                    self.take(number, room)

    def take(self, number: int, room: int) -> int:
        """Takes so many slots of a node, if so many are missing; how many it took."""
        taken = min(room, self.missing, self._most - self.on.get(number, 0))
        if self.budget is not None:
            taken = min(taken, self.budget.count_of(self.need))
        if taken <= 0:
            return 0
        self.on[number] = self.on.get(number, 0) + taken
        self.found, self.missing = self.found + taken, self.missing - taken
        if self.budget is not None:
            self.budget.millicores -= self.need.millicores * taken
            self.budget.gpus -= self.need.gpus * taken
        return taken

    def is_open(self) -> bool:
        """Whether it looks for more."""
        return self.missing > 0 and (self.budget is None or self.budget.count_of(self.need) > 0)

    def kept(self) -> int:
        """The nodes that were found; none if not even one task would fit there."""
        return sum([1 << number for number in self.on]) if self.found >= self.slots else 0


def kept_for(demands: Sequence[Demand], index: NodeIndex, endings: Sequence[Ending], until_ms: int) -> int:
    """The nodes where these demands will fit first, in their order, by some time at the latest. O(ends by then).

    What comes first in the queue and uses up the guarantees is looked at alone, and the rest only if that was in vain.
    """
    first, rest = _by_budget(demands)
    searches = _looked_at([_Search(demand, index) for demand in first], index, endings, until_ms)
    if rest and any(search.is_open() for search in searches):
        searches = _looked_at([*searches, *[_Search(demand, index) for demand in rest]], index, endings, until_ms)
    kept = 0
    for search in searches:
        kept |= search.kept()
    return kept


def _by_budget(demands: Sequence[Demand]) -> tuple[list[Demand], list[Demand]]:
    """Those that use up what is left of the guarantees, in their order, and all others."""
    left: dict[ClientId, Budget] = {}
    first, rest = [], []
    for demand in demands:
        budget = left.get(demand.owner)
        if budget is None:
            budget = left[demand.owner] = Budget(demand.budget.millicores, demand.budget.gpus)
        need, slots = demand.requirement.resources, demand.requirement.slots
        if budget.count_of(need) < slots:
            rest.append(demand)
            continue
        first.append(demand)
        budget.millicores -= need.millicores * slots * demand.tasks
        budget.gpus -= need.gpus * slots * demand.tasks
    return first, rest


def _looked_at(searches: list[_Search], index: NodeIndex, endings: Sequence[Ending], until_ms: int) -> list[_Search]:
    """The searches, after one task has ended after the other."""
    look = _Look(searches, index)
    for end_ms, _, _, places, per_slot in endings:
        if end_ms > until_ms or not look.searches:
            break
        for number, slots in places:
            if look.nodes >> number & 1:
                look.frees(number, per_slot, slots)
    return searches


class _Look:
    """What is free where while one task ends after the other."""

    def __init__(self, searches: Sequence[_Search], index: NodeIndex) -> None:
        self._all, self._index = searches, index
        self._cores: dict[int, int] = {}
        """Millicores by node, counted on alone as long as they are too few for anybody."""
        self._freed: dict[int, list[tuple[Resources, int]]] = {}
        self._free: dict[int, Resources] = {}
        """Where it was worked out, less what was found for somebody."""
        self._narrow()

    def _narrow(self) -> None:
        """Goes on with the searches that are open; those for little first, which are met first."""
        self.searches = sorted([each for each in self._all if each.is_open()], key=attrgetter("millicores"))
        self.nodes = 0
        for search in self.searches:
            self.nodes |= search.nodes

    def frees(self, number: int, per_slot: Resources, slots: int) -> None:
        """Something ends on a node."""
        self._freed.setdefault(number, []).append((per_slot, slots))
        known = self._cores.get(number)
        millicores = (self._index.free[number].millicores if known is None else known) + per_slot.millicores * slots
        self._cores[number] = millicores
        if millicores < self.searches[0].millicores:
            return
        free = self._free[number] if number in self._free else self._at_first(number)
        for resources, count in self._freed.pop(number):
            free = free.plus(resources, count)
        self._free[number] = self._fill(number, free)
        self._cores[number] = self._free[number].millicores

    def _at_first(self, number: int) -> Resources:
        """What is free on a node now, less the slots that gangs have found there already."""
        free = self._index.free[number]
        for search in self._all:
            if number in search.on:
                free = free.minus(search.need, search.on[number])
        return free

    def _fill(self, number: int, free: Resources) -> Resources:
        """Takes from one node what fits there by now; what is left."""
        met, bit = False, 1 << number
        millicores, memory_mib, gpus = free.millicores, free.memory_mib, free.gpus
        for search in self.searches:
            if search.millicores > millicores:
                break
            if search.memory_mib > memory_mib or search.gpus > gpus or not search.nodes & bit:
                continue
            if free.fits(search.need):
                room = free.count_of(search.need)
                taken = search.take(number, search.missing if room is None else room)
                if taken:
                    free = free.minus(search.need, taken)
                    millicores, memory_mib, gpus = free.millicores, free.memory_mib, free.gpus
                    met = met or not search.is_open()
        if met:
            self._narrow()
        return free
