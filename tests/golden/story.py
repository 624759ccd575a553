"""What happens in the golden logs: short chapters, each a log of its own, together with an event of every topic.

A chapter that was written to its file is history: change nothing here that would have made other events. For a new
topic or field write a new chapter and run `python -m tests.golden.write`.
"""

from collections.abc import Callable

from msgspec.structs import replace

from application.commands import AdoptPolicies, RecordCheckpoint
from application.forecasts import Forecasts
from application.undo import Undo
from domain import errors
from domain.checkpoint import DiscardCheckpoint, RestoreCheckpoint, VerifyCheckpoint
from domain.client import ChangeShares, ProtectClient, ReinstateClient, Shares, SuspendClient
from domain.dependency import BypassDependency, DeclareDependency, dependency_id
from domain.job import commands as c
from domain.job.values import (
    AttemptEnd,
    FailureClass,
    PreemptionCause,
    PreemptionMode,
    Priority,
    Progressive,
    Protection,
    Work,
)
from domain.messages import Command
from domain.node import (
    BringOnline,
    DrainNode,
    EndMaintenance,
    LoseNode,
    QuarantineNode,
    RecoverNode,
    RegisterNode,
    RetireNode,
    StartMaintenance,
    StartNode,
    StopNode,
    SuspectNode,
    TakeOffline,
    UndrainNode,
)
from domain.observed import Observe, external_stream
from domain.partition import ChangePartition, DefinePartition, RemovePartition, Terms
from domain.policies import Policies
from domain.reservation import (
    MAINTENANCE,
    ActivateReservation,
    CancelReservation,
    Capacity,
    ChangeReservation,
    EndReservation,
    MakeReservation,
    Owner,
    OwnerKind,
    Repetition,
)
from domain.tariff import PriceWindow, Tariff
from domain.time_range import TimeRange
from domain.workflow import ArchiveWorkflow
from tests.application.desk import Desk
from tests.builders import HOUR, NOW, SECOND, having, need, resources, spec


def refused(desk: Desk, command: Command) -> None:
    """Asks for something that a rule forbids."""
    try:
        desk.do(command)
    except errors.TaskSchedulerError:
        return
    raise AssertionError(f"{command} was not refused")


def to_the_end(desk: Desk, job_id: str) -> None:
    """A job runs cycle after cycle until it has ended."""
    while desk.job(job_id).ended is None:
        desk.clock.advance(SECOND)
        desk.run(job_id)


def a_film() -> Desk:
    """A workflow of frames and their composition: placed, paused, retried, completed, archived."""
    desk = Desk()
    desk.do(
        RegisterNode(
            node_id="gpu-1",
            capacity=resources(16, memory_mib=65_536, gpus=2, storage_mib=1_000_000, network_mbps=10_000, houdini=4),
            attributes={"os": ("linux",), "zone": ("hall-1", "fast")},
        ),
        BringOnline(node_id="gpu-1"),
    )
    desk.client("studio", guarantee_percent=20, limit_percent=80, tier="gold", max_tasks=12)
    frames = need(
        2, memory_mib=4_096, gpus=1, storage_mib=10, network_mbps=5, houdini=1,
        attributes=[having("os", "linux", "macos"), having("zone", all_of=("fast",))],
    )  # fmt: skip
    desk.submit_workflow(
        "job-frames", "job-comp", edges=[("job-frames", "job-comp")], client_id="studio", requirement=frames,
        tasks="1-4,7", priority=Priority.HIGH, walltime_ms=HOUR, grace_ms=700, retries=2, backoff_ms=SECOND,
        deadline_ms=NOW + HOUR, output_dir="/films/out",
        work=Work(("render", "{task}"), {"SCENE": "é 1"}, "/films", "openjd", '{"step": 1}'),
    )  # fmt: skip
    desk.clock.advance(SECOND)
    desk.cycle()
    desk.start("job-frames")
    desk.do(c.ReportProgress(job_id="job-frames", attempt=1, percent=55, status="half-way"))
    desk.do(c.ReportPartial(job_id="job-frames", attempt=1, path="/films/out/1.png", quality=40))
    desk.do(c.PauseJob(job_id="job-frames"))
    desk.clock.advance(5 * SECOND)
    desk.do(c.ResumeJob(job_id="job-frames"), c.SetDeadline(job_id="job-frames", deadline_ms=None))
    ends = (
        AttemptEnd(1, 1, 0, None, None, "", NOW + SECOND, NOW + 6 * SECOND, 4_000, 512),
        AttemptEnd(2, 2, 3, None, FailureClass.EXIT, "exit code 3"),
    )
    desk.do(c.ReportEnded(job_id="job-frames", ends=ends), by="dispatcher")
    to_the_end(desk, "job-frames")
    to_the_end(desk, "job-comp")
    desk.do(ArchiveWorkflow(workflow_id="wf-1"))
    return desk


