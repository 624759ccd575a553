"""Commands that concern several streams: what is accepted as a whole, what is refused as a whole, and why."""

from typing import Any

import msgspec
import pytest

from application.commands import AdoptPolicies, RecordCheckpoint, Submit
from application.decider import JOB, load_stream
from domain import errors, job
from domain.checkpoint import CheckpointState, CheckpointTaken
from domain.client import ReinstateClient, SuspendClient
from domain.cycle import PoliciesAdopted
from domain.decisions import ReasonCode
from domain.dependency import DeclareDependency, DependencyState
from domain.job import commands as c
from domain.job.events import JobUnqueued, TasksLost, TasksRequeued
from domain.job.values import AttemptEnd, FailureClass, JobStatus
from domain.messages import Command
from domain.policies import Policies
from domain.workflow import WorkflowJobAdded
from tests.application.desk import Desk
from tests.builders import NOW, spec

SECOND = 1_000


def refused(desk: Desk, *commands: Command) -> errors.TaskSchedulerError:
    """The error that a request ends with, having changed nothing but the record of refusals."""
    farm = desk.app.farm.snapshot()
    with pytest.raises(errors.TaskSchedulerError) as caught:
        desk.do(*commands)
    after = desk.app.farm.snapshot()
    assert (after.jobs, after.workflows, after.dependencies, after.clients) == (
        farm.jobs,
        farm.workflows,
        farm.dependencies,
        farm.clients,
    )
    return caught.value


def submission(job_id: str, **fields: Any) -> c.SubmitJob:
    after, held = fields.pop("after", ()), fields.pop("held", False)
    return c.SubmitJob(spec=spec(job_id, **({"client_id": "default"} | fields)), after=after, held=held)


# -- submitting ------------------------------------------------------------------------------------------------------


def test_a_workflow_is_submitted_with_its_jobs_and_edges_in_one_transaction() -> None:
    desk = Desk()
    desk.submit_workflow("job-1", "job-2", "job-3", edges=[("job-1", "job-3"), ("job-2", "job-3")])
    assert desk.topics() == [
        "workflow.submitted",
        "client.registered",
        "job.submitted",
        "job.submitted",
        "job.submitted",
        "dependency.declared",
        "dependency.declared",
    ]
    assert len({each.meta.command_id for each in desk.recorded()}) == 1
    assert desk.workflow().jobs == ("job-1", "job-2", "job-3")
    assert [desk.status(job_id) for job_id in desk.workflow().jobs] == [
        JobStatus.QUEUED,
        JobStatus.QUEUED,
        JobStatus.PENDING,
    ]


def test_a_workflow_submitted_again_is_the_same_workflow() -> None:
    desk = Desk()
    desk.submit_workflow("job-1", "job-2", edges=[("job-1", "job-2")])
    before = desk.position
    desk.submit_workflow("job-1", "job-2", edges=[("job-1", "job-2")])
    assert desk.position == before


def test_one_bad_job_keeps_the_whole_workflow_out() -> None:
    desk = Desk()
    jobs = (submission("job-1", workflow_id="wf-1"), submission("job-2", workflow_id="wf-1", tasks=""))
    error = refused(desk, Submit(workflow_id="wf-1", jobs=jobs))
    assert isinstance(error, errors.JobInvalid)
    assert desk.position == 0


def test_a_workflow_needs_a_job() -> None:
    assert isinstance(refused(Desk(), Submit(workflow_id="wf-1", jobs=())), errors.WorkflowInvalid)


@pytest.mark.parametrize("named", [None, "wf-2"])
def test_jobs_of_a_workflow_must_say_that_they_belong_to_it(named: str | None) -> None:
    error = refused(Desk(), Submit(workflow_id="wf-1", jobs=(submission("job-1", workflow_id=named),)))
    assert isinstance(error, errors.WorkflowInvalid)
    assert "job-1" in error.message


def test_a_job_submitted_later_lets_its_workflow_grow() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit_workflow("job-1")
    desk.submit("job-2", workflow_id="wf-1")
    assert desk.last(WorkflowJobAdded).job_id == "job-2"
    assert desk.workflow().jobs == ("job-1", "job-2")
    desk.run("job-1")
    assert desk.workflow().ended is None
    desk.finish("job-2")
    assert desk.workflow().ended is JobStatus.COMPLETED


