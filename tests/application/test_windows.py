"""Windows in virtual time: they begin and end, send away who is in the way, and let their owners in."""

import pytest

from application.commands import Submit
from application.simulation.engine import Arrival
from application.windows import Windows
from domain import errors
from domain.decisions import ReasonCode
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import JobStatus, Protection, StopCause
from domain.node import (
    NodeMaintenanceEnded,
    NodeMaintenanceStarted,
    NodeOnline,
    NodeStatus,
    QuarantineNode,
    StartMaintenance,
)
from domain.reservation import (
    MAINTENANCE,
    CancelReservation,
    Capacity,
    ChangeReservation,
    EndReservation,
    MakeReservation,
    Owner,
    OwnerKind,
    Repetition,
    ReservationActivated,
    ReservationCancelled,
    ReservationEnded,
)
from domain.time_range import TimeRange
from tests.application.booked import BookedFarm
from tests.application.desk import Desk
from tests.builders import HOUR, SECOND, spec
from tests.fakes import ManualClock

SHOW = Owner(OwnerKind.CLIENT, "show")
DAY = 24 * HOUR
NEVER = Protection(never=True)


@pytest.fixture
def farm() -> BookedFarm:
    return BookedFarm()


def test_maintenance_takes_its_nodes_and_gives_them_back(farm: BookedFarm) -> None:
    farm.book("n1", in_ms=HOUR, lasts_ms=2 * HOUR)
    farm.submit("job-1", walltime_ms=2 * HOUR)
    farm.submit("job-2", walltime_ms=HOUR)
    farm.submit("job-3", walltime_ms=2 * HOUR)
    farm.run()
    assert farm.times(e.TasksPlaced, job_id="job-1") == [0]
    assert farm.times(e.TasksPlaced, job_id="job-2") == [0], "it ends just in time, on n1"
    assert farm.times(e.TasksPlaced, job_id="job-3") == [2 * HOUR]
    assert farm.times(NodeMaintenanceStarted) == [HOUR]
    assert farm.times(NodeMaintenanceEnded) == [3 * HOUR]
    assert farm.times(NodeOnline, node_id="n1") == [0, 3 * HOUR]
    assert farm.node("n1").status is NodeStatus.ONLINE
    farm.check()


def test_work_that_saves_its_state_starts_before_a_window_and_leaves_in_time(farm: BookedFarm) -> None:
    farm.book("n1", "n2", in_ms=HOUR, lasts_ms=HOUR)
    farm.submit("job-1", run_ms=90 * 60_000, checkpoints=True, grace_ms=10 * SECOND)
    farm.run()
    assert farm.times(e.TasksStopping, cause=StopCause.EVACUATED) == [HOUR - 11 * SECOND]
    assert farm.times(e.TasksRequeued, why="evacuated") == [HOUR - 11 * SECOND]
    assert farm.times(e.TasksFailed) == []
    assert farm.times(e.TasksPlaced) == [0, 2 * HOUR]
    assert farm.times(e.JobCompleted) == [2 * HOUR + 30 * 60_000 + 11 * SECOND]
    farm.check()


def test_what_cannot_leave_does_not_start(farm: BookedFarm) -> None:
    farm.book("n1", "n2", in_ms=HOUR, lasts_ms=HOUR)
    farm.submit("job-open", run_ms=60_000)
    farm.submit("job-bound", run_ms=60_000, checkpoints=True, protection=NEVER)
    farm.pass_ms(0)
    reasons = [reason for blocked in farm.farm.blocked.values() for reason in blocked.reasons]
    assert {(each.code, each.entity, each.until_ms) for each in reasons} == {
        (ReasonCode.MAINTENANCE, "resv-1", farm.clock.now_ms() + 2 * HOUR)
    }
    farm.run()
    assert farm.times(e.TasksPlaced) == [2 * HOUR, 2 * HOUR]
    farm.check()


def test_owners_start_on_their_nodes_first_and_others_do_not(farm: BookedFarm) -> None:
    farm.book("n2", in_ms=HOUR, lasts_ms=HOUR, owner=SHOW)
    farm.submit("job-a", walltime_ms=3 * HOUR)
    farm.pass_ms(HOUR)
    farm.submit("job-b", walltime_ms=60_000)
    farm.submit("job-own", cores=2, client_id="show", walltime_ms=5 * HOUR)
    farm.run()
    assert farm.times(e.TasksPlaced, job_id="job-own") == [HOUR]
    assert farm.times(e.TasksPlaced, job_id="job-b") == [3 * HOUR]
    assert farm.times(NodeMaintenanceStarted) == []
    farm.check()