def failures() -> Desk:
    """What goes wrong: holds, cancellations, failed predecessors, bypasses, retries, late dependencies, growth."""
    desk = Desk()
    desk.nodes("n1", "n2", cores=2)
    desk.submit_workflow("job-a", "job-b", "job-c", edges=[("job-a", "job-b"), ("job-b", "job-c")])
    desk.do(c.HoldJob(job_id="job-a", why="the scene is wrong"), c.UnholdJob(job_id="job-a"))
    desk.do(c.PrioritizeJob(job_id="job-a", priority=Priority.CRITICAL))
    desk.run("job-a", failure=FailureClass.SIGNAL)
    refused(desk, c.HoldJob(job_id="job-a"))
    desk.do(c.RetryJob(job_id="job-a"))
    desk.cycle()
    desk.do(c.RequeueTasks(job_id="job-a"))
    desk.finish("job-a", failure=FailureClass.SIGNAL)
    desk.run("job-a")
    desk.cycle()
    desk.do(c.CancelJob(job_id="job-b", why="no longer wanted"))
    desk.finish("job-b", failure=FailureClass.SIGNAL)
    desk.do(BypassDependency(dependency_id=dependency_id("job-b", "job-c"), why="the old one will do"))
    desk.submit("job-d", workflow_id="wf-1", not_before_ms=NOW + SECOND)
    desk.submit("job-e", held=True)
    desk.do(DeclareDependency(predecessor_id="job-e", successor_id="job-c"))
    desk.clock.advance(SECOND)
    desk.do(c.QueueJob(job_id="job-d"))
    desk.do(c.UnholdJob(job_id="job-e"))
    desk.run("job-d", "job-e")
    desk.run("job-c")
    desk.submit_workflow("job-f", workflow_id="wf-2")
    desk.do(c.CancelJob(job_id="job-f"))
    desk.submit_workflow("job-g", workflow_id="wf-3")
    desk.run("job-g")
    return desk


def nodes() -> Desk:
    """A node's life, and a gang that is lost with it."""
    desk = Desk()
    desk.nodes("n1", "n2", cores=2)
    desk.submit("job-1", requirement=need(2, slots=2, distinct=True))
    desk.submit("job-2", cores=2)
    desk.cycle()
    desk.do(DrainNode(node_id="n1", why="a disk makes noises"), UndrainNode(node_id="n1"))
    desk.do(SuspectNode(node_id="n1", silent_ms=3_001), RecoverNode(node_id="n1"))
    desk.do(LoseNode(node_id="n1", why="its supervisor died"))
    desk.cycle()
    desk.do(BringOnline(node_id="n1"))
    desk.do(RegisterNode(node_id="n1", capacity=resources(4, memory_mib=1), attributes={"os": ("linux",)}))
    desk.do(StartMaintenance(node_id="n1", why="a new fan"), EndMaintenance(node_id="n1"))
    desk.do(QuarantineNode(node_id="n2", cause="three failures in a row"))
    desk.do(TakeOffline(node_id="n2", why="replaced"), RetireNode(node_id="n2"))
    desk.clock.advance(24 * HOUR)
    desk.cycle()
    return desk


