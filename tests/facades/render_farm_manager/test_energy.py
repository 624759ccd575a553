"""Energy: rules R70 to R77."""

from datetime import datetime, time, timedelta
from typing import Any

import pytest

from adapters.facades.bridge.wallclock import now
from render_farm_manager.core.models import EnergyMode, RenderJobStatus
from render_farm_manager.energy_optimization.energy_optimizer import EnergyOptimizer
from tests.facades.render_farm_manager.farms import gpu_node, job, node, parts

NOON, MIDNIGHT = datetime.fromisoformat("2025-03-03T12:00"), datetime.fromisoformat("2025-03-03T00:00")


def optimizer(**more: Any) -> EnergyOptimizer:
    return EnergyOptimizer(*parts(), **{"current_time_override": NOON, **more})


def shot(name: str = "job1", **fields: Any) -> Any:
    return job(name, **{"deadline": NOON + timedelta(hours=50), **fields})


@pytest.mark.parametrize(
    ("blade", "kind"),
    [
        (gpu_node(memory_gb=1024), "gpu"),
        (node(memory_gb=512), "memory"),
        (node(memory_gb=511), "cpu"),
    ],
)
def test_r70_types_of_nodes_and_their_watts(blade: Any, kind: str) -> None:
    of = optimizer()
    assert of._get_node_type(blade) == kind
    watts = {"gpu": [800, 650, 500, 400], "cpu": [400, 300, 250, 200], "memory": [500, 400, 300, 250]}
    assert [of.node_power_profiles[kind][mode] for mode in EnergyMode] == watts[kind]
    assert of.node_power_profiles[kind]["balanced"] == watts[kind][1]  # type: ignore[index]


def test_r71_r72_a_job_within_one_price() -> None:
    # 0.3 kW × (1 - 0.5 × 0.2) × 4 h × 0.15
    assert optimizer().calculate_energy_cost(shot(), node(rating=50), NOON) == pytest.approx(0.27 * 4 * 0.15)
    assert optimizer().calculate_energy_cost(shot(), node(rating=50), MIDNIGHT) == pytest.approx(0.27 * 4 * 0.08)


def test_r72_a_job_over_several_prices() -> None:
    start = NOON.replace(hour=18)  # 2 h at the peak, 12 h off, 8 h at it again
    cost = optimizer().calculate_energy_cost(shot(estimated_duration_hours=22), node(rating=0), start)
    assert cost == pytest.approx(0.3 * (2 * 0.15 + 12 * 0.08 + 8 * 0.15))


@pytest.mark.parametrize(
    ("hour", "minute", "price"), [(7, 59, 0.08), (8, 0, 0.15), (19, 59, 0.15), (20, 0, 0.08), (0, 0, 0.08)]
)
def test_r72_the_price_of_an_hour(hour: int, minute: int, price: float) -> None:
    assert optimizer().get_time_of_day_energy_price(NOON.replace(hour=hour, minute=minute)) == price


def test_r72_other_windows_and_prices() -> None:
    of = optimizer(
        peak_hours_start=time(6, 30), peak_hours_end=time(10), peak_energy_cost=1.0, off_peak_energy_cost=0.5
    )
    assert of.get_time_of_day_energy_price(NOON.replace(hour=6, minute=29)) == 0.5
    assert of.get_time_of_day_energy_price(NOON.replace(hour=6, minute=30)) == 1.0
    # the price is looked at at 6, where it is still low, and then at 10
    assert of.calculate_energy_cost(shot(estimated_duration_hours=6), node(rating=0), NOON.replace(hour=5)) == (
        pytest.approx(0.3 * 6 * 0.5)
    )


def test_r72_more_economical_modes_cost_less() -> None:
    of, costs = optimizer(), []
    for mode in EnergyMode:
        of.current_energy_mode = mode
        costs.append(of.calculate_energy_cost(shot(), node(), NOON))
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == 4


