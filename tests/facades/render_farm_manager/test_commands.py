"""The commands of the manager: rules R1 to R12, and what each tells."""

from datetime import timedelta

import pytest

from adapters.facades.bridge.wallclock import now
from render_farm_manager.core.models import (
    EnergyMode,
    JobPriority,
    ProgressiveOutputConfig,
    RenderClient,
    RenderJobStatus,
)
from tests.facades.render_farm_manager.farms import client, due, events, farm, gpu_node, job, logged, node, watched_farm


def test_r1_objects_are_kept_by_reference() -> None:
    shot, blade, owner = job(), node(), client()
    manager = farm(blade, shot)
    manager.add_client(owner)
    assert manager.jobs["job1"] is shot
    assert manager.nodes["n1"] is blade
    assert manager.clients["c1"] is owner
    manager.run_scheduling_cycle()
    assert (shot.status, shot.assigned_node_id, blade.current_job_id) == ("running", "n1", "job1")


def test_r1_what_callers_write_is_where_the_next_call_starts() -> None:
    shot, blade = job(), node()
    manager = farm(blade, shot)
    shot.status, shot.assigned_node_id, blade.current_job_id, shot.progress = "running", "n1", "job1", 45.0
    assert manager.update_job_progress("job1", 52.0)
    assert events(manager, "job_progress_updated")[0]["old_progress"] == 45.0
    assert manager.handle_node_failure("n1", "smoke") == ["job1"]
    assert (shot.status, shot.progress) == ("queued", 52.0)


def test_r1_inconsistent_states_raise_nothing() -> None:
    first, second, third = job("a"), job("b"), job("c")
    manager = farm(node("n1"), node("n2"), first, second, third)
    first.status = RenderJobStatus.RUNNING
    second.status, manager.nodes["n1"].current_job_id = RenderJobStatus.COMPLETED, "b"
    third.assigned_node_id, manager.nodes["n2"].current_job_id = "n2", "nobody"
    manager.run_scheduling_cycle()
    assert manager.complete_job("a")
    assert manager.cancel_job("c")
    assert manager.handle_node_failure("n2", "x") == []
    taken = manager.jobs.pop("b")
    manager.run_scheduling_cycle()
    manager.jobs["b"] = taken
    manager.nodes["n1"] = node("n1")
    manager.run_scheduling_cycle()
    assert manager.app.log.position() > 0


def test_r2_a_job_of_an_unknown_client_is_refused_and_not_stored() -> None:
    manager = farm()
    with pytest.raises(ValueError, match="nobody"):
        manager.submit_job(job(client_id="nobody"))
    assert manager.jobs == {}


def test_r2_a_status_is_kept_and_an_id_can_come_again() -> None:
    manager = farm(node())
    first, again = job(status="queued"), job(name="again")
    assert manager.submit_job(first) == "job1"
    assert first.status == "queued"
    manager.submit_job(again)
    assert manager.jobs["job1"] is again
    assert again.status == "pending"


def test_r3_the_job_that_closes_a_cycle_fails_with_all_others_on_it() -> None:
    manager, log, _ = watched_farm(node(), job("a", dependencies=["b"]), job("b", dependencies=["c"]), job("d"))
    manager.submit_job(job("outside", dependencies=["a"]))
    last = job("c", dependencies=["a"], supports_progressive_output=True)
    log.reset_mock()
    assert manager.submit_job(last) == "c"
    assert manager.jobs["c"] is last
    assert [manager.jobs[name].status for name in "cab"] == ["failed"] * 3
    assert manager.jobs["outside"].status == manager.jobs["d"].status == "pending"
    told = logged(log, "job_circular_dependency")
    assert told[0] == {
        "job_id": "c",
        "job_name": "Job c",
        "client_id": "c1",
        "dependencies": ["a"],
        "log_level": "error",
    }
    assert sorted(each["job_id"] for each in told) == ["a", "b", "c"]
    assert all(set(each) == {"job_id", "log_level"} for each in told[1:])
    assert {call.kwargs["job_id"] for call in log.log_job_updated.call_args_list} == {"a", "b", "c"}
    assert logged(log, "job_submitted") == []
    assert manager.progressive_renderer.scheduled_outputs == {}
    manager.run_scheduling_cycle()
    assert [manager.jobs[name].status for name in "cab"] == ["failed"] * 3
    assert manager.jobs["outside"].status == "pending"


