"""Interrupted attempts in a simulation: ends that a suspension puts off, and saved states to go on from."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from application.commands import RecordCheckpoint
from domain.farm import Farm
from domain.job.events import TasksResumed
from domain.job.values import Attempt, AttemptEnd, AttemptNumber, FailureClass, Job, StopCause, attempt_id
from domain.messages import JobId

Key: TypeAlias = tuple[JobId, AttemptNumber]
Expect: TypeAlias = Callable[[JobId, AttemptNumber, int, FailureClass | None], None]
"""Lets an attempt end at a time."""


class Standing:
    """Which expected ends do not come when they were expected, because their attempts stood still meanwhile."""

    def __init__(self, farm: Farm, expect: Expect) -> None:
        self._farm, self._expect = farm, expect
        self._counted: dict[Key, int] = {}
        """How much of the time that an attempt stood still is part of its expected end already."""
        self._parked: dict[Key, tuple[int, FailureClass | None]] = {}
        """Ends that should have come while their attempts stood still."""

    def puts_off(self, key: Key, attempt: Attempt, at_ms: int, failure: FailureClass | None) -> bool:
        """Whether an attempt does not end now although its end was expected; it is expected anew when it runs on."""
        late_ms = attempt.suspended_ms - self._counted.get(key, 0)
        if not late_ms and attempt.suspended_at_ms is None:
            self._counted.pop(key, None)
            return False
        if attempt.stopping is not None:
            return failure is not FailureClass.SIGNAL  # it ends for the other reason
        if attempt.suspended_at_ms is not None:
            self._parked[key] = at_ms, failure
        else:
            self._later(key, at_ms + late_ms, failure, attempt)
        return True

    def resumed(self, event: TasksResumed) -> None:
        """Those whose ends are overdue end as much later as they stood still."""
        for number in event.attempts:
            key = event.job_id, number
            parked = self._parked.pop(key, None)
            job = self._farm.jobs.get(event.job_id)
            if parked is not None and job is not None and number in job.live:
                attempt = job.live[number]
                late_ms = attempt.suspended_ms - self._counted.get(key, 0)
                self._later(key, parked[0] + late_ms, parked[1], attempt)

    def _later(self, key: Key, at_ms: int, failure: FailureClass | None, attempt: Attempt) -> None:
        self._counted[key] = attempt.suspended_ms
        self._expect(*key, at_ms, failure)


def saved(job: Job, ends: Iterable[AttemptEnd], now_ms: int) -> tuple[RecordCheckpoint, ...]:
    """The states that attempts save which were told to end, if their job can and there is anything to save.

    A gang that has lost a node has nothing whole to save.
    """
    if not job.spec.checkpoints:
        return ()
    found = []
    for end in ends:
        attempt = job.live[end.attempt]
        if attempt.stopping not in (None, StopCause.GANG_BROKEN) and attempt.ran_ms(now_ms):
            name = attempt_id(job.spec.job_id, end.task, end.attempt)
            found.append(
                RecordCheckpoint(
                    checkpoint_id=f"ckpt-{name}.1",
                    job_id=job.spec.job_id,
                    attempt=end.attempt,
                    location=f"simulated:{name}",
                    size_bytes=0,
                    sha256="",
                )
            )
    return tuple(found)


def rest_ms(job: Job, task: int, run_ms: int) -> int:
    """How much longer a task runs that runs so long from its beginning: less by what its checkpoint stands for."""
    known = job.checkpoints.get(task)
    return run_ms if known is None else max(1, run_ms - known.kept_ms)
