"""What follows from an event in the same transaction: edges, queues, workflows, and the attempts of a lost node."""

import pytest

from domain.client import RegisterClient
from domain.dependency import BypassDependency, DependencyState, dependency_id
from domain.job import commands as c
from domain.job.events import JobQueued, TasksLost, TasksRequeued
from domain.job.values import FailureClass, JobStatus, StopCause
from domain.messages import Command
from domain.node import BringOnline, EndMaintenance, LoseNode, StartMaintenance, TakeOffline
from domain.workflow import WorkflowFailed, WorkflowReopened
from tests.application.desk import Desk
from tests.builders import HOUR, NOW, need

PENDING, SATISFIED, FAILED = DependencyState.PENDING, DependencyState.SATISFIED, DependencyState.FAILED
BYPASSED = DependencyState.BYPASSED


def desk_with(*job_ids: str, edges: list[tuple[str, str]] | None = None) -> Desk:
    """A workflow on one large node."""
    desk = Desk()
    desk.nodes("n1", cores=16)
    desk.submit_workflow(*job_ids, edges=edges or [])
    return desk


def bypass(predecessor: str, successor: str) -> BypassDependency:
    return BypassDependency(dependency_id=dependency_id(predecessor, successor))


# -- the next job ----------------------------------------------------------------------------------------------------


def test_a_job_is_queued_in_the_transaction_that_completes_the_last_one_it_waits_for() -> None:
    desk = desk_with("job-1", "job-2", "job-3", edges=[("job-1", "job-3"), ("job-2", "job-3")])
    desk.run("job-1")
    assert [desk.edge("job-1", "job-3"), desk.status("job-3")] == [SATISFIED, JobStatus.PENDING]
    before = desk.position
    desk.finish("job-2")
    assert desk.topics(after=before) == ["job.tasks_succeeded", "job.completed", "dependency.satisfied", "job.queued"]
    assert desk.status("job-3") is JobStatus.QUEUED
    desk.check()


def test_every_consequence_names_its_cause_and_keeps_the_actor() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.run("job-1")
    before = [each for each in desk.recorded() if each.stream == "job-1"][-1]
    satisfied, queued = desk.recorded()[-2:]
    assert satisfied.meta.cause == f"job-1@{before.version}"
    assert queued.meta.cause == f"{satisfied.stream}@{satisfied.version}"
    assert {each.meta.actor for each in (before, satisfied, queued)} == {"dispatcher"}
    assert {each.meta.command_id for each in (before, satisfied, queued)} == {before.meta.command_id}


def test_two_jobs_that_end_in_one_commit_queue_their_common_successor_once() -> None:
    desk = desk_with("job-1", "job-2", "job-3", edges=[("job-1", "job-3"), ("job-2", "job-3")])
    desk.cycle()
    ends = [
        c.ReportEnded(job_id=j, ends=tuple(c.AttemptEnd(n, a.task) for n, a in desk.job(j).live.items()))
        for j in ("job-1", "job-2")
    ]
    desk.do(*ends)
    assert desk.topics().count("job.queued") == 1
    assert desk.status("job-3") is JobStatus.QUEUED
    desk.check()


def test_a_job_whose_time_has_not_come_is_not_queued_by_its_predecessors() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    desk.submit("job-2", after=["job-1"], not_before_ms=NOW + HOUR)
    desk.run("job-1")
    assert [desk.edge("job-1", "job-2"), desk.job("job-2").queued] == [SATISFIED, False]
    desk.clock.advance(HOUR)
    desk.do(c.QueueJob(job_id="job-2"))
    assert desk.last(JobQueued).job_id == "job-2"


def test_a_held_job_is_queued_but_stays_held() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.do(c.HoldJob(job_id="job-2"))
    desk.run("job-1")
    assert [desk.job("job-2").queued, desk.status("job-2")] == [True, JobStatus.PENDING]
    assert desk.cycle().decisions == ()


# -- a predecessor that does not complete ----------------------------------------------------------------------------


def test_a_failed_predecessor_fails_the_edge_and_the_successor_waits_for_a_person() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.run("job-1", failure=FailureClass.EXIT)
    assert [desk.edge("job-1", "job-2"), desk.status("job-2")] == [FAILED, JobStatus.PENDING]


