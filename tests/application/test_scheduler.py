"""Cycles: a plan is appended whole or not at all, and reasons are recorded when they change, not every time."""

import threading
from pathlib import Path

import pytest

from adapters.store.sqlite import LOG_FILE, SQLiteLog, open_log
from application.commands import AdoptPolicies
from application.scheduler import Scheduler
from domain import errors
from domain.cycle import DAY_MS, NUMBERS_MS, CycleDecided, cycle_stream
from domain.decisions import ReasonCode, segment_name
from domain.job import commands as c
from domain.job.events import TasksPlaced
from domain.job.values import FailureClass, JobStatus, Priority
from domain.node import DrainNode
from domain.planning import blockers
from domain.policies import Policies
from tests.application.desk import Desk
from tests.builders import NOW, need
from tests.fakes import ManualClock

MINUTE = 60_000


def cycles(desk: Desk) -> list[CycleDecided]:
    return [each.event for each in desk.recorded() if isinstance(each.event, CycleDecided)]


def busy_desk(clock: ManualClock | None = None) -> Desk:
    """One node of four cores, three of them in use, and a job of two cores that waits."""
    desk = Desk(clock=clock)
    desk.nodes("n1", cores=4)
    desk.submit("job-1", cores=3)
    desk.cycle()
    desk.submit("job-2", cores=2)
    return desk


SEGMENT = segment_name("default", Priority.MEDIUM, need(2))


# -- placing ---------------------------------------------------------------------------------------------------------


def test_a_cycle_is_appended_whole_with_its_number_in_the_metadata() -> None:
    desk = Desk()
    desk.nodes("n1", "n2", cores=1)
    desk.submit("job-1", "job-2", "job-3")
    before = desk.position
    made = desk.cycle()
    assert made.position == before
    assert desk.topics(after=before) == ["job.tasks_placed", "job.tasks_placed", "cycle.decided"]
    assert {(r.meta.actor, r.meta.cycle) for r in desk.recorded(after=before)} == {("scheduler", before)}
    assert cycles(desk)[-1].position == before
    desk.check()


def test_each_placement_says_why_it_went_there() -> None:
    desk = Desk()
    desk.nodes("n1", "n2", cores=4)
    desk.submit("job-1")
    desk.cycle()
    reason = desk.last(TasksPlaced).reason
    assert (reason.policy, reason.order, reason.candidates, reason.score) == ("best-fit", "priority", 2, 0.25)


def test_a_cycle_with_nothing_to_do_writes_nothing() -> None:
    desk = Desk()
    desk.nodes("n1")
    before = desk.position
    assert desk.cycle().decisions == ()
    assert desk.position == before


def test_a_plan_that_lost_against_another_process_is_made_anew() -> None:
    desk = Desk()
    desk.nodes("n1", "n2", cores=1)
    desk.submit("job-1")
    Desk(log=desk.log).do(DrainNode(node_id="n1"))  # this desk has not seen it when it plans
    desk.cycle()
    assert desk.job("job-1").live[1].nodes == (("n2", 1),)
    desk.check()


def test_a_plan_is_made_anew_when_a_job_in_it_moved() -> None:
    desk = Desk()
    desk.nodes("n1", cores=1)
    desk.submit("job-1", "job-2")
    Desk(log=desk.log).do(c.HoldJob(job_id="job-1"))
    desk.cycle()
    assert [desk.status("job-1"), desk.status("job-2")] == [JobStatus.PENDING, JobStatus.RUNNING]
    desk.check()


def test_a_cycle_does_not_hide_a_store_that_fails() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")

    def fails(*args: object, **kwargs: object) -> int:
        raise errors.StoreError("the store failed: disk full")

    desk.log.append = fails  # type: ignore[method-assign]
    with pytest.raises(errors.StoreError):
        desk.cycle()
    assert desk.app.farm.jobs["job-1"].live == {}


