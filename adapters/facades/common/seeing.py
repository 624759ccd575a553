"""Objects of callers, read through their readers alone, as facts for the bridge; and made again from the log."""

import json
import math
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import pydantic

from adapters.facades.bridge.jobfacts import JobFacts, JobPaper
from adapters.facades.bridge.nodes import NodeFacts
from adapters.facades.bridge.remembered import remembered
from application.ports import Log
from common.core.enums import ResourceType
from common.core.jobs import BaseJob
from common.core.needs import ResourceRequirement
from common.core.ranks import word_of
from domain.resources import Resources, named_amounts

_FACTS = {"status", "priority", "progress", "assigned_node_id", "deadline", "error_count"}
"""Fields that are watched one by one."""
_MOST = 2**53
"""Amounts above this are none that anybody measured."""


def job_facts(job: Any) -> JobFacts:
    """What is watched about a job."""
    return JobFacts(
        job.id,
        word_of(job.get_status()),
        word_of(job.get_priority()),
        job.get_progress(),
        getattr(job, "assigned_node_id", None),
        job.get_deadline(),
        getattr(job, "error_count", 0),
    )


def job_paper(job: Any) -> JobPaper:
    """What is told about a job once."""
    return JobPaper(
        title=str(getattr(job, "name", job.id)),
        client=job.get_owner(),
        kind=job.get_project(),
        resources=needed(job.get_requirements()),
        document=document_of(job),
    )


def node_facts(node: Any) -> NodeFacts:
    """What is watched about a node."""
    return NodeFacts(
        node.id,
        word_of(node.get_status()),
        resources_of(node.get_capacity()),
        (),
        getattr(node, "last_error", None) or "",
    )


def needed(requirements: Iterable[ResourceRequirement]) -> Resources:
    """Requirements as the core counts them; special ones by their unit."""
    total: dict[ResourceType, float] = {}
    special: dict[str, int] = {}
    for each in requirements:
        kind = ResourceType(each.resource_type)
        if kind is ResourceType.SPECIALIZED:
            special[each.unit] = special.get(each.unit, 0) + _whole(each.amount)
        else:
            total[kind] = total.get(kind, 0.0) + each.amount
    return _resources(total, special)


def resources_of(capacity: Mapping[ResourceType, float]) -> Resources:
    """A capacity as the core counts it."""
    special = capacity.get(ResourceType.SPECIALIZED, 0)
    return _resources(capacity, {"unit": _whole(special)})


def _resources(amounts: Mapping[ResourceType, float], special: Mapping[str, int]) -> Resources:
    return Resources(
        _whole(amounts.get(ResourceType.CPU, 0) * 1_000),
        _whole(amounts.get(ResourceType.MEMORY, 0) * 1_024),
        _whole(amounts.get(ResourceType.GPU, 0)),
        _whole(amounts.get(ResourceType.STORAGE, 0) * 1_024),
        _whole(amounts.get(ResourceType.NETWORK, 0) * 1_000),
        named_amounts(special),
    )


def _whole(amount: float) -> int:
    return max(0, min(_MOST, math.ceil(amount))) if math.isfinite(amount) else _MOST


# -- documents -------------------------------------------------------------------------------------------------------


def document_of(model: pydantic.BaseModel) -> str:
    """A model with the name of its class, as JSON."""
    body = model.model_dump_json(warnings="none", fallback=str)
    return f'{{"class":{json.dumps(class_name(type(model)))},"fields":{body}}}'


def class_name(kind: type[Any]) -> str:
    """By which a class is found again."""
    return f"{kind.__module__}:{kind.__qualname__}"


def class_named(name: str, base: type[Any] = BaseJob) -> type[Any]:
    """The class of that name among the children of a base; the base if there is none in this process."""
    waiting = [base]
    while waiting:
        kind = waiting.pop()
        if class_name(kind) == name:
            return kind
        waiting += kind.__subclasses__()
    return base


def rest_of(job: pydantic.BaseModel) -> str:
    """All fields that are not among the facts, as JSON."""
    return job.model_dump_json(warnings="none", fallback=str, exclude=_FACTS)


def job_from(document: str, rest: Mapping[str, Any] = {}) -> Any:
    """The job that a document tells of, in its class if this process has it; newer fields before older ones."""
    told = json.loads(document)
    return rebuilt({**told["fields"], **rest}, told["class"])


def remembered_job(log: Log, name: str) -> Any:
    """The job of that id as the log knows it, in its class: what it came with, and what it has become since."""
    known = remembered(log, name)
    if known is None:
        return BaseJob(id=name, name=name)
    job, facts = job_from(known.document, known.rest), known.facts
    _write(job, "status", facts.status)
    _write(job, "priority", facts.priority)
    if hasattr(job, "progress") and job.get_progress() != facts.progress:
        job.progress = facts.progress
    for name, value in (("assigned_node_id", facts.node), ("error_count", facts.errors), ("deadline", facts.deadline)):
        if name in type(job).model_fields and getattr(job, name, None) != value:
            setattr(job, name, value)
    return job


def _write(job: Any, name: str, word: str) -> None:
    """Gives a field another word of its own enum, unless it means that already."""
    present = getattr(job, name, None)
    if present is None or word_of(job.get_status() if name == "status" else present) == word:
        return
    try:
        setattr(job, name, type(present)(word) if isinstance(present, Enum) else word)
    except ValueError:
        setattr(job, name, word)


def rebuilt(fields: Mapping[str, Any], kind: str) -> Any:
    """An object with these fields; what the class would not accept of them any more is taken as it is."""
    found = class_named(kind)
    try:
        return found.model_validate(fields)
    except pydantic.ValidationError:
        known = {key: value for key, value in fields.items() if key in found.model_fields}
        return found.model_construct(**known)