def checkpoints() -> Desk:
    """A simulation that saves its state, is lost, resumes, and finds one of its checkpoints damaged."""
    desk = Desk()
    desk.nodes("n1", "n2")
    desk.submit("job-sim", tasks="0")
    desk.cycle()

    def save(attempt: int, number: int) -> str:
        checkpoint_id = f"ckpt-job-sim.0.{attempt}.{number}"
        desk.do(
            RecordCheckpoint(
                checkpoint_id=checkpoint_id, job_id="job-sim", attempt=attempt, location=f"/c/{attempt}-{number}",
                size_bytes=1_000, sha256="ab" * 32, progress=30 * number,
            )
        )  # fmt: skip
        return checkpoint_id

    first, second = save(1, 1), save(1, 2)
    desk.do(VerifyCheckpoint(checkpoint_id=first), DiscardCheckpoint(checkpoint_id=first, why="an older one"))
    desk.do(LoseNode(node_id="n1", why="its supervisor died"))
    desk.cycle()
    desk.do(RestoreCheckpoint(checkpoint_id=second, attempt=2))
    third = save(2, 1)
    desk.do(VerifyCheckpoint(checkpoint_id=third, problem="its size is 7, not 1000"))
    desk.finish("job-sim")
    return desk


def clients_and_policies() -> Desk:
    """Who may do what, and by which rules."""
    desk = Desk()
    desk.nodes("n1", cores=8)
    desk.client("research", guarantee_percent=10)
    desk.submit("job-1", client_id="research", tasks="0-5")
    desk.do(ChangeShares(client_id="research", shares=Shares(10, 50, "gold", 2)))
    desk.cycle()
    desk.do(SuspendClient(client_id="research", why="the grant has ended"))
    refused(desk, c.SubmitJob(spec=spec("job-2", client_id="research")))
    desk.cycle()
    desk.do(ReinstateClient(client_id="research"))
    desk.do(AdoptPolicies(policies=Policies(2, "fifo", "best-fit", "none", {"order": {}})))
    desk.clock.advance(61 * SECOND)
    desk.cycle()
    desk.finish("job-1")
    return desk


def taken_back() -> Desk:
    """Changes of every kind are undone, one of them is made again, and a later day has a stream of its own."""
    desk = Desk()
    desk.nodes("n1", "n2")
    desk.client("show")
    desk.submit("job-1", "job-2")
    desk.do(
        c.HoldJob(job_id="job-1"),
        c.PauseJob(job_id="job-2"),
        c.PrioritizeJob(job_id="job-2", priority=Priority.LOW),
        c.SetDeadline(job_id="job-2", deadline_ms=NOW + HOUR),
        ChangeShares(client_id="show", shares=Shares(5, 50)),
        SuspendClient(client_id="show"),
        DrainNode(node_id="n1", why="a new disk"),
        AdoptPolicies(policies=Policies(order="fifo")),
        command_id="cmd-all",
    )
    desk.clock.advance(SECOND)
    desk.do(Undo(command_id="cmd-all", why="the wrong farm"), by="user:bob", command_id="cmd-back")
    refused(desk, Undo(command_id="cmd-all"))
    desk.clock.advance(24 * HOUR)
    desk.do(Undo(command_id="cmd-back"), command_id="cmd-again")
    return desk


def making_way() -> Desk:
    """Work makes way: told to end, saved, suspended and resumed; contracts that forbid it, and a claim given up."""
    desk = Desk()
    desk.nodes("n1", "n2", cores=4)
    desk.client("lab")
    desk.do(AdoptPolicies(policies=Policies(preemption="requeue", parameters={"preemption": {"grace_s": 30}})))
    contract = Protection(until_ms=NOW + SECOND, after_checkpoint=True)
    low = {"cores": 4, "priority": Priority.LOW, "walltime_ms": HOUR, "checkpoints": True}
    desk.submit("job-a", client_id="lab", **low)
    desk.submit("job-b", protection=contract, **low)
    desk.do(ProtectClient(client_id="lab", protection=Protection(never=True), why="a deadline"))
    desk.cycle()
    desk.start("job-a")
    desk.start("job-b")
    desk.clock.advance(60 * SECOND)
    desk.do(c.NoteCheckpoint(job_id="job-b", attempt=1, checkpoint_id="c-1", location="/c/1", progress=10))
    desk.clock.advance(60 * SECOND)
    desk.submit("job-c", cores=2, priority=Priority.HIGH)
    desk.cycle()
    desk.finish("job-b", failure=FailureClass.SIGNAL)
    desk.cycle()
    desk.do(c.ProtectJob(job_id="job-a", protection=Protection(), why="it may wait"))
    refused(
        desk,
        c.PreemptTasks(
            job_id="job-c", attempts=(9,), preemptor="job-a", mode=PreemptionMode.SUSPEND, why=PreemptionCause.RECLAIM
        ),
    )
    desk.do(AdoptPolicies(policies=Policies(preemption="suspend")))
    desk.submit("job-d", cores=4, priority=Priority.CRITICAL)
    desk.cycle()
    desk.cycle()
    desk.clock.advance(60 * SECOND)
    desk.finish("job-d")
    desk.cycle()
    desk.do(AdoptPolicies(policies=Policies(preemption="checkpoint")))
    desk.clock.advance(HOUR)
    desk.submit("job-e", cores=4, priority=Priority.CRITICAL)
    desk.cycle()
    desk.do(c.HoldJob(job_id="job-e", why="not yet"))
    return desk


