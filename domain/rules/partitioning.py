"""Partitions within a cycle: how much of its own nodes a partition's jobs may use, which clients, and for how long."""

from typing import TYPE_CHECKING

from domain.decisions import Reason, ReasonCode, Segment
from domain.farm_snapshot import ClientUse
from domain.indices.nodeindex import bits
from domain.job.values import Job
from domain.messages import ClientId
from domain.partition import Terms
from domain.policies import Made
from domain.resources import Requirement
from domain.rules import Rule, rule

if TYPE_CHECKING:
    from domain.farm import Farm
    from domain.planning.placing import Placing

Left = tuple[ReasonCode, str, int, int]
"""Which limit, of what, needed by one task, left."""


class Partitioning(Rule):
    """The limits of all partitions that have some, in one cycle."""

    whole = True

    def __init__(self, farm: "Farm", terms: dict[str, Terms]) -> None:
        self._farm, self._terms = farm, terms
        self._use: dict[tuple[str, ClientId], ClientUse] = {}
        """By partition and client; all clients together are called "" (which no client can be)."""
        self._capacity: dict[str, tuple[int, int]] = {}
        self._cycle: Placing

    def begin(self, cycle: "Placing") -> None:
        """Nothing is worked out before it is asked for."""
        self._cycle = cycle

    def room(self, segment: Segment, job: Job, end_ms: int) -> int | None:
        """As many more tasks as the limits of its partition leave."""
        terms = self._terms.get(segment.requirement.partition)
        if terms is None:
            return None
        self.whole = True
        if not terms.admits(segment.client_id):
            return 0
        if too_long(job, terms):
            self.whole = False
            return 0
        counts = [left // need for _, _, need, left in self._lefts(segment, terms)]
        return max(0, min(counts)) if counts else None

    def _lefts(self, segment: Segment, terms: Terms) -> list[Left]:
        """Every limit that applies to a segment, with what it leaves."""
        requirement = segment.requirement
        name, needs = requirement.partition, requirement.total()
        found: list[Left] = []
        everybody = self._used(name, "")
        if terms.max_tasks is not None:
            found.append((ReasonCode.PARTITION_LIMIT, "tasks", 1, terms.max_tasks - everybody.tasks))
        for code, percent, use in (
            (ReasonCode.PARTITION_LIMIT, terms.limit_percent, everybody),
            (ReasonCode.PARTITION_CLIENT, terms.client_percent, self._used(name, segment.client_id)),
        ):
            if percent < 100:
                millicores, gpus = self._sizes(name)
                if needs.millicores:
                    left = millicores * percent // 100 - use.millicores
                    found.append((code, "millicores", needs.millicores, left))
                if needs.gpus:
                    found.append((code, "gpus", needs.gpus, gpus * percent // 100 - use.gpus))
        return found

    def _used(self, name: str, client_id: ClientId) -> ClientUse:
        """What is held in a partition by a client, or by all, tentative placements included."""
        use = self._use.get((name, client_id))
        if use is None:
            use = self._use[name, client_id] = ClientUse()
            for (partition, owner), held in self._farm.use_in.items():
                if partition == name and client_id in ("", owner):
                    use.millicores, use.gpus = use.millicores + held.millicores, use.gpus + held.gpus
                    use.tasks += held.tasks
        return use

    def _sizes(self, name: str) -> tuple[int, int]:
        """Cores (in thousandths) and GPUs of the nodes of a partition."""
        known = self._capacity.get(name)
        if known is None:
            index = self._cycle.index
            nodes = [index.capacity[number] for number in bits(index.members(name))]
            known = sum([each.millicores for each in nodes]), sum([each.gpus for each in nodes])
            self._capacity[name] = known
        return known

    def took(self, job: Job, nodes: tuple[tuple[int, int], ...], tasks: int, end_ms: int) -> None:
        """Counts what starts."""
        requirement: Requirement = job.spec.requirement
        if requirement.partition in self._terms:
            for owner in ("", job.spec.client_id):
                self._used(requirement.partition, owner).add(requirement.resources, requirement.slots, tasks)

    def why(self, segment: Segment, job: Job, end_ms: int) -> tuple[Reason, ...]:
        """Which limits of its partition are in the way, with their numbers."""
        name = segment.requirement.partition
        terms = self._terms.get(name)
        if terms is None:
            return ()
        if not terms.admits(segment.client_id):
            return (Reason(ReasonCode.PARTITION_CLOSED, entity=name),)
        if too_long(job, terms):
            asked_ms, most_ms = job.spec.walltime_ms or 0, terms.max_walltime_ms or 0
            return (Reason(ReasonCode.PARTITION_WALLTIME, name, "walltime_ms", asked_ms, most_ms),)
        return tuple(
            [
                Reason(code, name, what, need, max(0, left))
                for code, what, need, left in self._lefts(segment, terms)
                if left < need
            ]
        )


def too_long(job: Job, terms: Terms) -> bool:
    """Whether a job may run longer than its partition lets jobs run by now."""
    if terms.max_walltime_ms is None:
        return False
    return job.spec.walltime_ms is None or job.spec.walltime_ms > terms.max_walltime_ms


def bounds_something(terms: Terms) -> bool:
    """Whether these terms say more than which nodes there are."""
    return bool(
        terms.clients
        or terms.max_tasks is not None
        or terms.max_walltime_ms is not None
        or terms.limit_percent < 100
        or terms.client_percent < 100
    )


@rule
def partitioned(farm: "Farm", made: Made, now_ms: int) -> Rule | None:
    """Where some partition bounds what its jobs may use."""
    bounding = {
        name: partition.terms
        for name, partition in farm.partitions.items()
        if not partition.removed and bounds_something(partition.terms)
    }
    return Partitioning(farm, bounding) if bounding else None
