"""The audit log of a farm for people, and how long its operations take.

Both are the caller's own objects, in memory; what must not be lost is in the log of the core behind the manager.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from time import perf_counter
from types import TracebackType
from typing import Any

from adapters.facades.bridge.wallclock import now
from common.core.interfaces import AuditLogInterface
from render_farm_manager.core.interfaces import AuditInterface
from render_farm_manager.core.models import AuditLogEntry

__all__ = ["AuditLogger", "PerformanceMonitor", "TimedOperation"]

_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING}
_FIELDS = set(AuditLogEntry.model_fields)
"""All of them: one set for all entries, which copies of an entry copy, and to which nothing can be added."""
_python_log = logging.getLogger("render_farm.audit")


_put = object.__setattr__


def _entry(event_type: str, description: str, details: dict[str, Any]) -> AuditLogEntry:
    """An entry made without validation: there are several for every call to a farm, and all fields are known."""
    made, get = AuditLogEntry.__new__(AuditLogEntry), details.get
    values = {
        "timestamp": now(),
        "event_type": event_type,
        "job_id": get("job_id"),
        "node_id": get("node_id"),
        "client_id": get("client_id"),
        "description": description,
        "details": details,
    }
    _put(made, "__dict__", values)
    _put(made, "__pydantic_fields_set__", _FIELDS)
    _put(made, "__pydantic_extra__", None)
    _put(made, "__pydantic_private__", None)
    return made


class _Index:
    """The entries of a growing list by one of their fields, brought up to date when somebody asks.

    The list is the caller's: an index of what was cut or replaced meanwhile is made anew.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._by_value: dict[Any, list[AuditLogEntry]] = {}
        self._seen = 0
        self._last: AuditLogEntry | None = None

    def find(self, entries: list[AuditLogEntry], value: Any) -> list[AuditLogEntry]:
        """The entries with that value, in their order."""
        seen, field = self._seen, self._field
        if seen > len(entries) or (seen and entries[seen - 1] is not self._last):
            self._by_value, seen = {}, 0
        for entry in entries[seen:] if seen < len(entries) else ():
            self._by_value.setdefault(getattr(entry, field), []).append(entry)
        self._seen, self._last = len(entries), entries[-1] if entries else None
        return [entry for entry in self._by_value.get(value, ()) if getattr(entry, field) == value]


