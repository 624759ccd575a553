"""Names, parameters, fields, defaults and enum values are those of the published interface."""

import importlib
import inspect
import json
from abc import ABC
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from common.core.interfaces import AuditLogInterface, Interface
from common.core.interfaces import ResourceManagerInterface as CommonResourceManager
from common.core.interfaces import SchedulerInterface as CommonScheduler
from common.core.models import AuditLogEntry as CommonAuditLogEntry
from common.core.models import BaseJob, BaseModel, BaseNode, Checkpoint, JobStatus
from render_farm_manager.core import interfaces, models
from render_farm_manager.scheduling import deadline_scheduler, deadline_scheduler_fixed
from tests.facades.render_farm_manager.farms import client, job, node, parts

SURFACE = json.loads((Path(__file__).parents[1] / "surface_render.json").read_text())
NAMED_DEFAULTS = {"time(8, 0)": "08:00:00", "time(20, 0)": "20:00:00", "EnergyMode.BALANCED": "EnergyMode.BALANCED"}
VALUES: dict[str, Any] = {
    "NodeCapabilities": node().capabilities,
    "RenderNode": node(),
    "RenderJob": job(),
    "Client": client(),
    "RenderClient": models.RenderClient(client_id="c", name="C", service_tier="basic"),
    "ProgressiveOutputConfig": models.ProgressiveOutputConfig(),
    "ResourceAllocation": models.ResourceAllocation(client_id="c", allocated_percentage=1),
}


@pytest.mark.parametrize("module", SURFACE["modules"])
def test_every_module_has_its_names(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in SURFACE["modules"][module] if not hasattr(loaded, name)] == []


def test_the_root_says_its_version_and_exports_nothing() -> None:
    root = importlib.import_module("render_farm_manager")
    assert root.__version__ == "0.1.0"
    assert not hasattr(root, "RenderFarmManager")


@pytest.mark.parametrize("name", SURFACE["enums"])
def test_enums_have_their_members_and_are_their_texts(name: str) -> None:
    kind = getattr(models, name)
    assert {member.name: member.value for member in kind} == SURFACE["enums"][name]
    for member in kind:
        assert member == member.value
        assert hash(member) == hash(member.value)
        assert {member.value: 1}[member] == 1
    assert sorted(kind) == sorted(member.value for member in kind)


@pytest.mark.parametrize("name", SURFACE["interfaces"])
def test_interfaces_have_their_abstract_methods(name: str) -> None:
    kind = getattr(interfaces, name)
    assert issubclass(kind, ABC)
    assert issubclass(kind, Interface)
    assert kind.__abstractmethods__ == set(SURFACE["interfaces"][name])
    with pytest.raises(TypeError):
        kind()


@pytest.mark.parametrize("name", SURFACE["models"])
def test_models_have_their_fields_and_defaults(name: str) -> None:
    kind, wanted = getattr(models, name), SURFACE["models"][name]
    assert issubclass(kind, BaseModel)
    assert set(kind.model_fields) == set(wanted)
    for field, default in wanted.items():
        info = kind.model_fields[field]
        assert info.is_required() == (default == "required"), field
        if default not in ("required", "now"):
            known = info.get_default(call_default_factory=True)
            assert known is not PydanticUndefined
            assert known == default, field


@pytest.mark.parametrize("name", SURFACE["refused"])
def test_models_refuse_what_is_out_of_range(name: str) -> None:
    valid = VALUES[name].model_dump()
    for field, values in SURFACE["refused"][name].items():
        for value in values:
            with pytest.raises(ValidationError):
                type(VALUES[name])(**{**valid, field: value})


@pytest.mark.parametrize("name", SURFACE["classes"])
def test_classes_have_their_methods_and_parameters(name: str) -> None:
    module, _, class_name = name.partition(":")
    kind = getattr(importlib.import_module(module), class_name)
    base = SURFACE["classes"][name]["base"]
    assert base is None or issubclass(kind, getattr(interfaces, base))
    for method, wanted in SURFACE["classes"][name]["methods"].items():
        function = inspect.getattr_static(kind, method)
        assert inspect.isfunction(function), method
        known = [p for p in list(inspect.signature(function).parameters.values())[1:] if p.kind is not p.KEYWORD_ONLY]
        assert [(p.name, _text(p)) for p in known] == [_wanted(*each) for each in wanted["parameters"]], method


def _text(parameter: inspect.Parameter) -> str | None:
    return None if parameter.default is parameter.empty else str(parameter.default)


def _wanted(name: str, default: str | None) -> tuple[str, str | None]:
    return name.lstrip("*"), NAMED_DEFAULTS.get(default, default) if default is not None else None


def test_models_are_children_of_the_common_models() -> None:
    assert issubclass(models.RenderJob, BaseJob)
    assert issubclass(models.RenderNode, BaseNode)
    assert issubclass(models.AuditLogEntry, CommonAuditLogEntry)
    assert models.RenderCheckpoint(job_id="j", path="/p", frame_range="1-40").progress == 0.0
    assert issubclass(models.RenderCheckpoint, Checkpoint)
    assert issubclass(interfaces.SchedulerInterface, CommonScheduler)
    assert issubclass(interfaces.ResourceManagerInterface, CommonResourceManager)
    assert isinstance(parts()[0], AuditLogInterface)
    assert models.RenderJobStatus.RUNNING == JobStatus.RUNNING


def test_the_two_schedulers_are_two_classes_of_one_name() -> None:
    first, second = deadline_scheduler.DeadlineScheduler, deadline_scheduler_fixed.DeadlineScheduler
    assert first is not second
    assert not issubclass(second, first)
    assert hasattr(first(*parts()), "_effective_priorities")
    assert not hasattr(second(*parts()), "_effective_priorities")


def test_common_code_reads_jobs_and_nodes_by_their_readers() -> None:
    shot = job(requires_gpu=True, dependencies=["b", "a"])
    assert (shot.get_owner(), shot.get_project(), shot.get_dependencies()) == ("c1", "compositing", ["b", "a"])
    needs = {need.resource_type.value: need.amount for need in shot.get_requirements()}
    assert needs == {"cpu": 4, "memory": 16, "gpu": 1}
    blade = node()
    assert blade.is_available()
    assert blade.can_accommodate(job().get_requirements())
    blade.current_job_id = "job1"
    assert not blade.can_accommodate(job().get_requirements())
    assert blade.can_satisfy_requirements(job().get_requirements())
    assert blade.get_assigned_jobs() == ["job1"]
