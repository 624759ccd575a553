"""What a question is answered with: one frozen Struct per answer, whose JSON is the same at every door.

Every field is always there. Times are milliseconds since 1970-01-01 UTC and None where it has not come to that; amounts
are integers in the unit of their name. `position` is the log position that an answer is true for.
"""

from typing import Any

import msgspec

from domain.checkpoint import CheckpointState, CheckpointType
from domain.decisions import ReasonCode
from domain.dependency import DependencyState, DependencyType
from domain.intervals import TaskSet
from domain.job.values import FailureClass, JobStatus, NodeSlots, Priority, StopCause
from domain.log_level import LogLevel
from domain.node import NodeStatus


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers and their parts."""


# -- parts -------------------------------------------------------------------------------------------------------


class ReasonAnswer(Answer, frozen=True, kw_only=True):
    """One blocker: the numbers, and the sentence they make."""

    code: ReasonCode
    needed: int
    available: int
    resource: str
    node_id: str
    """The node that came closest; empty where no node is meant."""
    entity: str
    """The job, client or attribute that it is about."""
    until_ms: int | None
    text: str


class ResourcesAnswer(Answer, frozen=True, kw_only=True):
    """Amounts of every kind of resource."""

    millicores: int
    memory_mib: int
    gpus: int
    storage_mib: int
    network_mbps: int
    named: dict[str, int]
    """Licences and the like, by name."""


class RequirementAnswer(Answer, frozen=True, kw_only=True):
    """What one task needs."""

    resources: ResourcesAnswer
    """Per slot."""
    slots: int
    distinct_nodes: bool
    attributes: list[dict[str, Any]]
    text: str


# -- jobs --------------------------------------------------------------------------------------------------------


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
    not_before_ms: int | None
    walltime_ms: int | None
    held: bool
    paused: bool
    note: str
    """What was said when it was held, unqueued or cancelled."""
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
    output_log: str
    """Path of what it printed; the file is there once it has started."""


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


# -- explain -----------------------------------------------------------------------------------------------------


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
    cycle: int
    """The log position that the plan was made for."""
    position: int
    text: str


class ExplainAnswer(Answer, frozen=True, kw_only=True):
    """Why a job waits, or why it ran where and when it did; read from the log, never computed anew."""

    job_id: str
    name: str
    status: JobStatus
    submitted_ms: int
    started_ms: int | None
    ended_ms: int | None
    waited_ms: int
    """From being submitted until its first attempt ran, or until now."""
    reasons: tuple[ReasonAnswer, ...]
    """What it waits for at this moment, the main blocker first."""
    waits: list[WaitAnswer]
    """What it waited for, in order, since it was submitted."""
    placements: list[PlacementAnswer]
    """The newest ones, in order."""
    placements_total: int
    text: str
    """The same as sentences, one a line."""
    position: int
    at_ms: int


# -- nodes, workflows, clients -----------------------------------------------------------------------------------


class NodeLine(Answer, frozen=True, kw_only=True):
    """One node as it stands."""

    node_id: str
    status: NodeStatus
    draining: bool
    suspected: bool
    retired: bool
    why: str
    capacity: ResourcesAnswer
    used: ResourcesAnswer
    """What the attempts placed there hold."""
    attempts: int
    attributes: dict[str, tuple[str, ...]]


class NodesAnswer(Answer, frozen=True, kw_only=True):
    """All nodes, by id."""

    rows: list[NodeLine]
    position: int
    at_ms: int


class WorkflowLine(Answer, frozen=True, kw_only=True):
    """One workflow: sums over its jobs."""

    workflow_id: str
    name: str
    client_id: str
    status: JobStatus
    submitted_ms: int
    ended_ms: int | None
    archived: bool
    note: str
    jobs: dict[JobStatus, int]
    """How many jobs stand where, all seven statuses named."""
    tasks: int
    tasks_running: int
    tasks_succeeded: int
    tasks_failed: int
    progress: int
    """Percent of its tasks that have succeeded."""


class WorkflowsAnswer(Answer, frozen=True, kw_only=True):
    """Workflows, newest first."""

    rows: list[WorkflowLine]
    position: int
    at_ms: int


class WorkflowAnswer(Answer, frozen=True, kw_only=True):
    """One workflow with its jobs and the edges between them."""

    workflow: WorkflowLine
    jobs: list[JobLine]
    dependencies: list[DependencyAnswer]
    position: int
    at_ms: int


class ClientLine(Answer, frozen=True, kw_only=True):
    """One client: what it may use and what it uses now."""

    client_id: str
    name: str
    suspended: bool
    guarantee_percent: int
    limit_percent: int
    max_tasks: int | None
    tier: str
    running_tasks: int
    used_millicores: int
    used_gpus: int
    live_jobs: int


class ClientsAnswer(Answer, frozen=True, kw_only=True):
    """All clients, by id."""

    rows: list[ClientLine]
    position: int
    at_ms: int


class ClientUseAnswer(Answer, frozen=True, kw_only=True):
    """What one client used."""

    client_id: str
    core_s: float
    gpu_s: float
    task_s: float
    core_percent: float | None
    """Of the farm's capacity; None if there was none."""
    gpu_percent: float | None


