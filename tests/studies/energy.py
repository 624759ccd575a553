"""What energy modes save, and whether they cost deadlines: the same days under every mode, only the mode differs.

Three days of a studio that works from morning to evening: 26 nodes (20 with 32 cores that draw 180 to 420 W and take
150 s to come up, 6 with four GPUs as well that draw 350 to 1,600 W and take 200 s), 50 to 70 jobs a day, submitted
around one o'clock in the afternoon, run times lognormal, walltimes up to twice as long as needed. Seven of ten jobs
have a deadline: so many hours after the time they would take on an empty farm. One in ten is urgent.
"""

import statistics
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from adapters.store.objects import ObjectLog
from application.app import Application
from application.commands import AdoptPolicies
from application.simulation.clock import CountedIds, VirtualClock
from application.simulation.energy import JOULES_PER_KWH, EnergyMeter
from application.simulation.engine import ACTOR, Arrival, Simulator
from domain.client import RegisterClient
from domain.job import events as e
from domain.job.commands import SubmitJob
from domain.job.values import Attempt, AttemptNumber, FailureClass, Job, JobSpec, Priority, Work
from domain.messages import Command, JobId, Recorded
from domain.node import Attributes, BringOnline, NodeStopping, RegisterNode
from domain.policies import Policies
from domain.resources import Requirement, Resources
from domain.tariff import PriceWindow, Tariff
from tests.application.referee import Referee

HOUR_S, DAY_S = 3_600, 86_400
DAYS, MEASURED_DAYS = 3, 5
"""Days on which jobs arrive, and the days for which power is counted."""
TARIFF = Tariff(0.10, (PriceWindow(8 * 60, 20 * 60, 0.24),))
MODES = ("performance", "balanced", "efficiency", "night-savings")
TARGET = 0.15
"""Less cost than in performance mode."""
_CPU: Attributes = {"watts_idle": ("180",), "watts_peak": ("420",), "wake_s": ("150",)}
_GPU: Attributes = {"watts_idle": ("350",), "watts_peak": ("1600",), "wake_s": ("200",)}
NODES = tuple(
    [(f"cpu-{n:02d}", Resources(32_000, 131_072), _CPU) for n in range(20)]
    + [(f"gpu-{n:02d}", Resources(32_000, 131_072, 4), _GPU) for n in range(6)]
)


class Drawn(NamedTuple):
    """One job."""

    submit_s: int
    run_s: int
    spec: JobSpec


class Outcome(msgspec.Struct, frozen=True):
    """What one mode made of three days."""

    seed: int
    mode: str
    kwh: float
    cost: float
    completed: int
    jobs: int
    met: tuple[JobId, ...]
    """Jobs that ended by their deadlines."""
    deadlines: int
    powered_down: int


def days(seed: int) -> list[Drawn]:
    """The jobs of three days, by time."""
    rng = Random(f"energy {seed}")
    drawn = []
    for day in range(DAYS):
        for _ in range(rng.randint(50, 70)):
            submit_s = day * DAY_S + int(min(max(rng.gauss(13, 3), 0), 23.5) * HOUR_S)
            drawn.append((submit_s, rng.random(), rng.random(), rng.random()))
    return [_job(number, *each, rng) for number, each in enumerate(sorted(drawn))]


