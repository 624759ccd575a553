"""Private names and patch points that callers use."""

from collections.abc import Iterator
from typing import Any

import pytest

from render_farm_manager.core.models import EnergyMode, JobPriority, RenderJob, RenderJobStatus, RenderNode
from render_farm_manager.scheduling.deadline_scheduler import DeadlineScheduler
from tests.facades.render_farm_manager.farms import due, farm, job, node, parts


def test_the_dependency_check_can_be_replaced_on_the_manager_and_is_asked_for_every_placement() -> None:
    manager = farm(node("n1"), node("n2"), job("a"), job("b"), job("c", dependencies=["a"]))
    saved = manager._validate_dependencies
    asked: list[tuple[str, list[str]]] = []

    def asking(job_id: str, dependencies: list[str]) -> bool:
        asked.append((job_id, dependencies))
        return job_id != "b" and saved(job_id, dependencies)

    manager._validate_dependencies = asking  # type: ignore[method-assign]
    manager.scheduler.schedule_jobs = lambda jobs, nodes: {"b": "n1"}
    manager.energy_optimizer.optimize_energy_usage = lambda jobs, nodes: {"a": "n2", "c": "n1"}
    manager.run_scheduling_cycle()
    assert [manager.jobs[name].status for name in "abc"] == ["running", "pending", "pending"]
    assert [name for name, _ in asked] == ["b", "a", "c", "b", "c"]
    assert asked[2] == ("c", ["a"])


def test_the_cycle_and_the_failure_handler_can_be_wrapped_on_the_instance() -> None:
    manager = farm(node(), job("a"), job("b"))
    cycle, failure = manager.run_scheduling_cycle, manager.handle_node_failure

    def without_b() -> dict[str, Any]:
        taken = manager.jobs.pop("b")
        try:
            return cycle()
        finally:
            manager.jobs["b"] = taken

    manager.run_scheduling_cycle = without_b  # type: ignore[method-assign]
    manager.handle_node_failure = lambda node_id, error: [*failure(node_id, error)]  # type: ignore[method-assign]
    assert manager.run_scheduling_cycle()["jobs_scheduled"] == 1
    assert manager.jobs["b"].status == "pending"
    assert manager.handle_node_failure("n1", "x") == ["a"]
    manager.run_scheduling_cycle = cycle  # type: ignore[method-assign]
    manager.set_node_online("n1")
    assert manager.run_scheduling_cycle()["jobs_scheduled"] == 1


def test_a_wrapped_scheduler_may_add_any_entry() -> None:
    manager = farm(node("n1"), node("n2"), job("a"), job("b"), job("c"))
    planned = manager.scheduler.schedule_jobs
    manager.complete_job("c")

    def more(jobs: list[RenderJob], nodes: list[RenderNode]) -> dict[str, str]:
        plan: dict[str, str] = planned(jobs, nodes)
        return {**plan, "a": "n1", "b": "n1", "c": "n2"}

    manager.scheduler.schedule_jobs = more
    for _ in range(2):
        manager.run_scheduling_cycle()
    assert manager.jobs["c"].status == "completed"
    assert manager.nodes["n1"].current_job_id in ("a", "b")


@pytest.fixture
def filtered() -> Iterator[None]:
    """The scheduler's class as one caller leaves it: only jobs all of whose dependencies are there and completed."""
    original = DeadlineScheduler.schedule_jobs

    def only_ready(self: DeadlineScheduler, jobs: list[RenderJob], nodes: list[RenderNode]) -> dict[str, str]:
        by_id = {each.id: each for each in jobs}
        ready = [
            each
            for each in jobs
            if each.status in (RenderJobStatus.PENDING, RenderJobStatus.QUEUED)
            and all(name in by_id and by_id[name].status == RenderJobStatus.COMPLETED for name in each.dependencies)
        ]
        return original(self, ready, nodes)

    DeadlineScheduler.schedule_jobs = only_ready  # type: ignore[method-assign]
    yield
    DeadlineScheduler.schedule_jobs = original  # type: ignore[method-assign]


@pytest.mark.usefixtures("filtered")
def test_with_the_class_method_replaced_half_done_parents_still_let_children_start() -> None:
    manager = farm(node("n1"), node("n2"), job("a"), job("b", dependencies=["a"], priority="high"))
    manager.run_scheduling_cycle()
    assert manager.jobs["b"].status == "pending"
    manager.jobs["a"].progress = 60.0
    manager.run_scheduling_cycle()
    assert manager.jobs["b"].status == "running"


@pytest.mark.usefixtures("filtered")
def test_with_the_class_method_replaced_free_nodes_are_used() -> None:
    manager = farm(*[node(f"n{i}") for i in range(4)], *[job(f"j{i}") for i in range(6)])
    manager.run_scheduling_cycle()
    assert sum(each.status == "running" for each in manager.jobs.values()) == 4


def test_the_original_function_works_unbound() -> None:
    assert DeadlineScheduler.schedule_jobs(DeadlineScheduler(*parts()), [job()], [node()]) == {"job1": "n1"}


def test_effective_priorities_written_by_callers_are_read_back_after_a_cycle() -> None:
    manager = farm(node(), job("a"), job("b", priority="low", dependencies=["a"]))
    manager.run_scheduling_cycle()
    assert hasattr(manager.scheduler, "_effective_priorities")
    manager.scheduler._effective_priorities["b"] = JobPriority.HIGH
    manager.complete_job("a")
    manager.run_scheduling_cycle()
    assert manager.scheduler._effective_priorities["b"] is JobPriority.HIGH


def test_an_effective_priority_of_a_caller_stays_below_that_of_the_parent_too() -> None:
    manager = farm(node(), job("a", priority="critical"), job("b", priority="low", dependencies=["a"]))
    manager.scheduler._effective_priorities["b"] = JobPriority.MEDIUM
    manager.run_scheduling_cycle()
    manager.complete_job("a")
    manager.run_scheduling_cycle()
    assert manager.scheduler._effective_priorities["b"] is JobPriority.MEDIUM


def test_q5_the_child_of_a_finished_urgent_parent_does_not_pass_nearer_deadlines() -> None:
    manager = farm(node("n1"), node("n2"))
    manager.submit_job(job("parent", priority="critical", deadline=due(60)))
    manager.submit_job(job("child", priority="low", dependencies=["parent"], deadline=due(90)))
    for number in range(3):
        manager.submit_job(job(f"rival{number}", deadline=due(60 + number)))
    manager.run_scheduling_cycle()
    manager.complete_job("parent")
    manager.run_scheduling_cycle()
    assert manager.jobs["child"].status == "queued"
    assert sum(manager.jobs[f"rival{number}"].status == "running" for number in range(3)) == 2


def test_hooks_of_the_parts() -> None:
    manager = farm(node())
    optimizer, renderer = manager.energy_optimizer, manager.progressive_renderer
    assert optimizer._node_meets_requirements(job(), node()) is True
    assert optimizer._node_meets_requirements(job(requires_gpu=True), node()) is False
    assert optimizer._get_node_type(node()) == "cpu"
    optimizer.current_energy_mode = EnergyMode.NIGHT_SAVINGS
    assert manager.get_farm_status()["current_energy_mode"] == "night_savings"
    manager.submit_job(job(supports_progressive_output=True))
    renderer.scheduled_outputs["job1"] = [due(-1), due(-0.5)]
    assert manager.run_scheduling_cycle()["progressive_outputs"] == 2
