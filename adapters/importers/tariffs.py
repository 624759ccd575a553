"""Tariffs as files: what a kilowatt-hour costs at which time of which day.

    price = 0.30                    # outside the windows
    currency = "EUR"
    utc_offset = "+01:00"           # of the clock that the windows mean; UTC if nothing is said

    [[windows]]
    from = "22:00"
    until = "06:00"                 # over midnight: it belongs to the day on which it begins
    price = 0.12
    days = ["mon", "sat"]           # or "mon-fri"; every day if nothing is said

The same as JSON, or as CSV with the columns `from,until,price` and, if wanted, `days` (`mon|sat`), `currency` and
`utc_offset`; its line without times is the price outside the windows. Where windows overlap, the first one counts.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from adapters.importers.tables import Row, Table, read_rows, read_table, write_table
from domain.errors import BadInput
from domain.tariff import DAY_MIN, PriceWindow, Tariff

KEYS = ("price", "currency", "utc_offset", "windows")
WINDOW_KEYS = ("from", "until", "price", "days")
COLUMNS, MORE_COLUMNS = ("from", "until", "price"), ("days", "currency", "utc_offset")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CSV = ".csv"
PLAIN = {"utc_offset_min": "utc_offset", "from_min": "from", "until_min": "until"}
"""Names of what the farm itself writes, in minutes, and of the keys that they stand for."""
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_OFFSET = re.compile(r"([+-])(\d{1,2}):(\d{2})")


def load_tariff(path: Path) -> Tariff:
    """The tariff that a file describes; BadInput names the file, the key or line, and what is known."""
    if path.suffix.lower() == CSV:
        return _from_rows(path)
    found = read_table(path)
    if isinstance(found, dict) and found.keys() == {"tariff"}:
        found = found["tariff"]
    if not found:
        raise BadInput(problem=f"{path}: says nothing; a tariff that costs nothing says `price = 0`")
    try:
        return read_tariff(found)
    except BadInput as error:
        raise BadInput(problem=f"{path}: {error.fields['problem']}") from error


def read_tariff(found: Any, place: str = "") -> Tariff:
    """The tariff that a table describes; BadInput names the key, behind `place`."""
    known = _table(found, KEYS, place)
    windows = known.get("windows", ())
    if not isinstance(windows, list | tuple):
        raise BadInput(problem=f"{place}windows: not a list of windows")
    offset = known.get("utc_offset", 0)
    return Tariff(
        price=_price(known.get("price", 0.0), f"{place}price"),
        windows=tuple(_window(each, f"{place}windows {at}: ") for at, each in enumerate(windows, 1)),
        utc_offset_min=_offset(offset, f"{place}utc_offset"),
        currency=_text(known.get("currency", ""), f"{place}currency"),
    )


def table_of(tariff: Tariff) -> Table:
    """As people write it; `read_tariff` reads it as the same tariff."""
    table: Table = {"price": tariff.price, "currency": tariff.currency, "utc_offset": offset_text(tariff)}
    if tariff.windows:
        table["windows"] = [_window_table(window) for window in tariff.windows]
    return table


def dump_tariff(tariff: Tariff, path: Path) -> None:
    """Writes a TOML or JSON file that `load_tariff` reads as the same tariff."""
    write_table(path, table_of(tariff))


def clock_text(minute: int) -> str:
    """`06:30`; the end of the day is `24:00`."""
    return f"{minute // 60:02}:{minute % 60:02}"


def offset_text(tariff: Tariff) -> str:
    """`+01:00`."""
    minutes = tariff.utc_offset_min
    return ("-" if minutes < 0 else "+") + clock_text(abs(minutes))


def days_text(window: PriceWindow) -> str:
    """`mon, sat`; empty for every day."""
    return ", ".join(DAYS[day] for day in window.days)


def _window_table(window: PriceWindow) -> Table:
    table: Table = {"from": clock_text(window.from_min), "until": clock_text(window.until_min), "price": window.price}
    return table | ({"days": [DAYS[day] for day in window.days]} if window.days else {})


# -- values --------------------------------------------------------------------------------------------------------


def _table(found: Any, keys: tuple[str, ...], place: str) -> Mapping[str, Any]:
    """The values by key, those in the farm's own words too."""
    if not isinstance(found, dict):
        raise BadInput(problem=f"{place or 'the whole file: '}not a table of keys and values")
    known: dict[str, Any] = {}
    for key, value in found.items():
        name = PLAIN.get(key, key)
        if name not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(keys)}"
            where, _, table = place.rpartition(" ")
            raise BadInput(problem=f"{where}{where and ' '}there is no key {table + str(key)[:40]!r}; {hint}")
        if name in known:
            raise BadInput(problem=f"{place}{name}: said twice")
        known[name] = value
    return known


