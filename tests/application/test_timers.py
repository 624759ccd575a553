"""Alarms: what is due is found without a look at every job, and is just what a look at every job would find."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.app import Application
from application.timers import Alarms, Timers
from domain import errors
from domain.dependency import BypassDependency, DeclareDependency, dependency_id
from domain.farm import Farm
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import AttemptEnd, FailureClass, StopCause
from domain.messages import Command
from domain.node import BringOnline, LoseNode
from tests.application.desk import Desk
from tests.builders import SECOND, spec
from tests.fakes import CountedIds, ManualClock

WALLTIME, GRACE, PATIENCE = 20_000, 2_000, 3_000
LIMIT = WALLTIME + GRACE + PATIENCE

# -- alarms ----------------------------------------------------------------------------------------------------------

calls = st.lists(st.tuples(st.sampled_from("abcde"), st.one_of(st.none(), st.integers(0, 20))), max_size=40)


@given(calls, st.integers(0, 20))
def test_each_key_has_the_alarm_that_was_set_last(asked: list[tuple[str, int | None]], now_ms: int) -> None:
    alarms: Alarms[str] = Alarms()
    expected: dict[str, int] = {}
    for key, at_ms in asked:
        if at_ms is None:
            alarms.drop(key)
            expected.pop(key, None)
        else:
            alarms.put(key, at_ms)
            expected[key] = at_ms
    due = [key for at_ms, key in sorted((at_ms, key) for key, at_ms in expected.items()) if at_ms <= now_ms]
    assert alarms.due(now_ms) == due
    assert alarms.due(now_ms) == []
    assert len(alarms) == len(expected) - len(due)
    assert alarms.due(20) == sorted(expected.keys() - set(due), key=lambda key: (expected[key], key))


def test_alarms_that_were_taken_off_leave_nothing_behind() -> None:
    alarms: Alarms[str] = Alarms()
    for number in range(10_000):
        alarms.put(f"job-{number}", 10**12 + number)
        alarms.drop(f"job-{number}")
    alarms.put("job-x", 7)
    assert len(alarms._heap) < 100
    assert alarms.due(10**13) == ["job-x"]


# -- against a look at every job -------------------------------------------------------------------------------------


class Night:
    """One application with timers from the start, and random things that happen."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.desk = Desk()
        self.timers = watched(self.desk.app)
        self.desk.nodes("n1", cores=8)
        self.ids = CountedIds()
        self.jobs = [self.ids.new("job")]
        self.desk.do(self.submit(self.jobs[0]))

    def submit(self, job_id: str) -> c.SubmitJob:
        known = sorted(self.desk.app.farm.jobs)
        after = (self.rng.choice(known),) if known and self.rng.random() < 0.3 else ()
        starts = self.desk.clock.now_ms() + 10 * SECOND if self.rng.random() < 0.5 else None
        wanted = spec(
            job_id, client_id="default", walltime_ms=WALLTIME if self.rng.random() < 0.8 else None, grace_ms=GRACE,
            not_before_ms=starts, retries=1, tasks=self.rng.choice(("0", "1-2")),
        )  # fmt: skip
        return c.SubmitJob(spec=wanted, after=after, held=self.rng.random() < 0.1)

    def happens(self) -> None:
        """Time passes, the scheduler places something, or somebody asks for something that may be refused."""
        match self.rng.randrange(6):
            case 0:
                self.desk.clock.advance(self.rng.choice((1, SECOND, 5 * SECOND, LIMIT)))
            case 1:
                self.desk.cycle()
            case _:
                command = self.wish()
                try:
                    self.desk.do(command)
                except (errors.NotAllowed, errors.Invalid, errors.NotFound):
                    return
                if isinstance(command, c.SubmitJob):
                    self.jobs.append(command.spec.job_id)

    def wish(self) -> Command:
        job_id, other = self.rng.choice(self.jobs), self.rng.choice(self.jobs)
        edge = self.rng.choice(sorted(self.desk.app.farm.dependencies) or ["dep-none"])
        job = self.desk.app.farm.jobs.get(job_id)
        live = () if job is None else tuple(job.live.items())
        failure = self.rng.choice((None, FailureClass.EXIT, FailureClass.EXIT))
        wishes: tuple[Command, ...] = (
            self.submit(self.ids.new("job")),
            c.ReportStarted(job_id=job_id, attempts=tuple(number for number, _ in live)),
            c.ReportStarted(job_id=job_id, attempts=tuple(number for number, _ in live[:1])),
            c.ReportEnded(job_id=job_id, ends=tuple(AttemptEnd(n, a.task, failure=failure) for n, a in live[:1])),
            c.PauseJob(job_id=job_id),
            c.ResumeJob(job_id=job_id),
            c.ResumeJob(job_id=job_id),
            c.RequeueTasks(job_id=job_id),
            c.CancelJob(job_id=job_id),
            c.RetryJob(job_id=job_id),
            c.QueueJob(job_id=job_id),
            DeclareDependency(predecessor_id=other, successor_id=job_id),
            BypassDependency(dependency_id=edge),
            self.rng.choice((LoseNode(node_id="n1", why="it burned"), BringOnline(node_id="n1"))),
            BringOnline(node_id="n1"),
        )
        return self.rng.choice(wishes)


