"""A small world that makes valid histories: aggregates decide, their events are stored as a log would store them."""

import random
from collections.abc import Sequence
from typing import Any

from adapters.store.mapper import decode, encode
from domain import checkpoint, client, dependency, errors, intervals, job, node, workflow
from domain.cycle import CommandRefused, CycleDecided, PoliciesAdopted, cycle_stream, refusal_stream
from domain.decisions import Blocked, Reason, ReasonCode, segment_name
from domain.dependency import BypassDependency, DeclareDependency, FailDependency, ReopenDependency, SatisfyDependency
from domain.job import commands as c
from domain.job.values import (
    AttemptEnd,
    FailureClass,
    Job,
    JobSpec,
    JobStatus,
    Placement,
    PlacementReason,
    Priority,
    StopCause,
    Work,
)
from domain.messages import Command, Event, Meta, Recorded, client_stream, node_stream
from domain.policies import Policies
from domain.resources import Requirement, Resources

START_MS = 1_700_000_000_000
REASON = PlacementReason(policy="best-fit", order="priority", score=0.5, candidates=2)


class World:
    """Everything that has happened, and the states that follow."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms
        self.log: list[Recorded] = []
        self.states: dict[str, Any] = {}
        self.versions: dict[str, int] = {}

    def read(self, after: int, limit: int) -> Sequence[Recorded]:
        return self.log[after : after + limit]

    def position(self) -> int:
        return len(self.log)

    def record(self, stream: str, *events: Event, actor: str = "scheduler", command_id: str = "") -> None:
        """Stores events as they come back from a store: written as JSON and read again."""
        for event in events:
            version = self.versions[stream] = self.versions.get(stream, 0) + 1
            stored, meta = decode(*encode(event, Meta(actor, command_id)))
            self.log.append(Recorded(len(self.log) + 1, stream, version, stored, meta))

    def do(self, *commands: Command, actor: str = "user:ada") -> None:
        """Carries out commands; one that is refused becomes a refusal in the log."""
        for command in commands:
            family, stream = _aggregate(command)
            try:
                events = family.decide(self.states.get(stream), command, self.now_ms)
            except errors.TaskSchedulerError as error:
                self.refuse(command, error, actor)
                continue
            for event in events:
                self.states[stream] = family.evolve(self.states.get(stream), event)
            self.record(stream, *events, actor=actor, command_id=f"c{len(self.log)}")

    def refuse(self, command: Command, error: errors.TaskSchedulerError, actor: str) -> None:
        tag = str(command.__struct_config__.tag)
        entity = str(getattr(command, "job_id", "") or getattr(command, "node_id", ""))
        refusal = CommandRefused(
            at_ms=self.now_ms, command=tag, entity_id=entity, code=error.code, message=error.message
        )
        self.record(refusal_stream(self.now_ms), refusal, actor=actor)

    # -- shorthand for the usual steps ---------------------------------------------------------------------------

    def add_node(self, node_id: str, cores: int = 4, memory_mib: int = 8192, gpus: int = 0) -> None:
        capacity = Resources(cores * 1000, memory_mib, gpus)
        self.do(node.RegisterNode(node_id=node_id, capacity=capacity), node.BringOnline(node_id=node_id))

    def submit(self, job_id: str, after: tuple[str, ...] = (), held: bool = False, **fields: Any) -> None:
        self.do(c.SubmitJob(spec=spec(job_id, **fields), after=after, held=held))

    def place(self, job_id: str, tasks: str, *nodes: str, slots: int = 1) -> None:
        placement = Placement(tasks, tuple((node_id, slots) for node_id in nodes))
        self.do(c.PlaceTasks(job_id=job_id, placements=(placement,), reason=REASON), actor="scheduler")

    def start(self, job_id: str, *attempts: int) -> None:
        self.do(c.ReportStarted(job_id=job_id, attempts=attempts), actor="node")

    def end(self, job_id: str, *attempts: int, failure: FailureClass | None = None, **fields: Any) -> None:
        live = self.job(job_id).live
        ends = tuple(AttemptEnd(number, live[number].task, failure=failure, **fields) for number in attempts)
        self.do(c.ReportEnded(job_id=job_id, ends=ends), actor="node")

    def job(self, job_id: str) -> Job:
        state: Job = self.states[job_id]
        return state

    def jobs(self) -> list[Job]:
        return [state for state in self.states.values() if isinstance(state, Job)]


def spec(job_id: str, **fields: Any) -> JobSpec:
    """A job of one core and 1 GiB per task."""
    given: dict[str, Any] = {"name": f"name of {job_id}", "client_id": "studio", "work": Work(argv=("true",))}
    given["requirement"] = Requirement(Resources(1000, 1024))
    return JobSpec(job_id=job_id, **(given | fields))


def _aggregate(command: Any) -> tuple[Any, str]:
    if isinstance(command, c.SubmitJob):
        return job, command.spec.job_id
    for family, commands, name in (
        (node, node.NodeCommand, "node_id"),
        (client, client.ClientCommand, "client_id"),
        (workflow, workflow.WorkflowCommand, "workflow_id"),
        (dependency, dependency.DependencyCommand, "dependency_id"),
        (checkpoint, checkpoint.CheckpointCommand, "checkpoint_id"),
    ):
        if isinstance(command, commands):
            stream = {node: node_stream, client: client_stream}.get(family, str)
            return family, stream(getattr(command, name))
    return job, command.job_id


class RandomWorld(World):
    """A world in which anything may happen that the rules allow, and now and then something that they do not."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        for number in range(3):
            self.add_node(f"n{number}", cores=self.chance.randint(1, 8), gpus=number % 2)
        for name in ("studio", "lab"):
            self.do(client.RegisterClient(client_id=name))

    def live(self, steps: int) -> "RandomWorld":
        for _ in range(steps):
            self.now_ms += self.chance.choice((0, 1, 700, 31_000, 90_000))
            self.chance.choice(self.STEPS)(self)
        return self

    def some_job(self) -> Job | None:
        jobs = self.jobs()
        return self.chance.choice(jobs) if jobs else None

    def running(self) -> list[tuple[Job, int]]:
        return [(state, number) for state in self.jobs() for number in state.live]

    def _submit(self) -> None:
        number, chance = len(self.log), self.chance
        job_id = f"job-{number}"
        workflow_id = f"wf-{chance.randint(0, 3)}" if chance.random() < 0.5 else None
        others = [state.spec.job_id for state in self.jobs()]
        after = (chance.choice(others),) if others and chance.random() < 0.3 else ()
        if workflow_id and workflow_id not in self.states:
            jobs = (job_id,)
            self.do(workflow.SubmitWorkflow(workflow_id=workflow_id, name="w", client_id="studio", jobs=jobs))
        elif workflow_id:
            self.do(workflow.AddWorkflowJob(workflow_id=workflow_id, job_id=job_id))
        slots = chance.choice((1, 1, 1, 2))
        self.submit(
            job_id,
            after=after,
            held=chance.random() < 0.1,
            client_id=chance.choice(("studio", "lab")),
            tasks=chance.choice(("0", "1-5", "3,7-8")),
            workflow_id=workflow_id,
            priority=chance.choice(list(Priority)),
            retries=chance.randint(0, 2),
            backoff_ms=chance.choice((0, 1000, 60_000)),
            requirement=Requirement(Resources(chance.choice((500, 1000)), 512, chance.randint(0, 1)), slots),
        )
        for predecessor in after:
            self.do(DeclareDependency(predecessor_id=predecessor, successor_id=job_id))

    def _place(self) -> None:
        for state in self.jobs():
            ready = state.waiting
            for until_ms, tasks in state.delayed:
                ready = intervals.union(ready, tasks) if until_ms <= self.now_ms else ready
            if state.startable and ready:
                nodes = self.chance.sample(["n0", "n1", "n2"], self.chance.randint(1, state.spec.requirement.slots))
                slots = state.spec.requirement.slots // len(nodes)
                tasks = intervals.take(ready, self.chance.randint(1, 3))
                self.place(state.spec.job_id, tasks, *nodes, slots=slots)
                return
        self._submit()

    def _start(self) -> None:
        for state, number in self.running()[:3]:
            self.start(state.spec.job_id, number)

    def _progress(self) -> None:
        for state, number in self.running()[:2]:
            job_id = state.spec.job_id
            self.do(c.ReportProgress(job_id=job_id, attempt=number, percent=self.chance.randint(0, 100)))
            self.do(c.ReportPartial(job_id=job_id, attempt=number, path="/p.png", quality=40))

    def _checkpoint(self) -> None:
        for state, number in self.running()[:1]:
            job_id, checkpoint_id = state.spec.job_id, f"cp-{len(self.log)}"
            taken = checkpoint.TakeCheckpoint(
                checkpoint_id=checkpoint_id,
                job_id=job_id,
                task=state.live[number].task,
                attempt=number,
                location="/c",
                size_bytes=5 << 20,
                sha256="00",
                progress=50,
            )
            noted = c.NoteCheckpoint(job_id=job_id, attempt=number, checkpoint_id=checkpoint_id, location="/c")
            self.do(taken, noted, checkpoint.VerifyCheckpoint(checkpoint_id=checkpoint_id))
            self.do(checkpoint.RestoreCheckpoint(checkpoint_id=checkpoint_id, attempt=number))
            self.do(checkpoint.DiscardCheckpoint(checkpoint_id=checkpoint_id, why="old"))

    def _end(self) -> None:
        for state, number in self.running()[: self.chance.randint(1, 4)]:
            if number not in self.job(state.spec.job_id).live:
                continue
            failure = self.chance.choice((None, None, FailureClass.EXIT, FailureClass.SIGNAL))
            exit_code = 0 if failure is None else 3
            self.end(state.spec.job_id, number, failure=failure, exit_code=exit_code, cpu_ms=12, max_rss_mib=3)

    def _steer(self) -> None:
        state = self.some_job()
        if state is None:
            return
        job_id = state.spec.job_id
        commands = (
            c.QueueJob(job_id=job_id),
            c.UnqueueJob(job_id=job_id, why="reopened"),
            c.HoldJob(job_id=job_id, why="wait"),
            c.UnholdJob(job_id=job_id),
            c.PauseJob(job_id=job_id),
            c.ResumeJob(job_id=job_id),
            c.ResumeJob(job_id=job_id),
            c.PrioritizeJob(job_id=job_id, priority=self.chance.choice(list(Priority))),
            c.SetDeadline(job_id=job_id, deadline_ms=self.now_ms + 5),
            c.RequeueTasks(job_id=job_id),
            c.RetryJob(job_id=job_id),
            c.CancelJob(job_id=job_id, why="enough"),
            c.StopAttempts(job_id=job_id, attempts=tuple(state.live), cause=StopCause.WALLTIME),
        )
        self.do(self.chance.choice(commands))

    def _node(self) -> None:
        node_id = self.chance.choice(("n0", "n1", "n2"))
        commands = (
            node.DrainNode(node_id=node_id, why="dust"),
            node.UndrainNode(node_id=node_id),
            node.SuspectNode(node_id=node_id, silent_ms=9000),
            node.RecoverNode(node_id=node_id),
            node.LoseNode(node_id=node_id, why="gone"),
            node.BringOnline(node_id=node_id),
            node.BringOnline(node_id=node_id),
            node.QuarantineNode(node_id=node_id, cause="bad disk"),
            node.StartMaintenance(node_id=node_id),
            node.EndMaintenance(node_id=node_id),
            node.TakeOffline(node_id=node_id),
            node.RegisterNode(node_id=node_id, capacity=Resources(self.chance.randint(1, 9) * 1000, 100)),
        )
        self.do(self.chance.choice(commands))
        if self.states[node_stream(node_id)].status is node.NodeStatus.OFFLINE:
            for state in self.jobs():
                lost = tuple(n for n, attempt in state.live.items() if node_id in dict(attempt.nodes))
                self.do(c.LoseAttempts(job_id=state.spec.job_id, node_id=node_id, attempts=lost))

    def _edge(self) -> None:
        edges = [state for state in self.states.values() if isinstance(state, dependency.Dependency)]
        if not edges:
            return
        edge_id = self.chance.choice(edges).dependency_id
        commands = (
            SatisfyDependency(dependency_id=edge_id),
            FailDependency(dependency_id=edge_id, why="failed"),
            BypassDependency(dependency_id=edge_id),
            ReopenDependency(dependency_id=edge_id),
        )
        self.do(self.chance.choice(commands))

    def _workflow(self) -> None:
        workflows = [state for state in self.states.values() if isinstance(state, workflow.Workflow)]
        if not workflows:
            return
        some = self.chance.choice(workflows)
        outcome = self.chance.choice((JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED))
        commands = (
            workflow.EndWorkflow(workflow_id=some.workflow_id, outcome=outcome, failed=some.jobs),
            workflow.ReopenWorkflow(workflow_id=some.workflow_id, job_id=some.jobs[0]),
            workflow.ArchiveWorkflow(workflow_id=some.workflow_id),
        )
        self.do(self.chance.choice(commands))

    def _client(self) -> None:
        shares = client.Shares(limit_percent=self.chance.randint(1, 100))
        commands = (
            client.ChangeShares(client_id="lab", shares=shares),
            client.SuspendClient(client_id="lab"),
            client.ReinstateClient(client_id="lab"),
        )
        self.do(self.chance.choice(commands))

    def _decide(self) -> None:
        state = self.some_job()
        if state is None:
            return
        segment = segment_name(state.spec.client_id, state.priority, state.spec.requirement)
        reason = Reason(ReasonCode.RESOURCES_SHORT, "", "millicores", 1000, self.chance.randint(0, 900), "n1")
        event = CycleDecided(
            at_ms=self.now_ms,
            position=len(self.log),
            blocked=(Blocked(segment, (reason,), 1),) if self.chance.random() < 0.7 else (),
            cleared=(segment,) if self.chance.random() < 0.3 else (),
            keyframe=self.chance.random() < 0.1,
        )
        self.record(cycle_stream(self.now_ms), event)
        self.record("policies", PoliciesAdopted(at_ms=self.now_ms, policies=Policies()))

    STEPS = (
        *(_submit,) * 3,
        *(_place,) * 5,
        *(_start,) * 3,
        *(_end,) * 4,
        *(_steer,) * 3,
        _progress,
        _checkpoint,
        _node,
        _edge,
        _workflow,
        _client,
        _decide,
    )
