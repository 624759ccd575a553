"""Undo: what a command changed is as it was before, or nothing changes and the refusal says what would help."""

from typing import Any

import pytest
from msgspec.structs import replace

from adapters.store.objects import ObjectLog
from adapters.store.sqlite import open_log
from application import farms
from application.app import COMMANDS, Reply, Request
from application.commands import AdoptPolicies
from application.decider import ROUTES
from application.simulation.recording import record
from application.undo import _FACETS, _INSTEAD, Undo
from domain import errors
from domain.client import ChangeShares, ProtectClient, RegisterClient, ReinstateClient, Shares, SuspendClient
from domain.cycle import DAY_MS, PoliciesAdopted
from domain.dependency import BypassDependency, dependency_id
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import Priority, Protection
from domain.messages import Command, Meta, Recorded, topic_of
from domain.node import DrainNode, NodeDrained, NodeUndrained, RecoverNode, RetireNode, TakeOffline, UndrainNode
from domain.policies import Policies
from domain.undo import UNDOABLE, UNDOABLE_TOPICS, CommandUndone, undo_stream
from tests.application.desk import Desk
from tests.builders import NOW, SECOND

BOB = "user:bob"
FIFO = Policies(order="fifo")
WAYS: dict[str, tuple[Command, ...]] = {
    "priority": (c.PrioritizeJob(job_id="job-1", priority=Priority.CRITICAL),),
    "deadline": (c.SetDeadline(job_id="job-1", deadline_ms=NOW + 9),),
    "no deadline": (c.SetDeadline(job_id="job-2", deadline_ms=None),),
    "protection": (c.ProtectJob(job_id="job-1", protection=Protection(never=True)),),
    "protection of a client": (ProtectClient(client_id="show", protection=Protection(after_checkpoint=True)),),
    "hold": (c.HoldJob(job_id="job-1"),),
    "unhold": (c.UnholdJob(job_id="job-2"),),
    "pause": (c.PauseJob(job_id="job-1"),),
    "resume": (c.ResumeJob(job_id="job-3"),),
    "shares": (ChangeShares(client_id="show", shares=Shares(5, 50, "gold", 3)),),
    "suspend": (SuspendClient(client_id="show"),),
    "reinstate": (ReinstateClient(client_id="lab"),),
    "drain": (DrainNode(node_id="n1", why="a new disk"),),
    "undrain": (UndrainNode(node_id="n2"),),
    "policies": (AdoptPolicies(policies=FIFO),),
    "many": (
        c.HoldJob(job_id="job-1"),
        c.PrioritizeJob(job_id="job-1", priority=Priority.LOW),
        c.UnholdJob(job_id="job-2"),
        c.PrioritizeJob(job_id="job-2", priority=Priority.LOW),
        DrainNode(node_id="n1"),
        ChangeShares(client_id="show", shares=Shares(0, 40)),
        ChangeShares(client_id="show", shares=Shares(0, 30)),
        SuspendClient(client_id="show"),
        AdoptPolicies(policies=FIFO),
    ),
}


@pytest.fixture
def desk() -> Desk:
    """Two nodes, one drained; three jobs, one held with a deadline and one paused; two clients, one suspended."""
    desk = Desk()
    desk.nodes("n1", "n2")
    desk.client("show", limit_percent=80)
    desk.client("lab")
    desk.submit("job-1", "job-3")
    desk.submit("job-2", held=True, deadline_ms=NOW + 5 * SECOND, priority=Priority.HIGH)
    desk.do(c.PauseJob(job_id="job-3"), SuspendClient(client_id="lab"), DrainNode(node_id="n2", why="it smokes"))
    desk.clock.advance(SECOND)
    return desk


def states(desk: Desk) -> Any:
    """All that undo is about, without the numbers of sets of policies, and without how long pauses lasted."""
    farm = desk.app.farm
    jobs = {job_id: replace(job, paused_at_ms=None, paused_ms=0) for job_id, job in farm.jobs.items()}
    return jobs, dict(farm.nodes), dict(farm.clients), replace(farm.policies, version=0)


def refusal(desk: Desk, command_id: str, by: str = BOB) -> errors.TaskSchedulerError:
    """How an undo is refused; it changes nothing."""
    before, position = states(desk), desk.position
    with pytest.raises(errors.TaskSchedulerError) as caught:
        desk.do(Undo(command_id=command_id), by=by)
    assert states(desk) == before
    assert desk.topics(position) in ([], ["command.refused"])
    return caught.value


