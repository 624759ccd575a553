"""Draws: what was held and drawn at one place for one owner, as levels that move in steps, with exact integrals.

A draw has one row per quarter of an hour in which it changed: the integrals and the level at its start, and the steps
within it. The integrals up to any millisecond follow from the last row that begins before it. Power is in whole
milliwatts and energy in microjoules; money is summed in double precision, step by step in the order of the log.
"""

from operator import add, sub
from typing import Any, NamedTuple

import msgspec

from domain.node import Attributes
from domain.tariff import HOUR_MS
from projections.bill import Bill

QUARTER_MS = 900_000
PRICE_PER_H = "price_per_h"
"""The attribute of a node that says what each hour in which it is on costs beside energy, in the tariff's currency."""
MW_PER_KW = 1_000_000


class Level(NamedTuple):
    """What is held and drawn at a moment."""

    milliwatts: int = 0
    millicores: int = 0
    gpus: int = 0
    number: int = 0
    """Of attempts; for a node itself 1 while it is on."""
    price_per_h: float = 0.0
    """What the place costs beside energy, in the tariff's currency for each hour."""


class Step(NamedTuple):
    """The level from some milliseconds after the beginning of a quarter on."""

    offset_ms: int
    milliwatts: int
    millicores: int
    gpus: int
    number: int
    price_per_h: float


class Totals(NamedTuple):
    """The integrals of a draw."""

    microjoules: int = 0
    cost: float = 0.0
    """Of that energy, in the tariff's currency."""
    millicore_ms: int = 0
    gpu_ms: int = 0
    count_ms: int = 0
    node_cost: float = 0.0
    """Of the place, beside energy."""

    def plus(self, other: "Totals") -> "Totals":
        """Both together."""
        return Totals(*map(add, self, other))

    def minus(self, other: "Totals") -> "Totals":
        """What came on top of an earlier state."""
        return Totals(*map(sub, self, other))


NOTHING_DRAWN, NO_TOTALS = Level(), Totals()
_encode = msgspec.json.Encoder().encode
_decode_steps = msgspec.json.Decoder(list[Step]).decode


class Quarter(msgspec.Struct, gc=False):
    """A row of `draws`: one draw in one quarter of an hour in which it changed."""

    draw: int
    quarter: int
    before: Totals = NO_TOTALS
    """The integrals up to its beginning."""
    level: Level = NOTHING_DRAWN
    """At its beginning."""
    steps: list[Step] = []
    is_stored: bool = False
    is_changed: bool = False

    @property
    def start_ms(self) -> int:
        """Where the quarter begins."""
        return self.quarter * QUARTER_MS

    def totals_at(self, at_ms: int, bill: Bill) -> Totals:
        """The integrals up to a moment in this quarter, or later if nothing changed in between."""
        return self.state_at(at_ms, bill)[0]

    def state_at(self, at_ms: int, bill: Bill) -> tuple[Totals, Level]:
        """The same, and the level just before that moment."""
        totals, level, from_ms = self.before, self.level, self.start_ms
        for step in self.steps:
            step_ms = self.start_ms + step.offset_ms
            if step_ms >= at_ms:
                break
            totals = _between(totals, level, from_ms, step_ms, bill)
            from_ms, level = step_ms, Level(*step[1:])
        return _between(totals, level, from_ms, at_ms, bill), level

    def last(self) -> Level:
        """The level at its end."""
        return Level(*self.steps[-1][1:]) if self.steps else self.level

    def columns(self) -> tuple[object, ...]:
        """As the table has them. Core-milliseconds, because millicore-milliseconds can outgrow 64 bits."""
        microjoules, cost, millicore_ms, gpu_ms, count_ms, node_cost = self.before
        held = (*divmod(millicore_ms, 1_000), gpu_ms, count_ms)
        return (self.draw, self.quarter, microjoules, cost, *held, node_cost, *self.level, _encode(self.steps).decode())

    @classmethod
    def stored(cls, row: Any) -> "Quarter":
        """The row that the table has."""
        draw, quarter, microjoules, cost, core_ms, rest, gpu_ms, count_ms, node_cost, *level, steps = row
        before = Totals(microjoules, cost, core_ms * 1_000 + rest, gpu_ms, count_ms, node_cost)
        return cls(draw, quarter, before, Level(*level), _decode_steps(steps), is_stored=True)


def _between(totals: Totals, level: Level, from_ms: int, until_ms: int, bill: Bill) -> Totals:
    if until_ms <= from_ms or level == NOTHING_DRAWN:
        return totals
    price_hours = bill.price_hours(from_ms, until_ms) if level.milliwatts else 0.0
    return after(totals, level, until_ms - from_ms, price_hours)


def after(totals: Totals, level: Level, span_ms: int, price_hours: float) -> Totals:
    """The integrals a while later, the level having stood all the time; `price_hours` is the price over that while."""
    microjoules, cost, millicore_ms, gpu_ms, count_ms, node_cost = totals
    milliwatts, millicores, gpus, number, price_per_h = level
    return Totals(
        microjoules + milliwatts * span_ms,
        cost + milliwatts / MW_PER_KW * price_hours,
        millicore_ms + millicores * span_ms,
        gpu_ms + gpus * span_ms,
        count_ms + number * span_ms,
        node_cost + price_per_h * span_ms / HOUR_MS,
    )


class Draw:
    """A level that moves in steps, and its open quarter."""

    __slots__ = ("_bill", "_changed", "_row", "level", "number")

    def __init__(self, number: int, bill: Bill, changed: list[Quarter]) -> None:
        self.number, self.level = number, NOTHING_DRAWN
        self._bill, self._changed = bill, changed
        self._row = Quarter(number, -1)

    def open(self, row: Quarter) -> None:
        """Goes on with a row."""
        self._row, self.level = row, row.last()

    def move(self, at_ms: int, level: Level) -> None:
        """Another level from a moment on. One before the last step counts as that step: time does not go back."""
        row = self._row
        if at_ms >= row.start_ms + QUARTER_MS:
            quarter = at_ms // QUARTER_MS
            row = Quarter(self.number, quarter, row.totals_at(quarter * QUARTER_MS, self._bill), self.level)
            self._row = row
        steps, offset_ms = row.steps, max(0, at_ms - row.start_ms)
        if steps and steps[-1].offset_ms >= offset_ms:
            steps[-1] = Step(steps[-1].offset_ms, *level)
        else:
            steps.append(Step(offset_ms, *level))
        self.level = level
        if not row.is_changed:
            row.is_changed = True
            self._changed.append(row)


def price_per_h_of(attributes: Attributes) -> float:
    """What a node costs beside energy for each hour; 0 if its attribute is not one number of 0 or more."""
    said = attributes.get(PRICE_PER_H, ())
    try:
        price = float(said[0]) if len(said) == 1 else 0.0
    except ValueError:
        return 0.0
    return price if 0 <= price < float("inf") else 0.0