class NodeUseAnswer(Answer, frozen=True, kw_only=True):
    """What was used of one node while it was in service."""

    node_id: str
    core_s: float
    gpu_s: float
    capacity_core_s: float
    capacity_gpu_s: float
    core_percent: float | None
    gpu_percent: float | None


class CurvePoint(Answer, frozen=True, kw_only=True):
    """Means over one part of a span of time that begins at `at_ms`."""

    at_ms: int
    cores: float
    gpus: float
    tasks: float
    capacity_cores: float
    capacity_gpus: float


class UtilizationAnswer(Answer, frozen=True, kw_only=True):
    """Use of the farm from `from_ms` until before `to_ms`."""

    percent: float
    """Cores used of cores in service, with one digit after the point; 0 if none was in service."""
    from_ms: int
    to_ms: int
    core_s: float
    gpu_s: float
    task_s: float
    """Attempts times seconds."""
    capacity_core_s: float
    capacity_gpu_s: float
    core_percent: float | None
    gpu_percent: float | None
    clients: list[ClientUseAnswer]
    nodes: list[NodeUseAnswer]
    curve: list[CurvePoint]
    position: int


# -- what happened -----------------------------------------------------------------------------------------------


class EventLine(Answer, frozen=True, kw_only=True):
    """One event as it is stored, and its sentence."""

    position: int
    stream: str
    version: int
    at_ms: int
    topic: str
    event: dict[str, Any]
    meta: dict[str, Any]
    sentence: str


class EventsAnswer(Answer, frozen=True, kw_only=True):
    """A page of events in log order; ask again with `after` set to `next_after` for the next one."""

    rows: list[EventLine]
    next_after: int | None
    """None when there is nothing more at present."""
    position: int


class StoryLine(Answer, frozen=True, kw_only=True):
    """One thing that happened to an entity."""

    position: int
    at_ms: int
    actor: str
    topic: str
    sentence: str


class StoryAnswer(Answer, frozen=True, kw_only=True):
    """What happened to one entity, in order: the newest lines when there are more than asked for."""

    id: str
    kind: str
    rows: list[StoryLine]
    complete: bool
    """Whether nothing was left out at the beginning."""
    position: int


class AuditLine(Answer, frozen=True, kw_only=True):
    """Who did what, when and why, and what came of it."""

    position: int
    at_ms: int
    level: LogLevel
    actor: str
    topic: str
    stream: str
    version: int
    outcome: str
    reason: str
    summary: str
    command_id: str
    cause: str
    cycle: int


class AuditAnswer(Answer, frozen=True, kw_only=True):
    """Audit entries, newest first."""

    rows: list[AuditLine]
    position: int


class LogAnswer(Answer, frozen=True, kw_only=True):
    """What an attempt printed."""

    attempt_id: str
    path: str
    size_bytes: int
    text: str
    """The end of it where `tail` or the limit left something out."""
    complete: bool
    """Whether nothing was left out."""


# -- doors -------------------------------------------------------------------------------------------------------


class ServerLine(Answer, frozen=True, kw_only=True):
    """The server that holds the store."""

    pid: int
    url: str
    started_ms: int
    version: str


class StatusAnswer(Answer, frozen=True, kw_only=True):
    """How the farm stands, in numbers."""

    version: str
    data_dir: str
    position: int
    view_position: int
    lag: int
    """How many events the read models are behind."""
    at_ms: int
    jobs: dict[JobStatus, int]
    """How many jobs stand where, ended ones included."""
    nodes: dict[NodeStatus, int]
    """How many nodes stand where, retired ones left out."""
    live_attempts: int
    server: ServerLine | None
    """None when no server runs."""


class ResolveAnswer(Answer, frozen=True, kw_only=True):
    """What a person meant by the beginning of an id, or by a name."""

    kind: str
    """`job`, `node`, `client`, `workflow`, `checkpoint` or `dependency`."""
    id: str
    name: str


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
