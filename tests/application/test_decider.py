"""What one commit will write: where states are loaded from, how events are staged, and how a request is undone."""

from functools import reduce
from typing import Any

import msgspec
import pytest

from adapters.store.memory import MemoryLog
from application.decider import (
    CHECKPOINT,
    CLIENT,
    DEPENDENCY,
    EMPTY,
    EXTERNAL,
    JOB,
    NODE,
    PARTITION,
    RESERVATION,
    ROUTES,
    SNAPSHOT_EVERY,
    WORKFLOW,
    Batch,
    Stream,
    load_stream,
)
from application.ports import StateSnapshot
from domain import errors, job
from domain.checkpoint import TakeCheckpoint
from domain.dependency import BypassDependency, DeclareDependency, dependency_id
from domain.farm import Farm
from domain.job import commands as c
from domain.job.values import JobStatus
from domain.messages import Meta, Recorded
from domain.node import DrainNode
from tests.application.desk import Desk
from tests.builders import NOW, spec

META = Meta("user:ada", "cmd-1")


class ReadingLog(MemoryLog):
    """Counts how often a stream is read."""

    reads = 0

    def stream(self, *args: Any, **kwargs: Any) -> list[Recorded]:
        self.reads += 1
        return super().stream(*args, **kwargs)


def batch_of(desk: Desk, **options: Any) -> Batch:
    return Batch(desk.app.farm, desk.log, desk.clock.now_ms(), **options)


# -- loading ---------------------------------------------------------------------------------------------------------


def test_every_routed_command_names_the_stream_of_its_aggregate() -> None:
    streams = {
        JOB: c.HoldJob(job_id="job-1"),
        NODE: DrainNode(node_id="n1"),
        DEPENDENCY: BypassDependency(dependency_id="dep-x"),
    }
    assert {a.name: a.stream_of(command) for a, command in streams.items()} == {
        "job": "job-1",
        "node": "node:n1",
        "dependency": "dep-x",
    }
    assert JOB.stream_of(c.SubmitJob(spec=spec("job-7"))) == "job-7"
    routed = {JOB, NODE, CLIENT, WORKFLOW, DEPENDENCY, CHECKPOINT, EXTERNAL, RESERVATION, PARTITION}
    assert set(ROUTES.values()) == routed


def test_live_states_come_from_the_farm_without_a_look_at_the_log() -> None:
    desk = Desk(log=ReadingLog())
    desk.nodes("n1")
    desk.submit_workflow("job-1", "job-2", edges=[("job-1", "job-2")])
    before = desk.log.reads  # type: ignore[attr-defined]
    batch = batch_of(desk)
    for aggregate, stream in (
        (JOB, "job-1"),
        (NODE, "node:n1"),
        (CLIENT, "client:default"),
        (WORKFLOW, "wf-1"),
        (DEPENDENCY, dependency_id("job-1", "job-2")),
    ):
        found = batch.load(aggregate, stream)
        assert desk.log.reads == before  # type: ignore[attr-defined]
        assert found == load_stream(desk.log, aggregate, stream)
        before = desk.log.reads  # type: ignore[attr-defined]


def test_ended_jobs_come_from_the_log() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    desk.run("job-1")
    assert "job-1" not in desk.app.farm.jobs
    found = batch_of(desk).load(JOB, "job-1")
    assert found.version == len(desk.log.stream("job-1"))
    assert found.state.ended is JobStatus.COMPLETED


def test_a_stream_that_does_not_exist_is_empty() -> None:
    assert batch_of(Desk()).load(JOB, "job-9") == EMPTY
    assert batch_of(Desk()).job("job-9") is None


def test_a_state_at_a_version_is_the_fold_of_the_events_up_to_it() -> None:
    desk = Desk()
    desk.submit("job-1")
    desk.do(c.HoldJob(job_id="job-1"))
    desk.do(c.UnholdJob(job_id="job-1"))
    events = [recorded.event for recorded in desk.log.stream("job-1")]
    for version in range(len(events) + 1):
        expected = reduce(job.evolve, events[:version], None)
        assert desk.app.load(JOB, "job-1", upto=version) == Stream(version, expected)


def test_a_stream_grows_snapshots_and_loads_from_the_newest() -> None:
    desk = Desk()
    desk.submit("job-1")
    for _ in range(SNAPSHOT_EVERY):
        desk.do(c.HoldJob(job_id="job-1"))
        desk.do(c.UnholdJob(job_id="job-1"))
    found = desk.log.snapshot("job-1")
    assert found is not None
    assert (found.version, found.topic) == (2 * SNAPSHOT_EVERY, JOB.snapshot_topic)
    at_400 = reduce(job.evolve, (r.event for r in desk.log.stream("job-1", upto=400)), None)
    assert msgspec.msgpack.decode(found.state, type=job.Job) == at_400
    whole = desk.app.load(JOB, "job-1")
    earlier = desk.app.load(JOB, "job-1", upto=250)
    desk.log.forget_snapshots()
    assert desk.app.load(JOB, "job-1") == whole
    assert desk.app.load(JOB, "job-1", upto=250) == earlier


def test_a_snapshot_is_used_where_there_is_one() -> None:
    desk = Desk()
    desk.submit("job-1")
    version, state = desk.app.load(JOB, "job-1")
    held = msgspec.structs.replace(state, held=True)
    desk.log.save_snapshots([StateSnapshot("job-1", version, JOB.snapshot_topic, msgspec.msgpack.encode(held))])
    assert desk.app.load(JOB, "job-1").state.held


# -- deciding --------------------------------------------------------------------------------------------------------


