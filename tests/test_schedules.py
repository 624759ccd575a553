"""The naive simulator of batch machines: schedules worked out by hand, and a published one, job by job."""

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.schedules import (
    ORDERS,
    Job,
    Machine,
    Moment,
    Profile,
    Running,
    average_bounded_slowdown,
    average_wait,
    backfill_of,
    easy,
    fifo,
    log10,
    read_swf,
    shadow_of,
    simulate,
    starts_sha256,
    strict,
    swf_lines,
)

SWF = Path(os.environ.get("MILEPOST_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "swf"
PASSES = ("instant", "event")
BACKFILLS = ("none", "greedy", "easy", "1", "2", "3", "conservative")


def rigid(number: int, processors: int, requested: int, submit: int = 0, run: int | None = None) -> Job:
    return Job(number, submit, requested if run is None else run, processors, requested)


def starts(processors: int, jobs: list[Job], backfill: str, order: str = "fifo", passes: str = "instant") -> list[int]:
    """Starts in the order of ids."""
    by_id = simulate(jobs, processors, order, backfill, passes)
    return [by_id[number] for number in sorted(by_id)]


# Ten processors. 1 holds 6 until 10; 2 is the head and needs 8, so it can start at 10 and leaves 2 over.
# 3 fits at once (4 are free) but would run until 20 on more than 2. 4 fits into the 2 left over. 5 ends at 5.
HEAD = [rigid(1, 6, 10), rigid(2, 8, 10), rigid(3, 4, 20), rigid(4, 2, 30), rigid(5, 2, 5)]

# Three processors. 1 holds 2 until 10; 2, 3 and 4 follow one after the other: 10, 20, 30. 5 needs one processor for
# 40 s: that delays neither 2 nor 3, which leave one over, but it delays 4, which needs all three.
LINE = [rigid(1, 2, 10), rigid(2, 2, 10), rigid(3, 2, 10), rigid(4, 3, 10), rigid(5, 1, 40)]


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize(
    ("backfill", "expected"),
    [
        ("none", [0, 10, 20, 20, 20]),  # 8 of 10 are taken from 10 on: 3 waits, and all after it
        ("greedy", [0, 20, 0, 10, 10]),  # 3 starts and delays 2 until it ends
        ("easy", [0, 10, 20, 0, 0]),
        ("2", [0, 10, 20, 0, 0]),
        ("conservative", [0, 10, 20, 0, 0]),
    ],
)
def test_backfill_passes_a_blocked_head_only_as_the_rule_allows(
    backfill: str, expected: list[int], passes: str
) -> None:
    assert starts(10, HEAD, backfill, passes=passes) == expected


@pytest.mark.parametrize(
    ("backfill", "expected"),
    [("easy", [0, 10, 20, 40, 0]), ("2", [0, 10, 20, 40, 0]), ("3", [0, 10, 20, 30, 40])],
)
def test_a_deeper_reservation_protects_jobs_further_back(backfill: str, expected: list[int]) -> None:
    assert starts(3, LINE, backfill) == expected


def test_conservative_reserves_for_all() -> None:
    assert starts(3, LINE, "conservative") == starts(3, LINE, "3") == [0, 10, 20, 30, 40]


def test_all_requested_ends_at_the_shadow_second_count_before_the_spare_processors() -> None:
    # 1 and 2 both end at 10; the head needs 2 of 4, which 1 alone would free. With 2, two processors are left over,
    # so 4 may hold one (free since second 0) beyond second 10.
    jobs = [rigid(1, 1, 10), rigid(2, 2, 10), rigid(3, 2, 10), rigid(4, 1, 50)]
    assert starts(4, jobs, "easy") == [0, 0, 10, 0]


def test_jobs_that_end_by_the_shadow_second_leave_the_spare_processors_alone() -> None:
    # At 10 the head needs 3 of 4. 3 uses one until 5; 4 may have the one that is left over at 10, without end.
    assert starts(4, [rigid(1, 2, 10), rigid(2, 3, 10), rigid(3, 1, 5), rigid(4, 1, 50)], "easy") == [0, 10, 0, 0]


def test_a_job_may_end_at_the_shadow_second_itself() -> None:
    assert starts(2, [rigid(1, 1, 10), rigid(2, 2, 10), rigid(3, 1, 10)], "easy") == [0, 10, 0]
    assert starts(2, [rigid(1, 1, 10), rigid(2, 2, 10), rigid(3, 1, 11)], "easy") == [0, 10, 20]


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("backfill", ["easy", "2", "conservative"])
@pytest.mark.parametrize(("head", "third"), [(4, 25), (3, 13)])
def test_a_job_past_its_requested_end_may_end_at_any_moment(head: int, third: int, backfill: str, passes: str) -> None:
    # 1 was to end at 10 and runs until 20: at 13 the head's shadow second is 13. 3 fits (1 of 4 is free) and would end
    # at 14: it starts only if the head leaves a processor over; else after the head, which runs from 20 to 25.
    jobs = [rigid(1, 3, 10, run=20), rigid(2, head, 5, submit=12), rigid(3, 1, 1, submit=13)]
    assert starts(4, jobs, backfill, passes=passes) == [0, 20, third]


@pytest.mark.parametrize("backfill", ["easy", "conservative"])
def test_all_jobs_past_their_requested_ends_count_as_coming_free_now(backfill: str) -> None:
    # 1 and 2 were to end at 5 and 10 and run until 20. The head, 3, needs 2 of 4 and finds 1: with both of them gone it
    # would leave 2 over, so 4 starts at once.
    jobs = [rigid(1, 1, 5, run=20), rigid(2, 2, 10, run=20), rigid(3, 2, 5, submit=12), rigid(4, 1, 50, submit=13)]
    assert starts(4, jobs, backfill) == [0, 0, 20, 13]


@pytest.mark.parametrize(("passes", "expected"), [("instant", [0, 0, 10, 15]), ("event", [0, 0, 20, 10])])
def test_an_arrival_comes_before_the_completions_of_its_second(passes: str, expected: list[int]) -> None:
    # At 10 both 1 and 2 end, 1 before its request (20); the head, 3, needs both processors. One by one, 4 arrives
    # first: 2 counts as ended, 1 does not, so 4 fits and ends at the head's shadow second, 20. All at once, 3 starts.
    jobs = [rigid(1, 1, 20, run=10), rigid(2, 1, 10), rigid(3, 2, 5, submit=1), rigid(4, 1, 10, submit=10)]
    assert starts(2, jobs, "easy", passes=passes) == expected


@pytest.mark.parametrize(("first", "second"), [(9, 1), (1, 9)])
def test_completions_of_a_second_come_in_the_order_of_starts(first: int, second: int) -> None:
    # Both end at 10 before their requests (11 and 20). After the first alone, the head's shadow second is 20 and 4 runs
    # until then; after the second alone it would be 11 and 4 would not start. Ids do not matter.
    jobs = [rigid(first, 1, 11, run=10), rigid(second, 1, 19, submit=1, run=9)]
    jobs += [rigid(3, 2, 5, submit=2), rigid(4, 1, 10, submit=10)]
    assert simulate(jobs, 2, "fifo", "easy", "event") == {first: 0, second: 1, 3: 20, 4: 10}


@pytest.mark.parametrize(("passes", "expected"), [("instant", [0, 33, 3, 20]), ("event", [0, 25, 35, 20])])
def test_an_arrival_that_does_not_fit_makes_no_pass_of_its_own(passes: str, expected: list[int]) -> None:
    # Shortest first on 4 processors, 1 holds 3 until 20. 4 arrives at 3 and becomes the head: it would leave 2 over at
    # 20 and so let 3 start at once; the head until then, 2, needs all 4. Without a pass at 3, job 3 waits for both.
    jobs = [rigid(1, 3, 20), rigid(2, 4, 10, submit=1), rigid(3, 1, 30, submit=2), rigid(4, 2, 5, submit=3)]
    assert starts(4, jobs, "easy", "sjf", passes) == expected


def test_an_overrun_keeps_its_processors_from_arrivals() -> None:
    jobs = [rigid(1, 2, 5, run=20), rigid(2, 1, 5, submit=5)]
    assert starts(2, jobs, "easy", passes="event") == [0, 20]


@pytest.mark.parametrize(
    ("order", "job", "now", "score"),
    [
        ("wfp3", rigid(1, 4, 50, submit=10), 110, -32.0),  # -(100/50)^3 * 4
        ("unicep", rigid(1, 4, 50, submit=10), 110, -1.0),  # -100 / (2 * 50)
        ("unicep", rigid(1, 1, 50, submit=10), 110, -2e9),  # log2 1 counts as 1e-9
        ("f1", rigid(1, 4, 100, submit=1000), 5000, 2_618.0),  # 2*4 + 870*3
        ("f1", rigid(1, 4, 100, submit=0), 5000, -862.0),  # 2*4 - 870
        ("f2", rigid(1, 4, 100, submit=1000), 5000, 76_840.0),  # 10*4 + 25600*3
        ("f3", rigid(1, 4, 100, submit=1000), 5000, 20_580_400.0),  # 400 + 6860000*3
        ("f4", rigid(1, 4, 100, submit=1000), 5000, 1_590_200.0),  # 100*2 + 530000*3
        ("sjf", rigid(1, 4, 100), 5000, 100),
        ("saf", rigid(1, 4, 100), 5000, 400),
        ("edf", Job(1, 0, 5, 1, 100, deadline=700), 500, 700),
        ("slack", Job(1, 0, 5, 1, 100, deadline=700), 500, 100),  # 700 - 500 - 100
        ("slack", rigid(1, 1, 100), 500, math.inf),
    ],
)
def test_scores_are_those_of_the_formulas(order: str, job: Job, now: int, score: float) -> None:
    assert ORDERS[order](job, now) == pytest.approx(score, rel=1e-12)


def test_values_without_a_logarithm_count_as_a_tenth() -> None:
    assert log10(0) == log10(-5) == log10(0.1) == -1


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("fifo", [2, 3, 1, 4]),
        ("sjf", [3, 1, 4, 2]),
        ("saf", [3, 1, 4, 2]),  # 40, 60, 60, 160
        ("edf", [4, 2, 3, 1]),
        ("slack", [2, 4, 3, 1]),  # 50 - now, 60 - now, none, none
        ("priority", [3, 2, 1, 4]),
    ],
)
def test_orders_break_ties_by_submit_time_then_id(order: str, expected: list[int]) -> None:
    # No two fit together, and 9 runs while they arrive: they follow one after the other from 5 on.
    jobs = [
        Job(9, 0, 5, 4, 5), Job(1, 2, 10, 3, 20), Job(2, 1, 10, 4, 40, deadline=90), Job(3, 1, 10, 4, 10, rank=1),
        Job(4, 3, 10, 3, 20, deadline=80),
    ]  # fmt: skip
    by_id = simulate(jobs, 4, order, "none")
    assert [by_id[number] for number in expected] == [5, 15, 25, 35]