def test_r73_savings() -> None:
    of, blade = optimizer(), node(rating=50)
    runs = shot("a", status="running", assigned_node_id="n1", progress=75.0)
    lost = shot("b", status="running", assigned_node_id="nobody")
    waits, done = shot("c", memory_requirements_gb=256), shot("d", status="completed")
    # performance: 0.36 kW × 1 h + 0.5 × 0.9 × 4 h; balanced: 0.27 × 1 + 0.4 × 0.9 × 4
    assert of.estimate_energy_savings([runs, lost, waits, done], [blade]) == pytest.approx((2.16 - 1.71) / 2.16 * 100)
    assert of.estimate_energy_savings([done], [blade]) == of.estimate_energy_savings([], []) == 0.0


def test_r73_savings_rise_with_economy() -> None:
    of, saved = optimizer(), []
    jobs = [shot("a"), shot("b", requires_gpu=True), shot("c", memory_requirements_gb=300)]
    for mode in EnergyMode:
        of.current_energy_mode = mode
        saved.append(of.estimate_energy_savings(jobs, [node()]))
    assert saved[0] == 0.0
    assert saved == sorted(set(saved))


@pytest.mark.parametrize(
    ("hour", "urgent", "mode"),
    [
        (23, 0, "night_savings"),
        (5, 0, "night_savings"),
        (23, 1, "efficiency"),
        (12, 6, "performance"),
        (12, 5, "balanced"),
        (12, 1, "balanced"),
        (12, 0, "efficiency"),
        (6, 0, "efficiency"),
        (22, 0, "night_savings"),
    ],
)
def test_r74_the_mode_follows_the_clock_and_the_jobs(hour: int, urgent: int, mode: str) -> None:
    of = optimizer(current_time_override=NOON.replace(hour=hour))
    of.current_energy_mode = EnergyMode.PERFORMANCE if mode != "performance" else EnergyMode.BALANCED
    statuses = ["pending", "queued", "running"]
    jobs = [shot(f"j{i}", priority="high" if i % 2 else "critical", status=statuses[i % 3]) for i in range(urgent)]
    jobs += [shot("low", priority="low"), shot("done", priority="critical", status="completed")]
    of.optimize_energy_usage(jobs, [])
    assert of.current_energy_mode == mode
    changes = [entry.details for entry in of.audit_logger.logs if entry.event_type == "energy_mode_changed"]
    assert [each["new_mode"] for each in changes] == [mode]


def test_r74_the_same_mode_is_told_when_it_is_set_but_not_when_it_is_chosen() -> None:
    of = optimizer()
    of.set_energy_mode(EnergyMode.BALANCED)
    of.optimize_energy_usage([shot(priority="high")], [])
    assert [entry.event_type for entry in of.audit_logger.logs].count("energy_mode_changed") == 1


def test_r75_balanced_keeps_back_what_has_no_slack_and_is_not_urgent() -> None:
    jobs = [
        shot("urgent", priority="high", deadline=NOON),
        shot("tight", priority="low", deadline=NOON + timedelta(hours=6)),
        shot("easy", priority="medium", deadline=NOON + timedelta(hours=6.1)),
        shot("runs", priority="low", status="running"),
    ]
    nodes = [node(f"n{i}") for i in range(4)]
    assert set(optimizer().optimize_energy_usage(jobs, nodes)) == {"urgent", "easy"}


def test_r75_r77_night_savings_by_day_keep_back_what_needs_much_energy() -> None:
    of = optimizer()
    of._update_energy_mode = lambda jobs: None  # type: ignore[method-assign]  # as if it had been night just before
    of.current_energy_mode = EnergyMode.NIGHT_SAVINGS
    jobs = [
        shot("flag", energy_intensive=True),
        shot("complex", scene_complexity=8),
        shot("cores", cpu_requirements=16),
    ]
    jobs.append(shot("light"))
    assert set(of.optimize_energy_usage(jobs, [node(f"n{i}") for i in range(4)])) == {"light"}
    of.current_time_override = MIDNIGHT
    assert len(of.optimize_energy_usage(jobs, [node(f"n{i}") for i in range(4)])) == 4


