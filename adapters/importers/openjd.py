"""Open Job Description 2023-09 templates as workflows: each step a job, each point of its parameter space a task.

Pure translation: it reads a template and says what to submit; nothing is run and nothing is remembered. Parsing,
checking, parameters and parameter spaces are those of the reference library, `openjd-model`. What a step requires of
a node follows "Template Schemas" §3.3; `adapters.executors.openjd_session` runs the tasks.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from adapters.executors.openjd_session import JobParameter, SessionPlan
from adapters.importers import documents
from adapters.importers.documents import Document
from domain import intervals
from domain.errors import BadInput, ExtraMissing
from domain.intervals import MAX_TASKS, TaskSet
from domain.job.values import Work
from domain.resources import AttributeNeed, Requirement, Resources, named_amounts

if TYPE_CHECKING:
    from openjd.model import EnvironmentTemplate, JobParameterValues, JobTemplate
    from openjd.model.v2023_09 import (
        Action,
        AmountRequirement,
        AttributeRequirement,
        Environment,
        HostRequirements,
        Step,
    )
    from openjd.model.v2023_09 import Job as OpenJob

T = TypeVar("T")

LIBRARY_ERRORS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError)
"""What the library raises for a template it cannot use: mostly ValueError, but a number that is none, a key that is no
text or a cycle of steps come out as others."""
DEFAULT_VCPUS = Decimal(1)
"""What a step needs that does not say (§3.3.1.1)."""
MIB_PER_GIB = 1024
MAX_QUANTITY = 2**53
EXIT_TIMEOUT_S = 300
"""How long leaving an environment may take that does not say."""
TASK_NOTIFY_S = 120
"""How long a task that is notified may take to end when it does not say (§5.3.2)."""
ENVIRONMENT_NOTIFY_S = 30
"""The same for the actions of environments."""
SESSION_MARGIN_MS = 30_000
"""What a session may take beside its actions: loading the library, writing files, tidying up."""
MAX_MISTAKES = 5
NO_NUMBERS = ("nan", "snan", "inf", "infinity")
"""Decimal reads them, but nothing can be compared with some, and none is a number in the specification."""
FOR_PEOPLE = ("description", "userInterface")
"""What a template says only to people."""


class ImportedJob(msgspec.Struct, frozen=True):
    """One step of a template, as a job to submit."""

    name: str
    work: Work
    requirement: Requirement
    tasks: TaskSet
    """Task k is the k-th point of the parameter space, counted from 0 in the library's order."""
    task_count: int
    walltime_ms: int | None = None
    """The longest a session takes whose actions all keep to their timeouts; None when one of them has none."""
    grace_ms: int | None = None
    """How long the template lets the task end after a notification; None when it is to be killed at once."""


class ImportedWorkflow(msgspec.Struct, frozen=True):
    """A template with its parameters filled in."""

    name: str
    jobs: tuple[ImportedJob, ...]
    """In the order of the template; their names differ."""
    dependencies: tuple[tuple[str, str], ...] = ()
    """(predecessor, successor) by job name: the successor waits until all of the predecessor has succeeded."""


def load_template(
    template: Path | str, *, parameters: Mapping[str, str], environments: Sequence[Path] = (), base_dir: Path
) -> ImportedWorkflow:
    """Read a job template, from a file (`Path`) or as text (`str`), and fill in its parameters.

    `environments` are files of environment templates, put around every session, the first one outermost. Relative
    paths among `parameters` start at `base_dir`; relative defaults start at the template's own directory (`base_dir`
    for a text) and may not lead out of it. BadInput names the file, the line and the reason; ExtraMissing when the
    library is not installed.
    """
    _need_library()
    document = documents.read(template)
    around = [documents.read(path) for path in environments]
    job_template = _decode_job(document)
    environment_templates = [_decode_environment(each) for each in around]
    base_dir = base_dir.absolute()
    home = template.absolute().parent if isinstance(template, Path) else base_dir
    values = _fill_in(document, job_template, environment_templates, parameters, home, base_dir)
    job = _create(document, job_template, environment_templates, values)
    outer = [each.environment for each in environment_templates] + list(job.jobEnvironments or ())
    plans = [_plan(document, index, values, around) for index in range(len(job.steps))]
    return ImportedWorkflow(
        name=str(job.name),
        jobs=tuple(_imported(document, step, outer, plan) for step, plan in zip(job.steps, plans, strict=True)),
        dependencies=tuple(
            (str(each.dependsOn), str(step.name)) for step in job.steps for each in step.dependencies or ()
        ),
    )


