"""Back-offs in order of time, against a look at all jobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.indices.backoffs import BackOffs
from domain.job.values import Job
from tests.builders import job

ends = st.lists(st.integers(0, 30), max_size=3)
moves = st.lists(st.tuples(st.integers(0, 9), ends), max_size=60)


def delayed(number: int, untils: list[int]) -> Job:
    """A job with a task in back-off until each of these times, two of which may be the same."""
    return job(f"job-{number}", delayed=tuple((until_ms, str(task)) for task, until_ms in enumerate(sorted(untils))))


def check(back_offs: BackOffs, jobs: dict[str, Job]) -> None:
    """All answers at all times are those of a look at every job."""
    held = {(until_ms, job_id) for job_id, each in jobs.items() for until_ms, _ in each.delayed}
    assert list(back_offs) == sorted(held)
    assert len(back_offs) == len(held)
    for now_ms in range(-1, 32):
        assert back_offs.due(now_ms) == sorted({job_id for until_ms, job_id in held if until_ms <= now_ms})
        assert back_offs.next(now_ms) == min((ms for ms, _ in held if ms > now_ms), default=None)


@given(moves)
def test_whatever_comes_and_goes_the_answers_are_those_of_a_look_at_every_job(
    changes: list[tuple[int, list[int]]],
) -> None:
    back_offs, jobs = BackOffs(), dict[str, Job]()
    for number, untils in changes:
        changed = delayed(number, untils)
        jobs[changed.spec.job_id] = changed
        back_offs.settle(changed)
    check(back_offs, jobs)
    check(BackOffs(jobs.values()), jobs)
    for job_id in sorted(jobs)[::2]:
        del jobs[job_id]
        back_offs.drop(job_id)
    check(back_offs, jobs)


@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_many_that_end_one_after_the_other_leave_in_either_order(order: int) -> None:
    jobs = [delayed(number, [number]) for number in range(1_000)]
    back_offs = BackOffs(jobs)
    for left, each in zip(range(999, -1, -1), jobs[::order], strict=True):
        back_offs.drop(each.spec.job_id)
        assert len(back_offs) == left
    assert (back_offs.due(2_000), back_offs.next(0), list(back_offs)) == ([], None, [])
    back_offs.settle(jobs[7])
    assert (back_offs.due(6), back_offs.due(7), back_offs.next(6)) == ([], ["job-7"], 7)


def test_a_job_that_has_no_back_off_can_be_dropped() -> None:
    back_offs = BackOffs([delayed(1, [5])])
    back_offs.drop("job-2")
    assert back_offs.due(5) == ["job-1"]
