"""The scheduling cycle: rules C1 to C17, placement quality, and its size limits."""

import random
import time
from typing import Any
from unittest.mock import MagicMock, call

import pytest

from render_farm_manager.core.manager import RenderFarmManager
from render_farm_manager.core.models import JobPriority, RenderJobStatus, ResourceAllocation
from tests.facades.render_farm_manager.farms import client, due, events, farm, job, logged, node, watched_farm

NOTHING = {
    "jobs_scheduled": 0,
    "jobs_preempted": 0,
    "resources_allocated": {},
    "energy_optimized_jobs": 0,
    "progressive_outputs": 0,
    "utilization_percentage": 0.0,
}


class Recording:
    """All collaborators of a manager as mocks that note in which order they are called."""

    def __init__(self) -> None:
        self.calls = MagicMock()
        calls = self.calls
        calls.scheduler.update_priorities.side_effect = lambda jobs: jobs
        calls.scheduler.schedule_jobs.return_value = {}
        calls.resource_manager.allocate_resources.return_value = {}
        calls.energy_optimizer.optimize_energy_usage.return_value = {}
        calls.energy_optimizer.estimate_energy_savings.return_value = 20.0
        calls.progressive_renderer.process_pending_outputs.return_value = {}
        calls.performance_monitor.time_operation.return_value.__exit__.return_value = False
        parts = "scheduler resource_manager node_specializer progressive_renderer energy_optimizer"
        names = [*parts.split(), "audit_logger", "performance_monitor"]
        self.manager = RenderFarmManager(**{name: getattr(calls, name) for name in names})

    def names(self) -> list[str]:
        """The collaborators' methods in the order of their calls, without the loggers."""
        parts = ("scheduler", "resource", "energy", "progressive")
        return [name for name, _, _ in self.calls.mock_calls if name.startswith(parts)]


@pytest.mark.parametrize("parts", [[], [client()], [node()]])
def test_c3_without_clients_or_nodes_nothing_happens(parts: list[Any]) -> None:
    recording = Recording()
    for part in parts:
        recording.manager.add_client(part) if hasattr(part, "sla_tier") else recording.manager.add_node(part)
    recording.calls.reset_mock()
    assert recording.manager.run_scheduling_cycle() == NOTHING
    assert recording.names() == []


def test_c1_to_c12_collaborators_are_called_once_each_in_order() -> None:
    recording = Recording()
    manager, calls = recording.manager, recording.calls
    manager.add_client(client())
    manager.add_node(node())
    manager.submit_job(job())
    calls.reset_mock()
    manager.run_scheduling_cycle()
    assert recording.names() == [
        "scheduler.update_priorities",
        "resource_manager.allocate_resources",
        "scheduler.schedule_jobs",
        "energy_optimizer.optimize_energy_usage",
        "progressive_renderer.process_pending_outputs",
        "energy_optimizer.estimate_energy_savings",
    ]
    jobs, nodes = list(manager.jobs.values()), list(manager.nodes.values())
    assert calls.scheduler.schedule_jobs.call_args == call(jobs, nodes)
    assert calls.resource_manager.allocate_resources.call_args == call(list(manager.clients.values()), nodes)
    assert calls.energy_optimizer.optimize_energy_usage.call_args == call(jobs, nodes)
    calls.performance_monitor.time_operation.assert_called_once_with("scheduling_cycle")


def test_c5_every_client_has_its_percentage_and_shares_restrict_nothing() -> None:
    manager = farm(*[node(f"n{i}") for i in range(4)], *[job(f"j{i}") for i in range(4)])
    manager.add_client(client("c2", guaranteed=50))
    result = manager.run_scheduling_cycle()
    assert result["resources_allocated"] == {"c1": 50.0, "c2": 50.0}
    assert result["jobs_scheduled"] == 4
    assert isinstance(manager.resource_allocations["c2"], ResourceAllocation)


def test_c6_a_planned_job_runs_on_its_node() -> None:
    manager, log, _ = watched_farm(node(), job())
    result = manager.run_scheduling_cycle()
    assert result["jobs_scheduled"] == 1
    assert (manager.jobs["job1"].status, manager.nodes["n1"].current_job_id) == ("running", "job1")
    wanted = {"job_id": "job1", "node_id": "n1", "client_id": "c1", "priority": JobPriority.MEDIUM}
    assert wanted in logged(log, "job_scheduled")
    log.log_job_scheduled.assert_called_once_with(**wanted)


