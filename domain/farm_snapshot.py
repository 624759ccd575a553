"""The farm as one value: what a farm snapshot stores, and what a client's live attempts hold."""

from typing import Generic, TypeVar

import msgspec

from domain.client import Client
from domain.decisions import Blocked, Reserved
from domain.dependency import Dependency
from domain.forecasting.promises import PromisesState
from domain.indices.performance import PerformanceState
from domain.indices.usage import UsageState
from domain.job.values import Job, JobStatus
from domain.messages import JobId, NodeId, StreamId, Value, WorkflowId
from domain.node import Node
from domain.partition import Partition
from domain.policies import Policies
from domain.reservation import Reservation
from domain.resources import Resources
from domain.workflow import Workflow

State = TypeVar("State")


class Versioned(msgspec.Struct, Generic[State], frozen=True, gc=False, array_like=True):
    """A state with the version of its stream."""

    version: int
    state: State


class FarmSnapshot(Value, frozen=True):
    """All live states at one log position. A cache of the log, never more."""

    position: int
    now_ms: int
    jobs: tuple[Versioned[Job], ...] = ()
    nodes: tuple[Versioned[Node], ...] = ()
    clients: tuple[Versioned[Client], ...] = ()
    workflows: tuple[Versioned[Workflow], ...] = ()
    dependencies: tuple[Versioned[Dependency], ...] = ()
    policies: Policies = Policies()
    cycle_day: StreamId = ""
    blocked: tuple[Blocked, ...] = ()
    blocked_ms: dict[str, int] = {}
    reserved: tuple[Reserved, ...] = ()
    promises: PromisesState = PromisesState()
    performance: PerformanceState = PerformanceState()
    idle_from_ms: int | None = None
    idle_since_ms: dict[NodeId, int] = {}
    outcomes: dict[WorkflowId, dict[JobId, JobStatus]] = {}
    other_versions: dict[StreamId, int] = {}
    usage: UsageState = UsageState()
    partitions: tuple[Versioned[Partition], ...] = ()
    reservations: tuple[Versioned[Reservation], ...] = ()


class ClientUse:
    """What one client's live attempts hold."""

    __slots__ = ("gpus", "millicores", "tasks")

    def __init__(self) -> None:
        self.millicores = 0
        self.gpus = 0
        self.tasks = 0

    def add(self, per_slot: Resources, slots: int, tasks: int) -> None:
        """Counts tasks in (or out, when negative)."""
        self.millicores += per_slot.millicores * slots * tasks
        self.gpus += per_slot.gpus * slots * tasks
        self.tasks += tasks

    def copy(self) -> "ClientUse":
        """An independent copy."""
        twin = ClientUse()
        twin.millicores, twin.gpus, twin.tasks = self.millicores, self.gpus, self.tasks
        return twin
