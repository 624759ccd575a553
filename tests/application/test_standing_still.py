"""Attempts that stand still for others: what their executors are asked for, what their alarms say, when they end."""

from typing import Any

from adapters.store.memory import MemoryLog
from application.app import Application
from application.commands import AdoptPolicies
from application.simulation.clock import VirtualClock
from application.simulation.engine import Arrival, Simulator
from application.simulation.standing import rest_ms
from application.timers import Timers
from domain.client import RegisterClient
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import Attempt, FailureClass, Job, PreemptionCause, PreemptionMode, Priority, StopCause
from domain.node import BringOnline, RegisterNode
from domain.policies import Policies
from tests.application.desk import Desk
from tests.application.test_dispatcher import Station, station_with
from tests.builders import NOW, SECOND, resources, spec
from tests.fakes import CountedIds

MINUTE = 60 * SECOND


def suspend(desk: Desk, *attempts: int, mode: PreemptionMode = PreemptionMode.SUSPEND, **fields: Any) -> None:
    """Attempts of `job-1` make way."""
    desk.do(
        c.PreemptTasks(
            job_id="job-1", attempts=attempts, preemptor="job-2", mode=mode, why=PreemptionCause.PRIORITY, **fields
        )
    )


def go_on(desk: Desk, *attempts: int) -> None:
    desk.do(c.ResumeTasks(job_id="job-1", attempts=attempts))


# -- executors -------------------------------------------------------------------------------------------------------


def test_each_attempt_is_suspended_and_resumed_by_itself() -> None:
    station = station_with(tasks="0-1")
    station.done()
    suspend(station.desk, 2)
    assert station.done() == [("suspend", "job-1.1.2")]
    go_on(station.desk, 2)
    assert station.done() == [("resume", "job-1.1.2")]


def test_the_end_of_a_pause_lets_nobody_go_on_who_stands_still_for_another_job() -> None:
    station = station_with(tasks="0-1")
    station.done()
    suspend(station.desk, 2)
    station.desk.do(c.PauseJob(job_id="job-1"))
    station.done()
    station.desk.do(c.ResumeJob(job_id="job-1"))
    assert station.done() == [("resume", "job-1.0.1")]
    station.desk.do(c.PauseJob(job_id="job-1"))
    station.done()
    go_on(station.desk, 2)
    assert station.done() == [], "its job is paused"
    station.desk.do(c.ResumeJob(job_id="job-1"))
    assert station.done() == [("resume", "job-1.0.1"), ("resume", "job-1.1.2")]


def test_the_grace_of_a_preemption_is_the_one_that_was_decided() -> None:
    station = station_with(grace_ms=5_000)
    graces: list[int] = []
    station.executor.terminate = lambda launch, grace_ms: graces.append(grace_ms)  # type: ignore[method-assign]
    station.done()
    suspend(station.desk, 1, mode=PreemptionMode.REQUEUE, grace_ms=700)
    station.done()
    assert graces == [700]


def test_a_new_process_asks_again_who_stands_still_and_who_goes_on() -> None:
    before = station_with(tasks="0-2")
    suspend(before.desk, 1, 2)
    before.desk.clock.advance(SECOND)
    go_on(before.desk, 2)
    after = Station(Desk(log=before.desk.log))
    after.dispatcher.resume()
    assert after.done()[3:] == [("suspend", "job-1.0.1"), ("resume", "job-1.1.2")]


def test_whoever_was_told_to_end_is_not_suspended_any_more() -> None:
    station = station_with()
    suspend(station.desk, 1)
    station.desk.do(c.StopAttempts(job_id="job-1", attempts=(1,), cause=StopCause.REQUEUED))
    station.done()
    station.dispatcher.resume()
    assert station.done() == [("terminate", "job-1.0.1")]


# -- alarms ----------------------------------------------------------------------------------------------------------


def alarmed(**fields: Any) -> tuple[Desk, Timers]:
    desk = Desk()
    timers = Timers(desk.app.farm, 3_000)
    desk.app.listen(timers.see)
    desk.nodes("n1")
    desk.submit("job-1", walltime_ms=20_000, grace_ms=2_000, **fields)
    desk.cycle()
    desk.start("job-1")
    return desk, timers


def test_time_spent_suspended_does_not_count_as_walltime() -> None:
    desk, timers = alarmed()
    desk.clock.advance(10_000)
    suspend(desk, 1)
    desk.clock.advance(60_000)
    assert timers.due(desk.clock.now_ms()) == [], "it stands still"
    go_on(desk, 1)
    desk.clock.advance(15_000)
    assert timers.due(desk.clock.now_ms()) == []
    desk.clock.advance(1)
    assert timers.due(desk.clock.now_ms()) == [c.StopAttempts(job_id="job-1", attempts=(1,), cause=StopCause.WALLTIME)]


def test_a_new_process_knows_how_long_an_attempt_stood_still() -> None:
    desk, _ = alarmed()
    suspend(desk, 1)
    desk.clock.advance(60_000)
    go_on(desk, 1)
    timers = Timers(desk.app.farm, 3_000)
    desk.clock.advance(25_000)
    assert timers.due(desk.clock.now_ms()) == []
    desk.clock.advance(1)
    assert len(timers.due(desk.clock.now_ms())) == 1


# -- the simulator ---------------------------------------------------------------------------------------------------


class TenMinutes:
    """Every task runs for ten minutes, less what it has saved."""

    def run_of(self, job: Job, attempt: Attempt, number: int) -> tuple[int, FailureClass | None]:
        return rest_ms(job, attempt.task, 10 * MINUTE), None


def simulated(mode: str) -> dict[str, list[int]]:
    """One node, a low job from minute 0 and a high one from minute 4; when each kind of fact happened, in minutes."""
    clock, log = VirtualClock(NOW), MemoryLog()
    app = Application(log, clock, CountedIds())
    app.handle_all(
        [
            RegisterClient(client_id="show"),
            RegisterNode(node_id="n1", capacity=resources(4)),
            BringOnline(node_id="n1"),
            AdoptPolicies(policies=Policies(preemption=mode)),
        ],
        "user:ada",
    )
    low = spec("job-low", 4, priority=Priority.LOW, checkpoints=True)
    high = spec("job-high", 4, priority=Priority.HIGH)
    Simulator(app, clock, TenMinutes()).run(
        [Arrival(NOW, (c.SubmitJob(spec=low),)), Arrival(NOW + 4 * MINUTE, (c.SubmitJob(spec=high),))]
    )
    return {
        job_id: [
            round((r.event.at_ms - NOW) / MINUTE) for r in log.stream(job_id) if isinstance(r.event, e.JobCompleted)
        ]
        for job_id in ("job-high", "job-low")
    }


def test_what_stood_still_ends_so_much_later() -> None:
    assert simulated("suspend") == {"job-high": [14], "job-low": [20]}


def test_what_saved_its_state_runs_only_the_rest() -> None:
    assert simulated("checkpoint") == {"job-high": [14], "job-low": [20]}


def test_a_job_that_can_save_its_state_does_so_when_it_is_requeued_as_well() -> None:
    assert simulated("requeue") == {"job-high": [14], "job-low": [20]}


def test_without_preemption_it_waits() -> None:
    assert simulated("none") == {"job-high": [20], "job-low": [10]}