def _imported(document: Document, step: "Step", outer: "Sequence[Environment]", plan: SessionPlan) -> ImportedJob:
    around = [*outer, *(step.stepEnvironments or ())]
    count = _task_count(document, step)
    return ImportedJob(
        name=str(step.name),
        work=Work(runner="openjd", payload=msgspec.json.encode(plan).decode()),
        requirement=_requirement(document, step.hostRequirements),
        tasks=intervals.parse(f"0-{count - 1}"),
        task_count=count,
        walltime_ms=_walltime_ms(step.script.actions.onRun, around),
        grace_ms=_notify_ms(step.script.actions.onRun, TASK_NOTIFY_S) or None,
    )


def _plan(document: Document, index: int, values: "JobParameterValues", around: Sequence[Document]) -> SessionPlan:
    """All that the tasks of one step need to run, and no more: this step alone, without what only people read."""
    template = _without(document.value, FOR_PEOPLE)
    template["steps"] = [_without(document.value["steps"][index], ("dependencies", *FOR_PEOPLE))]
    definitions = document.value.get("parameterDefinitions")
    if definitions is not None:
        template["parameterDefinitions"] = [_without(each, FOR_PEOPLE) for each in definitions]
    return SessionPlan(
        template=template,
        parameters={name: JobParameter(each.type.value, str(each.value)) for name, each in values.items()},
        environments=tuple(each.value for each in around),
    )


