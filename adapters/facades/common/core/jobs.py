"""Jobs, dependencies and checkpoints as callers hold them."""

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field, field_validator

from adapters.facades.bridge import times
from common.core.base import BaseModel, id_field
from common.core.enums import CheckpointStatus, CheckpointType, DependencyState, DependencyType, JobStatus, Priority
from common.core.needs import ResourceRequirement, read_requirements
from common.core.ranks import TERMINAL, status_of, word_of


class BaseJob(BaseModel):
    """Something to run. Managers look at it only through its readers (`get_…`), which a child may override."""

    id: str = id_field("job")
    name: str
    status: JobStatus = JobStatus.PENDING
    priority: Priority = Priority.MEDIUM
    submission_time: datetime = Field(default_factory=times.now)
    start_time: datetime | None = None
    end_time: datetime | None = None
    estimated_duration: timedelta | None = None
    progress: float = Field(default=0.0, ge=0, le=100)
    """In percent; the limits are those of the constructor."""
    resource_requirements: list[ResourceRequirement] = Field(default_factory=list)
    dependencies: set[str] = Field(default_factory=set)
    """Ids of jobs that come before this one."""
    assigned_node_id: str | None = None
    error_count: int = 0
    owner: str = "default"
    project: str = "default"
    tags: list[str] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)

    def is_active(self) -> bool:
        """Whether it runs or is queued."""
        return self.get_status() in (JobStatus.RUNNING, JobStatus.QUEUED)

    def is_complete(self) -> bool:
        """Whether it has ended, well or not."""
        return word_of(getattr(self, "status", "")) in TERMINAL

    def get_duration(self) -> timedelta | None:
        """How long it ran, up to now if it still does; None before it started."""
        start: datetime | None = getattr(self, "start_time", None)
        if start is None:
            return None
        return (getattr(self, "end_time", None) or times.now()) - start

    def can_run(self, dependencies_completed: set[str]) -> bool:
        """Whether every job that it waits for is in the set."""
        return all(before in dependencies_completed for before in self.get_dependencies())

    # -- readers -------------------------------------------------------------------------------------------------

    def get_status(self) -> JobStatus:
        """Where it stands, in the words of this library; unknown words read as PENDING."""
        return status_of(getattr(self, "status", JobStatus.PENDING))

    def get_priority(self) -> Any:
        """How urgent it is, as a member of its own enum."""
        return getattr(self, "priority", Priority.MEDIUM)

    def get_progress(self) -> float:
        """How far it is, in percent."""
        return float(getattr(self, "progress", 0.0))

    def get_owner(self) -> str:
        """Whose it is."""
        return str(getattr(self, "owner", "default"))

    def get_project(self) -> str:
        """What it belongs to."""
        return str(getattr(self, "project", "default"))

    def get_dependencies(self) -> list[str]:
        """The ids that it waits for, sorted."""
        return sorted(getattr(self, "dependencies", ()))

    def get_requirements(self) -> list[ResourceRequirement]:
        """What it needs."""
        return read_requirements(getattr(self, "resource_requirements", ()))

    def get_estimated_duration(self) -> timedelta | None:
        """How long it is expected to run; None if nobody knows."""
        known: timedelta | None = getattr(self, "estimated_duration", None)
        return known

    def get_deadline(self) -> datetime | None:
        """When it must have ended; None if there is no such time."""
        known: datetime | None = getattr(self, "deadline", None)
        return known

    def get_submission_time(self) -> datetime:
        """When it was handed in."""
        known: datetime | None = getattr(self, "submission_time", None)
        return known or times.local(0)

    def is_preemptible(self) -> bool:
        """Whether it may be asked to give way."""
        return bool(getattr(self, "can_be_preempted", True))


class Dependency(BaseModel):
    """One thing waits for another. What a graph hands out is live: changing it changes the graph's answer."""

    from_id: str
    to_id: str
    dependency_type: DependencyType | str = Field(default=DependencyType.SEQUENTIAL, union_mode="left_to_right")
    """One of the five, or the name under which a caller registered another type."""
    state: DependencyState = DependencyState.PENDING
    condition: str | None = None

    @property
    def from_stage_id(self) -> str:
        """What comes first."""
        return self.from_id

    @property
    def to_stage_id(self) -> str:
        """What waits."""
        return self.to_id

    def is_satisfied(self) -> bool:
        """Whether nothing has to wait because of it any more: satisfied, or bypassed by a person."""
        return self.state in (DependencyState.SATISFIED, DependencyState.BYPASSED)

    def satisfy(self) -> None:
        """What comes first has completed."""
        self.state = DependencyState.SATISFIED

    def fail(self) -> None:
        """What comes first will not complete."""
        self.state = DependencyState.FAILED

    def bypass(self) -> None:
        """Nobody has to wait."""
        self.state = DependencyState.BYPASSED


class JobDependency(Dependency):
    """A dependency between jobs."""

    @property
    def from_job_id(self) -> str:
        """The job that comes first."""
        return self.from_id

    @property
    def to_job_id(self) -> str:
        """The job that waits."""
        return self.to_id


class StageDependency(Dependency):
    """A dependency between stages."""


class Checkpoint(BaseModel):
    """Saved state of a job from which it can go on."""

    id: str = id_field("ckpt")
    job_id: str
    checkpoint_type: CheckpointType = CheckpointType.FULL
    status: CheckpointStatus = CheckpointStatus.CREATING
    path: str
    timestamp: datetime = Field(default_factory=times.now)
    size_bytes: int | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    validation_hash: str | None = None
    """SHA-256 of the artefact, in hex."""
    restore_count: int = Field(default=0, ge=0)
    last_restore_time: datetime | None = None

    @field_validator("checkpoint_type", mode="before", check_fields=False)
    @classmethod
    def _other_words(cls, value: Any) -> Any:
        """`differential` is another word for DELTA."""
        return CheckpointType.DELTA if cls is Checkpoint and value == "differential" else value

    @property
    def creation_time(self) -> datetime:
        """When it was taken."""
        return self.timestamp

    def is_complete(self) -> bool:
        """Whether the artefact is whole."""
        return self.status in (CheckpointStatus.COMPLETE, CheckpointStatus.VERIFIED)

    def is_restorable(self) -> bool:
        """Whether a job can go on from it."""
        return self.is_complete() or self.status == CheckpointStatus.RESTORED
