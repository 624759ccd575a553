"""Which nodes could hold this now: free resources of all nodes, indexed by bitsets.

A set of nodes is one Python integer with a bit per node. For every amount that some requirement asks for there is a
mask of the nodes that have at least that much free, so that "who fits" is a handful of `&`; nodes are also bucketed by
their free GPUs and cores, so that best fit takes the first bucket that meets the mask. A cycle costs about as many
steps as there are shapes and starts, whatever the number of nodes.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from domain.indices.gauges import GPU_WEIGHT, Gauge, bucket_of, mask_of
from domain.messages import NodeId
from domain.node import Attributes, Node
from domain.partition import Terms
from domain.resources import RESOURCE_NAMES, AttributeNeed, Requirement, Resources, has_attributes

Answer = TypeVar("Answer", bound=Hashable)

MILLICORES, MEMORY, GPUS = "millicores", "memory_mib", "gpus"
_USUAL = (MILLICORES, MEMORY, GPUS)


class Groups(NamedTuple, Generic[Answer]):
    """Nodes sorted by what some function says of them."""

    masks: dict[Answer, int]
    """Answer → nodes with this one."""
    answers: list[Answer]
    """By node number."""


class NodeIndex:
    """Free resources of nodes; `fork` gives an independent copy for tentative placements."""

    __slots__ = (
        "_attribute_masks",
        "_buckets",
        "_capable",
        "_gauges",
        "_groups",
        "_key_of",
        "_keys",
        "_kinds",
        "_partitions",
        "_shared",
        "_stale",
        "attributes",
        "capacity",
        "free",
        "ids",
        "numbers",
        "open_mask",
        "registered_mask",
        "verdicts",
        "version",
    )

    def __init__(self) -> None:
        self.ids: list[NodeId] = []
        self.numbers: dict[NodeId, int] = {}
        self.capacity: list[Resources] = []
        self.free: list[Resources] = []
        self.attributes: list[Attributes] = []
        self.open_mask = 0
        """Nodes that take work."""
        self.registered_mask = 0
        """Nodes that have not left the farm for good."""
        self._gauges: dict[str, Gauge] = {resource: Gauge() for resource in _USUAL}
        """By resource."""
        self._buckets: dict[int, int] = {}
        """Bucket key → nodes with exactly these GPUs and cores free."""
        self._keys: list[int] = []
        """The keys of all buckets, ascending."""
        self._key_of: list[int] = []
        """The bucket in which a node is."""
        self._stale: dict[int, Resources] = {}
        """Nodes whose masks and bucket still tell of what was free then; see `settle`."""
        self._shared = False
        """Whether masks and buckets are also those of a fork: then they are copied before they change."""
        self.version = 0
        """Grows with every change of the nodes themselves: what they could hold, and whether they take work."""
        self._kinds: dict[Resources, int] = {}
        """Capacity → nodes with exactly this one; a farm has few kinds of machines."""
        self._attribute_masks: dict[tuple[AttributeNeed, ...] | str, int] = {}
        """By demands, and by partition."""
        self._partitions: dict[str, Terms] = {}
        self._capable: dict[Requirement, int] = {}
        self.verdicts: dict[Requirement, bool] = {}
        """What others found out about requirements from capacities and attributes alone; true as long as these stay."""
        self._groups: dict[Callable[[Attributes, Resources], Any], Groups[Any]] = {}

    def fork(self) -> "NodeIndex":
        """A copy whose free amounts can change without touching this one. O(nodes); the rest is copied if it moves."""
        self.settle()
        twin = NodeIndex.__new__(NodeIndex)
        twin._stale = {}
        twin._shared = self._shared = True
        twin.version = self.version
        twin.ids, twin.numbers, twin.capacity = self.ids, self.numbers, self.capacity
        twin.attributes = self.attributes
        twin.open_mask, twin.registered_mask = self.open_mask, self.registered_mask
        twin.free = self.free.copy()
        twin._gauges, twin._buckets, twin._keys, twin._key_of = self._gauges, self._buckets, self._keys, self._key_of
        twin._kinds = self._kinds
        twin._attribute_masks, twin._capable = self._attribute_masks, self._capable  # true of both
        twin.verdicts = self.verdicts
        twin._groups, twin._partitions = self._groups, self._partitions
        return twin

    def _own(self) -> None:
        """Masks and buckets of its own, which nobody else reads."""
        self._gauges = {resource: gauge.fork() for resource, gauge in self._gauges.items()}
        self._buckets, self._keys, self._key_of = self._buckets.copy(), self._keys.copy(), self._key_of.copy()
        self._shared = False

    def put(self, node: Node) -> None:
        """Adds a node, or takes over what has changed about it; what is in use stays in use."""
        self.version += 1
        number = self.numbers.get(node.node_id)
        if number is None:
            number = self._add(node)
        elif self.capacity[number] != node.capacity:
            in_use = self.capacity[number].minus(self.free[number])
            self._kinds[self.capacity[number]] ^= 1 << number
            self._set_capacity(number, node.capacity)
            self._set_free(number, node.capacity.minus(in_use))
        if self.attributes[number] != node.attributes:
            self.attributes[number] = node.attributes
            self._attribute_masks.clear()
            self._capable.clear()
            self.verdicts.clear()
            self._groups.clear()
        bit = 1 << number
        if node.retired and self.registered_mask & bit:
            self.registered_mask ^= bit
            self._attribute_masks.clear()
            self._capable.clear()
            self.verdicts.clear()
        self.open_mask = self.open_mask | bit if node.takes_work else self.open_mask & ~bit

    def _add(self, node: Node) -> int:
        if self._shared:
            self._own()
        number = len(self.ids)
        self.ids.append(node.node_id)
        self.numbers[node.node_id] = number
        self.capacity.append(node.capacity)
        self._set_capacity(number, node.capacity)
        self.free.append(Resources())
        self.attributes.append(node.attributes)
        self._attribute_masks.clear()
        self.registered_mask |= 1 << number
        self._key_of.append(0)
        self._bucket_add(0, 1 << number)
        self._set_free(number, node.capacity)
        return number

    def _set_capacity(self, number: int, capacity: Resources) -> None:
        self.capacity[number] = capacity
        self._kinds[capacity] = self._kinds.get(capacity, 0) | 1 << number
        self._capable.clear()
        self.verdicts.clear()
        self._groups.clear()

    def allocate(self, number: int, need: Resources, times: int = 1) -> None:
        """Takes `times` the need from a node."""
        self._set_free(number, self.free[number].plus(need, -times))

    def release(self, number: int, need: Resources, times: int = 1) -> None:
        """Gives it back."""
        self._set_free(number, self.free[number].plus(need, times))

    def _set_free(self, number: int, free: Resources) -> None:
        self._stale.setdefault(number, self.free[number])
        self.free[number] = free

    def settle(self) -> None:
        """Brings masks and buckets in line with what is free, before they are read: all changes of a node cost one."""
        while self._stale:
            number, before = self._stale.popitem()
            self._follow(number, before, self.free[number])

    def _follow(self, number: int, before: Resources, free: Resources) -> None:
        if self._shared:
            self._own()
        bit, gauges = 1 << number, self._gauges
        if before.millicores != free.millicores or before.gpus != free.gpus:
            self._bucket_remove(self._key_of[number], bit)
            key = self._key_of[number] = bucket_of(free)
            self._bucket_add(key, bit)
            gauges[MILLICORES].move(before.millicores, free.millicores, bit)
            if before.gpus != free.gpus:
                gauges[GPUS].move(before.gpus, free.gpus, bit)
        if before.memory_mib != free.memory_mib:
            gauges[MEMORY].move(before.memory_mib, free.memory_mib, bit)
        if len(gauges) > len(_USUAL):
            self._move_unusual(before, free, bit)

    def _move_unusual(self, before: Resources, free: Resources, bit: int) -> None:
        for resource, gauge in self._gauges.items():
            if resource not in _USUAL:
                gauge.move(_amount(before, resource), _amount(free, resource), bit)

    def _bucket_add(self, key: int, bit: int) -> None:
        mask = self._buckets.get(key)
        if mask is None:
            insort(self._keys, key)
            self._buckets[key] = bit
        else:
            self._buckets[key] = mask | bit

    def _bucket_remove(self, key: int, bit: int) -> None:
        mask = self._buckets[key] ^ bit
        if mask:
            self._buckets[key] = mask
        else:
            del self._buckets[key]
            del self._keys[bisect_left(self._keys, key)]

    def at_least(self, resource: str, amount: int) -> int:
        """Mask of the nodes with at least this much free."""
        self.settle()
        gauge = self._gauges.get(resource)
        mask = None if gauge is None else gauge.mask(amount)
        return self._learn(resource, amount) if mask is None else mask

    def _learn(self, resource: str, amount: int) -> int:
        if self._shared:
            self._own()
        gauge = self._gauges.get(resource)
        if gauge is None:
            gauge = self._gauges[resource] = Gauge()
        amounts = map(attrgetter(resource), self.free) if resource in RESOURCE_NAMES else self._named_amounts(resource)
        mask = mask_of([have >= amount for have in amounts])
        gauge.learn(amount, mask)
        return mask

    def _named_amounts(self, resource: str) -> Iterator[int]:
        return (_amount(free, resource) for free in self.free)

    def with_attributes(self, needs: tuple[AttributeNeed, ...]) -> int:
        """Mask of the registered nodes that meet these attribute demands."""
        mask = self._attribute_masks.get(needs)
        if mask is None:
            mask = 0
            for number in bits(self.registered_mask):
                if has_attributes(self.attributes[number], needs) is None:
                    mask |= 1 << number
            self._attribute_masks[needs] = mask
        return mask

    def divide(self, partition: str, terms: Terms | None) -> None:
        """A partition is defined so from now on; None says that there is none of that name."""
        self.version += 1
        self._attribute_masks.clear()
        self._capable.clear()
        self.verdicts.clear()
        self._partitions.pop(partition, None)
        if terms is not None:
            self._partitions[partition] = terms

    def members(self, partition: str) -> int:
        """Mask of the registered nodes of a partition: those it names, and those with its attributes; 0 if unknown."""
        mask = self._attribute_masks.get(partition)
        if mask is None:
            terms = self._partitions.get(partition, Terms())
            named = sum([1 << self.numbers[node_id] for node_id in terms.nodes if node_id in self.numbers])
            alike = self.with_attributes(terms.attributes) if terms.attributes else 0
            mask = self._attribute_masks[partition] = (named | alike) & self.registered_mask
        return mask

    def fitting(self, requirement: Requirement) -> int:
        """Mask of the open nodes that can hold one slot now."""
        if self._stale:
            self.settle()
        mask = self.open_mask
        if requirement.attributes:
            mask &= self.with_attributes(requirement.attributes)
        if requirement.partition:
            mask &= self.members(requirement.partition)
        gauges = self._gauges
        for resource, amount in amounts_of(requirement.resources):
            gauge = gauges.get(resource)
            at = None if gauge is None else gauge.places.get(amount)
            mask &= self.at_least(resource, amount) if gauge is None or at is None else gauge.masks[at]
        return mask

    def scarce(self) -> tuple[int, int, int]:
        """The least millicores, MiB and GPUs asked for that no open node has free: who needs so much fits nowhere."""
        if self._stale:
            self.settle()
        nodes, gauges = self.open_mask, self._gauges
        return gauges[MILLICORES].scarce(nodes), gauges[MEMORY].scarce(nodes), gauges[GPUS].scarce(nodes)

    def best_fit(self, mask: int, need: Resources) -> int:
        """The node of a mask with the fewest free GPUs, then cores, then the lowest number; -1 if the mask is empty."""
        if not mask:
            return -1
        if self._stale:
            self.settle()
        keys, buckets = self._keys, self._buckets
        for at in range(bisect_left(keys, need.gpus * GPU_WEIGHT + need.millicores), len(keys)):
            hit = mask & buckets[keys[at]]
            if hit:
                return (hit & -hit).bit_length() - 1
        return -1

    def by_best_fit(self, mask: int) -> Iterator[int]:
        """The nodes of a mask in best-fit order."""
        self.settle()
        for key in self._keys:
            hit = mask & self._buckets[key]
            while hit:
                low = hit & -hit
                yield low.bit_length() - 1
                hit ^= low
            mask &= ~self._buckets[key]
            if not mask:
                return

    def worst_fit(self, mask: int, need: Resources) -> int:
        """The node of a mask with the most free GPUs, then cores, then the lowest number; -1 if the mask is empty.

        A need without GPUs asks for cores only, and first of the nodes that have no GPU to spare.
        """
        self.settle()
        keys, buckets = self._keys, self._buckets
        with_gpus = bisect_left(keys, GPU_WEIGHT)
        for at in range(len(keys) - 1 if need.gpus else with_gpus - 1, -1, -1):
            hit = mask & buckets[keys[at]]
            if hit:
                return (hit & -hit).bit_length() - 1
        return self._most_cores(mask, with_gpus) if mask else -1

    def _most_cores(self, mask: int, first: int) -> int:
        """The node of a mask with the most cores free, then the lowest number, from one bucket on; -1 if none."""
        most, best = -1, 0
        for key in self._keys[first:]:
            hit, millicores = mask & self._buckets[key], key % GPU_WEIGHT
            if hit and millicores >= most:
                best = hit | best if millicores == most else hit
                most = millicores
        return (best & -best).bit_length() - 1

    def unused(self) -> int:
        """Mask of the nodes with all their cores and GPUs free. O(kinds of machines)."""
        self.settle()
        mask = 0
        for capacity, nodes in self._kinds.items():
            mask |= nodes & self._buckets.get(bucket_of(capacity), 0)
            if not capacity.millicores and not capacity.gpus:  # there, what is overdrawn looks the same
                mask &= ~sum([1 << number for number in bits(nodes) if self.free[number].is_negative()])
        return mask

    def grouped(self, by: Callable[[Attributes, Resources], Answer]) -> Groups[Answer]:
        """All nodes sorted by what a function of their attributes and capacity says; remembered per function.

        Equal functions share one table: each should live as long as the farm, or compare by its fields.
        """
        groups = self._groups.get(by)
        if groups is None:
            answers = list(map(by, self.attributes, self.capacity))
            masks: dict[Answer, int] = {}
            for number, answer in enumerate(answers):
                masks[answer] = masks.get(answer, 0) | 1 << number
            groups = self._groups[by] = Groups(masks, answers)
        return groups

    def one_of_each(self, mask: int, groups: Groups[Any]) -> Iterator[int]:
        """The lowest node of a mask of those in one group that have the same cores and GPUs free."""
        self.settle()
        for nodes in self._buckets.values():
            hit = mask & nodes
            while hit:
                number = (hit & -hit).bit_length() - 1
                yield number
                hit &= ~groups.masks[groups.answers[number]]

    def rooms(self, mask: int, requirement: Requirement) -> dict[int, int]:
        """Number of slots → those nodes of a mask that can hold so many now, no more than a task has; none left out.

        O(buckets) for what asks for cores and GPUs only, else O(nodes of the mask).
        """
        self.settle()
        need, most = requirement.resources, 1 if requirement.distinct_nodes else requirement.slots
        rooms: dict[int, int] = {}
        if need.memory_mib or need.storage_mib or need.network_mbps or need.named:
            known: dict[Resources, int] = {}
            for number in bits(mask):
                free = self.free[number]
                room = known.get(free)
                if room is None:
                    room = known[free] = _bounded(free.count_of(need), most)
                rooms[room] = rooms.get(room, 0) | 1 << number
            return rooms
        cores_and_gpus = Resources(need.millicores, gpus=need.gpus)
        for key in self._keys:
            hit = mask & self._buckets[key]
            if hit:
                gpus, millicores = divmod(key, GPU_WEIGHT)
                room = _bounded(Resources(millicores, gpus=gpus).count_of(cores_and_gpus), most)
                rooms[room] = rooms.get(room, 0) | hit
                mask ^= hit
                if not mask:
                    break
        return rooms

    def rooms_when_empty(self, mask: int, requirement: Requirement) -> dict[int, int]:
        """As `rooms`, if nothing ran. O(kinds of nodes)."""
        most, rooms = 1 if requirement.distinct_nodes else requirement.slots, dict[int, int]()
        for capacity, nodes in self._kinds.items():
            if nodes & mask:
                room = _bounded(capacity.count_of(requirement.resources), most)
                rooms[room] = rooms.get(room, 0) | nodes & mask
        return rooms

    def slots_when_empty(self, mask: int, need: Resources) -> int:
        """How often `need` fits on the nodes of a mask in all, if nothing ran. O(kinds of nodes)."""
        counts = [
            (capacity.count_of(need) or 0) * (nodes & mask).bit_count() for capacity, nodes in self._kinds.items()
        ]
        return sum(counts)

    def most_free(self, mask: int, resource: str) -> int:
        """The node of a non-empty mask with the most of one resource free, the lowest number among equals."""
        self.settle()
        if resource in (MILLICORES, GPUS):
            nodes = self._one_of_each_bucket(mask)
        else:
            nodes = bits(self._top_level(mask, resource))
        return min(nodes, key=lambda number: (-self.available(number, resource), number))

    def _one_of_each_bucket(self, mask: int) -> Iterator[int]:
        """The lowest node of a mask in every bucket: its fellows have the same cores and GPUs free."""
        for nodes in self._buckets.values():
            hit = mask & nodes
            if hit:
                yield (hit & -hit).bit_length() - 1

    def _top_level(self, mask: int, resource: str) -> int:
        """Those of a mask that have the largest amount asked for that any of them has."""
        gauge = self._gauges.get(resource)
        if gauge is not None:
            for nodes in reversed(gauge.masks):
                if mask & nodes:
                    return mask & nodes
        return mask

    def capable(self, requirement: Requirement) -> int:
        """Mask of all registered nodes that could hold one slot if they were empty and open; remembered per shape."""
        mask = self._capable.get(requirement)
        if mask is None:
            mask = 0
            for capacity, nodes in self._kinds.items():
                if capacity.fits(requirement.resources):
                    mask |= nodes
            mask &= self.with_attributes(requirement.attributes)
            if requirement.partition:
                mask &= self.members(requirement.partition)
            self._capable[requirement] = mask
        return mask

    def available(self, number: int, resource: str) -> int:
        """How much of a resource a node has free: none, if it shrank below what it holds."""
        return max(0, _amount(self.free[number], resource))


def slots_in(rooms: dict[int, int]) -> int:
    """How many slots there are on nodes that `NodeIndex.rooms` has counted."""
    return sum([room * nodes.bit_count() for room, nodes in rooms.items()])


def _bounded(room: int | None, most: int) -> int:
    return most if room is None else min(room, most)


def bits(mask: int) -> Iterator[int]:
    """The node numbers in a mask, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@lru_cache(maxsize=65_536)
def amounts_of(resources: Resources) -> tuple[tuple[str, int], ...]:
    """All amounts that are not zero, by resource."""
    return tuple(resources.items())


def _amount(resources: Resources, resource: str) -> int:
    if resource in RESOURCE_NAMES:
        return int(getattr(resources, resource))
    return dict(resources.named).get(resource, 0)