def test_a_job_cannot_join_a_workflow_that_has_ended_or_never_was() -> None:
    desk = Desk()
    assert isinstance(refused(desk, submission("job-2", workflow_id="wf-1")), errors.WorkflowNotFound)
    desk.nodes("n1")
    desk.submit_workflow("job-1")
    desk.run("job-1")
    assert isinstance(refused(desk, submission("job-2", workflow_id="wf-1")), errors.WorkflowStateForbids)


def test_a_job_with_a_start_time_waits_for_it_in_no_queue() -> None:
    desk = Desk()
    desk.submit("job-1", not_before_ms=NOW + SECOND)
    desk.submit("job-2", not_before_ms=NOW)
    assert [desk.job("job-1").queued, desk.job("job-2").queued] == [False, True]


# -- clients ---------------------------------------------------------------------------------------------------------


def test_work_without_a_client_belongs_to_one_that_makes_itself() -> None:
    desk = Desk()
    desk.submit("job-1", "job-2")
    assert desk.topics() == ["client.registered", "job.submitted", "job.submitted"]


def test_an_unknown_client_owns_nothing() -> None:
    error = refused(Desk(), submission("job-1", client_id="nobody"))
    assert isinstance(error, errors.ClientNotFound)
    assert error.fields == {"client_id": "nobody"}


def test_a_suspended_client_submits_nothing_until_it_is_reinstated() -> None:
    desk = Desk()
    desk.client("show")
    desk.do(SuspendClient(client_id="show"))
    assert isinstance(refused(desk, submission("job-1", client_id="show")), errors.ClientSuspended)
    desk.do(ReinstateClient(client_id="show"))
    desk.submit("job-1", client_id="show")


# -- dependencies ----------------------------------------------------------------------------------------------------


def test_a_job_waits_for_the_jobs_it_is_submitted_after() -> None:
    desk = Desk()
    desk.submit("job-1")
    desk.submit("job-2", after=["job-1"])
    assert desk.status("job-2") is JobStatus.PENDING
    assert desk.edge("job-1", "job-2") is DependencyState.PENDING


def test_an_edge_to_a_job_that_does_not_exist_is_refused() -> None:
    desk = Desk()
    error = refused(desk, submission("job-2", after=("job-1",)))
    assert isinstance(error, errors.JobNotFound)
    assert error.fields == {"job_id": "job-1"}


@pytest.mark.parametrize(
    "edges",
    [
        [("job-1", "job-1")],
        [("job-1", "job-2"), ("job-2", "job-1")],
        [("job-1", "job-2"), ("job-2", "job-3"), ("job-3", "job-4"), ("job-4", "job-1")],
    ],
)
def test_jobs_that_would_wait_for_each_other_are_not_accepted(edges: list[tuple[str, str]]) -> None:
    desk = Desk()
    jobs = tuple(submission(f"job-{n}") for n in range(1, 5))
    error = refused(desk, Submit(jobs=jobs, dependencies=tuple(edges)))
    assert isinstance(error, errors.DependencyCycle)
    assert desk.topics() == ["command.refused"]


def test_an_edge_that_would_close_a_circle_over_earlier_ones_is_refused_with_the_way_round() -> None:
    desk = Desk()
    jobs = tuple(submission(f"job-{n}", held=True) for n in (1, 2, 3))
    desk.do(Submit(jobs=jobs, dependencies=(("job-1", "job-2"), ("job-2", "job-3"))))
    error = refused(desk, DeclareDependency(predecessor_id="job-3", successor_id="job-1"))
    assert isinstance(error, errors.DependencyCycle)
    assert error.fields["path"] == "job-1 → job-2 → job-3"


def test_two_ways_between_the_same_jobs_are_no_circle() -> None:
    desk = Desk()
    jobs = tuple(submission(f"job-{n}") for n in (1, 2, 3, 4))
    edges = (("job-1", "job-2"), ("job-1", "job-3"), ("job-2", "job-4"), ("job-3", "job-4"))
    desk.do(Submit(jobs=jobs, dependencies=edges))
    assert len(desk.app.farm.dependencies) == 4


def test_an_edge_is_declared_once() -> None:
    desk = Desk()
    desk.submit("job-1")
    desk.submit("job-2", after=["job-1", "job-1"])
    before = desk.position
    assert desk.do(DeclareDependency(predecessor_id="job-1", successor_id="job-2")).events == 0
    assert desk.position == before