def test_orders_that_depend_on_waiting_change_from_pass_to_pass() -> None:
    # WFP3: at 10, jobs 2 (wait 10 of 100 s, 2 processors) and 3 (wait 2 of 10 s, 1 processor) score -0.002 and -0.008.
    # Had they been scored at 9: -0.001458 and -0.001, the other way round.
    jobs = [rigid(1, 2, 10), rigid(2, 2, 100), rigid(3, 1, 10, submit=8)]
    assert ORDERS["wfp3"](jobs[1], 9) < ORDERS["wfp3"](jobs[2], 9)
    assert starts(2, jobs, "none", "wfp3") == [0, 20, 10]


def test_metrics_and_digest_follow_their_definitions() -> None:
    jobs = [rigid(2, 1, 5), rigid(10, 1, 20)]
    begun = {10: 40, 2: 15}
    assert average_wait(jobs, begun) == 27.5
    assert average_bounded_slowdown(jobs, begun) == 2.5  # (15 + 5) / 10 and (40 + 20) / 20
    # printf '2 15\n10 40' | sha256sum
    assert starts_sha256(begun) == "554d36243557383cdebccf6ad39c58993e7700c571481027f4d7bd1eb1a97989"


JOBS = st.lists(
    st.tuples(*[st.integers(low, high) for low, high in ((0, 30), (1, 12), (1, 5), (1, 15), (0, 40), (0, 3))]),
    min_size=1,
    max_size=14,
)


