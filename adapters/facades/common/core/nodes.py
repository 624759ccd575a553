"""Nodes as callers hold them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import Field

from common.core.base import BaseModel, id_field
from common.core.enums import NodeStatus, ResourceType
from common.core.needs import Amounts, ResourceRequirement, read_amounts, summed
from common.core.ranks import word_of

_STATUSES = {status.value: status for status in NodeStatus} | {"reserved": NodeStatus.ONLINE}
_FIELDS = {
    ResourceType.CPU: "cpu_cores",
    ResourceType.MEMORY: "memory_gb",
    ResourceType.GPU: "gpu_count",
    ResourceType.STORAGE: "storage_gb",
    ResourceType.NETWORK: "network_bandwidth_gbps",
}


class BaseNode(BaseModel):
    """A machine that runs jobs."""

    id: str = id_field("node")
    name: str
    status: NodeStatus = NodeStatus.ONLINE
    current_job_id: str | None = None
    resources: dict[ResourceType, float] = Field(default_factory=dict)
    """Amounts that go before those of the fields below, and the only place of further types."""
    cpu_cores: int = Field(default=0, ge=0)
    memory_gb: float = Field(default=0.0, ge=0)
    storage_gb: float = Field(default=0.0, ge=0)
    gpu_count: int = Field(default=0, ge=0)
    network_bandwidth_gbps: float = Field(default=1.0, ge=0)
    current_load: dict[ResourceType, float] = Field(default_factory=dict)
    assigned_jobs: list[str] = Field(default_factory=list)
    last_failure_time: datetime | None = None
    last_error: str | None = None
    uptime_hours: float = Field(default=0.0, ge=0)

    def get_capacity(self) -> Amounts:
        """How much it has of each type."""
        capacity = {kind: float(getattr(self, name, 0.0)) for kind, name in _FIELDS.items()}
        return capacity | read_amounts(getattr(self, "resources", {}))

    def get_available_resources(self) -> Amounts:
        """What its load leaves of each type that it has."""
        load = read_amounts(getattr(self, "current_load", {}))
        return {kind: amount - load.get(kind, 0.0) for kind, amount in self.get_capacity().items()}

    def is_available(self) -> bool:
        """Whether it is online, has no job of its own, and fewer assigned jobs than processors, if it counts them."""
        if self.get_status() is not NodeStatus.ONLINE or getattr(self, "current_job_id", None) is not None:
            return False
        cores = getattr(self, "cpu_cores", 0)
        return not cores or len(getattr(self, "assigned_jobs", ())) < cores

    def is_busy(self) -> bool:
        """Whether it is online and has something to do."""
        return self.get_status() is NodeStatus.ONLINE and bool(self.get_assigned_jobs())

    def can_satisfy_requirements(self, requirements: list[ResourceRequirement]) -> bool:
        """Whether it could ever hold all of this."""
        return _covers(self.get_capacity(), requirements)

    def can_accommodate(self, requirements: list[ResourceRequirement]) -> bool:
        """Whether it can hold all of this beside its load."""
        return _covers(self.get_available_resources(), requirements)

    # -- readers -------------------------------------------------------------------------------------------------

    def get_status(self) -> NodeStatus:
        """Where it stands, in the words of this library; a reserved node is online, an unknown word is ERROR."""
        return _STATUSES.get(word_of(getattr(self, "status", NodeStatus.ONLINE)), NodeStatus.ERROR)

    def get_assigned_jobs(self) -> list[str]:
        """The ids of the jobs on it."""
        jobs: list[str] = list(getattr(self, "assigned_jobs", ()))
        current = getattr(self, "current_job_id", None)
        return jobs if current is None or current in jobs else [*jobs, current]

    def get_efficiency(self) -> float | None:
        """How well it turns energy into work; None if nobody rated it."""
        rating: Any = getattr(self, "power_efficiency_rating", None)
        return None if rating is None else float(rating)


def _covers(available: Amounts, requirements: Iterable[ResourceRequirement]) -> bool:
    """Requirements of one type add up; nothing of a type is covered by any node."""
    return all(amount <= available.get(kind, 0.0) for kind, amount in summed(requirements).items())
