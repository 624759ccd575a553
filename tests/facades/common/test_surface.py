"""Every name, parameter, field, default and word of the published interface, as `surface.json` has them."""

import builtins
import importlib
import inspect
import json
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pydantic
import pytest
from pydantic_core import PydanticUndefined

import common
from common.core import exceptions, interfaces, models
from common.core.utils import datetime_decoder

SURFACE = json.loads((Path(__file__).parent.parent / "surface.json").read_text())
MODULES, SIGNATURES = SURFACE["modules"], SURFACE["signatures"]
METHODS = [(owner, name) for owner, methods in sorted(SIGNATURES.items()) for name in sorted(methods)]
TWO_FORMS = {("ResourceAllocator", "allocate_resources")}
"""Called in another form with fewer arguments, too."""
ADDED = {"app"}
"""Keyword-only parameters that the facade has beside those of the published interface."""


def named(owner: str) -> Any:
    """A class of the library by name, or a module."""
    if "." in owner:
        return importlib.import_module(owner)
    return next(getattr(importlib.import_module(module), owner) for module, names in MODULES.items() if owner in names)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_has_its_names_and_exports_them(module: str) -> None:
    found = importlib.import_module(module)
    assert set(MODULES[module]) <= set(found.__all__)
    assert all(hasattr(found, name) for name in found.__all__)


@pytest.mark.parametrize(("alias", "module"), sorted(SURFACE["aliases"].items()))
def test_an_alias_module_has_the_same_objects(alias: str, module: str) -> None:
    other, found = importlib.import_module(alias), importlib.import_module(module)
    assert all(getattr(other, name) is getattr(found, name) for name in MODULES[module])


@pytest.mark.parametrize(
    "package", ["core", "dependency_tracking", "failure_resilience", "job_management", "resource_management"]
)
def test_a_package_exports_every_name_of_its_modules(package: str) -> None:
    exported = importlib.import_module(f"common.{package}")
    for module in (name for name in MODULES if name.startswith(f"common.{package}.")):
        for name in MODULES[module]:
            assert getattr(exported, name) is getattr(importlib.import_module(module), name)


def test_the_library_exports_what_it_says() -> None:
    assert common.__version__ == "0.1.0"
    wanted = {"DependencyGraph", "DependencyTracker", "WorkflowManager"}
    for module, names in MODULES.items():
        if "dependency_tracking" not in module:
            wanted |= set(names)
    assert wanted <= set(common.__all__)
    assert all(hasattr(common, name) for name in wanted)


@pytest.mark.parametrize("name", sorted(SURFACE["enums"]))
def test_an_enum_has_its_members_in_order_as_texts(name: str) -> None:
    kind = getattr(models, name)
    wanted = SURFACE["enums"][name]
    assert {member.name: member.value for member in kind} == wanted
    assert list(kind.__members__) == list(ORDERS.get(name, kind.__members__))
    assert issubclass(kind, str)
    assert issubclass(kind, Enum)
    for member in kind:
        assert member == member.value
        assert hash(member) == hash(member.value)


