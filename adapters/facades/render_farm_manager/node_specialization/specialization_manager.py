"""Which nodes suit which kind of job: by what they are meant for, what they have, and how jobs ran there."""

from typing import TYPE_CHECKING

from render_farm_manager.core.interfaces import NodeSpecializationInterface
from render_farm_manager.core.models import RenderJob, RenderNode
from render_farm_manager.core.reading import can_hold, is_free
from render_farm_manager.core.rules import suitability
from render_farm_manager.node_specialization.specialties import SPECIALIZATIONS

if TYPE_CHECKING:
    from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor

FOR_GPUS = frozenset({"animation", "vfx", "lighting", "texture_baking"})
FOR_CORES = frozenset({"simulation", "compositing", "character_rigging", "motion_capture"})
FOR_MEMORY = frozenset({"scene_assembly", "fluid_sim"})
SEVERAL_GPUS, MANY_CORES, MUCH_MEMORY_GB = 2, 32, 256
"""From here on a node is strong where its jobs need it."""
STRONG = 1.5
MEMORY_BANDS = ((16.0, "low"), (64.0, "medium"), (256.0, "high"))
"""Upper bounds in GB."""


class NodeSpecializationManager(NodeSpecializationInterface):
    """Matches jobs with the nodes that suit them, and learns from how they ran."""

    def __init__(
        self,
        audit_logger: "AuditLogger",
        performance_monitor: "PerformanceMonitor",
        learning_rate: float = 0.2,
        history_weight: float = 0.3,
    ) -> None:
        self.audit_logger = audit_logger
        self.performance_monitor = performance_monitor
        self.learning_rate = learning_rate
        self.history_weight = history_weight
        self.job_type_specializations = {kind: list(names) for kind, names in SPECIALIZATIONS.items()}
        self.specialization_job_types: dict[str, list[str]] = {}
        for kind, names in SPECIALIZATIONS.items():
            for name in names:
                self.specialization_job_types.setdefault(name, []).append(kind)

    def match_job_to_node(self, job: RenderJob, nodes: list[RenderNode]) -> str | None:
        """The free node that suits a job best, one meant for its type if there is one; None if none can hold it."""
        best: RenderNode | None = None
        with self.performance_monitor.time_operation("match_job_to_node"):
            able = [node for node in nodes if is_free(node) and can_hold(node, job)]
            wanted = set(self.job_type_specializations.get(job.job_type, ()))
            meant = [node for node in able if not wanted.isdisjoint(node.capabilities.specialized_for)]
            scored = [(self.calculate_performance_score(job, node), node) for node in meant or able]
            if scored:
                score, best = max(scored, key=lambda each: each[0])
                self._tell(job, best, score, specialized=bool(meant))
        return None if best is None else best.id

    def _tell(self, job: RenderJob, node: RenderNode, score: float, specialized: bool) -> None:
        self.audit_logger.log_event(
            "job_node_matched",
            f"Job {job.id} suits node {node.id} best",
            job_id=job.id,
            node_id=node.id,
            job_type=job.job_type,
            score=score,
            specialized=specialized,
        )

    def calculate_performance_score(self, job: RenderJob, node: RenderNode) -> float:
        """How well a node suits a job: a product of its advantages, drawn towards what was learned there."""
        has, kind = node.capabilities, job.job_type
        matching = 0
        for name in self.job_type_specializations.get(kind, ()):
            if name in has.specialized_for:
                matching += 1
        score = suitability.for_specialties(matching) if matching else 1.0
        if _is_strong(kind, node):
            score *= STRONG
        if job.requires_gpu and has.gpu_count > 0:
            score *= suitability.for_gpus(has.gpu_count, job.scene_complexity)
        score *= suitability.for_room(has.cpu_cores, job.cpu_requirements, 0.5, 2.0)
        score *= suitability.for_room(has.memory_gb, job.memory_requirements_gb, 0.3, 3.0)
        learned = node.performance_history.get(f"job_type:{kind}") if node.performance_history else None
        if learned is not None:
            score = suitability.blended(score, learned, suitability.history_share(self.history_weight))
        return score

    def update_performance_history(
        self, job: RenderJob, node: RenderNode, performance_metrics: dict[str, float]
    ) -> None:
        """Learns from how a job ran on a node: for its type, for GPUs, for its range of memory."""
        speed = 1.0
        if "render_time_per_frame" in performance_metrics:
            speed = suitability.speed_of(performance_metrics["render_time_per_frame"])
        keys = [f"job_type:{job.job_type}"]
        if job.requires_gpu:
            keys.append("requirement:gpu")
        keys.append(f"memory_range:{self._get_memory_range(job.memory_requirements_gb)}")
        history = node.performance_history
        for key in keys:
            history[key] = suitability.averaged(history.get(key), speed, self.learning_rate)
        self.audit_logger.log_event(
            "performance_history_updated",
            f"Node {node.id} ran job {job.id} at {speed:.2f} frames a minute",
            job_id=job.id,
            node_id=node.id,
            job_type=job.job_type,
            performance_score=speed,
            metrics=performance_metrics,
        )

    def analyze_node_efficiency(self, nodes: list[RenderNode]) -> dict[str, dict[str, float]]:
        """What every node has shown, by type of job."""
        prefix = "job_type:"
        return {
            node.id: {
                key.removeprefix(prefix): value
                for key, value in node.performance_history.items()
                if key.startswith(prefix)
            }
            for node in nodes
        }

    def _get_memory_range(self, memory_gb: float) -> str:
        return suitability.band(memory_gb, MEMORY_BANDS, "extreme")


def _is_strong(kind: str, node: RenderNode) -> bool:
    """Whether a node has much of what jobs of a type live on."""
    has = node.capabilities
    if kind in FOR_GPUS:
        return has.gpu_count >= SEVERAL_GPUS
    if kind in FOR_CORES:
        return has.cpu_cores >= MANY_CORES
    return kind in FOR_MEMORY and has.memory_gb >= MUCH_MEMORY_GB
