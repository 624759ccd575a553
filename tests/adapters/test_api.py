"""The HTTP door, over real sockets: every question, every refusal, and many clients at once."""

import http.client
import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from adapters.api import HttpDoor, serve_http
from adapters.queries import ROUTES, encode_answer
from adapters.store.sqlite import LOG_FILE
from adapters.web.failures import answer_to
from adapters.web.refusals import MAX_BODY_BYTES, STATUS
from application.app import COMMANDS
from domain import errors
from domain.job.commands import SubmitJob
from domain.job.events import JobSubmitted
from tests.adapters.counter import ODD_NAME, Counter, a_day, beside, counter
from tests.builders import spec

PATIENCE_S = 20

PATHS = {
    "/api/status": "/api/status",
    "/api/queue": "/api/queue?all=true&limit=5&order=oldest",
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
    "/api/logs/{job}": "/api/logs/job-b?tail=5",
    "/api/resolve/{kind}/{prefix}": "/api/resolve/any/job-b",
    "/api/wait/{id}": "/api/wait/job-a1?timeout_s=5",
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

    def __init__(self, door: HttpDoor) -> None:
        self.door = door
        self.host, port = door.url.removeprefix("http://").split(":")
        self.port = int(port)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answered:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)
        given = {"Authorization": f"Bearer {self.door.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        try:
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


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Counter]:
    with counter(tmp_path / "data", on_disk=True) as opened:
        a_day(opened)
        yield opened


@pytest.fixture
def caller(day: Counter) -> Iterator[Caller]:
    door = serve_http(day)
    try:
        yield Caller(door)
    finally:
        door.stop()


# -- questions -------------------------------------------------------------------------------------------------------


def test_every_route_answers_with_the_same_bytes_as_the_store_itself(day: Counter, caller: Caller) -> None:
    assert PATHS.keys() == ROUTES.keys()
    other = beside(day)
    for path in PATHS.values():
        answered = caller.get(path)
        plain_path, _, query = path.partition("?")
        parameters = dict(pair.split("=") for pair in query.split("&") if pair)
        assert (answered.status, answered.body) == (200, encode_answer(other.ask(plain_path, **parameters))), path
        assert answered.headers["content-type"] == "application/json"
        assert answered.headers["cache-control"] == "no-store"
    other.log.close()


def test_a_name_in_the_path_may_have_any_characters(caller: Caller) -> None:
    from urllib.parse import quote

    found = caller.get(f"/api/resolve/job/{quote(ODD_NAME, safe='')}")
    assert (found.status, found.json["id"]) == (200, "job-b")
    assert caller.get(f"/api/jobs/{quote(ODD_NAME, safe='')}").json["job"]["name"] == ODD_NAME


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/jobs/nothing", 404, "job.not-found"),
        ("/api/jobs/job-a", 400, "id.ambiguous"),
        ("/api/jobs/a/b", 404, "not-found"),
        ("/api/queue?limit=many", 400, "input.invalid"),
        ("/api/queue?limit=1&limit=2", 400, "input.invalid"),
        ("/api/queue?at=someday", 400, "input.invalid"),
        ("/api/queue?%00=%ff", 400, "input.invalid"),
        ("/api/nowhere", 404, "http.not-found"),
        ("/api", 404, "http.not-found"),
        ("/api/commands", 405, "http.method-not-allowed"),
    ],
)
def test_what_cannot_be_answered_is_refused_as_json(caller: Caller, path: str, status: int, code: str) -> None:
    answered = caller.get(path)
    assert (answered.status, answered.json["code"]) == (status, code)
    assert answered.json.keys() == {"code", "message", "fields"}
    assert b"Traceback" not in answered.body


def test_a_wrong_parameter_is_named(caller: Caller) -> None:
    assert caller.get("/api/queue?limit=many").json["fields"]["place"] == "limit"


