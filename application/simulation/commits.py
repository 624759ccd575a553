"""Commits of a process that is alone with its log: the same events at a fraction of the cost.

What concurrent writers need is left out: the waiting room, roll-backs of one request among many, conditions on the log.
That is right only for the four commands of which a simulation has thousands, about jobs without dependencies and
workflow, and as long as none is refused. Anything else goes through the application, and so does a commit of which one
command would be refused, from its beginning.
"""

from collections.abc import Sequence
from typing import Any

from application.app import Application, Outcome, Reply, Request
from application.decider import FOLLOWING, SNAPSHOT_EVERY, meta_after, new_recorded
from domain import blockers, errors
from domain.farm import Farm
from domain.job.commands import PlaceTasks, ReportEnded, ReportStarted, SubmitJob
from domain.job.decide import decide
from domain.job.evolve import EVOLVE
from domain.job.values import Job
from domain.messages import Command, Event, JobId, Meta, Recorded, StreamId


class Commits:
    """Carries requests out on an application that nobody else uses at the same time."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def commit(self, requests: Sequence[Request]) -> list[Outcome]:
        """All requests in one transaction; what came of each."""
        batch = _Batch(self._app.farm, self._app.clock.now_ms())
        if not all(batch.take(request) for request in requests):
            return self._app.commit_all(requests)
        try:
            self._app.record(batch.events, batch.after)
        except errors.VersionConflict:  # a job of that name has ended before
            return self._app.commit_all(requests)
        return batch.replies()


class _Batch:
    """What is decided and not stored yet."""

    __slots__ = ("_ends", "_farm", "_first", "_now_ms", "_states", "after", "events")

    def __init__(self, farm: Farm, now_ms: int) -> None:
        self._farm, self._now_ms, self._first = farm, max(now_ms, farm.now_ms), farm.position + 1
        self.events: list[Recorded] = []
        self.after: list[Job | None] = []
        self._states: dict[StreamId, tuple[int, Job | None]] = {}
        """Version and state of what was decided about here."""
        self._ends: list[int] = []
        """How many events there were after each request."""

    def take(self, request: Request) -> bool:
        """Decides a request; whether that could be done here."""
        if request.remember:
            return False
        try:
            for command in request.commands:
                kind = type(command)
                if kind not in _PLAIN or not self._take(kind, command, request.meta):
                    return False
        except errors.TaskSchedulerError:
            return False
        for stream, event in request.facts:
            version = self._states[stream][0] if stream in self._states else self._farm.versions.get(stream, 0)
            self._add(stream, version + 1, event, None, request.meta)
        self._ends.append(len(self.events))
        return True

    def _take(self, kind: type[Command], command: Any, meta: Meta) -> bool:
        if kind is SubmitJob:
            stream = command.spec.job_id
            if stream in self._farm.jobs or stream in self._states or not self._is_plain(command):
                return False
            version, state = 0, None
        else:
            stream = command.job_id
            known = self._states.get(stream) or self._stored(stream)
            if known is None:
                return False
            version, state = known
        first = version + 1
        for event in decide(state, command, self._now_ms):
            state, version = EVOLVE[type(event)](state, event), version + 1
            if version % SNAPSHOT_EVERY == 0:
                return False
            follows = version > first and type(event) in FOLLOWING
            self._add(stream, version, event, state, meta_after(self.events, meta) if follows else meta)
        return True

    def _add(self, stream: StreamId, version: int, event: Event, state: Job | None, meta: Meta) -> None:
        self.events.append(new_recorded((self._first + len(self.events), stream, version, event, meta)))
        self.after.append(state)
        self._states[stream] = (version, state)

    def _is_plain(self, command: SubmitJob) -> bool:
        """Whether a submission concerns no other stream, and nobody would refuse it for the farm's sake."""
        spec = command.spec
        client = self._farm.clients.get(spec.client_id)
        if spec.workflow_id is not None or command.after or client is None or client.suspended:
            return False
        return blockers.is_possible(self._farm.index, spec.requirement)

    def _stored(self, job_id: JobId) -> tuple[int, Job] | None:
        """A live job from whose end nothing follows."""
        farm = self._farm
        job = farm.jobs.get(job_id)
        if job is None or job.spec.workflow_id is not None or job_id in farm.outgoing or job_id in farm.incoming:
            return None
        return farm.versions[job_id], job

    def replies(self) -> list[Outcome]:
        """The reply to each request."""
        starts = [0, *self._ends[:-1]]
        return [Reply(self._first + end - 1, end - start) for start, end in zip(starts, self._ends, strict=True)]


_PLAIN = frozenset({SubmitJob, PlaceTasks, ReportStarted, ReportEnded})
