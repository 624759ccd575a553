"""The HTTP door: every question and every command over loopback, described by OpenAPI under `/schema`.

The routes are those of `adapters.queries`; whatever goes wrong is answered as JSON by one table of statuses. A command
waits for its commit together with all others that wait, a question reads in a thread, and neither holds up the loop
that talks to the clients.
"""

import asyncio
import logging
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import RawBody
from litestar.types import ASGIApp

from adapters.clock import SystemClock
from adapters.queries import ROUTES, SLOW, Queries, Route, route_of
from adapters.queries.overview import version
from adapters.web import describe, page
from adapters.web.answers import answer_to
from adapters.web.gate import LOOPBACK, Gate
from adapters.web.posts import Replied, read_posted
from adapters.web.refusals import MAX_BODY_BYTES, TOO_LARGE, Refusal
from adapters.web.serverfile import ServerFile, remove_server_file, write_server_file
from application.app import Application
from application.gathering import Gathering
from domain.errors import BadInput

WORKERS = 64
"""Questions that are worked on at once."""
LARGE_BODY_BYTES = 64 * 1024
"""A larger body is read in a thread, so that it does not hold up the others."""
WAITERS = 512
"""Those who wait for something to end have threads of their own, and never keep commands from coming in."""
LEAVE_TIME_S = 5
"""How long answers on their way may take when the door closes."""
KEEP_ALIVE_S = 60
LOOK_S = 0.1
BACKLOG = 1_024

_log = logging.getLogger("milepost.http")
AnyRequest = Request[Any, Any, Any]


class Served(Protocol):
    """What the door opens on, such as `adapters.bootstrap.Server`."""

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


def http_app(commits: Gathering, queries: Queries, token: str, waiters: ThreadPoolExecutor) -> ASGIApp:
    """The whole interface as one ASGI application behind its gate."""
    questions = [_question(route, queries, waiters) for route in ROUTES.values()]
    inner = Litestar(
        route_handlers=[*questions, _commands(commits), _page(queries)],
        openapi_config=describe.openapi(version()),
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

    slow = route.template in SLOW
    handler: Callable[..., Any] = answer_slowly if slow else answer
    handler.__annotations__["return"] = route.answer
    return get(
        _litestar_path(route.template),
        sync_to_thread=None if slow else True,
        summary=route.summary,
        operation_id=route.function.__name__,
        operation_class=describe.operation(route),
        responses=describe.REFUSALS,
    )(handler)


def _litestar_path(template: str) -> str:
    """The last name of a path takes all that is left, slashes too."""
    return re.sub(r"\{(\w+)\}$", r"{\1:path}", re.sub(r"\{(\w+)\}/", r"{\1:str}/", template))


def _once(request: AnyRequest) -> dict[str, str]:
    """The query parameters; BadInput if one is given twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in found:
            raise BadInput(problem=f"{name} is given twice", place=name)
        found[name] = value
    return found


def _commands(commits: Gathering) -> HTTPRouteHandler:
    @post(describe.COMMANDS_PATH, status_code=200, responses=describe.REFUSALS)
    async def commands(body: RawBody) -> Replied:
        """Carry out commands in one transaction, all or none."""
        posted = read_posted(body) if len(body) < LARGE_BODY_BYTES else await asyncio.to_thread(read_posted, body)
        reply = await commits.handle_all(posted.commands, posted.actor, posted.command_id)
        return Replied(reply.position, reply.events)

    return commands


def _page(queries: Queries) -> HTTPRouteHandler:
    @get("/", sync_to_thread=True, include_in_schema=False)
    def show(request: AnyRequest) -> Response[str]:
        return Response(page.render(queries, _once(request)), headers=page.HEADERS, media_type=MediaType.HTML)

    return show


def _refuse(request: AnyRequest, error: Exception) -> Response[Refusal]:
    """The answer to whatever went wrong; a mistake of ours goes to the log with its traceback, not to the caller."""
    status, refusal = answer_to(error)
    if status >= 500:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    headers = {"Connection": "close"} if status == TOO_LARGE else {}  # what is still to come is not worth reading
    return Response(refusal, status_code=status, media_type=MediaType.JSON, headers=headers)


# -- serving -----------------------------------------------------------------------------------------------------


class HttpDoor:
    """A running HTTP server in a thread of this process."""

    def __init__(self, served: Served, listener: socket.socket, token: str, host: str) -> None:
        self.token = token
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        self._served, self._listener = served, listener
        self._waiters = ThreadPoolExecutor(WAITERS, "http-wait")
        self._commits = Gathering(served.app)
        config = uvicorn.Config(
            http_app(self._commits, served.queries, token, self._waiters),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            log_level="error",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=LEAVE_TIME_S,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])

    def start(self) -> None:
        """Opens the door and tells other processes where it is."""
        self._thread.start()
        while not self._server.ready.wait(LOOK_S):
            if not self._thread.is_alive():
                raise RuntimeError("the HTTP server ended while it was starting")
        content = ServerFile(
            pid=os.getpid(),
            url=self.url,
            token=self.token,
            started_ms=SystemClock().now_ms(),
            version=version(),
        )
        try:
            write_server_file(self._served.data_dir, content)
        except BaseException:
            self._close()
            raise

    def stop(self) -> None:
        """Closes the door: whoever waits is answered, what is being answered is finished, then all is let go."""
        remove_server_file(self._served.data_dir, self.token)
        self._served.queries.close()
        self._close()

    def _close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._waiters.shutdown()
        self._commits.close()
        self._listener.close()


class _Server(uvicorn.Server):
    """The server with as many threads for requests as may wait for one commit."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the library's, and says when requests are taken."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(WORKERS, "http"))
        await super().startup(sockets)
        self.ready.set()


def serve_http(served: Served, host: str = "127.0.0.1", port: int = 0) -> HttpDoor:
    """Opens the HTTP door on this machine only; port 0 takes a free one. BadInput if that cannot be."""
    if host not in LOOPBACK:
        problem = f"{host!r} is not this machine itself; without encryption the door stays there (use an SSH tunnel)"
        raise BadInput(problem=problem, host=host)
    try:
        listener = _listen(host, port)
    except (OSError, OverflowError) as error:
        raise BadInput(problem=f"cannot listen on {host}:{port} ({error})", host=host, port=port) from error
    door = HttpDoor(served, listener, secrets.token_urlsafe(32), host)
    door.start()
    return door


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket that says it is TCP: only then are answers sent without waiting for acknowledgements."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
