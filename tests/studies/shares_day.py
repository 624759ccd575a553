"""The farm and the day of the study `shares`: 300 nodes of four classes, five clients, 1,000 render tasks.

The farm stands idle when `research` comes with a burst and borrows it all. Then the owners come, one after the other,
each with bursts of their own. Everything is drawn from a seed; amounts are invented, and stand here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from application.simulation.engine import Arrival
from application.simulation.feasibility import Feasible, feasible
from application.simulation.synthetic_farm import HOUR_S, NodeClass, Owner, SyntheticFarm, SyntheticJob
from domain.client import RegisterClient, Shares
from domain.job.commands import SubmitJob
from domain.job.values import JobSpec, Priority, Protection
from domain.messages import ClientId, Command, JobId
from domain.node import BringOnline, RegisterNode
from domain.resources import Requirement, Resources

_GIB = 1_024
_QUARTER_S = 900
SAVES_EVERY_S = 1_200
"""How often jobs save their state that may be interrupted only after a checkpoint."""
LEAD = (1.1, 2.2)
"""A deadline leaves between so many times what its owner thinks the job takes on the guaranteed share."""
LONGEST = 4.0
"""No task takes longer than so many medians."""


class Kind(NamedTuple):
    """Tasks that are alike."""

    name: str
    requirement: Requirement
    median_s: int
    sigma: float
    """Of the natural logarithm of the run times of tasks of one job."""


class Habits(NamedTuple):
    """A client, and how it comes."""

    client_id: ClientId
    shares: Shares
    tasks: int
    """In proportion; 1,000 over all clients."""
    bursts_h: tuple[tuple[float, float], ...]
    """When jobs come, in hours: (from, to), each burst as large as the others."""


class Terms(NamedTuple):
    """What a job has beside what was drawn of its tasks."""

    priority: Priority = Priority.MEDIUM
    protection: Protection | None = None
    checkpoints: bool = False


def _slot(cores: int, memory_gib: int, gpus: int = 0) -> Resources:
    return Resources(millicores=cores * 1_000, memory_mib=memory_gib * _GIB, gpus=gpus)


CLASSES = (
    NodeClass("blade", 210, _slot(16, 64), {"frame": 1.0, "comp": 1.2, "gpu-frame": 1.0}),
    NodeClass("dense", 40, _slot(32, 128), {"frame": 1.3, "comp": 0.9, "simulate": 0.9}),
    NodeClass("gpu", 40, _slot(8, 96, 2), {"frame": 0.9, "comp": 1.0}),
    NodeClass("large", 10, _slot(32, 512), {"frame": 0.8, "comp": 0.8, "simulate": 1.3}),
)
KINDS = (
    Kind("frame", Requirement(_slot(16, 28)), 7_200, 0.5),
    Kind("comp", Requirement(_slot(8, 24)), 1_500, 0.5),
    Kind("simulate", Requirement(_slot(32, 100)), 9_000, 0.4),
    Kind("gpu-frame", Requirement(_slot(4, 24, 1)), 3_600, 0.5),
    Kind("heavy", Requirement(_slot(16, 240)), 5_400, 0.3),
)
_LARGE = ("simulate", "heavy")
MOST_LARGE = 8
"""Jobs of tasks that few nodes can hold have no more tasks than this."""
_WEIGHTS = {"frame": 65, "comp": 12, "simulate": 6, "gpu-frame": 13, "heavy": 4}
CLIENTS = (
    Habits("film", Shares(30, 60, "gold"), 220, ((0.4, 0.7), (1.5, 2.0))),
    Habits("series", Shares(25, 100, "gold", lend=False), 180, ((0.7, 1.0), (2.0, 3.0))),
    Habits("advert", Shares(20, 80, "standard", borrow=False), 140, ((0.5, 0.9), (1.5, 2.5))),
    Habits("research", Shares(10, 100, "standard"), 340, ((0.0, 0.2),)),
    Habits("guests", Shares(0, 40, "rest", borrow_percent=40), 120, ((0.0, 0.3), (1.0, 3.0))),
)
CRITICAL, MOST_CRITICAL = 4, 8
"""Critical jobs, which come late and are wanted soon, and how many tasks they have at most."""
LOW, PROTECTED = 0.15, 0.05
CHECKPOINTING = 0.5
WITH_DEADLINE = 0.5


class SharesDay(NamedTuple):
    """A seed's farm and jobs."""

    seed: int
    farm: SyntheticFarm
    terms: Mapping[JobId, Terms]
    feasible: Feasible

    @classmethod
    def of(cls, seed: int, tasks: int = 1_000, nodes: float = 1.0) -> "SharesDay":
        """Draws it; `nodes` is the part of the nodes that the farm has."""
        draw = _Draw(seed, tasks, nodes)
        farm = SyntheticFarm(draw.classes, draw.owners, draw.jobs)
        return cls(seed, farm, draw.terms, feasible(farm))

    def opening(self) -> Iterator[Command]:
        """Registers clients and nodes."""
        for each in CLIENTS:
            yield RegisterClient(client_id=each.client_id, shares=each.shares)
        for node in self.farm.nodes:
            yield RegisterNode(node_id=node.node_id, capacity=node.capacity, attributes=node.attributes)
            yield BringOnline(node_id=node.node_id)

    def arrivals(self) -> Iterator[Arrival]:
        """The submissions by time."""
        for job in self.farm.jobs:
            yield Arrival(job.submit_s * 1_000, (SubmitJob(spec=self.spec(job)),))

    def spec(self, job: SyntheticJob) -> JobSpec:
        """What its owner submits."""
        terms = self.terms[job.job_id]
        return replace(job.spec(), priority=terms.priority, protection=terms.protection, checkpoints=terms.checkpoints)

    def saves_every_ms(self) -> dict[JobId, int]:
        """The jobs that save their state now and then."""
        found = [key for key, terms in self.terms.items() if terms.protection and terms.protection.after_checkpoint]
        return dict.fromkeys(found, SAVES_EVERY_S * 1_000)


