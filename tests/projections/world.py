"""A small world that makes valid histories: aggregates decide, their events are stored as a log would store them."""

from collections.abc import Sequence
from typing import Any

from adapters.store.mapper import decode, encode
from domain import checkpoint, client, dependency, errors, job, node, workflow
from domain.cycle import CommandRefused, refusal_stream
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass, Job, JobSpec, Placement, Work
from domain.messages import Command, Event, Meta, Recorded, client_stream, node_stream
from domain.resources import Requirement, Resources
from tests.builders import NOW, WHY


class World:
    """Everything that has happened, and the states that follow."""

    def __init__(self, now_ms: int = NOW) -> None:
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
        self.do(c.PlaceTasks(job_id=job_id, placements=(placement,), reason=WHY), actor="scheduler")

    def start(self, job_id: str, *attempts: int) -> None:
        self.do(c.ReportStarted(job_id=job_id, attempts=attempts), actor="node")

    def end(self, job_id: str, *attempts: int, failure: FailureClass | None = None, **fields: Any) -> None:
        live = self.job(job_id).live
        ends = tuple(AttemptEnd(number, live[number].task, failure=failure, **fields) for number in attempts)
        self.do(c.ReportEnded(job_id=job_id, ends=ends), actor="node")

    def job(self, job_id: str) -> Job:
        state: Job = self.states[job_id]
        return state


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
