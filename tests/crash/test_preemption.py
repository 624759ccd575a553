"""Preemption of real processes under a real server, seen from outside: states, processor time, memory, signals."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import pytest

from adapters.door import connect
from adapters.executors.layout import Layout
from adapters.executors.local import kill_node
from adapters.store.sqlite import read_log
from application import farms
from application.commands import AdoptPolicies
from domain.job import events as e
from domain.job.commands import SubmitJob
from domain.job.values import JobSpec, Priority, Work
from domain.messages import Command, Event
from domain.policies import Policies
from domain.resources import Requirement, Resources
from tests.crash.counting import MEMORY_MIB
from tests.crash.harness import Crashes

COUNTING = Path(__file__).with_name("counting.py")
PATIENCE_S = 30.0


class Count(NamedTuple):
    """One line of a counting task."""

    attempt: int
    pid: int
    number: int
    at_ns: int


class Stage:
    """A farm of one node, with jobs that need all of it."""

    def __init__(self, folder: Path) -> None:
        self.crashes, self.folder = Crashes(folder / "data", seed=1, nodes=1), folder
        self.crashes.data.mkdir()
        self.server = self.crashes.start()
        assert self.crashes.await_door(self.server, time.monotonic() + 20), self.crashes.tail()
        self.until(lambda: self.capacity().millicores, "a node")

    def until(self, holds: Callable[[], object], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until_s, f"waited in vain for {what}\n{self.crashes.tail()}"
            time.sleep(0.02)

    def do(self, command: Command) -> None:
        door = connect(self.crashes.data, write=True)
        door.handle([command])
        door.close()

    def capacity(self) -> Resources:
        log = read_log(self.crashes.data)
        nodes = farms.load(log).nodes
        log.close()
        return nodes["node-1"].capacity if "node-1" in nodes else Resources()

    def adopt(self, mode: str, **parameters: Any) -> None:
        self.do(AdoptPolicies(policies=Policies(preemption=mode, parameters={"preemption": parameters})))

    def submit(self, name: str, target: int, *options: str, **fields: Any) -> str:
        """A counting job that needs all cores of the node."""
        job_id = f"job-{name}"
        work = Work((sys.executable, "-S", str(COUNTING), str(self.log_of(name)), str(target), *options))
        requirement = Requirement(Resources(self.capacity().millicores))
        self.do(
            SubmitJob(
                spec=JobSpec(job_id, name, "default", work, requirement, **fields),
            )
        )
        return job_id

    def log_of(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def counts(self, name: str) -> list[Count]:
        file = self.log_of(name)
        lines = file.read_text().splitlines() if file.exists() else []
        return [Count(*[int(word) for word in line.rpartition(".")[2].split()]) for line in lines]

    def completed(self, job_id: str) -> None:
        door = connect(self.crashes.data, write=False)
        row = door.get(f"/api/wait/{job_id}", timeout_s=PATIENCE_S)
        door.close()
        assert row["status"] == "completed", self.crashes.tail()

    def events(self, *kinds: type[Event]) -> list[Any]:
        log = read_log(self.crashes.data)
        found = [each.event for each in log.read(0, 1_000_000) if isinstance(each.event, kinds)]
        log.close()
        return found

    def close(self) -> None:
        self.server.send_signal(signal.SIGINT)
        self.server.wait(20)
        for node_id in Layout(self.crashes.data).known_nodes():
            kill_node(self.crashes.data, node_id)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def stands_still(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


@pytest.mark.slow
@pytest.mark.parametrize("dies", [False, True], ids=["", "the server dies meanwhile"])
def test_a_suspended_process_keeps_its_memory_and_uses_no_processor(stage: Stage, dies: bool) -> None:
    stage.adopt("suspend")
    low = stage.submit("low", 400, priority=Priority.LOW)
    stage.until(lambda: len(stage.counts("low")) > 20, "the first counts")
    process = psutil.Process(stage.counts("low")[0].pid)
    high = stage.submit("high", 150, priority=Priority.HIGH)
    stage.until(lambda: stands_still(process), "the victim to stand still")
    if dies:
        stage.server.send_signal(signal.SIGKILL)
        stage.server.wait(10)
        stage.server = stage.crashes.start()
        assert stage.crashes.await_door(stage.server, time.monotonic() + 20), stage.crashes.tail()
    before, counted = process.cpu_times(), len(stage.counts("low"))
    stage.until(lambda: len(stage.counts("high")) > 30, "the preemptor to count")
    assert stands_still(process)
    assert process.cpu_times()[:2] == before[:2]
    assert len(stage.counts("low")) == counted
    assert process.memory_info().rss > MEMORY_MIB << 20
    stage.completed(high)
    stage.completed(low)
    assert {(each.attempt, each.pid) for each in stage.counts("low")} == {(1, process.pid)}
    assert [each.number for each in stage.counts("low")] == list(range(1, 401))
    last, first = stage.counts("high")[-1], next(c for c in stage.counts("low") if c.number == counted + 1)
    assert first.at_ns > last.at_ns
    (resumed,) = stage.events(e.TasksResumed)
    assert resumed.job_id == low


@pytest.mark.slow
def test_a_victim_saves_its_state_when_told_to_end_and_goes_on_from_there(stage: Stage) -> None:
    stage.adopt("checkpoint")
    low = stage.submit("low", 300, priority=Priority.LOW, checkpoints=True)
    stage.until(lambda: len(stage.counts("low")) > 50, "the first counts")
    high = stage.submit("high", 30, priority=Priority.HIGH)
    stage.completed(high)
    stage.completed(low)
    counts = stage.counts("low")
    first = [each.number for each in counts if each.attempt == 1]
    second = [each.number for each in counts if each.attempt == 2]
    assert second[0] in (first[-1], first[-1] + 1), "it did not go on where it had saved its state"
    assert second[-1] == 300
    assert counts[len(first) - 1].at_ns < stage.counts("high")[0].at_ns < counts[len(first)].at_ns
    (preempted,) = stage.events(e.TasksPreempted)
    assert (preempted.job_id, preempted.preemptor, preempted.attempts[0].lost_ms) == (low, high, 0)
    assert stage.events(e.TaskCheckpointed)[0].kept_ms > 0
    assert not stage.events(e.TasksFailed)


@pytest.mark.slow
def test_a_victim_that_does_not_listen_is_killed_when_its_grace_is_over(stage: Stage) -> None:
    stage.adopt("requeue", grace_s=1)
    low = stage.submit("low", 200, "--deaf", priority=Priority.LOW)
    stage.until(lambda: len(stage.counts("low")) > 20, "the first counts")
    high = stage.submit("high", 30, priority=Priority.HIGH)
    stage.completed(high)
    stage.completed(low)
    first = [each for each in stage.counts("low") if each.attempt == 1]
    second = [each for each in stage.counts("low") if each.attempt == 2]
    assert (second[0].number, second[-1].number) == (1, 200)
    stopping, *_ = stage.events(e.TasksStopping)
    stopped, *_ = stage.events(e.TasksStopped)
    assert (stopping.grace_ms, stopped.ends[0].signal) == (1_000, signal.SIGKILL)
    assert stopped.at_ms - stopping.at_ms >= 1_000
    assert first[-1].at_ns < stage.counts("high")[0].at_ns < second[0].at_ns
