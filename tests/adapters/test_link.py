"""A server's side of one node, against a supervisor that hangs up."""

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.executors.layout import Layout
from adapters.executors.link import NodeLink, Terms
from adapters.executors.locks import try_lock
from adapters.executors.wire import Stop
from application.ports import NodeUp
from domain.resources import Resources

DEADLINE_S = 10.0


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.create()
    made.node("n1").create()
    return made


@pytest.fixture
def listener(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where a supervisor would answer; its lock is held, so none is started."""
    monkeypatch.chdir(layout.node("n1").folder)
    lock = try_lock(layout.node("n1").lock)
    assert lock is not None
    with lock, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind("socket")
        listening.listen()
        listening.settimeout(DEADLINE_S)
        yield listening


@pytest.mark.parametrize(("stopped", "level"), [(True, logging.INFO), (False, logging.WARNING)])
def test_a_supervisor_that_was_told_to_end_may_hang_up(
    layout: Layout, listener: socket.socket, caplog: pytest.LogCaptureFixture, stopped: bool, level: int
) -> None:
    caplog.set_level(logging.INFO, "adapters.executors.link")
    terms = Terms(since_ns=1, lease_ms=60_000, heartbeat_ms=10_000, server_lock=str(layout.server_lock))
    up = NodeUp(node_id="n1", capacity=Resources(1000), attributes={})
    link = NodeLink(layout, "n1", up, terms, lambda reports: None)
    link.open()
    try:
        connection, _ = listener.accept()
        if stopped:
            link.order(Stop)
        with connection:
            connection.recv(1)  # the rest stays unread, so that closing resets the connection
        said = broken(caplog)
        assert said.levelno == level
        assert "Connection reset by peer" in said.getMessage()
    finally:
        link.close()


def broken(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """What was said of the connection, as soon as it is."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for record in list(caplog.records):
            if "the connection to n1 broke" in record.getMessage():
                return record
        time.sleep(0.01)
    raise AssertionError("nothing was said of the connection")
