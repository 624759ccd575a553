"""Rules of farms that deal out whole nodes: lending, tariffs, suitability, and who takes whose place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.policies import displacement, lending, suitability, tariffs

percents = st.lists(st.integers(0, 120), max_size=8)
demands = st.lists(st.floats(0, 100), max_size=8)


@given(total=st.integers(0, 300), shares=percents)
def test_guarantees_never_come_to_more_than_the_farm(total: int, shares: list[int]) -> None:
    found = lending.guaranteed(total, shares)
    assert sum(found.counts) <= total
    assert all(count <= total * percent / 100 for count, percent in zip(found.counts, shares, strict=True))
    assert (found.scale is None) == (found.wanted <= total)


@given(wanted=demands, left=st.integers(0, 200))
def test_what_is_left_is_dealt_out_whole_or_not_at_all(wanted: list[float], left: int) -> None:
    dealt = lending.deal(wanted, left)
    nodes = sorted(node for own in dealt for node in own)
    assert nodes == (list(range(left)) if sum(wanted) > 0 else [])
    assert all(not own for own, demand in zip(dealt, wanted, strict=True) if demand == 0)


@given(wanted=demands, left=st.integers(0, 200))
def test_whoever_wants_more_gets_no_less(wanted: list[float], left: int) -> None:
    counts = [len(own) for own in lending.deal(wanted, left)]
    for less, few in zip(wanted, counts, strict=True):
        assert all(many >= few for more, many in zip(wanted, counts, strict=True) if more > less)


@pytest.mark.parametrize(
    ("allocated", "guarantee", "limit", "room"), [(40, 40, 100, 20), (40, 40, 50, 10), (40, 40, 40, 0), (0, 40, 0, 0)]
)
def test_room_that_a_client_is_taken_to_want(allocated: float, guarantee: float, limit: float, room: float) -> None:
    assert lending.room(allocated, guarantee, limit) == room


@pytest.mark.parametrize(
    ("count", "total", "cap", "kept"), [(6, 10, 50, 5), (5, 10, 50, 5), (3, 4, 20, 1), (9, 10, 0, 9)]
)
def test_a_cap_cuts_all_but_one(count: int, total: int, cap: float, kept: int) -> None:
    assert lending.within_cap(count, total, cap) == kept
    assert lending.within_cap(0, total, cap) == 0


def test_limits_of_lending_are_inclusive() -> None:
    assert lending.may_lend(40, 20, 50)
    assert not lending.may_lend(40, 20.5, 50)
    assert lending.may_borrow(30, 50, 20)
    assert not lending.may_borrow(30, 50, 20.5)


DAY = tariffs.PeakPrices(8 * 3600, 20 * 3600, 0.15, 0.08)


@given(start=st.floats(0, 86_399), hours=st.floats(0.01, 500))
def test_what_a_kilowatt_costs_lies_between_the_two_prices(start: float, hours: float) -> None:
    cost = tariffs.priced_hours(start, hours, DAY)
    assert hours * 0.08 * 0.999 <= cost <= hours * 0.15 * 1.001


def test_a_whole_day_costs_the_same_whenever_it_begins() -> None:
    whole = 12 * 0.15 + 12 * 0.08
    assert [tariffs.priced_hours(hour * 3600, 24, DAY) for hour in range(24)] == [pytest.approx(whole)] * 24


def test_prices_change_at_the_beginning_and_before_the_end() -> None:
    assert [tariffs.price_at(hour * 3600, DAY) for hour in (7, 8, 19, 20)] == [0.08, 0.15, 0.15, 0.08]


def test_modes_by_night_and_day() -> None:
    assert [tariffs.is_night(hour) for hour in (21, 22, 0, 5, 6)] == [False, True, True, True, False]
    assert [tariffs.mode_for(True, count) for count in (0, 1)] == ["night_savings", "efficiency"]
    assert [tariffs.mode_for(False, count) for count in (0, 1, 5, 6)] == [
        "efficiency",
        "balanced",
        "balanced",
        "performance",
    ]
    assert (tariffs.watts_drawn(300, 50), tariffs.saved_percent(4, 3), tariffs.saved_percent(0, 0)) == (270, 25, 0)


def test_advantages_of_a_node() -> None:
    assert [suitability.for_specialties(count) for count in (0, 1, 4, 5)] == [1, 2.7, 4.8, 5.0]
    assert suitability.for_room(8, 4, 0.5, 2) == 1.5
    assert suitability.for_room(2, 4, 0.5, 2) == 0.75
    assert suitability.for_gpus(4, 5) == 3.0
    assert suitability.blended(2, 10, 0.25) == 4
    assert suitability.history_share(0.3) == pytest.approx(0.36)
    assert suitability.history_share(0.9) == 0.5
    assert (suitability.averaged(None, 3, 0.2), suitability.averaged(1, 6, 0.2)) == (3, 2)
    assert [suitability.speed_of(seconds) for seconds in (60, 0, 6000)] == [1, 10, 0.1]
    assert [suitability.band(gb, ((16, "low"), (64, "medium")), "high") for gb in (1, 16, 64)] == [
        "low",
        "medium",
        "high",
    ]


@given(waiting=st.integers(0, 4), running=st.integers(0, 4), late=st.booleans())
def test_only_lower_ranks_make_room_and_for_others_than_the_top_only_in_need(
    waiting: int, running: int, late: bool
) -> None:
    displaced = displacement.displaces(waiting, running, late, 4)
    assert displaced == (running < waiting and (late or waiting == 4))


def test_late_is_later_than_just_in_time() -> None:
    assert not displacement.is_late(4, 6, 2)
    assert displacement.is_late(4, 5.9, 2)