def test_c6_odd_entries_of_a_plan_are_tolerated() -> None:
    recording = Recording()
    manager = recording.manager
    manager.add_client(client())
    for name in ("n1", "n2"):
        manager.add_node(node(name))
    for name, status in (("done", "completed"), ("lost", "failed"), ("off", "cancelled"), ("runs", "running")):
        manager.submit_job(job(name, status=status))
    manager.submit_job(job("parent"))
    manager.submit_job(job("child", dependencies=["parent"]))
    manager.submit_job(job("away"))
    plan = {"nobody": "n1", "done": "n1", "lost": "n1", "off": "n1", "child": "n1", "runs": "n2", "away": "nowhere"}
    recording.calls.scheduler.schedule_jobs.return_value = plan
    assert manager.run_scheduling_cycle()["jobs_scheduled"] == 2
    assert [manager.jobs[name].status for name in ("done", "lost", "off")] == ["completed", "failed", "cancelled"]
    assert manager.jobs["child"].status == "pending"
    assert manager.jobs["runs"].assigned_node_id == manager.nodes["n2"].id
    assert (manager.jobs["away"].status, manager.jobs["away"].assigned_node_id) == ("running", "nowhere")


def test_c6_whoever_ran_on_the_node_waits_again() -> None:
    running, urgent = job("a", progress=0.0), job("b", priority="critical")
    manager = farm(node(), running)
    manager.run_scheduling_cycle()
    running.progress = 40.0
    manager.submit_job(urgent)
    result = manager.run_scheduling_cycle()
    assert result["jobs_preempted"] == manager.performance_metrics.preemptions_count == 1
    assert (running.status, running.assigned_node_id, running.progress) == ("queued", None, 40.0)
    assert (urgent.status, manager.nodes["n1"].current_job_id) == ("running", "b")


def test_c6_a_job_that_moves_leaves_its_node() -> None:
    recording = Recording()
    manager = recording.manager
    manager.add_client(client())
    manager.add_node(node("n1"))
    manager.add_node(node("n2"))
    manager.submit_job(job())
    recording.calls.scheduler.schedule_jobs.side_effect = [{"job1": "n1"}, {"job1": "n2"}]
    manager.run_scheduling_cycle()
    manager.run_scheduling_cycle()
    assert [each.current_job_id for each in manager.nodes.values()] == [None, "job1"]


def test_c8_the_second_pass_places_what_the_plan_left_out() -> None:
    recording = Recording()
    manager = recording.manager
    manager.add_client(client())
    manager.add_node(node("n1"))
    manager.add_node(node("off", status="offline"))
    for name in ("a", "b"):
        manager.submit_job(job(name))
    manager.submit_job(job("c", dependencies=["b"]))
    manager.submit_job(job("d", status="completed"))
    extra = {"a": "n1", "b": "off", "c": "n1", "d": "n1", "nobody": "n1", "x": "nowhere"}
    recording.calls.energy_optimizer.optimize_energy_usage.return_value = extra
    recording.calls.energy_optimizer.current_energy_mode = "balanced"
    result = manager.run_scheduling_cycle()
    assert (result["jobs_scheduled"], result["energy_optimized_jobs"]) == (0, 6)
    assert [manager.jobs[name].status for name in "abcd"] == ["running", "queued", "pending", "completed"]
    told = [each.kwargs for each in recording.calls.audit_logger.log_event.call_args_list
            if each.args[0] == "energy_optimized_job_scheduled"]  # fmt: skip
    assert told == [{"job_id": "a", "node_id": "n1", "energy_mode": "balanced"}]
    recording.calls.audit_logger.log_job_scheduled.assert_called_once()


def test_c9_after_a_cycle_what_could_run_is_queued_and_what_waits_is_pending() -> None:
    manager, log, _ = watched_farm(node(), job("a"), job("b"), job("c", dependencies=["b"]))
    manager.run_scheduling_cycle()
    assert [manager.jobs[name].status for name in "abc"] == ["running", "queued", "pending"]
    assert log.log_job_updated.call_args.kwargs["job_id"] == "b"


