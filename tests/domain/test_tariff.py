"""What a kilowatt-hour costs: against a walk from minute to minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import PolicyInvalid
from domain.policies import Policies
from domain.tariff import DAY_MIN, HOUR_MS, MINUTE_MS, WEEK_MS, PriceWindow, Tariff

MONDAY_MS = 1_767_571_200_000
"""2026-01-05, 00:00 UTC."""
NIGHT = Tariff(0.30, (PriceWindow(22 * 60, 6 * 60, 0.10),), currency="EUR")

minutes = st.integers(0, DAY_MIN)
windows = st.builds(
    PriceWindow,
    minutes,
    minutes,
    st.sampled_from([0.0, 0.1, 0.25]),
    st.lists(st.integers(0, 6), max_size=3, unique=True).map(tuple),
).filter(lambda window: window.from_min != window.until_min)
tariffs = st.builds(
    Tariff, st.sampled_from([0.2, 0.1]), st.lists(windows, max_size=3).map(tuple), st.sampled_from([0, 60, -330])
)
moments = st.integers(MONDAY_MS // MINUTE_MS, (MONDAY_MS + 2 * WEEK_MS) // MINUTE_MS).map(lambda m: m * MINUTE_MS)


def naive_price(tariff: Tariff, at_ms: int) -> float:
    """The price at a full minute, by looking at every window on its day and the day before."""
    local = at_ms // MINUTE_MS + tariff.utc_offset_min
    day, minute = divmod(local, DAY_MIN)
    for window in tariff.windows:
        until = window.until_min if window.until_min > window.from_min else window.until_min + DAY_MIN
        for back in (0, 1):
            weekday = (day - back + 3) % 7
            if window.from_min <= minute + back * DAY_MIN < until and (not window.days or weekday in window.days):
                return window.price
    return tariff.price


@given(tariffs, moments)
def test_prices_are_those_of_the_windows(tariff: Tariff, at_ms: int) -> None:
    assert tariff.price_at(at_ms) == naive_price(tariff, at_ms)


@given(tariffs, moments, st.integers(0, 3 * DAY_MIN))
def test_the_integral_is_the_sum_over_minutes(tariff: Tariff, from_ms: int, length_min: int) -> None:
    walked = sum(naive_price(tariff, from_ms + k * MINUTE_MS) for k in range(length_min)) / 60
    assert tariff.price_hours(from_ms, from_ms + length_min * MINUTE_MS) == pytest.approx(walked)


@given(tariffs, moments)
def test_the_next_change_is_the_first_minute_of_another_price(tariff: Tariff, at_ms: int) -> None:
    now = naive_price(tariff, at_ms)
    ahead = (at_ms + k * MINUTE_MS for k in range(1, 8 * DAY_MIN))
    found = next((each for each in ahead if naive_price(tariff, each) != now), None)
    assert tariff.next_change_ms(at_ms) == found


def test_weeks_in_between_are_counted_whole() -> None:
    weeks = 40
    a_week = (16 * 0.30 + 8 * 0.10) * 7
    from_ms = MONDAY_MS + 7 * HOUR_MS
    assert NIGHT.price_hours(from_ms, from_ms + weeks * WEEK_MS) == pytest.approx(weeks * a_week)
    assert NIGHT.cost(2_000, from_ms, from_ms + HOUR_MS) == pytest.approx(0.60)


def test_a_single_price_never_changes() -> None:
    assert Tariff(0.2).next_change_ms(MONDAY_MS) is None
    assert not Tariff(0.2, (PriceWindow(0, 60, 0.2),)).varies
    assert NIGHT.varies
    assert NIGHT.lowest == 0.10
    assert Tariff(0.2).price_hours(MONDAY_MS, MONDAY_MS - 1) == 0.0


def test_a_window_without_length_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match="window at 06:30 ends when it begins"):
        Policies(tariff=Tariff(0.2, (PriceWindow(390, 390, 0.1),))).check()
