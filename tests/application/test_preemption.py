"""Preemption on a desk: who makes way, what is held, who goes on, and what the log tells of it."""

from typing import Any

import pytest

from application.commands import AdoptPolicies
from domain import errors
from domain.client import ProtectClient
from domain.decisions import ReasonCode
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import (
    FailureClass,
    JobStatus,
    PreemptionCause,
    PreemptionMode,
    Priority,
    Protection,
    StopCause,
)
from domain.node import BringOnline, DrainNode, LoseNode
from domain.policies import Policies
from tests.application.desk import Desk
from tests.builders import HOUR, SECOND, need

MINUTE = 60 * SECOND
MODES = ("requeue", "suspend", "checkpoint")


def desk_with(mode: str, *nodes: str, cores: float = 4, backfill: str = "greedy", **parameters: Any) -> Desk:
    """A farm under one mode of preemption."""
    desk = Desk()
    policies = Policies(preemption=mode, backfill=backfill, parameters={"preemption": parameters} if parameters else {})
    desk.do(AdoptPolicies(policies=policies))
    desk.nodes(*nodes, cores=cores)
    return desk


def running(desk: Desk, *job_ids: str, **fields: Any) -> None:
    """Jobs of low priority that have run for ten minutes."""
    given: dict[str, Any] = {"priority": Priority.LOW, "cores": 4, "checkpoints": True} | fields
    desk.submit(*job_ids, **given)
    desk.cycle()
    for job_id in job_ids:
        assert desk.job(job_id).live, f"{job_id} was not placed"
        desk.start(job_id)
    desk.clock.advance(10 * MINUTE)


def stop(desk: Desk, job_id: str) -> None:
    """What was told to end has ended."""
    desk.finish(job_id, failure=FailureClass.SIGNAL)


def checked(desk: Desk) -> None:
    """Nothing more happens by itself, and the farm is the fold of its log."""
    desk.check()


# -- the three modes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["requeue", "checkpoint"])
def test_a_victim_is_told_to_end_and_its_room_is_held_for_the_preemptor(mode: str) -> None:
    desk = desk_with(mode, "n1")
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.submit("job-other", cores=1, priority=Priority.MEDIUM)
    desk.cycle()
    assert desk.job("job-low").live[1].stopping is StopCause.PREEMPTED
    claim = desk.job("job-high").claim
    assert claim is not None
    assert (claim.mode, claim.why, claim.places) == (PreemptionMode(mode), PreemptionCause.PRIORITY, ((("n1", 1),),))
    desk.cycle()
    stop(desk, "job-low")
    assert desk.job("job-low").waiting == "0"
    assert desk.job("job-low").failures == {}
    desk.cycle()
    assert desk.job("job-high").live
    assert desk.job("job-high").claim is None
    assert not desk.job("job-other").live
    checked(desk)


def test_a_suspended_attempt_gives_back_its_cores_and_goes_on_when_they_are_free() -> None:
    desk = desk_with("suspend", "n1", cores=4)
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    attempt = desk.job("job-low").live[1]
    assert (attempt.stopping, attempt.suspended_at_ms) == (None, desk.clock.now_ms())
    assert desk.status("job-low") is JobStatus.RUNNING
    desk.cycle()
    assert desk.job("job-high").live
    desk.clock.advance(5 * MINUTE)
    desk.submit("job-small", cores=1, priority=Priority.LOW)
    desk.finish("job-high")
    desk.cycle()
    attempt = desk.job("job-low").live[1]
    assert (attempt.suspended_at_ms, attempt.suspended_ms) == (None, 5 * MINUTE)
    assert not desk.job("job-small").live
    checked(desk)
    desk.finish("job-low")
    checked(desk)


def test_memory_stays_with_whoever_is_suspended() -> None:
    desk = Desk()
    desk.do(AdoptPolicies(policies=Policies(preemption="suspend")))
    desk.nodes("n1", cores=4, memory_mib=1_000)
    running(desk, "job-low", requirement=need(4, memory_mib=600))
    desk.submit("job-large", requirement=need(4, memory_mib=600), priority=Priority.HIGH)
    desk.cycle()
    assert desk.job("job-large").claim is None, "its memory would not be free"
    assert desk.job("job-low").live[1].suspended_at_ms is None
    desk.submit("job-small", requirement=need(4, memory_mib=400), priority=Priority.HIGH)
    desk.cycle()
    desk.cycle()
    assert desk.job("job-small").live
    checked(desk)


def test_a_pause_on_top_of_a_suspension_keeps_the_attempt_where_it_is() -> None:
    desk = desk_with("suspend", "n1")
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    desk.cycle()
    desk.do(c.PauseJob(job_id="job-low"))
    desk.finish("job-high")
    desk.cycle()
    assert desk.job("job-low").live[1].suspended_at_ms is not None
    desk.do(c.ResumeJob(job_id="job-low"))
    desk.cycle()
    assert desk.job("job-low").live[1].suspended_at_ms is None
    checked(desk)


