"""A world for each test, whose clock the models' defaults read, too."""

from collections.abc import Iterator

import pytest

from adapters.facades.bridge import times
from tests.facades.common.worlds import World


@pytest.fixture
def world() -> Iterator[World]:
    """An application in memory with a clock by hand."""
    made = World()
    with times.ambient(made.clock):
        yield made
