"""What is booked: plans on thousands of random small farms are what plain loops would do, window by window."""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from domain.decisions import Reason, ReasonCode
from domain.farm import Farm
from domain.forecasting.forecast import forecast_start
from domain.job.values import Protection
from domain.node import NodeStatus
from domain.planning.planner import plan
from domain.policies import Policies
from domain.policies import made as made_of
from domain.reservation import MAINTENANCE, Owner, OwnerKind, Repetition, Reservation, ReservationStatus
from domain.rules.bookings import bookings
from domain.time_range import TimeRange
from tests.builders import HOUR, NOW, SECOND, farm, job, node
from tests.contents import contents, levels_of
from tests.oracle import SCORES, gangs_of, one_by_one
from tests.random_farms import BACKFILLS, random_farm
from tests.window_oracle import WindowOracle, changed, check_reasons, with_reservations

OWNERS = (
    MAINTENANCE,
    MAINTENANCE,
    Owner(OwnerKind.CLIENT, "show"),
    Owner(OwnerKind.CLIENT, "research"),
    Owner(OwnerKind.WORKFLOW, "wf-1"),
)


def booked(*nodes: str, start_s: float = 60, lasts_s: float = 60, **fields: Any) -> Reservation:
    """Maintenance on some nodes in a minute, for a minute, unless said otherwise."""
    start_ms = NOW + round(start_s * SECOND)
    window = TimeRange(start_ms, start_ms + round(lasts_s * SECOND))
    given: dict[str, Any] = {"reservation_id": "resv-1", "owner": MAINTENANCE, "made_ms": NOW} | fields
    return Reservation(nodes=nodes, window=window, **given)


# -- against the oracle ----------------------------------------------------------------------------------------------


def random_reservation(rng: Random, made: Farm, number: int) -> Reservation:
    start_s, lasts_s = rng.randint(-4, 9), rng.randint(1, 5)
    repeat = rng.choice(
        (None, None, None, Repetition(6_000), Repetition(9_000, times=3), Repetition(7_000, until_ms=NOW + 20_000))
    )
    nodes = rng.sample(sorted(made.nodes), rng.randint(1, len(made.nodes)))
    return booked(
        *nodes,
        start_s=start_s,
        lasts_s=lasts_s,
        reservation_id=f"resv-{number}",
        owner=rng.choice(OWNERS),
        repeat=repeat,
    )


def random_booked_farm(rng: Random) -> Farm:
    made = random_farm(rng)
    while not made.nodes:
        made = random_farm(rng)
    for job_id in list(made.jobs):
        checkpoints, grace_ms = rng.random() < 0.3, rng.choice((0, 1_000, 2_000))
        workflow_id = rng.choice((None, None, "wf-1"))
        changed(made, job_id, checkpoints=checkpoints, grace_ms=grace_ms, workflow_id=workflow_id)
        if rng.random() < 0.2:
            made.jobs[job_id] = replace(made.jobs[job_id], protection=Protection(never=True))
    count = rng.randint(1, 3)
    return with_reservations(made, *(random_reservation(rng, made, number) for number in range(count)))


def agrees(on: Farm, by: Policies) -> bool:
    before = contents(on, levels_of(on.index))
    made = plan(on, by, NOW)
    oracle = WindowOracle(on, by, NOW, gangs_of(made))
    oracle.run_all()
    told = "\n".join(
        map(str, [by, *on.nodes.values(), *on.clients.values(), *on.jobs.values(), *on.reservations.values()])
    )
    assert one_by_one(made) == oracle.placed, told
    assert list(made.reserved) == oracle.reserved, told
    check_reasons(made, on, NOW)
    assert contents(on, levels_of(on.index)) == before, "a plan changed the farm"
    return bool(oracle.waiting)


