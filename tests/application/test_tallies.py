"""The counts of workflows with what a batch has staged, and when a workflow ends: against a look at every job."""

import random
from typing import Any

import pytest

from application.commands import HANDLERS, Submit
from application.consequences import follow
from application.decider import JOB, WORKFLOW, Batch
from domain import errors
from domain.dependency import BypassDependency, DeclareDependency
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass, Job, JobStatus
from domain.messages import Command, Meta
from domain.node import LoseNode
from domain.workflow import Workflow
from tests.application.desk import Desk
from tests.builders import HOUR, NOW, spec
from tests.fakes import CountedIds

SEEDS = range(25)
META = Meta("user:ada")


class Looked(dict[str, Job]):
    """The jobs of a farm, and how often somebody looked one up."""

    count = 0

    def get(self, *args: Any) -> Any:
        self.count += 1
        return super().get(*args)

    def __getitem__(self, job_id: str) -> Job:
        self.count += 1
        return super().__getitem__(job_id)


class Film:
    """Workflows with random dependencies, and random things to ask of them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.desk, self.ids = Desk(), CountedIds()
        self.desk.nodes("n1", cores=6)
        self.jobs: list[str] = []
        self.workflows: list[str] = []

    def submit(self) -> Submit:
        """A workflow of one to five jobs; some wait for earlier ones, here or elsewhere, some for a start time."""
        workflow_id = self.ids.new("wf")
        ids = [self.ids.new("job") for _ in range(self.rng.randint(1, 5))]
        jobs = tuple(self.job(job_id, workflow_id) for job_id in ids)
        known = sorted(self.desk.app.farm.jobs)
        edges = [(before, after) for at, after in enumerate(ids) for before in ids[:at] if self.rng.random() < 0.5]
        if known and self.rng.random() < 0.4:
            edges.append((self.rng.choice(known), ids[0]))
        self.jobs += ids
        self.workflows.append(workflow_id)
        return Submit(workflow_id=workflow_id, jobs=jobs, dependencies=tuple(edges))

    def job(self, job_id: str, workflow_id: str) -> c.SubmitJob:
        later = NOW + HOUR if self.rng.random() < 0.15 else None
        return c.SubmitJob(spec=spec(job_id, client_id="default", workflow_id=workflow_id, not_before_ms=later))

    def wish(self) -> Command:
        """Something that may well be refused."""
        job_id, workflow_id = self.rng.choice(self.jobs), self.rng.choice(self.workflows)
        edges = sorted(self.desk.app.farm.dependencies) or ["dep-none"]
        match self.rng.randrange(10):
            case 0:
                return self.submit()
            case 1:
                self.jobs.append(self.ids.new("job"))
                return self.job(self.jobs[-1], workflow_id)
            case 2:
                return c.RetryJob(job_id=job_id)
            case 3:
                return BypassDependency(dependency_id=self.rng.choice(edges))
            case 4:
                return DeclareDependency(predecessor_id=job_id, successor_id=self.rng.choice(self.jobs))
            case 5 | 6:
                return c.CancelJob(job_id=job_id)
            case _:
                return self.end()

    def end(self) -> Command:
        """An attempt ends, of those that the farm knows to live."""
        live = [(j, n, a.task) for j, job in sorted(self.desk.app.farm.jobs.items()) for n, a in job.live.items()]
        if not live:
            return LoseNode(node_id="n1", why="nothing runs there")
        job_id, number, task = self.rng.choice(live)
        failure = self.rng.choice((None, None, FailureClass.EXIT))
        return c.ReportEnded(job_id=job_id, ends=(AttemptEnd(number, task, failure=failure),))


def counted(batch: Batch, workflow: Workflow) -> tuple[int, int, int]:
    """The counts of a workflow, the slow and obvious way."""
    states = [batch.job(job_id) for job_id in workflow.jobs]
    left = [state for state in states if state is None or state.ended is None]
    going = [state for state in left if state is not None and (state.queued or state.live)]
    bad = [state for state in states if state is not None and state.ended in (JobStatus.FAILED, JobStatus.CANCELLED)]
    return len(left), len(going), len(bad)


def check_tallies(film: Film, batch: Batch) -> None:
    for workflow_id in film.workflows:
        workflow = batch.load(WORKFLOW, workflow_id).state
        tally = batch.tally(workflow_id)
        if workflow is None or workflow.ended is not None:
            assert tally is None, workflow_id
        else:
            assert tally is not None, workflow_id
            assert (tally.left, tally.going, tally.bad) == counted(batch, workflow), workflow_id


@pytest.mark.parametrize("seed", SEEDS)
def test_a_batch_counts_what_it_has_staged_and_no_longer_what_was_rolled_back(seed: int) -> None:
    film = Film(seed)
    film.desk.do(film.submit())
    for _ in range(12):
        film.desk.cycle()
        batch = Batch(film.desk.app.farm, film.desk.log, film.desk.clock.now_ms())
        for _ in range(film.rng.randint(1, 8)):
            stage(film, batch, [film.wish() for _ in range(film.rng.randint(1, 3))])
            if film.rng.random() < 0.6:
                check_tallies(film, batch)
        check_tallies(film, batch)
        for _ in range(3):
            try_to(film.desk, film.wish())
        film.workflows = [each for each in film.workflows if film.desk._state(WORKFLOW, each)]
        film.jobs = [each for each in film.jobs if film.desk._state(JOB, each)]


def stage(film: Film, batch: Batch, commands: list[Command]) -> None:
    """One request of several commands, all or none."""
    mark = batch.mark()
    try:
        for command in commands:
            start = len(batch.events)
            HANDLERS.get(type(command), Batch.do)(batch, command, META)
            follow(batch, start, META)
        if film.rng.random() < 0.2:
            raise errors.JobNotFound(job_id="job-none")
    except errors.TaskSchedulerError:
        check_tallies(film, batch)  # counted before it is rolled back
        batch.roll_back(mark)


def try_to(desk: Desk, command: Command) -> None:
    try:
        desk.do(command)
    except (errors.NotAllowed, errors.Invalid, errors.NotFound):
        return


def may_end(desk: Desk, workflow: Workflow) -> bool:
    """Whether all has ended, or something ended badly and all that is left waits in vain, directly or not."""
    states = {job_id: desk.job(job_id) for job_id in workflow.jobs}
    left = {job_id for job_id, state in states.items() if state.ended is None}
    if not left:
        return True
    if all(states[job_id].ended is JobStatus.COMPLETED for job_id in states.keys() - left):
        return False
    stuck: set[str] = set()
    for _ in left:
        for job_id in left:
            edges = [edge for edge in desk.app.farm.edges_into(job_id) if edge.blocks]
            if any(edge.state.value == "failed" or edge.predecessor_id in stuck for edge in edges):
                stuck.add(job_id)
    return stuck == left and not any(states[job_id].live for job_id in left)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_each_end_of_a_job_its_workflow_ends_just_when_nothing_of_it_can_go_on(seed: int) -> None:
    film = Film(seed)
    desk = film.desk
    desk.do(film.submit())
    for _ in range(60):
        desk.cycle()
        before, live = desk.position, set(desk.app.farm.workflows)
        try_to(desk, film.wish())
        film.workflows = [each for each in film.workflows if desk._state(WORKFLOW, each)]
        film.jobs = [each for each in film.jobs if desk._state(JOB, each)]
        for recorded in desk.recorded(after=before):
            if recorded.event.__struct_config__.tag in ("job.completed", "job.failed", "job.cancelled"):
                workflow = desk.workflow(str(desk.job(recorded.stream).spec.workflow_id))
                if workflow.workflow_id in live:
                    assert (workflow.ended is not None) == may_end(desk, workflow), (workflow, recorded)
    desk.check()
    assert desk.app.farm.scouts.keys() <= desk.app.farm.workflows.keys()


# -- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [False, True], ids=["nothing failed", "one failed"])
def test_the_end_of_a_job_is_no_reason_to_look_at_all_the_others(bad: bool) -> None:
    many = [f"job-{number:03}" for number in range(300)]
    desk = Desk()
    desk.nodes("n1", cores=1_000)
    desk.submit_workflow(*many, edges=[("job-000", other) for other in many[100:]])
    desk.cycle()
    if bad:
        desk.finish("job-001", failure=FailureClass.EXIT)
    looks = Looked(desk.app.farm.jobs)
    desk.app.farm.jobs = looks
    for job_id in many[2:100]:
        desk.finish(job_id)
    assert looks.count < 98 * 12
    desk.check()


def test_jobs_that_all_wait_for_a_start_time_are_cancelled_one_by_one_without_a_look_at_all() -> None:
    many = [f"job-{number:03}" for number in range(300)]
    desk = Desk()
    desk.submit_workflow(*many, not_before_ms=NOW + HOUR)
    looks = Looked(desk.app.farm.jobs)
    desk.app.farm.jobs = looks
    for job_id in many[:-1]:
        desk.do(c.CancelJob(job_id=job_id))
    assert desk.workflow().ended is None
    assert looks.count < 299 * 12
    desk.do(c.CancelJob(job_id=many[-1]))
    assert desk.workflow().ended is JobStatus.CANCELLED


def test_the_rest_of_a_failed_workflow_is_cancelled_without_reading_the_workflow_each_time() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit_workflow("job-1", "job-2", "job-3", edges=[("job-1", "job-2"), ("job-1", "job-3")])
    desk.run("job-1", failure=FailureClass.EXIT)
    assert desk.workflow().ended is JobStatus.FAILED
    read: list[str] = []
    stream = desk.log.stream
    desk.log.stream = lambda name, *where: (read.append(name), stream(name, *where))[1]  # type: ignore[method-assign]
    desk.do(c.CancelJob(job_id="job-2"))
    assert "wf-1" not in read
    assert desk.workflow().ended is JobStatus.FAILED
