"""A trace on a farm: its machine as nodes, its jobs as submissions, and what came of them.

A machine of n processors is one node of n cores, because a trace says nothing about where processors are; with nodes of
one's own a job of n processors is a gang of n slots over any of them, unless more is known of what it needs.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence

from application.app import Application
from application.commands import AdoptPolicies
from application.ports import Log
from application.simulation.clock import CountedIds, VirtualClock
from application.simulation.engine import ACTOR, Arrival, Pass, Progress, Simulator
from application.simulation.farms import (
    DEFAULT_CLIENT,
    Needs,
    Outage,
    SimulatedNode,
    gang,
    machine,
    node_changes,
    whole,
)
from application.simulation.metrics import Completed
from application.simulation.portfolio import PortfolioReviewer
from application.simulation.workload import Trace, TraceJob
from domain import blockers
from domain.client import RegisterClient
from domain.job import events as e
from domain.job.commands import SubmitJob
from domain.job.values import Attempt, AttemptNumber, FailureClass, Job, JobSpec, Work
from domain.messages import Command, JobId, Recorded
from domain.node import BringOnline, RegisterNode
from domain.policies import Policies
from domain.resources import Requirement

__all__ = ["SimulatedNode", "TraceRun", "job_id_of"]

ID_DIGITS = 9
_WORK = Work(argv=("simulated",))


def _go_on() -> None:
    """Nobody wants it to stop."""


class TraceRun:
    """One trace on one farm under one set of policies."""

    def __init__(
        self,
        trace: Trace,
        log: Log,
        policies: Policies,
        *,
        passes: Pass = Pass.INSTANT,
        nodes: Sequence[SimulatedNode] = (),
        start_ms: int = 0,
        needs: Mapping[int, Needs] | None = None,
        outages: Sequence[Outage] = (),
        check: Callable[[], None] = _go_on,
    ) -> None:
        """`needs` are by job number, for jobs of which more than processors is known; `start_ms` is second 0.

        `check` is called often, at moments when the log is complete; what it raises ends the run.
        """
        self.trace, self._start_ms, self._check = trace, start_ms, check
        self.nodes = tuple(nodes) or (machine(trace.processors),)
        self._needs, self._outages = needs or {}, outages
        self._usual = gang if nodes else whole
        self._digits = len(str(max((job.number for job in trace.jobs), default=0)))
        self._by_processors: dict[int, Needs] = {}
        self._possible: dict[Requirement, bool] = {}
        self._by_id: dict[JobId, TraceJob] = {}
        """Jobs that have arrived and not completed."""
        self.starts: dict[int, int] = {}
        """When each job started last, in seconds on the trace's clock."""
        self.ends: dict[int, int] = {}
        """When each job completed."""
        self.impossible: list[int] = []
        """Numbers of jobs that were left out because no node could ever hold them."""
        self.placed = 0
        """How often a job was started; what a lost node ran is started again."""
        self._all_arrived = False
        clock = VirtualClock(start_ms)
        self.app = Application(log, clock, CountedIds())
        reviewer = PortfolioReviewer(self.app, passes=passes)
        self.simulator = Simulator(self.app, clock, self, passes=passes, seen=self._saw, reviewer=reviewer)
        self._policies = policies

    def run(self, progress: Callable[[Progress], None] | None = None) -> list[Completed]:
        """Runs the whole trace; the jobs that completed, in the order of the trace."""
        self.app.handle_all(self._opening(), ACTOR)
        self.simulator.run(self._arrivals(), progress)
        return [self._completed(job) for job in self.trace.jobs if job.number in self.ends]

    def _completed(self, job: TraceJob) -> Completed:
        number, needs = job.number, self.needs_of(job)
        start_s, end_s = self.starts[number], self.ends[number]
        deadline_s, client_id = needs.deadline_s, needs.client_id
        return Completed(number, job.submit_s, start_s, end_s, job.processors, job.requested_s, deadline_s, client_id)

    def _opening(self) -> tuple[Command, ...]:
        commands: list[Command] = []
        for node in self.nodes:
            commands.append(RegisterNode(node_id=node.node_id, capacity=node.capacity, attributes=node.attributes))
            commands.append(BringOnline(node_id=node.node_id))
        clients = {each.client_id for each in self._needs.values()} - {DEFAULT_CLIENT}
        commands += [RegisterClient(client_id=client_id) for client_id in sorted(clients)]
        return (*commands, AdoptPolicies(policies=self._policies))

    # -- what arrives --------------------------------------------------------------------------------------------

    def _arrivals(self) -> Iterator[Arrival]:
        """Jobs and changes of nodes by time; at one moment the nodes first."""
        return heapq.merge(self._changes(), self._submissions(), key=lambda arrival: arrival.at_ms)

    def _submissions(self) -> Iterator[Arrival]:
        start_ms = self._start_ms
        for job in self.trace.jobs:
            self._check()
            if self._is_possible(self.needs_of(job).requirement):
                job_id = job_id_of(job, self._digits)
                self._by_id[job_id] = job
                yield Arrival(start_ms + job.submit_s * 1_000, (SubmitJob(spec=self._spec(job_id, job)),))
            else:
                self.impossible.append(job.number)
        self._all_arrived = True

    def _changes(self) -> Iterator[Arrival]:
        """What happens to nodes, until no job is left."""
        for change in node_changes(self._outages, self._start_ms):
            if self._all_arrived and not self._by_id:
                return
            yield change

    def _is_possible(self, requirement: Requirement) -> bool:
        known = self._possible.get(requirement)
        if known is None:
            known = self._possible[requirement] = not blockers.impossible(self.app.farm.index, requirement)
        return known

    def _spec(self, job_id: JobId, job: TraceJob) -> JobSpec:
        needs = self.needs_of(job)
        deadline_s = needs.deadline_s
        return JobSpec(
            job_id=job_id,
            name=needs.name or job_id,
            client_id=needs.client_id,
            work=_WORK,
            requirement=needs.requirement,
            priority=needs.priority,
            walltime_ms=job.requested_s * 1_000,
            deadline_ms=None if deadline_s is None else self._start_ms + deadline_s * 1_000,
            kind=needs.kind,
        )

    def needs_of(self, job: TraceJob) -> Needs:
        """What a job needs: what is known of it, or else its processors."""
        known = self._needs.get(job.number) or self._by_processors.get(job.processors)
        if known is None:
            known = self._by_processors[job.processors] = self._usual(job.processors)
        return known

    # -- what happens --------------------------------------------------------------------------------------------

    def run_of(self, job: Job, attempt: Attempt, number: AttemptNumber) -> tuple[int, FailureClass | None]:
        """See `engine.Behaviour`: the run time of the trace, from the beginning each time."""
        self._check()
        return self._by_id[job.spec.job_id].run_s * 1_000, None

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        for _, _, _, event, _ in recorded:
            if isinstance(event, e.TasksPlaced):
                self.placed += 1
                self.starts[self._by_id[event.job_id].number] = (event.at_ms - self._start_ms) // 1_000
            elif isinstance(event, e.JobCompleted):
                job = self._by_id.pop(event.job_id)
                self.ends[job.number] = (event.at_ms - self._start_ms) // 1_000


def job_id_of(job: TraceJob, digits: int = ID_DIGITS) -> JobId:
    """Ids that sort as their numbers do, if none of these has more digits."""
    return f"job-{job.number:0{max(digits, ID_DIGITS)}d}"
