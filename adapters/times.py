"""Times as people type them: moments of the past, durations, and deadlines.

A moment is `now`, `-90s` (so long ago), `@123` (a log position), ISO 8601, or milliseconds since 1970. Text without a
zone means this machine's local time. Nothing here asks for the time: callers say what is now.
"""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from domain.errors import BadInput

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d|w)")
_DURATION = re.compile(rf"\s*(?:{_PART.pattern}\s*)+")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_EPOCH_MS_DIGITS = range(12, 16)
"""Fewer digits are seconds or a position, more are microseconds: both are mistakes, not times of long ago."""
LONGEST_MS = 100 * 365 * 86_400_000
"""A century: a longer duration is a mistake, and would leave the range of dates."""


class Moment(NamedTuple):
    """A point of the log's history: a position, or else a time."""

    position: int | None = None
    at_ms: int | None = None


def parse_moment(text: str, now_ms: int, zone: tzinfo | None = None) -> Moment:
    """The moment that a person means; BadInput says which forms there are. `zone` None is this machine's zone."""
    text = text.strip()
    if text.startswith("@"):
        return Moment(position=_position(text))
    return Moment(at_ms=parse_time_ms(text, now_ms, zone))


def parse_time_ms(text: str, now_ms: int, zone: tzinfo | None = None) -> int:
    """As `parse_moment`, for what must be a time: `now`, `-2h`, `03:12` (the last one), ISO 8601, milliseconds."""
    text = text.strip()
    if text == "now":
        return now_ms
    if text.startswith("-"):
        return now_ms - parse_duration_ms(text[1:])
    if _CLOCK.fullmatch(text):
        return _at_clock_ms(text, now_ms, zone, ahead=False)
    if text.isascii() and text.isdigit():
        return _epoch_ms(text)
    return _iso_ms(text, zone)


def parse_deadline_ms(text: str, now_ms: int, zone: tzinfo | None = None) -> int:
    """A moment ahead: `+2h` from now, `18:00` (today, or tomorrow if that has passed), ISO 8601, milliseconds."""
    text = text.strip()
    if text.startswith("+"):
        return now_ms + parse_duration_ms(text[1:])
    if _CLOCK.fullmatch(text):
        return _at_clock_ms(text, now_ms, zone, ahead=True)
    if text.isascii() and text.isdigit():
        return _epoch_ms(text)
    return _iso_ms(text, zone, forms="+2h, 18:00 or 2026-03-01T18:00")


def parse_duration_ms(text: str) -> int:
    """Milliseconds of `90s`, `1h30m`, `1.5d`, `2 h 30 min`; BadInput for anything else, a bare number included."""
    if not text.isascii() or not _DURATION.fullmatch(text):
        raise BadInput(problem=f"{text.strip()[:60]!r} is not a duration such as 90s, 1h30m or 2d", text=text[:60])
    total_ms = sum(float(count) * _UNIT_MS[unit] for count, unit in _PART.findall(text))
    if total_ms > LONGEST_MS:
        raise BadInput(problem=f"{text.strip()[:60]!r} is longer than a century", text=text[:60])
    return round(total_ms)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _position(text: str) -> int:
    digits = text[1:]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise BadInput(problem=f"{text[:60]!r} is not a log position such as @123", text=text[:60])
    return int(digits)


def _epoch_ms(text: str) -> int:
    if len(text) not in _EPOCH_MS_DIGITS:
        hint = f"write @{text} for a log position, and times in milliseconds since 1970 (13 digits)"
        raise BadInput(problem=f"{text[:60]!r} is no time: {hint}", text=text[:60])
    return int(text)


def _iso_ms(text: str, zone: tzinfo | None, forms: str = "-2h, 2026-03-01T18:00 or @123") -> int:
    try:
        moment = datetime.fromisoformat(text)
        return _ms(moment if moment.tzinfo else _local(moment, zone))
    except (ValueError, OverflowError, OSError):
        raise BadInput(problem=f"{text[:60]!r} is no time such as {forms}", text=text[:60]) from None


def _at_clock_ms(text: str, now_ms: int, zone: tzinfo | None, *, ahead: bool) -> int:
    """The next time that a clock on the wall shows this, or the last time that it did."""
    try:
        wanted = time.fromisoformat(text.zfill(5) if text.count(":") == 1 else text.zfill(8))
    except ValueError:
        raise BadInput(problem=f"{text!r} is no time of day", text=text) from None
    today = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(zone).date()
    at_ms = _ms(_local(datetime.combine(today, wanted), zone))
    if (at_ms > now_ms) is ahead:
        return at_ms
    other_day = today + timedelta(days=1 if ahead else -1)
    return _ms(_local(datetime.combine(other_day, wanted), zone))


def _local(moment: datetime, zone: tzinfo | None) -> datetime:
    """A wall-clock time with its zone; times that a change of the clocks skips or repeats count as Python does."""
    return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