def test_a_reservation_follows_its_workflow_through_its_stages(farm: BookedFarm) -> None:
    owner = Owner(OwnerKind.WORKFLOW, "wf-1")
    stages = [
        c.SubmitJob(spec=spec(f"job-{name}", 4, client_id="default", workflow_id="wf-1", walltime_ms=HOUR))
        for name in "abc"
    ]
    farm.ask(
        Submit(
            workflow_id="wf-1",
            workflow_name="stages",
            jobs=tuple(stages),
            dependencies=(("job-a", "job-b"), ("job-b", "job-c")),
        )
    )
    farm.submit("job-rest", walltime_ms=10 * HOUR, tasks="0-3")
    farm.book("n1", in_ms=0, lasts_ms=20 * HOUR, owner=owner, follows=True, force=True)
    farm.run()
    assert [farm.times(e.TasksPlaced, job_id=f"job-{name}") for name in "abc"] == [[0], [HOUR], [2 * HOUR]]
    assert farm.times(ReservationCancelled) == [3 * HOUR], "nobody holds the node any longer than needed"
    assert farm.times(e.TasksPlaced, job_id="job-rest")[:2] == [0, 3 * HOUR]
    farm.check()


# -- what stands against it ------------------------------------------------------------------------------------------


def test_work_that_would_be_lost_forbids_a_window_unless_somebody_insists(farm: BookedFarm) -> None:
    farm.submit("job-1", walltime_ms=5 * HOUR)
    farm.pass_ms(HOUR)
    with pytest.raises(errors.ReservationConflict, match=r"losing 1 h 59 min of work \(job-1 on n1\)"):
        farm.book("n1", in_ms=HOUR, lasts_ms=HOUR)
    farm.book("n1", in_ms=HOUR, lasts_ms=HOUR, force=True)
    farm.run()
    assert farm.times(e.TasksStopping, cause=StopCause.EVACUATED) == [2 * HOUR - SECOND]
    assert farm.times(e.TasksPlaced, job_id="job-1") == [0, 2 * HOUR - SECOND], "it goes on elsewhere"
    farm.check()


def test_protected_work_is_never_interrupted_and_the_window_waits_for_it(farm: BookedFarm) -> None:
    farm.submit("job-month", walltime_ms=30 * DAY, run_ms=3 * HOUR, protection=NEVER, checkpoints=True)
    farm.pass_ms(HOUR)
    with pytest.raises(errors.ReservationConflict, match="may not be interrupted and would still run"):
        farm.book("n1", "n2", in_ms=HOUR, lasts_ms=4 * HOUR)
    farm.book("n1", "n2", in_ms=HOUR, lasts_ms=4 * HOUR, force=True)
    farm.run(Arrival(farm.clock.now_ms() + 10 * HOUR, (c.SubmitJob(spec=spec("job-2", 1, client_id="default")),)))
    assert farm.times(e.TasksStopping) == []
    assert farm.times(NodeMaintenanceStarted, node_id="n2") == [2 * HOUR]
    assert farm.times(NodeMaintenanceStarted, node_id="n1") == [3 * HOUR], "when the job has ended"
    assert farm.times(NodeMaintenanceEnded) == [6 * HOUR, 6 * HOUR]
    began = next(r.event for r in farm.log.read(0, 10_000) if isinstance(r.event, ReservationActivated))
    assert began.busy == ("n1",)
    farm.check()


def test_protection_until_a_time_binds_until_then(farm: BookedFarm) -> None:
    until = Protection(until_ms=farm.clock.now_ms() + 3 * HOUR)
    farm.submit("job-1", checkpoints=True, run_ms=10 * HOUR, protection=until)
    farm.pass_ms(0)
    farm.book("n1", in_ms=HOUR, lasts_ms=4 * HOUR, force=True)
    farm.run()
    assert farm.times(e.TasksStopping, cause=StopCause.EVACUATED) == [3 * HOUR]
    assert farm.times(NodeMaintenanceStarted, node_id="n1") == [3 * HOUR]
    farm.check()


