"""A span of time, half open: it has begun at its start and is over at its end."""

from domain.messages import Value


class TimeRange(Value, frozen=True):
    """From `start_ms` until before `end_ms`, in milliseconds since 1970-01-01 UTC."""

    start_ms: int
    end_ms: int

    @property
    def lasts_ms(self) -> int:
        """How long it is."""
        return self.end_ms - self.start_ms

    def holds(self, at_ms: int) -> bool:
        """Whether a moment lies in it."""
        return self.start_ms <= at_ms < self.end_ms

    def overlaps(self, other: "TimeRange") -> bool:
        """Whether some moment lies in both."""
        return self.start_ms < other.end_ms and other.start_ms < self.end_ms

    def later(self, by_ms: int) -> "TimeRange":
        """The same span so much later."""
        return TimeRange(self.start_ms + by_ms, self.end_ms + by_ms)
