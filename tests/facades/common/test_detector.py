"""Failures (§8.2) and recovery (§8.3)."""

from typing import Any

import pytest

from common import (
    BaseJob,
    CheckpointManager,
    FailureDetector,
    FailureLevel,
    FailureType,
    JobStatus,
    MemoryCheckpointStorage,
    NodeStatus,
    RecoveryAction,
    ResilienceCoordinator,
    Result,
)
from common.failure_resilience import FailureEvent, RecoveryPlan, RecoveryStrategy
from domain.job.events import JobCancelled, JobSubmitted, TasksStopping
from domain.node import NodeRecovered, NodeSuspected
from tests.facades.common.worlds import HOUR, World, node

KINDS = FailureType


@pytest.fixture
def detector(world: World) -> FailureDetector:
    return FailureDetector(app=world.app)


def found(detector: FailureDetector, jobs: Any = (), nodes: Any = ()) -> list[tuple[str, str]]:
    """The types and levels of what is new."""
    return [(each.failure_type.value, each.level.value) for each in detector.detect_failures(list(jobs), list(nodes))]


# -- 8.2 -------------------------------------------------------------------------------------------------------------


def test_an_event_survives_being_a_dict_and_is_resolved_once_told(world: World) -> None:
    event = FailureEvent(
        "f", KINDS.JOB_ERROR, FailureLevel.ERROR, job_id="j", description="d", details={"at": world.now}
    )
    assert (event.resolved, event.resolution_time, event.timestamp) == (False, None, world.now)
    event.resolve()
    assert (event.resolved, event.resolution_time, event.resolution_description) == (
        True,
        world.now,
        "Automatically resolved",
    )
    told = event.to_dict()
    assert (told["failure_type"], told["level"], told["timestamp"]) == ("job_error", "error", world.now.isoformat())
    assert FailureEvent.from_dict(told).to_dict() == told
    odd = FailureEvent.from_dict({**told, "timestamp": "?", "resolution_time": "?"})
    assert (odd.timestamp, odd.resolution_time) == (world.now, None)


def test_v1_v2_a_silent_node_is_suspected_until_its_next_heartbeat(world: World, detector: FailureDetector) -> None:
    machine = node()
    assert found(detector, nodes=[machine]) == []
    detector.register_heartbeat("n1")
    world.passes(HOUR)
    (event,) = detector.detect_failures([], [machine])
    assert (event.failure_type, event.level, event.node_id) == (KINDS.NODE_TIMEOUT, FailureLevel.WARNING, "n1")
    assert set(event.details) == {"last_heartbeat_time", "timeout_seconds"}
    assert list(detector.active_failures) == ["node_timeout_n1"]
    assert found(detector, nodes=[machine]) == []
    detector.register_heartbeat("n1")
    assert (event.resolved, detector.active_failures) == (True, {})
    assert len(world.events(NodeSuspected)) == len(world.events(NodeRecovered)) == 1


def test_v2_v3_nodes_by_status(world: World, detector: FailureDetector) -> None:
    machines = [
        node("n1", status="offline"),
        node("n2", status="error", last_error="fan"),
        node("n3", status="maintenance"),
    ]
    assert found(detector, nodes=machines) == [
        ("node_offline", "error"), ("system_failure", "warning"), ("system_failure", "warning"),
    ]  # fmt: skip
    assert set(detector.active_failures) == {"node_offline_n1", "node_error_n2", "node_error_n3"}
    assert detector.active_failures["node_error_n2"].details == {"node_name": "n2", "status": "error", "error": "fan"}
    for each in machines:
        each.status = NodeStatus.ONLINE
    assert found(detector, nodes=machines) == []
    assert detector.active_failures == {}
    assert all(each.resolved for each in detector.failure_history)


