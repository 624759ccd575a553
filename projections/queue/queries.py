"""Questions to the queue view. Every function takes a connection and reads at most the rows that it returns."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from domain.decisions import Reason, ReasonCode
from domain.dependency import DependencyState, DependencyType
from domain.job.values import FailureClass, JobStatus, NodeSlots, StopCause, attempt_id
from domain.messages import JobId, WorkflowId
from domain.resources import Requirement
from projections.queue.rows import HEAD, RANK_PRIORITY
from projections.queue.views import (
    LIVE,
    LIVE_JOBS,
    AttemptView,
    DependencyView,
    JobFilter,
    JobOrder,
    JobView,
    WaitView,
    WorkflowView,
)
from projections.tables import ATTEMPTS, DEPENDENCIES, JOB_COUNTS, JOBS, REASONS, WORKFLOWS
from projections.words import reason_text

_decode_requirement = msgspec.json.Decoder(Requirement).decode
_decode_reasons = msgspec.json.Decoder(tuple[Reason, ...]).decode
_decode_nodes = msgspec.json.Decoder(tuple[NodeSlots, ...]).decode
_decode_back_off = msgspec.json.Decoder(list[tuple[int, str]]).decode

_ORDER: dict[JobOrder, tuple[Any, ...]] = {
    JobOrder.PRIORITY: (JOBS.c.priority.desc(), JOBS.c.number),
    JobOrder.OLDEST: (JOBS.c.number,),
    JobOrder.NEWEST: (JOBS.c.number.desc(),),
    JobOrder.DEADLINE: (JOBS.c.deadline_ms.is_(None), JOBS.c.deadline_ms, JOBS.c.number),
    JobOrder.NAME: (JOBS.c.name, JOBS.c.number),
    JobOrder.ENDED: (JOBS.c.ended_ms.is_not(None), JOBS.c.ended_ms.desc(), JOBS.c.number),
}


def list_jobs(
    connection: Connection,
    which: JobFilter = LIVE_JOBS,
    order: JobOrder = JobOrder.PRIORITY,
    limit: int = 100,
    offset: int = 0,
    now_ms: int | None = None,
) -> list[JobView]:
    """Jobs that match, with their blockers; live ones unless the filter says otherwise.

    Start times and back-offs that lie before `now_ms` are no blockers; without it all of them are.
    """
    query = _where(select(JOBS), which).order_by(*_ORDER[order]).limit(limit).offset(offset)
    return _views(connection, connection.execute(query).all(), now_ms)


def count_jobs(connection: Connection, which: JobFilter = LIVE_JOBS) -> int:
    """How many jobs match."""
    return int(connection.execute(_where(select(func.count()).select_from(JOBS), which)).scalar_one())


def job(connection: Connection, job_id: JobId, now_ms: int | None = None) -> JobView | None:
    """One job; None if there is none by that id. `now_ms` as in `list_jobs`."""
    views = _views(connection, connection.execute(select(JOBS).where(JOBS.c.job_id == job_id)).all(), now_ms)
    return views[0] if views else None


def jobs_by_status(connection: Connection) -> dict[JobStatus, int]:
    """How many jobs stand where, all seven statuses named. Costs nothing, however long the queue."""
    counts = dict.fromkeys(JobStatus, 0)
    for status, jobs in connection.execute(select(JOB_COUNTS)):
        counts[JobStatus(status)] = jobs
    return counts


def list_workflows(
    connection: Connection,
    client_id: str | None = None,
    ended: bool = True,
    archived: bool = False,
    limit: int = 100,
    offset: int = 0,
) -> list[WorkflowView]:
    """Workflows, newest first; ended ones too unless told not to, archived ones only when asked for."""
    query = select(WORKFLOWS).order_by(WORKFLOWS.c.number.desc()).limit(limit).offset(offset)
    if client_id is not None:
        query = query.where(WORKFLOWS.c.client_id == client_id)
    if not ended:
        query = query.where(WORKFLOWS.c.ended_ms.is_(None))
    if not archived:
        query = query.where(WORKFLOWS.c.archived.is_(False))
    return [_workflow_view(row) for row in connection.execute(query)]


def workflow(connection: Connection, workflow_id: WorkflowId) -> WorkflowView | None:
    """One workflow; None if there is none by that id."""
    row = connection.execute(select(WORKFLOWS).where(WORKFLOWS.c.workflow_id == workflow_id)).one_or_none()
    return None if row is None else _workflow_view(row)


def attempts_of(connection: Connection, job_id: JobId, task: int | None = None) -> list[AttemptView]:
    """All attempts of a job, or of one task of it, in the order in which they were placed."""
    query = select(ATTEMPTS).join(JOBS, JOBS.c.number == ATTEMPTS.c.job).where(JOBS.c.job_id == job_id)
    if task is not None:
        query = query.where(ATTEMPTS.c.task == task)
    return [_attempt_view(job_id, row) for row in connection.execute(query.order_by(ATTEMPTS.c.attempt))]


def dependencies_of(connection: Connection, job_ids: Iterable[JobId]) -> list[DependencyView]:
    """Edges into or out of these jobs, in the order in which they were declared."""
    ids = list(job_ids)
    query = select(DEPENDENCIES).where(
        or_(DEPENDENCIES.c.successor_id.in_(ids), DEPENDENCIES.c.predecessor_id.in_(ids))
    )
    rows = connection.execute(query.order_by(DEPENDENCIES.c.number))
    return [DependencyView(r[1], r[2], r[3], DependencyType(r[4]), DependencyState(r[5]), r[6]) for r in rows]


def waits_by_client(connection: Connection, from_ms: int = 0, to_ms: int | None = None) -> list[WaitView]:
    """Waits of the jobs that were queued in a span of time and have started, by client."""
    wait = JOBS.c.started_ms - JOBS.c.queued_ms
    query = select(JOBS.c.client_id, func.count(), func.sum(wait), func.max(wait)).where(
        JOBS.c.queued_ms >= from_ms, wait >= 0
    )
    if to_ms is not None:
        query = query.where(JOBS.c.queued_ms < to_ms)
    rows = connection.execute(query.group_by(JOBS.c.client_id).order_by(JOBS.c.client_id))
    return [WaitView(client_id, jobs, int(total) // jobs, longest) for client_id, jobs, total, longest in rows]


def _where(query: Select[Any], which: JobFilter) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = []
    if which.status:
        conditions.append(JOBS.c.status.in_(sorted(which.status)))
    if not which.all and which.status <= frozenset(LIVE):
        conditions.append(JOBS.c.ended_ms.is_(None))
    if which.client_id is not None:
        conditions.append(JOBS.c.client_id == which.client_id)
    if which.workflow_id is not None:
        conditions.append(JOBS.c.workflow_id == which.workflow_id)
    if which.text:
        text = which.text
        conditions.append(
            or_(JOBS.c.name.icontains(text, autoescape=True), JOBS.c.job_id.icontains(text, autoescape=True))
        )
    return query.where(*conditions)


def _views(connection: Connection, rows: Sequence[Any], now_ms: int | None) -> list[JobView]:
    """Job rows with the blockers that belong to them: three queries, however many rows."""
    waiting = [row for row in rows if row.ended_ms is None and (row.waiting or row.delayed)]
    recorded = _recorded(connection, {row.segment for row in waiting if _startable(row)})
    edges = _blocking_edges(connection, [row.job_id for row in waiting])
    return [_job_view(row, _blockers(row, edges.get(row.job_id, []), recorded, now_ms)) for row in rows]


def _startable(row: Any) -> bool:
    return bool(row.queued and not row.held and not row.paused)


def _recorded(connection: Connection, segments: set[str]) -> dict[str, tuple[Reason, ...]]:
    if not segments:
        return {}
    query = select(REASONS.c.segment, REASONS.c.reasons).where(REASONS.c.segment.in_(sorted({*segments, HEAD})))
    return {segment: _decode_reasons(reasons) for segment, reasons in connection.execute(query)}


def _blocking_edges(connection: Connection, job_ids: list[JobId]) -> dict[JobId, list[Reason]]:
    if not job_ids:
        return {}
    query = select(DEPENDENCIES).where(
        DEPENDENCIES.c.successor_id.in_(job_ids),
        DEPENDENCIES.c.state.in_([DependencyState.PENDING, DependencyState.FAILED]),
    )
    found: dict[JobId, list[Reason]] = {}
    for row in connection.execute(query.order_by(DEPENDENCIES.c.dependency_id)):
        failed = row.state == DependencyState.FAILED
        code = ReasonCode.DEPENDENCY_FAILED if failed else ReasonCode.DEPENDENCY
        found.setdefault(row.successor_id, []).append(Reason(code, entity=row.predecessor_id))
    return found


def _blockers(
    row: Any, edges: list[Reason], recorded: dict[str, tuple[Reason, ...]], now_ms: int | None
) -> tuple[Reason, ...]:
    """In the order of `blockers.of_job`: what a person did, dependencies, times, then the cycle's reasons."""
    if row.ended_ms is not None:
        return ()
    paused = [Reason(ReasonCode.PAUSED, entity=row.paused_by)] if row.paused else []
    if not (row.waiting or row.delayed):
        return tuple(paused)
    held = [Reason(ReasonCode.HELD, entity=row.held_by)] if row.held else []
    gated = [Reason(ReasonCode.APPROVAL, needed=row.gated)] if row.gated else []
    reasons = [*held, *paused, *gated, *edges]
    if not row.queued and row.not_before_ms is not None and _later(row.not_before_ms, now_ms):
        reasons.append(Reason(ReasonCode.START_TIME, until_ms=row.not_before_ms))
    delayed = _decode_back_off(row.back_off) if row.back_off else []
    later = [until_ms for until_ms, _ in delayed if _later(until_ms, now_ms)]
    if later:
        reasons.append(Reason(ReasonCode.BACK_OFF, until_ms=later[0]))
    if _startable(row) and (row.waiting > row.gated or len(later) < len(delayed)):
        reasons += recorded.get(row.segment, ())
    return behind_whom(tuple(reasons), row.job_id, next(iter(recorded.get(HEAD, ())), None))