class _Draw:
    """One seed."""

    def __init__(self, seed: int, tasks: int, nodes: float) -> None:
        self._rng, self._tasks = Random(f"shares {seed}"), tasks
        self.classes = tuple(replace(each, count=max(1, round(each.count * nodes))) for each in CLASSES)
        self.owners = tuple(Owner(each.client_id, each.shares.guarantee_percent, WITH_DEADLINE) for each in CLIENTS)

    @cached_property
    def jobs(self) -> tuple[SyntheticJob, ...]:
        """By submission, together as many tasks as were asked for."""
        whole = sum(each.tasks for each in CLIENTS)
        drawn = [job for each in CLIENTS for job in self._of_client(each, round(self._tasks * each.tasks / whole))]
        drawn.sort(key=lambda job: job.submit_s)
        named = [replace(job, job_id=f"job-{number:03d}") for number, job in enumerate(drawn, 1)]
        return tuple(self._soon(job) if job.job_id in _critical(named) else job for job in named)

    @cached_property
    def terms(self) -> dict[JobId, Terms]:
        """Who is critical, who can save his state, and who may not be interrupted."""
        rng, critical = self._rng, _critical(self.jobs)
        found = {}
        for job in self.jobs:
            usual = Priority.LOW if rng.random() < LOW else Priority.MEDIUM
            priority = Priority.CRITICAL if job.job_id in critical else usual
            found[job.job_id] = Terms(priority, None, rng.random() < CHECKPOINTING)
        self._protect(found)
        return found

    def _protect(self, found: dict[JobId, Terms]) -> None:
        """One job in twenty, never, until a time, and after a checkpoint by turns."""
        able = [job for job in self.jobs if found[job.job_id].priority is not Priority.CRITICAL]
        chosen = self._rng.sample(able, max(3, math.ceil(PROTECTED * len(self.jobs))))
        for nth, job in enumerate(chosen):
            until_ms = (job.submit_s + self._rng.randint(1, 3) * HOUR_S) * 1_000
            contracts = Protection(never=True), Protection(until_ms=until_ms), Protection(after_checkpoint=True)
            contract = contracts[nth % 3]
            known = found[job.job_id]
            saves = known.checkpoints or contract.after_checkpoint
            found[job.job_id] = known._replace(protection=contract, checkpoints=saves)

    # -- jobs ----------------------------------------------------------------------------------------------------

    def _soon(self, job: SyntheticJob) -> SyntheticJob:
        """The same, wanted a quarter to half an hour after its walltime."""
        return replace(job, deadline_s=job.submit_s + job.walltime_s + self._rng.randint(900, 1_800))

    def _of_client(self, habits: Habits, tasks: int) -> Iterator[SyntheticJob]:
        """Jobs of a few to 60 tasks each until there are enough; each burst gets as many."""
        bursts = habits.bursts_h
        for nth, burst in enumerate(bursts):
            left = tasks * (nth + 1) // len(bursts) - tasks * nth // len(bursts)
            while left:
                count = min(left, round(math.exp(self._rng.uniform(math.log(2), math.log(60)))))
                yield self._job(habits, count, burst)
                left -= count

    def _job(self, habits: Habits, count: int, burst_h: tuple[float, float]) -> SyntheticJob:
        rng = self._rng
        kind = rng.choices(KINDS, [_WEIGHTS[each.name] for each in KINDS])[0]
        if kind.name in _LARGE and count > MOST_LARGE:
            kind = KINDS[0]
        scene = rng.lognormvariate(0, kind.sigma / 2)
        task_s = tuple(self._task_s(kind, scene) for _ in range(count))
        submit_s = round(rng.uniform(*burst_h) * HOUR_S)
        due = rng.random() < WITH_DEADLINE
        lead_s = max(HOUR_S, rng.uniform(*LEAD) * self._believed_s(kind, count, habits))
        return SyntheticJob(
            "",
            submit_s,
            habits.client_id,
            kind.name,
            kind.requirement,
            task_s,
            self._walltime_s(kind, max(task_s)),
            math.ceil((submit_s + lead_s) / _QUARTER_S) * _QUARTER_S if due else None,
        )

    def _task_s(self, kind: Kind, scene: float) -> float:
        return min(kind.median_s * LONGEST, kind.median_s * scene * self._rng.lognormvariate(0, kind.sigma))

    def _walltime_s(self, kind: Kind, longest_s: float) -> int:
        """Enough on the slowest class, times 1.1 to 2, in quarters of an hour."""
        slowest = min(each.speed_of(kind.name) for each in CLASSES if each.capacity.fits(kind.requirement.resources))
        return math.ceil(longest_s / slowest * self._rng.uniform(1.1, 2.0) / _QUARTER_S) * _QUARTER_S

    def _believed_s(self, kind: Kind, count: int, habits: Habits) -> float:
        """What an owner thinks a job takes on the guaranteed share: a long task, and the rest one after another."""
        percent = max(10, habits.shares.guarantee_percent)
        resources = kind.requirement.resources
        places = sum(each.count * (each.capacity.count_of(resources) or 0) for each in self.classes)
        at_once = max(1.0, places * percent / 100)
        return kind.median_s * math.exp(1.645 * kind.sigma) + count * kind.median_s / at_once


def _critical(jobs: Sequence[SyntheticJob]) -> frozenset[JobId]:
    """The last few small jobs of clients that have a guarantee."""
    small = [job for job in jobs if len(job.task_s) <= MOST_CRITICAL and job.client_id != CLIENTS[-1].client_id]
    return frozenset(job.job_id for job in small[-CRITICAL:])
