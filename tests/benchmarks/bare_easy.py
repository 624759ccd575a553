"""First come, first served with EASY backfilling, and nothing else: the floor of simulating a trace.

One machine, a heap of ends, a sorted list of requested ends, a list of who waits; all of them are plain integers. It
keeps no events and no reasons, knows one policy, and says at which second each job starts. Its rules are those of
`tests.schedules` with one pass for all that happens in a second: completions, then arrivals, then the pass.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import NamedTuple

NEVER = 1 << 62


class Columns(NamedTuple):
    """Jobs sorted by (submit, id), one list per field; times in seconds."""

    submits: list[int]
    runs: list[int]
    sizes: list[int]
    """Processors."""
    requests: list[int]


def columns(rows: Iterable[tuple[int, int, int, int]]) -> Columns:
    """Columns of (submit, run, processors, requested), sorted already."""
    submits, runs, sizes, requests = (list(column) for column in zip(*rows, strict=True))
    return Columns(submits, runs, sizes, requests)


def starts(jobs: Columns, processors: int) -> list[int]:
    """The second at which each job starts, in the order of the columns; no job may be larger than the machine."""
    return _Machine(jobs, processors).run()


class _Machine:
    """Running jobs are in two orders, as second × number of jobs + place of the job in the columns."""

    def __init__(self, jobs: Columns, processors: int) -> None:
        self.submits, self.runs, self.sizes, self.requests = jobs
        self.count, self.free = len(jobs.submits), processors
        self.begun = [0] * self.count
        self.ends: list[int] = []
        """A heap."""
        self.requested_ends: list[int] = []
        """Sorted."""
        self.queue: list[int] = []
        """Places of the waiting jobs; the first is the head, which did not fit when it was last looked at."""
        self.shadow = self.spare = 0
        """Of the head. Free processors, and those spare at the shadow second, shrink as jobs start."""

    def run(self) -> list[int]:
        """All seconds at which something happens."""
        submits, count, ends, queue = self.submits, self.count, self.ends, self.queue
        arrived, submit = 0, submits[0]
        while ends or arrived < count:
            now = submit
            if ends and ends[0] < (submit + 1) * count:
                now = ends[0] // count
                self._complete((now + 1) * count)
            while submit == now:
                queue.append(arrived)
                arrived += 1
                submit = submits[arrived] if arrived < count else NEVER
            if queue:
                self._pass(now)
        return self.begun

    def _complete(self, limit: int) -> None:
        """Gives back what the jobs held whose ends are below a limit."""
        ends, count = self.ends, self.count
        while ends and ends[0] < limit:
            job = heappop(ends) % count
            self.free += self.sizes[job]
            del self.requested_ends[
                bisect_left(self.requested_ends, (self.begun[job] + self.requests[job]) * count + job)
            ]

    def _pass(self, now: int) -> None:
        """Starts the first in line while they fit, then looks at everybody behind the head."""
        first = 0
        for job in self.queue:
            if self.sizes[job] > self.free:
                break
            self._start(job, now)
            first += 1
        del self.queue[:first]
        if self.queue:
            self._promise(now)
            self._backfill(now)

    def _promise(self, now: int) -> None:
        """Finds the shadow second of the head, and how many processors are spare then."""
        sizes, count = self.sizes, self.count
        lacking, limit = sizes[self.queue[0]] - self.free, NEVER
        for end in self.requested_ends:
            if end >= limit:
                break
            lacking -= sizes[end % count]
            if lacking <= 0 and limit == NEVER:
                self.shadow = max(end // count, now)
                limit = (self.shadow + 1) * count
        self.spare = -lacking

    def _backfill(self, now: int) -> None:
        """Starts those behind the head that fit and do not delay it."""
        queue, sizes, requests = self.queue, self.sizes, self.requests
        free, spare, longest = self.free, self.spare, self.shadow - now
        started: list[int] = []
        for at in range(1, len(queue)):
            job = queue[at]
            size = sizes[job]
            if size <= free and (requests[job] <= longest or size <= spare):
                started.append(at)
                free -= size
                if requests[job] > longest:
                    spare -= size
        for at in reversed(started):
            self._start(queue.pop(at), now)
        self.spare = spare

    def _start(self, job: int, now: int) -> None:
        count = self.count
        self.free -= self.sizes[job]
        self.begun[job] = now
        heappush(self.ends, (now + self.runs[job]) * count + job)
        insort(self.requested_ends, (now + self.requests[job]) * count + job)
