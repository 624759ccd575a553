"""What the queue view answers, worked out by hand from a few events."""

import msgspec
import pytest
from sqlalchemy import Engine

from domain import intervals, workflow
from domain.checkpoint import RestoreCheckpoint, TakeCheckpoint
from domain.cycle import CycleDecided, cycle_stream
from domain.decisions import Blocked, Reason, ReasonCode, Reserved, segment_name
from domain.dependency import BypassDependency, DeclareDependency, FailDependency, SatisfyDependency, dependency_id
from domain.job import commands as c
from domain.job.values import FailureClass, JobStatus, Priority, Progressive, StopCause
from domain.messages import Event
from domain.workflow import ArchiveWorkflow, EndWorkflow, SubmitWorkflow
from projections import queue
from projections.queue import JobFilter, JobOrder
from projections.queue.rows import AttemptRow, CountRow, DependencyRow, JobRow, WorkflowRow
from projections.rows import Row
from projections.tables import ATTEMPTS, DEPENDENCIES, JOB_COUNTS, JOBS, WORKFLOWS
from tests.builders import NOW, need
from tests.projections.reading import folded
from tests.projections.world import World, spec

ROWS = {JOBS: JobRow, WORKFLOWS: WorkflowRow, ATTEMPTS: AttemptRow, DEPENDENCIES: DependencyRow, JOB_COUNTS: CountRow}


@pytest.fixture
def world() -> World:
    made = World()
    made.add_node("n1")
    made.add_node("n2")
    return made


@pytest.mark.parametrize("table", ROWS, ids=str)
def test_rows_have_the_columns_of_their_table_in_order(table: object) -> None:
    row: type[Row] = ROWS[table]  # type: ignore[index]
    columns = [column.name for column in table.columns]  # type: ignore[attr-defined]
    assert list(row.__struct_fields__[: len(columns)]) == columns


def test_a_job_is_followed_from_submission_to_its_end(engine: Engine, world: World) -> None:
    world.submit("job-1", tasks="1-4", priority=Priority.HIGH, deadline_ms=NOW + 9_000)
    world.now_ms += 100
    world.place("job-1", "1-2", "n1")
    world.now_ms += 100
    world.start("job-1", 1, 2)
    world.now_ms += 100
    world.do(c.ReportProgress(job_id="job-1", attempt=2, percent=60))
    world.end("job-1", 1, exit_code=0)
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
        assert job is not None
        assert (job.name, job.client_id, job.status) == ("name of job-1", "studio", JobStatus.RUNNING)
        assert (job.priority, job.deadline_ms) == (Priority.HIGH, NOW + 9_000)
        assert (job.tasks, job.waiting, job.running, job.succeeded) == (4, 2, 1, 1)
        assert (job.submitted_ms, job.queued_ms, job.started_ms, job.ended_ms) == (NOW, NOW, NOW + 200, None)
        assert job.progress == 37  # (100 + 50) // 4: one task done, one noted at 50 %
        assert job.requirement == world.job("job-1").spec.requirement
    world.place("job-1", "3-4", "n2")
    world.end("job-1", 2, 3, 4)
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
        assert job is not None
        assert (job.status, job.ended_ms, job.progress) == (JobStatus.COMPLETED, NOW + 300, 100)
        assert (job.waiting, job.running, job.succeeded, job.attempts) == (0, 0, 4, 4)
        assert queue.job(connection, "job-2") is None


def test_attempts_say_where_when_and_how(engine: Engine, world: World) -> None:
    world.submit("job-1", tasks="1-3", requirement=need(1, slots=2), retries=1)
    world.place("job-1", "2", "n1", "n2")
    world.now_ms += 10
    world.start("job-1", 1)
    checkpoint = {"checkpoint_id": "ckpt-1", "job_id": "job-1", "attempt": 1, "location": "/c"}
    world.do(TakeCheckpoint(task=2, size_bytes=1, sha256="", **checkpoint), c.NoteCheckpoint(**checkpoint))
    world.do(c.ReportPartial(job_id="job-1", attempt=1, path="/p.png", quality=30))
    world.now_ms += 10
    times = {"started_ms": NOW + 5, "ended_ms": NOW + 17, "cpu_ms": 11, "max_rss_mib": 64}
    world.end("job-1", 1, failure=FailureClass.EXIT, exit_code=3, message="no licence", **times)
    world.now_ms += 60_000
    world.place("job-1", "2", "n2", slots=2)
    world.do(RestoreCheckpoint(checkpoint_id="ckpt-1", attempt=2))
    with folded(engine, world, queue.PROJECTION) as connection:
        first, second = queue.attempts_of(connection, "job-1")
        assert queue.attempts_of(connection, "job-1", task=1) == []
    assert (first.attempt_id, first.host, first.nodes) == ("job-1.2.1", "n1", (("n1", 1), ("n2", 1)))
    assert (first.placed_ms, first.started_ms, first.ended_ms) == (NOW, NOW + 5, NOW + 17)
    assert (first.outcome, first.failure, first.exit_code, first.signal) == ("failed", FailureClass.EXIT, 3, None)
    assert (first.message, first.cpu_ms, first.max_rss_mib) == ("no licence", 11, 64)
    assert (first.checkpoint_id, first.partial_path, first.partial_quality) == ("ckpt-1", "/p.png", 30)
    assert (second.outcome, second.placed_ms, second.ended_ms) == ("running", NOW + 60_020, None)
    assert (second.restored_from, second.nodes) == ("ckpt-1", (("n2", 2),))


