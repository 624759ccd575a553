"""Workflows that run: which job stands for which stage, and how far it is."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from adapters.facades.bridge import times
from common.core.enums import JobStatus, WorkflowNodeType
from common.core.ranks import status_of
from common.dependency_tracking.templates import LOOP, WorkflowTemplate
from common.plain import to_plain

_BOUNDS = (WorkflowNodeType.START, WorkflowNodeType.END)


class WorkflowInstance:
    """One workflow of an owner."""

    def __init__(self, instance_id: str, template: WorkflowTemplate, owner_id: str) -> None:
        self.id, self.template, self.owner_id = instance_id, template, owner_id
        self.template_id = template.id
        self.status = JobStatus.PENDING
        self.stage_mapping: dict[str, str] = {}
        """Template stage id to job id."""
        self.reverse_mapping: dict[str, str] = {}
        self.stage_statuses: dict[str, JobStatus] = dict.fromkeys(template.stages, JobStatus.PENDING)
        self.current_stages: set[str] = set()
        self.completed_stages: set[str] = set()
        self.failed_stages: set[str] = set()
        self.clock: Callable[[], datetime] = times.now
        """Where it reads the time."""
        self.creation_time: datetime = times.now()
        self.start_time: datetime | None = None
        self.end_time: datetime | None = None
        self.parameters: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}

    def map_stage(self, template_stage_id: str, job_id: str) -> None:
        """Lets a job stand for a stage."""
        self.stage_mapping[template_stage_id] = job_id
        self.reverse_mapping[job_id] = template_stage_id

    def get_job_stage_id(self, template_stage_id: str) -> str | None:
        """The job that stands for a stage."""
        return self.stage_mapping.get(template_stage_id)

    get_job_id = get_job_stage_id

    def get_template_stage_id(self, job_id: str) -> str | None:
        """The stage that a job stands for."""
        return self.reverse_mapping.get(job_id)

    # -- how far it is -------------------------------------------------------------------------------------------

    def update_status(self, job_statuses: Mapping[str, Any]) -> None:
        """W2: takes in how jobs stand, and says what follows for the whole."""
        for stage_id, job_id in self.stage_mapping.items():
            if job_id in job_statuses:
                self._take(stage_id, status_of(job_statuses[job_id]))
        self._take_bounds()
        self._derive()

    def _take(self, stage_id: str, status: JobStatus) -> None:
        self.stage_statuses[stage_id] = status
        for stages, belongs in (
            (self.current_stages, status is JobStatus.RUNNING),
            (self.completed_stages, status is JobStatus.COMPLETED),
            (self.failed_stages, status is JobStatus.FAILED),
        ):
            if belongs:
                stages.add(stage_id)
            else:
                stages.discard(stage_id)

    def _take_bounds(self) -> None:
        """Starts and ends without a job: complete as soon as everything before them is."""
        for stage_id, stage in self.template.stages.items():
            if stage.node_type in _BOUNDS and stage_id not in self.stage_mapping:
                done = self.may_follow(stage_id)
                self._take(stage_id, JobStatus.COMPLETED if done else JobStatus.PENDING)

    def may_follow(self, stage_id: str) -> bool:
        """Whether every stage that leads to this one has completed."""
        return all(
            each.from_stage_id in self.completed_stages
            for each in self.template.get_transitions_to(stage_id)
            if each.transition_type is not LOOP
        )

    def _derive(self) -> None:
        mapped = [self.stage_statuses.get(stage_id) for stage_id in self.stage_mapping]
        if mapped and all(status is JobStatus.COMPLETED for status in mapped):
            self._end(JobStatus.COMPLETED)
        elif JobStatus.FAILED in mapped:
            self._end(JobStatus.FAILED)
        elif JobStatus.RUNNING in mapped:
            self.status, self.start_time = JobStatus.RUNNING, self.start_time or self.clock()
        elif JobStatus.PAUSED in mapped:
            self.status = JobStatus.PAUSED

    def _end(self, status: JobStatus) -> None:
        self.status, self.end_time = status, self.end_time or self.clock()

    # -- as a dict -----------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values: words, ISO times, sorted lists for sets."""
        return {
            "id": self.id,
            "template_id": self.template_id,
            "owner_id": self.owner_id,
            "status": self.status.value,
            "stage_mapping": dict(self.stage_mapping),
            "reverse_mapping": dict(self.reverse_mapping),
            "stage_statuses": {stage_id: status.value for stage_id, status in self.stage_statuses.items()},
            "current_stages": sorted(self.current_stages),
            "completed_stages": sorted(self.completed_stages),
            "failed_stages": sorted(self.failed_stages),
            "creation_time": self.creation_time.isoformat(),
            "start_time": self.start_time.isoformat() if self.start_time else None,
            "end_time": self.end_time.isoformat() if self.end_time else None,
            "parameters": to_plain(self.parameters),
            "metadata": to_plain(self.metadata),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], template: WorkflowTemplate) -> "WorkflowInstance":
        """The instance that such a dict was made of."""
        instance = cls(data.get("id") or data["instance_id"], template, data["owner_id"])
        instance.status = JobStatus(data.get("status", "pending"))
        for stage_id, job_id in (data.get("stage_mapping") or {}).items():
            instance.map_stage(stage_id, job_id)
        for stage_id, word in (data.get("stage_statuses") or {}).items():
            instance.stage_statuses[stage_id] = JobStatus(word)
        for name in ("current_stages", "completed_stages", "failed_stages"):
            getattr(instance, name).update(data.get(name) or ())
        for name in ("creation_time", "start_time", "end_time"):
            if data.get(name):
                setattr(instance, name, datetime.fromisoformat(data[name]))
        instance.parameters, instance.metadata = dict(data.get("parameters") or {}), dict(data.get("metadata") or {})
        return instance
