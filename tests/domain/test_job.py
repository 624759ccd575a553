"""A job from its submission to its end: what a person can ask of it, and what is refused."""

from typing import get_args

import pytest

from domain import job
from domain.errors import JobEnded, JobExists, JobInvalid, JobNotEnded, JobNotFound, NothingToRetry
from domain.job import commands as c
from domain.job import events as e
from domain.job.decide import _DECIDE
from domain.job.evolve import EVOLVE
from domain.job.values import (
    FailureClass,
    JobSpec,
    JobStatus,
    PreemptionMode,
    Priority,
    StopCause,
    Work,
    attempt_id,
    parse_attempt_id,
)
from domain.resources import Requirement, Resources
from tests.builders import NOW, end, failed, need, placed, spec, stopping, submitted, succeeded
from tests.builders import job as job_state
from tests.spec import scenarios

given = scenarios(job)
ID = {"at_ms": NOW, "job_id": "job-1"}
COMPLETED = (submitted(), placed(), succeeded(), e.JobCompleted(**ID))
FAILED = (submitted(), placed(), failed(), e.JobFailed(**ID, failed="0"))
CANCELLED = (submitted(), e.JobCancelled(**ID))
ENDINGS = [
    pytest.param(facts, id=kind)
    for kind, facts in (("completed", COMPLETED), ("failed", FAILED), ("cancelled", CANCELLED))
]


# -- the tables ------------------------------------------------------------------------------------------------------


def test_every_command_of_a_job_has_a_rule() -> None:
    assert set(_DECIDE) == set(get_args(c.JobCommand))


def test_every_event_of_a_job_changes_its_state_in_a_defined_way() -> None:
    assert set(EVOLVE) == set(get_args(e.JobEvent))


EXAMPLES = {"why": "", "priority": Priority.HIGH, "deadline_ms": None, "percent": 50, "path": "", "quality": 0}
EXAMPLES |= {"placements": (), "reason": None, "attempts": (), "ends": (), "attempt": 1, "node_id": "n1"}
EXAMPLES |= {"cause": StopCause.WALLTIME, "checkpoint_id": "c", "location": "", "protection": None}
EXAMPLES |= {"mode": PreemptionMode.REQUEUE, "preemptor": "job-2", "places": (), "victims": ()}


@pytest.mark.parametrize("kind", [kind for kind in get_args(c.JobCommand) if kind is not c.SubmitJob])
def test_nothing_can_be_asked_of_a_job_that_was_never_submitted(kind: type[c.JobCommand]) -> None:
    required = {name: EXAMPLES[name] for name in kind.__struct_fields__ if name in EXAMPLES}
    given().when(kind(job_id="job-9", **required)).then_raises(JobNotFound, job_id="job-9")


# -- submission ------------------------------------------------------------------------------------------------------


def test_a_submitted_job_is_queued_when_it_waits_for_nothing_else() -> None:
    after = given().when(c.SubmitJob(spec=spec(tasks="1-3"))).then(submitted(tasks="1-3"))
    assert after.state.status is JobStatus.QUEUED
    assert after.state.waiting == "1-3"
    assert after.state.submitted_ms == NOW


def test_a_job_after_others_is_pending_until_it_is_queued() -> None:
    asked = given().when(c.SubmitJob(spec=spec(), after=("job-0",))).then(submitted(queued=False))
    assert asked.state.status is JobStatus.PENDING
    assert asked.when(c.QueueJob(job_id="job-1")).then(e.JobQueued(**ID)).state.status is JobStatus.QUEUED


@pytest.mark.parametrize(("not_before_ms", "queued"), [(NOW + 1, False), (NOW, True), (NOW - 1, True)])
def test_a_job_is_queued_no_earlier_than_its_start_time(not_before_ms: int, queued: bool) -> None:
    later = {"not_before_ms": not_before_ms}
    given().when(c.SubmitJob(spec=spec(**later))).then(submitted(queued=queued, **later))


def test_a_job_can_be_submitted_held() -> None:
    after = given().when(c.SubmitJob(spec=spec(), held=True)).then(submitted(held=True))
    assert after.state.status is JobStatus.PENDING
    assert not after.state.startable


