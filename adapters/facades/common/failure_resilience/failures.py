"""One thing that went wrong."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from adapters.facades.bridge import times
from common.core.enums import FailureLevel, FailureType
from common.plain import to_plain


class FailureEvent:
    """What went wrong with which node or job, and whether it is over."""

    def __init__(
        self,
        failure_id: str,
        failure_type: FailureType,
        level: FailureLevel,
        node_id: str | None = None,
        job_id: str | None = None,
        description: str = "",
        details: Mapping[str, Any] | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        self.id, self.failure_type, self.level = failure_id, FailureType(failure_type), FailureLevel(level)
        self.node_id, self.job_id, self.description = node_id, job_id, description
        self.details: dict[str, Any] = dict(details or {})
        self.timestamp: datetime = timestamp or times.now()
        self.resolved = False
        self.resolution_time: datetime | None = None
        self.resolution_description: str | None = None
        self.clock: Callable[[], datetime] = times.now
        """Where it reads the time."""

    def resolve(self, description: str = "Automatically resolved") -> None:
        """It is over."""
        self.resolved, self.resolution_time, self.resolution_description = True, self.clock(), description

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "id": self.id,
            "failure_type": self.failure_type.value,
            "level": self.level.value,
            "node_id": self.node_id,
            "job_id": self.job_id,
            "description": self.description,
            "details": to_plain(self.details),
            "timestamp": self.timestamp.isoformat(),
            "resolved": self.resolved,
            "resolution_time": self.resolution_time.isoformat() if self.resolution_time else None,
            "resolution_description": self.resolution_description,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FailureEvent":
        """The event that such a dict was made of; a time that cannot be read is now, or None for the resolution's."""
        event = cls(
            data.get("id") or data["failure_id"],
            FailureType(data["failure_type"]),
            FailureLevel(data["level"]),
            data.get("node_id"),
            data.get("job_id"),
            data.get("description", ""),
            data.get("details"),
            _time(data.get("timestamp")),
        )
        event.resolved = bool(data.get("resolved", False))
        event.resolution_time = _time(data.get("resolution_time"))
        event.resolution_description = data.get("resolution_description")
        return event


def _time(text: Any) -> datetime | None:
    if isinstance(text, datetime):
        return text
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
