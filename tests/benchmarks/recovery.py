"""Starting again: the farm from its whole log, and from a snapshot with a little log after it.

The history is that of `workload.history`: 500,000 events, 100,000 jobs still alive, 1,000 nodes. The floor reads all
rows in order, decodes each into its typed event, without its metadata, as a replay does, and does nothing with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from adapters.store.mapper import EventOnly
from adapters.store.sqlite import SQLiteLog, open_log
from application import farms
from tests.benchmarks import raw, workload
from tests.benchmarks.harness import Pair, Row, Size, seconds

SINCE_SNAPSHOT = 1_000


def _read_and_decode(path: Path) -> None:
    connection = raw.connect(path)
    for row in raw.walk(connection):
        _decode(row[3])
    connection.close()


_decode = msgspec.json.Decoder(EventOnly).decode


@contextmanager
def _history(size: Size, directory: Path) -> Iterator[tuple[SQLiteLog, Path]]:
    log = open_log(directory)
    workload.history(log, size.of(500_000, 250_000, 2_500))
    yield log, directory / "milepost.db"
    log.close()


@contextmanager
def from_the_log(size: Size, directory: Path) -> Iterator[Pair]:
    """All events, no snapshot."""
    with _history(size, directory) as (log, path):
        events = log.position()
        yield Pair(
            lambda: seconds(lambda: _read_and_decode(path)) / events,
            lambda: seconds(lambda: farms.load(log)) / events,
        )


@contextmanager
def from_a_snapshot(size: Size, directory: Path) -> Iterator[Pair]:
    """The newest snapshot and the events after it, against the full log: one recovery each."""
    with _history(size, directory) as (log, path):
        before = farms.load(log)
        farms.save(log, before.snapshot())
        ids = workload.job_ids(10_000_000)
        workload.fill(log, SINCE_SNAPSHOT // workload.EVENTS_OF_A_LIFE, ids)
        assert farms.load(log).jobs.keys() == before.jobs.keys()
        yield Pair(
            lambda: seconds(lambda: _read_and_decode(path)),
            lambda: seconds(lambda: farms.load(log)),
        )


ROWS = (
    Row("replay", "farm from 500,000 events", "raw read + typed decode", "event", from_the_log, accept=4, goal=2.2),
    Row(
        "snapshot",
        "farm from a snapshot of 100,000 jobs + 1,000 events",
        "read + decode of the full log",
        "start",
        from_a_snapshot,
        accept=1,
        goal=0.3,
    ),
)
