"""The attempts of a job: placed, started, ended, tried again, stopped and lost; each once, none forgotten."""

import pytest

from domain import job
from domain.errors import AttemptNotFound, JobInvalid, TasksNotWaiting
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import AttemptEnd, FailureClass, JobStatus, NodeSlots, Placement, StopCause, TaskCheckpoint
from tests.builders import HOUR, NOW, WHY, end, failed, need, placed, stopping, submitted, succeeded
from tests.spec import scenarios

given = scenarios(job)
ID = {"at_ms": NOW, "job_id": "job-1"}
EXIT = FailureClass.EXIT


def place(*where: tuple[str, tuple[NodeSlots, ...]]) -> c.PlaceTasks:
    return c.PlaceTasks(job_id="job-1", placements=tuple(Placement(tasks, nodes) for tasks, nodes in where), reason=WHY)


def ends(*which: AttemptEnd) -> c.ReportEnded:
    return c.ReportEnded(job_id="job-1", ends=which)


def requeued(tasks: str, why: str, not_before_ms: int | None = None) -> e.TasksRequeued:
    return e.TasksRequeued(**ID, tasks=tasks, why=why, not_before_ms=not_before_ms)


N1, N2 = (("n1", 1),), (("n2", 1),)


# -- placing ---------------------------------------------------------------------------------------------------------


def test_placing_tasks_numbers_their_attempts_from_the_jobs_own_counter() -> None:
    wanted = e.TasksPlaced(
        **ID, client_id="show", placements=(Placement("1-2", N1, 1), Placement("3", N2, 3)), reason=WHY
    )
    after = given(submitted(tasks="1-5")).when(place(("1-2", N1), ("3", N2))).then(wanted)
    assert {number: (a.task, a.nodes) for number, a in after.state.live.items()} == {1: (1, N1), 2: (2, N1), 3: (3, N2)}
    assert (after.state.waiting, after.state.running, after.state.next_attempt) == ("4-5", "1-3", 4)
    assert after.state.status is JobStatus.RUNNING


def test_placing_nothing_changes_nothing() -> None:
    given(submitted()).when(place()).then_nothing()


@pytest.mark.parametrize("tasks", ["7", "0-1", "1"])
def test_tasks_that_do_not_wait_are_not_placed(tasks: str) -> None:
    before = given(submitted(tasks="0-1"), placed("1"))
    before.when(place((tasks, N1))).then_raises(TasksNotWaiting, tasks=tasks)


def test_a_task_is_not_placed_twice_by_one_decision() -> None:
    given(submitted(tasks="0-1")).when(place(("0", N1), ("0-1", N2))).then_raises(TasksNotWaiting, tasks="0-1")


@pytest.mark.parametrize(
    "facts",
    [
        (submitted(queued=False),),
        (submitted(held=True),),
        (submitted(), e.JobPaused(**ID)),
        (submitted(), e.JobUnqueued(**ID, why="")),
        (submitted(), e.JobCancelled(**ID)),
    ],
)
def test_a_job_that_must_not_start_places_nothing(facts: tuple[e.JobEvent, ...]) -> None:
    given(*facts).when(place(("0", N1))).then_raises(TasksNotWaiting, tasks="0")


GANG = {"requirement": need(slots=3)}
APART = {"requirement": need(slots=3, distinct=True)}


@pytest.mark.parametrize(
    ("fields", "nodes", "problem"),
    [
        ({}, (("n1", 2),), "a placement has 2 slots, not 1"),
        ({}, (), "a placement has 0 slots, not 1"),
        (GANG, (("n1", 2),), "a placement has 2 slots, not 3"),
        (GANG, (("n1", 4), ("n2", -1)), "a placement has 3 slots, not 3"),
        (APART, (("n1", 2), ("n2", 1)), "a placement of 3 slots uses 2 nodes"),
        (APART, (("n1", 1), ("n2", 1), ("n1", 1)), "a placement of 3 slots uses 2 nodes"),
    ],
)
def test_a_task_gets_just_the_slots_that_it_requires(fields: dict, nodes: tuple[NodeSlots, ...], problem: str) -> None:
    asked = given(submitted(**fields)).when(place(("0", nodes)))
    asked.then_raises(JobInvalid)
    assert problem in str(asked.refusal)