def test_r3_a_job_that_waits_for_itself_fails_and_long_chains_do_not() -> None:
    manager = farm(node())
    manager.submit_job(job("a", dependencies=["a"]))
    assert manager.jobs["a"].status == "failed"
    for number in range(300):
        manager.submit_job(job(f"j{number}", dependencies=[f"j{number - 1}"]))
    assert all(manager.jobs[f"j{number}"].status == "pending" for number in range(300))


def test_r4_a_submission_is_told() -> None:
    manager, log, _ = watched_farm()
    shot = job()
    manager.submit_job(shot)
    assert logged(log, "job_submitted") == [
        {
            "job_id": "job1",
            "job_name": "Job job1",
            "client_id": "c1",
            "priority": JobPriority.MEDIUM,
            "deadline": shot.deadline.isoformat(),
        }
    ]
    log.log_job_submitted.assert_called_once_with(
        job_id="job1", client_id="c1", name="Job job1", priority=JobPriority.MEDIUM
    )


def test_r5_progressive_output_is_planned_with_the_managers_configuration() -> None:
    manager = farm(node())
    config = ProgressiveOutputConfig(interval_minutes=60)
    manager.set_progressive_output_config(config)
    manager.submit_job(job("a", supports_progressive_output=True))
    manager.submit_job(job("b"))
    assert [len(times) for times in manager.progressive_renderer.scheduled_outputs.values()] == [4]
    assert events(manager, "progressive_output_config_updated") == [{"config": config.model_dump()}]


@pytest.mark.parametrize(("given", "kept"), [(-5, 0.0), (42.5, 42.5), (99.9, 99.9)])
def test_r6_progress_is_clamped(given: float, kept: float) -> None:
    manager = farm(job())
    assert manager.update_job_progress("job1", given)
    assert manager.jobs["job1"].progress == kept
    assert not manager.update_job_progress("nobody", 5)


def test_r6_progress_is_told_at_every_tenth() -> None:
    manager = farm(job())
    for percent in (5, 9.9, 10, 19, 35):
        manager.update_job_progress("job1", percent)
    told = [(each["old_progress"], each["new_progress"]) for each in events(manager, "job_progress_updated")]
    assert told == [(9.9, 10), (19, 35)]


def test_r6_at_100_a_job_is_completed_once() -> None:
    shot, blade = job(submission_time=now() - timedelta(hours=3)), node()
    manager, log, monitor = watched_farm(blade, shot)
    manager.run_scheduling_cycle()
    log.reset_mock()
    manager.update_job_progress("job1", 120)
    assert (shot.status, shot.progress, shot.assigned_node_id) == ("completed", 100.0, "n1")
    assert blade.current_job_id is None
    metrics = manager.performance_metrics
    assert (metrics.total_jobs_completed, metrics.jobs_completed_on_time) == (1, 1)
    assert set(logged(log, "job_completed")[0]) == {
        "job_id",
        "job_name",
        "client_id",
        "deadline",
        "completion_time",
    }
    assert log.log_job_completed.call_count == log.log_job_updated.call_count == 1
    assert set(log.log_job_completed.call_args.kwargs) == {"job_id", "client_id", "name", "completion_time"}
    told = monitor.update_job_turnaround_time.call_args.kwargs
    assert (told["job_id"], told["client_id"]) == ("job1", "c1")
    assert told["turnaround_hours"] == pytest.approx(3, abs=0.01)
    log.reset_mock()
    assert not manager.complete_job("job1")
    assert log.method_calls == []


def test_r6_at_100_a_cancelled_job_is_completed_too() -> None:
    manager = farm(job())
    manager.cancel_job("job1")
    assert manager.update_job_progress("job1", 100)
    assert manager.jobs["job1"].status == "completed"
    assert manager.performance_metrics.total_jobs_completed == 1
    assert not manager.cancel_job("job1")
    assert manager.app.farm.position > 0, "and the log has room for it"


def test_r6_a_late_job_is_not_on_time() -> None:
    manager = farm(job(deadline=due(-1)))
    manager.update_job_progress("job1", 100)
    assert manager.performance_metrics.jobs_completed_on_time == 0


@pytest.mark.parametrize("status", ["pending", "queued", "running", "paused", "failed"])
def test_r7_a_job_can_be_completed_from_anywhere(status: str) -> None:
    shot, blade = job(), node()
    manager, log, monitor = watched_farm(blade, shot)
    shot.status, shot.assigned_node_id, blade.current_job_id = RenderJobStatus(status), "n1", "job1"
    assert manager.complete_job("job1")
    assert (shot.status, shot.progress, blade.current_job_id) == ("completed", 100.0, None)
    told = logged(log, "job_completed")[0]
    assert set(told) == {"job_id", "job_name", "client_id", "old_status", "completion_time"}
    assert told["old_status"] == status
    assert monitor.update_job_turnaround_time.call_count >= log.log_job_completed.call_count == 1
    assert not manager.complete_job("job1")


