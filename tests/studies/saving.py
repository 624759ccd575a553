"""Programs that save their state now and then, in a simulation."""

from collections.abc import Callable, Mapping, Sequence

from application.commands import RecordCheckpoint
from domain.errors import TaskSchedulerError
from domain.job import events as e
from domain.job.values import AttemptNumber
from domain.messages import Command, JobId, Recorded

Expect = Callable[[int, tuple[Command, ...]], None]
"""Lets commands arrive at a time, as `Simulator.expect`."""


class Saving:
    """Lets attempts save their state every so often from their start on, as long as they run."""

    def __init__(self, every_ms: Mapping[JobId, int], expect: Expect) -> None:
        """`every_ms` has the jobs that do so."""
        self._every_ms, self._expect = every_ms, expect
        self._nth: dict[tuple[JobId, AttemptNumber], int] = {}

    def see(self, recorded: Sequence[Recorded]) -> None:
        """Takes a commit in."""
        for each in recorded:
            event = each.event
            if isinstance(event, e.TasksStarted):
                for number in event.attempts if event.job_id in self._every_ms else ():
                    self._later(event.job_id, number, event.at_ms)
            elif isinstance(event, e.TaskCheckpointed) and (event.job_id, event.attempt) in self._nth:
                self._later(event.job_id, event.attempt, event.at_ms)

    def _later(self, job_id: JobId, number: AttemptNumber, at_ms: int) -> None:
        nth = self._nth[job_id, number] = self._nth.get((job_id, number), 0) + 1
        name = f"{job_id}.{number}.{nth}"
        save = RecordCheckpoint(
            checkpoint_id=f"ckpt-{name}.periodic",
            job_id=job_id,
            attempt=number,
            location=f"simulated:{name}",
            size_bytes=0,
            sha256="",
        )
        self._expect(at_ms + self._every_ms[job_id], (save,))


def refused(commands: Sequence[Command], error: TaskSchedulerError) -> None:
    """An attempt that has ended meanwhile saves nothing; any other refusal is a mistake of the study."""
    if not all(isinstance(command, RecordCheckpoint) for command in commands):
        raise error
