"""Is every fact told in one sentence, with its names and numbers?"""

import re
from typing import Any

import msgspec
import pytest

from domain import checkpoint as k
from domain import client, node, partition, workflow
from domain import dependency as d
from domain.catalog import TOPICS
from domain.cycle import CommandRefused, CycleDecided, PoliciesAdopted
from domain.decisions import Blocked, Reason, ReasonCode, Reserved
from domain.forecasting.promises import ForecastsMade, ForecastsScored, Promise, Score, Word
from domain.job import events as e
from domain.job.values import (
    AttemptEnd,
    ClaimedPlace,
    FailureClass,
    Job,
    JobStatus,
    Placement,
    PlacementReason,
    PreemptedAttempt,
    PreemptionCause,
    PreemptionMode,
    Priority,
    Protection,
    StopCause,
    Victim,
)
from domain.messages import Event, Meta, Recorded, topic_of
from domain.observed import ObservedExternally
from domain.policies import Policies
from domain.reservation import (
    MAINTENANCE,
    Owner,
    OwnerKind,
    Repetition,
    ReservationActivated,
    ReservationCancelled,
    ReservationChanged,
    ReservationEnded,
    ReservationMade,
)
from domain.time_range import TimeRange
from domain.undo import CommandUndone
from projections.story import event_sentence, failure_text, sentence
from tests.builders import NOW, WHY, having, need, resources
from tests.projections.world import spec

JOB: dict[str, Any] = {"at_ms": NOW, "job_id": "job-1"}
NODE: dict[str, Any] = {"at_ms": NOW, "node_id": "n1"}
CLIENT: dict[str, Any] = {"at_ms": NOW, "client_id": "studio"}
FLOW: dict[str, Any] = {"at_ms": NOW, "workflow_id": "wf-1"}
EDGE: dict[str, Any] = {"at_ms": NOW, "dependency_id": "dep-1", "predecessor_id": "job-1", "successor_id": "job-2"}
SAVED: dict[str, Any] = {"at_ms": NOW, "checkpoint_id": "ckpt-1", "job_id": "job-1"}
BIG = need(8, memory_mib=65_536, gpus=1)
ENDED = AttemptEnd(4, 7, exit_code=3, failure=FailureClass.EXIT, started_ms=NOW, ended_ms=NOW + 200_000)
CHOICE = PlacementReason("best-fit", "priority", 0.875, 3)
BLOCKED = Blocked("studio/high/0011", (Reason(ReasonCode.NO_NODES),), 12)

WINDOW, SHOW = TimeRange(NOW, NOW + 3_600_000), Owner(OwnerKind.CLIENT, "show")

