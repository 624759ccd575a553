"""Strategies of callers and of the core: what a scheduler leaves to them, and decides itself without their answer."""

from abc import ABC
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from adapters.facades.bridge import times
from adapters.facades.bridge.planning import Contender, Room, known_names, placed, policies_named
from common.core.enums import NodeStatus
from common.core.exceptions import ConfigurationError
from common.core.ranks import word_of
from common.hooks import guarded
from common.seeing import needed, resources_of
from domain.errors import PolicyInvalid
from domain.policies import Policies

A = TypeVar("A")
_MS = timedelta(milliseconds=1)


class SchedulingStrategy(ABC):  # noqa: B024 (each method may be left out; then the scheduler's own rule is used)
    """What a scheduler asks: any object with some of these methods will do, and a missing one leaves the default."""

    def order(self, jobs: list[Any], now: datetime) -> list[Any]:
        """The jobs in the order in which they are looked at."""
        raise NotImplementedError

    def choose_node(self, job: Any, nodes: list[Any]) -> Any | None:
        """One of these free and suitable nodes, or None to let the job wait."""
        raise NotImplementedError

    def choose_victim(self, pending: Any, candidates: list[Any]) -> Any | None:
        """One of these running jobs that shall give way, or None."""
        raise NotImplementedError


def asked(strategy: Any, name: str, default: Callable[..., A], *args: Any) -> A:
    """The answer of a strategy; the default's if it has none, leaves it out, or fails."""
    method = getattr(strategy, name, None)
    if method is None or getattr(type(strategy), name, None) is getattr(SchedulingStrategy, name):
        return default(*args)
    ask: Callable[..., A] = method
    return guarded(f"{name} of strategy {name_of(strategy)}", ask, *args, instead=lambda: default(*args))


def name_of(strategy: Any) -> str:
    """By which name a strategy is recorded."""
    if strategy is None:
        return "common"
    return strategy if isinstance(strategy, str) else str(getattr(strategy, "name", type(strategy).__name__))


def core_policies(name: str) -> Policies:
    """The policies of a name in the core's registry; ConfigurationError with the known names for any other."""
    policies = policies_named(name)
    if policies is None:
        raise ConfigurationError(f"there is no scheduling policy {name!r}; known are {', '.join(known_names())}")
    try:
        policies.check()
    except PolicyInvalid as error:
        raise ConfigurationError(f"scheduling policy {name!r} cannot be used alone: {error}") from error
    return policies


def planned_by_core(
    policies: Policies,
    eligible: Sequence[Any],
    jobs: Sequence[Any],
    nodes: Sequence[Any],
    word: Callable[[Any], str],
    now_ms: int,
) -> dict[str, str]:
    """What the core's planner would place, one job on each node that is online and free."""
    online = [node for node in nodes if node.get_status() is NodeStatus.ONLINE]
    where = {job_id: node.id for node in online for job_id in node.get_assigned_jobs()[:1]}
    running = [_contender(job, word(job), where[job.id]) for job in jobs if job.id in where]
    waiting = [_contender(job, word(job), None) for job in eligible if job.id not in where]
    known = {each.node for each in running}
    rooms = [
        Room(node.id, resources_of(node.get_capacity()))
        for node in online
        if not node.get_assigned_jobs() or node.id in known
    ]
    return placed(policies, [*running, *waiting], rooms, now_ms)


def _contender(job: Any, priority: str, node: str | None) -> Contender:
    duration = job.get_estimated_duration()
    left = None if duration is None else duration * (1 - job.get_progress() / 100)
    return Contender(
        name=job.id,
        client=job.get_owner(),
        priority=word_of(priority),
        resources=needed(job.get_requirements()),
        submitted=max(job.get_submission_time(), times.local(0)),
        deadline=job.get_deadline(),
        lasts_ms=None if left is None else max(1, left // _MS),
        node=node,
    )