# -- what is undone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_everything_a_command_changed_is_as_it_was_and_undoing_that_is_doing_it_again(desk: Desk, way: str) -> None:
    before = states(desk)
    desk.do(*WAYS[way], command_id="cmd-a")
    after = states(desk)
    assert after != before
    desk.do(Undo(command_id="cmd-a"), by=BOB, command_id="cmd-b")
    assert states(desk) == before
    desk.do(Undo(command_id="cmd-b"), command_id="cmd-c")
    assert states(desk) == after
    desk.do(Undo(command_id="cmd-a"), command_id="cmd-d")
    assert states(desk) == before
    desk.check()


def test_a_change_back_says_what_it_undoes_and_so_does_a_fact_of_its_own(desk: Desk) -> None:
    desk.do(c.HoldJob(job_id="job-1"), c.HoldJob(job_id="job-3"), command_id="cmd-a")
    before = desk.position
    reply = desk.do(Undo(command_id="cmd-a", why="wrong list"), by=BOB, command_id="cmd-b")
    one, three, undone = desk.recorded(before)
    assert reply.events == 3
    why = "undoes cmd-a: wrong list"
    now = desk.clock.now_ms()
    assert [one.event, three.event] == [e.JobUnheld(at_ms=now, job_id=f"job-{n}", why=why) for n in (1, 3)]
    assert undone.event == CommandUndone(at_ms=now, command_id="cmd-a", actor="user:ada", changes=2, why="wrong list")
    assert (undone.stream, undone.version) == (undo_stream(now), 1)
    assert {(r.meta.actor, r.meta.command_id, r.meta.cause) for r in (one, three, undone)} == {
        (BOB, "cmd-b", "undo:cmd-a")
    }


def test_the_same_undo_sent_again_changes_nothing_more(desk: Desk) -> None:
    desk.do(c.HoldJob(job_id="job-1"), command_id="cmd-a")
    reply = desk.do(Undo(command_id="cmd-a"), command_id="cmd-b")
    assert desk.do(Undo(command_id="cmd-a"), command_id="cmd-b") == reply


def test_a_command_without_an_id_from_outside_is_found_and_undone(desk: Desk) -> None:
    desk.do(c.HoldJob(job_id="job-1"))
    desk.do(Undo(command_id=desk.recorded()[-1].meta.command_id))
    assert not desk.job("job-1").held


def test_a_node_that_was_drained_is_drained_for_the_same_reason(desk: Desk) -> None:
    desk.do(UndrainNode(node_id="n2"), command_id="cmd-a")
    assert desk.last(NodeUndrained).node_id == "n2"
    desk.do(Undo(command_id="cmd-a"))
    assert desk.last(NodeDrained).why == desk.node("n2").why == "it smokes"


def test_the_set_of_policies_before_is_in_force_under_a_number_of_its_own(desk: Desk) -> None:
    for number, order in enumerate(("fifo", "sjf"), 1):
        desk.do(AdoptPolicies(policies=Policies(order=order)), command_id=f"cmd-{number}")
    desk.do(Undo(command_id="cmd-2"), command_id="cmd-3")
    assert (desk.app.farm.policies.order, desk.app.farm.policies.version) == ("fifo", 4)
    assert refusal(desk, "cmd-2").code == "command.already-undone"
    desk.do(Undo(command_id="cmd-1"))
    assert desk.last(PoliciesAdopted).policies == replace(Policies(), version=5)


def test_what_lies_between_and_concerns_something_else_stays(desk: Desk) -> None:
    desk.do(c.HoldJob(job_id="job-1"), command_id="cmd-a")
    desk.do(c.PrioritizeJob(job_id="job-1", priority=Priority.HIGH), c.SetDeadline(job_id="job-1", deadline_ms=NOW))
    desk.cycle()
    desk.do(Undo(command_id="cmd-a"))
    job = desk.job("job-1")
    assert (job.held, job.priority, job.deadline_ms) == (False, Priority.HIGH, NOW)


def test_what_a_command_changed_and_changed_back_itself_is_left_alone(desk: Desk) -> None:
    desk.do(
        c.HoldJob(job_id="job-1"), c.UnholdJob(job_id="job-1"), c.HoldJob(job_id="job-3"), command_id="cmd-a"
    )  # fmt: skip
    before = desk.position
    desk.do(Undo(command_id="cmd-a"))
    assert desk.topics(before) == ["job.unheld", "command.undone"]