def test_r7_successors_start_with_the_next_cycle() -> None:
    manager = farm(node(), job("a"), job("b", dependencies=["a"]))
    manager.run_scheduling_cycle()
    manager.complete_job("a")
    assert manager.jobs["b"].status == "pending"
    manager.run_scheduling_cycle()
    assert manager.jobs["b"].status == "running"


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_r7_an_ended_job_is_not_completed(status: str) -> None:
    manager = farm(job())
    manager.jobs["job1"].status = status
    assert not manager.complete_job("job1")
    assert not manager.complete_job("nobody")


def test_r8_a_failing_node_gives_its_job_back() -> None:
    shot, blade = job(supports_checkpoint=True), node()
    manager, log, monitor = watched_farm(blade, shot)
    manager.run_scheduling_cycle()
    shot.progress = 30.0
    log.reset_mock()
    assert manager.handle_node_failure("n1", error="smoke") == ["job1"]
    assert (blade.status, blade.last_error, blade.current_job_id) == ("error", "smoke", None)
    assert (shot.status, shot.error_count, shot.assigned_node_id, shot.progress) == ("queued", 1, None, 30.0)
    assert shot.last_checkpoint_time is not None
    assert log.method_calls[0][0] == "log_error"
    assert set(log.log_error.call_args.kwargs) == {"message", "source", "severity"}
    assert log.log_error.call_args.kwargs["source"] == "NodeFailureHandler"
    assert log.log_error.call_args.kwargs["severity"] == "high"
    assert logged(log, "node_status_updated")[0] == {
        "node_id": "n1",
        "node_name": "Node n1",
        "old_status": "online",
        "new_status": "error",
        "error": "smoke",
        "log_level": "warning",
    }
    checkpoint = logged(log, "job_checkpoint")[0]
    assert checkpoint == {
        "job_id": "job1",
        "checkpoint_time": shot.last_checkpoint_time.isoformat(),
        "progress": 30.0,
        "log_level": "info",
    }
    assert logged(log, "job_affected_by_node_failure") == [
        {"job_id": "job1", "node_id": "n1", "error": "smoke", "log_level": "warning"}
    ]
    log.log_node_failure.assert_called_once_with(node_id="n1")
    monitor.update_node_failure_count.assert_called_once_with(node_id="n1")
    assert manager.performance_metrics.node_failures_count == 1


@pytest.mark.parametrize(("before", "after", "status"), [(0, 1, "queued"), (2, 3, "failed"), (5, 6, "failed")])
def test_r8_a_job_that_failed_three_times_is_given_up(before: int, after: int, status: str) -> None:
    shot, blade = job(error_count=before), node()
    manager, log, _ = watched_farm(blade, shot)
    manager.run_scheduling_cycle()
    assert manager.handle_node_failure("n1", "smoke") == ["job1"]
    assert (shot.error_count, shot.status, shot.last_checkpoint_time) == (after, status, None)
    if status == "failed":
        assert "error count" in log.log_job_failed.call_args.kwargs["reason"]
        assert logged(log, "job_failed") == [
            {"job_id": "job1", "error_count": after, "max_threshold": 3, "log_level": "error"}
        ]
    else:
        log.log_job_failed.assert_not_called()


def test_r8_an_unknown_node_is_only_told() -> None:
    manager, log, monitor = watched_farm()
    assert manager.handle_node_failure("nobody", "smoke") == []
    log.log_error.assert_called_once()
    log.log_node_failure.assert_not_called()
    monitor.update_node_failure_count.assert_not_called()


def test_r8_the_status_of_the_shown_job_does_not_matter() -> None:
    shot, blade = job(), node()
    manager = farm(blade, shot)
    shot.status, blade.current_job_id = RenderJobStatus.PAUSED, "job1"
    assert manager.handle_node_failure("n1", "x") == ["job1"]
    assert shot.status == "queued"


