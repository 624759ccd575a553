"""What happens in the golden logs: short chapters, each a log of its own, together with an event of every topic.

A chapter that was written to its file is history: change nothing here that would have made other events. For a new
topic or field write a new chapter and run `python -m tests.golden.write`.
"""

from collections.abc import Callable

from application.commands import AdoptPolicies, RecordCheckpoint
from domain import errors
from domain.checkpoint import DiscardCheckpoint, RestoreCheckpoint, VerifyCheckpoint
from domain.client import ChangeShares, ReinstateClient, Shares, SuspendClient
from domain.dependency import BypassDependency, DeclareDependency, dependency_id
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass, Priority, Work
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
    SuspectNode,
    TakeOffline,
    UndrainNode,
)
from domain.policies import Policies
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


CHAPTERS: dict[str, Callable[[], Desk]] = {
    "a-film": a_film,
    "failures": failures,
    "nodes": nodes,
    "checkpoints": checkpoints,
    "clients-and-policies": clients_and_policies,
    "a-broken-gang": a_broken_gang,
}
