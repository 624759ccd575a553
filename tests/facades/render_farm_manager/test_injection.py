"""Collaborators of callers: mocks of any kind, mocks of a class, replaced methods, contexts that swallow errors."""

from typing import Any
from unittest.mock import MagicMock, Mock, create_autospec, patch

import pytest

from render_farm_manager.core.manager import RenderFarmManager
from render_farm_manager.core.models import EnergyMode, RenderJobStatus
from render_farm_manager.energy_optimization.energy_optimizer import EnergyOptimizer
from render_farm_manager.node_specialization.specialization_manager import NodeSpecializationManager
from render_farm_manager.progressive_result.progressive_renderer import ProgressiveRenderer
from render_farm_manager.resource_management.resource_partitioner import ResourcePartitioner
from render_farm_manager.scheduling.deadline_scheduler import DeadlineScheduler
from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor
from tests.facades.render_farm_manager.farms import client, farm, job, node

PARTS = {
    "scheduler": DeadlineScheduler,
    "resource_manager": ResourcePartitioner,
    "node_specializer": NodeSpecializationManager,
    "progressive_renderer": ProgressiveRenderer,
    "energy_optimizer": EnergyOptimizer,
    "audit_logger": AuditLogger,
    "performance_monitor": PerformanceMonitor,
}


def exercise(manager: RenderFarmManager) -> dict[str, Any]:
    """Every public method once."""
    manager.add_client(client())
    manager.add_node(node("n1"))
    manager.add_node(node("n2"))
    manager.submit_job(job("a", supports_progressive_output=True, supports_checkpoint=True))
    manager.submit_job(job("b", dependencies=["a"]))
    result = manager.run_scheduling_cycle()
    manager.jobs["a"].status, manager.jobs["a"].assigned_node_id = RenderJobStatus.RUNNING, "n1"
    manager.nodes["n1"].current_job_id = "a"
    manager.update_job_progress("a", 55)
    manager.update_client_tier("c1", "basic")
    manager.update_job_priority("b", "high")  # type: ignore[arg-type]
    manager.set_energy_mode(EnergyMode.EFFICIENCY)
    assert manager.handle_node_failure("n1", "x") == ["a"]
    manager.report_node_status("n1", "online")
    manager.set_node_online("n2", False)
    manager.jobs["a"].assigned_node_id = "n1"
    assert manager.node_completed_job("n1", "a", {"render_time_per_frame": 1.0})
    assert manager.complete_job("b")
    manager.submit_job(job("x"))
    assert manager.cancel_job("x")
    assert manager.get_job_status("a") is not None
    assert manager.get_client_status("c1") is not None
    assert manager.get_farm_status()["total_jobs"] == 3
    manager.remove_node("n1")
    manager.remove_client("c1")
    manager.app.close()
    return result


@pytest.mark.parametrize("kind", [MagicMock, lambda: MagicMock(name="named")])
@pytest.mark.parametrize("names", [list(PARTS), *[[name] for name in PARTS]])
def test_mocks_of_any_kind(kind: Any, names: list[str]) -> None:
    exercise(RenderFarmManager(**{name: kind() for name in names}))


@pytest.mark.parametrize("names", [list(PARTS), *[[name] for name in PARTS]])
def test_mocks_of_a_class_expose_what_is_needed(names: list[str]) -> None:
    mocks = {name: MagicMock(spec=PARTS[name]) for name in names}
    if "performance_monitor" in mocks:
        mocks["performance_monitor"].time_operation.return_value.__exit__.return_value = False
    exercise(RenderFarmManager(**mocks))
    if "audit_logger" in mocks:
        assert not hasattr(mocks["audit_logger"], "log_job_failed")


@pytest.mark.parametrize("name", PARTS)
def test_autospecced_classes_accept_all_calls(name: str) -> None:
    mock = create_autospec(PARTS[name], instance=True)
    if name == "performance_monitor":
        mock.time_operation.return_value = MagicMock()
    exercise(RenderFarmManager(**{name: mock}))