def test_a_gang_holds_all_its_nodes_with_one_attempt() -> None:
    nodes = (("n1", 2), ("n2", 1))
    after = given(submitted(**GANG)).when(place(("0", nodes))).then_kinds(e.TasksPlaced)
    assert after.state.live[1].nodes == nodes


# -- running ---------------------------------------------------------------------------------------------------------


def test_an_attempt_starts_once() -> None:
    asked = c.ReportStarted(job_id="job-1", attempts=(2, 1, 2, 9))
    after = given(submitted(tasks="0-1"), placed("0-1")).when(asked).then(e.TasksStarted(**ID, attempts=(2, 1)))
    assert [attempt.started_ms for attempt in after.state.live.values()] == [NOW, NOW]
    after.when(asked).then_nothing()


@pytest.mark.parametrize(
    ("percent", "recorded"), [(24, None), (25, 25), (26, 25), (74, 50), (100, 100), (120, 100), (-5, None)]
)
def test_progress_is_a_fact_only_when_it_crosses_a_step(percent: int, recorded: int | None) -> None:
    asked = given(submitted(tasks="7"), placed("7")).when(
        c.ReportProgress(job_id="job-1", attempt=1, percent=percent, status="shading")
    )
    if recorded is None:
        asked.then_nothing()
    else:
        fact = e.ProgressMarked(**ID, task=7, attempt=1, percent=recorded, status="shading")
        assert asked.then(fact).state.live[1].progress == recorded


def test_going_backwards_is_not_progress() -> None:
    before = given(submitted(), placed(), e.ProgressMarked(**ID, task=0, attempt=1, percent=50))
    for percent in (60, 50, 30):
        before.when(c.ReportProgress(job_id="job-1", attempt=1, percent=percent)).then_nothing()


def test_a_partial_result_of_a_live_attempt_is_recorded() -> None:
    asked = c.ReportPartial(job_id="job-1", attempt=1, path="/out/0.exr", quality=30)
    fact = e.PartialPublished(**ID, task=0, attempt=1, path="/out/0.exr", quality=30)
    before = given(submitted(), placed())
    assert before.when(asked).then(fact).state == before.state


def test_a_superseded_attempt_reports_in_vain() -> None:
    before = given(
        submitted(), placed(), e.TasksLost(**ID, node_id="n1", attempts=(1,), tasks="0"), requeued("0", "lost")
    )
    before.when(c.ReportStarted(job_id="job-1", attempts=(1,))).then_nothing()
    before.when(c.ReportProgress(job_id="job-1", attempt=1, percent=50)).then_nothing()
    before.when(c.ReportPartial(job_id="job-1", attempt=1, path="", quality=0)).then_nothing()
    before.when(ends(end(1))).then_nothing()
    before.when(c.LoseAttempts(job_id="job-1", node_id="n1", attempts=(1,))).then_nothing()
    before.when(c.StopAttempts(job_id="job-1", attempts=(1,), cause=StopCause.WALLTIME)).then_nothing()


def note(attempt: int = 1, checkpoint_id: str = "c-1") -> c.NoteCheckpoint:
    return c.NoteCheckpoint(job_id="job-1", attempt=attempt, checkpoint_id=checkpoint_id, location="/c/1", progress=40)


def test_the_newest_checkpoint_of_a_task_is_remembered_for_its_next_attempt() -> None:
    fact = e.TaskCheckpointed(**ID, task=5, attempt=1, checkpoint_id="c-1", location="/c/1", progress=40, ran_ms=0)
    after = given(submitted(tasks="5"), placed("5")).when(note()).then(fact)
    assert after.state.checkpoints == {5: TaskCheckpoint("c-1", "/c/1", 40, 1)}
    after.when(note()).then_nothing()
    newer = after.when(note(checkpoint_id="c-2")).then_kinds(e.TaskCheckpointed)
    assert newer.state.checkpoints[5].checkpoint_id == "c-2"