def random_jobs(rows: list[tuple[int, ...]], overruns: bool) -> list[Job]:
    """Jobs of up to 5 processors; those with a small last number have a deadline."""
    return [
        Job(number, submit, run, size, asked if overruns else max(asked, run), deadline if rank < 2 else None, rank)
        for number, (submit, run, size, asked, deadline, rank) in enumerate(rows, 1)
    ]


@given(JOBS, st.booleans(), st.sampled_from(sorted(ORDERS)), st.sampled_from(PASSES))
def test_one_reservation_by_profile_is_easy(
    rows: list[tuple[int, ...]], overruns: bool, order: str, passes: str
) -> None:
    jobs = random_jobs(rows, overruns)
    assert simulate(jobs, 5, order, "1", passes) == simulate(jobs, 5, order, "easy", passes)
    assert simulate(jobs, 5, order, str(len(jobs)), passes) == simulate(jobs, 5, order, "conservative", passes)


@given(JOBS, st.booleans(), st.sampled_from(sorted(ORDERS)), st.sampled_from(BACKFILLS), st.sampled_from(PASSES))
def test_every_job_runs_once_and_never_are_more_processors_used_than_there_are(
    rows: list[tuple[int, ...]], overruns: bool, order: str, backfill: str, passes: str
) -> None:
    jobs = random_jobs(rows, overruns)
    begun = simulate(jobs, 5, order, backfill, passes)
    assert sorted(begun) == [job.id for job in jobs]
    assert all(begun[job.id] >= job.submit for job in jobs)
    for second in set(begun.values()):
        assert sum(job.processors for job in jobs if begun[job.id] <= second < begun[job.id] + job.run) <= 5