# -- who may come in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic dXNlcjpwYXNz", "Bearer ü", "bearer  "])
def test_without_the_token_nothing_is_told_and_nothing_done(day: Counter, caller: Caller, given: str) -> None:
    before = day.position
    for answered in (
        *(caller.get(path, Authorization=given) for path in PATHS.values()),
        caller.send("POST", "/api/commands", posted(submit("job-x")), Authorization=given),
    ):
        assert (answered.status, answered.json["code"]) == (401, "http.unauthorized")
        assert answered.headers["www-authenticate"] == "Bearer"
    assert day.position == before


@pytest.mark.parametrize(
    "path", ["//api/queue", "/./api/queue", "/API/queue", "/%61pi/queue", "/schema/../api/queue", "/schema/x", "/x"]
)
def test_no_other_spelling_of_a_path_slips_through(caller: Caller, path: str) -> None:
    assert caller.get(path, Authorization="").status == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "0.0.0.0", "[::2]:1", "[", ""]
)
def test_a_request_under_a_foreign_name_is_refused(caller: Caller, host: str) -> None:
    for path in ("/", "/api/queue"):
        lines = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {caller.door.token}\r\n\r\n"
        answered = caller.raw(lines.encode())
        assert answered.startswith(b"HTTP/1.1 403 ")
        assert b"http.host-refused" in answered


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080"])
def test_this_machine_has_several_names(caller: Caller, host: str) -> None:
    assert caller.get("/api/clients", Host=host).status == 200


# -- commands --------------------------------------------------------------------------------------------------------


def test_commands_are_carried_out_together_or_not_at_all(day: Counter, caller: Caller) -> None:
    done = caller.post(submit("job-x"), {"command": "hold-job", "job_id": "job-x", "why": "later"})
    assert (done.status, done.json) == (200, {"position": day.position, "events": 2})
    assert caller.get(f"/api/jobs/job-x?position={done.json['position']}").json["job"]["note"] == "later"
    before = day.position
    refused = caller.post(submit("job-y"), {"command": "hold-job", "job_id": "job-none"})
    assert (refused.status, refused.json["fields"]) == (404, {"job_id": "job-none"})
    assert day.position == before


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "$"),
        (b"{", "$"),
        (b"\x00\x01\xff\xfe", "$"),
        (b"[]", "$"),
        (b"null", "$"),
        (b"{}", "$"),
        (b"[" * 100_000, "$"),
        (posted(), "$.commands"),
        (posted(actor="ada"), "$.commands"),
        (posted({"command": "hold-job", "job_id": "job-b"}, actor="scheduler"), "$.actor"),
        (posted({"command": "hold-job", "job_id": "job-b"}, command_id="a b"), "$.command_id"),
        (posted({"command": "hold-job"}), "$.commands[0]"),
        (posted({"job_id": "job-b"}), "$.commands[0]"),
        (posted({"command": "hold-job", "job_id": "job-b"}, {"command": "no-such", "job_id": "x"}), "$.commands[1].command"),
        (posted({"command": "hold-job", "job_id": 7}), "$.commands[0].job_id"),
        (posted({"command": "prioritize-job", "job_id": "job-b", "priority": "extreme"}), "$.commands[0].priority"),
        (posted(submit("job-x", walltime_ms=10**30)), "$.commands[0].spec.walltime_ms"),
        (posted(submit("job-x", deadline_ms=10**15)), "$.commands[0].spec.deadline_ms"),
        (posted(submit("job-x", retries=10**17)), "$.commands[0].spec.retries"),
        (posted({"command": "hold-job", "job_id": "job-b", "why": "?"}).replace(b"?", b"\xc3\x28"), "$"),
        (posted({"command": "hold-job", "job_id": "job-b", "why": "?"}).replace(b"?", b"\\ud800"), "$"),
    ],
)  # fmt: skip
def test_a_body_that_is_wrong_is_refused_with_the_place(day: Counter, caller: Caller, body: bytes, place: str) -> None:
    before = day.position
    answered = caller.send("POST", "/api/commands", body)
    assert (answered.status, answered.json["code"]) == (400, "input.invalid")
    assert answered.json["fields"]["place"] == place
    assert day.position == before


