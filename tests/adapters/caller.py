"""Clients of the HTTP door, over real sockets, and one question for every route."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from adapters.api import HttpDoor, serve_http
from domain.job.commands import SubmitJob
from tests.adapters.counter import Counter
from tests.builders import spec

PATIENCE_S = 20

WISH = (
    '{"reservation_id":"resv-x","owner":{"kind":"maintenance"},"asked":{"nodes":["n1"]},'
    '"window":{"start_ms":1890000000000,"end_ms":1890000001000}}'
)
PATHS = {
    "/api/status": "/api/status",
    "/api/queue": "/api/queue?all=true&limit=5&order=oldest",
    "/api/deadlines": "/api/deadlines?all=1&limit=5",
    "/api/deadlines/score": "/api/deadlines/score?at=now",
    "/api/nodes": "/api/nodes?all=1",
    "/api/jobs/{id}": "/api/jobs/job-b?attempts=3",
    "/api/workflows": "/api/workflows?all=true",
    "/api/workflows/{id}": "/api/workflows/wf-1",
    "/api/clients": "/api/clients",
    "/api/events": "/api/events?topic=job.&limit=20",
    "/api/story/{id}": "/api/story/n2",
    "/api/explain/{job}": "/api/explain/job-b",
    "/api/audit": "/api/audit?level=warning",
    "/api/utilization": "/api/utilization?since=-1m",
    "/api/shares": "/api/shares?at=-1s",
    "/api/partitions": "/api/partitions?at=-1s",
    "/api/usage": "/api/usage?by=hour",
    "/api/policies": "/api/policies?at=now",
    "/api/policies/history": "/api/policies/history?limit=5",
    "/api/logs/{job}": "/api/logs/job-b?tail=5",
    "/api/resolve/{kind}/{prefix}": "/api/resolve/any/job-b",
    "/api/wait/{id}": "/api/wait/job-a1?timeout_s=5",
    "/api/reservations": "/api/reservations?all=1",
    "/api/reservations/{id}": "/api/reservations/resv-night",
    "/api/reservations/preview": f"/api/reservations/preview?wish={quote(WISH)}",
    "/api/preemptions": "/api/preemptions",
    "/api/undo/{id}": "/api/undo/cmd-drain?why=late",
}


class Answered(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """A client of the HTTP door, one connection per request."""

    def __init__(self, door: HttpDoor, desk: Counter) -> None:
        self.door, self.desk = door, desk
        self.host, port = door.url.removeprefix("http://").split(":")
        self.port = int(port)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answered:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)
        given = {"Authorization": f"Bearer {self.door.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        try:
            connection.connect()
            with suppress(ConnectionError):  # the server may answer and close before it has all
                connection.request(method, path, body, {name: value for name, value in given.items() if value})
            response = connection.getresponse()
            return Answered(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answered:
        return self.send("GET", path, **headers)

    def post(self, *commands: dict[str, Any], actor: str = "user:ada", command_id: str = "") -> Answered:
        return self.send("POST", "/api/commands", posted(*commands, actor=actor, command_id=command_id))

    def raw(self, data: bytes) -> bytes:
        """Sends bytes as they are; all that comes back until the server closes or has nothing more to say."""
        with socket.create_connection((self.host, self.port), PATIENCE_S) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))


def posted(*commands: dict[str, Any], actor: str = "user:ada", command_id: str = "") -> bytes:
    return msgspec.json.encode({"commands": commands, "actor": actor, "command_id": command_id})


def submit(job_id: str, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(SubmitJob(spec=spec(job_id, client_id="default", **fields)))
    return found


@contextmanager
def served(desk: Counter) -> Iterator[Caller]:
    door = serve_http(desk)
    try:
        yield Caller(door, desk)
    finally:
        door.stop()