def test_a_command_sees_what_was_staged_before_it() -> None:
    desk = Desk()
    desk.submit("job-1")
    batch = batch_of(desk)
    assert batch.do(c.HoldJob(job_id="job-1"), META) == 1
    assert batch.do(c.HoldJob(job_id="job-1"), META) == 0
    assert batch.do(c.UnholdJob(job_id="job-1"), META) == 1
    assert [(each.stream, each.version) for each in batch.events] == [("job-1", 2), ("job-1", 3)]
    assert [state.held for state in batch.after] == [True, False]
    assert batch.job("job-1") == batch.after[-1]
    assert desk.job("job-1").held is False
    assert desk.position == 2


def test_staged_events_carry_the_metadata_of_their_command() -> None:
    batch = Batch(Farm(), MemoryLog(), NOW)
    batch.do(c.SubmitJob(spec=spec("job-1")), META)
    assert batch.events[0].meta == META


def test_a_submission_is_trusted_to_be_new_unless_told_otherwise() -> None:
    desk = Desk(log=ReadingLog())
    desk.submit("job-1")
    desk.nodes("n1")
    desk.run("job-1")
    again = c.SubmitJob(spec=spec("job-1", client_id="default"))
    before = desk.log.reads  # type: ignore[attr-defined]
    assert batch_of(desk).do(again, META) == 1  # the append will find out
    assert desk.log.reads == before  # type: ignore[attr-defined]
    assert batch_of(desk, trust_fresh=False).do(again, META) == 0


def test_a_job_submitted_twice_in_one_batch_is_one_job() -> None:
    batch = Batch(Farm(), MemoryLog(), NOW)
    assert batch.do(c.SubmitJob(spec=spec("job-1")), META) == 1
    assert batch.do(c.SubmitJob(spec=spec("job-1")), META) == 0
    with pytest.raises(errors.JobExists):
        batch.do(c.SubmitJob(spec=spec("job-1", tasks="0-9")), META)


def test_edges_declared_in_a_batch_are_seen_in_it_from_both_ends() -> None:
    desk = Desk()
    desk.submit_workflow("job-1", "job-2", "job-3", edges=[("job-1", "job-2"), ("job-1", "job-3")])
    batch = batch_of(desk)
    assert [edge.successor_id for edge in batch.edges_from("job-1")] == ["job-2", "job-3"]
    assert [edge.predecessor_id for edge in batch.edges_into("job-3")] == ["job-1"]
    batch.do(BypassDependency(dependency_id=dependency_id("job-1", "job-3")), META)
    assert [edge.blocks for edge in batch.edges_from("job-1")] == [True, False]


# -- undoing ---------------------------------------------------------------------------------------------------------


CHECKPOINTED = TakeCheckpoint(
    checkpoint_id="ckpt-1", job_id="job-1", task=0, attempt=1, location="/x", size_bytes=1, sha256="0"
)


def test_rolling_back_restores_exactly_what_was_there_at_the_mark() -> None:
    desk = Desk()
    desk.submit("job-1", "job-2")
    batch = batch_of(desk)
    batch.do(c.HoldJob(job_id="job-1"), META)
    mark = batch.mark()
    events, after, streams = list(batch.events), list(batch.after), dict(batch.streams)
    batch.do(c.UnholdJob(job_id="job-1"), META)
    batch.do(c.HoldJob(job_id="job-2"), META)
    batch.do(CHECKPOINTED, META)
    batch.declared(DeclareDependency(predecessor_id="job-a", successor_id="job-b"))
    batch.snapshots.append(StateSnapshot("job-1", 1, "job.snapshot", b""))
    batch.roll_back(mark)
    assert (batch.events, batch.after, batch.streams) == (events, after, streams)
    assert (batch.edges, batch.snapshots) == ([], [])
    assert (batch.edges_from("job-a"), batch.edges_into("job-b")) == ([], [])
    assert batch.do(c.UnholdJob(job_id="job-1"), META) == 1
    assert batch.events[-1].version == 3


def test_rolling_back_twice_from_two_marks_unwinds_in_turn() -> None:
    desk = Desk()
    desk.submit("job-1")
    batch = batch_of(desk)
    first = batch.mark()
    batch.do(c.HoldJob(job_id="job-1"), META)
    second = batch.mark()
    batch.do(c.UnholdJob(job_id="job-1"), META)
    batch.roll_back(second)
    held = batch.job("job-1")
    assert held is not None
    assert held.held
    batch.roll_back(first)
    assert batch.streams == {}
    assert batch.load(JOB, "job-1") == Stream(1, desk.app.farm.jobs["job-1"])


# -- the condition ---------------------------------------------------------------------------------------------------


def test_a_batch_without_rules_across_streams_has_no_condition() -> None:
    desk = Desk()
    desk.submit("job-1")
    batch = batch_of(desk)
    batch.do(c.HoldJob(job_id="job-1"), META)
    assert batch.condition() is None


def test_guarded_topics_become_a_condition_on_the_log_after_the_farms_position() -> None:
    desk = Desk()
    desk.submit("job-1")
    batch = batch_of(desk)
    batch.guards |= {"node.lost", "client.suspended"}
    condition = batch.condition()
    assert condition is not None
    assert condition == (2, ("client.suspended", "node.lost"))


def test_how_jobs_of_a_workflow_ended_counts_what_is_staged_and_what_still_stops() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit_workflow("job-1", "job-2", "job-3", "job-4")
    desk.cycle()
    desk.finish("job-1")
    desk.do(c.CancelJob(job_id="job-2"))  # its attempt is told to stop and holds its node until it has
    batch = batch_of(desk)
    batch.do(c.CancelJob(job_id="job-3"), META)
    assert batch.ended_jobs(desk.workflow()) == {
        "job-1": JobStatus.COMPLETED,
        "job-2": JobStatus.CANCELLED,
        "job-3": JobStatus.CANCELLED,
    }