def test_submitting_the_same_job_again_changes_nothing() -> None:
    given(submitted()).when(c.SubmitJob(spec=spec(), held=True)).then_nothing()
    given(*COMPLETED).when(c.SubmitJob(spec=spec())).then_nothing()


def test_another_job_under_the_same_id_is_refused() -> None:
    given(submitted()).when(c.SubmitJob(spec=spec(cores=2))).then_raises(JobExists, job_id="job-1")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (spec(job_id="frames"), "its id must be `job-`"),
        (spec(job_id="job-a/b"), "its id must be `job-`"),
        (spec(job_id="job-" + "x" * 120), "its id must be `job-`"),
        (spec(job_id="job-a\n"), "its id must be `job-`"),
        (spec(tasks=""), "it has no tasks"),
        (spec(tasks="3,1"), "its tasks must be a canonical set"),
        (spec(tasks="1-2000000"), "its tasks must be a canonical set"),
        (spec(tasks="all"), "its tasks must be a canonical set"),
        (spec(work=Work()), "it has nothing to run"),
        (spec(requirement=need(slots=0)), "a gang needs at least one slot"),
        (spec(requirement=need(-1)), "its resources are negative"),
        (spec(requirement=need(licence=-1)), "its resources are negative"),
        (spec(requirement=need(gpus=-1)), "its resources are negative"),
        (spec(requirement=Requirement(Resources(named=(("licence", 0),)))), "its named resources"),
        (spec(requirement=Requirement(Resources(named=(("gpus", 1),)))), "its named resources"),
        (spec(walltime_ms=0), "its walltime must be positive"),
        (spec(retries=-1), "its retries must not be negative"),
        (spec(backoff_ms=-1), "its back-off and grace must not be negative"),
        (spec(grace_ms=-1), "its back-off and grace must not be negative"),
    ],
)
def test_what_could_never_be_right_is_refused_and_the_error_says_why(wrong: JobSpec, problem: str) -> None:
    asked = given().when(c.SubmitJob(spec=wrong))
    asked.then_raises(JobInvalid, job_id=wrong.job_id)
    assert problem in str(asked.refusal)


def test_a_job_may_consist_of_a_payload_for_its_runner_alone() -> None:
    of_openjd = {"work": Work(runner="openjd", payload="{}")}
    given().when(c.SubmitJob(spec=spec(**of_openjd))).then(submitted(**of_openjd))


# -- the queue -------------------------------------------------------------------------------------------------------


def test_a_job_whose_dependency_was_reopened_starts_nothing_further_while_what_runs_goes_on() -> None:
    before = given(submitted(tasks="0-1"), placed("0"))
    after = before.when(c.UnqueueJob(job_id="job-1", why="again")).then(e.JobUnqueued(**ID, why="again"))
    assert after.state.status is JobStatus.RUNNING
    assert not after.state.startable
    after.when(c.UnqueueJob(job_id="job-1", why="again")).then_nothing()


def test_queueing_a_queued_job_changes_nothing() -> None:
    given(submitted()).when(c.QueueJob(job_id="job-1")).then_nothing()


@pytest.mark.parametrize("facts", ENDINGS)
def test_an_ended_job_neither_enters_nor_leaves_the_queue(facts: tuple[e.JobEvent, ...]) -> None:
    given(*facts).when(c.QueueJob(job_id="job-1")).then_nothing()
    given(*facts).when(c.UnqueueJob(job_id="job-1", why="")).then_nothing()


# -- what a person can change ----------------------------------------------------------------------------------------

SWITCHES = [
    pytest.param(
        c.HoldJob(job_id="job-1", why="w"),
        e.JobHeld(**ID, why="w"),
        c.UnholdJob(job_id="job-1"),
        e.JobUnheld(**ID),
        id="hold",
    ),
    pytest.param(
        c.PauseJob(job_id="job-1"), e.JobPaused(**ID), c.ResumeJob(job_id="job-1"), e.JobResumed(**ID), id="pause"
    ),
]


