"""The time of what belongs to no application, for callers and for notes."""

from adapters.facades.bridge import times
from adapters.facades.bridge.times import now

__all__ = ["now", "now_ms"]


def now_ms() -> int:
    """Milliseconds since 1970-01-01 UTC by the ambient clock."""
    return times.ambient_clock().now_ms()
