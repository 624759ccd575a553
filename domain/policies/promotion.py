"""Promotion by deadline, readiness by half-done predecessors, ageing and fairness: rules of queues that other programs
keep, as pure functions of ranks and times, with their numbers as parameters.

Ranks are 4 for critical, 3 high, 2 medium, 1 low and 0 for anything below. Times may be in any one unit.
"""

from collections.abc import Iterable, Mapping


def promoted(rank: int, need: float, left: float, margin: float, day: float) -> int:
    """The rank of a job that needs so long and has so much time left, one step up at most.

    Cannot be done in time with the margin: anything rises. Less than a day left: all up to medium. Less than two days
    left: low and below. A rank of 0 rises to low in each of the three cases.
    """
    if need + margin >= left:
        return min(4, rank + 1)
    if left < day:
        return rank + 1 if rank <= 2 else rank
    if left < 2 * day:
        return rank + 1 if rank <= 1 else rank
    return rank


def stands_aside(status: str, progress: float, enough: float = 50.0) -> bool:
    """Whether a predecessor no longer holds its successors back: completed, or running and far enough, in percent."""
    return status == "completed" or (status == "running" and progress >= enough)


def is_ready(before: Iterable[tuple[str, float] | None]) -> bool:
    """Whether none of the predecessors, as (status, percent), holds a job back; one that nobody knows does not."""
    return all(each is None or stands_aside(*each) for each in before)


def inherited(before: Iterable[int], own: int) -> int | None:
    """The highest rank among predecessors if it is above a job's own; else None."""
    highest = max(before, default=own)
    return highest if highest > own else None


def aged(periods: float, factor: float, enough: float = 0.5) -> bool:
    """Whether a job that waited so many periods has waited long enough to rise one level."""
    return periods >= 1 and min(1.0, factor * periods) >= enough


def takes_too_much(share: float, weight: float, limit: float = 0.5) -> bool:
    """Whether an owner's share of the queued jobs is above its limit, which a smaller weight makes larger."""
    return weight > 0 and share > limit / weight


def shares(owners: Iterable[str]) -> Mapping[str, float]:
    """Each owner's share of the jobs whose owners are given."""
    counts: dict[str, int] = {}
    for owner in owners:
        counts[owner] = counts.get(owner, 0) + 1
    total = sum(counts.values())
    return {owner: count / total for owner, count in counts.items()}
