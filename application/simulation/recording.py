"""A workload read back out of a log: what came from outside between two times, and how long everything really ran.

What follows from something else (a dependency that was satisfied, an attempt that its node took along) is not read: it
follows again, or does not, when the workload is run again. What a farm's own parts decided (placements, reasons) is not
read either: deciding it anew is the point.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import groupby
from statistics import median_low
from typing import Any, ClassVar, NamedTuple

from application import farms
from application.commands import AdoptPolicies, Submit
from application.ports import Log
from application.simulation.engine import Arrival
from domain import client, dependency, intervals, node, partition, reservation, workflow
from domain.cycle import PoliciesAdopted
from domain.dependency import DependencyDeclared
from domain.farm_snapshot import FarmSnapshot
from domain.intervals import TaskSet
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import AttemptEnd, AttemptNumber, FailureClass, Job, JobSpec, StopCause
from domain.messages import REPORT, Command, Event, JobId, NodeId, Recorded, topic_of
from domain.undo import undone_by

Tasks = dict[tuple[JobId, AttemptNumber], tuple[int, int]]
"""Attempt to its task and the time of its placement."""


class Outcome(NamedTuple):
    """What became of one attempt."""

    run_ms: int
    """From its placement to its end, launching and pauses included; not the time it stood suspended for others."""
    failure: FailureClass | None = None
    interrupted: bool = False
    """Whether it would have run on: it was stopped, went with its node, or still runs where the log ends."""


class Recording(NamedTuple):
    """What a log tells of the time from `from_ms` to `to_ms`, both included."""

    from_ms: int
    to_ms: int
    start: FarmSnapshot
    """The farm just before `from_ms`."""
    events: tuple[Recorded, ...]
    """All of that time."""
    outcomes: Mapping[tuple[JobId, int], Sequence[Outcome]]
    """Job and task to what became of its attempts, in order, as far as the log knows, also after `to_ms`."""
    stopped_ms: Mapping[tuple[JobId, AttemptNumber], int]
    """When attempts that were told to stop had ended."""
    retries: Mapping[JobId, Sequence[int]]
    """How long after its end, in milliseconds, an ended job was opened again by a person, in order."""
    tied: Set[tuple[JobId, int]]
    """Job and time of these."""
    requeued: Mapping[tuple[JobId, int], TaskSet]
    """Job and time to the tasks of it that a person let wait again then."""
    end_order: Mapping[tuple[JobId, AttemptNumber], int]
    """Where in the log attempts ended by themselves: the order of ends in one moment."""
    estimates: "Estimates"

    def outcome(self, spec: JobSpec, task: int, nth: int) -> tuple[Outcome, bool]:
        """How the nth attempt of a task ends if nothing interrupts it, and whether that is on record.

        One that was interrupted runs as long as the next one that was not, or on top of it if it had run that long
        already: then the next one went on from a checkpoint. Without a next one it runs by estimate, but longer than it
        is known to have run.
        """
        known = self.outcomes.get((spec.job_id, task), ())[nth:]
        so_far_ms = known[0].run_ms if known and known[0].interrupted else -1
        for each in known:
            if not each.interrupted:
                run_ms = each.run_ms if each.run_ms > so_far_ms else so_far_ms + each.run_ms
                return Outcome(run_ms, each.failure), True
        return Outcome(max(self.estimates.run_ms(spec), so_far_ms + 1)), False

    def after(self, job_id: JobId, task: int, nth: int, interrupted: bool) -> int:
        """Which attempt on record comes after the nth, if that one ended by itself or was interrupted."""
        known = self.outcomes.get((job_id, task), ())
        if interrupted:
            return nth + 1 if nth < len(known) and known[nth].interrupted else nth
        while nth < len(known) and known[nth].interrupted:
            nth += 1
        return nth + 1

    def arrivals(self) -> Iterator[Arrival]:
        """What came from outside, in order: submissions, wishes of persons, nodes that came and went, policies."""
        events = _without_power(self.events)
        for (at_ms, _), said in groupby(events, key=lambda each: (each.event.at_ms, each.meta.command_id)):
            for command in self._commands(list(said)):
                yield Arrival(at_ms, (command,))

    def _commands(self, said: Sequence[Recorded]) -> Iterator[Command]:
        """What was said from outside at once. Jobs that wait for others are entered together with their edges."""
        events = [recorded.event for recorded in said if not recorded.meta.cause or undone_by(recorded.meta.cause)]
        new = {event.spec.job_id for event in events if isinstance(event, e.JobSubmitted)}
        edges = [event for event in events if isinstance(event, DependencyDeclared) and event.successor_id in new]
        waiting = {edge.successor_id for edge in edges}
        entering: list[c.SubmitJob] = []
        for event in events:
            if isinstance(event, e.JobSubmitted) and event.spec.job_id in waiting:
                entering.append(c.SubmitJob(spec=event.spec, held=event.held))
            elif edges and event is edges[-1]:
                pairs = tuple((edge.predecessor_id, edge.successor_id) for edge in edges)
                yield Submit(jobs=tuple(entering), dependencies=pairs)
            elif isinstance(event, DependencyDeclared) and event.successor_id in new:
                continue
            elif (command := self._command_of(event)) is not None:
                yield command

    def _command_of(self, event: Event) -> Command | None:
        """The wish that a fact came from; None for what no wish leads to, or what happens at another time now."""
        if isinstance(event, e.TasksStopping):
            tasks = self.requeued.get((event.job_id, event.at_ms))
            return None if tasks is None else c.RequeueTasks(job_id=event.job_id, tasks=tasks)
        if isinstance(event, e.JobRetried) and (event.job_id, event.at_ms) in self.tied:
            return None
        build = _WISHES.get(type(event))
        return None if build is None else build(event)


def _without_power(events: Iterable[Recorded]) -> Iterator[Recorded]:
    """All but the nodes' going down and coming up to save energy, which the policies in force decide anew."""
    asleep: set[NodeId] = set()
    for recorded in events:
        event = recorded.event
        if isinstance(event, node.NodeStopping):
            asleep.add(event.node_id)
        elif isinstance(event, (node.NodeOffline, node.NodeOnline)) and event.node_id in asleep:
            if isinstance(event, node.NodeOnline):
                asleep.discard(event.node_id)
        elif not isinstance(event, node.NodeStarting):
            yield recorded


