"""What waits, in order: the queue as segments of jobs that are judged alike.

A segment is one client, one priority and one requirement. Inside it jobs stand by submit time and id, so that a cycle
merges the heads of segments and drops a whole segment once its shape is blocked.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from domain.decisions import Blocked, Segment
from domain.job.values import Job, Priority
from domain.messages import ClientId, JobId
from domain.resources import NOTHING, Requirement

Place = tuple[int, JobId]
"""A job's place inside its segment: submit time, id."""


NO_END = 1 << 62
"""The walltime of a job that may run for ever."""


def walltime_of(job: Job) -> int:
    """How long an attempt of a job may run."""
    walltime_ms = job.spec.walltime_ms
    return NO_END if walltime_ms is None else walltime_ms


class Shortage:
    """What a cycle knows of a recorded row that names one resource as short on one node, so that the next looks once.

    It holds of that very row only, and only as long as the nodes themselves stay as they are.
    """

    __slots__ = ("needed", "number", "resource", "row", "version")

    def __init__(self, row: Blocked, version: int, number: int) -> None:
        reason = row.reasons[0]
        self.row, self.version, self.number = row, version, number
        self.resource, self.needed = reason.resource, reason.needed


class Line:
    """Jobs of one segment in order; adding at the end and taking from the front are cheap."""

    __slots__ = ("_name", "_places", "_shortest_ms", "_start", "need", "segment", "shortage", "waits")

    def __init__(self, segment: Segment | None = None) -> None:
        self.segment = segment
        self.need = NOTHING if segment is None else segment.requirement.resources
        """What one slot asks for."""
        self.shortage: Shortage | None = None
        self.waits = (-1, False)
        """At which version of the nodes it was asked whether its jobs wait for room, and the answer."""
        self._shortest_ms: int | None = None
        """The shortest walltime of all who stand here; None when it must be looked for again."""
        self._name = ""
        self._places: list[Place] = []
        self._start = 0

    @property
    def name(self) -> str:
        """The name of its segment, made once, because every cycle asks for it."""
        if not self._name and self.segment is not None:
            self._name = self.segment.name
        return self._name

    def add(self, place: Place) -> None:
        """Puts a job in at its place."""
        places = self._places
        if not places or place > places[-1]:
            places.append(place)
        else:
            insort(places, place, lo=self._start)

    def remove(self, place: Place) -> None:
        """Takes a job out."""
        at = self._start
        if self._places[at] != place:
            at = bisect_left(self._places, place, lo=at)
        if at == self._start:
            self._start += 1
            if self._start > 64 and self._start * 2 > len(self._places):
                del self._places[: self._start]
                self._start = 0
        else:
            del self._places[at]

    def came(self, run_ms: int) -> None:
        """Somebody with such a walltime was put in."""
        if len(self) == 1 or (self._shortest_ms is not None and run_ms < self._shortest_ms):
            self._shortest_ms = run_ms

    def left(self, run_ms: int) -> None:
        """Somebody with such a walltime was taken out."""
        if run_ms == self._shortest_ms:
            self._shortest_ms = None

    def shortest_ms(self, jobs: Mapping[JobId, Job]) -> int:
        """The shortest walltime of all who stand here; NO_END if nobody has one."""
        if self._shortest_ms is None:
            self._shortest_ms = min([walltime_of(jobs[job_id]) for _, job_id in self], default=NO_END)
        return self._shortest_ms

    def first(self) -> Place:
        """The place of its first job."""
        return self._places[self._start]

    def __len__(self) -> int:
        return len(self._places) - self._start

    def __iter__(self) -> Iterator[Place]:
        """The places in order; the line must not change meanwhile."""
        return iter(self._places[self._start :] if self._start else self._places)

    def walk(self) -> Iterator[Place]:
        """As iteration, but without copying the rest of a long line."""
        places = self._places
        for at in range(self._start, len(places)):
            yield places[at]


class Queue:
    """All jobs with tasks that may be placed now, by segment."""

    __slots__ = ("_line_of", "_made", "lines")

    def __init__(self) -> None:
        self.lines: dict[Segment, Line] = {}
        self._made: dict[Segment, Line] = {}
        """All lines of late, those where nobody stands any more included: most of them are soon wanted again."""
        self._line_of: dict[JobId, Line] = {}

    def segment_of(self, job: Job) -> Segment:
        """The segment where a job belongs."""
        return Segment(job.spec.client_id, job.priority, job.spec.requirement)

    def settle(self, job: Job) -> Segment | None:
        """Puts a job in, moves it, or takes it out, as its state demands; the segment if that one is new."""
        belongs = bool(job.waiting) and job.startable
        known = self._line_of.get(job.spec.job_id)
        if known is not None:
            if belongs and known.segment is not None and known.segment.priority is job.priority:
                return None
            self.drop(job)
        return self._add(job) if belongs else None

    def _add(self, job: Job) -> Segment | None:
        spec = job.spec
        segment = _segment((spec.client_id, job.priority, spec.requirement))
        line = self.lines.get(segment)
        new = line is None
        if line is None:
            line = self.lines[segment] = self._line(segment)
        self._line_of[spec.job_id] = line
        line.add((job.submitted_ms, spec.job_id))
        line.came(walltime_of(job))
        return segment if new else None

    def _line(self, segment: Segment) -> Line:
        """The empty line of a segment."""
        line = self._made.get(segment)
        if line is None:
            if len(self._made) == _MOST_LINES:
                self._made.clear()
            line = self._made[segment] = Line(segment)
        return line

    def drop(self, job: Job) -> None:
        """Takes a job out, if it is in."""
        line = self._line_of.pop(job.spec.job_id, None)
        if line is None:
            return
        line.remove((job.submitted_ms, job.spec.job_id))
        line.left(walltime_of(job))
        if not line and line.segment is not None:
            del self.lines[line.segment]

    def line_of(self, job_id: JobId) -> Line:
        """Where a queued job stands."""
        return self._line_of[job_id]

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._line_of

    def __len__(self) -> int:
        return len(self._line_of)


_MOST_LINES = 4_096
"""A farm meets new segments for years."""

_segment: Callable[[tuple[ClientId, Priority, Requirement]], Segment] = partial(tuple.__new__, Segment)
"""Made without the Python function behind a NamedTuple's name, because there is one for every job that is queued."""
