"""The facts of a job's life, in the order in which they usually happen."""

from domain.intervals import TaskSet
from domain.job.values import (
    Alternative,
    AttemptEnd,
    AttemptNumber,
    ClaimedPlace,
    Job,
    JobSpec,
    Placement,
    PlacementReason,
    PreemptedAttempt,
    PreemptionCause,
    PreemptionMode,
    Priority,
    Protection,
    StopCause,
    Victim,
)
from domain.messages import CheckpointId, ClientId, Event, JobId, NodeId


class JobSubmitted(Event, frozen=True, kw_only=True, tag="job.submitted"):
    """A job entered the farm with its full specification."""

    spec: JobSpec
    queued: bool = False
    """Whether nothing but resources stands before it (no dependencies, no start time ahead)."""
    held: bool = False


class JobQueued(Event, frozen=True, kw_only=True, tag="job.queued"):
    """Dependencies are met and the start time has come: its tasks may be placed."""

    job_id: JobId


class JobUnqueued(Event, frozen=True, kw_only=True, tag="job.unqueued"):
    """A dependency was reopened: no further task starts until it is satisfied again."""

    job_id: JobId
    why: str


class JobHeld(Event, frozen=True, kw_only=True, tag="job.held"):
    """Somebody held the job back: no task of it starts until it is unheld."""

    job_id: JobId
    why: str = ""


class JobUnheld(Event, frozen=True, kw_only=True, tag="job.unheld"):
    """The hold was lifted."""

    job_id: JobId
    why: str = ""


class JobPaused(Event, frozen=True, kw_only=True, tag="job.paused"):
    """The job was paused: its attempts are suspended where they are, and none starts."""

    job_id: JobId
    why: str = ""


class JobResumed(Event, frozen=True, kw_only=True, tag="job.resumed"):
    """The job goes on after a pause."""

    job_id: JobId
    why: str = ""


class JobPriorityChanged(Event, frozen=True, kw_only=True, tag="job.priority_changed"):
    """A person gave the job another priority."""

    job_id: JobId
    priority: Priority
    before: Priority
    why: str = ""


class JobDeadlineChanged(Event, frozen=True, kw_only=True, tag="job.deadline_changed"):
    """The job got another deadline, or none."""

    job_id: JobId
    deadline_ms: int | None
    before_ms: int | None
    why: str = ""


class TasksPlaced(Event, frozen=True, kw_only=True, tag="job.tasks_placed"):
    """Tasks of one job were bound to nodes; they hold those resources from now on."""

    job_id: JobId
    client_id: ClientId
    placements: tuple[Placement, ...]
    reason: PlacementReason


class TasksStarted(Event, frozen=True, kw_only=True, tag="job.tasks_started"):
    """Attempts began to run."""

    job_id: JobId
    attempts: tuple[AttemptNumber, ...]


class ProgressMarked(Event, frozen=True, kw_only=True, tag="job.progress_marked"):
    """An attempt crossed a progress step."""

    job_id: JobId
    task: int
    attempt: AttemptNumber
    percent: int
    status: str = ""


class PartialPublished(Event, frozen=True, kw_only=True, tag="job.partial_published"):
    """An attempt published a result that can be looked at before it is finished."""

    job_id: JobId
    task: int
    attempt: AttemptNumber
    path: str
    quality: int
    """0..100, in the words of the program that made it."""
    cost_ms: int = 0
    """How long it took to make, as far as the program says."""


class TaskCheckpointed(Event, frozen=True, kw_only=True, tag="job.task_checkpointed"):
    """The next attempt of this task resumes from this checkpoint."""

    job_id: JobId
    task: int
    attempt: AttemptNumber
    checkpoint_id: CheckpointId
    location: str
    progress: int = 0
    ran_ms: int | None = None
    """How long the attempt had run by then, the time it stood suspended not counted; None where it was not noted."""
    kept_ms: int = 0
    """How much run time the checkpoint stands for, that of the attempts before it included."""


class TasksSucceeded(Event, frozen=True, kw_only=True, tag="job.tasks_succeeded"):
    """Attempts ended well; their tasks are done and their resources free."""

    job_id: JobId
    ends: tuple[AttemptEnd, ...]


class TasksFailed(Event, frozen=True, kw_only=True, tag="job.tasks_failed"):
    """Attempts ended badly; their resources are free."""

    job_id: JobId
    ends: tuple[AttemptEnd, ...]


class TasksLost(Event, frozen=True, kw_only=True, tag="job.tasks_lost"):
    """A node went away with these attempts; how they ended is not known."""

    job_id: JobId
    node_id: NodeId
    attempts: tuple[AttemptNumber, ...]
    tasks: TaskSet


