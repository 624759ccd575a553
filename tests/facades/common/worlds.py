"""Applications whose time tests move by hand, and jobs and nodes with sensible values."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.facades.bridge import times
from adapters.store.objects import ObjectLog
from application.app import Application
from common import BaseJob, BaseNode, ResourceRequirement
from domain.messages import Event, Recorded
from tests.fakes import CountedIds, ManualClock

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class World:
    """An application in memory with a clock by hand."""

    def __init__(self, log: ObjectLog | None = None, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.ids = CountedIds()
        self.app = Application(log or ObjectLog(), self.clock, self.ids)

    @property
    def now(self) -> datetime:
        """The time as callers read it."""
        return times.local(self.clock.now_ms())

    def passes(self, span: timedelta) -> None:
        """Time passes."""
        self.clock.advance(span // timedelta(milliseconds=1))

    def restarted(self) -> "World":
        """A new process over the same log: everything is folded again."""
        log = self.app.log
        assert isinstance(log, ObjectLog)
        return World(log, self.clock)

    def recorded(self) -> Sequence[Recorded]:
        """Everything in the log."""
        return self.app.log.read(0, 1_000_000)

    def events(self, kind: type[Event]) -> list[Any]:
        """All events of a type."""
        return [each.event for each in self.recorded() if isinstance(each.event, kind)]

    def job(self, job_id: str = "a", cpu: float = 0, **fields: Any) -> BaseJob:
        """A job of one name and id, submitted now, that needs so many processors."""
        needs = [ResourceRequirement(resource_type="cpu", amount=cpu)] if cpu else []
        given = {"id": job_id, "name": job_id, "submission_time": self.now, "resource_requirements": needs}
        return BaseJob(**{**given, **fields})

    def due_job(
        self, job_id: str = "a", due: timedelta = 100 * HOUR, lasts: timedelta = HOUR, **fields: Any
    ) -> "DueJob":
        """A job with a deadline."""
        given = {"id": job_id, "name": job_id, "submission_time": self.now}
        return DueJob(**{**given, "deadline": self.now + due, "estimated_duration": lasts, **fields})


class DueJob(BaseJob):
    """A job with a deadline, that may be protected."""

    deadline: datetime | None = None
    can_be_preempted: bool = True
    last_checkpoint_time: datetime | None = None


class RatedNode(BaseNode):
    """A node whose efficiency is known."""

    power_efficiency_rating: float = 50.0


def node(node_id: str = "n1", cores: int = 8, **fields: Any) -> BaseNode:
    """A node of one name and id."""
    return BaseNode(**{"id": node_id, "name": node_id, "cpu_cores": cores, **fields})
