"""The executor that runs nothing keeps the port's promises, and costs next to nothing."""

from pathlib import Path

from adapters.clock import SystemClock
from adapters.executors.machine import LocalNode
from adapters.executors.noop import NoopExecutor
from application.ports import AttemptExited, AttemptStarted, Launch
from domain.job.values import FailureClass
from domain.resources import Resources
from tests.contracts.executor import FAILS, LASTS, ExecutorContract, Watch, launch

NODES = [LocalNode("node-1", Resources(millicores=1000)), LocalNode("node-2", Resources(millicores=1000))]


class StandingClock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.ms = 1_000

    def now_ms(self) -> int:
        return self.ms


CLOCK = StandingClock()


def outcome(attempt: Launch) -> AttemptExited | None:
    """What the contract's commands would do."""
    if attempt.work.argv == LASTS:
        return None
    now_ms = SystemClock().now_ms()
    end = AttemptExited(attempt_id=attempt.attempt_id, exit_code=0, started_ms=now_ms, ended_ms=now_ms)
    if attempt.work.argv == FAILS:
        return AttemptExited(attempt_id=attempt.attempt_id, exit_code=3, failure=FailureClass.EXIT)
    return end


class TestNoopExecutor(ExecutorContract):
    def make_executor(self, folder: Path) -> NoopExecutor:
        return NoopExecutor(NODES, SystemClock(), outcome, heartbeat_ms=20)


def test_without_a_script_every_attempt_succeeds_at_the_time_of_the_clock() -> None:
    executor = NoopExecutor(NODES, CLOCK)
    executor.open()
    executor.start([launch("one"), launch("two")])
    assert executor.reports(0)[2:] == [
        AttemptStarted(attempt_id="one.0.1", at_ms=1_000),
        AttemptExited(attempt_id="one.0.1", exit_code=0, started_ms=1_000, ended_ms=1_000),
        AttemptStarted(attempt_id="two.0.1", at_ms=1_000),
        AttemptExited(attempt_id="two.0.1", exit_code=0, started_ms=1_000, ended_ms=1_000),
    ]


def test_a_running_attempt_ends_when_somebody_says_so_and_only_once() -> None:
    executor = NoopExecutor(NODES, CLOCK, outcome)
    executor.open()
    watch = Watch(executor)
    executor.start([attempt := launch("long", *LASTS)])
    end = AttemptExited(attempt_id=attempt.attempt_id, exit_code=0, started_ms=1_000, ended_ms=5_000)
    executor.finish(end)
    executor.finish(AttemptExited(attempt_id=attempt.attempt_id, exit_code=1, failure=FailureClass.EXIT))
    executor.terminate(attempt, grace_ms=0)
    assert watch.end(attempt) == end
    assert len(watch.of(AttemptExited)) == 2
    assert set(watch.of(AttemptExited)) == {end}


def test_draining_the_reports_of_a_standing_clock_comes_to_an_end() -> None:
    executor = NoopExecutor(NODES, CLOCK)
    executor.open()
    rounds = 0
    while executor.reports(0):
        rounds += 1
    assert rounds == 1
