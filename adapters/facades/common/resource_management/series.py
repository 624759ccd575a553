"""Measured use of one resource by one owner, and models that predict it."""

import logging
from bisect import bisect_right, insort
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.facades.bridge import times
from common.core.enums import ForecastMethod, ResourceType
from common.plain import to_plain
from domain.forecasting import trends

_log = logging.getLogger(__name__)
Points = list[tuple[datetime, float]]
_EPOCH = datetime(1970, 1, 1)
LEAST_TO_JUDGE = 5


def seconds(at: datetime) -> float:
    """A naive time as seconds since 1970 on the same clock."""
    return (at.replace(tzinfo=None) - _EPOCH).total_seconds()


class ResourceData:
    """Measurements, by time."""

    def __init__(self, owner_id: str, resource_type: ResourceType) -> None:
        self.owner_id, self.resource_type = owner_id, ResourceType(resource_type)
        self.data_points: Points = []
        self.last_update: datetime = times.now()

    def add_data_point(self, timestamp: datetime, value: float) -> None:
        """One measurement."""
        insort(self.data_points, (timestamp, value), key=lambda point: point[0])
        self.last_update = times.now()

    def get_data_in_range(self, start: datetime, end: datetime) -> Points:
        """The measurements between two times, both included."""
        return [point for point in self.data_points if start <= point[0] <= end]

    def get_recent_data(self, duration: timedelta = timedelta(days=30)) -> Points:
        """The measurements of the last while."""
        now = times.now()
        return self.get_data_in_range(now - duration, now)

    def clear_old_data(self, retention_days: int = 365) -> int:
        """Forgets what is older; how many measurements that were."""
        return self.forget_before(times.now() - timedelta(days=retention_days))

    def forget_before(self, limit: datetime) -> int:
        """Forgets what is older than a time; how many measurements that were."""
        kept = [point for point in self.data_points if point[0] >= limit]
        gone = len(self.data_points) - len(kept)
        self.data_points[:] = kept
        return gone

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "owner_id": self.owner_id,
            "resource_type": self.resource_type.value,
            "data_points": [[at.isoformat(), value] for at, value in self.data_points],
            "last_update": self.last_update.isoformat(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ResourceData":
        """The measurements that such a dict was made of."""
        series = cls(data["owner_id"], ResourceType(data["resource_type"]))
        series.data_points = sorted((datetime.fromisoformat(at), float(value)) for at, value in data["data_points"])
        series.last_update = datetime.fromisoformat(data["last_update"])
        return series


class ForecastModel:
    """One way to predict one series."""

    def __init__(
        self,
        owner_id: str,
        resource_type: ResourceType,
        method: ForecastMethod = ForecastMethod.MOVING_AVERAGE,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        self.owner_id, self.resource_type = owner_id, ResourceType(resource_type)
        self.method = ForecastMethod(method)
        self.parameters: dict[str, Any] = {} if parameters is None else parameters
        self.trained = False
        self.last_training: datetime | None = None
        self.model_data: dict[str, Any] = {}
        self.accuracy_metrics: dict[str, float] = {}

    def train(self, data: ResourceData | Points) -> bool:
        """X1: learns from at least 2 measurements; False if that is not possible."""
        points = list(data.data_points if isinstance(data, ResourceData) else data)
        if len(points) < 2:
            return False
        learned = self._learned(points)
        if learned is None:
            return False
        self.model_data, self.trained, self.last_training = learned, True, times.now()
        self.accuracy_metrics = self._accuracy(points)
        return True

    def _learned(self, points: Points) -> dict[str, Any] | None:
        """What the method makes of the points; None if it cannot."""
        try:
            if self.method is ForecastMethod.CUSTOM:
                train = self.parameters.get("train_func")
                return None if train is None else dict(train(points))
            if self.method in (ForecastMethod.EXPONENTIAL, ForecastMethod.LINEAR_REGRESSION):
                return self._trend([(seconds(at), value) for at, value in points])
            return self._window([value for _, value in points])
        except Exception:  # noqa: BLE001 (callers' functions and damaged models; it is logged with its trace)
            _log.exception("training %s/%s failed", self.owner_id, self.resource_type.value)
            return None

    def _trend(self, points: Sequence[trends.Point]) -> dict[str, Any] | None:
        if self.method is ForecastMethod.EXPONENTIAL:
            alpha, beta = self.parameters.get("alpha", 0.3), self.parameters.get("beta", 0.1)
            return trends.holt(points, alpha, beta)._asdict()
        line = trends.least_squares(points)
        return None if line is None else line._asdict()

    def _window(self, values: list[float]) -> dict[str, Any]:
        size = max(1, min(int(self.parameters.get("window_size", 5)), len(values)))
        weights = None
        if self.method is ForecastMethod.WEIGHTED_AVERAGE:
            given = self.parameters.get("weights")
            weights = list(given) if given is not None and len(given) == size else list(range(1, size + 1))
        return {"value": trends.window_mean(values, size, weights), "window_size": size}

    def _accuracy(self, points: Points) -> dict[str, float]:
        """X2: errors on the last fifth of a model that learned from the rest."""
        pairs: list[tuple[float, float]] = []
        if len(points) >= LEAST_TO_JUDGE:
            split = int(len(points) * 0.8)
            learned = self._learned(points[:split]) if split >= 2 else None
            for at, value in points[split:] if learned is not None else ():
                predicted = self._value(at, learned or {})
                if predicted is not None:
                    pairs.append((value, predicted))
        return trends.accuracy(pairs)._asdict()

    def predict(self, time: datetime) -> float | None:
        """The value expected at a time; None before training."""
        return self._value(time, self.model_data) if self.trained else None

    def _value(self, time: datetime, learned: dict[str, Any]) -> float | None:
        try:
            if self.method is ForecastMethod.CUSTOM:
                predict = self.parameters.get("predict_func")
                return None if predict is None else float(predict(time, learned))
            if self.method in (ForecastMethod.EXPONENTIAL, ForecastMethod.LINEAR_REGRESSION):
                return trends.Trend(**learned).value(seconds(time))
            return float(learned["value"])
        except Exception:  # noqa: BLE001 (callers' functions and damaged models; it is logged with its trace)
            _log.exception("predicting %s/%s failed", self.owner_id, self.resource_type.value)
            return None

    def generate_forecast(self, start: datetime, end: datetime, interval_hours: float = 24) -> dict[datetime, float]:
        """The values expected from one time to another, both included; {} before training."""
        found: dict[datetime, float] = {}
        step, at = timedelta(hours=interval_hours), start
        while self.trained and at <= end and step > timedelta(0):
            value = self.predict(at)
            if value is not None:
                found[at] = value
            at += step
        return found

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, but for functions of the caller's."""
        return {
            "owner_id": self.owner_id,
            "resource_type": self.resource_type.value,
            "method": self.method.value,
            "parameters": to_plain({key: value for key, value in self.parameters.items() if not callable(value)}),
            "trained": self.trained,
            "last_training": self.last_training.isoformat() if self.last_training else None,
            "model_data": to_plain(self.model_data),
            "accuracy_metrics": dict(self.accuracy_metrics),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ForecastModel":
        """The model that such a dict was made of."""
        model = cls(
            data["owner_id"],
            ResourceType(data["resource_type"]),
            ForecastMethod(data["method"]),
            dict(data.get("parameters") or {}),
        )
        model.trained = bool(data.get("trained"))
        model.last_training = datetime.fromisoformat(data["last_training"]) if data.get("last_training") else None
        model.model_data = dict(data.get("model_data") or {})
        model.accuracy_metrics = dict(data.get("accuracy_metrics") or {})
        return model


def keyed(points: Sequence[tuple[datetime, float]]) -> dict[str, float]:
    """Measurements under names of their own: the time, numbered where several have the same."""
    found: dict[str, float] = {}
    for at, value in points:
        name, number = at.isoformat(), 1
        while name in found:
            number += 1
            name = f"{at.isoformat()}#{number}"
        found[name] = value
    return found


def unkeyed(values: dict[str, float]) -> Points:
    """The same as measurements again, by time."""
    points: Points = []
    for name, value in values.items():
        at = (datetime.fromisoformat(name.partition("#")[0]), value)
        points.insert(bisect_right(points, at[0], key=lambda point: point[0]), at)
    return points