def test_a_dependency_on_a_job_that_has_completed_is_satisfied_at_once() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    desk.run("job-1")
    desk.submit("job-2", after=["job-1"])
    assert desk.edge("job-1", "job-2") is DependencyState.SATISFIED
    assert desk.status("job-2") is JobStatus.QUEUED


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_dependency_on_a_job_that_did_not_complete_has_failed_at_once(how: str) -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    if how == "failed":
        desk.run("job-1", failure=FailureClass.EXIT)
    else:
        desk.do(c.CancelJob(job_id="job-1"))
    desk.submit("job-2", after=["job-1"])
    assert desk.edge("job-1", "job-2") is DependencyState.FAILED
    assert desk.status("job-2") is JobStatus.PENDING


def test_a_job_that_has_ended_can_wait_for_nothing_more() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    desk.run("job-1")
    desk.submit("job-2")
    error = refused(desk, DeclareDependency(predecessor_id="job-2", successor_id="job-1"))
    assert isinstance(error, errors.JobEnded)


def test_a_job_that_was_queued_already_leaves_the_queue_for_a_new_dependency() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-2")
    desk.submit("job-1")
    desk.do(DeclareDependency(predecessor_id="job-1", successor_id="job-2"))
    assert desk.last(JobUnqueued).why == "it waits for job-1"
    desk.cycle()
    assert desk.status("job-2") is JobStatus.PENDING
    desk.finish("job-1")
    assert desk.status("job-2") is JobStatus.QUEUED


def test_a_new_dependency_on_a_completed_job_leaves_the_successor_in_the_queue() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    desk.run("job-1")
    desk.submit("job-2")
    desk.do(DeclareDependency(predecessor_id="job-1", successor_id="job-2"))
    assert desk.status("job-2") is JobStatus.QUEUED


def test_what_runs_of_a_job_goes_on_although_the_job_has_to_wait() -> None:
    desk = Desk()
    desk.nodes("n1", cores=1)
    desk.submit("job-2", tasks="0-1")
    desk.cycle()
    desk.submit("job-1")
    desk.do(DeclareDependency(predecessor_id="job-1", successor_id="job-2"))
    assert desk.status("job-2") is JobStatus.RUNNING
    desk.finish("job-2")
    assert [place.job_id for place in desk.cycle().decisions] == ["job-1"]


# -- the queue -------------------------------------------------------------------------------------------------------


def test_nobody_can_queue_a_job_past_its_dependencies() -> None:
    desk = Desk()
    desk.submit("job-1")
    desk.submit("job-2", after=["job-1"])
    assert desk.do(c.QueueJob(job_id="job-2")).events == 0


def test_nobody_can_queue_a_job_before_its_time() -> None:
    desk = Desk()
    desk.submit("job-1", not_before_ms=NOW + SECOND)
    assert desk.do(c.QueueJob(job_id="job-1")).events == 0
    desk.clock.advance(SECOND)
    assert desk.do(c.QueueJob(job_id="job-1")).events == 1


def test_a_job_that_does_not_exist_cannot_be_queued() -> None:
    assert isinstance(refused(Desk(), c.QueueJob(job_id="job-9")), errors.JobNotFound)


# -- ends ------------------------------------------------------------------------------------------------------------


def test_an_attempt_that_its_node_lost_has_not_failed() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1", tasks="0-2", retries=0)
    desk.cycle()
    ends = (
        AttemptEnd(1, 0, failure=FailureClass.LOST, message="cut off"),
        AttemptEnd(2, 1, exit_code=0),
        AttemptEnd(3, 2, failure=FailureClass.LOST),
        AttemptEnd(4, 9, failure=FailureClass.LOST),  # nobody knows this one
    )
    desk.do(c.ReportEnded(job_id="job-1", ends=ends), by="dispatcher")
    assert desk.last(TasksLost) == TasksLost(at_ms=NOW, job_id="job-1", node_id="n1", attempts=(1, 3), tasks="0,2")
    assert desk.last(TasksRequeued).why == "lost"
    after = desk.job("job-1")
    assert (after.waiting, after.succeeded, after.failed, after.failures) == ("0,2", "1", "", {})
    assert after.status is JobStatus.QUEUED


def test_an_end_reported_of_an_unknown_job_is_refused() -> None:
    lost = c.ReportEnded(job_id="job-9", ends=(AttemptEnd(1, 0, failure=FailureClass.LOST),))
    assert isinstance(refused(Desk(), lost), errors.JobNotFound)


