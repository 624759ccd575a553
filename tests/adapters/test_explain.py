"""Why a job waits, why it ran where and when it did, and waiting for it to end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from domain import errors
from domain.cycle import CycleDecided
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass
from tests.adapters.counter import Counter, a_day, counter
from tests.builders import NOW, SECOND, need


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Counter]:
    with counter(tmp_path) as opened:
        yield opened


@pytest.fixture
def day(farm: Counter) -> Counter:
    a_day(farm)
    return farm


# -- explain -----------------------------------------------------------------------------------------------------


def test_an_explanation_has_numbers_and_their_sentence(farm: Counter) -> None:
    farm.nodes("n1", cores=4)
    farm.submit("job-1", requirement=need(3))
    farm.submit("job-2", requirement=need(2))
    farm.cycle()
    (reason,) = farm.ask("/api/explain/job-2")["reasons"]
    text = "needs 2 cores; n1 comes closest with 1 core free"
    assert reason == {
        "code": "resources-short",
        "needed": 2000,
        "available": 1000,
        "resource": "millicores",
        "node_id": "n1",
        "entity": "",
        "until_ms": None,
        "text": text,
    }
    assert text in farm.ask("/api/explain/job-2")["text"]
    assert farm.ask("/api/queue", text="job-2")["rows"][0]["why"] == text


def test_an_explanation_tells_the_waits_in_order_and_where_the_job_went(farm: Counter) -> None:
    farm.nodes("n1", cores=4)
    farm.submit("job-1", requirement=need(3))
    farm.submit("job-2", requirement=need(2), after=("job-1",), held=True)
    farm.cycle()
    for step in (
        lambda: farm.do(c.UnholdJob(job_id="job-2")),
        lambda: farm.submit("job-3", requirement=need(3)),
        lambda: (farm.finish("job-1"), farm.do(c.HoldJob(job_id="job-2"))),
        farm.cycle,
        lambda: (farm.do(c.UnholdJob(job_id="job-2")), farm.cycle()),
        lambda: (farm.finish("job-3"), farm.cycle()),
        lambda: farm.start("job-2"),
    ):
        farm.clock.advance(SECOND)
        step()
    told = farm.ask("/api/explain/job-2")
    codes = [(w["from_ms"] - NOW, w["to_ms"] - NOW, [r["code"] for r in w["reasons"]]) for w in told["waits"]]
    assert codes == [
        (0, 1_000, ["held", "dependency"]),
        (1_000, 3_000, ["dependency"]),
        (3_000, 5_000, ["held"]),
        (5_000, 6_000, ["resources-short"]),
    ]
    (placed,) = told["placements"]
    assert (placed["nodes"], placed["policy"], placed["order"], placed["candidates"]) == (
        [["n1", 1]], "best-fit", "priority", 1,
    )  # fmt: skip
    assert (told["started_ms"], told["waited_ms"], told["reasons"]) == (NOW + 7_000, 7_000, [])
    assert "Task 0 went to n1" in told["text"]
    assert "2 s from" in told["text"]


def test_an_explanation_of_the_past_is_not_changed_by_what_came_later(day: Counter) -> None:
    then = {
        (job_id, position): day.ask(f"/api/explain/{job_id}", at=f"@{position}")
        for job_id in ("job-a2", "job-b", "job-c")
        for position in (day.log.stream(job_id)[0].position, day.log.stream(job_id)[-1].position, day.position)
    }
    day.do(c.CancelJob(job_id="job-b"), c.HoldJob(job_id="job-c"))
    day.clock.advance(SECOND)
    day.cycle()
    for (job_id, position), told in then.items():
        assert day.ask(f"/api/explain/{job_id}", at=f"@{position}") == told


def test_a_reason_that_was_recorded_before_the_job_came_counts_for_it_too(farm: Counter) -> None:
    """Its segment was blocked already, so no cycle wrote anything new when it joined."""
    farm.nodes("n1", cores=4)
    farm.submit("job-1", requirement=need(3))
    farm.submit("job-2", requirement=need(2))
    farm.cycle()
    farm.clock.advance(86_400_000)  # into the next day, whose cycle stream has not begun
    before = farm.position
    farm.submit("job-3", requirement=need(2))
    assert not [each for each in farm.recorded(before) if isinstance(each.event, CycleDecided)]
    assert [reason["code"] for reason in farm.ask("/api/explain/job-3")["reasons"]] == ["resources-short"]


def test_how_an_ended_job_is_explained(day: Counter) -> None:
    assert "was cancelled" in day.ask("/api/explain/job-d")["text"]
    assert "it never ran" in day.ask("/api/explain/job-d")["text"]
    assert "(job-a1) completed at" in day.ask("/api/explain/job-a1")["text"]


# -- waiting -----------------------------------------------------------------------------------------------------


def test_who_waits_for_what_has_ended_is_answered_at_once(day: Counter) -> None:
    found = day.ask("/api/wait/job-a1", timeout_s=60)
    assert (found["outcome"], found["status"], found["kind"]) == ("ended", "completed", "job")


def test_who_waits_in_vain_is_told_what_it_waits_for(day: Counter) -> None:
    found = day.ask("/api/wait/job-e", timeout_s=0)
    assert (found["outcome"], found["why"]) == ("timeout", "waits for job-c to complete")


def test_who_waits_for_what_can_never_go_on_is_told_so_at_once(farm: Counter) -> None:
    farm.nodes("n1")
    farm.submit("job-1")
    farm.submit("job-2", after=("job-1",))
    farm.submit("job-3", after=("job-2",))
    farm.submit("job-4", after=("job-3",))
    assert farm.ask("/api/wait/job-4", timeout_s=0)["outcome"] == "timeout"
    farm.run("job-1", failure=FailureClass.EXIT)
    found = farm.ask("/api/wait/job-4", timeout_s=60)
    assert (found["outcome"], found["status"], found["ended_ms"]) == ("stuck", "pending", None)
    assert "job-2" in found["why"]


def test_a_workflow_is_waited_for_like_a_job(day: Counter) -> None:
    assert day.ask("/api/wait/wf-1", timeout_s=0)["outcome"] == "timeout"
    day.do(*(c.CancelJob(job_id=job_id) for job_id in ("job-a2", "job-a3")))
    found = day.ask("/api/wait/wf-1", timeout_s=60)
    assert (found["outcome"], found["status"], found["ended_ms"]) == ("ended", "cancelled", day.clock.now_ms())
    with pytest.raises(errors.BadInput, match="only jobs and workflows end"):
        day.ask("/api/wait/n1")


def test_a_closed_counter_keeps_nobody_waiting(day: Counter) -> None:
    day.queries.close()
    assert day.ask("/api/wait/job-e", timeout_s=60)["outcome"] == "timeout"


def test_a_long_chain_of_jobs_is_no_trouble(farm: Counter) -> None:
    farm.submit("job-0000")
    for number in range(1, 1_500):
        farm.submit(f"job-{number:04}", after=(f"job-{number - 1:04}",))
    assert farm.ask("/api/wait/job-1499", timeout_s=0)["outcome"] == "timeout"


# -- deadlines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_s", "late_ms", "said"),
    [(5, -2_000, "It ended 2 s before its deadline."), (1, 2_000, "It was late by 2 s.")],
)
def test_a_job_that_has_ended_says_whether_it_was_in_time(farm: Counter, given_s: int, late_ms: int, said: str) -> None:
    farm.nodes("n1", cores=4)
    farm.submit("job-1", deadline_ms=NOW)
    farm.cycle()
    farm.do(c.SetDeadline(job_id="job-1", deadline_ms=farm.clock.now_ms() + given_s * SECOND))
    assert farm.ask("/api/jobs/job-1")["job"]["late_ms"] is None
    farm.clock.advance(3 * SECOND)
    farm.finish("job-1")
    assert farm.ask("/api/jobs/job-1")["job"]["late_ms"] == late_ms
    explained = farm.ask("/api/explain/job-1")
    assert explained["late_ms"] == late_ms
    assert said in explained["text"].splitlines()
    assert farm.ask("/api/story/job-1")["rows"][-1]["sentence"] == f"job-1 completed: every task succeeded. {said}"


def test_without_a_deadline_nothing_is_said_of_one(farm: Counter) -> None:
    farm.nodes("n1", cores=4)
    farm.submit("job-1")
    farm.cycle()
    farm.finish("job-1")
    assert farm.ask("/api/explain/job-1")["late_ms"] is None
    assert "deadline" not in farm.ask("/api/explain/job-1")["text"]
    assert "deadline" not in farm.ask("/api/story/job-1")["rows"][-1]["sentence"]


# -- failures --------------------------------------------------------------------------------------------------------


def test_a_failed_job_says_how_its_tasks_failed(farm: Counter) -> None:
    farm.nodes("n1", cores=4)
    farm.submit("job-1", tasks="1-2", retries=1, backoff_ms=1)
    farm.cycle()
    farm.start("job-1")
    for number, task in ((1, 1), (2, 2)):
        farm.do(ended("job-1", number, task, exit_code=3, failure=FailureClass.EXIT))
    farm.clock.advance(SECOND)
    farm.cycle()
    farm.do(ended("job-1", 3, 1, failure=FailureClass.LAUNCH, message="there is no program 'blendr'"))
    farm.do(ended("job-1", 4, 2))
    told = farm.ask("/api/explain/job-1")
    (failure,) = told["failures"]
    assert (failure["task"], failure["attempt"], failure["times"], failure["failure"]) == (1, 3, 2, "launch")
    said = "Task 1 failed 2 times; the last time: it could not be started (there is no program 'blendr')"
    assert failure["text"] == said
    assert f": {said}." in told["text"]
    (line,) = farm.ask("/api/queue", all=True)["rows"]
    assert line["note"] == "task 1 failed: it could not be started (there is no program 'blendr')"
    farm.do(c.RetryJob(job_id="job-1"))
    assert farm.ask("/api/explain/job-1")["failures"] == []


def test_of_many_failures_the_newest_become_sentences(farm: Counter) -> None:
    farm.nodes("n1", cores=8)
    farm.submit("job-1", tasks="1-8")
    farm.cycle()
    for number in range(1, 9):
        farm.do(ended("job-1", number, number, signal=9, failure=FailureClass.SIGNAL))
    told = farm.ask("/api/explain/job-1")
    assert [each["task"] for each in told["failures"]] == list(range(1, 9))
    assert "Task 8 failed: signal 9." in told["text"]
    assert "Task 3 failed" not in told["text"]
    assert "3 other tasks failed, too." in told["text"]


def ended(job_id: str, number: int, task: int, **how: object) -> c.ReportEnded:
    return c.ReportEnded(job_id=job_id, ends=(AttemptEnd(number, task, **how),))  # type: ignore[arg-type]


def test_an_explanation_names_who_held_or_paused_the_job(farm: Counter) -> None:
    farm.nodes("n1", cores=4)
    farm.submit("job-1")
    farm.do(c.HoldJob(job_id="job-1"), by="user:bob")
    farm.do(c.PauseJob(job_id="job-1"))
    texts = [each["text"] for each in farm.ask("/api/explain/job-1")["reasons"]]
    assert texts == ["is held by user:bob", "is paused by user:ada"]
    at = f"@{farm.app.farm.position}"
    assert [each["text"] for each in farm.ask("/api/queue", at=at)["rows"][0]["reasons"]] == texts
