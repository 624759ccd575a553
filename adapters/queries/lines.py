"""From values of the domain and rows of the read models to parts of answers: the same line whatever it came from."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from adapters.queries.answers import (
    Answer,
    AttemptAnswer,
    CheckpointAnswer,
    DependencyAnswer,
    JobLine,
    NodeLine,
    ReasonAnswer,
    RequirementAnswer,
    ResourcesAnswer,
    TaskSets,
    WorkflowLine,
)
from adapters.queries.answers.reservations import BookedAnswer
from domain.checkpoint import Checkpoint
from domain.decisions import Reason
from domain.dependency import Dependency
from domain.job.values import Job
from domain.node import Node
from domain.partition import Partition, belongs
from domain.resources import Requirement, Resources
from projections.nodes import NodeView
from projections.queue import AttemptView, DependencyView, JobView, WorkflowView
from projections.words import reason_text, requirement_text

A = TypeVar("A", bound=Answer)


def plain(value: Any) -> Any:
    """A message or value of the domain as builtins with every field named, those at their default too."""
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        fields = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        return fields if config.tag is None else {config.tag_field: config.tag, **fields}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return msgspec.to_builtins(value)


def reason_answer(reason: Reason) -> ReasonAnswer:
    """A blocker with its sentence."""
    return ReasonAnswer(
        code=reason.code,
        needed=reason.needed,
        available=reason.available,
        resource=reason.resource,
        node_id=reason.node_id,
        entity=reason.entity,
        until_ms=reason.until_ms,
        text=reason_text(reason),
    )


def reason_answers(reasons: tuple[Reason, ...]) -> tuple[ReasonAnswer, ...]:
    """Blockers with their sentences, in their order."""
    return tuple(map(reason_answer, reasons))


def resources_answer(resources: Resources) -> ResourcesAnswer:
    """All amounts by name."""
    return ResourcesAnswer(
        millicores=resources.millicores,
        memory_mib=resources.memory_mib,
        gpus=resources.gpus,
        storage_mib=resources.storage_mib,
        network_mbps=resources.network_mbps,
        named=dict(resources.named),
    )


def requirement_answer(requirement: Requirement) -> RequirementAnswer:
    """What one task needs, and in words."""
    return RequirementAnswer(
        resources=resources_answer(requirement.resources),
        slots=requirement.slots,
        distinct_nodes=requirement.distinct_nodes,
        attributes=plain(requirement.attributes),
        partition=requirement.partition,
        text=requirement_text(requirement),
    )


def job_line(view: JobView, reasons: tuple[Reason, ...]) -> JobLine:
    """A job as a line of a list, with what it waits for."""
    answers = reason_answers(reasons)
    return shared(
        JobLine,
        view,
        requirement=requirement_answer(view.requirement),
        note=view.why,
        why=answers[0].text if answers else "",
        reasons=answers,
    )


def late_ms(job: Job) -> int | None:
    """How long after its deadline a job ended, negative if before; None without a deadline or while it is live."""
    return None if job.deadline_ms is None or job.ended_ms is None else job.ended_ms - job.deadline_ms


def workflow_line(view: WorkflowView) -> WorkflowLine:
    """A workflow as a line of a list."""
    return shared(WorkflowLine, view, note=view.why)


def attempt_answer(view: AttemptView, output_log: str) -> AttemptAnswer:
    """An attempt, and where its output is."""
    return shared(AttemptAnswer, view, output_log=output_log)


def dependency_answer(edge: DependencyView | Dependency) -> DependencyAnswer:
    """An edge as it stands."""
    return shared(DependencyAnswer, edge)


def checkpoint_answer(checkpoint: Checkpoint, taken_ms: int, newest: bool) -> CheckpointAnswer:
    """A checkpoint as it stands."""
    return shared(CheckpointAnswer, checkpoint, taken_ms=taken_ms, newest=newest)


def node_line(
    node: NodeView | Node, used: Resources, attempts: int, partitions: Iterable[Partition], booked: list[BookedAnswer]
) -> NodeLine:
    """A node as it stands, and what attempts hold of it."""
    more = {"capacity": resources_answer(node.capacity), "used": resources_answer(used), "attempts": attempts}
    names = [each.partition for each in partitions if not each.removed and belongs(node, each.terms)]
    return shared(NodeLine, node, partitions=sorted(names), booked=booked, **more)


def task_sets(job: Job) -> TaskSets:
    """Which tasks stand where."""
    return shared(TaskSets, job, all=job.spec.tasks)


def shared(kind: type[A], source: Any, **more: Any) -> A:
    """An answer whose other fields are those of the source by the same names."""
    names = [name for name in kind.__struct_fields__ if name not in more]
    return kind(**{name: getattr(source, name) for name in names}, **more)
