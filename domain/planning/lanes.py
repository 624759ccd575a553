"""What a cycle knows of the queue's segments while it merges them."""

from collections.abc import Iterator
from enum import IntEnum
from typing import TypeAlias

import msgspec

from domain.decisions import Reason, Segment
from domain.indices.queue import Line
from domain.indices.queue import Place as QueuePlace
from domain.job.values import Job
from domain.messages import JobId
from domain.policies import OrderKey


class Stop(IntEnum):
    """Why no further task of a job was placed."""

    DONE = 0
    """None is left."""
    LIMITED = 1
    """Its client may have no more, which holds for its whole segment."""
    LACKING = 2
    """Its requirement fits nowhere now, which holds for all of its shape until something ends."""
    BEHIND = 3
    """It would delay a job that holds a reservation; a shorter one might not."""
    RULED = 4
    """A rule keeps it off all nodes where it would fit; another job of its segment might start."""
    LATER = 5
    """Its rank rose with what it was given; the rest of its tasks is looked at after those that come before it now."""


class Shape(msgspec.Struct, gc=False):
    """What is known about one requirement. Free resources only shrink within a cycle, so what lacks room goes on so."""

    lacking: bool = False
    asked: bool = False
    """Whether it was asked at the beginning of the cycle."""
    reasons: tuple[Reason, ...] | None = None
    """What it lacks, once somebody has asked."""


class Lane(msgspec.Struct, gc=False):
    """A segment in the merge: what holds for all its jobs."""

    segment: Segment
    shape: Shape
    limited: bool
    """Whether its client may not use all it can get."""
    line: Line | None = None
    """Where its jobs stand; None when they only come back from a back-off."""
    waiting: int = 0
    """Jobs of which this cycle has not placed every task."""
    stop: Stop = Stop.DONE
    """Why the first of its jobs that was passed over could not start."""
    reasons: tuple[Reason, ...] = ()
    """The same as data, where that is known before the end of the cycle."""
    job: Job | None = None
    """The first of its jobs that was passed over, where somebody asks."""
    barred_ms: int | None = None
    """A rule keeps off all nodes what needs them for so long or longer, as one of its jobs has found; None: not so."""

    @property
    def name(self) -> str:
        """The segment's name in the log."""
        return self.segment.name if self.line is None else self.line.name


QueueKey: TypeAlias = tuple[OrderKey, int, JobId]
"""Where a job stands in the whole queue: order key, submit time, id."""

Head: TypeAlias = tuple[OrderKey, int, JobId, Lane, Iterator[QueuePlace], Job]
"""The next job of a lane, by its `QueueKey` (no two heads compare equal up to there), and who follows."""
