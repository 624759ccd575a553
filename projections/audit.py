"""Audit: who did what, when, on whose command, with what outcome, and why; one row per event of the log.

A second table says which events concern which job, node, client, workflow, checkpoint or dependency, so that the
history of one of them is one index lookup. Refused commands stand here beside the others.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias, get_args

import msgspec
from sqlalchemy import ColumnElement, Connection, func, select

from domain import checkpoint as k
from domain import client as c
from domain import dependency as d
from domain import node as n
from domain import reservation as r
from domain import workflow as w
from domain.cycle import CommandRefused, CycleDecided, PoliciesAdopted
from domain.forecasting.promises import ForecastsMade, ForecastsScored
from domain.job import events as e
from domain.log_level import LogLevel
from domain.messages import Event, Recorded, client_stream, node_stream, topic_of
from domain.observed import ObservedExternally
from domain.partition import PartitionEvent, partition_stream
from domain.undo import CommandUndone
from projections.projection import Fold, Handler, Projection
from projections.rows import insert_rows
from projections.story import AFTER_TEXT, CAUSE_TEXT, event_sentence, failure_text
from projections.story.preemption import RIGHT_TEXT
from projections.tables import ALARMS, AUDIT, AUDIT_ENTITIES, PEOPLE
from projections.words import reason_text


class Outcome(StrEnum):
    """How something came out, in one word."""

    DONE = "done"
    REFUSED = "refused"
    """A rule did not allow it; nothing changed."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    """A person ended it."""
    LOST = "lost"
    """How it ended is not known."""


class AuditEntry(msgspec.Struct, frozen=True):
    """One line of the audit."""

    position: int
    at_ms: int
    level: LogLevel
    topic: str
    outcome: Outcome
    actor: str
    summary: str
    reason: str
    """Why, in words; empty where nothing was said."""
    stream: str
    version: int
    command_id: str
    cause: str
    cycle: int
    entities: tuple[str, ...]
    """What it concerns: ids, those of nodes and clients with their kind before them, as in `node:n1`."""


class AuditFilter(msgspec.Struct, frozen=True):
    """Which entries; every condition given must hold."""

    entity: str = ""
    """The id of a job, node, client, workflow, checkpoint or dependency; `node:` or `client:` before it tells apart."""
    actor: str = ""
    level: LogLevel = LogLevel.DEBUG
    """Entries of at least this level."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Entries up to this moment, itself included."""
    topic: str = ""
    """The beginning of the topic, such as `node.`."""
    before: int | None = None
    """Entries before this position: the next page of a list whose last entry stands there."""


ALL = AuditFilter()


def entries(connection: Connection, which: AuditFilter = ALL, limit: int = 100) -> list[AuditEntry]:
    """The newest entries that match, newest first."""
    query = select(AUDIT).where(*_conditions(connection, which))
    if which.entity:
        concerned = select(AUDIT_ENTITIES.c.position).where(AUDIT_ENTITIES.c.entity_id.in_(_spellings(which.entity)))
        query = query.where(AUDIT.c.position.in_(concerned))
    rows = connection.execute(query.order_by(AUDIT.c.position.desc()).limit(limit))
    return [_entry(row) for row in rows]


def position_at(connection: Connection, at_ms: int) -> int:
    """The position of the last entry up to a moment, 0 if there is none; times never fall as positions rise."""
    low, high = 0, connection.execute(select(func.max(AUDIT.c.position))).scalar() or 0
    while low < high:
        middle = (low + high + 1) // 2
        found = connection.execute(select(AUDIT.c.at_ms).where(AUDIT.c.position == middle)).scalar_one()
        low, high = (middle, high) if found <= at_ms else (low, middle - 1)
    return low


def _conditions(connection: Connection, which: AuditFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if which.actor:
        found += [AUDIT.c.actor == which.actor, *([PEOPLE] if which.actor.startswith("user:") else [])]
    if which.level.rank:
        found += [AUDIT.c.level >= which.level.rank, *([ALARMS] if which.level.rank >= LogLevel.WARNING.rank else [])]
    if which.since_ms is not None:
        found.append(AUDIT.c.position > position_at(connection, which.since_ms - 1))
    if which.until_ms is not None:
        found.append(AUDIT.c.position <= position_at(connection, which.until_ms))
    if which.topic:
        found.append(AUDIT.c.topic.startswith(which.topic, autoescape=True))
    if which.before is not None:
        found.append(AUDIT.c.position < which.before)
    return found


def _spellings(entity: str) -> list[str]:
    """The ids under which an entity may stand: nodes and clients, named by people, carry their kind."""
    kind, _, name = entity.partition(":")
    if name and kind in ("node", "client", "partition"):
        return [entity, name]
    return [entity, node_stream(entity), client_stream(entity)]


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        position=row.position,
        at_ms=row.at_ms,
        level=_LEVELS[row.level],
        topic=row.topic,
        outcome=Outcome(row.outcome),
        actor=row.actor,
        summary=row.summary,
        reason=row.reason,
        stream=row.stream,
        version=row.version,
        command_id=row.command_id,
        cause=row.cause,
        cycle=row.cycle,
        entities=_decode_entities(row.entities),
    )