def _job(number: int, submit_s: int, kind: float, due: float, urgent: float, rng: Random) -> Drawn:
    gpu = kind < 0.25
    run_s = max(60, int(rng.lognormvariate(7.6, 0.8)))
    tasks, millicores = int(2 ** rng.uniform(0, 5.3)), rng.choice([4_000, 8_000, 16_000])
    walltime_s = int(run_s * rng.uniform(1.1, 2.0)) // 60 * 60 + 60
    places = 6 * min(4, 32_000 // millicores) if gpu else 20 * (32_000 // millicores)
    lead_s = -(-tasks // places) * walltime_s + rng.choice([2, 4, 8, 16, 24, 36]) * HOUR_S
    job_id = f"job-{number:04d}"
    spec = JobSpec(
        job_id=job_id,
        name=job_id,
        client_id="studio",
        work=Work(argv=("simulated",)),
        requirement=Requirement(Resources(millicores, 8_192, gpus=int(gpu))),
        tasks="0" if tasks == 1 else f"0-{tasks - 1}",
        priority=Priority.HIGH if urgent < 0.1 else Priority.MEDIUM,
        walltime_ms=walltime_s * 1_000,
        deadline_ms=(submit_s + lead_s) * 1_000 if due < 0.7 else None,
    )
    return Drawn(submit_s, run_s, spec)


class EnergyRun:
    """Three days under one mode, watched by a referee."""

    def __init__(self, seed: int, mode: str) -> None:
        self.seed, self.mode, self.jobs = seed, mode, days(seed)
        self.run_s = {job.spec.job_id: job.run_s for job in self.jobs}
        clock = VirtualClock()
        self.app = Application(ObjectLog(), clock, CountedIds())
        self.meter, self.ended, self.stops = EnergyMeter(self.app, TARIFF), dict[JobId, int](), 0
        for listener in (Referee().watch, self.meter.see, self._saw):
            self.app.listen(listener)
        self.app.handle_all((*self._opening(), AdoptPolicies(policies=policies(mode))), ACTOR)
        Simulator(self.app, clock, self).run(self._arrivals())
        self.meter.settle(max(clock.now_ms(), MEASURED_DAYS * DAY_S * 1_000))

    def run_of(self, job: Job, attempt: Attempt, number: AttemptNumber) -> tuple[int, FailureClass | None]:
        """See `engine.Behaviour`."""
        return self.run_s[job.spec.job_id] * 1_000, None

    def _opening(self) -> Iterator[Command]:
        yield RegisterClient(client_id="studio")
        for node_id, capacity, attributes in NODES:
            yield RegisterNode(node_id=node_id, capacity=capacity, attributes=attributes)
            yield BringOnline(node_id=node_id)

    def _arrivals(self) -> Iterator[Arrival]:
        for job in self.jobs:
            yield Arrival(job.submit_s * 1_000, (SubmitJob(spec=job.spec),))

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            if isinstance(each.event, e.JobCompleted):
                self.ended[each.event.job_id] = each.event.at_ms
            elif isinstance(each.event, NodeStopping):
                self.stops += 1

    def outcome(self) -> Outcome:
        """What came of it."""
        due = {job.spec.job_id: job.spec.deadline_ms for job in self.jobs if job.spec.deadline_ms is not None}
        met = tuple(job_id for job_id, due_ms in due.items() if self.ended.get(job_id, due_ms + 1) <= due_ms)
        kwh, cost = self.meter.joules / JOULES_PER_KWH, self.meter.cost
        return Outcome(self.seed, self.mode, kwh, cost, len(self.ended), len(self.jobs), met, len(due), self.stops)


def policies(mode: str) -> Policies:
    """The earliest deadline first, under an energy mode with its own defaults."""
    return Policies(order="edf", energy=mode, tariff=TARIFF)


def study(seeds: Sequence[int], modes: Sequence[str] = MODES) -> list[Outcome]:
    """Every seed under every mode."""
    return [EnergyRun(seed, mode).outcome() for seed in seeds for mode in modes]


def table(outcomes: Sequence[Outcome]) -> str:
    """One row per mode: the median over the seeds, and the worst."""
    usual = {each.seed: each for each in outcomes if each.mode == "performance"}
    lines = [
        "| mode | energy: median (worst) | cost: median (worst) | cost saved: median (worst) "
        "| deadlines met | missed that performance meets: median (worst) | powered down |",
        "|---|---|---|---|---|---|---|",
    ]
    for mode in dict.fromkeys(each.mode for each in outcomes):
        own = [each for each in outcomes if each.mode == mode]
        saved = [1 - each.cost / usual[each.seed].cost for each in own]
        missed = [len(set(usual[each.seed].met) - set(each.met)) for each in own]
        on_time = [len(each.met) / each.deadlines for each in own]
        lines.append(
            f"| {mode} | {_both([each.kwh for each in own], '{:.0f} kWh', max)} "
            f"| {_both([each.cost for each in own], '{:.0f}', max)} | {_both(saved, '{:.1%}', min)} "
            f"| {_both(on_time, '{:.1%}', min)} | {_both(missed, '{:.0f}', max)} "
            f"| {statistics.median([each.powered_down for each in own]):.0f} |"
        )
    return "\n".join(lines)


def _both(values: Sequence[float], shown: str, worst: object) -> str:
    pick = worst(values) if callable(worst) else values[0]
    return f"{shown.format(statistics.median(values))} ({shown.format(pick)})"


def missed(outcomes: Sequence[Outcome]) -> list[str]:
    """The seeds on which night savings saved less than the target, or missed a deadline that performance met."""
    usual = {each.seed: each for each in outcomes if each.mode == "performance"}
    found = []
    for each in outcomes:
        if each.mode == "night-savings":
            base = usual[each.seed]
            late = sorted(set(base.met) - set(each.met))
            if each.cost > (1 - TARGET) * base.cost:
                found.append(f"seed {each.seed}: saved {1 - each.cost / base.cost:.1%}")
            if late:
                found.append(f"seed {each.seed}: missed {', '.join(late)}")
    return found
