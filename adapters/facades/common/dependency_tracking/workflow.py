"""Templates, the workflows made from them, and what of these can run next."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.facades.bridge.desk import Desk
from application.app import Application
from common.core.base import Result
from common.core.enums import (
    DependencyType,
    JobStatus,
    WorkflowNodeType,
    WorkflowTemplateType,
    WorkflowTransitionType,
)
from common.core.jobs import BaseJob
from common.core.ranks import status_of
from common.core.utils import generate_id
from common.dependency_tracking.instances import WorkflowInstance
from common.dependency_tracking.templates import WorkflowStage, WorkflowTemplate, WorkflowTransition
from common.dependency_tracking.tracker import DependencyTracker
from common.manager import Managed, coded
from common.seeing import job_facts, job_paper

StageFactory = Callable[..., str]
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED)
_KINDS: dict[WorkflowTransitionType, DependencyType | None] = {
    WorkflowTransitionType.NORMAL: DependencyType.SEQUENTIAL,
    WorkflowTransitionType.CONDITIONAL: DependencyType.CONDITIONAL,
    WorkflowTransitionType.ERROR: DependencyType.DATA,
    WorkflowTransitionType.LOOP: None,
}


class _Kept:
    def __init__(self) -> None:
        self.templates: dict[str, WorkflowTemplate] = {}
        self.instances: dict[str, WorkflowInstance] = {}


class WorkflowManager(Managed):
    """Templates by id, and the workflows that were made from them."""

    _what = "workflows"

    def __init__(self, dependency_tracker: DependencyTracker | None = None, *, app: Application | None = None) -> None:
        desk: Application | Desk | None = app
        if app is None and isinstance(dependency_tracker, DependencyTracker):
            desk = dependency_tracker._desk
        super().__init__(desk)
        self.dependency_tracker = dependency_tracker or DependencyTracker(app=self._desk)  # type: ignore[arg-type]
        self._template_book, self._instance_book = self._book("template"), self._book("workflow")
        kept = self._shared(self._load)
        self.templates: dict[str, WorkflowTemplate] = kept.templates
        self.instances: dict[str, WorkflowInstance] = kept.instances

    def _load(self) -> _Kept:
        kept = _Kept()
        for template_id, values in self._template_book.load().items():
            kept.templates[template_id] = WorkflowTemplate.from_dict(values)
        for instance_id, values in self._instance_book.load().items():
            template = kept.templates[values["template_id"]]
            kept.instances[instance_id] = WorkflowInstance.from_dict(values, template)
            kept.instances[instance_id].clock = self._desk.now
        return kept

    def _changed(self, instance: WorkflowInstance) -> None:
        self._instance_book.touch(instance.id, instance.to_dict)
        self._desk.done(self._instance_book.waiting)

    # -- making --------------------------------------------------------------------------------------------------

    def register_template(self, template: WorkflowTemplate) -> Result[bool]:
        """W3: a template without problems, under its id."""
        problems = template.validate()
        if problems:
            return coded(f"template {template.id!r} cannot be used: {'; '.join(problems)}", "workflow.invalid")
        self.templates[template.id] = template
        self._template_book.touch(template.id, template.to_dict)
        self._desk.done()
        return Result.ok(True)

    def create_instance(
        self,
        template_id: str,
        owner_id: str,
        job_stages: Mapping[str, Any],
        parameters: Mapping[str, Any] | None = None,
        stage_factory: StageFactory | None = None,
    ) -> Result[WorkflowInstance]:
        """W4: a workflow of an owner; jobs stand for the stages of their names, or the factory makes them."""
        template = self.templates.get(template_id)
        if template is None:
            return coded(f"there is no template {template_id!r}", "workflow.not-found")
        instance = WorkflowInstance(generate_id("workflow"), template, owner_id)
        instance.clock, instance.creation_time = self._desk.now, self._desk.now()
        instance.parameters = dict(parameters or {})
        _map_stages(instance, job_stages, stage_factory)
        self._enter(instance, job_stages)
        declared = self._declare(instance)
        if not declared:
            return declared
        self.instances[instance.id] = instance
        self._changed(instance)
        return Result.ok(instance)

    def _enter(self, instance: WorkflowInstance, job_stages: Mapping[str, Any]) -> None:
        """Where all jobs are new objects of the caller's, they are a workflow of the core, too."""
        jobs = [job_stages.get(job_id) for job_id in instance.stage_mapping.values()]
        if all(isinstance(job, BaseJob) for job in jobs):
            members = [(job_facts(job), job_paper(job)) for job in jobs]
            self._jobs.enter(instance.id, instance.template.name, members, self._what)

    def _declare(self, instance: WorkflowInstance) -> Result[Any]:
        """An edge for every transition between mapped stages; none of them if one is refused."""
        tracker, owner_id = self.dependency_tracker, instance.owner_id
        if tracker.get_graph(owner_id) is None:
            tracker.create_graph(owner_id)
        graph = tracker.get_graph(owner_id)
        assert graph is not None
        for stage_id, job_id in instance.stage_mapping.items():
            graph.add_stage(job_id, {"name": instance.template.stages[stage_id].name})
        done: list[tuple[str, str]] = []
        for each in instance.template.transitions:
            before, after = (instance.stage_mapping.get(end) for end in (each.from_stage_id, each.to_stage_id))
            kind = _KINDS[each.transition_type]
            if kind is None or before is None or after is None or graph.has_edge(before, after):
                continue
            condition = each.condition if kind is DependencyType.CONDITIONAL else None
            added = tracker.add_dependency(owner_id, before, after, kind, condition)
            if not added:
                for edge in done:
                    tracker.remove_dependency(owner_id, *edge)
                return added
            done.append((before, after))
        return Result.ok(True)

    def create_linear_workflow(
        self,
        owner_id: str,
        stage_names: Sequence[str],
        job_stages: Mapping[str, Any] | None = None,
        stage_factory: StageFactory | None = None,
        *,
        jobs: Mapping[str, Any] | None = None,
    ) -> Result[WorkflowInstance]:
        """W9: stages one after the other; `jobs` is another word for `job_stages`."""
        template = WorkflowTemplate.create_sequential(f"linear workflow of {owner_id}", stage_names)
        return self._create(template, owner_id, job_stages or jobs, stage_factory)

    def create_parallel_workflow(
        self,
        owner_id: str,
        stage_names: Sequence[str],
        job_stages: Mapping[str, Any] | None = None,
        stage_factory: StageFactory | None = None,
        *,
        jobs: Mapping[str, Any] | None = None,
    ) -> Result[WorkflowInstance]:
        """W9: stages side by side; `jobs` is another word for `job_stages`."""
        template = WorkflowTemplate.create_parallel(f"parallel workflow of {owner_id}", stage_names)
        return self._create(template, owner_id, job_stages or jobs, stage_factory)

    def _create(
        self,
        template: WorkflowTemplate,
        owner_id: str,
        job_stages: Mapping[str, Any] | None,
        stage_factory: StageFactory | None,
    ) -> Result[WorkflowInstance]:
        registered = self.register_template(template)
        if not registered:
            return registered  # type: ignore[return-value]
        return self.create_instance(template.id, owner_id, job_stages or {}, None, stage_factory)

    # -- running -------------------------------------------------------------------------------------------------

    def get_next_stages(self, instance_id: str, job_statuses: Mapping[str, Any]) -> Result[list[str]]:
        """W5: the jobs that can run next, by the statuses of all."""
        instance = self.instances.get(instance_id)
        if instance is None:
            return self._unknown(instance_id)
        if instance.template_id not in self.templates:
            return coded(f"there is no template {instance.template_id!r}", "workflow.not-found")
        instance.update_status({job_id: _status(each) for job_id, each in job_statuses.items()})
        self._changed(instance)
        return Result.ok([] if instance.status in ENDED else _next_jobs(instance))

    def get_next_jobs(self, instance_id: str, jobs: Mapping[str, Any]) -> Result[list[str]]:
        """W6: the same, by the jobs themselves."""
        return self.get_next_stages(instance_id, jobs)

    def update_instance(self, instance_id: str, job_id: str, status: Any) -> Result[bool]:
        """W7: one job of a workflow has another status."""
        instance = self.instances.get(instance_id)
        if instance is None:
            return self._unknown(instance_id)
        if job_id not in instance.reverse_mapping:
            return coded(f"job {job_id!r} is no part of workflow {instance_id!r}", "job.not-found")
        instance.update_status({job_id: status})
        self._changed(instance)
        if self.dependency_tracker.get_graph(instance.owner_id) is not None:
            updated = self.dependency_tracker.update_status(instance.owner_id, job_id, status)
            if not updated:
                return updated  # type: ignore[return-value]
        return Result.ok(True)

    def update_job_status(
        self, instance_id: str, job_id: str, status: Any, job_statuses: Mapping[str, Any] | None = None
    ) -> Result[bool]:
        """W7 for a job whose object is at hand: its status is written first."""
        known: Any = (job_statuses or {}).get(job_id)
        if hasattr(known, "status"):
            known.status = status
        return self.update_instance(instance_id, job_id, status)

    def get_workflow_status(self, instance_id: str) -> Result[dict[str, Any]]:
        """W8: how far a workflow is, in numbers."""
        instance = self.instances.get(instance_id)
        if instance is None:
            return self._unknown(instance_id)
        total, completed = len(instance.template.stages), len(instance.completed_stages)
        statuses = [status.value for status in instance.stage_statuses.values()]
        told = instance.to_dict()
        return Result.ok(
            {
                "instance_id": instance.id,
                **{name: told[name] for name in ("template_id", "owner_id", "status")},
                "progress": completed / total if total else 0.0,
                "total_stages": total,
                "completed_stages": completed,
                "failed_stages": len(instance.failed_stages),
                "current_stages": len(instance.current_stages),
                "stage_statuses": {status.value: statuses.count(status.value) for status in JobStatus},
                **{name: told[name] for name in ("creation_time", "start_time", "end_time")},
            }
        )

    def _unknown(self, instance_id: str) -> Result[Any]:
        return coded(f"there is no workflow {instance_id!r}", "workflow.not-found")


