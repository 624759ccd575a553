"""The accept limits as tests, for `pytest -m bench`: a row fails when not even its best round is within its limit.

Other work on the machine makes rounds slower, hardly ever faster; the medians are for `make bench` to show.
"""

from pathlib import Path

import pytest

from tests.benchmarks import harness, report
from tests.benchmarks.catalog import ROWS
from tests.benchmarks.harness import Row, Size

LIMITED = [row for row in ROWS if row.accept is not None]


@pytest.mark.bench
@pytest.mark.parametrize("row", LIMITED, ids=[row.name for row in LIMITED])
def test_the_accept_limit_holds(row: Row, tmp_path: Path) -> None:
    result = harness.run(row, Size.QUICK, tmp_path)
    assert result.within_limit(result.best), report.table([result])