@given(JOBS, st.sampled_from(PASSES))
def test_easy_never_delays_the_head_beyond_any_promise(rows: list[tuple[int, ...]], passes: str) -> None:
    promises: dict[int, int] = {}

    def noting(moment: Moment) -> list[Job]:
        first = strict(moment)
        if len(first) < len(moment.queue):
            head = moment.queue[len(first)]
            running = [*moment.running, *(Running(job, moment.now) for job in first)]
            free = moment.free - sum(job.processors for job in first)
            shadow, _ = shadow_of(head, moment.now, running, free)
            promises[head.id] = min(shadow, promises.get(head.id, shadow))
        return easy(moment)

    begun = Machine(5, fifo, noting).run(random_jobs(rows, overruns=False), passes)
    assert all(begun[number] <= promise for number, promise in promises.items())


@given(JOBS, st.integers(0, 20))
def test_a_profile_says_what_a_list_of_seconds_says(rows: list[tuple[int, ...]], now: int) -> None:
    jobs = random_jobs(rows, overruns=False)
    running = [Running(job, now) for job in jobs[:1]]
    profile = Profile(Moment(now, [], running, 5 - sum(each.job.processors for each in running)))
    seconds = [5] * 400
    for each in running:
        seconds = taken(seconds, each.job, 0)
    for job in jobs[1:]:
        start = next(s for s in range(400) if min(seconds[s : s + job.requested]) >= job.processors)
        assert profile.earliest(job) == now + start
        profile.take(job, now + start)
        seconds = taken(seconds, job, start)


def taken(seconds: list[int], job: Job, start: int) -> list[int]:
    """Free processors of each second, less those of the job."""
    return [
        level - job.processors if start <= second < start + job.requested else level
        for second, level in enumerate(seconds)
    ]


def test_a_job_larger_than_the_machine_is_refused_by_name() -> None:
    for backfill in ("easy", "conservative"):
        with pytest.raises(ValueError, match="job 7 needs 3 processors"):
            simulate([rigid(7, 3, 1)], 2, "fifo", backfill)


def test_a_backfill_is_a_name_or_a_number() -> None:
    with pytest.raises(ValueError, match="easier"):
        backfill_of("easier")


def test_a_trace_is_cleaned_as_said(tmp_path: Path) -> None:
    trace = tmp_path / "odd.swf"
    rows = [
        "1 5 -1 10 3 -1 -1 2 7 -1 1 1 1 -1 -1 -1 -1 -1",  # field 8 wins; request 7 raised to 10
        "2 4 -1 10 3 -1 -1 -1 -1 -1 1 1 1 -1 -1 -1 -1 -1",  # field 5; no request
        "3 4 -1 0 3 -1 -1 3 9 -1 1 1 1 -1 -1 -1 -1 -1",  # never ran
        "4 4 -1 10 0 -1 -1 -1 9 -1 1 1 1 -1 -1 -1 -1 -1",  # no processors
        "5 4 -1 10 9 -1 -1 9 9 -1 1 1 1 -1 -1 -1 -1 -1",  # too large
        "6 -1 -1 10 1 -1 -1 1 9 -1 1 1 1 -1 -1 -1 -1 -1",  # before the trace
    ]
    trace.write_text("; MaxProcs: 8\n\n" + "\n".join(rows) + "\n")
    assert read_swf(trace, 8) == [Job(2, 4, 10, 3, 10), Job(1, 5, 10, 2, 10)]


@pytest.mark.skipif(not SWF.is_dir(), reason="the shared traces are not here")
class TestPublishedSchedule:
    """KTH-SP2 under EASY, as a published simulator scheduled it, and as one pass a second schedules it."""

    JOBS = SWF / "KTH-SP2-1996-2-predictsim-input.swf.gz"
    SCHEDULE = SWF / "KTH-SP2-1996-2-pyss-EASY-schedule.swf.gz"

    @pytest.mark.parametrize("backfill", ["easy", "1"])
    def test_event_passes_reproduce_every_wait(self, backfill: str) -> None:
        jobs = read_swf(self.JOBS, 100)
        begun = simulate(jobs, 100, "fifo", backfill, "event")
        published = {int(line[0]): int(line[2]) for line in swf_lines(self.SCHEDULE)}
        assert len(published) == 28_481
        assert {job.id: begun[job.id] - job.submit for job in jobs} == published
        assert round(average_wait(jobs, begun), 2) == 6_836.87
        assert round(average_bounded_slowdown(jobs, begun), 3) == 92.577
        assert sum(wait > 0 for wait in published.values()) == 13_219

    def test_one_pass_a_second_gives_the_other_legitimate_schedule(self) -> None:
        jobs = read_swf(self.JOBS, 100)
        begun = simulate(jobs, 100, "fifo", "easy", "instant")
        assert round(average_wait(jobs, begun), 2) == 6_834.59
        assert round(average_bounded_slowdown(jobs, begun), 3) == 92.688
