"""Whatever is asked of a farm in whatever order: what must never happen does not happen.

A machine of Hypothesis asks for random things, lets nodes die and attempts end, and restarts the application. After
every step a referee has seen each new event, the farm is the fold of the log, and every acknowledged command is in it.
"""

from copy import deepcopy
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from application import farms
from application.app import Application, Reply
from application.commands import RecordCheckpoint, Submit
from application.ports import NodeHeartbeat
from application.scheduler import Scheduler
from application.watchdog import Watchdog
from domain import errors
from domain.client import ChangeShares, ReinstateClient, Shares, SuspendClient
from domain.dependency import BypassDependency, DeclareDependency
from domain.farm import Farm
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass, JobStatus, Priority, StopCause
from domain.messages import Command
from domain.node import (
    BringOnline,
    DrainNode,
    EndMaintenance,
    LoseNode,
    QuarantineNode,
    RecoverNode,
    StartMaintenance,
    UndrainNode,
)
from domain.planning import blockers
from domain.planning.limits import Limits
from domain.resources import Requirement
from tests.application.desk import ADA, Desk
from tests.application.referee import Referee
from tests.builders import need, spec
from tests.contents import contents
from tests.fake_executor import ScriptedExecutor
from tests.fakes import CountedIds

CLIENTS = ("show", "default")
NODES = ("n1", "n2", "n3")
SHAPES = (need(1), need(2), need(1, gpus=1), need(1, slots=2, distinct=True), need(1, slots=3))
FAILURES = (None, None, FailureClass.EXIT, FailureClass.SIGNAL, FailureClass.LOST)
EXPECTED = (errors.NotAllowed, errors.Invalid, errors.NotFound)
"""How a command may be refused; a conflict or a store error would be a fault."""

picks = st.integers(0, 99)


