"""Appending: whole lives of jobs decided, evolved, encoded and stored, 1,000 events to a commit.

Ours is the write path without the application around it: `Batch.do` for every command, then `Log.append`. The floor
stores the very same rows by `executemany` into an equal table. Both logs grow alike from round to round.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.clock import SystemClock, SystemIds
from adapters.store.log import RecorderLog
from adapters.store.sqlite import open_log
from application.app import Application, Reply, Request
from domain.farm import Farm
from tests.benchmarks import raw, workload
from tests.benchmarks.harness import Pair, Row, Size, seconds

JOBS = workload.PER_COMMIT // workload.EVENTS_OF_A_LIFE
"""Jobs to a commit."""


def appended(log: RecorderLog, ids: Iterator[str], commits: int) -> float:
    """Seconds per event for deciding and storing so many commits of new jobs' lives."""
    batches = [workload.lives(JOBS, ids) for _ in range(commits)]

    def work() -> None:
        for lives in batches:
            log.append(workload.decided(log, lives).events)

    return seconds(work) / (commits * workload.PER_COMMIT)


@contextmanager
def against_raw(size: Size, directory: Path) -> Iterator[Pair]:
    """The row of the table: both sides from an empty log on."""
    commits = size.of(50, 20, 1)
    log = open_log(directory / "ours")
    connection = raw.create(directory / "raw.db", log)
    ids, raw_ids = workload.job_ids(), workload.job_ids()

    def floor() -> float:
        batches = [workload.decided(log, workload.lives(JOBS, raw_ids)).events for _ in range(commits)]
        return raw.insert(connection, [raw.rows_of(events) for events in batches]) / (commits * workload.PER_COMMIT)

    yield Pair(floor, lambda: appended(log, ids, commits))
    connection.close()
    log.close()


@contextmanager
def at_a_million(size: Size, directory: Path) -> Iterator[Pair]:
    """A log that already holds a million events against one that begins anew each round."""
    commits = size.of(50, 20, 1)
    full, ids = open_log(directory / "full"), workload.job_ids()
    workload.fill(full, size.of(1_000_000, 100_000, 1_000) // workload.EVENTS_OF_A_LIFE, ids)
    rounds = iter(range(1_000))

    def floor() -> float:
        log = open_log(directory / f"start-{next(rounds)}")
        try:
            return appended(log, workload.job_ids(), commits)
        finally:
            log.close()

    yield Pair(floor, lambda: appended(full, ids, commits))
    full.close()


@contextmanager
def through_the_application(size: Size, directory: Path) -> Iterator[Pair]:
    """The same lives as requests: consequences, replies, fold into the farm and its indices included."""
    commits = size.of(50, 20, 1)
    log = open_log(directory / "ours")
    app = Application(log, SystemClock(), SystemIds(), farm=Farm())
    app.handle_all(workload.node_commands(workload.NODES), "operator")
    connection = raw.create(directory / "raw.db", log)
    ids, counted = workload.job_ids(), [log.position(), log.position()]

    def ours() -> float:
        batches = [_requests(workload.lives(JOBS, ids)) for _ in range(commits)]
        took = seconds(lambda: [_carried_out(app, requests) for requests in batches])
        counted[:] = [counted[1], log.position()]
        return took / (counted[1] - counted[0])

    def floor() -> float:
        ours()
        rows = raw.stored_rows(log, *counted)
        per_commit = [rows[at : at + workload.PER_COMMIT] for at in range(0, len(rows), workload.PER_COMMIT)]
        return raw.insert(connection, per_commit) / len(rows)

    yield Pair(floor, ours)
    connection.close()
    log.close()


def _requests(lives: list[workload.Life]) -> list[Request]:
    return [Request((command,), meta) for life in lives for command, meta in life]


def _carried_out(app: Application, requests: list[Request]) -> None:
    for outcome in app.commit_all(requests):
        assert isinstance(outcome, Reply), outcome


ROWS = (
    Row(
        "append",
        "append, 1,000 events per commit",
        "raw executemany",
        "event",
        against_raw,
        accept=2.5,
        goal=1.6,
    ),
    Row(
        "append-1m",
        "append at 1 M events",
        "itself at the start",
        "event",
        at_a_million,
        accept=1.3,
        goal=1.15,
    ),
    Row(
        "append-application",
        "append through the application, farm and all",
        "raw executemany",
        "event",
        through_the_application,
    ),
)
