"""Jobs of a render farm in the words of the core: what they wait for."""

from adapters.facades.bridge.desk import Desk
from adapters.facades.bridge.edges import edges_of
from adapters.facades.bridge.jobs import jobs_of

SETTLED = {"completed": "satisfied", "failed": "failed", "cancelled": "failed"}
"""What an edge becomes when its predecessor gets that status."""


class Waits:
    """What jobs wait for, declared as soon as both ends are known, and settled when the first one ends."""

    def __init__(self, desk: Desk) -> None:
        self._jobs, self._edges = jobs_of(desk), edges_of(desk)
        self._statuses: dict[str, str] = {}
        self._before: dict[str, tuple[str, ...]] = {}
        self._after: dict[str, dict[str, None]] = {}
        """Who waits for each job, known or not."""

    def know(self, name: str, status: str, before: tuple[str, ...]) -> None:
        """How a job stood when the log was read back."""
        self._statuses[name], self._before[name] = status, before
        for predecessor in before:
            self._after.setdefault(predecessor, {})[name] = None

    def about(self, name: str, status: str, before: tuple[str, ...]) -> None:
        """What a job is to wait for, before it is seen; a job that runs all the same waits no longer."""
        self.know(name, status, before)
        for predecessor in before:
            self._see(predecessor, name, past_it=status == "running")

    def seen(self, name: str, actor: str) -> None:
        """A job was seen: its own edges can be declared now, and those on it stand as it does."""
        for predecessor in self._before.get(name, ()):
            self._see(predecessor, name, actor=actor)
        for successor in self._after.get(name, ()):
            if name in self._before.get(successor, ()):
                self._see(name, successor, actor=actor)

    def _see(self, before: str, after: str, *, past_it: bool = False, actor: str = "caller") -> None:
        status = self._statuses.get(before)
        if status is None or before == after:
            return
        state = SETTLED.get(status, "pending")
        if state != "satisfied" and (past_it or self._statuses.get(after) == "running"):
            self._edges.see(before, after, "bypassed", actor, "enough of the job before it is done")
        else:
            self._edges.see(before, after, state, actor)
