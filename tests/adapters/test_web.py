"""The page, the description of the interface, and how the door opens and closes."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from adapters.api import serve_http
from adapters.queries import ROUTES
from application.app import COMMANDS
from domain import errors
from tests.adapters.caller import PATIENCE_S, Caller, served, submit
from tests.adapters.counter import Counter, a_day, copy_of, counter


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


# -- the page and the description ------------------------------------------------------------------------------------


def test_the_page_shows_queue_and_nodes_to_anybody_on_this_machine(lasting: Caller) -> None:
    page = lasting.get("/", Authorization="")
    text = page.body.decode()
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for part in ("job-b", "job-c", "n1", "draining", "waits for job-c to complete", 'http-equiv="refresh"'):
        assert part in text
    assert "job-d" not in text, "what has ended is shown only when asked for"
    assert "job-d" in lasting.get("/?all=1").body.decode()
    assert "no longer wanted" in lasting.get("/?status=cancelled").body.decode()
    assert 'http-equiv="refresh"' not in lasting.get("/?refresh=0").body.decode()


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


def test_every_element_of_the_page_is_closed_where_it_must_be(lasting: Caller) -> None:
    for path in ("/", "/?all=1", "/?status=failed"):
        reader = Elements()
        reader.feed(lasting.get(path).body.decode())
        assert reader.open == []
        assert {"main", "h1", "meter", "p" if "failed" in path else "table"} <= reader.seen


class Elements(HTMLParser):
    """Which elements are open, and which there were."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("query", ["status=<script>", "colour=red", "all=1&all=1"])
def test_the_page_refuses_what_it_does_not_know(lasting: Caller, query: str) -> None:
    answered = lasting.get(f"/?{query}")
    assert answered.status == 400
    assert answered.headers["content-type"] == "application/json"


def test_the_interface_describes_itself(lasting: Caller) -> None:
    for path in ("/schema", "/schema/openapi.json"):
        answered = lasting.get(path, Authorization="")
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
    caller = Caller(door, day)
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