def test_a_cancelled_predecessor_fails_the_edge() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.do(c.CancelJob(job_id="job-1"))
    assert desk.edge("job-1", "job-2") is FAILED


def test_a_bypassed_edge_stops_nobody() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.do(bypass("job-1", "job-2"))
    assert [desk.edge("job-1", "job-2"), desk.status("job-2")] == [BYPASSED, JobStatus.QUEUED]
    desk.run("job-1", failure=FailureClass.EXIT)
    assert desk.edge("job-1", "job-2") is BYPASSED
    desk.check()


def test_bypassing_one_of_two_edges_is_not_enough() -> None:
    desk = desk_with("job-1", "job-2", "job-3", edges=[("job-1", "job-3"), ("job-2", "job-3")])
    desk.do(bypass("job-1", "job-3"))
    assert desk.status("job-3") is JobStatus.PENDING
    desk.do(bypass("job-2", "job-3"))
    assert desk.status("job-3") is JobStatus.QUEUED


def test_a_retry_reopens_the_edge_and_its_success_satisfies_it() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.run("job-1", failure=FailureClass.EXIT)
    desk.do(c.RetryJob(job_id="job-1"))
    assert desk.edge("job-1", "job-2") is PENDING
    desk.run("job-1")
    assert [desk.edge("job-1", "job-2"), desk.status("job-2")] == [SATISFIED, JobStatus.QUEUED]
    desk.check()


def test_a_retry_leaves_a_bypassed_edge_alone() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.run("job-1", failure=FailureClass.EXIT)
    desk.do(bypass("job-1", "job-2"))
    desk.do(c.RetryJob(job_id="job-1"))
    assert [desk.edge("job-1", "job-2"), desk.status("job-2")] == [BYPASSED, JobStatus.QUEUED]


def test_a_successor_that_ended_long_ago_is_left_alone_by_a_retry() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.run("job-1", failure=FailureClass.EXIT)
    desk.do(bypass("job-1", "job-2"))
    desk.run("job-2")
    before = desk.position
    desk.do(c.RetryJob(job_id="job-1"))
    assert desk.topics(after=before) == ["job.retried", "workflow.reopened"]
    assert desk.status("job-2") is JobStatus.COMPLETED
    desk.check()


def test_edges_tell_the_truth_also_about_successors_that_have_ended() -> None:
    desk = desk_with("job-1", "job-2", "job-3", edges=[("job-1", "job-2"), ("job-1", "job-3")])
    desk.do(c.CancelJob(job_id="job-2"))
    desk.run("job-1")
    assert [desk.edge("job-1", "job-2"), desk.edge("job-1", "job-3")] == [SATISFIED, SATISFIED]
    assert desk.topics().count("job.queued") == 1
    desk.check()


def test_a_retried_job_whose_predecessor_completed_meanwhile_is_queued() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.do(c.CancelJob(job_id="job-2"))
    desk.run("job-1")
    desk.do(c.RetryJob(job_id="job-2"))
    assert desk.status("job-2") is JobStatus.QUEUED
    desk.check()


def test_a_retried_job_waits_for_a_predecessor_that_still_runs() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.do(c.CancelJob(job_id="job-2"))
    desk.do(c.RetryJob(job_id="job-2"))
    assert desk.status("job-2") is JobStatus.PENDING
    desk.run("job-1")
    assert desk.status("job-2") is JobStatus.QUEUED
    desk.check()


def test_a_retried_job_waits_again_for_a_predecessor_that_was_retried_before_it() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.do(c.CancelJob(job_id="job-2"))
    desk.run("job-1", failure=FailureClass.EXIT)
    desk.do(c.RetryJob(job_id="job-1"))
    desk.do(c.RetryJob(job_id="job-2"))
    assert desk.status("job-2") is JobStatus.PENDING
    desk.run("job-1")
    assert desk.status("job-2") is JobStatus.QUEUED
    desk.check()


# -- workflows -------------------------------------------------------------------------------------------------------


