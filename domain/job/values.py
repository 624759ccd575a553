"""What a job is made of: its specification, its status words, its attempts, and its state.

The state holds only what deciding needs: live attempts, and canonical sets of the tasks that wait or have ended.
History belongs to projections. Task sets rather than task objects keep an array of 100,000 tasks a few bytes long.
"""

from enum import StrEnum
from typing import TypeAlias

from domain import intervals
from domain.intervals import TaskSet
from domain.messages import CheckpointId, ClientId, JobId, NodeId, Value, WorkflowId
from domain.resources import Requirement

NodeSlots: TypeAlias = tuple[NodeId, int]
AttemptNumber: TypeAlias = int


class JobStatus(StrEnum):
    """Where a job stands; what it waits *for* is a reason, never another status."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Priority(StrEnum):
    """How urgent a person says a job is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


PRIORITY_RANK = {Priority.LOW: 0, Priority.MEDIUM: 1, Priority.HIGH: 2, Priority.CRITICAL: 3}
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class FailureClass(StrEnum):
    """Why an attempt did not succeed."""

    EXIT = "exit"
    """The command ended with another exit code than 0."""
    SIGNAL = "signal"
    """The command was ended by a signal that nobody here sent."""
    DECLARED = "declared"
    """The command said so itself (`openjd_fail:`)."""
    WALLTIME = "walltime"
    """It ran longer than the job's walltime."""
    MEMORY = "memory"
    """It went over its memory limit."""
    LAUNCH = "launch"
    """The command could not be started at all."""
    LOST = "lost"
    """Its node went away; how it ended is not known."""


class StopCause(StrEnum):
    """Why an attempt was told to end."""

    CANCELLED = "cancelled"
    REQUEUED = "requeued"
    WALLTIME = "walltime"
    GANG_BROKEN = "gang-broken"
    """Another node of its gang was lost; its own node still runs it."""


class Work(Value, frozen=True):
    """What an attempt executes, in the words of its runner; the core never looks inside."""

    argv: tuple[str, ...] = ()
    """Program and arguments; `{task}` stands for the task number."""
    env: dict[str, str] = {}
    """Variables added to the attempt's environment."""
    cwd: str | None = None
    """Directory to run in; None means the attempt's own directory."""
    runner: str = "command"
    """How to run it: `command`, or the name of a format's runner such as `openjd`."""
    payload: str = ""
    """What that runner needs beyond the fields above (JSON)."""


class JobSpec(Value, frozen=True):
    """Everything a person decides about a job when submitting it."""

    job_id: JobId
    name: str
    client_id: ClientId
    work: Work
    requirement: Requirement = Requirement()
    tasks: TaskSet = "0"
    workflow_id: WorkflowId | None = None
    priority: Priority = Priority.MEDIUM
    walltime_ms: int | None = None
    """The longest one attempt may run; time spent suspended does not count."""
    grace_ms: int = 5_000
    """Between asking an attempt to end and killing it."""
    retries: int = 0
    """How often one task may be tried again after it failed. A lost node does not count."""
    backoff_ms: int = 1_000
    """Before the first retry; doubled for each further one, at most an hour."""
    deadline_ms: int | None = None
    not_before_ms: int | None = None
    """The job is queued no earlier than this."""
    output_dir: str | None = None
    """Where results go; None means a directory of the job inside the data directory."""
    kind: str = ""
    """What sort of work it is, for what is learned about run times; empty means the job's name."""


class Attempt(Value, frozen=True):
    """One live run of one task: it holds its nodes' resources until it has ended."""

    task: int
    nodes: tuple[NodeSlots, ...]
    """Which nodes, with how many slots on each; the first one hosts the process."""
    placed_ms: int
    started_ms: int | None = None
    stopping: StopCause | None = None
    progress: int = 0
    """The last progress step that was recorded, in percent."""


class AttemptEnd(Value, frozen=True):
    """How one attempt ended, as its executor saw it."""

    attempt: AttemptNumber
    task: int
    exit_code: int | None = None
    signal: int | None = None
    failure: FailureClass | None = None
    """None when it succeeded."""
    message: str = ""
    started_ms: int | None = None
    ended_ms: int | None = None
    cpu_ms: int = 0
    """Processor time of the whole process group, user and system."""
    max_rss_mib: int = 0


class Placement(Value, frozen=True):
    """Tasks bound to the same nodes by one decision; the k-th task of `tasks` is attempt `first_attempt + k`."""

    tasks: TaskSet
    nodes: tuple[NodeSlots, ...]
    first_attempt: AttemptNumber = 0


class PlacementReason(Value, frozen=True):
    """Why these tasks went where they went."""

    policy: str
    """The placement policy that chose."""
    order: str
    """The order policy that put the job at its place in the queue."""
    score: float = 0.0
    """How well the first node suited, 0..1."""
    candidates: int = 0
    """How many nodes could have held the first of these tasks."""
    overtook: JobId = ""
    """The first blocked job that it started before; empty when none waited."""
    overtook_start_ms: int | None = None
    """When that job can start, if it holds a reservation: this one does not delay it."""


class TaskCheckpoint(Value, frozen=True):
    """The newest checkpoint of a task, from which its next attempt resumes."""

    checkpoint_id: CheckpointId
    location: str
    progress: int = 0


class Job(Value, frozen=True):
    """The state of one job: the fold of its events."""

    spec: JobSpec
    submitted_ms: int
    priority: Priority
    deadline_ms: int | None = None
    queued: bool = False
    held: bool = False
    paused: bool = False
    waiting: TaskSet = ""
    """Tasks that may be placed as soon as the job is queued."""
    delayed: tuple[tuple[int, TaskSet], ...] = ()
    """Tasks that wait out a back-off: (until_ms, tasks)."""
    live: dict[AttemptNumber, Attempt] = {}
    succeeded: TaskSet = ""
    failed: TaskSet = ""
    cancelled: TaskSet = ""
    next_attempt: AttemptNumber = 1
    failures: dict[int, int] = {}
    """How often each task has failed so far; tasks that never did are absent."""
    checkpoints: dict[int, TaskCheckpoint] = {}
    paused_at_ms: int | None = None
    paused_ms: int = 0
    """How long it has been paused in all, the present pause not counted."""
    ended: JobStatus | None = None
    ended_ms: int | None = None

    @property
    def status(self) -> JobStatus:
        """The published status word."""
        if self.ended is not None:
            return self.ended
        if self.paused:
            return JobStatus.PAUSED
        if self.live:
            return JobStatus.RUNNING
        return JobStatus.QUEUED if self.queued and not self.held else JobStatus.PENDING

    @property
    def startable(self) -> bool:
        """Whether its waiting tasks may be placed, resources permitting."""
        return self.queued and not self.held and not self.paused and self.ended is None

    @property
    def unplaced(self) -> TaskSet:
        """All tasks that are neither live nor ended."""
        tasks = self.waiting
        for _, delayed in self.delayed:
            tasks = intervals.union(tasks, delayed)
        return tasks

    @property
    def running(self) -> TaskSet:
        """Tasks with a live attempt."""
        return intervals.of(attempt.task for attempt in self.live.values())


def attempt_id(job_id: JobId, task: int, number: AttemptNumber) -> str:
    """The name of one attempt in the world: directory, environment, fencing token."""
    return f"{job_id}.{task}.{number}"


def parse_attempt_id(text: str) -> tuple[JobId, int, AttemptNumber]:
    """The parts of an attempt id; ValueError if it is none."""
    job_id, task, number = text.rsplit(".", 2)
    return job_id, int(task), int(number)
