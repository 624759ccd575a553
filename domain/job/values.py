"""What a job is made of: its specification, its status words, its attempts, and its state.

The state holds only what deciding needs: live attempts, and canonical sets of the tasks that wait or have ended.
History belongs to projections. Task sets rather than task objects keep an array of 100,000 tasks a few bytes long.
"""

from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from msgspec.structs import replace

from domain import intervals
from domain.intervals import TaskSet
from domain.messages import CheckpointId, ClientId, JobId, NodeId, Value, WorkflowId
from domain.resources import Requirement, Resources

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
    PREEMPTED = "preempted"
    """Its room is needed by work that comes before it; its task waits again."""
    EVACUATED = "evacuated"
    """Its node is needed for what was booked there; its task waits again."""


class PreemptionMode(StrEnum):
    """What happens to work whose room is needed by work that comes before it."""

    NONE = "none"
    """Nothing: running work is left alone."""
    REQUEUE = "requeue"
    """It is told to end and waits again."""
    SUSPEND = "suspend"
    """It stands still where it is, keeps its memory, and gives back its cores."""
    CHECKPOINT = "checkpoint"
    """It saves its state, ends, and waits to go on from there."""


class PreemptionCause(StrEnum):
    """By what right running work is interrupted."""

    PRIORITY = "priority"
    """The preemptor stands at least so many levels above its victims as the policy says."""
    RECLAIM = "reclaim"
    """The victims run on capacity that is guaranteed to the preemptor's client and was lent."""
    DEADLINE = "deadline"
    """The preemptor would miss its deadline, and its victims would not for it."""


class Protection(Value, frozen=True):
    """A contract about interruption. Without any of these terms, whatever has the right to may interrupt."""

    never: bool = False
    """Nothing interrupts it, ever."""
    until_ms: int | None = None
    """Nothing interrupts it before this time."""
    after_checkpoint: bool = False
    """An attempt may be interrupted only once it has saved its state since its own start."""


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


class Progressive(Value, frozen=True):
    """How a job shows something before it is done."""

    every: int = 1
    """Its first, every so many-th and last task come before the others, so that the whole can soon be seen roughly."""
    approve: bool = False
    """Whether the others wait until somebody has seen the first ones and approves."""
    overhead_percent: int = 5
    """How much of an attempt's run time may go into results that can be looked at before the end. The program is told,
    and what it says that they took is held against it."""


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
    progressive: Progressive | None = None
    """What comes first, if not simply the lowest task."""
    protection: Protection | None = None
    """When it may be interrupted by work that comes before it; None means as its client's contract says."""
    checkpoints: bool = False
    """Whether an attempt that is told to end saves its state within its grace period, for the next one to go on."""


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
    suspended_at_ms: int | None = None
    """Since when it stands still for work that came before it; None while it has its cores."""
    suspended_ms: int = 0
    """How long it stood still so in all, the present time not counted."""
    resumed_ms: int | None = None
    """When it went on last."""
    grace_ms: int | None = None
    """Between being told to end and being killed; None means as the job says."""

    def held(self, per_slot: Resources) -> Resources:
        """What each of its slots holds of its node: while it is suspended everything but the cores."""
        return per_slot if self.suspended_at_ms is None else without_cores(per_slot)

    def ran_ms(self, now_ms: int) -> int:
        """How long it has run since its start, the time it stood suspended not counted; 0 before its start."""
        if self.started_ms is None:
            return 0
        upto_ms = now_ms if self.suspended_at_ms is None else self.suspended_at_ms
        return max(0, upto_ms - self.started_ms - self.suspended_ms)


@lru_cache(maxsize=65_536)
def without_cores(per_slot: Resources) -> Resources:
    """What is left of an amount when its processor time is given back."""
    return replace(per_slot, millicores=0)


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
    attempt: AttemptNumber = 0
    """The attempt that saved it; 0 where that was not noted."""
    ran_ms: int = 0
    """How long that attempt had run by then."""
    kept_ms: int = 0
    """How much run time it stands for, that of the attempts before it included."""


