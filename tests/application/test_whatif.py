"""What is on record, run again: exactly the same under the same conditions, and comparable under others."""

import random
from collections.abc import Callable
from typing import Any

import pytest

import domain.policies.builtin  # noqa: F401
from adapters.store.objects import ObjectLog
from application.commands import AdoptPolicies
from application.ports import Log
from application.simulation.engine import Pass
from application.simulation.farms import Outage, SimulatedNode
from application.simulation.traces import TraceRun
from application.simulation.whatif import WhatIf, policies_at, what_if
from application.simulation.workload import Trace, TraceJob
from domain.dependency import BypassDependency, dependency_id
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import AttemptEnd, FailureClass, JobStatus, Priority
from domain.messages import JobId
from domain.node import BringOnline, DrainNode, LoseNode, UndrainNode
from domain.policies import Policies
from tests.application.desk import Desk
from tests.builders import NOW, resources

EASY = Policies(order="fifo", backfill="easy")
SECOND = 1_000


def trace(seed: int, jobs: int = 60, processors: int = 8) -> Trace:
    """A crowded machine: short and long, narrow and wide, requests that are wrong, many things in the same second."""
    rng = random.Random(seed)
    submit_s, made = 0, []
    for number in range(1, jobs + 1):
        submit_s += rng.choice([0, 0, 1, 2, 5, 20])
        run_s = rng.choice([1, 3, 10, 30, 60])
        made.append(TraceJob(number, submit_s, run_s, rng.randint(1, processors), run_s * rng.choice([1, 1, 2, 5])))
    return Trace(tuple(made), processors)


def nodes(*cores: int) -> list[SimulatedNode]:
    """Nodes `node-1`, `node-2`, … of so many cores."""
    return [SimulatedNode(f"node-{n}", resources(count)) for n, count in enumerate(cores, 1)]


def simulated(of: Trace, policies: Policies = EASY, **given: Any) -> ObjectLog:
    """The log of a simulation."""
    log = ObjectLog()
    TraceRun(of, log, policies, **given).run()
    return log


def end_of(log: Log) -> int:
    """The time of the last event."""
    return log.read(log.position() - 1, 1)[0].event.at_ms


def moments(log: Log) -> list[int]:
    """Some of the times at which something happened, and some at which nothing did."""
    times = sorted({each.event.at_ms for each in log.read(0, 1_000_000)})
    return [*times[::13], *(at + 1 for at in times[::17])]


def same(log: Log, from_ms: int, **given: Any) -> WhatIf:
    """Run again to the end of the log: nothing may be different."""
    found = what_if(log, from_ms, end_of(log), **given)
    assert [(each.job_id, each.recorded) for each in found.jobs if each.recorded != each.simulated] == []
    assert (found.recorded, found.moved, found.refused) == (found.simulated, 0, ())
    return found


def starts(found: WhatIf) -> dict[JobId, int | None]:
    """When each job starts, in seconds from the first moment."""
    return {
        each.job_id: None
        if each.simulated is None or each.simulated.started_ms is None
        else (each.simulated.started_ms - found.from_ms) // SECOND
        for each in found.jobs
    }


# -- a simulation is reproduced --------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", list(Pass))
@pytest.mark.parametrize(
    ("order", "backfill"), [("fifo", "easy"), ("wfp3", "easy"), ("sjf", "none"), ("f1", "conservative")]
)
def test_a_simulation_is_the_same_again_from_every_moment(order: str, backfill: str, passes: Pass) -> None:
    for seed in (1, 2):
        log = simulated(trace(seed), Policies(order=order, backfill=backfill), passes=passes)
        found = same(log, 0, passes=passes)
        assert len(found.jobs) == 60
        assert found.estimated == ()
        for at_ms in moments(log):
            same(log, at_ms, passes=passes)


def test_naming_the_policies_that_were_in_force_changes_nothing() -> None:
    log = simulated(trace(3), Policies(order="unicep", backfill="easy"))
    for at_ms in moments(log):
        same(log, at_ms, policies=policies_at(log, at_ms))


def test_a_farm_whose_nodes_fail_and_come_back_is_the_same_again() -> None:
    outages = [Outage("node-1", 20, 60), Outage("node-2", 90, 91), Outage("node-1", 130, 200)]
    log = simulated(trace(4), nodes=nodes(4, 2, 2), outages=outages)
    assert any(isinstance(each.event, e.TasksLost) for each in log.read(0, 1_000_000))
    for at_ms in [0, *moments(log)]:
        same(log, at_ms)


