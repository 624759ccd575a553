"""What preemptions cost and spared, from the log."""

from typing import Any

import pytest
from sqlalchemy import Engine

from domain.job import commands as c
from domain.job.values import Priority
from domain.node import LoseNode
from projections.preemptions import PreemptionView, preemptions
from projections.runner import ProjectionRunner
from projections.tables import open_views
from tests.application.desk import Desk
from tests.application.test_preemption import MINUTE, desk_with, running, stop
from tests.builders import HOUR


def told(desk: Desk, **which: Any) -> list[PreemptionView]:
    """What is on record of a desk's preemptions; the same however often the projection was stopped meanwhile."""
    found = [_told(desk, size, **which) for size in (1, 10_000)]
    assert found[0] == found[1]
    return found[0]


def _told(desk: Desk, size: int, **which: Any) -> list[PreemptionView]:
    engine: Engine = open_views("sqlite://")
    end = desk.position

    def read(after: int, limit: int) -> Any:
        return desk.log.read(after, min(limit, size))

    for _ in range(end if size == 1 else 1):
        ProjectionRunner(engine, read, desk.log.position).catch_up()
    with engine.connect() as connection:
        return preemptions(connection, **which)


def test_regret_is_work_lost_less_waiting_time_spared_times_processors() -> None:
    desk = desk_with("requeue", "n1")
    running(desk, "job-low", walltime_ms=HOUR)
    desk.submit("job-high", cores=2, priority=Priority.HIGH)
    desk.cycle()
    (held,) = told(desk)
    assert (held.state, held.leaving, held.lost_core_ms) == ("held", 1, 0)
    desk.clock.advance(2 * MINUTE)
    stop(desk, "job-low")
    desk.cycle()
    (view,) = told(desk)
    assert (view.state, view.leaving, view.started, view.unknown) == ("started", 0, 1, 0)
    assert view.lost_core_ms == 4 * 12 * MINUTE
    assert view.spared_core_ms == 2 * 48 * MINUTE
    assert view.regret_core_ms == view.lost_core_ms - view.spared_core_ms


def test_a_victim_that_saves_its_state_loses_only_what_came_after() -> None:
    desk = desk_with("checkpoint", "n1")
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    desk.clock.advance(MINUTE)
    desk.do(c.NoteCheckpoint(job_id="job-low", attempt=1, checkpoint_id="c-1", location="/c"))
    desk.clock.advance(MINUTE)
    stop(desk, "job-low")
    (view,) = told(desk)
    assert view.lost_core_ms == 4 * MINUTE
    desk.cycle()
    (view,) = told(desk)
    assert (view.unknown, view.spared_core_ms) == (1, 0)


def test_who_is_suspended_loses_nothing() -> None:
    desk = desk_with("suspend", "n1")
    running(desk, "job-low", walltime_ms=HOUR)
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    desk.cycle()
    (view,) = told(desk)
    assert (view.lost_core_ms, view.leaving, view.spared_core_ms) == (0, 0, 4 * 50 * MINUTE)


@pytest.mark.parametrize("ends", ["finish", "lose"])
def test_who_ends_otherwise_meanwhile_lost_nothing_by_it(ends: str) -> None:
    desk = desk_with("requeue", "n1")
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    if ends == "finish":
        desk.finish("job-low")
    else:
        desk.do(LoseNode(node_id="n1", why="it burned"))
    (view,) = told(desk)
    assert (view.leaving, view.lost_core_ms) == (0, 0)


def test_a_claim_that_was_given_up_spared_nothing() -> None:
    desk = desk_with("requeue", "n1")
    running(desk, "job-low", walltime_ms=HOUR)
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    desk.do(c.HoldJob(job_id="job-high"))
    stop(desk, "job-low")
    (view,) = told(desk)
    assert (view.state, view.released_why, view.started, view.spared_core_ms) == ("released", "held", 0, 0)
    assert view.regret_core_ms == view.lost_core_ms > 0


def test_both_sides_find_theirs_and_time_bounds_them() -> None:
    desk = desk_with("requeue", "n1")
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    at_ms = desk.clock.now_ms()
    assert [view.job_id for view in told(desk, job_id="job-low")] == ["job-high"]
    assert [view.job_id for view in told(desk, job_id="job-high")] == ["job-high"]
    assert told(desk, job_id="job-other") == []
    assert told(desk, since_ms=at_ms + 1) == []
    assert len(told(desk, since_ms=at_ms, until_ms=at_ms)) == 1
