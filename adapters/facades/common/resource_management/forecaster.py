"""Measurements and models of all owners, in memory, in the log, and in files where a directory was given."""

import json
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.facades.bridge import names
from application.app import Application
from common.core.base import Result
from common.core.enums import ForecastMethod, ResourceType
from common.core.interfaces import ResourceForecastingInterface
from common.core.utils import create_directory_if_not_exists
from common.manager import Managed
from common.resource_management.series import ForecastModel, Points, ResourceData, keyed, unkeyed

_log = logging.getLogger(__name__)
_BROKEN = (OSError, ValueError, KeyError, TypeError)
"""What reading a file that somebody damaged can raise."""


class _Kept:
    def __init__(self) -> None:
        self.data: dict[str, dict[ResourceType, ResourceData]] = {}
        self.models: dict[str, dict[ResourceType, ForecastModel]] = {}


class ResourceForecaster(Managed, ResourceForecastingInterface):
    """Predicts how much of each resource each owner will use."""

    _what = "forecaster"

    def __init__(
        self,
        data_directory: str | Path | None = None,
        default_method: ForecastMethod = ForecastMethod.MOVING_AVERAGE,
        default_parameters: dict[str, Any] | None = None,
        *,
        app: Application | None = None,
    ) -> None:
        super().__init__(app)
        self.data_directory = None if data_directory is None else Path(data_directory)
        self.default_method = ForecastMethod(default_method)
        self.default_parameters: dict[str, Any] = {} if default_parameters is None else default_parameters
        self._measures, self._learned = self._book("measure"), self._book("model")
        self._foreseen = self._book("forecast")
        kept = self._shared(self._load)
        self.resource_data: dict[str, dict[ResourceType, ResourceData]] = kept.data
        self.forecast_models: dict[str, dict[ResourceType, ForecastModel]] = kept.models
        self._read_files()

    def _load(self) -> _Kept:
        kept = _Kept()
        for name, values in self._measures.load().items():
            owner_id, _, kind = name.rpartition("/")
            series = ResourceData(owner_id, ResourceType(kind))
            series.last_update = datetime.fromisoformat(values.pop("last_update"))
            series.data_points = unkeyed(values)
            kept.data.setdefault(owner_id, {})[series.resource_type] = series
        for values in self._learned.load().values():
            model = ForecastModel.from_dict(values)
            kept.models.setdefault(model.owner_id, {})[model.resource_type] = model
        return kept

    # -- measurements --------------------------------------------------------------------------------------------

    def _series(self, owner_id: str, resource_type: ResourceType) -> ResourceData:
        kind = ResourceType(resource_type)
        known = self.resource_data.setdefault(owner_id, {})
        if kind not in known:
            known[kind] = ResourceData(owner_id, kind)
        return known[kind]

    def add_data_point(
        self, owner_id: str, resource_type: ResourceType, value: float, timestamp: datetime | None = None
    ) -> None:
        """X3: one measurement, now unless a time is given."""
        self.add_multiple_data_points(owner_id, resource_type, [(timestamp or self._desk.now(), value)])

    def add_multiple_data_points(
        self, owner_id: str, resource_type: ResourceType, points: Iterable[tuple[datetime, float]]
    ) -> None:
        """X3: several measurements."""
        series = self._series(owner_id, resource_type)
        for at, value in points:
            series.add_data_point(at, value)
        series.last_update = self._desk.now()
        self._measured(series)

    def _measured(self, series: ResourceData) -> None:
        name = _name(series.owner_id, series.resource_type)
        self._measures.touch(name, lambda: {"last_update": series.last_update.isoformat(), **keyed(series.data_points)})
        self._write("data", series.owner_id, series.resource_type, series.to_dict())
        self._desk.done(self._measures.waiting)

    def get_historical_data(
        self,
        owner_id: str,
        resource_type: ResourceType,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> Points:
        """X3: the measurements between two times, or all on a side without one."""
        series = self.resource_data.get(owner_id, {}).get(ResourceType(resource_type))
        if series is None:
            return []
        return series.get_data_in_range(start_date or datetime.min, end_date or datetime.max)

    def clear_old_data(self, retention_days: int = 365) -> dict[str, int]:
        """X6: forgets what is older; how many measurements, by `owner/type`, where there were any."""
        limit = self._desk.now() - timedelta(days=retention_days)
        gone: dict[str, int] = {}
        for series in [each for known in self.resource_data.values() for each in known.values()]:
            count = series.forget_before(limit)
            if count:
                gone[_name(series.owner_id, series.resource_type)] = count
                self._measured(series)
        return gone

    # -- models --------------------------------------------------------------------------------------------------

    def train_model(
        self,
        owner_id: str,
        resource_type: ResourceType,
        method: ForecastMethod | None = None,
        parameters: dict[str, Any] | None = None,
        training_days: float = 30,
    ) -> Result[bool]:
        """X4: learns from the last days."""
        name = _name(owner_id, ResourceType(resource_type))
        series = self.resource_data.get(owner_id, {}).get(ResourceType(resource_type))
        if series is None or not series.data_points:
            return Result.err(f"No historical data of {name}")
        now = self._desk.now()
        points = series.get_data_in_range(now - timedelta(days=training_days), now)
        if len(points) < 2:
            return Result.err(f"Insufficient data of {name}: {len(points)} in {training_days:g} days, 2 are needed")
        chosen = dict(self.default_parameters) if parameters is None else parameters
        model = ForecastModel(owner_id, series.resource_type, method or self.default_method, chosen)
        if not model.train(points):
            return Result.err(f"{model.method.value} could not be trained with the {len(points)} points of {name}")
        model.last_training = now
        self.forecast_models.setdefault(owner_id, {})[series.resource_type] = model
        self._learned.touch(name, model.to_dict)
        self._write("models", owner_id, series.resource_type, model.to_dict())
        self._desk.done(self._learned.waiting)
        return Result.ok(True)

    def _model(self, owner_id: str, resource_type: ResourceType) -> ForecastModel | None:
        model = self.forecast_models.get(owner_id, {}).get(ResourceType(resource_type))
        return model if model is not None and model.trained else None

    def generate_forecast(
        self,
        owner_id: str,
        resource_type: ResourceType,
        start_date: datetime,
        end_date: datetime,
        interval_hours: float = 24,
    ) -> Result[dict[datetime, float]]:
        """X5: the values expected between two times; trains first if that was not done."""
        if self._model(owner_id, resource_type) is None:
            trained = self.train_model(owner_id, resource_type)
            if not trained:
                return trained  # type: ignore[return-value]
        model = self._model(owner_id, resource_type)
        assert model is not None
        found = model.generate_forecast(start_date, end_date, interval_hours)
        name = _name(owner_id, model.resource_type)
        if not found:
            return Result.err(f"nothing could be predicted for {name}")
        self._foreseen.note(name, {"method": model.method.value, "values": keyed(list(found.items()))})
        self._desk.done()
        return Result.ok(found)

    def evaluate_accuracy(self, owner_id: str, resource_type: ResourceType) -> Result[dict[str, float]]:
        """X5: how far the predictions of a trained model are off."""
        model = self._model(owner_id, resource_type)
        if model is None:
            return Result.err(f"there is no trained model of {_name(owner_id, ResourceType(resource_type))}")
        return Result.ok(dict(model.accuracy_metrics))

    # -- files ---------------------------------------------------------------------------------------------------

    def _write(self, folder: str, owner_id: str, kind: ResourceType, told: dict[str, Any]) -> None:
        """X7: one file for each owner and type, where there is a directory."""
        if self.data_directory is None:
            return
        directory = self.data_directory / folder / names.safe(owner_id)
        if create_directory_if_not_exists(directory):
            try:
                (directory / f"{kind.value}.json").write_text(json.dumps(told), encoding="utf-8")
            except OSError as error:
                _log.warning("%s of %s could not be written: %s", folder, _name(owner_id, kind), error)

    def _read_files(self) -> None:
        """X7: what an earlier process wrote; what cannot be read is left where it is."""
        for series in self._files("data", ResourceData.from_dict):
            known = self.resource_data.setdefault(series.owner_id, {})
            if series.resource_type not in known:
                known[series.resource_type] = series
                self._measured(series)
        for model in self._files("models", ForecastModel.from_dict):
            self.forecast_models.setdefault(model.owner_id, {}).setdefault(model.resource_type, model)

    def _files(self, folder: str, read: Callable[[dict[str, Any]], Any]) -> list[Any]:
        found = []
        directory = None if self.data_directory is None else self.data_directory / folder
        for file in sorted(directory.glob("*/*.json")) if directory is not None and directory.is_dir() else ():
            try:
                found.append(read(json.loads(file.read_text(encoding="utf-8"))))
            except _BROKEN as error:
                _log.warning("%s is passed over: %s", file, error)
        return found


def _name(owner_id: str, kind: ResourceType) -> str:
    return f"{owner_id}/{kind.value}"


__all__ = ["ForecastMethod", "ForecastModel", "ResourceData", "ResourceForecaster"]
