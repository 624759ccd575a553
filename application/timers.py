"""What only time brings about: jobs whose start time comes, and attempts that outlast their walltime.

Fed with every event, so that a look costs only what is due. An alarm is a reminder to look at the farm, never a fact by
itself: what the farm no longer confirms is dropped.
"""

from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

from domain.dependency import DependencyBypassed, DependencySatisfied
from domain.farm import Farm
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import Attempt, AttemptNumber, Job, StopCause
from domain.messages import Command, Event, JobId, Recorded

Key = TypeVar("Key", JobId, tuple[JobId, AttemptNumber])
AttemptKey = tuple[JobId, AttemptNumber]
_STALE_FROM = 64


class Alarms(Generic[Key]):
    """At most one time per key, the earliest first. O(log n) to set one and to take one that is due."""

    def __init__(self) -> None:
        self._at: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []
        """With leftovers of alarms that were dropped or moved, never more than alarms (and a few)."""

    def put(self, key: Key, at_ms: int) -> None:
        """Sets the alarm of a key, in place of the one it may have."""
        if self._at.get(key) != at_ms:
            self._at[key] = at_ms
            heappush(self._heap, (at_ms, key))
            self._tidy()

    def drop(self, key: Key) -> None:
        """Takes the alarm of a key off, if it has one."""
        if self._at.pop(key, None) is not None:
            self._tidy()

    def due(self, now_ms: int) -> list[Key]:
        """Takes off all alarms whose time has come, in order."""
        keys = []
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, key = heappop(self._heap)
            if self._at.get(key) == at_ms:
                del self._at[key]
                keys.append(key)
        return keys

    def first_ms(self) -> int | None:
        """The earliest time that is set; None if there is none."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._at) + _STALE_FROM:
            self._heap = [(at_ms, key) for key, at_ms in self._at.items()]
            heapify(self._heap)

    def __len__(self) -> int:
        return len(self._at)


class Timers:
    """The alarms of one farm. The caller holds the application's lock, and has it see all commits from the first on."""

    def __init__(self, farm: Farm, patience_ms: int) -> None:
        self._farm, self._patience_ms = farm, patience_ms
        self.starts: Alarms[JobId] = Alarms()
        self.ends: Alarms[AttemptKey] = Alarms()
        """A net behind the node's own clock, which is exact."""
        self._parked: dict[JobId, list[AttemptNumber]] = {}
        """Attempts whose alarm came while they stood still: they are looked at again when they go on."""
        self._pauses: dict[JobId, tuple[int, int | None]] = {}
        """How long jobs were paused before, and since when they are now; jobs that never were are absent."""
        self._before: dict[AttemptKey, int] = {}
        """How long an attempt's job had been paused when it started; for those that started before this process did,
        nothing is known and all pauses of the job are given on top."""
        for job_id, job in farm.jobs.items():
            self._take_in(job_id, job)

    def _take_in(self, job_id: JobId, job: Job) -> None:
        if job.paused_ms or job.paused:
            self._pauses[job_id] = (job.paused_ms, job.paused_at_ms)
        self._await_start(job_id)
        for number, attempt in job.live.items():
            self._watch(job, number, attempt)

    def _await_start(self, job_id: JobId) -> bool:
        """Sets the alarm of a job, if it has a start time, has not ended and is not queued."""
        job = self._farm.jobs.get(job_id)
        if job is None or job.queued or job.ended is not None or job.spec.not_before_ms is None:
            return False
        self.starts.put(job_id, job.spec.not_before_ms)
        return True

    def _watch(self, job: Job, number: AttemptNumber, attempt: Attempt) -> int | None:
        """Sets the alarm of an attempt that runs, is not stopping and may not run for ever; its time."""
        if job.spec.walltime_ms is None or attempt.started_ms is None or attempt.stopping is not None:
            return None
        key = (job.spec.job_id, number)
        paused_ms = job.paused_ms - self._before.get(key, 0)
        allowed_ms = job.spec.walltime_ms + paused_ms + attempt.suspended_ms + job.spec.grace_ms + self._patience_ms
        at_ms = attempt.started_ms + allowed_ms + 1
        self.ends.put(key, at_ms)
        return at_ms

    # -- what happens --------------------------------------------------------------------------------------------

    def see(self, recorded: Sequence[Recorded]) -> None:
        """Takes in a commit; the farm has folded it already, perhaps with more."""
        for each in recorded:
            react = _REACTIONS.get(type(each.event))
            if react is not None:
                react(self, each.event)

    def _submitted(self, event: e.JobSubmitted) -> None:
        if not event.queued:
            self._await_start(event.spec.job_id)

    def _queued(self, event: e.JobQueued) -> None:
        self.starts.drop(event.job_id)

    def _unblocked(self, event: DependencySatisfied | DependencyBypassed) -> None:
        """Usually the successor is queued by now, in the same commit; it is not if its start time lies ahead."""
        self._await_start(event.successor_id)

    def _retried(self, event: e.JobRetried) -> None:
        if event.job.paused_ms:
            self._pauses[event.job_id] = (event.job.paused_ms, None)
        self._await_start(event.job_id)

    def _job_ended(self, event: e.JobCompleted | e.JobFailed | e.JobCancelled) -> None:
        self.starts.drop(event.job_id)
        self._pauses.pop(event.job_id, None)

    def _paused(self, event: e.JobPaused) -> None:
        before_ms, _ = self._pauses.get(event.job_id, (0, None))
        self._pauses[event.job_id] = (before_ms, event.at_ms)

    def _resumed(self, event: e.JobResumed) -> None:
        self._pauses[event.job_id] = (self._paused_until(event.job_id, event.at_ms), None)
        job = self._farm.jobs.get(event.job_id)
        for number in self._parked.pop(event.job_id, ()):
            if job is not None and number in job.live:
                self._watch(job, number, job.live[number])

    def _tasks_resumed(self, event: e.TasksResumed) -> None:
        """How long they stood still is given on top."""
        job, parked = self._farm.jobs.get(event.job_id), self._parked.get(event.job_id, [])
        for number in event.attempts:
            if number in parked:
                parked.remove(number)
            if job is not None and number in job.live:
                self._watch(job, number, job.live[number])
        if not parked:
            self._parked.pop(event.job_id, None)

    def _paused_until(self, job_id: JobId, at_ms: int) -> int:
        before_ms, since_ms = self._pauses.get(job_id, (0, None))
        return before_ms if since_ms is None else before_ms + at_ms - since_ms

    def _started(self, event: e.TasksStarted) -> None:
        job = self._farm.jobs.get(event.job_id)
        if job is None or job.spec.walltime_ms is None:
            return
        paused_ms = self._paused_until(event.job_id, event.at_ms) if self._pauses else 0
        for number in event.attempts:
            attempt = job.live.get(number)
            if attempt is not None:
                if paused_ms:
                    self._before[event.job_id, number] = paused_ms
                self._watch(job, number, attempt)

    def _ended(self, event: e.TasksSucceeded | e.TasksFailed | e.TasksStopped) -> None:
        self._forget(event.job_id, (end.attempt for end in event.ends))

    def _lost(self, event: e.TasksLost) -> None:
        self._forget(event.job_id, event.attempts)

    def _forget(self, job_id: JobId, numbers: Iterable[AttemptNumber]) -> None:
        for number in numbers:
            self.ends.drop((job_id, number))
            self._before.pop((job_id, number), None)
        if job_id in self._parked:
            live = self._farm.jobs[job_id].live if job_id in self._farm.jobs else {}
            self._parked[job_id] = [number for number in self._parked[job_id] if number in live]
            if not self._parked[job_id]:
                del self._parked[job_id]

    # -- what is due ---------------------------------------------------------------------------------------------

    def due(self, now_ms: int) -> list[Command]:
        """Queues jobs whose start time has come and stops attempts that are over time; says so until it is done."""
        return [*self._starting(now_ms), *self._stopping(now_ms)]

    def _starting(self, now_ms: int) -> list[Command]:
        """Of jobs that wait for others nothing is said: their alarms are set again when the last edge opens."""
        due = [job_id for job_id in self.starts.due(now_ms) if not self._blocked(job_id)]
        return [c.QueueJob(job_id=job_id) for job_id in due if self._await_start(job_id)]

    def _blocked(self, job_id: JobId) -> bool:
        return any(edge.blocks for edge in self._farm.edges_into(job_id))

    def _stopping(self, now_ms: int) -> list[Command]:
        over: dict[JobId, list[AttemptNumber]] = {}
        for job_id, number in self.ends.due(now_ms):
            job = self._farm.jobs.get(job_id)
            attempt = None if job is None else job.live.get(number)
            if job is None or attempt is None:
                continue
            if job.paused or attempt.suspended_at_ms is not None:
                self._parked.setdefault(job_id, []).append(number)
                continue
            at_ms = self._watch(job, number, attempt)  # which pauses may have put off
            if at_ms is not None and at_ms <= now_ms:
                over.setdefault(job_id, []).append(number)
        return [
            c.StopAttempts(job_id=job_id, attempts=tuple(numbers), cause=StopCause.WALLTIME)
            for job_id, numbers in over.items()
        ]


_REACTIONS: dict[type[Event], Callable[[Timers, Any], None]] = {
    e.JobSubmitted: Timers._submitted,
    e.JobQueued: Timers._queued,
    e.JobRetried: Timers._retried,
    e.JobCompleted: Timers._job_ended,
    e.JobFailed: Timers._job_ended,
    e.JobCancelled: Timers._job_ended,
    e.JobPaused: Timers._paused,
    e.JobResumed: Timers._resumed,
    e.TasksResumed: Timers._tasks_resumed,
    e.TasksStarted: Timers._started,
    e.TasksSucceeded: Timers._ended,
    e.TasksFailed: Timers._ended,
    e.TasksStopped: Timers._ended,
    e.TasksLost: Timers._lost,
    DependencySatisfied: Timers._unblocked,
    DependencyBypassed: Timers._unblocked,
}
