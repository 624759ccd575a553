"""Invented farms and a working day on them, the same for the same seed.

A farm of a few classes of nodes, of which each suits some kinds of work: a task of a kind runs faster or slower by the
speed that its class has for that kind, so there is something to learn. Clients submit jobs of many tasks; run times are
heavy tailed, walltimes are asked for generously, and some jobs have deadlines. Amounts, speeds and shares are invented
and stand in `STUDIO`; what follows measurements says so:

- run times: lognormal within a kind, as frames of a shot are alike and a few are not;
- walltimes: times as long as needed, rounded up to what people type (Cirne & Berman, HPCS 2001);
- failures: gaps after Weibull with shape 0.7, repairs lognormal (Schroeder & Gibson, DSN 2006, on data of LANL).
"""

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import accumulate
from random import Random

from application.simulation.engine import Arrival
from application.simulation.farms import Outage, SimulatedNode
from application.simulation.standing import rest_ms
from domain.client import RegisterClient, Shares
from domain.indices.performance import CLASS_ATTRIBUTE
from domain.job.commands import SubmitJob
from domain.job.values import Attempt, AttemptNumber, FailureClass, Job, JobSpec, Priority, Work
from domain.messages import ClientId, Command, JobId, NodeId, Value
from domain.node import BringOnline, RegisterNode
from domain.resources import RESOURCE_NAMES, Requirement, Resources

HOUR_S = 3_600
GIB = 1_024
"""MiB."""
_WORK = Work(argv=("simulated",))
_WALLTIMES_S = (900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400, 172_800)
"""What people type."""
_QUARTER_S = 900
_SHAPE_OF_GAPS = 0.7
_SIGMA_OF_REPAIRS = 1.0


class NodeClass(Value, frozen=True):
    """Nodes that are alike."""

    name: str
    count: int
    capacity: Resources
    speeds: dict[str, float]
    """By kind of work: how many times as fast as nominal. Kinds that are missing run at nominal speed."""

    def speed_of(self, kind: str) -> float:
        """How many times as fast as nominal a kind runs here."""
        return self.speeds.get(kind, 1.0)


class WorkKind(Value, frozen=True):
    """Tasks that are alike."""

    name: str
    requirement: Requirement
    median_s: float
    """Of the nominal run time of a task."""
    sigma: float
    """Of its natural logarithm: 0 for tasks that all run equally long."""
    share: float
    """How much of the farm's `scarce` resource this kind would fill at a load of 1, each task where it is fastest."""
    most_tasks: int
    """A job has between one and so many, small jobs as likely as large ones (uniform in the logarithm)."""
    scarce: str = "millicores"
    """The resource that is counted for `share`."""


class Owner(Value, frozen=True):
    """A client and its habits."""

    client_id: ClientId
    guarantee_percent: int
    """Of the farm; also how much of the jobs are its own."""
    with_deadline: float
    """The share of its jobs that have a deadline."""


class FarmModel(Value, frozen=True):
    """What a generator draws from."""

    classes: tuple[NodeClass, ...]
    kinds: tuple[WorkKind, ...]
    owners: tuple[Owner, ...]
    hourly: tuple[float, ...]
    """How many jobs arrive in each hour from the first submission on, in proportion."""
    speed_sigma: float = 0.1
    """Of the natural logarithm of a factor drawn for every speed and seed, so that no two farms are alike."""
    lead: tuple[float, float] = (1.5, 4.0)
    """A deadline leaves between so many times what its owner thinks the job takes on the guaranteed share."""
    least_lead_s: int = 2 * HOUR_S
    """Nobody asks for results any sooner."""
    longest: float = 6.0
    """No task takes longer than so many medians."""

    def capacity_of(self, resource: str) -> int:
        """Of all nodes."""
        return sum(each.count * amount_of(each.capacity, resource) for each in self.classes)