def test_a_task_that_succeeded_leaves_nothing_behind_but_its_number() -> None:
    """Task 1 is done: its failures and its checkpoint are history; those of task 0 still count."""
    bad = failed(end(1, 0, EXIT), end(2, 1, EXIT))
    saved = [
        e.TaskCheckpointed(**ID, task=task, attempt=task + 3, checkpoint_id=f"c-{task}", location="/c")
        for task in (0, 1)
    ]
    before = given(
        submitted(tasks="0-1", retries=2), placed("0-1"), bad, requeued("0-1", "exit"), placed("0-1", 3), *saved
    )
    after = before.when(ends(end(4, task=1))).then(succeeded(end(4, task=1)))
    assert (after.state.succeeded, after.state.failures) == ("1", {0: 1})
    assert after.state.checkpoints == {0: TaskCheckpoint("c-0", "/c")}


def test_only_a_live_attempt_can_leave_a_checkpoint() -> None:
    given(submitted()).when(note()).then_raises(AttemptNotFound, attempt=1)


# -- ending ----------------------------------------------------------------------------------------------------------


def test_a_job_completes_with_its_last_task() -> None:
    before = given(submitted(tasks="0-1"), placed("0-1"), succeeded(end(1, 0)))
    after = before.when(ends(end(2, 1))).then(succeeded(end(2, 1)), e.JobCompleted(**ID))
    assert (after.state.status, after.state.ended_ms, after.state.succeeded) == (JobStatus.COMPLETED, NOW, "0-1")


def test_an_attempt_that_never_reported_its_start_can_end() -> None:
    given(submitted(), placed()).when(ends(end())).then(succeeded(), e.JobCompleted(**ID))


def test_a_task_without_retries_fails_for_good_and_the_job_with_its_last_task() -> None:
    bad, good = end(1, 0, EXIT, exit_code=3), end(2, 1)
    first = given(submitted(tasks="0-1"), placed("0-1")).when(ends(bad)).then(failed(bad))
    assert (first.state.failed, first.state.status) == ("0", JobStatus.RUNNING)
    last = first.when(ends(good)).then(succeeded(good), e.JobFailed(**ID, failed="0"))
    assert (last.state.status, last.state.succeeded, last.state.failed) == (JobStatus.FAILED, "1", "0")


def test_an_attempt_ends_once_even_if_it_is_reported_twice_at_once() -> None:
    before = given(submitted(), placed())
    before.when(ends(end(), end())).then(succeeded(end()), e.JobCompleted(**ID))
    before.when(ends(end(), end(failure=EXIT))).then(succeeded(end()), e.JobCompleted(**ID))
    before.when(ends(end(failure=EXIT), end())).then(failed(end(failure=EXIT)), e.JobFailed(**ID, failed="0"))


def test_a_report_that_names_another_task_than_the_attempts_is_ignored() -> None:
    given(submitted(tasks="0-1"), placed("0-1")).when(ends(end(1, task=1))).then_nothing()


def test_a_failed_task_is_tried_again_after_a_back_off_that_doubles() -> None:
    """1 s, 2 s, 4 s before the three retries; then the task has failed for good."""
    here = given(submitted(retries=3, backoff_ms=1_000))
    for number, delay in ((1, 1_000), (2, 2_000), (3, 4_000)):
        bad = end(number, failure=EXIT)
        here = here.when(place(("0", N1)), at=NOW + HOUR).then_kinds(e.TasksPlaced)
        here = here.when(ends(bad)).then(failed(bad), requeued("0", "exit", NOW + delay))
        assert here.state.delayed == ((NOW + delay, "0"),)
        assert (here.state.failed, here.state.failures) == ("", {0: number})
    here = here.when(place(("0", N1)), at=NOW + HOUR).then_kinds(e.TasksPlaced)
    last = end(4, failure=EXIT)
    here = here.when(ends(last)).then(failed(last), e.JobFailed(**ID, failed="0"))
    assert here.state.failures == {0: 4}


