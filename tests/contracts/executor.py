"""What every executor promises. Subclass `ExecutorContract` with a way to make one, and run it.

class TestMine(ExecutorContract):
    def make_executor(self, folder): return MyExecutor(folder, NODES)
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from application.ports import (
    AnyReport,
    AttemptExited,
    AttemptStarted,
    Executor,
    Launch,
    NodeGone,
    NodeHeartbeat,
    NodeUp,
)
from domain.errors import NodeNotFound
from domain.job.values import FailureClass, Work
from domain.resources import Resources

DEADLINE_S = 10.0
SUCCEEDS = ("true",)
FAILS = ("sh", "-c", "exit 3")
LASTS = ("sleep", "600")

R = TypeVar("R")


def launch(
    name: str, *argv: str, node: str = "node-1", grace_ms: int = 2_000, walltime_ms: int | None = None,
    memory_mib: int = 0, work: Work | None = None, task: int = 0,
) -> Launch:  # fmt: skip
    """The first attempt of a task of the job `name`."""
    return Launch(
        attempt_id=f"{name}.{task}.1",
        job_id=name,
        task=task,
        attempt=1,
        node_id=node,
        nodes=((node, 1),),
        work=work or Work(argv=argv),
        resources=Resources(memory_mib=memory_mib),
        grace_ms=grace_ms,
        walltime_ms=walltime_ms,
    )


class Watch:
    """Everything an executor has reported, and a way to wait for more."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.seen: list[AnyReport] = []

    def until(self, enough: Callable[[], bool]) -> None:
        """Take reports until there is enough; AssertionError with what was seen if that takes too long."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not enough():
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, f"waited in vain; seen: {[r for r in self.seen if not isinstance(r, NodeHeartbeat)]}"
            self.seen += self.executor.reports(min(left_s, 0.25))

    def of(self, kind: type[R], **fields: object) -> list[R]:
        """All reports of a kind with these fields."""
        return [
            report
            for report in self.seen
            if isinstance(report, kind) and all(getattr(report, name) == value for name, value in fields.items())
        ]

    def first(self, kind: type[R], **fields: object) -> R:
        """Wait for a report of a kind with these fields."""
        self.until(lambda: bool(self.of(kind, **fields)))
        return self.of(kind, **fields)[0]

    def end(self, attempt: Launch) -> AttemptExited:
        """Wait for the end of an attempt."""
        return self.first(AttemptExited, attempt_id=attempt.attempt_id)

    def started(self, attempt: Launch) -> AttemptStarted:
        """Wait for the start of an attempt."""
        return self.first(AttemptStarted, attempt_id=attempt.attempt_id)

    def kinds(self, attempt: Launch) -> list[str]:
        """What was reported of an attempt, in order: `started`, `exited`, …"""
        mine = [report for report in self.seen if getattr(report, "attempt_id", None) == attempt.attempt_id]
        return [str(type(report).__struct_config__.tag) for report in mine]

    def forget(self) -> None:
        """Begin a new list."""
        self.seen = []


class ExecutorContract:
    """Behaviour that any implementation of the port shows. It has two nodes, `node-1` and `node-2`."""

    def make_executor(self, folder: Path) -> Executor:
        """A new executor, not open yet."""
        raise NotImplementedError

    @pytest.fixture
    def watch(self, tmp_path: Path) -> Iterator[Watch]:
        watch = Watch(self.make_executor(tmp_path))
        watch.executor.open()
        for node in ("node-1", "node-2"):
            watch.first(NodeUp, node_id=node)
        yield watch
        for node in ("node-1", "node-2"):
            watch.executor.start_node(node)
            watch.forget()
            watch.executor.stop_node(node)
            watch.first(NodeGone, node_id=node)
        watch.executor.close()

    def test_opening_again_changes_nothing(self, watch: Watch) -> None:
        watch.executor.open()
        watch.executor.start([attempt := launch("open", *SUCCEEDS)])
        assert watch.end(attempt).failure is None

    def test_an_attempt_that_succeeds_is_reported_started_and_then_exited(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("good", *SUCCEEDS)])
        end = watch.end(attempt)
        assert (end.exit_code, end.signal, end.failure, end.message) == (0, None, None, "")
        assert end.started_ms == watch.started(attempt).at_ms
        assert end.started_ms is not None
        assert end.ended_ms is not None
        assert end.started_ms <= end.ended_ms
        assert watch.kinds(attempt) == ["started", "exited"]

    def test_an_attempt_that_fails_says_how(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("bad", *FAILS)])
        end = watch.end(attempt)
        assert (end.exit_code, end.signal, end.failure) == (3, None, FailureClass.EXIT)

    def test_many_attempts_at_once_each_start_and_end_once(self, watch: Watch) -> None:
        attempts = [launch("many", *SUCCEEDS, node=f"node-{n % 2 + 1}", task=n) for n in range(20)]
        watch.executor.start(attempts)
        for attempt in attempts:
            watch.end(attempt)
        assert {tuple(watch.kinds(attempt)) for attempt in attempts} == {("started", "exited")}

    def test_an_attempt_started_again_is_only_reported_again(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("again", *SUCCEEDS)])
        end = watch.end(attempt)
        watch.forget()
        watch.executor.start([attempt])
        assert watch.end(attempt) == end
        assert watch.kinds(attempt) == ["started", "exited"]

    def test_a_running_attempt_started_again_goes_on_as_it_was(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("on", *LASTS)])
        started = watch.started(attempt)
        watch.forget()
        watch.executor.start([attempt])
        assert watch.started(attempt) == started

    def test_terminate_ends_a_running_attempt(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("told", *LASTS)])
        watch.started(attempt)
        watch.executor.terminate(attempt, grace_ms=5_000)
        end = watch.end(attempt)
        assert (end.exit_code, end.signal, end.failure) == (None, 15, FailureClass.SIGNAL)

    def test_an_attempt_started_and_terminated_in_one_breath_ends(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("breath", *LASTS)])
        watch.executor.terminate(attempt, grace_ms=5_000)
        assert watch.end(attempt).failure is FailureClass.SIGNAL

    def test_terminate_of_an_ended_attempt_reports_its_end_again(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("late", *SUCCEEDS)])
        end = watch.end(attempt)
        watch.forget()
        watch.executor.terminate(attempt, grace_ms=0)
        assert watch.end(attempt) == end

    def test_an_attempt_terminated_before_its_start_never_starts(self, watch: Watch) -> None:
        watch.executor.terminate(attempt := launch("never", *SUCCEEDS), grace_ms=0)
        end = watch.end(attempt)
        assert (end.exit_code, end.started_ms, end.message) == (None, None, "never started")
        assert end.failure is not None
        watch.forget()
        watch.executor.start([attempt])
        assert watch.end(attempt) == end
        assert watch.kinds(attempt) == ["exited"]

    def test_suspend_and_resume_of_what_does_not_run_change_nothing(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("still", *SUCCEEDS)])
        watch.end(attempt)
        watch.executor.suspend(attempt)
        watch.executor.resume(launch("unknown", *SUCCEEDS))
        watch.executor.start([another := launch("another", *SUCCEEDS)])
        assert watch.end(another).failure is None

    def test_stopping_a_node_ends_its_attempts_and_reports_it_gone(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("gone", *LASTS), other := launch("stays", *LASTS, node="node-2")])
        watch.started(attempt)
        watch.started(other)
        watch.executor.stop_node("node-1")
        watch.first(NodeGone, node_id="node-1")
        assert not watch.of(AttemptExited, attempt_id=other.attempt_id)
        watch.forget()
        watch.executor.start([attempt])
        assert watch.end(attempt).failure is FailureClass.LOST

    def test_an_attempt_for_a_node_that_is_gone_is_lost_and_never_runs(self, watch: Watch) -> None:
        watch.executor.stop_node("node-1")
        watch.first(NodeGone, node_id="node-1")
        watch.executor.start([attempt := launch("nowhere", *SUCCEEDS)])
        assert watch.end(attempt).failure is FailureClass.LOST
        watch.forget()
        watch.executor.start_node("node-1")
        watch.first(NodeUp, node_id="node-1")
        watch.executor.start([attempt])
        assert watch.end(attempt).failure is FailureClass.LOST
        assert watch.kinds(attempt) == ["exited"]

    def test_stopping_a_node_that_is_gone_changes_nothing(self, watch: Watch) -> None:
        watch.executor.stop_node("node-1")
        watch.first(NodeGone, node_id="node-1")
        watch.executor.stop_node("node-1")
        watch.forget()
        watch.executor.start_node("node-1")
        watch.first(NodeUp, node_id="node-1")
        assert not watch.of(NodeGone)

    def test_a_node_started_again_takes_attempts(self, watch: Watch) -> None:
        watch.executor.stop_node("node-1")
        watch.first(NodeGone, node_id="node-1")
        watch.forget()
        watch.executor.start_node("node-1")
        watch.executor.start([attempt := launch("back", *SUCCEEDS)])
        assert watch.end(attempt).failure is None
        assert watch.of(NodeUp, node_id="node-1")

    def test_starting_a_node_that_is_up_changes_nothing(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("up", *LASTS)])
        watch.started(attempt)
        watch.executor.start_node("node-1")
        watch.executor.terminate(attempt, grace_ms=5_000)
        assert watch.end(attempt).signal == 15

    def test_fencing_a_node_ends_what_runs_there_and_nothing_else(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("fenced", *LASTS), other := launch("spared", *LASTS, node="node-2")])
        watch.started(attempt)
        watch.started(other)
        assert watch.executor.fence("node-1")
        watch.first(NodeGone, node_id="node-1")
        assert not watch.of(AttemptExited, attempt_id=other.attempt_id)
        watch.executor.start([attempt])
        assert watch.end(attempt).failure is FailureClass.LOST
        assert watch.executor.fence("node-1")
        watch.forget()
        watch.executor.start_node("node-1")
        watch.first(NodeUp, node_id="node-1")
        assert not watch.of(NodeGone)

    def test_of_a_node_that_nobody_knows_nothing_is_left(self, watch: Watch) -> None:
        assert watch.executor.fence("node-9")

    def test_nodes_give_signs_of_life(self, watch: Watch) -> None:
        watch.forget()
        watch.first(NodeHeartbeat, node_id="node-1")
        watch.first(NodeHeartbeat, node_id="node-2")

    def test_wake_ends_the_waiting(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("calm", *SUCCEEDS)])
        watch.end(attempt)
        before_s = time.monotonic()
        watch.executor.wake()
        watch.executor.reports(DEADLINE_S)
        assert time.monotonic() - before_s < DEADLINE_S / 2

    def test_a_node_that_nobody_knows_cannot_be_started_or_stopped(self, watch: Watch) -> None:
        with pytest.raises(NodeNotFound):
            watch.executor.start_node("node-9")
        with pytest.raises(NodeNotFound):
            watch.executor.stop_node("node-9")

    def test_an_attempt_for_a_node_that_nobody_knows_is_lost(self, watch: Watch) -> None:
        watch.executor.start([attempt := launch("stray", *SUCCEEDS, node="node-9")])
        assert watch.end(attempt).failure is FailureClass.LOST
