"""Load → decide → stage: commands become events of their streams, several streams in one batch.

A `Batch` is what one commit will write. It loads a stream from what it has staged, else from the farm (live work), else
from the log; it never writes. A request that fails is rolled back inside its batch, without disturbing the others.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple, get_args

import msgspec

from application.cached import read, topic_of
from application.ports import Log, StateSnapshot, Unless
from application.tallies import StagedTallies
from domain import checkpoint, client, dependency, job, node, observed, partition, reservation, workflow
from domain.checkpoint import Checkpoint, CheckpointCommand
from domain.client import Client, ClientCommand
from domain.dependency import DeclareDependency, Dependency, DependencyCommand
from domain.farm import Farm
from domain.indices.tally import Tally
from domain.job import commands as jobs
from domain.job import events as jobs_events
from domain.job.values import Job, JobStatus
from domain.messages import (
    ClientId,
    Command,
    DependencyId,
    Event,
    JobId,
    Meta,
    Recorded,
    StreamId,
    Value,
    WorkflowId,
    client_stream,
    node_stream,
)
from domain.node import Node, NodeCommand
from domain.observed import Observe, Observed
from domain.partition import Partition, PartitionCommand, partition_stream
from domain.reservation import Reservation, ReservationCommand
from domain.workflow import Workflow, WorkflowCommand

SNAPSHOT_EVERY = 200
"""A stream gets a snapshot each time it has grown by so many events."""


class Aggregate(NamedTuple):
    """One kind of stream: its state, its two functions, and the stream of a command."""

    name: str
    state: type[Any]
    decide: Callable[[Any, Any, int], tuple[Any, ...]]
    evolve: Callable[[Any, Any], Any]
    stream_of: Callable[[Any], StreamId]

    @property
    def snapshot_topic(self) -> str:
        """How a snapshot of such a state is called in the store; one of another name is passed over."""
        return topic_of(f"{self.name}.snapshot", self.state)


def _job_stream(command: Any) -> StreamId:
    return command.spec.job_id if type(command) is jobs.SubmitJob else command.job_id


JOB = Aggregate("job", Job, job.decide, job.evolve, _job_stream)
NODE = Aggregate("node", Node, node.decide, node.evolve, lambda c: node_stream(c.node_id))
CLIENT = Aggregate("client", Client, client.decide, client.evolve, lambda c: client_stream(c.client_id))
WORKFLOW = Aggregate("workflow", Workflow, workflow.decide, workflow.evolve, lambda c: c.workflow_id)
DEPENDENCY = Aggregate("dependency", Dependency, dependency.decide, dependency.evolve, lambda c: c.dependency_id)
CHECKPOINT = Aggregate("checkpoint", Checkpoint, checkpoint.decide, checkpoint.evolve, lambda c: c.checkpoint_id)
RESERVATION = Aggregate("reservation", Reservation, reservation.decide, reservation.evolve, lambda c: c.reservation_id)
PARTITION = Aggregate(
    "partition", Partition, partition.decide, partition.evolve, lambda c: partition_stream(c.partition)
)
EXTERNAL = Aggregate("external", Observed, observed.decide, observed.evolve, lambda c: c.stream_id)

ROUTES: dict[type[Command], Aggregate] = {
    kind: aggregate
    for commands, aggregate in (
        (jobs.JobCommand, JOB),
        (NodeCommand, NODE),
        (ClientCommand, CLIENT),
        (WorkflowCommand, WORKFLOW),
        (DependencyCommand, DEPENDENCY),
        (CheckpointCommand, CHECKPOINT),
        (PartitionCommand, PARTITION),
        (ReservationCommand, RESERVATION),
    )
    for kind in get_args(commands)
} | {Observe: EXTERNAL}
"""Which aggregate decides a command that concerns one stream."""

FRESH = (jobs.SubmitJob, workflow.SubmitWorkflow)
"""Commands whose stream is nearly always new: they are decided without reading, and the append finds out otherwise."""


FOLLOWING = frozenset(
    {
        jobs_events.TasksRequeued,
        jobs_events.TasksStopping,
        jobs_events.TasksSuspended,
        jobs_events.ClaimReleased,
        jobs_events.JobCompleted,
        jobs_events.JobFailed,
        jobs_events.JobCancelled,
    }
)
"""What, when it is not the first of the facts that one command leads to, follows from the one before it."""


class Stream(NamedTuple):
    """A loaded stream: version 0 and no state for one that does not exist."""

    version: int
    state: Any


EMPTY = Stream(0, None)

new_recorded: Callable[[tuple[int, StreamId, int, Event, Meta]], Recorded] = partial(tuple.__new__, Recorded)
_stream: Callable[[tuple[int, Any]], Stream] = partial(tuple.__new__, Stream)
"""Made without the Python function behind a NamedTuple's name, because there is one for every event."""