def test_c10_progressive_outputs_are_counted() -> None:
    recording = Recording()
    recording.manager.add_client(client())
    recording.manager.add_node(node())
    outputs = {"a": [(10, "x"), (10, "y")], "b": [(25, "z")]}
    recording.calls.progressive_renderer.process_pending_outputs.return_value = outputs
    assert recording.manager.run_scheduling_cycle()["progressive_outputs"] == 3


def test_c11_c12_utilization_and_its_means() -> None:
    recording = Recording()
    manager = recording.manager
    manager.add_client(client())
    for name in ("n1", "n2"):
        manager.add_node(node(name))
    manager.add_node(node("off", status="offline", current_job_id="x"))
    manager.submit_job(job())
    recording.calls.scheduler.schedule_jobs.return_value = {"job1": "n1"}
    assert manager.run_scheduling_cycle()["utilization_percentage"] == 100.0  # two busy ones, two online
    metrics = manager.performance_metrics
    assert (metrics.average_utilization_percentage, metrics.average_node_idle_percentage) == (10.0, 0.0)
    assert metrics.optimization_improvement_percentage == 2.0
    for blade in manager.nodes.values():
        blade.status = "offline"
    assert manager.run_scheduling_cycle()["utilization_percentage"] == 0.0
    assert metrics.average_utilization_percentage == 9.0
    assert metrics.optimization_improvement_percentage == pytest.approx(3.8)


def test_c13_to_c16_what_is_told_at_the_end() -> None:
    manager, log, monitor = watched_farm(node(), node("n2"), job("a"), job("b", status="completed"))
    monitor.get_max_operation_time.return_value = 12.5
    result = manager.run_scheduling_cycle()
    told = {
        name: result[name]
        for name in ("jobs_scheduled", "utilization_percentage", "energy_optimized_jobs", "progressive_outputs")
    }
    assert logged(log, "scheduling_cycle_completed") == [told]
    log.log_scheduling_cycle.assert_called_once_with(**told)
    monitor.update_scheduling_cycle_time.assert_called_once_with(duration_ms=12.5, jobs_scheduled=1)
    monitor.get_max_operation_time.assert_called_once_with("scheduling_cycle")
    assert monitor.update_node_utilization.call_args_list == [
        call(node_id="n1", utilization_percentage=100.0),
        call(node_id="n2", utilization_percentage=0.0),
    ]
    monitor.update_client_job_count.assert_called_once_with(client_id="c1", job_count=2)
    share = manager.resource_allocations["c1"]
    monitor.update_client_resource_metrics.assert_called_with(
        client_id="c1",
        allocated_percentage=share.allocated_percentage,
        borrowed_percentage=share.borrowed_percentage,
        lent_percentage=share.lent_percentage,
    )


def test_c14_while_nothing_was_measured_a_cycle_takes_a_second() -> None:
    manager = farm(node())
    manager.run_scheduling_cycle()
    assert events(manager, "scheduling_cycle_metrics") == [{"duration_ms": 1000.0, "jobs_scheduled": 0}]


