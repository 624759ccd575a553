"""A recorded workload, run again from where it was recorded: the same plan, in virtual time, under other conditions.

Attempts run as long as they did, the k-th of a task like the k-th that is on record, and fail again where it failed.
What runs at the beginning goes on and ends when it ended. Dependencies hold as declared, so what waited for a
completion waits for it again; a person's retry comes as long after the job's end as it came then; everything else that
came from outside comes when it came, also jobs that a running job submitted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from application.app import Application
from application.commands import AdoptPolicies
from application.ports import Log
from application.simulation.branch import BranchLog
from application.simulation.clock import CountedIds, VirtualClock
from application.simulation.engine import Arrival, Pass, Progress, Simulator
from application.simulation.farms import SimulatedNode
from application.simulation.recording import Recording
from application.simulation.standing import rest_ms
from domain import errors, intervals
from domain.farm import Farm
from domain.job import events as e
from domain.job.commands import QueueJob, RetryJob
from domain.job.values import Attempt, AttemptNumber, FailureClass, Job
from domain.messages import Command, JobId, NodeId, Recorded
from domain.node import BringOnline, DrainNode, LoseNode, Node, NodeStatus, RegisterNode, TakeOffline
from domain.policies import Policies


class Rerun:
    """One recording on one set of nodes under one set of policies."""

    def __init__(
        self,
        log: Log,
        recording: Recording,
        *,
        policies: Policies | None = None,
        nodes: Sequence[SimulatedNode] = (),
        passes: Pass = Pass.INSTANT,
        seen: Callable[[Sequence[Recorded]], None] | None = None,
    ) -> None:
        """Policies and nodes are the recorded ones, with their changes, unless others are given for the whole time."""
        self.recording, self._policies, self._nodes = recording, policies, nodes
        start = recording.start
        clock = VirtualClock(start.now_ms)
        farm = Farm.restore(start)
        self.log = BranchLog(log, start.position)
        self.app = Application(self.log, clock, CountedIds(), farm=farm)
        self.app.listen(self._saw)
        self.simulator = Simulator(self.app, clock, self, passes=passes, seen=seen, refused=self._refuse)
        self.refused: list[tuple[Command, errors.TaskSchedulerError]] = []
        """What was not possible this time, such as holding a job that has ended by then."""
        self.estimated: set[JobId] = set()
        """Jobs with attempts of which it is not known how long they run."""
        self._nth: dict[tuple[JobId, int], int] = {}
        """Which attempt on record the present or next one of a task is like."""
        self._retries = {job_id: list(delays) for job_id, delays in recording.retries.items()}

    def run(
        self,
        goes_on: Callable[[int], bool] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Runs it until nothing is left to happen, or `goes_on` says no to the time of the next moment."""
        self._expect_what_is_due()
        self._expect_changes()
        self.simulator.run(filter(None, map(self._changed, self.recording.arrivals())), progress, goes_on)

    # -- the beginning -------------------------------------------------------------------------------------------

    def _expect_what_is_due(self) -> None:
        """Ends of what runs, queueing of what may start later, and the cycle that the next back-off asks for."""
        farm, from_ms = self.app.farm, self.recording.from_ms
        for job, attempt, number in self._running():
            at_ms, failure = self._end_of(job, attempt, number)
            self.simulator.expect_end(job.spec.job_id, number, max(from_ms, at_ms), failure)
        for job_id, job in sorted(farm.jobs.items()):
            later_ms = job.spec.not_before_ms
            if not job.queued and later_ms is not None and not any(edge.blocks for edge in farm.edges_into(job_id)):
                self.simulator.expect(max(from_ms, later_ms), (QueueJob(job_id=job_id),))
        back_off_ms = farm.next_back_off(farm.now_ms)
        if back_off_ms is not None:
            self.simulator.expect_cycle(max(from_ms, back_off_ms))

    def _running(self) -> list[tuple[Job, Attempt, AttemptNumber]]:
        """All live attempts, in the order in which they ended on record, then in that of their placement."""
        order, last = self.recording.end_order, self.log.base.position() + 1
        live = [(job, attempt, number) for job in self.app.farm.jobs.values() for number, attempt in job.live.items()]
        return sorted(
            live,
            key=lambda each: (
                order.get((each[0].spec.job_id, each[2]), last),
                each[1].placed_ms,
                each[0].spec.job_id,
                each[2],
            ),
        )

    def _end_of(self, job: Job, attempt: Attempt, number: AttemptNumber) -> tuple[int, FailureClass | None]:
        """When an attempt that runs at the beginning ends, and how."""
        if attempt.stopping is not None:
            stopped_ms = self.recording.stopped_ms.get((job.spec.job_id, number))
            if stopped_ms is not None:
                return stopped_ms, FailureClass.SIGNAL
        run_ms, failure = self.run_of(job, attempt, number)
        return attempt.placed_ms + run_ms, failure

    def _expect_changes(self) -> None:
        """Other nodes and policies, from the first moment on."""
        from_ms, farm = self.recording.from_ms, self.app.farm
        for command in _node_changes(farm.nodes, self._nodes):
            self.simulator.expect(from_ms, (command,))
        if self._policies is not None and self._policies != farm.policies:
            self.simulator.expect(from_ms, (AdoptPolicies(policies=self._policies),))

    def _changed(self, arrival: Arrival) -> Arrival | None:
        """An arrival as it is under these conditions; None for one that they rule out."""
        command = arrival.commands[0]
        if self._policies is not None and isinstance(command, AdoptPolicies):
            return None
        node_id = getattr(command, "node_id", None)
        if self._nodes and node_id is not None and not self._concerns(command, node_id):
            return None
        return arrival

    def _concerns(self, command: Command, node_id: NodeId) -> bool:
        """Whether something that happened to a node happens although the nodes are others."""
        if any(node.node_id == node_id for node in self._nodes):
            return not isinstance(command, RegisterNode)
        return node_id in self.app.farm.nodes and isinstance(command, LoseNode | TakeOffline)

    # -- in its course -------------------------------------------------------------------------------------------

    def run_of(self, job: Job, attempt: Attempt, number: AttemptNumber) -> tuple[int, FailureClass | None]:
        """See `engine.Behaviour`: as recorded, and by estimate where the log does not know."""
        job_id = job.spec.job_id
        outcome, on_record = self.recording.outcome(job.spec, attempt.task, self._nth.get((job_id, attempt.task), 0))
        if not on_record:
            self.estimated.add(job_id)
        return self._rest_ms(job, attempt, outcome.run_ms), outcome.failure

    def _rest_ms(self, job: Job, attempt: Attempt, run_ms: int) -> int:
        """What is left to run after an interruption that only this run knows; what is on record went on by itself."""
        key = (job.spec.job_id, attempt.task)
        before = self.recording.outcomes.get(key, ())[: self._nth.get(key, 0)]
        return run_ms if any(each.interrupted for each in before) else rest_ms(job, attempt.task, run_ms)

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        for _, _, _, event, meta in recorded:
            if isinstance(event, e.TasksSucceeded | e.TasksFailed | e.TasksStopped):
                interrupted = isinstance(event, e.TasksStopped)
                self._over(event.job_id, [end.task for end in event.ends], interrupted)
            elif isinstance(event, e.TasksLost):
                self._over(event.job_id, intervals.members(event.tasks), bool(meta.cause))
            elif isinstance(event, e.JobFailed | e.JobCancelled) and self._retries.get(event.job_id):
                delay_ms = self._retries[event.job_id].pop(0)
                self.simulator.expect(event.at_ms + delay_ms, (RetryJob(job_id=event.job_id),))

    def _over(self, job_id: JobId, tasks: Iterable[int], interrupted: bool) -> None:
        """Goes on to the next attempts on record of these tasks."""
        for task in tasks:
            nth = self._nth.get((job_id, task), 0)
            self._nth[job_id, task] = self.recording.after(job_id, task, nth, interrupted)

    def _refuse(self, commands: Sequence[Command], error: errors.TaskSchedulerError) -> None:
        self.refused += [(command, error) for command in commands]


def _node_changes(known: Mapping[NodeId, Node], nodes: Sequence[SimulatedNode]) -> list[Command]:
    """What makes the nodes of a farm those: what is not among them is drained, so that what runs there may end."""
    commands: list[Command] = []
    for each in nodes:
        commands.append(RegisterNode(node_id=each.node_id, capacity=each.capacity, attributes=each.attributes))
        there = known.get(each.node_id)
        if there is None or there.status is NodeStatus.OFFLINE:
            commands.append(BringOnline(node_id=each.node_id))
    kept = {each.node_id for each in nodes}
    if nodes:
        commands += [
            DrainNode(node_id=node_id) for node_id, node in known.items() if node_id not in kept and not node.retired
        ]
    return commands
