"""How people write amounts, times, tasks and pairs on the command line, as types that click converts with."""

import re
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

import click
from click.shell_completion import CompletionItem

from adapters import times
from adapters.clock import SystemClock
from domain import intervals
from domain.errors import BadInput
from domain.intervals import TaskSet
from domain.job.values import Priority
from domain.resources import AttributeNeed

MAX_AMOUNT = 1 << 40
MAX_DIGITS = 20
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?)?", re.IGNORECASE)
_MIB = {"K": Decimal(1) / 1024, "M": Decimal(1), "G": Decimal(1024), "T": Decimal(1024 * 1024)}


class Written(click.ParamType[Any]):
    """A value that is read by a function; ValueError and BadInput say what is wrong with the text."""

    def __init__(self, name: str, read: Callable[[str], Any], words: tuple[str, ...] = ()) -> None:
        self.name, self._read, self._words = name, read, words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, or a usage error."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except BadInput as error:
            self.fail(str(error.fields.get("problem", error.message)), param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """The words that can be meant, where there are few."""
        return [CompletionItem(word) for word in self._words if word.startswith(incomplete)]


def whole(least: int = 0, most: int = MAX_AMOUNT) -> Written:
    """A whole number within bounds."""

    def read(text: str) -> int:
        try:
            number = int(text) if len(text) <= MAX_DIGITS else most + 1
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not least <= number <= most:
            raise ValueError(f"{text[:MAX_DIGITS]!r} is not between {least} and {most}")
        return number

    return Written("number", read)


def millicores(text: str) -> int:
    """`2` or `0.5` processors as thousandths."""
    try:
        cores = Decimal(text)
    except InvalidOperation:
        cores = Decimal("NaN")
    if not cores.is_finite() or not 0 <= cores * 1000 <= MAX_AMOUNT or cores * 1000 % 1:
        raise ValueError(f"{text!r} is not a number of processors such as 2 or 0.5")
    return int(cores * 1000)


def size_mib(text: str) -> int:
    """`512M`, `4G`, `1.5T` in MiB, rounded up; nothing but 0 goes without a unit."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512M, 4G or 1.5T")
    if match[2] is None:
        if Decimal(match[1]):
            raise ValueError(f"{text!r} needs a unit: {text}M or {text}G")
        return 0
    mib = int((Decimal(match[1]) * _MIB[match[2].upper()]).to_integral_value(ROUND_CEILING))
    if mib > MAX_AMOUNT:
        raise ValueError(f"{text!r} is more than any node can have")
    return mib


def named_amount(text: str) -> tuple[str, int]:
    """`houdini=2`; a name alone is one."""
    name, equals, count = text.partition("=")
    if not name or (equals and not (count.isascii() and count.isdigit() and 0 < int(count) <= MAX_AMOUNT)):
        raise ValueError(f"{text!r} is not a name and a whole number such as houdini=2")
    return name, int(count) if equals else 1


def attribute(text: str) -> AttributeNeed:
    """`worker.os.family=linux,macos`: one of these values."""
    name, _, values = text.partition("=")
    any_of = tuple(value.strip() for value in values.split(","))
    if not name or not all(any_of):
        raise ValueError(f"{text!r} is not a name and its values such as render.engine=cycles,karma")
    return AttributeNeed(name, any_of=any_of)


def pair(text: str) -> tuple[str, str]:
    """`NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value


def variable(text: str) -> tuple[str, str | None]:
    """`NAME=VALUE`, or `NAME` alone (None) for the value it has here."""
    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value if equals else None


def tasks(text: str) -> TaskSet:
    """`1-10`, `1-100:2`, `1-40,90`."""
    return intervals.parse(text)


def priority(text: str) -> Priority:
    """One of the four priorities."""
    try:
        return Priority(text.lower())
    except ValueError:
        raise ValueError(f"{text!r} is not a priority; there are {', '.join(Priority)}") from None


def deadline_ms(text: str) -> int:
    """`+2h`, `18:00` or a date with a time."""
    return times.parse_deadline_ms(text, SystemClock().now_ms())


MILLICORES = Written("cores", millicores)
SIZE = Written("size", size_mib)
NAMED_AMOUNT = Written("name=n", named_amount)
ATTRIBUTE = Written("name=value", attribute)
PAIR = Written("name=value", pair)
VARIABLE = Written("name=value", variable)
TASKS = Written("tasks", tasks)
PRIORITY = Written("priority", priority, tuple(Priority))
DURATION = Written("duration", times.parse_duration_ms)
DEADLINE = Written("time", deadline_ms)
