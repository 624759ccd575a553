"""What forecasts are made of: how long attempts run at best, as expected and at worst, and who may start from when."""

from enum import Enum
from heapq import heappop, heappush
from itertools import count

from domain.farm import Farm
from domain.indices.performance import Performance, kind_of
from domain.job.values import Attempt, Job
from domain.messages import ClientId
from domain.planning.closures import Gaps
from domain.planning.limits import Limits
from domain.planning.openings import Opening, Outlook
from domain.policies.estimate import predicted_ms
from domain.resources import Requirement

ERRORS_LATE = 2
"""A run that nobody limited ends no later than its prediction and so many mean errors: 19 of 20, were errors normal."""


class Bound(Enum):
    """Which of three answers is asked for."""

    EARLIEST = "earliest"
    EXPECTED = "expected"
    LATEST = "latest"


def run_ms(performance: Performance, job: Job, bound: Bound) -> int | None:
    """How long an attempt of a job runs, at least 1; None when nobody knows.

    As long as requested at worst; as past runs predict it, less their mean error at best. A single past run may be off
    by all of itself. Without any the walltime is expected, and nothing at all is the best.
    """
    spec = job.spec
    if bound is Bound.LATEST and spec.walltime_ms is not None:
        return spec.walltime_ms
    known_ms = performance.predicted_ms(spec.client_id, kind_of(spec))
    if known_ms is None:
        return 1 if bound is Bound.EARLIEST else spec.walltime_ms
    error_ms = performance.error_ms(spec.client_id, kind_of(spec))
    error_ms = known_ms if error_ms is None else error_ms
    off_ms = {Bound.EARLIEST: -error_ms, Bound.EXPECTED: 0, Bound.LATEST: ERRORS_LATE * error_ms}[bound]
    return predicted_ms(known_ms + off_ms, spec.walltime_ms)


def end_ms(performance: Performance, job: Job, attempt: Attempt, now_ms: int, bound: Bound) -> int | None:
    """When a live attempt ends; None when nobody knows, as while it is paused.

    One that has outlived its prediction is expected to be half way; one that was told to end does so within its grace.
    """
    walltime_ms = job.spec.walltime_ms
    if job.paused:
        return None
    if attempt.stopping is not None:
        return now_ms + (job.spec.grace_ms if bound is Bound.LATEST else 0)
    lasts_ms = run_ms(performance, job, bound)
    lived_ms = max(0, now_ms - attempt.placed_ms - job.paused_ms)
    if lasts_ms is not None and lived_ms >= lasts_ms:
        if bound is Bound.EARLIEST:
            return now_ms
        if bound is Bound.LATEST and walltime_ms is None:
            return None
        lasts_ms = predicted_ms(2 * lived_ms, walltime_ms)
    return None if lasts_ms is None else attempt.placed_ms + job.paused_ms + lasts_ms


class Bookings(Outlook):
    """Reservations that may be asked to begin no earlier than some moment."""

    def reserve_from(
        self, from_ms: int, requirement: Requirement, nodes: int, run_ms: int | None, gaps: Gaps | None = None
    ) -> Opening | None:
        """As `reserve`, but not before a moment; what others of the same kind get is not changed by that."""
        kind = (requirement, nodes, run_ms, gaps and gaps.kind)
        known_ms = self._not_before.get(kind, self._now_ms)
        if from_ms <= known_ms:
            return self.reserve(requirement, nodes, run_ms, gaps)
        self._not_before[kind] = from_ms
        opening = self.reserve(requirement, nodes, run_ms, gaps)
        self._not_before[kind] = known_ms
        return opening


class Shares:
    """When clients with a limit have room within it, while their tasks come and go."""

    def __init__(self, farm: Farm, now_ms: int) -> None:
        self._limits, self._now_ms = Limits(farm), now_ms
        self._numbers = count()
        self._returns: dict[ClientId, list[tuple[int, int, Requirement]]] = {}
        """(when, number, of what) for each task of such a client that ends some time, as a heap."""

    def hold(self, job: Job, until_ms: int | None) -> None:
        """A task counts already, and will end."""
        client_id = job.spec.client_id
        if until_ms is not None and self._limits.concern(client_id):
            returns = self._returns.setdefault(client_id, [])
            heappush(returns, (until_ms, next(self._numbers), job.spec.requirement))

    def take(self, job: Job, until_ms: int | None) -> None:
        """One more task of a client starts."""
        if self._limits.concern(job.spec.client_id):
            self._limits.take(job.spec.client_id, job.spec.requirement, 1)
            self.hold(job, until_ms)

    def from_ms(self, job: Job) -> int | None:
        """When one more task of a job is within the limit of its client; None if it never is."""
        client_id, requirement, from_ms = job.spec.client_id, job.spec.requirement, self._now_ms
        if not self._limits.concern(client_id):
            return from_ms
        returns = self._returns.get(client_id, [])
        while not self._allows(client_id, requirement):
            if not returns:
                return None
            until_ms, _, ended = heappop(returns)
            from_ms = max(from_ms, until_ms)
            self._limits.take(client_id, ended, -1)
        return from_ms

    def _allows(self, client_id: ClientId, requirement: Requirement) -> bool:
        room = self._limits.allows(client_id, requirement)
        return room is None or room > 0