# -- reasons ---------------------------------------------------------------------------------------------------------


def test_why_a_job_waits_is_recorded_once() -> None:
    desk = busy_desk()
    desk.cycle()
    (blocked,) = cycles(desk)[-1].blocked
    assert (blocked.segment, blocked.jobs) == (SEGMENT, 1)
    (reason,) = blocked.reasons
    assert (reason.code, reason.resource, reason.needed, reason.available, reason.node_id) == (
        ReasonCode.RESOURCES_SHORT,
        "millicores",
        2_000,
        1_000,
        "n1",
    )
    before = desk.position
    desk.cycle()
    assert desk.position == before
    assert blockers.of_job(desk.app.farm, desk.job("job-2"), NOW) == (reason,)


def test_a_new_blocker_is_recorded_at_once() -> None:
    desk = busy_desk()
    desk.cycle()
    desk.do(DrainNode(node_id="n1"))
    desk.cycle()
    assert desk.app.farm.blocked[SEGMENT].reasons[0].code is ReasonCode.NO_NODES


def test_what_no_longer_waits_is_cleared() -> None:
    desk = busy_desk()
    desk.cycle()
    desk.finish("job-1")
    desk.cycle()
    assert cycles(desk)[-1].cleared == (SEGMENT,)
    assert desk.app.farm.blocked == {}


def test_numbers_alone_are_refreshed_at_most_once_a_minute() -> None:
    desk = busy_desk()
    desk.cycle()
    recorded = len(cycles(desk))
    desk.submit("job-3", cores=2)  # two jobs wait now, for the same reason
    desk.clock.advance(MINUTE - 1)
    desk.cycle()
    assert len(cycles(desk)) == recorded
    assert desk.app.farm.blocked[SEGMENT].jobs == 1
    desk.clock.advance(1)
    desk.cycle()
    assert desk.app.farm.blocked[SEGMENT].jobs == 2
    desk.submit("job-4", cores=2)
    desk.cycle()
    assert len(cycles(desk)) == recorded + 1
    assert NUMBERS_MS == MINUTE


def test_a_new_process_refreshes_numbers_when_the_old_one_would_have() -> None:
    clock = ManualClock()
    desk = busy_desk(clock)
    desk.cycle()
    desk.submit("job-3", cores=2)
    clock.advance(MINUTE - 1)
    again = Desk(log=desk.log, clock=clock)
    before = again.position
    again.cycle()
    assert again.position == before
    clock.advance(1)
    again.cycle()
    assert again.app.farm.blocked[SEGMENT].jobs == 2


def test_each_day_opens_with_a_keyframe_of_all_reasons() -> None:
    desk = busy_desk()
    desk.cycle()
    first = cycles(desk)[0]
    assert first.keyframe
    desk.clock.advance(DAY_MS)
    desk.cycle()
    opening = desk.log.stream(cycle_stream(NOW + DAY_MS))
    assert [r.version for r in opening] == [1]
    assert isinstance(opening[0].event, CycleDecided)
    assert opening[0].event.keyframe
    assert [blocked.segment for blocked in opening[0].event.blocked] == [SEGMENT]
    desk.check()


def test_reasons_of_yesterday_do_not_outlive_the_night() -> None:
    desk = busy_desk()
    desk.cycle()
    assert desk.app.farm.blocked
    desk.do(c.CancelJob(job_id="job-2"))
    desk.clock.advance(DAY_MS)
    desk.cycle()
    assert desk.app.farm.blocked == {}
    assert desk.last(CycleDecided).keyframe
    before = desk.position
    desk.cycle()
    assert desk.position == before


