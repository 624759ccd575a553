"""How a live workflow stands, in three counts, so that no end of a job has to look at all the others.

Folded by the farm with every event of a job; a batch counts on from there with what it has staged.
"""

from collections.abc import Callable, Iterable, Mapping

from domain.job.values import Job, JobStatus
from domain.messages import JobId, WorkflowId

_Standing = tuple[int, int, int]
_WAITS: _Standing = (1, 0, 0)
_GOES_ON: _Standing = (1, 1, 0)
_COMPLETED: _Standing = (0, 0, 0)
_ENDED_BADLY: _Standing = (0, 0, 1)


class Tally:
    """Counts of the jobs of one live workflow."""

    __slots__ = ("bad", "going", "left")

    def __init__(self, left: int = 0, going: int = 0, bad: int = 0) -> None:
        self.left = left
        """Jobs that have not ended, those still to be submitted included."""
        self.going = going
        """Those of them that are queued or have a live attempt: they can go on, whatever the others do."""
        self.bad = bad
        """Jobs that failed or were cancelled."""

    @classmethod
    def of(
        cls, jobs: Iterable[JobId], job: Callable[[JobId], Job | None], outcomes: Mapping[JobId, JobStatus]
    ) -> "Tally":
        """Counts all jobs of a workflow: from their states, else from how they ended, else as still to come."""
        tally = cls()
        for job_id in jobs:
            state = job(job_id)
            tally.add(_after(outcomes.get(job_id)) if state is None else _standing(state))
        return tally

    def add(self, standing: _Standing = _WAITS) -> None:
        """Counts one job in: one that is still to be submitted, unless it is said how it stands."""
        self.left += standing[0]
        self.going += standing[1]
        self.bad += standing[2]

    def move(self, before: Job | None, after: Job) -> None:
        """A job went from one state to the next; it had none before it was submitted."""
        was = _WAITS if before is None else _standing(before)
        now = _standing(after)
        if was is not now:
            self.left += now[0] - was[0]
            self.going += now[1] - was[1]
            self.bad += now[2] - was[2]

    def reopen(self, retried: Job) -> None:
        """A job was retried, which only one that failed or was cancelled can be."""
        self.bad -= 1
        self.add(_standing(retried))

    def copy(self) -> "Tally":
        """An independent copy."""
        return Tally(self.left, self.going, self.bad)


class Tallies(dict[WorkflowId, Tally]):
    """The tallies of live workflows; jobs of others, or of none, are passed over."""

    def move(self, before: Job | None, after: Job) -> None:
        """A job went from one state to the next."""
        workflow_id = after.spec.workflow_id
        if workflow_id is not None and workflow_id in self:
            self[workflow_id].move(before, after)

    def reopen(self, retried: Job) -> None:
        """A job was retried; if its workflow had ended, that is counted anew when it is reopened."""
        workflow_id = retried.spec.workflow_id
        if workflow_id is not None and workflow_id in self:
            self[workflow_id].reopen(retried)


def _standing(job: Job) -> _Standing:
    if job.ended is not None:
        return _after(job.ended)
    return _GOES_ON if job.queued or job.live else _WAITS


def _after(ended: JobStatus | None) -> _Standing:
    if ended is None:
        return _WAITS
    return _COMPLETED if ended is JobStatus.COMPLETED else _ENDED_BADLY
