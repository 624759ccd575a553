"""The models of the render farm: what callers construct, subclass and change, as children of the common models.

Every model declares all fields of its own and drops those of its base that it does not have (`ClassVar`), so that
names, defaults and errors are the render farm's. Construction is validated, assignment is not.
"""

from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from pydantic import Field

from adapters.facades.bridge.wallclock import now
from common.core.base import AuditLogEntry as CommonAuditLogEntry
from common.core.base import BaseModel
from common.core.enums import ResourceType
from common.core.jobs import BaseJob, Checkpoint
from common.core.needs import ResourceRequirement
from common.core.nodes import BaseNode
from render_farm_manager.core.enums import (
    EnergyMode,
    JobPriority,
    LogLevel,
    NodeStatus,
    NodeType,
    RenderJobStatus,
    ServiceTier,
)

__all__ = [
    "AuditLogEntry",
    "Client",
    "EnergyMode",
    "JobPriority",
    "LogLevel",
    "NodeCapabilities",
    "NodeStatus",
    "NodeType",
    "PerformanceMetrics",
    "ProgressiveOutputConfig",
    "RenderCheckpoint",
    "RenderClient",
    "RenderJob",
    "RenderJobStatus",
    "RenderNode",
    "ResourceAllocation",
    "ServiceTier",
]


class Copied(BaseModel):
    """Models whose copies are new, re-validated, and share nothing with the original."""

    def model_copy(self, **kwargs: Any) -> Self:
        """A deep copy with these fields changed; unknown names, `update` among them, are ignored."""
        return type(self)(**{**self.model_dump(warnings=False), **kwargs})

    def copy(self, **kwargs: Any) -> Self:
        """The same as `model_copy`."""
        return self.model_copy(**kwargs)


class NodeCapabilities(BaseModel):
    """What a node has; callers change it in place, and later decisions follow."""

    cpu_cores: int = Field(gt=0)
    memory_gb: int = Field(gt=0)
    gpu_model: str | None = None
    gpu_count: int = Field(default=0, ge=0)
    gpu_memory_gb: float = Field(default=0, ge=0)
    gpu_compute_capability: float = Field(default=0, ge=0)
    storage_gb: int = Field(gt=0)
    specialized_for: list[str] = []


class RenderNode(Copied, BaseNode):
    """A machine that renders one job at a time."""

    id: str
    name: str
    status: str  # type: ignore[assignment]
    """Any word; those of `NodeStatus` are known."""
    capabilities: NodeCapabilities
    power_efficiency_rating: float = Field(ge=0, le=100)
    current_job_id: str | None = None
    performance_history: dict[str, float] = {}
    last_error: str | None = None
    uptime_hours: float = Field(default=0, ge=0)

    resources: ClassVar[Any]  # type: ignore[misc]
    cpu_cores: ClassVar[Any]  # type: ignore[misc]
    memory_gb: ClassVar[Any]  # type: ignore[misc]
    storage_gb: ClassVar[Any]  # type: ignore[misc]
    gpu_count: ClassVar[Any]  # type: ignore[misc]
    network_bandwidth_gbps: ClassVar[Any]  # type: ignore[misc]
    current_load: ClassVar[Any]  # type: ignore[misc]
    assigned_jobs: ClassVar[Any]  # type: ignore[misc]
    last_failure_time: ClassVar[Any]  # type: ignore[misc]

    def get_capacity(self) -> dict[ResourceType, float]:
        """How much it has of each type."""
        has = self.capabilities
        return {
            ResourceType.CPU: float(has.cpu_cores),
            ResourceType.MEMORY: float(has.memory_gb),
            ResourceType.GPU: float(has.gpu_count),
            ResourceType.STORAGE: float(has.storage_gb),
        }

    def get_available_resources(self) -> dict[ResourceType, float]:
        """All of it while it is free, nothing while it runs a job."""
        capacity = self.get_capacity()
        return capacity if self.current_job_id is None else dict.fromkeys(capacity, 0.0)