def test_attempts_that_did_not_end_by_themselves_say_so(engine: Engine, world: World) -> None:
    world.submit("job-1", tasks="1-3")
    world.place("job-1", "1-2", "n1")
    world.place("job-1", "3", "n2")
    world.do(c.StopAttempts(job_id="job-1", attempts=(1,), cause=StopCause.REQUEUED))
    world.end("job-1", 1, failure=FailureClass.SIGNAL, signal=15)
    world.do(c.LoseAttempts(job_id="job-1", node_id="n2", attempts=(3,)))
    world.do(c.CancelJob(job_id="job-1", why="not needed"))
    with folded(engine, world, queue.PROJECTION) as connection:
        attempts = queue.attempts_of(connection, "job-1")
        job = queue.job(connection, "job-1")
    assert [attempt.outcome for attempt in attempts] == ["requeued", "running", "lost"]
    assert (attempts[1].stopping, attempts[2].message) == (StopCause.CANCELLED, "node n2 went away")
    assert job is not None
    assert (job.status, job.why, job.cancelled, job.running) == (JobStatus.CANCELLED, "not needed", 2, 1)
    world.end("job-1", 2, failure=FailureClass.SIGNAL, signal=15)
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
        assert queue.attempts_of(connection, "job-1")[1].outcome == "cancelled"
    assert job is not None
    assert (job.cancelled, job.running) == (3, 0)


def test_a_failed_job_says_how_it_failed(engine: Engine, world: World) -> None:
    world.submit("job-1", tasks="1-3")
    world.place("job-1", "1-3", "n1")
    world.end("job-1", 1)
    world.end("job-1", 2, failure=FailureClass.SIGNAL, signal=9)
    world.do(c.HoldJob(job_id="job-1", why="later"))
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert job is not None
    assert (job.why, job.held_by) == ("later", "user:ada")
    world.end("job-1", 3, failure=FailureClass.LAUNCH, message="no such file: blendr")
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert job is not None
    assert job.why == "task 3 failed: it could not be started (no such file: blendr); 1 other task failed, too"


def test_a_paused_job_waits_for_whoever_paused_it_although_all_its_tasks_run(engine: Engine, world: World) -> None:
    world.submit("job-1")
    world.place("job-1", "0", "n1")
    world.do(c.PauseJob(job_id="job-1", why="the artist looks"))
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert job is not None
    assert (job.blocker, job.why, job.paused_by) == ("is paused by user:ada", "the artist looks", "user:ada")
    world.do(c.ResumeJob(job_id="job-1"))
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert job is not None
    assert (job.blocker, job.why, job.paused_by) == ("", "", "")


def test_a_job_whose_first_tasks_ran_waits_for_approval(engine: Engine, world: World) -> None:
    """The others are in nobody's way meanwhile: reasons of their segment are not theirs."""
    world.submit("job-1", tasks="1-4", progressive=Progressive(every=2, approve=True))
    world.place("job-1", "1,3", "n1")
    world.place("job-1", "4", "n1")
    segment = segment_name("studio", Priority.MEDIUM, spec("job-1").requirement)
    world.record(
        cycle_stream(NOW),
        CycleDecided(at_ms=NOW, position=1, blocked=(Blocked(segment, (Reason(ReasonCode.RESOURCES_SHORT),)),)),
    )
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert job is not None
    assert (job.waiting, job.blocker) == (1, "1 of its tasks wait for approval (`milepost approve`)")
    assert [reason.code for reason in job.blockers] == [ReasonCode.APPROVAL]
    world.do(c.ApproveJob(job_id="job-1"))
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert job is not None
    assert ReasonCode.APPROVAL not in [reason.code for reason in job.blockers]


