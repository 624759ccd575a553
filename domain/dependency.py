"""Dependency: an edge predecessor → successor between two jobs, one stream per edge.

SEQUENTIAL: the successor is queued once the predecessor has completed. A failed predecessor fails the edge; a retry of
the predecessor reopens it, and a person can bypass it. The graph stays acyclic: `find_path` is asked before any edge.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

from msgspec.structs import replace

from domain import errors
from domain.messages import Command, DependencyId, Event, JobId, Value


class DependencyType(StrEnum):
    """What the successor waits for."""

    SEQUENTIAL = "sequential"
    DATA = "data"
    RESOURCE = "resource"
    CONDITIONAL = "conditional"
    TEMPORAL = "temporal"


class DependencyState(StrEnum):
    """Whether it still waits."""

    PENDING = "pending"
    SATISFIED = "satisfied"
    FAILED = "failed"
    BYPASSED = "bypassed"


class DependencyDeclared(Event, frozen=True, kw_only=True, tag="dependency.declared"):
    """The successor waits for the predecessor from now on."""

    dependency_id: DependencyId
    predecessor_id: JobId
    successor_id: JobId
    type: DependencyType = DependencyType.SEQUENTIAL


class DependencySatisfied(Event, frozen=True, kw_only=True, tag="dependency.satisfied"):
    """The predecessor has completed."""

    dependency_id: DependencyId
    predecessor_id: JobId
    successor_id: JobId


class DependencyFailed(Event, frozen=True, kw_only=True, tag="dependency.failed"):
    """The predecessor failed or was cancelled: the successor cannot start unless somebody acts."""

    dependency_id: DependencyId
    predecessor_id: JobId
    successor_id: JobId
    why: str


class DependencyBypassed(Event, frozen=True, kw_only=True, tag="dependency.bypassed"):
    """A person decided that the successor need not wait."""

    dependency_id: DependencyId
    predecessor_id: JobId
    successor_id: JobId
    why: str = ""


class DependencyReopened(Event, frozen=True, kw_only=True, tag="dependency.reopened"):
    """The predecessor runs again: the successor waits again."""

    dependency_id: DependencyId
    predecessor_id: JobId
    successor_id: JobId


DependencyEvent = DependencyDeclared | DependencySatisfied | DependencyFailed | DependencyBypassed | DependencyReopened


class DeclareDependency(Command, frozen=True, kw_only=True, tag="declare-dependency"):
    """Let the successor wait for the predecessor."""

    predecessor_id: JobId
    successor_id: JobId
    type: DependencyType = DependencyType.SEQUENTIAL

    @property
    def dependency_id(self) -> DependencyId:
        """The stream of this edge."""
        return dependency_id(self.predecessor_id, self.successor_id)


class SatisfyDependency(Command, frozen=True, kw_only=True, tag="satisfy-dependency"):
    """The predecessor has completed."""

    dependency_id: DependencyId


class FailDependency(Command, frozen=True, kw_only=True, tag="fail-dependency"):
    """The predecessor ended without completing."""

    dependency_id: DependencyId
    why: str


class BypassDependency(Command, frozen=True, kw_only=True, tag="bypass-dependency"):
    """Do not wait."""

    dependency_id: DependencyId
    why: str = ""


class ReopenDependency(Command, frozen=True, kw_only=True, tag="reopen-dependency"):
    """The predecessor runs again."""

    dependency_id: DependencyId


DependencyCommand = DeclareDependency | SatisfyDependency | FailDependency | BypassDependency | ReopenDependency


class Dependency(Value, frozen=True):
    """The state of one edge."""

    dependency_id: DependencyId
    predecessor_id: JobId
    successor_id: JobId
    type: DependencyType = DependencyType.SEQUENTIAL
    state: DependencyState = DependencyState.PENDING

    @property
    def blocks(self) -> bool:
        """Whether the successor must not start because of it."""
        return self.state in (DependencyState.PENDING, DependencyState.FAILED)


def dependency_id(predecessor_id: JobId, successor_id: JobId) -> DependencyId:
    """The one id that an edge between two jobs can have; job ids have no colon, so no two edges share one."""
    return f"dep-{predecessor_id}:{successor_id}"


def decide(edge: Dependency | None, command: DependencyCommand, now_ms: int) -> tuple[DependencyEvent, ...]:
    """An edge is declared once between two different jobs; whether it closes a cycle is asked by the caller."""
    if isinstance(command, DeclareDependency):
        return _declare(edge, command, now_ms)
    if edge is None:
        raise errors.DependencyNotFound(dependency_id=command.dependency_id)
    ids = (now_ms, edge.dependency_id, edge.predecessor_id, edge.successor_id)
    if isinstance(command, SatisfyDependency):
        return (_fact(DependencySatisfied, *ids),) if edge.blocks else ()
    if isinstance(command, FailDependency):
        pending = edge.state is DependencyState.PENDING
        return (_fact(DependencyFailed, *ids, why=command.why),) if pending else ()
    if isinstance(command, BypassDependency):
        return (_fact(DependencyBypassed, *ids, why=command.why),) if edge.blocks else ()
    reopens = edge.state in (DependencyState.SATISFIED, DependencyState.FAILED)
    return (_fact(DependencyReopened, *ids),) if reopens else ()


def _fact(
    kind: Callable[..., DependencyEvent], now_ms: int, edge_id: str, before: str, after: str, **more: str
) -> DependencyEvent:
    return kind(at_ms=now_ms, dependency_id=edge_id, predecessor_id=before, successor_id=after, **more)


def _declare(edge: Dependency | None, command: DeclareDependency, now_ms: int) -> tuple[DependencyEvent, ...]:
    if command.predecessor_id == command.successor_id:
        raise errors.DependencyCycle(
            predecessor_id=command.predecessor_id,
            successor_id=command.successor_id,
            path=command.predecessor_id,
        )
    if edge is not None:
        return ()
    return (
        DependencyDeclared(
            at_ms=now_ms,
            dependency_id=command.dependency_id,
            predecessor_id=command.predecessor_id,
            successor_id=command.successor_id,
            type=command.type,
        ),
    )


_STATE: dict[type[DependencyEvent], DependencyState] = {
    DependencySatisfied: DependencyState.SATISFIED,
    DependencyFailed: DependencyState.FAILED,
    DependencyBypassed: DependencyState.BYPASSED,
    DependencyReopened: DependencyState.PENDING,
}


def evolve(edge: Dependency | None, event: DependencyEvent) -> Dependency:
    """The state after one more fact."""
    if isinstance(event, DependencyDeclared):
        return Dependency(event.dependency_id, event.predecessor_id, event.successor_id, event.type)
    assert edge is not None
    return replace(edge, state=_STATE[type(event)])


def find_path(start: JobId, goal: JobId, successors: Callable[[JobId], Iterable[JobId]]) -> tuple[JobId, ...] | None:
    """A way along the edges from one job to another, both included; None if there is none. O(edges reached)."""
    came_from: dict[JobId, JobId | None] = {start: None}
    stack = [start]
    while stack:
        job_id = stack.pop()
        if job_id == goal:
            return _walk_back(job_id, came_from)
        for successor in successors(job_id):
            if successor not in came_from:
                came_from[successor] = job_id
                stack.append(successor)
    return None


def _walk_back(job_id: JobId, came_from: dict[JobId, JobId | None]) -> tuple[JobId, ...]:
    path: list[JobId] = []
    step: JobId | None = job_id
    while step is not None:
        path.append(step)
        step = came_from[step]
    return tuple(reversed(path))