class SyntheticJob(Value, frozen=True):
    """A job as it was drawn; its tasks are numbered from 0."""

    job_id: JobId
    submit_s: int
    client_id: ClientId
    kind: str
    requirement: Requirement
    task_s: tuple[float, ...]
    """Nominal run time of every task."""
    walltime_s: int
    deadline_s: int | None = None

    def spec(self, start_ms: int = 0) -> JobSpec:
        """What its owner submits; `start_ms` is second 0."""
        deadline_s, last = self.deadline_s, len(self.task_s) - 1
        return JobSpec(
            job_id=self.job_id,
            name=self.job_id,
            client_id=self.client_id,
            work=_WORK,
            requirement=self.requirement,
            tasks=f"0-{last}" if last else "0",
            priority=Priority.MEDIUM,
            walltime_ms=self.walltime_s * 1_000,
            deadline_ms=None if deadline_s is None else start_ms + deadline_s * 1_000,
            kind=self.kind,
        )


class SyntheticFarm(Value, frozen=True, dict=True, gc=True):
    """A farm, the work of a day, and how long everything takes: also the `Behaviour` of a simulation of it."""

    classes: tuple[NodeClass, ...]
    owners: tuple[Owner, ...]
    jobs: tuple[SyntheticJob, ...]
    """By submission."""

    @cached_property
    def nodes(self) -> tuple[SimulatedNode, ...]:
        """Nodes `CLASS-01`, `CLASS-02` …, the classes taking turns, as a farm grows over the years."""
        numbered = [(number, each) for each in self.classes for number in range(1, each.count + 1)]
        numbered.sort(key=lambda pair: pair[0])
        return tuple(
            SimulatedNode(f"{each.name}-{number:02d}", each.capacity, {CLASS_ATTRIBUTE: (each.name,)})
            for number, each in numbered
        )

    @cached_property
    def class_of(self) -> Mapping[NodeId, NodeClass]:
        """The class of every node."""
        named = {each.name: each for each in self.classes}
        return {node.node_id: named[node.attributes[CLASS_ATTRIBUTE][0]] for node in self.nodes}

    @cached_property
    def by_id(self) -> Mapping[JobId, SyntheticJob]:
        """The jobs."""
        return {job.job_id: job for job in self.jobs}

    def opening(self) -> tuple[Command, ...]:
        """Registers clients and nodes."""
        commands: list[Command] = [
            RegisterClient(client_id=each.client_id, shares=Shares(guarantee_percent=each.guarantee_percent))
            for each in self.owners
        ]
        for node in self.nodes:
            commands.append(RegisterNode(node_id=node.node_id, capacity=node.capacity, attributes=node.attributes))
            commands.append(BringOnline(node_id=node.node_id))
        return tuple(commands)

    def arrivals(self, start_ms: int = 0) -> Iterator[Arrival]:
        """The submissions by time."""
        for job in self.jobs:
            yield Arrival(start_ms + job.submit_s * 1_000, (SubmitJob(spec=job.spec(start_ms)),))

    def run_ms(self, job: SyntheticJob, task: int, name: NodeClass) -> int:
        """How long a task runs on a class of nodes: at least a millisecond."""
        return max(1, round(job.task_s[task] * 1_000 / name.speed_of(job.kind)))

    def run_of(self, job: Job, attempt: Attempt, number: AttemptNumber) -> tuple[int, FailureClass | None]:
        """See `engine.Behaviour`: a gang is as slow as its slowest node; nothing fails by itself.

        What a checkpoint stands for is counted as run time wherever it was saved.
        """
        drawn, classes = self.by_id[job.spec.job_id], {self.class_of[node_id].name for node_id, _ in attempt.nodes}
        run_ms = max(self.run_ms(drawn, attempt.task, each) for each in self.classes if each.name in classes)
        return rest_ms(job, attempt.task, run_ms), None

    def fastest_ms(self, job: SyntheticJob, task: int) -> int:
        """How long a task runs on the fastest class that can hold one slot of it; ValueError if none can."""
        need = job.requirement.resources
        return min(self.run_ms(job, task, each) for each in self.classes if each.capacity.fits(need))