@pytest.mark.parametrize("status", ["offline", "maintenance", "error", "anything"])
def test_r9_a_node_that_is_no_longer_online_loses_its_job(status: str) -> None:
    shot, blade = job(error_count=7), node()
    manager = farm(blade, shot)
    manager.run_scheduling_cycle()
    assert manager.report_node_status("n1", status, "why")
    assert (blade.status, blade.current_job_id) == (status, None)
    assert blade.last_error == ("why" if status == "error" else None)
    assert (shot.status, shot.error_count, shot.assigned_node_id) == ("queued", 8, None)
    interrupted = events(manager, "job_interrupted")[0]
    assert interrupted == {
        "job_id": "job1",
        "node_id": "n1",
        "old_status": "online",
        "new_status": status,
        "error": "why",
    }
    assert set(events(manager, "node_status_updated")[0]) == {
        "node_id",
        "node_name",
        "old_status",
        "new_status",
        "error",
    }


def test_r9_only_running_jobs_are_interrupted() -> None:
    shot, blade = job(), node()
    manager = farm(blade, shot)
    shot.status, blade.current_job_id = RenderJobStatus.PAUSED, "job1"
    manager.report_node_status("n1", "offline")
    assert (shot.status, shot.error_count, blade.current_job_id) == ("paused", 0, None)
    assert not manager.report_node_status("nobody", "offline")


def test_r9_between_other_statuses_jobs_stay() -> None:
    shot, blade = job(), node(status="offline")
    manager = farm(blade, shot)
    shot.status, shot.assigned_node_id, blade.current_job_id = RenderJobStatus.RUNNING, "n1", "job1"
    manager.report_node_status("n1", "online")
    assert (shot.status, blade.current_job_id, blade.status) == ("running", "job1", "online")


def test_r10_a_node_completes_its_job_and_something_is_learned() -> None:
    first, second, blade = job("a", submission_time=now() - timedelta(hours=10)), job("b"), node()
    manager = farm(blade, first, second)
    manager.run_scheduling_cycle()
    running = "a" if first.status == "running" else "b"
    assert running == "a"
    assert not manager.node_completed_job("n1", "b", {})
    assert not manager.node_completed_job("nobody", "a", {})
    assert not manager.node_completed_job("n1", "nobody", {})
    assert manager.node_completed_job("n1", "a", {"render_time_per_frame": 30})
    assert (first.status, first.progress, blade.current_job_id) == ("completed", 100.0, None)
    assert blade.performance_history["job_type:compositing"] == 2.0
    metrics = manager.performance_metrics
    assert (metrics.total_jobs_completed, metrics.jobs_completed_on_time) == (1, 1)
    assert metrics.average_job_turnaround_hours == pytest.approx(10, abs=0.01)
    assert set(events(manager, "job_completed")[0]) == {
        "job_id",
        "job_name",
        "client_id",
        "node_id",
        "turnaround_hours",
        "deadline_met",
        "performance_metrics",
    }
    manager.run_scheduling_cycle()
    assert manager.node_completed_job("n1", "b", {})
    assert metrics.average_job_turnaround_hours == pytest.approx(9, abs=0.01)  # (10 × 9 + 0) / 10


def test_r11_a_cancelled_job_frees_its_node_keeps_its_assignment_and_can_come_again() -> None:
    shot, blade = job(), node()
    manager = farm(blade, shot)
    manager.run_scheduling_cycle()
    assert manager.cancel_job("job1")
    assert (shot.status, shot.assigned_node_id, blade.current_job_id) == ("cancelled", "n1", None)
    assert not manager.cancel_job("job1")
    assert not manager.cancel_job("nobody")
    manager.run_scheduling_cycle()
    assert shot.status == "cancelled"
    shot.status = RenderJobStatus.PENDING
    manager.submit_job(shot)
    manager.run_scheduling_cycle()
    assert shot.status == "running"
    assert events(manager, "job_cancelled") == [{"job_id": "job1", "job_name": "Job job1", "client_id": "c1"}]


@pytest.mark.parametrize(
    ("status", "progress", "met"),
    [
        ("completed", 100, True),
        ("running", 50, True),
        ("running", 49.9, False),
        ("failed", 80, False),
        ("cancelled", 80, False),
        ("queued", 80, False),
        ("pending", 0, False),
    ],
)
def test_r12_what_satisfies_a_dependency(status: str, progress: float, met: bool) -> None:
    manager = farm(job("a"), job("b", dependencies=["a", "unknown"]))
    manager.jobs["a"].status, manager.jobs["a"].progress = RenderJobStatus(status), progress
    assert manager._validate_dependencies("b", ["a", "unknown"]) is met
    assert manager._validate_dependencies("b", ["unknown"]) is True
    assert manager._validate_dependencies("b", []) is True


