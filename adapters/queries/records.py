"""Questions about what happened: events as stored, the story of one entity, the audit."""

from typing import Any

import msgspec

from adapters.queries.answers import AuditAnswer, AuditLine, EventLine, EventsAnswer, StoryAnswer, StoryLine
from adapters.queries.lines import shared
from adapters.queries.resolve import Kind, id_of
from adapters.queries.sources import Sources, rows_wanted
from domain import errors
from domain.catalog import TOPICS
from domain.job.events import JobCancelled, JobCompleted, JobDeadlineChanged, JobFailed, JobSubmitted
from domain.log_level import LogLevel
from domain.messages import Recorded, client_stream, node_stream
from domain.partition import partition_stream
from projections import audit
from projections.audit import AuditFilter
from projections.story import sentence
from projections.words import lateness_sentence

_SPELLED = {Kind.NODE: node_stream, Kind.CLIENT: client_stream, Kind.PARTITION: partition_stream}


def list_events(
    sources: Sources,
    *,
    entity: str = "",
    topic: str = "",
    after: int = 0,
    limit: int = 100,
    since: str = "",
    until: str = "",
) -> EventsAnswer:
    """Events as they are stored, in log order: of one stream or of all, of topics that begin so, in a span of time."""
    limit = rows_wanted(limit)
    position = sources.log.position()  # before reading: whoever follows the log asks again from here
    first = max(after, sources.log.position_at(sources.time_ms(since) - 1) if since else 0)
    last = min(position, sources.log.position_at(sources.time_ms(until)) if until else position)
    topics = _topics(topic)
    if entity:
        found = _of_stream(sources, entity, topics, first, last, limit + 1)
    else:
        found = sources.log.read(first, limit + 1, last, topics) if first < last else []
    more = len(found) > limit
    rows = [_event_line(recorded) for recorded in found[:limit]]
    return EventsAnswer(rows=rows, next_after=rows[-1].position if more else None, position=position)


def _topics(beginning: str) -> tuple[str, ...]:
    """All topics that begin so; none given means all."""
    found = tuple(topic for topic in TOPICS if topic.startswith(beginning)) if beginning else ()
    if beginning and not found:
        known = ", ".join(sorted({topic.partition(".")[0] for topic in TOPICS}))
        raise errors.BadInput(problem=f"no topic begins with {beginning!r}; they begin with {known}", place="topic")
    return found


def _of_stream(
    sources: Sources, entity: str, topics: tuple[str, ...], first: int, last: int, limit: int
) -> list[Recorded]:
    events = sources.log.stream(entity)
    if not events:
        found = id_of(sources, Kind.ANY, entity)
        events = sources.log.stream(_SPELLED.get(found.kind, str)(found.id))
    chosen = [each for each in events if first < each.position <= last and (not topics or _topic(each) in topics)]
    return chosen[:limit]


def _topic(recorded: Recorded) -> str:
    return str(recorded.event.__struct_config__.tag)


def _event_line(recorded: Recorded) -> EventLine:
    event: dict[str, Any] = msgspec.to_builtins(recorded.event)
    meta: dict[str, Any] = msgspec.to_builtins(recorded.meta)
    return EventLine(
        position=recorded.position,
        stream=recorded.stream,
        version=recorded.version,
        at_ms=recorded.event.at_ms,
        topic=_topic(recorded),
        event=event,
        meta=meta,
        sentence=sentence(recorded),
    )


def tell_story(sources: Sources, id: str, *, limit: int = 200) -> StoryAnswer:
    """What happened to one job, node, workflow, client or checkpoint, in order, as sentences with time and actor."""
    limit = rows_wanted(limit)
    found = id_of(sources, Kind.ANY, id)
    entity = _SPELLED.get(found.kind, str)(found.id)
    with sources.rows() as (connection, position):
        newest = audit.entries(connection, AuditFilter(entity=entity), limit + 1)
    late = _lateness(sources.log.stream(entity)) if found.kind is Kind.JOB else {}
    lines = [
        shared(StoryLine, entry, sentence=entry.summary + late.get(entry.position, ""))
        for entry in reversed(newest[:limit])
    ]
    return StoryAnswer(id=found.id, kind=found.kind, rows=lines, complete=len(newest) <= limit, position=position)


def _lateness(events: list[Recorded]) -> dict[int, str]:
    """What to say more of a job's ends, by position: whether it met the deadline that it had then."""
    said, deadline_ms = {}, None
    for recorded in events:
        match recorded.event:
            case JobSubmitted(spec=spec):
                deadline_ms = spec.deadline_ms
            case JobDeadlineChanged(deadline_ms=changed):
                deadline_ms = changed
            case JobCompleted(at_ms=at_ms) | JobFailed(at_ms=at_ms) | JobCancelled(at_ms=at_ms):
                if deadline_ms is not None:
                    said[recorded.position] = " " + lateness_sentence(at_ms - deadline_ms)
            case _:
                continue
    return said


def list_audit(
    sources: Sources,
    *,
    entity: str = "",
    actor: str = "",
    level: LogLevel = LogLevel.DEBUG,
    since: str = "",
    until: str = "",
    topic: str = "",
    before: int | None = None,
    limit: int = 100,
) -> AuditAnswer:
    """Who did what, when and why, newest first; `before` the last position of a page gives the next one."""
    _topics(topic)  # one that nothing can have is a slip, and no empty answer
    which = AuditFilter(
        entity=entity,
        actor=actor,
        level=level,
        since_ms=sources.time_ms(since) if since else None,
        until_ms=sources.time_ms(until) if until else None,
        topic=topic,
        before=before,
    )
    with sources.rows() as (connection, position):
        entries = audit.entries(connection, which, rows_wanted(limit))
    return AuditAnswer(rows=[shared(AuditLine, entry) for entry in entries], position=position)