def test_jobs_are_found_by_status_client_workflow_and_text(engine: Engine, world: World) -> None:
    world.submit("job-1", client_id="studio", name="Beauty 100%", workflow_id="wf-1")
    world.submit("job-2", client_id="lab", name="shadow", held=True)
    world.submit("job-3", client_id="lab", name="beauty")
    world.do(c.CancelJob(job_id="job-3"))

    with folded(engine, world, queue.PROJECTION) as connection:

        def found(**which: object) -> list[str]:
            wanted = JobFilter(**which)  # type: ignore[arg-type]
            jobs = queue.list_jobs(connection, wanted, JobOrder.OLDEST)
            assert queue.count_jobs(connection, wanted) == len(jobs)
            return [job.job_id for job in jobs]

        assert found() == ["job-1", "job-2"]
        assert found(all=True) == ["job-1", "job-2", "job-3"]
        assert found(status=frozenset({JobStatus.CANCELLED, JobStatus.QUEUED})) == ["job-1", "job-3"]
        assert found(client_id="lab") == ["job-2"]
        assert found(client_id="lab", all=True) == ["job-2", "job-3"]
        assert found(workflow_id="wf-1") == ["job-1"]
        assert found(text="BEAUTY", all=True) == ["job-1", "job-3"]
        assert found(text="0%") == ["job-1"]
        assert found(text="%") == ["job-1"]
        assert found(text="ob-2") == ["job-2"]
        counts = queue.jobs_by_status(connection)
    assert counts == dict.fromkeys(JobStatus, 0) | {"queued": 1, "pending": 1, "cancelled": 1}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (JobOrder.PRIORITY, "cabd"),
        (JobOrder.OLDEST, "abcd"),
        (JobOrder.NEWEST, "dcba"),
        (JobOrder.DEADLINE, "badc"),
        (JobOrder.NAME, "dcba"),
        (JobOrder.ENDED, "abcd"),
    ],
)
def test_jobs_are_listed_in_the_order_asked_for(engine: Engine, world: World, order: JobOrder, expected: str) -> None:
    world.submit("job-a", name="4", deadline_ms=NOW + 2)
    world.submit("job-b", name="3", deadline_ms=NOW + 1, priority=Priority.LOW)
    world.submit("job-c", name="2", priority=Priority.CRITICAL)
    world.submit("job-d", name="1", deadline_ms=NOW + 3, priority=Priority.LOW)
    for job_id in ("job-d", "job-c"):
        world.now_ms += 1
        world.do(c.CancelJob(job_id=job_id))
    with folded(engine, world, queue.PROJECTION) as connection:
        jobs = queue.list_jobs(connection, JobFilter(all=True), order)
        page = queue.list_jobs(connection, JobFilter(all=True), order, limit=2, offset=1)
    assert "".join(job.job_id[-1] for job in jobs) == expected
    assert page == jobs[1:3]


def test_a_dependency_is_the_blocker_until_it_is_satisfied_or_bypassed(engine: Engine, world: World) -> None:
    world.submit("job-1")
    world.submit("job-2")
    world.submit("job-3", after=("job-1", "job-2"))
    for before in ("job-1", "job-2"):
        world.do(DeclareDependency(predecessor_id=before, successor_id="job-3"))
    world.do(FailDependency(dependency_id=dependency_id("job-2", "job-3"), why="failed"))
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-3")
        edges = queue.dependencies_of(connection, ["job-3"])
    assert job is not None
    assert (job.status, job.blocker) == (JobStatus.PENDING, "waits for job-1 to complete")
    assert [reason.code for reason in job.blockers] == [ReasonCode.DEPENDENCY, ReasonCode.DEPENDENCY_FAILED]
    assert [(edge.predecessor_id, edge.state, edge.why) for edge in edges] == [
        ("job-1", "pending", ""),
        ("job-2", "failed", "failed"),
    ]
    world.do(SatisfyDependency(dependency_id=dependency_id("job-1", "job-3")))
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-3")
    assert job is not None
    assert job.blocker == "job-2 did not complete; retry it or bypass the dependency"
    world.do(BypassDependency(dependency_id=dependency_id("job-2", "job-3")), c.QueueJob(job_id="job-3"))
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-3")
    assert job is not None
    assert (job.status, job.blocker) == (JobStatus.QUEUED, "")


