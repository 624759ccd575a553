"""The rows of the queue view, and the fold that works on them.

Tasks are counted, not listed: every event about tasks moves a number from one count to another. The status word is
derived as in `domain.job.values.Job.status`, once per job and batch, when rows are written.
"""

import msgspec
from sqlalchemy import delete

from domain.decisions import Blocked
from domain.dependency import DependencyState
from domain.job.values import PRIORITY_RANK, JobStatus
from domain.messages import JobId, Recorded, WorkflowId
from projections import tables as t
from projections.projection import Fold
from projections.rows import Row, Rows, delete_rows, insert_rows

LIVE_ATTEMPT = "running"
Numbers = tuple[str, int, int, int, int]
"""What a workflow counts of a job: status, tasks, running, succeeded, failed."""

HEAD = ""
"""The row of recorded reasons that no segment has: behind whom jobs are that would delay a reserved one."""
RANK_PRIORITY = {rank: priority for priority, rank in PRIORITY_RANK.items()}
_encode = msgspec.json.Encoder().encode


class JobRow(Row):
    """A row of `jobs`, and the numbers that its workflow counts it with."""

    number: int
    job_id: JobId
    name: str
    client_id: str
    workflow_id: WorkflowId | None
    submitted_ms: int
    not_before_ms: int | None
    walltime_ms: int | None
    tasks: int
    requirement: str
    status: str
    priority: int
    """0 for LOW up to 3 for CRITICAL."""
    deadline_ms: int | None = None
    queued: bool = False
    held: bool = False
    paused: bool = False
    queued_ms: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    waiting: int = 0
    delayed: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    attempts: int = 0
    running_percent: int = 0
    """Sum of the progress of its live attempts."""
    progress: int = 0
    back_off: str = ""
    """[[until_ms, tasks], …] as JSON; empty when nothing is delayed."""
    segment: str = ""
    why: str = ""
    held_by: str = ""
    paused_by: str = ""
    failure: str = ""
    """What was said of its newest failed attempt."""
    gated: int = 0
    """How many of those that wait do so for somebody's approval."""
    counted: Numbers | None = None
    """Its numbers when it was written last; None if it never was."""

    def loaded(self) -> None:
        """Its workflow has counted it as it was stored."""
        self.counted = self.numbers()

    def numbers(self) -> Numbers:
        """What a workflow counts of a job."""
        return (self.status, self.tasks, self.running, self.succeeded, self.failed)


class WorkflowRow(Row):
    """A row of `workflows`: its own facts, and sums over its jobs."""

    number: int
    workflow_id: WorkflowId
    name: str
    client_id: str
    status: str
    submitted_ms: int
    ended_ms: int | None = None
    archived: bool = False
    why: str = ""
    pending: int = 0
    queued: int = 0
    running: int = 0
    paused: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    tasks: int = 0
    tasks_running: int = 0
    tasks_succeeded: int = 0
    tasks_failed: int = 0

    def count(self, numbers: Numbers, times: int) -> None:
        """Adds a job's numbers, or takes them away with `times=-1`."""
        status, tasks, running, succeeded, failed = numbers
        setattr(self, status, getattr(self, status) + times)
        self.tasks += tasks * times
        self.tasks_running += running * times
        self.tasks_succeeded += succeeded * times
        self.tasks_failed += failed * times


class AttemptRow(Row):
    """A row of `attempts`."""

    job: int
    attempt: int
    task: int
    host: str
    nodes: str
    placed_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None
    outcome: str = LIVE_ATTEMPT
    exit_code: int | None = None
    signal: int | None = None
    failure: str | None = None
    message: str = ""
    cpu_ms: int = 0
    max_rss_mib: int = 0
    progress: int = 0
    status_text: str = ""
    stopping: str | None = None
    restored_from: str | None = None
    checkpoint_id: str | None = None
    partial_path: str | None = None
    partial_quality: int | None = None
    partial_cost_ms: int = 0
    preempted_by: JobId | None = None
    suspended_ms: int | None = None


class DependencyRow(Row):
    """A row of `dependencies`."""

    number: int
    dependency_id: str
    predecessor_id: JobId
    successor_id: JobId
    type: str
    state: str
    why: str = ""


class CountRow(Row):
    """A row of `job_counts`."""

    status: str
    jobs: int = 0