def watched(app: Application) -> Timers:
    with app.lock:
        timers = Timers(app.farm, PATIENCE)
        app.listen(timers.see)
    return timers


def starting(farm: Farm, now_ms: int) -> set[str]:
    """Jobs that should be queued by now, by a look at every job."""
    return {
        job_id
        for job_id, job in farm.jobs.items()
        if not job.queued
        and job.ended is None
        and job.spec.not_before_ms is not None
        and job.spec.not_before_ms <= now_ms
        and not any(edge.blocks for edge in farm.edges_into(job_id))
    }


def over_time(desk: Desk, now_ms: int) -> set[tuple[str, int]]:
    """Attempts that have run too long by now, their pauses taken from the log."""
    over = set()
    for job_id, job in desk.app.farm.jobs.items():
        for number, attempt in job.live.items():
            if job.spec.walltime_ms is None or attempt.started_ms is None or attempt.stopping or job.paused:
                continue
            if now_ms - attempt.started_ms - paused_since(desk, job_id, attempt.started_ms) > LIMIT:
                over.add((job_id, number))
    return over


def paused_since(desk: Desk, job_id: str, start_ms: int) -> int:
    """For how long a job that is not paused now has been since a moment."""
    paused_ms, since_ms = 0, None
    for recorded in desk.log.stream(job_id):
        if isinstance(recorded.event, e.JobPaused):
            since_ms = recorded.event.at_ms
        elif isinstance(recorded.event, e.JobRetried):
            since_ms = None
        elif isinstance(recorded.event, e.JobResumed) and since_ms is not None:
            paused_ms += max(0, recorded.event.at_ms - max(since_ms, start_ms))
    return paused_ms


def told(commands: list[Command]) -> tuple[set[str], set[tuple[str, int]]]:
    """Jobs to queue, and attempts to stop."""
    queue = {command.job_id for command in commands if isinstance(command, c.QueueJob)}
    stops = [command for command in commands if isinstance(command, c.StopAttempts)]
    assert {stop.cause for stop in stops} <= {StopCause.WALLTIME}
    return queue, {(stop.job_id, number) for stop in stops for number in stop.attempts}


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_just_that_is_due_which_a_look_at_every_job_finds(seed: int) -> None:
    night = Night(seed)
    desk, clock = night.desk, night.desk.clock
    other = Application(desk.log, clock, CountedIds())
    elsewhere = watched(other)  # sees in one go what happened here since it looked last
    for _ in range(150):
        night.happens()
        now_ms = clock.now_ms()
        expected = (starting(desk.app.farm, now_ms), over_time(desk, now_ms))
        due = night.timers.due(now_ms)
        assert told(due) == expected
        if night.rng.random() < 0.2:
            other.catch_up()
            assert told(elsewhere.due(now_ms)) == expected
            queue, stops = told(Timers(desk.app.farm, PATIENCE).due(now_ms))
            assert queue == expected[0]
            assert stops <= expected[1], "after a restart all pauses of a job are given on top"
        if due and night.rng.random() < 0.5:  # else it is said again
            desk.do(*due)


