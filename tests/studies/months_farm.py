"""The farm of the study `months`: 500 nodes, windows of maintenance, gangs that run for a month, and short jobs.

400 nodes in 16 racks, the zone `rolling`, have a window of maintenance of four to six hours every week or every other
week, the racks on different days. 100 nodes in 4 racks, the zone `steady`, have none: whoever may not be sent away runs
there. Everything is drawn from a seed; amounts are invented, and stand here.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import count
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from application.simulation.engine import Arrival
from application.simulation.farms import Outage, node_changes
from application.simulation.synthetic_farm import NodeClass, SyntheticFarm, outages
from domain.client import RegisterClient
from domain.job.commands import SubmitJob
from domain.job.values import JobSpec, Priority, Protection, Work
from domain.messages import Command, JobId, NodeId
from domain.node import BringOnline, RegisterNode
from domain.partition import DefinePartition, Terms
from domain.reservation import MAINTENANCE, Capacity, MakeReservation, Repetition
from domain.resources import AttributeNeed, Requirement, Resources
from domain.time_range import TimeRange

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
ROLLING, STEADY = "rolling", "steady"
NODE = Resources(32_000, 131_072)
FOR_A_GANG, FOR_OTHERS = Resources(32_000, 65_536), Resources(32_000, 32_768)
"""All cores of a node, and half or a quarter of its memory."""
SAVES_EVERY_MS, SAVING_MS, RESTORE_MS = 6 * HOUR_MS, 180_000, 300_000
"""A month-long job saves its state every six hours, which takes three minutes; to go on from it takes five."""
REPAIR_S, MTBF_S = 4 * 3_600, 200 * 86_400
"""Each node fails every 200 days on average, repairs take four hours in the median."""
SIZES = (2, 4, 8, 12, 16, 24, 24, 32, 32, 32)
"""Nodes of a gang, each as likely."""
_WORK = Work(argv=("simulated",))


class Scale(NamedTuple):
    """How much of everything."""

    racks: int = 16
    """Of them in the zone `rolling`."""
    steady_racks: int = 4
    rack: int = 25
    """Nodes of one rack."""
    gangs: int = 100
    """Month-long jobs, one in five in the zone `steady`."""
    arrive_days: int = 90
    """Over so many days they come."""
    walltime_days: tuple[int, int] = (20, 40)
    interactive: float = 30.0
    """Per day."""
    urgent: float = 3.0
    batch: float = 24.0
    most_days: int = 240
    """Nothing is looked at after so many days."""


FULL = Scale()
SMALL = Scale(4, 1, 10, 12, 6, (4, 6), 12.0, 2.0, 8.0, 60)
"""A few racks and a few days, for tests."""


class Gang(NamedTuple):
    """A month-long job."""

    spec: JobSpec
    submit_ms: int
    work_ms: int
    """How long it runs if nothing disturbs it and nothing is saved."""


class Short(NamedTuple):
    """A job of minutes or hours."""

    spec: JobSpec
    submit_ms: int
    run_ms: int


class MonthsFarm:
    """One seed."""

    def __init__(self, seed: int, scale: Scale = FULL) -> None:
        self.seed, self.scale = seed, scale

    # -- nodes ---------------------------------------------------------------------------------------------------

    @cached_property
    def racks(self) -> dict[str, list[NodeId]]:
        """The nodes of each rack; those of the zone `steady` come last."""
        names = [f"r{number:02d}" for number in range(1, self.scale.racks + self.scale.steady_racks + 1)]
        return {name: [f"{name}-{number:02d}" for number in range(1, self.scale.rack + 1)] for name in names}

    @cached_property
    def zone_of(self) -> dict[NodeId, str]:
        """The zone of every node."""
        rolling = list(self.racks)[: self.scale.racks]
        return {
            node_id: ROLLING if name in rolling else STEADY for name, nodes in self.racks.items() for node_id in nodes
        }

    def opening(self) -> Iterator[Command]:
        """Registers everything but the windows."""
        yield RegisterClient(client_id="science")
        yield RegisterClient(client_id="desk")
        for node_id, zone in self.zone_of.items():
            yield RegisterNode(node_id=node_id, capacity=NODE, attributes={"class": (zone,), "zone": (zone,)})
            yield BringOnline(node_id=node_id)
        for zone in (ROLLING, STEADY):
            yield DefinePartition(partition=zone, terms=Terms(attributes=(AttributeNeed("zone", any_of=(zone,)),)))

    def windows(self) -> Iterator[MakeReservation]:
        """One that repeats for every rack of the zone `rolling`, none without a week's notice."""
        rng = Random(f"windows {self.seed}")
        for nth, name in enumerate(list(self.racks)[: self.scale.racks]):
            weeks = 2 if nth % 2 else 1
            start_ms = (7 + nth % (7 * weeks)) * DAY_MS + rng.randint(6, 14) * HOUR_MS
            yield MakeReservation(
                reservation_id=f"resv-{name}",
                owner=MAINTENANCE,
                window=TimeRange(start_ms, start_ms + rng.randint(4, 6) * HOUR_MS),
                asked=Capacity(nodes=tuple(self.racks[name])),
                repeat=Repetition(every_ms=weeks * 7 * DAY_MS),
            )

    # -- work ----------------------------------------------------------------------------------------------------

    @cached_property
    def gangs(self) -> dict[JobId, Gang]:
        """The month-long jobs, by submission."""
        rng = Random(f"gangs {self.seed}")
        times = sorted(rng.randrange(self.scale.arrive_days * DAY_MS) for _ in range(self.scale.gangs))
        drawn = [self._gang(f"job-month-{number:03d}", at_ms, rng) for number, at_ms in enumerate(times, 1)]
        return {each.spec.job_id: each for each in drawn}

    def _gang(self, job_id: JobId, submit_ms: int, rng: Random) -> Gang:
        zone = STEADY if rng.random() < 0.2 else ROLLING
        most = self.scale.rack * (self.scale.steady_racks if zone == STEADY else self.scale.racks)
        walltime_ms = rng.randint(*self.scale.walltime_days) * DAY_MS
        contract = _contract_in(zone, submit_ms, rng)
        nodes = min(rng.choice(SIZES), most // 2)
        spec = _spec(
            job_id, "science", Requirement(FOR_A_GANG, nodes, distinct_nodes=True, partition=zone), walltime_ms
        )
        spec = replace(spec, protection=contract, checkpoints=True, grace_ms=300_000)
        return Gang(spec, submit_ms, round(walltime_ms * rng.uniform(0.6, 0.95)))

    @cached_property
    def shorts(self) -> dict[JobId, Short]:
        """Interactive, urgent and batch jobs all the time, by submission."""
        rng = Random(f"shorts {self.seed}")
        scale, drawn = self.scale, list[Short]()
        for kind, per_day in (("desk", scale.interactive), ("urgent", scale.urgent), ("batch", scale.batch)):
            at_ms = 0.0
            for number in count(1):
                at_ms += rng.expovariate(per_day / DAY_MS)
                if at_ms > scale.most_days * DAY_MS:
                    break
                drawn.append(_short(kind, f"job-{kind}-{number:05d}", round(at_ms), rng))
        drawn.sort(key=lambda each: each.submit_ms)
        return {each.spec.job_id: each for each in drawn}

    def arrivals(self) -> Iterator[Arrival]:
        """Submissions, and nodes that fail and come back, by time."""
        jobs: list[Gang | Short] = [*self.gangs.values(), *self.shorts.values()]
        jobs.sort(key=lambda each: each.submit_ms)
        coming = (Arrival(each.submit_ms, (SubmitJob(spec=each.spec),)) for each in jobs)
        yield from heapq.merge(node_changes(self._outages(), 0), coming, key=lambda arrival: arrival.at_ms)

    def _outages(self) -> Sequence[Outage]:
        classes = tuple(NodeClass(name, len(nodes), NODE, {}) for name, nodes in self.racks.items())
        farm = SyntheticFarm(classes, (), ())
        return outages(farm, self.seed, MTBF_S, REPAIR_S, self.scale.most_days * 86_400)


def _contract_in(zone: str, submit_ms: int, rng: Random) -> Protection | None:
    """Who may be sent away for a window has no contract, or one that lets urgent work interrupt it at any time."""
    if zone == ROLLING:
        return rng.choice((None, Protection()))
    until_ms = submit_ms + rng.randint(5, 20) * DAY_MS
    never, saved, until = Protection(never=True), Protection(after_checkpoint=True), Protection(until_ms=until_ms)
    return rng.choice((never, never, saved, until))


def _short(kind: str, job_id: JobId, submit_ms: int, rng: Random) -> Short:
    """An interactive session, an urgent job on a few nodes, or a batch job of hours that anybody may interrupt."""
    if kind == "desk":
        need, run_ms, priority = Requirement(Resources(8_000, 16_384)), rng.uniform(5, 60) * 60_000, Priority.HIGH
    else:
        urgent = kind == "urgent"
        need = Requirement(FOR_OTHERS, rng.choice((1, 1, 2, 4)), distinct_nodes=True)
        run_ms = rng.uniform(0.3, 2) * HOUR_MS if urgent else rng.uniform(1, 8) * HOUR_MS
        priority = Priority.CRITICAL if urgent else Priority.LOW
    walltime_ms = math.ceil(run_ms * rng.uniform(1.1, 2) / 900_000) * 900_000
    spec = _spec(job_id, "desk", need, walltime_ms)
    spec = replace(spec, priority=priority, checkpoints=kind == "batch" and rng.random() < 0.5)
    return Short(spec, submit_ms, round(run_ms))


def _spec(job_id: JobId, client_id: str, need: Requirement, walltime_ms: int) -> JobSpec:
    return JobSpec(job_id, job_id, client_id, _WORK, need, walltime_ms=walltime_ms)