def decided(**fields: object) -> Event:
    return CycleDecided(at_ms=NOW, position=1, **fields)  # type: ignore[arg-type]


def test_recorded_reasons_are_shown_for_all_jobs_of_their_segment(engine: Engine, world: World) -> None:
    world.submit("job-1")
    world.submit("job-2", priority=Priority.LOW)
    world.submit("job-3", held=True)
    one = segment_name("studio", Priority.MEDIUM, spec("job-1").requirement)
    two = segment_name("studio", Priority.LOW, spec("job-1").requirement)
    short = Reason(ReasonCode.RESOURCES_SHORT, "", "millicores", 1000, 500, "n2")
    behind = Reason(ReasonCode.BEHIND_HEAD, entity="job-1")

    def blockers() -> list[str]:
        with folded(engine, world, queue.PROJECTION) as connection:
            return [job.blocker for job in queue.list_jobs(connection, order=JobOrder.OLDEST)]

    stream = cycle_stream(NOW)
    world.record(stream, decided(blocked=(Blocked(one, (short,), 1), Blocked(two, (behind,), 1)), keyframe=True))
    shown = "needs 1 core; n2 comes closest with 0.5 cores free"
    assert blockers() == [shown, "job-1 is before it in the queue and must start first", "is held by user:ada"]
    world.do(c.PrioritizeJob(job_id="job-2", priority=Priority.MEDIUM))
    assert blockers() == [shown, shown, "is held by user:ada"]
    world.record(stream, decided(cleared=(one,), blocked=(Blocked(two, (short,), 1),)))
    assert blockers() == ["", "", "is held by user:ada"]
    world.do(c.PrioritizeJob(job_id="job-1", priority=Priority.LOW))
    assert blockers() == [shown, "", "is held by user:ada"]
    world.record(stream, decided(keyframe=True))
    assert blockers() == ["", "", "is held by user:ada"]


def test_who_would_delay_a_reserved_job_is_told_which_one_that_is_by_now(engine: Engine, world: World) -> None:
    """The reservation is recorded once for all: their own reasons keep naming the job that held it before."""
    for job_id, priority in (("job-1", Priority.HIGH), ("job-2", Priority.MEDIUM), ("job-3", Priority.LOW)):
        world.submit(job_id, priority=priority)
    names = [segment_name("studio", each, spec("job-1").requirement) for each in (Priority.MEDIUM, Priority.LOW)]
    behind = Reason(ReasonCode.BEHIND_HEAD, entity="job-1", until_ms=NOW)

    def whom() -> list[tuple[str, int | None]]:
        with folded(engine, world, queue.PROJECTION) as connection:
            waiting = queue.list_jobs(connection, order=JobOrder.OLDEST)[1:]
        return [(job.blockers[0].entity, job.blockers[0].until_ms) for job in waiting]

    stream = cycle_stream(NOW)
    both = tuple(Blocked(name, (behind,), 1) for name in names)
    world.record(stream, decided(blocked=both, keyframe=True, reserved=(Reserved("job-1", NOW + 5),)))
    assert whom() == [("job-1", NOW + 5)] * 2
    world.record(stream, decided(reserved=(Reserved("job-2", NOW + 9),)))
    assert whom() == [("job-1", NOW), ("job-2", NOW + 9)]
    world.record(stream, decided(blocked=both, keyframe=True))
    assert whom() == [("job-1", NOW), ("job-2", NOW + 9)]
    world.record(stream, decided(reserved=()))
    assert whom() == [("job-1", NOW)] * 2


def test_times_that_have_passed_are_no_blockers(engine: Engine, world: World) -> None:
    world.submit("job-1", not_before_ms=NOW + 1_000)
    world.submit("job-2", retries=1, backoff_ms=5_000)
    world.place("job-2", "0", "n1")
    world.end("job-2", 1, failure=FailureClass.EXIT, exit_code=1)
    with folded(engine, world, queue.PROJECTION) as connection:
        found = queue.list_jobs(connection, order=JobOrder.OLDEST, now_ms=NOW)
        assert [job.blockers[0].until_ms for job in found] == [NOW + 1_000, NOW + 5_000]
        assert [job.blockers[0].code for job in found] == [ReasonCode.START_TIME, ReasonCode.BACK_OFF]
        assert (found[1].delayed, found[1].waiting, found[1].failed) == (1, 0, 0)
        later = queue.list_jobs(connection, order=JobOrder.OLDEST, now_ms=NOW + 5_000)
        assert [job.blocker for job in later] == ["", ""]


