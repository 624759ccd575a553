"""The farm now and at any time: always the fold of the log up to there, whatever snapshots there are."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from adapters.store.memory import MemoryLog
from adapters.store.sqlite import SQLiteLog, open_log
from application import farms
from application.app import Request
from application.cached import topic_of
from application.decider import JOB, load_stream
from application.ports import Log, StateSnapshot
from domain.farm import Farm
from domain.job import commands as c
from domain.job.values import FailureClass, Job
from domain.messages import Meta, Value
from domain.node import DrainNode, LoseNode, UndrainNode
from tests.application.desk import ADA, Desk
from tests.builders import NOW, spec
from tests.contents import contents

MINUTE = 60_000


class OtherFarm(Value, frozen=True):
    """The farm as another version may store it: it would be read as a farm without jobs."""

    position: int
    now_ms: int
    tasks: tuple[Job, ...] = ()


def history(log: Log) -> Desk:
    """A day in short: several minutes with a bit of everything."""
    desk = Desk(log=log)
    desk.nodes("n1", "n2", cores=2)
    desk.client("show", max_tasks=3)
    desk.clock.advance(MINUTE)
    desk.submit_workflow("job-1", "job-2", "job-3", edges=[("job-1", "job-2"), ("job-2", "job-3")])
    desk.submit("job-4", client_id="show", tasks="0-5", retries=1)
    desk.clock.advance(MINUTE)
    desk.cycle()
    desk.start("job-1")
    desk.clock.advance(MINUTE)
    desk.finish("job-1")
    desk.finish("job-4", failure=FailureClass.EXIT)
    desk.cycle()
    desk.do(DrainNode(node_id="n2"))
    desk.clock.advance(MINUTE)
    desk.do(LoseNode(node_id="n1", why="it burned"))
    desk.cycle()
    desk.do(c.CancelJob(job_id="job-2"), UndrainNode(node_id="n2"))
    desk.clock.advance(MINUTE)
    desk.cycle()
    desk.do(c.RetryJob(job_id="job-2"))
    desk.cycle()
    return desk


@pytest.fixture(params=["memory", "sqlite"])
def log(request: Any, tmp_path: Any) -> Any:
    made: Log = MemoryLog() if request.param == "memory" else open_log(tmp_path / "data")
    yield made
    made.close()


def folded(log: Log, upto: int) -> Farm:
    """Event by event, the slow way."""
    farm = Farm()
    for position, stream, version, event in log.replay(0, upto):
        farm.apply(position, stream, version, event)
    return farm


def test_the_farm_at_any_position_is_the_fold_of_everything_up_to_it(log: Log) -> None:
    desk = history(log)
    for position in range(desk.position + 1):
        assert contents(farms.load(log, position)) == contents(folded(log, position)), position
    assert contents(desk.app.farm) == contents(farms.load(log))


def test_snapshots_change_nothing_wherever_they_were_taken(log: Log) -> None:
    desk = history(log)
    expected = [contents(farms.load(log, position)) for position in range(desk.position + 1)]
    for position in random.Random(7).sample(range(1, desk.position + 1), 8):
        farms.save(log, farms.load(log, position).snapshot())
    assert [contents(farms.load(log, position)) for position in range(desk.position + 1)] == expected
    log.forget_snapshots()
    assert log.snapshot(farms.FARM_STREAM) is None
    assert [contents(farms.load(log, position)) for position in range(desk.position + 1)] == expected


def test_a_farm_that_was_restored_goes_on_like_one_that_was_not(log: Log) -> None:
    desk = history(log)
    farms.save(log, desk.app.farm.snapshot())
    again = Desk(log=log, clock=desk.clock)
    again.submit("job-9", tasks="0-3")
    again.cycle()
    log.forget_snapshots()
    assert contents(farms.load(log)) == contents(again.app.farm)


def test_the_farm_at_a_time_has_every_event_up_to_and_including_that_millisecond(log: Log) -> None:
    desk = history(log)
    times = [each.event.at_ms for each in desk.recorded()]
    assert times == sorted(times)
    for at_ms in {NOW - 1, *times, *(at + 1 for at in times), NOW + 100 * MINUTE}:
        farm = farms.load(log, log.position_at(at_ms))
        assert farm.position == sum(at <= at_ms for at in times)
        assert farm.now_ms == max((at for at in times if at <= at_ms), default=0)


def test_an_empty_log_is_an_empty_farm_at_any_time(log: Log) -> None:
    assert farms.load(log).position == 0
    assert farms.load(log, log.position_at(NOW)).position == 0


# -- when snapshots are taken ----------------------------------------------------------------------------------------


def test_a_snapshot_is_stored_once_so_many_events_have_come(log: Log) -> None:
    desk = history(log)
    every = desk.position
    assert desk.app.snapshot_if_due(every)
    found = log.snapshot(farms.FARM_STREAM)
    assert found is not None
    assert (found.version, found.topic) == (every, farms.topic())
    assert not desk.app.snapshot_if_due(every)
    desk.do(c.HoldJob(job_id="job-4"))
    assert desk.app.snapshot_if_due(1)
    assert desk.app.farm.snapshot() == Farm.restore(farms.load(log).snapshot()).snapshot()


def test_closing_stores_a_snapshot_when_that_saves_the_next_start_something(tmp_path: Any) -> None:
    def closed_after(jobs: int, name: str) -> SQLiteLog:
        desk = Desk(log=open_log(tmp_path / name))
        desk.app.commit_all([Request((submission(n),), Meta(ADA)) for n in range(jobs)])
        desk.app.close()
        return open_log(tmp_path / name)

    def submission(number: int) -> c.SubmitJob:
        return c.SubmitJob(spec=spec(f"job-{number}", client_id="default"))

    few, many = closed_after(3, "few"), closed_after(farms.WORTH_A_SNAPSHOT, "many")
    assert few.snapshot(farms.FARM_STREAM) is None
    assert many.snapshot(farms.FARM_STREAM) is not None
    few.close()
    many.close()


def test_events_replayed_at_the_start_count_towards_the_next_snapshot(log: Log) -> None:
    desk = history(log)
    assert Desk(log=log).app.snapshot_if_due(desk.position)
    assert not Desk(log=log).app.snapshot_if_due(1)


def test_a_snapshot_of_another_kind_is_passed_over(log: Log) -> None:
    desk = history(log)
    before = contents(farms.load(log))
    log.save_snapshots([StateSnapshot(farms.FARM_STREAM, desk.position, "farm.snapshot.old", b"whatever it was")])
    log.save_snapshots([StateSnapshot("job-4", 99, "job.snapshot.old", b"whatever it was")])
    assert contents(farms.load(log)) == before
    assert desk.app.load(JOB, "job-4").state == desk.job("job-4")


@pytest.mark.parametrize("state", [b"", b"\xc1", b"\x80", b"\x81\xa8position\xa1\xff", b"\x91" * 5_000])
def test_a_snapshot_that_cannot_be_read_is_replaced_by_replay(log: Log, state: bytes) -> None:
    desk = history(log)
    before = contents(farms.load(log))
    farms.save(log, farms.load(log, 5).snapshot())
    log.save_snapshots([StateSnapshot(farms.FARM_STREAM, desk.position, farms.topic(), state)])
    log.save_snapshots([StateSnapshot("job-4", log.stream("job-4")[-1].version, JOB.snapshot_topic, state)])
    assert contents(farms.load(log)) == contents(folded(log, desk.position)) == before
    assert load_stream(log, JOB, "job-4").state == desk.job("job-4")
    assert contents(Desk(log=log, clock=desk.clock).app.farm) == before


def test_a_snapshot_of_another_shape_hides_none_of_todays(log: Log) -> None:
    desk = history(log)
    expected = contents(farms.load(log))
    farms.save(log, farms.load(log, 9).snapshot())
    other = topic_of(farms.FARM_TOPIC, OtherFarm)
    state = msgspec.msgpack.encode(OtherFarm(desk.position, NOW))
    log.save_snapshots([StateSnapshot(farms.FARM_STREAM, desk.position, other, state)])
    farm, started_from = farms.load_and_tell(log)
    assert (contents(farm), started_from) == (expected, 9)
    farms.save(log, farm.snapshot())
    assert farms.load_and_tell(log)[1] == desk.position


def test_a_log_is_read_only_from_the_snapshot_on(log: Log) -> None:
    desk = history(log)
    halfway = desk.position // 2
    farms.save(log, farms.load(log, halfway).snapshot())
    asked: list[int] = []
    replay: Callable[..., Any] = log.replay

    def noting(after: int, upto: int | None = None) -> Any:
        asked.append(after)
        return replay(after, upto)

    log.replay = noting  # type: ignore[method-assign]
    farms.load(log)
    farms.load(log, halfway - 1)
    assert asked == [halfway, 0]


def test_an_older_snapshot_beside_a_newer_one_serves_older_positions(log: Log) -> None:
    desk = history(log)
    for position in (5, 9):
        farms.save(log, farms.load(log, position).snapshot())
    found = [log.snapshot(farms.FARM_STREAM, upto) for upto in (4, 5, 8, 9, desk.position)]
    assert [None if each is None else each.version for each in found] == [None, 5, 5, 9, 9]
    assert all(each is None or isinstance(each, StateSnapshot) for each in found)
