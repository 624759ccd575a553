"""Commands one by one: what a lone caller waits for, and what many callers gain by sharing a commit.

Each submission is durable before its caller goes on. Many callers are coroutines on one event loop, as the HTTP door's
are, or threads that call `Application.handle`; whoever comes while a commit is under way shares the next one.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from adapters.clock import SystemClock, SystemIds
from adapters.store.sqlite import open_log
from application.app import Application
from application.gathering import Gathering
from domain.farm import Farm
from tests.benchmarks import raw, workload
from tests.benchmarks.harness import Pair, Row, Size, seconds

CALLERS = 64


@contextmanager
def alone(size: Size, directory: Path) -> Iterator[Pair]:
    """One caller, one job at a time, against one raw commit per row."""
    count = size.of(200, 200, 20)
    log, app = _application(directory)
    connection = raw.create(directory / "raw.db", log)
    ids = workload.job_ids()

    def floor() -> float:
        lives = workload.lives(count, ids, workload.waiting)
        rows = raw.rows_of(workload.decided(log, lives).events)
        return raw.insert(connection, [[row] for row in rows]) / count

    def ours() -> float:
        commands = [workload.submission(next(ids)) for _ in range(count)]
        return seconds(lambda: [app.handle(command, "user:ada") for command in commands]) / count

    yield Pair(floor, ours)
    connection.close()
    log.close()


Shares = list[list[workload.c.SubmitJob]]


def together(size: Size, directory: Path) -> AbstractContextManager[Pair]:
    """64 coroutines, each waiting for its own acknowledgement, against one caller alone."""
    return _many(size, directory, _by_coroutines)


def together_in_threads(size: Size, directory: Path) -> AbstractContextManager[Pair]:
    """The same with a thread for every caller, which pays for two switches of threads a command."""
    return _many(size, directory, _by_threads)


@contextmanager
def _many(size: Size, directory: Path, call_all: Callable[[Application, Shares], float]) -> Iterator[Pair]:
    count = size.of(20_000, 6_000, 128)
    log, app = _application(directory)
    ids = workload.job_ids()

    def submitting(callers: int, jobs: int) -> float:
        submissions = [workload.submission(next(ids)) for _ in range(jobs // callers * callers)]
        shares = [submissions[caller::callers] for caller in range(callers)]  # ids in the order of their making
        run = call_all if callers > 1 else _by_threads
        return run(app, shares) / (jobs // callers * callers)

    yield Pair(lambda: submitting(1, count // 20), lambda: submitting(CALLERS, count))
    log.close()


def _by_coroutines(app: Application, shares: Shares) -> float:
    """Seconds until the last coroutine has its last acknowledgement."""
    gathering = Gathering(app)

    async def call(commands: list[workload.c.SubmitJob]) -> None:
        for command in commands:
            await gathering.handle(command, "user:ada")

    async def all_of_them() -> None:
        await asyncio.gather(*(call(share) for share in shares))

    try:
        return seconds(lambda: asyncio.run(all_of_them()))
    finally:
        gathering.close()


def _by_threads(app: Application, shares: Shares) -> float:
    """Seconds from the moment when all callers may start until the last one has its last acknowledgement."""
    ready = threading.Barrier(len(shares) + 1)

    def call(commands: list[workload.c.SubmitJob]) -> None:
        ready.wait()
        for command in commands:
            app.handle(command, "user:ada")

    threads = [threading.Thread(target=call, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()

    def until_all_are_done() -> None:
        ready.wait()
        for thread in threads:
            thread.join()

    return seconds(until_all_are_done)


def _application(directory: Path) -> tuple["raw.SQLiteLog", Application]:
    log = open_log(directory / "ours")
    app = Application(log, SystemClock(), SystemIds(), farm=Farm())
    app.handle_all(workload.node_commands(10), "operator")
    return log, app


ROWS = (
    Row(
        "command",
        "one command alone, acknowledged",
        "raw one-event commit",
        "command",
        alone,
        accept=2,
        goal=1.5,
        rounds=21,
    ),
    Row(
        "callers",
        "64 concurrent submitters",
        "one submitter",
        "command",
        together,
        accept=8,
        goal=12,
        faster=True,
        rounds=5,
    ),
    Row(
        "callers-threads",
        "64 submitters in threads",
        "one submitter",
        "command",
        together_in_threads,
        faster=True,
        rounds=5,
    ),
)
