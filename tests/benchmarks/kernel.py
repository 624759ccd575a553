"""Placement and nothing else: the floor of a scheduling cycle, and the plain loop that says what is right.

The kernel works on integers: shapes are (cores, memory, GPUs), a set of nodes is one integer with a bit per node, a
mask per amount asked for says which nodes have that much free, and nodes with equal free GPUs and cores share a bucket,
so that best fit is the first bucket that meets the mask. It knows no clients, limits, priorities, arrays, gangs,
reasons or events: the jobs come in order, one task each, and a shape that found no place is not tried again.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from domain.resources import Resources

Amounts = tuple[int, int, int]
"""Cores in thousandths, memory in MiB, GPUs."""
_GPU = 1 << 40


def amounts(resources: Resources) -> Amounts:
    """The three amounts that the benchmarks ask for."""
    return resources.millicores, resources.memory_mib, resources.gpus


class Kernel:
    """Free amounts of nodes under masks and buckets."""

    def __init__(self, free: Sequence[Amounts], shapes: Sequence[Amounts]) -> None:
        self.free = list(free)
        self.shapes = shapes
        self.levels = [sorted({shape[kind] for shape in shapes}) for kind in range(3)]
        self.masks = [
            [sum(1 << n for n, has in enumerate(free) if has[kind] >= level) for level in self.levels[kind]]
            for kind in range(3)
        ]
        self.asked = [tuple(self.levels[kind].index(shape[kind]) for kind in range(3)) for shape in shapes]
        """For each shape, where in the three lists its masks stand."""
        self.buckets: dict[int, int] = {}
        for number, (cores, _, gpus) in enumerate(free):
            key = gpus * _GPU + cores
            self.buckets[key] = self.buckets.get(key, 0) | 1 << number
        self.keys = sorted(self.buckets)

    def copy(self) -> "Kernel":
        """To place tentatively."""
        twin = Kernel.__new__(Kernel)
        twin.free, twin.shapes, twin.levels = self.free.copy(), self.shapes, self.levels
        twin.masks, twin.asked = [masks.copy() for masks in self.masks], self.asked
        twin.buckets, twin.keys = self.buckets.copy(), self.keys.copy()
        return twin

    def place(self, jobs: Sequence[int]) -> list[tuple[int, int]]:
        """(place in the queue, node) for every job that starts; `jobs` are shape numbers in queue order."""
        shapes, asked, keys, buckets = self.shapes, self.asked, self.keys, self.buckets
        by_cores, by_memory, by_gpus = self.masks
        failed: set[int] = set()
        placed = []
        for place, shape in enumerate(jobs):
            if shape in failed:
                continue
            cores, memory, gpus = shapes[shape]
            at_cores, at_memory, at_gpus = asked[shape]
            mask = by_cores[at_cores] & by_memory[at_memory] & by_gpus[at_gpus]
            if not mask:
                failed.add(shape)
                continue
            first = bisect_left(keys, gpus * _GPU + cores)
            while not (hit := mask & buckets[keys[first]]):
                first += 1
            number = (hit & -hit).bit_length() - 1
            placed.append((place, number))
            self._take(number, cores, memory, gpus)
        return placed

    def _take(self, number: int, cores: int, memory: int, gpus: int) -> None:
        bit, before = 1 << number, self.free[number]
        after = (before[0] - cores, before[1] - memory, before[2] - gpus)
        self.free[number] = after
        for kind in range(3):
            if after[kind] != before[kind]:
                levels, masks = self.levels[kind], self.masks[kind]
                first, last = bisect_right(levels, after[kind]), bisect_right(levels, before[kind])
                masks[first:last] = [mask ^ bit for mask in masks[first:last]]
        old, new = before[2] * _GPU + before[0], after[2] * _GPU + after[0]
        buckets, keys = self.buckets, self.keys
        left = buckets[old] ^ bit
        if left:
            buckets[old] = left
        else:
            del buckets[old], keys[bisect_left(keys, old)]
        if new in buckets:
            buckets[new] |= bit
        else:
            buckets[new] = bit
            insort(keys, new)


def place_naively(free: Sequence[Amounts], shapes: Sequence[Amounts], jobs: Sequence[int]) -> list[tuple[int, int]]:
    """The same by looking at every node for every job."""
    left = [list(has) for has in free]
    placed = []
    for at, shape in enumerate(jobs):
        need = shapes[shape]
        fitting = [
            (has[2], has[0], number)
            for number, has in enumerate(left)
            if all(have >= want for have, want in zip(has, need, strict=True))
        ]
        if fitting:
            number = min(fitting)[2]
            left[number] = [have - want for have, want in zip(left[number], need, strict=True)]
            placed.append((at, number))
    return placed
