"""Specialization: rules R50 to R56."""

from typing import Any

import pytest

from render_farm_manager.node_specialization.specialization_manager import NodeSpecializationManager
from tests.facades.render_farm_manager.farms import gpu_node, job, node, parts


def specializer(**more: Any) -> NodeSpecializationManager:
    return NodeSpecializationManager(*parts(), **more)


def test_r50_the_tables_are_each_others_inverse() -> None:
    of = specializer()
    assert of.job_type_specializations["vfx"] == ["gpu_rendering", "high_memory", "vfx_rendering"]
    assert len(of.job_type_specializations) == 11
    assert sorted(of.specialization_job_types["physics"]) == ["cloth_sim", "fluid_sim", "simulation"]
    pairs = {(kind, name) for kind, names in of.job_type_specializations.items() for name in names}
    assert pairs == {(kind, name) for name, kinds in of.specialization_job_types.items() for kind in kinds}


def test_r51_nodes_that_are_meant_for_the_job_compete_among_themselves() -> None:
    meant = node("meant", specialized_for=["compositing"], cpu_cores=4)
    strong = node("strong", cpu_cores=512, memory_gb=4096)
    of = specializer()
    assert of.match_job_to_node(job(), [strong, meant]) == "meant"
    meant.current_job_id = "x"
    assert of.match_job_to_node(job(), [strong, meant]) == "strong"
    assert of.match_job_to_node(job(requires_gpu=True), [strong, meant]) is None
    strong.status = "offline"
    assert of.match_job_to_node(job(), [strong, meant]) is None
    told = [entry.details for entry in of.audit_logger.logs if entry.event_type == "job_node_matched"]
    assert [set(each) for each in told] == [{"job_id", "node_id", "job_type", "score", "specialized"}] * 2
    assert [each["specialized"] for each in told] == [True, False]


def test_r51_the_first_of_equals() -> None:
    assert specializer().match_job_to_node(job(), [node("b"), node("a")]) == "b"


@pytest.mark.parametrize(
    ("shot", "blade", "score"),
    [
        # nothing special; 16/4 cores count as 2: 1 + 0.5; 64/16 GB as 3: 1 + 0.3 × 2
        (job(job_type="other"), node(), 1.5 * 1.6),
        # one specialisation: 2 + 0.7
        (job(), node(specialized_for=["compositing", "else"]), 2.7 * 1.5 * 1.6),
        # four of them: 2 + min(2.8, 3)
        (
            job(job_type="fluid_sim"),
            node(specialized_for=["simulation", "physics", "high_memory", "fluid_simulation"]),
            4.8 * 1.5 * 1.6,
        ),
        # many cores for a type that lives on them
        (job(), node(cpu_cores=32), 1.5 * 1.5 * 1.6),
        # much memory for a type that lives on it
        (job(job_type="scene_assembly"), node(memory_gb=256), 1.5 * 1.5 * 1.6),
        # two GPUs, and a job that needs one: 1 + min(2 × 5 / 5, 2)
        (job(job_type="vfx", requires_gpu=True), node(gpu_count=2, gpu_model="A"), 1.5 * 3.0 * 1.5 * 1.6),
        # one GPU and a simple scene: 1 + 1 × 2 / 5
        (
            job(job_type="vfx", requires_gpu=True, scene_complexity=2),
            node(gpu_count=1, gpu_model="A"),
            1.4 * 1.5 * 1.6,
        ),
        # just enough cores and memory
        (job(job_type="other", cpu_requirements=16, memory_requirements_gb=64), node(), 1.0),
        # learned: weight 0.3 × 1.2
        (job(job_type="other"), node(performance_history={"job_type:other": 10.0}), 2.4 * 0.64 + 10.0 * 0.36),
    ],
)
def test_r52_scores_are_products(shot: Any, blade: Any, score: float) -> None:
    assert specializer().calculate_performance_score(shot, blade) == pytest.approx(score)


def test_r52_history_counts_for_half_at_most() -> None:
    blade = node(performance_history={"job_type:other": 10.0})
    score = specializer(history_weight=0.9).calculate_performance_score(job(job_type="other"), blade)
    assert score == pytest.approx(2.4 * 0.5 + 10.0 * 0.5)


def test_r52_what_callers_rely_on() -> None:
    of, cpu, gpu = specializer(), node(specialized_for=["cpu_rendering"], cpu_cores=64), gpu_node()
    animation = job(job_type="animation", requires_gpu=True)
    simulation = job(job_type="simulation")
    assert of.calculate_performance_score(animation, gpu) > of.calculate_performance_score(animation, cpu)
    assert of.calculate_performance_score(simulation, cpu) > of.calculate_performance_score(simulation, gpu)


@pytest.mark.parametrize(
    ("metrics", "speed"),
    [
        ({}, 1.0),
        ({"render_time_per_frame": 60}, 1.0),
        ({"render_time_per_frame": 15}, 4.0),
        ({"render_time_per_frame": 1}, 10.0),
        ({"render_time_per_frame": 6000}, 0.1),
        ({"render_time_per_frame": 0}, 10.0),
        ({"render_time_per_frame": -5}, 10.0),
    ],
)
def test_r53_speeds(metrics: dict[str, float], speed: float) -> None:
    of, blade = specializer(), node()
    of.update_performance_history(job(), blade, metrics)
    assert blade.performance_history == {"job_type:compositing": speed, "memory_range:medium": speed}
    (entry,) = of.audit_logger.logs
    assert entry.details == {
        "job_id": "job1",
        "node_id": "n1",
        "job_type": "compositing",
        "performance_score": speed,
        "metrics": metrics,
    }


def test_r53_later_runs_are_averaged_in() -> None:
    of, blade = specializer(), gpu_node()
    shot = job(job_type="vfx", requires_gpu=True)
    of.update_performance_history(shot, blade, {"render_time_per_frame": 60})
    of.update_performance_history(shot, blade, {"render_time_per_frame": 10})
    assert blade.performance_history == {
        "job_type:vfx": pytest.approx(2.0),  # 0.8 × 1 + 0.2 × 6
        "requirement:gpu": pytest.approx(2.0),
        "memory_range:medium": pytest.approx(2.0),
    }


@pytest.mark.parametrize(
    ("memory", "name"),
    [(1, "low"), (15, "low"), (16, "medium"), (63, "medium"), (64, "high"), (255, "high"), (256, "extreme")],
)
def test_r54_ranges_of_memory(memory: int, name: str) -> None:
    blade = node()
    specializer().update_performance_history(job(memory_requirements_gb=memory), blade, {})
    assert f"memory_range:{name}" in blade.performance_history


def test_r55_efficiency_by_type_of_job() -> None:
    learned = {"job_type:vfx": 2.0, "requirement:gpu": 3.0, "job_type:lighting": 1.0}
    result = specializer().analyze_node_efficiency([node("a", performance_history=learned), node("b")])
    assert result == {"a": {"vfx": 2.0, "lighting": 1.0}, "b": {}}


def test_r56_ids_do_not_matter() -> None:
    nodes = [node("a", rating=50), gpu_node("b")]
    names = ["job1", "memory_job", "cpu-job-3", "x"]
    assert len({specializer().match_job_to_node(job(name), nodes) for name in names}) == 1


def test_matching_is_timed() -> None:
    of = specializer()
    of.match_job_to_node(job(), [node()])
    assert list(of.performance_monitor.operation_times) == ["match_job_to_node"]
