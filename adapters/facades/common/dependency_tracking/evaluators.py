"""Who judges whether a dependency still holds something back: built-in types, and those that callers register."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from common.core.enums import DependencyState, DependencyType
from common.core.jobs import Dependency
from common.core.ranks import word_of
from common.dependency_tracking.graph import DependencyGraph
from common.hooks import enter

Statuses = Mapping[str, Any]
Evaluator = Callable[[Dependency, Statuses, datetime], DependencyState]
Predicate = Callable[[Dependency, Statuses], bool]


class Evaluators:
    """The hooks of one tracker."""

    def __init__(self) -> None:
        self.types: dict[str, Evaluator] = {}
        self.conditions: dict[str, Predicate] = {}

    def register_type(self, name: str, evaluator: Evaluator) -> None:
        """A type of dependency by name; ConfigurationError if it is taken."""
        enter({**{kind.value: kind for kind in DependencyType}, **self.types}, name, evaluator, "dependency type")
        self.types[name] = evaluator

    def register_condition(self, name: str, predicate: Predicate) -> None:
        """A condition by name; ConfigurationError if it is taken."""
        enter(self.conditions, name, predicate, "condition")

    def decides_alone(self, record: Dependency) -> bool:
        """Whether the end of its predecessor says nothing yet about a dependency."""
        kind = word_of(record.dependency_type)
        if kind in self.types:
            return True
        if kind == DependencyType.CONDITIONAL:
            return record.condition in self.conditions
        return kind == DependencyType.TEMPORAL and _moment(record.condition) is not None

    def judge(
        self,
        record: Dependency,
        graph: DependencyGraph,
        statuses: Statuses,
        done: Mapping[str, datetime],
        now: datetime,
    ) -> DependencyState:
        """The state that a pending dependency should have."""
        kind = word_of(record.dependency_type)
        if kind in self.types:
            return DependencyState(self.types[kind](record, statuses, now))
        return DependencyState.SATISFIED if self._holds(kind, record, graph, statuses, done, now) else record.state

    def _holds(
        self,
        kind: str,
        record: Dependency,
        graph: DependencyGraph,
        statuses: Statuses,
        done: Mapping[str, datetime],
        now: datetime,
    ) -> bool:
        if kind == DependencyType.CONDITIONAL:
            predicate = self.conditions.get(record.condition or "")
            return predicate is not None and bool(predicate(record, statuses))
        if kind == DependencyType.TEMPORAL:
            return _has_come(record, done, now)
        node: Mapping[str, Any] = graph.nodes.get(record.from_id) or {}
        if kind == DependencyType.DATA and record.condition in node.get("outputs", ()):
            return True
        if kind == DependencyType.RESOURCE and node.get("released"):
            return True
        return kind != DependencyType.RESOURCE and word_of(statuses.get(record.from_id)) == "completed"


def _has_come(record: Dependency, done: Mapping[str, datetime], now: datetime) -> bool:
    moment = _moment(record.condition)
    if isinstance(moment, datetime):
        return now >= moment
    completed = done.get(record.from_id)
    return completed is not None and now - completed >= (moment or timedelta(0))


def _moment(condition: str | None) -> datetime | timedelta | None:
    """A condition of time: so many seconds after the predecessor's completion, or an ISO time; None for neither."""
    if condition is None:
        return None
    try:
        return timedelta(seconds=float(condition))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(condition)
    except ValueError:
        return None