def test_two_reservations_do_not_share_a_node(farm: BookedFarm) -> None:
    farm.book("n1", in_ms=HOUR, lasts_ms=HOUR, owner=SHOW)
    for fields in ({"owner": Owner(OwnerKind.CLIENT, "default")}, {"owner": SHOW, "force": True}):
        with pytest.raises(errors.ReservationConflict, match=r"another reservation .* \(resv-1 on n1\)"):
            farm.book("n1", in_ms=90 * 60_000, lasts_ms=HOUR, reservation_id="resv-2", **fields)
    farm.book("n1", in_ms=2 * HOUR, lasts_ms=HOUR, reservation_id="resv-2", owner=SHOW)
    with pytest.raises(errors.ReservationConflict):
        farm.book("n1", in_ms=HOUR, lasts_ms=HOUR, reservation_id="resv-3")
    farm.book("n1", in_ms=HOUR, lasts_ms=HOUR, reservation_id="resv-3", force=True)
    with pytest.raises(errors.ReservationConflict):
        farm.book("n1", in_ms=0, lasts_ms=HOUR, reservation_id="resv-4", repeat=Repetition(2 * HOUR + 60_000))


# -- which nodes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "nodes"),
    [
        (Capacity(whole_farm=True, count=1), ("n3",)),
        (Capacity(whole_farm=True, count=2), ("n2", "n3")),
        (Capacity(whole_farm=True, millicores=5_000), ("n2", "n3")),
        (Capacity(nodes=("n2", "n1"), count=1), ("n2",)),
        (Capacity(nodes=("n1", "n1")), ("n1",)),
    ],
)
def test_so_many_nodes_are_those_where_it_does_the_least_harm(asked: Capacity, nodes: tuple[str, ...]) -> None:
    farm = BookedFarm(nodes=3)
    farm.submit("job-bound", walltime_ms=9 * HOUR, protection=NEVER)
    farm.pass_ms(0)
    farm.submit("job-saves", walltime_ms=9 * HOUR, checkpoints=True)
    farm.pass_ms(0)
    farm.book(in_ms=HOUR, lasts_ms=HOUR, asked=asked, force=True)
    assert farm.farm.reservations["resv-1"].nodes == nodes


def test_there_must_be_enough_of_them(farm: BookedFarm) -> None:
    for asked, problem in (
        (Capacity(whole_farm=True, count=3), "3 nodes were asked for, and 2 are left"),
        (Capacity(whole_farm=True, millicores=9_000), "9 cores were asked for, and 8 are left"),
    ):
        with pytest.raises(errors.ReservationInvalid, match=problem):
            farm.book(in_ms=HOUR, lasts_ms=HOUR, asked=asked)
    with pytest.raises(errors.NodeNotFound):
        farm.book("n9", in_ms=HOUR, lasts_ms=HOUR)
    with pytest.raises(errors.PartitionNotFound):
        farm.book(in_ms=HOUR, lasts_ms=HOUR, asked=Capacity(partition="gpu"))
    with pytest.raises(errors.ClientNotFound):
        farm.book("n1", in_ms=HOUR, lasts_ms=HOUR, owner=Owner(OwnerKind.CLIENT, "nobody"))
    with pytest.raises(errors.WorkflowNotFound):
        farm.book("n1", in_ms=HOUR, lasts_ms=HOUR, owner=Owner(OwnerKind.WORKFLOW, "wf-9"))


# -- changing one's mind ---------------------------------------------------------------------------------------------


def test_a_window_is_ended_early_extended_or_cancelled(farm: BookedFarm) -> None:
    farm.book("n1", in_ms=HOUR, lasts_ms=HOUR)
    farm.pass_ms(HOUR)
    assert farm.node("n1").status is NodeStatus.MAINTENANCE
    farm.ask(ChangeReservation(reservation_id="resv-1", end_ms=farm.clock.now_ms() + 3 * HOUR))
    farm.pass_ms(2 * HOUR)
    assert farm.node("n1").status is NodeStatus.MAINTENANCE
    farm.ask(EndReservation(reservation_id="resv-1"))
    farm.pass_ms(0)
    assert farm.node("n1").status is NodeStatus.ONLINE
    farm.book("n1", in_ms=0, lasts_ms=HOUR, reservation_id="resv-2")
    farm.pass_ms(60_000)
    assert farm.node("n1").status is NodeStatus.MAINTENANCE
    farm.ask(CancelReservation(reservation_id="resv-2"))
    farm.pass_ms(0)
    assert farm.node("n1").status is NodeStatus.ONLINE
    assert not farm.farm.reservations
    farm.check()