def test_a_workflow_completes_with_its_last_job() -> None:
    desk = desk_with("job-1", "job-2")
    desk.run("job-1")
    assert desk.workflow().ended is None
    desk.finish("job-2")
    assert desk.workflow().ended is JobStatus.COMPLETED
    assert desk.topics()[-1] == "workflow.completed"
    assert desk.app.farm.workflows == {}


def test_a_workflow_whose_jobs_all_end_in_one_commit_ends_once() -> None:
    desk = desk_with("job-1", "job-2", "job-3")
    desk.cycle()
    desk.do(
        *[
            c.ReportEnded(job_id=j, ends=tuple(c.AttemptEnd(n, a.task) for n, a in desk.job(j).live.items()))
            for j in desk.workflow().jobs
        ]
    )
    assert desk.topics().count("workflow.completed") == 1


def test_a_workflow_fails_when_what_is_left_of_it_waits_for_what_failed() -> None:
    desk = desk_with("job-1", "job-2", "job-3", edges=[("job-1", "job-2"), ("job-2", "job-3")])
    desk.run("job-1", failure=FailureClass.EXIT)
    assert desk.last(WorkflowFailed).failed == ("job-1",)
    assert desk.workflow().ended is JobStatus.FAILED
    assert [desk.status(j) for j in ("job-2", "job-3")] == [JobStatus.PENDING] * 2


def test_a_workflow_goes_on_while_another_branch_of_it_can_and_then_fails() -> None:
    desk = desk_with("job-1", "job-2", "job-3", edges=[("job-1", "job-2")])
    desk.run("job-1", failure=FailureClass.EXIT)
    assert desk.workflow().ended is None
    desk.finish("job-3")
    assert desk.workflow().ended is JobStatus.FAILED


def test_a_held_job_of_a_workflow_can_still_go_on() -> None:
    desk = desk_with("job-1", "job-2")
    desk.do(c.HoldJob(job_id="job-2"))
    desk.run("job-1", failure=FailureClass.EXIT)
    assert desk.workflow().ended is None


def test_a_workflow_is_cancelled_when_its_jobs_are_and_none_failed() -> None:
    desk = desk_with("job-1", "job-2", "job-3", edges=[("job-2", "job-3")])
    desk.run("job-1")
    desk.do(c.CancelJob(job_id="job-2"))
    assert desk.workflow().ended is JobStatus.CANCELLED


def test_a_workflow_ends_although_an_attempt_of_a_cancelled_job_still_stops() -> None:
    desk = desk_with("job-1", "job-2")
    desk.cycle()
    desk.do(c.CancelJob(job_id="job-1"))
    assert desk.job("job-1").live
    desk.finish("job-2")
    assert desk.workflow().ended is JobStatus.CANCELLED
    desk.finish("job-1", failure=FailureClass.SIGNAL)
    assert desk.workflow().ended is JobStatus.CANCELLED
    desk.check()


def test_a_chain_beside_what_is_stuck_goes_on_to_its_end() -> None:
    desk = desk_with(
        "job-0", "job-1", "job-2", "job-3", "job-4", edges=[("job-0", "job-1"), ("job-2", "job-3"), ("job-3", "job-4")]
    )
    desk.run("job-0", failure=FailureClass.EXIT)
    desk.finish("job-2")
    desk.run("job-3")
    assert desk.workflow().ended is None
    desk.run("job-4")
    assert desk.workflow().ended is JobStatus.FAILED


def test_a_retry_opens_an_ended_workflow_and_it_ends_again() -> None:
    desk = desk_with("job-1", "job-2")
    desk.run("job-1", failure=FailureClass.EXIT)
    desk.finish("job-2")
    assert desk.workflow().ended is JobStatus.FAILED
    desk.do(c.RetryJob(job_id="job-1"))
    assert desk.last(WorkflowReopened).outcomes == {"job-2": JobStatus.COMPLETED}
    assert desk.workflow().ended is None
    desk.run("job-1")
    assert desk.workflow().ended is JobStatus.COMPLETED
    desk.check()


