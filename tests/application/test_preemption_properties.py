"""Whatever is asked of a farm with preemption, in whatever order: what must never happen does not happen.

A machine of Hypothesis drives the simulator: random nodes, jobs with contracts, gangs, nodes that die, people who
change their minds, other modes. A referee has seen every event, and at the end everything that can ends.
"""

from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapters.store.memory import MemoryLog
from application import farms
from application.app import Application
from application.commands import AdoptPolicies
from application.cycles import Cycles
from application.simulation.clock import VirtualClock
from application.simulation.engine import Simulator
from application.simulation.standing import rest_ms
from domain import errors
from domain.client import ProtectClient, RegisterClient, Shares
from domain.job import commands as c
from domain.job.values import Attempt, AttemptEnd, FailureClass, Job, Priority, Protection
from domain.messages import Command
from domain.node import BringOnline, DrainNode, LoseNode, RegisterNode, UndrainNode
from domain.policies import Policies
from tests.builders import HOUR, NOW, SECOND, need, resources, spec
from tests.contents import contents
from tests.fakes import CountedIds
from tests.preemption_referee import PreemptionReferee

MINUTE = 60 * SECOND
CLIENTS = ("show", "lab")
NODES = ("n1", "n2", "n3")
MODES = ("none", "requeue", "suspend", "checkpoint")
BACKFILLS = ("greedy", "easy", "none", "conservative")
SHAPES = (
    need(1), need(2), need(4), need(1, gpus=1), need(2, memory_mib=600),
    need(1, slots=2, distinct=True), need(2, slots=3), need(4, slots=2, distinct=True),
)  # fmt: skip
CONTRACTS = (None, None, None, Protection(), Protection(never=True), Protection(after_checkpoint=True))
picks = st.integers(0, 99)


class Runs:
    """How long attempts run: as the number of their job says, less what they have saved; some fail."""

    def run_of(self, job: Job, attempt: Attempt, number: int) -> tuple[int, FailureClass | None]:
        whole_ms = (1 + int(job.spec.name) % 7) * 10 * MINUTE
        failure = FailureClass.EXIT if (int(job.spec.name) + number) % 11 == 0 else None
        return rest_ms(job, attempt.task, whole_ms), failure


