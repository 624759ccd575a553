"""The HTTP door, over real sockets: every question, every refusal, and many clients at once."""

import select
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest

from adapters.queries import ROUTES, encode_answer
from adapters.store.sqlite import LOG_FILE
from adapters.web.answers import answer_to
from adapters.web.refusals import MAX_BODY_BYTES, STATUS
from domain import errors
from domain.job.events import JobSubmitted
from tests.adapters.caller import PATHS, PATIENCE_S, Answered, Caller, posted, served, submit
from tests.adapters.counter import ODD_NAME, Counter, a_day, beside, copy_of, counter


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a farm with a day behind it, to be copied."""
    data_dir = tmp_path_factory.mktemp("store") / "data"
    with counter(data_dir, on_disk=True) as opened:
        a_day(opened)
    return data_dir


@pytest.fixture(scope="module")
def lasting(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A door for all tests that change nothing."""
    with copy_of(store, tmp_path_factory.mktemp("lasting") / "data") as opened, served(opened) as caller:
        yield caller


@pytest.fixture
def day(store: Path, tmp_path: Path) -> Iterator[Counter]:
    """A farm for one test alone."""
    with copy_of(store, tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def caller(day: Counter) -> Iterator[Caller]:
    """Its door."""
    with served(day) as opened:
        yield opened


# -- questions -------------------------------------------------------------------------------------------------------


def test_every_route_answers_with_the_same_bytes_as_the_store_itself(lasting: Caller) -> None:
    assert PATHS.keys() == ROUTES.keys()
    other = beside(lasting.desk)
    for path in PATHS.values():
        answered = lasting.get(path)
        plain_path, _, query = path.partition("?")
        parameters = dict(parse_qsl(query))
        assert (answered.status, answered.body) == (200, encode_answer(other.ask(plain_path, **parameters))), path
        assert answered.headers["content-type"] == "application/json"
        assert answered.headers["cache-control"] == "no-store"
    other.log.close()


def test_a_name_in_the_path_may_have_any_characters(lasting: Caller) -> None:
    found = lasting.get(f"/api/resolve/job/{quote(ODD_NAME, safe='')}")
    assert (found.status, found.json["id"]) == (200, "job-b")
    assert lasting.get(f"/api/jobs/{quote(ODD_NAME, safe='')}").json["job"]["name"] == ODD_NAME


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/jobs/nothing", 404, "job.not-found"),
        ("/api/jobs/job-a", 400, "id.ambiguous"),
        ("/api/jobs/a/b", 404, "not-found"),
        ("/api/queue?limit=many", 400, "input.invalid"),
        ("/api/queue?limit=-1", 400, "input.invalid"),
        ("/api/queue?limit=1&limit=2", 400, "input.invalid"),
        ("/api/queue?at=someday", 400, "input.invalid"),
        ("/api/queue?%00=%ff", 400, "input.invalid"),
        ("/api/nowhere", 404, "http.not-found"),
        ("/api", 404, "http.not-found"),
        ("/api/commands", 405, "http.method-not-allowed"),
    ],
)
def test_what_cannot_be_answered_is_refused_as_json(lasting: Caller, path: str, status: int, code: str) -> None:
    answered = lasting.get(path)
    assert (answered.status, answered.json["code"]) == (status, code)
    assert answered.json.keys() == {"code", "message", "fields"}
    assert b"Traceback" not in answered.body


def test_a_wrong_parameter_is_named(lasting: Caller) -> None:
    assert lasting.get("/api/queue?limit=many").json["fields"]["place"] == "limit"


# -- who may come in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic dXNlcjpwYXNz", "Bearer ü", "bearer  "])
def test_without_the_token_nothing_is_told_and_nothing_done(lasting: Caller, given: str) -> None:
    before = lasting.desk.position
    for answered in (
        *(lasting.get(path, Authorization=given) for path in PATHS.values()),
        lasting.send("POST", "/api/commands", posted(submit("job-x")), Authorization=given),
    ):
        assert (answered.status, answered.json["code"]) == (401, "http.unauthorized")
        assert answered.headers["www-authenticate"] == "Bearer"
    assert lasting.desk.position == before