TOLD: list[tuple[Event, str]] = [
    (
        e.JobSubmitted(at_ms=NOW, spec=spec("job-1", name="beauty", tasks="1-40", requirement=BIG), queued=True),
        "job-1 “beauty” of studio was submitted with 40 tasks that each need 8 cores, 64 GiB memory, 1 GPU, "
        "priority medium.",
    ),
    (
        e.JobSubmitted(
            at_ms=NOW, spec=spec("job-1", name="sim", requirement=need(1, slots=16, distinct=True)), held=True
        ),
        "job-1 “sim” of studio was submitted with one task that needs 1 core on each of 16 nodes, priority medium, "
        "held.",
    ),
    (e.JobQueued(**JOB), "job-1 was queued: nothing but resources stands before it."),
    (e.JobUnqueued(**JOB, why="job-0 runs again"), "job-1 left the queue (job-0 runs again)."),
    (e.JobHeld(**JOB), "job-1 was held."),
    (e.JobHeld(**JOB, why="wrong camera"), "job-1 was held (wrong camera)."),
    (e.JobUnheld(**JOB), "job-1 is no longer held."),
    (e.JobPaused(**JOB), "job-1 was paused; its attempts are suspended where they are."),
    (e.JobResumed(**JOB), "job-1 goes on after its pause."),
    (
        e.JobPriorityChanged(**JOB, priority=Priority.HIGH, before=Priority.LOW),
        "The priority of job-1 changed from low to high.",
    ),
    (
        e.JobDeadlineChanged(**JOB, deadline_ms=NOW, before_ms=None),
        "The deadline of job-1 changed from none to 2026-09-21 14:13:20 UTC.",
    ),
    (
        e.TasksPlaced(**JOB, client_id="studio", placements=(Placement("3", (("n1", 1),), 1),), reason=CHOICE),
        "Task 3 of job-1 was placed on n1 (best-fit: score 0.88, 3 nodes to choose from).",
    ),
    (
        e.TasksPlaced(
            **JOB,
            client_id="studio",
            placements=(Placement("1-4", (("n1", 1),), 1), Placement("9", (("n1", 2), ("n2", 1)), 5)),
            reason=WHY,
        ),
        "5 tasks of job-1 were placed: 1-4 on n1, 9 on n1 ×2, n2 (best-fit: score 0.50, 1 node to choose from).",
    ),
    (e.TasksStarted(**JOB, attempts=(4,)), "Attempt 4 of job-1 began to run."),
    (e.TasksStarted(**JOB, attempts=(4, 5, 6)), "Attempts 4-6 of job-1 began to run."),
    (
        e.ProgressMarked(**JOB, task=7, attempt=4, percent=50, status="denoising"),
        "Task 7 of job-1 has come to 50 % (attempt 4): denoising.",
    ),
    (
        e.PartialPublished(**JOB, task=7, attempt=4, path="/out/7.png", quality=30),
        "Task 7 of job-1 published /out/7.png at quality 30 of 100.",
    ),
    (
        e.TaskCheckpointed(**JOB, task=7, attempt=4, checkpoint_id="ckpt-1", location="/c", progress=60),
        "Task 7 of job-1 can resume from checkpoint ckpt-1 at 60 % (attempt 4).",
    ),
    (
        e.TasksSucceeded(**JOB, ends=(AttemptEnd(4, 7, started_ms=NOW, ended_ms=NOW + 12_340),)),
        "Task 7 of job-1 succeeded after 12.34 s.",
    ),
    (
        e.TasksSucceeded(**JOB, ends=(AttemptEnd(4, 7), AttemptEnd(5, 8))),
        "Tasks 7-8 of job-1 succeeded.",
    ),
    (
        e.RoomClaimed(
            **JOB,
            client_id="studio",
            mode=PreemptionMode.SUSPEND,
            why=PreemptionCause.PRIORITY,
            places=(ClaimedPlace((("n1", 1),)), ClaimedPlace((("n2", 1),))),
            victims=(Victim("job-2", 3, 0, (("n1", 1),)), Victim("job-3", 1, 0, (("n2", 1),))),
            considered=4,
        ),
        "Room on n1, n2 is held for 2 tasks of job-1, because its priority is higher: job-2, job-3 make way "
        "(suspended); of 4 ways this was the best.",
    ),
    (e.ClaimReleased(**JOB, why="held"), "No room is held for job-1 any more (held)."),
    (
        e.TasksPreempted(
            **JOB,
            attempts=(PreemptedAttempt(4, 7, 60_000, 60_000),),
            preemptor="job-9",
            mode=PreemptionMode.REQUEUE,
            why=PreemptionCause.DEADLINE,
        ),
        "Attempt 4 of job-1 makes way for job-9 and loses 1 min of work.",
    ),
    (
        e.TasksSuspended(**JOB, attempts=(4, 5), preemptor="job-9"),
        "Attempts 4-5 of job-1 stand still for job-9, memory kept, cores given back.",
    ),
    (e.TasksResumed(**JOB, attempts=(4,)), "Attempt 4 of job-1 has its cores again and can go on."),
    (
        e.JobProtectionChanged(**JOB, protection=Protection(after_checkpoint=True), before=None, why="long"),
        "job-1 may now be interrupted only after a checkpoint (long).",
    ),
    (
        e.JobProtectionChanged(**JOB, protection=None, before=None),
        "job-1 may now be interrupted as its client's contract says.",
    ),
    (
        client.ClientProtectionChanged(at_ms=NOW, client_id="lab", protection=Protection(never=True), before=None),
        "Work of client lab may now be interrupted never.",
    ),
    (e.TasksFailed(**JOB, ends=(ENDED,)), "Task 7 of job-1 failed after 3 min 20 s: exit code 3."),
    (
        e.TasksLost(**JOB, node_id="n1", attempts=(4,), tasks="7"),
        "Task 7 of job-1 went away with node n1; how far is not known.",
    ),
    (
        e.TasksStopping(**JOB, attempts=(4, 6), cause=StopCause.WALLTIME, grace_ms=5000),
        "Attempts 4,6 of job-1 were told to stop within 5 s, because it ran longer than its walltime.",
    ),
    (
        e.TasksStopped(**JOB, ends=(ENDED,), cause=StopCause.REQUEUED),
        "Task 7 of job-1 stopped after 3 min 20 s, because it was requeued.",
    ),
    (
        e.TasksRequeued(**JOB, tasks="7", why=FailureClass.LOST),
        "Task 7 of job-1 waits again, at once, after the loss of a node.",
    ),
    (
        e.TasksRequeued(**JOB, tasks="7-9", why=FailureClass.SIGNAL, not_before_ms=NOW),
        "Tasks 7-9 of job-1 wait again, from 2026-09-21 14:13:20 UTC on, after a signal.",
    ),
    (e.JobCompleted(**JOB), "job-1 completed: every task succeeded."),
    (e.JobFailed(**JOB, failed="3"), "job-1 failed with task 3."),
    (e.JobFailed(**JOB, failed="3,7-8"), "job-1 failed with 3 tasks, 3,7-8."),
    (e.JobCancelled(**JOB, why="not needed"), "job-1 was cancelled (not needed)."),
    (
        e.JobRetried(**JOB, tasks="3", job=Job(spec("job-1"), NOW, Priority.LOW)),
        "job-1 was opened again for task 3.",
    ),
    (node.NodeRegistered(**NODE, capacity=resources(8, licence=2)), "Node n1 was registered with 8 cores, 2 licence."),
    (node.NodeCapabilitiesChanged(**NODE, capacity=resources()), "Node n1 now has nothing."),
    (node.NodeOnline(**NODE), "Node n1 is online."),
    (node.NodeOffline(**NODE, why="evening"), "Node n1 was shut down (evening)."),
    (node.NodeDrained(**NODE, why="dust"), "Node n1 was drained and takes no new work (dust)."),
    (node.NodeUndrained(**NODE), "Node n1 is no longer drained."),
    (node.NodeMaintenanceStarted(**NODE, why="disk"), "Maintenance of node n1 began (disk)."),
    (node.NodeMaintenanceEnded(**NODE), "Maintenance of node n1 ended."),
    (node.NodeSuspected(**NODE, silent_ms=9_500), "Node n1 is suspected: it has been silent for 9.5 s."),
    (node.NodeRecovered(**NODE), "Node n1 is trusted again."),
    (node.NodeLost(**NODE, why="power"), "Node n1 was lost (power)."),
    (node.NodeQuarantined(**NODE, cause="3 failures"), "Node n1 was quarantined (3 failures)."),
    (node.NodeRetired(**NODE), "Node n1 left the farm for good."),
    (
        client.ClientRegistered(**CLIENT, name="Studio A", shares=client.Shares(20, 60, "gold", 8)),
        "Client studio “Studio A” was registered with 20 % guaranteed, at most 60 % of the farm, at most 8 tasks "
        "at once, tier gold.",
    ),
    (
        client.ClientSharesChanged(**CLIENT, shares=client.Shares()),
        "Client studio now has 0 % guaranteed, at most 100 % of the farm, tier standard.",
    ),
    (client.ClientSuspended(**CLIENT, why="unpaid"), "Client studio was suspended (unpaid)."),
    (client.ClientReinstated(**CLIENT), "Client studio is welcome again."),
    (
        partition.PartitionDefined(at_ms=NOW, partition="gpu", terms=partition.Terms(("n1", "n2"), limit_percent=50)),
        "Partition gpu was defined: n1, n2, at most 50 % of it in all.",
    ),
    (
        partition.PartitionChanged(
            at_ms=NOW,
            partition="gpu",
            why="nights are short",
            terms=partition.Terms(("n1",), (having("gpu", "a100"),), ("lab",), 3, 100, 25, 7_200_000, 3_600_000),
        ),
        "Partition gpu is now n1 and all with gpu a100, for lab, at most 3 tasks at once, at most 25 % of it for a "
        "client, jobs of at most 2 h, 1 h for a job that does not say (nights are short).",
    ),
    (partition.PartitionRemoved(at_ms=NOW, partition="gpu", why="sold"), "Partition gpu was removed (sold)."),
    (
        workflow.WorkflowSubmitted(**FLOW, name="shot 040", client_id="studio", jobs=("job-1", "job-2")),
        "Workflow wf-1 “shot 040” of studio was submitted with 2 jobs.",
    ),
    (workflow.WorkflowJobAdded(**FLOW, job_id="job-3"), "Workflow wf-1 grew by job-3."),
    (workflow.WorkflowCompleted(**FLOW), "Workflow wf-1 completed."),
    (workflow.WorkflowFailed(**FLOW, failed=("job-1",)), "Workflow wf-1 failed (job-1)."),
    (workflow.WorkflowCancelled(**FLOW), "Workflow wf-1 was cancelled."),
    (
        workflow.WorkflowReopened(**FLOW, job_id="job-1", name="s", client_id="c", jobs=("job-1",)),
        "Workflow wf-1 was opened again by job-1.",
    ),
    (workflow.WorkflowArchived(**FLOW), "Workflow wf-1 was archived."),
    (d.DependencyDeclared(**EDGE), "job-2 waits for job-1 (sequential)."),
    (d.DependencySatisfied(**EDGE), "job-2 no longer waits for job-1, which has completed."),
    (
        d.DependencyFailed(**EDGE, why="cancelled"),
        "job-2 cannot start, because job-1 did not complete (cancelled).",
    ),
    (d.DependencyBypassed(**EDGE), "job-2 need not wait for job-1."),
    (d.DependencyReopened(**EDGE), "job-2 waits for job-1 again."),
    (
        k.CheckpointTaken(
            **SAVED,
            task=7,
            attempt=4,
            location="/c",
            size_bytes=3 << 29,
            sha256="",
            progress=60,
            job_version=5,
            position=80,
        ),
        "Task 7 of job-1 saved checkpoint ckpt-1 at 60 % (full, 1.5 GiB).",
    ),
    (k.CheckpointVerified(**SAVED), "Checkpoint ckpt-1 of job-1 was read again and is sound."),
    (k.CheckpointCorrupt(**SAVED, why="it is gone"), "Checkpoint ckpt-1 of job-1 cannot be used (it is gone)."),
    (k.CheckpointRestored(**SAVED, attempt=5), "Attempt 5 of job-1 resumes from checkpoint ckpt-1."),
    (k.CheckpointDiscarded(**SAVED, why="old"), "Checkpoint ckpt-1 of job-1 is no longer kept (old)."),
    (
        CycleDecided(at_ms=NOW, position=99, blocked=(BLOCKED,), cleared=("a", "b")),
        "The cycle at position 99 noted why 12 jobs in 1 queue segment cannot start and that 2 queue segments can "
        "go on.",
    ),
    (
        CycleDecided(at_ms=NOW, position=99, keyframe=True),
        "The cycle at position 99 noted that nothing is blocked (a complete record).",
    ),
    (
        CycleDecided(at_ms=NOW, position=99, reserved=(Reserved("job-1", NOW, (("n1", 1), ("n2", 4))),)),
        "The cycle at position 99 noted that room is kept for job-1 from 2026-09-21 14:13:20 UTC on n1, n2 ×4.",
    ),
    (
        CycleDecided(at_ms=NOW, position=99, cleared=("a",), reserved=()),
        "The cycle at position 99 noted that 1 queue segment can go on and that room is kept for nobody any more.",
    ),
    (
        CommandRefused(
            at_ms=NOW, command="hold-job", entity_id="job-1", code="job.ended", message="it ended", repeated=3
        ),
        "The command hold-job on job-1 was refused: it ended. 3 more like it were not recorded.",
    ),
    (
        ObservedExternally(
            at_ms=NOW,
            stream_id="external-job-j7",
            what="job",
            changes={"status": "done", "note": "x" * 41, "n": 2},
            forgotten=("mood",),
            why="it said so",
        ),
        "From outside, job j7 was seen with status done, note, n 2, no mood (it said so).",
    ),
    (
        CommandUndone(at_ms=NOW, command_id="cmd-1", actor="user:ada", changes=2, why="the wrong list"),
        "The command cmd-1 of user:ada was undone: 2 changes (the wrong list).",
    ),
    (
        ForecastsMade(at_ms=NOW, rows=(Promise("job-1", NOW, Word.LATE), Promise("job-2", NOW, Word.AHEAD))),
        "It was forecast when 2 jobs with a deadline will end: 1 ahead, 1 late.",
    ),
    (
        ForecastsScored(at_ms=NOW, rows=(Score("job-1", NOW, JobStatus.COMPLETED, 3, NOW - 1, late=True),)),
        "The forecasts of 1 job were held against their ends: 1 late.",
    ),
    (
        ReservationMade(
            at_ms=NOW,
            reservation_id="resv-1",
            owner=MAINTENANCE,
            nodes=("n1", "n2"),
            window=WINDOW,
            repeat=Repetition(604_800_000, times=4),
            forced=("job-1 would be stopped",),
            why="disks",
        ),
        "Reservation resv-1: 2 nodes (n1, n2) were set aside for maintenance from 2026-09-21 14:13:20 UTC for 1 h, "
        "every 7 d, 4 times in all (disks). Overruled: job-1 would be stopped.",
    ),
    (
        ReservationChanged(at_ms=NOW, reservation_id="resv-1", window=WINDOW, before_ms=NOW),
        "The window of reservation resv-1 ends at 2026-09-21 15:13:20 UTC, not at 2026-09-21 14:13:20 UTC.",
    ),
    (
        ReservationActivated(
            at_ms=NOW, reservation_id="resv-1", owner=SHOW, occurrence=1, window=WINDOW, nodes=("n1",), busy=("n1",)
        ),
        "Window 1 of reservation resv-1 began: 1 node for client show until 2026-09-21 15:13:20 UTC; n1 still at work, "
        "which it waits for.",
    ),
    (
        ReservationEnded(
            at_ms=NOW,
            reservation_id="resv-1",
            owner=SHOW,
            occurrence=1,
            window=WINDOW,
            nodes=("n1",),
            missed=1,
            next=WINDOW,
            next_occurrence=3,
        ),
        "Window 1 of reservation resv-1 is over. 1 window went by unattended. "
        "The next one begins at 2026-09-21 14:13:20 UTC.",
    ),
    (
        ReservationCancelled(at_ms=NOW, reservation_id="resv-1", owner=SHOW, nodes=("n1",), why="no need"),
        "Reservation resv-1 of 1 node for client show was cancelled (no need).",
    ),
    (
        PoliciesAdopted(at_ms=NOW, policies=Policies()),
        "Policies version 1 are in force: order priority, placement best-fit, backfill greedy.",
    ),
    (
        PoliciesAdopted(at_ms=NOW, policies=Policies(version=2, energy="night-savings"), why="power is dear"),
        "Policies version 2 are in force: order priority, placement best-fit, backfill greedy, energy night-savings "
        "(power is dear).",
    ),
    (node.NodeStopping(at_ms=NOW, node_id="n1", why="it is idle"), "Node n1 was told to power down (it is idle)."),
    (node.NodeStarting(at_ms=NOW, node_id="n1"), "Node n1 was told to power up."),
    (e.JobApproved(**JOB, tasks="2-4"), "Tasks 2-4 of job-1 may go on: its first tasks were approved."),
]