def test_r76_the_cheapest_suitable_node_and_each_once() -> None:
    nodes = [gpu_node("gpu"), node("poor", rating=10), node("good", rating=90), node("busy", current_job_id="x")]
    jobs = [shot("low", priority="low"), shot("high", priority="high"), shot("gpu-job", requires_gpu=True)]
    plan = optimizer().optimize_energy_usage(jobs, nodes)
    assert plan == {"high": "good", "gpu-job": "gpu", "low": "poor"}


def test_r76_costs_of_a_callers_own_are_asked_for_every_job() -> None:
    class Licensed(EnergyOptimizer):
        def calculate_energy_cost(self, job: Any, node: Any, start_time: datetime) -> float:
            return 1.0 if job.id == node.id else 2.0

    of = Licensed(*parts(), current_time_override=MIDNIGHT)
    jobs, blades = [shot("a"), shot("b"), shot("c")], [node("c"), node("b"), node("a")]
    assert of.optimize_energy_usage(jobs, blades) == {"a": "a", "b": "b", "c": "c"}


def test_r76_no_jobs_or_no_nodes() -> None:
    assert optimizer().optimize_energy_usage([], [node()]) == {}
    assert optimizer().optimize_energy_usage([shot()], []) == {}
    assert optimizer().optimize_energy_usage([shot(status="completed")], [node()]) == {}


def test_r76_a_node_without_any_efficiency_is_no_trouble() -> None:
    of = optimizer()
    assert of.optimize_energy_usage([shot(priority="low")], [node("zero", rating=0), node("some", rating=50)]) == {
        "job1": "some"
    }
    assert of.current_energy_mode == "efficiency"


def test_r76_the_performance_mode_divides_by_power() -> None:
    of = optimizer()
    urgent = [shot(f"u{i}", priority="critical", status="running") for i in range(6)]
    nodes = [node("weak", rating=5, cpu_cores=8), node("strong", rating=5, cpu_cores=64)]
    assert of.optimize_energy_usage([*urgent, shot()], nodes) == {"job1": "strong"}
    assert of.current_energy_mode == "performance"


@pytest.mark.parametrize(
    ("fields", "intensive"),
    [
        ({}, False),
        ({"energy_intensive": True}, True),
        ({"scene_complexity": 8}, True),
        ({"cpu_requirements": 16}, True),
        ({"requires_gpu": True, "memory_requirements_gb": 64}, True),
        ({"requires_gpu": True, "memory_requirements_gb": 63}, False),
        ({"memory_requirements_gb": 64}, False),
    ],
)
def test_r77_requirements_by_day_and_night(fields: dict[str, Any], intensive: bool) -> None:
    of, blade, shown = optimizer(), gpu_node(), shot(**fields)
    assert of._node_meets_requirements(shown, blade) is True
    of.current_energy_mode = EnergyMode.NIGHT_SAVINGS
    assert of._node_meets_requirements(shown, blade) is not intensive
    of.current_time_override = NOON.replace(hour=22)
    assert of._node_meets_requirements(shown, blade) is True
    assert of._node_meets_requirements(shot(memory_requirements_gb=65), blade) is False


def test_what_is_told() -> None:
    of = optimizer()
    of.optimize_energy_usage([shot(priority="high")], [node()])
    told = [entry.details for entry in of.audit_logger.logs if entry.event_type == "energy_optimized_allocation"]
    assert told == [
        {
            "job_id": "job1",
            "node_id": "n1",
            "energy_mode": EnergyMode.BALANCED,
            "energy_cost": 0.0,
            "job_priority": "high",
        }
    ]
    assert list(of.performance_monitor.operation_times) == ["optimize_energy_usage"]


def test_without_an_override_the_hour_is_now() -> None:
    of = optimizer(current_time_override=None)
    of.optimize_energy_usage([shot(status=RenderJobStatus.COMPLETED)], [])
    night = not 6 <= now().hour < 22
    assert of.current_energy_mode == ("night_savings" if night else "efficiency")
