"""Rows that a batch works on: read once, changed in memory, written back together.

A row is a mutable Struct whose first fields are the columns of its table in their order; fields after those are only
for memory. New rows are inserted and known ones updated, many at a time, by statements that are compiled once.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import astuple
from sqlalchemy import Connection, Dialect, Select, Table, bindparam, delete, insert, select, update
from sqlalchemy.sql.dml import UpdateBase

from domain import errors
from projections.projection import ProjectionError
from projections.tables import FIXED

Key = TypeVar("Key")
AnyRow = TypeVar("AnyRow", bound="Row")
Values = Sequence[Any]


class RowMissing(ProjectionError, errors.NotFound):
    """read model table {table!r} lacks the row {key!r} that the log speaks of; `milepost rebuild` makes it anew"""

    code = "projection.row-missing"


class Row(msgspec.Struct, kw_only=True, gc=False):
    """A row of a table: its columns in their order, then these two marks."""

    is_stored: bool = False
    """Whether the table has it, in this state or an older one."""
    is_changed: bool = False
    """Whether the next flush writes it."""

    def loaded(self) -> None:
        """Called when the row was read from its table."""


class Rows(Generic[Key, AnyRow]):
    """The working set of one table: a cache of rows by key, and which of them must be written."""

    def __init__(
        self,
        table: Table,
        kind: type[AnyRow],
        key: str = "",
        done: Callable[[AnyRow], bool] | None = None,
    ) -> None:
        """`key` names the columns to find a row by, the primary key if not given; `done` rows leave memory."""
        self.table, self.kind = table, kind
        self.known: dict[Key, AnyRow] = {}
        self.changed: list[AnyRow] = []
        self._done = done
        self._key_names = tuple(key.split()) or tuple(column.name for column in table.primary_key)
        self.key_of: Callable[[AnyRow], Any] = attrgetter(*self._key_names)

    def add(self, key: Key, row: AnyRow) -> AnyRow:
        """A row that is not in the table yet."""
        self.known[key] = row
        row.is_changed = True
        self.changed.append(row)
        return row

    def get(self, key: Key, connection: Connection) -> AnyRow:
        """The row to change, for a row that the log has made before; RowMissing if it is not there all the same."""
        row = self.known.get(key)
        if row is None or not row.is_changed:
            row = self.find(key, connection)
            if row is None:
                raise RowMissing(table=self.table.name, key=key)
        return row

    def find(self, key: Key, connection: Connection) -> AnyRow | None:
        """The row to change; read from the table if it is not in memory; None if there is none."""
        row = self.known.get(key)
        if row is None:
            row = self._load(key, connection)
            if row is None:
                return None
            self.known[key] = row
        if not row.is_changed:
            row.is_changed = True
            self.changed.append(row)
        return row

    def _load(self, key: Key, connection: Connection) -> AnyRow | None:
        values = key if isinstance(key, tuple) else (key,)
        query = _selection(self.table, self._key_names)
        found = connection.execute(query, dict(zip(self._key_names, values, strict=True))).one_or_none()
        return None if found is None else self._stored(found)

    def load_all(self, connection: Connection) -> None:
        """Reads the whole table into memory, for tables that are small."""
        for found in connection.execute(select(self.table)):
            row = self._stored(found)
            self.known[self.key_of(row)] = row

    def _stored(self, columns: Iterable[Any]) -> AnyRow:
        row = self.kind(*columns)
        row.is_stored = True
        row.loaded()
        return row

    def flush(self, connection: Connection) -> None:
        """Writes what is new or changed and forgets rows that are done with."""
        changed, self.changed = self.changed, []
        insert_rows(connection, self.table, [astuple(row) for row in changed if not row.is_stored])
        update_rows(connection, self.table, [astuple(row) for row in changed if row.is_stored])
        done = self._done
        for row in changed:
            row.is_stored, row.is_changed = True, False
            if done is not None and done(row):
                del self.known[self.key_of(row)]


@lru_cache
def _selection(table: Table, key_names: tuple[str, ...]) -> Select[Any]:
    return select(table).where(*(table.c[name] == bindparam(name) for name in key_names))


def insert_rows(connection: Connection, table: Table, rows: Iterable[Values]) -> None:
    """Inserts rows: tuples that begin with the table's columns in order; more values are ignored."""
    statement, pick = _insertion(table, connection.dialect)
    _execute_many(connection, statement, list(map(pick, rows)))


def update_rows(connection: Connection, table: Table, rows: Iterable[Values]) -> None:
    """Writes the columns that can change of rows that are in the table, found by primary key."""
    statement, pick = _update(table, connection.dialect)
    _execute_many(connection, statement, list(map(pick, rows)))


def delete_rows(connection: Connection, table: Table, keys: Iterable[Values]) -> None:
    """Removes rows by primary key."""
    _execute_many(connection, _deletion(table, connection.dialect), [tuple(key) for key in keys])


def _execute_many(connection: Connection, statement: "_Statement", params: list[tuple[Any, ...]]) -> None:
    """Plain tuples go to a driver that takes them; others get named parameters."""
    if not params:
        return
    if statement.text:
        connection.exec_driver_sql(statement.text, params)
    else:
        connection.execute(statement.core, [dict(zip(statement.names, row, strict=True)) for row in params])


class _Statement:
    """A compiled statement: text for positional drivers, else the construct with the names of its parameters."""

    def __init__(self, core: UpdateBase, names: list[str], dialect: Dialect) -> None:
        self.core, self.names = core, names
        compiled = core.compile(dialect=dialect, column_keys=names)
        self.text = str(compiled) if dialect.positional else ""
        if dialect.positional and compiled.positiontup != names:
            raise AssertionError(f"parameters of {self.text!r} are not in the order of {names}")


@lru_cache
def _insertion(table: Table, dialect: Dialect) -> tuple[_Statement, Callable[[Values], tuple[Any, ...]]]:
    names = [column.name for column in table.columns]
    return _Statement(insert(table), names, dialect), _picker(range(len(names)))


@lru_cache
def _update(table: Table, dialect: Dialect) -> tuple[_Statement, Callable[[Values], tuple[Any, ...]]]:
    columns = list(table.columns)
    keys = [at for at, column in enumerate(columns) if column.primary_key]
    changing = [at for at, column in enumerate(columns) if not column.primary_key and FIXED not in column.info]
    core = update(table).values({columns[at].name: bindparam(columns[at].name) for at in changing})
    core = core.where(*(columns[at] == bindparam(f"key_{columns[at].name}") for at in keys))
    names = [columns[at].name for at in changing] + [f"key_{columns[at].name}" for at in keys]
    return _Statement(core, names, dialect), _picker(changing + keys)


@lru_cache
def _deletion(table: Table, dialect: Dialect) -> _Statement:
    names = [column.name for column in table.primary_key]
    core = delete(table).where(*(table.c[name] == bindparam(name) for name in names))
    return _Statement(core, names, dialect)


def _picker(places: Sequence[int]) -> Callable[[Values], tuple[Any, ...]]:
    if list(places) == list(range(len(places))):
        return itemgetter(slice(len(places)))
    return itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
