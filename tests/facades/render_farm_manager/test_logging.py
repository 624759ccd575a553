"""The audit log and the figures of operations."""

import logging
from typing import Any

import pytest

from adapters.facades.bridge.wallclock import now
from render_farm_manager.core.models import AuditLogEntry, LogLevel
from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor, TimedOperation
from tests.facades.render_farm_manager.farms import parts


def test_an_entry_has_its_ids_lifted_and_all_details() -> None:
    log = AuditLogger()
    entry = log.log_event("x", "y", job_id="j", client_id="c", log_level="warning", more=1)
    assert isinstance(entry, AuditLogEntry)
    assert log.logs == [entry]
    assert (entry.event_type, entry.description, entry.job_id, entry.node_id, entry.client_id) == (
        "x",
        "y",
        "j",
        None,
        "c",
    )
    assert entry.details == {"job_id": "j", "client_id": "c", "log_level": "warning", "more": 1}
    assert entry.details["log_level"] == LogLevel.WARNING
    assert entry == AuditLogEntry(**entry.model_dump())
    assert entry.model_copy(update={"job_id": "k"}).job_id == "k"


@pytest.mark.parametrize(
    ("details", "level"),
    [
        ({}, logging.INFO),
        ({"log_level": "info"}, logging.INFO),
        ({"log_level": "error"}, logging.ERROR),
        ({"log_level": LogLevel.WARNING}, logging.WARNING),
    ],
)
def test_pythons_logging_is_told(details: dict[str, Any], level: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "render_farm.audit"):
        AuditLogger().log_event("type", "what happened", **details)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("render_farm.audit", level)
    assert "what happened" in record.getMessage()


@pytest.mark.parametrize(
    ("call", "arguments", "event_type", "details"),
    [
        ("log_error", ("m", "s", "high"), "error", {"source": "s", "log_level": "error", "severity": "high"}),
        ("log_client_added", ("c", "C", "t"), "client_added",
         {"client_id": "c", "client_name": "C", "service_tier": "t"}),
        ("log_client_updated", ("c", "C", "a", "b"), "client_updated",
         {"client_id": "c", "client_name": "C", "old_tier": "a", "new_tier": "b"}),
        ("log_node_added", ("n", "N", "online", {"a": 1}), "node_added",
         {"node_id": "n", "node_name": "N", "node_status": "online", "node_capabilities": {"a": 1}}),
        ("log_node_updated", ("n", "N", "a", "b"), "node_updated",
         {"node_id": "n", "node_name": "N", "old_status": "a", "new_status": "b"}),
        ("log_node_failure", ("n",), "node_failure", {"node_id": "n", "log_level": "warning"}),
        ("log_job_submitted", ("j", "c", "J", "low"), "job_submitted",
         {"job_id": "j", "client_id": "c", "job_name": "J", "priority": "low"}),
        ("log_job_scheduled", ("j", "n", "c", "low"), "job_scheduled",
         {"job_id": "j", "node_id": "n", "client_id": "c", "priority": "low"}),
        ("log_job_updated", ("j", "c", "J", "low", "high"), "job_updated",
         {"job_id": "j", "client_id": "c", "job_name": "J", "old_priority": "low", "new_priority": "high"}),
        ("log_job_completed", ("j", "c", "J", "now"), "job_completed",
         {"job_id": "j", "client_id": "c", "job_name": "J", "completion_time": "now"}),
        ("log_energy_mode_changed", ("a", "b"), "energy_mode_changed", {"old_mode": "a", "new_mode": "b"}),
        ("log_scheduling_cycle", (1, 2.0, 3, 4), "scheduling_cycle_completed",
         {"jobs_scheduled": 1, "utilization_percentage": 2.0, "energy_optimized_jobs": 3, "progressive_outputs": 4}),
    ],
)  # fmt: skip
def test_typed_helpers_are_one_event_each(call: str, arguments: Any, event_type: str, details: dict[str, Any]) -> None:
    log = AuditLogger()
    entry = getattr(log, call)(*arguments)
    assert log.logs == [entry]
    assert (entry.event_type, entry.details) == (event_type, details)


def test_there_is_no_helper_for_failed_jobs_or_allocations() -> None:
    assert not hasattr(AuditLogger(), "log_job_failed")
    assert not hasattr(AuditLogger(), "log_resource_allocation")


def test_questions_are_answered_in_the_order_of_the_log() -> None:
    log = AuditLogger()
    before = now()
    first = log.log_event("a", "1", job_id="j", node_id="n")
    second = log.log_event("b", "2", job_id="j", client_id="c")
    after = now()
    assert log.get_job_history("j") == [first, second]
    third = log.log_event("a", "3", job_id="j")
    assert log.get_job_history("j") == [first, second, third]
    assert log.get_node_history("n") == [first]
    assert log.get_client_history("c") == [second]
    assert log.get_client_history("nobody") == []
    assert log.get_logs_by_event_type("a") == [first, third]
    assert log.get_logs_by_time_range(before, after) == [first, second]
    assert log.get_logs_by_time_range(first.timestamp, first.timestamp)[0] is first
    assert log.get_events(job_id="j", event_type="a") == [first, third]