_LEVELS = list(LogLevel)
_encode = msgspec.json.Encoder().encode
_decode_entities = msgspec.json.Decoder(tuple[str, ...]).decode


class AuditFold(Fold):
    """Rows to be added; nothing that was written is ever read or changed."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.concerned: list[tuple[str, int]] = []

    def flush(self) -> None:
        """Adds the rows."""
        insert_rows(self.connection, AUDIT, self.rows)
        insert_rows(self.connection, AUDIT_ENTITIES, sorted(self.concerned))
        self.rows, self.concerned = [], []


def _record(fold: AuditFold, event: Event, recorded: Recorded) -> None:
    position, stream, version, _, meta = recorded
    topic, level, outcome, reason, entities_of = _KINDS[type(event)]
    entities = tuple(entities_of(event))
    envelope = (position, event.at_ms, topic, stream, version, meta.actor, meta.command_id, meta.cause, meta.cycle)
    fold.rows.append((*envelope, level, outcome, reason(event), event_sentence(event), _encode(entities).decode()))
    fold.concerned += [(entity, position) for entity in entities]


# -- what is about what, and why ---------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """How events of one type are entered."""

    topic: str
    level: int
    outcome: str
    reason: Callable[[Any], str]
    entities: Callable[[Any], Iterable[str]]


_Grade: TypeAlias = tuple[LogLevel, Outcome]

_DEBUG = (LogLevel.DEBUG, Outcome.DONE)
_INFO = (LogLevel.INFO, Outcome.DONE)
_WARNING = (LogLevel.WARNING, Outcome.DONE)

_GRADES: dict[type[Event], _Grade] = {
    **dict.fromkeys(
        (
            e.TasksStarted,
            e.ProgressMarked,
            e.PartialPublished,
            e.TaskCheckpointed,
            k.CheckpointVerified,
            k.CheckpointDiscarded,
            CycleDecided,
            ForecastsMade,
            ForecastsScored,
        ),
        _DEBUG,
    ),
    **dict.fromkeys(
        (
            e.JobUnqueued,
            e.TasksRequeued,
            e.TasksPreempted,
            n.NodeSuspected,
            c.ClientSuspended,
            d.DependencyBypassed,
            d.DependencyReopened,
        ),
        _WARNING,
    ),
    e.TasksStopped: (LogLevel.INFO, Outcome.CANCELLED),
    e.JobCancelled: (LogLevel.INFO, Outcome.CANCELLED),
    w.WorkflowCancelled: (LogLevel.INFO, Outcome.CANCELLED),
    CommandRefused: (LogLevel.WARNING, Outcome.REFUSED),
    e.TasksFailed: (LogLevel.WARNING, Outcome.FAILED),
    d.DependencyFailed: (LogLevel.WARNING, Outcome.FAILED),
    e.TasksLost: (LogLevel.ERROR, Outcome.LOST),
    e.JobFailed: (LogLevel.ERROR, Outcome.FAILED),
    w.WorkflowFailed: (LogLevel.ERROR, Outcome.FAILED),
    n.NodeQuarantined: (LogLevel.ERROR, Outcome.FAILED),
    n.NodeLost: (LogLevel.CRITICAL, Outcome.LOST),
    k.CheckpointCorrupt: (LogLevel.CRITICAL, Outcome.LOST),
}
"""Level and outcome of the types that are not simply INFO and done."""

_REASONS: dict[type[Event], Callable[[Any], str]] = {
    e.TasksPlaced: lambda event: f"order {event.reason.order}, placement {event.reason.policy}",
    e.TasksFailed: lambda event: failure_text(event.ends[0]),
    e.TasksStopping: lambda event: event.why or CAUSE_TEXT[event.cause],
    e.TasksStopped: lambda event: CAUSE_TEXT[event.cause],
    e.TasksRequeued: lambda event: f"after {AFTER_TEXT[event.why]}",
    e.RoomClaimed: lambda event: RIGHT_TEXT[event.why],
    e.TasksPreempted: lambda event: f"{event.preemptor}: {RIGHT_TEXT[event.why]}",
    n.NodeQuarantined: lambda event: event.cause,
    CycleDecided: lambda event: reason_text(event.blocked[0].reasons[0]) if event.blocked else "",
    CommandRefused: lambda event: event.message,
}
"""Reasons that are not simply a field `why`."""


def _job(event: Any) -> tuple[str, ...]:
    return (event.job_id,)


def _submitted_job(event: e.JobSubmitted) -> list[str]:
    spec = event.spec
    owners = [spec.job_id, client_stream(spec.client_id)]
    return owners if spec.workflow_id is None else [*owners, spec.workflow_id]


def _placed_job(event: e.TasksPlaced) -> Iterable[str]:
    nodes = [node_stream(node_id) for placement in event.placements for node_id, _ in placement.nodes]
    return dict.fromkeys([event.job_id, client_stream(event.client_id), *nodes])


def _claimed_job(event: e.RoomClaimed) -> Iterable[str]:
    nodes = [node_stream(node_id) for place in event.places for node_id, _ in place.nodes]
    victims = [victim.job_id for victim in event.victims]
    return dict.fromkeys([event.job_id, client_stream(event.client_id), *victims, *nodes])


def _preempted_job(event: e.TasksPreempted) -> tuple[str, ...]:
    return (event.job_id, event.preemptor)


def _lost_job(event: e.TasksLost) -> tuple[str, ...]:
    return (event.job_id, node_stream(event.node_id))


def _node(event: n.NodeEvent) -> tuple[str, ...]:
    return (node_stream(event.node_id),)


def _client(event: c.ClientEvent) -> tuple[str, ...]:
    return (client_stream(event.client_id),)


def _partition(event: PartitionEvent) -> tuple[str, ...]:
    return (partition_stream(event.partition),)


def _workflow(event: w.WorkflowEvent) -> tuple[str, ...]:
    return (event.workflow_id,)


def _submitted_workflow(event: w.WorkflowSubmitted) -> tuple[str, ...]:
    return (event.workflow_id, client_stream(event.client_id))


def _workflow_and_job(event: w.WorkflowJobAdded | w.WorkflowReopened) -> tuple[str, ...]:
    return (event.workflow_id, event.job_id)


def _dependency(event: d.DependencyEvent) -> tuple[str, ...]:
    return (event.dependency_id, event.predecessor_id, event.successor_id)


def _checkpoint(event: k.CheckpointEvent | e.TaskCheckpointed) -> tuple[str, ...]:
    return (event.checkpoint_id, event.job_id)


def _reservation(event: r.ReservationEvent) -> tuple[str, ...]:
    return (event.reservation_id,)


def _set_aside(event: r.ReservationMade | r.ReservationActivated) -> Iterable[str]:
    owner = client_stream(event.owner.id) if event.owner.kind is r.OwnerKind.CLIENT else event.owner.id
    return filter(None, [event.reservation_id, owner, *map(node_stream, event.nodes)])


def _refused(event: CommandRefused) -> tuple[str, ...]:
    return (event.entity_id,) if event.entity_id else ()


def _observed(event: ObservedExternally) -> tuple[str, ...]:
    return (event.stream_id,)


def _many(event: ForecastsMade | ForecastsScored) -> tuple[str, ...]:
    """Hundreds of jobs at once: who asks about one of them finds its forecasts in their own read model."""
    return ()


def _farm(event: CycleDecided | PoliciesAdopted | CommandUndone) -> tuple[str, ...]:
    return ()


_ENTITIES: dict[type[Event], Callable[[Any], Iterable[str]]] = {
    **dict.fromkeys(get_args(e.JobEvent), _job),
    **dict.fromkeys(get_args(n.NodeEvent), _node),
    **dict.fromkeys(get_args(c.ClientEvent), _client),
    **dict.fromkeys(get_args(PartitionEvent), _partition),
    **dict.fromkeys(get_args(w.WorkflowEvent), _workflow),
    **dict.fromkeys(get_args(d.DependencyEvent), _dependency),
    **dict.fromkeys(get_args(k.CheckpointEvent), _checkpoint),
    **dict.fromkeys(get_args(r.ReservationEvent), _reservation),
    r.ReservationMade: _set_aside,
    r.ReservationActivated: _set_aside,
    e.JobSubmitted: _submitted_job,
    e.TasksPlaced: _placed_job,
    e.TasksLost: _lost_job,
    e.RoomClaimed: _claimed_job,
    e.TasksPreempted: _preempted_job,
    e.TaskCheckpointed: _checkpoint,
    w.WorkflowSubmitted: _submitted_workflow,
    w.WorkflowJobAdded: _workflow_and_job,
    w.WorkflowReopened: _workflow_and_job,
    CommandRefused: _refused,
    CycleDecided: _farm,
    PoliciesAdopted: _farm,
    ForecastsMade: _many,
    ForecastsScored: _many,
    ObservedExternally: _observed,
    CommandUndone: _farm,
}


def _kind(kind: type[Event]) -> _Kind:
    level, outcome = _GRADES.get(kind, _INFO)
    says_why = "why" in kind.__struct_fields__
    reason = _REASONS.get(kind) or ((lambda event: event.why) if says_why else (lambda event: ""))
    return _Kind(topic_of(kind), level.rank, outcome.value, reason, _ENTITIES[kind])


_KINDS = {kind: _kind(kind) for kind in _ENTITIES}
_HANDLERS: dict[type[Event], Handler] = dict.fromkeys(_KINDS, _record)

PROJECTION = Projection("audit", (AUDIT, AUDIT_ENTITIES), AuditFold, _HANDLERS, version=2)
