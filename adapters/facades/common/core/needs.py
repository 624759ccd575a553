"""Amounts of resources: what a job asks for, what there is, and what an owner holds."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field, field_validator

from adapters.facades.bridge import times
from common.core.base import BaseModel, id_field
from common.core.enums import ResourceType

Amounts = dict[ResourceType, float]


class ResourceRequirement(BaseModel):
    """So much of one resource."""

    resource_type: ResourceType
    amount: float
    unit: str = "unit"

    def __hash__(self) -> int:
        return hash((self.resource_type, self.amount, self.unit))


class Resource(BaseModel):
    """Something of which so much can be given out."""

    id: str = id_field("resource")
    resource_type: ResourceType
    capacity: float = Field(ge=0)
    allocated: float = 0.0
    unit: str = "unit"

    _KINDS: ClassVar[tuple[ResourceType, ...]] = tuple(ResourceType)

    @field_validator("resource_type")
    @classmethod
    def _of_this_kind(cls, value: ResourceType) -> ResourceType:
        if value not in cls._KINDS:
            raise ValueError(f"{value.value} is none of {', '.join(kind.value for kind in cls._KINDS)}")
        return value

    def available(self) -> float:
        """What is left, never below zero."""
        return max(0.0, self.capacity - self.allocated)

    def can_satisfy(self, requirement: ResourceRequirement) -> bool:
        """Whether so much of this type is left."""
        return requirement.resource_type == self.resource_type and requirement.amount <= self.available()


class ComputeResource(Resource):
    """Processors, GPUs, memory, or something special."""

    model: str | None = None

    _KINDS: ClassVar[tuple[ResourceType, ...]] = (
        ResourceType.CPU,
        ResourceType.GPU,
        ResourceType.MEMORY,
        ResourceType.SPECIALIZED,
    )


class StorageResource(Resource):
    """Disks and wires."""

    resource_type: ResourceType = ResourceType.STORAGE
    throughput_gbps: float = 0.0

    _KINDS: ClassVar[tuple[ResourceType, ...]] = (ResourceType.STORAGE, ResourceType.NETWORK)


class ResourceAllocation:
    """What one owner has: its own, what others lent it, and what it lent to others."""

    def __init__(
        self,
        owner_id: str,
        resources: Mapping[ResourceType, float],
        nodes: list[str] | None = None,
        borrowed: dict[str, Amounts] | None = None,
        lent: dict[str, Amounts] | None = None,
    ) -> None:
        self.owner_id = owner_id
        self.resources: Amounts = dict(resources)
        self.nodes = nodes if nodes is not None else []
        self.borrowed = borrowed if borrowed is not None else {}
        self.lent = lent if lent is not None else {}
        self.start_time: datetime = times.now()
        self.end_time: datetime | None = None
        self.utilization: Amounts = {}

    def total_allocated(self, resource_type: ResourceType) -> float:
        """Own and borrowed, less what is lent; never below zero."""
        return max(
            0.0,
            self.resources.get(resource_type, 0.0)
            + self._sum(self.borrowed, resource_type)
            - self._sum(self.lent, resource_type),
        )

    @staticmethod
    def _sum(ledger: Mapping[str, Mapping[ResourceType, float]], resource_type: ResourceType) -> float:
        return sum(amounts.get(resource_type, 0.0) for amounts in ledger.values())

    def is_overallocated(self, resource_type: ResourceType, limit: float) -> bool:
        """Whether it is more than a limit."""
        return self.total_allocated(resource_type) > limit

    def can_borrow(self, resource_type: ResourceType, amount: float, limit: float) -> bool:
        """Whether so much more stays within a limit."""
        return self.total_allocated(resource_type) + amount <= limit

    def borrow_from(self, owner_id: str, resource_type: ResourceType, amount: float) -> None:
        """Adds to what an owner lent to this one."""
        _add(self.borrowed, owner_id, resource_type, amount)

    def lend_to(self, owner_id: str, resource_type: ResourceType, amount: float) -> None:
        """Adds to what this one lent to an owner."""
        _add(self.lent, owner_id, resource_type, amount)

    def update_utilization(self, resource_type: ResourceType, amount: float) -> None:
        """Notes how much is in use."""
        self.utilization[resource_type] = amount

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values: types as text, times in ISO form."""
        return {
            "owner_id": self.owner_id,
            "resources": plain(self.resources),
            "nodes": list(self.nodes),
            "borrowed": {owner: plain(amounts) for owner, amounts in self.borrowed.items()},
            "lent": {owner: plain(amounts) for owner, amounts in self.lent.items()},
            "start_time": self.start_time.isoformat(),
            "end_time": self.end_time.isoformat() if self.end_time else None,
            "utilization": plain(self.utilization),
        }


def _add(ledger: dict[str, Amounts], owner_id: str, resource_type: ResourceType, amount: float) -> None:
    amounts = ledger.setdefault(owner_id, {})
    amounts[resource_type] = amounts.get(resource_type, 0.0) + amount


def plain(amounts: Mapping[Any, float]) -> dict[str, float]:
    """Amounts by the text of their type."""
    return {str(getattr(kind, "value", kind)): amount for kind, amount in amounts.items()}


def read_amounts(amounts: Mapping[Any, float]) -> Amounts:
    """Amounts whose types may be given as text; types that nobody knows are left out."""
    known = {kind.value for kind in ResourceType}
    texts = plain(amounts)
    return {ResourceType(text): amount for text, amount in texts.items() if text in known}


def read_requirements(entries: Iterable[Any]) -> list[ResourceRequirement]:
    """Requirements, also those given as dicts with `resource_type` and `amount`; anything else is skipped."""
    found: list[ResourceRequirement] = []
    for entry in entries:
        if isinstance(entry, Mapping) and "resource_type" in entry and "amount" in entry:
            found.append(ResourceRequirement(**{str(key): value for key, value in entry.items()}))
        elif hasattr(entry, "resource_type") and hasattr(entry, "amount"):
            found.append(entry)
    return found


def summed(requirements: Iterable[ResourceRequirement]) -> Amounts:
    """How much of each type all requirements ask for together."""
    total: Amounts = {}
    for each in requirements:
        kind = ResourceType(each.resource_type)
        total[kind] = total.get(kind, 0.0) + each.amount
    return total
