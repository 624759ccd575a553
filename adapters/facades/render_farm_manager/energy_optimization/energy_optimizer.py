"""Energy: what jobs cost on which node at which hour, which mode fits the moment, and where jobs cost least."""

from collections.abc import Callable, Sequence
from datetime import datetime, time
from typing import TYPE_CHECKING

from adapters.facades.bridge.wallclock import now
from render_farm_manager.core.interfaces import EnergyOptimizationInterface
from render_farm_manager.core.models import EnergyMode, RenderJob, RenderNode
from render_farm_manager.core.reading import LIVE, WAITING, can_hold, is_free, rank_of
from render_farm_manager.core.rules import tariffs

if TYPE_CHECKING:
    from domain.policies.tariffs import PeakPrices
    from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor

POWER_PROFILES: dict[str, dict[EnergyMode, float]] = {
    kind: dict(zip(EnergyMode, watts, strict=True))
    for kind, watts in {
        "gpu": (800.0, 650.0, 500.0, 400.0),
        "cpu": (400.0, 300.0, 250.0, 200.0),
        "memory": (500.0, 400.0, 300.0, 250.0),
    }.items()
}
"""Watts by type of node and mode."""
HIGH_RANK = 3
AVERAGE_LOAD = 0.9
"""Of its profile's watts, what a job is taken to draw before it has a node."""
LEAST_SLACK = 1.5
"""In the balanced mode a job that is not urgent needs so many times its duration until its deadline."""


