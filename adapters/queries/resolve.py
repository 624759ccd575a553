"""Who is meant: full ids from the beginnings of ids and from names that people type."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import select

from adapters.queries.answers import ResolveAnswer
from adapters.queries.sources import Sources
from application.decider import JOB, WORKFLOW, load_stream
from domain import errors
from domain.messages import SAFE_ID, JobId
from domain.reservation import PREFIX
from domain.workflow import WorkflowSubmitted
from projections.tables import JOBS

SHOWN = 5
"""So many candidates are named when several ids begin the same."""
MAX_CHARS = 200


class Kind(StrEnum):
    """What an id can be of."""

    JOB = "job"
    WORKFLOW = "workflow"
    NODE = "node"
    CLIENT = "client"
    CHECKPOINT = "checkpoint"
    DEPENDENCY = "dependency"
    PARTITION = "partition"
    RESERVATION = "reservation"
    ANY = "any"


class Found(NamedTuple):
    """One candidate; an exact one goes before all that merely begin so."""

    kind: Kind
    id: str
    exact: bool


def resolve(sources: Sources, kind: Kind, prefix: str) -> ResolveAnswer:
    """The one thing of a kind (or of `any`) whose id is this or begins so, or whose name this is; live ones first."""
    found = _only(prefix, kind, _candidates(sources, kind, prefix))
    return ResolveAnswer(kind=found.kind, id=found.id, name=_name(sources, found))


def job_id_of(sources: Sources, text: str) -> JobId:
    """The id of the job that is meant: JobNotFound or AmbiguousId if that is not one."""
    return _only(text, Kind.JOB, _candidates(sources, Kind.JOB, text)).id


def id_of(sources: Sources, kind: Kind, text: str) -> Found:
    """As `job_id_of`, for any kind."""
    return _only(text, kind, _candidates(sources, kind, text))


def _only(text: str, kind: Kind, found: list[Found]) -> Found:
    chosen = [each for each in found if each.exact] or found
    if not chosen:
        raise _NOT_FOUND[kind](text)
    if len(chosen) > 1:
        raise _ambiguous(text, chosen)
    return chosen[0]


def _ambiguous(text: str, found: list[Found]) -> errors.AmbiguousId:
    """Several are called exactly so, or several ids begin so."""
    more = ", …" if len(found) > SHOWN else ""
    candidates = ", ".join(each.id for each in found[:SHOWN]) + more
    if not found[0].exact:
        return errors.AmbiguousId(prefix=text, candidates=candidates)
    kinds = {each.kind for each in found}
    if len(kinds) == 1:
        what = f"{found[0].kind}s"
    else:
        what, candidates = "things", ", ".join(f"{each.kind} {each.id}" for each in found[:SHOWN]) + more
    problem = f"{text!r} is the name of several {what}: {candidates}; say which one by its id"
    return errors.AmbiguousId(problem, prefix=text, candidates=candidates)


def _candidates(sources: Sources, kind: Kind, text: str) -> list[Found]:
    if not text or len(text) > MAX_CHARS:
        return []
    kinds = [each for each in _SEARCH if kind in (each, Kind.ANY)]
    return [found for each in kinds for found in _SEARCH[each](sources, text)]


# -- where each kind is looked up ----------------------------------------------------------------------------------


def _streams(sources: Sources, kind: Kind, prefix: str, text: str) -> list[Found]:
    """Streams of the log that begin so; their prefix may be left out."""
    if SAFE_ID.fullmatch(text.replace(":", "")) is None:
        return []
    start = text if text.startswith(prefix) else prefix + text
    return [Found(kind, stream, stream == start) for stream in sources.log.streams(start, SHOWN + 1)]


def _jobs(sources: Sources, text: str) -> list[Found]:
    by_id = _streams(sources, Kind.JOB, "job-", text)
    exact = [found for found in by_id if found.exact]
    if exact:
        return exact
    with sources.present() as farm:
        named = [job.spec.job_id for job in farm.jobs.values() if job.spec.name == text]
    return [Found(Kind.JOB, job_id, True) for job_id in named] or by_id or _ended_jobs(sources, text)


def _ended_jobs(sources: Sources, name: str) -> list[Found]:
    """Jobs of this name that have ended, for want of anything else that could be meant."""
    query = select(JOBS.c.job_id).where(JOBS.c.name == name).order_by(JOBS.c.number.desc()).limit(SHOWN + 1)
    with sources.rows() as (connection, _):
        return [Found(Kind.JOB, job_id, True) for job_id in connection.execute(query).scalars()]


def _workflows(sources: Sources, text: str) -> list[Found]:
    by_id = _streams(sources, Kind.WORKFLOW, "wf-", text)
    exact = [found for found in by_id if found.exact]
    if exact or _is_workflow(sources, text):
        return exact or [Found(Kind.WORKFLOW, text, True)]
    with sources.present() as farm:
        named = [each.workflow_id for each in farm.workflows.values() if each.name == text]
    return [Found(Kind.WORKFLOW, workflow_id, True) for workflow_id in named] or by_id


def _is_workflow(sources: Sources, text: str) -> bool:
    """Whether a workflow was submitted under exactly this id, which need not begin with `wf-`."""
    first = sources.log.stream(text, 0, 1)
    return bool(first) and isinstance(first[0].event, WorkflowSubmitted)


def _nodes(sources: Sources, text: str) -> list[Found]:
    with sources.present() as farm:
        return _beginning(Kind.NODE, sorted(farm.nodes), text)


def _clients(sources: Sources, text: str) -> list[Found]:
    with sources.present() as farm:
        return _beginning(Kind.CLIENT, sorted(farm.clients), text)


def _partitions(sources: Sources, text: str) -> list[Found]:
    with sources.present() as farm:
        known = [name for name in sorted(farm.partitions) if not farm.partitions[name].removed]
        return _beginning(Kind.PARTITION, known, text)


def _reservations(sources: Sources, text: str) -> list[Found]:
    return _streams(sources, Kind.RESERVATION, PREFIX, text)


def _beginning(kind: Kind, ids: Iterable[str], text: str) -> list[Found]:
    return [Found(kind, each, each == text) for each in ids if each.startswith(text)]


def _checkpoints(sources: Sources, text: str) -> list[Found]:
    return _streams(sources, Kind.CHECKPOINT, "ckpt-", text)


def _dependencies(sources: Sources, text: str) -> list[Found]:
    return _streams(sources, Kind.DEPENDENCY, "dep-", text)


_SEARCH: dict[Kind, Callable[[Sources, str], list[Found]]] = {
    Kind.JOB: _jobs,
    Kind.WORKFLOW: _workflows,
    Kind.NODE: _nodes,
    Kind.CLIENT: _clients,
    Kind.CHECKPOINT: _checkpoints,
    Kind.DEPENDENCY: _dependencies,
    Kind.PARTITION: _partitions,
    Kind.RESERVATION: _reservations,
}

_NOT_FOUND: dict[Kind, Callable[[str], errors.NotFound]] = {
    Kind.JOB: lambda text: errors.JobNotFound(job_id=text),
    Kind.WORKFLOW: lambda text: errors.WorkflowNotFound(workflow_id=text),
    Kind.NODE: lambda text: errors.NodeNotFound(node_id=text),
    Kind.CLIENT: lambda text: errors.ClientNotFound(client_id=text),
    Kind.CHECKPOINT: lambda text: errors.CheckpointNotFound(checkpoint_id=text),
    Kind.DEPENDENCY: lambda text: errors.DependencyNotFound(dependency_id=text),
    Kind.PARTITION: lambda text: errors.PartitionNotFound(partition=text),
    Kind.RESERVATION: lambda text: errors.ReservationNotFound(reservation_id=text),
    Kind.ANY: lambda text: errors.NotFound(f"there is no job, workflow, node or client {text!r}", id=text),
}


def _name(sources: Sources, found: Found) -> str:
    """What people call it; its id where it has no other name."""
    if found.kind is Kind.JOB:
        return str(load_stream(sources.log, JOB, found.id).state.spec.name)
    if found.kind is Kind.WORKFLOW:
        return str(load_stream(sources.log, WORKFLOW, found.id).state.name)
    if found.kind is Kind.CLIENT:
        with sources.present() as farm:
            return farm.clients[found.id].name
    return found.id