class FarmMachine(RuleBasedStateMachine):
    """One application over a log in memory, and the referee."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.referee = Referee()
        self.jobs: list[str] = []
        self.asked: dict[str, tuple[tuple[Command, ...], Reply]] = {}
        """Acknowledged commands by their ids."""
        self.seen: dict[int, dict[str, Any]] = {}
        """What the farm held at the positions after each step."""
        self._watch()

    def _watch(self) -> None:
        self.dog = Watchdog(self.desk.app, ScriptedExecutor())

    @property
    def farm(self) -> Farm:
        return self.desk.app.farm

    # -- asking --------------------------------------------------------------------------------------------------

    def ask(self, *commands: Command) -> bool:
        """Whether it was carried out; whatever is acknowledged is in the log."""
        command_id, before = f"cmd-{len(self.asked)}-{self.desk.position}", self.desk.position
        try:
            reply = self.desk.do(*commands, command_id=command_id)
        except EXPECTED:
            added = self.desk.topics(after=before)
            if added not in ([], ["command.refused"]):
                raise
            return False
        caused = [r for r in self.desk.recorded(after=before) if r.meta.command_id == command_id]
        assert len(caused) == reply.events == self.desk.position - before
        assert reply.position == self.desk.position
        self.asked[command_id] = (commands, reply)
        return True

    def some(self, pick: int, names: list[str]) -> str:
        return names[pick % len(names)] if names else "job-none"

    @initialize(cores=st.lists(st.integers(1, 4), min_size=1, max_size=3), gpus=st.integers(0, 1))
    def nodes(self, cores: list[int], gpus: int) -> None:
        for node_id, count in zip(NODES, cores, strict=False):
            self.desk.nodes(node_id, cores=count, gpus=gpus)
        self.desk.client("show", max_tasks=2)

    @rule(shape=picks, tasks=st.integers(1, 4), retries=st.integers(0, 1), after=st.sets(picks, max_size=2), who=picks)
    def submit(self, shape: int, tasks: int, retries: int, after: set[int], who: int) -> None:
        job_id = f"job-{len(self.jobs)}"
        command = c.SubmitJob(
            spec=spec(
                job_id,
                requirement=SHAPES[shape % len(SHAPES)],
                client_id=CLIENTS[who % 2],
                tasks=f"0-{tasks - 1}" if tasks > 1 else "0",
                retries=retries,
                backoff_ms=1_000,
                walltime_ms=30_000,
                not_before_ms=self.desk.clock.now_ms() + 2_000 if who % 5 == 4 else None,
            ),
            after=tuple({self.some(pick, self.jobs): None for pick in sorted(after)} if self.jobs else ()),
            held=who % 7 == 6,
        )
        if self.ask(command):
            self.jobs.append(job_id)

    @rule(shapes=st.lists(picks, min_size=1, max_size=3), chain=st.booleans())
    def submit_workflow(self, shapes: list[int], chain: bool) -> None:
        first, workflow_id = len(self.jobs), f"wf-{len(self.jobs)}"
        ids = [f"job-{first + n}" for n in range(len(shapes))]
        jobs = tuple(
            c.SubmitJob(
                spec=spec(
                    job_id, requirement=SHAPES[shape % 2], client_id="default", workflow_id=workflow_id, tasks="1-2"
                )
            )
            for job_id, shape in zip(ids, shapes, strict=True)
        )
        edges = tuple(pairwise(ids)) if chain else ()
        if self.ask(Submit(workflow_id=workflow_id, jobs=jobs, dependencies=edges)):
            self.jobs += ids

    @rule(pick=picks, verb=picks)
    def ask_of_a_job(self, pick: int, verb: int) -> None:
        job_id = self.some(pick, self.jobs)
        wishes: tuple[Command, ...] = (
            c.HoldJob(job_id=job_id),
            c.UnholdJob(job_id=job_id),
            c.PauseJob(job_id=job_id),
            c.ResumeJob(job_id=job_id),
            c.PrioritizeJob(job_id=job_id, priority=list(Priority)[verb % 4]),
            c.RequeueTasks(job_id=job_id),
            c.CancelJob(job_id=job_id),
            c.StopAttempts(job_id=job_id, attempts=(1, 2), cause=StopCause.WALLTIME),
            c.QueueJob(job_id=job_id),
        )
        self.ask(wishes[verb % len(wishes)])

    @rule(pick=picks)
    def retry(self, pick: int) -> None:
        self.ask(c.RetryJob(job_id=self.some(pick, self.jobs)))

    @rule(before=picks, after=picks)
    def declare(self, before: int, after: int) -> None:
        ends = self.some(before, self.jobs), self.some(after, self.jobs)
        self.ask(DeclareDependency(predecessor_id=ends[0], successor_id=ends[1]))

    @rule(pick=picks)
    def bypass(self, pick: int) -> None:
        self.ask(BypassDependency(dependency_id=self.some(pick, sorted(self.farm.dependencies))))

    @rule(pick=picks, verb=picks)
    def ask_of_a_node(self, pick: int, verb: int) -> None:
        node_id = self.some(pick, list(self.farm.nodes))
        wishes: tuple[tuple[Command, ...], ...] = (
            (DrainNode(node_id=node_id),),
            (UndrainNode(node_id=node_id),),
            (StartMaintenance(node_id=node_id),),
            (EndMaintenance(node_id=node_id),),
            (QuarantineNode(node_id=node_id, cause="disk"),),
            (RecoverNode(node_id=node_id),),
            (LoseNode(node_id=node_id, why="it burned"),),
            (BringOnline(node_id=node_id),),
        )
        chosen = wishes[verb % len(wishes)]
        if self.ask(*chosen) and isinstance(chosen[0], LoseNode):
            for job_id, number in self.farm.attempts_on(node_id):  # gangs that run elsewhere, and are told to stop
                attempt = self.farm.jobs[job_id].live[number]
                assert attempt.nodes[0][0] != node_id
                assert attempt.stopping is not None

    @rule(verb=picks, most=st.integers(1, 4))
    def ask_of_a_client(self, verb: int, most: int) -> None:
        wishes = (
            ChangeShares(client_id="show", shares=Shares(max_tasks=most)),
            ChangeShares(client_id="show", shares=Shares(limit_percent=25 * most)),
            SuspendClient(client_id="show"),
            ReinstateClient(client_id="show"),
        )
        self.ask(wishes[verb % len(wishes)])

    @precondition(lambda self: self.asked)
    @rule(pick=picks)
    def ask_again(self, pick: int) -> None:
        """The same command id gets the same answer, and nothing happens."""
        command_id = self.some(pick, sorted(self.asked))
        commands, reply = self.asked[command_id]
        before = self.desk.position
        assert self.desk.app.handle_all(commands, ADA, command_id) == reply
        assert self.desk.position == before

    # -- what happens --------------------------------------------------------------------------------------------

    def _live(self) -> list[tuple[str, int, int]]:
        return [(j, n, a.task) for j, job in sorted(self.farm.jobs.items()) for n, a in sorted(job.live.items())]

    @precondition(lambda self: self._live())
    @rule(first=picks, count=st.integers(1, 3), failure=st.sampled_from(FAILURES))
    def attempts_end(self, first: int, count: int, failure: FailureClass | None) -> None:
        live = self._live()
        for job_id, number, task in live[first % len(live) :][:count]:
            assert self.ask(c.ReportEnded(job_id=job_id, ends=(AttemptEnd(number, task, failure=failure),)))

    @precondition(lambda self: self._live())
    @rule(pick=picks)
    def an_attempt_starts_and_saves_its_state(self, pick: int) -> None:
        live = self._live()
        job_id, number, task = live[pick % len(live)]
        self.ask(
            c.ReportStarted(job_id=job_id, attempts=(number,)),
            c.ReportProgress(job_id=job_id, attempt=number, percent=pick),
            RecordCheckpoint(
                checkpoint_id=f"ckpt-{job_id}.{task}.{number}.1", job_id=job_id, attempt=number,
                location="/c", size_bytes=1, sha256="ab",
            ),
        )  # fmt: skip

    @rule(pick=picks, number=st.integers(1, 5))
    def a_report_comes_late_or_twice(self, pick: int, number: int) -> None:
        job_id = self.some(pick, self.jobs)
        job = self.farm.jobs.get(job_id)
        if job is None or number not in job.live:
            before = self.desk.position
            self.ask(c.ReportEnded(job_id=job_id, ends=(AttemptEnd(number, 0),)))
            assert self.desk.position == before

    @rule(ms=st.sampled_from((1, 500, 1_000, 2_500, 60_000, 86_400_000)))
    def time_passes(self, ms: int) -> None:
        self.desk.clock.advance(ms)
        self.dog.hear([NodeHeartbeat(node_id=node_id) for node_id in self.farm.nodes])
        self.dog.tick()

    @rule()
    def cycle(self) -> None:
        self.dog.tick()
        made = self.desk.cycle()
        for place in made.decisions:
            assert self.farm.jobs[place.job_id].live
        assert self.desk.cycle().decisions == ()  # but it may know better by now why something waits
        before = self.desk.position
        assert self.desk.cycle().decisions == ()
        assert self.desk.position == before, "a cycle that changes nothing wrote something"
        self.the_log_breaks_no_rule()
        self._nobody_waits_without_a_reason()
        self._nobody_waits_beside_a_free_node()

    def _nobody_waits_without_a_reason(self) -> None:
        now_ms = self.desk.clock.now_ms()
        for job_id, job in self.farm.jobs.items():
            if job.unplaced and job.ended is None:
                assert blockers.of_job(self.farm, job, now_ms), f"{job_id} waits for nothing"

    def _nobody_waits_beside_a_free_node(self) -> None:
        limits = Limits(self.farm)
        for job_id, job in self.farm.jobs.items():
            requirement = job.spec.requirement
            if job.startable and job.waiting and limits.allows(job.spec.client_id, requirement) != 0:
                assert not self._room(requirement), f"{job_id} waits, but {self._room(requirement)} has room"

    def _room(self, requirement: Requirement) -> list[str]:
        """Nodes that could hold a task of one slot now, by the referee's books."""
        if requirement.slots > 1:
            return []
        free = {
            node_id: node.capacity.minus(self.referee.used[node_id]) if node_id in self.referee.used else node.capacity
            for node_id, node in self.referee.nodes.items()
            if node.takes_work
        }
        return [node_id for node_id, amount in free.items() if amount.fits(requirement.resources)]

    @rule(snapshot=st.booleans())
    def restart(self, snapshot: bool) -> None:
        """A new process goes on where the log ends, whether there is a snapshot of the farm or not."""
        if snapshot:
            farms.save(self.desk.log, self.farm.snapshot())
        before = contents(self.farm)
        self.desk.app = Application(self.desk.log, self.desk.clock, CountedIds())
        self.desk.scheduler = Scheduler(self.desk.app)
        self._watch()
        assert contents(self.farm) == before

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def the_log_breaks_no_rule(self) -> None:
        self.referee.watch(self.desk.recorded(after=self.referee.position))
        assert self.referee.acyclic()

    @invariant()
    def the_farm_is_the_fold_of_the_log(self) -> None:
        now = contents(self.farm)
        assert now == contents(Farm.fold(self.desk.log.replay(0)))
        self.seen[self.desk.position] = deepcopy(now)

    @invariant()
    def a_workflow_has_ended_when_all_its_jobs_have(self) -> None:
        for workflow in self.farm.workflows.values():
            states = [self.desk.job(job_id).ended for job_id in workflow.jobs]
            assert not all(states), f"all jobs of {workflow.workflow_id} have ended: {states}"

    @invariant()
    def an_ended_job_has_no_task_left(self) -> None:
        for job_id, job in self.farm.jobs.items():
            if job.ended is JobStatus.COMPLETED:
                raise AssertionError(f"{job_id} has completed and is still on the farm")

    def teardown(self) -> None:
        """Replay equals live state at every position where somebody looked, with snapshots and without."""
        for position, held in self.seen.items():
            assert contents(farms.load(self.desk.log, position)) == held
        self.desk.log.forget_snapshots()
        for position, held in self.seen.items():
            assert contents(farms.load(self.desk.log, position)) == held


TestFarm = FarmMachine.TestCase
TestFarm.settings = settings(stateful_step_count=2 * settings.default.stateful_step_count)