class AuditLogger(AuditInterface, AuditLogInterface):
    """Remembers what happened on a farm, in order, and tells Python's logging."""

    def __init__(self) -> None:
        self.logs: list[AuditLogEntry] = []
        self.logger = _python_log
        self._indexes = {name: _Index(name) for name in ("job_id", "node_id", "client_id", "event_type")}

    def log_event(self, event_type: str, description: str, **details: Any) -> AuditLogEntry:  # type: ignore[override]
        """Enters something that happened; `log_level` among the details says how grave it is."""
        entry = _entry(event_type, description, details)
        self.logs.append(entry)
        level = _LEVELS.get(details["log_level"], logging.INFO) if "log_level" in details else logging.INFO
        log = self.logger
        if log.isEnabledFor(level):  # the place in the source is always this one, so nobody looks for it on the stack
            arguments = (event_type, description)
            log.handle(log.makeRecord(log.name, level, __file__, 0, "%s: %s", arguments, None, "log_event"))
        return entry

    # -- what happens often ----------------------------------------------------------------------------------------

    def log_error(self, message: str, source: str, severity: str) -> AuditLogEntry:
        """Something went wrong."""
        return self.log_event("error", message, source=source, log_level="error", severity=severity)

    def log_client_added(self, client_id: str, name: str, service_tier: str) -> AuditLogEntry:
        """A client became known."""
        return self.log_event(
            "client_added",
            f"Client {name} was added",
            client_id=client_id,
            client_name=name,
            service_tier=service_tier,
        )

    def log_client_updated(self, client_id: str, name: str, old_tier: str, new_tier: str) -> AuditLogEntry:
        """A client changes its tier."""
        return self.log_event(
            "client_updated",
            f"Client {name} goes from {old_tier} to {new_tier}",
            client_id=client_id,
            client_name=name,
            old_tier=old_tier,
            new_tier=new_tier,
        )

    def log_node_added(self, node_id: str, name: str, status: str, capabilities: dict[str, Any]) -> AuditLogEntry:
        """A node became known."""
        return self.log_event(
            "node_added",
            f"Node {name} was added",
            node_id=node_id,
            node_name=name,
            node_status=status,
            node_capabilities=capabilities,
        )

    def log_node_updated(self, node_id: str, name: str, old_status: str, new_status: str) -> AuditLogEntry:
        """A node changed its status."""
        return self.log_event(
            "node_updated",
            f"Node {name} went from {old_status} to {new_status}",
            node_id=node_id,
            node_name=name,
            old_status=old_status,
            new_status=new_status,
        )

    def log_node_failure(self, node_id: str) -> AuditLogEntry:
        """A node failed."""
        return self.log_event("node_failure", f"Node {node_id} failed", node_id=node_id, log_level="warning")

    def log_job_submitted(self, job_id: str, client_id: str, name: str, priority: str) -> AuditLogEntry:
        """A job was handed in."""
        return self.log_event(
            "job_submitted",
            f"Job {name} was submitted",
            job_id=job_id,
            client_id=client_id,
            job_name=name,
            priority=priority,
        )

    def log_job_scheduled(self, job_id: str, node_id: str, client_id: str, priority: str) -> AuditLogEntry:
        """A job got a node."""
        return self.log_event(
            "job_scheduled",
            f"Job {job_id} goes to node {node_id}",
            job_id=job_id,
            node_id=node_id,
            client_id=client_id,
            priority=priority,
        )

    def log_job_updated(
        self, job_id: str, client_id: str, name: str, old_priority: str, new_priority: str
    ) -> AuditLogEntry:
        """A job changed; its priority may be the same as before."""
        return self.log_event(
            "job_updated",
            f"Job {name} was updated",
            job_id=job_id,
            client_id=client_id,
            job_name=name,
            old_priority=old_priority,
            new_priority=new_priority,
        )

    def log_job_completed(self, job_id: str, client_id: str, name: str, completion_time: str) -> AuditLogEntry:
        """A job is done."""
        return self.log_event(
            "job_completed",
            f"Job {name} completed at {completion_time}",
            job_id=job_id,
            client_id=client_id,
            job_name=name,
            completion_time=completion_time,
        )

    def log_energy_mode_changed(self, old_mode: str, new_mode: str) -> AuditLogEntry:
        """Speed is traded for energy in another way."""
        return self.log_event(
            "energy_mode_changed",
            f"The energy mode went from {old_mode} to {new_mode}",
            old_mode=old_mode,
            new_mode=new_mode,
        )

    def log_scheduling_cycle(
        self, jobs_scheduled: int, utilization_percentage: float, energy_optimized_jobs: int, progressive_outputs: int
    ) -> AuditLogEntry:
        """A cycle is over."""
        return self.log_event(
            "scheduling_cycle_completed",
            f"A scheduling cycle started {jobs_scheduled} jobs",
            jobs_scheduled=jobs_scheduled,
            utilization_percentage=utilization_percentage,
            energy_optimized_jobs=energy_optimized_jobs,
            progressive_outputs=progressive_outputs,
        )

    # -- questions -------------------------------------------------------------------------------------------------

    def get_job_history(self, job_id: str) -> list[AuditLogEntry]:
        """What happened to a job, in order."""
        return self._indexes["job_id"].find(self.logs, job_id)

    def get_node_history(self, node_id: str) -> list[AuditLogEntry]:
        """What happened to a node, in order."""
        return self._indexes["node_id"].find(self.logs, node_id)

    def get_client_history(self, client_id: str) -> list[AuditLogEntry]:
        """What happened to a client, in order."""
        return self._indexes["client_id"].find(self.logs, client_id)

    def get_logs_by_time_range(self, start_time: datetime, end_time: datetime) -> list[AuditLogEntry]:
        """What happened between two times, both included."""
        return [entry for entry in self.logs if start_time <= entry.timestamp <= end_time]

    def get_logs_by_event_type(self, event_type: str) -> list[AuditLogEntry]:
        """The entries of one type, in order."""
        return self._indexes["event_type"].find(self.logs, event_type)

    def get_events(
        self,
        job_id: str | None = None,
        node_id: str | None = None,
        owner_id: str | None = None,
        event_type: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> list[Any]:
        """The entries for which every filter that is given holds, in order; times inclusive."""
        wanted = {"job_id": job_id, "node_id": node_id, "client_id": owner_id, "event_type": event_type}
        given = {name: value for name, value in wanted.items() if value is not None}
        return [
            entry
            for entry in self.logs
            if all(getattr(entry, name) == value for name, value in given.items())
            and (start_time is None or start_time <= entry.timestamp)
            and (end_time is None or entry.timestamp <= end_time)
        ]


class PerformanceMonitor:
    """How long operations take, and figures of clients, nodes and jobs; every figure is an entry of the audit log."""

    def __init__(self, audit_logger: AuditLogger) -> None:
        self.audit_logger = audit_logger
        self.operation_times: dict[str, list[float]] = {}
        """Milliseconds."""
        self.client_metrics: dict[str, dict[str, float]] = {}
        self.node_metrics: dict[str, dict[str, float]] = {}
        self.job_metrics: dict[str, dict[str, float]] = {}
        self.failure_count: int = 0

    def time_operation(self, operation_name: str) -> "TimedOperation":
        """A context whose duration is recorded."""
        return TimedOperation(self, operation_name)

    def record_operation_time(self, operation_name: str, duration_ms: float) -> None:
        """An operation took so long."""
        self.operation_times.setdefault(operation_name, []).append(duration_ms)
        self.audit_logger.log_event(
            "performance_metric",
            f"{operation_name} took {duration_ms:.2f} ms",
            operation_name=operation_name,
            duration_ms=duration_ms,
        )

    def update_client_resource_metrics(
        self,
        client_id: str,
        allocated_percentage: float,
        borrowed_percentage: float = 0.0,
        lent_percentage: float = 0.0,
    ) -> None:
        """What a client has of the farm."""
        figures = {
            "allocated_percentage": allocated_percentage,
            "borrowed_percentage": borrowed_percentage,
            "lent_percentage": lent_percentage,
        }
        self.client_metrics.setdefault(client_id, {}).update(figures)
        self.audit_logger.log_event(
            "client_resource_metrics_updated",
            f"Client {client_id} has other shares",
            client_id=client_id,
            **figures,
        )

    def update_energy_cost_saved(self, amount: float, mode: str) -> None:
        """Energy was saved."""
        self.audit_logger.log_event("energy_cost_savings", f"Mode {mode} saved {amount}", amount=amount, mode=mode)

    def update_scheduling_cycle_time(self, duration_ms: float, jobs_scheduled: int) -> None:
        """A scheduling cycle took so long and started so many jobs."""
        self.record_operation_time("scheduling_cycle", duration_ms)
        self.audit_logger.log_event(
            "scheduling_cycle_metrics",
            f"A scheduling cycle started {jobs_scheduled} jobs",
            duration_ms=duration_ms,
            jobs_scheduled=jobs_scheduled,
        )

    def update_job_turnaround_time(self, job_id: str, turnaround_hours: float, client_id: str) -> None:
        """A job took so long from submission to its end."""
        self.job_metrics.setdefault(job_id, {})["turnaround_hours"] = turnaround_hours
        self.audit_logger.log_event(
            "job_turnaround_time",
            f"Job {job_id} took {turnaround_hours:.2f} hours",
            job_id=job_id,
            turnaround_hours=turnaround_hours,
            client_id=client_id,
        )

    def update_node_utilization(self, node_id: str, utilization_percentage: float) -> None:
        """A node is used so much."""
        self.node_metrics.setdefault(node_id, {})["utilization_percentage"] = utilization_percentage
        self.audit_logger.log_event(
            "node_utilization",
            f"Node {node_id} is used to {utilization_percentage} %",
            node_id=node_id,
            utilization_percentage=utilization_percentage,
        )

    def update_client_job_count(self, client_id: str, job_count: int) -> None:
        """A client has so many jobs."""
        self.client_metrics.setdefault(client_id, {})["job_count"] = job_count
        self.audit_logger.log_event(
            "client_job_count", f"Client {client_id} has {job_count} jobs", client_id=client_id, job_count=job_count
        )

    def update_node_failure_count(self, node_id: str | None = None) -> None:
        """One more node failed."""
        self.failure_count += 1
        which = {} if node_id is None else {"node_id": node_id}
        self.audit_logger.log_event(
            "node_failure_count",
            f"{self.failure_count} nodes have failed",
            failure_count=self.failure_count,
            log_level="warning",
            **which,
        )

    def get_average_operation_time(self, operation_name: str) -> float | None:
        """The mean in milliseconds; None without samples."""
        return self._over(operation_name, lambda times: sum(times) / len(times))

    def get_max_operation_time(self, operation_name: str) -> float | None:
        """The longest in milliseconds; None without samples."""
        return self._over(operation_name, max)

    def get_min_operation_time(self, operation_name: str) -> float | None:
        """The shortest in milliseconds; None without samples."""
        return self._over(operation_name, min)

    def _over(self, operation_name: str, figure: Callable[[list[float]], float]) -> float | None:
        times = self.operation_times.get(operation_name)
        return figure(times) if times else None

    def get_client_metrics(self, client_id: str) -> dict[str, float]:
        """The figures of a client; empty if there are none."""
        return self.client_metrics.get(client_id, {})

    def reset_metrics(self) -> None:
        """Forgets the times of operations and the figures of clients, and nothing else."""
        self.operation_times = {}
        self.client_metrics = {}


class TimedOperation:
    """One run of an operation; exceptions pass through it."""

    def __init__(self, monitor: PerformanceMonitor, operation_name: str) -> None:
        self.monitor = monitor
        self.operation_name = operation_name
        self.start_time: float = 0.0
        """Seconds of a clock of no particular zero."""

    def __enter__(self) -> "TimedOperation":
        self.start_time = perf_counter()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.monitor.record_operation_time(self.operation_name, (perf_counter() - self.start_time) * 1000)