class PreemptionMachine(RuleBasedStateMachine):
    """One simulated farm, and its referee."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.log = VirtualClock(NOW), MemoryLog()
        self.app = Application(self.log, self.clock, CountedIds())
        self.simulator = Simulator(self.app, self.clock, Runs(), refused=lambda commands, error: None)
        self.referee = PreemptionReferee()
        self.jobs: list[str] = []

    def ask(self, *commands: Command) -> None:
        """What a rule forbids is refused."""
        try:
            self.app.handle_all(commands, "user:ada")
        except (errors.NotAllowed, errors.NotFound, errors.Invalid):
            return

    def some(self, pick: int) -> str:
        return self.jobs[pick % len(self.jobs)] if self.jobs else "job-none"

    @initialize(cores=st.lists(st.integers(2, 8), min_size=1, max_size=3), mode=st.sampled_from(MODES[1:]))
    def nodes(self, cores: list[int], mode: str) -> None:
        shares = Shares(guarantee_percent=40)
        self.ask(*[RegisterClient(client_id=client_id, shares=shares) for client_id in CLIENTS])
        for node_id, count in zip(NODES, cores, strict=False):
            capacity = resources(count, memory_mib=1_000, gpus=1)
            self.ask(RegisterNode(node_id=node_id, capacity=capacity), BringOnline(node_id=node_id))
        self.adopt(mode, 0, 1)

    @rule(mode=st.sampled_from(MODES), backfill=picks, levels=st.sampled_from((0.5, 1, 2)))
    def adopt(self, mode: str, backfill: int, levels: float) -> None:
        parameters: dict[str, Any] = {
            "levels": levels,
            "cool_down_s": (1, 60, 120)[backfill % 3],
            "most_victims": 1 + backfill % 5,
        }
        parameters["deadlines"] = backfill % 5 == 0
        lends = backfill % 3 == 0
        reclaim: dict[str, Any] = {"sharing": {"reclaim": "preempt"}} if lends else {}
        policies = Policies(
            sharing="lending" if lends else "none",
            preemption=mode, backfill=BACKFILLS[backfill % 4], parameters={"preemption": parameters} | reclaim,
            order=("priority", "fifo")[backfill % 7 == 6],
        )  # fmt: skip
        self.ask(AdoptPolicies(policies=policies))

    @rule(shape=picks, tasks=st.integers(1, 4), who=picks, urgent=picks, contract=picks)
    def submit(self, shape: int, tasks: int, who: int, urgent: int, contract: int) -> None:
        name = str(len(self.jobs))
        wanted = spec(
            f"job-{name}",
            name=name,
            requirement=SHAPES[shape % len(SHAPES)],
            client_id=CLIENTS[who % 2],
            tasks=f"1-{tasks}" if tasks > 1 else "1",
            priority=list(Priority)[urgent % 4],
            deadline_ms=self.clock.now_ms() + who * 5 * MINUTE if who % 5 == 0 else None,
            walltime_ms=(None, 2 * HOUR, 4 * HOUR, 400 * HOUR)[who // 2 % 4],
            protection=CONTRACTS[contract % len(CONTRACTS)],
            checkpoints=urgent % 3 > 0,
            retries=who % 2,
            grace_ms=0,
        )
        self.jobs.append(wanted.job_id)
        self.ask(c.SubmitJob(spec=wanted))

    @rule(pick=picks, verb=picks)
    def ask_of_a_job(self, pick: int, verb: int) -> None:
        job_id = self.some(pick)
        until = Protection(until_ms=self.clock.now_ms() + verb * MINUTE)
        wishes: tuple[Command, ...] = (
            c.HoldJob(job_id=job_id),
            c.UnholdJob(job_id=job_id),
            c.PauseJob(job_id=job_id),
            c.ResumeJob(job_id=job_id),
            c.PrioritizeJob(job_id=job_id, priority=list(Priority)[pick % 4]),
            c.RequeueTasks(job_id=job_id),
            c.CancelJob(job_id=job_id),
            c.ProtectJob(job_id=job_id, protection=until),
            c.ProtectJob(job_id=job_id, protection=CONTRACTS[pick % len(CONTRACTS)]),
            ProtectClient(client_id=CLIENTS[pick % 2], protection=CONTRACTS[pick % len(CONTRACTS)]),
        )
        self.ask(wishes[verb % len(wishes)])

    @rule(pick=picks)
    def an_attempt_saves_its_state(self, pick: int) -> None:
        job = self.app.farm.jobs.get(self.some(pick))
        if job is not None and job.live:
            number = min(job.live)
            name = f"ckpt-{job.spec.job_id}.{number}.{self.log.position()}"
            self.ask(c.NoteCheckpoint(job_id=job.spec.job_id, attempt=number, checkpoint_id=name, location="/c"))

    @rule(pick=picks, verb=picks)
    def ask_of_a_node(self, pick: int, verb: int) -> None:
        node_id = NODES[pick % 3]
        wishes: tuple[Command, ...] = (
            LoseNode(node_id=node_id, why="it burned"),
            DrainNode(node_id=node_id),
            UndrainNode(node_id=node_id),
            BringOnline(node_id=node_id),
            BringOnline(node_id=node_id),
        )
        self.ask(wishes[verb % len(wishes)])

    @rule(minutes=st.sampled_from((0, 1, 7, 30, 90)))
    def time_passes(self, minutes: int) -> None:
        until_ms = self.clock.now_ms() + minutes * MINUTE
        self.simulator.expect_cycle(self.clock.now_ms())
        self.simulator.run((), goes_on=lambda at_ms: at_ms <= until_ms)
        self.clock.set(max(until_ms, self.clock.now_ms()))

    @invariant()
    def no_rule_is_broken(self) -> None:
        self.referee.watch(self.log.read(self.referee.position, 1_000_000))
        assert set(self.app.farm.interruptions.claims) == self.referee.claims.keys()

    @invariant()
    def the_farm_is_the_fold_of_the_log(self) -> None:
        assert contents(self.app.farm) == contents(farms.load(self.log))

    def run_dry(self) -> None:
        """Until nothing is left to happen."""
        self.simulator.expect_cycle(self.clock.now_ms())
        self.simulator.run(())

    def teardown(self) -> None:
        """Everybody lets go, and everything that can ends: no claim is left, nobody stands still for ever."""
        self.referee.watch(self.log.read(self.referee.position, 1_000_000))
        if not self.app.farm.nodes:
            return
        for node_id in self.app.farm.nodes:
            self.ask(UndrainNode(node_id=node_id))
            self.ask(BringOnline(node_id=node_id))
        for job_id in sorted(self.app.farm.jobs):
            self.ask(c.UnholdJob(job_id=job_id))
            self.ask(c.ResumeJob(job_id=job_id))
        self.run_dry()
        self.no_rule_is_broken()
        left: dict[str, Any] = {job_id: job.live for job_id, job in self.app.farm.jobs.items()}
        assert self.referee.claims == {}, f"claims that nobody used: {left}"
        assert not self.app.farm.interruptions.suspended, f"work that stands still for ever: {left}"
        assert not any(left.values()), f"work that never ends: {left}"


TestPreemption = PreemptionMachine.TestCase


class SlowMachine(PreemptionMachine):
    """The same without the simulator: what is told to end takes its time, and cycles come in between."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng, self.cycles = Random(seed), Cycles(self.app)

    def time_passes(self, minutes: int) -> None:
        """Attempts start, some end, and a cycle looks at what is left."""
        self.clock.set(self.clock.now_ms() + minutes * MINUTE)
        for job_id in sorted(self.app.farm.jobs):
            job = self.app.farm.jobs[job_id]
            if job.live:
                self.ask(c.ReportStarted(job_id=job_id, attempts=tuple(job.live)))
            for number, attempt in job.live.items():
                runs = attempt.suspended_at_ms is None or attempt.stopping is not None
                if runs and self.rng.random() < 0.2:
                    failure = FailureClass.SIGNAL if attempt.stopping else None
                    self.ask(c.ReportEnded(job_id=job_id, ends=(AttemptEnd(number, attempt.task, failure=failure),)))
        self.cycles.cycle()

    def run_dry(self) -> None:
        """Cycles and ends in turns, until nothing lives that could end."""
        for _ in range(2_000):
            self.time_passes(60)
            if not any(job.live for job in self.app.farm.jobs.values()):
                return