class EnergyOptimizer(EnergyOptimizationInterface):
    """Places jobs where they cost least energy, and knows what they cost."""

    current_energy_mode: EnergyMode = EnergyMode.BALANCED
    current_time_override: datetime | None = None
    _clock: Callable[[], datetime] = staticmethod(now)

    def __init__(
        self,
        audit_logger: "AuditLogger",
        performance_monitor: "PerformanceMonitor",
        peak_hours_start: time = time(8, 0),
        peak_hours_end: time = time(20, 0),
        peak_energy_cost: float = 0.15,
        off_peak_energy_cost: float = 0.08,
        current_energy_mode: EnergyMode = EnergyMode.BALANCED,
        current_time_override: datetime | None = None,
    ) -> None:
        self.audit_logger = audit_logger
        self.performance_monitor = performance_monitor
        self.peak_hours_start = peak_hours_start
        self.peak_hours_end = peak_hours_end
        self.peak_energy_cost = peak_energy_cost
        self.off_peak_energy_cost = off_peak_energy_cost
        self.current_energy_mode = current_energy_mode
        self.current_time_override = current_time_override
        self.node_power_profiles = {kind: dict(watts) for kind, watts in POWER_PROFILES.items()}

    # -- placing -------------------------------------------------------------------------------------------------

    def optimize_energy_usage(self, jobs: list[RenderJob], nodes: list[RenderNode]) -> dict[str, str]:
        """The cheapest free node for each job that may run now, the most urgent first."""
        placed: dict[str, str] = {}
        with self.performance_monitor.time_operation("optimize_energy_usage"):
            self._update_energy_mode(jobs)
            ranked = sorted(self._eligible(jobs), key=lambda job: (-rank_of(job.priority), job.deadline))
            free = [node for node in nodes if is_free(node)]
            for job, node in self._cheapest(ranked, free):
                placed[job.id] = node.id
                self._tell(job, node)
        return placed

    def _cheapest(self, jobs: Sequence[RenderJob], free: list[RenderNode]) -> "list[tuple[RenderJob, RenderNode]]":
        """Each job with the suitable node on which it costs least, every node once.

        What a kilowatt costs while a job runs depends on the job, what a node draws on the node: so all jobs agree on
        which node is cheapest, and the nodes are put in order once. Costs of a caller's own may say otherwise.
        """
        found: list[tuple[RenderJob, RenderNode]] = []
        if not jobs or not free:
            return found
        own_costs = getattr(self.calculate_energy_cost, "__func__", None) is not EnergyOptimizer.calculate_energy_cost
        in_order = self._by_cost(free, jobs[0])
        for job in jobs:
            if not in_order:
                break
            if own_costs:
                in_order = self._by_cost(in_order, job)
            for at, node in enumerate(in_order):
                if self._node_meets_requirements(job, node):
                    found.append((job, in_order.pop(at)))
                    break
        return found

    def _by_cost(self, nodes: list[RenderNode], job: RenderJob) -> list[RenderNode]:
        start = self._now()
        return sorted(nodes, key=lambda node: self._modified(self.calculate_energy_cost(job, node, start), node))

    def _modified(self, cost: float, node: RenderNode) -> float:
        """A cost as the mode sees it. Quirk: the divisor of the performance mode is negative for efficient nodes."""
        rating = node.power_efficiency_rating
        if self.current_energy_mode == EnergyMode.PERFORMANCE:
            power = (10 - rating) * 5 + 0.5 * node.capabilities.cpu_cores + 2 * node.capabilities.gpu_count
            return cost / power if power else cost
        if self.current_energy_mode == EnergyMode.EFFICIENCY:
            return cost / (2 * rating) if rating else cost / LEAST_RATING
        return cost

    def _eligible(self, jobs: list[RenderJob]) -> list[RenderJob]:
        """The waiting jobs that the mode lets run now."""
        waiting = [job for job in jobs if job.status in WAITING]
        if self.current_energy_mode == EnergyMode.NIGHT_SAVINGS and not self._is_night():
            return [job for job in waiting if not job.energy_intensive and job.scene_complexity < COMPLEX]
        if self.current_energy_mode == EnergyMode.BALANCED:
            start = self._now()
            return [job for job in waiting if rank_of(job.priority) >= HIGH_RANK or _has_slack(job, start)]
        return waiting

    def _tell(self, job: RenderJob, node: RenderNode) -> None:
        """Quirk: the cost is told as 0."""
        self.audit_logger.log_event(
            "energy_optimized_allocation",
            f"Job {job.id} goes to node {node.id} to save energy",
            job_id=job.id,
            node_id=node.id,
            energy_mode=self.current_energy_mode,
            energy_cost=0.0,
            job_priority=job.priority,
        )

    # -- modes ---------------------------------------------------------------------------------------------------

    def set_energy_mode(self, mode: EnergyMode) -> None:
        """Trades speed for energy in another way from now on."""
        old, self.current_energy_mode = self.current_energy_mode, mode
        self.audit_logger.log_event(
            "energy_mode_changed", f"The energy mode goes from {old} to {mode}", old_mode=old, new_mode=mode
        )

    def _update_energy_mode(self, jobs: list[RenderJob]) -> None:
        """Chooses the mode by the hour and by how many live jobs are urgent."""
        urgent = sum([job.status in LIVE and rank_of(job.priority) >= HIGH_RANK for job in jobs])
        mode = EnergyMode(tariffs.mode_for(self._is_night(), urgent))
        if mode != self.current_energy_mode:
            self.set_energy_mode(mode)

    def _now(self) -> datetime:
        return self.current_time_override or self._clock()

    def _is_night(self) -> bool:
        return bool(tariffs.is_night(self._now().hour))

    # -- costs ---------------------------------------------------------------------------------------------------

    def get_time_of_day_energy_price(self, time: datetime) -> float:
        """The price of a kWh at that time."""
        return float(tariffs.price_at(_second_of_day(time), self._prices()))

    def calculate_energy_cost(self, job: RenderJob, node: RenderNode, start_time: datetime) -> float:
        """What the whole job costs on a node when it starts then, at the prices of its hours."""
        kilowatts = self._watts(node, self.current_energy_mode) / 1000
        hours = job.estimated_duration_hours
        return float(kilowatts * tariffs.priced_hours(_second_of_day(start_time), hours, self._prices()))

    def estimate_energy_savings(self, jobs: list[RenderJob], nodes: list[RenderNode]) -> float:
        """How much less energy the live jobs need in this mode than in the performance mode, in percent."""
        by_id = {node.id: node for node in nodes}
        usual = self._calculate_total_energy_usage(jobs, by_id, EnergyMode.PERFORMANCE)
        present = self._calculate_total_energy_usage(jobs, by_id, self.current_energy_mode)
        return float(tariffs.saved_percent(usual, present))

    def _calculate_total_energy_usage(
        self, jobs: list[RenderJob], nodes: dict[str, RenderNode], mode: EnergyMode
    ) -> float:
        """What the live jobs still need, in kWh."""
        profiles, total = self.node_power_profiles, 0.0
        for job in jobs:
            if job.status == "running":
                node = nodes.get(job.assigned_node_id or "")
                if node is not None:
                    hours = job.estimated_duration_hours * (1 - job.progress / 100)
                    total += self._watts(node, mode) / 1000 * hours
            elif job.status in WAITING:
                watts = profiles[_class_of(job)][mode] * AVERAGE_LOAD
                total += watts / 1000 * job.estimated_duration_hours
        return total

    def _watts(self, node: RenderNode, mode: EnergyMode) -> float:
        watts = self.node_power_profiles[self._get_node_type(node)][mode]
        return float(tariffs.watts_drawn(watts, node.power_efficiency_rating))

    def _prices(self) -> "PeakPrices":
        start, end = _seconds(self.peak_hours_start), _seconds(self.peak_hours_end)
        made: PeakPrices = tariffs.PeakPrices(start, end, self.peak_energy_cost, self.off_peak_energy_cost)
        return made

    # -- requirements --------------------------------------------------------------------------------------------

    def _get_node_type(self, node: RenderNode) -> str:
        """`gpu`, `memory` or `cpu`."""
        if node.capabilities.gpu_count > 0:
            return "gpu"
        return "memory" if node.capabilities.memory_gb >= MUCH_MEMORY_GB else "cpu"

    def _node_meets_requirements(self, job: RenderJob, node: RenderNode) -> bool:
        """Whether a node can hold a job, and the mode lets it run there at this hour."""
        if not can_hold(node, job):
            return False
        if self.current_energy_mode != EnergyMode.NIGHT_SAVINGS or self._is_night():
            return True
        return not self._is_energy_intensive(job)

    def _is_energy_intensive(self, job: RenderJob) -> bool:
        return bool(
            job.energy_intensive
            or job.scene_complexity >= COMPLEX
            or job.cpu_requirements >= MANY_CORES
            or (job.requires_gpu and job.memory_requirements_gb >= GPU_MEMORY_GB)
        )


COMPLEX, MANY_CORES, GPU_MEMORY_GB = 8, 16, 64
"""From here on a job needs much energy."""
MUCH_MEMORY_GB = 512
"""From here on a node without GPUs is one for memory."""
MEMORY_JOB_GB = 256
LEAST_RATING = 0.01
"""What a node without any efficiency is rated at, where something is divided by it."""


def _class_of(job: RenderJob) -> str:
    if job.requires_gpu:
        return "gpu"
    return "memory" if job.memory_requirements_gb >= MEMORY_JOB_GB else "cpu"


def _has_slack(job: RenderJob, at: datetime) -> bool:
    hours: float = (job.deadline - at).total_seconds() / 3600
    return hours > LEAST_SLACK * job.estimated_duration_hours


def _second_of_day(at: datetime) -> float:
    return at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1e6


def _seconds(at: time) -> int:
    return at.hour * 3600 + at.minute * 60 + at.second
