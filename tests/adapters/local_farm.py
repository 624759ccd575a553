"""A place where the tests of the local executor run real processes, and look at them from outside."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from adapters.executors.identity import Identity, read_identity
from adapters.executors.layout import Layout
from adapters.executors.local import LocalExecutor, LocalNode, kill_node
from adapters.executors.spawn import ATTEMPT_DIR
from application.ports import Launch, NodeUp
from domain.resources import Resources
from tests.contracts.executor import DEADLINE_S, Watch, launch

NODES = [LocalNode(f"node-{n}", Resources(millicores=1000), {"worker.os.family": ("linux",)}) for n in (1, 2)]


class LocalFarm:
    """Executors over one data directory, and what is left of their processes."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.folder = folder
        self.executors: list[LocalExecutor] = []

    def executor(self, nodes: int = 1, lease_ms: int = 10_000, heartbeat_ms: int = 50, **options: Any) -> Watch:
        """A new executor, open."""
        executor = LocalExecutor(self.data_dir, NODES[:nodes], lease_ms=lease_ms, heartbeat_ms=heartbeat_ms, **options)
        self.executors.append(executor)
        executor.open()
        return Watch(executor)

    def up(self, nodes: int = 1, lease_ms: int = 10_000, heartbeat_ms: int = 50, **options: Any) -> Watch:
        """A new executor whose nodes have answered."""
        watch = self.executor(nodes, lease_ms, heartbeat_ms, **options)
        for node in NODES[:nodes]:
            watch.first(NodeUp, node_id=node.node_id)
        return watch

    def identity(self, node_id: str = "node-1") -> Identity:
        """Who supervises a node."""
        identity = read_identity(Layout(self.data_dir).node(node_id).lock)
        assert identity is not None
        return identity

    def processes(self, attempt: Launch | None = None) -> list[psutil.Process]:
        """Living processes that carry the mark of an attempt, or of any attempt here."""
        attempts = Layout(self.data_dir).attempts
        wanted = str(attempts if attempt is None else attempts / attempt.attempt_id)
        return [process for process in psutil.process_iter() if _mark(process).startswith(wanted)]

    def close(self) -> None:
        """Hang up and kill everything; whatever is left then is a failure."""
        for executor in self.executors:
            executor.close()
        for folder in self.data_dir.glob("nodes/*"):
            kill_node(self.data_dir, folder.name)
        assert self.processes() == []


def commands() -> dict[int, list[str]]:
    """The command lines of all processes of this machine, zombies included, by pid."""
    return {process.pid: process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])}


def descendants(pid: int) -> list[list[str]]:
    """The command lines of all that descends from a process."""
    return [process.cmdline() for process in psutil.Process(pid).children(recursive=True)]


def _mark(process: psutil.Process) -> str:
    try:
        if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
            return ""
        return str(process.environ().get(ATTEMPT_DIR, ""))
    except psutil.Error:
        return ""


def running_family(farm: LocalFarm, watch: Watch, name: str) -> Launch:
    """An attempt of four processes, one of them in another session."""
    attempt = launch(name, "sh", "-c", "sleep 600 & setsid sleep 600 & sleep 600 & wait")
    watch.executor.start([attempt])
    watch.started(attempt)
    eventually(lambda: len(farm.processes(attempt)) == 4)
    return attempt


def eventually(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.005)