@pytest.mark.parametrize(
    ("command", "status", "code"),
    [
        ({"command": "hold-job", "job_id": "job-none"}, 404, "job.not-found"),
        ({"command": "hold-job", "job_id": "job-a1"}, 409, "job.ended"),
        ({"command": "retry-job", "job_id": "job-b"}, 409, "job.not-ended"),
        ({"command": "drain-node", "node_id": "none"}, 404, "node.not-found"),
        ({"command": "suspend-client", "client_id": "none"}, 404, "client.not-found"),
        ({"command": "bypass-dependency", "dependency_id": "dep-none"}, 404, "dependency.not-found"),
        ({"command": "archive-workflow", "workflow_id": "wf-1"}, 409, "workflow.state"),
        (submit("../../etc"), 400, "job.invalid"),
        (submit("job-x", tasks=""), 400, "job.invalid"),
        (submit("job-x", cores=1_000), 400, "resource.impossible"),
        (
            {"command": "declare-dependency", "predecessor_id": "job-e", "successor_id": "job-c"},
            400,
            "dependency.cycle",
        ),
        ({"command": "queue-job", "job_id": "job-d"}, 400, "input.invalid"),  # only the farm itself says so
        ({"command": "lose-node", "node_id": "n1", "why": "a guess"}, 400, "input.invalid"),
    ],
)
def test_a_refusal_has_the_status_of_its_class(caller: Caller, command: dict[str, Any], status: int, code: str) -> None:
    answered = caller.post(command)
    assert (answered.status, answered.json["code"]) == (status, code)
    assert answered.json["message"]


def test_every_class_of_error_has_a_status() -> None:
    statuses = {kind.__name__: status for kind, status in STATUS}
    assert statuses == {
        "Unauthorized": 401,
        "HostRefused": 403,
        "BodyTooLarge": 413,
        "NotFound": 404,
        "Invalid": 400,
        "NotAllowed": 409,
        "Conflict": 409,
        "StoreError": 503,
        "InternalError": 500,
    }
    assert answer_to(errors.VersionConflict())[0] == 409
    assert answer_to(errors.StoreError("the disk is full"))[0] == 503
    assert answer_to(sqlite3.OperationalError("database or disk is full"))[0] == 503


def test_a_mistake_of_ours_does_not_show_its_insides() -> None:
    status, refusal = answer_to(ValueError("the secret"))
    assert (status, refusal.code) == (500, "internal")
    assert "secret" not in refusal.message + repr(refusal.fields)


def test_a_store_in_trouble_is_no_fault_of_the_caller(day: Counter, caller: Caller) -> None:
    with sqlite3.connect(day.data_dir / LOG_FILE) as other:
        other.execute("ALTER TABLE stored_events RENAME TO gone")
        answered = caller.post(submit("job-x"))
        assert answered.status == 503
        assert "no such table" in answered.json["message"]
        other.execute("ALTER TABLE gone RENAME TO stored_events")
    other.close()
    assert caller.post(submit("job-x")).status == 200


def test_a_command_that_is_sent_again_changes_nothing_and_is_answered_the_same(day: Counter, caller: Caller) -> None:
    first = caller.post(submit("job-x"), command_id="cmd-1")
    after = day.position
    caller.post({"command": "hold-job", "job_id": "job-x"})
    again = caller.post(submit("job-x"), command_id="cmd-1")
    assert (again.status, again.body) == (first.status, first.body)
    assert first.json == {"position": after, "events": 1}


# -- sizes and garbage -----------------------------------------------------------------------------------------------


def test_a_body_of_100_mb_is_refused_before_it_is_sent(caller: Caller) -> None:
    with socket.create_connection((caller.host, caller.port), PATIENCE_S) as connection:
        connection.sendall(_head(caller, f"Content-Length: {100 << 20}"))
        answered = connection.recv(65_536)  # not one byte of the body was sent
    assert answered.startswith(b"HTTP/1.1 413 ")
    assert caller.get("/api/clients").status == 200


