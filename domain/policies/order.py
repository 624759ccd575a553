"""Orders: who is looked at first. Ties are broken by submit time, then id, by the planner."""

from domain.job.values import PRIORITY_RANK, Job
from domain.messages import Value
from domain.policies import OrderKey, register


class Fifo(Value, frozen=True):
    """First come, first served: submit time alone."""

    monotone = True

    def key(self, job: Job, now_ms: int) -> OrderKey:
        """All alike; submit time decides."""
        return ()


class ByPriority(Value, frozen=True):
    """The priority a person gave, then submit time. The plain queue of render farms (Slurm `priority/basic`)."""

    monotone = True

    def key(self, job: Job, now_ms: int) -> OrderKey:
        """Critical before high before medium before low."""
        return (-PRIORITY_RANK[job.priority],)


register("order", "fifo", Fifo)
register("order", "priority", ByPriority)
