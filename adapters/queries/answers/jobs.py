"""Answers about jobs: the queue, everything about one job, and why it waits or ran."""

from typing import Any

from adapters.queries.answers.outlook import OutlookAnswer
from adapters.queries.answers.parts import Answer, ReasonAnswer, RequirementAnswer
from domain.checkpoint import CheckpointState, CheckpointType
from domain.dependency import DependencyState, DependencyType
from domain.intervals import TaskSet
from domain.job.values import FailureClass, JobStatus, NodeSlots, Priority, StopCause


class JobLine(Answer, frozen=True, kw_only=True):
    """One job as a line of a list."""

    job_id: str
    name: str
    client_id: str
    workflow_id: str | None
    status: JobStatus
    priority: Priority
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
    requirement: RequirementAnswer
    submitted_ms: int
    queued_ms: int | None
    started_ms: int | None
    """When its first attempt began to run."""
    ended_ms: int | None
    deadline_ms: int | None
    late_ms: int | None
    """How long after its deadline it ended, negative if before; None without a deadline or while it is live."""
    not_before_ms: int | None
    walltime_ms: int | None
    held: bool
    paused: bool
    held_by: str
    """Who held it, such as `user:ada`; empty when it is not held."""
    paused_by: str
    note: str
    """What was said when it was held, paused, unqueued or cancelled; of a failed one, how its last task failed."""
    why: str
    """The main blocker in words; empty when nothing is known to stand before it."""
    reasons: tuple[ReasonAnswer, ...]
    """All blockers, the main one first."""


class QueueAnswer(Answer, frozen=True, kw_only=True):
    """A page of jobs."""

    rows: list[JobLine]
    total: int
    """How many match, on all pages."""
    position: int
    at_ms: int


class TaskSets(Answer, frozen=True, kw_only=True):
    """Which tasks stand where, as sets such as `1-40,90`."""

    all: TaskSet
    waiting: TaskSet
    delayed: tuple[tuple[int, TaskSet], ...]
    """(until_ms, tasks)"""
    running: TaskSet
    succeeded: TaskSet
    failed: TaskSet
    cancelled: TaskSet


class AttemptAnswer(Answer, frozen=True, kw_only=True):
    """One run of one task."""

    attempt_id: str
    task: int
    attempt: int
    host: str
    nodes: tuple[NodeSlots, ...]
    placed_ms: int
    started_ms: int | None
    ended_ms: int | None
    outcome: str
    """`running`, `succeeded`, `failed`, `lost`, or, when it was told to stop, `cancelled`, `requeued`, `walltime`."""
    exit_code: int | None
    signal: int | None
    failure: FailureClass | None
    message: str
    cpu_ms: int
    max_rss_mib: int
    progress: int
    status_text: str
    stopping: StopCause | None
    restored_from: str | None
    checkpoint_id: str | None
    partial_path: str | None
    partial_quality: int | None
    partial_cost_ms: int
    """How long all its partial results took to make, as far as it said."""
    output_log: str
    """Path of what it printed; the file is there once it has started."""
    preempted_by: str | None = None
    """The job for which it made way, if it did."""
    suspended_ms: int | None = None
    """Since when it stands still for another job; None while it does not."""


class DependencyAnswer(Answer, frozen=True, kw_only=True):
    """One edge into or out of a job."""

    dependency_id: str
    predecessor_id: str
    successor_id: str
    type: DependencyType
    state: DependencyState


class CheckpointAnswer(Answer, frozen=True, kw_only=True):
    """One saved state of a task."""

    checkpoint_id: str
    task: int
    taken_ms: int
    state: CheckpointState
    type: CheckpointType
    location: str
    size_bytes: int
    sha256: str
    progress: int
    """How much of the task it stands for, in percent."""
    newest: bool
    """Whether the task's next attempt resumes from it."""