def test_somebody_of_a_higher_level_goes_before_suspended_work() -> None:
    desk = desk_with("suspend", "n1")
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    desk.cycle()
    desk.submit("job-next", cores=4, priority=Priority.MEDIUM)
    desk.cycle()
    desk.finish("job-high")
    desk.cycle()
    assert desk.job("job-next").live
    assert desk.job("job-low").live[1].suspended_at_ms is not None
    desk.finish("job-next")
    desk.cycle()
    assert desk.job("job-low").live[1].suspended_at_ms is None


def test_only_jobs_that_can_save_their_state_make_way_in_checkpoint_mode() -> None:
    desk = desk_with("checkpoint", "n1")
    running(desk, "job-low", checkpoints=False)
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    assert desk.job("job-high").claim is None
    assert desk.job("job-low").live[1].stopping is None


def test_without_preemption_nobody_makes_way() -> None:
    desk = desk_with("none", "n1")
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.CRITICAL)
    desk.cycle()
    assert desk.job("job-high").claim is None


# -- who makes way ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("levels", "makes_way"), [(1, True), (2, True), (3, False)])
def test_a_preemptor_stands_so_many_levels_above_its_victims(levels: float, makes_way: bool) -> None:
    desk = desk_with("requeue", "n1", levels=levels)
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    assert (desk.job("job-high").claim is not None) is makes_way


def test_no_more_make_way_than_are_needed_and_the_cheapest_first() -> None:
    desk = desk_with("requeue", "n1", "n2")
    running(desk, "job-old", "job-older", cores=2)
    desk.submit("job-a", "job-b", cores=2, priority=Priority.LOW)
    desk.cycle()
    for job_id in ("job-a", "job-b"):
        desk.start(job_id)
    desk.clock.advance(MINUTE)
    desk.submit("job-high", cores=2, priority=Priority.HIGH)
    desk.cycle()
    claimed = desk.last(e.RoomClaimed)
    assert [victim.job_id for victim in claimed.victims] == ["job-a"]
    assert claimed.victims[0].lost_ms == MINUTE
    assert claimed.considered == 4
    others = [(other.victims, other.worse) for other in claimed.alternatives]
    assert others == [((("job-b", 1),), "name"), ((("job-old", 1),), "cost"), ((("job-older", 1),), "cost")]


def test_a_gang_gets_all_its_nodes_at_once() -> None:
    desk = desk_with("requeue", "n1", "n2", "n3")
    running(desk, "job-1", "job-2", "job-3")
    desk.submit("job-gang", requirement=need(4, slots=2, distinct=True), priority=Priority.HIGH)
    desk.cycle()
    leaving = [job_id for job_id in ("job-1", "job-2", "job-3") if desk.job(job_id).live[1].stopping]
    assert leaving == ["job-1", "job-2"]
    stop(desk, "job-1")
    desk.cycle()
    assert not desk.job("job-gang").live
    stop(desk, "job-2")
    desk.cycle()
    assert desk.job("job-gang").live[1].nodes == (("n1", 1), ("n2", 1))
    checked(desk)


def test_the_room_of_a_gang_that_makes_way_is_given_to_more_than_one() -> None:
    desk = desk_with("requeue", "n1", "n2")
    running(desk, "job-gang", requirement=need(4, slots=2, distinct=True))
    desk.submit("job-x", "job-y", cores=4, priority=Priority.HIGH)
    desk.cycle()
    assert desk.job("job-x").claim is not None
    assert desk.job("job-y").claim is None, "the same victims make enough room for both"
    stop(desk, "job-gang")
    desk.cycle()
    assert desk.job("job-x").live
    assert desk.job("job-y").live


def test_several_tasks_of_a_job_take_room_in_one_cycle() -> None:
    desk = desk_with("requeue", "n1", "n2", "n3", most_victims=2)
    running(desk, "job-low", tasks="1-3")
    desk.submit("job-high", cores=4, tasks="1-3", priority=Priority.HIGH)
    desk.cycle()
    claimed = desk.last(e.RoomClaimed)
    assert (len(claimed.places), len(claimed.victims)) == (2, 2)
    desk.finish("job-low", failure=FailureClass.SIGNAL)
    desk.cycle()
    assert len(desk.job("job-high").live) >= 2
    checked(desk)


def test_a_task_that_was_preempted_is_left_alone_until_it_has_cooled_down() -> None:
    desk = desk_with("requeue", "n1", cool_down_s=120)
    running(desk, "job-low")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    stop(desk, "job-low")
    desk.run("job-high")
    desk.cycle()
    desk.start("job-low")
    desk.submit("job-again", cores=4, priority=Priority.HIGH)
    assert desk.cycle().wake_at_ms == desk.clock.now_ms() + 120 * SECOND
    assert desk.job("job-again").claim is None
    desk.clock.advance(120 * SECOND)
    desk.cycle()
    assert desk.job("job-again").claim is not None


