"""A branch of a log keeps what every log promises, goes on from where it branched, and leaves the log as it is."""

import pytest

from adapters.store.objects import ObjectLog
from application.ports import Log, Remembered, Unless
from application.simulation.branch import BranchLog
from domain import errors
from tests.builders import NOW
from tests.contracts.log import LogContract, drained, held, history, positions, snapshot


class TestBranchOfNothing(LogContract):
    @pytest.fixture
    def log(self) -> Log:
        return BranchLog(ObjectLog(), 0)


@pytest.fixture
def base() -> ObjectLog:
    """Four events, of which the first two are the past."""
    log = ObjectLog()
    log.append([held("job-1", 1, NOW), drained(1, NOW)], remembered=[Remembered("cmd-a", 2, 2)])
    log.append([held("job-1", 2, NOW + 5), held("job-2", 1, NOW + 5)], remembered=[Remembered("cmd-b", 2, 2)])
    return log


def test_it_begins_with_the_past_and_knows_nothing_of_what_came_then(base: ObjectLog) -> None:
    branch = BranchLog(base, 2)
    assert branch.position() == 2
    assert positions(branch.read(0, 10)) == [1, 2]
    assert [position for position, *_ in branch.replay(1)] == [2]
    assert [each.version for each in branch.stream("job-1")] == [1]
    assert branch.stream("job-2") == []
    assert branch.streams("", 10) == ["job-1", "node:n1"]
    assert [branch.position_at(at) for at in (NOW - 1, NOW, NOW + 9)] == [0, 2, 2]
    assert (branch.remembered("cmd-a"), branch.remembered("cmd-b")) == ((2, 2), None)
    assert positions(branch.of_command("cmd-1")) == [1, 2]


def test_it_goes_on_where_every_stream_ended(base: ObjectLog) -> None:
    branch = BranchLog(base, 2)
    assert branch.append([held("job-1", 2, NOW + 1), held("job-2", 1, NOW + 2), drained(2, NOW + 2)]) == 3
    assert branch.append([held("job-1", 3, NOW + 3)]) == 6
    assert positions(branch.read(1, 3)) == [2, 3, 4]
    assert positions(branch.read(0, 10, topics=["node.drained"])) == [2, 5]
    assert [(each.position, each.version) for each in branch.stream("job-1", 1)] == [(3, 2), (6, 3)]
    assert branch.streams("job-", 10) == ["job-1", "job-2"]
    assert [branch.position_at(at) for at in (NOW, NOW + 1, NOW + 2, NOW + 3)] == [2, 3, 5, 6]
    assert [position for position, *_ in branch.replay(1, 4)] == [2, 3, 4]


@pytest.mark.parametrize("wrong", [held("job-1", 1), held("job-1", 3), held("job-2", 2), drained(1)])
def test_a_version_that_is_taken_or_comes_too_early_is_a_conflict(base: ObjectLog, wrong: object) -> None:
    branch = BranchLog(base, 2)
    with pytest.raises(errors.VersionConflict):
        branch.append([held("job-3", 1), wrong])  # type: ignore[list-item]
    assert branch.position() == 2
    assert branch.stream("job-3") == []


def test_conditions_look_at_the_past_and_at_what_is_new(base: ObjectLog) -> None:
    branch = BranchLog(base, 2)
    with pytest.raises(errors.PositionConflict):
        branch.append([held("job-1", 2)], unless=Unless(1, ("node.drained",)))
    branch.append([held("job-1", 2)], unless=Unless(2, ("job.held", "node.drained")))
    with pytest.raises(errors.PositionConflict):
        branch.append([held("job-1", 3)], unless=Unless(2, ("job.held",)))


def test_the_log_that_it_branches_from_stays_as_it_is(base: ObjectLog) -> None:
    before = base.read(0, 100)
    branch, other = BranchLog(base, 2), BranchLog(base, 2)
    branch.append(history(3, "job-9"), snapshots=[snapshot()], remembered=[Remembered("cmd-c", 1, 1)])
    branch.forget_snapshots()
    branch.close()
    assert base.read(0, 100) == before
    assert (base.snapshot("job-1"), base.remembered("cmd-c")) == (None, None)
    assert other.position() == 2
