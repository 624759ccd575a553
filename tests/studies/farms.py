"""Heterogeneous farms: deadlines, utilization and render time under our policies and under plain ones.

The same farms and the same days for every set of policies: only the policies differ. Nothing is known beforehand; what
ours know of speeds they learn from the attempts that ended on that day.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from adapters.store.objects import ObjectLog
from application.app import Application
from application.commands import AdoptPolicies
from application.simulation.clock import CountedIds, VirtualClock
from application.simulation.engine import ACTOR, Simulator
from application.simulation.farms import Outage, node_changes
from application.simulation.feasibility import Feasible, feasible, scarcest
from application.simulation.occupancy import Occupancy
from application.simulation.synthetic_farm import STUDIO, FarmModel, SyntheticFarm, generate
from domain.job import events as e
from domain.messages import JobId, Recorded
from domain.policies import Policies
from tests.application.referee import Referee
from tests.studies import baselines


def ours() -> Policies:
    """Earliest deadline first; nodes left to whom they suit, as learned; predicted run times; a reserved head."""
    return Policies(order="edf", filters=("suited",), placement="specialized", backfill="easy", estimate="predicted")


SETS: dict[str, Callable[[], Policies]] = {
    "ours": ours,
    "fifo": baselines.fifo,
    "strict fifo": baselines.strict_fifo,
    "round robin": baselines.round_robin,
}
PARTS: dict[str, Callable[[], Policies]] = {
    "deadlines only": lambda: Policies(order="edf", backfill="easy", estimate="predicted"),
    "placement only": lambda: Policies(order="fifo", placement="specialized"),
    "without filter": lambda: replace(ours(), filters=()),
    "without deadlines": lambda: replace(ours(), order="fifo"),
    "without placement": lambda: replace(ours(), placement="best-fit"),
}
"""What single parts of ours are worth alone, and what the rest is worth without one of them."""


class Outcome(msgspec.Struct, frozen=True):
    """What one set of policies made of one day."""

    seed: int
    policies: str
    jobs: int
    tasks: int
    completed: int
    deadlines: int
    feasible: int
    """At most so many could be met."""
    met: int
    on_time: float
    """Of those that could be met."""
    scarcest: str
    utilization: float
    """Of the scarcest resource while demand lasts."""
    demand_h: float
    render_h: float
    """Run times of all tasks that succeeded, added up."""
    lost_h: float
    """Run times of attempts that ended with their node."""
    makespan_h: float


class FarmRun:
    """One day under one set of policies, watched by a referee."""

    def __init__(self, farm: SyntheticFarm, policies: Policies, outages: Sequence[Outage] = ()) -> None:
        self.farm, self._outages = farm, outages
        clock = VirtualClock()
        self.app = Application(ObjectLog(), clock, CountedIds())
        self.occupancy = Occupancy(lambda: self.app.farm, scarcest(farm))
        self.ended: dict[JobId, int] = {}
        """When each job completed, in ms."""
        self.render_ms, self.lost_ms = 0, 0
        self.referee = Referee()
        self._started: dict[tuple[JobId, int], int] = {}
        self.app.listen(self.referee.watch)
        self.app.listen(self._saw)
        self.app.listen(self.occupancy.see)
        self.simulator = Simulator(self.app, clock, farm)
        self.app.handle_all((*farm.opening(), AdoptPolicies(policies=policies)), ACTOR)

    def run(self) -> "FarmRun":
        """Runs until everything has ended."""
        changes = node_changes(self._outages, 0)
        self.simulator.run(heapq.merge(changes, self.farm.arrivals(), key=lambda arrival: arrival.at_ms))
        return self

    def _saw(self, recorded: Iterable[Recorded]) -> None:
        for each in recorded:
            event = each.event
            if isinstance(event, e.TasksStarted):
                self._started.update({(event.job_id, number): event.at_ms for number in event.attempts})
            elif isinstance(event, e.TasksSucceeded):
                for end in event.ends:
                    self.render_ms += event.at_ms - self._started.pop((event.job_id, end.attempt))
            elif isinstance(event, e.TasksLost):
                for number in event.attempts:
                    self.lost_ms += event.at_ms - self._started.pop((event.job_id, number))
            elif isinstance(event, e.JobCompleted):
                self.ended[event.job_id] = event.at_ms

    def met(self) -> set[JobId]:
        """The jobs that completed at or before their deadlines."""
        by_id = self.farm.by_id
        return {
            job_id
            for job_id, ended_ms in self.ended.items()
            if (deadline_s := by_id[job_id].deadline_s) is not None and ended_ms <= deadline_s * 1_000
        }


class Day(NamedTuple):
    """A seed's farm, and what could be done on it at best."""

    seed: int
    farm: SyntheticFarm
    feasible: Feasible

    @classmethod
    def of(cls, seed: int, model: FarmModel = STUDIO, load: float = 1.0) -> "Day":
        """Draws it."""
        farm = generate(model, seed, load)
        return cls(seed, farm, feasible(farm))


def outcome(day: Day, name: str, policies: Policies, outages: Sequence[Outage] = ()) -> Outcome:
    """Runs a day and measures it."""
    run = FarmRun(day.farm, policies, outages).run()
    met = run.met()
    jobs, hour_ms = day.farm.jobs, 3_600_000
    return Outcome(
        seed=day.seed,
        policies=name,
        jobs=len(jobs),
        tasks=sum(len(job.task_s) for job in jobs),
        completed=len(run.ended),
        deadlines=sum(job.deadline_s is not None for job in jobs),
        feasible=day.feasible.most,
        met=len(met),
        on_time=day.feasible.share_met(met),
        scarcest=scarcest(day.farm),
        utilization=run.occupancy.share,
        demand_h=run.occupancy.demand_ms / hour_ms,
        render_h=run.render_ms / hour_ms,
        lost_h=run.lost_ms / hour_ms,
        makespan_h=(max(run.ended.values()) - jobs[0].submit_s * 1_000) / hour_ms,
    )
