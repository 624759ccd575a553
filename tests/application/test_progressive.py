"""Jobs that show something before they are done: which tasks come first, and who lets the others go on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import intervals
from domain.decisions import ReasonCode
from domain.errors import JobInvalid, NothingToApprove
from domain.job import commands as c
from domain.job.values import JobStatus, Progressive, coarse
from domain.planning import blockers
from tests.application.desk import Desk
from tests.builders import spec


@pytest.fixture
def desk() -> Desk:
    """Two places on one node."""
    made = Desk()
    made.nodes("n1", cores=2)
    return made


def running(desk: Desk) -> list[int]:
    """The tasks that run, in the order in which they were placed."""
    job = desk.app.farm.jobs["job-1"]
    return [attempt.task for _, attempt in sorted(job.live.items())]


def test_every_nth_task_comes_first(desk: Desk) -> None:
    desk.submit("job-1", tasks="1-8", progressive=Progressive(every=3))
    order = []
    for _ in range(4):
        desk.cycle()
        order += running(desk)
        desk.finish("job-1")
    assert order == [1, 4, 7, 8, 2, 3, 5, 6]


def test_the_others_wait_until_somebody_approves(desk: Desk) -> None:
    desk.submit("job-1", tasks="1-8", progressive=Progressive(every=4, approve=True))
    for _ in range(2):
        desk.run("job-1")
    job = desk.app.farm.jobs["job-1"]
    assert (job.succeeded, job.gated, job.waiting) == ("1,5,8", "2-4,6-7", "")
    assert job.ended is None
    desk.cycle()
    assert running(desk) == []
    assert [reason.code for reason in blockers.of_job(desk.app.farm, desk.job("job-1"), desk.clock.now_ms())] == [
        ReasonCode.APPROVAL
    ]
    desk.do(c.ApproveJob(job_id="job-1", why="the light is right"))
    assert desk.do(c.ApproveJob(job_id="job-1")).events == 0
    for _ in range(3):
        desk.run("job-1")
    assert desk.status("job-1") is JobStatus.COMPLETED


def test_nothing_is_lost_when_a_job_is_cancelled_before_it_was_approved(desk: Desk) -> None:
    desk.submit("job-1", tasks="1-8", progressive=Progressive(every=4, approve=True))
    desk.do(c.CancelJob(job_id="job-1"))
    assert desk.status("job-1") is JobStatus.CANCELLED
    desk.do(c.RetryJob(job_id="job-1"))
    again = desk.app.farm.jobs["job-1"]
    assert (again.waiting, again.gated) == ("1,5,8", "2-4,6-7")
    desk.do(c.ApproveJob(job_id="job-1"), c.CancelJob(job_id="job-1"), c.RetryJob(job_id="job-1"))
    assert desk.app.farm.jobs["job-1"].waiting == "1-8", "it was approved, and stays so"


def test_approval_can_come_early(desk: Desk) -> None:
    desk.submit("job-1", tasks="1-8", progressive=Progressive(every=4, approve=True))
    desk.do(c.ApproveJob(job_id="job-1"))
    desk.cycle()
    assert running(desk) == [1, 5]


def test_only_what_waits_for_approval_can_be_approved(desk: Desk) -> None:
    desk.submit("job-1", tasks="1-8", progressive=Progressive(every=2))
    with pytest.raises(NothingToApprove):
        desk.do(c.ApproveJob(job_id="job-1"))


@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        (Progressive(every=0), "must be positive"),
        (Progressive(overhead_percent=101), "0..100 %"),
        (Progressive(every=1, approve=True), "nothing of it would wait"),
    ],
)
def test_what_makes_no_sense_is_refused(desk: Desk, shown: Progressive, problem: str) -> None:
    with pytest.raises(JobInvalid, match=problem):
        desk.submit("job-1", tasks="1-8", progressive=shown)


@given(st.sets(st.integers(-50, 200), min_size=1), st.integers(1, 9))
def test_the_first_and_the_last_task_are_among_those_that_come_first(numbers: set[int], nth: int) -> None:
    tasks = intervals.of(numbers)
    first = list(intervals.members(coarse(spec("job-1", tasks=tasks, progressive=Progressive(every=nth)))))
    ordered = sorted(numbers)
    assert first == sorted({*ordered[::nth], ordered[-1]})