def _without(mapping: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def _task_count(document: Document, step: "Step") -> int:
    from openjd.model import StepParameterSpaceIterator  # noqa: PLC0415

    count = len(_asked(document, lambda: StepParameterSpaceIterator(space=step.parameterSpace)))
    if count > MAX_TASKS:
        raise document.refuse(f"step {step.name!r} has {count:,} tasks; a job can have {MAX_TASKS:,}")
    return count


# What a step requires of a node.


def _requirement(document: Document, wanted: "HostRequirements | None") -> Requirement:
    """Amounts as resources, attributes as demands; capability names and values compare without case (§3.3)."""
    amounts = {each.name.lower(): each for each in (wanted.amounts if wanted else None) or ()}
    needs = [_need(each) for each in (wanted.attributes if wanted else None) or ()]
    quantities = {name: _least(each) for name, each in amounts.items() if name != "amount.worker.vcpu"}
    vcpus = _vcpus(amounts.get("amount.worker.vcpu"))

    def take(name: str, factor: int = 1) -> int:
        return _whole(document, name, quantities.pop(name, Decimal(0)) * factor)

    return Requirement(
        resources=Resources(
            millicores=_whole(document, "amount.worker.vcpu", vcpus * 1000),
            memory_mib=take("amount.worker.memory"),
            gpus=take("amount.worker.gpu"),
            storage_mib=take("amount.worker.disk.scratch", MIB_PER_GIB),
            named=named_amounts({_bare(name): take(name) for name in list(quantities)}),
        ),
        attributes=tuple(sorted(needs, key=lambda need: need.name)),
    )


def _least(amount: "AmountRequirement") -> Decimal:
    return amount.min if amount.min is not None else Decimal(0)


def _vcpus(amount: "AmountRequirement | None") -> Decimal:
    if amount is None:
        return DEFAULT_VCPUS
    if amount.min is not None:
        return amount.min
    return min(DEFAULT_VCPUS, amount.max) if amount.max is not None else DEFAULT_VCPUS


def _whole(document: Document, name: str, quantity: Decimal) -> int:
    """Rounded up: half a licence occupies a licence."""
    if not quantity.is_finite() or quantity > MAX_QUANTITY:
        raise document.refuse(f"{name} asks for {quantity}, more than any node can have")
    return int(quantity.to_integral_value(ROUND_CEILING))


def _need(attribute: "AttributeRequirement") -> AttributeNeed:
    return AttributeNeed(
        name=_bare(attribute.name.lower()),
        any_of=tuple(each.lower() for each in attribute.anyOf or ()),
        all_of=tuple(each.lower() for each in attribute.allOf or ()),
    )


def _bare(capability: str) -> str:
    """`attr.worker.os.family` is `worker.os.family`; a vendor's prefix stays: `acme:attr.fast` is `acme:fast`."""
    vendor, colon, name = capability.rpartition(":")
    return vendor + colon + name.partition(".")[2]


# How long a session may take.


def _walltime_ms(run: "Action", around: "Sequence[Environment]") -> int | None:
    """The sum of what entering, running and leaving may take, plus a margin; None when one of them may take forever."""
    limits = [_limit_ms(run, TASK_NOTIFY_S)]
    for actions in [each.script.actions for each in around if each.script]:
        if actions.onEnter:
            limits.append(_limit_ms(actions.onEnter, ENVIRONMENT_NOTIFY_S))
        if actions.onExit:
            limits.append(_limit_ms(actions.onExit, ENVIRONMENT_NOTIFY_S, EXIT_TIMEOUT_S))
    bounded = [each for each in limits if each is not None]
    total = sum(bounded) + SESSION_MARGIN_MS
    return total if len(bounded) == len(limits) and total <= MAX_QUANTITY else None


def _limit_ms(action: "Action", notify_s: int, timeout_s: int | None = None) -> int | None:
    """Timeout of an action and the time that it then has to end; None without a timeout."""
    if action.timeout is not None:
        timeout_s = int(str(action.timeout))
    return None if timeout_s is None else timeout_s * 1000 + _notify_ms(action, notify_s)


def _notify_ms(action: "Action", notify_s: int) -> int:
    """How long the action may take to end after a notification; 0 when it is not notified but killed."""
    method = action.cancelation
    if method is None or method.mode != "NOTIFY_THEN_TERMINATE":
        return 0
    period_s = getattr(method, "notifyPeriodInSeconds", None)
    return (notify_s if period_s is None else int(str(period_s))) * 1000


# The library: decode, fill in, create. What it raises becomes one line that names the place of each mistake.


def _need_library() -> None:
    try:
        importlib.import_module("openjd.model")
    except ModuleNotFoundError as error:
        raise ExtraMissing(extra="openjd") from error


def _decode_job(document: Document) -> "JobTemplate":
    from openjd.model import decode_job_template  # noqa: PLC0415

    _refuse_extensions(document)
    return _asked(document, lambda: decode_job_template(template=document.value))


def _decode_environment(document: Document) -> "EnvironmentTemplate":
    from openjd.model import decode_environment_template  # noqa: PLC0415

    _refuse_extensions(document)
    return _asked(document, lambda: decode_environment_template(template=document.value))


def _fill_in(
    document: Document,
    job_template: "JobTemplate",
    around: "list[EnvironmentTemplate]",
    given: Mapping[str, str],
    home: Path,
    base_dir: Path,
) -> "JobParameterValues":
    """All parameter values, checked; `home` is where relative defaults start, `base_dir` where given paths do."""
    from openjd.model import preprocess_job_parameters  # noqa: PLC0415

    for definitions in [job_template.parameterDefinitions, *(each.parameterDefinitions for each in around)]:
        for each in [each for each in definitions or () if each.type.name == "FLOAT"]:
            if given.get(each.name, "").strip().lstrip("+-").lower() in NO_NUMBERS:
                raise document.refuse(f"Value ({given[each.name]}) for parameter {each.name} must be a finite number.")
    return _asked(
        document,
        lambda: preprocess_job_parameters(
            job_template=job_template,
            job_parameter_values=dict(given),
            job_template_dir=home,
            current_working_dir=base_dir,
            environment_templates=around,
        ),
    )


def _create(
    document: Document, job_template: "JobTemplate", around: "list[EnvironmentTemplate]", values: "JobParameterValues"
) -> "OpenJob":
    from openjd.model import create_job  # noqa: PLC0415

    return _asked(
        document,
        lambda: create_job(job_template=job_template, job_parameter_values=values, environment_templates=around),
    )


def _asked(document: Document, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except LIBRARY_ERRORS as error:
        raise _refusal(document, error) from error


def _refuse_extensions(document: Document) -> None:
    wanted = document.value.get("extensions")
    if isinstance(wanted, list) and wanted:
        names = ", ".join(str(each) for each in wanted)
        raise document.refuse(document.mistake(f"extension {names} is not supported yet", ("extensions",)))


def _refusal(document: Document, error: Exception) -> BadInput:
    """One line with the library's mistakes.

    They are read from the validation error that the library met, not from its message: making that message fails for
    mistakes without a place, such as steps that wait for each other.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    if not isinstance(error.__context__, ValidationError):
        return document.refuse(document.mistake(str(error) or type(error).__name__))
    found = error.__context__.errors(include_url=False, include_input=False)
    mistakes = [_mistake(document, each) for each in found[:MAX_MISTAKES]]
    return document.refuse(*mistakes, *([f"and {len(found) - MAX_MISTAKES} more"] if len(found) > MAX_MISTAKES else []))


def _mistake(document: Document, detail: Mapping[str, Any]) -> str:
    """One mistake with its place; the library mixes names of its own classes into places, which are left out."""
    where: list[str | int] = []
    strange: list[str | int] = []
    value: Any = document.value
    key: Any
    for part in detail["loc"]:
        key = "steps" if part == "step" and not where else part  # a misspelling of the library
        if isinstance(value, dict | list) and key in (value if isinstance(value, dict) else range(len(value))):
            value = value[key]
            where.append(key)
            strange.clear()
        else:
            strange.append(part)
    if detail["type"] == "missing":
        where += strange[-1:]
    return document.mistake(str(detail["msg"]).removeprefix("Value error, "), where)