def test_only_what_had_happened_by_the_last_moment_counts() -> None:
    log = simulated(trace(5, 100))
    half_ms = end_of(log) // 4
    found = what_if(log, 0, half_ms)
    assert found.moved == 0
    assert found.recorded == found.simulated
    waiting = [each for each in found.jobs if each.recorded.started_ms is None]
    assert waiting
    assert all((each.recorded.started_ms or 0) <= half_ms for each in found.jobs)


def test_the_log_is_only_read() -> None:
    log = simulated(trace(6))
    before = log.read(0, 1_000_000)
    what_if(log, end_of(log) // 3, end_of(log), policies=Policies(order="sjf", backfill="easy"))
    assert log.read(0, 1_000_000) == before


# -- other conditions ------------------------------------------------------------------------------------------------


def row(number: int, submit_s: int, run_s: int, processors: int = 1) -> TraceJob:
    """A job that runs as long as it asks for."""
    return TraceJob(number, submit_s, run_s, processors, run_s)


def test_another_order_moves_starts_waits_and_slowdowns_as_worked_out_by_hand() -> None:
    # One processor; 1 runs 0-100. fifo then: 2 (100 s) 100-200, 3 (10 s) 200-210. sjf: 3 100-110, 2 110-210.
    log = simulated(Trace((row(1, 0, 100), row(2, 1, 100), row(3, 2, 10)), 1))
    found = what_if(log, 0, end_of(log), policies=Policies(order="sjf", backfill="easy"))
    two, three = found.jobs[1:]
    assert (two.recorded.started_ms, three.recorded.started_ms) == (100_000, 200_000)
    assert two.simulated is not None
    assert three.simulated is not None
    assert (two.simulated.started_ms, three.simulated.started_ms) == (110_000, 100_000)
    assert (two.wait_change_ms, three.wait_change_ms) == (10_000, -100_000)
    assert found.moved == 2
    assert found.recorded.average_wait_s == (0 + 99 + 198) / 3
    assert found.simulated.average_wait_s == (0 + 109 + 98) / 3
    assert found.simulated.average_bounded_slowdown == pytest.approx((1 + 209 / 100 + 108 / 10) / 3)
    assert found.recorded.utilization == found.simulated.utilization == 1.0
    assert [(each.client_id, each.jobs, each.simulated) for each in found.clients] == [("default", 3, found.simulated)]
    assert found.policies.order == "sjf"


def test_another_order_from_a_moment_on_leaves_what_runs_then() -> None:
    log = simulated(Trace((row(1, 0, 100), row(2, 1, 100), row(3, 2, 10), row(4, 150, 5)), 1))
    found = what_if(log, 150_000, end_of(log), policies=Policies(order="sjf", backfill="easy"))
    assert {each.job_id[-1]: each.simulated and each.simulated.started_ms for each in found.jobs} == {
        "2": 100_000,  # runs already
        "4": 200_000,
        "3": 205_000,
    }


def test_more_nodes_take_work_at_once() -> None:
    log = simulated(Trace((row(1, 0, 100), row(2, 1, 100)), 1), nodes=nodes(1))
    found = what_if(log, 50_000, end_of(log), nodes=nodes(1, 1))
    # From 50 to 200: one core is held for 150 s; of two, one is held from 50 to 100 and the other one from 50 to 150.
    assert starts(found)[found.jobs[1].job_id] == 0
    assert found.recorded.utilization == 1.0
    assert found.simulated.utilization == (50 + 100) / (2 * 150)


def test_on_fewer_nodes_what_runs_may_end_and_nothing_new_starts_on_the_others() -> None:
    log = simulated(Trace((row(1, 0, 100), row(2, 0, 100), row(3, 1, 50), row(4, 1, 50)), 2), nodes=nodes(1, 1))
    found = what_if(log, 10_000, end_of(log) + 100_000, nodes=nodes(1))
    began = [each.simulated and each.simulated.started_ms for each in found.jobs]
    assert began == [0, 0, 100_000, 150_000]
    assert found.simulated.completed == 4


def test_what_no_node_could_ever_hold_is_refused_and_said() -> None:
    log = simulated(Trace((row(1, 0, 10), row(2, 20, 10, 2)), 2), nodes=nodes(2))
    found = what_if(log, 0, end_of(log), nodes=nodes(1))
    assert [(each.command, each.code) for each in found.refused] == [("submit-job", "resource.impossible")]
    assert found.jobs[1].simulated is None
    assert found.jobs[1].wait_change_ms is None
    assert found.moved == 1


# -- a farm with persons and accidents -------------------------------------------------------------------------------


class Recorder:
    """A desk whose recorded attempts run as long as asked for, with a cycle whenever something happened."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.due: list[tuple[int, Callable[[], None]]] = []

    def at(self, second: int, what: Callable[[], None]) -> None:
        """Lets something happen at a second."""
        self.due.append((NOW + second * SECOND, what))

    def do(self, second: int, *commands: Any) -> None:
        """Lets somebody say something then."""
        self.at(second, lambda: self._say(commands))

    def _say(self, commands: tuple[Any, ...]) -> None:
        self.desk.do(*commands)

    def ends(self, second: int, job_id: JobId, failure: FailureClass | None = None, overhead_ms: int = 0) -> None:
        """Lets all live attempts of a job end; the executor saw their start and end."""

        def end() -> None:
            now_ms, job = self.desk.clock.now_ms(), self.desk.job(job_id)
            ends = [
                AttemptEnd(n, a.task, failure=failure, started_ms=a.placed_ms + overhead_ms, ended_ms=now_ms)
                for n, a in job.live.items()
            ]
            assert ends, f"nothing of {job_id} runs at {now_ms - NOW}"
            self.desk.do(c.ReportEnded(job_id=job_id, ends=tuple(ends)), by="dispatcher")

        self.at(second, end)

    def play(self) -> Log:
        """Everything in its order; the log of it."""
        for at_ms, what in sorted(self.due, key=lambda each: each[0]):
            while (back_off := self.desk.app.farm.next_back_off(self.desk.clock.now_ms())) and back_off < at_ms:
                self._go(back_off)
            self._go(at_ms, what)
        return self.desk.log

    def _go(self, at_ms: int, what: Callable[[], None] | None = None) -> None:
        self.desk.clock.advance(at_ms - self.desk.clock.now_ms())
        if what is not None:
            what()
        self.desk.cycle()


def recorded() -> Recorder:
    """Two nodes of one core; policies of the farm."""
    recorder = Recorder()
    recorder.do(0, AdoptPolicies(policies=Policies(order="priority", backfill="easy")))
    recorder.at(0, lambda: recorder.desk.nodes("n1", "n2", cores=1))
    return recorder


def submitted(recorder: Recorder, second: int, job_id: JobId, **fields: Any) -> None:
    """A job comes in."""
    recorder.at(second, lambda: recorder.desk.submit(job_id, **fields))


def eventful() -> Log:
    """Failures with retries, a lost node, a hold, a priority, a pause, a cancellation, dependencies, a workflow."""
    r = recorded()
    submitted(r, 1, "job-a", retries=2, backoff_ms=3_000)
    submitted(r, 2, "job-b")
    submitted(r, 3, "job-c", after=["job-a"])
    submitted(r, 4, "job-d", held=True)
    submitted(r, 5, "job-e", priority=Priority.HIGH)
    r.ends(10, "job-a", FailureClass.EXIT)  # e takes its place, a waits until 13
    r.do(12, c.PrioritizeJob(job_id="job-a", priority=Priority.CRITICAL))
    r.do(15, LoseNode(node_id="n2", why="power"))  # with b
    r.ends(20, "job-e")  # a again, on n1
    r.do(22, BringOnline(node_id="n2"), c.UnholdJob(job_id="job-d"))
    r.ends(30, "job-a")  # c may start
    r.at(31, lambda: r.desk.submit_workflow("job-w1", "job-w2", edges=[("job-w1", "job-w2")]))
    r.do(33, DrainNode(node_id="n1"), c.PauseJob(job_id="job-d"))
    r.ends(40, "job-b")
    r.do(42, UndrainNode(node_id="n1"), c.ResumeJob(job_id="job-d"))
    r.ends(50, "job-c")
    r.do(52, BypassDependency(dependency_id=dependency_id("job-w1", "job-w2")))
    r.do(55, c.CancelJob(job_id="job-d"))
    r.ends(55, "job-d", FailureClass.SIGNAL)
    r.at(60, lambda: None)
    return r.play()


def test_a_farm_with_failures_losses_and_persons_is_the_same_again_from_every_second() -> None:
    log = eventful()
    for second in (0, 1, 5, 9, 10, 11, 14, 15, 16, 21, 23, 31, 34, 41, 45, 51, 56):
        same(log, NOW + second * SECOND)
    assert {each.job_id: each.recorded.ended for each in what_if(log, NOW, end_of(log)).jobs} == {
        "job-a": JobStatus.COMPLETED,
        "job-b": JobStatus.COMPLETED,
        "job-c": JobStatus.COMPLETED,
        "job-d": JobStatus.CANCELLED,
        "job-e": JobStatus.COMPLETED,
        "job-w1": None,
        "job-w2": None,
    }


def test_a_failed_attempt_fails_again_after_as_long_and_the_next_one_runs_as_the_next_one_did() -> None:
    r = recorded()
    submitted(r, 0, "job-x", cores=1)
    submitted(r, 0, "job-y", cores=1)
    submitted(r, 1, "job-a", retries=1, backoff_ms=0)
    r.ends(10, "job-x")
    r.ends(15, "job-a", FailureClass.EXIT)  # ran 5 s, starts again at once
    r.ends(22, "job-a")  # 7 s
    r.ends(30, "job-y")
    found = what_if(r.play(), NOW, NOW + 30 * SECOND, nodes=[SimulatedNode(f"n{n}", resources(1)) for n in (1, 2, 3)])
    fate = next(each.simulated for each in found.jobs if each.job_id == "job-a")
    assert fate is not None
    assert (fate.started_ms, fate.ended_ms) == (NOW + SECOND, NOW + (1 + 5 + 7) * SECOND)


@pytest.mark.parametrize(("again_s", "natural_s"), [(30, 30), (5, 14 + 5)])
def test_what_went_with_its_node_would_have_run_as_long_as_its_next_attempt_or_on_top_of_it(
    again_s: int, natural_s: int
) -> None:
    r = recorded()
    submitted(r, 1, "job-a")
    submitted(r, 1, "job-b")
    r.do(15, LoseNode(node_id="n1", why="power"))  # after 14 s
    r.do(15, BringOnline(node_id="n1"))
    r.ends(15 + again_s, "job-a")
    r.ends(60, "job-b")
    log = r.play()
    same(log, NOW)
    same(log, NOW + 14 * SECOND)
    others = [SimulatedNode(f"m{n}", resources(1)) for n in (1, 2)]
    fates = {each.job_id: each.simulated for each in what_if(log, NOW, NOW + 60 * SECOND, nodes=others).jobs}
    fate = fates["job-a"]
    assert fate is not None
    assert (fate.started_ms, fate.ended_ms) == (NOW + SECOND, NOW + (1 + natural_s) * SECOND)


def test_a_dependent_job_waits_for_the_completion_wherever_that_comes() -> None:
    r = recorded()
    submitted(r, 0, "job-x")
    submitted(r, 0, "job-y")
    submitted(r, 1, "job-a")
    submitted(r, 2, "job-b", after=["job-a"])
    r.ends(20, "job-x")
    r.ends(21, "job-y")
    r.ends(30, "job-a")  # ran 10 s
    r.ends(35, "job-b")
    found = what_if(r.play(), NOW, NOW + 35 * SECOND, nodes=[SimulatedNode(f"n{n}", resources(1)) for n in (1, 2, 3)])
    assert starts(found) == {"job-x": 0, "job-y": 0, "job-a": 1, "job-b": 11}


def test_a_persons_retry_comes_as_long_after_the_failure_as_it_came_then() -> None:
    r = recorded()
    submitted(r, 0, "job-x")
    submitted(r, 0, "job-y")
    submitted(r, 1, "job-a")
    r.ends(20, "job-x")
    r.ends(24, "job-a", FailureClass.EXIT)
    r.do(30, c.RetryJob(job_id="job-a"))
    r.ends(33, "job-a")
    r.ends(40, "job-y")
    log = r.play()
    for second in (0, 22, 26, 31):
        same(log, NOW + second * SECOND)
    found = what_if(log, NOW, NOW + 40 * SECOND, nodes=[SimulatedNode(f"n{n}", resources(1)) for n in (1, 2, 3)])
    fate = next(each.simulated for each in found.jobs if each.job_id == "job-a")
    assert fate is not None
    assert fate.ended_ms == NOW + (1 + 4 + 6 + 3) * SECOND


def test_retries_before_and_after_the_first_moment_are_all_made_again() -> None:
    r = recorded()
    submitted(r, 0, "job-a")
    r.ends(4, "job-a", FailureClass.EXIT)
    r.do(10, c.RetryJob(job_id="job-a"))
    r.ends(15, "job-a", FailureClass.EXIT)
    r.do(20, c.RetryJob(job_id="job-a"))
    r.ends(23, "job-a")
    log = r.play()
    for second in (0, 2, 6, 12, 17, 21):
        same(log, NOW + second * SECOND)


def test_of_a_workflow_that_no_node_can_hold_the_first_job_is_named() -> None:
    r = recorded()
    r.at(1, lambda: r.desk.submit_workflow("job-w1", "job-w2", edges=[("job-w1", "job-w2")], cores=1))
    r.ends(5, "job-w1")
    r.ends(9, "job-w2")
    log = r.play()
    same(log, NOW)
    found = what_if(log, NOW, NOW + 9 * SECOND, nodes=[SimulatedNode("tiny", resources(0.5))])
    assert "job-w2" in [each.entity for each in found.refused]
    assert found.simulated.started == 0


def test_a_job_that_may_start_later_does_also_when_it_came_before_the_first_moment() -> None:
    r = recorded()
    submitted(r, 1, "job-a", not_before_ms=NOW + 20 * SECOND)
    submitted(r, 2, "job-b", not_before_ms=NOW + 25 * SECOND, after=["job-a"])
    r.do(20, c.QueueJob(job_id="job-a"))
    r.ends(30, "job-a")
    r.ends(40, "job-b")
    log = r.play()
    for second in (0, 1, 2, 10, 20, 22, 29, 35):
        same(log, NOW + second * SECOND)


def test_what_runs_at_the_end_of_the_log_runs_as_long_as_it_asked_for_and_is_counted() -> None:
    r = recorded()
    submitted(r, 0, "job-x", walltime_ms=60 * SECOND)
    submitted(r, 0, "job-y")
    submitted(r, 1, "job-z")
    r.ends(10, "job-y")
    r.at(20, lambda: None)
    found = what_if(r.play(), NOW, NOW + 100 * SECOND)
    fates = {each.job_id: each.simulated for each in found.jobs}
    assert found.estimated == ("job-x", "job-z")
    ends = {job_id: fate and fate.ended_ms for job_id, fate in fates.items()}
    assert ends == {"job-x": NOW + 60 * SECOND, "job-y": NOW + 10 * SECOND, "job-z": NOW + 20 * SECOND}


def test_a_wish_that_comes_too_late_now_is_refused_and_said() -> None:
    r = recorded()
    submitted(r, 0, "job-x")
    submitted(r, 0, "job-y")
    submitted(r, 1, "job-a")
    r.ends(20, "job-x")
    r.do(28, c.PrioritizeJob(job_id="job-a", priority=Priority.HIGH))
    r.ends(30, "job-a")
    r.ends(40, "job-y")
    found = what_if(r.play(), NOW, NOW + 40 * SECOND, nodes=[SimulatedNode(f"n{n}", resources(1)) for n in (1, 2, 3)])
    assert [(each.command, each.entity, each.code) for each in found.refused] == [
        ("prioritize-job", "job-a", "job.ended")
    ]


def test_the_share_on_time_is_over_jobs_whose_deadline_has_come() -> None:
    r = recorded()
    submitted(r, 0, "job-x")
    submitted(r, 0, "job-y")
    submitted(r, 1, "job-a", deadline_ms=NOW + 25 * SECOND)
    submitted(r, 1, "job-b", deadline_ms=NOW + 900 * SECOND)
    r.ends(20, "job-x")
    r.ends(30, "job-a")
    r.ends(40, "job-y")
    r.ends(45, "job-b")
    log = r.play()
    found = what_if(log, NOW, NOW + 45 * SECOND, nodes=[SimulatedNode(f"n{n}", resources(1)) for n in (1, 2, 3, 4)])
    assert (found.recorded.on_time_share, found.simulated.on_time_share) == (0.0, 1.0)
