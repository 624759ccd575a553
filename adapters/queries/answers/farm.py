"""Answers about the farm: status, nodes, workflows, clients, utilization."""

from adapters.queries.answers.jobs import DependencyAnswer, JobLine
from adapters.queries.answers.parts import Answer, ResourcesAnswer
from adapters.queries.answers.reservations import BookedAnswer
from domain.job.values import JobStatus
from domain.node import NodeStatus


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


class NodeLine(Answer, frozen=True, kw_only=True):
    """One node as it stands."""

    node_id: str
    status: NodeStatus
    draining: bool
    suspected: bool
    retired: bool
    asleep: bool
    """Whether it was powered down to save energy, and can be powered up."""
    why: str
    capacity: ResourcesAnswer
    used: ResourcesAnswer
    """What the attempts placed there hold."""
    attempts: int
    attributes: dict[str, tuple[str, ...]]
    partitions: list[str]
    booked: list[BookedAnswer]
    """Reservations with the node, the earliest window first."""
    """To which it belongs, by name."""


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
    borrow: bool
    borrow_percent: int
    lend: bool
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
