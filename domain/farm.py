"""Farm: everything a scheduling cycle reads, folded from the log up to one position.

The one mutable structure of the domain: an index over all live aggregates, owned by its fold. It holds live work only;
what has ended is read from its stream. `apply` folds one event and keeps the indices; `Farm.fold` replays a long log by
evolving states first and building the indices once. A snapshot is a cache: deleting it changes nothing but time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from domain.client import Client
from domain.cycle import POLICY_STREAM
from domain.decisions import Blocked, Reserved
from domain.dependency import Dependency
from domain.farm_fold import FOLD
from domain.farm_jobs import FREEING, JOB_INDEX
from domain.farm_snapshot import ClientUse, FarmSnapshot, Versioned
from domain.forecasting.promises import FORECAST_STREAMS, Promises
from domain.indices.backoffs import BackOffs
from domain.indices.booked import Booked
from domain.indices.endings import Endings
from domain.indices.idle import Idle
from domain.indices.nodeindex import NodeIndex
from domain.indices.performance import Performance, kind_of, node_class
from domain.indices.queue import Queue
from domain.indices.tally import Tallies, Tally
from domain.indices.usage import MOVING, Usage
from domain.job import events as e
from domain.job.evolve import EVOLVE
from domain.job.values import Attempt, AttemptNumber, Job, JobSpec, JobStatus
from domain.messages import (
    ClientId,
    DependencyId,
    JobId,
    NodeId,
    StreamId,
    WorkflowId,
    client_stream,
    node_stream,
)
from domain.node import Node, NodeStatus
from domain.partition import Partition, partition_stream
from domain.policies import Policies
from domain.resources import NOTHING, Resources
from domain.rules.interruptions import Interruptions
from domain.workflow import Workflow


class Farm:
    """The live state at one log position."""

    def __init__(self) -> None:
        self.position, self.now_ms = 0, 0
        """The notification id of the last event folded in, and its time."""
        self.jobs: dict[JobId, Job] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.clients: dict[ClientId, Client] = {}
        self.workflows: dict[WorkflowId, Workflow] = {}
        self.dependencies: dict[DependencyId, Dependency] = {}
        self.reservations = Booked()
        self.policies = Policies()
        self.blocked: dict[str, Blocked] = {}
        self.blocked_ms: dict[str, int] = {}
        """Recorded reasons by segment name, and when they were recorded."""
        self.promises = Promises()
        self.reserved: tuple[Reserved, ...] = ()
        """The recorded reservation of the first blocked job that holds one."""
        self.cycle_day: StreamId = ""
        """The cycle stream that was written last."""
        self.outcomes: dict[WorkflowId, dict[JobId, JobStatus]] = {}
        """How the ended jobs of live workflows ended."""
        self.tallies = Tallies()
        """How many jobs of each live workflow are left."""
        self.scouts: dict[WorkflowId, int] = {}
        """Where in a live workflow a job was last seen that can go on: a hint where to look first, never a fact."""
        self.versions: dict[StreamId, int] = {}
        self.idle = Idle()
        self.usage = Usage()
        self.performance = Performance()
        self.partitions: dict[str, Partition] = {}
        """All that were ever defined, those removed since included."""
        self._start_indices()

    def _start_indices(self) -> None:
        """What follows from the states alone, of no states."""
        self.index = NodeIndex()
        self.queue = Queue()
        self.delayed: dict[JobId, int] = {}
        """Jobs with tasks in back-off, and when the first of them may go on."""
        self.back_offs = BackOffs()
        self.endings = Endings()
        self.interruptions = Interruptions()
        self.classes: dict[NodeId, str] = {}
        """The class of each node, under which run times are learned."""
        self.use: dict[ClientId, ClientUse] = {}
        """What each client's live attempts hold."""
        self.incoming: dict[JobId, set[DependencyId]] = {}
        self.outgoing: dict[JobId, set[DependencyId]] = {}
        """Edges by successor, and by predecessor."""
        self.placed: dict[NodeId, set[tuple[JobId, AttemptNumber]]] = {}
        """Live attempts by node."""
        self.asleep: set[NodeId] = set()
        """Nodes that were powered down, and those that were told to come up again and have not reported yet."""
        self.use_in: defaultdict[tuple[str, ClientId], ClientUse] = defaultdict(ClientUse)
        """What clients' live attempts hold in each partition."""
        self._indexed = True

    # -- folding -------------------------------------------------------------------------------------------------

    def apply(self, position: int, stream: StreamId, version: int, event: Any, state: Any = None) -> None:
        """Folds the next event; `state` is the aggregate after it, where the caller has it already."""
        kind = type(event)
        self.position, self.now_ms = position, event.at_ms
        self.versions[stream] = version
        move = JOB_INDEX.get(kind)
        if move is None:
            FOLD[kind](self, stream, event, state)
        else:
            before = self.jobs.get(stream)
            if self.usage.half_life_ms is not None and before is not None and kind in MOVING:
                self.usage.note(before, event)
            after = EVOLVE[kind](before, event) if state is None else state
            move(self, before, after, event)
            self.interruptions.settle(before, after, suspends=kind is e.TasksSuspended)

    @classmethod
    def fold(cls, rows: Iterable[tuple[int, StreamId, int, Any]], start: "Farm | FarmSnapshot | None" = None) -> "Farm":
        """The farm after many events: states first, indices once at the end."""
        farm = cls._with_states(start) if isinstance(start, FarmSnapshot) else start or cls()
        farm._indexed = False
        jobs, versions, step_of = farm.jobs, farm.versions, EVOLVE.get
        position, event = farm.position, None
        for position, stream, version, event in rows:  # noqa: B007 (the last one is read below)
            versions[stream] = version
            kind = type(event)
            step = step_of(kind)
            if kind is e.TasksSucceeded:
                farm.learn(jobs[stream], event)
            if farm.idle.from_ms is not None and kind in FREEING:
                farm._note_freed(jobs[stream], event)
            if farm.usage.half_life_ms is not None and kind in MOVING:
                farm.usage.note(jobs[stream], event)
            if step is None:
                FOLD[type(event)](farm, stream, event, None)
                continue
            jobs[stream] = after = step(jobs.get(stream), event)
            if after.ended is not None and not after.live:
                farm._forget_job(after)
            elif kind is e.JobRetried:
                farm._reopen(after)
        if event is not None:
            farm.position, farm.now_ms = position, event.at_ms
        farm._reindex()
        return farm

    def _reindex(self) -> None:
        self._indexed = True
        self.index, self.queue = NodeIndex(), Queue()
        self.delayed, self.use, self.placed = {}, {}, {}
        self.use_in.clear()
        self.back_offs, self.endings = BackOffs(self.jobs.values()), Endings()
        self.interruptions = Interruptions(self.jobs.values())
        self.tallies = Tallies((key, self._tally(each)) for key, each in self.workflows.items())
        for each in self.nodes.values():
            self.index.put(each)
        for partition in self.partitions.values():
            self.index.divide(partition.partition, None if partition.removed else partition.terms)
        in_use: dict[NodeId, Resources] = {}
        for each_job in self.jobs.values():
            if each_job.live:
                self._hold_all(each_job, in_use)
        for node_id, resources in in_use.items():
            self.index.allocate(self.index.numbers[node_id], resources)
        for each_job in self.jobs.values():
            if each_job.waiting or each_job.delayed:
                self._settle(each_job)

    def _hold_all(self, running: Job, in_use: dict[NodeId, Resources]) -> None:
        """Notes what the live attempts of a job hold, by node."""
        need = running.spec.requirement.resources
        for number, attempt in running.live.items():
            for node_id, slots in attempt.nodes:
                in_use[node_id] = in_use.get(node_id, NOTHING).plus(attempt.held(need), slots)
            self._hold(running, number, attempt)

    # -- jobs ----------------------------------------------------------------------------------------------------

    def _settle(self, after: Job) -> None:
        """Brings queue and back-off in line with a job's state."""
        segment = self.queue.settle(after)
        if segment is not None:
            self.index.fitting(segment.requirement)  # learns the amounts asked for
        if after.delayed:
            self.index.fitting(after.spec.requirement)
            self.delayed[after.spec.job_id] = after.delayed[0][0]
            self.back_offs.settle(after)
        elif self.delayed:
            self._not_delayed(after.spec.job_id)

    def _not_delayed(self, job_id: JobId) -> None:
        if self.delayed.pop(job_id, None) is not None:
            self.back_offs.drop(job_id)

    def _allocate(self, after: Job, number: AttemptNumber, attempt: Attempt) -> None:
        held = attempt.held(after.spec.requirement.resources)
        for node_id, slots in attempt.nodes:
            self.index.allocate(self.index.numbers[node_id], held, slots)
        self._hold(after, number, attempt)

    def _hold(self, after: Job, number: AttemptNumber, attempt: Attempt) -> None:
        """Counts an attempt among those of its nodes and of its client."""
        spec = after.spec
        self.endings.add(after, number, attempt, self.index)
        for node_id, _ in attempt.nodes:
            self.placed.setdefault(node_id, set()).add((spec.job_id, number))
        for use in self._uses(spec):
            use.add(attempt.held(spec.requirement.resources), spec.requirement.slots, 1)

    def _release(self, before: Job, numbers: Iterable[AttemptNumber]) -> None:
        requirement, job_id = before.spec.requirement, before.spec.job_id
        uses = self._uses(before.spec)
        for number in numbers:
            attempt = before.live[number]
            held = attempt.held(requirement.resources)
            self.endings.drop(job_id, number)
            for node_id, slots in attempt.nodes:
                self.index.release(self.index.numbers[node_id], held, slots)
                self.placed[node_id].discard((job_id, number))
            for use in uses:
                use.add(held, requirement.slots, -1)

    def _note_freed(self, before: Job, event: Any) -> None:
        """Something ended on nodes."""
        numbers = event.attempts if type(event) is e.TasksLost else [end.attempt for end in event.ends]
        for number in numbers:
            for node_id, _ in before.live[number].nodes:
                self.idle.note(node_id, event.at_ms)

    def learn(self, before: Job, event: e.TasksSucceeded) -> None:
        """Takes in how long attempts ran; a gang counts for the class of the node that hosts it.

        Nothing is learned from a job that was paused, because nobody noted which of its attempts stood still how long.
        """
        spec = before.spec
        if before.paused_ms or before.paused:
            return
        for end in event.ends:
            attempt = before.live[end.attempt]
            if attempt.suspended_ms:
                continue
            started_ms = end.started_ms if end.started_ms is not None else attempt.started_ms
            if started_ms is not None:
                ended_ms = event.at_ms if end.ended_ms is None else end.ended_ms
                node_class = self.classes[attempt.nodes[0][0]]
                self.performance.record(spec.client_id, kind_of(spec), node_class, ended_ms - started_ms)

    def note_power(self, after: Node) -> None:
        """A node's power may have been switched."""
        if after.asleep or after.status is NodeStatus.STARTING:
            self.asleep.add(after.node_id)
        else:
            self.asleep.discard(after.node_id)

    def _uses(self, spec: JobSpec) -> list[ClientUse]:
        """Where attempts of a job are counted: with its client, and with what the client has in its partition."""
        use = self.use.get(spec.client_id)
        if use is None:
            use = self.use[spec.client_id] = ClientUse()
        partition = spec.requirement.partition
        return [use, self.use_in[partition, spec.client_id]] if partition else [use]

    def _forget_job(self, ended: Job) -> None:
        """Drops a job of which nothing lives any more."""
        job_id = ended.spec.job_id
        self.jobs.pop(job_id, None)
        self.versions.pop(job_id, None)
        if self._indexed:
            self.queue.drop(ended)
            self._not_delayed(job_id)
        if ended.spec.workflow_id in self.outcomes and ended.ended is not None:
            self.outcomes[ended.spec.workflow_id][job_id] = ended.ended
        if job_id in self.incoming or job_id in self.outgoing:
            self._forget_edges(job_id)

    def _reopen(self, retried: Job) -> None:
        """A job that was retried has no outcome any more."""
        if retried.spec.workflow_id in self.outcomes:
            self.outcomes[retried.spec.workflow_id].pop(retried.spec.job_id, None)

    def _tally(self, live: Workflow) -> Tally:
        return Tally.of(live.jobs, self.jobs.get, self.outcomes[live.workflow_id])

    def _forget_edges(self, job_id: JobId) -> None:
        """Drops the edges of a job that matter no more."""
        for edge_id in (*self.incoming.get(job_id, ()), *self.outgoing.get(job_id, ())):
            self._forget_edge(self.dependencies[edge_id])

    def _forget_edge(self, edge: Dependency) -> None:
        """Drops an edge of which neither end lives, unless it still blocks: both ends may be retried some day."""
        if edge.blocks or edge.predecessor_id in self.jobs or edge.successor_id in self.jobs:
            return
        del self.dependencies[edge.dependency_id]
        self.versions.pop(edge.dependency_id, None)
        for table, job_id in ((self.incoming, edge.successor_id), (self.outgoing, edge.predecessor_id)):
            table[job_id].discard(edge.dependency_id)
            if not table[job_id]:
                del table[job_id]

    # -- questions -----------------------------------------------------------------------------------------------

    def edges_into(self, job_id: JobId) -> list[Dependency]:
        """The dependencies of a job, by id."""
        return [self.dependencies[edge_id] for edge_id in sorted(self.incoming.get(job_id, ()))]

    def edges_from(self, job_id: JobId) -> list[Dependency]:
        """The dependencies on a job, by id."""
        return [self.dependencies[edge_id] for edge_id in sorted(self.outgoing.get(job_id, ()))]

    def successors(self, job_id: JobId) -> list[JobId]:
        """The jobs that wait or waited for this one."""
        return [edge.successor_id for edge in self.edges_from(job_id)]

    def attempts_on(self, node_id: NodeId) -> list[tuple[JobId, AttemptNumber]]:
        """The live attempts on a node, by job and number."""
        return sorted(self.placed.get(node_id, ()))

    def delayed_due(self, now_ms: int) -> list[JobId]:
        """Jobs with a back-off that has ended by now, by id."""
        return self.back_offs.due(now_ms)

    def next_back_off(self, now_ms: int) -> int | None:
        """When the next back-off ends that has not ended by now; None if there is none. A job may have several."""
        return self.back_offs.next(now_ms)

    # -- snapshots -----------------------------------------------------------------------------------------------

    def snapshot(self) -> FarmSnapshot:
        """All live states as one value, from which `restore` makes an equal farm."""
        return FarmSnapshot(
            position=self.position,
            now_ms=self.now_ms,
            jobs=self._versioned(dict(sorted(self.jobs.items()))),
            nodes=self._versioned(self.nodes, node_stream),
            clients=self._versioned(dict(sorted(self.clients.items())), client_stream),
            workflows=self._versioned(dict(sorted(self.workflows.items()))),
            dependencies=self._versioned(dict(sorted(self.dependencies.items()))),
            reservations=self._versioned(dict(sorted(self.reservations.items()))),
            policies=self.policies,
            cycle_day=self.cycle_day,
            blocked=tuple(self.blocked[name] for name in sorted(self.blocked)),
            blocked_ms=dict(sorted(self.blocked_ms.items())),
            reserved=self.reserved,
            promises=self.promises.state(),
            performance=self.performance.state(),
            usage=self.usage.state(),
            partitions=self._versioned(dict(sorted(self.partitions.items())), partition_stream),
            idle_from_ms=self.idle.from_ms,
            idle_since_ms=dict(sorted(self.idle.since_ms.items())),
            outcomes={key: dict(sorted(value.items())) for key, value in sorted(self.outcomes.items())},
            other_versions={s: v for s, v in sorted(self.versions.items()) if s.startswith(_UNNAMED)},
        )

    def _versioned(
        self, states: dict[str, Any], stream_of: Callable[[str], StreamId] = str
    ) -> tuple[Versioned[Any], ...]:
        """In the order of the table: nodes are numbered in the order of their registration."""
        return tuple(Versioned(self.versions[stream_of(key)], state) for key, state in states.items())

    @classmethod
    def restore(cls, snapshot: FarmSnapshot) -> "Farm":
        """The farm that a snapshot was taken of."""
        return cls.fold((), snapshot)

    @classmethod
    def _with_states(cls, snapshot: FarmSnapshot) -> "Farm":
        farm = cls()
        farm.position, farm.now_ms = snapshot.position, snapshot.now_ms
        farm.policies, farm.cycle_day = snapshot.policies, snapshot.cycle_day
        farm.blocked = {blocked.segment: blocked for blocked in snapshot.blocked}
        farm.blocked_ms, farm.reserved = dict(snapshot.blocked_ms), snapshot.reserved
        farm.promises = Promises(snapshot.promises)
        farm.performance = Performance(snapshot.performance)
        farm.idle = Idle(snapshot.idle_from_ms, dict(snapshot.idle_since_ms))
        farm.outcomes = {key: dict(value) for key, value in snapshot.outcomes.items()}
        farm.versions = dict(snapshot.other_versions)
        farm._take(farm.jobs, snapshot.jobs, attrgetter("spec.job_id"))
        farm.usage = Usage(snapshot.usage, farm.jobs.values())
        farm._take(farm.partitions, snapshot.partitions, attrgetter("partition"), partition_stream)
        farm._take(farm.nodes, snapshot.nodes, attrgetter("node_id"), node_stream)
        farm._take(farm.clients, snapshot.clients, attrgetter("client_id"), client_stream)
        farm._take(farm.workflows, snapshot.workflows, attrgetter("workflow_id"))
        farm._take(farm.dependencies, snapshot.dependencies, attrgetter("dependency_id"))
        farm._take(farm.reservations, snapshot.reservations, attrgetter("reservation_id"))
        for each in farm.nodes.values():
            farm.classes[each.node_id] = node_class(each.attributes, each.capacity)
            farm.note_power(each)
        for edge in farm.dependencies.values():
            farm._link(edge)
        return farm

    def _take(
        self,
        table: dict[str, Any],
        rows: Iterable[Versioned[Any]],
        id_of: Callable[[Any], str],
        stream_of: Callable[[str], StreamId] | None = None,
    ) -> None:
        versions = self.versions
        for row in rows:
            state = row.state
            key = id_of(state)
            table[key] = state
            versions[key if stream_of is None else stream_of(key)] = row.version

    def _link(self, edge: Dependency) -> None:
        self.incoming.setdefault(edge.successor_id, set()).add(edge.dependency_id)
        self.outgoing.setdefault(edge.predecessor_id, set()).add(edge.dependency_id)


_UNNAMED = ("cycle-", "refusal-", "undo-", FORECAST_STREAMS, POLICY_STREAM)
"""Streams whose state is not an aggregate but whose version the next writer needs."""