def test_the_grace_of_the_policy_goes_before_that_of_the_job() -> None:
    desk = desk_with("requeue", "n1", grace_s=30)
    running(desk, "job-low", grace_ms=1_000)
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    assert desk.last(e.TasksStopping).grace_ms == 30_000
    assert desk.job("job-low").live[1].grace_ms == 30_000


def test_a_job_that_would_miss_its_deadline_takes_room_from_its_equals_that_have_time() -> None:
    desk = desk_with("requeue", "n1", deadlines=True, deadline_window_s=600)
    running(desk, "job-calm", walltime_ms=3 * HOUR, priority=Priority.MEDIUM)
    deadline_ms = desk.clock.now_ms() + HOUR + 20 * MINUTE
    desk.submit("job-urgent", cores=4, walltime_ms=HOUR, deadline_ms=deadline_ms)
    made = desk.cycle()
    assert desk.job("job-urgent").claim is None
    assert made.wake_at_ms == deadline_ms - HOUR - 10 * MINUTE
    desk.clock.advance(10 * MINUTE)
    desk.cycle()
    claimed = desk.last(e.RoomClaimed)
    assert (claimed.job_id, claimed.why) == ("job-urgent", PreemptionCause.DEADLINE)
    assert claimed.places[0].otherwise_ms == desk.job("job-calm").live[1].placed_ms + 3 * HOUR


def test_an_owner_takes_back_what_it_lent() -> None:
    desk = Desk()
    policies = Policies(preemption="requeue", sharing="lending", parameters={"sharing": {"reclaim": "preempt"}})
    desk.do(AdoptPolicies(policies=policies))
    desk.nodes("n1", "n2", cores=4)
    desk.client("owner", guarantee_percent=50)
    desk.client("guest", guarantee_percent=50)
    running(desk, "job-1", "job-2", client_id="guest", priority=Priority.MEDIUM)
    desk.submit("job-own", cores=4, client_id="owner", priority=Priority.MEDIUM)
    desk.cycle()
    claimed = desk.last(e.RoomClaimed)
    assert (claimed.job_id, claimed.why, len(claimed.victims)) == ("job-own", PreemptionCause.RECLAIM, 1)


# -- contracts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "contract", [Protection(never=True), Protection(until_ms=1 << 45), Protection(after_checkpoint=True)]
)
def test_a_contract_protects_a_job(mode: str, contract: Protection) -> None:
    desk = desk_with(mode, "n1")
    running(desk, "job-low", protection=contract)
    desk.submit("job-high", cores=4, priority=Priority.CRITICAL)
    desk.cycle()
    assert desk.job("job-high").claim is None
    with pytest.raises(errors.JobProtected):
        desk.do(
            c.PreemptTasks(
                job_id="job-low", attempts=(1,), preemptor="job-high",
                mode=PreemptionMode(mode), why=PreemptionCause.PRIORITY,
            )
        )  # fmt: skip


def test_a_contract_ends_at_its_time_and_the_cycle_knows_when() -> None:
    desk = desk_with("requeue", "n1")
    until_ms = desk.clock.now_ms() + 11 * MINUTE
    running(desk, "job-low", protection=Protection(until_ms=until_ms))
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    assert desk.cycle().wake_at_ms == until_ms
    desk.clock.advance(MINUTE)
    desk.cycle()
    assert desk.job("job-high").claim is not None


def test_after_a_checkpoint_of_its_own_an_attempt_may_be_interrupted() -> None:
    desk = desk_with("requeue", "n1")
    running(desk, "job-low", protection=Protection(after_checkpoint=True))
    desk.do(c.NoteCheckpoint(job_id="job-low", attempt=1, checkpoint_id="c-1", location="/c"))
    desk.clock.advance(MINUTE)
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    preempted = desk.last(e.TasksPreempted)
    assert (preempted.attempts[0].lost_ms, preempted.attempts[0].checkpoint_id) == (MINUTE, "c-1")
    stop(desk, "job-low")
    desk.run("job-high")
    desk.cycle()
    desk.clock.advance(HOUR)
    desk.submit("job-again", cores=4, priority=Priority.HIGH)
    desk.cycle()
    assert desk.job("job-again").claim is None, "the new attempt has saved nothing yet"


