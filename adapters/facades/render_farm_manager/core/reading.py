"""How jobs and nodes of a render farm are read: by value, as the caller left them."""

from typing import Any

from render_farm_manager.core.models import RenderJob, RenderNode

RANKS = {"critical": 4, "high": 3, "medium": 2, "low": 1}
TOP_RANK = 4
WAITING = frozenset({"pending", "queued"})
LIVE = frozenset({"pending", "queued", "running"})
ENDED = frozenset({"completed", "failed", "cancelled"})


def rank_of(priority: Any) -> int:
    """4 for critical down to 1 for low; 0 for any other word."""
    return RANKS.get(priority, 0)


def is_free(node: RenderNode) -> bool:
    """Whether a node is online and shows no job."""
    return node.status == "online" and not node.current_job_id


def can_hold(node: RenderNode, job: RenderJob) -> bool:
    """Whether a node has what a job needs, whatever it does now."""
    has = node.capabilities
    if job.requires_gpu and not (has.gpu_count > 0 and has.gpu_model):
        return False
    return has.memory_gb >= job.memory_requirements_gb and has.cpu_cores >= job.cpu_requirements