def test_v2_v3_a_failed_job(world: World, detector: FailureDetector) -> None:
    class Telling(BaseJob):
        last_error: str | None = "out of memory"

    job = Telling(id="j", name="J", status="failed", error_count=2, assigned_node_id="n1")
    (event,) = detector.detect_failures([job], [])
    assert "out of memory" in event.description
    assert event.details == {"job_name": "J", "error_count": 2, "assigned_node_id": "n1"}
    assert "Unknown error" in detector.detect_failures([world.job("k", status="failed")], [])[0].description
    job.status = JobStatus.PENDING
    detector.detect_failures([job], [])
    assert list(detector.active_failures) == ["job_error_k"]


def test_v2_a_missed_deadline_is_not_resolved_by_progress(world: World, detector: FailureDetector) -> None:
    job = world.due_job("j", due=-HOUR, status="running", progress=5.0)
    done = world.due_job("k", due=-HOUR, status="completed")
    (event,) = detector.detect_failures([job, done], [])
    assert (event.failure_type, event.details["status"], event.details["progress"]) == (
        KINDS.JOB_TIMEOUT,
        "running",
        5.0,
    )
    detector.update_job_progress("j", 6.0)
    assert list(detector.active_failures) == ["job_deadline_j"]


def test_v1_v2_a_stall_is_resolved_by_progress(world: World, detector: FailureDetector) -> None:
    job = world.job("j", status="running", progress=50.0)
    detector.update_job_progress("j", 50.0)
    detector.set_job_timeout_factor("j", 3.0)
    world.passes(HOUR)
    assert found(detector, [job]) == []
    world.passes(HOUR)
    assert found(detector, [job]) == [("job_timeout", "warning")]
    detector.update_job_progress("j", 51.0)
    assert detector.active_failures == {}
    detector.set_job_timeout_factor("j", 0)
    assert detector.job_timeout_factors == {"j": 0.1}


def test_v4_custom_detectors_come_last_and_may_fail(world: World, detector: FailureDetector) -> None:
    mine = FailureEvent("mine", KINDS.NETWORK_FAILURE, FailureLevel.CRITICAL)
    detector.register_custom_detector(lambda jobs, nodes: 1 / 0)  # type: ignore[arg-type, return-value]
    detector.register_custom_detector(lambda jobs, nodes: mine, {"a": 1})
    detector.register_custom_detector(lambda jobs, nodes: None)
    assert len(detector.custom_detectors) == 3
    events = detector.detect_failures([world.job(status="failed")], [])
    assert events[-1] is mine
    assert detector.active_failures["mine"] is mine
    assert detector.detect_failures([], []) == []


def test_v5_filters_hold_together(world: World, detector: FailureDetector) -> None:
    detector.detect_failures([world.job("j", status="failed")], [node(status="offline")])
    assert [each.job_id for each in detector.get_active_failures(job_id="j")] == ["j"]
    assert [each.node_id for each in detector.get_active_failures(node_id="n1", level=FailureLevel.ERROR)] == ["n1"]
    assert detector.get_active_failures(job_id="j", failure_type=KINDS.NODE_OFFLINE) == []
    at = world.now
    world.passes(HOUR)
    detector.resolve_failure("job_error_j")
    assert len(detector.get_failure_history(start_time=at, end_time=at)) == 2
    assert len(detector.get_failure_history(include_resolved=False)) == 1
    assert detector.get_failure_history(start_time=world.now) == []


def test_v6_failures_are_resolved_by_id_or_key(world: World, detector: FailureDetector) -> None:
    (event,) = detector.detect_failures([world.job("j", status="failed")], [])
    assert detector.resolve_failure(event.id)
    assert (event.resolution_description, detector.active_failures) == ("Manually resolved", {})
    assert "not found or already resolved" in str(detector.resolve_failure(event.id).error)


# -- 8.3 -------------------------------------------------------------------------------------------------------------


