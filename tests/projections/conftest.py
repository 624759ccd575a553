"""A fresh database of read models, in memory."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from projections.tables import open_views


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = open_views("sqlite://")
    yield made
    made.dispose()
