"""Questions about jobs: the queue now or as it was, everything about one job, what an attempt printed."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from adapters.queries import past
from adapters.queries.answers import CheckpointAnswer, JobAnswer, JobLine, LogAnswer, QueueAnswer
from adapters.queries.lines import (
    attempt_answer,
    checkpoint_answer,
    dependency_answer,
    job_line,
    plain,
    task_sets,
)
from adapters.queries.past import Point
from adapters.queries.resolve import job_id_of
from adapters.queries.sources import Sources, rows_wanted
from application.decider import CHECKPOINT, JOB, load_stream
from domain import errors
from domain.dependency import Dependency
from domain.farm import Farm
from domain.job.values import ENDED, PRIORITY_RANK, Job, JobStatus, attempt_id
from domain.messages import JobId
from projections import queue
from projections.queue import AttemptView, DependencyView, JobFilter, JobOrder, JobView
from projections.tables import ATTEMPTS, JOBS

MAX_ATTEMPTS = 1_000
MAX_CHECKPOINTS = 1_000
MAX_LOG_BYTES = 4 << 20


# -- the queue ---------------------------------------------------------------------------------------------------


def list_queue(
    sources: Sources,
    *,
    status: str = "",
    client: str = "",
    workflow: str = "",
    text: str = "",
    all: bool = False,
    order: JobOrder = JobOrder.PRIORITY,
    at: str = "",
    limit: int = 100,
    offset: int = 0,
) -> QueueAnswer:
    """Jobs that have not ended (with `all` the others too), the most urgent first, each with what it waits for."""
    which = JobFilter(_statuses(status), all, client or None, workflow or None, text)
    limit, now_ms = rows_wanted(limit, offset, least=0), sources.clock.now_ms()
    if at:
        return _past_queue(sources, which, order, sources.point(at), limit, offset)
    with sources.rows() as (connection, position):
        views = queue.list_jobs(connection, which, order, limit, offset, now_ms)
        total = queue.count_jobs(connection, which)
    rows = [job_line(view, view.blockers) for view in views]
    return QueueAnswer(rows=rows, total=total, position=position, at_ms=now_ms)


def _statuses(text: str) -> frozenset[JobStatus]:
    words = [word for word in text.replace(" ", "").lower().split(",") if word]
    unknown = sorted(set(words) - set(JobStatus))
    if unknown:
        known = ", ".join(JobStatus)
        raise errors.BadInput(problem=f"{unknown[0]!r} is not a status; there are {known}", place="status")
    return frozenset(map(JobStatus, words))


def _past_queue(
    sources: Sources, which: JobFilter, order: JobOrder, point: Point, limit: int, offset: int
) -> QueueAnswer:
    farm = past.farm_at(sources.log, point)
    ended_too = which.all or not which.status.isdisjoint(ENDED)
    jobs = past.all_jobs(sources.log, point.position) if ended_too else farm.jobs
    found = _in_order([job for job in jobs.values() if _matches(job, which)], order)
    page = [job.spec.job_id for job in found[offset : offset + limit]]
    views = past.views_at(sources.log, page, point.position)
    rows = [_past_line(view, farm, jobs[view.job_id], point) for view in views]
    return QueueAnswer(rows=rows, total=len(found), position=point.position, at_ms=point.at_ms)


def _past_line(view: JobView, farm: Farm, job: Job, point: Point) -> JobLine:
    reasons = past.blockers_of(farm, job, point.at_ms)
    return job_line(view, past.said_by(reasons, view.held_by, view.paused_by))


def _matches(job: Job, which: JobFilter) -> bool:
    spec, text = job.spec, which.text.lower()
    return (
        (job.status in which.status if which.status else which.all or job.ended is None)
        and which.client_id in (None, spec.client_id)
        and which.workflow_id in (None, spec.workflow_id)
        and (text in spec.name.lower() or text in spec.job_id.lower())
    )


def _in_order(jobs: list[Job], order: JobOrder) -> list[Job]:
    """As the read model lists them; what is alike stands in the order of submission."""
    newest_first = order is JobOrder.NEWEST
    by_age = sorted(jobs, key=lambda job: (job.submitted_ms, job.spec.job_id), reverse=newest_first)
    return sorted(by_age, key=_ORDER[order])


_ORDER: dict[JobOrder, Callable[[Job], Any]] = {
    JobOrder.PRIORITY: lambda job: -PRIORITY_RANK[job.priority],
    JobOrder.OLDEST: lambda job: 0,
    JobOrder.NEWEST: lambda job: 0,
    JobOrder.DEADLINE: lambda job: (job.deadline_ms is None, job.deadline_ms or 0),
    JobOrder.NAME: lambda job: job.spec.name,
    JobOrder.ENDED: lambda job: (job.ended_ms is not None, -(job.ended_ms or 0)),
}


# -- one job -----------------------------------------------------------------------------------------------------


def show_job(sources: Sources, id: str, *, at: str = "", attempts: int = 100) -> JobAnswer:
    """Everything about one job: as submitted, where its tasks stand, its attempts, what it waits for."""
    job_id = job_id_of(sources, id)
    if at:
        return _past_job(sources, job_id, sources.point(at), attempts)
    now_ms = sources.clock.now_ms()
    with sources.rows() as (connection, position):
        view = queue.job(connection, job_id, now_ms)
        runs = queue.attempts_of(connection, job_id)
        edges = queue.dependencies_of(connection, [job_id])
    if view is None:  # submitted a moment ago: the read model does not know it yet
        return _past_job(sources, job_id, sources.now(), attempts)
    state = load_stream(sources.log, JOB, job_id).state
    line, point = job_line(view, view.blockers), Point(position, now_ms)
    return _job_answer(sources, line, state, runs[-_clamped(attempts) :], edges, point)


def _past_job(sources: Sources, job_id: JobId, point: Point, attempts: int) -> JobAnswer:
    events = past.job_events(sources.log, job_id, point.position)
    state = past.job_state(events)
    for stream in _checkpoint_streams(sources, job_id):
        events += past.stream_at(sources.log, stream, point.position)
    with past.replayed(events) as connection:
        view = queue.job(connection, job_id)
        runs = queue.attempts_of(connection, job_id)
    assert view is not None
    farm = past.farm_at(sources.log, point)
    edges = past.edges_of(sources.log, job_id, point.position)
    line = _past_line(view, farm, state, point)
    return _job_answer(sources, line, state, runs[-_clamped(attempts) :], edges, point)


def _clamped(attempts: int) -> int:
    return min(max(attempts, 1), MAX_ATTEMPTS)


def _job_answer(
    sources: Sources,
    line: JobLine,
    state: Job,
    runs: Sequence[AttemptView],
    edges: Sequence[DependencyView | Dependency],
    point: Point,
) -> JobAnswer:
    spec = state.spec
    return JobAnswer(
        job=line,
        spec=plain(spec),
        task_sets=task_sets(state),
        attempts=[attempt_answer(run, str(_output_log(sources, run.attempt_id))) for run in runs],
        dependencies=[dependency_answer(edge) for edge in edges],
        checkpoints=_checkpoints(sources, state, point.position),
        output_dir=spec.output_dir or str(sources.layout.output(spec.job_id)),
        position=point.position,
        at_ms=point.at_ms,
    )


def _checkpoint_streams(sources: Sources, job_id: JobId) -> list[str]:
    return sources.log.streams(f"ckpt-{job_id}.", MAX_CHECKPOINTS)


def _checkpoints(sources: Sources, state: Job, position: int) -> list[CheckpointAnswer]:
    """The saved states of its tasks, in the order in which they were taken."""
    newest = {checkpoint.checkpoint_id for checkpoint in state.checkpoints.values()}
    found = []
    for stream in _checkpoint_streams(sources, state.spec.job_id):
        events = past.stream_at(sources.log, stream, position)
        if events:
            checkpoint = load_stream(sources.log, CHECKPOINT, stream, events[-1].version).state
            found.append((events[0].position, checkpoint_answer(checkpoint, events[0].event.at_ms, stream in newest)))
    return [answer for _, answer in sorted(found, key=lambda each: each[0])]


# -- what an attempt printed -------------------------------------------------------------------------------------


def show_log(
    sources: Sources, job: str, *, task: int | None = None, attempt: int | None = None, tail: int = 0
) -> LogAnswer:
    """What the newest attempt of a job (or of one task, or a given attempt) printed; with `tail` its last lines."""
    job_id = job_id_of(sources, job)
    with sources.rows() as (connection, _):
        newest = _newest_attempt(connection, job_id, task, attempt)
    if newest is None:
        what = "no attempt yet" if attempt is None else f"no attempt {attempt}"
        of_task = "" if task is None else f" of task {task}"
        raise errors.AttemptNotFound(f"job {job_id!r} has {what}{of_task}", job_id=job_id, attempt=attempt)
    path = _output_log(sources, newest)
    size_bytes, text = _read_end(path, MAX_LOG_BYTES)
    shown = _last_lines(text, tail) if tail > 0 else text
    return LogAnswer(
        attempt_id=newest,
        path=str(path),
        size_bytes=size_bytes,
        text=shown,
        complete=size_bytes <= MAX_LOG_BYTES and len(shown) == len(text),
    )


def _newest_attempt(connection: Connection, job_id: JobId, task: int | None, attempt: int | None) -> str | None:
    """The id of the last attempt that fits, found by index however many there are."""
    query = select(ATTEMPTS.c.task, ATTEMPTS.c.attempt).join(JOBS, JOBS.c.number == ATTEMPTS.c.job)
    query = query.where(JOBS.c.job_id == job_id).order_by(ATTEMPTS.c.attempt.desc()).limit(1)
    if task is not None:
        query = query.where(ATTEMPTS.c.task == task)
    if attempt is not None:
        query = query.where(ATTEMPTS.c.attempt == attempt)
    found = connection.execute(query).one_or_none()
    return None if found is None else attempt_id(job_id, found.task, found.attempt)


def _output_log(sources: Sources, attempt_id: str) -> Path:
    return sources.layout.attempt(attempt_id) / "output.log"


def _read_end(path: Path, limit: int) -> tuple[int, str]:
    """Size of a file and its last bytes as text; nothing for a file that is not there yet."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            return size, file.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return 0, ""


def _last_lines(text: str, count: int) -> str:
    return "".join(text.splitlines(keepends=True)[-count:])
