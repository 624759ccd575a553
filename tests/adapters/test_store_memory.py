"""The log in memory keeps what every log promises."""

import pytest

from adapters.store.memory import MemoryLog
from application.ports import Log
from tests.contracts.log import LogContract, held


class TestMemoryLog(LogContract):
    @pytest.fixture
    def log(self) -> Log:
        return MemoryLog()


def test_two_logs_share_nothing() -> None:
    one, two = MemoryLog(), MemoryLog()
    one.append([held("job-1", 1)])
    assert two.position() == 0


def test_asking_for_a_stream_that_does_not_exist_does_not_make_it() -> None:
    log = MemoryLog()
    assert log.stream("job-1") == []
    assert log.recorder.select_stream("job-1", 0, None) == []
    assert log.streams("", 10) == []


def test_closing_it_loses_nothing_that_somebody_still_holds() -> None:
    log = MemoryLog()
    log.append([held("job-1", 1)])
    log.close()
    assert log.position() == 1