def _map_stages(instance: WorkflowInstance, job_stages: Mapping[str, Any], factory: StageFactory | None) -> None:
    """Each stage gets the first free job of its name, else one from the factory, else none."""
    for stage_id, stage in instance.template.stages.items():
        named = (job_id for job_id, job in job_stages.items() if _name(job) == stage.name)
        job_id = next((each for each in named if each not in instance.reverse_mapping), None)
        if job_id is None and factory is not None:
            job_id = factory(stage.name, stage.description, stage.estimated_duration, stage.resource_requirements)
        if job_id is not None:
            instance.map_stage(stage_id, job_id)


def _name(job: Any) -> Any:
    return job.get("name") if isinstance(job, Mapping) else getattr(job, "name", None)


def _status(job: Any) -> JobStatus:
    """The status of a job, which may be given as an object, a dict, or a status itself."""
    if isinstance(job, Mapping):
        return status_of(job.get("status", JobStatus.PENDING))
    if hasattr(job, "get_status"):
        return status_of(job.get_status())
    return status_of(getattr(job, "status", job))


def _next_jobs(instance: WorkflowInstance) -> list[str]:
    template, mapping = instance.template, instance.stage_mapping
    busy = instance.completed_stages | instance.failed_stages | instance.current_stages
    after = {
        each.to_stage_id
        for stage_id in instance.completed_stages
        for each in template.get_transitions_from(stage_id)
        if each.transition_type is not WorkflowTransitionType.LOOP
    }
    ready = [each for each in mapping if each in after and each not in busy and instance.may_follow(each)]
    if not ready and not instance.current_stages:
        starts = template.get_start_stages()
        ready = [each for each in mapping if each in starts and each not in instance.completed_stages]
    return list(dict.fromkeys(mapping[each] for each in template.stages if each in ready))


__all__ = [
    "WorkflowInstance",
    "WorkflowManager",
    "WorkflowNodeType",
    "WorkflowStage",
    "WorkflowTemplate",
    "WorkflowTemplateType",
    "WorkflowTransition",
    "WorkflowTransitionType",
]
