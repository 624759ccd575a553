"""The recorder: every forecast on record when it is due and no sooner, and every end scored exactly once."""

import threading
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.store.memory import MemoryLog
from adapters.store.objects import ObjectLog
from application import farms, forecasts
from application.forecasts import CALM_MS, GAP_MS, HOUR_MS, PERIOD_MS, Forecasts
from application.ports import Log
from application.simulation.farms import whole
from application.simulation.traces import TraceRun
from application.simulation.workload import Trace, TraceJob
from domain.forecasting.promises import Basis, ForecastsMade, ForecastsScored, Promise, Score, Word
from domain.job import commands as c
from domain.job.events import JobCancelled, JobCompleted, JobFailed, JobRetried, JobSubmitted
from domain.job.values import FailureClass, JobStatus
from domain.policies import Policies
from tests.application.desk import Desk
from tests.builders import NOW, SECOND
from tests.fakes import ManualClock

MINUTE = 60_000


class Oracle(Desk):
    """A desk with a recorder that never rests unless told so."""

    def __init__(self, log: Log | None = None, clock: ManualClock | None = None, **timing: int) -> None:
        super().__init__(log, clock)
        self.forecasts = Forecasts(self.app, **{"gap_ms": 0} | timing)

    def made(self, job_id: str = "") -> list[Promise]:
        rows = [row for each in self.recorded() if isinstance(each.event, ForecastsMade) for row in each.event.rows]
        return [row for row in rows if job_id in ("", row.job_id)]

    def scores(self, job_id: str = "") -> list[Score]:
        rows = [row for each in self.recorded() if isinstance(each.event, ForecastsScored) for row in each.event.rows]
        return [row for row in rows if job_id in ("", row.job_id)]

    def restart(self) -> "Oracle":
        """Another process on the same log."""
        return Oracle(self.log, self.clock)

    def pass_by(self, ms: int) -> None:
        self.clock.advance(ms)
        self.forecasts.look()

    def due(self, *job_ids: str, minutes: float, **fields: Any) -> None:
        """Jobs with a deadline so many minutes from now."""
        self.submit(*job_ids, deadline_ms=self.clock.now_ms() + round(minutes * MINUTE), **fields)

    def teach(self, minutes: int, runs: int = 12) -> None:
        """Lets the farm learn how long the kind `shot` runs."""
        for number in range(runs):
            self.submit(f"job-t{number}", kind="shot")
            self.cycle()
            self.start(f"job-t{number}")
            self.clock.advance(minutes * MINUTE)
            self.finish(f"job-t{number}")


@pytest.fixture
def desk() -> Oracle:
    made = Oracle()
    made.nodes("n1", cores=4)
    return made


def test_a_job_with_a_deadline_is_forecast_once_it_is_submitted(desk: Oracle) -> None:
    desk.submit("job-1")
    assert desk.forecasts.look() == 0
    desk.due("job-2", minutes=90, walltime_ms=HOUR_MS)
    assert desk.forecasts.look() == 1
    assert desk.forecasts.look() == 0
    (found,) = desk.made()
    assert (found.job_id, found.word, found.basis) == ("job-2", Word.AHEAD, Basis.REQUESTED)
    assert (found.expected_ms, found.probability) == (NOW + HOUR_MS, 0.0)
    assert desk.recorded()[-1].stream == f"forecast-{NOW // 86_400_000}"
    assert desk.recorded()[-1].meta.actor == "forecaster"


def test_a_word_that_becomes_worse_is_recorded_soon_a_better_one_later(desk: Oracle) -> None:
    desk.teach(10)
    desk.due("job-1", minutes=30, kind="shot")
    desk.forecasts.look()
    desk.do(c.HoldJob(job_id="job-1"))
    desk.pass_by(PERIOD_MS)
    assert [each.word for each in desk.made()] == [Word.AHEAD, Word.AT_RISK]
    desk.do(c.UnholdJob(job_id="job-1"))
    desk.pass_by(PERIOD_MS)
    assert len(desk.made()) == 2
    desk.pass_by(CALM_MS - PERIOD_MS)
    assert [each.word for each in desk.made()][2:] == [Word.AHEAD]