def test_nothing_is_remembered_of_a_farm_on_which_everything_has_ended() -> None:
    night = Night(1)
    for _ in range(600):
        night.happens()
    for job_id, job in list(night.desk.app.farm.jobs.items()):
        night.desk.do(c.CancelJob(job_id=job_id))
        ends = tuple(AttemptEnd(n, a.task, failure=FailureClass.SIGNAL) for n, a in job.live.items())
        night.desk.do(c.ReportEnded(job_id=job_id, ends=ends))
    assert night.desk.app.farm.jobs == {}
    timers = night.timers
    assert (len(timers.starts), len(timers.ends), timers._parked, timers._pauses, timers._before) == (0, 0, {}, {}, {})


# -- some of it by hand ----------------------------------------------------------------------------------------------


def running(**fields: int) -> tuple[Desk, Timers]:
    desk = Desk(clock=ManualClock())
    timers = watched(desk.app)
    desk.nodes("n1")
    desk.submit("job-1", walltime_ms=WALLTIME, grace_ms=GRACE, **fields)
    desk.cycle()
    return desk, timers


def stops(desk: Desk, timers: Timers) -> set[tuple[str, int]]:
    return told(timers.due(desk.clock.now_ms()))[1]


def test_of_the_pauses_of_a_job_only_those_since_an_attempt_started_count_for_it() -> None:
    desk, timers = running(retries=1, backoff_ms=0)
    desk.start("job-1")
    pause(desk, 50_000)
    desk.finish("job-1", failure=FailureClass.EXIT)
    desk.cycle()
    desk.start("job-1")
    assert desk.job("job-1").paused_ms == 50_000
    pause(desk, 7_000)
    desk.clock.advance(LIMIT)
    assert stops(desk, timers) == set()
    desk.clock.advance(1)
    assert stops(desk, timers) == {("job-1", 2)}
    assert stops(desk, Timers(desk.app.farm, PATIENCE)) == set(), "a new process does not know which pauses were when"


def pause(desk: Desk, ms: int) -> None:
    desk.do(c.PauseJob(job_id="job-1"))
    desk.clock.advance(ms)
    desk.do(c.ResumeJob(job_id="job-1"))


def test_an_attempt_that_started_in_the_middle_of_a_pause_is_given_the_rest_of_it() -> None:
    desk, timers = running()
    desk.do(c.PauseJob(job_id="job-1"))
    desk.clock.advance(4_000)
    desk.start("job-1")
    desk.clock.advance(6_000)
    desk.do(c.ResumeJob(job_id="job-1"))
    desk.clock.advance(LIMIT)
    assert stops(desk, timers) == set()
    desk.clock.advance(1)
    assert stops(desk, timers) == {("job-1", 1)}


def test_an_attempt_whose_time_came_in_a_pause_is_looked_at_again_after_it() -> None:
    desk, timers = running()
    desk.start("job-1")
    desk.clock.advance(LIMIT)
    desk.do(c.PauseJob(job_id="job-1"))
    desk.clock.advance(LIMIT)
    assert stops(desk, timers) == set()
    desk.do(c.ResumeJob(job_id="job-1"))
    assert stops(desk, timers) == set()
    desk.clock.advance(1)
    assert stops(desk, timers) == {("job-1", 1)}


def test_what_was_not_done_is_said_again() -> None:
    desk, timers = running()
    desk.start("job-1")
    desk.submit("job-2", not_before_ms=desk.clock.now_ms() + 1)
    desk.clock.advance(LIMIT + 1)
    for _ in range(3):
        assert told(timers.due(desk.clock.now_ms())) == ({"job-2"}, {("job-1", 1)})
    desk.do(*timers.due(desk.clock.now_ms()))
    assert timers.due(desk.clock.now_ms()) == []


@pytest.mark.parametrize("bypassed", [False, True])
def test_a_job_whose_last_edge_opens_while_the_clock_stands_before_its_start_time_is_not_forgotten(
    bypassed: bool,
) -> None:
    desk = Desk()
    timers = watched(desk.app)
    desk.nodes("n1")
    desk.submit("job-1")
    desk.submit("job-2", after=["job-1"], not_before_ms=desk.clock.now_ms() + 1_000)
    later = desk.clock.now_ms() + 2_000
    assert timers.due(later) == []  # its time has come, but not its turn
    if bypassed:  # by a clock that was set back
        desk.do(BypassDependency(dependency_id=dependency_id("job-1", "job-2")))
    else:
        desk.run("job-1")
    assert not desk.job("job-2").queued
    assert told(timers.due(later)) == ({"job-2"}, set())
