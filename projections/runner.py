"""The runner: reads the log once, in order, and folds it into every projection, exactly once.

The rows of a batch and the position they stand for change in one transaction. Whatever goes wrong changes nothing, and
the memory of the folds is thrown away, since it is only a cache of their tables. Batches are as long as the lag: a live
farm pays one small transaction per wake-up, and a rebuild takes ten thousand events at a time.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Engine, delete, insert, select, update

from domain.catalog import TOPICS
from domain.messages import Recorded, topic_of
from projections import audit, forecasts, nodes, preemptions, queue, reservations, shares, usage, utilization
from projections.compare import Comparer, Comparison
from projections.projection import Fold, OtherLog, PositionBroken, Projection, ProjectionNotFound, UnknownTopic
from projections.tables import METADATA, POSITIONS, WRITING, open_views

Read = Callable[[int, int], Sequence[Recorded]]
"""`read(after_position, limit)`: the next events of the log, in order, at most `limit` of them."""
Position = Callable[[], int]
"""The position of the log's last event."""
Progress = Callable[[int, int], None]
"""Told after every batch: where the slowest projection is, and where it has to go."""

BATCH = 10_000
"""Events per transaction while catching up: more than this gains nothing, and holds the write lock longer."""
POLL_S = 0.25
"""How long a reader sleeps at most when nobody wakes it: other processes append, too."""

PROJECTIONS: tuple[Projection, ...] = (
    queue.PROJECTION,
    nodes.PROJECTION,
    preemptions.PROJECTION,
    reservations.PROJECTION,
    utilization.PROJECTION,
    usage.PROJECTION,
    shares.PROJECTION,
    audit.PROJECTION,
    forecasts.PROJECTION,
)