def test_a_retry_in_a_workflow_that_still_runs_takes_back_how_the_job_ended() -> None:
    desk = desk_with("job-1", "job-2")
    desk.run("job-1", failure=FailureClass.EXIT)
    desk.do(c.RetryJob(job_id="job-1"))
    desk.finish("job-2")
    assert desk.workflow().ended is None
    desk.run("job-1")
    assert desk.workflow().ended is JobStatus.COMPLETED


def test_a_job_cancelled_and_retried_in_one_request_has_not_ended() -> None:
    desk = desk_with("job-1", "job-2")
    desk.do(c.HoldJob(job_id="job-2"))
    desk.do(c.CancelJob(job_id="job-1"), c.RetryJob(job_id="job-1"))
    desk.do(c.UnholdJob(job_id="job-2"))
    desk.run("job-2")
    assert desk.workflow().ended is None
    desk.check()


def test_a_bypass_opens_a_failed_workflow_for_the_job_that_can_go_on() -> None:
    desk = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    desk.run("job-1", failure=FailureClass.EXIT)
    desk.do(bypass("job-1", "job-2"))
    assert desk.workflow().ended is None
    desk.run("job-2")
    assert desk.workflow().ended is JobStatus.FAILED
    assert desk.last(WorkflowFailed).failed == ("job-1",)


def test_a_successor_in_another_workflow_is_queued_all_the_same() -> None:
    desk = desk_with("job-1")
    desk.submit_workflow("job-2", edges=[("job-1", "job-2")], workflow_id="wf-2")
    desk.run("job-1")
    assert [desk.workflow("wf-1").ended, desk.status("job-2")] == [JobStatus.COMPLETED, JobStatus.QUEUED]
    desk.run("job-2")
    assert desk.workflow("wf-2").ended is JobStatus.COMPLETED


# -- nodes -----------------------------------------------------------------------------------------------------------


def test_with_a_lost_node_go_its_attempts_and_their_tasks_wait_again() -> None:
    desk = Desk()
    desk.nodes("n1", "n2", cores=2)
    desk.submit("job-1", tasks="0-3")
    desk.cycle()
    before = desk.position
    desk.do(LoseNode(node_id="n1", why="it burned"))
    assert desk.topics(after=before) == ["node.lost", "job.tasks_lost", "job.tasks_requeued"]
    assert desk.last(TasksLost).tasks == desk.last(TasksRequeued).tasks == "0-1"
    assert desk.job("job-1").waiting == "0-1"
    assert sorted(desk.job("job-1").live) == [3, 4]
    assert desk.job("job-1").failures == {}
    desk.check()


def test_a_lost_node_with_attempts_of_several_jobs_loses_them_job_by_job() -> None:
    desk = Desk()
    desk.nodes("n1", cores=2)
    desk.submit("job-2", "job-1")
    desk.cycle()
    desk.do(LoseNode(node_id="n1", why="it burned"))
    lost = [each.event.job_id for each in desk.recorded() if isinstance(each.event, TasksLost)]
    assert lost == ["job-1", "job-2"]


def gang_on_two_nodes() -> Desk:
    desk = Desk()
    desk.nodes("n1", "n2", cores=1)
    desk.submit("job-1", requirement=need(1, slots=2, distinct=True))
    desk.cycle()
    assert desk.job("job-1").live[1].nodes == (("n1", 1), ("n2", 1))
    return desk


def test_a_gang_is_lost_with_the_node_that_hosts_it() -> None:
    desk = gang_on_two_nodes()
    desk.do(LoseNode(node_id="n1", why="it burned"))
    assert [desk.job("job-1").live, desk.job("job-1").waiting] == [{}, "0"]
    assert desk.app.farm.placed["n2"] == set()
    desk.check()


def test_a_gang_that_lost_another_node_is_stopped_where_it_runs_and_waits_again_without_a_failure() -> None:
    desk = gang_on_two_nodes()
    desk.do(LoseNode(node_id="n2", why="it burned"))
    assert desk.job("job-1").live[1].stopping is StopCause.GANG_BROKEN
    desk.finish("job-1", failure=FailureClass.SIGNAL)
    assert [desk.job("job-1").waiting, desk.job("job-1").failures] == ["0", {}]
    assert desk.app.farm.placed["n1"] == desk.app.farm.placed["n2"] == set()
    desk.check()


