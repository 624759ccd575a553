"""Progressive output: rules R60 to R63."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.facades.bridge.wallclock import now
from render_farm_manager.core.models import ProgressiveOutputConfig
from render_farm_manager.progressive_result.progressive_renderer import ProgressiveRenderer
from tests.facades.render_farm_manager.farms import due, job, parts


def renderer(**more: Any) -> ProgressiveRenderer:
    return ProgressiveRenderer(*parts(), **more)


def shot(**fields: Any) -> Any:
    return job(**{"supports_progressive_output": True, **fields})


@pytest.mark.parametrize(
    ("hours", "interval", "minutes"),
    [
        (4, 60, [60, 120, 180, 240]),
        (2.4, 60, [60, 120]),
        (0.5, 30, [15]),
        (0.25, 30, [7.5]),
        (20, 30, [30 * i for i in range(1, 11)]),
    ],
)
def test_r60_outputs_are_planned_evenly(hours: float, interval: int, minutes: list[float]) -> None:
    of, start = renderer(), due(5)
    config = ProgressiveOutputConfig(interval_minutes=interval)
    times = of.schedule_progressive_output(shot(estimated_duration_hours=hours, submission_time=start), config)
    assert times == of.scheduled_outputs["job1"] == [start + timedelta(minutes=each) for each in minutes]
    (details,) = [entry.details for entry in of.audit_logger.logs if entry.event_type == "progressive_output_scheduled"]
    assert details == {
        "job_id": "job1",
        "num_outputs": len(minutes),
        "interval_minutes": interval,
        "scheduled_times": [each.isoformat() for each in times],
    }


def test_r60_from_now_on_for_jobs_of_the_past() -> None:
    before = now()
    times = renderer().schedule_progressive_output(shot(submission_time=due(-50)))
    assert before <= times[0] - timedelta(minutes=30) <= now()


def test_r60_nothing_is_planned_for_whom_it_is_not() -> None:
    of = renderer(default_config=ProgressiveOutputConfig(enabled=False))
    assert of.schedule_progressive_output(shot()) == []
    assert of.schedule_progressive_output(job("other"), ProgressiveOutputConfig()) == []
    assert of.scheduled_outputs == {"job1": [], "other": []}
    assert of.schedule_progressive_output(shot(), ProgressiveOutputConfig()) != []


def test_r61_a_picture_has_a_path_and_a_time() -> None:
    of, made = renderer(), shot(progress=40.0)
    before = now()
    path = of.generate_progressive_output(made, 25)
    assert Path(path).parent == Path("/renders/job1/progressive")
    assert path == f"/renders/job1/progressive/progressive_25pct_{made.last_progressive_output_time:%Y%m%d_%H%M%S}.exr"
    assert before <= made.last_progressive_output_time <= now()
    assert of.generated_outputs == {"job1": {25: path}}
    (details,) = [entry.details for entry in of.audit_logger.logs if entry.event_type == "progressive_output_generated"]
    assert details == {"job_id": "job1", "quality_level": 25, "output_path": path, "job_progress": 40.0}
    with pytest.raises(ValueError, match="job1"):
        of.generate_progressive_output(job(), 25)


def test_the_latest_output_is_the_best_one() -> None:
    of = renderer()
    assert of.get_latest_progressive_output("job1") is None
    best = of.generate_progressive_output(shot(), 75)
    of.generate_progressive_output(shot(), 25)
    assert of.get_latest_progressive_output("job1") == best


@pytest.mark.parametrize(
    ("hours", "levels", "most", "overhead"),
    [
        (0.4, [25, 50, 75], 5.0, 0.16),
        (2, [25, 50, 75], 5.0, 0.64),  # four outputs of 0.03 + 0.05 + 0.08
        (2, [10, 33], 5.0, 0.08),
        (100, [25, 50, 75], 5.0, 1.6),
        (100, [25, 50, 75], 1.0, 1.0),
    ],
)
def test_r62_overhead(hours: float, levels: list[int], most: float, overhead: float) -> None:
    config = ProgressiveOutputConfig(quality_levels=levels, max_overhead_percentage=most)
    assert renderer().estimate_overhead(shot(estimated_duration_hours=hours), config) == pytest.approx(overhead)


def test_r62_no_output_no_overhead() -> None:
    assert renderer().estimate_overhead(job()) == 0.0
    assert renderer().estimate_overhead(shot(), ProgressiveOutputConfig(enabled=False)) == 0.0
    assert renderer().quality_overhead_factors == {10: 0.02, 25: 0.03, 50: 0.05, 75: 0.08}


@pytest.mark.parametrize(
    ("progress", "level"), [(0, 10), (24.9, 10), (25, 25), (49.9, 25), (50, 50), (74, 50), (75, 75), (100, 75)]
)
def test_r63_the_quality_follows_progress(progress: float, level: int) -> None:
    of, made = renderer(), shot(status="running", progress=progress)
    of.scheduled_outputs["job1"] = [due(-1)]
    assert [each[0] for each in of.process_pending_outputs([made])["job1"]] == [level]


def test_r63_what_is_due_is_made_and_what_is_not_stays() -> None:
    of, later = renderer(), due(1)
    of.scheduled_outputs = {"a": [due(-2), due(-1), later], "b": [later], "c": [due(-1)], "d": [due(-1)]}
    jobs = [shot(id="a", status="running"), shot(id="b", status="running"), shot(id="c"), job("d", status="running")]
    result = of.process_pending_outputs([*jobs, shot(id="unplanned", status="running")])
    assert {name: len(made) for name, made in result.items()} == {"a": 2}
    assert of.scheduled_outputs["a"] == of.scheduled_outputs["b"] == [later]
    assert len(of.scheduled_outputs["c"]) == 1


def test_operations_are_timed() -> None:
    of = renderer()
    of.schedule_progressive_output(shot())
    of.generate_progressive_output(shot(), 10)
    assert list(of.performance_monitor.operation_times) == [
        "schedule_progressive_output",
        "generate_progressive_output",
    ]
