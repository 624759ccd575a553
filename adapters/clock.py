"""Time and ids from the machine: the only place that reads the wall clock or draws random bits."""

import os
import threading
import time
from datetime import datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: sorts like the number, no letters that look alike."""


class SystemClock:
    """The machine's clock, never running backwards within one process."""

    def __init__(self) -> None:
        self._last_ms = 0

    def now(self) -> datetime:
        """The local time to the microsecond, without a zone, as it stands; for whoever compares it with his own."""
        return datetime.now()  # noqa: DTZ005 (naive on purpose)

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        self._last_ms = max(self._last_ms, time.time_ns() // 1_000_000)
        return self._last_ms


class SystemIds:
    """Ids `prefix-…` of 48 bits of time, 20 of counter and 30 of chance: sorted by making, unique across processes.

    Chance is drawn once per millisecond; within one the counter tells ids apart.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._number = 0

    def new(self, prefix: str) -> str:
        """A fresh id."""
        with self._lock:
            now_ms = time.time_ns() // 1_000_000
            if now_ms > self._last_ms:
                self._last_ms = now_ms
                self._number = now_ms << 50 | int.from_bytes(os.urandom(4)) >> 2
            else:
                self._number += 1 << 30
            number = self._number
        return f"{prefix}-{_base32(number)}"


_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_SHIFTS = range(90, -1, -10)


def _base32(number: int) -> str:
    """The lowest 100 bits, two digits at a time."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