def a_broken_gang() -> Desk:
    """A gang loses one of its nodes, is stopped on the others, and starts again."""
    desk = Desk()
    desk.nodes("n1", "n2", "n3", cores=1)
    desk.submit("job-1", requirement=need(1, slots=2, distinct=True))
    desk.cycle()
    desk.start("job-1")
    desk.do(LoseNode(node_id="n2", why="its supervisor died"))
    desk.finish("job-1", failure=FailureClass.SIGNAL)
    desk.run("job-1")
    return desk


def another_program() -> Desk:
    """A program with jobs of its own says what became of one in words that the farm does not have."""
    desk = Desk()
    job = external_stream("job", "shot 7")
    mood = {"status": "completed", "mood": [1, {"a": None}]}
    desk.do(Observe(stream_id=job, what="job", changes=mood, why="it said so"))
    desk.do(Observe(stream_id=job, what="job", changes={"status": "completed", "progress": 12.5}, forgotten=("mood",)))
    return desk


def promises() -> Desk:
    """Ends are forecast without and with past runs, words change, one job is late, one in time, one is cancelled."""
    desk = Desk()
    desk.nodes("n1", cores=2)
    forecasts = Forecasts(desk.app, gap_ms=0)
    desk.submit("job-1", walltime_ms=HOUR, deadline_ms=NOW + 2 * HOUR, kind="shot")
    forecasts.look()
    desk.cycle()
    desk.start("job-1")
    desk.clock.advance(HOUR // 2)
    desk.finish("job-1")
    desk.submit("job-2", "job-3", "job-4", deadline_ms=NOW + HOUR // 2 + HOUR // 4, kind="shot", tasks="0-1")
    forecasts.look()
    desk.cycle()
    desk.start("job-2")
    desk.clock.advance(HOUR // 4)
    forecasts.look()
    desk.finish("job-2")
    desk.do(c.CancelJob(job_id="job-3"), c.SetDeadline(job_id="job-4", deadline_ms=NOW + 9 * HOUR))
    forecasts.look()
    desk.clock.advance(24 * HOUR)
    desk.run("job-4")
    forecasts.look()
    return desk


def booked() -> Desk:
    """Maintenance again and again: begun, put off, ended early, missed, cancelled; a client's window beside it."""
    desk = Desk()
    desk.nodes("n1", "n2")
    desk.client("show")
    window = TimeRange(NOW + HOUR, NOW + 2 * HOUR)
    resv, day = "resv-disks", 24 * HOUR
    desk.do(
        MakeReservation(
            reservation_id=resv,
            owner=MAINTENANCE,
            window=window,
            asked=Capacity(nodes=("n1",)),
            repeat=Repetition(day, until_ms=NOW + 9 * day),
            why="new disks",
        )
    )
    asked = Capacity(whole_farm=True, millicores=3_000)
    show = Owner(OwnerKind.CLIENT, "show")
    refused(desk, MakeReservation(reservation_id="resv-show", owner=show, window=window, asked=Capacity(nodes=("n1",))))
    desk.do(MakeReservation(reservation_id="resv-show", owner=show, window=window, asked=asked))
    desk.submit("job-1", walltime_ms=3 * HOUR)
    desk.cycle()
    desk.clock.advance(HOUR)
    desk.do(ActivateReservation(reservation_id=resv, occurrence=1))
    desk.do(ActivateReservation(reservation_id="resv-show", occurrence=1))
    desk.do(ChangeReservation(reservation_id=resv, end_ms=NOW + 4 * HOUR, why="the disks were late"))
    desk.clock.advance(HOUR)
    desk.do(EndReservation(reservation_id="resv-show", occurrence=1))
    desk.do(EndReservation(reservation_id=resv, why="done"), BringOnline(node_id="n1"))
    desk.clock.advance(3 * day)
    desk.do(EndReservation(reservation_id=resv, occurrence=2))
    desk.do(CancelReservation(reservation_id=resv, why="no more disks"))
    desk.run("job-1")
    return desk


def sharing_and_partitions() -> Desk:
    """Who lends to whom under which policy, and a partition's life."""
    desk = Desk()
    desk.nodes("n1", "n2", cores=4)
    desk.client("studio", guarantee_percent=50, lend=False)
    desk.client("lab", guarantee_percent=25, borrow_percent=50)
    lending = {"sharing": {"reclaim": "wait", "reclaim_period_s": 600, "half_life_h": 24.0}}
    desk.do(AdoptPolicies(policies=Policies(sharing="lending", parameters=lending)))
    terms = Terms(("n1",), (having("os", "linux"),), ("lab",), 3, 75, 50, HOUR, 60 * SECOND)
    desk.do(DefinePartition(partition="night", terms=terms))
    desk.submit("job-1", client_id="lab", tasks="0-9", requirement=replace(need(1), partition="night"))
    desk.submit("job-2", client_id="lab", tasks="0-9", walltime_ms=60 * SECOND)
    desk.submit("job-3", client_id="studio", tasks="0-1")
    desk.cycle()
    refused(desk, RemovePartition(partition="night"))
    desk.do(ChangePartition(partition="night", terms=Terms(("n1", "n2")), why="no limits any more"))
    desk.clock.advance(30 * SECOND)
    desk.finish("job-2")
    desk.cycle()
    desk.do(c.CancelJob(job_id="job-1"))
    desk.finish("job-1", failure=FailureClass.SIGNAL)
    desk.do(RemovePartition(partition="night", why="the nodes went back"))
    return desk


def by_night() -> Desk:
    """A farm that saves power under a tariff: nodes sleep and are woken, and frames wait for somebody's look."""
    desk = Desk()
    power = {"watts_idle": ("100",), "watts_peak": ("300",), "wake_s": ("60",), "price_per_h": ("0.5",)}
    for node_id in ("n1", "n2"):
        register = RegisterNode(node_id=node_id, capacity=resources(4), attributes=power)
        desk.do(register, BringOnline(node_id=node_id))
    windows = (PriceWindow(22 * 60, 6 * 60, 0.1, (0, 1, 2, 3, 4)), PriceWindow(0, 1_440, 0.2, (5, 6)))
    tariff = Tariff(0.3, windows, 60, "EUR")
    night = Policies(energy="night-savings", parameters={"energy": {"idle_after_s": 60, "keep_idle": 1}}, tariff=tariff)
    desk.do(AdoptPolicies(policies=night, why="power is dear"))
    desk.submit("job-1", cores=4, tasks="1-8", progressive=Progressive(every=4, approve=True), priority=Priority.HIGH)
    desk.cycle()
    desk.start("job-1")
    desk.clock.advance(10 * SECOND)
    desk.finish("job-1")
    desk.cycle()
    desk.do(c.ApproveJob(job_id="job-1", why="the light is right"))
    to_the_end(desk, "job-1")
    desk.clock.advance(61 * SECOND)
    desk.cycle()
    desk.do(TakeOffline(node_id="n1", why="powered down"))
    desk.do(StartNode(node_id="n1", why="a big job comes"), BringOnline(node_id="n1"))
    desk.do(StopNode(node_id="n2", why="over the weekend"))
    refused(desk, StopNode(node_id="n9"))
    desk.clock.advance(SECOND)
    desk.do(AdoptPolicies(policies=Policies(tariff=Tariff(0.25, (), 60, "EUR"))))
    desk.cycle()
    desk.do(BringOnline(node_id="n2"))
    return desk


CHAPTERS: dict[str, Callable[[], Desk]] = {
    "a-film": a_film,
    "failures": failures,
    "nodes": nodes,
    "making-way": making_way,
    "checkpoints": checkpoints,
    "clients-and-policies": clients_and_policies,
    "a-broken-gang": a_broken_gang,
    "sharing-and-partitions": sharing_and_partitions,
    "taken-back": taken_back,
    "another-program": another_program,
    "promises": promises,
    "booked": booked,
    "by-night": by_night,
}
