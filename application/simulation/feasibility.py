"""Which deadlines could be met at all: a relaxation that is never worse than any schedule.

The relaxed farm is one machine per kind of resource with the farm's whole capacity. It may divide, interrupt and spread
work without loss, it knows every run time beforehand, and every task runs at the speed of the class of nodes that is
fastest for it and could hold it. Whatever a real schedule does by some time, the relaxed farm can do by then:
its capacity is that of all nodes, and no task needs less of it than amount × shortest run time. Hence:

- A job alone is hopeless if its longest task, or all its work on the whole capacity, takes longer than its lead.
- Of jobs that all arrive at or after `a` and are due at or before `d`, and whose work exceeds capacity × (d - a), at
  least as many are late as must be left out, the largest first, until the rest fits. Disjoint sets of such jobs add up.

Windows are found by earliest deadline first, which on one machine that may interrupt meets all deadlines if they can be
met (Dertouzos, 1974).
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from application.simulation.synthetic_farm import SyntheticFarm, SyntheticJob
from domain.messages import JobId
from domain.resources import NOTHING


class Demand(NamedTuple):
    """Work with a deadline on one relaxed machine."""

    job_id: JobId
    submit_ms: int
    deadline_ms: int
    work: int
    """Amount of the resource × ms."""


class Feasible(NamedTuple):
    """What no schedule can exceed."""

    alone: frozenset[JobId]
    """Jobs with a deadline that could be met if they had the relaxed farm to themselves."""
    surely_late: int
    """Of these so many at least are late in every schedule, because they compete."""

    @property
    def most(self) -> int:
        """How many deadlines a schedule can meet at most."""
        return len(self.alone) - self.surely_late

    def share_met(self, met: Iterable[JobId]) -> float:
        """How many of those a schedule met, 0..1; 1 if there are none."""
        return len(self.alone.intersection(met)) / self.most if self.most else 1.0


def feasible(farm: SyntheticFarm) -> Feasible:
    """The deadlines of a day on its farm, nodes that fail left out of account."""
    amounts = capacity_of(farm)
    works = {job.job_id: least_work(farm, job) for job in farm.jobs}
    alone = [job for job in farm.jobs if _is_possible_alone(farm, job, works[job.job_id], amounts)]
    late = max((surely_late(_demands(alone, works, name), amount) for name, amount in amounts.items()), default=0)
    return Feasible(frozenset(job.job_id for job in alone), late)


def scarcest(farm: SyntheticFarm) -> str:
    """The resource of which all work, each task where it is fastest, needs the largest part of the farm."""
    works = [least_work(farm, job) for job in farm.jobs]
    parts = {name: sum(work.get(name, 0) for work in works) / amount for name, amount in capacity_of(farm).items()}
    return max(parts, key=lambda name: parts[name])


def capacity_of(farm: SyntheticFarm) -> dict[str, int]:
    """Amount of each resource over all nodes, by its name."""
    capacity = NOTHING
    for node in farm.nodes:
        capacity = capacity.plus(node.capacity)
    return dict(capacity.items())


def least_work(farm: SyntheticFarm, job: SyntheticJob) -> dict[str, int]:
    """Amount × ms of each resource that a job holds at least, by name of the resource."""
    run_ms = sum(farm.fastest_ms(job, task) for task in range(len(job.task_s)))
    return {name: amount * run_ms for name, amount in job.requirement.total().items()}


def _is_possible_alone(
    farm: SyntheticFarm, job: SyntheticJob, works: Mapping[str, int], capacity: Mapping[str, int]
) -> bool:
    if job.deadline_s is None:
        return False
    lead_ms = (job.deadline_s - job.submit_s) * 1_000
    longest_ms = max(farm.fastest_ms(job, task) for task in range(len(job.task_s)))
    return longest_ms <= lead_ms and all(work <= capacity[name] * lead_ms for name, work in works.items())


def _demands(jobs: Iterable[SyntheticJob], works: Mapping[JobId, Mapping[str, int]], resource: str) -> list[Demand]:
    return [
        Demand(job.job_id, job.submit_s * 1_000, (job.deadline_s or 0) * 1_000, works[job.job_id].get(resource, 0))
        for job in jobs
    ]


def surely_late(demands: Sequence[Demand], capacity: int) -> int:
    """How many demands at least are late on a machine of that capacity, whatever it does."""
    late, left = 0, list(demands)
    while True:
        missed = first_missed(left, capacity)
        if missed is None:
            return late
        window = _worst_window(left, missed, capacity)
        inside = {each.job_id for each in window}
        late += _to_leave_out(window, capacity)
        left = [each for each in left if each.job_id not in inside]


def first_missed(demands: Iterable[Demand], capacity: int) -> Demand | None:
    """The first demand that is late when the earliest deadline always goes first; None if all are met."""
    coming = sorted(demands, key=lambda each: each.submit_ms)
    ready: list[tuple[int, JobId, int, Demand]] = []
    now, at = 0, 0
    """Capacity × ms."""
    while at < len(coming) or ready:
        if not ready:
            now = max(now, coming[at].submit_ms * capacity)
        while at < len(coming) and coming[at].submit_ms * capacity <= now:
            each = coming[at]
            heapq.heappush(ready, (each.deadline_ms, each.job_id, each.work, each))
            at += 1
        deadline_ms, job_id, work, each = heapq.heappop(ready)
        until = now + work if at == len(coming) else min(now + work, coming[at].submit_ms * capacity)
        if until > deadline_ms * capacity:
            return each
        if work > until - now:
            heapq.heappush(ready, (deadline_ms, job_id, work - (until - now), each))
        now = until
    return None


def _worst_window(demands: Iterable[Demand], missed: Demand, capacity: int) -> list[Demand]:
    """Of the windows that end with the missed deadline, the demands inside the one that is overbooked most."""
    due = sorted([each for each in demands if each.deadline_ms <= missed.deadline_ms], key=lambda each: -each.submit_ms)
    worst, most, work = 0, 0, 0
    for count, each in enumerate(due, 1):
        work += each.work
        excess = work - capacity * (missed.deadline_ms - each.submit_ms)
        if excess > most:
            worst, most = count, excess
    return due[:worst]


def _to_leave_out(window: Sequence[Demand], capacity: int) -> int:
    """How many demands of an overbooked window must be left out, the largest first, until the rest fits."""
    room = capacity * (max(each.deadline_ms for each in window) - min(each.submit_ms for each in window))
    excess = sum(each.work for each in window) - room
    for count, work in enumerate(sorted([each.work for each in window], reverse=True), 1):
        excess -= work
        if excess <= 0:
            return count
    return len(window)