class JobAnswer(Answer, frozen=True, kw_only=True):
    """Everything about one job."""

    job: JobLine
    spec: dict[str, Any]
    """As it was submitted, defaults included."""
    task_sets: TaskSets
    attempts: list[AttemptAnswer]
    """The newest ones, in the order in which they were placed; `job.attempts` says how many there were."""
    dependencies: list[DependencyAnswer]
    checkpoints: list[CheckpointAnswer]
    output_dir: str
    position: int
    at_ms: int


class WaitAnswer(Answer, frozen=True, kw_only=True):
    """A span of time in which the job waited for the same things."""

    from_ms: int
    to_ms: int | None
    """None while it still waits so."""
    reasons: tuple[ReasonAnswer, ...]
    """What for; empty from being queued until the next cycle looked."""


class PlacementAnswer(Answer, frozen=True, kw_only=True):
    """Why some tasks went where they went, as the cycle recorded it."""

    at_ms: int
    started_ms: int | None
    tasks: TaskSet
    nodes: tuple[NodeSlots, ...]
    policy: str
    """The placement policy that chose the node."""
    order: str
    """The order policy that put the job at its place in the queue."""
    score: float
    """How well the first node suited, 0..1."""
    candidates: int
    """How many nodes could have held it."""
    overtook: str
    """The first job before it in the queue that waited; empty when none did."""
    overtook_start_ms: int | None
    """When that one could start, if room was kept for it: this placement did not delay it."""
    cycle: int
    """The log position that the plan was made for."""
    position: int
    text: str


class FailureAnswer(Answer, frozen=True, kw_only=True):
    """How a task failed the last time, as its executor saw it."""

    at_ms: int
    task: int
    attempt: int
    times: int
    """How often the task has failed since the job was submitted or retried."""
    exit_code: int | None
    signal: int | None
    failure: FailureClass | None
    message: str
    position: int
    text: str


class InterruptionAnswer(Answer, frozen=True, kw_only=True):
    """One moment in which it made way for another job, or another one for it."""

    at_ms: int
    other: str
    """The other job, or jobs; empty where none is meant."""
    position: int
    text: str


class ExplainAnswer(Answer, frozen=True, kw_only=True):
    """Why a job waits, or why it ran where and when it did: read from the log, all but the outlook."""

    job_id: str
    name: str
    status: JobStatus
    submitted_ms: int
    started_ms: int | None
    ended_ms: int | None
    waited_ms: int
    """From being submitted until its first attempt ran, or until now."""
    late_ms: int | None
    """How long after its deadline it ended, negative if before; None without a deadline or while it is live."""
    reasons: tuple[ReasonAnswer, ...]
    """What it waits for at this moment, the main blocker first."""
    outlook: OutlookAnswer | None
    """What it can look forward to, worked out from the farm as it was then; None if no task of it waited."""
    waits: list[WaitAnswer]
    """What it waited for, in order, since it was submitted."""
    placements: list[PlacementAnswer]
    """The newest ones, in order."""
    placements_total: int
    failures: list[FailureAnswer]
    """Tasks that failed and have not succeeded since, each with its last failure; the newest ones."""
    interruptions: list[InterruptionAnswer]
    """For whom it made way, and who made way for it; the newest ones, then what is so now."""
    text: str
    """The same as sentences, one a line."""
    position: int
    at_ms: int


class LogAnswer(Answer, frozen=True, kw_only=True):
    """What an attempt printed."""

    attempt_id: str
    path: str
    size_bytes: int
    text: str
    """The end of it where `tail` or the limit left something out."""
    complete: bool
    """Whether nothing was left out."""


class WaitedAnswer(Answer, frozen=True, kw_only=True):
    """How a job or workflow stands after waiting for it."""

    kind: str
    """`job` or `workflow`."""
    id: str
    name: str
    status: JobStatus
    outcome: str
    """`ended`, `stuck` (it cannot go on unless somebody does something), or `timeout`."""
    why: str
    """What it is stuck on, or waits for; empty when it has ended."""
    ended_ms: int | None
    position: int
