"""What OpenAPI says about the interface beyond what the framework finds out: parameters, refusals, the posted body."""

from dataclasses import dataclass
from enum import StrEnum
from types import NoneType
from typing import Any, get_args

import msgspec
from litestar import Request
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, OpenAPIType, Operation, Parameter, Schema, SecurityScheme

from adapters.queries import Route
from adapters.queries.routes import POSITION
from adapters.web.posts import Posted
from adapters.web.refusals import Refusal

COMMANDS_PATH = "/api/commands"

_TYPES: dict[Any, OpenAPIType] = {
    str: OpenAPIType.STRING,
    int: OpenAPIType.INTEGER,
    float: OpenAPIType.NUMBER,
    bool: OpenAPIType.BOOLEAN,
}
_SAID = {
    400: "The input is wrong; the message says where.",
    401: "The token is missing.",
    404: "There is no such thing.",
    409: "A rule or the present state does not allow it; nothing was changed.",
    413: "The request is too large.",
    503: "The store is in trouble.",
}

REFUSALS = {status: ResponseSpec(Refusal, description=text, generate_examples=False) for status, text in _SAID.items()}


def openapi(version: str) -> OpenAPIConfig:
    """The description as a whole."""
    token = SecurityScheme(type="http", scheme="bearer", description="The token in server.json.")
    return OpenAPIConfig(
        title="Milepost",
        version=version,
        description="Jobs, nodes and their history. Times are milliseconds since 1970-01-01 UTC.",
        path="/schema",
        render_plugins=[_Described()],
        components=Components(security_schemes={"token": token}),
        security=[{"token": []}],
    )


class _Described(JsonRenderPlugin):
    """The description as JSON, with the body of `POST /api/commands`: its handler decodes that itself."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document."""
        (body,), schemas = msgspec.json.schema_components([Posted], ref_template="#/components/schemas/{name}")
        paths, components = openapi_schema["paths"], openapi_schema["components"]
        content = {"application/json": {"schema": body}}
        post = {**paths[COMMANDS_PATH]["post"], "requestBody": {"content": content, "required": True}}
        described = {
            **openapi_schema,
            "paths": {**paths, COMMANDS_PATH: {"post": post}},
            "components": {**components, "schemas": {**schemas, **components["schemas"]}},
        }
        return super().render(request, described)


def operation(route: Route) -> type[Operation]:
    """An operation with the parameters of a route, which its handler takes from the table, not from its signature."""
    described = [_parameter(route.template, each.name, each.type, each.default) for each in route.parameters]
    described.append(_parameter(route.template, POSITION, int, 0))

    @dataclass
    class Question(Operation):
        def __post_init__(self) -> None:
            self.parameters = [*described]

    return Question


def _parameter(template: str, name: str, kind: Any, default: Any) -> Parameter:
    in_path = f"{{{name}}}" in template
    place = "path" if in_path else "query"
    return Parameter(name=name, param_in=place, required=in_path, schema=_schema(kind, default))


def _schema(kind: Any, default: Any) -> Schema:
    known = None if default is msgspec.NODEFAULT else default
    kinds = [each for each in get_args(kind) or (kind,) if each is not NoneType]
    if issubclass(kinds[0], StrEnum):
        return Schema(type=OpenAPIType.STRING, enum=[member.value for member in kinds[0]], default=known)
    return Schema(type=_TYPES[kinds[0]], default=known)
