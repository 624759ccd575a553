"""Time that stands until a test moves it, and ids that count."""

from collections import Counter

from tests.builders import NOW


class ManualClock:
    """A clock that a test moves by hand."""

    def __init__(self, now_ms: int = NOW) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> int:
        """Time passes; the new time."""
        self._now_ms += ms
        return self._now_ms


class CountedIds:
    """Ids `prefix-000001`, `prefix-000002`, …"""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def new(self, prefix: str) -> str:
        self._counts[prefix] += 1
        return f"{prefix}-{self._counts[prefix]:06d}"
