"""Plain schedulers to compare with, as policies registered from outside the product through the same hooks.

They are not hampered: what fits starts at once, nothing is ever left idle on purpose, and the queue is looked at again
whenever something changes. `round-robin` gives each task to the next node in turn that has room for it.
"""

import msgspec

from domain.indices.nodeindex import NodeIndex
from domain.job.values import Job
from domain.policies import Context, Policies, register


class RoundRobin(msgspec.Struct, frozen=True):
    """The next node in turn that has room; the turn goes on from there."""

    one_at_a_time = True
    turn: list[int] = msgspec.field(default_factory=lambda: [0])
    """The number of the node whose turn it is, in a list because the policy is a constant."""

    def choose(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """The first of the mask from the turn on, else the first of all."""
        later = nodes >> self.turn[0] << self.turn[0]
        chosen = _lowest(later or nodes)
        self.turn[0] = (chosen + 1) % len(index.ids)
        return chosen

    def score(self, job: Job, number: int, index: NodeIndex, context: Context) -> float:
        """All nodes are alike to it."""
        return 1.0


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def fifo() -> Policies:
    """First come, first served; the first node with room; what does not fit is overtaken by what does."""
    return Policies(order="fifo", placement="first-fit", backfill="greedy")


def strict_fifo() -> Policies:
    """First come, first served, to the letter: nothing starts before the first that waits."""
    return Policies(order="fifo", placement="first-fit", backfill="none")


def round_robin() -> Policies:
    """First come, first served; nodes in turn; what does not fit is overtaken by what does."""
    return Policies(order="fifo", placement="round-robin", backfill="greedy")


register("placement", "round-robin", RoundRobin)
