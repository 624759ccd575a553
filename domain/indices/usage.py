"""What clients have used lately: seconds of cores and GPUs held, each counting less the longer ago it is.

Use decays with a half-life H, as in the fair share of Slurm and of Maui before it (Jackson, Snell & Clement 2001): a
second that ended t ago counts 2^(-t/H). A client that holds a level L for dt adds L · H/ln 2 · (1 - 2^(-dt/H)) to what
the time before left, times 2^(-dt/H). Sums are brought up to date only when a level changes, in the order of the log
and in double precision, so that a replay gives the very same numbers. Followed only while the sharing policy in force
keeps guarantees; a farm without it pays nothing.
"""

from collections.abc import Iterable, Mapping
from math import exp, expm1, log
from typing import Any

from domain.intervals import size
from domain.job import events as e
from domain.job.values import Job, JobSpec
from domain.messages import ClientId, Event, Value
from domain.policies import Policies
from domain.policies.sharing import in_force

LN2 = log(2)
HOUR_MS = 3_600_000


class Used(Value, frozen=True):
    """What one client had used by `at_ms`, and the level that it has held since."""

    at_ms: int
    millicores: int = 0
    gpus: int = 0
    core_s: float = 0.0
    gpu_s: float = 0.0

    def after(self, at_ms: int, half_life_ms: float) -> "Used":
        """The same a while later; a moment before changes nothing, because time does not go back."""
        span_ms = at_ms - self.at_ms
        if span_ms <= 0:
            return self
        decay = span_ms * LN2 / half_life_ms
        left, seconds = exp(-decay), -expm1(-decay) * half_life_ms / LN2 / 1000
        return Used(
            at_ms,
            self.millicores,
            self.gpus,
            self.core_s * left + self.millicores / 1000 * seconds,
            self.gpu_s * left + self.gpus * seconds,
        )


NEVER_USED = Used(0)


class UsageState(Value, frozen=True):
    """All of it, as a farm snapshot keeps it."""

    half_life_ms: float | None = None
    clients: dict[ClientId, Used] = {}


class Usage:
    """What all clients have used lately."""

    __slots__ = ("clients", "half_life_ms", "held")

    def __init__(self, state: UsageState | None = None, jobs: Iterable[Job] = ()) -> None:
        self.half_life_ms: float | None = None if state is None else state.half_life_ms
        """None while nobody wants to know."""
        self.clients: dict[ClientId, Used] = {} if state is None else dict(state.clients)
        self.held: dict[tuple[ClientId, int | None], tuple[int, int]] = {}
        """Millicores and GPUs held now, by client and requested walltime."""
        if self.half_life_ms is not None:
            self._hold(jobs)

    def state(self) -> UsageState:
        """As a farm snapshot keeps it."""
        return UsageState(self.half_life_ms, dict(sorted(self.clients.items())))

    def follow(self, policies: Policies, at_ms: int, jobs: Iterable[Job]) -> None:
        """Other policies are in force: with another half-life from now on, from nothing, or not any more."""
        half_life_ms = half_life_of(policies)
        if half_life_ms == self.half_life_ms:
            return
        if half_life_ms is None:
            self.clients, self.held = {}, {}
        elif self.half_life_ms is None:
            self._hold(jobs)
            self.clients = self._levels(at_ms)
        else:
            before_ms = self.half_life_ms
            self.clients = {key: used.after(at_ms, before_ms) for key, used in self.clients.items()}
        self.half_life_ms = half_life_ms

    def note(self, before: Job, event: Any) -> None:
        """Attempts of a job began or ended to hold their resources; `before` is the job just before that."""
        cores, gpus = held_change(before, event)
        spec = before.spec
        need, slots = spec.requirement.resources, spec.requirement.slots
        millicores, gpus = need.millicores * slots * cores, need.gpus * slots * gpus
        known = self.of(spec.client_id, event.at_ms)
        self.clients[spec.client_id] = Used(
            known.at_ms, known.millicores + millicores, known.gpus + gpus, known.core_s, known.gpu_s
        )
        self._add(spec, millicores, gpus)

    def _add(self, spec: JobSpec, millicores: int, gpus: int) -> None:
        key = (spec.client_id, spec.walltime_ms)
        before = self.held.get(key, (0, 0))
        after = (before[0] + millicores, before[1] + gpus)
        if after == (0, 0):
            self.held.pop(key, None)
        else:
            self.held[key] = after

    def _hold(self, jobs: Iterable[Job]) -> None:
        """Counts what is live."""
        for job in jobs:
            if job.live:
                need, slots = job.spec.requirement.resources, job.spec.requirement.slots
                on = sum([attempt.suspended_at_ms is None for attempt in job.live.values()])
                self._add(job.spec, need.millicores * slots * on, need.gpus * slots * len(job.live))

    def _levels(self, at_ms: int) -> dict[ClientId, Used]:
        """What clients hold at a moment, and nothing from before."""
        sums: dict[ClientId, tuple[int, int]] = {}
        for (client_id, _), (millicores, gpus) in self.held.items():
            before = sums.get(client_id, (0, 0))
            sums[client_id] = (before[0] + millicores, before[1] + gpus)
        return {client_id: Used(at_ms, *sums[client_id]) for client_id in sorted(sums)}

    def of(self, client_id: ClientId, at_ms: int) -> Used:
        """What a client has used by some moment from now on."""
        if self.half_life_ms is None:
            return NEVER_USED
        return self.clients.get(client_id, NEVER_USED).after(at_ms, self.half_life_ms)