def generate(model: FarmModel, seed: int, load: float = 1.0) -> SyntheticFarm:
    """Draws a farm and its day; at a load of 1 the shares of the model fill the capacity for as long as jobs arrive."""
    rng = Random(f"farm {seed}")
    classes = tuple(_varied(each, model, rng) for each in model.classes)
    drawn = [job for kind in model.kinds for job in _jobs_of(kind, classes, model, load, rng)]
    drawn.sort(key=lambda job: job.submit_s)
    digits = len(str(len(drawn)))
    jobs = [_renamed(job, f"job-{number:0{digits}d}") for number, job in enumerate(drawn, 1)]
    return SyntheticFarm(classes, model.owners, tuple(jobs))


def outages(farm: SyntheticFarm, seed: int, mtbf_s: float, repair_s: float, until_s: int) -> list[Outage]:
    """When nodes are down: `mtbf_s` from a node's return to its next failure on average, repairs of that median."""
    rng = Random(f"outages {seed}")
    scale_s = mtbf_s / math.gamma(1 + 1 / _SHAPE_OF_GAPS)
    found = []
    for node in farm.nodes:
        at_s = rng.weibullvariate(scale_s, _SHAPE_OF_GAPS)
        while at_s < until_s:
            up_s = at_s + max(1.0, rng.lognormvariate(math.log(repair_s), _SIGMA_OF_REPAIRS))
            found.append(Outage(node.node_id, int(at_s), int(up_s) + 1, "synthetic"))
            at_s = up_s + 1 + rng.weibullvariate(scale_s, _SHAPE_OF_GAPS)
    return sorted(found, key=lambda outage: (outage.down_s, outage.node_id))


def amount_of(resources: Resources, name: str) -> int:
    """How much of one of the kinds of resource that have a field of their own, such as `millicores`."""
    return resources.amounts()[RESOURCE_NAMES.index(name)]


# -- one draw ----------------------------------------------------------------------------------------------------------


def _varied(each: NodeClass, model: FarmModel, rng: Random) -> NodeClass:
    """The same class on another farm: other disks, other scenes, other speeds."""
    speeds = {kind.name: each.speed_of(kind.name) * _around(model.speed_sigma, rng) for kind in model.kinds}
    return NodeClass(each.name, each.count, each.capacity, speeds)


def _around(sigma: float, rng: Random) -> float:
    return rng.lognormvariate(0, sigma)


def _jobs_of(
    kind: WorkKind, classes: tuple[NodeClass, ...], model: FarmModel, load: float, rng: Random
) -> Iterator[SyntheticJob]:
    """Jobs of one kind until they make up its share."""
    capacity = model.capacity_of(kind.scarce)
    amount = amount_of(kind.requirement.total(), kind.scarce)
    fastest = max(each.speed_of(kind.name) for each in classes if each.capacity.fits(kind.requirement.resources))
    left = kind.share * load * capacity * len(model.hourly) * HOUR_S
    while left > 0:
        job = _job(kind, classes, model, rng)
        left -= sum(job.task_s) / fastest * amount
        yield job


def _job(kind: WorkKind, classes: tuple[NodeClass, ...], model: FarmModel, rng: Random) -> SyntheticJob:
    count = round(math.exp(rng.uniform(0, math.log(kind.most_tasks)))) if kind.most_tasks > 1 else 1
    scene = _around(kind.sigma / 2, rng)
    tasks = tuple(_task_s(kind, model, scene, rng) for _ in range(count))
    owner = rng.choices(model.owners, [each.guarantee_percent for each in model.owners])[0]
    submit_s = _submit_s(model, rng)
    has_deadline = rng.random() < owner.with_deadline
    lead_s = max(model.least_lead_s, rng.uniform(*model.lead) * _believed_s(kind, count, owner, model))
    deadline_s = math.ceil((submit_s + lead_s) / _QUARTER_S) * _QUARTER_S if has_deadline else None
    walltime_s = _walltime_s(max(tasks), kind, classes, rng)
    return SyntheticJob("", submit_s, owner.client_id, kind.name, kind.requirement, tasks, walltime_s, deadline_s)


