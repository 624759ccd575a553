"""Refusals on the record: who was refused what, by which rule, without letting a loop fill the log."""

from typing import Any

import pytest

from application.app import Request
from application.refusals import BURST, PER_ACTOR_MS
from domain import errors
from domain.client import SuspendClient
from domain.cycle import DAY_MS, CommandRefused, refusal_stream
from domain.dependency import DeclareDependency
from domain.job import commands as c
from domain.messages import Command, Meta
from domain.node import EndMaintenance
from tests.application.desk import ADA, Desk
from tests.builders import NOW, spec


def ask(desk: Desk, command: Command, by: str = ADA) -> errors.TaskSchedulerError:
    with pytest.raises(errors.TaskSchedulerError) as caught:
        desk.do(command, by=by)
    return caught.value


def refusals(desk: Desk) -> list[Any]:
    return [each.event for each in desk.recorded() if isinstance(each.event, CommandRefused)]


def ended_job() -> Desk:
    """A desk where holding `job-1` is refused."""
    desk = Desk()
    desk.submit("job-1")
    desk.do(c.CancelJob(job_id="job-1"))
    return desk


def test_a_command_that_a_rule_forbids_is_recorded_with_its_reason() -> None:
    desk = ended_job()
    error = ask(desk, c.HoldJob(job_id="job-1"))
    assert isinstance(error, errors.JobEnded)
    recorded = desk.recorded()[-1]
    assert recorded.stream == refusal_stream(NOW)
    assert recorded.meta.actor == ADA
    assert recorded.event == CommandRefused(
        at_ms=NOW, command="hold-job", entity_id="job-1", code="job.ended", message=error.message
    )


@pytest.mark.parametrize(
    "command",
    [
        c.HoldJob(job_id="job-9"),
        c.SubmitJob(spec=spec("job-2", tasks="9-1", client_id="default")),
        c.SubmitJob(spec=spec("job-2", client_id="nobody")),
    ],
    ids=["unknown id", "malformed", "unknown client"],
)
def test_malformed_input_and_unknown_ids_leave_no_trace(command: Command) -> None:
    desk = ended_job()
    before = desk.position
    ask(desk, command)
    assert desk.position == before


def test_a_circle_of_dependencies_is_a_refusal_by_rule() -> None:
    desk = Desk()
    desk.submit("job-1")
    desk.submit("job-2", after=["job-1"])
    ask(desk, DeclareDependency(predecessor_id="job-2", successor_id="job-1"))
    assert [(r.command, r.entity_id, r.code) for r in refusals(desk)] == [
        ("declare-dependency", "job-1", "dependency.cycle")
    ]


def test_the_entity_is_the_one_that_the_command_is_about() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.client("show")
    desk.do(SuspendClient(client_id="show"))
    ask(desk, EndMaintenance(node_id="n1"))
    ask(desk, c.SubmitJob(spec=spec("job-1", client_id="show")))
    assert [(r.command, r.entity_id) for r in refusals(desk)] == [("end-maintenance", "n1"), ("submit-job", "job-1")]


def test_a_refusal_changes_no_aggregate() -> None:
    desk = ended_job()
    before = desk.app.farm.snapshot()
    ask(desk, c.HoldJob(job_id="job-1"))
    after = desk.app.farm.snapshot()
    assert (after.jobs, after.nodes, after.clients, after.workflows) == (
        before.jobs,
        before.nodes,
        before.clients,
        before.workflows,
    )
    desk.check()


def test_after_a_burst_only_one_a_second_is_recorded_and_the_others_are_counted() -> None:
    desk = ended_job()
    for _ in range(BURST + 5):
        ask(desk, c.HoldJob(job_id="job-1"))
    assert len(refusals(desk)) == BURST
    desk.clock.advance(PER_ACTOR_MS)
    ask(desk, c.HoldJob(job_id="job-1"))
    ask(desk, c.HoldJob(job_id="job-1"))
    assert [r.repeated for r in refusals(desk)] == [0] * BURST + [5]
    desk.clock.advance(10 * PER_ACTOR_MS)
    ask(desk, c.HoldJob(job_id="job-1"))
    assert refusals(desk)[-1].repeated == 1


def test_one_actor_does_not_use_up_the_record_of_another() -> None:
    desk = ended_job()
    for _ in range(BURST + 1):
        ask(desk, c.HoldJob(job_id="job-1"), by="user:loop")
    ask(desk, c.HoldJob(job_id="job-1"), by="user:bob")
    assert desk.recorded()[-1].meta.actor == "user:bob"


def test_what_was_decided_twice_is_counted_once() -> None:
    desk = ended_job()
    for _ in range(BURST + 3):
        ask(desk, c.HoldJob(job_id="job-1"))
    desk.clock.advance(PER_ACTOR_MS)
    hold = Request((c.HoldJob(job_id="job-1"),), Meta(ADA))
    again = Request((c.SubmitJob(spec=spec("job-1", client_id="default")),), Meta(ADA))
    desk.app.commit_all([hold, again])  # the old submission is taken for a new one first, and decided anew
    assert refusals(desk)[-1].repeated == 3
    desk.clock.advance(PER_ACTOR_MS)
    ask(desk, c.HoldJob(job_id="job-1"))
    assert refusals(desk)[-1].repeated == 0


def test_each_day_has_its_stream() -> None:
    desk = ended_job()
    ask(desk, c.HoldJob(job_id="job-1"))
    desk.clock.advance(DAY_MS)
    ask(desk, c.HoldJob(job_id="job-1"))
    ask(desk, c.HoldJob(job_id="job-1"))
    streams = [(r.stream, r.version) for r in desk.recorded() if isinstance(r.event, CommandRefused)]
    today, tomorrow = refusal_stream(NOW), refusal_stream(NOW + DAY_MS)
    assert streams == [(today, 1), (tomorrow, 1), (tomorrow, 2)]
    desk.check()


def test_the_next_process_goes_on_in_the_same_stream() -> None:
    desk = ended_job()
    ask(desk, c.HoldJob(job_id="job-1"))
    again = Desk(log=desk.log)
    ask(again, c.HoldJob(job_id="job-1"))
    assert [r.version for r in again.log.stream(refusal_stream(NOW))] == [1, 2]