def coordinator_of(app: Any) -> ResilienceCoordinator:
    """A coordinator whose checkpoints lie in memory."""
    return ResilienceCoordinator(CheckpointManager(storage=MemoryCheckpointStorage(), app=app), app=app)


def failure(**more: Any) -> FailureEvent:
    """A failed job."""
    return FailureEvent("f", KINDS.JOB_ERROR, FailureLevel.ERROR, job_id="j", details={"colour": "red"}, **more)


def test_a_strategy_applies_by_type_level_and_details() -> None:
    def applies(**conditions: Any) -> bool:
        return RecoveryStrategy(KINDS.JOB_ERROR, RecoveryAction.RETRY, conditions).applies_to(failure())

    assert applies()
    assert applies(level="error", colour="red", job_status="judged elsewhere")
    assert [applies(level="warning"), applies(colour="blue"), applies(size=1)] == [False, False, False]
    assert not RecoveryStrategy(KINDS.JOB_TIMEOUT, RecoveryAction.RETRY).applies_to(failure())
    plan = RecoveryStrategy(KINDS.JOB_ERROR, RecoveryAction.RETRY, max_retries=5).create_plan(failure(), "cp")
    assert (plan.id, plan.action, plan.job_id, plan.checkpoint_id, plan.max_retries) == (
        "recovery_f", RecoveryAction.RETRY, "j", "cp", 5,
    )  # fmt: skip


def test_a_plan_may_be_tried_so_often(world: World) -> None:
    plan = RecoveryPlan(failure(), RecoveryAction.RETRY, max_retries=2)
    assert (plan.success, plan.retry_count, plan.created_at) == (None, 0, world.now)

    def raises(plan: RecoveryPlan) -> Result[bool]:
        raise RuntimeError("no hands")

    assert "no hands" in str(plan.execute(raises).error)
    assert (plan.success, plan.error_message is not None) == (None, True)
    last = plan.execute(lambda plan: Result.err("still not"))
    assert "2 attempts" in str(last.error)
    assert (plan.success, plan.retry_count) == (False, 2)
    good = RecoveryPlan(failure(), RecoveryAction.RETRY)
    assert good.execute(lambda plan: Result.ok(True))
    assert (good.success, good.executed_at, good.completed_at) == (True, world.now, world.now)
    assert RecoveryPlan.from_dict(good.to_dict()).to_dict() == good.to_dict()


def test_v10_strategies_stand_by_priority(world: World) -> None:
    coordinator = coordinator_of(world.app)
    mine = RecoveryStrategy(KINDS.JOB_ERROR, RecoveryAction.ABORT, priority=0)
    coordinator.register_recovery_strategy(mine)
    assert coordinator.recovery_strategies[0] is mine
    priorities = [each.priority for each in coordinator.recovery_strategies]
    assert priorities == sorted(priorities)
    assert len(priorities) == 9
    assert coordinator.create_checkpoint(world.job("j")).unwrap().job_id == "j"


def test_v11_a_failed_job_restarts_or_goes_on_from_its_checkpoint(world: World) -> None:
    coordinator = coordinator_of(None)
    fresh, saved = world.job("a", status="failed"), world.job("b", status="failed")
    point = coordinator.create_checkpoint(saved).unwrap()
    failures, plans = coordinator.detect_and_recover([fresh, saved], [node(status="offline")])
    assert len(failures) == 3
    assert [(each.action.value, each.checkpoint_id) for each in plans] == [
        ("reschedule", None), ("restart_job", None), ("restore_checkpoint", point.id),
    ]  # fmt: skip
    assert set(coordinator.active_recovery_plans) == {each.id for each in plans}
    assert all(each.executed_at is None for each in plans)
    assert coordinator.detect_and_recover([fresh, saved], []) == ([], [])


