"""Times as people type them."""

from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.times import (
    Moment,
    parse_deadline_ms,
    parse_duration_ms,
    parse_moment,
    parse_time_ms,
)
from domain.errors import BadInput

NOON = 1_772_366_400_000  # 2026-03-01T12:00:00Z
HOUR = 3_600_000
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("now", NOON),
        ("-90s", NOON - 90_000),
        ("-5m", NOON - 300_000),
        ("-2h", NOON - 2 * HOUR),
        ("-1d", NOON - 24 * HOUR),
        ("-1h30m", NOON - HOUR * 3 // 2),
        (" -2h ", NOON - 2 * HOUR),
        ("1772366400000", NOON),
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T13:00:00+01:00", NOON),
        ("2026-03-01T12:00:00.250Z", NOON + 250),
        ("2026-03-01T13:00", NOON),  # Berlin is an hour ahead in winter
        ("2026-03-01 13:00:00", NOON),
        ("2026-03-01", NOON - 13 * HOUR),
    ],
)
def test_a_time_is_read_as_it_is_meant(text: str, at_ms: int) -> None:
    assert parse_time_ms(text, NOON, BERLIN) == at_ms
    assert parse_moment(text, NOON, BERLIN) == Moment(at_ms=at_ms)


def test_without_a_zone_it_is_the_time_of_this_machine() -> None:
    here = datetime.fromtimestamp(NOON / 1000).astimezone()
    assert parse_time_ms(here.strftime("%Y-%m-%dT%H:%M:%S"), 0) == NOON


def test_a_position_is_no_time() -> None:
    assert parse_moment("@123", NOON) == Moment(position=123)
    with pytest.raises(BadInput):
        parse_time_ms("@123", NOON)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "-",
        "-2",
        "-2x",
        "--2h",
        "@",
        "@-1",
        "@1.5",
        "@١٢",
        "2026-13-01",
        "2026-03-01T25:00",
        "١٢",
        "\0",
    ],
)
def test_what_is_no_time_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        parse_moment(text, NOON)


@pytest.mark.parametrize(("text", "hint"), [("123", "@123"), ("1772366400", "milliseconds"), ("1" * 17, "13 digits")])
def test_a_number_that_was_meant_otherwise_gets_a_hint(text: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        parse_moment(text, NOON)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("+2h", NOON + 2 * HOUR),
        ("+90s", NOON + 90_000),
        ("18:00", NOON + 5 * HOUR),  # 18:00 in Berlin is 17:00 UTC
        ("18:00:30", NOON + 5 * HOUR + 30_000),
        ("9:30", NOON + 20 * HOUR + HOUR // 2),  # 08:30 UTC has passed, so it is tomorrow's
        ("13:00", NOON + 24 * HOUR),  # that is now, so it is tomorrow's
        ("2026-03-02", NOON + 11 * HOUR),
        ("1772366400000", NOON),
    ],
)
def test_a_deadline_lies_ahead(text: str, at_ms: int) -> None:
    assert parse_deadline_ms(text, NOON, BERLIN) == at_ms


def test_a_deadline_by_the_clock_follows_a_change_of_the_clocks() -> None:
    # In the night to 2026-03-29 Berlin goes from UTC+1 to UTC+2: 12:00 of the next day is 23 hours after 12:00.
    noon_before = parse_time_ms("2026-03-28T12:00", 0, BERLIN)
    assert parse_deadline_ms("12:00", noon_before, BERLIN) == noon_before + 23 * HOUR


@pytest.mark.parametrize("text", ["", "2h", "+", "24:00", "12:60", "soon", "-2h", "+200000d"])
def test_what_is_no_deadline_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        parse_deadline_ms(text, NOON, BERLIN)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("1h30m", 5_400_000),
        ("1 h 30 min", 5_400_000),
        ("1.5d", 129_600_000),
        ("250ms", 250),
        ("2w", 1_209_600_000),
        ("0s", 0),
    ],
)
def test_a_duration_has_units(text: str, ms: int) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "90", "h", "1h30", "-5s", "1e3s", "5 parsecs", "1h,30m", "٣s", "9" * 400 + "s"])
def test_what_is_no_duration_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        parse_duration_ms(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (lambda: parse_moment(text, NOON), lambda: parse_deadline_ms(text, NOON)):
        with suppress(BadInput):
            read()


def test_a_clock_time_of_the_past_is_the_last_one_and_ahead_the_next_one() -> None:
    noon = 1_772_366_400_000  # 2026-03-01 12:00 UTC
    assert parse_time_ms("03:12", noon, UTC) == noon - (8 * 60 + 48) * 60_000
    assert parse_time_ms("13:00", noon, UTC) == noon - 23 * 3_600_000
    assert parse_deadline_ms("13:00", noon, UTC) == noon + 3_600_000
