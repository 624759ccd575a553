"""Whose capacity it is: one day of five clients under lending with preemption, lending that waits, and no sharing.

The same farms and jobs for every set of policies, and the same order, placement and backfill; only sharing and
preemption differ. A referee and two books follow every event of every run; none of them asks the farm.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from adapters.store.objects import ObjectLog
from application.app import Application
from application.commands import AdoptPolicies
from application.simulation.clock import CountedIds, VirtualClock
from application.simulation.engine import ACTOR, Simulator
from application.simulation.feasibility import scarcest
from application.simulation.occupancy import Occupancy
from domain.cycle import CycleDecided
from domain.job import events as e
from domain.job.values import StopCause
from domain.messages import ClientId, JobId, Recorded
from domain.policies import Policies
from projections import shares
from projections.runner import ProjectionRunner
from projections.shares import BreachView
from projections.tables import open_views
from tests.preemption_referee import PreemptionReferee
from tests.studies.guarantees import Guarantees
from tests.studies.interruptions import CORE_HOUR, Interruptions
from tests.studies.medians import Column, Must
from tests.studies.owed import is_owed
from tests.studies.saving import Saving, refused
from tests.studies.shares_day import SharesDay

PERIOD_S = 1_800
"""The reclaim period: how long a client may have to wait for what is guaranteed to it."""
_PERIOD_MS = PERIOD_S * 1_000
_PLAIN = Policies(order="edf", backfill="easy", filters=("gpu-nodes-for-gpu-jobs", "large-memory-nodes"))


def _with(sharing: str, preemption: str, **of_sharing: Any) -> Policies:
    parameters = {"sharing": of_sharing, "preemption": {} if preemption == "none" else {"levels": 2}}
    return replace(
        _PLAIN,
        sharing=sharing,
        preemption=preemption,
        parameters={family: given for family, given in parameters.items() if given},
    )


def lending(reclaim: str, preemption: str) -> Policies:
    """Guarantees are kept, and lent capacity comes back within the period."""
    return _with("lending", preemption, reclaim=reclaim, reclaim_period_s=PERIOD_S)


SETS: dict[str, Callable[[], Policies]] = {
    "preempt, requeue": lambda: lending("preempt", "requeue"),
    "preempt, checkpoint": lambda: lending("preempt", "checkpoint"),
    "wait": lambda: lending("wait", "none"),
    "wait, requeue": lambda: lending("wait", "requeue"),
    "no sharing": lambda: _with("none", "none"),
}
"""How lent capacity comes back, and what becomes of work that makes way."""
OURS = "preempt, requeue"


class Outcome(msgspec.Struct, frozen=True):
    """What one set of policies made of one day."""

    seed: int
    policies: str
    completed: int
    tasks: int
    feasible: int
    """At most so many deadlines could be met."""
    met: int
    on_time: float
    """Of those that could be met."""
    utilization: float
    """Of the scarcest resource while demand lasts."""
    breaches: int
    """Times in which a task waited longer than the reclaim period that its client's guarantee had room for."""
    owed: int
    """Clients for which borrowers without protection held a node that would have done, after that period."""
    unmet_s: float
    """The longest of all times in which one waited."""
    preempted: int
    """Attempts that made way."""
    regret_h: float
    """Core hours lost by victims minus core hours of waiting that preemptors were spared."""
    lost_h: float
    """Core hours of work that was not saved when it made way."""
    violations: int
    """Interruptions against a contract."""
    over_limit: int
    """Events after which a client held more than its limit."""
    over_borrowed: int
    """The same for terms of borrowing, where they are in force."""
    critical_wait_s: float
    """The longest wait of a critical job from its submission to the start of its last task."""
    makespan_h: float