def test_v11_an_executor_is_asked_at_once_unless_that_is_not_wanted(world: World) -> None:
    done: list[str] = []
    coordinator = coordinator_of(None)
    coordinator.set_recovery_executor(lambda plan: Result.ok(not done.append(str(plan.job_id))))
    _, (plan,) = coordinator.detect_and_recover([world.job("a", status="failed")], [])
    assert (done, plan.success) == (["a"], True)
    _, (later,) = coordinator.detect_and_recover([world.job("b", status="failed")], [], auto_recover=False)
    assert later.executed_at is None


def test_v11_without_an_executor_the_application_carries_it_out(world: World) -> None:
    coordinator = coordinator_of(world.app)
    coordinator.register_recovery_strategy(RecoveryStrategy(KINDS.JOB_ERROR, RecoveryAction.ABORT, priority=0))
    late = world.due_job("b", due=-HOUR, status="running", assigned_node_id="n1")
    _, plans = coordinator.detect_and_recover([world.job("a", status="failed"), late], [node()])
    assert [each.success for each in plans] == [True, True]
    assert len(world.events(JobSubmitted)) == 2
    assert [each.job_id for each in world.events(JobCancelled)] == ["job-+a"]
    assert [each.job_id for each in world.events(TasksStopping)] == ["job-+b"]


def test_v11_what_the_application_did_is_written_to_the_callers_objects(world: World) -> None:
    coordinator = coordinator_of(world.app)
    lost = world.job("a", status="running", assigned_node_id="n1")
    other, failed = world.job("b", status="running", assigned_node_id="n2"), world.job("c", status="failed")
    blades = [node("n1", status="offline"), node("n2")]
    _, plans = coordinator.detect_and_recover([lost, other, failed], blades)
    assert [(each.action.value, each.success) for each in plans] == [("reschedule", True), ("restart_job", True)]
    assert [(each.status.value, each.assigned_node_id) for each in (lost, other, failed)] == [
        ("queued", None), ("running", "n2"), ("queued", None),
    ]  # fmt: skip
    assert not world.app.farm.jobs["job-+c"].held, "and the core has it in the queue again"
    again = coordinator_of(world.restarted().app)
    assert [each.success for each in again.get_active_recovery_plans()] == [True, True]


def test_v11_conditions_on_objects_need_the_object(world: World) -> None:
    coordinator = coordinator_of(None)
    coordinator.recovery_strategies.clear()
    wanted = {"node_status": "offline"}
    coordinator.register_recovery_strategy(RecoveryStrategy(KINDS.NODE_OFFLINE, RecoveryAction.MANUAL, wanted))
    coordinator.register_recovery_strategy(RecoveryStrategy(KINDS.JOB_ERROR, RecoveryAction.MANUAL, wanted))
    failures, plans = coordinator.detect_and_recover([world.job(status="failed")], [node(status="offline")])
    assert (len(failures), [each.node_id for each in plans]) == (2, ["n1"])


def test_v12_v13_plans_are_tried_completed_and_found_again(world: World) -> None:
    coordinator = coordinator_of(None)
    (event,), (plan,) = coordinator.detect_and_recover([world.job("a", status="failed")], [])
    assert not coordinator.execute_recovery_plan("?")
    assert "executor" in str(coordinator.execute_recovery_plan(plan.id).error)
    coordinator.set_recovery_executor(lambda plan: Result.ok(True))
    assert coordinator.execute_recovery_plan(plan.id)
    assert coordinator.get_active_recovery_plans(job_id="a", action=RecoveryAction.RESTART_JOB) == [plan]
    assert coordinator.get_active_recovery_plans(node_id="?") == []
    coordinator.complete_recovery("?", True)
    coordinator.complete_recovery(plan.id, True)
    assert (event.resolved, plan.id in str(event.resolution_description)) == (True, True)
    assert coordinator.active_recovery_plans == {}
    assert coordinator.get_recovery_history(success=True, failure_type=KINDS.JOB_ERROR, start_time=plan.created_at) == [
        plan
    ]
    assert coordinator.get_recovery_history(success=False) == []
