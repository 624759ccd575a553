"""Sets of nodes as bits: for every amount that somebody asked for, who has at least that much of a resource free."""

from bisect import bisect_left, bisect_right

from domain.resources import Resources

NEVER = 1 << 62
"""More than any node has."""
MOST_AMOUNTS = 1_000
"""A farm meets new amounts for years; those still in use are learned again when they are asked for."""
GPU_WEIGHT = 1 << 40
"""Larger than any number of millicores: buckets sort by free GPUs first, so that scarce nodes are kept for last."""


class Gauge:
    """One resource: for every amount that somebody asked for, the mask of the nodes with at least that much free."""

    __slots__ = ("amounts", "masks", "places")

    def __init__(self) -> None:
        self.amounts: list[int] = []
        """Ascending."""
        self.masks: list[int] = []
        """In the same order."""
        self.places: dict[int, int] = {}
        """Where in the two lists an amount stands."""

    def fork(self) -> "Gauge":
        """An independent copy; amounts and places are replaced as a whole when they change, so they can be shared."""
        twin = Gauge()
        twin.amounts, twin.places, twin.masks = self.amounts, self.places, self.masks.copy()
        return twin

    def move(self, before: int, after: int, bit: int) -> None:
        """A node has `after` free instead of `before`: flips its bit in the masks of all amounts between."""
        low, high = (before, after) if before < after else (after, before)
        amounts = self.amounts
        first = bisect_right(amounts, low)
        last = bisect_right(amounts, high, first)
        if first < last:
            self.masks[first:last] = [mask ^ bit for mask in self.masks[first:last]]

    def scarce(self, nodes: int) -> int:
        """The least amount asked for that no node of a mask has free; NEVER if there is none such."""
        masks = self.masks
        if not masks or masks[-1] & nodes:
            return NEVER
        return self.amounts[bisect_left(masks, True, key=lambda mask: not mask & nodes)]

    def mask(self, amount: int) -> int | None:
        """The nodes with at least this much free; None for an amount that was not learned."""
        at = self.places.get(amount)
        return None if at is None else self.masks[at]

    def learn(self, amount: int, mask: int) -> None:
        """Keeps the mask of one more amount from now on; with too many of them it forgets the others first."""
        if len(self.amounts) == MOST_AMOUNTS:
            self.amounts, self.masks = [], []
        at = bisect_left(self.amounts, amount)
        self.amounts = [*self.amounts[:at], amount, *self.amounts[at:]]
        self.masks.insert(at, mask)
        self.places = {known: at for at, known in enumerate(self.amounts)}


def bucket_of(free: Resources) -> int:
    """The bucket of a node with so much free; one that shrank below what it holds has none free, not less than none."""
    gpus, millicores = free.gpus, free.millicores
    if gpus < 0 or millicores < 0:
        gpus, millicores = max(0, gpus), max(0, millicores)
    return gpus * GPU_WEIGHT + millicores


def mask_of(flags: list[bool]) -> int:
    """The mask of the places where a flag is set."""
    return int("".join(["1" if flag else "0" for flag in reversed(flags)]) or "0", 2)