def test_room_that_a_hold_gave_up_is_claimed_anew_by_a_cycle_and_not_by_undo(desk: Desk) -> None:
    """What follows by itself from a change is no change of its own."""
    released = e.ClaimReleased(at_ms=desk.clock.now_ms(), job_id="job-1", why="held")
    held = e.JobHeld(at_ms=desk.clock.now_ms(), job_id="job-1")
    meta = Meta("user:ada", "cmd-a")
    version = desk.app.farm.versions["job-1"]
    facts = [(held, meta), (released, Meta("user:ada", "cmd-a", f"job-1@{version + 1}"))]
    desk.log.append([Recorded(0, "job-1", version + n, fact, said) for n, (fact, said) in enumerate(facts, 1)])
    desk.app.catch_up()
    before = desk.position
    desk.do(Undo(command_id="cmd-a"))
    assert desk.topics(before) == ["job.unheld", "command.undone"]
    desk.check()


def test_many_jobs_are_changed_back_in_one_transaction(desk: Desk) -> None:
    jobs = [f"job-x{n}" for n in range(300)]
    desk.submit(*jobs)
    desk.do(*(c.PrioritizeJob(job_id=job_id, priority=Priority.LOW) for job_id in jobs), command_id="cmd-a")
    assert desk.do(Undo(command_id="cmd-a")).events == 301
    assert {desk.job(job_id).priority for job_id in jobs} == {Priority.MEDIUM}


def test_a_command_of_the_same_commit_is_undone_too(desk: Desk) -> None:
    """Nothing of it is in the log yet."""
    desk.do(
        ChangeShares(client_id="show", shares=Shares(0, 10)),
        DrainNode(node_id="n1"),
        UndrainNode(node_id="n2"),
        AdoptPolicies(policies=FIFO),
        command_id="cmd-0",
    )
    before = states(desk)
    commands = (
        (ChangeShares(client_id="show", shares=Shares(0, 20)), UndrainNode(node_id="n1"), c.HoldJob(job_id="job-1")),
        (Undo(command_id="cmd-1"),),
        (Undo(command_id="cmd-2"),),
        (Undo(command_id="cmd-1"),),
    )
    requests = [
        Request(some, Meta("user:ada", f"cmd-{number}"), remember=True) for number, some in enumerate(commands, 1)
    ]
    assert all(isinstance(outcome, Reply) for outcome in desk.app.commit_all(requests))
    assert states(desk) == before


def test_a_course_that_is_run_again_has_the_undoing_in_it(desk: Desk) -> None:
    start = desk.clock.advance(SECOND)
    desk.do(*WAYS["many"], command_id="cmd-a")
    desk.clock.advance(SECOND)
    desk.do(Undo(command_id="cmd-a"), command_id="cmd-b")
    arrivals = list(record(desk.log, start, desk.clock.now_ms()).arrivals())
    undoing = [type(command) for at_ms, commands in arrivals for command in commands if at_ms == desk.clock.now_ms()]
    assert undoing[:3] == [c.UnholdJob, c.PrioritizeJob, c.HoldJob]
    assert {UndrainNode, ChangeShares, ReinstateClient} <= set(undoing)


