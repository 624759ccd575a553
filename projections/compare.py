"""Are the read models what the log says? Every row is compared with a fresh rebuild.

Both sides are read in the order of their keys, a page at a time, so that memory does not grow with the farm.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, Text, select

from projections.projection import Projection

PAGE = 5_000
DIFFERENCES_AT_MOST = 100


class Difference(msgspec.Struct, frozen=True):
    """A row that is not what the log says."""

    projection: str
    table: str
    key: dict[str, Any]
    expected: dict[str, Any] | None
    """The columns that differ, as the log says; None if there should be no such row."""
    found: dict[str, Any] | None
    """The same columns as they are; None if the row is missing."""


class Comparison(msgspec.Struct, frozen=True):
    """What a comparison found."""

    position: int
    """How far the slowest of the compared projections had come."""
    rows: int
    """How many rows the log says there are."""
    differences: tuple[Difference, ...]
    """The first hundred at most; none if all is well."""


class Comparer:
    """Compares tables of a read model with fresh ones, and counts."""

    def __init__(self, fresh: Connection, found: Connection) -> None:
        self.fresh, self.found = fresh, found
        self.rows = 0
        self.differences: list[Difference] = []

    def compare(self, projection: Projection) -> None:
        """All tables of a projection."""
        for table in projection.tables:
            for expected, found in self._pairs(table):
                if expected != found and len(self.differences) < DIFFERENCES_AT_MOST:
                    self.differences.append(_difference(projection, table, expected, found))

    def _pairs(self, table: Table) -> Iterator[tuple[Any, Any]]:
        """Rows with the same key side by side; None stands where one side lacks it."""
        fresh, found = _in_order(self.fresh, table), _in_order(self.found, table)
        width = len(table.primary_key)
        left, right = next(fresh, None), next(found, None)
        while left is not None or right is not None:
            left_key = None if left is None else left[:width]
            right_key = None if right is None else right[:width]
            if right_key is None or (left_key is not None and left_key < right_key):
                yield left, None
                left = self._counted(fresh)
            elif left_key is None or right_key < left_key:
                yield None, right
                right = next(found, None)
            else:
                yield left, right
                left, right = self._counted(fresh), next(found, None)

    def _counted(self, fresh: Iterator[Any]) -> Any:
        self.rows += 1
        return next(fresh, None)


def _in_order(connection: Connection, table: Table) -> Iterator[tuple[Any, ...]]:
    """The rows by key, text in the order of its code points, as Python compares it."""
    keys = [
        column.collate("C") if connection.dialect.name == "postgresql" and isinstance(column.type, Text) else column
        for column in table.primary_key
    ]
    result = connection.execution_options(yield_per=PAGE).execute(select(table).order_by(*keys))
    for row in result:
        yield tuple(row)


def _difference(
    projection: Projection, table: Table, expected: tuple[Any, ...] | None, found: tuple[Any, ...] | None
) -> Difference:
    names = [column.name for column in table.columns]
    width = len(table.primary_key)
    either = expected if expected is not None else found or ()
    differs = [at for at in range(len(names)) if expected is None or found is None or expected[at] != found[at]]
    return Difference(
        projection=projection.name,
        table=table.name,
        key=dict(zip(names[:width], either[:width], strict=True)),
        expected=None if expected is None else {names[at]: expected[at] for at in differs},
        found=None if found is None else {names[at]: found[at] for at in differs},
    )
