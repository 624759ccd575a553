"""A farm on a desk: the application over a log in memory, with short ways to ask for things and to look at them."""

from collections.abc import Iterable
from typing import Any

from adapters.store.memory import MemoryLog
from application import farms
from application.app import Application, Reply, state_of
from application.commands import Submit
from application.decider import CHECKPOINT, CLIENT, DEPENDENCY, JOB, NODE, WORKFLOW, Aggregate
from application.ports import Log
from application.scheduler import Scheduler
from domain.client import RegisterClient, Shares
from domain.decisions import Plan
from domain.dependency import Dependency, DependencyState, dependency_id
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass, Job, JobStatus
from domain.messages import Command, Event, JobId, Recorded, client_stream, node_stream, topic_of
from domain.node import BringOnline, Node, RegisterNode
from domain.workflow import Workflow
from tests.builders import resources, spec
from tests.contents import contents
from tests.fakes import CountedIds, ManualClock

ADA = "user:ada"


class Desk:
    """One application, its clock and its scheduler."""

    def __init__(self, log: Log | None = None, clock: ManualClock | None = None) -> None:
        self.log: Log = log if log is not None else MemoryLog()
        self.clock = clock or ManualClock()
        self.app = Application(self.log, self.clock, CountedIds())
        self.scheduler = Scheduler(self.app)

    # -- asking --------------------------------------------------------------------------------------------------

    def do(self, *commands: Command, by: str = ADA, command_id: str = "") -> Reply:
        """All of it in one transaction, or the error that says why not."""
        return self.app.handle_all(commands, by, command_id)

    def nodes(self, *node_ids: str, cores: float = 4, **amounts: int) -> None:
        """Nodes that take work."""
        for node_id in node_ids:
            register = RegisterNode(node_id=node_id, capacity=resources(cores, **amounts))
            self.do(register, BringOnline(node_id=node_id))

    def client(self, client_id: str = "show", **shares: Any) -> None:
        """A registered client."""
        self.do(RegisterClient(client_id=client_id, shares=Shares(**shares)))

    def submit(self, *job_ids: JobId, after: Iterable[JobId] = (), held: bool = False, **fields: Any) -> None:
        """Jobs of the client `default` unless it says otherwise, all after the same ones, each by itself."""
        given = {"client_id": "default"} | fields
        for job_id in job_ids:
            self.do(c.SubmitJob(spec=spec(job_id, **given), after=tuple(after), held=held))

    def submit_workflow(
        self, *job_ids: JobId, edges: Iterable[tuple[JobId, JobId]] = (), workflow_id: str = "wf-1", **fields: Any
    ) -> None:
        """A workflow with these jobs and (predecessor, successor) pairs."""
        given = {"client_id": "default", "workflow_id": workflow_id} | fields
        jobs = tuple(c.SubmitJob(spec=spec(job_id, **given)) for job_id in job_ids)
        self.do(Submit(workflow_id=workflow_id, workflow_name="a film", jobs=jobs, dependencies=tuple(edges)))

    def cycle(self) -> Plan:
        """One scheduling cycle."""
        return self.scheduler.cycle()

    # -- what executors would say --------------------------------------------------------------------------------

    def start(self, job_id: JobId) -> None:
        """All live attempts of a job say that they run."""
        self.do(c.ReportStarted(job_id=job_id, attempts=tuple(self.job(job_id).live)), by="dispatcher")

    def finish(self, *job_ids: JobId, failure: FailureClass | None = None) -> None:
        """All live attempts of these jobs end, well unless a failure is named."""
        for job_id in job_ids:
            ends = tuple(AttemptEnd(n, a.task, failure=failure) for n, a in self.job(job_id).live.items())
            assert ends, f"nothing of {job_id} runs"
            self.do(c.ReportEnded(job_id=job_id, ends=ends), by="dispatcher")

    def run(self, *job_ids: JobId, failure: FailureClass | None = None) -> None:
        """These jobs are placed in the next cycle and end."""
        self.cycle()
        self.finish(*job_ids, failure=failure)

    # -- looking -------------------------------------------------------------------------------------------------

    def _state(self, aggregate: Aggregate, stream: str) -> Any:
        return state_of(self.app, aggregate, stream)

    def job(self, job_id: JobId) -> Job:
        """A job, live or ended."""
        found = self._state(JOB, job_id)
        assert isinstance(found, Job), f"there is no {job_id}"
        return found

    def status(self, job_id: JobId) -> JobStatus:
        """The published word."""
        return self.job(job_id).status

    def workflow(self, workflow_id: str = "wf-1") -> Workflow:
        """A workflow, live or ended."""
        found = self._state(WORKFLOW, workflow_id)
        assert isinstance(found, Workflow), f"there is no {workflow_id}"
        return found

    def node(self, node_id: str) -> Node:
        """A node."""
        found = self._state(NODE, node_stream(node_id))
        assert isinstance(found, Node), f"there is no {node_id}"
        return found

    def known_client(self, client_id: str) -> Any:
        """A client, or None."""
        return self._state(CLIENT, client_stream(client_id))

    def checkpoint(self, checkpoint_id: str) -> Any:
        """A checkpoint, or None."""
        return self._state(CHECKPOINT, checkpoint_id)

    def edge(self, predecessor: JobId, successor: JobId) -> DependencyState:
        """Where the edge between two jobs stands."""
        found = self._state(DEPENDENCY, dependency_id(predecessor, successor))
        assert isinstance(found, Dependency), f"no edge {predecessor} → {successor}"
        return found.state

    def recorded(self, after: int = 0) -> list[Recorded]:
        """What the log holds after a position."""
        return self.log.read(after, 1_000_000)

    def topics(self, after: int = 0) -> list[str]:
        """The topics of the same."""
        return [topic_of(type(each.event)) for each in self.recorded(after)]

    def last(self, kind: type[Event]) -> Any:
        """The newest event of a type."""
        return next(each.event for each in reversed(self.recorded()) if type(each.event) is kind)

    @property
    def position(self) -> int:
        """The end of the log."""
        return self.log.position()

    def check(self) -> None:
        """The farm in use is the fold of the log."""
        assert contents(self.app.farm) == contents(farms.load(self.log))
