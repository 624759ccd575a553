"""A render farm read back from what was recorded of it, odd values included."""

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from adapters.facades.bridge.book import Book
from render_farm_manager.core import models
from render_farm_manager.core.recording import REMEMBERED

if TYPE_CHECKING:
    from render_farm_manager.core.manager import RenderFarmManager

Values = dict[str, Any]
TIMES = frozenset({"submission_time", "deadline", "last_checkpoint_time", "last_progressive_output_time"})
W = TypeVar("W", bound=Enum)


def restore(farm: "RenderFarmManager", books: dict[str, Book]) -> None:
    """Fills a manager with what the log knows of its farm."""
    farm.clients.update({name: _client(values) for name, values in books["client"].load().items()})
    farm.nodes.update({name: _node(values) for name, values in books["node"].load().items()})
    farm.jobs.update({name: _job(values) for name, values in books["job"].load().items()})
    for values in books["farm"].load().values():
        _whole(farm, values)
    for job_id, values in books["memory"].load().items():
        _remember(farm, job_id, values)


def _whole(farm: "RenderFarmManager", values: Values) -> None:
    """Energy mode, configuration, figures and shares."""
    config, figures, shares = (
        values[name] for name in ("progressive_output_config", "performance_metrics", "resource_allocations")
    )
    if isinstance(config, dict):
        farm.progressive_output_config = models.ProgressiveOutputConfig.model_construct(**config)
    if isinstance(figures, dict):
        farm.performance_metrics = models.PerformanceMetrics.model_construct(**figures)
    farm.resource_allocations = {
        name: models.ResourceAllocation.model_construct(**each)
        for name, each in shares.items()
        if isinstance(each, dict)
    }
    if values["energy_mode"] is not None:
        farm.energy_optimizer.current_energy_mode = _word(models.EnergyMode, values["energy_mode"])


def _remember(farm: "RenderFarmManager", job_id: str, values: Values) -> None:
    """What the parts of the farm remembered of a job; a part of the caller's own keeps what it knows better."""
    for name, value in values.items():
        part, attribute = REMEMBERED[name]
        known = getattr(getattr(farm, part), attribute, None)
        if value is not None and isinstance(known, dict):
            known.setdefault(job_id, _READ[name](value))


def _priority(value: Any) -> Any:
    return _word(models.JobPriority, value)


_READ: dict[str, Callable[[Any], Any]] = {
    "promoted": lambda value: (value[0], _priority(value[1])),
    "effective_priority": _priority,
    "inherited": _priority,
    "scheduled_outputs": lambda value: [_time(at) for at in value],
    "generated_outputs": dict,
}


def _job(values: Values) -> models.RenderJob:
    """A job as it was left; values that no constructor would take were assigned later, and are so again."""
    try:
        return models.RenderJob.model_validate(values)
    except ValidationError:
        read = {name: _time(value) if name in TIMES else value for name, value in values.items()}
        read["status"] = _word(models.RenderJobStatus, values["status"])
        read["priority"] = _word(models.JobPriority, values["priority"])
        return models.RenderJob.model_construct(**read)


def _node(values: Values) -> models.RenderNode:
    try:
        return models.RenderNode.model_validate(values)
    except ValidationError:
        has = models.NodeCapabilities.model_construct(**values["capabilities"])
        return models.RenderNode.model_construct(**{**values, "capabilities": has})


def _client(values: Values) -> Any:
    fields = {name: value for name, value in values.items() if name != "model"}
    if values["model"] == "client":
        return models.Client.model_construct(**fields)
    tier = _word(models.ServiceTier, fields.pop("sla_tier"))
    return models.RenderClient.model_construct(client_id=fields.pop("id"), service_tier=tier, **fields)


def _time(value: Any) -> Any:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value


def _word(kind: type[W], value: Any) -> W | Any:
    try:
        return kind(value)
    except ValueError:
        return value
