"""The one table of questions: path → function, used by the HTTP door and by the door without a server alike.

A function's keyword parameters are the parameters of its path; names in the path come first. Values arrive as text and
are converted and checked here, so that a wrong one is refused in the same words at every door.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_type_hints
from urllib.parse import unquote

import msgspec

from adapters.queries import (
    deadlines,
    explain,
    jobs,
    overview,
    policies,
    preemptions,
    records,
    reservations,
    resolve,
    shares,
    undoing,
    usage,
    waiting,
)
from adapters.queries.answers import Answer, ExplainAnswer
from adapters.queries.sources import Sources
from domain.errors import BadInput, NotFound

MAX_TEXT = 1_000
"""No parameter is longer."""
LONGER = {"wish": 30_000}
"""Except those that are whole commands."""
POSITION = "position"
"""Every question takes it: the answer shows at least what was written up to that position."""


def explain_job(sources: Sources, job: str, *, at: str = "") -> ExplainAnswer:
    """Why a job waits now (or waited then), or why it ran where and when it did; from the log."""
    job_id = resolve.job_id_of(sources, job)
    return explain.explain(sources.log, job_id, sources.point(at))


QUERIES: dict[str, Callable[..., Answer]] = {
    "/api/status": overview.show_status,
    "/api/queue": jobs.list_queue,
    "/api/deadlines": deadlines.list_deadlines,
    "/api/deadlines/score": deadlines.show_scores,
    "/api/nodes": overview.list_nodes,
    "/api/jobs/{id}": jobs.show_job,
    "/api/workflows": overview.list_workflows,
    "/api/workflows/{id}": overview.show_workflow,
    "/api/clients": overview.list_clients,
    "/api/events": records.list_events,
    "/api/story/{id}": records.tell_story,
    "/api/explain/{job}": explain_job,
    "/api/audit": records.list_audit,
    "/api/preemptions": preemptions.list_preemptions,
    "/api/shares": shares.show_shares,
    "/api/partitions": shares.list_partitions,
    "/api/reservations": reservations.list_reservations,
    "/api/reservations/preview": reservations.preview_reservation,
    "/api/reservations/{id}": reservations.show_reservation,
    "/api/utilization": overview.show_utilization,
    "/api/usage": usage.show_usage,
    "/api/policies": policies.show_policies,
    "/api/policies/history": policies.list_policy_sets,
    "/api/logs/{job}": jobs.show_log,
    "/api/resolve/{kind}/{prefix}": resolve.resolve,
    "/api/wait/{id}": waiting.wait_for,
    "/api/undo/{id}": undoing.preview_undo,
}

SLOW = frozenset({"/api/wait/{id}"})
"""Questions that take as long as the asker likes."""


class Parameter(NamedTuple):
    """One parameter of a question."""

    name: str
    type: Any
    default: Any
    """`msgspec.NODEFAULT` for those in the path."""


class Route:
    """One path with its function and parameters."""

    def __init__(self, template: str, function: Callable[..., Answer]) -> None:
        self.template, self.function = template, function
        self.pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))
        hints = get_type_hints(function)
        self.answer: type[Answer] = hints["return"]
        self.summary = (inspect.getdoc(function) or "").partition("\n")[0]
        self.parameters = [
            Parameter(name, hints[name], msgspec.NODEFAULT if found.default is found.empty else found.default)
            for name, found in list(inspect.signature(function).parameters.items())[1:]
        ]
        fields = [_field(parameter) for parameter in self.parameters]
        self._struct = msgspec.defstruct(
            "parameters", [*fields, (POSITION, int, 0)], kw_only=True, forbid_unknown_fields=True
        )

    def ask(self, sources: Sources, given: Mapping[str, Any]) -> Answer:
        """The answer; BadInput names the parameter that is wrong, and any domain error says why there is none."""
        values = msgspec.structs.asdict(self._read(given))
        sources.wait_for_own_writes(values.pop(POSITION))
        return self.function(sources, **values)

    def _read(self, given: Mapping[str, Any]) -> msgspec.Struct:
        texts = {name: _text(name, value) for name, value in given.items() if value is not None}
        try:
            return msgspec.convert(texts, self._struct, strict=False)
        except msgspec.ValidationError as error:
            problem, _, place = str(error).partition(" - at `$.")
            where = place.rstrip("`")
            raise BadInput(problem=f"{where}: {problem}" if where else problem, place=where) from None


def _field(parameter: Parameter) -> tuple[str, Any] | tuple[str, Any, Any]:
    if parameter.default is msgspec.NODEFAULT:
        return (parameter.name, parameter.type)
    return (parameter.name, parameter.type, parameter.default)


def _text(name: str, value: Any) -> Any:
    """A value as it would stand in a URL, so that both doors read it in the same way."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    most = LONGER.get(name, MAX_TEXT)
    if len(text) > most or "\0" in text:
        raise BadInput(problem=f"{name} is longer than {most} characters, or has a zero character", place=name)
    return text


ROUTES: dict[str, Route] = {template: Route(template, function) for template, function in QUERIES.items()}


def route_of(path: str) -> tuple[Route, dict[str, str]]:
    """The route of a path such as `/api/jobs/job-1`, and what its names stand for; NotFound if there is none."""
    exact = ROUTES.get(path)
    if exact is not None:
        return exact, {}
    for route in ROUTES.values():
        match = route.pattern.fullmatch(path)
        if match is not None:
            return route, {name: unquote(text) for name, text in match.groupdict().items()}
    raise NotFound(f"there is nothing at {path[:MAX_TEXT]!r}; `/schema` lists what there is", path=path)