class Estimates(NamedTuple):
    """How long an attempt would run of which the log does not know."""

    by_kind: Mapping[str, int]
    """Median run time of each kind of job, in milliseconds."""
    overall: int
    """And of all."""

    def run_ms(self, spec: JobSpec) -> int:
        """What was asked for; without that the median of its kind, else of all; 0 if nothing is known at all."""
        return spec.walltime_ms or self.by_kind.get(kind_of(spec), self.overall)


def kind_of(spec: JobSpec) -> str:
    """What sort of work a job is."""
    return spec.kind or spec.name


def record(log: Log, from_ms: int, to_ms: int) -> Recording:
    """Reads a log from one time to another; run times also of what ended only later. O(events from there on)."""
    start = farms.load(log, log.position_at(from_ms - 1)).snapshot()
    end = log.position_at(to_ms)
    events = tuple(read_all(log, start.position, upto=end))
    reader = _Reader(start)
    for each in events:
        reader.read(each)
    for each in read_all(log, end, reader.kinds):
        reader.read(each)
    last = log.read(log.position() - 1, 1)
    reader.finish(last[0].event.at_ms if last else start.now_ms)
    return Recording(
        from_ms=from_ms,
        to_ms=to_ms,
        start=start,
        events=events,
        outcomes=reader.outcomes,
        stopped_ms=reader.stopped_ms,
        retries=reader.retries,
        tied=reader.tied,
        requeued=reader.requeued,
        end_order=reader.end_order,
        estimates=reader.estimates(),
    )


def read_all(log: Log, after: int, kinds: Iterable[type[Event]] = (), upto: int | None = None) -> list[Recorded]:
    """Every event after a position and up to another one, of some kinds or of all."""
    found: list[Recorded] = []
    names = [topic_of(kind) for kind in kinds]
    while page := log.read(found[-1].position if found else after, _PAGE, upto, names):
        found += page
    return found


_PAGE = 10_000


