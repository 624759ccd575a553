"""Whatever is asked of a farm that shares, in whatever order: guarantees are honoured, limits hold at every instant.

A machine of Hypothesis drives the simulator: random farms and clients, nodes that die, people who change their minds.
One referee has seen every event, another one looks at the farm after every cycle.
"""

from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapters.store.memory import MemoryLog
from application import farms
from application.app import Application
from application.commands import AdoptPolicies
from application.simulation.clock import VirtualClock
from application.simulation.engine import Simulator
from domain import errors
from domain.client import ChangeShares, RegisterClient, ReinstateClient, Shares, SuspendClient
from domain.job import commands as c
from domain.job.values import Attempt, FailureClass, Job, Priority
from domain.messages import Command
from domain.node import BringOnline, DrainNode, LoseNode, RegisterNode, UndrainNode
from domain.planning.placing import Attempts
from domain.policies import Policies
from tests.builders import NOW, SECOND, need, resources, spec
from tests.contents import contents
from tests.fakes import CountedIds
from tests.sharing_referee import SharingReferee

MINUTE = 60 * SECOND
CLIENTS = ("show", "lab", "film")
NODES = ("n1", "n2", "n3", "n4")
SHAPES = (
    need(1), need(1), need(2), need(4), need(1, gpus=1), need(2, memory_mib=600), need(0, memory_mib=100),
    need(1, slots=2, distinct=True), need(2, slots=3),
)  # fmt: skip
BACKFILLS = ("greedy", "greedy", "easy", "conservative")
SHARES = (
    Shares(), Shares(50), Shares(40, borrow=False), Shares(30, borrow_percent=30), Shares(25, lend=False),
    Shares(50, 60), Shares(0, borrow_percent=50), Shares(20, max_tasks=3),
)  # fmt: skip
picks = st.integers(0, 99)


class Runs:
    """Attempts run for half their walltime, all of it, or as the number of their job says; some fail."""

    def run_of(self, job: Job, attempt: Attempt, number: int) -> tuple[int, FailureClass | None]:
        run_ms = (1 + int(job.spec.name) % 7) * 10 * MINUTE
        if job.spec.walltime_ms is not None:
            run_ms = job.spec.walltime_ms // (1 + int(job.spec.name) % 2)
        return run_ms, FailureClass.EXIT if (int(job.spec.name) + number) % 11 == 0 else None


class Looked(Simulator):
    """A simulator whose cycles a referee looks at."""

    referee: SharingReferee
    log: MemoryLog
    seen = 0

    def _cycle(self, over: Attempts = ()) -> None:
        super()._cycle(over)
        recorded = self.log.read(self.seen, 1_000_000)
        self.seen = self.log.position()
        self.referee.after_cycle(self.app.farm, recorded, self.clock.now_ms())


