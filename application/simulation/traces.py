"""A trace on a farm: its machine as nodes, its jobs as submissions, and what came of them.

A machine of n processors is one node of n cores, because a trace says nothing about where processors are; with nodes of
one's own a job of n processors is a gang of n slots over any of them, unless more is known of what it needs.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress

from application.commands import AdoptPolicies
from application.forecasts import Forecasts
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
from application.simulation.kernel import Kernel
from application.simulation.kernel_farm import LateApplication
from application.simulation.kernel_one_by_one import OneByOne
from application.simulation.kernel_scope import scope_of
from application.simulation.metrics import Completed
from application.simulation.portfolio import PortfolioReviewer
from application.simulation.standing import rest_ms
from application.simulation.workload import Trace, TraceJob
from domain.client import RegisterClient
from domain.job import events as e
from domain.job.commands import SubmitJob
from domain.job.values import Attempt, AttemptNumber, FailureClass, Job, JobSpec, Work
from domain.messages import Command, JobId, Recorded
from domain.node import BringOnline, RegisterNode
from domain.planning import blockers
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
        forecasts: bool = False,
        kernel: bool = True,
    ) -> None:
        """`needs` are by job number, for jobs of which more than processors is known; `start_ms` is second 0.

        `check` is called often, at moments when the log is complete; what it raises ends the run. With `forecasts` the
        ends of jobs with deadlines are forecast and scored as a server does it, which costs time and events. Without
        `kernel` the engine runs everything, also what the kernel could run faster with the same log.
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
        self.by_kernel = False
        """Whether the kernel ran it, in place of the engine."""
        self._all_arrived = False
        clock = VirtualClock(start_ms)
        self.app = LateApplication(log, clock, CountedIds())
        reviewer = PortfolioReviewer(self.app, passes=passes)
        recorder = Forecasts(self.app, gap_ms=0).look if forecasts else None
        self.simulator = Simulator(
            self.app, clock, self, passes=passes, seen=self._saw, reviewer=reviewer, recorder=recorder
        )
        self._policies = policies
        self._passes = passes
        own = not nodes and not outages and not forecasts and log.position() == 0
        self._engine = self._parts() if kernel and own else None
        """What the kernel may stand in for; None where it does not apply in any case."""

    def run(self, progress: Callable[[Progress], None] | None = None) -> list[Completed]:
        """Runs the whole trace; the jobs that completed, in the order of the trace."""
        self.app.handle_all(self._opening(), ACTOR)
        kernel = self._kernel()
        if kernel is None:
            self.simulator.run(self._arrivals(), progress)
        else:
            self._run_by(kernel, progress)
        return list(self._completed())

    def _completed(self) -> Iterator[Completed]:
        starts, ends, needs_of = self.starts, self.ends, self.needs_of
        for job in self.trace.jobs:
            number, needs = job.number, needs_of(job)
            end_s = ends.get(number)
            if end_s is not None:
                times = starts[number], end_s, job.processors, job.requested_s
                yield Completed(number, job.submit_s, *times, needs.deadline_s, needs.client_id)

    def _opening(self) -> tuple[Command, ...]:
        commands: list[Command] = []
        for node in self.nodes:
            commands.append(RegisterNode(node_id=node.node_id, capacity=node.capacity, attributes=node.attributes))
            commands.append(BringOnline(node_id=node.node_id))
        clients = {each.client_id for each in self._needs.values()} - {DEFAULT_CLIENT}
        commands += [RegisterClient(client_id=client_id) for client_id in sorted(clients)]
        return (*commands, AdoptPolicies(policies=self._policies))

    # -- the kernel ----------------------------------------------------------------------------------------------

    def _parts(self) -> tuple[object, ...]:
        """Everything that takes part in a run or listens to it."""
        return self.simulator.reviewer, self.simulator.cycles, *self.app.listeners

    def _kernel(self) -> Kernel | None:
        """The kernel for this run; None where it does not apply, or where somebody has put in parts of his own."""
        if self._engine is None or self._engine != self._parts():
            return None
        needs = [self.needs_of(job) for job in self.trace.jobs]
        possible = [self._is_possible(each.requirement) for each in needs]
        jobs = list(compress(self.trace.jobs, possible))
        ids = [job_id_of(job, self._digits) for job in jobs]
        scope = scope_of(self.app, jobs, list(compress(needs, possible)), ids, self._spec, self._start_ms)
        if scope is None:
            return None
        self.impossible += [job.number for job, can in zip(self.trace.jobs, possible, strict=True) if not can]
        return (Kernel if self._passes is Pass.INSTANT else OneByOne)(self.app, scope, self._spec)

    def _run_by(self, kernel: Kernel, progress: Callable[[Progress], None] | None) -> None:
        self.starts, self.ends, self.by_kernel = kernel.starts, kernel.ends, True
        simulator = self.simulator

        def tell(told: Progress) -> None:
            simulator.clock.set(told.now_ms)
            simulator.arrived, simulator.cycled, self.placed = told.arrived, kernel.cycled, len(self.starts)
            if progress is not None:
                progress(told)

        kernel.run(self._check, tell)

    # -- what arrives --------------------------------------------------------------------------------------------

    def _arrivals(self) -> Iterator[Arrival]:
        """Jobs and changes of nodes by time; at one moment the nodes first."""
        if not self._outages:
            return self._submissions()
        return heapq.merge(self._changes(), self._submissions(), key=lambda arrival: arrival.at_ms)

    def _submissions(self) -> Iterator[Arrival]:
        start_ms = self._start_ms
        for job in self.trace.jobs:
            self._check()
            needs = self.needs_of(job)
            if self._is_possible(needs.requirement):
                job_id = job_id_of(job, self._digits)
                self._by_id[job_id] = job
                yield Arrival(start_ms + job.submit_s * 1_000, (SubmitJob(spec=self._spec(job_id, job, needs)),))
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

    def _spec(self, job_id: JobId, job: TraceJob, needs: Needs) -> JobSpec:
        deadline_s = needs.deadline_s
        return JobSpec(
            job_id,
            needs.name or job_id,
            needs.client_id,
            _WORK,
            needs.requirement,
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
        """See `engine.Behaviour`: the run time of the trace, from the beginning unless a checkpoint was saved."""
        self._check()
        return rest_ms(job, attempt.task, self._by_id[job.spec.job_id].run_s * 1_000), None

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        for _, _, _, event, _ in recorded:
            if type(event) is e.TasksPlaced:
                self.placed += 1
                self.starts[self._by_id[event.job_id].number] = (event.at_ms - self._start_ms) // 1_000
            elif type(event) is e.JobCompleted:
                job = self._by_id.pop(event.job_id)
                self.ends[job.number] = (event.at_ms - self._start_ms) // 1_000


def job_id_of(job: TraceJob, digits: int = ID_DIGITS) -> JobId:
    """Ids that sort as their numbers do, if none of these has more digits."""
    return f"job-{job.number:0{max(digits, ID_DIGITS)}d}"
