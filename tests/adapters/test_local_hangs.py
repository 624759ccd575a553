"""Supervisors that hang: what they run ends before anybody else may run it."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.executors.identity import living
from adapters.executors.layout import Layout
from adapters.executors.local import kill_node
from adapters.executors.locks import try_lock
from application.ports import NodeGone
from domain.job.values import FailureClass
from tests.adapters.local_farm import LocalFarm, running_family


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[LocalFarm]:
    farm = LocalFarm(tmp_path)
    yield farm
    farm.close()


@pytest.fixture
def server_lives(farm: LocalFarm) -> Iterator[None]:
    """The lock that servers hold is held."""
    farm.data_dir.mkdir()
    lock = try_lock(Layout(farm.data_dir).server_lock)
    assert lock is not None
    with lock:
        yield


@pytest.mark.usefixtures("server_lives")
def test_a_frozen_supervisor_is_killed_by_its_guard_with_all_that_it_runs_when_its_lease_is_over(
    farm: LocalFarm,
) -> None:
    watch = farm.up(lease_ms=400)
    attempt = running_family(farm, watch, "frozen")
    os.kill(farm.identity().pid, signal.SIGSTOP)
    gone = watch.first(NodeGone)
    assert farm.processes() == []
    assert gone.verified
    watch.executor.start([attempt])
    assert watch.end(attempt).message == "its supervisor hung when its lease was over"


@pytest.mark.usefixtures("server_lives")
def test_a_supervisor_that_goes_on_within_its_lease_is_left_alone(farm: LocalFarm) -> None:
    watch = farm.up(lease_ms=10_000)
    attempt = running_family(farm, watch, "stunned")
    identity = farm.identity()
    for pid in (identity.guard_pid, identity.pid):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5)  # longer than it takes a guard to think that a supervisor hangs
    for pid in (identity.guard_pid, identity.pid):
        os.kill(pid, signal.SIGCONT)
    watch.executor.terminate(attempt, grace_ms=0)
    assert watch.end(attempt).signal == 9


def test_a_frozen_supervisor_is_left_alone_while_no_server_lives(farm: LocalFarm) -> None:
    watch = farm.up(lease_ms=200)
    attempt = running_family(farm, watch, "cold")
    os.kill(farm.identity().pid, signal.SIGSTOP)
    time.sleep(2.0)  # several leases and looks of the guard
    assert len(farm.processes(attempt)) == 4
    os.kill(farm.identity().pid, signal.SIGCONT)
    watch.executor.terminate(attempt, grace_ms=0)
    assert watch.end(attempt).signal == 9


def test_a_fence_ends_everything_even_when_supervisor_and_guard_are_frozen(farm: LocalFarm) -> None:
    watch = farm.up()
    attempt = running_family(farm, watch, "ice")
    identity = farm.identity()
    for pid in (identity.guard_pid, identity.pid):
        os.kill(pid, signal.SIGSTOP)
    assert watch.executor.fence("node-1")
    assert farm.processes() == []
    assert not living(identity)
    assert watch.first(NodeGone).verified
    watch.executor.start([attempt])
    assert watch.end(attempt).failure is FailureClass.LOST


def test_a_node_that_somebody_else_holds_is_not_called_dead(farm: LocalFarm) -> None:
    folder = Layout(farm.data_dir).node("node-1")
    folder.create()
    lock = try_lock(folder.lock)
    assert lock is not None
    with lock:
        assert not kill_node(farm.data_dir, "node-1", timeout_s=0.1)
    assert kill_node(farm.data_dir, "node-1", timeout_s=0.1)
