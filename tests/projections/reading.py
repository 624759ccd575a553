"""How tests look at read models: a world's log folded, tables as plain rows."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, select

from adapters.store.mapper import decode, encode
from domain.messages import Meta, Recorded
from projections.projection import Projection
from projections.runner import PROJECTIONS, ProjectionRunner
from projections.tables import POSITIONS
from tests.history import History
from tests.projections.world import World

Tables = dict[str, list[tuple[Any, ...]]]


def runner_of(engine: Engine, world: World, projections: Iterable[Projection] = PROJECTIONS) -> ProjectionRunner:
    return ProjectionRunner(engine, world.read, world.position, projections)


@contextmanager
def folded(engine: Engine, world: World, *projections: Projection) -> Iterator[Connection]:
    """A connection to the read models of all that happened in a world."""
    runner_of(engine, world, projections or PROJECTIONS).catch_up()
    with engine.connect() as connection:
        yield connection


def rows_of(engine: Engine, projections: Iterable[Projection] = PROJECTIONS) -> Tables:
    """All rows of all tables by key, and the positions."""
    tables = [POSITIONS, *(table for projection in projections for table in projection.tables)]
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in tables
        }


def recorded(history: History) -> list[Recorded]:
    """The rows of a history as a store would give them back: written as JSON and read again."""
    meta = Meta("user:ada", "cmd-1")
    return [
        Recorded(position, stream, version, *decode(*encode(event, meta)))
        for position, stream, version, event in history.rows
    ]


class Log:
    """Some recorded events behind the two functions that a runner reads with."""

    def __init__(self, events: Sequence[Recorded]) -> None:
        self.events = events

    def read(self, after: int, limit: int) -> Sequence[Recorded]:
        return self.events[after : after + limit]

    def position(self) -> int:
        return len(self.events)