def test_days_of_undoing_are_streams_of_their_own(desk: Desk) -> None:
    for number in range(3):
        desk.do(c.HoldJob(job_id="job-1"), command_id=f"cmd-{number}")
        desk.do(Undo(command_id=f"cmd-{number}"))
        desk.clock.advance(DAY_MS // 2)
    streams = [(r.stream, r.version) for r in desk.recorded() if isinstance(r.event, CommandUndone)]
    first = int(streams[0][0].removeprefix("undo-"))
    versions = [version for _, version in streams]
    assert {stream for stream, _ in streams} == {f"undo-{first}", f"undo-{first + 1}"}
    assert sorted(versions) == [1, 1, 2]
    assert [stream for stream in desk.app.farm.versions if stream.startswith("undo-")] == [streams[-1][0]]
    desk.check()


def test_a_farm_that_went_on_from_a_snapshot_can_undo_as_often_as_before(desk: Desk) -> None:
    for number in range(2):
        desk.do(c.HoldJob(job_id="job-1"), command_id=f"cmd-{number}")
        desk.do(Undo(command_id=f"cmd-{number}"), command_id=f"cmd-back-{number}")
        farms.save(desk.log, desk.app.farm.snapshot())
        desk = Desk(log=desk.log, clock=desk.clock)
    assert desk.last(CommandUndone).command_id == "cmd-1"


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command_id", ["cmd-none", "", "job-1"])
def test_an_id_that_nobody_used_is_not_found(desk: Desk, command_id: str) -> None:
    error = refusal(desk, command_id)
    assert isinstance(error, errors.CommandNotFound)
    assert "`milepost audit`" in error.message


def test_a_command_cannot_undo_itself(desk: Desk) -> None:
    with pytest.raises(errors.CommandNotFound):
        desk.do(c.HoldJob(job_id="job-1"), Undo(command_id="cmd-a"), command_id="cmd-a")
    assert not desk.job("job-1").held


def test_a_command_that_changed_nothing_has_nothing_to_undo(desk: Desk) -> None:
    desk.do(c.UnholdJob(job_id="job-1"), command_id="cmd-a")
    assert refusal(desk, "cmd-a").code == "command.nothing-to-undo"
    desk.do(c.HoldJob(job_id="job-1"), c.UnholdJob(job_id="job-1"), command_id="cmd-b")
    assert refusal(desk, "cmd-b").code == "command.nothing-to-undo"


def test_a_command_that_was_refused_has_nothing_to_undo(desk: Desk) -> None:
    desk.do(c.CancelJob(job_id="job-1"))
    with pytest.raises(errors.JobEnded):
        desk.do(c.HoldJob(job_id="job-1"), command_id="cmd-a")
    assert refusal(desk, "cmd-a").code == "command.nothing-to-undo"


def test_what_was_undone_is_not_undone_twice_and_the_refusal_names_who_did_it(desk: Desk) -> None:
    desk.do(c.HoldJob(job_id="job-1"), command_id="cmd-a")
    desk.do(Undo(command_id="cmd-a"), by=BOB, command_id="cmd-b")
    error = refusal(desk, "cmd-a")
    assert isinstance(error, errors.AlreadyUndone)
    assert error.message == (
        "command 'cmd-a' was undone already by user:bob at 2026-09-21 14:13:21 UTC; `milepost undo cmd-b` does it again"
    )


def test_a_later_change_of_the_same_thing_is_undone_first(desk: Desk) -> None:
    desk.do(*WAYS["many"], command_id="cmd-a")
    desk.do(c.PrioritizeJob(job_id="job-2", priority=Priority.CRITICAL), by=BOB, command_id="cmd-b")
    error = refusal(desk, "cmd-a", by="user:ada")
    assert isinstance(error, errors.UndoOvertaken)
    assert error.message == (
        "command 'cmd-a' cannot be undone: the priority of job-2 was changed again by user:bob "
        "at 2026-09-21 14:13:21 UTC; undo 'cmd-b' first"
    )
    desk.do(Undo(command_id="cmd-b"))
    desk.do(Undo(command_id="cmd-a"))
    assert desk.job("job-2").priority is Priority.HIGH


@pytest.mark.parametrize("way", ["hold", "pause", "shares", "suspend", "drain", "policies", "deadline"])
def test_each_kind_of_thing_can_be_overtaken(desk: Desk, way: str) -> None:
    again: dict[str, tuple[Command, ...]] = {
        "hold": (c.UnholdJob(job_id="job-1"),),
        "pause": (c.ResumeJob(job_id="job-1"),),
        "shares": (ChangeShares(client_id="show", shares=Shares(1)),),
        "suspend": (ReinstateClient(client_id="show"),),
        "drain": (UndrainNode(node_id="n1"),),
        "policies": (AdoptPolicies(policies=Policies(order="sjf")),),
        "deadline": (c.SetDeadline(job_id="job-1", deadline_ms=None),),
    }
    desk.do(*WAYS[way], command_id="cmd-a")
    desk.do(*again[way], by=BOB, command_id="cmd-b")
    assert refusal(desk, "cmd-a").fields["by"] == "cmd-b"


def test_a_later_command_that_left_a_thing_as_it_was_is_in_nobodys_way(desk: Desk) -> None:
    desk.do(c.HoldJob(job_id="job-1"), DrainNode(node_id="n1"), command_id="cmd-a")
    desk.do(c.UnholdJob(job_id="job-1"), c.HoldJob(job_id="job-1"), command_id="cmd-b")
    desk.do(Undo(command_id="cmd-a"))
    assert not desk.job("job-1").held


def test_undone_changes_on_top_do_not_count_and_those_done_again_do(desk: Desk) -> None:
    low, high = Priority.LOW, Priority.HIGH
    desk.do(c.PrioritizeJob(job_id="job-1", priority=low), command_id="cmd-a")
    desk.do(c.PrioritizeJob(job_id="job-1", priority=high), command_id="cmd-b")
    desk.do(Undo(command_id="cmd-b"), command_id="cmd-c")
    desk.do(Undo(command_id="cmd-c"), command_id="cmd-d")
    assert refusal(desk, "cmd-a").fields["by"] == "cmd-b"  # it stands again
    assert refusal(desk, "cmd-c").fields["undone_by"] == "cmd-d"
    desk.do(Undo(command_id="cmd-b"), command_id="cmd-e")
    desk.do(Undo(command_id="cmd-a"), command_id="cmd-f")
    assert desk.job("job-1").priority is Priority.MEDIUM
    assert refusal(desk, "cmd-a").fields["undone_by"] == "cmd-f"
    assert refusal(desk, "cmd-e").fields["by"] == "cmd-f"


def test_a_job_that_has_ended_since_keeps_all_of_the_command_from_being_undone(desk: Desk) -> None:
    desk.do(c.HoldJob(job_id="job-1"), c.HoldJob(job_id="job-3"), command_id="cmd-a")
    desk.do(c.CancelJob(job_id="job-1"))
    error = refusal(desk, "cmd-a")
    assert isinstance(error, errors.UndoForbidden)
    assert error.message.startswith("command 'cmd-a' cannot be undone: job 'job-1' has ended (cancelled)")
    assert desk.job("job-3").held


def test_a_pause_that_a_retry_lifted_is_not_lifted_again(desk: Desk) -> None:
    desk.do(c.PauseJob(job_id="job-1"), command_id="cmd-a")
    desk.do(c.CancelJob(job_id="job-1"))
    desk.do(c.RetryJob(job_id="job-1"), by=BOB, command_id="cmd-b")
    assert refusal(desk, "cmd-a").fields["by"] == "cmd-b"


def test_a_node_that_has_left_is_not_drained_again(desk: Desk) -> None:
    desk.do(UndrainNode(node_id="n2"), command_id="cmd-a")
    desk.do(TakeOffline(node_id="n2"), RetireNode(node_id="n2"))
    assert "node 'n2' is retired" in refusal(desk, "cmd-a").message


def test_shares_that_others_have_by_now_are_not_taken_back(desk: Desk) -> None:
    desk.do(ChangeShares(client_id="lab", shares=Shares(60)))
    desk.do(ChangeShares(client_id="lab", shares=Shares(10)), command_id="cmd-a")
    desk.do(RegisterClient(client_id="films", shares=Shares(50)))
    assert "cannot be guaranteed 60 %: together 110 %" in refusal(desk, "cmd-a").message


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ((c.CancelJob(job_id="job-1"),), "it cancelled job-1; `milepost retry` opens it again"),
        ((c.HoldJob(job_id="job-1"), c.CancelJob(job_id="job-3")), "it cancelled job-3; `milepost retry` opens"),
        ((RegisterClient(client_id="new"),), "it made known client:new; `milepost client suspend`"),
        ((BypassDependency(dependency_id=dependency_id("job-1", "job-9")),), "it bypassed dep-"),
        ((TakeOffline(node_id="n1"),), "it led to node.offline in node:n1, which nothing takes back"),
    ],
)
def test_what_nothing_takes_back_is_refused_with_what_helps(
    desk: Desk, commands: tuple[Command, ...], said: str
) -> None:
    desk.submit("job-9", after=("job-1",))
    desk.do(*commands, command_id="cmd-a")
    error = refusal(desk, "cmd-a")
    assert isinstance(error, errors.UndoForbidden)
    assert said in error.message


