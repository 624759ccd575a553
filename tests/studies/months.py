"""Month-long gangs on a farm with windows of maintenance, nodes that fail, and short and urgent work all the time.

The same farms and jobs for every set of policies; only backfill and preemption differ. A referee and a book of
interruptions follow every event of every run; neither asks the farm.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from adapters.store.objects import ObjectLog
from application.app import Application
from application.commands import AdoptPolicies
from application.simulation.clock import CountedIds, VirtualClock
from application.simulation.engine import ACTOR, Simulator
from application.simulation.standing import rest_ms
from domain.job import events as e
from domain.job.values import Attempt, AttemptNumber, FailureClass, Job, StopCause
from domain.messages import JobId, Recorded
from domain.policies import Policies
from tests.preemption_referee import PreemptionReferee
from tests.studies.fill import Fill
from tests.studies.interruptions import Interruptions
from tests.studies.medians import Column, Must
from tests.studies.months_farm import DAY_MS, HOUR_MS, RESTORE_MS, SAVES_EVERY_MS, SAVING_MS, MonthsFarm
from tests.studies.saving import Saving, refused
from tests.studies.windows import WindowsBook


def _with(backfill: str, preemption: str) -> Policies:
    parameters = {} if preemption == "none" else {"preemption": {"levels": 2}}
    return Policies(order="priority", backfill=backfill, preemption=preemption, parameters=parameters)


SETS: dict[str, Callable[[], Policies]] = {
    "easy, checkpoint": lambda: _with("easy", "checkpoint"),
    "easy, suspend": lambda: _with("easy", "suspend"),
    "easy, none": lambda: _with("easy", "none"),
    "conservative, checkpoint": lambda: _with("conservative", "checkpoint"),
}
"""Backfill, and what becomes of work that makes way."""
OURS = "easy, checkpoint"


class Outcome(msgspec.Struct, frozen=True):
    """What one set of policies made of one seed."""

    seed: int
    policies: str
    gangs: int
    completed: int
    """Month-long jobs."""
    days: float
    """Until the last of them completed."""
    utilization: float
    """Of all nodes, while somebody waits."""
    of_open: float
    """Of those that take work."""
    stretch: float
    """From submission to completion over pure run time, median over the month-long jobs."""
    worst_stretch: float
    interruptions: float
    """Of one month-long job for any reason, mean."""
    evacuated: dict[str, int]
    """Attempts sent away for a window, by contract."""
    preempted: int
    lost_failures_h: float
    """Core hours of work that were not saved when nodes failed."""
    lost_windows_h: float
    """The same when attempts were sent away."""
    lost_preempted_h: float
    violations: int
    """Interruptions against a contract."""
    windows: int
    late: int
    """Windows that began late, or in which a node was taken late or never though it was up."""
    in_the_way: int
    """Windows that found somebody on their nodes."""
    desk_min: float
    """Wait of interactive jobs, 95th percentile."""
    urgent_min: float
    """The same of urgent ones."""
    batch_h: float
    """Median wait of batch jobs."""


class _Referee(PreemptionReferee):
    """The same, which looks at claimed room only while there is any: the farm is large and the time is long."""

    def _claims_still_fit(self, event: Any) -> None:
        if self.claims:
            super()._claims_still_fit(event)


class MonthsRun:
    """One seed under one set of policies; also how long its attempts run."""

    def __init__(self, farm: MonthsFarm, policies: Policies) -> None:
        self.farm = farm
        self._clock = VirtualClock()
        self.app = Application(ObjectLog(), self._clock, CountedIds())
        self.referee, self.interruptions = _Referee(), Interruptions()
        self.windows, self.fill = WindowsBook(), Fill(farm.zone_of)
        self.ended: dict[JobId, int] = {}
        self.waited: dict[JobId, int] = {}
        """From the submission of each short job to its first start, in ms."""
        self._left = set(farm.gangs)
        self._restores: dict[tuple[JobId, AttemptNumber], int] = {}
        """How often the run of an attempt had gone on from a saved state by its start."""
        books = (self.referee, self.interruptions, self.windows, self.fill)
        for listener in (*[book.watch for book in books], self._saw):
            self.app.listen(listener)
        self._simulator = Simulator(self.app, self._clock, self, refused=refused)
        self.app.listen(Saving(dict.fromkeys(farm.gangs, SAVES_EVERY_MS + SAVING_MS), self._simulator.expect).see)
        self.app.handle_all((*farm.opening(), AdoptPolicies(policies=policies)), ACTOR)
        self.app.handle_all(tuple(farm.windows()), ACTOR)

    def run(self) -> "MonthsRun":
        """Runs until all month-long jobs have completed."""
        last_ms = self.farm.scale.most_days * DAY_MS
        self._simulator.run(self.farm.arrivals(), goes_on=lambda now_ms: bool(self._left) and now_ms < last_ms)
        return self

    def run_of(self, job: Job, attempt: Attempt, number: AttemptNumber) -> tuple[int, FailureClass | None]:
        """See `engine.Behaviour`: what is saved now and then takes its time, and so does going on from it."""
        job_id, known = job.spec.job_id, job.checkpoints.get(attempt.task)
        restores = 0 if known is None else self._restores[job_id, known.attempt] + 1
        self._restores[job_id, number] = restores
        gang = self.farm.gangs.get(job_id)
        if gang is None:
            run_ms = self.farm.shorts[job_id].run_ms
        else:
            run_ms = gang.work_ms + gang.work_ms // SAVES_EVERY_MS * SAVING_MS
        return rest_ms(job, attempt.task, run_ms + restores * RESTORE_MS), None

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            event = each.event
            if isinstance(event, e.JobCompleted):
                self.ended[event.job_id] = event.at_ms
                self._left.discard(event.job_id)
            elif isinstance(event, e.TasksPlaced) and event.job_id in self.farm.shorts:
                self.waited.setdefault(event.job_id, event.at_ms - self.farm.shorts[event.job_id].submit_ms)

    def stretches(self) -> list[float]:
        """Of each month-long job that completed."""
        gangs = self.farm.gangs
        return [(self.ended[key] - gang.submit_ms) / gang.work_ms for key, gang in gangs.items() if key in self.ended]

    def waits_ms(self, kind: str) -> list[int]:
        """Of the short jobs of a kind that came before the end, those that never started included."""
        now_ms, found = self._clock.now_ms(), []
        for job_id, short in self.farm.shorts.items():
            if job_id.startswith(f"job-{kind}-") and short.submit_ms <= now_ms:
                found.append(self.waited.get(job_id, now_ms - short.submit_ms))
        return sorted(found)

    def interrupted(self) -> float:
        """How often a month-long job was interrupted, on average."""
        attempts = sum(1 for job_id, _ in self._restores if job_id in self.farm.gangs)
        return attempts / len(self.farm.gangs) - 1


def outcome(farm: MonthsFarm, name: str, policies: Policies) -> Outcome:
    """Runs a seed and measures it."""
    run = MonthsRun(farm, policies).run()
    book, stretches = run.interruptions, run.stretches()
    return Outcome(
        seed=farm.seed,
        policies=name,
        gangs=len(farm.gangs),
        completed=len(stretches),
        days=max([run.ended[key] for key in farm.gangs if key in run.ended], default=0) / DAY_MS,
        utilization=run.fill.of_all,
        of_open=run.fill.of_open,
        stretch=statistics.median(stretches),
        worst_stretch=max(stretches),
        interruptions=run.interrupted(),
        evacuated=book.evacuated,
        preempted=sum(book.preempted.values()),
        lost_failures_h=book.lost_h("lost", StopCause.GANG_BROKEN),
        lost_windows_h=book.lost_h(StopCause.EVACUATED),
        lost_preempted_h=book.lost_h(StopCause.PREEMPTED),
        violations=len(book.violations),
        windows=run.windows.begun,
        late=len(run.windows.late),
        in_the_way=len(run.windows.in_the_way),
        desk_min=_percentile(run.waits_ms("desk"), 0.95) / 60_000,
        urgent_min=_percentile(run.waits_ms("urgent"), 0.95) / 60_000,
        batch_h=_percentile(run.waits_ms("batch"), 0.5) / HOUR_MS,
    )


def _percentile(values: Sequence[int], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))] if values else 0.0


COLUMNS: tuple[Column[Outcome], ...] = (
    Column("utilization", lambda each: each.utilization, "{:.1%}", True),
    Column("of what takes work", lambda each: each.of_open, "{:.1%}", True),
    Column("completed", lambda each: each.completed, "{:.0f}", True),
    Column("stretch", lambda each: each.stretch, "{:.2f}", False),
    Column("largest stretch", lambda each: each.worst_stretch, "{:.2f}", False),
    Column("sent away", lambda each: sum(each.evacuated.values()), "{:.0f}", False),
    Column("made way", lambda each: each.preempted, "{:.0f}", False),
    Column("lost to failures", lambda each: each.lost_failures_h, "{:,.0f} core h", False),
    Column("lost to windows", lambda each: each.lost_windows_h, "{:,.0f} core h", False),
    Column("interactive wait", lambda each: each.desk_min, "{:.0f} min", False),
    Column("urgent wait", lambda each: each.urgent_min, "{:.0f} min", False),
    Column("days", lambda each: each.days, "{:.0f}", False),
)
MUSTS: tuple[Must[Outcome], ...] = (
    Must("nobody interrupted against a contract", lambda each: not each.violations),
    Must("every window in time", lambda each: not each.late),
    Must("nobody in the way of a window", lambda each: not each.in_the_way),
    Must("all month-long jobs completed", lambda each: each.completed == each.gangs),
)


def line(each: Outcome) -> str:
    """One outcome, while others are still to come."""
    return (
        f"seed {each.seed:3} {each.policies:24} {each.completed}/{each.gangs} in {each.days:.0f} days, "
        f"{each.utilization:.1%} of all, {each.of_open:.1%} of open, "
        f"stretch {each.stretch:.2f} ({each.worst_stretch:.2f}), "
        f"{each.interruptions:.1f} interruptions each, evacuated {each.evacuated}, {each.preempted} made way, "
        f"lost {each.lost_failures_h:.0f}/{each.lost_windows_h:.0f}/{each.lost_preempted_h:.0f} h, "
        f"{each.violations} violations, {each.windows} windows, {each.late} late, {each.in_the_way} in the way, "
        f"waits {each.desk_min:.0f}/{each.urgent_min:.0f} min, {each.batch_h:.1f} h"
    )