class Batch:
    """What one commit will write, decided but not stored."""

    def __init__(self, farm: Farm, log: Log, now_ms: int, *, trust_fresh: bool = True) -> None:
        self.farm, self.log = farm, log
        self.now_ms = max(now_ms, farm.now_ms)
        """Time never falls along the log."""
        self.events: list[Recorded] = []
        """At the positions they will have, unless another process writes first."""
        self.after: list[Any] = []
        """The state after each event, for the farm's fold."""
        self.streams: dict[StreamId, Stream] = {}
        self.edges: list[DeclareDependency] = []
        """Edges declared in this batch."""
        self._edges_from: dict[JobId, list[DependencyId]] = {}
        self._edges_into: dict[JobId, list[DependencyId]] = {}
        self.guards: set[str] = set()
        """Topics that nobody may have written since the farm's position."""
        self.snapshots: list[StateSnapshot] = []
        self._journal: list[tuple[StreamId, Stream | None]] = []
        """What each staged stream was before, to roll back one request among many."""
        self._trust_fresh = trust_fresh
        self._tallies = StagedTallies(farm, self.events, self.after)

    # -- loading -------------------------------------------------------------------------------------------------

    def load(self, aggregate: Aggregate, stream: StreamId) -> Stream:
        """The present state of a stream, what was staged here included."""
        staged = self.streams.get(stream)
        return self._stored(aggregate, stream) if staged is None else staged

    def _stored(self, aggregate: Aggregate, stream: StreamId) -> Stream:
        """A stream of which nothing is staged here."""
        state = _LIVE[aggregate.name](self.farm, stream)
        if state is not None:
            return _stream((self.farm.versions[stream], state))
        return load_stream(self.log, aggregate, stream)

    def job(self, job_id: JobId) -> Job | None:
        """The present state of a job, live or ended."""
        return self.load(JOB, job_id).state  # type: ignore[no-any-return]

    def client(self, client_id: ClientId) -> Client | None:
        """The present state of a client. Clients live as long as the farm, so nothing is looked for in the log."""
        staged = self.streams.get(client_stream(client_id))
        return self.farm.clients.get(client_id) if staged is None else staged.state

    def present_job(self, job_id: JobId) -> Job | None:
        """A job that was staged or that lives, without a look at the log for one that has ended."""
        staged = self.streams.get(job_id)
        return self.farm.jobs.get(job_id) if staged is None else staged.state

    def tally(self, workflow_id: WorkflowId) -> Tally | None:
        """How many jobs of a workflow are left, what was staged here included; None if it is not live."""
        return self._tallies.of(workflow_id)

    def ended_jobs(self, workflow: Workflow) -> dict[JobId, JobStatus]:
        """How those jobs of a live workflow ended that have ended, without a look at the log. O(jobs)."""
        outcomes = dict(self.farm.outcomes.get(workflow.workflow_id, {}))
        for job_id in workflow.jobs:
            state = self.present_job(job_id)
            if state is not None and state.ended is not None:
                outcomes[job_id] = state.ended
            elif state is not None:
                outcomes.pop(job_id, None)
        return outcomes

    def edges_from(self, job_id: JobId) -> list[Dependency]:
        """The dependencies on a job, those declared here included."""
        return self._edges(self.farm.outgoing.get(job_id), self._edges_from.get(job_id))

    def edges_into(self, job_id: JobId) -> list[Dependency]:
        """The dependencies of a job, those declared here included."""
        return self._edges(self.farm.incoming.get(job_id), self._edges_into.get(job_id))

    def _edges(self, live: set[DependencyId] | None, staged: list[DependencyId] | None) -> list[Dependency]:
        return [self.load(DEPENDENCY, edge_id).state for edge_id in [*sorted(live or ()), *(staged or ())]]

    def declared(self, edge: DeclareDependency) -> None:
        """Takes note of an edge whose declaration was staged."""
        self.edges.append(edge)
        self._edges_from.setdefault(edge.predecessor_id, []).append(edge.dependency_id)
        self._edges_into.setdefault(edge.successor_id, []).append(edge.dependency_id)

    # -- deciding ------------------------------------------------------------------------------------------------

    def do(self, command: Command, meta: Meta) -> int:
        """Decides a command on its one stream and stages the events; how many there were."""
        aggregate = ROUTES[type(command)]
        stream = aggregate.stream_of(command)
        staged = self.streams.get(stream)
        if staged is not None:
            version, state = staged
        elif self._trust_fresh and type(command) in FRESH:
            version, state = EMPTY
        else:
            version, state = self._stored(aggregate, stream)
        decided = aggregate.decide(state, command, self.now_ms)
        if not decided:
            return 0
        events, after, evolve = self.events, self.after, aggregate.evolve
        position = self.farm.position + len(events)
        first = version + 1
        for event in decided:
            state = evolve(state, event)
            position, version = position + 1, version + 1
            said = meta_after(events, meta) if version > first and type(event) in FOLLOWING else meta
            events.append(new_recorded((position, stream, version, event, said)))
            after.append(state)
            if version % SNAPSHOT_EVERY == 0:
                self.snapshots.append(encode_snapshot(aggregate, stream, version, state))
        self._journal.append((stream, staged))
        self.streams[stream] = _stream((version, state))
        return len(decided)

    def record(self, stream: StreamId, event: Event, meta: Meta) -> None:
        """Stages an event of a stream that no aggregate decides (cycles, refusals, policies)."""
        staged = self.streams.get(stream)
        version = (staged.version if staged else self.farm.versions.get(stream, 0)) + 1
        self.events.append(Recorded(self.farm.position + len(self.events) + 1, stream, version, event, meta))
        self.after.append(None)
        self._journal.append((stream, staged))
        self.streams[stream] = Stream(version, None)

    # -- one request inside the batch ----------------------------------------------------------------------------

    def mark(self) -> "Mark":
        """A point to roll back to."""
        return Mark(len(self.events), len(self._journal), len(self.edges), len(self.snapshots))

    def roll_back(self, mark: "Mark") -> None:
        """Forgets what was staged after a mark."""
        self._tallies.roll_back(mark.events)
        del self.events[mark.events :]
        del self.after[mark.events :]
        while len(self.edges) > mark.edges:
            edge = self.edges.pop()
            self._edges_from[edge.predecessor_id].pop()
            self._edges_into[edge.successor_id].pop()
        del self.snapshots[mark.snapshots :]
        while len(self._journal) > mark.streams:
            stream, before = self._journal.pop()
            if before is None:
                del self.streams[stream]
            else:
                self.streams[stream] = before

    def condition(self) -> Unless | None:
        """What must still hold about the log when this is appended."""
        return Unless(self.farm.position, tuple(sorted(self.guards))) if self.guards else None


