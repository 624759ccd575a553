"""Which nodes could hold this now: free resources of all nodes, indexed by bitsets.

A set of nodes is one Python integer with a bit per node. For every amount that some requirement asks for there is a
mask of the nodes that have at least that much free, so that "who fits" is a handful of `&`; nodes are also bucketed by
their free GPUs and cores, so that best fit takes the first bucket that meets the mask. A cycle costs about as many
steps as there are shapes and starts, whatever the number of nodes.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from functools import lru_cache

from domain.messages import NodeId
from domain.node import Attributes, Node
from domain.resources import RESOURCE_NAMES, AttributeNeed, Requirement, Resources, has_attributes

MILLICORES, MEMORY, GPUS = "millicores", "memory_mib", "gpus"
_GPU_WEIGHT = 1 << 40
"""Larger than any number of millicores: buckets sort by free GPUs first, so that scarce nodes are kept for last."""


class NodeIndex:
    """Free resources of nodes; `fork` gives an independent copy for tentative placements."""

    __slots__ = (
        "_attribute_masks",
        "_buckets",
        "_capable",
        "_keys",
        "_levels",
        "_masks",
        "attributes",
        "capacity",
        "free",
        "ids",
        "numbers",
        "open_mask",
        "registered_mask",
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
        self._levels: dict[str, list[int]] = {}
        """For each resource, the amounts asked for, ascending."""
        self._masks: dict[tuple[str, int], int] = {}
        """(resource, amount) → nodes with at least that much free."""
        self._buckets: dict[int, int] = {}
        """Bucket key → nodes with exactly these GPUs and cores free."""
        self._keys: list[int] = []
        self._attribute_masks: dict[tuple[AttributeNeed, ...], int] = {}
        self._capable: dict[Requirement, int] = {}

    def fork(self) -> "NodeIndex":
        """A copy whose free amounts can change without touching this one. O(nodes + levels)."""
        twin = NodeIndex.__new__(NodeIndex)
        twin.ids, twin.numbers, twin.capacity = self.ids, self.numbers, self.capacity
        twin.attributes = self.attributes
        twin.open_mask, twin.registered_mask = self.open_mask, self.registered_mask
        twin.free = self.free.copy()
        twin._levels = {resource: levels.copy() for resource, levels in self._levels.items()}
        twin._masks = self._masks.copy()
        twin._buckets = self._buckets.copy()
        twin._keys = self._keys.copy()
        twin._attribute_masks, twin._capable = self._attribute_masks, self._capable  # true of both
        return twin

    def put(self, node: Node) -> None:
        """Adds a node, or takes over what has changed about it; what is in use stays in use."""
        number = self.numbers.get(node.node_id)
        if number is None:
            number = self._add(node)
        elif self.capacity[number] != node.capacity:
            in_use = self.capacity[number].minus(self.free[number])
            self.capacity[number] = node.capacity
            self._capable.clear()
            self._set_free(number, node.capacity.minus(in_use))
        if self.attributes[number] != node.attributes:
            self.attributes[number] = node.attributes
            self._attribute_masks.clear()
            self._capable.clear()
        bit = 1 << number
        if node.retired and self.registered_mask & bit:
            self.registered_mask ^= bit
            self._attribute_masks.clear()
            self._capable.clear()
        self.open_mask = self.open_mask | bit if node.takes_work else self.open_mask & ~bit

    def _add(self, node: Node) -> int:
        number = len(self.ids)
        self.ids.append(node.node_id)
        self.numbers[node.node_id] = number
        self.capacity.append(node.capacity)
        self.free.append(Resources())
        self.attributes.append(node.attributes)
        self._attribute_masks.clear()
        self._capable.clear()
        self.registered_mask |= 1 << number
        self._bucket_add(0, 1 << number)
        self._set_free(number, node.capacity)
        return number

    def allocate(self, number: int, need: Resources, times: int = 1) -> None:
        """Takes `times` the need from a node."""
        self._set_free(number, self.free[number].plus(need, -times))

    def release(self, number: int, need: Resources, times: int = 1) -> None:
        """Gives it back."""
        self._set_free(number, self.free[number].plus(need, times))

    def _set_free(self, number: int, free: Resources) -> None:
        bit, before = 1 << number, self.free[number]
        self.free[number] = free
        if before.millicores != free.millicores or before.gpus != free.gpus:
            self._bucket_remove(before.gpus * _GPU_WEIGHT + before.millicores, bit)
            self._bucket_add(free.gpus * _GPU_WEIGHT + free.millicores, bit)
            self._move(MILLICORES, before.millicores, free.millicores, bit)
            self._move(GPUS, before.gpus, free.gpus, bit)
        self._move(MEMORY, before.memory_mib, free.memory_mib, bit)
        if before.storage_mib != free.storage_mib or before.network_mbps != free.network_mbps:
            self._move("storage_mib", before.storage_mib, free.storage_mib, bit)
            self._move("network_mbps", before.network_mbps, free.network_mbps, bit)
        if before.named != free.named:
            old, new = dict(before.named), dict(free.named)
            for name in old.keys() | new.keys():
                self._move(name, old.get(name, 0), new.get(name, 0), bit)

    def _move(self, resource: str, before: int, after: int, bit: int) -> None:
        """Flips a node's bit in the masks of all amounts between before and after."""
        if before == after:
            return
        levels = self._levels.get(resource)
        if not levels:
            return
        low, high = (before, after) if before < after else (after, before)
        first = bisect_right(levels, low)
        if first == len(levels) or levels[first] > high:
            return
        masks = self._masks
        for level in levels[first : bisect_right(levels, high, first)]:
            masks[resource, level] ^= bit

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
        mask = self._masks.get((resource, amount))
        return self._learn(resource, amount) if mask is None else mask

    def _learn(self, resource: str, amount: int) -> int:
        mask = 0
        for number, free in enumerate(self.free):
            if _amount(free, resource) >= amount:
                mask |= 1 << number
        insort(self._levels.setdefault(resource, []), amount)
        self._masks[resource, amount] = mask
        return mask

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

    def fitting(self, requirement: Requirement) -> int:
        """Mask of the open nodes that can hold one slot now."""
        mask = self.open_mask
        if requirement.attributes:
            mask &= self.with_attributes(requirement.attributes)
        masks = self._masks
        for amount in _amounts(requirement.resources):
            nodes = masks.get(amount)
            mask &= self._learn(*amount) if nodes is None else nodes
        return mask

    def best_fit(self, mask: int, need: Resources) -> int:
        """The node of a mask with the fewest free GPUs, then cores, then the lowest number; -1 if the mask is empty."""
        if not mask:
            return -1
        keys, buckets = self._keys, self._buckets
        for at in range(bisect_left(keys, need.gpus * _GPU_WEIGHT + need.millicores), len(keys)):
            hit = mask & buckets[keys[at]]
            if hit:
                return (hit & -hit).bit_length() - 1
        return -1

    def by_best_fit(self, mask: int) -> Iterator[int]:
        """The nodes of a mask in best-fit order."""
        for key in self._keys:
            hit = mask & self._buckets[key]
            while hit:
                low = hit & -hit
                yield low.bit_length() - 1
                hit ^= low
            mask &= ~self._buckets[key]
            if not mask:
                return

    def most_free(self, mask: int, resource: str) -> int:
        """The node of a non-empty mask with the most of one resource free, the lowest number among equals."""
        if resource in (MILLICORES, GPUS):
            nodes = self._one_of_each_bucket(mask)
        else:
            nodes = bits(self._top_level(mask, resource))
        return min(nodes, key=lambda number: (-_amount(self.free[number], resource), number))

    def _one_of_each_bucket(self, mask: int) -> Iterator[int]:
        """The lowest node of a mask in every bucket: its fellows have the same cores and GPUs free."""
        for nodes in self._buckets.values():
            hit = mask & nodes
            if hit:
                yield (hit & -hit).bit_length() - 1

    def _top_level(self, mask: int, resource: str) -> int:
        for level in reversed(self._levels.get(resource, [])):
            high = mask & self._masks[resource, level]
            if high:
                return high
        return mask

    def capable(self, requirement: Requirement) -> int:
        """Mask of all registered nodes that could hold one slot if they were empty and open; remembered per shape."""
        mask = self._capable.get(requirement)
        if mask is None:
            mask = 0
            for number in bits(self.with_attributes(requirement.attributes)):
                if self.capacity[number].fits(requirement.resources):
                    mask |= 1 << number
            self._capable[requirement] = mask
        return mask

    def available(self, number: int, resource: str) -> int:
        """How much of a resource a node has free."""
        return _amount(self.free[number], resource)


def bits(mask: int) -> Iterator[int]:
    """The node numbers in a mask, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@lru_cache(maxsize=65_536)
def _amounts(resources: Resources) -> tuple[tuple[str, int], ...]:
    """All amounts that are not zero, as the keys of masks."""
    return tuple(resources.items())


def _amount(resources: Resources, resource: str) -> int:
    if resource in RESOURCE_NAMES:
        return int(getattr(resources, resource))
    return dict(resources.named).get(resource, 0)