def test_a_back_off_is_never_longer_than_an_hour() -> None:
    before = given(submitted(retries=99), *[failed(end(n, failure=EXIT)) for n in range(1, 60)], placed(first=60))
    bad = end(60, failure=EXIT)
    before.when(ends(bad)).then(failed(bad), requeued("0", "exit", NOW + HOUR))


def test_without_a_back_off_a_failed_task_waits_again_at_once() -> None:
    bad = end(failure=EXIT)
    after = given(submitted(retries=1, backoff_ms=0), placed()).when(ends(bad)).then(failed(bad), requeued("0", "exit"))
    assert (after.state.waiting, after.state.delayed) == ("0", ())


def test_failures_are_counted_for_each_task_by_itself() -> None:
    """Task 0 failed once before: its delay has doubled, that of the others has not; classes are kept apart."""
    before = given(submitted(tasks="0-3", retries=5), failed(end(0, 0, EXIT)), placed("0-3"))
    bad = (end(1, 0, EXIT), end(2, 1, EXIT), end(3, 2, FailureClass.MEMORY), end(4, 3, EXIT))
    before.when(ends(*bad)).then(
        failed(*bad),
        requeued("1,3", "exit", NOW + 1_000),
        requeued("2", "memory", NOW + 1_000),
        requeued("0", "exit", NOW + 2_000),
    )


def test_a_task_in_back_off_is_placed_when_the_back_off_has_passed_and_not_before() -> None:
    before = given(submitted(tasks="0-2"), placed("0-1"), failed(end(1, 0, EXIT)), failed(end(2, 1, EXIT)))
    facts = (*before.facts, requeued("0", "exit", NOW + 5), requeued("1", "exit", NOW + 9))
    here = given(*facts)
    assert (here.state.waiting, here.state.unplaced) == ("2", "0-2")
    here.when(place(("0", N1)), at=NOW + 4).then_raises(TasksNotWaiting, tasks="0")
    here.when(place(("0-2", N1)), at=NOW + 8).then_raises(TasksNotWaiting, tasks="0-2")
    after = here.when(place(("0,2", N1)), at=NOW + 5).then_kinds(e.TasksPlaced)
    assert (after.state.waiting, after.state.delayed) == ("", ((NOW + 9, "1"),))
    assert after.state.live[3].task == 0


# -- stopping, requeueing, walltime ----------------------------------------------------------------------------------


def test_attempts_are_told_to_stop_once_and_keep_their_first_cause() -> None:
    asked = c.StopAttempts(job_id="job-1", attempts=(2, 2, 1, 7), cause=StopCause.WALLTIME)
    before = given(submitted(tasks="0-1", grace_ms=700), placed("0-1"))
    after = before.when(asked).then(stopping(2, 1, cause=StopCause.WALLTIME, grace_ms=700))
    after.when(asked).then_nothing()
    after.when(c.RequeueTasks(job_id="job-1")).then_nothing()


def test_an_attempt_over_its_walltime_fails_by_walltime_whatever_ended_it() -> None:
    before = given(submitted(retries=1), placed(), stopping(1, cause=StopCause.WALLTIME))
    killed = end(failure=FailureClass.SIGNAL, signal=9)
    over = end(failure=FailureClass.WALLTIME, signal=9)
    before.when(ends(killed)).then(failed(over), requeued("0", "walltime", NOW + 1_000))


def test_an_attempt_that_succeeds_while_it_is_told_to_stop_has_succeeded() -> None:
    for cause in StopCause:
        before = given(submitted(), placed(), stopping(1, cause=cause))
        before.when(ends(end())).then(succeeded(), e.JobCompleted(**ID))