def test_a_context_that_swallows_errors_swallows_them() -> None:
    monitor = MagicMock()
    monitor.time_operation.return_value.__exit__.return_value = True
    manager = farm(node(), job(), performance_monitor=monitor)
    assert manager.run_scheduling_cycle()["jobs_scheduled"] == 1
    manager.scheduler.schedule_jobs = Mock(side_effect=RuntimeError("broken"))
    assert manager.run_scheduling_cycle() is None
    with pytest.raises(ValueError, match="nobody"):
        manager.submit_job(job(client_id="nobody"))


def test_a_context_that_does_not_swallow_errors_lets_them_pass() -> None:
    manager = farm(node(), job())
    manager.scheduler.schedule_jobs = Mock(side_effect=RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        manager.run_scheduling_cycle()


def test_refusals_are_raised_where_nothing_swallows_them() -> None:
    of = ProgressiveRenderer(MagicMock(), MagicMock())
    with pytest.raises(ValueError, match="job1"):
        of.generate_progressive_output(job(), 50)


def test_parts_with_mock_loggers_give_their_answers() -> None:
    log, monitor = MagicMock(), MagicMock()
    assert DeadlineScheduler(log, monitor).schedule_jobs([job()], [node()]) == {"job1": "n1"}
    assert set(ResourcePartitioner(log, monitor).allocate_resources([client()], [node()])) == {"c1"}
    assert NodeSpecializationManager(log, monitor).match_job_to_node(job(), [node()]) == "n1"
    assert EnergyOptimizer(log, monitor).optimize_energy_usage([job(priority="high")], [node()]) == {"job1": "n1"}
    assert len(ProgressiveRenderer(log, monitor).schedule_progressive_output(job(supports_progressive_output=True))) > 0
    monitor.update_client_resource_metrics.assert_called_once_with(
        client_id="c1", allocated_percentage=100.0, borrowed_percentage=100.0, lent_percentage=0
    )


def test_log_event_is_looked_up_at_each_call_and_gets_two_positions() -> None:
    log, said = MagicMock(), []

    def heard(event_type: str, message: str, **more: Any) -> None:
        said.append((event_type, message, more))

    manager = farm(audit_logger=log)
    log.log_event = heard
    manager.add_node(node())
    manager.submit_job(job())
    manager.run_scheduling_cycle()
    assert {"node_added", "job_submitted", "job_scheduled", "scheduling_cycle_completed"} <= {each[0] for each in said}
    assert all(isinstance(text, str) for _, text, _ in said)


def test_guarded_calls_are_left_out_where_nobody_listens() -> None:
    class Logger:
        def __init__(self) -> None:
            self.types: list[str] = []

        def log_event(self, event_type: str, description: str, **details: Any) -> None:
            self.types.append(event_type)

    class Timer:
        def time_operation(self, name: str) -> Any:
            return MagicMock(**{"__exit__.return_value": False})

        def update_client_resource_metrics(self, **figures: Any) -> None:
            """The one call that is not guarded."""

    manager = RenderFarmManager(audit_logger=Logger(), performance_monitor=Timer())  # type: ignore[arg-type]
    exercise(manager)
    assert "scheduling_cycle_completed" in manager.audit_logger.types


def test_missing_is_what_is_false() -> None:
    class Empty:
        def __bool__(self) -> bool:
            return False

    manager = RenderFarmManager(scheduler=Empty())  # type: ignore[arg-type]
    assert isinstance(manager.scheduler, DeadlineScheduler)


def test_opaque_numbers_are_passed_on() -> None:
    monitor = MagicMock()
    manager = farm(node(), job(), performance_monitor=monitor)
    manager.run_scheduling_cycle()
    told = monitor.update_scheduling_cycle_time.call_args.kwargs
    assert told["duration_ms"] is monitor.get_max_operation_time.return_value


def test_methods_of_real_parts_can_be_wrapped() -> None:
    manager = farm(node(), job())
    with patch.object(manager.scheduler, "schedule_jobs", wraps=manager.scheduler.schedule_jobs) as wrapped:
        manager.run_scheduling_cycle()
    wrapped.assert_called_once_with(list(manager.jobs.values()), list(manager.nodes.values()))
