"""Traces as values, and the measures of a schedule; expected numbers are worked out by hand."""

import hashlib
import random

import pytest

from application.simulation.metrics import Completed, bounded_slowdown, metrics, starts_sha256
from application.simulation.workload import Trace, TraceJob


def completed(number: int, submit_s: int, wait_s: int, run_s: int, processors: int = 1, **more: int) -> Completed:
    start_s = submit_s + wait_s
    return Completed(number, submit_s, start_s, start_s + run_s, processors, requested_s=run_s, **more)


def test_the_offered_load_is_work_over_what_the_machine_has_between_first_and_last_submission() -> None:
    jobs = (TraceJob(1, 100, 50, 4, 50), TraceJob(2, 200, 30, 10, 60))
    # (50 x 4 + 30 x 10) / (10 processors x 100 s)
    assert Trace(jobs=jobs, processors=10).offered_load == 0.5
    assert Trace(jobs=jobs[:1], processors=10).offered_load == 0
    assert Trace(jobs=(), processors=10).offered_load == 0


def test_a_schedule_of_four_jobs_measures_as_worked_out_by_hand() -> None:
    found = metrics(
        [
            completed(1, submit_s=100, wait_s=0, run_s=100, processors=3),  # ends at 200
            completed(2, submit_s=100, wait_s=50, run_s=50, processors=1),  # ends at 200
            completed(3, submit_s=110, wait_s=90, run_s=5, processors=4),  # ends at 205
            completed(4, submit_s=120, wait_s=80, run_s=300, processors=2),  # ends at 500
        ],
        processors=4,
    )
    assert found.jobs == 4
    assert found.average_wait_s == 55.0  # (0 + 50 + 90 + 80) / 4
    assert found.median_wait_s == 65.0  # between 50 and 80
    assert (found.p95_wait_s, found.max_wait_s) == (90, 90)
    # 1; 100/50 = 2; 95/10 = 9.5; 380/300
    assert found.average_bounded_slowdown == pytest.approx((1 + 2 + 9.5 + 380 / 300) / 4, rel=1e-15)
    assert found.makespan_s == 400
    assert found.utilization == (300 + 50 + 20 + 600) / (4 * 400)
    assert found.jobs_delayed == 3
    assert found.throughput_per_hour == 36.0
    assert found.on_time_share is None


def test_the_95th_percentile_is_the_nearest_rank() -> None:
    assert metrics([completed(i, 0, i, 1) for i in range(1, 101)], 1).p95_wait_s == 95
    assert metrics([completed(i, 0, i, 1) for i in range(1, 21)], 1).p95_wait_s == 19
    assert metrics([completed(i, 0, i, 1) for i in range(1, 11)], 1).p95_wait_s == 10


def test_short_jobs_have_a_bounded_slowdown_and_none_is_below_one() -> None:
    assert bounded_slowdown(0, 1) == 1.0
    assert bounded_slowdown(9, 1) == 1.0
    assert bounded_slowdown(10, 1) == 1.1
    assert bounded_slowdown(10, 10) == 2.0
    assert bounded_slowdown(100, 0) == 10.0


def test_only_jobs_with_a_deadline_count_for_being_on_time() -> None:
    jobs = [
        completed(1, 0, 0, 10, deadline_s=10),  # in the last second that is allowed
        completed(2, 0, 0, 10, deadline_s=9),
        completed(3, 0, 0, 10, deadline_s=0),
        completed(4, 0, 0, 10),
    ]
    assert metrics(jobs, 1).on_time_share == pytest.approx(1 / 3)


def test_no_jobs_and_no_time_measure_as_nothing() -> None:
    empty = metrics([], 4)
    assert (empty.jobs, empty.average_wait_s, empty.utilization, empty.makespan_s) == (0, 0.0, 0.0, 0)
    assert empty.starts_sha256 == hashlib.sha256(b"").hexdigest()
    assert metrics([completed(1, 5, 0, 0)], 4).utilization == 0.0


def test_the_order_of_completions_changes_nothing() -> None:
    chance = random.Random(1)
    jobs = [
        completed(i, chance.randrange(10**6), chance.randrange(10**5), chance.randrange(1, 10**4)) for i in range(500)
    ]
    expected = metrics(jobs, 7)
    for _ in range(5):
        chance.shuffle(jobs)
        assert metrics(jobs, 7) == expected


def test_the_digest_of_starts_is_that_of_lines_sorted_by_integer_id() -> None:
    assert starts_sha256({10: 7, 9: 0, 100: 3}) == hashlib.sha256(b"9 0\n10 7\n100 3").hexdigest()
    assert metrics([completed(10, 5, 2, 1), completed(9, 0, 0, 1)], 1).starts_sha256 == starts_sha256({9: 0, 10: 7})