class _Reader:
    """Follows attempts from their placement to their end."""

    def __init__(self, start: FarmSnapshot) -> None:
        self.outcomes: dict[tuple[JobId, int], list[Outcome]] = {}
        self.stopped_ms: dict[tuple[JobId, AttemptNumber], int] = {}
        self.retries: dict[JobId, list[int]] = {}
        self.tied: set[tuple[JobId, int]] = set()
        self.requeued: dict[tuple[JobId, int], TaskSet] = {}
        self._live: Tasks = {}
        self._specs: dict[JobId, JobSpec] = {}
        self._ended_ms: dict[JobId, int] = {}
        self._run_ms: dict[str, list[int]] = {}
        self.end_order: dict[tuple[JobId, AttemptNumber], int] = {}
        self._stood_ms: dict[tuple[JobId, AttemptNumber], int] = {}
        """How long attempts stood suspended; minus the time since which they do."""
        self._position = start.position
        for each in start.jobs:
            job = each.state
            self._specs[job.spec.job_id] = job.spec
            for number, attempt in job.live.items():
                self._live[job.spec.job_id, number] = attempt.task, attempt.placed_ms
                if attempt.suspended_ms or attempt.suspended_at_ms is not None:
                    self._stood_ms[job.spec.job_id, number] = attempt.suspended_ms - (attempt.suspended_at_ms or 0)

    def read(self, recorded: Recorded) -> None:
        """Takes one event in."""
        event = recorded.event
        self._position = recorded.position
        if isinstance(event, e.TasksLost):
            for number in event.attempts:
                if _went_with_its_node(recorded.meta.cause):  # its node took it along, which will happen again or not
                    self._interrupted((event.job_id, number), event.at_ms)
                else:
                    self._outcome(event.job_id, number, event.at_ms, FailureClass.LOST)
        elif (take := self._TAKE.get(type(event))) is not None:
            take(self, event)

    @property
    def kinds(self) -> tuple[type[Event], ...]:
        """What is worth reading."""
        return (e.TasksLost, *self._TAKE)

    def _submitted(self, event: e.JobSubmitted) -> None:
        self._specs[event.spec.job_id] = event.spec

    def _placed(self, event: e.TasksPlaced) -> None:
        self._live.update(placed_by(event))

    def _ends(self, event: e.TasksSucceeded | e.TasksFailed) -> None:
        for end in event.ends:
            self._ended(event.job_id, end, event.at_ms)

    def _stopping(self, event: e.TasksStopping) -> None:
        if event.cause is StopCause.REQUEUED:
            tasks = intervals.of(self._live[event.job_id, number][0] for number in event.attempts)
            self.requeued[event.job_id, event.at_ms] = tasks

    def _stopped(self, event: e.TasksStopped) -> None:
        for end in event.ends:
            self.stopped_ms[event.job_id, end.attempt] = event.at_ms
            self._interrupted((event.job_id, end.attempt), event.at_ms)

    def _suspended(self, event: e.TasksSuspended) -> None:
        for number in event.attempts:
            key = event.job_id, number
            self._stood_ms[key] = self._stood_ms.get(key, 0) - event.at_ms

    def _resumed(self, event: e.TasksResumed) -> None:
        for number in event.attempts:
            self._stood_ms[event.job_id, number] += event.at_ms

    def _ran_ms(self, key: tuple[JobId, AttemptNumber], placed_ms: int, at_ms: int) -> int:
        """How long an attempt ran until a moment."""
        stood_ms = self._stood_ms.pop(key, 0)
        return max(0, at_ms - placed_ms - (stood_ms if stood_ms >= 0 else stood_ms + at_ms))

    def _ended_badly(self, event: e.JobFailed | e.JobCancelled) -> None:
        self._ended_ms[event.job_id] = event.at_ms

    def _retried(self, event: e.JobRetried) -> None:
        self._specs[event.job_id] = event.job.spec
        if event.job_id in self._ended_ms:
            self.retries.setdefault(event.job_id, []).append(event.at_ms - self._ended_ms.pop(event.job_id))
            self.tied.add((event.job_id, event.at_ms))

    _TAKE: ClassVar[dict[type[Event], Callable[["_Reader", Any], None]]] = {
        e.JobSubmitted: _submitted,
        e.TasksPlaced: _placed,
        e.TasksSucceeded: _ends,
        e.TasksFailed: _ends,
        e.TasksStopping: _stopping,
        e.TasksStopped: _stopped,
        e.TasksSuspended: _suspended,
        e.TasksResumed: _resumed,
        e.JobFailed: _ended_badly,
        e.JobCancelled: _ended_badly,
        e.JobRetried: _retried,
    }

    def _ended(self, job_id: JobId, end: AttemptEnd, at_ms: int) -> None:
        if end.ended_ms is not None and end.started_ms is not None:
            at_ms = min(at_ms, end.ended_ms)  # it may have been heard of much later
        self._outcome(job_id, end.attempt, at_ms, end.failure)

    def _outcome(self, job_id: JobId, number: AttemptNumber, at_ms: int, failure: FailureClass | None) -> None:
        task, placed_ms = self._live.pop((job_id, number))
        self.end_order[job_id, number] = self._position
        run_ms = self._ran_ms((job_id, number), placed_ms, at_ms)
        self.outcomes.setdefault((job_id, task), []).append(Outcome(run_ms, failure))
        spec = self._specs.get(job_id)
        if failure is None and spec is not None:
            self._run_ms.setdefault(kind_of(spec), []).append(run_ms)

    def _interrupted(self, key: tuple[JobId, AttemptNumber], at_ms: int) -> None:
        task, placed_ms = self._live.pop(key)
        run_ms = self._ran_ms(key, placed_ms, at_ms)
        self.outcomes.setdefault((key[0], task), []).append(Outcome(run_ms, None, True))

    def finish(self, now_ms: int) -> None:
        """The log ends: what runs is known to have run so long."""
        for key in list(self._live):
            self._interrupted(key, now_ms)

    def estimates(self) -> Estimates:
        """Medians of what was read."""
        every = [run_ms for of_kind in self._run_ms.values() for run_ms in of_kind]
        by_kind = {kind: median_low(of_kind) for kind, of_kind in self._run_ms.items()}
        return Estimates(by_kind, median_low(every) if every else 0)