@pytest.mark.parametrize(
    "path", ["//api/queue", "/./api/queue", "/API/queue", "/%61pi/queue", "/schema/../api/queue", "/schema/x", "/x"]
)
def test_no_other_spelling_of_a_path_slips_through(lasting: Caller, path: str) -> None:
    assert lasting.get(path, Authorization="").status == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "0.0.0.0", "[::2]:1", "[", ""]
)
def test_a_request_under_a_foreign_name_is_refused(lasting: Caller, host: str) -> None:
    for path in ("/", "/api/queue"):
        lines = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {lasting.door.token}\r\n\r\n"
        answered = lasting.raw(lines.encode())
        assert answered.startswith(b"HTTP/1.1 403 ")
        assert b"http.host-refused" in answered


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080"])
def test_this_machine_has_several_names(lasting: Caller, host: str) -> None:
    assert lasting.get("/api/clients", Host=host).status == 200


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
        (posted({"command": "hold-job", "job_id": "job-b"}, {"command": "fly"}), "$.commands[1].command"),
        (posted({"command": "hold-job", "job_id": 7}), "$.commands[0].job_id"),
        (posted({"command": "prioritize-job", "job_id": "job-b", "priority": "extreme"}), "$.commands[0].priority"),
        (posted(submit("job-x", walltime_ms=10**30)), "$.commands[0].spec.walltime_ms"),
        (posted(submit("job-x", deadline_ms=10**15)), "$.commands[0].spec.deadline_ms"),
        (posted(submit("job-x", retries=10**17)), "$.commands[0].spec.retries"),
        (posted({"command": "hold-job", "job_id": "job-b", "why": "?"}).replace(b"?", b"\xc3\x28"), "$"),
        (posted({"command": "hold-job", "job_id": "job-b", "why": "?"}).replace(b"?", b"\\ud800"), "$"),
    ],
)  # fmt: skip
def test_a_body_that_is_wrong_is_refused_with_the_place(lasting: Caller, body: bytes, place: str) -> None:
    before = lasting.desk.position
    answered = lasting.send("POST", "/api/commands", body)
    assert (answered.status, answered.json["code"]) == (400, "input.invalid")
    assert answered.json["fields"]["place"] == place
    assert lasting.desk.position == before


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
def test_a_refusal_has_the_status_of_its_class(
    lasting: Caller, command: dict[str, Any], status: int, code: str
) -> None:
    answered = lasting.post(command)
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


def test_a_body_of_100_mb_is_refused_before_it_is_sent(lasting: Caller) -> None:
    with socket.create_connection((lasting.host, lasting.port), PATIENCE_S) as connection:
        connection.sendall(_head(lasting, f"Content-Length: {100 << 20}"))
        answered = until_closed(connection)  # not one byte of the body was sent, and none is waited for
    assert answered.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_say_its_size_is_refused_when_it_has_become_too_large(lasting: Caller) -> None:
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    with socket.create_connection((lasting.host, lasting.port), PATIENCE_S) as connection:
        connection.sendall(_head(lasting, "Transfer-Encoding: chunked"))
        sent = 0
        while not select.select([connection], [], [], 0)[0] and sent < 2 * MAX_BODY_BYTES:
            with suppress(ConnectionError):  # the server wants no more
                connection.sendall(chunk)
            sent += 1 << 20
        answered = until_closed(connection)
    assert answered.startswith(b"HTTP/1.1 413 ")
    assert MAX_BODY_BYTES <= sent < 2 * MAX_BODY_BYTES


def until_closed(connection: socket.socket) -> bytes:
    """All that comes back; who closes while more is on its way to him resets the connection in the end."""
    answered = b""
    with suppress(ConnectionResetError):
        while more := connection.recv(65_536):
            answered += more
    return answered


def test_a_body_of_just_the_limit_is_read(lasting: Caller) -> None:
    body = posted({"command": "hold-job", "job_id": "job-none"})
    padded = body + b" " * (MAX_BODY_BYTES - len(body))
    assert lasting.send("POST", "/api/commands", padded).status == 404
    assert lasting.send("POST", "/api/commands", padded + b" ").status == 413


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
def test_garbage_is_turned_away_and_the_door_stays_open(lasting: Caller, garbage: bytes) -> None:
    try:
        answered = lasting.raw(garbage)
    except OSError:  # the server has closed while garbage was still coming
        answered = b""
    assert answered == b"" or answered.split(b" ")[1].startswith(b"4")
    assert lasting.get("/api/clients").status == 200


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
