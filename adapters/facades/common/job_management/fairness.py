"""How much each owner has had, by several measures."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from common.core.enums import FairnessMetric, ResourceType
from common.core.needs import Amounts, summed
from common.core.ranks import word_of

TERMINAL = ("completed", "failed", "cancelled")


class Started:
    """A job that left the queue to run."""

    __slots__ = ("amounts", "at", "job", "owner", "until")

    def __init__(self, job: Any, at: datetime, owner: str = "", amounts: Amounts | None = None) -> None:
        self.job, self.at = job, at
        self.owner = owner or job.get_owner()
        self.amounts: Amounts = summed(job.get_requirements()) if amounts is None else amounts
        self.until: datetime | None = None
        """When it was first seen to have ended."""

    def hours(self, now: datetime) -> float:
        """How long it has run."""
        if self.until is None and self.job is not None and word_of(self.job.get_status()) in TERMINAL:
            self.until = getattr(self.job, "end_time", None) or now
        return max(0.0, ((self.until or now) - self.at).total_seconds() / 3600)


def usage(
    metric: FairnessMetric, started: Iterable[Started], waiting: Iterable[tuple[str, datetime]], now: datetime
) -> Mapping[str, float]:
    """What each owner has had; owners that are not named have had nothing. `waiting`: owner and submit time."""
    begun, queued = list(started), list(waiting)
    measures: dict[FairnessMetric, Callable[[], dict[str, float]]] = {
        FairnessMetric.JOB_COUNT: lambda: _sum((each.owner, 1.0) for each in begun),
        FairnessMetric.WAIT_TIME: lambda: _sum((owner, -(now - at).total_seconds()) for owner, at in queued),
        FairnessMetric.CPU_TIME: lambda: _sum(
            (each.owner, each.amounts.get(ResourceType.CPU, 0.0) * each.hours(now)) for each in begun
        ),
        FairnessMetric.RESOURCE_SHARE: lambda: _resource_share(begun),
    }
    if metric in measures:
        return measures[metric]()
    scaled = [_scaled(measure()) for measure in measures.values()]
    owners = {owner for table in scaled for owner in table}
    return {owner: sum(table.get(owner, 0.0) for table in scaled) / len(scaled) for owner in owners}


def _sum(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for owner, amount in parts:
        total[owner] = total.get(owner, 0.0) + amount
    return total


def _resource_share(begun: list[Started]) -> dict[str, float]:
    """The mean over the types of the share of all that was asked for of a type."""
    whole = _sum((kind.value, amount) for each in begun for kind, amount in each.amounts.items())
    kinds = [kind for kind, amount in whole.items() if amount > 0]
    return _sum(
        (each.owner, amount / whole[kind.value] / len(kinds))
        for each in begun
        for kind, amount in each.amounts.items()
        if kind.value in kinds
    )


def _scaled(table: dict[str, float]) -> dict[str, float]:
    """The values as 0..1 between the least and the most."""
    if not table:
        return {}
    least, most = min(0.0, *table.values()), max(0.0, *table.values())
    return {owner: (value - least) / (most - least) if most > least else 0.0 for owner, value in table.items()}