def test_an_attempt_that_was_to_be_cancelled_is_cancelled_when_its_node_is_lost() -> None:
    desk = desk_with("job-1")
    desk.cycle()
    desk.do(c.CancelJob(job_id="job-1"))
    desk.do(LoseNode(node_id="n1", why="it burned"))
    assert [desk.job("job-1").cancelled, desk.job("job-1").live] == ["0", {}]
    assert desk.app.farm.jobs == {}
    desk.check()


def test_a_node_shut_down_in_order_leaves_no_attempt_behind() -> None:
    desk = desk_with("job-1")
    desk.cycle()
    desk.do(TakeOffline(node_id="n1"))
    assert desk.status("job-1") is JobStatus.QUEUED
    desk.do(BringOnline(node_id="n1"))
    assert [place.job_id for place in desk.cycle().decisions] == ["job-1"]


def test_a_node_in_maintenance_finishes_what_it_runs() -> None:
    desk = desk_with("job-1")
    desk.cycle()
    desk.do(StartMaintenance(node_id="n1"))
    assert desk.status("job-1") is JobStatus.RUNNING


@pytest.mark.parametrize("back", [(), (EndMaintenance(node_id="n1"),)], ids=["during", "after"])
def test_a_node_lost_during_maintenance_or_just_after_it_takes_its_attempts_along(back: tuple[Command, ...]) -> None:
    desk = desk_with("job-1")
    desk.cycle()
    desk.do(StartMaintenance(node_id="n1"), *back)
    desk.do(LoseNode(node_id="n1", why="it burned"))
    assert [desk.status("job-1"), desk.job("job-1").live] == [JobStatus.QUEUED, {}]
    desk.check()


# -- several processes on one log ------------------------------------------------------------------------------------


def test_a_dependency_declared_elsewhere_while_its_predecessor_completes_here_is_satisfied() -> None:
    one = Desk()
    one.nodes("n1")
    one.submit("job-1")
    one.cycle()
    Desk(log=one.log).submit("job-2", after=["job-1"])
    one.finish("job-1")
    assert [one.edge("job-1", "job-2"), one.status("job-2")] == [SATISFIED, JobStatus.QUEUED]


def test_a_dependency_declared_here_while_its_predecessor_completes_elsewhere_is_satisfied() -> None:
    one = Desk()
    one.nodes("n1")
    one.submit("job-1")
    one.cycle()
    Desk(log=one.log).finish("job-1")
    one.submit("job-2", after=["job-1"])
    assert [one.edge("job-1", "job-2"), one.status("job-2")] == [SATISFIED, JobStatus.QUEUED]


def test_two_predecessors_that_complete_in_two_processes_queue_their_successor() -> None:
    one = desk_with("job-1", "job-2", "job-3", edges=[("job-1", "job-3"), ("job-2", "job-3")])
    one.cycle()
    two = Desk(log=one.log)
    one.finish("job-1")
    two.finish("job-2")
    assert two.status("job-3") is JobStatus.QUEUED


def test_two_last_jobs_that_end_in_two_processes_end_their_workflow() -> None:
    one = desk_with("job-1", "job-2")
    one.cycle()
    two = Desk(log=one.log)
    one.finish("job-1")
    two.finish("job-2")
    assert two.workflow().ended is JobStatus.COMPLETED


def test_a_node_lost_here_takes_with_it_what_was_placed_there_elsewhere() -> None:
    one = Desk()
    one.nodes("n1")
    one.submit("job-1")
    Desk(log=one.log).cycle()
    one.do(LoseNode(node_id="n1", why="it burned"))
    assert one.job("job-1").waiting == "0"


def test_work_of_other_streams_does_not_stand_in_the_way() -> None:
    one = desk_with("job-1", "job-2", edges=[("job-1", "job-2")])
    one.cycle()
    Desk(log=one.log).do(RegisterClient(client_id="show"))
    one.finish("job-1")
    assert one.status("job-2") is JobStatus.QUEUED
    one.check()
