"""Forecasts (§10.4)."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import ForecastMethod, ResourceForecaster, ResourceType
from common.resource_management import ForecastModel, ResourceData
from domain.forecasting import trends
from tests.facades.common.worlds import DAY, HOUR, World

CPU = ResourceType.CPU
METHOD = ForecastMethod


def points_of(world: World, *values: float) -> list[Any]:
    """One value a day, the last one now."""
    return [(world.now - (len(values) - 1 - n) * DAY, float(value)) for n, value in enumerate(values)]


def predicted(
    world: World, method: ForecastMethod, values: Any, after: timedelta = DAY, **parameters: Any
) -> float | None:
    """What a fresh model expects a day after the last value."""
    model = ForecastModel("ada", CPU, method, parameters)
    assert model.train(points_of(world, *values))
    return model.predict(world.now + after)


def test_series_stay_in_order_and_forget(world: World) -> None:
    data = ResourceData("ada", CPU)
    for hours in (5, 1, 3):
        data.add_data_point(world.now - hours * HOUR, float(hours))
    assert [value for _, value in data.data_points] == [5, 3, 1]
    assert [value for _, value in data.get_data_in_range(world.now - 3 * HOUR, world.now - HOUR)] == [3, 1]
    assert len(data.get_recent_data(2 * HOUR)) == 1
    assert ResourceData.from_dict(json.loads(json.dumps(data.to_dict()))).to_dict() == data.to_dict()
    world.passes(365 * DAY - 2 * HOUR)
    assert data.clear_old_data() == 2
    assert len(data.data_points) == 1


def test_x1_each_method_by_hand(world: World) -> None:
    assert predicted(world, METHOD.MOVING_AVERAGE, [100, 1, 2, 3, 4, 5]) == 3.0
    assert predicted(world, METHOD.MOVING_AVERAGE, [1, 2, 6], window_size=2) == 4.0
    assert predicted(world, METHOD.WEIGHTED_AVERAGE, [1, 2, 3]) == pytest.approx(14 / 6)
    assert predicted(world, METHOD.WEIGHTED_AVERAGE, [1, 2, 3], window_size=2, weights=[1, 3]) == pytest.approx(11 / 4)
    # level 2, trend 2 from the first two; then 0.3·3 + 0.7·4 = 3.7, and 0.1·1.7 + 0.9·2 = 1.97
    assert predicted(world, METHOD.EXPONENTIAL, [0, 2, 3]) == pytest.approx(3.7 + 1.97)
    assert predicted(world, METHOD.LINEAR_REGRESSION, [1, 3, 5, 7], 2 * DAY) == pytest.approx(11)


def test_x1_what_cannot_be_learned(world: World) -> None:
    assert not ForecastModel("ada", CPU).train(points_of(world, 1))
    same = [(world.now, 1.0), (world.now, 2.0)]
    assert not ForecastModel("ada", CPU, METHOD.LINEAR_REGRESSION).train(same)
    model = ForecastModel("ada", CPU)
    assert (model.predict(world.now), model.generate_forecast(world.now, world.now + DAY)) == (None, {})
    assert not ForecastModel("ada", CPU, METHOD.CUSTOM).train(points_of(world, 1, 2))


def test_x1_functions_of_the_callers(world: World) -> None:
    hooks = {
        "train_func": lambda points: {"last": points[-1][1]},
        "predict_func": lambda at, learned: learned["last"] + 1,
    }
    assert predicted(world, METHOD.CUSTOM, [1, 2], **hooks) == 3.0
    half = ForecastModel("ada", CPU, METHOD.CUSTOM, {"train_func": hooks["train_func"]})
    assert half.train(points_of(world, 1, 2))
    assert half.predict(world.now) is None
    broken = ForecastModel("ada", CPU, METHOD.CUSTOM, {"train_func": lambda points: 1 / 0})
    assert not broken.train(points_of(world, 1, 2))
    assert "train_func" not in broken.to_dict()["parameters"]


def test_x2_accuracy_is_measured_on_the_last_fifth(world: World) -> None:
    few = ForecastModel("ada", CPU)
    few.train(points_of(world, 1, 2, 3, 4))
    assert few.accuracy_metrics == {"mse": 0.0, "mae": 0.0, "mape": 0.0, "r2": 0.0}
    model = ForecastModel("ada", CPU)
    model.train(points_of(world, *range(1, 11)))
    # the mean of 4..8 is 6; the true values are 9 and 10
    assert model.accuracy_metrics["mae"] == pytest.approx(3.5)
    assert model.accuracy_metrics["mse"] == pytest.approx((9 + 16) / 2)
    assert model.accuracy_metrics["mape"] == pytest.approx(50 * (3 / 9 + 4 / 10))
    line = ForecastModel("ada", CPU, METHOD.LINEAR_REGRESSION)
    line.train(points_of(world, *range(10)))
    assert line.accuracy_metrics["r2"] == pytest.approx(1.0)
    assert ForecastModel.from_dict(line.to_dict()).predict(world.now) == line.predict(world.now)


def test_a_forecast_has_both_ends(world: World) -> None:
    model = ForecastModel("ada", CPU)
    model.train(points_of(world, 1, 3))
    assert model.generate_forecast(world.now, world.now + DAY, 12) == dict.fromkeys(
        (world.now + n * 12 * HOUR for n in range(3)), 2.0
    )


def test_x3_x6_measurements_of_all(world: World) -> None:
    forecaster = ResourceForecaster(app=world.app)
    forecaster.add_data_point("ada", CPU, 5)
    forecaster.add_multiple_data_points("ada", CPU, points_of(world, 1, 2, 3))
    history = forecaster.get_historical_data
    assert [value for _, value in history("ada", CPU)] == [1, 2, 5, 3]
    assert len(history("ada", CPU, start_date=world.now)) == 2
    assert len(history("ada", CPU, end_date=world.now - DAY)) == 2
    assert history("?", CPU) == history("ada", ResourceType.GPU) == []
    world.passes(364 * DAY + HOUR)
    assert forecaster.clear_old_data() == {"ada/cpu": 2}
    assert forecaster.clear_old_data() == {}


def test_x4_x5_training_and_forecasting(world: World) -> None:
    forecaster = ResourceForecaster(default_method=METHOD.LINEAR_REGRESSION, app=world.app)
    assert "No historical data" in str(forecaster.train_model("ada", CPU).error)
    assert "No historical data" in str(forecaster.generate_forecast("ada", CPU, world.now, world.now + DAY).error)
    forecaster.add_multiple_data_points("ada", CPU, points_of(world, *range(40)))
    assert "Insufficient" in str(forecaster.train_model("ada", CPU, training_days=0.5).error)
    assert not forecaster.evaluate_accuracy("ada", CPU)
    told = forecaster.generate_forecast("ada", CPU, world.now + DAY, world.now + 2 * DAY).unwrap()
    assert list(told.values()) == pytest.approx([40, 41])
    assert forecaster.forecast_models["ada"][CPU].method is METHOD.LINEAR_REGRESSION
    assert forecaster.evaluate_accuracy("ada", CPU).unwrap()["r2"] == pytest.approx(1)
    assert forecaster.train_model("ada", CPU, METHOD.MOVING_AVERAGE, {"window_size": 2})
    assert forecaster.generate_forecast("ada", CPU, world.now, world.now).unwrap() == {world.now: 38.5}


def test_x7_files_only_where_a_directory_was_given(world: World, tmp_path: Path) -> None:
    forecaster = ResourceForecaster(tmp_path, app=world.app)
    forecaster.add_multiple_data_points("../ada", CPU, points_of(world, 1, 2, 3))
    forecaster.train_model("../ada", CPU)
    assert len(list(tmp_path.glob("data/*/cpu.json"))) == len(list(tmp_path.glob("models/*/cpu.json"))) == 1
    (tmp_path / "data" / "junk").mkdir()
    (tmp_path / "data" / "junk" / "cpu.json").write_text("[]")
    (tmp_path / "data" / "junk" / "gpu.json").write_text("{")
    again = ResourceForecaster(tmp_path)
    assert again.get_historical_data("../ada", CPU) == forecaster.get_historical_data("../ada", CPU)
    assert again.forecast_models["../ada"][CPU].to_dict() == forecaster.forecast_models["../ada"][CPU].to_dict()
    assert list(again.resource_data) == ["../ada"]
    assert ResourceForecaster().allocate_resources([], []) == {}
    assert ResourceForecaster().can_borrow_resources("a", "b", {}) is False
    assert ResourceForecaster().calculate_resource_usage("a", [], []) == {}


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e6, 1e6)), min_size=2, max_size=20))
def test_least_squares_leave_no_slope_behind(points: list[tuple[int, float]]) -> None:
    line = trends.least_squares(points)
    if line is None:
        assert len({at for at, _ in points}) == 1
        return
    rest = [(at, value - line.value(at)) for at, value in points]
    again = trends.least_squares(rest)
    assert again is not None
    assert again.slope * 10**6 == pytest.approx(0, abs=1e-2)
    assert sum(value for _, value in rest) == pytest.approx(0, abs=1e-2)
