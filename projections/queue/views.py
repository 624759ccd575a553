"""What a reader of the queue gets: frozen values that turn into JSON as they are."""

from enum import StrEnum

import msgspec

from domain.decisions import Reason
from domain.dependency import DependencyState, DependencyType
from domain.job.values import FailureClass, JobStatus, NodeSlots, Priority, StopCause
from domain.messages import CheckpointId, ClientId, DependencyId, JobId, NodeId, WorkflowId
from domain.resources import Requirement

LIVE = (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED)


class JobOrder(StrEnum):
    """In which order jobs are listed; ties are broken by submission."""

    PRIORITY = "priority"
    """Highest priority first, then first come."""
    OLDEST = "oldest"
    NEWEST = "newest"
    DEADLINE = "deadline"
    """Nearest deadline first, those without one last."""
    NAME = "name"
    ENDED = "ended"
    """Ended last first; live jobs before all."""


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs; every condition given must hold."""

    status: frozenset[JobStatus] = frozenset()
    """Jobs with one of these; empty means all that have not ended."""
    all: bool = False
    """Also jobs that have ended, when no status is given."""
    client_id: ClientId | None = None
    workflow_id: WorkflowId | None = None
    text: str = ""
    """Part of the name or id, in any case."""


LIVE_JOBS = JobFilter()


class DependencyView(msgspec.Struct, frozen=True):
    """One edge into or out of a job."""

    dependency_id: DependencyId
    predecessor_id: JobId
    successor_id: JobId
    type: DependencyType
    state: DependencyState
    why: str


class JobView(msgspec.Struct, frozen=True):
    """One job with its task counts and blockers. Times are ms since 1970 UTC, None where it has not come to that."""

    job_id: JobId
    name: str
    client_id: ClientId
    workflow_id: WorkflowId | None
    status: JobStatus
    priority: Priority
    requirement: Requirement
    tasks: int
    waiting: int
    delayed: int
    """In back-off after a failure."""
    running: int
    succeeded: int
    failed: int
    cancelled: int
    attempts: int
    progress: int
    """Percent of all tasks, running ones counted as far as they have come."""
    submitted_ms: int
    queued_ms: int | None
    started_ms: int | None
    """When its first attempt began to run."""
    ended_ms: int | None
    deadline_ms: int | None
    not_before_ms: int | None
    walltime_ms: int | None
    held: bool
    paused: bool
    held_by: str
    """Who held it, such as `user:ada`; empty when it is not held."""
    paused_by: str
    segment: str
    """Where its recorded reasons are found."""
    why: str
    """What was said when it was held, paused, unqueued or cancelled; of a failed one, how its last task failed."""
    blocker: str
    """The main blocker in words; empty when nothing is known to stand before it."""
    blockers: tuple[Reason, ...]
    """All of them as data, the main one first."""

    @property
    def late_ms(self) -> int | None:
        """How long after its deadline it ended, negative if before; None without a deadline or while it is live."""
        if self.deadline_ms is None or self.ended_ms is None:
            return None
        return self.ended_ms - self.deadline_ms


class WorkflowView(msgspec.Struct, frozen=True):
    """One workflow: sums over its jobs."""

    workflow_id: WorkflowId
    name: str
    client_id: ClientId
    status: JobStatus
    """As its last event says once it has ended; before that, that of its job that is furthest on."""
    submitted_ms: int
    ended_ms: int | None
    archived: bool
    why: str
    jobs: dict[JobStatus, int]
    """How many jobs it has in each status, all seven named."""
    tasks: int
    tasks_running: int
    tasks_succeeded: int
    tasks_failed: int
    progress: int
    """Percent of its tasks that have succeeded."""


class AttemptView(msgspec.Struct, frozen=True):
    """One run of one task."""

    attempt_id: str
    job_id: JobId
    task: int
    attempt: int
    host: NodeId
    nodes: tuple[NodeSlots, ...]
    placed_ms: int
    started_ms: int | None
    ended_ms: int | None
    outcome: str
    """`running`, `succeeded`, `failed`, `lost`, or, when it was told to stop, `cancelled` or `requeued`."""
    exit_code: int | None
    signal: int | None
    failure: FailureClass | None
    message: str
    cpu_ms: int
    max_rss_mib: int
    progress: int
    status_text: str
    stopping: StopCause | None
    """Why it was told to end, if it was."""
    restored_from: CheckpointId | None
    checkpoint_id: CheckpointId | None
    """The newest checkpoint it left."""
    partial_path: str | None
    partial_quality: int | None
    partial_cost_ms: int
    """How long all its partial results took to make, as far as it said."""
    preempted_by: JobId | None
    """The job for which it made way, if it did."""
    suspended_ms: int | None
    """Since when it stands still for another job; None while it does not."""


class WaitView(msgspec.Struct, frozen=True):
    """How long jobs of one client waited from being queued until their first attempt ran."""

    client_id: ClientId
    jobs: int
    mean_ms: int
    longest_ms: int
