"""A log that stores late keeps what every log promises, and what lies behind it is always a beginning of the whole."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.store.buffered import BufferedLog
from adapters.store.memory import MemoryLog
from adapters.store.objects import ObjectLog
from adapters.store.sqlite import open_log, read_log
from application.ports import Log, Remembered, StateSnapshot, Unless
from domain import errors
from domain.messages import Recorded
from tests.contracts.log import LogContract, drained, held, history, positions, snapshot


class TestBufferedMemory(LogContract):
    @pytest.fixture
    def log(self) -> Log:
        return BufferedLog(MemoryLog())


class TestBufferedFile(LogContract):
    """Every second event makes a transaction."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        log = BufferedLog(open_log(tmp_path), every=2)
        yield log
        log.close()


class Counting(MemoryLog):
    """Counts the transactions, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.appends: list[int] = []
        self.broken = False

    def append(
        self,
        events: Sequence[Recorded],
        *,
        unless: Unless | None = None,
        snapshots: Sequence[StateSnapshot] = (),
        remembered: Sequence[Remembered] = (),
    ) -> int:
        """As in memory."""
        if self.broken:
            raise errors.StoreError("the disk is full")
        self.appends.append(len(events))
        return super().append(events, unless=unless, snapshots=snapshots, remembered=remembered)


def test_many_appends_make_one_transaction() -> None:
    inner = Counting()
    log = BufferedLog(inner, every=4)
    for version in range(1, 11):
        log.append([held("job-1", version)])
    assert inner.appends == [4, 4]
    assert (inner.position(), log.position()) == (8, 10)
    log.close()
    assert inner.appends == [4, 4, 2]
    assert positions(inner.read(0, 100)) == list(range(1, 11))


def test_an_append_is_never_split() -> None:
    inner = Counting()
    log = BufferedLog(inner, every=4)
    log.append(history(3))
    log.append(history(3, "job-2"))
    log.append(history(1, "job-3"))
    assert inner.appends == [6]


def test_what_nobody_has_written_is_looked_up_without_a_transaction() -> None:
    inner = Counting()
    log = BufferedLog(inner)
    log.append(history(2))
    assert log.stream("job-2") == []
    assert log.snapshot("job-1") is None
    assert log.remembered("cmd-a") is None
    assert log.append([held("job-1", 3)], unless=Unless(1, ("node.drained",))) == 3
    assert inner.appends == []
    assert [recorded.version for recorded in log.stream("job-1")] == [1, 2, 3]
    assert inner.appends == [3]


def test_reading_what_is_stored_makes_no_transaction() -> None:
    inner = Counting()
    log = BufferedLog(inner)
    log.append(history(3))
    log.flush()
    log.append(history(1, "job-2"))
    assert positions(log.read(0, 10, upto=3)) == [1, 2, 3]
    assert [position for position, *_ in log.replay(1, upto=2)] == [2]
    assert inner.appends == [3]
    assert positions(log.read(0, 10)) == [1, 2, 3, 4]


def test_a_log_that_had_something_goes_on_where_it_was(tmp_path: Path) -> None:
    before = open_log(tmp_path)
    before.append(history(2), remembered=[Remembered("cmd-a", 2, 2)])
    before.close()
    log = BufferedLog(open_log(tmp_path))
    with pytest.raises(errors.VersionConflict):
        log.append([held("job-1", 2)])
    with pytest.raises(errors.VersionConflict):
        log.append([held("job-1", 3)], remembered=[Remembered("cmd-a", 1, 1)])
    with pytest.raises(errors.PositionConflict):
        log.append([held("job-1", 3)], unless=Unless(1, ("job.held",)))
    assert log.append([held("job-1", 3), drained(1)], remembered=[Remembered("cmd-b", 1, 1)]) == 3
    log.close()
    after = read_log(tmp_path)
    assert positions(after.read(0, 10)) == [1, 2, 3, 4]
    assert after.remembered("cmd-b") == (3, 1)
    after.close()


def test_what_lies_behind_is_a_beginning_of_the_whole_with_no_snapshot_ahead_of_it(tmp_path: Path) -> None:
    log = BufferedLog(open_log(tmp_path), every=4)
    for version in range(1, 7):
        log.append([held("job-1", version), drained(version)], snapshots=[snapshot(version=version)])
    after_a_crash = read_log(tmp_path)  # as another process would find it now
    found = after_a_crash.read(0, 100)
    assert positions(found) == list(range(1, 9))
    assert after_a_crash.snapshot("job-1") == snapshot(version=4)
    after_a_crash.close()
    log.close()


def test_a_store_that_fails_refuses_the_append_and_keeps_the_rest_for_later() -> None:
    inner = Counting()
    log = BufferedLog(inner, every=2)
    log.append(history(2))
    inner.broken = True
    with pytest.raises(errors.StoreError):
        log.append([held("job-2", 1)])
    assert log.position() == 2
    inner.broken = False
    assert log.append([held("job-2", 1)]) == 3
    log.close()
    assert positions(inner.read(0, 10)) == [1, 2, 3]


def test_another_writer_behind_its_back_is_noticed() -> None:
    inner = ObjectLog()
    log = BufferedLog(inner)
    log.append(history(1))
    inner.append([drained(1)])
    with pytest.raises(errors.StoreError, match="another process"):
        log.flush()
