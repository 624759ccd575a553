"""How sure a forecast is: normal distributions of run times, of the latest of several ends, of what already runs.

Errors of predicted run times are taken as normal, with the mean error that was measured: a normal variable is off by
sqrt(2/pi) of its standard deviation on average. A prediction is the mean of two past runs (`indices.performance`), so
that, for independent runs of the same kind, a third of its error's variance is that mean's own: common to all runs
that are predicted from it, while two thirds are each run's. Durations are in ms, variances in ms².
"""

import math
from typing import NamedTuple

CONFIDENCE = 0.9
"""The share of ends that is meant to lie within a stated interval, half of the others before it and half after."""
WIDTH = 1.6448536269514722
"""So many standard deviations on both sides hold that share of a normal distribution."""
COMMON_SHARE = 1 / 3
"""The part of the variance of a prediction's error that is the same for all runs predicted from it."""
UNCHECKED = 0.5
"""Beside the measured errors one more is counted, of this part of the prediction, so that few of them are no proof."""
FAR = 2.0
"""An attempt that has outlived its prediction by so many standard deviations is no longer taken as one of its kind."""

_PER_MEAN_ERROR = math.sqrt(math.pi / 2)
_ROOT_2 = math.sqrt(2)
_ROOT_2_PI = math.sqrt(2 * math.pi)


class Run(NamedTuple):
    """How long attempts of a kind run."""

    mean_ms: float
    own: float = 0.0
    """Variance of one run about what all of them have in common."""
    common_ms: float = 0.0
    """Standard deviation of what they have in common."""

    @property
    def deviation_ms(self) -> float:
        """Standard deviation of one run about its prediction."""
        return math.sqrt(self.own + self.common_ms**2)


def run_of(predicted_ms: int, checked: int, missed_ms: int, most_ms: int | None = None) -> Run:
    """The distribution of a run: its prediction, how many were checked, the sum of their errors, and the walltime."""
    error_ms = (missed_ms + UNCHECKED * predicted_ms) / (checked + 1)
    mean_ms = max(1, predicted_ms if most_ms is None else min(predicted_ms, most_ms))
    return _split(mean_ms, (error_ms * _PER_MEAN_ERROR) ** 2)


def _split(mean_ms: float, variance: float) -> Run:
    return Run(mean_ms, (1 - COMMON_SHARE) * variance, math.sqrt(COMMON_SHARE * variance))


def outlived(run: Run, lived_ms: int, most_ms: int | None = None) -> Run:
    """The distribution of the whole run of an attempt that has lived so long already; `most_ms` is its walltime.

    A normal distribution cut off below (Johnson, Kotz & Balakrishnan 1994, 13.10); far beyond it the attempt is
    expected to be half way, because then it is not what was predicted.
    """
    deviation_ms = run.deviation_ms
    over = (lived_ms - run.mean_ms) / deviation_ms if deviation_ms > 0 else math.inf
    if deviation_ms <= 0 and lived_ms < run.mean_ms:
        return run
    if over > FAR:
        cut = _split(2 * lived_ms, (lived_ms / 2) ** 2)
    elif over < -4:
        return run
    else:
        hazard = _density(over) / above(over)
        cut = _split(
            run.mean_ms + deviation_ms * hazard, deviation_ms**2 * max(0.0, 1 + over * hazard - hazard * hazard)
        )
    if most_ms is not None and cut.mean_ms > most_ms:
        return cut._replace(mean_ms=max(lived_ms, most_ms))
    return cut


def above(deviations: float) -> float:
    """The chance that a normal variable lies so many standard deviations above its mean, or more."""
    return 0.5 * math.erfc(deviations / _ROOT_2)


def late(deadline_ms: int, end_ms: float, deviation_ms: float) -> float:
    """The chance that something ends after its deadline, from the mean and the deviation of its end."""
    if deviation_ms <= 0:
        return 1.0 if end_ms > deadline_ms else 0.0
    return above((deadline_ms - end_ms) / deviation_ms)


def latest(first_ms: float, first: float, second_ms: float, second: float) -> tuple[float, float]:
    """Mean and variance of the later of two independent normal moments, from theirs (Clark 1961)."""
    spread = math.sqrt(first + second)
    if spread <= 0 or abs(first_ms - second_ms) > 6 * spread:
        return (first_ms, first) if first_ms >= second_ms else (second_ms, second)
    distance = (first_ms - second_ms) / spread
    weight, density = above(-distance), _density(distance)
    gain_ms = first_ms - second_ms  # from the second moment, so that large times lose no digits
    mean = gain_ms * weight + spread * density
    square = (gain_ms * gain_ms + first) * weight + second * (1 - weight) + gain_ms * spread * density
    return second_ms + mean, max(0.0, square - mean * mean)


def latest_of(count: int, end_ms: float, variance: float) -> tuple[float, float]:
    """Mean and variance of the latest of so many alike, by halves: each step takes the later of two equal groups."""
    found = single = (end_ms, variance)
    for bit in bin(count)[3:]:
        found = latest(*found, *found)
        if bit == "1":
            found = latest(*found, *single)
    return found


def _density(deviations: float) -> float:
    return math.exp(-0.5 * deviations * deviations) / _ROOT_2_PI
