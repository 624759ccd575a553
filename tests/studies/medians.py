"""Tables of a study: one row per set of policies, in each cell the median over the seeds and the worst."""

import statistics
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar


class Measured(Protocol):
    """What came of one seed under one set of policies."""

    @property
    def seed(self) -> int:
        """Which seed."""
        ...

    @property
    def policies(self) -> str:
        """The name of the set."""
        ...


M = TypeVar("M", bound=Measured)


class Column(NamedTuple, Generic[M]):
    """One measure."""

    heading: str
    value: Callable[[M], float]
    shown: str
    """How a value is written, such as `{:.1%}`."""
    larger_is_better: bool


class Must(NamedTuple, Generic[M]):
    """What holds on every seed, or something is wrong."""

    what: str
    holds: Callable[[M], bool]


def table(outcomes: Sequence[M], columns: Sequence[Column[M]]) -> str:
    """The table, as Markdown."""
    rows = [["policies", *(f"{column.heading}: median (worst)" for column in columns)]]
    for name in dict.fromkeys(each.policies for each in outcomes):
        own = [each for each in outcomes if each.policies == name]
        rows.append([name, *(_cell(own, column) for column in columns)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def _cell(outcomes: Sequence[M], column: Column[M]) -> str:
    values = [column.value(each) for each in outcomes]
    worst = min(values) if column.larger_is_better else max(values)
    return f"{column.shown.format(statistics.median(values))} ({column.shown.format(worst)})"


def broken(outcomes: Sequence[M], musts: Sequence[Must[M]]) -> list[str]:
    """Which musts do not hold, and where."""
    return [
        f"seed {each.seed}, {each.policies}: not {must.what}"
        for must in musts
        for each in outcomes
        if not must.holds(each)
    ]