def test_questions_follow_what_the_caller_does_to_the_list() -> None:
    log = AuditLogger()
    for number in range(3):
        log.log_event("a", str(number), job_id="j")
    assert len(log.get_job_history("j")) == 3
    log.logs.clear()
    assert log.get_job_history("j") == []
    entry = log.log_event("a", "x", job_id="j")
    assert log.get_job_history("j") == [entry]
    log.logs = []
    assert log.get_job_history("j") == []


def test_operations_are_timed_and_exceptions_pass() -> None:
    log, monitor = parts()
    timed = monitor.time_operation("work")
    assert isinstance(timed, TimedOperation)
    assert (timed.monitor, timed.operation_name) == (monitor, "work")
    with timed as inside:
        assert inside is timed
    with pytest.raises(KeyError), monitor.time_operation("work"):
        raise KeyError
    assert len(monitor.operation_times["work"]) == 2
    assert [entry.event_type for entry in log.logs] == ["performance_metric"] * 2
    assert set(log.logs[0].details) == {"operation_name", "duration_ms"}


def test_figures_of_operations() -> None:
    _, monitor = parts()
    assert monitor.get_average_operation_time("x") is None
    assert monitor.get_max_operation_time("x") is None
    assert monitor.get_min_operation_time("x") is None
    for duration in (1.0, 2.0, 6.0):
        monitor.record_operation_time("x", duration)
    known = (monitor.get_average_operation_time("x"), monitor.get_max_operation_time("x"))
    assert (*known, monitor.get_min_operation_time("x")) == (3.0, 6.0, 1.0)


@pytest.mark.parametrize(
    ("call", "arguments", "event_type", "details"),
    [
        ("update_client_resource_metrics", ("c", 1.0, 2.0, 3.0), "client_resource_metrics_updated",
         {"client_id": "c", "allocated_percentage": 1.0, "borrowed_percentage": 2.0, "lent_percentage": 3.0}),
        ("update_energy_cost_saved", (1.5, "m"), "energy_cost_savings", {"amount": 1.5, "mode": "m"}),
        ("update_scheduling_cycle_time", (5.0, 2), "scheduling_cycle_metrics",
         {"duration_ms": 5.0, "jobs_scheduled": 2}),
        ("update_job_turnaround_time", ("j", 2.0, "c"), "job_turnaround_time",
         {"job_id": "j", "turnaround_hours": 2.0, "client_id": "c"}),
        ("update_node_utilization", ("n", 50.0), "node_utilization",
         {"node_id": "n", "utilization_percentage": 50.0}),
        ("update_client_job_count", ("c", 3), "client_job_count", {"client_id": "c", "job_count": 3}),
        ("update_node_failure_count", ("n",), "node_failure_count",
         {"failure_count": 1, "node_id": "n", "log_level": "warning"}),
        ("update_node_failure_count", (), "node_failure_count", {"failure_count": 1, "log_level": "warning"}),
    ],
)  # fmt: skip
def test_figures_are_told(call: str, arguments: Any, event_type: str, details: dict[str, Any]) -> None:
    log, monitor = parts()
    getattr(monitor, call)(*arguments)
    assert (log.logs[-1].event_type, log.logs[-1].details) == (event_type, details)


def test_figures_are_kept_and_some_are_reset() -> None:
    _, monitor = parts()
    monitor.update_client_resource_metrics("c", 10.0)
    monitor.update_client_job_count("c", 3)
    monitor.update_node_utilization("n", 50.0)
    monitor.update_job_turnaround_time("j", 2.0, "c")
    monitor.update_scheduling_cycle_time(5.0, 1)
    monitor.update_node_failure_count()
    assert monitor.get_client_metrics("c") == {
        "allocated_percentage": 10.0,
        "borrowed_percentage": 0.0,
        "lent_percentage": 0.0,
        "job_count": 3,
    }
    assert monitor.get_client_metrics("nobody") == {}
    assert monitor.node_metrics == {"n": {"utilization_percentage": 50.0}}
    assert monitor.job_metrics == {"j": {"turnaround_hours": 2.0}}
    assert monitor.get_max_operation_time("scheduling_cycle") == 5.0
    monitor.reset_metrics()
    assert (monitor.operation_times, monitor.client_metrics, monitor.failure_count) == ({}, {}, 1)
    assert monitor.node_metrics
    assert monitor.job_metrics


def test_the_monitor_speaks_through_whatever_logger_it_has() -> None:
    said: list[tuple[Any, ...]] = []

    class Logger:
        def log_event(self, event_type: str, text: str, **more: Any) -> None:
            said.append((event_type, more))

    PerformanceMonitor(Logger()).record_operation_time("x", 1.0)  # type: ignore[arg-type]
    assert said == [("performance_metric", {"operation_name": "x", "duration_ms": 1.0})]
