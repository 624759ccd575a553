"""Time and ids of a simulation: both from its own course, none from the machine."""


class VirtualClock:
    """A clock that stands still until it is set."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """The virtual time, in milliseconds since 1970-01-01 UTC."""
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Goes to a later moment; an earlier one changes nothing."""
        self._now_ms = max(self._now_ms, now_ms)


class CountedIds:
    """Ids `prefix-000000001`, `prefix-000000002` …: the same in every run."""

    def __init__(self) -> None:
        self._last = 0

    def new(self, prefix: str) -> str:
        """A fresh id."""
        self._last += 1
        return f"{prefix}-{self._last:09d}"