@pytest.mark.parametrize(("on", "was_on", "off", "was_off"), SWITCHES)
def test_holding_and_pausing_can_be_undone_and_done_twice(on, was_on, off, was_off) -> None:
    started = given(submitted())
    started.when(off).then_nothing()
    stopped = started.when(on).then(was_on)
    assert not stopped.state.startable
    stopped.when(on).then_nothing()
    again = stopped.when(off).then(was_off)
    assert again.state.startable
    assert again.state.status is JobStatus.QUEUED


def test_a_held_job_waits_while_its_running_tasks_go_on() -> None:
    after = given(submitted(tasks="0-1"), placed("0")).when(c.HoldJob(job_id="job-1")).then(e.JobHeld(**ID))
    assert after.state.status is JobStatus.RUNNING
    assert not after.state.startable


def test_a_paused_job_keeps_its_attempts() -> None:
    after = given(submitted(), placed()).when(c.PauseJob(job_id="job-1")).then(e.JobPaused(**ID))
    assert after.state.status is JobStatus.PAUSED
    assert list(after.state.live) == [1]


def test_the_time_spent_paused_adds_up() -> None:
    before = given(submitted(), e.JobPaused(**ID), e.JobResumed(at_ms=NOW + 70, job_id="job-1"))
    assert before.state.paused_ms == 70
    paused = before.when(c.PauseJob(job_id="job-1"), at=NOW + 100).then_kinds(e.JobPaused)
    assert paused.when(c.ResumeJob(job_id="job-1"), at=NOW + 105).then_kinds(e.JobResumed).state.paused_ms == 75


def test_the_priority_can_change_and_the_fact_says_from_what() -> None:
    fact = e.JobPriorityChanged(**ID, priority=Priority.CRITICAL, before=Priority.MEDIUM)
    asked = c.PrioritizeJob(job_id="job-1", priority=Priority.CRITICAL)
    after = given(submitted()).when(asked).then(fact)
    assert after.state.priority is Priority.CRITICAL
    after.when(asked).then_nothing()


def test_the_deadline_can_be_set_and_removed() -> None:
    asked = c.SetDeadline(job_id="job-1", deadline_ms=NOW + 9)
    after = given(submitted()).when(asked).then(e.JobDeadlineChanged(**ID, deadline_ms=NOW + 9, before_ms=None))
    assert after.state.deadline_ms == NOW + 9
    after.when(asked).then_nothing()
    removed = c.SetDeadline(job_id="job-1", deadline_ms=None)
    after.when(removed).then(e.JobDeadlineChanged(**ID, deadline_ms=None, before_ms=NOW + 9))


WISHES = [
    c.HoldJob(job_id="job-1"),
    c.UnholdJob(job_id="job-1"),
    c.PauseJob(job_id="job-1"),
    c.ResumeJob(job_id="job-1"),
    c.PrioritizeJob(job_id="job-1", priority=Priority.HIGH),
    c.SetDeadline(job_id="job-1", deadline_ms=1),
    c.RequeueTasks(job_id="job-1"),
]


@pytest.mark.parametrize("facts", ENDINGS)
@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: type(wish).__name__)
def test_an_ended_job_refuses_changes_and_says_how_it_ended(wish: c.JobCommand, facts: tuple[e.JobEvent, ...]) -> None:
    before = given(*facts)
    before.when(wish).then_raises(JobEnded, status=before.state.ended)


# -- cancelling ------------------------------------------------------------------------------------------------------


def test_cancelling_a_job_that_runs_nothing_ends_it_at_once() -> None:
    asked = c.CancelJob(job_id="job-1", why="wrong scene")
    after = given(submitted(tasks="1-9")).when(asked).then(e.JobCancelled(**ID, why="wrong scene"))
    assert after.state.status is JobStatus.CANCELLED
    assert (after.state.waiting, after.state.cancelled, after.state.ended_ms) == ("", "1-9", NOW)


def test_cancelling_a_cancelled_job_changes_nothing() -> None:
    given(submitted(), e.JobCancelled(**ID)).when(c.CancelJob(job_id="job-1")).then_nothing()