class SharesRun:
    """One day under one set of policies."""

    def __init__(self, day: SharesDay, policies: Policies) -> None:
        self.day = day
        clock = VirtualClock()
        self.log = ObjectLog()
        self.app = Application(self.log, clock, CountedIds())
        self.referee, self.interruptions = PreemptionReferee(), Interruptions()
        self.guarantees = Guarantees(borrowing=policies.sharing != "none")
        self.occupancy = Occupancy(lambda: self.app.farm, scarcest(day.farm))
        self.ended: dict[JobId, int] = {}
        """When each job completed, in ms."""
        self.placed: dict[JobId, int] = {}
        """When a task of each job was placed last, in ms."""
        self.owed: set[ClientId] = set()
        """Clients that borrowers kept from their guarantees for longer than the reclaim period."""
        books = (self.referee, self.interruptions, self.guarantees)
        for listener in (*[book.watch for book in books], self._saw, self._look, self.occupancy.see):
            self.app.listen(listener)
        self._simulator = Simulator(self.app, clock, day.farm, refused=refused)
        self.app.listen(Saving(day.saves_every_ms(), self._simulator.expect).see)
        self.app.handle_all((*day.opening(), AdoptPolicies(policies=policies)), ACTOR)

    def run(self) -> "SharesRun":
        """Runs until everything has ended."""
        self._simulator.run(self.day.arrivals())
        self.guarantees.settle()
        return self

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            if isinstance(each.event, e.JobCompleted):
                self.ended[each.event.job_id] = each.event.at_ms
            elif isinstance(each.event, e.TasksPlaced):
                self.placed[each.event.job_id] = each.event.at_ms

    def _look(self, recorded: Sequence[Recorded]) -> None:
        """Looks, once a moment is over, at those who have waited too long for their guarantees."""
        now_ms = self.app.farm.now_ms
        if not any(isinstance(each.event, CycleDecided) for each in recorded):
            return
        for client_id, client in self.guarantees.clients.items():
            late = client.since is not None and now_ms - client.since[1] > _PERIOD_MS
            if late and is_owed(self.app.farm, self.guarantees, self.interruptions, client_id, _PERIOD_MS):
                self.owed.add(client_id)

    def met(self) -> set[JobId]:
        """The jobs that completed at or before their deadlines."""
        due = {job.job_id: job.deadline_s * 1_000 for job in self.day.farm.jobs if job.deadline_s is not None}
        return {job_id for job_id, due_ms in due.items() if self.ended.get(job_id, due_ms + 1) <= due_ms}

    def ledger(self) -> list[BreachView]:
        """The breaches that the projection `shares` has, with the events behind them."""
        engine = open_views("sqlite://")
        ProjectionRunner(engine, self.log.read, self.log.position, [shares.PROJECTION]).catch_up()
        with engine.connect() as connection:
            return shares.breaches(connection)

    def critical_wait_s(self) -> float:
        """See `Outcome.critical_wait_s`."""
        critical = [job for job in self.day.farm.jobs if self.day.terms[job.job_id].priority == "critical"]
        return max([self.placed[job.job_id] / 1_000 - job.submit_s for job in critical], default=0.0)


def outcome(day: SharesDay, name: str, policies: Policies) -> Outcome:
    """Runs a day and measures it."""
    run = SharesRun(day, policies).run()
    met, book, guarantees = run.met(), run.interruptions, run.guarantees
    breaches = guarantees.breaches(_PERIOD_MS)
    if policies.sharing != "none":
        _must_agree(breaches, run.ledger())
    return Outcome(
        seed=day.seed,
        policies=name,
        completed=len(run.ended),
        tasks=sum(len(job.task_s) for job in day.farm.jobs),
        feasible=day.feasible.most,
        met=len(met),
        on_time=day.feasible.share_met(met),
        utilization=run.occupancy.share,
        breaches=len(breaches),
        owed=len(run.owed),
        unmet_s=guarantees.longest_ms() / 1_000,
        preempted=sum(book.preempted.values()),
        regret_h=book.regret,
        lost_h=book.lost.get(StopCause.PREEMPTED, 0) / CORE_HOUR,
        violations=len(book.violations),
        over_limit=guarantees.over_limit,
        over_borrowed=guarantees.over_borrowed,
        critical_wait_s=run.critical_wait_s(),
        makespan_h=max(run.ended.values()) / 3_600_000,
    )


def _must_agree(mine: Sequence[Any], ledger: Sequence[BreachView]) -> None:
    """The projection and the book of this study are two readings of one log."""
    found = sorted((each.client_id, each.opened, each.closed) for each in mine)
    told = sorted((each.client_id, each.opened, each.closed) for each in ledger)
    assert found == told, f"the ledger has {told}, the book has {found}"


COLUMNS: tuple[Column[Outcome], ...] = (
    Column("utilization", lambda each: each.utilization, "{:.1%}", True),
    Column("on time", lambda each: each.on_time, "{:.1%}", True),
    Column("breaches", lambda each: each.breaches, "{:.0f}", False),
    Column("clients kept from theirs by borrowers", lambda each: each.owed, "{:.0f}", False),
    Column("longest without", lambda each: each.unmet_s / 60, "{:.0f} min", False),
    Column("critical wait", lambda each: each.critical_wait_s / 60, "{:.0f} min", False),
    Column("made way", lambda each: each.preempted, "{:.0f}", False),
    Column("lost", lambda each: each.lost_h, "{:.0f} core h", False),
    Column("regret", lambda each: each.regret_h, "{:.0f} core h", False),
    Column("makespan", lambda each: each.makespan_h, "{:.1f} h", False),
)
MUSTS: tuple[Must[Outcome], ...] = (
    Must("nobody interrupted against a contract", lambda each: not each.violations),
    Must("within the limits at every instant", lambda each: not each.over_limit),
    Must("within the terms of borrowing at every instant", lambda each: not each.over_borrowed),
    Must(
        "nobody kept from a guarantee by borrowers who could be interrupted",
        lambda each: each.policies != OURS or not each.owed,
    ),
)


def line(each: Outcome) -> str:
    """One outcome, while others are still to come."""
    return (
        f"seed {each.seed:3} {each.policies:20} {each.utilization:.1%} used, {each.met}/{each.feasible} deadlines, "
        f"{each.breaches} breaches ({each.owed} for borrowers), {each.unmet_s / 60:.0f} min without, "
        f"{each.preempted} made way, lost {each.lost_h:.0f} h, regret {each.regret_h:.0f} h, "
        f"{each.violations} violations, {each.over_limit} over limits, "
        f"makespan {each.makespan_h:.1f} h, {each.completed} jobs"
    )
