"""What waits, in order: the queue as segments of jobs that are judged alike.

A segment is one client, one priority and one requirement. Inside it jobs stand by submit time and id, so that a cycle
merges the heads of segments and drops a whole segment once its shape is blocked.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from functools import partial

from domain.decisions import Segment
from domain.job.values import Job, Priority
from domain.messages import ClientId, JobId
from domain.resources import Requirement

Place = tuple[int, JobId]
"""A job's place inside its segment: submit time, id."""


class Line:
    """Jobs of one segment in order; adding at the end and taking from the front are cheap."""

    __slots__ = ("_name", "_places", "_start", "segment")

    def __init__(self, segment: Segment | None = None) -> None:
        self.segment = segment
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

    __slots__ = ("_line_of", "lines")

    def __init__(self) -> None:
        self.lines: dict[Segment, Line] = {}
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
            line = self.lines[segment] = Line(segment)
        self._line_of[spec.job_id] = line
        line.add((job.submitted_ms, spec.job_id))
        return segment if new else None

    def drop(self, job: Job) -> None:
        """Takes a job out, if it is in."""
        line = self._line_of.pop(job.spec.job_id, None)
        if line is None:
            return
        line.remove((job.submitted_ms, job.spec.job_id))
        if not line and line.segment is not None:
            del self.lines[line.segment]

    def line_of(self, job_id: JobId) -> Line:
        """Where a queued job stands."""
        return self._line_of[job_id]

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._line_of

    def __len__(self) -> int:
        return len(self._line_of)


_segment: Callable[[tuple[ClientId, Priority, Requirement]], Segment] = partial(tuple.__new__, Segment)
"""Made without the Python function behind a NamedTuple's name, because there is one for every job that is queued."""