def test_status_dictionaries() -> None:
    manager = farm(node("n1"), node("off", status="offline"), job("a", supports_progressive_output=True), job("b"))
    manager.run_scheduling_cycle()
    manager.jobs["a"].progress = 50.0
    shown = manager.get_job_status("a")
    assert shown is not None
    assert list(shown) == [
        "id", "name", "client_id", "status", "priority", "progress", "deadline", "time_until_deadline_hours",
        "estimated_completion", "will_meet_deadline", "assigned_node", "error_count", "progressive_output_path",
        "submission_time", "last_checkpoint_time", "last_progressive_output_time",
    ]  # fmt: skip
    assert shown["status"] is RenderJobStatus.RUNNING
    assert shown["assigned_node"]["capabilities"]["cpu_cores"] == 16
    assert shown["will_meet_deadline"] is True
    assert shown["progressive_output_path"] is None
    path = manager.progressive_renderer.generate_progressive_output(manager.jobs["a"], 50)
    assert manager.get_job_status("a")["progressive_output_path"] == path  # type: ignore[index]
    assert manager.get_job_status("nobody") is None

    client_status = manager.get_client_status("c1")
    assert client_status is not None
    assert client_status["current_resource_usage"] == 50.0
    assert client_status["jobs_by_status"] == dict.fromkeys([s.value for s in RenderJobStatus], 0) | {
        "running": 1,
        "queued": 1,
    }
    assert [each["id"] for each in client_status["active_jobs"]] == ["a", "b"]
    assert client_status["resource_allocation"] == manager.resource_allocations["c1"].model_dump()
    assert farm().get_client_status("c1")["resource_allocation"] is None  # type: ignore[index]
    assert manager.get_client_status("nobody") is None

    whole = manager.get_farm_status()
    assert (whole["total_nodes"], whole["nodes_by_status"]) == (2, {"online": 1, "offline": 1})
    assert (whole["total_jobs"], whole["jobs_by_client"], whole["total_clients"]) == (2, {"c1": 2}, 1)
    assert whole["current_energy_mode"] is manager.energy_optimizer.current_energy_mode
    assert whole["performance_metrics"] == manager.performance_metrics.model_dump()
    assert whole["compute_resources"]["idle_cpu_cores"] == 0
    assert whole["compute_resources"]["cpu_utilization_percentage"] == 100.0  # the one that is off counts as used
    assert whole["compute_resources"]["gpu_utilization_percentage"] == 0


def _mixed_farm(nodes: int, seed: int) -> RenderFarmManager:
    rng = random.Random(seed)
    kinds = (
        {"cpu_cores": 16, "memory_gb": 64, "gpu_model": "A6000", "gpu_count": 4, "specialized_for": ["gpu_rendering"]},
        {"cpu_cores": 64, "memory_gb": 128, "gpu_model": "T4", "gpu_count": 1, "specialized_for": ["cpu_rendering"]},
        {"cpu_cores": 32, "memory_gb": 512, "gpu_model": "T4", "gpu_count": 1, "specialized_for": ["high_memory"]},
    )
    work = (
        {"job_type": "animation", "priority": "high", "requires_gpu": True, "cpu_requirements": 8},
        {"job_type": "simulation", "cpu_requirements": 32, "memory_requirements_gb": 64},
        {"job_type": "fluid_sim", "cpu_requirements": 16, "memory_requirements_gb": 256},
    )
    manager = farm(*[node(f"n{i}", rating=rng.uniform(50, 95), **kinds[i % 3]) for i in range(nodes)])
    for i in range(nodes * 5 // 4):
        manager.submit_job(job(f"j{i}", **work[i % 3]))
    return manager


@pytest.mark.parametrize("seed", range(5))
def test_jobs_land_on_the_nodes_that_are_meant_for_them(seed: int) -> None:
    manager = _mixed_farm(90, seed)
    manager.run_scheduling_cycle()
    running = [each for each in manager.jobs.values() if each.status == "running"]
    for kind, least in ((0, 0.45), (1, 0.6), (2, 0.5)):
        own = [each for each in running if int(each.id[1:]) % 3 == kind]
        right = [each for each in own if int((each.assigned_node_id or "n0")[1:]) % 3 == kind]
        assert len(right) / len(own) > least
    assert manager.get_farm_status()["compute_resources"]["cpu_utilization_percentage"] > 90


def test_a_cycle_of_1000_jobs_and_200_nodes_takes_far_less_than_half_a_second() -> None:
    rng = random.Random(3)
    manager = farm(*[node(f"n{i}", rating=rng.uniform(50, 95), cpu_cores=64, memory_gb=256) for i in range(200)])
    for i in range(1000):
        fields = {"priority": rng.choice(list(JobPriority)), "deadline": due(rng.uniform(1, 60))}
        manager.submit_job(job(f"j{i}", dependencies=[f"j{i - 1}"] if i % 5 == 4 else [], **fields))
    for _ in range(3):
        start = time.process_time()
        manager.run_scheduling_cycle()
        assert time.process_time() - start < 0.25
        assert sum(bool(each.current_job_id) for each in manager.nodes.values()) == 200