@pytest.mark.parametrize(("event", "expected"), TOLD, ids=[topic_of(type(event)) for event, _ in TOLD])
def test_an_event_is_told_as_a_sentence(event: Event, expected: str) -> None:
    assert event_sentence(event) == expected
    stored = msgspec.json.decode(msgspec.json.encode(event), type=type(event))
    assert sentence(Recorded(1, "s", 1, stored, Meta("user:ada"))) == expected


def test_every_topic_has_its_sentence() -> None:
    assert {topic_of(type(event)) for event, _ in TOLD} == set(TOPICS)


@pytest.mark.parametrize("expected", [expected for _, expected in TOLD])
def test_a_sentence_is_one_line_that_ends_with_a_full_stop(expected: str) -> None:
    assert expected.endswith(".")
    assert not re.search(r"\n|  |None|[{}<>]", expected)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (FailureClass.EXIT, "exit code 3"),
        (FailureClass.SIGNAL, "signal 9"),
        (FailureClass.DECLARED, "it said so itself"),
        (FailureClass.WALLTIME, "it ran longer than its walltime"),
        (FailureClass.MEMORY, "it went over its memory limit at 2 GiB"),
        (FailureClass.LAUNCH, "it could not be started"),
        (FailureClass.LOST, "its node went away"),
        (None, "no reason is known"),
    ],
)
def test_every_failure_says_what_it_was(failure: FailureClass | None, expected: str) -> None:
    end = AttemptEnd(1, 0, exit_code=3, signal=9, failure=failure, max_rss_mib=2048)
    assert failure_text(end) == expected
    assert failure_text(msgspec.structs.replace(end, message="out of paint")) == f"{expected} (out of paint)"


def test_a_failure_is_not_said_twice() -> None:
    end = AttemptEnd(1, 0, exit_code=3, failure=FailureClass.EXIT, message="exit code 3")
    assert failure_text(end) == "exit code 3"
    slow = AttemptEnd(1, 0, failure=FailureClass.WALLTIME, message="ran longer than its walltime of 1.5 s")
    assert failure_text(slow) == "it ran longer than its walltime of 1.5 s"


@pytest.mark.parametrize("why", [*FailureClass, *StopCause])
def test_every_reason_to_wait_again_has_words(why: FailureClass | StopCause) -> None:
    assert event_sentence(e.TasksRequeued(**JOB, tasks="1", why=why)).endswith(".")