def behind_whom(reasons: tuple[Reason, ...], job_id: JobId, head: Reason | None) -> tuple[Reason, ...]:
    """Blockers with the job that holds the reservation by now, which is recorded once for all that are behind it."""
    if head is None or head.entity == job_id:
        return reasons
    return tuple([head if _is_behind_reserved(reason) else reason for reason in reasons])


def _is_behind_reserved(reason: Reason) -> bool:
    return reason.code is ReasonCode.BEHIND_HEAD and reason.until_ms is not None


def _later(at_ms: int, now_ms: int | None) -> bool:
    return now_ms is None or at_ms > now_ms


def _job_view(row: Any, blockers: tuple[Reason, ...]) -> JobView:
    return JobView(
        job_id=row.job_id,
        name=row.name,
        client_id=row.client_id,
        workflow_id=row.workflow_id,
        status=JobStatus(row.status),
        priority=RANK_PRIORITY[row.priority],
        requirement=_decode_requirement(row.requirement),
        tasks=row.tasks,
        waiting=row.waiting,
        delayed=row.delayed,
        running=row.running,
        succeeded=row.succeeded,
        failed=row.failed,
        cancelled=row.cancelled,
        attempts=row.attempts,
        progress=row.progress,
        submitted_ms=row.submitted_ms,
        queued_ms=row.queued_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        deadline_ms=row.deadline_ms,
        not_before_ms=row.not_before_ms,
        walltime_ms=row.walltime_ms,
        held=row.held,
        paused=row.paused,
        held_by=row.held_by,
        paused_by=row.paused_by,
        segment=row.segment,
        why=row.why,
        blocker=reason_text(blockers[0]) if blockers else "",
        blockers=blockers,
    )


