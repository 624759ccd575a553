"""What all questions read from: the log, the read models kept from it, and the live farm."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Engine, func, select

from adapters.clock import SystemClock
from adapters.executors.layout import Layout
from adapters.queries.past import Point, locate
from adapters.times import parse_moment, parse_time_ms
from application.ports import Clock, Log
from domain.errors import BadInput, StoreError
from domain.farm import Farm
from projections.tables import POSITIONS

PATIENCE_S = 0.5
"""A reader who asks for nothing in particular waits so long for read models that are behind, then takes them as is."""
PATIENCE_FOR_OWN_WRITES_S = 10.0


MAX_ROWS = 10_000
"""No answer has more rows; who wants all of them asks page by page."""


def rows_wanted(limit: int, offset: int = 0, least: int = 1) -> int:
    """How many rows an answer may have; BadInput for a limit below the least or an offset below 0."""
    for name, value, bound in (("limit", limit, least), ("offset", offset, 0)):
        if value < bound:
            raise BadInput(problem=f"{name} is {value}; it must be at least {bound}", place=name)
    return min(limit, MAX_ROWS)


class Views(Protocol):
    """The read models and who keeps them, such as `projections.runner.ProjectionRunner`."""

    @property
    def engine(self) -> Engine:
        """Where the tables are."""
        ...

    def catch_up(self) -> int:
        """Folds what is new in the log, here and now."""
        ...

    def wait_for(self, position: int, timeout_s: float) -> bool:
        """Waits for a thread that folds; False if it has not come so far in time."""
        ...


class Rows(NamedTuple):
    """The read models in one transaction, and the log position that they show."""

    connection: Connection
    position: int


class Sources:
    """Log, read models, farm and files of one data directory.

    `farm` gives the present farm, and `lock` is held while it is read. With `live`, a thread of this process keeps the
    read models up with the log, and readers wait for it a little; otherwise each reader folds what is new himself.
    """

    def __init__(
        self,
        log: Log,
        views: Views,
        *,
        farm: Callable[[], Farm],
        data_dir: Path,
        lock: AbstractContextManager[Any] | None = None,
        clock: Clock | None = None,
        live: bool = False,
    ) -> None:
        self.log, self.views, self.data_dir, self.live = log, views, data_dir, live
        self.layout = Layout(data_dir)
        self.clock: Clock = clock or SystemClock()
        self.closing = Event()
        """Set when nobody shall wait any longer."""
        self._farm, self._lock = farm, lock

    def now(self) -> Point:
        """The end of the log, and this moment."""
        return Point(self.log.position(), self.clock.now_ms())

    def point(self, at: str) -> Point:
        """The place in the log that a person means; the end of it if nothing is said."""
        return locate(self.log, parse_moment(at, self.clock.now_ms())) if at else self.now()

    def time_ms(self, text: str) -> int:
        """The time that a person means."""
        return parse_time_ms(text, self.clock.now_ms())

    def first_ms(self, otherwise: int) -> int:
        """The time of the first event; something else while there is none."""
        first = self.log.read(0, 1)
        return first[0].event.at_ms if first else otherwise

    @contextmanager
    def present(self) -> Iterator[Farm]:
        """The farm as it is, standing still while it is read."""
        with self._lock or nullcontext():
            yield self._farm()

    def farm_position(self) -> int:
        """How far the present farm has come, for those who look again and again: cheap, and waits for nobody."""
        return self._farm().position if self.live else self.log.position()

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """The read models, as fresh as can be had without waiting long."""
        if self.live:
            self.views.wait_for(self.log.position(), PATIENCE_S)
        else:
            self.views.catch_up()
        with self.views.engine.begin() as connection:
            position = connection.execute(select(func.min(POSITIONS.c.position))).scalar()
            yield Rows(connection, position or 0)

    def wait_for_own_writes(self, position: int) -> None:
        """Returns when the read models show the effect of a command that was answered with this position."""
        if not position:
            return
        end = self.log.position()
        if position > end:
            raise BadInput(
                problem=f"the log ends at @{end}, so nothing was written at @{position} yet", place="position"
            )
        if self.live and not self.views.wait_for(position, PATIENCE_FOR_OWN_WRITES_S):
            raise StoreError(f"the read models have not come to position {position} yet; ask again", position=position)
