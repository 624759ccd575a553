"""The ends of all back-offs in order of time: what is due by now, and when the next one ends.

A cycle asks both each time, so neither may cost more than its answer.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from domain.job.values import Job
from domain.messages import JobId

_COMPACT_FROM = 64


class BackOffs:
    """Sorted (until_ms, job id); a job may stand in it several times, with different ends."""

    __slots__ = ("_ends", "_start", "_until")

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self._until = {job.spec.job_id: _distinct(job) for job in jobs if job.delayed}
        """The ends of each job, as they stand in the list."""
        self._ends = sorted((ms, job_id) for job_id, ends in self._until.items() for ms in ends)
        self._start = 0
        """Where the list begins; what stands before was taken out, since the first ends go first."""

    def settle(self, job: Job) -> None:
        """Brings the ends of a job in line with its state."""
        job_id, after = job.spec.job_id, _distinct(job)
        before = self._until.get(job_id, ())
        if before == after:
            return
        for until_ms in before:
            if until_ms not in after:
                self._remove((until_ms, job_id))
        for until_ms in after:
            if until_ms not in before:
                insort(self._ends, (until_ms, job_id), lo=self._start)
        self._until[job_id] = after
        if not after:
            del self._until[job_id]

    def drop(self, job_id: JobId) -> None:
        """Forgets a job, if it is in."""
        for until_ms in self._until.pop(job_id, ()):
            self._remove((until_ms, job_id))

    def _remove(self, end: tuple[int, JobId]) -> None:
        at = bisect_left(self._ends, end, lo=self._start)
        if at > self._start:
            del self._ends[at]
            return
        self._start += 1
        if self._start > _COMPACT_FROM and self._start * 2 > len(self._ends):
            del self._ends[: self._start]
            self._start = 0

    def due(self, now_ms: int) -> list[JobId]:
        """Jobs with a back-off that has ended by now, each once, by id. O(k log k) for k of them."""
        upto = self._after(now_ms)
        return sorted({job_id for _, job_id in self._ends[self._start : upto]})

    def next(self, now_ms: int) -> int | None:
        """The earliest end after now, in milliseconds since 1970; None if there is none. O(log n)."""
        at = self._after(now_ms)
        return self._ends[at][0] if at < len(self._ends) else None

    def _after(self, now_ms: int) -> int:
        return bisect_left(self._ends, (now_ms + 1, ""), lo=self._start)

    def __iter__(self) -> Iterator[tuple[int, JobId]]:
        """All ends in order."""
        return iter(self._ends[self._start :])

    def __len__(self) -> int:
        return len(self._ends) - self._start


def _distinct(job: Job) -> tuple[int, ...]:
    """The ends of a job's back-offs in order, each once: two that end together are one."""
    if len(job.delayed) == 1:
        return (job.delayed[0][0],)
    return tuple(dict.fromkeys(until_ms for until_ms, _ in job.delayed))
