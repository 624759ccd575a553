"""The answer about what undoing a command would change."""

from adapters.queries.answers.parts import Answer


class UndoLine(Answer, frozen=True, kw_only=True):
    """One change, as it would be stored."""

    stream: str
    """Of what: a job's id, `node:` or `client:` and a name, or `policies`."""
    topic: str
    sentence: str


class UndoAnswer(Answer, frozen=True, kw_only=True):
    """What undoing a command would change, as things are now."""

    command_id: str
    """In full."""
    actor: str
    """Who gave it."""
    at_ms: int
    """When it was carried out."""
    changes: int
    """How many there would be; `rows` has the first of them."""
    rows: list[UndoLine]
    position: int
