"""Backfill: what may start while a job before it waits.

One rule with a depth: so many blocked jobs hold a reservation, and what comes after them starts now if it delays none.
Depth 1 is EASY (Lifka, 1995), all is conservative backfill (Feitelson & Mu'alem Weil, 1998).
"""

from typing import Annotated

import msgspec

from domain.job.values import Job
from domain.messages import Value
from domain.policies import Context, register


class Depth(Value, frozen=True):
    """The first so many blocked jobs hold a reservation; later ones start now only where they delay none of these."""

    overtakes = True
    for_anybody = True
    reservations: Annotated[int, msgspec.Meta(ge=1)] = 1

    def reserves_for(self, job: Job, context: Context) -> bool:
        """Any job may."""
        return True


class Easy(Value, frozen=True):
    """Only the head of the queue holds a reservation (EASY, Lifka 1995)."""

    overtakes = True
    for_anybody = True
    reservations = 1

    def reserves_for(self, job: Job, context: Context) -> bool:
        """Any job may."""
        return True


class Conservative(Value, frozen=True):
    """Every blocked job holds a reservation, made anew in queue order by each cycle (Mu'alem & Feitelson, 2001)."""

    overtakes = True
    for_anybody = True
    reservations = None

    def reserves_for(self, job: Job, context: Context) -> bool:
        """Any job may."""
        return True


class Greedy(Value, frozen=True):
    """Anything that fits starts; no job holds a reservation. Good for many small tasks, unfair to large gangs."""

    overtakes = True
    for_anybody = True
    reservations = 0

    def reserves_for(self, job: Job, context: Context) -> bool:
        """None does, because there are none."""
        return True


class NoBackfill(Value, frozen=True):
    """Strict order: nothing starts while a job before it waits for resources."""

    overtakes = False
    for_anybody = True
    reservations = 0

    def reserves_for(self, job: Job, context: Context) -> bool:
        """None needs one: what comes later cannot start."""
        return True


register("backfill", "greedy", Greedy)
register("backfill", "none", NoBackfill)
register("backfill", "easy", Easy)
register("backfill", "depth", Depth)
register("backfill", "conservative", Conservative)
