"""When running attempts are expected to end: kept in order by what was requested, or made anew for other estimates."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from domain.indices.nodeindex import NodeIndex
from domain.job.values import Attempt, AttemptNumber, Job
from domain.messages import JobId
from domain.resources import Resources

if TYPE_CHECKING:
    from domain.policies import Context


class Ending(NamedTuple):
    """What becomes free when one attempt ends as expected. Sorts by time; no two of one attempt exist at once."""

    end_ms: int
    job_id: JobId
    attempt: AttemptNumber
    nodes: tuple[tuple[int, int], ...]
    """(node number, slots)."""
    per_slot: Resources


class Endings:
    """The expected ends of all live attempts by their requested walltimes, the earliest first.

    An attempt of a job without a walltime, or of a paused one, or one that is suspended, has no end in sight and is not
    in here.
    """

    __slots__ = ("_of", "rows")

    def __init__(self) -> None:
        self.rows: list[Ending] = []
        """In order."""
        self._of: dict[tuple[JobId, AttemptNumber], Ending] = {}

    def add(self, job: Job, number: AttemptNumber, attempt: Attempt, index: NodeIndex) -> None:
        """An attempt was placed, or can be foreseen again."""
        run_ms = job.spec.walltime_ms
        if run_ms is None or job.paused or attempt.suspended_at_ms is not None:
            return
        ending = _ending(job, number, attempt, run_ms, index)
        self._of[job.spec.job_id, number] = ending
        insort(self.rows, ending)

    def drop(self, job_id: JobId, number: AttemptNumber) -> None:
        """An attempt ended, or cannot be foreseen any more."""
        ending = self._of.pop((job_id, number), None)
        if ending is not None:
            del self.rows[bisect_left(self.rows, ending)]

    def move(self, job: Job, index: NodeIndex) -> None:
        """A job was paused or goes on: the ends of all its attempts are elsewhere now."""
        for number, attempt in job.live.items():
            self.drop(job.spec.job_id, number)
            self.add(job, number, attempt, index)


def _ending(job: Job, number: AttemptNumber, attempt: Attempt, run_ms: int, index: NodeIndex) -> Ending:
    """Counted from the placement: the start follows at once. All pauses of the job are added, which may be too many."""
    nodes = tuple([(index.numbers[node_id], slots) for node_id, slots in attempt.nodes])
    end_ms = attempt.placed_ms + job.paused_ms + attempt.suspended_ms + run_ms
    return Ending(end_ms, job.spec.job_id, number, nodes, job.spec.requirement.resources)


def expected(context: "Context") -> Sequence[Ending]:
    """The ends of all live attempts that anybody can foresee, by the estimate policy, the earliest first."""
    farm = context.farm
    if context.made.as_requested:
        return farm.endings.rows
    return sorted(_estimated(context))


def _estimated(context: "Context") -> Iterator[Ending]:
    farm = context.farm
    for job in farm.jobs.values():
        if not job.live or job.paused:
            continue
        for number, attempt in job.live.items():
            run_ms = context.attempt_ms(job, attempt)
            if run_ms is not None and attempt.suspended_at_ms is None:
                yield _ending(job, number, attempt, run_ms, farm.index)