class RenderJob(Copied, BaseJob):
    """One job of a client, with a deadline."""

    id: str
    name: str
    client_id: str
    status: RenderJobStatus = RenderJobStatus.PENDING  # type: ignore[assignment]
    job_type: str
    priority: JobPriority  # type: ignore[assignment]
    submission_time: datetime
    deadline: datetime
    estimated_duration_hours: float = Field(gt=0)
    progress: float = Field(default=0.0, ge=0, le=100)
    """In percent."""
    requires_gpu: bool = False
    memory_requirements_gb: int = Field(gt=0)
    cpu_requirements: int = Field(gt=0)
    scene_complexity: int = Field(ge=1, le=10)
    dependencies: list[str] = []  # type: ignore[assignment]
    """Ids of jobs that come before this one."""
    assigned_node_id: str | None = None
    output_path: str
    error_count: int = Field(default=0, ge=0)
    can_be_preempted: bool = True
    supports_progressive_output: bool = False
    supports_checkpoint: bool = False
    last_checkpoint_time: datetime | None = None
    last_progressive_output_time: datetime | None = None
    energy_intensive: bool = False

    start_time: ClassVar[Any]  # type: ignore[misc]
    end_time: ClassVar[Any]  # type: ignore[misc]
    estimated_duration: ClassVar[Any]  # type: ignore[misc]
    resource_requirements: ClassVar[Any]  # type: ignore[misc]
    owner: ClassVar[Any]  # type: ignore[misc]
    project: ClassVar[Any]  # type: ignore[misc]
    tags: ClassVar[Any]  # type: ignore[misc]
    metadata: ClassVar[Any]  # type: ignore[misc]

    def get_owner(self) -> str:
        """Whose it is."""
        return self.client_id

    def get_project(self) -> str:
        """What sort of job it is."""
        return self.job_type

    def get_dependencies(self) -> list[str]:
        """The ids that it waits for, in the caller's order."""
        return list(self.dependencies)

    def get_requirements(self) -> list[ResourceRequirement]:
        """Cores, memory, and a GPU if it needs one."""
        needs = {ResourceType.CPU: self.cpu_requirements, ResourceType.MEMORY: self.memory_requirements_gb}
        if self.requires_gpu:
            needs[ResourceType.GPU] = 1
        return [ResourceRequirement(resource_type=kind, amount=amount) for kind, amount in needs.items()]

    def get_estimated_duration(self) -> timedelta | None:
        """How long it is expected to run."""
        return timedelta(hours=self.estimated_duration_hours)


class RenderCheckpoint(Checkpoint):
    """Saved state of a render job."""

    frame_range: str | None = None
    """Which frames it covers, such as `1-40`."""
    progress: float = 0.0
    """In percent."""


class Client(BaseModel):
    """Who owns jobs."""

    id: str
    name: str
    sla_tier: str
    """Any text, usually premium, standard or basic."""
    guaranteed_resources: int = Field(ge=0)
    """Percent of the farm."""
    max_resources: int = Field(ge=0)
    """Percent of the farm."""


class RenderClient(Copied):
    """Who owns jobs, by other names; accepted wherever a `Client` is."""

    client_id: str
    name: str
    service_tier: ServiceTier
    guaranteed_resources: int = Field(default=0, ge=0)
    max_resources: int = Field(default=100, ge=0)

    @property
    def id(self) -> str:
        """The same as `client_id`."""
        return self.client_id

    @property
    def sla_tier(self) -> ServiceTier:
        """The same as `service_tier`. Quirk: a member here, a plain text on `Client`."""
        return self.service_tier


class ProgressiveOutputConfig(BaseModel):
    """How often unfinished pictures are shown, and how good they are."""

    enabled: bool = True
    interval_minutes: int = Field(default=30, gt=0)
    quality_levels: list[int] = [25, 50, 75]
    max_overhead_percentage: float = Field(default=5.0, ge=0, le=100)


class ResourceAllocation(BaseModel):
    """What a client has of the farm, in percent and in nodes."""

    client_id: str
    allocated_percentage: float = Field(ge=0, le=100)
    """What is borrowed is added to it later, beyond 100 too."""
    allocated_nodes: list[str] = []
    borrowed_percentage: float = Field(default=0, ge=0)
    borrowed_from: dict[str, float] = {}
    lent_percentage: float = Field(default=0, ge=0)
    lent_to: dict[str, float] = {}


class PerformanceMetrics(BaseModel):
    """How the farm does."""

    total_jobs_completed: int = 0
    jobs_completed_on_time: int = 0
    average_utilization_percentage: float = 0
    average_node_idle_percentage: float = 0
    energy_usage_kwh: float = 0
    average_job_turnaround_hours: float = 0
    preemptions_count: int = 0
    node_failures_count: int = 0
    optimization_improvement_percentage: float = 0


class AuditLogEntry(CommonAuditLogEntry):
    """One thing that happened, told for people."""

    timestamp: datetime = Field(default_factory=now)
    event_type: str
    job_id: str | None = None
    node_id: str | None = None
    client_id: str | None = None
    description: str
    details: dict[str, Any] = {}

    id: ClassVar[Any]  # type: ignore[misc]
    owner_id: ClassVar[Any]  # type: ignore[misc]
    level: ClassVar[Any]  # type: ignore[misc]

    @property
    def user_id(self) -> str | None:
        """Whose work it was about."""
        return self.client_id
