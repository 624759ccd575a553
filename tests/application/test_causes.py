"""What each stored fact says it follows from."""

from application.ports import AttemptExited, AttemptStarted
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass
from domain.messages import Recorded
from tests.application.desk import ADA, Desk
from tests.application.test_dispatcher import Station
from tests.builders import NOW


def of(desk: Desk, job_id: str = "job-1") -> list[tuple[str, str]]:
    """Topics and causes of a job's facts."""
    return [(_topic(each), each.meta.cause) for each in desk.log.stream(job_id)]


def _topic(recorded: Recorded) -> str:
    return str(recorded.event.__struct_config__.tag).removeprefix("job.")


def ended(number: int, task: int, failure: FailureClass | None = None) -> AttemptEnd:
    return AttemptEnd(number, task, failure=failure)


def report(desk: Desk, *ends: AttemptEnd) -> None:
    desk.do(c.ReportEnded(job_id="job-1", ends=ends), by="dispatcher")


def test_a_job_completes_because_its_last_task_succeeded() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    desk.run("job-1")
    assert of(desk)[2:] == [("tasks_succeeded", ""), ("completed", "job-1@3")]
    succeeded, completed = desk.log.stream("job-1")[2:]
    assert completed.meta.command_id == succeeded.meta.command_id
    assert completed.meta.actor == succeeded.meta.actor == "dispatcher"


def test_tasks_wait_again_because_they_failed_and_all_of_it_follows_from_one_report() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1", tasks="1-4", retries=2, backoff_ms=10)
    desk.cycle()
    report(desk, ended(1, 1, FailureClass.EXIT))
    assert of(desk)[2:] == [("tasks_failed", ""), ("tasks_requeued", "job-1@3")]
    desk.clock.advance(1_000)
    desk.cycle()  # attempt 5 is task 1 once more
    report(desk, ended(2, 2), ended(5, 1, FailureClass.EXIT), ended(3, 3, FailureClass.SIGNAL))
    assert of(desk)[5:] == [
        ("tasks_succeeded", ""),
        ("tasks_failed", ""),  # not because others succeeded
        ("tasks_requeued", "job-1@7"),
        ("tasks_requeued", "job-1@7"),  # another back-off, the same failure
    ]


def test_what_follows_from_a_cancellation_says_so() -> None:
    desk = Desk()
    desk.nodes("n1")
    desk.submit("job-1")
    desk.cycle()
    desk.do(c.CancelJob(job_id="job-1"))
    assert of(desk)[2:] == [("cancelled", ""), ("tasks_stopping", "job-1@3")]
    assert {each.meta.actor for each in desk.log.stream("job-1")[2:]} == {ADA}


def test_placed_tasks_name_their_cycle_and_reports_their_attempt() -> None:
    desk = Desk()
    desk.nodes("n1")
    station = Station(desk)
    desk.submit("job-1")
    desk.cycle()
    station.done()
    station.say(AttemptStarted(attempt_id="job-1.0.1", at_ms=NOW), AttemptExited(attempt_id="job-1.0.1", exit_code=0))
    placed = desk.log.stream("job-1")[1]
    assert placed.meta.cycle == placed.position - 1
    assert of(desk)[2:] == [
        ("tasks_started", "attempt:1"),
        ("tasks_succeeded", "attempt:1"),
        ("completed", "job-1@4"),
    ]
