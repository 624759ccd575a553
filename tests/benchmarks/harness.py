"""How a row is measured: floor and ours in turns A B A B …, and the median of the ratios of neighbours.

Garbage collection: right before the clock starts everything alive is collected and frozen, so that neither side pays
for what the other, an earlier row or its own preparations left behind; while the clock runs the collector runs too, as
in a server, with the thresholds that Python has, and its time counts. The first round only warms the caches up.
"""

import gc
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

from msgspec import Struct


class Size(StrEnum):
    """How much work a round does."""

    FULL = "full"
    """What the budgets are stated for."""
    QUICK = "quick"
    """A tenth or so of the largest inputs; for a look in between."""
    TINY = "tiny"
    """Just enough to see that the benchmark itself works."""

    def of(self, full: int, quick: int, tiny: int) -> int:
        """The number for this size."""
        return {Size.FULL: full, Size.QUICK: quick, Size.TINY: tiny}[self]


Timed = Callable[[], float]
"""Does one round of work and says how many seconds one unit of it took, preparations left out."""


class Pair(NamedTuple):
    """The two sides of a row, ready to be measured any number of times."""

    floor: Timed
    ours: Timed


class Row(NamedTuple):
    """One line of the table."""

    name: str
    what: str
    floor: str
    """What the ratio stands on."""
    unit: str
    measure: Callable[[Size, Path], AbstractContextManager[Pair]]
    """Prepares both sides at a size, in an empty directory of its own."""
    accept: float | None = None
    """The limit; None for a row that only informs."""
    goal: float | None = None
    faster: bool = False
    """Whether the ratio says how many times faster ours is, rather than how many times the floor's time it takes."""
    rounds: int = 7


class Result(Struct, frozen=True):
    """What came out for a row."""

    name: str
    what: str
    floor: str
    unit: str
    faster: bool
    ratios: list[float]
    """One per round."""
    floor_rate: float
    """Units per second, median."""
    our_rate: float
    accept: float | None
    goal: float | None

    @property
    def ratio(self) -> float:
        """The median that counts."""
        return statistics.median(self.ratios)

    @property
    def best(self) -> float:
        """The ratio of the round that was disturbed least."""
        return max(self.ratios) if self.faster else min(self.ratios)

    @property
    def verdict(self) -> str:
        """`goal`, `ok` (the accept limit holds) or `MISSED`; empty for a row without a limit."""
        if self.accept is None or self.goal is None:
            return ""
        if self._reaches(self.goal, self.ratio):
            return "goal"
        return "ok" if self.within_limit(self.ratio) else "MISSED"

    def within_limit(self, ratio: float) -> bool:
        """Whether a ratio is acceptable; always, for a row without a limit."""
        return self.accept is None or self._reaches(self.accept, ratio)

    def _reaches(self, mark: float, ratio: float) -> bool:
        return ratio >= mark if self.faster else ratio <= mark


def run(row: Row, size: Size, directory: Path, rounds: int | None = None, warm_up: int = 1) -> Result:
    """Measures a row; `rounds` overrides its own number of them."""
    floors: list[float] = []
    ours: list[float] = []
    with row.measure(size, directory) as pair:
        for at in range(warm_up + (rounds or row.rounds)):
            floor, our = pair.floor(), pair.ours()
            if at >= warm_up:
                floors.append(floor)
                ours.append(our)
    ratios = [floor / our if row.faster else our / floor for floor, our in zip(floors, ours, strict=True)]
    return Result(
        name=row.name,
        what=row.what,
        floor=row.floor,
        unit=row.unit,
        faster=row.faster,
        ratios=ratios,
        floor_rate=1 / statistics.median(floors),
        our_rate=1 / statistics.median(ours),
        accept=row.accept,
        goal=row.goal,
    )


def seconds(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    return _timed(work, perf_counter)


def processor_seconds(work: Callable[[], Any]) -> float:
    """How long a call computes: for work that waits for nothing, so that other processes disturb it less."""
    return _timed(work, process_time)


def _timed(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    """What a clock says of a call that pays for its own garbage only."""
    gc.collect()
    gc.freeze()
    try:
        start = clock()
        work()
        return clock() - start
    finally:
        gc.unfreeze()
