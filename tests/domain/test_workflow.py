"""Workflows: submitted once, grown until they end, opened again by a retry, put away after the end."""

import pytest

from domain import workflow
from domain.errors import WorkflowInvalid, WorkflowNotFound, WorkflowStateForbids
from domain.job.values import JobStatus
from tests.builders import NOW
from tests.spec import scenarios

given = scenarios(workflow)
ID = {"at_ms": NOW, "workflow_id": "wf-1"}
JOBS = ("job-a", "job-b")
submitted = workflow.WorkflowSubmitted(**ID, name="shot", client_id="show", jobs=JOBS)
ENDS = [
    (JobStatus.COMPLETED, workflow.WorkflowCompleted(**ID)),
    (JobStatus.FAILED, workflow.WorkflowFailed(**ID, failed=("job-b",))),
    (JobStatus.CANCELLED, workflow.WorkflowCancelled(**ID, why="wrong scene")),
]


def submit(jobs: tuple[str, ...] = JOBS, name: str = "shot", workflow_id: str = "wf-1") -> workflow.SubmitWorkflow:
    return workflow.SubmitWorkflow(workflow_id=workflow_id, name=name, client_id="show", jobs=jobs)


def add(job_id: str) -> workflow.AddWorkflowJob:
    return workflow.AddWorkflowJob(workflow_id="wf-1", job_id=job_id)


reopen = workflow.ReopenWorkflow(workflow_id="wf-1", job_id="job-b", outcomes={"job-a": JobStatus.COMPLETED})
archive = workflow.ArchiveWorkflow(workflow_id="wf-1")


def test_a_workflow_is_submitted_once() -> None:
    after = given().when(submit()).then(submitted)
    assert (after.state.name, after.state.client_id, after.state.jobs) == ("shot", "show", JOBS)
    after.when(submit()).then_nothing()


def test_submitting_it_again_after_it_grew_changes_nothing() -> None:
    given(submitted, workflow.WorkflowJobAdded(**ID, job_id="job-c")).when(submit()).then_nothing()


@pytest.mark.parametrize("other", [submit(name="other"), submit(jobs=("job-b", "job-a"))])
def test_another_workflow_under_the_same_id_is_refused(other: workflow.SubmitWorkflow) -> None:
    given(submitted).when(other).then_raises(WorkflowInvalid, problem="another one was submitted under this id")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (submit(jobs=()), "it has no jobs"),
        (submit(jobs=("job-a", "job-a")), "it names a job twice"),
        (submit(workflow_id="a/b"), "plain letters"),
    ],
)
def test_what_could_never_be_a_workflow_is_refused(wrong: workflow.SubmitWorkflow, problem: str) -> None:
    asked = given().when(wrong)
    asked.then_raises(WorkflowInvalid, workflow_id=wrong.workflow_id)
    assert problem in str(asked.refusal)


def test_a_workflow_grows_until_it_ends() -> None:
    after = given(submitted).when(add("job-c")).then(workflow.WorkflowJobAdded(**ID, job_id="job-c"))
    assert after.state.jobs == (*JOBS, "job-c")
    after.when(add("job-c")).then_nothing()
    ended = given(*after.facts, workflow.WorkflowCompleted(**ID))
    ended.when(add("job-c")).then_nothing()
    ended.when(add("job-d")).then_raises(WorkflowStateForbids, status=JobStatus.COMPLETED, verb="adding a job")


@pytest.mark.parametrize(("outcome", "fact"), ENDS)
def test_a_workflow_ends_once_with_the_outcome_of_its_jobs(outcome: JobStatus, fact: workflow.WorkflowEvent) -> None:
    asked = workflow.EndWorkflow(workflow_id="wf-1", outcome=outcome, failed=("job-b",), why="wrong scene")
    after = given(submitted).when(asked).then(fact)
    assert after.state.ended is outcome
    for other, _ in ENDS:
        after.when(workflow.EndWorkflow(workflow_id="wf-1", outcome=other)).then_nothing()


@pytest.mark.parametrize(("outcome", "fact"), ENDS)
def test_a_retried_job_opens_its_workflow_again(outcome: JobStatus, fact: workflow.WorkflowEvent) -> None:
    reopened = workflow.WorkflowReopened(
        **ID, job_id="job-b", name="shot", client_id="show", jobs=JOBS, outcomes={"job-a": JobStatus.COMPLETED}
    )
    archived = workflow.WorkflowArchived(**ID)
    for before in (given(submitted, fact), given(submitted, fact, archived)):
        after = before.when(reopen).then(reopened)
        assert (after.state.ended, after.state.archived) == (None, False)
        assert workflow.evolve(None, reopened) == after.state, "a reader who forgot the workflow learns all of it"


def test_a_workflow_that_has_not_ended_need_not_be_reopened() -> None:
    given(submitted).when(reopen).then_nothing()


def test_only_an_ended_workflow_is_put_away() -> None:
    given(submitted).when(archive).then_raises(WorkflowStateForbids, verb="archive")
    after = given(submitted, workflow.WorkflowCompleted(**ID)).when(archive).then(workflow.WorkflowArchived(**ID))
    assert after.state.archived
    after.when(archive).then_nothing()


@pytest.mark.parametrize(
    "command", [add("job-c"), workflow.EndWorkflow(workflow_id="wf-1", outcome=JobStatus.FAILED), reopen, archive]
)
def test_nothing_can_be_asked_of_a_workflow_that_was_never_submitted(command: workflow.WorkflowCommand) -> None:
    given().when(command).then_raises(WorkflowNotFound, workflow_id="wf-1")