def test_otherwise_a_forecast_is_recorded_at_most_once_an_hour(desk: Oracle) -> None:
    desk.due("job-1", minutes=60 * 48, walltime_ms=HOUR_MS)
    for _ in range(5 * 60):
        desk.pass_by(MINUTE)
    assert len(desk.made()) == 5  # after 1, 61, 121, 181 and 241 minutes


def test_what_has_not_changed_is_not_said_again(desk: Oracle) -> None:
    desk.due("job-1", minutes=60 * 48, held=True)
    for _ in range(3):
        desk.pass_by(HOUR_MS)
    assert len(desk.made()) == 1


def test_another_deadline_is_forecast_at_once_and_none_is_not(desk: Oracle) -> None:
    desk.due("job-1", minutes=600, walltime_ms=HOUR_MS)
    desk.forecasts.look()
    desk.do(c.SetDeadline(job_id="job-1", deadline_ms=NOW + MINUTE))
    desk.forecasts.look()
    assert [each.deadline_ms for each in desk.made()] == [NOW + 600 * MINUTE, NOW + MINUTE]
    desk.do(c.SetDeadline(job_id="job-1", deadline_ms=None))
    desk.pass_by(3 * HOUR_MS)
    assert len(desk.made()) == 2
    desk.run("job-1")
    desk.forecasts.look()
    assert [(each.made, each.deadline_ms, each.late) for each in desk.scores()] == [(2, None, None)]


@pytest.mark.parametrize("late", [False, True])
def test_the_end_is_held_against_the_forecasts(desk: Oracle, late: bool) -> None:
    desk.teach(10)
    desk.due("job-1", minutes=12, kind="shot")
    desk.forecasts.look()
    desk.cycle()
    desk.start("job-1")
    desk.clock.advance((13 if late else 11) * MINUTE)
    desk.finish("job-1")
    assert desk.forecasts.look() == 1
    (found,) = desk.scores()
    assert (found.ended, found.made, found.late) == (JobStatus.COMPLETED, 1, late)
    assert found.error_ms == (3 if late else 1) * MINUTE
    assert found.brier is not None
    assert found.brier == pytest.approx(((desk.made()[0].probability or 0) - late) ** 2, abs=1e-6)
    assert desk.app.farm.promises == {}
    assert desk.forecasts.look() == 0


def test_a_job_that_failed_and_is_retried_is_forecast_and_scored_again(desk: Oracle) -> None:
    desk.due("job-1", minutes=90, walltime_ms=HOUR_MS)
    desk.forecasts.look()
    desk.run("job-1", failure=FailureClass.EXIT)
    desk.forecasts.look()
    desk.do(c.RetryJob(job_id="job-1"))
    desk.forecasts.look()
    desk.run("job-1")
    desk.forecasts.look()
    assert [(each.ended, each.late) for each in desk.scores()] == [
        (JobStatus.FAILED, None),
        (JobStatus.COMPLETED, False),
    ]


def test_one_that_runs_again_before_it_was_scored_is_scored_at_its_next_end(desk: Oracle) -> None:
    desk.due("job-1", minutes=90, walltime_ms=HOUR_MS)
    desk.forecasts.look()
    desk.run("job-1", failure=FailureClass.EXIT)
    desk.do(c.RetryJob(job_id="job-1"))
    assert desk.forecasts.look() == 0
    desk.run("job-1")
    desk.forecasts.look()
    assert [each.ended for each in desk.scores()] == [JobStatus.COMPLETED]


def test_after_a_restart_nothing_is_scored_twice_or_forgotten(desk: Oracle) -> None:
    desk.due("job-1", "job-2", minutes=90, walltime_ms=HOUR_MS)
    desk.forecasts.look()
    desk.run("job-1", "job-2")
    again = desk.restart()
    again.forecasts.look()
    assert Counter(each.job_id for each in again.scores()) == {"job-1": 1, "job-2": 1}
    assert again.restart().forecasts.look() == 0
    again.check()


@pytest.mark.parametrize("snapshot", [False, True])
def test_forecasts_stand_after_a_restart(desk: Oracle, snapshot: bool) -> None:
    desk.due("job-1", minutes=90, walltime_ms=HOUR_MS)
    desk.forecasts.look()
    if snapshot:
        farms.save(desk.log, desk.app.farm.snapshot())
    again = desk.restart()
    assert again.forecasts.look() == 0
    assert again.app.farm.promises == desk.app.farm.promises
    again.run("job-1")
    again.forecasts.look()
    assert [each.made for each in again.scores()] == [1]


