"""What energy costs: a price by the hour of the day, the power a node draws, and the mode that fits the moment.

The tariff of the core (`domain/tariff.py`) is billed to the millisecond, by windows that may be of some weekdays and go
over midnight. The two prices here are those of programs that know one peak a day, which begins before it ends, and look
at the price again at full hours only: another sum, so neither is a case of the other.

Times of day are seconds since local midnight, prices are per kWh, powers are watts. Pure functions of numbers, so that
a planner, an estimate and a bill agree.
"""

from typing import NamedTuple

DAY_S = 86_400
HOUR_S = 3_600
LEAST_HOURS = 0.1
"""No stretch of one price is taken to be shorter, so that a walk along the day always ends."""


class PeakPrices(NamedTuple):
    """Two prices: one between two times of the day, one for the rest."""

    peak_from_s: int
    peak_until_s: int
    peak_price: float
    off_peak_price: float


def price_at(second: float, prices: PeakPrices) -> float:
    """The price at a time of the day: the peak price from the beginning of the peak until before its end."""
    in_peak = prices.peak_from_s <= second < prices.peak_until_s
    return prices.peak_price if in_peak else prices.off_peak_price


def priced_hours(second: float, hours: float, prices: PeakPrices) -> float:
    """What one kW costs from a time of the day on, for so many hours.

    The price is looked at anew at the full hours in which the peak begins and ends.
    """
    marks = sorted({bound // HOUR_S * HOUR_S for bound in (prices.peak_from_s, prices.peak_until_s)})
    cost, left = 0.0, hours
    while left > 0:
        ahead = next((mark for mark in marks if mark > second), marks[0] + DAY_S)
        stretch = min(left, max(LEAST_HOURS, (ahead - second) / HOUR_S))
        cost += price_at(second, prices) * stretch
        left -= stretch
        second = (second + stretch * HOUR_S) % DAY_S
    return cost


def watts_drawn(watts: float, efficiency: float, saved: float = 0.2) -> float:
    """What a node draws of its profile's watts, given its efficiency of 0..100; the best one saves a fifth."""
    return watts * (1 - efficiency / 100 * saved)


def is_night(hour: int, begins: int = 22, ends: int = 6) -> bool:
    """Whether an hour of the day lies in the night, which begins before midnight and ends after it."""
    return hour >= begins or hour < ends


def mode_for(night: bool, urgent: int, many: int = 5) -> str:
    """Which energy mode fits: by night as thrifty as urgent jobs allow, by day as fast as there are urgent jobs."""
    if night:
        return "efficiency" if urgent else "night_savings"
    if urgent > many:
        return "performance"
    return "balanced" if urgent else "efficiency"


def saved_percent(usual: float, now: float) -> float:
    """How much less energy is drawn than usual, in percent; 0 if usually none is."""
    return (usual - now) / usual * 100 if usual else 0.0
