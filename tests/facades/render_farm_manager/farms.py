"""Farms for tests: models with sensible values, managers with collaborators that are real or watched."""

from datetime import datetime, timedelta
from typing import Any
from unittest.mock import MagicMock

from adapters.facades.bridge.wallclock import now
from render_farm_manager.core.manager import RenderFarmManager
from render_farm_manager.core.models import Client, RenderJob, RenderNode
from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor


def job(id: str = "job1", **fields: Any) -> RenderJob:
    """A job of client `c1` that takes 4 hours, due in 100 hours."""
    at = now()
    values = {
        "id": id,
        "name": f"Job {id}",
        "client_id": "c1",
        "job_type": "compositing",
        "priority": "medium",
        "submission_time": at,
        "deadline": at + timedelta(hours=100),
        "estimated_duration_hours": 4.0,
        "memory_requirements_gb": 16,
        "cpu_requirements": 4,
        "scene_complexity": 5,
        "output_path": f"/renders/{id}",
    }
    return RenderJob(**{**values, **fields})


def due(hours: float) -> datetime:
    """A deadline so many hours from now."""
    return now() + timedelta(hours=hours)


def node(id: str = "n1", *, rating: float = 80.0, **fields: Any) -> RenderNode:
    """An online node with 16 cores, 64 GB and no GPU; its capabilities are given beside its fields."""
    names = ("cpu_cores", "memory_gb", "gpu_model", "gpu_count", "storage_gb", "specialized_for")
    has = {"cpu_cores": 16, "memory_gb": 64, "storage_gb": 1000} | {k: fields.pop(k) for k in names if k in fields}
    values = {"id": id, "name": f"Node {id}", "status": "online", "power_efficiency_rating": rating}
    return RenderNode(**{**values, "capabilities": has, **fields})


def gpu_node(id: str = "g1", **fields: Any) -> RenderNode:
    """A node with four GPUs."""
    return node(id, **{"gpu_model": "A6000", "gpu_count": 4, "specialized_for": ["gpu_rendering"], **fields})


def client(id: str = "c1", guaranteed: int = 50, most: int = 100) -> Client:
    """A premium client."""
    return Client(id=id, name=f"Client {id}", sla_tier="premium", guaranteed_resources=guaranteed, max_resources=most)


def farm(*parts: Any, **more: Any) -> RenderFarmManager:
    """A manager with client `c1` and these nodes, jobs and further clients."""
    manager = RenderFarmManager(**more)
    manager.add_client(client())
    add = {RenderJob: manager.submit_job, RenderNode: manager.add_node, Client: manager.add_client}
    for part in parts:
        add[type(part)](part)
    return manager


def watched_farm(*parts: Any) -> tuple[RenderFarmManager, MagicMock, MagicMock]:
    """The same with an audit logger and a monitor that are mocks of any kind."""
    log, monitor = MagicMock(), MagicMock()
    manager = farm(*parts, audit_logger=log, performance_monitor=monitor)
    log.reset_mock()
    monitor.reset_mock()
    return manager, log, monitor


def events(manager: RenderFarmManager, event_type: str) -> list[dict[str, Any]]:
    """The details of the generic events of a type, in order."""
    return [entry.details for entry in manager.audit_logger.logs if entry.event_type == event_type]


def logged(log: MagicMock, event_type: str) -> list[dict[str, Any]]:
    """The same from a mock."""
    return [call.kwargs for call in log.log_event.call_args_list if call.args[0] == event_type]


def parts() -> tuple[AuditLogger, PerformanceMonitor]:
    """A real logger and monitor."""
    log = AuditLogger()
    return log, PerformanceMonitor(log)