class TasksStopping(Event, frozen=True, kw_only=True, tag="job.tasks_stopping"):
    """Attempts were told to end; they hold their resources until they have."""

    job_id: JobId
    attempts: tuple[AttemptNumber, ...]
    cause: StopCause
    grace_ms: int
    why: str = ""
    """What a person said who asked for it."""


class TasksStopped(Event, frozen=True, kw_only=True, tag="job.tasks_stopped"):
    """Attempts that were told to end have ended; their resources are free."""

    job_id: JobId
    ends: tuple[AttemptEnd, ...]
    cause: StopCause


class TasksRequeued(Event, frozen=True, kw_only=True, tag="job.tasks_requeued"):
    """Tasks wait again, after a failure, a loss, or because somebody asked."""

    job_id: JobId
    tasks: TaskSet
    why: str
    """A FailureClass or a StopCause."""
    not_before_ms: int | None = None
    """The end of their back-off; None means at once."""


class TasksPreempted(Event, frozen=True, kw_only=True, tag="job.tasks_preempted"):
    """Running attempts make way for a job that comes before this one; they are stopped or suspended next."""

    job_id: JobId
    attempts: tuple[PreemptedAttempt, ...]
    preemptor: JobId
    mode: PreemptionMode
    why: PreemptionCause


class TasksSuspended(Event, frozen=True, kw_only=True, tag="job.tasks_suspended"):
    """Attempts stand still for another job: they keep everything but their cores, which are free from now on."""

    job_id: JobId
    attempts: tuple[AttemptNumber, ...]
    preemptor: JobId = ""


class TasksResumed(Event, frozen=True, kw_only=True, tag="job.tasks_resumed"):
    """Suspended attempts have their cores again and go on where they stood."""

    job_id: JobId
    attempts: tuple[AttemptNumber, ...]


class RoomClaimed(Event, frozen=True, kw_only=True, tag="job.room_claimed"):
    """Running work makes way for tasks of this job, and its room is held for them until they start."""

    job_id: JobId
    client_id: ClientId
    mode: PreemptionMode
    why: PreemptionCause
    places: tuple[ClaimedPlace, ...]
    """Where each of these tasks is to start."""
    victims: tuple[Victim, ...]
    alternatives: tuple[Alternative, ...] = ()
    """Other sets of victims that were considered for the first of these places, the best first."""
    considered: int = 0
    """How many sets of victims would have done for it."""
    millicores: int = 0
    """Processors of each of these tasks, all slots together."""


class ClaimReleased(Event, frozen=True, kw_only=True, tag="job.claim_released"):
    """Room that was held for this job is held no more."""

    job_id: JobId
    why: str


class JobProtectionChanged(Event, frozen=True, kw_only=True, tag="job.protection_changed"):
    """The job has another contract about interruption; None means as its client's says."""

    job_id: JobId
    protection: Protection | None
    before: Protection | None
    why: str = ""


class JobCompleted(Event, frozen=True, kw_only=True, tag="job.completed"):
    """Every task succeeded."""

    job_id: JobId


class JobFailed(Event, frozen=True, kw_only=True, tag="job.failed"):
    """Every task has ended, and some failed for good."""

    job_id: JobId
    failed: TaskSet


class JobCancelled(Event, frozen=True, kw_only=True, tag="job.cancelled"):
    """A person ended the job; attempts still running are told to stop."""

    job_id: JobId
    why: str = ""


class JobApproved(Event, frozen=True, kw_only=True, tag="job.approved"):
    """Somebody has seen the first tasks and lets the others go on."""

    job_id: JobId
    tasks: TaskSet
    """Those that waited for it."""
    why: str = ""


class JobRetried(Event, frozen=True, kw_only=True, tag="job.retried"):
    """An ended job was opened again: these tasks wait as if they had never run.

    It carries the whole job as it stands now, for readers who forget what has ended.
    """

    job_id: JobId
    tasks: TaskSet
    job: Job
    why: str = ""


JobEvent = (
    JobSubmitted
    | JobQueued
    | JobUnqueued
    | JobHeld
    | JobUnheld
    | JobPaused
    | JobResumed
    | JobPriorityChanged
    | JobDeadlineChanged
    | TasksPlaced
    | TasksStarted
    | ProgressMarked
    | PartialPublished
    | TaskCheckpointed
    | TasksSucceeded
    | TasksFailed
    | TasksLost
    | TasksStopping
    | TasksStopped
    | TasksRequeued
    | TasksPreempted
    | TasksSuspended
    | TasksResumed
    | RoomClaimed
    | ClaimReleased
    | JobProtectionChanged
    | JobCompleted
    | JobFailed
    | JobCancelled
    | JobApproved
    | JobRetried
)
