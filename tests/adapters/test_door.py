"""The door that programs use: with a server and without, and what happens when the server goes away half-way."""

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from msgspec.structs import replace

from adapters.api import serve_http
from adapters.direct import DirectChannel
from adapters.door import Door, HttpChannel, connect
from adapters.store.sqlite import open_log
from adapters.web.refusals import MAX_BODY_BYTES, BodyTooLarge, ServerGone, error_of, refusal_of
from adapters.web.serverfile import ServerFile, read_server_file, write_server_file
from domain import errors
from domain.job import commands as c
from domain.job.commands import HoldJob, SubmitJob
from domain.messages import Command
from tests.adapters.caller import PATHS, PATIENCE_S
from tests.adapters.counter import Counter, a_day, copy_of, counter
from tests.builders import spec


def submit(job_id: str) -> SubmitJob:
    return SubmitJob(spec=spec(job_id, client_id="default"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a farm with a day behind it, to be copied."""
    data_dir = tmp_path_factory.mktemp("store") / "data"
    with counter(data_dir, on_disk=True) as opened:
        a_day(opened)
    return data_dir


@pytest.fixture
def data_dir(store: Path, tmp_path: Path) -> Path:
    """Such a store that nobody holds."""
    return Path(shutil.copytree(store, tmp_path / "data"))


@pytest.fixture
def served(store: Path, tmp_path: Path) -> Iterator[Counter]:
    """Such a store with a server."""
    with copy_of(store, tmp_path / "data") as opened:
        door = serve_http(opened)
        try:
            yield opened
        finally:
            door.stop()


@pytest.fixture(params=["server", "store"])
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    """Both doors, one after the other."""
    place: Any = request.getfixturevalue("served" if request.param == "server" else "data_dir")
    with connect(place.data_dir if isinstance(place, Counter) else place, write=True, actor="user:ada") as opened:
        assert opened.is_server is (request.param == "server")
        yield opened


# -- both doors alike --------------------------------------------------------------------------------------------


def test_a_command_is_carried_out_and_its_effect_seen(door: Door) -> None:
    reply = door.handle([submit("job-x"), HoldJob(job_id="job-x", why="later")])
    assert reply.events == 2
    found = door.get("/api/jobs/job-x")
    assert (found["job"]["note"], found["position"]) == ("later", reply.position)
    assert door.get("/api/queue", text="job-x", all=True, client=None)["total"] == 1


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (HoldJob(job_id="job-none"), errors.JobNotFound),
        (HoldJob(job_id="job-a1"), errors.JobEnded),
        (submit("../etc"), errors.JobInvalid),
        (SubmitJob(spec=spec("job-x", client_id="nobody")), errors.ClientNotFound),
        (SubmitJob(spec=spec("job-x", client_id="default", walltime_ms=10**40)), errors.BadInput),
        (c.QueueJob(job_id="job-c"), errors.BadInput),
    ],
)
def test_a_refusal_is_the_same_error_at_both_doors(door: Door, command: Command, error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        door.handle([command])
    assert isinstance(refused.value, errors.TaskSchedulerError)
    assert refused.value.message
    if isinstance(refused.value, errors.JobNotFound):
        assert refused.value.fields == {"job_id": "job-none"}


@pytest.mark.parametrize(
    ("path", "parameters", "error"),
    [
        ("/api/jobs/nothing", {}, errors.JobNotFound),
        ("/api/jobs/job-a", {}, errors.AmbiguousId),
        ("/api/queue", {"limit": "many"}, errors.BadInput),
        ("/api/queue", {"at": "@1000000"}, errors.BadInput),
    ],
)
def test_a_question_that_cannot_be_answered_is_the_same_error(
    door: Door, path: str, parameters: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        door.get(path, **parameters)


def test_a_command_that_is_given_again_is_answered_the_same(door: Door) -> None:
    first = door.handle([submit("job-x")], command_id="cmd-1")
    door.handle([HoldJob(job_id="job-x")])
    assert door.handle([submit("job-x")], command_id="cmd-1") == first
    assert len(door.get("/api/events", entity="job-x")["rows"]) == 2


def test_a_path_may_have_any_characters(door: Door) -> None:
    door.handle([SubmitJob(spec=spec("job-x", client_id="default", name="Größe 1\r\nX: y"))])
    assert door.get("/api/resolve/job/Größe 1\r\nX: y")["id"] == "job-x"
    assert door.get("/api/resolve/job/Gr%C3%B6%C3%9Fe%201%0D%0AX%3A%20y")["id"] == "job-x"


def test_what_is_too_large_is_not_even_sent(door: Door) -> None:
    with pytest.raises(BodyTooLarge):
        door.handle([HoldJob(job_id="job-c", why="x" * MAX_BODY_BYTES)])


def test_the_answers_of_server_and_store_are_the_same(served: Counter) -> None:
    """Apart from what time and the server itself change."""
    with connect(served.data_dir) as door, connect(served.data_dir) as other:
        other._channel = DirectChannel(served.data_dir, write=False)
        assert (door.is_server, other.is_server) == (True, False)
        for path in PATHS.values():
            plain, _, query = path.partition("?")
            parameters: dict[str, Any] = dict(parse_qsl(query)) | {"position": served.position}
            if plain in ("/api/utilization", "/api/usage"):
                parameters |= {"since": str(served.clock.now_ms() - 30_000), "until": str(served.clock.now_ms())}
            assert timeless(door.get(plain, **parameters)) == timeless(other.get(plain, **parameters)), path


def timeless(answer: dict[str, Any]) -> dict[str, Any]:
    """Without the moment of the answer and what follows from it."""
    return {name: value for name, value in answer.items() if name not in ("at_ms", "waited_ms")}


# -- the store itself --------------------------------------------------------------------------------------------


def test_there_must_be_a_store_to_read_from(tmp_path: Path) -> None:
    with pytest.raises(errors.StoreNotFound):
        connect(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_the_first_command_makes_the_store(tmp_path: Path) -> None:
    with connect(tmp_path / "new", write=True) as door:
        assert door.handle([submit("job-x")]).events == 2  # the client `default` and the job
    with connect(tmp_path / "new") as door:
        assert door.get("/api/queue")["total"] == 1


def test_only_one_may_write(data_dir: Path) -> None:
    with connect(data_dir, write=True), pytest.raises(errors.StoreLocked, match=f"pid {os.getpid()}"):
        connect(data_dir, write=True)
    connect(data_dir, write=True).close()


def test_a_door_that_was_opened_for_reading_writes_when_it_must(data_dir: Path) -> None:
    with connect(data_dir) as door:
        assert door.get("/api/queue", text="job-x", all=True)["total"] == 0
        door.handle([submit("job-x")])
        assert door.get("/api/queue", text="job-x", all=True)["total"] == 1


def test_a_dead_server_is_passed_by(data_dir: Path) -> None:
    write_server_file(data_dir, server_file(pid=os.getpid(), port=free_port()))
    with connect(data_dir, write=True) as door:
        assert not door.is_server


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\xfe", b'{"pid": 1}'])
def test_a_broken_server_file_is_passed_by(data_dir: Path, content: bytes) -> None:
    (data_dir / "server.json").write_bytes(content)
    with connect(data_dir) as door:
        assert not door.is_server


def test_a_server_file_counts_only_while_its_process_holds_the_store(tmp_path: Path) -> None:
    tmp_path.joinpath("data").mkdir()
    content = server_file(pid=os.getpid(), port=1)
    write_server_file(tmp_path / "data", content)
    assert read_server_file(tmp_path / "data") is None, "nobody has locked the store"
    log = open_log(tmp_path / "data")
    assert read_server_file(tmp_path / "data") == content
    write_server_file(tmp_path / "data", replace(content, pid=1))
    assert read_server_file(tmp_path / "data") is None, "somebody else has it now"
    log.close()


def server_file(pid: int, port: int) -> ServerFile:
    return ServerFile(pid=pid, url=f"http://127.0.0.1:{port}", token="t", started_ms=0, version="1")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# -- a server that goes away -------------------------------------------------------------------------------------


class Cutter:
    """A proxy in front of a server that lets requests through and drops the first replies."""

    def __init__(self, url: str, drops: int) -> None:
        self._target = int(url.rpartition(":")[2])
        self._left = drops
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.seen: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        """One request and its whole reply; the reply may never arrive."""
        client.settimeout(PATIENCE_S)
        request = read_message(client)
        if not request:
            return
        self.seen.append(request)
        with socket.create_connection(("127.0.0.1", self._target), PATIENCE_S) as server:
            server.sendall(request)
            reply = read_message(server)
        if self._left > 0:
            self._left -= 1
            client.sendall(reply[:7])  # cut within the status line
        else:
            client.sendall(reply.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait in `accept`
        self._listener.close()
        self._thread.join(PATIENCE_S)


def read_message(connection: socket.socket) -> bytes:
    """One HTTP message with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def through(served: Counter, drops: int) -> tuple[Door, Cutter]:
    content = read_server_file(served.data_dir)
    assert content is not None
    cutter = Cutter(content.url, drops)
    return Door(served.data_dir, HttpChannel(replace(content, url=cutter.url)), "user:ada"), cutter


def test_a_command_whose_reply_was_lost_is_sent_again_and_done_once(served: Counter) -> None:
    door, cutter = through(served, drops=2)
    before = served.position
    reply = door.handle([submit("job-x")])
    assert (reply.position, reply.events, served.position) == (before + 1, 1, before + 1)
    assert len(cutter.seen) == 3
    bodies = {request.partition(b"\r\n\r\n")[2] for request in cutter.seen}
    assert len(bodies) == 1, "always under the same command id"
    door.close()
    cutter.close()


def test_a_server_that_never_answers_counts_as_gone_but_keeps_its_store(served: Counter) -> None:
    door, cutter = through(served, drops=10)
    before = served.position
    with pytest.raises(errors.StoreLocked):
        door.handle([submit("job-x")])
    assert served.position == before + 1, "it was carried out all the same"
    door.close()
    cutter.close()


def test_a_question_is_asked_again_and_answered_by_the_store_in_the_end(served: Counter) -> None:
    door, cutter = through(served, drops=3)
    assert door.get("/api/queue", text="job-c")["total"] == 1
    assert not door.is_server
    door.close()
    cutter.close()


def test_a_server_that_dies_is_replaced_by_the_store(tmp_path: Path) -> None:
    with counter(tmp_path / "data", on_disk=True) as opened:
        http = serve_http(opened)
        door = connect(opened.data_dir, actor="user:ada")
        first = door.handle([submit("job-x")], command_id="cmd-1")
        http.stop()
    assert not (tmp_path / "data" / "server.json").exists()
    assert door.handle([submit("job-x")], command_id="cmd-1") == first, "remembered by the log, not by the server"
    assert not door.is_server
    assert door.get("/api/queue")["total"] == 1
    door.close()


def test_somebody_else_on_the_port_is_not_our_server(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Thread(target=babble, args=(listener,), daemon=True)
        stop.start()
        channel = HttpChannel(server_file(os.getpid(), listener.getsockname()[1]))
        with pytest.raises(ServerGone):
            channel.get("/api/queue", {})
        channel.close()


def babble(listener: socket.socket) -> None:
    """Answers everybody with something that is not HTTP."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.sendall(b"220 mail.example ESMTP\r\n")
            client.recv(65_536)


# -- errors there and back ---------------------------------------------------------------------------------------


def test_every_error_comes_back_as_what_it_was() -> None:
    for kind in every_kind(errors.TaskSchedulerError):
        if not kind.__module__.startswith(("domain.", "adapters.web.")) or "code" not in kind.__dict__:
            continue
        sent = kind(job_id="job-1", position=7, path="/data", message_of="x")
        back = error_of(refusal_of(sent))
        assert (type(back), back.code, back.message, back.fields) == (kind, sent.code, sent.message, sent.fields)


def test_an_error_of_another_release_keeps_its_code_and_text() -> None:
    class Unheard(errors.NotAllowed):
        """not today"""

        code = "unheard.of"

    sent = refusal_of(Unheard())
    back = error_of(replace(sent, code="unheard.of-elsewhere", fields={"message": "odd", "a b": 1, "n": 1}))
    assert (back.code, back.message, back.fields) == ("unheard.of-elsewhere", "not today", {"n": 1})


def every_kind(kind: type[errors.TaskSchedulerError]) -> Iterator[type[errors.TaskSchedulerError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from every_kind(child)
