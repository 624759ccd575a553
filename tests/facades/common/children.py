"""Models of a package for simulations, as §4.7 says that they extend the common ones."""

from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar

from pydantic import Field

from common import BaseJob, BaseNode, JobStatus, NodeStatus, ResourceRequirement
from common.core.needs import summed


class SimulationStatus(str, Enum):
    """Where a simulation stands."""

    DEFINED = "defined"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"


class SimulationPriority(str, Enum):
    """How urgent a simulation is."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    BACKGROUND = "background"


class StageStatus(str, Enum):
    """Where a stage stands."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"


class SimulationStage(BaseJob):
    """A part of a simulation."""

    priority: ClassVar[Any]  # type: ignore[misc]
    submission_time: ClassVar[Any]  # type: ignore[misc]
    assigned_node_id: ClassVar[Any]  # type: ignore[misc]
    error_count: ClassVar[Any]  # type: ignore[misc]
    owner: ClassVar[Any]  # type: ignore[misc]
    project: ClassVar[Any]  # type: ignore[misc]
    tags: ClassVar[Any]  # type: ignore[misc]
    metadata: ClassVar[Any]  # type: ignore[misc]

    status: StageStatus = StageStatus.PENDING  # type: ignore[assignment]
    progress: float = 0.0
    estimated_duration: timedelta

    def get_progress(self) -> float:
        return self.progress * 100


class Simulation(BaseJob):
    """Work of several stages."""

    submission_time: ClassVar[Any]  # type: ignore[misc]
    estimated_duration: ClassVar[Any]  # type: ignore[misc]
    resource_requirements: ClassVar[Any]  # type: ignore[misc]
    dependencies: ClassVar[Any]  # type: ignore[misc]
    assigned_node_id: ClassVar[Any]  # type: ignore[misc]
    error_count: ClassVar[Any]  # type: ignore[misc]
    progress: ClassVar[Any]  # type: ignore[misc]

    stages: dict[str, SimulationStage]
    status: SimulationStatus = SimulationStatus.DEFINED  # type: ignore[assignment]
    priority: SimulationPriority = SimulationPriority.MEDIUM  # type: ignore[assignment]
    creation_time: datetime = Field(default_factory=datetime.now)
    owner: str = "default_owner"
    project: str = "default_project"
    metadata: dict[str, str | int | float | bool] = Field(default_factory=dict)
    estimated_total_duration: timedelta = timedelta(days=1)

    def total_progress(self) -> float:
        """The mean of the stages' progress, 0 to 1."""
        return sum(stage.progress for stage in self.stages.values()) / len(self.stages) if self.stages else 0.0

    def get_progress(self) -> float:
        return 100 * self.total_progress()

    def get_requirements(self) -> list[ResourceRequirement]:
        total = summed(each for stage in self.stages.values() for each in stage.get_requirements())
        return [ResourceRequirement(resource_type=kind, amount=amount) for kind, amount in total.items()]

    def get_estimated_duration(self) -> timedelta:
        return self.estimated_total_duration

    def get_submission_time(self) -> datetime:
        return self.creation_time

    def get_dependencies(self) -> list[str]:
        return [each.strip() for each in str(self.metadata.get("dependencies", "")).split(",") if each.strip()]


class ClusterStatus(str, Enum):
    """Where a compute node stands."""

    ONLINE = "online"
    OFFLINE = "offline"
    MAINTENANCE = "maintenance"
    RESERVED = "reserved"


class ComputeNode(BaseNode):
    """A node of a cluster."""

    resources: ClassVar[Any]  # type: ignore[misc]
    current_job_id: ClassVar[Any]  # type: ignore[misc]
    assigned_jobs: ClassVar[Any]  # type: ignore[misc]
    last_error: ClassVar[Any]  # type: ignore[misc]
    uptime_hours: ClassVar[Any]  # type: ignore[misc]

    status: ClusterStatus = ClusterStatus.ONLINE  # type: ignore[assignment]
    cpu_cores: int
    assigned_simulations: list[str] = Field(default_factory=list)

    def get_assigned_jobs(self) -> list[str]:
        return self.assigned_simulations

    def is_available(self) -> bool:
        return self.get_status() is NodeStatus.ONLINE and len(self.assigned_simulations) < self.cpu_cores


ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
