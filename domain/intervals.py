"""Which tasks: canonical sets of task numbers written as intervals, such as `1-40,90`.

A set is its canonical text: sorted, disjoint, never touching, without spaces. Equal sets are equal strings, they hash,
they are readable in the log, and a thousand frames cost a few bytes. The notation is that of array jobs (Slurm, PBS)
and of frame ranges. Every operation costs the number of intervals, never the number of tasks.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeAlias

TaskSet: TypeAlias = str
Interval: TypeAlias = tuple[int, int]

EMPTY: TaskSet = ""
_TOKEN = re.compile(r"\s*(-?\d+)(?:\s*-\s*(-?\d+)(?:\s*:\s*(\d+))?)?\s*")
MAX_TASKS = 1_000_000


@lru_cache(maxsize=65_536)
def intervals(tasks: TaskSet) -> tuple[Interval, ...]:
    """The intervals of a canonical set, both ends included."""
    if not tasks:
        return ()
    out = []
    for part in tasks.split(","):
        low, dash, high = part.partition("-") if part[0] != "-" else _split_negative(part)
        out.append((int(low), int(high if dash else low)))
    return tuple(out)


def _split_negative(part: str) -> tuple[str, str, str]:
    low, dash, high = part[1:].partition("-")
    return "-" + low, dash, high


def parse(text: str) -> TaskSet:
    """Canonical form of what a person wrote: `1-10`, `1-10:2` (every second); ValueError says what is wrong."""
    found: list[Interval] = []
    total = 0
    for part in text.split(","):
        match = _TOKEN.fullmatch(part)
        if match is None:
            raise ValueError(f"{part.strip()!r} is not a task number or range such as 1-40 or 1-40:2")
        low, high, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if high < low or step < 1:
            raise ValueError(f"range {part.strip()!r} runs backwards")
        total += (high - low) // step + 1
        if total > MAX_TASKS:
            raise ValueError(f"more than {MAX_TASKS} tasks in one job")
        found.extend([(low, high)] if step == 1 else [(n, n) for n in range(low, high + 1, step)])
    return _join(_merge(sorted(found)))


@lru_cache(maxsize=4_096)
def is_canonical(tasks: TaskSet) -> bool:
    """Whether this is a set that is not empty, in the form that all functions here take and give."""
    try:
        return parse(tasks) == tasks
    except ValueError:
        return False


def of(numbers: Iterable[int]) -> TaskSet:
    """The set of some task numbers, in any order."""
    return _join(_merge(sorted((n, n) for n in numbers)))


def single(number: int) -> TaskSet:
    """The set of one task."""
    return str(number)


def size(tasks: TaskSet) -> int:
    """How many tasks."""
    if not tasks:
        return 0
    if tasks.isdigit():
        return 1
    return sum(high - low + 1 for low, high in intervals(tasks))


def members(tasks: TaskSet) -> Iterator[int]:
    """The task numbers, ascending."""
    for low, high in intervals(tasks):
        yield from range(low, high + 1)


def contains(tasks: TaskSet, number: int) -> bool:
    """Whether one task is in the set."""
    return any(low <= number <= high for low, high in intervals(tasks))


def union(left: TaskSet, right: TaskSet) -> TaskSet:
    """Tasks in either set."""
    if not left or left == right:
        return right
    if not right:
        return left
    return _join(_merge(sorted(intervals(left) + intervals(right))))


def difference(left: TaskSet, right: TaskSet) -> TaskSet:
    """Tasks of the left set that are not in the right one."""
    if not left or left == right:
        return EMPTY
    if not right:
        return left
    out: list[Interval] = []
    holes, at = intervals(right), 0
    for start, end in intervals(left):
        low = start
        while at < len(holes) and holes[at][0] <= end:
            hole_low, hole_high = holes[at]
            if hole_low > low:
                out.append((low, hole_low - 1))
            low = max(low, hole_high + 1)
            if hole_high > end:
                break  # it reaches into the next interval
            at += 1
        if low <= end:
            out.append((low, end))
    return _join(out)


def take(tasks: TaskSet, count: int) -> TaskSet:
    """The first `count` tasks, or all if there are fewer."""
    out: list[Interval] = []
    for low, high in intervals(tasks):
        if count <= 0:
            break
        last = min(high, low + count - 1)
        out.append((low, last))
        count -= last - low + 1
    return _join(out)


@lru_cache(maxsize=1_024)
def every(tasks: TaskSet, nth: int) -> TaskSet:
    """The first of them, every nth after it, and the last; all of them for nth = 1."""
    numbers = list(members(tasks))
    return tasks if nth <= 1 else of([*numbers[::nth], *numbers[-1:]])


def intersection(left: TaskSet, right: TaskSet) -> TaskSet:
    """Tasks in both sets."""
    return difference(left, difference(left, right))


def first(tasks: TaskSet) -> int:
    """The lowest task number of a set that is not empty."""
    return intervals(tasks)[0][0]


def _merge(spans: list[Interval]) -> list[Interval]:
    """Joins what overlaps or touches in a sorted list."""
    out: list[Interval] = []
    for low, high in spans:
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out


def _join(spans: Iterable[Interval]) -> TaskSet:
    return ",".join([str(low) if low == high else f"{low}-{high}" for low, high in spans])
