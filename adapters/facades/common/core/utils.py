"""Small tools: JSON of models, ids, hashes, timing, back-off, averages."""

import hashlib
import json
import logging
import random
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pydantic

from adapters.facades.bridge import times
from common.core.base import TimeRange

_log = logging.getLogger(__name__)
M = TypeVar("M", bound=pydantic.BaseModel)
SHORTEST_TIME = 19
"""`2024-01-01T00:00:00`: shorter texts are names, not times."""


class DateTimeEncoder(json.JSONEncoder):
    """JSON of what models hold: times as ISO text, durations as dicts, sets as lists, models as their dump."""

    def default(self, o: Any) -> Any:
        """The plain value of one object that JSON has no form for; TypeError as in the base for anything unknown."""
        if isinstance(o, datetime):
            return o.isoformat()
        if isinstance(o, timedelta):
            return {"__type__": "timedelta", "days": o.days, "seconds": o.seconds, "microseconds": o.microseconds}
        if isinstance(o, (set, frozenset)):
            try:
                return sorted(o)
            except TypeError:
                return list(o)
        if isinstance(o, pydantic.BaseModel):
            return o.model_dump()
        return super().default(o)


def datetime_decoder(obj: dict[str, Any]) -> Any:
    """Undoes what the encoder did to times and durations, for `json.loads(…, object_hook=…)`."""
    if obj.get("__type__") == "timedelta":
        return timedelta(
            days=obj.get("days", 0), seconds=obj.get("seconds", 0), microseconds=obj.get("microseconds", 0)
        )
    for key, value in obj.items():
        if isinstance(value, str) and len(value) >= SHORTEST_TIME and value[10] in "T ":
            obj[key] = _time_or_text(value)
    return obj


def _time_or_text(text: str) -> datetime | str:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def serialize_model(model: pydantic.BaseModel) -> dict[str, Any]:
    """A model as a dict that JSON can hold."""
    plain: dict[str, Any] = json.loads(json.dumps(model.model_dump(), cls=DateTimeEncoder))
    return plain


def deserialize_model(data: dict[str, Any], model_class: type[M]) -> M:
    """The model that such a dict was made of."""
    return model_class(**json.loads(json.dumps(data, cls=DateTimeEncoder), object_hook=datetime_decoder))


class _Numbers:
    """128-bit numbers that grow with every call: 48 bits of time, the rest chance or the last one plus one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """A number above all before it."""
        with self._lock:
            drawn = times.ambient_clock().now_ms() << 80 | random.SystemRandom().getrandbits(80)
            self._last = drawn if drawn >> 80 > self._last >> 80 else self._last + 1
            return self._last


_numbers = _Numbers()


def generate_id(prefix: str = "") -> str:
    """`prefix_` and 32 hexadecimal digits, or these alone; ids sort by when they were made."""
    digits = f"{_numbers.next():032x}"
    return f"{prefix}_{digits}" if prefix else digits


def calculate_hash(data: Any) -> str:
    """SHA-256 in hex of a text, bytes, or the JSON of a dict, list or model; of anything else its text."""
    if isinstance(data, bytes):
        content = data
    elif isinstance(data, (dict, list, pydantic.BaseModel)):
        content = json.dumps(data, cls=DateTimeEncoder, sort_keys=True).encode()
    else:
        content = str(data).encode()
    return hashlib.sha256(content).hexdigest()


def create_directory_if_not_exists(path: str | Path) -> bool:
    """Whether the directory is there afterwards."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("directory %s could not be made: %s", path, error)
        return False
    return Path(path).is_dir()


class PerformanceTimer:
    """Measures what happens inside `with`."""

    def __init__(self, operation_name: str) -> None:
        self.operation_name = operation_name
        self.start_time: float | None = None
        self.end_time: float | None = None

    def __enter__(self) -> "PerformanceTimer":
        self.start_time, self.end_time = time.perf_counter(), None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_time = time.perf_counter()
        _log.debug("%s took %.6f s", self.operation_name, self.get_duration())

    def get_duration(self) -> float:
        """Seconds: 0.0 before, so far while inside, all of it afterwards."""
        if self.start_time is None:
            return 0.0
        return (time.perf_counter() if self.end_time is None else self.end_time) - self.start_time


class ExponentialBackoff:
    """Waits that grow by a factor up to a maximum, give or take some chance."""

    def __init__(
        self,
        initial_delay_seconds: float = 1.0,
        max_delay_seconds: float = 60.0,
        backoff_factor: float = 2.0,
        jitter: float = 0.1,
    ) -> None:
        self.initial_delay_seconds, self.max_delay_seconds = initial_delay_seconds, max_delay_seconds
        self.backoff_factor, self.jitter = backoff_factor, jitter
        self.attempt = 0

    def get_next_delay(self) -> float:
        """Seconds to wait before the next attempt."""
        self.attempt += 1
        delay = self._within_limits()
        return max(0.0, delay + random.uniform(-1, 1) * self.jitter * delay)

    def _within_limits(self) -> float:
        try:
            grown = self.initial_delay_seconds * self.backoff_factor ** (self.attempt - 1)
        except OverflowError:
            return self.max_delay_seconds
        return min(self.max_delay_seconds, grown)

    def reset(self) -> None:
        """Starts anew."""
        self.attempt = 0


def weighted_average(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """The mean, weighted if weights are given; 0.0 of nothing; ValueError for another number of weights."""
    if not values:
        return 0.0
    if weights is None:
        return sum(values) / len(values)
    if len(weights) != len(values):
        raise ValueError(f"{len(values)} values and {len(weights)} weights")
    total = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / total if total else 0.0


__all__ = [
    "DateTimeEncoder",
    "ExponentialBackoff",
    "PerformanceTimer",
    "TimeRange",
    "calculate_hash",
    "create_directory_if_not_exists",
    "datetime_decoder",
    "deserialize_model",
    "generate_id",
    "serialize_model",
    "weighted_average",
]
