"""How jobs, clients and the farm stand, as the plain dictionaries that callers show."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from render_farm_manager.core.models import Client, RenderJob, RenderJobStatus, RenderNode
from render_farm_manager.core.reading import LIVE, is_free

JobDict = dict[str, Any]


def job_status(job: RenderJob, node: RenderNode | None, output: str | None, at: datetime) -> JobDict:
    """How one job stands, and whether it will be in time."""
    hours = job.estimated_duration_hours
    left = hours * (1 - job.progress / 100) if job.status == "running" else hours
    estimated = at + timedelta(hours=left)
    return {
        "id": job.id,
        "name": job.name,
        "client_id": job.client_id,
        "status": job.status,
        "priority": job.priority,
        "progress": job.progress,
        "deadline": job.deadline.isoformat(),
        "time_until_deadline_hours": (job.deadline - at).total_seconds() / 3600,
        "estimated_completion": estimated.isoformat(),
        "will_meet_deadline": estimated <= job.deadline,
        "assigned_node": None if node is None else _node_of_job(node),
        "error_count": job.error_count,
        "progressive_output_path": output,
        "submission_time": job.submission_time.isoformat(),
        "last_checkpoint_time": _iso(job.last_checkpoint_time),
        "last_progressive_output_time": _iso(job.last_progressive_output_time),
    }


def _node_of_job(node: RenderNode) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "status": node.status,
        "capabilities": node.capabilities.model_dump(),
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def client_status(client: Client, jobs: Iterable[RenderJob], usage: Any, allocation: Any) -> dict[str, Any]:
    """How one client stands: what it has of the farm, and its jobs."""
    own = [job for job in jobs if job.client_id == client.id]
    return {
        "id": client.id,
        "name": client.name,
        "sla_tier": client.sla_tier,
        "guaranteed_resources": client.guaranteed_resources,
        "max_resources": client.max_resources,
        "current_resource_usage": usage,
        "resource_allocation": None if allocation is None else allocation.model_dump(),
        "total_jobs": len(own),
        "jobs_by_status": by_status(own),
        "active_jobs": [
            {"id": job.id, "name": job.name, "status": job.status, "progress": job.progress}
            for job in own
            if job.status in LIVE
        ],
    }


def by_status(jobs: Iterable[RenderJob]) -> dict[str, int]:
    """How many jobs have each status; all statuses are there."""
    counts = dict.fromkeys([status.value for status in RenderJobStatus], 0)
    for word, count in Counter([_word(job.status) for job in jobs]).items():
        counts[word] = counts.get(word, 0) + count
    return counts


def by_client(jobs: Iterable[RenderJob], clients: Mapping[str, Client]) -> dict[str, int]:
    """How many jobs each client has; all known clients are there."""
    counts = dict.fromkeys(clients, 0)
    for client_id, count in Counter([job.client_id for job in jobs]).items():
        counts[client_id] = count
    return counts


def nodes_by_status(nodes: Iterable[RenderNode]) -> dict[str, int]:
    """How many nodes have each status that some node has."""
    return dict(Counter([_word(node.status) for node in nodes]))


def _word(member: Any) -> str:
    return str(member.value if isinstance(member, Enum) else member)


def compute_resources(nodes: Iterable[RenderNode]) -> dict[str, float]:
    """What the farm has and what is idle. Quirk: nodes that are not online count as used."""
    every = list(nodes)
    idle = [node for node in every if is_free(node)]
    figures: dict[str, float] = {}
    for name in ("cpu_cores", "gpu_count", "memory_gb"):
        figures[f"total_{name}"] = sum(getattr(node.capabilities, name) for node in every)
        figures[f"idle_{name}"] = sum(getattr(node.capabilities, name) for node in idle)
    for short, name in (("cpu", "cpu_cores"), ("gpu", "gpu_count"), ("memory", "memory_gb")):
        total, free = figures[f"total_{name}"], figures[f"idle_{name}"]
        figures[f"{short}_utilization_percentage"] = (total - free) / total * 100 if total else 0.0
    return figures
