"""What packages implement and generic code calls.

Parameters of abstract methods are positional, so that a package may give them names of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from common.core.base import AuditLogEntry, Result
from common.core.enums import CheckpointType, DependencyType, LogLevel
from common.core.jobs import Checkpoint

_LEVELS = {level.value: level for level in LogLevel}


class Interface(ABC):  # noqa: B024 (the root names a family; its children say what is abstract)
    """The root of all interfaces."""


class SchedulerInterface(Interface):
    """Decides which job goes where."""

    @abstractmethod
    def schedule_jobs(self, jobs: list[Any], nodes: list[Any], /) -> dict[str, str]:
        """Which node each job shall get: job id → node id; jobs that wait are absent."""

    @abstractmethod
    def update_priorities(self, jobs: list[Any], /) -> list[Any]:
        """Raises what is urgent; the same objects in the same order."""

    @abstractmethod
    def can_meet_deadline(self, job: Any, available_nodes: list[Any], /) -> bool:
        """Whether a job can end in time on one of these nodes."""

    @abstractmethod
    def should_preempt(self, running_job: Any, pending_job: Any, /) -> bool:
        """Whether the running job shall give way to the pending one."""


class ResourceManagerInterface(Interface):
    """Divides what there is among owners."""

    @abstractmethod
    def allocate_resources(self, owners: Any, nodes: Any, /) -> Any:
        """What each owner gets: owner id → allocation."""

    @abstractmethod
    def can_borrow_resources(self, from_owner: str, to_owner: str, amounts: Any, /) -> bool:
        """Whether one owner may use so much of another's share."""

    @abstractmethod
    def calculate_resource_usage(self, owner_id: str, jobs: list[Any], nodes: list[Any], /) -> Any:
        """How much of its share an owner uses, in percent: one number, or one for each type."""


class ResourceForecastingInterface(ResourceManagerInterface):
    """Predicts use; it allocates nothing."""

    @abstractmethod
    def generate_forecast(self, *args: Any, **kwargs: Any) -> Any:
        """Predicted use over a span of time."""

    @abstractmethod
    def train_model(self, *args: Any, **kwargs: Any) -> Any:
        """Learns from what was measured."""

    @abstractmethod
    def evaluate_accuracy(self, *args: Any, **kwargs: Any) -> Any:
        """How far predictions were off."""

    def allocate_resources(self, owners: Any, nodes: Any, /) -> dict[str, Any]:
        """Nothing: a forecast gives out no resources."""
        return {}

    def can_borrow_resources(self, from_owner: str, to_owner: str, amounts: Any, /) -> bool:
        """Never: a forecast lends nothing."""
        return False

    def calculate_resource_usage(self, owner_id: str, jobs: list[Any], nodes: list[Any], /) -> Any:
        """Nothing: a forecast measures no use."""
        return {}


class DependencyTrackerInterface(Interface):
    """Knows what waits for what."""

    @abstractmethod
    def register_dependency(
        self,
        from_job_id: str,
        to_job_id: str,
        dependency_type: Any = DependencyType.SEQUENTIAL,
        condition: str | None = None,
        /,
    ) -> "Result[bool]":
        """Lets the second wait for the first."""

    @abstractmethod
    def check_dependency(self, from_job_id: str, to_job_id: str, /) -> "Result[bool]":
        """Whether the second need no longer wait for the first."""

    @abstractmethod
    def get_dependencies(self, job_id: str, as_source: bool = False, /) -> Any:
        """What a job waits for, or with `as_source` what waits for it."""

    @abstractmethod
    def has_cycle(self) -> "Result[list[str] | None]":
        """The ids of jobs that wait for each other, the first repeated at the end; None if there are none."""


class CheckpointManagerInterface(Interface):
    """Saves and restores jobs."""

    @abstractmethod
    def create_checkpoint(
        self, job: Any, checkpoint_type: Any = CheckpointType.FULL, metadata: dict[str, Any] | None = None, /
    ) -> Any:
        """Saves a job as it stands."""

    @abstractmethod
    def restore_checkpoint(self, checkpoint_id: str, /) -> Any:
        """What was saved."""

    @abstractmethod
    def list_checkpoints(self, job_id: str, /) -> list[Checkpoint]:
        """The checkpoints of a job."""

    def get_latest_checkpoint(self, job_id: str) -> Any:
        """The newest checkpoint of a job; None if there is none."""
        known = self.list_checkpoints(job_id)
        return max(known, key=lambda each: each.creation_time, default=None)

    def delete_checkpoint(self, checkpoint_id: str) -> "Result[bool]":
        """Not supported, unless a child says otherwise."""
        return Result.err(f"deleting checkpoint {checkpoint_id!r} is not supported")


class AuditLogInterface(Interface):
    """Remembers what happened, for people."""

    @abstractmethod
    def log_event(self, event_type: str, description: str, /, **details: Any) -> AuditLogEntry:
        """Enters something that happened; a child stores what `entry_of` makes of it."""
        return entry_of(event_type, description, details)

    @abstractmethod
    def get_events(
        self,
        job_id: str | None = None,
        node_id: str | None = None,
        owner_id: str | None = None,
        event_type: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> Sequence[AuditLogEntry]:
        """The entries, in the order of the log, for which every filter that is given holds; times inclusive."""

    def get_job_history(self, job_id: str) -> Sequence[AuditLogEntry]:
        """What happened to a job."""
        return self.get_events(job_id=job_id)

    def get_node_history(self, node_id: str) -> Sequence[AuditLogEntry]:
        """What happened to a node."""
        return self.get_events(node_id=node_id)


def entry_of(event_type: str, description: str, details: Mapping[str, Any]) -> AuditLogEntry:
    """An entry with level, job, node and owner lifted out of the details, which keep them."""
    level = details.get("level", details.get("log_level"))
    return AuditLogEntry(
        event_type=event_type,
        description=description,
        level=_LEVELS.get(str(getattr(level, "value", level)).lower(), LogLevel.INFO),
        job_id=details.get("job_id"),
        node_id=details.get("node_id"),
        owner_id=next((details[key] for key in ("owner_id", "user_id", "client_id") if key in details), None),
        details=dict(details),
    )


def matching(
    entries: Sequence[AuditLogEntry],
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    **wanted: str | None,
) -> list[AuditLogEntry]:
    """The entries that lie between two times and have the wanted value in each named field."""
    return [
        entry
        for entry in entries
        if (start_time is None or entry.timestamp >= start_time)
        and (end_time is None or entry.timestamp <= end_time)
        and all(value is None or getattr(entry, name, None) == value for name, value in wanted.items())
    ]


__all__ = [
    "AuditLogInterface",
    "CheckpointManagerInterface",
    "DependencyTrackerInterface",
    "Interface",
    "ResourceForecastingInterface",
    "ResourceManagerInterface",
    "SchedulerInterface",
]