def _went_with_its_node(cause: str) -> bool:
    """Whether a loss followed from that of a node; an executor that cannot see how an attempt ended reports it."""
    return bool(cause) and not cause.startswith(REPORT)


def placed_by(event: e.TasksPlaced) -> Tasks:
    """The attempts that a placement began."""
    return {
        (event.job_id, number): (task, event.at_ms)
        for placement in event.placements
        for number, task in enumerate(intervals.members(placement.tasks), placement.first_attempt)
    }


# -- from facts to the wishes they came from -------------------------------------------------------------------------


def _same(kind: Callable[..., Command]) -> Callable[[Any], Command]:
    """A wish with the fields of its fact, as far as it has them."""
    fields = kind.__struct_fields__  # type: ignore[attr-defined]

    def build(event: Any) -> Command:
        return kind(**{name: getattr(event, name) for name in fields})

    return build


def _set_aside(event: reservation.ReservationMade) -> Command:
    """The same nodes again, whatever stands against them now."""
    wish = reservation.MakeReservation(
        reservation_id=event.reservation_id,
        owner=event.owner,
        window=event.window,
        asked=event.asked,
        repeat=event.repeat,
        follows=event.follows,
        force=True,
        why=event.why,
    )
    return reservation.SetAside(wish=wish, nodes=event.nodes, forced=event.forced)


_WISHES: dict[type[Event], Callable[[Any], Command | None]] = {
    e.JobSubmitted: lambda event: c.SubmitJob(spec=event.spec, held=event.held),
    e.JobHeld: _same(c.HoldJob),
    e.JobUnheld: _same(c.UnholdJob),
    e.JobPaused: _same(c.PauseJob),
    e.JobResumed: _same(c.ResumeJob),
    e.JobPriorityChanged: _same(c.PrioritizeJob),
    e.JobDeadlineChanged: _same(c.SetDeadline),
    e.JobProtectionChanged: _same(c.ProtectJob),
    e.JobCancelled: _same(c.CancelJob),
    e.JobRetried: _same(c.RetryJob),
    dependency.DependencyDeclared: _same(dependency.DeclareDependency),
    dependency.DependencyBypassed: _same(dependency.BypassDependency),
    workflow.WorkflowSubmitted: _same(workflow.SubmitWorkflow),
    workflow.WorkflowArchived: _same(workflow.ArchiveWorkflow),
    client.ClientRegistered: _same(client.RegisterClient),
    client.ClientSharesChanged: _same(client.ChangeShares),
    client.ClientSuspended: _same(client.SuspendClient),
    client.ClientReinstated: _same(client.ReinstateClient),
    client.ClientProtectionChanged: _same(client.ProtectClient),
    partition.PartitionDefined: _same(partition.DefinePartition),
    partition.PartitionChanged: _same(partition.ChangePartition),
    partition.PartitionRemoved: _same(partition.RemovePartition),
    node.NodeRegistered: _same(node.RegisterNode),
    node.NodeCapabilitiesChanged: _same(node.RegisterNode),
    node.NodeOnline: _same(node.BringOnline),
    node.NodeOffline: _same(node.TakeOffline),
    node.NodeDrained: _same(node.DrainNode),
    node.NodeUndrained: _same(node.UndrainNode),
    node.NodeMaintenanceStarted: lambda event: None if event.reservation_id else _same(node.StartMaintenance)(event),
    node.NodeMaintenanceEnded: _same(node.EndMaintenance),
    node.NodeSuspected: _same(node.SuspectNode),
    node.NodeRecovered: _same(node.RecoverNode),
    node.NodeLost: _same(node.LoseNode),
    node.NodeQuarantined: _same(node.QuarantineNode),
    node.NodeRetired: _same(node.RetireNode),
    PoliciesAdopted: _same(AdoptPolicies),
    reservation.ReservationMade: _set_aside,
    reservation.ReservationChanged: lambda event: reservation.ChangeReservation(
        reservation_id=event.reservation_id, end_ms=event.window.end_ms, force=True, why=event.why
    ),
    reservation.ReservationEnded: _same(reservation.EndReservation),
    reservation.ReservationCancelled: _same(reservation.CancelReservation),
}


def first_starts(log: Log, start: FarmSnapshot) -> dict[JobId, int]:
    """When the jobs of a farm that had started by then started first."""
    found: dict[JobId, int] = {}
    for each in start.jobs:
        job: Job = each.state
        if job.next_attempt > 1:
            placed = [r.event.at_ms for r in log.stream(job.spec.job_id) if isinstance(r.event, e.TasksPlaced)]
            found[job.spec.job_id] = placed[0]
    return found