@pytest.mark.parametrize("facts", [each for each in ENDINGS if not isinstance(each.values[0][-1], e.JobCancelled)])
def test_a_job_that_completed_or_failed_cannot_be_cancelled(facts: tuple[e.JobEvent, ...]) -> None:
    given(*facts).when(c.CancelJob(job_id="job-1")).then_raises(JobEnded, verb="cancel")


def test_cancelling_a_running_job_tells_its_attempts_to_stop_and_they_hold_on_until_they_have() -> None:
    asked = given(submitted(tasks="1-3"), placed("1-2")).when(c.CancelJob(job_id="job-1"))
    after = asked.then(e.JobCancelled(**ID), stopping(1, 2, cause=StopCause.CANCELLED))
    assert after.state.cancelled == "3"
    assert after.state.running == "1-2"
    gone = end(1, 1, FailureClass.SIGNAL)
    one = after.when(c.ReportEnded(job_id="job-1", ends=(gone,))).then(
        e.TasksStopped(**ID, ends=(gone,), cause=StopCause.CANCELLED)
    )
    assert (one.state.cancelled, one.state.running) == ("1,3", "2")
    assert one.state.status is JobStatus.CANCELLED


def test_a_task_that_finishes_before_it_can_be_stopped_has_succeeded() -> None:
    before = given(submitted(tasks="0-1"), placed("0"), e.JobCancelled(**ID), stopping(1, cause=StopCause.CANCELLED))
    after = before.when(c.ReportEnded(job_id="job-1", ends=(end(1, 0),))).then(succeeded(end(1, 0)))
    assert (after.state.succeeded, after.state.cancelled) == ("0", "1")
    assert after.state.status is JobStatus.CANCELLED


def test_the_attempts_of_a_cancelled_job_do_not_come_back_when_their_node_is_lost() -> None:
    before = given(submitted(), placed(), e.JobCancelled(**ID), stopping(1, cause=StopCause.CANCELLED))
    asked = before.when(c.LoseAttempts(job_id="job-1", node_id="n1", attempts=(1,)))
    after = asked.then(e.TasksLost(**ID, node_id="n1", attempts=(1,), tasks="0"))
    assert (after.state.cancelled, after.state.unplaced, after.state.live) == ("0", "", {})


def test_an_attempt_that_fails_by_itself_in_a_cancelled_job_is_not_tried_again() -> None:
    before = given(submitted(retries=3), placed(), stopping(1, cause=StopCause.WALLTIME), e.JobCancelled(**ID))
    asked = before.when(c.ReportEnded(job_id="job-1", ends=(end(failure=FailureClass.SIGNAL),)))
    after = asked.then(failed(end(failure=FailureClass.WALLTIME)))
    assert (after.state.failed, after.state.unplaced) == ("0", "")


# -- retrying --------------------------------------------------------------------------------------------------------


def test_retrying_an_ended_job_opens_it_for_the_tasks_that_did_not_succeed_and_carries_the_whole_state() -> None:
    facts = (
        submitted(tasks="0-3", retries=1),
        e.JobPriorityChanged(**ID, priority=Priority.HIGH, before=Priority.MEDIUM),
        placed("0-1"),
        e.TaskCheckpointed(**ID, task=1, attempt=2, checkpoint_id="c-1", location="/c"),
        succeeded(end(1, 0)),
        failed(end(2, 1, FailureClass.EXIT)),
        e.JobCancelled(**ID),
    )
    before = given(*facts)
    after = before.when(c.RetryJob(job_id="job-1")).then_kinds(e.JobRetried)
    fact = after.facts[-1]
    assert fact.tasks == "1-3"
    assert fact.job == after.state == job.evolve(None, fact)
    state = after.state
    assert (state.waiting, state.succeeded, state.failed, state.cancelled) == ("1-3", "0", "", "")
    assert (state.ended, state.ended_ms, state.failures) == (None, None, {})
    assert state.status is JobStatus.QUEUED
    assert state.next_attempt == 3  # attempts 1 and 2 were used
    assert state.priority is Priority.HIGH
    assert state.checkpoints == before.state.checkpoints