def meta_after(events: list[Recorded], meta: Meta) -> Meta:
    """The metadata of a fact that follows from the last one; requeues, one per back-off, from what went before them."""
    at = len(events) - 1
    while type(events[at][3]) is jobs_events.TasksRequeued:
        at -= 1
    return Meta(meta.actor, meta.command_id, f"{events[at][1]}@{events[at][2]}", meta.cycle)


class Mark(Value, frozen=True):
    """How far a batch had come."""

    events: int
    streams: int
    edges: int
    snapshots: int


_LIVE: dict[str, Callable[[Farm, StreamId], Any]] = {
    "job": lambda farm, stream: farm.jobs.get(stream),
    "node": lambda farm, stream: farm.nodes.get(stream.removeprefix("node:")),
    "client": lambda farm, stream: farm.clients.get(stream.removeprefix("client:")),
    "workflow": lambda farm, stream: farm.workflows.get(stream),
    "dependency": lambda farm, stream: farm.dependencies.get(stream),
    "checkpoint": lambda farm, stream: None,
    "reservation": lambda farm, stream: farm.reservations.get(stream),
    "partition": lambda farm, stream: farm.partitions.get(stream.removeprefix("partition:")),
    "external": lambda farm, stream: None,
}


def load_stream(log: Log, aggregate: Aggregate, stream: StreamId, upto: int | None = None) -> Stream:
    """A stream from the log: its newest snapshot, if there is one that can be read, and the events after it."""
    version, state = EMPTY
    snapshot = log.snapshot(stream, upto, aggregate.snapshot_topic)
    if snapshot is not None and (known := read(snapshot.state, aggregate.state)) is not None:
        version, state = snapshot.version, known
    recorded = log.stream(stream, version, upto)
    if recorded:
        version = recorded[-1].version
        state = reduce(aggregate.evolve, (r.event for r in recorded), state)
    return Stream(version, state)


def encode_snapshot(aggregate: Aggregate, stream: StreamId, version: int, state: Any) -> StateSnapshot:
    """A state as the store keeps it."""
    return StateSnapshot(stream, version, aggregate.snapshot_topic, msgspec.msgpack.encode(state))