def test_every_job_that_waits_has_a_reason_after_a_cycle() -> None:
    desk = busy_desk()
    desk.submit("job-3", cores=1, held=True)
    desk.submit("job-4", after=["job-2"])
    desk.submit("job-5", not_before_ms=NOW + MINUTE)
    desk.client("small", max_tasks=1)
    desk.submit("job-6", client_id="small", tasks="0-1", cores=1)
    desk.cycle()
    codes = {
        job_id: [reason.code.value for reason in blockers.of_job(desk.app.farm, desk.job(job_id), NOW)]
        for job_id in ("job-2", "job-3", "job-4", "job-5", "job-6")
    }
    assert codes == {
        "job-2": ["resources-short"],
        "job-3": ["held"],
        "job-4": ["dependency"],
        "job-5": ["start-time"],
        "job-6": ["client-limit"],
    }


# -- waking ----------------------------------------------------------------------------------------------------------


def test_a_cycle_says_when_time_alone_could_change_the_answer() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1", retries=1, backoff_ms=5_000)
    desk.run("job-1", failure=FailureClass.EXIT)
    made = desk.cycle()
    assert (made.decisions, made.wake_at_ms) == ((), NOW + 5_000)
    assert desk.scheduler._patience_s() == 5.0
    desk.clock.advance(4_000)
    assert desk.scheduler._patience_s() == 1.0
    desk.clock.advance(1_000)
    assert [place.job_id for place in desk.cycle().decisions] == ["job-1"]


def test_what_cannot_make_anything_startable_wakes_nobody() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    desk.scheduler._wake.clear()
    desk.cycle()
    desk.start("job-1")
    assert not desk.scheduler._wake.is_set()
    desk.finish("job-1")
    assert desk.scheduler._wake.is_set()


def test_the_loop_places_what_comes_until_it_is_told_to_stop() -> None:
    desk = Desk()
    placed, stop = threading.Event(), threading.Event()
    desk.app.listen(lambda rs: placed.set() if any(isinstance(r.event, TasksPlaced) for r in rs) else None)
    scheduler = Scheduler(desk.app)
    loop = threading.Thread(target=scheduler.run, args=(stop,))
    loop.start()
    desk.nodes("n1")
    desk.submit("job-1")
    assert placed.wait(5)
    stop.set()
    scheduler.wake()
    loop.join(5)
    assert not loop.is_alive()
    desk.check()


def test_the_loop_places_what_another_process_submits_although_nothing_happens_here(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    first, second = SQLiteLog(tmp_path / LOG_FILE), SQLiteLog(tmp_path / LOG_FILE)
    here, elsewhere = Desk(log=first), Desk(log=second)
    here.nodes("n1")
    placed, stop = threading.Event(), threading.Event()
    here.app.listen(lambda rs: placed.set() if any(isinstance(r.event, TasksPlaced) for r in rs) else None)
    scheduler = Scheduler(here.app, patience_s=0.02)
    loop = threading.Thread(target=scheduler.run, args=(stop,))
    loop.start()
    elsewhere.app.catch_up()
    elsewhere.submit("job-1")
    heard = placed.wait(5)
    stop.set()
    scheduler.wake()
    loop.join(5)
    assert heard
    elsewhere.app.catch_up()
    assert elsewhere.status("job-1") is JobStatus.RUNNING
    first.close()
    second.close()


def test_the_log_is_asked_for_news_only_when_nothing_was_heard_for_a_while() -> None:
    desk = Desk()
    desk.nodes("n1")
    Desk(log=desk.log).submit("job-1")
    assert desk.cycle().decisions == ()
    desk.scheduler._hear_of_others()
    assert [place.job_id for place in desk.cycle().decisions] == ["job-1"]
    before = desk.position
    desk.scheduler._hear_of_others()
    assert desk.position == before


def test_policies_in_force_are_those_of_the_log() -> None:
    desk = busy_desk()
    desk.submit("job-3", cores=1)
    Desk(log=desk.log).do(AdoptPolicies(policies=Policies(backfill="none")))
    desk.cycle()  # planned greedily first, which the log does not take
    assert desk.status("job-3") is JobStatus.QUEUED
