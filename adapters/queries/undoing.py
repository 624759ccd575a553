"""What undoing a command would change: decided as the command itself would be, and not stored."""

from sqlalchemy import select

from adapters.queries.answers.undo import UndoAnswer, UndoLine
from adapters.queries.resolve import MAX_CHARS, SHOWN
from adapters.queries.sources import Sources, rows_wanted
from application.commands import take_back
from application.decider import Batch
from application.undo import Undo
from domain import errors
from domain.messages import Meta, Recorded, topic_of
from domain.undo import CommandUndone
from projections.story import sentence
from projections.tables import AUDIT, PEOPLE


def preview_undo(sources: Sources, id: str, *, why: str = "", limit: int = 100) -> UndoAnswer:
    """What undoing a command would change, from its id or the beginning of one; refused as undoing it would be."""
    limit = rows_wanted(limit)
    command_id = command_id_of(sources, id)
    given = sources.log.of_command(command_id)
    with sources.present() as farm:
        batch = Batch(farm, sources.log, sources.clock.now_ms())
        take_back(batch, Undo(command_id=command_id, why=why), Meta(actor=""))
        position = farm.position
    staged = [each for each in batch.events if type(each.event) is not CommandUndone]
    return UndoAnswer(
        command_id=command_id,
        actor=given[0].meta.actor,
        at_ms=given[0].event.at_ms,
        changes=len(staged),
        rows=[_line(each) for each in staged[:limit]],
        position=position,
    )


def _line(recorded: Recorded) -> UndoLine:
    topic = topic_of(type(recorded.event))
    return UndoLine(stream=recorded.stream, topic=topic, sentence=sentence(recorded))


def command_id_of(sources: Sources, text: str) -> str:
    """The command that is meant by its id or the beginning of it; CommandNotFound or AmbiguousId if that is not one.

    Beginnings are those of commands that people gave, for only they know one.
    """
    if not text or len(text) > MAX_CHARS:
        raise errors.CommandNotFound(command_id=text[:MAX_CHARS])
    if sources.log.remembered(text) is not None:
        return text
    found = _beginning(sources, text)
    if text in found or (not found and sources.log.of_command(text)):
        return text
    if not found:
        raise errors.CommandNotFound(command_id=text)
    if len(found) > 1:
        raise errors.AmbiguousId(prefix=text, candidates=", ".join(found[:SHOWN]) + (", …" if found[SHOWN:] else ""))
    return found[0]


def _beginning(sources: Sources, text: str) -> list[str]:
    """Commands that people gave and that changed something, whose ids begin so: the newest few."""
    begins = AUDIT.c.command_id.startswith(text, autoescape=True)
    query = select(AUDIT.c.command_id).where(PEOPLE, begins).distinct().order_by(AUDIT.c.command_id.desc())
    with sources.rows() as (connection, _):
        return list(connection.execute(query.limit(SHOWN + 1)).scalars())