def test_a_body_that_does_not_say_its_size_is_refused_when_it_has_become_too_large(caller: Caller) -> None:
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    sent = 0
    with socket.create_connection((caller.host, caller.port), PATIENCE_S) as connection:
        connection.sendall(_head(caller, "Transfer-Encoding: chunked"))
        connection.setblocking(False)
        try:
            while sent < 4 * MAX_BODY_BYTES:
                connection.setblocking(True)
                connection.sendall(chunk)
                sent += 1 << 20
        except OSError:  # the server has closed: it wants no more
            sent += 0
    assert sent < 4 * MAX_BODY_BYTES
    assert caller.get("/api/clients").status == 200


def test_a_body_of_just_the_limit_is_read(caller: Caller) -> None:
    body = posted({"command": "hold-job", "job_id": "job-none"})
    padded = body + b" " * (MAX_BODY_BYTES - len(body))
    assert caller.send("POST", "/api/commands", padded).status == 404
    assert caller.send("POST", "/api/commands", padded + b" ").status == 413


def _head(caller: Caller, header: str) -> bytes:
    lines = ("POST /api/commands HTTP/1.1", "Host: localhost", f"Authorization: Bearer {caller.door.token}", header)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,  # somebody tries TLS
        b"\x00" * 1_000,
        bytes(range(256)) * 40,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/commands HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"A" * 200_000,
    ],
)
def test_garbage_is_turned_away_and_the_door_stays_open(caller: Caller, garbage: bytes) -> None:
    try:
        answered = caller.raw(garbage)
    except ConnectionError:  # the server has closed while garbage was still coming
        answered = b""
    assert answered == b"" or answered.split(b" ")[1].startswith(b"4")
    assert caller.get("/api/clients").status == 200


# -- many at once ----------------------------------------------------------------------------------------------------


def test_64_clients_at_once_are_all_acknowledged(day: Counter, caller: Caller) -> None:
    start = threading.Barrier(64)

    def client(number: int) -> list[Answered]:
        start.wait(PATIENCE_S)
        return [caller.post(submit(f"job-{number}-{k}"), command_id=f"cmd-{number}-{k}") for k in range(2)]

    before = day.position
    answered = at_once(64, client)
    assert {each.status for pair in answered for each in pair} == {200}
    submitted = {each.event.spec.job_id for each in day.recorded(before) if isinstance(each.event, JobSubmitted)}
    assert submitted == {f"job-{number}-{k}" for number in range(64) for k in range(2)}
    for pair in answered:
        for each in pair:
            assert each.json["position"] <= day.position
    day.check()


def test_the_same_command_from_16_clients_at_once_is_carried_out_once(day: Counter, caller: Caller) -> None:
    start = threading.Barrier(16)

    def client(number: int) -> Answered:
        start.wait(PATIENCE_S)
        return caller.post({"command": "hold-job", "job_id": "job-c"}, command_id="cmd-same")

    before = day.position
    answered = at_once(16, client)
    assert {each.status for each in answered} == {200}
    assert len({each.body for each in answered}) == 1
    assert day.position == before + 1


def test_many_who_wait_do_not_keep_commands_from_coming_in(day: Counter, caller: Caller) -> None:
    with ThreadPoolExecutor(100) as waiters:
        waiting = [waiters.submit(caller.get, f"/api/wait/job-e?timeout_s={PATIENCE_S}") for _ in range(100)]
        assert caller.post({"command": "cancel-job", "job_id": "job-e"}).status == 200
        outcomes = {(each.result().json["outcome"], each.result().json["status"]) for each in waiting}
    assert outcomes == {("ended", "cancelled")}


