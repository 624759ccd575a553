"""A job's whole path: submitted, planned, placed, launched, started, ended, completed; five durable events.

Everything is the product's own: application, scheduler, dispatcher, and the executor that runs nothing, in one process
and one thread. 1,000 jobs are in flight at a time: submitted in one commit, placed by one cycle, reported in one more.

Against huey: its own consumer in this process with one worker thread (more do not help, its store has one writer), on
SQLite with `fsync=True`, so that its queue is as durable as our log, and with results kept, because the outcome of a
job is durable here too. 1,000 tasks are put in before the consumer starts, which is faster for huey than letting both
compete for the file. It keeps no history, no reasons and no resources; it is what a small farm would otherwise use.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huey import SqliteHuey
from huey.signals import SIGNAL_COMPLETE

from adapters.artefacts import verify
from adapters.clock import SystemClock, SystemIds
from adapters.executors.machine import LocalNode
from adapters.executors.noop import NoopExecutor
from adapters.store.sqlite import SQLiteLog, open_log
from application.app import Application, Reply, Request
from application.dispatcher import Dispatcher
from application.scheduler import Scheduler
from application.watchdog import Watchdog
from domain.messages import Recorded
from tests.benchmarks import raw, workload
from tests.benchmarks.harness import Pair, Row, Size, seconds

NODES = 100
IN_FLIGHT = 1_000


class Product:
    """The product from door to executor, driven by hand instead of by its loops' threads."""

    def __init__(self, log: SQLiteLog) -> None:
        clock, self.ids = SystemClock(), SystemIds()
        self.log = log
        self.app = Application(log, clock, self.ids)
        executor = NoopExecutor([LocalNode(f"n{n}", workload.ROOMY) for n in range(1, NODES + 1)], clock)
        watchdog = Watchdog(self.app, executor)
        self.scheduler = Scheduler(self.app)
        self.dispatcher = Dispatcher(self.app, executor, node_reports=watchdog.hear, verify=verify)
        executor.open()
        self.dispatcher.take_reports(0)

    def run(self, jobs: int) -> None:
        """That many jobs from submission to completion."""
        for outcome in self.app.commit_all(self._submissions(jobs)):
            assert isinstance(outcome, Reply), outcome
        self.scheduler.cycle()
        self.dispatcher.perform()
        self.dispatcher.take_reports(0)
        assert not self.app.farm.jobs, "some jobs did not complete"

    def _submissions(self, jobs: int) -> list[Request]:
        return [Request((workload.submission(self.ids.new("job")),), workload.USER) for _ in range(jobs)]


def run_through(path: Product, jobs: int, in_flight: int) -> float:
    """Seconds per job."""
    return seconds(lambda: [path.run(in_flight) for _ in range(jobs // in_flight)]) / jobs


@contextmanager
def against_raw(size: Size, directory: Path) -> Iterator[Pair]:
    """The floor writes the same rows in the same commits."""
    jobs, in_flight = size.of(10_000, 4_000, 20), size.of(IN_FLIGHT, IN_FLIGHT, 10)
    log = open_log(directory / "ours")
    path = Product(log)
    connection = raw.create(directory / "raw.db", log)
    commits: list[list[raw.NewRow]] = []

    def note(recorded: list[Recorded]) -> None:
        commits.append(raw.rows_of(recorded))

    def floor() -> float:
        path.app.listen(note)  # type: ignore[arg-type]
        run_through(path, jobs, in_flight)
        path.app._listeners.remove(note)  # type: ignore[arg-type]
        took = raw.insert(connection, commits) / jobs
        assert sum(len(rows) for rows in commits) >= 4 * jobs
        commits.clear()
        return took

    yield Pair(floor, lambda: run_through(path, jobs, in_flight))
    connection.close()
    log.close()


@contextmanager
def against_huey(size: Size, directory: Path) -> Iterator[Pair]:
    """Side by side, each with its own file."""
    jobs, in_flight = size.of(10_000, 4_000, 20), size.of(IN_FLIGHT, IN_FLIGHT, 10)
    log = open_log(directory / "ours")
    path = Product(log)
    files = (directory / f"huey-{number}.db" for number in range(1_000))
    yield Pair(lambda: _Huey(next(files)).run(in_flight) / in_flight, lambda: run_through(path, jobs, in_flight))
    log.close()


class _Huey:
    """A durable queue and one worker, counting what completes."""

    def __init__(self, path: Path) -> None:
        self._huey = SqliteHuey("benchmark", filename=str(path), fsync=True, results=True, immediate=False)
        self._done = threading.Semaphore(0)
        self._huey.signal(SIGNAL_COMPLETE)(self._completed)
        self._task = self._huey.task()(_exit_code)

    def _completed(self, signal: str, task: object) -> None:
        self._done.release()

    def run(self, jobs: int) -> float:
        """Seconds from the first task's being put in to the last one's stored result."""
        consumer = self._huey.create_consumer(
            workers=1, periodic=False, initial_delay=0.001, max_delay=0.01, check_worker_health=False
        )

        def work() -> None:
            for _ in range(jobs):
                self._task("true")
            consumer.start()
            for _ in range(jobs):
                self._done.acquire()

        took = seconds(work)
        consumer.stop(graceful=True)
        return took


def _exit_code(command: str) -> int:
    """The task that does nothing, with a result that huey stores (it stores no None)."""
    return len(command)


ROWS = (
    Row("path", "whole path, no-op executor", "raw sqlite3, same rows", "job", against_raw, accept=5, goal=2.5),
    Row(
        "path-huey",
        "whole path, no-op executor",
        "huey on SQLite, fsync",
        "job",
        against_huey,
        accept=8,
        goal=15,
        faster=True,
        rounds=5,
    ),
)
