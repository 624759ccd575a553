"""What the parts of a farm implement, as children of the common interfaces."""

from abc import abstractmethod
from datetime import datetime
from typing import Any

from common.core.interfaces import Interface
from common.core.interfaces import ResourceManagerInterface as CommonResourceManagerInterface
from common.core.interfaces import SchedulerInterface as CommonSchedulerInterface
from render_farm_manager.core.models import (
    AuditLogEntry,
    Client,
    ProgressiveOutputConfig,
    RenderJob,
    RenderNode,
    ResourceAllocation,
)


class SchedulerInterface(CommonSchedulerInterface):
    """Decides which job goes where."""

    @abstractmethod
    def schedule_jobs(self, jobs: list[RenderJob], nodes: list[RenderNode]) -> dict[str, str]:
        """Job id → node id for those that shall start now."""

    @abstractmethod
    def update_priorities(self, jobs: list[RenderJob]) -> list[RenderJob]:
        """Raises what is urgent; the same objects in the same order."""

    @abstractmethod
    def can_meet_deadline(self, job: RenderJob, available_nodes: list[RenderNode]) -> bool:
        """Whether a job can end in time on one of these nodes."""

    @abstractmethod
    def should_preempt(self, running_job: RenderJob, pending_job: RenderJob) -> bool:
        """Whether the running job shall give way to the pending one."""


class ResourceManagerInterface(CommonResourceManagerInterface):
    """Divides the farm among clients."""

    @abstractmethod
    def allocate_resources(self, clients: list[Client], nodes: list[RenderNode]) -> dict[str, ResourceAllocation]:
        """What each client gets, by its id."""

    @abstractmethod
    def can_borrow_resources(self, from_client: Client, to_client: Client, amount: float) -> bool:  # type: ignore[override]
        """Whether one client may use so many percent of the farm that are another's."""

    @abstractmethod
    def calculate_resource_usage(self, client_id: str, jobs: list[RenderJob], nodes: list[RenderNode]) -> float:
        """How much of the farm a client uses, in percent."""


class NodeSpecializationInterface(Interface):
    """Knows which nodes suit which kind of job."""

    @abstractmethod
    def match_job_to_node(self, job: RenderJob, nodes: list[RenderNode]) -> str | None:
        """The id of the node that suits a job best; None if none does."""

    @abstractmethod
    def calculate_performance_score(self, job: RenderJob, node: RenderNode) -> float:
        """How well a node suits a job; higher is better."""

    @abstractmethod
    def update_performance_history(
        self, job: RenderJob, node: RenderNode, performance_metrics: dict[str, float]
    ) -> None:
        """Learns from how a job ran on a node."""


class ProgressiveResultInterface(Interface):
    """Shows results before they are finished."""

    @abstractmethod
    def schedule_progressive_output(self, job: RenderJob, config: ProgressiveOutputConfig) -> list[datetime]:
        """When unfinished results of a job shall be shown."""

    @abstractmethod
    def generate_progressive_output(self, job: RenderJob, quality_level: int) -> str:
        """The path of what is shown now."""

    @abstractmethod
    def estimate_overhead(self, job: RenderJob, config: ProgressiveOutputConfig) -> float:
        """What showing it costs, in percent."""


class EnergyOptimizationInterface(Interface):
    """Places jobs where and when energy is cheap."""

    @abstractmethod
    def optimize_energy_usage(self, jobs: list[RenderJob], nodes: list[RenderNode]) -> dict[str, str]:
        """Job id → node id."""

    @abstractmethod
    def calculate_energy_cost(self, job: RenderJob, node: RenderNode, start_time: datetime) -> float:
        """What a job costs on a node."""

    @abstractmethod
    def get_time_of_day_energy_price(self, time: datetime) -> float:
        """The price of a kWh at that time."""


class AuditInterface(Interface):
    """Remembers what happened, for people."""

    @abstractmethod
    def log_event(self, event_type: str, description: str, **details: Any) -> AuditLogEntry:
        """Enters something that happened."""

    @abstractmethod
    def get_job_history(self, job_id: str) -> list[AuditLogEntry]:
        """What happened to a job."""

    @abstractmethod
    def get_node_history(self, node_id: str) -> list[AuditLogEntry]:
        """What happened to a node."""
