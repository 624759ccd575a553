"""What a projection is: a name, tables, and a function for every event type that it folds into them.

A projection must know every topic of the log: it handles the event, or says that it ignores it. A fold works in memory
on one batch of events inside one transaction and writes the changed rows at the end; its memory is only a cache of the
tables and may be thrown away between batches at any time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2s
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.schema import CreateIndex, CreateTable

from domain import errors
from domain.messages import Event, Recorded

Handler = Callable[[Any, Any, Recorded], None]
"""Takes the fold, the event, and the `Recorded` around it."""


class ProjectionError(errors.StoreError):
    """about a read model"""


class UnknownTopic(ProjectionError, errors.Invalid):
    """projection {projection!r} neither handles nor ignores {topic!r} (position {position}): update it, then rebuild"""

    code = "projection.unknown-topic"


class PositionBroken(ProjectionError, errors.Conflict):
    """projection {projection!r} stands at {found}, so event {position} cannot be next; nothing was changed"""

    code = "projection.position"


class OtherLog(ProjectionError, errors.NotAllowed):
    """projection {projection!r} stands at {found}, but the log ends at {end}: `milepost rebuild` makes it anew"""

    code = "projection.other-log"


class ProjectionNotFound(ProjectionError, errors.NotFound):
    """there is no projection {projection!r}; there are {known}"""

    code = "projection.not-found"


class Fold(ABC):
    """The working memory of a projection. Subclasses keep rows and write them in `flush`."""

    connection: Connection
    """Of the running transaction: for rows that are not in memory yet."""

    def load(self) -> None:  # noqa: B027 (most folds need nothing)
        """Reads what must be in memory before the first event; called once, in the first transaction."""

    @abstractmethod
    def flush(self) -> None:
        """Writes what the batch changed."""


class Projection:
    """One read model: how its rows follow from the log."""

    def __init__(
        self,
        name: str,
        tables: Iterable[Table],
        fold: Callable[[], Fold],
        handlers: Mapping[type[Event], Handler],
        ignored: Iterable[type[Event]] = (),
        version: int = 1,
    ) -> None:
        self.name = name
        self.tables = tuple(tables)
        self.fold = fold
        self.table: dict[type[Event], Handler | None] = {**dict.fromkeys(ignored), **handlers}
        """Every event type it knows: its handler, or None if it is ignored."""
        self.version = version
        """Raised when a handler begins to write other rows from the same events."""

    def missing(self, topics: Mapping[str, type[Event]]) -> list[str]:
        """Topics that it neither handles nor ignores."""
        return [topic for topic, kind in topics.items() if kind not in self.table]

    def shape(self) -> str:
        """Changes with its tables, indexes and fold version; rows of another shape cannot be continued."""
        parts = [str(CreateTable(table)) for table in self.tables]
        parts += sorted(str(CreateIndex(index)) for table in self.tables for index in table.indexes)
        return blake2s("\n".join([*parts, str(self.version)]).encode(), digest_size=8).hexdigest()
