"""A farm whose run times are off by chance: forecasts made and scored in virtual time, as a running farm does it.

Kinds of jobs with mean run times of their own, each run normally distributed about its mean; arrivals by chance, a few
nodes, some arrays, some dependencies; deadlines around what is likely, so that many jobs come out either way.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from adapters.store.memory import MemoryLog
from application.app import Application
from application.commands import AdoptPolicies
from application.forecasts import Forecasts
from application.simulation.clock import CountedIds, VirtualClock
from application.simulation.engine import Arrival, Simulator
from domain.client import RegisterClient
from domain.forecasting.promises import ForecastsMade, ForecastsScored, Score
from domain.job.commands import SubmitJob
from domain.job.values import Attempt, AttemptNumber, FailureClass, Job, JobStatus
from domain.messages import Command, JobId, Recorded
from domain.node import BringOnline, RegisterNode
from domain.policies import Policies
from tests.builders import HOUR, NOW, need, resources, spec

MINUTE = 60_000
NODES, CORES = 4, 8
KINDS = {"light": 4 * MINUTE, "fluid": 12 * MINUTE, "comp": 25 * MINUTE}
"""Mean run times."""
LEARNING = 24
"""So many jobs come first and have no deadline, so that something is known."""


class Played(NamedTuple):
    """What came of one farm."""

    log: list[Recorded]
    app: Application

    @property
    def scores(self) -> list[Score]:
        return [row for each in self.log if isinstance(each.event, ForecastsScored) for row in each.event.rows]

    @property
    def completed(self) -> list[Score]:
        return [row for row in self.scores if row.ended is JobStatus.COMPLETED]

    @property
    def made(self) -> int:
        return sum(isinstance(each.event, ForecastsMade) for each in self.log)


class Chance:
    """Runs that are off by some share of their mean, the same for an attempt however often it is asked for."""

    def __init__(self, seed: int, off: float) -> None:
        self._seed, self._off = seed, off

    def run_of(self, job: Job, attempt: Attempt, number: AttemptNumber) -> tuple[int, FailureClass | None]:
        rng = Random(f"{self._seed}/{job.spec.job_id}/{attempt.task}/{number}")
        mean_ms = KINDS[job.spec.kind]
        return max(1_000, round(rng.gauss(mean_ms, self._off * mean_ms))), None


def play(seed: int, jobs: int = 150, off: float = 0.2, learning: int = LEARNING) -> Played:
    """One farm from its beginning until nothing is left to do."""
    clock = VirtualClock(NOW)
    app = Application(MemoryLog(), clock, CountedIds())
    forecasts = Forecasts(app, gap_ms=0)
    simulator = Simulator(app, clock, Chance(seed, off), recorder=forecasts.look)
    app.handle_all(tuple(opening()), "test")
    simulator.run(arrivals(seed, jobs, learning))
    forecasts.look()
    return Played(app.log.read(0, 10**9), app)


def opening() -> Iterator[Command]:
    yield RegisterClient(client_id="show")
    for number in range(NODES):
        yield RegisterNode(node_id=f"n{number}", capacity=resources(CORES))
        yield BringOnline(node_id=f"n{number}")
    yield AdoptPolicies(policies=Policies(order="fifo"))


def arrivals(seed: int, jobs: int, learning: int) -> Iterator[Arrival]:
    """Jobs in the order of their arrival; later ones never stand before earlier ones."""
    rng = Random(seed)
    at_ms, last = NOW, ""
    for number in range(learning):
        yield Arrival(at_ms, (SubmitJob(spec=spec(f"job-a{number:04d}", kind=list(KINDS)[number % len(KINDS)])),))
        at_ms += MINUTE
    at_ms += HOUR
    for number in range(jobs):
        at_ms += round(rng.expovariate(1 / (3.2 * MINUTE)))
        job_id = f"job-b{number:04d}"
        yield Arrival(at_ms, (submission(rng, job_id, at_ms, last),))
        last = job_id


def submission(rng: Random, job_id: JobId, at_ms: int, before: JobId) -> SubmitJob:
    kind, tasks = rng.choice(list(KINDS)), rng.choice((1, 1, 1, 4, 20))
    deadline_ms = at_ms + round(KINDS[kind] * rng.uniform(0.8, 4.0))
    made = spec(job_id, kind=kind, tasks=f"0-{tasks - 1}" if tasks > 1 else "0", deadline_ms=deadline_ms,
                requirement=need(rng.choice((1, 1, 2))))  # fmt: skip
    return SubmitJob(spec=made, after=(before,) if before and rng.random() < 0.1 else ())
