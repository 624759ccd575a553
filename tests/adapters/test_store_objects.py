"""The log of event objects keeps what every log promises."""

import pytest

from adapters.store.objects import ObjectLog
from application.ports import Log
from domain import errors
from tests.contracts.log import LogContract, drained, held, history, positions


class TestObjectLog(LogContract):
    @pytest.fixture
    def log(self) -> Log:
        return ObjectLog()


def test_a_version_that_leaves_a_gap_is_a_conflict() -> None:
    log = ObjectLog()
    with pytest.raises(errors.VersionConflict):
        log.append([held("job-1", 2)])
    assert (log.position(), log.streams("", 10)) == (0, [])


def test_what_is_read_is_the_very_object_that_was_appended() -> None:
    log = ObjectLog()
    log.append(history(1))
    given = drained(1)._replace(position=2)
    log.append([given])
    assert log.read(1, 1)[0] is given


def test_a_caller_who_reuses_a_list_changes_nothing() -> None:
    log, events = ObjectLog(), history(2)
    log.append(events)
    events.clear()
    assert positions(log.read(0, 10)) == [1, 2]
