"""The garbage collector during a simulation: hundreds of thousands of events are kept, and next to nothing is garbage.

Each of its passes looks at what is kept and finds nothing, so they come less often while simulations run.
"""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CALM = 100_000
"""New objects between two passes over the young ones."""

_lock = threading.Lock()
_usual: list[tuple[int, int, int]] = []
"""What is in force in this process while no simulation runs, once for each that runs."""


@contextmanager
def calm() -> Iterator[None]:
    """Passes come seldom until this ends; several may run at once. Where the collector is off it stays off."""
    with _lock:
        _usual.append(_usual[0] if _usual else gc.get_threshold())
        young, *older = _usual[0]
        gc.set_threshold(max(CALM, young) if young else 0, *older)
    try:
        yield
    finally:
        with _lock:
            usual = _usual.pop()
            if not _usual:
                gc.set_threshold(*usual)
