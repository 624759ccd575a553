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
from domain import errors
from domain.farm import Farm
from domain.job.commands import PlaceTasks, ReportEnded, ReportStarted, SubmitJob
from domain.job.decide import decide
from domain.job.evolve import EVOLVE
from domain.job.values import Job
from domain.messages import Command, JobId, Meta, Recorded, StreamId
from domain.planning import blockers


class Commits:
    """Carries requests out on an application that nobody else uses at the same time."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def commit(self, requests: Sequence[Request]) -> list[Outcome]:
        """All requests in one transaction; what came of each."""
        batch = _Batch(self._app.farm, self._app.clock.now_ms())
        for request in requests:
            if not batch.take(request):
                return self._app.commit_all(requests)
        try:
            self._app.record(batch.events, batch.after)
        except errors.VersionConflict:  # a job of that name has ended before
            return self._app.commit_all(requests)
        return batch.replies


class _Batch:
    """What is decided and not stored yet."""

    __slots__ = ("_farm", "_now_ms", "_position", "_states", "after", "events", "replies")

    def __init__(self, farm: Farm, now_ms: int) -> None:
        self._farm, self._now_ms = farm, max(now_ms, farm.now_ms)
        self._position = farm.position
        """Of the last event so far."""
        self.events: list[Recorded] = []
        self.after: list[Job | None] = []
        self.replies: list[Outcome] = []
        self._states: dict[StreamId, tuple[int, Job | None]] = {}
        """Version and state of what was decided about here."""

    def take(self, request: Request) -> bool:
        """Decides a request; whether that could be done here."""
        if request.remember:
            return False
        before, meta = self._position, request.meta
        try:
            for command in request.commands:
                kind = type(command)
                if kind not in _PLAIN or not self._take(kind, command, meta):
                    return False
        except errors.TaskSchedulerError:
            return False
        for stream, event in request.facts:
            version = self._states[stream][0] if stream in self._states else self._farm.versions.get(stream, 0)
            self._states[stream] = version + 1, None
            self._position += 1
            self.events.append(new_recorded((self._position, stream, version + 1, event, meta)))
            self.after.append(None)
        self.replies.append(Reply(self._position, self._position - before))
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
        events, after, position, first = self.events, self.after, self._position, version + 1
        for event in decide(state, command, self._now_ms):
            step = type(event)
            state, version, position = EVOLVE[step](state, event), version + 1, position + 1
            if version % SNAPSHOT_EVERY == 0:
                return False
            said = meta_after(events, meta) if version > first and step in FOLLOWING else meta
            events.append(new_recorded((position, stream, version, event, said)))
            after.append(state)
        self._position = position
        self._states[stream] = version, state
        return True

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


_PLAIN = frozenset({SubmitJob, PlaceTasks, ReportStarted, ReportEnded})