ORDERS = {
    "JobStatus": ["PENDING", "QUEUED", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"],
    "NodeStatus": ["ONLINE", "OFFLINE", "MAINTENANCE", "ERROR", "STARTING", "STOPPING"],
    "Priority": ["LOW", "MEDIUM", "HIGH", "CRITICAL"],
    "ResourceType": ["CPU", "GPU", "MEMORY", "STORAGE", "NETWORK", "SPECIALIZED"],
    "DependencyType": ["SEQUENTIAL", "DATA", "RESOURCE", "CONDITIONAL", "TEMPORAL"],
    "DependencyState": ["PENDING", "SATISFIED", "FAILED", "BYPASSED"],
    "CheckpointType": ["FULL", "INCREMENTAL", "DELTA", "METADATA"],
    "LogLevel": ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
}


@pytest.mark.parametrize("name", sorted(SURFACE["models"]))
def test_a_model_has_its_fields_and_defaults(name: str) -> None:
    kind = getattr(models, name)
    for field, wanted in SURFACE["models"][name].items():
        info = kind.model_fields[field]
        assert info.is_required() == wanted.get("required", False), field
        if wanted.get("made"):
            assert info.default_factory is not None, field
        if "default" in wanted:
            default = info.get_default(call_default_factory=True)
            assert default is not PydanticUndefined
            assert (sorted(default) if isinstance(default, set) else default) == wanted["default"], field


@pytest.mark.parametrize("name", ["BaseJob", "BaseNode"])
def test_a_model_has_no_other_fields(name: str) -> None:
    assert set(getattr(models, name).model_fields) == set(SURFACE["models"][name])


@pytest.mark.parametrize(("owner", "name"), METHODS)
def test_a_callable_takes_its_parameters_with_their_defaults(owner: str, name: str) -> None:
    target = getattr(named(owner), name)
    wanted = SIGNATURES[owner][name]
    parameters = [each for each in inspect.signature(target).parameters.values() if each.name not in ("self", "cls")]
    public = [each for each in parameters if each.name not in ADDED]
    names = [each.name for each in public]
    assert names[: len(wanted)] == [each["name"].lstrip("*") for each in wanted]
    for more in public[len(wanted) :]:
        assert more.default is not more.empty or more.kind in (more.VAR_KEYWORD, more.VAR_POSITIONAL), more
    for each, parameter in zip(wanted, public, strict=False):
        if "default" in each:
            assert said(parameter.default) == meant(each["default"]), (owner, name, each["name"])
        elif parameter.kind is not parameter.VAR_KEYWORD and (owner, name) not in TWO_FORMS:
            assert parameter.default is parameter.empty, (owner, name, each["name"])


def said(value: Any) -> Any:
    """A default as the interface writes it."""
    if isinstance(value, Enum):
        return value.value
    return value.total_seconds() / 3600 if isinstance(value, timedelta) else value


def meant(text: str) -> Any:
    """What a written default means: enum members by value, spans in hours."""
    word = text.rsplit(".", 1)[-1]
    if word.isupper():
        return word.lower()
    known = {
        "None": None,
        "True": True,
        "False": False,
        '""': "",
        "12 h": 12.0,
        "6 h": 6.0,
        "1 h": 1.0,
        "30 days": 720.0,
    }
    if text in known:
        return known[text]
    if text.startswith('"'):
        return text.strip('"')
    return float(text)


@pytest.mark.parametrize("name", sorted(SURFACE["exceptions"]))
def test_an_exception_is_caught_by_its_bases_and_has_a_code(name: str) -> None:
    kind = getattr(exceptions, name)
    for base in SURFACE["exceptions"][name]:
        expected = getattr(exceptions, base, None) or getattr(builtins, base)
        assert issubclass(kind, expected)
    assert issubclass(kind, exceptions.TaskSchedulerError)
    assert kind.__doc__
    assert str(kind()) == kind.__doc__.format_map({}) if "{" not in kind.__doc__ else True
    assert isinstance(kind.code, str)
    assert str(kind("with a text")) == "with a text"


def test_the_shadowing_names_are_the_builtin_and_pydantic_neighbours_of_a_kind() -> None:
    assert issubclass(exceptions.TimeoutError, builtins.TimeoutError)
    assert issubclass(exceptions.ValidationError, ValueError)
    with pytest.raises(builtins.TimeoutError):
        raise exceptions.TimeoutError("too long")


ABSTRACT = {
    "SchedulerInterface": {"schedule_jobs", "update_priorities", "can_meet_deadline", "should_preempt"},
    "ResourceManagerInterface": {"allocate_resources", "can_borrow_resources", "calculate_resource_usage"},
    "ResourceForecastingInterface": {"generate_forecast", "train_model", "evaluate_accuracy"},
    "DependencyTrackerInterface": {"register_dependency", "check_dependency", "get_dependencies", "has_cycle"},
    "CheckpointManagerInterface": {"create_checkpoint", "restore_checkpoint", "list_checkpoints"},
    "AuditLogInterface": {"log_event", "get_events"},
}


@pytest.mark.parametrize("name", sorted(ABSTRACT))
def test_an_interface_has_its_abstract_methods(name: str) -> None:
    kind = getattr(interfaces, name)
    assert kind.__abstractmethods__ == ABSTRACT[name]
    assert issubclass(kind, interfaces.Interface)
    with pytest.raises(TypeError):
        kind()


IMPLEMENTS = {
    "JobScheduler": "SchedulerInterface",
    "ResourceAllocator": "ResourceManagerInterface",
    "ResourcePartitioner": "ResourceManagerInterface",
    "ResourceForecaster": "ResourceForecastingInterface",
    "DependencyTracker": "DependencyTrackerInterface",
    "CheckpointManager": "CheckpointManagerInterface",
}


@pytest.mark.parametrize(("name", "interface"), sorted(IMPLEMENTS.items()))
def test_a_manager_implements_its_interface(name: str, interface: str) -> None:
    assert issubclass(named(name), getattr(interfaces, interface))


def test_models_of_a_kind_are_children_of_each_other() -> None:
    assert issubclass(models.JobDependency, models.Dependency)
    assert issubclass(models.StageDependency, models.Dependency)
    assert issubclass(models.ComputeResource, models.Resource)
    assert issubclass(models.StorageResource, models.Resource)
    assert issubclass(models.BaseJob, models.BaseModel)
    assert issubclass(models.BaseModel, pydantic.BaseModel)
    assert datetime_decoder({}) == {}