def _window(found: Any, place: str) -> PriceWindow:
    known = _table(found, WINDOW_KEYS, place)
    missing = next((key for key in COLUMNS if key not in known), None)
    if missing is not None:
        raise BadInput(problem=f"{place}{missing} is missing; needed are {', '.join(COLUMNS)}")
    from_min, until_min = _minute(known["from"], f"{place}from"), _minute(known["until"], f"{place}until")
    if from_min == until_min:
        raise BadInput(problem=f"{place}until: the window ends when it begins; a whole day is 00:00 to 24:00")
    price, days = _price(known["price"], f"{place}price"), _days(known.get("days", ()), f"{place}days")
    return PriceWindow(from_min, until_min, price, days)


def _price(said: Any, place: str) -> float:
    try:
        price = float(said)
    except (TypeError, ValueError):
        price = -1.0
    if isinstance(said, bool) or not 0 <= price < float("inf"):
        raise BadInput(problem=f"{place}: {_shown(said)} is no price of 0 or more for a kilowatt-hour")
    return price


def _minute(said: Any, place: str) -> int:
    """A time of the day as `HH:MM`, or its minute."""
    match = _CLOCK.fullmatch(said.strip()) if isinstance(said, str) else None
    if match is not None:
        minute = int(match[1]) * 60 + int(match[2])
    else:
        minute = said if isinstance(said, int) and not isinstance(said, bool) else -1
    if not 0 <= minute <= DAY_MIN or (match is not None and int(match[2]) > 59):
        raise BadInput(problem=f"{place}: {_shown(said)} is no time of day such as 06:00, 22:30 or 24:00")
    return minute


def _offset(said: Any, place: str) -> int:
    """The distance from UTC as `+HH:MM`, or in minutes."""
    if isinstance(said, str) and said.strip() in ("", "Z", "UTC"):
        return 0
    match = _OFFSET.fullmatch(said.strip()) if isinstance(said, str) else None
    if match is not None:
        minutes = (int(match[2]) * 60 + int(match[3])) * (-1 if match[1] == "-" else 1)
    else:
        minutes = said if isinstance(said, int) and not isinstance(said, bool) else DAY_MIN + 1
    if not -DAY_MIN <= minutes <= DAY_MIN or (match is not None and int(match[3]) > 59):
        raise BadInput(problem=f"{place}: {_shown(said)} is no distance from UTC such as +01:00 or -03:30")
    return minutes


def _days(said: Any, place: str) -> tuple[int, ...]:
    words = re.split(r"[|,\s]+", said.strip()) if isinstance(said, str) else said
    if not isinstance(words, list | tuple):
        raise BadInput(problem=f"{place}: {_shown(said)} is no list of days such as ['mon', 'sat']")
    found = [day for word in words if word != "" for day in _day(word, place)]
    return tuple(dict.fromkeys(found))


def _day(word: Any, place: str) -> Iterable[int]:
    """The days of one word: `mon`, `Monday`, `mon-fri`, or 0 for Monday."""
    if isinstance(word, int) and not isinstance(word, bool) and 0 <= word < len(DAYS):
        return [word]
    ends = [end.strip().lower()[:3] for end in word.split("-")] if isinstance(word, str) else []
    if not 1 <= len(ends) <= 2 or not all(end in DAYS for end in ends):
        raise BadInput(problem=f"{place}: {_shown(word)} is no day; known are {', '.join(DAYS)}, and mon-fri")
    first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
    return [(first + n) % len(DAYS) for n in range((last - first) % len(DAYS) + 1)]


def _text(said: Any, place: str) -> str:
    if not isinstance(said, str):
        raise BadInput(problem=f"{place}: expected text such as 'EUR', got {_shown(said)}")
    return said


def _shown(said: Any) -> str:
    return repr(said)[:40] if isinstance(said, str | int | float | type(None)) else type(said).__name__


# -- CSV -----------------------------------------------------------------------------------------------------------


def _from_rows(path: Path) -> Tariff:
    windows: list[PriceWindow] = []
    whole: dict[str, Any] = {}
    for row in read_rows(path, COLUMNS, also=MORE_COLUMNS.__contains__):
        try:
            _take(row, windows, whole)
        except BadInput as error:
            raise BadInput(problem=f"{path}, line {row.line}: {error.fields['problem']}") from error
    if not windows and "price" not in whole:
        raise BadInput(problem=f"{path}: there is no price in it")
    try:
        return msgspec.structs.replace(read_tariff(whole), windows=tuple(windows))
    except BadInput as error:
        raise BadInput(problem=f"{path}: {error.fields['problem']}") from error


def _take(row: Row, windows: list[PriceWindow], whole: dict[str, Any]) -> None:
    """One line: a window, or the price outside of all."""
    cells = {name: cell for name, cell in row.cells.items() if cell}
    said: dict[str, Any] = {name: cells.pop(name) for name in ("currency", "utc_offset") if name in cells}
    if "from" not in cells and "until" not in cells:
        said["price"] = _price(cells.pop("price", None), "price")
        if "days" in cells:
            raise BadInput(problem="days: the price outside the windows holds on every day")
    else:
        windows.append(_window(cells, ""))
    for name, value in said.items():
        if whole.setdefault(name, value) != value:
            raise BadInput(problem=f"{name}: {value!r} here, {whole[name]!r} before")