class QueueFold(Fold):
    """The rows that a batch works on. Jobs, attempts and workflows that have ended leave memory."""

    def __init__(self) -> None:
        self.jobs: Rows[JobId, JobRow] = Rows(t.JOBS, JobRow, "job_id", _job_is_done)
        self.attempts: Rows[tuple[int, int], AttemptRow] = Rows(t.ATTEMPTS, AttemptRow, done=_attempt_is_done)
        self.workflows: Rows[WorkflowId, WorkflowRow] = Rows(
            t.WORKFLOWS, WorkflowRow, "workflow_id", lambda row: row.ended_ms is not None
        )
        self.edges: Rows[str, DependencyRow] = Rows(t.DEPENDENCIES, DependencyRow, "dependency_id", _edge_is_done)
        self.counts: Rows[str, CountRow] = Rows(t.JOB_COUNTS, CountRow)
        self.blocked: dict[str, tuple[Blocked, int] | None] = {}
        """New reasons of a segment with their time; None where there are none any more."""
        self.keyframe = False
        """Whether all reasons recorded before are void."""

    def load(self) -> None:
        """Reads the counts by status, or begins them: all seven are there from the first event on."""
        self.counts.load_all(self.connection)
        for status in JobStatus:
            if status.value not in self.counts.known:
                self.counts.add(status.value, CountRow(status.value))

    def job(self, job_id: JobId) -> JobRow:
        """The row of a job, to be changed."""
        return self.jobs.get(job_id, self.connection)

    def attempt(self, job: JobRow, number: int) -> AttemptRow:
        """The row of an attempt, to be changed."""
        return self.attempts.get((job.number, number), self.connection)

    def workflow(self, workflow_id: WorkflowId, recorded: Recorded) -> WorkflowRow:
        """The row of a workflow, to be changed; made at the first event that names the workflow."""
        known = self.workflows.find(workflow_id, self.connection)
        if known is not None:
            return known
        row = WorkflowRow(recorded.position, workflow_id, workflow_id, "", "", recorded.event.at_ms)
        return self.workflows.add(workflow_id, row)

    def flush(self) -> None:
        """Derives the status words, counts jobs into workflows, and writes everything."""
        for job in self.jobs.changed:
            self._count(job)
        for workflow in self.workflows.changed:
            workflow.status = _workflow_status(workflow)
        for rows in (self.jobs, self.attempts, self.workflows, self.edges, self.counts):
            rows.flush(self.connection)
        if self.keyframe or self.blocked:
            self._flush_reasons()

    def _count(self, job: JobRow) -> None:
        """Moves a job from where it was counted last to where it stands now."""
        job.status = _status(job)
        job.progress = (100 * job.succeeded + job.running_percent) // job.tasks if job.tasks else 0
        before, after = job.counted, job.numbers()
        if after == before:
            return
        job.counted = after
        if before is None or before[0] != after[0]:
            self._count_status(after[0], 1)
            if before is not None:
                self._count_status(before[0], -1)
        if job.workflow_id is not None:
            workflow = self.workflows.get(job.workflow_id, self.connection)
            workflow.count(after, 1)
            if before is not None:
                workflow.count(before, -1)

    def _count_status(self, status: str, jobs: int) -> None:
        self.counts.get(status, self.connection).jobs += jobs

    def _flush_reasons(self) -> None:
        if self.keyframe:
            self.connection.execute(delete(t.REASONS).where(t.REASONS.c.segment != HEAD))
        delete_rows(self.connection, t.REASONS, [(segment,) for segment in self.blocked])
        found = [known for known in self.blocked.values() if known is not None]
        rows = [(b.segment, _encode(b.reasons).decode(), b.jobs, at_ms) for b, at_ms in found]
        insert_rows(self.connection, t.REASONS, rows)
        self.blocked, self.keyframe = {}, False


def _job_is_done(row: JobRow) -> bool:
    return row.ended_ms is not None and not row.running


def _edge_is_done(row: DependencyRow) -> bool:
    return row.state != DependencyState.PENDING


def _attempt_is_done(row: AttemptRow) -> bool:
    return row.outcome != LIVE_ATTEMPT


def _status(job: JobRow) -> str:
    """As `Job.status`; the word of an ended job was set by the event that ended it."""
    if job.ended_ms is not None:
        return job.status
    if job.paused:
        return "paused"
    if job.running:
        return "running"
    return "queued" if job.queued and not job.held else "pending"


def _workflow_status(row: WorkflowRow) -> str:
    """The word of the job that is furthest on; when all have ended, the worst end."""
    if row.ended_ms is not None:
        return row.status
    for status in ("running", "queued", "paused", "pending", "failed", "cancelled", "completed"):
        if getattr(row, status):
            return status
    return "pending"