def test_submissions_and_reports_are_not_undone(desk: Desk) -> None:
    desk.submit("job-4")
    assert "it submitted job-4; `milepost cancel` ends it" in refusal(desk, _newest(desk)).message
    desk.run("job-4")
    assert "which nothing takes back" in refusal(desk, _newest(desk)).message


def _newest(desk: Desk) -> str:
    return desk.recorded()[-1].meta.command_id


# -- the tables ------------------------------------------------------------------------------------------------------


def test_every_command_that_is_said_to_be_undoable_is_and_what_is_not_has_no_way_back() -> None:
    tried = {type(command) for ways in WAYS.values() for command in ways}
    assert tried == {*UNDOABLE, AdoptPolicies}
    assert not _FACETS.keys() & _INSTEAD.keys()
    assert {topic_of(kind) for kind in _FACETS} == UNDOABLE_TOPICS
    assert {*UNDOABLE} <= ROUTES.keys()
    assert Undo in COMMANDS


@pytest.mark.parametrize("kind", ["file", "objects"])
def test_other_logs_will_do_as_well(kind: str, tmp_path: Any) -> None:
    desk = Desk(log=open_log(tmp_path) if kind == "file" else ObjectLog())
    desk.nodes("n1")
    desk.do(DrainNode(node_id="n1"))
    desk.do(Undo(command_id=_newest(desk)))
    assert not desk.node("n1").draining
    desk.do(RecoverNode(node_id="n1"), command_id="cmd-a")
    assert refusal(desk, "cmd-a").code == "command.nothing-to-undo"
    desk.app.close()
