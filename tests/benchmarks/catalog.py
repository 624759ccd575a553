"""All rows, in the order of the table."""

from tests.benchmarks import (
    accasim_peer,
    append,
    commands,
    cycles,
    preemption,
    recovery,
    sharing,
    simulation,
    whole_path,
    windows,
)
from tests.benchmarks.harness import Row
from tests.projections import catch_up

LEFT_OUT: tuple[Row, ...] = () if accasim_peer.is_installed() else simulation.PEER_ROWS
"""Rows that stand on a peer that is not installed."""
ROWS: tuple[Row, ...] = (
    *append.ROWS,
    *commands.ROWS,
    *whole_path.ROWS,
    *recovery.ROWS,
    *catch_up.ROWS,
    *cycles.ROWS,
    *windows.ROWS,
    *preemption.ROWS,
    *sharing.ROWS,
    *simulation.ROWS,
    *(row for row in simulation.PEER_ROWS if row not in LEFT_OUT),
)