def held_change(before: Job, event: Any) -> tuple[int, int]:
    """How many more tasks of a job hold their cores, and their GPUs, after a fact of `MOVING`; negative for fewer."""
    change: tuple[int, int] = _CHANGES[type(event)](before, event)
    return change


def half_life_of(policies: Policies) -> float | None:
    """The half-life in force, in milliseconds; None where use is not remembered."""
    lending = in_force(policies)
    return None if lending is None else lending.half_life_h * HOUR_MS


def fair_share(used: float, share: float) -> float:
    """2^(-used / share), 0..1: 1 for who has used nothing, 1/2 for who has used just its share (Slurm's classic rule).

    Both are parts of a whole, 0..1: of all that was used lately, and of the farm. Who has no share has 0 once it has
    used anything.
    """
    if used <= 0:
        return 1.0
    return 0.0 if share <= 0 else exp(-LN2 * used / share)


def _placed(before: Job, event: e.TasksPlaced) -> tuple[int, int]:
    tasks = sum([size(placement.tasks) for placement in event.placements])
    return tasks, tasks


def _ended(before: Job, event: e.TasksSucceeded | e.TasksFailed | e.TasksStopped) -> tuple[int, int]:
    return _gone(before, [end.attempt for end in event.ends])


def _lost(before: Job, event: e.TasksLost) -> tuple[int, int]:
    return _gone(before, event.attempts)


def _gone(before: Job, numbers: Iterable[int]) -> tuple[int, int]:
    """A suspended attempt has given its cores back before."""
    attempts = [before.live[number] for number in numbers]
    return -sum([attempt.suspended_at_ms is None for attempt in attempts]), -len(attempts)


def _suspended(before: Job, event: e.TasksSuspended) -> tuple[int, int]:
    return -len(event.attempts), 0


def _resumed(before: Job, event: e.TasksResumed) -> tuple[int, int]:
    return len(event.attempts), 0


_CHANGES: Mapping[type[Event], Any] = {
    e.TasksPlaced: _placed,
    e.TasksSucceeded: _ended,
    e.TasksFailed: _ended,
    e.TasksStopped: _ended,
    e.TasksLost: _lost,
    e.TasksSuspended: _suspended,
    e.TasksResumed: _resumed,
}
MOVING = frozenset(_CHANGES)
"""What changes how much somebody holds; (tasks that hold cores, tasks that hold GPUs) more than before."""