def test_two_processes_score_an_end_once() -> None:
    log, clock = MemoryLog(), ManualClock()
    first = Oracle(log, clock)
    first.nodes("n1")
    first.due("job-1", minutes=90, walltime_ms=HOUR_MS)
    first.forecasts.look()
    second = Oracle(log, clock)
    first.run("job-1")
    second.app.catch_up()
    assert first.forecasts.look() == 1
    for _ in range(3):
        second.forecasts.look()
        first.forecasts.look()
    assert len(first.scores()) == 1
    assert second.app.farm.promises == first.app.farm.promises


def test_a_forecast_of_a_job_that_ended_meanwhile_is_thrown_away(desk: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.due("job-1", "job-2", minutes=90, walltime_ms=HOUR_MS)
    ends_of = forecasts.ends_of

    def meanwhile(scene: Any) -> Any:
        desk.do(c.CancelJob(job_id="job-1"))
        return ends_of(scene)

    monkeypatch.setattr(forecasts, "ends_of", meanwhile)
    desk.forecasts.look()
    assert [each.job_id for each in desk.made()] == ["job-2"]
    desk.check()


def test_an_event_never_has_too_many_rows_and_the_others_follow(desk: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "MOST_ROWS", 3)
    desk.due(*[f"job-{n}" for n in range(8)], minutes=90, walltime_ms=HOUR_MS)
    rows = []
    while desk.forecasts.look():
        rows.append(len(desk.last(ForecastsMade).rows))
    assert rows == [3, 3, 2]
    for number in range(8):
        desk.do(c.CancelJob(job_id=f"job-{number}"))
    while desk.forecasts.look():
        assert len(desk.last(ForecastsScored).rows) <= 3
    assert len(desk.scores()) == 8


def test_the_farm_is_not_run_ahead_without_rest() -> None:
    desk = Oracle(gap_ms=GAP_MS)
    desk.nodes("n1")
    desk.due("job-1", minutes=90)
    assert desk.forecasts.look() == 1
    desk.due("job-2", minutes=90)
    desk.pass_by(GAP_MS - 1)
    assert len(desk.made()) == 1
    desk.pass_by(1)
    assert len(desk.made()) == 2


def test_the_scheduler_s_loop_records_and_scores() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1", deadline_ms=NOW + 2 * HOUR_MS, walltime_ms=HOUR_MS)
    stop, seen, over = threading.Event(), threading.Event(), threading.Event()

    def saw(recorded: Any) -> None:
        for each in recorded:
            if isinstance(each.event, ForecastsMade):
                seen.set()
            if isinstance(each.event, ForecastsScored):
                over.set()

    desk.app.listen(saw)
    loop = threading.Thread(target=desk.scheduler.run, args=(stop,))
    loop.start()
    try:
        assert seen.wait(20)
        desk.do(c.CancelJob(job_id="job-1"))
        for end in [desk.job("job-1")]:
            if end.live:
                desk.finish("job-1", failure=FailureClass.SIGNAL)
        desk.scheduler.wake()
        assert over.wait(20)
    finally:
        stop.set()
        desk.scheduler.wake()
        loop.join(20)
    assert not loop.is_alive()
    desk.check()


@pytest.mark.parametrize("asked", [False, True])
def test_a_simulated_trace_is_forecast_only_when_asked(asked: bool) -> None:
    jobs = tuple(TraceJob(n, n * 10, 600, 1, 900) for n in range(1, 7))
    needs = {n: replace(whole(1), deadline_s=n * 10 + (2_000 if n % 2 else 700)) for n in range(1, 7)}
    run = TraceRun(Trace(jobs, 2), ObjectLog(), Policies(), start_ms=NOW, needs=needs, forecasts=asked)
    assert len(run.run()) == 6
    events = [each.event for each in run.app.log.read(0, 10_000)]
    scores = [row for event in events if isinstance(event, ForecastsScored) for row in event.rows]
    assert len(scores) == (6 if asked else 0)
    assert [row.late for row in sorted(scores, key=lambda row: row.job_id)][:4] == [False, False, False, True][
        : len(scores)
    ]


# -- any history -------------------------------------------------------------------------------------------------


def play(seed: int, steps: int) -> Oracle:
    """A farm where anything happens, the recorder now looks, now is away, now starts anew."""
    rng = Random(seed)
    desk = Oracle()
    desk.nodes("n1", "n2", cores=2)
    for number in range(steps):
        desk = step(rng, desk, number)
        if rng.random() < 0.5:
            desk.forecasts.look()
        desk.clock.advance(rng.choice((0, SECOND, MINUTE, HOUR_MS)))
    for job_id in list(desk.app.farm.jobs):
        if desk.job(job_id).ended is None:
            desk.do(c.CancelJob(job_id=job_id))
    while desk.forecasts.score():
        pass
    return desk


def step(rng: Random, desk: Oracle, number: int) -> Oracle:
    live = [job_id for job_id, job in desk.app.farm.jobs.items() if job.ended is None]
    running = [job_id for job_id in live if desk.job(job_id).live]
    ended = [each.stream for each in desk.recorded() if isinstance(each.event, JobFailed | JobCancelled)]
    dice = rng.random()
    if dice < 0.3:
        minutes = rng.choice((None, 5, 60, 600))
        deadline_ms = None if minutes is None else desk.clock.now_ms() + minutes * MINUTE
        desk.submit(f"job-{number}", deadline_ms=deadline_ms, kind="shot", tasks=rng.choice(("0", "0-2")))
    elif dice < 0.5:
        desk.cycle()
    elif dice < 0.7 and running:
        desk.finish(rng.choice(running), failure=rng.choice((None, None, FailureClass.EXIT)))
    elif dice < 0.8 and live:
        at_ms = rng.choice((None, desk.clock.now_ms() + 10 * MINUTE))
        desk.do(c.SetDeadline(job_id=rng.choice(live), deadline_ms=at_ms))
    elif dice < 0.85 and live:
        desk.do(c.CancelJob(job_id=rng.choice(live)))
    elif dice < 0.9 and ended:
        again = rng.choice(ended)
        if desk.job(again).ended in (JobStatus.FAILED, JobStatus.CANCELLED) and not desk.job(again).live:
            desk.do(c.RetryJob(job_id=again))
    elif dice >= 0.95:
        return desk.restart()
    return desk


@settings(max_examples=settings.default.max_examples // 2)
@given(st.integers(0, 2**32))
def test_every_end_with_forecasts_is_scored_exactly_once_whatever_happens(seed: int) -> None:
    desk = play(seed, 50)
    open_: dict[str, int] = {}
    """Forecasts that wait for a score, by job."""
    live: set[str] = set()
    for each in desk.recorded():
        event = each.event
        if isinstance(event, JobSubmitted | JobRetried):
            live.add(each.stream)
        elif isinstance(event, JobCompleted | JobFailed | JobCancelled):
            live.discard(each.stream)
        elif isinstance(event, ForecastsMade):
            for row in event.rows:
                assert row.job_id in live
                open_[row.job_id] = open_.get(row.job_id, 0) + 1
        elif isinstance(event, ForecastsScored):
            for score in event.rows:
                assert score.job_id not in live
                assert open_.pop(score.job_id) == score.made
    assert open_ == {}
    assert desk.app.farm.promises == {}
    desk.check()


@settings(max_examples=settings.default.max_examples // 3)
@given(st.integers(0, 2**32))
def test_no_job_is_forecast_more_often_than_was_agreed(seed: int) -> None:
    desk = play(seed, 50)
    times: dict[str, list[tuple[int, Promise]]] = {}
    for each in desk.recorded():
        if isinstance(each.event, ForecastsMade):
            for row in each.event.rows:
                times.setdefault(row.job_id, []).append((each.event.at_ms, row))
    ranks = list(Word)
    for rows in times.values():
        for (before_ms, before), (at_ms, after) in pairwise(rows):
            is_new = after.deadline_ms != before.deadline_ms or ranks.index(after.word) > ranks.index(before.word)
            scored = any(before_ms <= s.ended_ms <= at_ms for s in desk.scores(after.job_id))
            least_ms = CALM_MS if after.word is not before.word else HOUR_MS
            assert is_new or scored or at_ms - before_ms >= least_ms