class Claim(Value, frozen=True):
    """Room that is held for waiting tasks of a job, because running work makes way for them."""

    mode: PreemptionMode
    why: PreemptionCause
    at_ms: int
    places: tuple[tuple[NodeSlots, ...], ...]
    """Where each of these tasks is to start: nodes with slots."""


class ClaimedPlace(Value, frozen=True):
    """Where one task of a preemptor is to start."""

    nodes: tuple[NodeSlots, ...]
    otherwise_ms: int | None = None
    """When it would have started without, by what was expected at that moment; None when nobody could say."""


class Victim(Value, frozen=True):
    """One attempt that makes way, with what that costs."""

    job_id: JobId
    attempt: AttemptNumber
    task: int
    nodes: tuple[NodeSlots, ...]
    millicores: int = 0
    """Its processors, all slots together."""
    level: float = 0.0
    """Its level of priority."""
    ran_ms: int = 0
    """How long it has run."""
    at_risk_ms: int = 0
    """How much of that is not saved: since its own last checkpoint, or since its start."""
    lost_ms: int = 0
    """How much of that is expected to be done again: all, or nothing where the state is kept or saved on demand."""


class Alternative(Value, frozen=True):
    """Another set of victims that would have made enough room, and why it was not taken."""

    victims: tuple[tuple[JobId, AttemptNumber], ...]
    nodes: tuple[NodeId, ...]
    worse: str
    """The first measure in which it is worse than what was taken: `level`, `cost`, `victims` or `name`."""
    level: float = 0.0
    """The highest level of priority among them."""
    cost: float = 0.0
    """Their weighted cost."""


class PreemptedAttempt(Value, frozen=True):
    """One attempt of a job that makes way."""

    attempt: AttemptNumber
    task: int
    ran_ms: int = 0
    """How long it has run."""
    lost_ms: int = 0
    """How much of that is expected to be done again."""
    checkpoint_id: CheckpointId | None = None
    """The checkpoint from which the next attempt goes on, if there is one already."""


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
    gated: TaskSet = ""
    """Tasks that wait for somebody's approval."""
    approved: bool = False
    """Whether somebody has given it."""
    protection: Protection | None = None
    """Its contract about interruption; None means as its client's says."""
    claim: Claim | None = None
    """Room that is held for it."""
    preempted: dict[int, int] = {}
    """How often each task was preempted; those that succeeded or never were are absent."""

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
        tasks = intervals.union(self.waiting, self.gated) if self.gated else self.waiting
        for _, delayed in self.delayed:
            tasks = intervals.union(tasks, delayed)
        return tasks

    @property
    def running(self) -> TaskSet:
        """Tasks with a live attempt."""
        return intervals.of(attempt.task for attempt in self.live.values())


def unsaved_ms(job: Job, number: AttemptNumber, now_ms: int) -> int:
    """How much run time of a live attempt is lost if it ends now: since its own last checkpoint, or since its start."""
    attempt = job.live[number]
    saved = job.checkpoints.get(attempt.task)
    kept_ms = saved.ran_ms if saved is not None and saved.attempt == number else 0
    return max(0, attempt.ran_ms(now_ms) - kept_ms)


def coarse(spec: JobSpec) -> TaskSet:
    """The tasks of a progressive job that come first."""
    return spec.tasks if spec.progressive is None else intervals.every(spec.tasks, spec.progressive.every)


def gate(spec: JobSpec, tasks: TaskSet) -> tuple[TaskSet, TaskSet]:
    """Those of some tasks that may go on, and those that wait for approval, as long as nobody has given it."""
    if spec.progressive is None or not spec.progressive.approve:
        return tasks, ""
    first = intervals.intersection(tasks, coarse(spec))
    return first, intervals.difference(tasks, first)


def attempt_id(job_id: JobId, task: int, number: AttemptNumber) -> str:
    """The name of one attempt in the world: directory, environment, fencing token."""
    return f"{job_id}.{task}.{number}"


def parse_attempt_id(text: str) -> tuple[JobId, int, AttemptNumber]:
    """The parts of an attempt id; ValueError if it is none."""
    job_id, task, number = text.rsplit(".", 2)
    return job_id, int(task), int(number)
