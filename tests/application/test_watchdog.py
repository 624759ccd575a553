"""What silence and time bring: when a node is suspected, lost, started again; when a job starts, when it must end."""

from typing import Any

import pytest

from application.ports import NodeGone, NodeHeartbeat, NodeUp
from application.watchdog import AT_ONCE, MAX_DOUBLINGS, Timing, Watchdog
from domain import errors
from domain.dependency import DeclareDependency
from domain.job import commands as c
from domain.job.values import Job, JobStatus, StopCause
from domain.messages import Event
from domain.node import (
    DrainNode,
    EndMaintenance,
    NodeLost,
    NodeOnline,
    NodeStatus,
    NodeSuspected,
    QuarantineNode,
    RetireNode,
    StartMaintenance,
    TakeOffline,
)
from tests.application.desk import Desk
from tests.builders import HOUR, NOW, resources
from tests.fake_executor import ScriptedExecutor
from tests.fakes import ManualClock

LEASE, MARGIN, SUSPECT, RESPAWN = 10_000, 2_000, 3_000, 2_000
TIMING = Timing(lease_ms=LEASE, margin_ms=MARGIN, suspect_ms=SUSPECT, respawn_ms=RESPAWN)
CORES = resources(4)


class Watch:
    """A desk with a watchdog that somebody feeds with what executors say."""

    def __init__(self, desk: Desk | None = None, timing: Timing = TIMING) -> None:
        self.desk = desk or Desk()
        self.executor = ScriptedExecutor()
        self.dog = Watchdog(self.desk.app, self.executor, timing)

    def up(self, *node_ids: str) -> None:
        self.dog.hear([NodeUp(node_id=node_id, capacity=CORES) for node_id in node_ids])

    def beat(self, *node_ids: str) -> None:
        self.dog.hear([NodeHeartbeat(node_id=node_id) for node_id in node_ids])

    def gone(self, *node_ids: str) -> None:
        self.dog.hear([NodeGone(node_id=node_id, why="its supervisor died") for node_id in node_ids])

    def passes(self, ms: int, *beating: str) -> None:
        """Time passes; these nodes are heard at its end, and somebody listens."""
        self.desk.clock.advance(ms)
        self.beat(*beating)
        self.dog.tick()

    def status(self, node_id: str = "n1") -> NodeStatus:
        return self.desk.node(node_id).status

    def count(self, kind: type[Event]) -> int:
        return sum(type(r.event) is kind for r in self.desk.recorded())


def watch_over(*node_ids: str) -> Watch:
    watch = Watch()
    watch.up(*node_ids)
    return watch


def restarted(before: Watch, **options: Any) -> Watch:
    """Another server process over the same log, some time later."""
    return Watch(Desk(log=before.desk.log, clock=before.desk.clock), **options)


# -- coming up -------------------------------------------------------------------------------------------------------


def test_a_node_that_reports_is_registered_and_online() -> None:
    watch = watch_over("n1")
    assert watch.desk.topics() == ["node.registered", "node.online"]
    watch.up("n1")
    assert len(watch.desk.topics()) == 2


def test_a_node_that_comes_back_with_other_amounts_has_those() -> None:
    watch = watch_over("n1")
    watch.dog.hear([NodeUp(node_id="n1", capacity=resources(8), attributes={"os": ("linux",)})])
    assert watch.desk.topics()[2:] == ["node.capabilities_changed"]


def test_a_retired_node_may_say_what_it_likes() -> None:
    watch = watch_over("n1")
    watch.desk.do(TakeOffline(node_id="n1"), RetireNode(node_id="n1"))
    before = watch.desk.position
    watch.up("n1")
    watch.beat("n1")
    watch.gone("n1")
    watch.passes(HOUR)
    assert watch.desk.position == before
    assert watch.executor.calls == []


def test_a_sign_of_life_of_a_node_that_nobody_knows_is_no_reason_to_worry() -> None:
    watch = Watch()
    watch.beat("n9")
    watch.passes(HOUR)
    assert watch.desk.position == 0


# -- silence ---------------------------------------------------------------------------------------------------------


def test_a_silent_node_is_suspected_then_lost_after_lease_and_margin() -> None:
    watch = watch_over("n1")
    watch.passes(SUSPECT)
    assert watch.count(NodeSuspected) == 0
    watch.passes(1)
    watch.passes(1)
    assert watch.count(NodeSuspected) == 1
    assert watch.desk.node("n1").suspected
    watch.passes(LEASE + MARGIN - SUSPECT - 2)
    assert watch.status() is NodeStatus.ONLINE
    watch.passes(1)
    assert watch.status() is NodeStatus.OFFLINE
    assert watch.desk.last(NodeLost).why == f"silent for {LEASE + MARGIN + 1} ms, longer than its lease"
    watch.passes(HOUR)
    assert watch.count(NodeLost) == 1


