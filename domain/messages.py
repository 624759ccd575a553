"""What every message is: facts (events), wishes (commands), and who said so (meta).

The shape follows the Decider pattern (Chassaing): `decide(state, command, now) -> events`,
`evolve(state, event) -> state`.
An event's topic is its msgspec tag, written out at each class, so that files may move while streams stay.
"""

import re
from typing import NamedTuple, TypeAlias

import msgspec

JobId: TypeAlias = str
NodeId: TypeAlias = str
ClientId: TypeAlias = str
WorkflowId: TypeAlias = str
DependencyId: TypeAlias = str
CheckpointId: TypeAlias = str
ReservationId: TypeAlias = str
StreamId: TypeAlias = str


SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,119}")
"""Ids name streams, directories and URLs alike, so they are plain words."""
MAX_NAME_CHARS = 200
"""The longest name of a job, workflow or client: what people call it in a table, not a description."""


class Value(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Base of plain values that travel inside messages. Equal fields make equal values."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="topic"):
    """A fact: something that happened at `at_ms` and can never be undone, only followed by another fact."""

    at_ms: int
    """When it happened, in milliseconds since 1970-01-01 UTC."""


class Command(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="command"):
    """A wish: somebody wants this; a handler decides whether it becomes facts."""


REPORT = "attempt:"
"""Begins the cause of what an executor reported."""


class Meta(Value, frozen=True):
    """The envelope around a stored event: who, on whose command, following from what."""

    actor: str
    """Who caused it: `user:ada`, or a part of the system such as `scheduler`."""
    command_id: str = ""
    """The command it came from; sending the same command id again changes nothing."""
    cause: str = ""
    """What it follows from, where that is not the command itself: an event (`stream@version`), or what an executor
    reported (`attempt:7`, the first of the job's attempts that it was about), or the command that it undoes
    (`undo:cmd-7`)."""
    cycle: int = 0
    """The scheduling cycle that decided it: the log position that its plan was made for; 0 outside a cycle."""


def topic_of(event_type: type[Event]) -> str:
    """The stored name of an event type, such as `job.queued`."""
    return str(event_type.__struct_config__.tag)


class Recorded(NamedTuple):
    """An event as the log holds it."""

    position: int
    """Its notification id: 1 for the first event of the log, without gaps."""
    stream: StreamId
    version: int
    """1 for the first event of its stream, without gaps."""
    event: Event
    meta: Meta


def node_stream(node_id: NodeId) -> StreamId:
    """The stream of a node; nodes and clients are named by people, hence the prefix."""
    return f"node:{node_id}"


def client_stream(client_id: ClientId) -> StreamId:
    """The stream of a client."""
    return f"client:{client_id}"
