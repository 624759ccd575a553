"""Trends: what a series of measurements says about the next one. Pure functions of (time in seconds, value), by time.

Holt's linear method after Holt (1957); least squares as everywhere.
"""

from collections.abc import Callable, Sequence
from math import fsum
from typing import NamedTuple

Point = tuple[float, float]
Predictor = Callable[[float], float | None]


class Trend(NamedTuple):
    """A level at one time, and how it changes per second."""

    at_s: float
    level: float
    slope: float

    def value(self, at_s: float) -> float:
        """The value at another time."""
        return self.level + self.slope * (at_s - self.at_s)


def window_mean(values: Sequence[float], size: int, weights: Sequence[float] | None = None) -> float:
    """The mean of the last `size` values, weighted if there is a weight for each; weights need not sum to 1."""
    last = values[-max(1, min(size, len(values))) :]
    if weights is None or len(weights) != len(last) or not fsum(weights):
        return fsum(last) / len(last)
    return fsum(value * weight for value, weight in zip(last, weights, strict=True)) / fsum(weights)


def holt(points: Sequence[Point], alpha: float, beta: float) -> Trend:
    """Level and trend after exponential smoothing, from the first value and the first difference; at least 2 points."""
    level, step = points[0][1], points[1][1] - points[0][1]
    for _, value in points[1:]:
        before = level
        level = alpha * value + (1 - alpha) * (level + step)
        step = beta * (level - before) + (1 - beta) * step
    spacing_s = (points[-1][0] - points[0][0]) / (len(points) - 1)
    return Trend(points[-1][0], level, step / spacing_s if spacing_s else 0.0)


def least_squares(points: Sequence[Point]) -> Trend | None:
    """The line through the points with the least squared distance; None if all are of one time."""
    count = len(points)
    middle_s = fsum(at_s for at_s, _ in points) / count
    middle = fsum(value for _, value in points) / count
    spread = fsum((at_s - middle_s) ** 2 for at_s, _ in points)
    if not spread:
        return None
    return Trend(middle_s, middle, fsum((at_s - middle_s) * (value - middle) for at_s, value in points) / spread)


class Accuracy(NamedTuple):
    """How far predictions were off."""

    mse: float = 0.0
    mae: float = 0.0
    mape: float = 0.0
    """In percent; true values of zero do not count."""
    r2: float = 0.0


def accuracy(pairs: Sequence[tuple[float, float]]) -> Accuracy:
    """The errors of (true, predicted) pairs; all zero for none."""
    if not pairs:
        return Accuracy()
    count = len(pairs)
    off = [true - predicted for true, predicted in pairs]
    shares = [abs((true - predicted) / true) for true, predicted in pairs if true]
    mean = fsum(true for true, _ in pairs) / count
    spread = fsum((true - mean) ** 2 for true, _ in pairs)
    squares = fsum(each * each for each in off)
    return Accuracy(
        squares / count,
        fsum(abs(each) for each in off) / count,
        100 * fsum(shares) / len(shares) if shares else 0.0,
        1 - squares / spread if spread else 0.0,
    )
