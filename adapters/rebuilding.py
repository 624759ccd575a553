"""Read models made anew from the log, or compared with fresh ones: they are a cache, and this is the proof."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from sqlalchemy import Connection, Table, select

from adapters.bootstrap import open_direct
from adapters.store.sqlite import read_log
from adapters.views import VIEWS_FILE
from application.ports import Log
from projections.projection import Projection
from projections.runner import PROJECTIONS, ProjectionRunner
from projections.tables import POSITIONS, open_views

SHOWN = 3
"""So many different rows of a table are named."""


def rebuild(data_dir: Path) -> int:
    """Drops the read models and replays the log into new ones; the position they show.

    StoreLocked while a server runs, which keeps them itself; StoreNotFound where there is no store.
    """
    read_log(data_dir).close()
    direct = open_direct(data_dir)
    try:
        return direct.views.runner.rebuild()
    finally:
        direct.close()


def check(data_dir: Path) -> tuple[int, list[str]]:
    """The position that the read models show, and how they differ from fresh ones at that position.

    Reads only, so a server may run and write meanwhile.
    """
    path = data_dir / VIEWS_FILE
    log = read_log(data_dir)
    try:
        if not path.exists():
            return log.position(), [f"there are no read models in {data_dir}"]
        kept = open_views(f"sqlite:///{path}")
        with kept.begin() as connection:
            return _compare(connection, log)
    finally:
        log.close()


def _compare(kept: Connection, log: Log) -> tuple[int, list[str]]:
    positions = {name: at for name, at, _ in kept.execute(select(POSITIONS))}
    shapes = {name: shape for name, _, shape in kept.execute(select(POSITIONS))}
    engine = open_views("sqlite://")
    runner = ProjectionRunner(engine, log.read, log.position)
    differences = [
        f"{each.name}: made by another release" for each in PROJECTIONS if shapes.get(each.name) != each.shape()
    ]
    comparable = [each for each in PROJECTIONS if shapes.get(each.name) == each.shape()]
    for projection in sorted(comparable, key=lambda each: positions[each.name]):
        runner.catch_up(upto=positions[projection.name])
        with engine.begin() as fresh:
            differences += _differences(kept, fresh, projection)
    return min(positions.values(), default=0), differences


def _differences(kept: Connection, fresh: Connection, projection: Projection) -> Iterator[str]:
    for table in projection.tables:
        wrong = 0
        for there, here in zip_longest(_rows(kept, table), _rows(fresh, table)):
            wrong += there != here
            if there != here and wrong <= SHOWN:
                yield f"{projection.name}: {table.name} has {_said(there)} where the log says {_said(here)}"
        if wrong > SHOWN:
            yield f"{projection.name}: {table.name} differs in {wrong - SHOWN} more rows"


def _rows(connection: Connection, table: Table) -> Iterator[Sequence[object]]:
    found = connection.execute(select(table).order_by(*table.primary_key), execution_options={"yield_per": 1_000})
    return (tuple(row) for row in found)


def _said(row: Sequence[object] | None) -> str:
    return "no row" if row is None else str(row)
