"""Answers about what happened, and about who is meant."""

from typing import Any

from adapters.queries.answers.parts import Answer
from domain.log_level import LogLevel


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
    entities: tuple[str, ...]
    """What it concerns: ids, those of nodes and clients with their kind before them, as in `node:n1`."""


class AuditAnswer(Answer, frozen=True, kw_only=True):
    """Audit entries, newest first."""

    rows: list[AuditLine]
    position: int


class ResolveAnswer(Answer, frozen=True, kw_only=True):
    """What a person meant by the beginning of an id, or by a name."""

    kind: str
    """`job`, `node`, `client`, `workflow`, `checkpoint` or `dependency`."""
    id: str
    name: str
