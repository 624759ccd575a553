"""Times of callers: naive local `datetime`s.

A log counts milliseconds. A caller who notes the time, calls, and looks for what happened since must not miss it by a
rounding, so the machine's clock is read to the microsecond; any other clock is asked for what it has.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from adapters.clock import SystemClock, SystemIds

if TYPE_CHECKING:
    from application.ports import Clock, Ids

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Ambient:
    """The clock and the ids of what is made outside any application, such as a model's defaults."""

    def __init__(self) -> None:
        self.clock: Clock = SystemClock()
        self.ids: Ids = SystemIds()


_ambient = _Ambient()


@contextmanager
def ambient(clock: "Clock | None" = None, ids: "Ids | None" = None) -> Iterator[None]:
    """Lets defaults of models and private applications read this clock, or make ids so, while inside."""
    before = _ambient.clock, _ambient.ids
    _ambient.clock, _ambient.ids = clock or before[0], ids or before[1]
    try:
        yield
    finally:
        _ambient.clock, _ambient.ids = before


def ambient_clock() -> "Clock":
    """The clock of what belongs to no application."""
    return _ambient.clock


def ambient_ids() -> "Ids":
    """The ids of what belongs to no application."""
    return _ambient.ids


def local(at_ms: int) -> datetime:
    """A moment as a naive local time."""
    return datetime.fromtimestamp(at_ms / 1000)


def milliseconds(at: datetime) -> int:
    """A caller's time, naive local or with a zone, as milliseconds since 1970-01-01 UTC."""
    return (at.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)


def now() -> datetime:
    """The time by the ambient clock."""
    return read(_ambient.clock)


def read(clock: "Clock") -> datetime:
    """What a clock says."""
    return clock.now() if type(clock) is SystemClock else local(clock.now_ms())


def new_id(prefix: str) -> str:
    """A fresh id `prefix-…` that sorts by when it was made."""
    return _ambient.ids.new(prefix)