def _workflow_view(row: Any) -> WorkflowView:
    return WorkflowView(
        workflow_id=row.workflow_id,
        name=row.name,
        client_id=row.client_id,
        status=JobStatus(row.status),
        submitted_ms=row.submitted_ms,
        ended_ms=row.ended_ms,
        archived=row.archived,
        why=row.why,
        jobs={status: getattr(row, status.value) for status in JobStatus},
        tasks=row.tasks,
        tasks_running=row.tasks_running,
        tasks_succeeded=row.tasks_succeeded,
        tasks_failed=row.tasks_failed,
        progress=100 * row.tasks_succeeded // row.tasks if row.tasks else 0,
    )


def _attempt_view(job_id: JobId, row: Any) -> AttemptView:
    return AttemptView(
        attempt_id=attempt_id(job_id, row.task, row.attempt),
        job_id=job_id,
        task=row.task,
        attempt=row.attempt,
        host=row.host,
        nodes=_decode_nodes(row.nodes),
        placed_ms=row.placed_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        outcome=row.outcome,
        exit_code=row.exit_code,
        signal=row.signal,
        failure=None if row.failure is None else FailureClass(row.failure),
        message=row.message,
        cpu_ms=row.cpu_ms,
        max_rss_mib=row.max_rss_mib,
        progress=row.progress,
        status_text=row.status_text,
        stopping=None if row.stopping is None else StopCause(row.stopping),
        restored_from=row.restored_from,
        checkpoint_id=row.checkpoint_id,
        partial_path=row.partial_path,
        partial_quality=row.partial_quality,
        partial_cost_ms=row.partial_cost_ms,
        preempted_by=row.preempted_by,
        suspended_ms=row.suspended_ms,
    )
