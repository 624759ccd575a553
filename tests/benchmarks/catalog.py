"""All rows, in the order of the table."""

from tests.benchmarks import append, commands, cycles, recovery, whole_path
from tests.benchmarks.harness import Row
from tests.projections import catch_up

ROWS: tuple[Row, ...] = (
    *append.ROWS,
    *commands.ROWS,
    *whole_path.ROWS,
    *recovery.ROWS,
    *catch_up.ROWS,
    *cycles.ROWS,
)
