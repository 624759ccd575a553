"""What can be asked of a job."""

from domain.intervals import TaskSet
from domain.job.values import (
    Alternative,
    AttemptEnd,
    AttemptNumber,
    ClaimedPlace,
    JobSpec,
    Placement,
    PlacementReason,
    PreemptionCause,
    PreemptionMode,
    Priority,
    Protection,
    StopCause,
    Victim,
)
from domain.messages import CheckpointId, Command, JobId, NodeId


class SubmitJob(Command, frozen=True, kw_only=True, tag="submit-job"):
    """Enter one job; `spec.job_id` is made by the caller, so that asking twice is harmless."""

    spec: JobSpec
    held: bool = False
    after: tuple[JobId, ...] = ()
    """Jobs that must have completed before this one is queued."""


class QueueJob(Command, frozen=True, kw_only=True, tag="queue-job"):
    """Dependencies are met and the start time has come."""

    job_id: JobId


class UnqueueJob(Command, frozen=True, kw_only=True, tag="unqueue-job"):
    """A dependency was reopened."""

    job_id: JobId
    why: str


class HoldJob(Command, frozen=True, kw_only=True, tag="hold-job"):
    """Start no further task."""

    job_id: JobId
    why: str = ""


class UnholdJob(Command, frozen=True, kw_only=True, tag="unhold-job"):
    """Lift the hold."""

    job_id: JobId
    why: str = ""


class PauseJob(Command, frozen=True, kw_only=True, tag="pause-job"):
    """Suspend running attempts and start no further task."""

    job_id: JobId
    why: str = ""


class ResumeJob(Command, frozen=True, kw_only=True, tag="resume-job"):
    """Go on after a pause."""

    job_id: JobId
    why: str = ""


class PrioritizeJob(Command, frozen=True, kw_only=True, tag="prioritize-job"):
    """Give another priority."""

    job_id: JobId
    priority: Priority
    why: str = ""


class SetDeadline(Command, frozen=True, kw_only=True, tag="set-deadline"):
    """Give another deadline, or none."""

    job_id: JobId
    deadline_ms: int | None
    why: str = ""


class PlaceTasks(Command, frozen=True, kw_only=True, tag="place-tasks"):
    """Bind waiting tasks to nodes, as a plan decided."""

    job_id: JobId
    placements: tuple[Placement, ...]
    reason: PlacementReason


class ReportStarted(Command, frozen=True, kw_only=True, tag="report-started"):
    """The executor says that these attempts run."""

    job_id: JobId
    attempts: tuple[AttemptNumber, ...]


class ReportEnded(Command, frozen=True, kw_only=True, tag="report-ended"):
    """The executor says how these attempts ended."""

    job_id: JobId
    ends: tuple[AttemptEnd, ...]


class ReportProgress(Command, frozen=True, kw_only=True, tag="report-progress"):
    """The executor says how far an attempt has come."""

    job_id: JobId
    attempt: AttemptNumber
    percent: int
    status: str = ""


class ReportPartial(Command, frozen=True, kw_only=True, tag="report-partial"):
    """An attempt has something to show."""

    job_id: JobId
    attempt: AttemptNumber
    path: str
    quality: int
    cost_ms: int = 0


class NoteCheckpoint(Command, frozen=True, kw_only=True, tag="note-checkpoint"):
    """A checkpoint of a task was taken; remember it for the next attempt."""

    job_id: JobId
    attempt: AttemptNumber
    checkpoint_id: CheckpointId
    location: str
    progress: int = 0


class LoseAttempts(Command, frozen=True, kw_only=True, tag="lose-attempts"):
    """A node went away with these attempts."""

    job_id: JobId
    node_id: NodeId
    attempts: tuple[AttemptNumber, ...]


class StopAttempts(Command, frozen=True, kw_only=True, tag="stop-attempts"):
    """Tell running attempts to end."""

    job_id: JobId
    attempts: tuple[AttemptNumber, ...]
    cause: StopCause


class RequeueTasks(Command, frozen=True, kw_only=True, tag="requeue-tasks"):
    """Stop running tasks and let them wait again; None means all that run."""

    job_id: JobId
    tasks: TaskSet | None = None
    why: str = ""


class ClaimRoom(Command, frozen=True, kw_only=True, tag="claim-room"):
    """Hold room for tasks of a job that running work makes way for, as a plan decided."""

    job_id: JobId
    mode: PreemptionMode
    why: PreemptionCause
    places: tuple[ClaimedPlace, ...]
    victims: tuple[Victim, ...]
    alternatives: tuple[Alternative, ...] = ()
    considered: int = 0


class PreemptTasks(Command, frozen=True, kw_only=True, tag="preempt-tasks"):
    """Let running attempts make way for another job, as a plan decided."""

    job_id: JobId
    attempts: tuple[AttemptNumber, ...]
    preemptor: JobId
    mode: PreemptionMode
    why: PreemptionCause
    grace_ms: int | None = None
    """Between telling them to end and killing them; None means as the job says."""


class ResumeTasks(Command, frozen=True, kw_only=True, tag="resume-tasks"):
    """Give suspended attempts their cores back, as a plan decided."""

    job_id: JobId
    attempts: tuple[AttemptNumber, ...]


class ReleaseClaim(Command, frozen=True, kw_only=True, tag="release-claim"):
    """Hold no room for a job any more."""

    job_id: JobId
    why: str


class ProtectJob(Command, frozen=True, kw_only=True, tag="protect-job"):
    """Give a job another contract about interruption; None leaves it to its client's."""

    job_id: JobId
    protection: Protection | None
    why: str = ""


class ApproveJob(Command, frozen=True, kw_only=True, tag="approve-job"):
    """What the first tasks show is good: let the others go on."""

    job_id: JobId
    why: str = ""


class RetryJob(Command, frozen=True, kw_only=True, tag="retry-job"):
    """Open an ended job again for the tasks that failed or were cancelled."""

    job_id: JobId
    why: str = ""


class CancelJob(Command, frozen=True, kw_only=True, tag="cancel-job"):
    """End the job."""

    job_id: JobId
    why: str = ""


JobCommand = (
    SubmitJob
    | QueueJob
    | UnqueueJob
    | HoldJob
    | UnholdJob
    | PauseJob
    | ResumeJob
    | PrioritizeJob
    | SetDeadline
    | PlaceTasks
    | ReportStarted
    | ReportEnded
    | ReportProgress
    | ReportPartial
    | NoteCheckpoint
    | LoseAttempts
    | StopAttempts
    | RequeueTasks
    | ClaimRoom
    | PreemptTasks
    | ResumeTasks
    | ReleaseClaim
    | ProtectJob
    | ApproveJob
    | RetryJob
    | CancelJob
)
