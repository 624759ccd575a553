"""The HTTP door: every question and every command over loopback, described by OpenAPI under `/schema`.

The routes are those of `adapters.queries`; whatever goes wrong is answered as JSON by one table of statuses. Handlers run
in threads: a command waits for its commit together with all others that wait, a question reads, neither holds the loop.
"""

import asyncio
import ipaddress
import logging
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import uvicorn
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, OpenAPIType, Operation, Parameter, Schema, SecurityScheme
from litestar.types import ASGIApp

from adapters.clock import SystemClock
from adapters.queries import ROUTES, SLOW, Queries, Route, route_of
from adapters.queries.overview import version
from adapters.web import page
from adapters.web.gate import LOOPBACK, Gate
from adapters.web.posts import Posted, Replied, carry_out, read_posted
from adapters.web.refusals import MAX_BODY_BYTES, InternalError, Refusal, answer_to
from adapters.web.serverfile import ServerFile, remove_server_file, write_server_file
from application.app import Application
from domain.errors import BadInput

WORKERS = 64
"""Requests that are worked on at once; as many commands can share one commit."""
WAITERS = 512
"""Those who wait for something to end have threads of their own, so that they never keep commands from coming in."""
LEAVE_TIME_S = 5
"""How long answers on their way may take when the door closes."""

_log = logging.getLogger("milepost.http")
AnyRequest = Request[Any, Any, Any]


class Served(Protocol):
    """What the door opens on."""

    @property
    def app(self) -> Application:
        """For commands."""
        ...

    @property
    def queries(self) -> Queries:
        """For questions."""
        ...

    @property
    def data_dir(self) -> Path:
        """Where `server.json` is written."""
        ...


# -- routes ------------------------------------------------------------------------------------------------------


def http_app(app: Application, queries: Queries, token: str, waiters: ThreadPoolExecutor) -> ASGIApp:
    """The whole interface as one ASGI application behind its gate."""
    inner = Litestar(
        route_handlers=[
            *(_question(route, queries, waiters) for route in ROUTES.values()),
            _commands(app),
            _page(queries),
        ],
        openapi_config=_openapi(),
        exception_handlers={Exception: _refuse},
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )
    return Gate(inner, token)


def _question(route: Route, queries: Queries, waiters: ThreadPoolExecutor) -> HTTPRouteHandler:
    """The handler of one route. It reads the path as it was sent, so that a name may have a slash in it."""

    def answer(request: AnyRequest) -> Any:
        _, named = route_of(request.scope["raw_path"].decode("latin-1"))
        return route.ask(queries, {**_once(request), **named})

    async def answer_slowly(request: AnyRequest) -> Any:
        return await asyncio.get_running_loop().run_in_executor(waiters, answer, request)

    handler: Callable[..., Any] = answer_slowly if route.template in SLOW else answer
    handler.__annotations__["return"] = route.answer
    return get(
        re.sub(r"\{(\w+)\}$", r"{\1:path}", re.sub(r"\{(\w+)\}/", r"{\1:str}/", route.template)),
        sync_to_thread=None if route.template in SLOW else True,
        name=route.template,
        summary=route.summary,
        operation_id=route.function.__name__,
        operation_class=_operation(route),
        responses=_REFUSALS,
        raises=[],
    )(handler)


def _once(request: AnyRequest) -> dict[str, str]:
    """The query parameters; BadInput if one is given twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in found:
            raise BadInput(problem=f"{name} is given twice", place=name)
        found[name] = value
    return found


def _commands(app: Application) -> HTTPRouteHandler:
    @post("/api/commands", sync_to_thread=True, status_code=200, summary="Carry out commands", responses=_REFUSALS)
    def commands(body: bytes) -> Replied:
        return carry_out(app, read_posted(body))

    return commands


def _page(queries: Queries) -> HTTPRouteHandler:
    @get("/", sync_to_thread=True, media_type=MediaType.HTML, include_in_schema=False)
    def show(request: AnyRequest) -> Response[str]:
        return Response(page.render(queries, _once(request)), headers=page.HEADERS, media_type=MediaType.HTML)

    return show


def _refuse(request: AnyRequest, error: Exception) -> Response[Refusal]:
    """The answer to whatever went wrong; what nobody foresaw goes to the log with its traceback, never to the caller."""
    status, refusal = answer_to(error)
    if status >= 500:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Response(refusal, status_code=status, media_type=MediaType.JSON)


# -- the description ---------------------------------------------------------------------------------------------


def _openapi() -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="The token in server.json.")
    return OpenAPIConfig(
        title="Milepost",
        version=version(),
        description="Jobs, nodes and their history. Times are milliseconds since 1970-01-01 UTC.",
        path="/schema",
        render_plugins=[JsonRenderPlugin()],
        components=Components(security_schemes={"token": bearer}),
        security=[{"token": []}],
    )


def _refusal_specs() -> dict[int, ResponseSpec]:
    said = {400: "Wrong input", 401: "No token", 404: "No such thing", 409: "Refused by a rule", 503: "Store in trouble"}
    return {
        status: ResponseSpec(Refusal, description=text, generate_examples=False) for status, text in said.items()
    }


_REFUSALS = _refusal_specs()


def _operation(route: Route) -> type[Operation]:
    """Tells OpenAPI the parameters of a route, which the handler reads from the table and not from its signature."""
    described = [_parameter(route, each.name) for each in route.parameters]

    @dataclass
    class Question(Operation):
        def __post_init__(self) -> None:
            self.parameters = [*described]

    return Question


def _parameter(route: Route, name: str) -> Parameter:
    in_path = f"{{{name}}}" in route.template
    schema = _schema(route.json_schema(name))
    return Parameter(name=name, param_in="path" if in_path else "query", required=in_path, schema=schema)