def test_a_task_placed_out_of_its_back_off_leaves_it(engine: Engine, world: World) -> None:
    world.submit("job-1", tasks="1-5", retries=1, backoff_ms=1_000)
    world.place("job-1", "1-3", "n1")
    world.end("job-1", 1, 2, 3, failure=FailureClass.EXIT, exit_code=1)
    world.now_ms += 1_000
    world.place("job-1", "2-4", "n1")
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert job is not None
    assert (job.waiting, job.delayed, job.running) == (1, 1, 3)  # 5 waits, 1 stays in back-off


def test_a_retried_job_counts_again(engine: Engine, world: World) -> None:
    world.submit("job-1", tasks="1-3")
    world.place("job-1", "1-2", "n1")
    world.end("job-1", 1)
    world.end("job-1", 2, failure=FailureClass.EXIT, exit_code=1)
    world.place("job-1", "3", "n1")
    world.end("job-1", 3)
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert job is not None
    assert (job.status, job.failed, job.succeeded) == (JobStatus.FAILED, 1, 2)
    world.do(c.RetryJob(job_id="job-1"))
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert job is not None
    assert (job.status, job.ended_ms, job.waiting, job.failed, job.succeeded) == (JobStatus.QUEUED, None, 1, 0, 2)
    assert intervals.size(world.job("job-1").waiting) == 1


def test_a_workflow_shows_the_sum_of_its_jobs(engine: Engine, world: World) -> None:
    world.do(SubmitWorkflow(workflow_id="wf-1", name="shot", client_id="studio", jobs=("job-1", "job-2")))
    world.submit("job-1", tasks="1-3", workflow_id="wf-1")
    world.submit("job-2", tasks="1", workflow_id="wf-1", held=True)

    def seen() -> queue.WorkflowView:
        with folded(engine, world, queue.PROJECTION) as connection:
            found = queue.workflow(connection, "wf-1")
            assert found is not None
            return found

    assert seen().status is JobStatus.QUEUED
    world.place("job-1", "1-2", "n1")
    world.end("job-1", 1)
    view = seen()
    assert (view.name, view.client_id, view.status) == ("shot", "studio", JobStatus.RUNNING)
    assert view.jobs == dict.fromkeys(JobStatus, 0) | {"running": 1, "pending": 1}
    assert (view.tasks, view.tasks_running, view.tasks_succeeded, view.progress) == (4, 1, 1, 25)
    world.do(c.CancelJob(job_id="job-2"), c.CancelJob(job_id="job-1"))
    assert seen().status is JobStatus.CANCELLED
    world.do(EndWorkflow(workflow_id="wf-1", outcome=JobStatus.CANCELLED, why="enough"))
    assert (seen().ended_ms, seen().why) == (NOW, "enough")
    world.do(ArchiveWorkflow(workflow_id="wf-1"))
    with folded(engine, world, queue.PROJECTION) as connection:
        assert queue.list_workflows(connection) == []
        assert [found.workflow_id for found in queue.list_workflows(connection, archived=True)] == ["wf-1"]
        assert queue.list_workflows(connection, archived=True, ended=False) == []
        assert queue.list_workflows(connection, client_id="lab", archived=True) == []
    world.do(workflow.ReopenWorkflow(workflow_id="wf-1", job_id="job-1"))
    assert (seen().ended_ms, seen().archived) == (None, False)


def test_waits_are_summed_by_client(engine: Engine, world: World) -> None:
    for job_id, client_id, wait_ms in (("job-1", "studio", 100), ("job-2", "studio", 300), ("job-3", "lab", 50)):
        world.submit(job_id, client_id=client_id)
        world.now_ms += wait_ms
        world.place(job_id, "0", "n1")
        world.start(job_id, 1)
    world.submit("job-4")
    with folded(engine, world, queue.PROJECTION) as connection:
        found = {view.client_id: view for view in queue.waits_by_client(connection)}
        assert (found["studio"].jobs, found["studio"].mean_ms, found["studio"].longest_ms) == (2, 200, 300)
        assert (found["lab"].jobs, found["lab"].mean_ms) == (1, 50)
        # Jobs were queued at 0, 100 and 400 ms.
        assert [view.client_id for view in queue.waits_by_client(connection, NOW + 1, NOW + 400)] == ["studio"]


def test_views_turn_into_json_and_back(engine: Engine, world: World) -> None:
    world.submit("job-1", held=True)
    with folded(engine, world, queue.PROJECTION) as connection:
        job = queue.job(connection, "job-1")
    assert msgspec.json.decode(msgspec.json.encode(job), type=queue.JobView) == job