def test_a_suspected_node_that_speaks_again_is_trusted_again() -> None:
    watch = watch_over("n1")
    watch.passes(SUSPECT + 1)
    watch.beat("n1")
    assert not watch.desk.node("n1").suspected
    watch.passes(SUSPECT, "n1")
    assert watch.desk.node("n1").takes_work


def test_one_silent_node_says_nothing_about_another() -> None:
    watch = watch_over("n1", "n2")
    for _ in range(5):
        watch.passes(SUSPECT, "n2")
    assert [watch.status("n1"), watch.status("n2")] == [NodeStatus.OFFLINE, NodeStatus.ONLINE]


def test_silence_counts_only_while_somebody_listens() -> None:
    watch = watch_over("n1")
    watch.desk.clock.advance(HOUR)  # the dispatcher was busy with something else
    watch.dog.tick()
    assert watch.count(NodeSuspected) + watch.count(NodeLost) == 0
    watch.beat("n1")
    watch.dog.tick()
    assert watch.desk.node("n1").takes_work


def test_a_node_that_was_lost_for_its_silence_alone_comes_back_when_it_speaks() -> None:
    watch = watch_over("n1")
    watch.passes(LEASE + MARGIN + 1)
    watch.beat("n1")
    assert watch.status() is NodeStatus.ONLINE
    watch.beat("n1")
    assert watch.count(NodeOnline) == 2


def test_a_silent_node_is_given_up_only_when_the_executor_is_sure_that_nothing_runs_there() -> None:
    watch = watch_over("n1")
    watch.executor.unfenced = {"n1"}
    watch.passes(HOUR)
    assert watch.status() is NodeStatus.ONLINE
    assert not watch.desk.node("n1").takes_work
    watch.executor.unfenced = set()
    watch.passes(1)
    assert watch.status() is NodeStatus.OFFLINE


def test_a_node_that_never_speaks_after_a_restart_is_lost_after_lease_and_margin() -> None:
    watch = restarted(watch_over("n1"))
    watch.passes(LEASE + MARGIN)
    assert watch.status() is NodeStatus.ONLINE
    assert not watch.dog.settled(["n1"])
    watch.passes(1)
    assert watch.status() is NodeStatus.OFFLINE
    assert watch.dog.settled(["n1"])


# -- certain death ---------------------------------------------------------------------------------------------------


def test_a_node_that_died_before_our_eyes_is_lost_at_once_with_its_attempts() -> None:
    watch = watch_over("n1")
    watch.desk.submit("job-1")
    watch.desk.cycle()
    watch.gone("n1")
    assert watch.desk.last(NodeLost).why == "its supervisor died"
    assert watch.desk.status("job-1") is JobStatus.QUEUED


def test_after_a_restart_the_dead_are_declared_lost_only_when_one_lease_has_passed() -> None:
    watch = restarted(watch_over("n1"))
    watch.gone("n1")
    watch.passes(LEASE - 1)
    assert watch.count(NodeLost) == 0
    watch.passes(1)
    assert watch.desk.last(NodeLost).why == "its supervisor died"
    assert watch.count(NodeLost) == 1


def test_a_death_that_the_executor_has_made_sure_of_counts_at_once() -> None:
    watch = restarted(watch_over("n1"))
    watch.dog.hear([NodeGone(node_id="n1", why="its supervisor died", verified=True)])
    assert watch.count(NodeLost) == 1


def test_a_node_that_is_gone_for_good_is_not_started_again_and_not_waited_for() -> None:
    watch = watch_over("n1")
    watch.dog.hear([NodeGone(node_id="n1", why="it is configured no longer", for_good=True)])
    assert watch.dog.settled(["n1"])
    watch.passes(HOUR)
    assert watch.executor.calls == []


def test_a_death_that_was_seen_does_not_wait_for_one_that_was_not() -> None:
    watch = restarted(watch_over("n1", "n2"))
    watch.up("n2")
    watch.gone("n1", "n2")
    assert [watch.status("n1"), watch.status("n2")] == [NodeStatus.ONLINE, NodeStatus.OFFLINE]


