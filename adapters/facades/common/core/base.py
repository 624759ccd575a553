"""The base of all models, results, and spans of time."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

import pydantic
from pydantic import ConfigDict, Field

from adapters.facades.bridge import times
from common.core.enums import LogLevel
from common.core.exceptions import ResultError

T = TypeVar("T")
U = TypeVar("U")


class BaseModel(pydantic.BaseModel):
    """A model as pydantic makes them: keywords only, unknown ones ignored, assignments not validated."""

    model_config = ConfigDict(arbitrary_types_allowed=True, defer_build=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """A field that a child dropped and a child of that declares again can be assigned to again."""
        super().__pydantic_init_subclass__(**kwargs)
        if not cls.__class_vars__.isdisjoint(cls.__pydantic_fields__):
            cls.__class_vars__ = cls.__class_vars__.difference(cls.__pydantic_fields__)


def id_field(prefix: str) -> Any:
    """A text made by the ids of the farm unless the caller gives one."""
    return Field(default_factory=lambda: times.new_id(prefix))


class Result(BaseModel, Generic[T]):
    """What a call came to: a value, or the text of an error. Further attributes are kept, `code` among them."""

    model_config = ConfigDict(arbitrary_types_allowed=True, defer_build=True, extra="allow")

    success: bool
    value: Any | None = None
    """The caller's own object: typed openly, because pydantic would copy lists and dicts of a narrower type."""
    error: str | None = None

    @classmethod
    def ok(cls, value: Any = None) -> "Result[T]":
        """A value."""
        return cls(success=True, value=value)

    @classmethod
    def err(cls, error: str) -> "Result[T]":
        """An expected failure."""
        return cls(success=False, error=error)

    def unwrap(self) -> Any:
        """The value; ResultError with the error's text if there is none."""
        if not self.success:
            raise ResultError(self.error or "")
        return self.value

    def unwrap_or(self, default: Any) -> Any:
        """The value, or the default."""
        return self.value if self.success else default

    def map(self, f: Callable[[Any], U]) -> "Result[U]":
        """The result of a function on the value; an error passes through unchanged."""
        return Result.ok(f(self.value)) if self.success else self  # type: ignore[return-value]

    def __bool__(self) -> bool:
        return self.success


def _in_an_hour() -> datetime:
    return times.now() + timedelta(hours=1)


class TimeRange(BaseModel):
    """From one moment to another, both included; `start` and `end` are accepted as keywords, too."""

    start_time: datetime = Field(default_factory=times.now)
    end_time: datetime = Field(default_factory=_in_an_hour)

    _SHORT: ClassVar[dict[str, str]] = {"start": "start_time", "end": "end_time"}

    def __init__(self, **data: Any) -> None:
        for short, name in self._SHORT.items():
            if short in data and name not in data and short not in type(self).model_fields:
                data[name] = data.pop(short)
        super().__init__(**data)

    @property
    def start(self) -> datetime:
        """The first moment."""
        return self.start_time

    @property
    def end(self) -> datetime:
        """The last moment."""
        return self.end_time

    def duration(self) -> timedelta:
        """How long it is."""
        return self.end_time - self.start_time

    def contains(self, time: datetime) -> bool:
        """Whether a moment lies in it, the ends included."""
        return self.start_time <= time <= self.end_time

    def overlaps(self, other: "TimeRange") -> bool:
        """Whether they have a moment in common; touching counts."""
        return self.start_time <= other.end_time and other.start_time <= self.end_time

    def intersection(self, other: "TimeRange") -> "TimeRange | None":
        """The span that both cover; None if there is none."""
        if not self.overlaps(other):
            return None
        return TimeRange(
            start_time=max(self.start_time, other.start_time),
            end_time=min(self.end_time, other.end_time),
        )


class AuditLogEntry(BaseModel):
    """One thing that happened, told for people."""

    id: str = id_field("audit")
    timestamp: datetime = Field(default_factory=times.now)
    event_type: str
    level: LogLevel = LogLevel.INFO
    job_id: str | None = None
    node_id: str | None = None
    owner_id: str | None = None
    description: str
    details: dict[str, Any] = Field(default_factory=dict)

    @property
    def user_id(self) -> str | None:
        """Whose work it was about."""
        return getattr(self, "owner_id", None)