class SharingMachine(RuleBasedStateMachine):
    """One simulated farm, and its referee."""

    reclaims: tuple[str, ...] = ("wait",)

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.log = VirtualClock(NOW), MemoryLog()
        self.app = Application(self.log, self.clock, CountedIds())
        self.simulator = Looked(self.app, self.clock, Runs(), refused=lambda commands, error: None)
        self.referee = self.simulator.referee = SharingReferee()
        self.simulator.log = self.log
        self.jobs: list[str] = []

    def ask(self, *commands: Command) -> None:
        """What a rule forbids is refused."""
        try:
            self.app.handle_all(commands, "user:ada")
        except (errors.NotAllowed, errors.NotFound, errors.Invalid):
            return

    @initialize(
        cores=st.lists(st.integers(2, 8), min_size=1, max_size=4), shares=st.lists(picks, min_size=3, max_size=3)
    )
    def farm(self, cores: list[int], shares: list[int]) -> None:
        self.adopt(0, 0)
        for client_id, pick in zip(CLIENTS, shares, strict=True):
            self.ask(RegisterClient(client_id=client_id))
            self.ask(ChangeShares(client_id=client_id, shares=SHARES[pick % len(SHARES)]))
        for node_id, count in zip(NODES, cores, strict=False):
            capacity = resources(count, memory_mib=1_000, gpus=1)
            self.ask(RegisterNode(node_id=node_id, capacity=capacity), BringOnline(node_id=node_id))

    @rule(backfill=picks, order=picks)
    def adopt(self, backfill: int, order: int) -> None:
        parameters = {"reclaim": self.reclaims[order % len(self.reclaims)], "reclaim_period_s": 3_600}
        policies = Policies(
            sharing="lending", parameters={"sharing": parameters}, backfill=BACKFILLS[backfill % 4],
            order=("priority", "fifo", "multifactor")[order // 2 % 3],
            preemption="requeue" if "preempt" in self.reclaims else "none",
        )  # fmt: skip
        self.ask(AdoptPolicies(policies=policies))

    @rule(shape=picks, tasks=st.integers(1, 8), who=picks, long=picks)
    def submit(self, shape: int, tasks: int, who: int, long: int) -> None:
        name = str(len(self.jobs))
        wanted = spec(
            f"job-{name}",
            name=name,
            requirement=SHAPES[shape % len(SHAPES)],
            client_id=(*CLIENTS, "default")[who % 4],
            tasks=f"1-{tasks}" if tasks > 1 else "1",
            priority=list(Priority)[long % 4],
            walltime_ms=(10 * MINUTE, 30 * MINUTE, 60 * MINUTE, 300 * MINUTE, None)[long % 5],
            retries=who % 2,
            backoff_ms=5 * MINUTE,
            grace_ms=0,
        )
        self.jobs.append(wanted.job_id)
        self.ask(c.SubmitJob(spec=wanted))

    @rule(pick=picks, verb=picks)
    def ask_of_a_job(self, pick: int, verb: int) -> None:
        job_id = self.jobs[pick % len(self.jobs)] if self.jobs else "job-none"
        wishes: tuple[Command, ...] = (
            c.HoldJob(job_id=job_id),
            c.UnholdJob(job_id=job_id),
            c.PrioritizeJob(job_id=job_id, priority=list(Priority)[pick % 4]),
            c.RequeueTasks(job_id=job_id),
            c.CancelJob(job_id=job_id),
            c.RetryJob(job_id=job_id),
        )
        self.ask(wishes[verb % len(wishes)])

    @rule(pick=picks, verb=picks)
    def ask_of_a_client(self, pick: int, verb: int) -> None:
        client_id = CLIENTS[pick % 3]
        wishes: tuple[Command, ...] = (
            SuspendClient(client_id=client_id),
            ReinstateClient(client_id=client_id),
            *[ChangeShares(client_id=client_id, shares=SHARES[verb % len(SHARES)])] * 2,
        )
        self.ask(wishes[verb // 8 % 4])

    @rule(pick=picks, verb=picks)
    def ask_of_a_node(self, pick: int, verb: int) -> None:
        node_id = NODES[pick % 4]
        wishes: tuple[Command, ...] = (
            LoseNode(node_id=node_id, why="it burned"),
            DrainNode(node_id=node_id),
            UndrainNode(node_id=node_id),
            *[BringOnline(node_id=node_id)] * 2,
        )
        self.ask(wishes[verb % len(wishes)])

    @rule(minutes=st.sampled_from((0, 1, 7, 30, 90, 200)))
    def time_passes(self, minutes: int) -> None:
        until_ms = self.clock.now_ms() + minutes * MINUTE
        self.simulator.expect_cycle(self.clock.now_ms())
        self.simulator.run((), goes_on=lambda at_ms: at_ms <= until_ms)
        self.clock.set(max(until_ms, self.clock.now_ms()))

    @invariant()
    def no_rule_is_broken(self) -> None:
        self.referee.watch(self.log.read(self.referee.position, 1_000_000))

    def teardown(self) -> None:
        """The farm, what was used lately included, follows from the log."""
        self.no_rule_is_broken()
        assert contents(self.app.farm) == contents(farms.load(self.log))


class PreemptingMachine(SharingMachine):
    """The same where lent capacity is taken back by preemption, now and then."""

    reclaims = ("wait", "preempt")


TestSharing = SharingMachine.TestCase
TestPreempting = PreemptingMachine.TestCase


def random_weeks(seed: int, steps: int = 150, kind: type[SharingMachine] = SharingMachine) -> SharingMachine:
    """A machine that was driven hard: more is submitted than the farm can take, and much time passes in quiet."""
    rng, machine = Random(seed), kind()

    def pick() -> int:
        return rng.randrange(100)

    machine.farm([rng.randint(2, 8) for _ in range(rng.randint(1, 4))], [pick(), pick(), pick()])
    for _ in range(steps):
        match rng.choices(range(6), (10, 12, 0.5, 0.5, 1, 0.3))[0]:
            case 0:
                machine.submit(pick(), rng.randint(1, 8), pick(), pick())
            case 1:
                machine.time_passes(rng.choice((0, 1, 7, 30, 90, 200)))
            case 2:
                machine.ask_of_a_job(pick(), pick())
            case 3:
                machine.ask_of_a_client(pick(), pick())
            case 4:
                machine.ask_of_a_node(pick(), pick())
            case _:
                machine.adopt(pick(), pick())
    machine.teardown()
    return machine


def test_crowded_weeks_break_no_guarantee() -> None:
    honoured = 0
    for seed in range(20):
        honoured += random_weeks(seed).referee.honoured
    assert honoured > 20, "hardly anybody ever had to wait for its guarantee, so nothing was tested"


def test_nothing_else_breaks_where_some_of_it_is_taken_back_by_preemption() -> None:
    for seed in range(5):
        random_weeks(seed, kind=PreemptingMachine)