def test_r12_a_child_starts_when_half_of_its_parent_is_done() -> None:
    manager = farm(node("n1"), node("n2"), job("a"), job("b", dependencies=["a"]))
    manager.run_scheduling_cycle()
    manager.update_job_progress("a", 49)
    manager.run_scheduling_cycle()
    assert manager.jobs["b"].status == "pending"
    manager.update_job_progress("a", 50)
    manager.run_scheduling_cycle()
    assert manager.jobs["b"].status == "running"


def test_clients_come_change_and_go() -> None:
    manager, log, _ = watched_farm()
    other = RenderClient(client_id="c2", name="C2", service_tier="basic")
    manager.add_client(other)
    assert logged(log, "client_added")[0] == {"client_id": "c2", "client_name": "C2", "sla_tier": "basic"}
    log.log_client_added.assert_called_once_with(client_id="c2", name="C2", service_tier="basic")
    assert manager.update_client_tier("c2", "premium")
    assert logged(log, "client_updated")[0] == {
        "client_id": "c2",
        "client_name": "C2",
        "old_tier": "basic",
        "new_tier": "premium",
    }
    log.log_client_updated.assert_called_once_with(client_id="c2", name="C2", old_tier="basic", new_tier="premium")
    assert not manager.update_client_tier("nobody", "x")
    assert manager.remove_client("c2") is other
    assert manager.remove_client("c2") is None
    assert logged(log, "client_removed") == [{"client_id": "c2", "client_name": "C2"}]


def test_nodes_come_change_and_go() -> None:
    manager, log, _ = watched_farm()
    blade = gpu_node()
    manager.add_node(blade)
    has = blade.capabilities.model_dump()
    assert logged(log, "node_added")[0] == {
        "node_id": "g1",
        "node_name": "Node g1",
        "node_status": "online",
        "node_capabilities": has,
    }
    log.log_node_added.assert_called_once_with(node_id="g1", name="Node g1", status="online", capabilities=has)
    assert manager.set_node_online("g1", False)
    assert blade.status == "offline"
    assert manager.set_node_online("g1")
    log.log_node_updated.assert_called_with(node_id="g1", name="Node g1", old_status="offline", new_status="online")
    assert not manager.set_node_online("nobody")
    assert manager.remove_node("g1") is blade
    assert manager.remove_node("g1") is None
    assert logged(log, "node_removed") == [{"node_id": "g1", "node_name": "Node g1"}]


def test_setting_a_node_offline_or_removing_it_leaves_its_job() -> None:
    manager = farm(node(), job())
    manager.run_scheduling_cycle()
    manager.set_node_online("n1", online=False)
    assert (manager.jobs["job1"].status, manager.nodes["n1"].current_job_id) == ("running", "job1")
    manager.remove_node("n1")
    assert manager.jobs["job1"].status == "running"


def test_a_priority_changes() -> None:
    manager, log, _ = watched_farm(job())
    assert manager.update_job_priority("job1", JobPriority.CRITICAL)
    assert manager.jobs["job1"].priority is JobPriority.CRITICAL
    assert logged(log, "job_priority_updated")[0] == {
        "job_id": "job1",
        "job_name": "Job job1",
        "client_id": "c1",
        "old_priority": "medium",
        "new_priority": "critical",
    }
    log.log_job_updated.assert_called_once_with(
        job_id="job1", client_id="c1", name="Job job1", old_priority="medium", new_priority="critical"
    )
    assert not manager.update_job_priority("nobody", JobPriority.LOW)


def test_the_energy_mode_is_set_and_told() -> None:
    manager, log, _ = watched_farm()
    manager.set_energy_mode(EnergyMode.EFFICIENCY)
    assert manager.energy_optimizer.current_energy_mode == "efficiency"
    log.log_energy_mode_changed.assert_called_once_with(old_mode=EnergyMode.BALANCED, new_mode=EnergyMode.EFFICIENCY)


def test_a_new_manager_is_empty_and_says_so() -> None:
    manager = farm().__class__()
    assert (manager.clients, manager.nodes, manager.jobs, manager.resource_allocations) == ({}, {}, {}, {})
    assert [entry.event_type for entry in manager.audit_logger.logs] == ["farm_manager_initialized"]
    assert manager.audit_logger.logs[0].details == {}
    assert manager.scheduler.audit_logger is manager.audit_logger
    assert manager.energy_optimizer.performance_monitor is manager.performance_monitor
