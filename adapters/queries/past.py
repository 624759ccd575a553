"""The farm and its jobs as they were: from the log alone, at any position or time.

A past queue is the farm at that position; what its lines say beyond the farm's state (when it was queued, how often it
was tried) comes from folding the streams of just those jobs through the handlers of the read models, in memory.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection

from adapters.times import Moment
from application import farms
from application.ports import Log
from domain import dependency, job
from domain.decisions import Reason, ReasonCode
from domain.dependency import Dependency, DependencyDeclared
from domain.errors import BadInput, JobNotFound
from domain.farm import Farm
from domain.job.values import Job
from domain.messages import JobId, Recorded, StreamId
from domain.planning import blockers
from projections import queue
from projections.queue import JobView, behind_whom
from projections.tables import METADATA, open_views

PAGE = 1_000


class Point(NamedTuple):
    """A place in the log and the time that is meant by it."""

    position: int
    at_ms: int


def locate(log: Log, moment: Moment) -> Point:
    """Where in the log a moment lies; BadInput for a position that has not been reached."""
    if moment.at_ms is not None:
        return Point(log.position_at(moment.at_ms), moment.at_ms)
    position = moment.position or 0
    found = log.read(position - 1, 1, position) if position else []
    if position and not found:
        raise BadInput(problem=f"the log ends at @{log.position()}, so there is no @{position} yet", at=f"@{position}")
    return Point(position, found[0].event.at_ms if found else 0)


def farm_at(log: Log, point: Point) -> Farm:
    """The farm after the event at that place, at that time."""
    farm = farms.load(log, point.position)
    farm.now_ms = point.at_ms
    return farm


def stream_at(log: Log, stream: StreamId, position: int) -> list[Recorded]:
    """The events of a stream up to a position."""
    return [recorded for recorded in log.stream(stream) if recorded.position <= position]


def job_events(log: Log, job_id: JobId, position: int) -> list[Recorded]:
    """The events of a job up to a position; JobNotFound if it had not been submitted by then."""
    recorded = stream_at(log, job_id, position) if job_id.startswith("job-") else []
    if not recorded:
        raise JobNotFound(job_id=job_id)
    return recorded


def job_state(events: Iterable[Recorded]) -> Job:
    """The state of a job after its events."""
    state: Job | None = reduce(job.evolve, (recorded.event for recorded in events), None)  # type: ignore[arg-type]
    assert state is not None
    return state


def all_jobs(log: Log, position: int) -> dict[JobId, Job]:
    """Every job ever submitted, ended ones too, as it stood at a position. Reads the whole log."""
    jobs: dict[JobId, Job] = {}
    for _, stream, _, event in log.replay(0, position):
        if stream.startswith("job-"):
            jobs[stream] = job.evolve(jobs.get(stream), event)  # type: ignore[arg-type]
    return jobs


def edges_of(log: Log, job_id: JobId, position: int) -> list[Dependency]:
    """All edges into and out of a job as they stood at a position, in the order of their declaration."""
    found = []
    for recorded in read_all(log, 0, position, ("dependency.declared",)):
        declared = recorded.event
        if isinstance(declared, DependencyDeclared) and job_id in (declared.predecessor_id, declared.successor_id):
            found.append(_edge(stream_at(log, recorded.stream, position)))
    return found


def _edge(events: list[Recorded]) -> Dependency:
    state: Dependency | None = reduce(dependency.evolve, (r.event for r in events), None)  # type: ignore[arg-type]
    assert state is not None
    return state


def read_all(log: Log, after: int, upto: int, topics: tuple[str, ...]) -> Iterator[Recorded]:
    """All events of some topics between two positions, fetched in pages."""
    while page := log.read(after, PAGE, upto, topics):
        yield from page
        after = page[-1].position


def blockers_of(farm: Farm, state: Job, now_ms: int) -> tuple[Reason, ...]:
    """What keeps tasks of a job waiting; nothing if none of them waits, except that a paused one is paused."""
    if state.ended is not None:
        return ()
    if not state.unplaced:
        return (Reason(ReasonCode.PAUSED),) if state.paused else ()
    head = next((blockers.behind(each.job_id, each.start_ms) for each in farm.reserved), None)
    return behind_whom(blockers.of_job(farm, state, now_ms), state.spec.job_id, head)


def said_by(reasons: tuple[Reason, ...], held_by: str, paused_by: str) -> tuple[Reason, ...]:
    """The reasons with the persons in them who held or paused the job, which its state does not know."""
    who = {ReasonCode.HELD: held_by, ReasonCode.PAUSED: paused_by}
    return tuple(replace(each, entity=who[each.code]) if each.code in who else each for each in reasons)


def views_at(log: Log, job_ids: Iterable[JobId], position: int) -> list[JobView]:
    """The rows of these jobs as the read model had them at a position, in the order asked for; no blockers."""
    ids = list(job_ids)
    streams = [stream_at(log, job_id, position) for job_id in ids]
    with replayed([recorded for stream in streams for recorded in stream]) as connection:
        found = [queue.job(connection, job_id) for job_id in ids]
    return [view for view in found if view is not None]


@contextmanager
def replayed(events: list[Recorded]) -> Iterator[Connection]:
    """The queue's read model of these events alone, in memory."""
    engine = open_views("sqlite://")
    try:
        with engine.begin() as connection:
            METADATA.create_all(connection, tables=queue.PROJECTION.tables)
            fold, handlers = queue.PROJECTION.fold(), queue.PROJECTION.table
            fold.connection = connection
            fold.load()
            for recorded in sorted(events, key=lambda each: each.position):
                handler = handlers[type(recorded.event)]
                if handler is not None:
                    handler(fold, recorded.event, recorded)
            fold.flush()
            yield connection
    finally:
        engine.dispose()