def _task_s(kind: WorkKind, model: FarmModel, scene: float, rng: Random) -> float:
    return min(kind.median_s * model.longest, kind.median_s * scene * _around(kind.sigma, rng))


def _submit_s(model: FarmModel, rng: Random) -> int:
    hour = rng.choices(range(len(model.hourly)), cum_weights=list(accumulate(model.hourly)))[0]
    return hour * HOUR_S + rng.randrange(HOUR_S)


def _believed_s(kind: WorkKind, count: int, owner: Owner, model: FarmModel) -> float:
    """What an owner thinks a job takes on the guaranteed share: a long task, and the rest of them one after another."""
    amount = amount_of(kind.requirement.total(), kind.scarce)
    share = model.capacity_of(kind.scarce) * owner.guarantee_percent / 100
    long_task_s = kind.median_s * math.exp(1.645 * kind.sigma)  # 95 % of tasks are shorter
    return long_task_s + count * kind.median_s * amount / max(share, amount)


def _walltime_s(longest_s: float, kind: WorkKind, classes: tuple[NodeClass, ...], rng: Random) -> int:
    """Enough for the longest task on the slowest class, and a margin, rounded up to what people type."""
    slowest = min(each.speed_of(kind.name) for each in classes if each.capacity.fits(kind.requirement.resources))
    wanted_s = longest_s / slowest * rng.uniform(1.1, 3.0)
    return next((each for each in _WALLTIMES_S if each >= wanted_s), math.ceil(wanted_s))


def _renamed(job: SyntheticJob, job_id: JobId) -> SyntheticJob:
    return SyntheticJob(
        job_id, job.submit_s, job.client_id, job.kind, job.requirement, job.task_s, job.walltime_s, job.deadline_s
    )


# -- a studio ----------------------------------------------------------------------------------------------------------


def _slot(cores: int, memory_gib: int, gpus: int = 0) -> Resources:
    return Resources(millicores=cores * 1_000, memory_mib=memory_gib * GIB, gpus=gpus)


STUDIO = FarmModel(
    classes=(
        NodeClass(
            "dense", 4, _slot(64, 256),
            {"render": 1.5, "comp": 0.7, "simulate": 0.6, "geometry": 0.7, "mpi": 0.9},
        ),
        NodeClass(
            "fast", 6, _slot(16, 128),
            {"render": 0.8, "comp": 1.8, "simulate": 0.9, "geometry": 1.0, "mpi": 1.2},
        ),
        NodeClass(
            "large", 3, _slot(32, 1_024),
            {"render": 0.7, "comp": 0.8, "simulate": 1.7, "geometry": 1.4, "mpi": 0.8},
        ),
        NodeClass(
            "gpu", 3, _slot(32, 256, 4),
            {"render": 0.8, "comp": 0.9, "simulate": 0.8, "geometry": 0.7, "mpi": 0.8},
        ),
    ),
    kinds=(
        WorkKind("render", Requirement(_slot(4, 14)), 1_500, 0.5, 0.50, 60),
        WorkKind("comp", Requirement(_slot(2, 6)), 600, 0.5, 0.18, 80),
        WorkKind("simulate", Requirement(_slot(8, 80)), 2_700, 0.6, 0.13, 12),
        WorkKind("geometry", Requirement(_slot(4, 200)), 1_200, 0.5, 0.03, 8),
        WorkKind("gpu-render", Requirement(_slot(2, 24, 1)), 900, 0.5, 0.65, 30, "gpus"),
        WorkKind("mpi", Requirement(_slot(8, 24), slots=3, distinct_nodes=True), 2_400, 0.4, 0.03, 1),
    ),
    owners=(
        Owner("film", 40, 0.45), Owner("series", 30, 0.40), Owner("advert", 20, 0.60), Owner("research", 10, 0.0),
    ),
    hourly=(2, 4, 5, 5, 3, 4, 5, 5, 6, 8, 3, 2),
)  # fmt: skip
"""A studio by day: work comes from morning to evening, most of it before people go home and leave it to the night."""