def test_a_node_that_died_and_lives_again_lost_what_it_ran_and_is_not_started_twice() -> None:
    watch = restarted(watch_over("n1"))
    watch.gone("n1")
    watch.up("n1")
    assert watch.desk.topics()[2:] == ["node.lost", "node.online"]
    watch.passes(HOUR, "n1")
    assert watch.executor.calls == []


def test_a_node_that_is_gone_but_was_never_registered_is_started_all_the_same() -> None:
    watch = Watch()
    watch.gone("n1")
    watch.passes(LEASE)
    watch.passes(RESPAWN)
    assert watch.executor.take_calls() == [("start_node", "n1")]


# -- starting again --------------------------------------------------------------------------------------------------


def test_a_lost_node_is_started_again_after_a_while() -> None:
    watch = watch_over("n1")
    watch.gone("n1")
    watch.passes(RESPAWN - 1)
    assert watch.executor.calls == []
    watch.passes(1)
    watch.passes(HOUR)
    assert watch.executor.take_calls() == [("start_node", "n1")]
    watch.up("n1")
    assert watch.status() is NodeStatus.ONLINE


def test_a_node_that_does_not_come_up_is_tried_ever_more_rarely_and_not_waited_for() -> None:
    watch = watch_over("n1", "n2")
    watch.gone("n1")
    assert not watch.dog.settled(["n1", "n2"])
    pauses = []
    for _ in range(MAX_DOUBLINGS + 3):
        passed = 0
        while not watch.executor.take_calls():
            watch.passes(RESPAWN, "n2")
            passed += RESPAWN
        pauses.append(passed)
        watch.gone("n1")
    assert pauses == [RESPAWN * 2**n for n in (0, 1, 2, 3, 4, 5, 5, 5)]
    assert watch.dog.settled(["n1", "n2"])
    watch.up("n1")
    watch.gone("n1")
    assert not watch.dog.settled(["n1", "n2"])
    watch.passes(RESPAWN)
    assert watch.executor.take_calls() == [("start_node", "n1")]


def test_nodes_can_be_left_down() -> None:
    watch = Watch(timing=Timing(respawn_ms=-1))
    watch.up("n1")
    watch.gone("n1")
    watch.passes(HOUR)
    assert watch.executor.calls == []


# -- out of service --------------------------------------------------------------------------------------------------


def test_a_node_in_maintenance_stays_there_whatever_its_supervisor_says() -> None:
    watch = watch_over("n1")
    watch.desk.do(StartMaintenance(node_id="n1"))
    watch.up("n1")
    watch.passes(HOUR)
    watch.beat("n1")
    assert watch.status() is NodeStatus.MAINTENANCE


def test_a_node_takes_work_again_after_maintenance_with_its_next_sign_of_life() -> None:
    watch = watch_over("n1")
    watch.desk.do(StartMaintenance(node_id="n1"), EndMaintenance(node_id="n1"))
    assert watch.status() is NodeStatus.OFFLINE
    watch.beat("n1")
    assert watch.desk.node("n1").takes_work


def test_a_node_whose_supervisor_died_during_maintenance_comes_back_only_when_it_is_up() -> None:
    watch = watch_over("n1")
    watch.desk.do(StartMaintenance(node_id="n1"), EndMaintenance(node_id="n1"))
    watch.gone("n1")
    watch.beat()
    assert watch.status() is NodeStatus.OFFLINE
    watch.up("n1")
    assert watch.status() is NodeStatus.ONLINE


def test_a_node_that_was_shut_down_in_order_stays_down() -> None:
    watch = watch_over("n1")
    watch.desk.do(TakeOffline(node_id="n1"))
    watch.passes(SUSPECT, "n1")
    assert watch.status() is NodeStatus.OFFLINE


@pytest.mark.parametrize("command", [QuarantineNode(node_id="n1", cause="disk"), DrainNode(node_id="n1")])
def test_neither_quarantine_nor_drain_is_lifted_by_a_sign_of_life(command: Any) -> None:
    watch = watch_over("n1")
    watch.desk.do(command)
    watch.up("n1")
    watch.beat("n1")
    assert not watch.desk.node("n1").takes_work


# -- jobs whose time has come ----------------------------------------------------------------------------------------


def test_a_job_is_queued_when_its_start_time_has_come() -> None:
    watch = watch_over("n1")
    watch.desk.submit("job-1", not_before_ms=NOW + SUSPECT)
    watch.passes(SUSPECT - 1, "n1")
    assert watch.desk.status("job-1") is JobStatus.PENDING
    watch.passes(1, "n1")
    assert watch.desk.status("job-1") is JobStatus.QUEUED


