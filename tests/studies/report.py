"""The outcomes of a study for people and for programs: median and worst over the seeds, never the best."""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from tests.studies.farms import Outcome


class _Column(NamedTuple):
    heading: str
    value: Callable[[Outcome], float]
    shown: str
    larger_is_better: bool


_COLUMNS = (
    _Column("on time", lambda each: each.on_time, "{:.1%}", True),
    _Column("utilization", lambda each: each.utilization, "{:.1%}", True),
    _Column("render time", lambda each: each.render_h, "{:,.0f} h", False),
    _Column("makespan", lambda each: each.makespan_h, "{:.1f} h", False),
    _Column("completed", lambda each: each.completed / each.jobs, "{:.1%}", True),
)


def table(outcomes: Sequence[Outcome]) -> str:
    """One row per set of policies; in each cell the median and the worst."""
    rows = [["policies", *(f"{column.heading}: median (worst)" for column in _COLUMNS)]]
    for name in dict.fromkeys(each.policies for each in outcomes):
        own = [each for each in outcomes if each.policies == name]
        rows.append([name, *(_cell(own, column) for column in _COLUMNS)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def _cell(outcomes: Sequence[Outcome], column: _Column) -> str:
    values = [column.value(each) for each in outcomes]
    worst = min(values) if column.larger_is_better else max(values)
    return f"{column.shown.format(statistics.median(values))} ({column.shown.format(worst)})"


class _Target(NamedTuple):
    what: str
    least: float
    values: tuple[float, ...]
    """One per seed."""

    @property
    def missed(self) -> bool:
        """Whether the median is below."""
        return bool(self.values) and statistics.median(self.values) < self.least

    def __str__(self) -> str:
        if not self.values:
            return f"{self.what}: not measured"
        median, worst = statistics.median(self.values), min(self.values)
        short = f"below it on {sum(value < self.least for value in self.values)} of {len(self.values)} seeds"
        return f"{self.what} ≥ {self.least:.0%}: median {median:.2%}, worst {worst:.2%}, {short}"


def _targets(outcomes: Sequence[Outcome]) -> list[_Target]:
    ours = {each.seed: each for each in outcomes if each.policies == "ours"}
    turns = {each.seed: each for each in outcomes if each.policies == "round robin"}
    saved = tuple(1 - ours[seed].render_h / turns[seed].render_h for seed in ours.keys() & turns.keys())
    return [
        _Target("utilization of the scarcest resource while demand lasts", 0.95, _of(ours, "utilization")),
        _Target("feasible deadlines met", 0.99, _of(ours, "on_time")),
        _Target("render time saved against round robin", 0.20, saved),
    ]


def _of(outcomes: dict[int, Outcome], name: str) -> tuple[float, ...]:
    return tuple(getattr(each, name) for each in outcomes.values())


def targets(outcomes: Sequence[Outcome]) -> str:
    """One line per target."""
    return "\n".join(map(str, _targets(outcomes)))


def missed(outcomes: Sequence[Outcome]) -> bool:
    """Whether any target was missed in the median."""
    return any(target.missed for target in _targets(outcomes))


def line(each: Outcome) -> str:
    """One outcome, while others are still to come."""
    return (
        f"seed {each.seed:3} {each.policies:12} {each.met}/{each.feasible} deadlines of {each.deadlines}, "
        f"{each.utilization:.1%} of {each.scarcest} for {each.demand_h:.1f} h, render {each.render_h:,.0f} h "
        f"(lost {each.lost_h:.0f} h), makespan {each.makespan_h:.1f} h, {each.completed}/{each.jobs} jobs"
    )


def as_json(outcomes: Sequence[Outcome]) -> str:
    """All outcomes as one JSON array."""
    return msgspec.json.format(msgspec.json.encode(outcomes), indent=2).decode()