class ProjectionRunner:
    """Keeps projections up with the log. One thread at a time may fold; any may wait."""

    def __init__(
        self,
        engine: Engine,
        read: Read,
        position: Position,
        projections: Iterable[Projection] = PROJECTIONS,
    ) -> None:
        self.engine = engine
        self._writer = engine.execution_options(**WRITING)
        self._projections = {projection.name: projection for projection in projections}
        self._read, self._log_position = read, position
        self._folds: dict[str, Fold] = {}
        self._positions: dict[str, int] = {}
        self._folding = threading.RLock()
        self._moved = threading.Condition()
        self._failure: BaseException | None = None
        for projection in self._projections.values():
            _must_know_all_topics(projection)
        with self._folding:
            self._prepare()

    # -- tables and positions ------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Makes missing tables, and those anew whose shape this release has changed; reads the positions."""
        with self._writer.begin() as connection:
            METADATA.create_all(connection, tables=[POSITIONS])
            known = {name: (at, shape) for name, at, shape in connection.execute(select(POSITIONS))}
            for name, projection in self._projections.items():
                at, shape = known.get(name, (0, ""))
                if shape != projection.shape():
                    at = 0
                    self._make_anew(connection, projection)
                self._positions[name] = at

    def _make_anew(self, connection: Connection, projection: Projection) -> None:
        """Empty tables at position 0."""
        connection.execute(delete(POSITIONS).where(POSITIONS.c.name == projection.name))
        METADATA.drop_all(connection, tables=list(projection.tables))
        METADATA.create_all(connection, tables=list(projection.tables))
        connection.execute(insert(POSITIONS).values(name=projection.name, position=0, shape=projection.shape()))

    def position(self) -> int:
        """How far the slowest projection has come."""
        return min(self._positions.values(), default=0)

    def lag(self) -> int:
        """How many events the slowest projection is behind the log."""
        return self._log_position() - self.position()

    def _look_again(self) -> None:
        """Another process may have folded meanwhile: what this one has in memory is then of no use."""
        with self.engine.connect() as connection:
            stored = _stand(connection)
        for name, at in self._positions.items():
            if stored[name] != at:
                self._positions[name] = stored[name]
                self._folds.pop(name, None)

    # -- folding -------------------------------------------------------------------------------------------------

    def catch_up(
        self, upto: int | None = None, progress: Progress | None = None, names: Iterable[str] | None = None
    ) -> int:
        """Folds all events there are (or those up to a position) into all projections; how far the slowest has come.

        Projections that stand at the same position share each reading of the log; those behind go first.
        """
        chosen = [projection.name for projection in self._chosen(names)]
        with self._folding:
            self._look_again()
            goal = self._goal(upto)
            while (at := min(self._positions[name] for name in chosen)) < goal:
                behind = [name for name in chosen if self._positions[name] == at]
                ahead = [self._positions[name] for name in chosen if self._positions[name] > at]
                batch = self._read(at, min(BATCH, min(ahead, default=goal) - at, goal - at))
                if not batch:
                    break
                self.fold(batch, behind)
                if progress is not None:
                    progress(batch[-1].position, goal)
            return self.position()

    def _goal(self, upto: int | None) -> int:
        """Where to go; OtherLog if some rows stand for events that the log does not have."""
        end = self._log_position()
        for name, position in self._positions.items():
            if position > end:
                raise OtherLog(projection=name, found=position, end=end)
        return end if upto is None else min(upto, end)

    def fold(self, batch: Sequence[Recorded], names: Iterable[str] | None = None) -> None:
        """Folds the very next events into some projections (all unless named), in one transaction.

        PositionBroken if they are not the next ones for each of them, UnknownTopic if one does not know such an event.
        """
        chosen = self._chosen(names)
        if not batch:
            return
        with self._folding:
            try:
                with self._writer.begin() as connection:
                    for projection in chosen:
                        self._fold_one(connection, projection, batch)
            except BaseException:
                self._folds.clear()
                raise
            for projection in chosen:
                self._positions[projection.name] = batch[-1].position
        with self._moved:
            self._moved.notify_all()

    def _fold_one(self, connection: Connection, projection: Projection, batch: Sequence[Recorded]) -> None:
        self._advance(connection, projection.name, batch)
        fold = self._fold_of(projection, connection)
        table, name = projection.table, projection.name
        for recorded in batch:
            event = recorded.event
            try:
                handler = table[type(event)]
            except KeyError:
                raise UnknownTopic(projection=name, topic=topic_of(type(event)), position=recorded.position) from None
            if handler is not None:
                handler(fold, event, recorded)
        fold.flush()

    def _advance(self, connection: Connection, name: str, batch: Sequence[Recorded]) -> None:
        """Moves the stored position over a batch without gaps that begins right behind it."""
        expected = self._positions[name]
        for recorded in batch:
            if recorded.position != expected + 1:
                raise PositionBroken(projection=name, found=expected, position=recorded.position)
            expected = recorded.position
        moved = connection.execute(
            update(POSITIONS)
            .where(POSITIONS.c.name == name, POSITIONS.c.position == self._positions[name])
            .values(position=expected)
        )
        if moved.rowcount != 1:  # another process moved it
            found = connection.execute(select(POSITIONS.c.position).where(POSITIONS.c.name == name)).scalar()
            raise PositionBroken(projection=name, found=found, position=batch[0].position)

    def _fold_of(self, projection: Projection, connection: Connection) -> Fold:
        fold = self._folds.get(projection.name)
        if fold is not None:
            fold.connection = connection
            return fold
        fold = projection.fold()
        fold.connection = connection
        fold.load()
        self._folds[projection.name] = fold
        return fold

    # -- rebuilding ----------------------------------------------------------------------------------------------

    def rebuild(self, names: Iterable[str] | None = None, progress: Progress | None = None) -> int:
        """Drops the tables of some projections (all unless named), makes them anew and replays the log into them."""
        chosen = self._chosen(names)
        with self._folding:
            with self._writer.begin() as connection:
                for projection in chosen:
                    self._make_anew(connection, projection)
            return self.catch_up(progress=progress)

    def compare(self, names: Iterable[str] | None = None, progress: Progress | None = None) -> Comparison:
        """Rebuilds some projections (all unless named) in a scratch file and compares every row with what there is.

        The farm can go on meanwhile: the rows are read as they stood at one moment. PositionBroken if the database
        does not keep them so for a reader (any `open_views` engine does).
        """
        chosen = self._chosen(names)
        with self.engine.connect() as found, TemporaryDirectory(prefix="milepost-") as scratch:
            stand = _stand(found)
            fresh = open_views(f"sqlite:///{scratch}/views.db")
            try:
                runner = ProjectionRunner(fresh, self._read, self._log_position, chosen)
                for projection in chosen:
                    upto = stand[projection.name]
                    others = [other.name for other in chosen if stand[other.name] == upto]
                    runner.catch_up(upto, progress, others)
                with fresh.connect() as connection:
                    comparer = Comparer(connection, found)
                    for projection in chosen:
                        comparer.compare(projection)
            finally:
                fresh.dispose()
            for name, position in _stand(found).items():
                if position != stand[name]:
                    raise PositionBroken(projection=name, found=position, position=stand[name])
        position = min(stand[projection.name] for projection in chosen)
        return Comparison(position, comparer.rows, tuple(comparer.differences))

    def _chosen(self, names: Iterable[str] | None) -> list[Projection]:
        chosen = list(self._projections if names is None else names)
        for name in chosen:
            if name not in self._projections:
                raise ProjectionNotFound(projection=name, known=", ".join(self._projections))
        return [self._projections[name] for name in chosen]

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event, wake: threading.Event) -> None:
        """Keeps up with the log until told to stop; set `wake` after an append, and after `stop`.

        Any error ends it and is raised here and in every `wait_for`: rows that cannot be trusted are not served as new.
        """
        try:
            while not stop.is_set():
                wake.clear()
                self.catch_up()
                wake.wait(POLL_S)
        except BaseException as error:
            with self._moved:
                self._failure = error
                self._moved.notify_all()
            raise

    def wait_for(self, position: int, timeout_s: float) -> bool:
        """Waits until every projection has come to a position, for readers of their own writes; False if in vain."""
        with self._moved:
            self._moved.wait_for(lambda: self._failure is not None or self.position() >= position, timeout_s)
            if self._failure is not None:
                raise self._failure
            return self.position() >= position


def _stand(connection: Connection) -> dict[str, int]:
    """The stored position of every projection."""
    return {name: at for name, at, _ in connection.execute(select(POSITIONS))}


def _must_know_all_topics(projection: Projection) -> None:
    missing = projection.missing(TOPICS)
    if missing:
        raise UnknownTopic(projection=projection.name, topic=missing[0], position="any")
