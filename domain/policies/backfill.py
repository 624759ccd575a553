"""Backfill: what may start while a job before it waits."""

from domain.messages import Value
from domain.policies import register


class Greedy(Value, frozen=True):
    """Anything that fits starts; no job holds a reservation. Good for many small tasks, unfair to large gangs."""

    def goes_on_after(self, blocked_before: int) -> bool:
        """Always."""
        return True


class NoBackfill(Value, frozen=True):
    """Strict order: nothing starts before the head of the queue."""

    def goes_on_after(self, blocked_before: int) -> bool:
        """Only while nothing is blocked."""
        return blocked_before == 0


register("backfill", "greedy", Greedy)
register("backfill", "none", NoBackfill)