def test_requeued_tasks_stop_and_then_wait_again_without_counting_as_failed() -> None:
    before = given(submitted(tasks="0-2"), placed("0-2"))
    asked = before.when(c.RequeueTasks(job_id="job-1", tasks="1-9"))
    told = asked.then(stopping(2, 3, cause=StopCause.REQUEUED))
    gone = end(2, 1, FailureClass.SIGNAL)
    after = told.when(ends(gone)).then(
        e.TasksStopped(**ID, ends=(gone,), cause=StopCause.REQUEUED), requeued("1", "requeued")
    )
    assert (after.state.waiting, after.state.failed, after.state.failures) == ("1", "", {})


def test_requeueing_all_stops_all_that_runs() -> None:
    before = given(submitted(tasks="0-1"), placed("0-1"))
    before.when(c.RequeueTasks(job_id="job-1")).then(stopping(1, 2, cause=StopCause.REQUEUED))
    given(submitted()).when(c.RequeueTasks(job_id="job-1")).then_nothing()


def test_one_report_may_end_attempts_well_badly_and_as_told() -> None:
    before = given(submitted(tasks="0-3", retries=1), placed("0-3"), stopping(3, cause=StopCause.REQUEUED))
    good, bad, told = end(1, 0), end(2, 1, EXIT), end(3, 2, FailureClass.SIGNAL)
    after = before.when(ends(told, bad, good)).then(
        succeeded(good),
        e.TasksStopped(**ID, ends=(told,), cause=StopCause.REQUEUED),
        requeued("2", "requeued"),
        failed(bad),
        requeued("1", "exit", NOW + 1_000),
    )
    assert (after.state.succeeded, after.state.waiting, after.state.running) == ("0", "2", "3")


def test_a_job_whose_last_tasks_were_cancelled_one_by_one_has_not_completed() -> None:
    before = given(submitted(tasks="0-1"), placed("0-1"), stopping(2, cause=StopCause.CANCELLED), succeeded(end(1, 0)))
    gone = end(2, 1, FailureClass.SIGNAL)
    fact = e.TasksStopped(**ID, ends=(gone,), cause=StopCause.CANCELLED)
    after = before.when(ends(gone)).then(fact, e.JobCancelled(**ID, why="tasks of it were cancelled"))
    assert (after.state.status, after.state.succeeded, after.state.cancelled) == (JobStatus.CANCELLED, "0", "1")
    assert after.when(c.RetryJob(job_id="job-1")).then_kinds(e.JobRetried).state.waiting == "1"


# -- losing ----------------------------------------------------------------------------------------------------------


def test_tasks_of_a_lost_node_wait_again_at_once_and_do_not_count_as_failed() -> None:
    before = given(submitted(tasks="0-2"), placed("0-2"))
    asked = before.when(c.LoseAttempts(job_id="job-1", node_id="n1", attempts=(3, 1, 3, 8)))
    lost = e.TasksLost(**ID, node_id="n1", attempts=(3, 1), tasks="0,2")
    after = asked.then(lost, requeued("0,2", "lost"))
    assert (after.state.waiting, after.state.running, after.state.failures) == ("0,2", "1", {})


def test_a_lost_task_gets_a_new_attempt_number() -> None:
    before = given(submitted(), placed())
    after = before.when(c.LoseAttempts(job_id="job-1", node_id="n1", attempts=(1,))).then_kinds(
        e.TasksLost, e.TasksRequeued
    )
    assert list(after.when(place(("0", N2))).then_kinds(e.TasksPlaced).state.live) == [2]


def test_tasks_that_should_stop_wait_again_when_their_node_is_lost_first() -> None:
    for cause in (StopCause.REQUEUED, StopCause.WALLTIME):
        before = given(submitted(), placed(), stopping(1, cause=cause))
        asked = before.when(c.LoseAttempts(job_id="job-1", node_id="n1", attempts=(1,)))
        assert asked.then_kinds(e.TasksLost, e.TasksRequeued).state.waiting == "0"


def test_an_end_that_its_node_could_not_see_is_a_loss_and_costs_no_retry() -> None:
    lost = e.TasksLost(**ID, node_id="n1", attempts=(1,), tasks="0")
    given(submitted(), placed()).when(ends(end(failure=FailureClass.LOST))).then(lost, requeued("0", "lost"))