def test_a_job_cancelled_while_paused_is_not_paused_any_more_when_it_is_retried() -> None:
    before = given(submitted(), e.JobPaused(**ID), e.JobCancelled(**ID))
    state = before.when(c.RetryJob(job_id="job-1")).then_kinds(e.JobRetried).state
    assert (state.paused, state.paused_at_ms) == (False, None)


def test_a_job_of_which_nothing_failed_cannot_be_retried() -> None:
    given(*COMPLETED).when(c.RetryJob(job_id="job-1")).then_raises(NothingToRetry, status=JobStatus.COMPLETED)


def test_a_job_that_has_not_ended_cannot_be_retried() -> None:
    given(submitted()).when(c.RetryJob(job_id="job-1")).then_raises(JobNotEnded, status=JobStatus.QUEUED)


def test_a_cancelled_job_cannot_be_retried_before_its_attempts_are_gone() -> None:
    before = given(submitted(), placed(), e.JobCancelled(**ID), stopping(1, cause=StopCause.CANCELLED))
    before.when(c.RetryJob(job_id="job-1")).then_raises(JobNotEnded, status="still stopping")


# -- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"queued": False}, JobStatus.PENDING),
        ({"held": True}, JobStatus.PENDING),
        ({}, JobStatus.QUEUED),
        ({"paused": True}, JobStatus.PAUSED),
        ({"paused": True, "held": True}, JobStatus.PAUSED),
        ({"ended": JobStatus.CANCELLED, "paused": True}, JobStatus.CANCELLED),
        ({"ended": JobStatus.COMPLETED}, JobStatus.COMPLETED),
    ],
)
def test_the_status_word_follows_from_the_state(fields: dict[str, object], status: JobStatus) -> None:
    assert job_state("job-1", **fields).status is status


def test_an_attempt_id_names_job_task_and_number() -> None:
    assert attempt_id("job-a.b", -3, 17) == "job-a.b.-3.17"
    assert parse_attempt_id("job-a.b.-3.17") == ("job-a.b", -3, 17)
    with pytest.raises(ValueError, match="not enough values"):
        parse_attempt_id("job-a")


@pytest.mark.parametrize("field", ["walltime_ms", "grace_ms", "backoff_ms", "deadline_ms", "not_before_ms"])
def test_times_beyond_the_calendar_are_refused(field: str) -> None:
    with pytest.raises(JobInvalid, match="no time between"):
        job.decide(None, c.SubmitJob(spec=spec(**{field: 10**30})), NOW)


def test_a_name_that_is_longer_than_a_line_is_refused() -> None:
    assert job.decide(None, c.SubmitJob(spec=spec(name="x" * 200)), NOW)
    with pytest.raises(JobInvalid, match="its name is longer than 200 characters"):
        job.decide(None, c.SubmitJob(spec=spec(name="x" * 201)), NOW)


RUNS = (submitted(), placed())


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        ((submitted(), e.JobHeld(**ID)), c.UnholdJob(job_id="job-1", why="enough")),
        ((submitted(),), c.PauseJob(job_id="job-1", why="enough")),
        ((submitted(), e.JobPaused(**ID)), c.ResumeJob(job_id="job-1", why="enough")),
        ((submitted(),), c.PrioritizeJob(job_id="job-1", priority=Priority.LOW, why="enough")),
        ((submitted(),), c.SetDeadline(job_id="job-1", deadline_ms=NOW, why="enough")),
        (RUNS, c.RequeueTasks(job_id="job-1", why="enough")),
        ((submitted(), e.JobCancelled(**ID)), c.RetryJob(job_id="job-1", why="enough")),
    ],
)
def test_what_a_person_says_stands_in_the_fact(facts: tuple[e.JobEvent, ...], asked: c.JobCommand) -> None:
    (fact,) = given(*facts).when(asked).facts
    assert fact.why == "enough"  # type: ignore[attr-defined]


def test_a_name_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(JobInvalid, match="not Unicode"):
        job.decide(None, c.SubmitJob(spec=spec(name="\ud800")), NOW)
