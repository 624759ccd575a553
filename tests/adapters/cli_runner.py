"""Runs `milepost` as tests need it: in this process, or as a process of its own with a real server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.bootstrap import open_direct
from adapters.cli import main
from adapters.executors.local import kill_node
from adapters.executors.locks import is_held
from adapters.store.sqlite import read_log
from domain.node import RegisterNode
from domain.resources import Resources

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 30.0
QUICK = {"MILEPOST_TIMING_LEASE_MS": "4000", "MILEPOST_TIMING_SUSPECT_MS": "2000", "MILEPOST_TIMING_RESPAWN_MS": "200"}


TEMPLATE = """\
specificationVersion: jobtemplate-2023-09
name: Two steps of {{Param.Count}}
parameterDefinitions: [{name: Count, type: INT, default: 2}]
steps:
  - name: First
    parameterSpace:
      taskParameterDefinitions: [{name: N, type: INT, range: "1-{{Param.Count}}"}]
    script: {actions: {onRun: {command: echo, args: ["{{Task.Param.N}}"]}}}
  - name: Second
    dependencies: [{dependsOn: First}]
    script: {actions: {onRun: {command: "true"}}}
"""


class Said(NamedTuple):
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """JSON documents, one per line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """`milepost` in this process, on one data directory."""

    def __init__(self, data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.data_dir, self._capsys = data_dir, capsys
        monkeypatch.setenv("MILEPOST_DATA_DIR", str(data_dir))

    def __call__(self, *args: str, code: int = 0) -> Said:
        """Runs one command line, which must end with this exit code."""
        self._capsys.readouterr()
        found = main(args)
        said = Said(found, *self._capsys.readouterr())
        assert found == code, said
        return said

    def json(self, *args: str, code: int = 0) -> Any:
        """As a call, with `--json` in the first place where options can stand; the document."""
        words = 2 if args[0] in ("client", "policy", "power") else 1
        return self(*args[:words], "--json", *args[words:], code=code).document

    def submit(self, *args: str) -> str:
        """The id of a job."""
        return str(self.json("submit", *args)["job_ids"][0])

    def user(self) -> str:
        """Who speaks here."""
        return str(self.json("events", "--limit", "1", "--topic", "job.submitted")["meta"]["actor"])

    def position(self) -> int:
        """How long the log is."""
        log = read_log(self.data_dir)
        try:
            return log.position()
        finally:
            log.close()

    def status(self, job_id: str) -> str:
        """A job's status word."""
        return str(self.json("show", job_id)["job"]["status"])

    def until(self, job_id: str, status: str) -> None:
        """Waits until a job stands so."""
        eventually(lambda: self.status(job_id) == status, f"{job_id} is {status}")


def make_farm(data_dir: Path) -> None:
    """A store with one node that is offline."""
    direct = open_direct(data_dir)
    capacity = Resources(millicores=4_000, memory_mib=8_192, gpus=1)
    direct.app.handle(RegisterNode(node_id="node-1", capacity=capacity), "watchdog")
    direct.close()


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Waits until something holds; fails after the deadline."""
    until_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < until_s, f"in vain: {what}"
        time.sleep(0.05)


def environment(data_dir: Path) -> dict[str, str]:
    """For a process of its own."""
    return {**os.environ, **QUICK, "MILEPOST_DATA_DIR": str(data_dir), "PYTHONPATH": str(ROOT)}


def start(data_dir: Path, *args: str) -> "subprocess.Popen[str]":
    """`milepost` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "adapters.cli", *args],
        env=environment(data_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> Said:
    """What a process left behind, once it has ended by itself."""
    out, err = process.communicate(timeout=DEADLINE_S)
    return Said(process.returncode, out, err)


def run(data_dir: Path, *args: str) -> Said:
    """Runs one command line as a process of its own."""
    return finish(start(data_dir, *args))


@contextmanager
def server(data_dir: Path, *args: str) -> "Iterator[subprocess.Popen[str]]":
    """A server that answers and whose nodes live; in the end nothing is left of either."""
    process = start(data_dir, "serve", "--json", "--port", "0", *args)
    try:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        assert greeting, process.communicate()
        nodes = sorted(json.loads(greeting)["nodes"])
        eventually(lambda: living_nodes(data_dir) == nodes, "the nodes live")
        yield process
    finally:
        stop(process)
        kill_nodes(data_dir)


def stop(process: "subprocess.Popen[str]", how: signal.Signals = signal.SIGTERM) -> Said:
    """Stops a server if it still runs."""
    if process.poll() is None:
        process.send_signal(how)
    return finish(process)


def kill_nodes(data_dir: Path) -> None:
    """Ends nodes that a server has left, with all that runs there."""
    for node_id in living_nodes(data_dir):
        kill_node(data_dir, node_id)


def living_nodes(data_dir: Path) -> list[str]:
    """Nodes whose supervisors live."""
    nodes = data_dir / "nodes"
    return sorted(each.name for each in nodes.iterdir() if is_held(each / "lock")) if nodes.exists() else []