def test_a_window_takes_only_what_it_may_and_gives_back_only_what_it_took(farm: BookedFarm) -> None:
    farm.ask(QuarantineNode(node_id="n1", cause="bad disk"), StartMaintenance(node_id="n2", why="by hand"))
    farm.book("n1", "n2", in_ms=HOUR, lasts_ms=HOUR)
    farm.pass_ms(3 * HOUR)
    assert farm.node("n1").status is NodeStatus.ERROR
    assert (farm.node("n2").status, farm.node("n2").why) == (NodeStatus.MAINTENANCE, "by hand")
    farm.check()


# -- again and again -------------------------------------------------------------------------------------------------


def test_weekly_maintenance_over_months(farm: BookedFarm) -> None:
    farm.book("n1", "n2", in_ms=HOUR, lasts_ms=4 * HOUR, repeat=Repetition(7 * DAY))
    farm.submit("job-long", run_ms=60 * DAY, checkpoints=True, walltime_ms=70 * DAY)
    arrivals = [
        Arrival(
            farm.clock.now_ms() + day * DAY,
            (c.SubmitJob(spec=spec(f"job-day{day}", 2, client_id="default", walltime_ms=DAY)),),
        )
        for day in range(100)
    ]
    farm.run(*arrivals)
    began = farm.times(ReservationActivated)
    assert began[:15] == [HOUR + week * 7 * DAY for week in range(15)]
    assert farm.times(NodeMaintenanceStarted) == [at_ms for at_ms in began for _ in ("n1", "n2")]
    assert len(farm.times(ReservationEnded)) in (len(began), len(began) - 1)
    assert farm.times(e.TasksFailed) == []
    completed = {r.event.job_id for r in farm.log.read(0, 100_000) if isinstance(r.event, e.JobCompleted)}
    assert {f"job-day{day}" for day in range(100)} <= completed
    farm.check()


def test_a_simulation_ends_although_windows_come_for_ever_and_a_job_fits_between_none(farm: BookedFarm) -> None:
    farm.book("n1", "n2", in_ms=HOUR, lasts_ms=HOUR, repeat=Repetition(3 * HOUR))
    farm.submit("job-1", walltime_ms=2 * HOUR + 1)
    farm.submit("job-2", walltime_ms=2 * HOUR, client_id="show")
    farm.run()
    assert farm.farm.jobs["job-1"].status is JobStatus.QUEUED
    assert farm.times(e.TasksPlaced, job_id="job-2") == [2 * HOUR]
    farm.check()


# -- after a crash ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "begun"), [(0.5, 0), (1, 1), (1.9, 1), (2, 0), (20, 0), (25.5, 1), (49.5, 1), (50, 0)]
)
def test_what_should_have_begun_or_ended_meanwhile_is_caught_up(hours: float, begun: int) -> None:
    desk = Desk()
    desk.nodes("n1")
    start_ms = desk.clock.now_ms() + HOUR
    desk.do(
        MakeReservation(
            reservation_id="resv-1",
            owner=MAINTENANCE,
            window=TimeRange(start_ms, start_ms + HOUR),
            asked=Capacity(nodes=("n1",)),
            repeat=Repetition(DAY, times=3),
        )
    )
    again = Desk(log=desk.log, clock=ManualClock(start_ms - HOUR + round(hours * HOUR)))
    alarms = Windows(again.app.farm)
    again.app.listen(alarms.see)
    while commands := alarms.due(again.clock.now_ms()):
        again.do(*commands)
    assert again.topics().count("reservation.activated") == begun
    assert (again.node("n1").status is NodeStatus.MAINTENANCE) is bool(begun)
    known = again.app.farm.reservations.get("resv-1")
    if known is None:
        assert hours == 50, "the last window is over"
    else:
        assert known.window.end_ms > again.clock.now_ms()
        assert alarms.first_ms() == (known.window.end_ms if begun else known.window.start_ms)
    again.check()
