"""Workflows before anything of them runs: stages and the transitions between them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from adapters.facades.bridge import times
from common.core.enums import WorkflowNodeType, WorkflowTemplateType, WorkflowTransitionType
from common.core.utils import generate_id
from common.dependency_tracking.digraph import DirectedGraph, circle
from common.plain import to_plain

NORMAL, LOOP = WorkflowTransitionType.NORMAL, WorkflowTransitionType.LOOP
MINUTE = timedelta(minutes=1)


class WorkflowStage:
    """One step of a workflow."""

    def __init__(
        self,
        stage_id: str,
        name: str,
        node_type: WorkflowNodeType = WorkflowNodeType.STAGE,
        estimated_duration: timedelta | None = None,
        resource_requirements: Any = None,
        description: str | None = None,
    ) -> None:
        self.id, self.name, self.node_type = stage_id, name, WorkflowNodeType(node_type)
        self.estimated_duration = timedelta(hours=1) if estimated_duration is None else estimated_duration
        self.resource_requirements: Any = {} if resource_requirements is None else resource_requirements
        self.description = description
        self.metadata: dict[str, Any] = {}
        self.parameters: dict[str, Any] = {}

    @property
    def stage_id(self) -> str:
        """The id under another name."""
        return self.id

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; the duration in seconds."""
        return {
            "id": self.id,
            "name": self.name,
            "node_type": self.node_type.value,
            "estimated_duration_seconds": self.estimated_duration.total_seconds(),
            "resource_requirements": to_plain(self.resource_requirements),
            "description": self.description,
            "metadata": to_plain(self.metadata),
            "parameters": to_plain(self.parameters),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "WorkflowStage":
        """The stage that such a dict was made of."""
        seconds = data.get("estimated_duration_seconds")
        stage = cls(
            data.get("id") or data["stage_id"],
            data["name"],
            WorkflowNodeType(data.get("node_type", "stage")),
            None if seconds is None else timedelta(seconds=seconds),
            data.get("resource_requirements"),
            data.get("description"),
        )
        stage.metadata, stage.parameters = dict(data.get("metadata") or {}), dict(data.get("parameters") or {})
        return stage


class WorkflowTransition:
    """What comes after what; a lower priority number goes first."""

    def __init__(
        self,
        from_stage_id: str,
        to_stage_id: str,
        transition_type: WorkflowTransitionType = NORMAL,
        condition: str | None = None,
        priority: int = 1,
    ) -> None:
        self.from_stage_id, self.to_stage_id = from_stage_id, to_stage_id
        self.transition_type, self.condition = WorkflowTransitionType(transition_type), condition
        self.priority = priority
        self.metadata: dict[str, Any] = {}

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "from_stage_id": self.from_stage_id,
            "to_stage_id": self.to_stage_id,
            "transition_type": self.transition_type.value,
            "condition": self.condition,
            "priority": self.priority,
            "metadata": to_plain(self.metadata),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "WorkflowTransition":
        """The transition that such a dict was made of."""
        transition = cls(
            data["from_stage_id"],
            data["to_stage_id"],
            WorkflowTransitionType(data.get("transition_type", "normal")),
            data.get("condition"),
            data.get("priority", 1),
        )
        transition.metadata = dict(data.get("metadata") or {})
        return transition


class WorkflowTemplate:
    """Stages and transitions from which instances are made."""

    def __init__(
        self,
        template_id: str,
        name: str,
        description: str | None = None,
        template_type: WorkflowTemplateType = WorkflowTemplateType.DAG,
    ) -> None:
        self.id, self.name, self.description = template_id, name, description
        self.template_type = WorkflowTemplateType(template_type)
        self.stages: dict[str, WorkflowStage] = {}
        self.transitions: list[WorkflowTransition] = []
        self.parameters: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.version = "1.0"
        self.creation_time: datetime = times.now()
        self.last_modified: datetime = self.creation_time

    @property
    def template_id(self) -> str:
        """The id under another name."""
        return self.id

    def add_stage(self, stage: WorkflowStage) -> None:
        """Adds a stage, or replaces the one of its id."""
        self.stages[stage.id] = stage
        self.last_modified = times.now()

    def add_transition(self, transition: WorkflowTransition) -> None:
        """Adds a transition."""
        self.transitions.append(transition)
        self.last_modified = times.now()

    # -- shape ---------------------------------------------------------------------------------------------------

    def get_transitions_from(self, stage_id: str) -> list[WorkflowTransition]:
        """The transitions out of a stage, the lowest priority number first."""
        return self._sorted(each for each in self.transitions if each.from_stage_id == stage_id)

    def get_transitions_to(self, stage_id: str) -> list[WorkflowTransition]:
        """The transitions into a stage, the lowest priority number first."""
        return self._sorted(each for each in self.transitions if each.to_stage_id == stage_id)

    @staticmethod
    def _sorted(transitions: Iterable[WorkflowTransition]) -> list[WorkflowTransition]:
        return sorted(transitions, key=lambda each: each.priority)

    def get_start_stages(self) -> list[str]:
        """The stages that nothing leads to, not counting loops."""
        reached = {each.to_stage_id for each in self.transitions if each.transition_type is not LOOP}
        return [stage_id for stage_id in self.stages if stage_id not in reached]

    def get_end_stages(self) -> list[str]:
        """The stages from which nothing leads on, not counting loops."""
        left = {each.from_stage_id for each in self.transitions if each.transition_type is not LOOP}
        return [stage_id for stage_id in self.stages if stage_id not in left]

    def validate(self) -> list[str]:
        """W1: what is wrong, [] if nothing."""
        problems = self._missing()
        graph = self._graph()
        ids = circle(graph) if self.template_type is WorkflowTemplateType.DAG else None
        if ids is not None:
            problems.append(f"there is a cycle: {' → '.join(ids)}")
        starts = self.get_start_stages()
        if not starts:
            problems.append("there is no start stage")
        else:
            reached = _reached(graph, starts)
            problems += [f"stage {stage_id!r} is unreachable" for stage_id in self.stages if stage_id not in reached]
        if not self.get_end_stages():
            problems.append("there is no end stage")
        return problems

    def _missing(self) -> list[str]:
        return [
            f"the transition from {each.from_stage_id!r} to {each.to_stage_id!r} names {stage_id!r}, which is no stage"
            for each in self.transitions
            for stage_id in (each.from_stage_id, each.to_stage_id)
            if stage_id not in self.stages
        ]

    def _graph(self) -> DirectedGraph:
        graph = DirectedGraph()
        for stage_id in self.stages:
            graph.add_node(stage_id)
        for each in self.transitions:
            if each.transition_type is not LOOP:
                graph.add_edge(each.from_stage_id, each.to_stage_id)
        return graph

    # -- as a dict, as JSON --------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "template_type": self.template_type.value,
            "stages": {stage_id: stage.to_dict() for stage_id, stage in self.stages.items()},
            "transitions": [each.to_dict() for each in self.transitions],
            "parameters": to_plain(self.parameters),
            "metadata": to_plain(self.metadata),
            "version": self.version,
            "creation_time": self.creation_time.isoformat(),
            "last_modified": self.last_modified.isoformat(),
        }

    def to_json(self) -> str:
        """The same as JSON text."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "WorkflowTemplate":
        """The template that such a dict was made of."""
        kind = WorkflowTemplateType(data.get("template_type", "dag"))
        template = cls(data.get("id") or data["template_id"], data["name"], data.get("description"), kind)
        stages = data.get("stages") or {}
        for stage in stages.values() if isinstance(stages, Mapping) else stages:
            template.add_stage(WorkflowStage.from_dict(stage))
        for each in data.get("transitions") or ():
            template.add_transition(WorkflowTransition.from_dict(each))
        template.parameters, template.metadata = dict(data.get("parameters") or {}), dict(data.get("metadata") or {})
        template.version = data.get("version", "1.0")
        for name in ("creation_time", "last_modified"):
            if name in data:
                setattr(template, name, datetime.fromisoformat(data[name]))
        return template

    @classmethod
    def from_json(cls, text: str) -> "WorkflowTemplate":
        """The template that such a text was made of."""
        return cls.from_dict(json.loads(text))

    # -- built-in shapes -----------------------------------------------------------------------------------------

    @classmethod
    def create_sequential(cls, name: str, stage_names: Sequence[str]) -> "WorkflowTemplate":
        """Stages `stage_1` … one after the other."""
        template = cls(generate_id("template"), name, template_type=WorkflowTemplateType.SEQUENTIAL)
        ids = template._add_named(stage_names)
        for before, after in pairwise(ids):
            template.add_transition(WorkflowTransition(before, after))
        return template

    @classmethod
    def create_parallel(cls, name: str, stage_names: Sequence[str]) -> "WorkflowTemplate":
        """Stages `stage_1` … side by side between `start` and `end`."""
        template = cls(generate_id("template"), name, template_type=WorkflowTemplateType.PARALLEL)
        template.add_stage(WorkflowStage("start", "Start", WorkflowNodeType.START, MINUTE))
        ids = template._add_named(stage_names)
        template.add_stage(WorkflowStage("end", "End", WorkflowNodeType.END, MINUTE))
        for stage_id in ids:
            template.add_transition(WorkflowTransition("start", stage_id))
            template.add_transition(WorkflowTransition(stage_id, "end"))
        return template

    def _add_named(self, stage_names: Sequence[str]) -> list[str]:
        ids = [f"stage_{number}" for number in range(1, len(stage_names) + 1)]
        for stage_id, stage_name in zip(ids, stage_names, strict=True):
            self.add_stage(WorkflowStage(stage_id, stage_name))
        return ids


def _reached(graph: DirectedGraph, starts: Sequence[str]) -> set[str]:
    reached, waiting = set(starts), list(starts)
    while waiting:
        for after in graph.successors(waiting.pop()):
            if after not in reached:
                reached.add(after)
                waiting.append(after)
    return reached