def random_day(seed: int, machine: PreemptionMachine, steps: int = 120) -> PreemptionMachine:
    """A machine that was driven hard: more is submitted than the farm can take, and most of the time passes."""
    rng = Random(seed)
    machine.nodes([rng.randint(2, 8) for _ in range(rng.randint(1, 3))], rng.choice(MODES[1:]))

    def pick() -> int:
        return rng.randrange(100)

    for _ in range(steps):
        match rng.choices(range(6), (8, 10, 3, 2, 2, 0.3))[0]:
            case 0:
                machine.submit(pick(), rng.randint(1, 4), pick(), pick(), pick())
            case 1:
                machine.time_passes(rng.choice((0, 1, 7, 30)))
            case 2:
                machine.ask_of_a_job(pick(), pick())
            case 3:
                machine.an_attempt_saves_its_state(pick())
            case 4:
                machine.ask_of_a_node(pick(), rng.choice((0, 1, 2, 2, 3, 3, 3, 3)))
            case _:
                machine.adopt(rng.choice(MODES), pick(), rng.choice((0.5, 1, 2)))
        machine.no_rule_is_broken()
    machine.the_farm_is_the_fold_of_the_log()
    machine.teardown()
    return machine


@pytest.mark.parametrize("slow", [False, True], ids=["in virtual time", "while others leave slowly"])
def test_on_busy_days_nothing_happens_that_must_not(slow: bool) -> None:
    days = [random_day(seed, SlowMachine(seed) if slow else PreemptionMachine()).referee for seed in range(12)]
    assert sum(day.preempted for day in days) > 20
    assert sum(day.honoured for day in days) > 20
    assert sum(day.checked for day in days) > 20