def at_once(count: int, client: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as clients:
        return list(clients.map(client, range(count)))


# -- the page and the description ------------------------------------------------------------------------------------


def test_the_page_shows_queue_and_nodes_to_anybody_on_this_machine(caller: Caller) -> None:
    page = caller.get("/", Authorization="")
    text = page.body.decode()
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for part in ("job-b", "job-c", "n1", "draining", "waits for job-c to complete", 'http-equiv="refresh"'):
        assert part in text
    assert "job-d" not in text, "what has ended is shown only when asked for"
    assert "job-d" in caller.get("/?all=1").body.decode()
    assert "no longer wanted" in caller.get("/?status=cancelled").body.decode()
    assert 'http-equiv="refresh"' not in caller.get("/?refresh=0").body.decode()


def test_names_cannot_become_part_of_the_page(day: Counter, caller: Caller) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&"
    caller.post(submit("job-evil", name=evil), {"command": "hold-job", "job_id": "job-evil", "why": evil})
    caller.post({"command": "drain-node", "node_id": "n1", "why": "x"}, {"command": "undrain-node", "node_id": "n1"})
    caller.post({"command": "drain-node", "node_id": "n1", "why": evil})
    page = caller.get("/?all=1")
    text = page.body.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;&#x27;&quot;&amp;" in text
    assert "<script" not in text
    assert "<img" not in text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.parametrize("query", ["status=<script>", "colour=red", "all=1&all=1"])
def test_the_page_refuses_what_it_does_not_know(caller: Caller, query: str) -> None:
    answered = caller.get(f"/?{query}")
    assert answered.status == 400
    assert answered.headers["content-type"] == "application/json"


def test_the_interface_describes_itself(caller: Caller) -> None:
    for path in ("/schema", "/schema/openapi.json"):
        answered = caller.get(path, Authorization="")
        assert answered.status == 200
    found = answered.json
    assert found["openapi"].startswith("3.1")
    assert found["paths"].keys() == {*ROUTES, "/api/commands"}
    named = {each["name"]: each for each in found["paths"]["/api/queue"]["get"]["parameters"]}
    assert named["limit"]["schema"] == {"type": "integer", "default": 100}
    assert "priority" in named["order"]["schema"]["enum"]
    assert found["paths"]["/api/jobs/{id}"]["get"]["parameters"][0]["in"] == "path"
    tags = {tag for schema in found["components"]["schemas"].values() for tag in _tags(schema)}
    assert tags >= {str(kind.__struct_config__.tag) for kind in COMMANDS}
    assert not [name for name in _references(found) if name not in found["components"]["schemas"]]


def _tags(schema: dict[str, Any]) -> list[str]:
    return list(schema.get("properties", {}).get("command", {}).get("enum", []))


def _references(value: Any) -> Iterator[str]:
    """The names of all schemas that are referred to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


# -- opening and closing ---------------------------------------------------------------------------------------------


def test_server_json_is_there_for_the_owner_while_the_door_is_open(day: Counter) -> None:
    file = day.data_dir / "server.json"
    door = serve_http(day)
    content = json.loads(file.read_bytes())
    assert file.stat().st_mode & 0o777 == 0o600
    assert (content["url"], content["token"]) == (door.url, door.token)
    assert day.ask("/api/status")["server"]["url"] == door.url
    assert "token" not in day.ask("/api/status")["server"]
    door.stop()
    assert not file.exists()
    assert [each.name for each in day.data_dir.iterdir() if each.name.startswith(".")] == []


def test_a_door_that_closes_answers_those_who_wait(day: Counter) -> None:
    door = serve_http(day)
    caller = Caller(door)
    with ThreadPoolExecutor(1) as waiters:
        waiting = waiters.submit(caller.get, "/api/wait/job-e?timeout_s=300")
        caller.get("/api/clients")
        door.stop()
        try:
            assert waiting.result(PATIENCE_S).json["outcome"] == "timeout"
        except ConnectionError:  # the door closed before it had come in
            assert not (day.data_dir / "server.json").exists()
    with pytest.raises(ConnectionError):
        caller.get("/api/clients")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "evil.example"])
def test_the_door_opens_on_this_machine_only(day: Counter, host: str) -> None:
    with pytest.raises(errors.BadInput, match="SSH tunnel"):
        serve_http(day, host)


def test_a_port_that_is_taken_is_said_to_be_so(day: Counter, caller: Caller) -> None:
    with pytest.raises(errors.BadInput, match=f"cannot listen on 127.0.0.1:{caller.port}"):
        serve_http(day, port=caller.port)
    with pytest.raises(errors.BadInput, match="cannot listen"):
        serve_http(day, port=70_000)
