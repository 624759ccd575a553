"""Reservations by example: what is kept for a blocked job, and what may start beside that."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.decisions import Blocked, Plan, Reason, ReasonCode, Reserved, segment_name
from domain.job.values import Attempt, Priority
from domain.planning.planner import plan
from domain.policies import Policies
from tests.builders import NOW, SECOND, client, farm, job, need, node, placements, running

EASY = Policies(order="fifo", backfill="easy")
ON_N1 = (("n1", 1),)


def deep(depth: int) -> Policies:
    """The first so many blocked jobs hold a reservation."""
    return Policies(order="fifo", backfill="depth", parameters={"backfill": {"reservations": depth}})


def planned(*args: Any, by: Policies) -> Plan:
    return plan(farm(*args), by, NOW)


def blocked(cores: float, *reasons: Reason) -> Blocked:
    return Blocked(segment_name("show", Priority.MEDIUM, need(cores)), reasons, 1)


def short(needed: int, available: int) -> Reason:
    return Reason(ReasonCode.RESOURCES_SHORT, "", "millicores", needed, available, "n1")


# n1 has 4 cores; 2 of them come free in 10 s. job-2 needs 3 and so can start in 10 s, leaving one over.
BUSY = running("job-1", cores=2, walltime_ms=10 * SECOND)
HEAD = job("job-2", cores=3, walltime_ms=20 * SECOND)
IN_10_S = NOW + 10 * SECOND
BEHIND = Reason(ReasonCode.BEHIND_HEAD, entity="job-2", until_ms=IN_10_S)


def test_the_blocked_head_holds_the_earliest_room_there_will_be() -> None:
    made = planned([node(cores=4)], [BUSY, HEAD], by=EASY)
    assert made.reserved == (Reserved("job-2", IN_10_S, ON_N1),)
    assert made.passed_over == (blocked(3, short(3_000, 2_000)),)


@pytest.mark.parametrize(
    ("cores", "walltime_ms", "starts"),
    [
        (2, 10 * SECOND, True),  # ends just when the head can start
        (2, 10 * SECOND + 1, False),
        (1, 99 * SECOND, True),  # the core that the head leaves over
        (1, None, True),
        (2, None, False),
    ],
)
def test_a_later_job_starts_if_it_ends_in_time_or_uses_what_the_head_leaves_over(
    cores: int, walltime_ms: int | None, starts: bool
) -> None:
    made = planned([node(cores=4)], [BUSY, HEAD, job("job-3", cores=cores, walltime_ms=walltime_ms)], by=EASY)
    assert [place.job_id for place in made.decisions] == ["job-3"] * starts
    if starts:
        why = made.decisions[0].reason
        assert (why.overtook, why.overtook_start_ms) == ("job-2", IN_10_S)
    else:
        assert blocked(cores, BEHIND) in made.passed_over


def test_what_the_head_leaves_over_is_used_once() -> None:
    """Of 2 free cores the head leaves one over; what ends in time uses none of it."""
    later = [
        job("job-3", walltime_ms=5 * SECOND),
        job("job-4", walltime_ms=50 * SECOND),
    ]
    made = planned([node(cores=4)], [BUSY, HEAD, *later], by=EASY)
    assert [place.job_id for place in made.decisions] == ["job-3", "job-4"]
    made = planned(
        [node(cores=5)], [BUSY, replace(HEAD, spec=replace(HEAD.spec, requirement=need(4))), *later * 2], by=EASY
    )
    assert [place.job_id for place in made.decisions] == ["job-3", "job-4"]


def test_all_that_ends_in_the_same_moment_is_counted_before_what_is_left_over() -> None:
    """Two jobs of 2 cores end in 10 s; the head takes 3 of the 4, so one is left over for 99 s."""
    busy = [running("job-0", cores=2, walltime_ms=10 * SECOND), BUSY]
    made = planned([node(cores=5)], [*busy, HEAD, job("job-3", cores=1, walltime_ms=99 * SECOND)], by=EASY)
    assert [place.job_id for place in made.decisions] == ["job-3"]


def test_tasks_of_one_job_that_do_not_all_fit_hold_a_reservation_for_the_next_one() -> None:
    made = planned([node(cores=4)], [job("job-1", cores=3, tasks="0-2", walltime_ms=10 * SECOND)], by=EASY)
    assert placements(made) == [("job-1", "0", ON_N1)]
    assert made.reserved == (Reserved("job-1", IN_10_S, ON_N1),)


def test_a_job_behind_the_first_reservation_may_hold_the_second() -> None:
    """job-3 would fit beside the head until that starts, but runs too long; it follows it, 30 s from now."""
    later = job("job-3", cores=2, walltime_ms=50 * SECOND)
    one, two = (planned([node(cores=4)], [BUSY, HEAD, later], by=deep(depth)).reserved for depth in (1, 2))
    assert [each.job_id for each in one] == ["job-2"]
    assert two == (Reserved("job-2", IN_10_S, ON_N1), Reserved("job-3", NOW + 30 * SECOND, ON_N1))


def test_behind_every_reservation_a_shorter_job_of_the_same_shape_may_still_start() -> None:
    """job-3 and job-4 need the same; job-3 and then job-5 hold the last reservations, job-4 ends in time."""
    waiting = [
        job("job-3", cores=2, walltime_ms=50 * SECOND, submitted_ms=3),
        job("job-5", cores=4, walltime_ms=50 * SECOND, submitted_ms=4),
        job("job-4", cores=2, walltime_ms=9 * SECOND, submitted_ms=5),
    ]
    made = planned([node(cores=4)], [replace(HEAD, submitted_ms=2), BUSY, *waiting], by=deep(3))
    assert [each.job_id for each in made.reserved] == ["job-2", "job-3", "job-5"]
    assert placements(made) == [("job-4", "0", ON_N1)]


def test_conservative_backfill_has_a_reservation_for_everybody() -> None:
    """One core each: job-1 ends in 10 s, then job-2 and job-3 follow one after the other."""
    waiting = [job(f"job-{k}", walltime_ms=10 * SECOND) for k in (2, 3, 4)]
    busy = running("job-1", walltime_ms=10 * SECOND)
    made = planned([node(cores=1)], [busy, *waiting], by=Policies(order="fifo", backfill="conservative"))
    assert [(each.job_id, each.start_ms - NOW) for each in made.reserved] == [
        ("job-2", 10_000),
        ("job-3", 20_000),
        ("job-4", 30_000),
    ]


def test_nothing_is_reserved_where_no_end_is_in_sight() -> None:
    """Nobody knows how long job-1 runs, so the next job that can be promised something is."""
    waiting = [running("job-1", cores=2), HEAD, job("job-3", cores=2, tasks="0-1", walltime_ms=10 * SECOND)]
    made = planned([node(cores=4)], waiting, by=EASY)
    assert placements(made) == [("job-3", "0", ON_N1)]
    assert made.reserved == (Reserved("job-3", IN_10_S, ON_N1),)
    assert made.decisions[0].reason.overtook == "job-2"
    assert made.decisions[0].reason.overtook_start_ms is None


def test_only_jobs_that_wait_for_room_hold_reservations() -> None:
    waiting = [BUSY, job("job-0", client_id="gone"), job("job-9", cores=9), HEAD]
    made = planned([node(cores=4)], waiting, [client("gone", suspended=True)], by=deep(3))
    assert [each.job_id for each in made.reserved] == ["job-2"]


def test_a_client_at_its_limit_is_told_so_when_no_reservation_is_left() -> None:
    waiting = [BUSY, HEAD, job("job-3", cores=3, client_id="limited", walltime_ms=SECOND)]
    made = planned([node(cores=4)], waiting, [client("limited", max_tasks=0)], by=EASY)
    reasons = {row.segment.split("/")[0]: row.reasons[0].code for row in made.passed_over}
    assert reasons == {"show": ReasonCode.RESOURCES_SHORT, "limited": ReasonCode.CLIENT_LIMIT}


def test_a_gang_is_promised_the_fewest_nodes() -> None:
    """When all has ended n3 alone could hold both slots."""
    busy = [running(f"job-{k}", cores=cores, on=f"n{k}", walltime_ms=SECOND) for k, cores in ((1, 1), (2, 1), (3, 2))]
    gang = job("job-9", requirement=need(1, slots=2), walltime_ms=SECOND)
    nodes = [node(cores=1), node(cores=1), node(cores=2)]
    for by in (EASY, deep(2)):
        assert planned(nodes, [*busy, gang], by=by).reserved == (Reserved("job-9", NOW + SECOND, (("n3", 2),)),)


def test_what_is_overdue_may_end_at_any_moment() -> None:
    late = job("job-1", cores=4, walltime_ms=SECOND, waiting="", live={1: Attempt(0, ON_N1, NOW - 5 * SECOND)})
    made = planned([node(cores=4)], [late, HEAD], by=EASY)
    assert made.reserved == (Reserved("job-2", NOW, ON_N1),)
    assert made.decisions == ()


def test_a_segment_that_lost_its_room_to_one_of_its_own_says_so() -> None:
    # 2 cores are free; job-3 would outlast the start of the head and is behind it; job-4 is short and takes both
    waiting = [
        HEAD,
        job("job-3", cores=2, walltime_ms=99 * SECOND),
        job("job-4", cores=2, walltime_ms=SECOND, submitted_ms=1),
    ]
    made = planned([node(cores=4)], [BUSY, *waiting], by=EASY)
    assert [place.job_id for place in made.decisions] == ["job-4"]
    reasons = {row.segment: row.reasons for row in made.passed_over}
    assert reasons == {blocked(3).segment: (short(3_000, 0),), blocked(2).segment: (short(2_000, 0),)}