# -- checkpoints -----------------------------------------------------------------------------------------------------


def saved(number: int = 1, attempt: int = 1, progress: int = 30) -> RecordCheckpoint:
    return RecordCheckpoint(
        checkpoint_id=f"ckpt-job-1.0.{attempt}.{number}",
        job_id="job-1",
        attempt=attempt,
        location=f"/checkpoints/{attempt}.{number}",
        size_bytes=10,
        sha256="ab",
        progress=progress,
    )


def running_desk() -> Desk:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    desk.cycle()
    return desk


def test_a_checkpoint_is_stored_with_the_job_as_it_stands_then() -> None:
    desk = running_desk()
    before = desk.position
    desk.do(saved())
    assert desk.topics(after=before) == ["job.task_checkpointed", "checkpoint.taken"]
    taken = desk.last(CheckpointTaken)
    assert (taken.task, taken.attempt, taken.progress) == (0, 1, 30)
    snapshot = desk.log.snapshot("job-1", taken.job_version)
    assert snapshot is not None
    assert snapshot.version == taken.job_version == desk.log.stream("job-1")[-1].version
    assert msgspec.msgpack.decode(snapshot.state, type=job.Job) == desk.job("job-1")
    assert load_stream(desk.log, JOB, "job-1", taken.job_version).state == desk.job("job-1")
    assert desk.job("job-1").checkpoints[0].location == "/checkpoints/1.1"
    assert desk.checkpoint("ckpt-job-1.0.1.1").state is CheckpointState.TAKEN


def test_the_snapshot_of_a_refused_checkpoint_is_not_stored() -> None:
    desk = running_desk()
    error = refused(desk, saved(), c.HoldJob(job_id="job-9"))
    assert isinstance(error, errors.JobNotFound)
    assert desk.log.snapshot("job-1") is None


def test_a_checkpoint_reported_again_changes_nothing_even_when_a_newer_one_is_known() -> None:
    desk = running_desk()
    desk.do(saved(1))
    desk.do(saved(2, progress=60))
    assert desk.do(saved(1)).events == 0
    assert desk.do(saved(2)).events == 0
    assert desk.job("job-1").checkpoints[0].location == "/checkpoints/1.2"


def test_an_attempt_that_is_over_leaves_no_checkpoint() -> None:
    desk = running_desk()
    desk.do(saved(1))
    desk.finish("job-1")
    assert isinstance(refused(desk, saved(2)), errors.AttemptNotFound)
    assert desk.do(saved(1)).events == 0  # this one was known while it ran


def test_a_checkpoint_of_an_unknown_job_is_refused() -> None:
    assert isinstance(refused(Desk(), saved()), errors.AttemptNotFound)


# -- policies --------------------------------------------------------------------------------------------------------


def test_adopted_policies_are_followed_from_the_next_cycle_on() -> None:
    desk = Desk()
    desk.nodes("n1", cores=4)
    desk.submit("job-1", cores=3)
    desk.cycle()
    desk.submit("job-2", cores=2)
    desk.submit("job-3", cores=1)
    desk.do(AdoptPolicies(policies=Policies(backfill="none")))
    assert desk.last(PoliciesAdopted).policies == desk.app.farm.policies == Policies(version=2, backfill="none")
    strict = desk.cycle()
    assert strict.decisions == ()
    assert {row.reasons[0].code for row in strict.passed_over} == {ReasonCode.RESOURCES_SHORT, ReasonCode.BEHIND_HEAD}
    desk.do(AdoptPolicies(policies=Policies()))
    assert [place.job_id for place in desk.cycle().decisions] == ["job-3"]


def test_the_same_policies_again_change_nothing() -> None:
    desk = Desk()
    assert desk.do(AdoptPolicies(policies=Policies())).events == 0
    assert desk.do(AdoptPolicies(policies=Policies(order="fifo"))).events == 1
    assert desk.do(AdoptPolicies(policies=Policies(order="fifo"))).events == 0
    assert [recorded.version for recorded in desk.log.stream("policies")] == [1]


def test_policies_that_nobody_knows_are_not_adopted() -> None:
    desk = Desk()
    assert isinstance(refused(desk, AdoptPolicies(policies=Policies(order="alphabetical"))), errors.PolicyInvalid)
    assert desk.position == 0