def test_many_jobs_with_the_same_start_time_are_queued_in_few_commits() -> None:
    watch = watch_over("n1")
    count = AT_ONCE + 3
    watch.desk.submit(*(f"job-{number}" for number in range(count)), not_before_ms=NOW + 1)
    commits: list[int] = []
    watch.desk.app.listen(lambda recorded: commits.append(len(recorded)))
    watch.passes(1, "n1")
    assert commits == [AT_ONCE, 3]
    assert all(job.queued for job in watch.desk.app.farm.jobs.values())


def test_a_store_that_fails_when_something_is_due_is_not_passed_over() -> None:
    watch = watch_over("n1")
    watch.desk.submit("job-1", not_before_ms=NOW + 1)

    def fails(*args: object, **kwargs: object) -> int:
        raise errors.VersionConflict()

    append, watch.desk.log.append = watch.desk.log.append, fails  # type: ignore[method-assign]
    with pytest.raises(errors.VersionConflict):
        watch.passes(1, "n1")
    watch.desk.log.append = append  # type: ignore[method-assign]
    watch.passes(0, "n1")
    assert watch.desk.status("job-1") is JobStatus.QUEUED


def test_a_job_waits_for_its_dependencies_also_when_its_time_has_come() -> None:
    watch = watch_over("n1")
    watch.desk.submit("job-1")
    watch.desk.submit("job-2", after=["job-1"], not_before_ms=NOW + 1)
    watch.passes(HOUR, "n1")
    assert watch.desk.status("job-2") is JobStatus.PENDING
    watch.desk.run("job-1")
    assert watch.desk.status("job-2") is JobStatus.QUEUED


def test_a_dependency_declared_between_the_look_and_the_command_is_not_overrun() -> None:
    watch = watch_over("n1")
    watch.desk.submit("job-1")
    watch.desk.submit("job-2", not_before_ms=NOW + 1)
    watch.desk.clock.advance(1)
    (command,) = watch.dog._due(watch.desk.clock.now_ms())
    watch.desk.do(DeclareDependency(predecessor_id="job-1", successor_id="job-2"))
    watch.desk.do(command)
    assert watch.desk.status("job-2") is JobStatus.PENDING


# -- walltime --------------------------------------------------------------------------------------------------------

WALLTIME, GRACE = 60_000, 5_000


def running(clock: ManualClock | None = None) -> Watch:
    watch = Watch(Desk(clock=clock))
    watch.up("n1")
    watch.desk.submit("job-1", walltime_ms=WALLTIME, grace_ms=GRACE)
    watch.desk.cycle()
    return watch


def stopping(watch: Watch) -> StopCause | None:
    return watch.desk.job("job-1").live[1].stopping


def test_an_attempt_far_over_its_walltime_is_told_to_stop() -> None:
    watch = running()
    watch.desk.start("job-1")
    watch.passes(WALLTIME + GRACE + LEASE + MARGIN, "n1")
    assert stopping(watch) is None
    watch.passes(1, "n1")
    assert stopping(watch) is StopCause.WALLTIME
    before = watch.desk.position
    watch.passes(HOUR, "n1")
    assert watch.desk.position == before


def test_an_attempt_that_has_not_started_uses_no_walltime() -> None:
    watch = running()
    watch.passes(HOUR, "n1")
    assert stopping(watch) is None


def test_time_in_a_pause_is_no_walltime() -> None:
    watch = running()
    watch.desk.start("job-1")
    watch.desk.do(c.PauseJob(job_id="job-1"))
    watch.passes(HOUR, "n1")
    assert stopping(watch) is None
    watch.desk.do(c.ResumeJob(job_id="job-1"))
    watch.passes(WALLTIME + GRACE + LEASE + MARGIN, "n1")
    assert stopping(watch) is None
    watch.passes(1, "n1")
    assert stopping(watch) is StopCause.WALLTIME


def test_a_look_costs_what_is_due_and_not_what_lives() -> None:
    watch = running()
    watch.desk.start("job-1")
    watch.desk.submit("job-2", not_before_ms=NOW + HOUR)
    watch.desk.app.farm.jobs = Closed(watch.desk.app.farm.jobs)
    assert watch.dog._due(NOW + WALLTIME) == []


class Closed(dict[str, Job]):
    """The jobs of a farm that nobody may walk through."""

    def items(self) -> Any:
        raise AssertionError("somebody walks through all jobs")

    __iter__ = keys = values = items
