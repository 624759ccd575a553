"""Dependencies of callers in the words of the core, for jobs that the core knows; others are the caller's alone."""

from adapters.facades.bridge import names
from adapters.facades.bridge.desk import Desk
from adapters.facades.bridge.jobs import Jobs, jobs_of
from domain.dependency import (
    BypassDependency,
    DeclareDependency,
    DependencyType,
    FailDependency,
    ReopenDependency,
    SatisfyDependency,
    dependency_id,
)
from domain.messages import Command


class Edges:
    """All dependencies between jobs that facades of one application have told the core of."""

    def __init__(self, desk: Desk, jobs: Jobs) -> None:
        self._desk, self._jobs = desk, jobs
        self._seen: dict[tuple[str, str], str] = {}

    def see(self, before: str, after: str, state: str, actor: str, why: str = "") -> None:
        """Lays down what an edge between two jobs has become; nothing if one of them is no job of the core."""
        last = self._seen.get((before, after))
        if last == state or not (self._jobs.known(before) and self._jobs.known(after)):
            return
        ids = names.job_id(before), names.job_id(after)
        if last is None:
            declare = DeclareDependency(predecessor_id=ids[0], successor_id=ids[1], type=DependencyType.SEQUENTIAL)
            self._desk.do(declare, actor)
        word = _word(dependency_id(*ids), state, last, why)
        if word is not None:
            self._desk.do(word, actor)
        self._seen[before, after] = state


def _word(edge_id: str, state: str, last: str | None, why: str) -> Command | None:
    if state == "satisfied":
        return SatisfyDependency(dependency_id=edge_id)
    if state == "failed":
        return FailDependency(dependency_id=edge_id, why=why or "its predecessor did not complete")
    if state == "bypassed":
        return BypassDependency(dependency_id=edge_id, why=why)
    return None if last is None else ReopenDependency(dependency_id=edge_id)


def edges_of(desk: Desk) -> Edges:
    """The dependencies of an application, the same for all its facades."""
    return desk.shared(Edges, lambda: Edges(desk, jobs_of(desk)))
