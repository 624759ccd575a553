"""Waiting for a job or workflow until it has ended, cannot go on by itself, or patience is over."""

import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from adapters.queries import past
from adapters.queries.answers import WaitedAnswer
from adapters.queries.resolve import Kind, id_of
from adapters.queries.sources import Sources
from application.decider import JOB, WORKFLOW, load_stream
from domain import errors
from domain.decisions import Reason, ReasonCode
from domain.dependency import DependencyState
from domain.farm import Farm
from domain.job.values import Job, JobStatus
from domain.messages import JobId
from domain.workflow import Workflow
from projections.words import reason_text

MAX_TIMEOUT_S = 300.0
POLL_S = 0.025
HOPELESS = frozenset({ReasonCode.TOO_LARGE, ReasonCode.ATTRIBUTE_MISSING, ReasonCode.DEPENDENCY_FAILED})
"""What no passing of time and no end of other work can change."""


class Stand(NamedTuple):
    """How it stands: whether there is anything left to wait for, and on what."""

    status: JobStatus
    ended_ms: int | None = None
    stuck: bool = False
    why: str = ""


def wait_for(sources: Sources, id: str, *, timeout_s: float = 30.0) -> WaitedAnswer:
    """How a job or workflow stands once it has ended or cannot go on by itself, at the latest after the timeout."""
    found = id_of(sources, Kind.ANY, id)
    if found.kind not in (Kind.JOB, Kind.WORKFLOW):
        raise errors.BadInput(problem=f"{found.id!r} is a {found.kind}; only jobs and workflows end", place="id")
    until = time.monotonic() + min(max(timeout_s, 0.0), MAX_TIMEOUT_S)
    look = _look_at_job if found.kind is Kind.JOB else _look_at_workflow
    while True:
        position = sources.farm_position()
        name, stand = look(sources, found.id)
        over = stand.ended_ms is not None or stand.stuck
        if over or not _await_news(sources, position, until):
            break
    outcome = "ended" if stand.ended_ms is not None else "stuck" if stand.stuck else "timeout"
    return WaitedAnswer(
        kind=found.kind,
        id=found.id,
        name=name,
        status=stand.status,
        outcome=outcome,
        why=stand.why,
        ended_ms=stand.ended_ms,
        position=position,
    )


def _await_news(sources: Sources, position: int, until: float) -> bool:
    """Waits until the farm has moved on; False when patience is over or the door closes."""
    while time.monotonic() < until:
        if sources.farm_position() > position:
            return True
        if sources.closing.wait(min(POLL_S, max(0.0, until - time.monotonic()))):
            return False
    return False


def _look_at_job(sources: Sources, job_id: JobId) -> tuple[str, Stand]:
    with sources.present() as farm:
        job = farm.jobs.get(job_id)
        if job is not None and job.ended is None:
            return job.spec.name, _job_stands(farm, job, sources.clock.now_ms())
    state: Job = load_stream(sources.log, JOB, job_id).state
    return state.spec.name, Stand(state.status, state.ended_ms)


def _job_stands(farm: Farm, job: Job, now_ms: int) -> Stand:
    reasons = past.blockers_of(farm, job, now_ms)
    why = reason_text(reasons[0]) if reasons else ""
    hopeless = _hopeless(farm, job, now_ms)
    return Stand(job.status, stuck=hopeless is not None, why=why if hopeless is None else reason_text(hopeless))


def _hopeless(farm: Farm, job: Job, now_ms: int) -> Reason | None:
    """The blocker that keeps a job from ever going on by itself: its own, or that of one it waits for, however far."""
    seen, due = {job.spec.job_id}, deque([job])
    while due:
        waiting = due.popleft()
        if waiting.live:
            continue
        for reason in past.blockers_of(farm, waiting, now_ms):
            if reason.code in HOPELESS:
                own = waiting is job
                return reason if own else Reason(ReasonCode.DEPENDENCY_FAILED, entity=waiting.spec.job_id)
        before = [e.predecessor_id for e in farm.edges_into(waiting.spec.job_id) if e.state is DependencyState.PENDING]
        due += [farm.jobs[job_id] for job_id in before if job_id in farm.jobs and job_id not in seen]
        seen.update(before)
    return None


def _look_at_workflow(sources: Sources, workflow_id: str) -> tuple[str, Stand]:
    with sources.present() as farm:
        workflow = farm.workflows.get(workflow_id)
        if workflow is not None:
            return workflow.name, _workflow_stands(farm, workflow, sources.clock.now_ms())
    state: Workflow = load_stream(sources.log, WORKFLOW, workflow_id).state
    assert state.ended is not None
    ended = [each for each in sources.log.stream(workflow_id) if each.event.__struct_config__.tag in _ENDS]
    return state.name, Stand(state.ended, ended[-1].event.at_ms)


_ENDS = frozenset({"workflow.completed", "workflow.failed", "workflow.cancelled"})


def _workflow_stands(farm: Farm, workflow: Workflow, now_ms: int) -> Stand:
    left = [farm.jobs[job_id] for job_id in workflow.jobs if job_id in farm.jobs]
    left = [job for job in left if job.ended is None]
    stands = [_job_stands(farm, job, now_ms) for job in left]
    stuck = bool(stands) and all(stand.stuck for stand in stands)
    return Stand(_furthest(stand.status for stand in stands), stuck=stuck, why=stands[0].why if stands else "")


def _furthest(statuses: Iterable[JobStatus]) -> JobStatus:
    """As the read model has it: the word of the job that is furthest on."""
    found = set(statuses)
    order = (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.PAUSED)
    return next((status for status in order if status in found), JobStatus.PENDING)