def test_the_contract_of_a_client_holds_for_jobs_without_one_of_their_own() -> None:
    desk = desk_with("requeue", "n1", "n2")
    desk.client("lab")
    desk.do(ProtectClient(client_id="lab", protection=Protection(never=True)))
    running(desk, "job-1", client_id="lab")
    running(desk, "job-2", client_id="lab", protection=Protection())
    desk.submit("job-high", cores=4, tasks="1-2", priority=Priority.HIGH)
    desk.cycle()
    assert [victim.job_id for victim in desk.last(e.RoomClaimed).victims] == ["job-2"]
    desk.do(c.ProtectJob(job_id="job-1", protection=Protection()))
    assert desk.job("job-1").protection == Protection()


def test_work_of_months_is_interrupted_by_nothing_but_its_contract() -> None:
    desk = desk_with("requeue", "n1", "n2")
    running(desk, "job-month", walltime_ms=30 * 24 * HOUR)
    running(desk, "job-open", walltime_ms=30 * 24 * HOUR, protection=Protection(after_checkpoint=False))
    desk.submit("job-high", cores=4, tasks="1-2", priority=Priority.CRITICAL)
    desk.cycle()
    assert [victim.job_id for victim in desk.last(e.RoomClaimed).victims] == ["job-open"]


# -- claims ----------------------------------------------------------------------------------------------------------


def claimed_desk() -> Desk:
    """A claim of `job-high` on n1, whose victim has not left yet."""
    desk = desk_with("requeue", "n1", "n2")
    running(desk, "job-low", "job-low2")
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    assert desk.job("job-high").claim is not None
    return desk


def test_a_claim_waits_for_its_own_room_even_if_other_room_is_free() -> None:
    desk = claimed_desk()
    desk.nodes("n3", cores=4)
    made = desk.cycle()
    assert made.decisions == ()
    rows = {row.segment.split("/")[1]: row.reasons[0].code for row in made.passed_over}
    assert rows["high"] is ReasonCode.ROOM_CLAIMED
    stop(desk, "job-low")
    desk.cycle()
    assert desk.job("job-high").live[1].nodes == (("n1", 1),)


def test_nobody_else_gets_claimed_room() -> None:
    desk = claimed_desk()
    stop(desk, "job-low")
    desk.submit("job-rival", cores=4, priority=Priority.CRITICAL)
    desk.cycle()
    assert desk.job("job-high").live
    assert not [n for n, a in desk.job("job-rival").live.items() if a.nodes == (("n1", 1),)]
    checked(desk)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (c.HoldJob(job_id="job-high"), "held"),
        (c.PauseJob(job_id="job-high"), "paused"),
        (c.UnqueueJob(job_id="job-high", why="w"), "unqueued"),
        (c.CancelJob(job_id="job-high"), "cancelled"),
    ],
)
def test_a_claim_ends_with_whoever_leaves(wish: Any, why: str) -> None:
    desk = claimed_desk()
    desk.do(wish)
    assert desk.last(e.ClaimReleased).why == why
    assert not desk.app.farm.interruptions.claims
    stop(desk, "job-low")
    desk.cycle()
    checked(desk)


@pytest.mark.parametrize("wish", [DrainNode(node_id="n1"), LoseNode(node_id="n1", why="it burned")])
def test_a_claim_ends_with_its_node(wish: Any) -> None:
    desk = claimed_desk()
    desk.do(wish)
    desk.cycle()
    assert desk.last(e.ClaimReleased).why == "n1 takes no work any more"
    desk.cycle()
    claim = desk.job("job-high").claim
    assert claim is not None, "it may make a new one elsewhere"
    assert claim.places == ((("n2", 1),),)
    desk.do(BringOnline(node_id="n1"))
    desk.cycle()
    checked(desk)


def test_the_same_cycle_again_interrupts_nobody_else() -> None:
    desk = claimed_desk()
    before = desk.position
    desk.cycle()
    assert [topic for topic in desk.topics(before) if topic != "cycle.decided"] == []


def test_preemption_respects_the_reservation_of_a_job_that_comes_first() -> None:
    desk = desk_with("requeue", "n1", backfill="easy")
    desk.do(AdoptPolicies(policies=Policies(preemption="requeue", backfill="easy", order="fifo")))
    running(desk, "job-low", walltime_ms=HOUR)
    desk.submit("job-head", cores=4, walltime_ms=HOUR, priority=Priority.LOW)
    desk.cycle()
    desk.clock.advance(SECOND)
    desk.submit("job-high", cores=4, walltime_ms=HOUR, priority=Priority.HIGH)
    desk.cycle()
    assert desk.job("job-high").claim is None


def test_an_attempt_that_is_stopped_by_somebody_is_no_victim_and_its_room_counts() -> None:
    desk = desk_with("requeue", "n1", "n2")
    running(desk, "job-1", "job-2")
    desk.do(c.CancelJob(job_id="job-1"))
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    assert desk.job("job-high").claim is None
    desk.finish("job-1", failure=FailureClass.SIGNAL)
    desk.cycle()
    assert desk.job("job-high").live
