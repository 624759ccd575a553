"""Small traces for tests of the simulator's doors."""

from pathlib import Path

HEADER = "; MaxProcs: 4\n; UnixStartTime: 1000000000\n"
START_MS = 1_000_000_000_000


def line(number: int, submit_s: int, run_s: int, processors: int, requested_s: int) -> str:
    """A job line of the Standard Workload Format."""
    return f"{number} {submit_s} -1 {run_s} {processors} -1 -1 {processors} {requested_s} -1 1 1 1 -1 1 -1 -1 -1\n"


THREE = HEADER + line(1, 0, 10, 3, 10) + line(2, 1, 10, 4, 10) + line(3, 2, 5, 1, 5)
"""On 4 processors: 1 runs from 0 to 10, 2 needs all and waits for it, 3 fits beside 1."""


def write(path: Path, text: str) -> str:
    """A file; its path as text."""
    path.write_text(text)
    return str(path)