def look(rule: tuple[str, dict[str, Any]], times: int) -> None:
    rng = Random(f"windows {rule} {times}")
    backfill, parameters = rule
    waited = 0
    for order in SCORES:
        for _ in range(times):
            waited += agrees(random_booked_farm(rng), Policies(order=order, backfill=backfill, parameters=parameters))
    assert waited > times // 4


@pytest.mark.parametrize("rule", BACKFILLS, ids=str)
def test_thousands_of_plans_with_windows_are_what_plain_loops_would_do(rule: tuple[str, dict[str, Any]]) -> None:
    look(rule, 40)


@pytest.mark.soak
@pytest.mark.parametrize("rule", BACKFILLS, ids=str)
def test_many_more_plans_with_windows_are_what_plain_loops_would_do(rule: tuple[str, dict[str, Any]]) -> None:
    look(rule, 1_000)


# -- one by one ------------------------------------------------------------------------------------------------------


def test_a_job_is_promised_room_between_the_windows_and_no_sooner() -> None:
    """Four hours of work fit neither before the window in an hour nor into the three hours between it and the next."""
    on = with_reservations(
        farm([node()], [job(walltime_ms=4 * HOUR, cores=4)]),
        booked("n1", start_s=3_600, lasts_s=3_600),
        booked("n1", start_s=5 * 3_600, lasts_s=3_600, reservation_id="resv-2"),
    )
    made = plan(on, Policies(backfill="easy"), NOW)
    assert not made.decisions
    assert [(each.job_id, each.start_ms) for each in made.reserved] == [("job-1", NOW + 6 * HOUR)]
    forecast = forecast_start(on, Policies(backfill="easy"), NOW, "job-1")
    assert forecast is not None
    assert forecast.latest_ms == NOW + 6 * HOUR
    assert made.wake_at_ms == NOW + HOUR


def test_windows_that_come_for_ever_and_leave_no_gap_promise_nothing() -> None:
    on = with_reservations(
        farm([node()], [job(walltime_ms=4 * HOUR)]),
        booked("n1", start_s=3_600, lasts_s=3_600, repeat=Repetition(3 * HOUR)),
    )
    made = plan(on, Policies(backfill="easy"), NOW)
    assert made.reserved == ()
    (blocked,) = made.passed_over
    assert blocked.reasons == (
        Reason(
            ReasonCode.MAINTENANCE,
            entity="resv-1",
            needed=4 * HOUR,
            available=HOUR,
            node_id="n1",
            until_ms=NOW + 2 * HOUR,
        ),
    )


def test_a_node_that_is_out_of_service_for_a_window_says_until_when() -> None:
    on = with_reservations(
        farm([node(status=NodeStatus.MAINTENANCE)], [job(walltime_ms=HOUR)]),
        booked("n1", start_s=-60, lasts_s=3_660, status=ReservationStatus.ACTIVE),
    )
    (blocked,) = plan(on, Policies(), NOW).passed_over
    assert blocked.reasons == (Reason(ReasonCode.MAINTENANCE, entity="resv-1", node_id="n1", until_ms=NOW + HOUR),)
    forecast = forecast_start(on, Policies(), NOW, "job-1")
    assert forecast is not None
    assert (forecast.unknown, forecast.expected_ms) == (None, NOW + HOUR)


def test_the_estimate_counts_where_there_is_no_walltime() -> None:
    on = with_reservations(farm([node()], [job(kind="shot")]), booked("n1", start_s=3_600))
    assert not plan(on, Policies(), NOW).decisions
    on.performance.record("show", "shot", "any", 30 * 60_000)
    assert plan(on, Policies(estimate="predicted"), NOW).decisions


def test_a_farm_on_which_nothing_is_booked_has_no_such_rule() -> None:
    on = farm([node()])
    assert bookings(on, made_of(Policies()), NOW) is None
    over = with_reservations(farm([node()]), booked("n1", start_s=-120, lasts_s=60))
    assert bookings(over, made_of(Policies()), NOW) is None
