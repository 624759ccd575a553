"""Models of packages extend those of the library without changing (§4.7, §14.1, §14.2)."""

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.facades.bridge import times
from common import (
    BaseJob,
    BaseNode,
    FailureDetector,
    JobQueue,
    JobScheduler,
    JobStatus,
    PriorityManager,
    ResourceAllocator,
    ResourcePartitioner,
    ResourceRequirement,
)
from render_farm_manager.core.models import NodeCapabilities, RenderJob, RenderNode
from tests.facades.common.children import (
    ComputeNode,
    Simulation,
    SimulationPriority,
    SimulationStage,
    SimulationStatus,
)
from tests.facades.common.worlds import HOUR, DueJob, World, node

DROPPED = {
    SimulationStage: {
        "priority", "submission_time", "assigned_node_id", "error_count", "owner", "project", "tags", "metadata",
    },
    Simulation: {
        "submission_time", "estimated_duration", "resource_requirements", "dependencies", "assigned_node_id",
        "error_count", "progress",
    },
    ComputeNode: {"resources", "current_job_id", "assigned_jobs", "last_error", "uptime_hours"},
    RenderJob: {
        "start_time", "end_time", "estimated_duration", "resource_requirements", "owner", "project", "tags", "metadata",
    },
    RenderNode: {
        "resources", "cpu_cores", "memory_gb", "storage_gb", "gpu_count", "network_bandwidth_gbps", "current_load",
        "assigned_jobs", "last_failure_time",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(DROPPED, key=lambda kind: kind.__name__))
def test_m4_a_dropped_field_is_in_no_constructor_and_no_dump(kind: type[Any]) -> None:
    base = BaseJob if issubclass(kind, BaseJob) else BaseNode
    assert DROPPED[kind] <= set(base.model_fields)
    assert DROPPED[kind].isdisjoint(kind.model_fields)
    assert set(base.model_fields) - DROPPED[kind] <= set(kind.model_fields)


def simulation(world: World, name: str = "s", **fields: Any) -> Simulation:
    """A simulation of two stages."""
    needs = [ResourceRequirement(resource_type="cpu", amount=2)]
    stages = {
        each: SimulationStage(id=each, name=each, estimated_duration=HOUR, resource_requirements=needs)
        for each in ("one", "two")
    }
    given_fields = {"id": name, "name": name, "stages": stages, "creation_time": world.now}
    return Simulation(**{**given_fields, **fields})


def render_job(world: World, name: str = "r", **fields: Any) -> RenderJob:
    """A job of a render farm."""
    given_fields = {
        "id": name, "name": name, "client_id": "ada", "job_type": "vfx", "priority": "medium",
        "submission_time": world.now,
        "deadline": world.now + 90 * HOUR, "estimated_duration_hours": 2.0, "memory_requirements_gb": 4,
        "cpu_requirements": 2, "scene_complexity": 3, "output_path": "/o",
    }  # fmt: skip
    return RenderJob(**{**given_fields, **fields})


def render_node(name: str = "rn") -> RenderNode:
    """A node of a render farm."""
    capabilities = NodeCapabilities(cpu_cores=16, memory_gb=64, storage_gb=100)
    return RenderNode(id=name, name=name, status="online", capabilities=capabilities, power_efficiency_rating=50)


def test_m4_dropped_fields_are_gone_for_good(world: World) -> None:
    made = simulation(world)
    assert not hasattr(made, "progress")
    with pytest.raises(AttributeError):
        made.progress = 1.0
    assert "progress" not in made.model_dump()
    assert (made.owner, made.project, made.status) == ("default_owner", "default_project", SimulationStatus.DEFINED)


def test_14_1_readers_of_children_say_it_in_common_words(world: World) -> None:
    made = simulation(world, metadata={"dependencies": "x, y"})
    made.stages["one"].progress = 1.0
    assert (made.get_status(), made.get_progress(), made.get_dependencies()) == (JobStatus.PENDING, 50.0, ["x", "y"])
    assert [(each.resource_type, each.amount) for each in made.get_requirements()] == [("cpu", 4)]
    made.status = SimulationStatus.SCHEDULED
    assert made.get_status() is JobStatus.QUEUED
    stage = made.stages["one"]
    assert (stage.get_progress(), stage.get_priority(), stage.get_owner()) == (100.0, "medium", "default")
    job = render_job(world)
    assert (job.get_owner(), job.get_project(), job.get_estimated_duration()) == ("ada", "vfx", timedelta(hours=2))
    assert isinstance(job, BaseJob)


def mixed(world: World) -> tuple[list[Any], list[Any]]:
    """Jobs and nodes of all packages in one list."""
    made = simulation(world)
    jobs = [world.job("a", cpu=1), world.due_job("d"), made, made.stages["one"], render_job(world)]
    return jobs, [node("n1"), ComputeNode(id="c", name="c", cpu_cores=8), render_node()]


def test_14_2_managers_work_on_all_of_them_together(world: World) -> None:
    jobs, nodes = mixed(world)
    assert set(JobScheduler[Any, Any](app=world.app).schedule_jobs(jobs, nodes)) <= {job.id for job in jobs}
    assert len(JobScheduler[Any, Any](app=world.app).schedule_jobs(jobs, nodes)) == 3
    queue: JobQueue[Any] = JobQueue(app=world.app)
    assert all(queue.enqueue(job) for job in jobs)
    assert jobs[2].status is SimulationStatus.SCHEDULED
    assert len(queue.get_queued_jobs()) == 5
    while queue.dequeue() is not None:
        pass
    assert {job.get_status() for job in jobs} == {JobStatus.RUNNING}
    manager: PriorityManager[Any] = PriorityManager(app=world.app)
    assert manager.update_priorities(jobs) is jobs
    assert FailureDetector(app=world.app).detect_failures(jobs, nodes) == []
    partitioner = ResourcePartitioner(app=world.app)
    partitioner.register_owner("ada", {"cpu": 4})
    assert partitioner.allocate_resources(["ada"], nodes)["ada"]["cpu"] == 4
    allocator = ResourceAllocator()
    allocator.register_owner("ada", {"cpu": 9, "memory": 90})
    assert allocator.allocate_resources("ada", jobs[0], nodes)


def test_14_2_a_background_job_may_fall_below_low(world: World) -> None:
    queue: JobQueue[Any] = JobQueue(app=world.app)
    jobs = [simulation(world, f"s{n}", owner="ada", priority="low") for n in range(2)]
    for job in jobs:
        queue.enqueue(job)
    world.passes(6 * HOUR)
    queue.apply_fairness_adjustments()
    assert {job.priority for job in jobs} == {SimulationPriority.BACKGROUND}
    assert queue.get_wait_time_estimate(jobs[0]) == timedelta(hours=2)


OPTIONAL = sorted(set(BaseJob.model_fields) - {"id", "name", "status"})
OPTIONAL_OF_NODES = sorted(set(BaseNode.model_fields) - {"id", "name", "status"})


@given(st.sets(st.sampled_from(OPTIONAL)), st.sets(st.sampled_from(OPTIONAL_OF_NODES)))
def test_14_2_no_optional_attribute_is_needed(of_jobs: set[str], of_nodes: set[str]) -> None:
    def without(base: type[Any], names: set[str]) -> type[Any]:
        return type("Lean", (base,), {"__annotations__": dict.fromkeys(names, ClassVar[Any]), "__module__": __name__})

    world = World()
    with times.ambient(world.clock):
        jobs = [without(BaseJob, of_jobs)(id=each, name=each, status="pending") for each in "ab"]
        nodes = [without(BaseNode, of_nodes)(id="n1", name="n1")]
        assert JobScheduler[Any, Any](app=world.app).schedule_jobs(jobs, nodes) == {"a": "n1"}
        PriorityManager[Any]().update_priorities(jobs)
        queue: JobQueue[Any] = JobQueue(app=world.app)
        for job in jobs:
            assert queue.enqueue(job)
        queue.apply_aging()
        assert queue.dequeue() is jobs[0]
        FailureDetector().detect_failures(jobs, nodes)
        assert ResourcePartitioner().allocate_resources([], nodes) == {}


def test_a_child_with_more_fields_is_a_job_like_any_other(world: World) -> None:
    assert JobScheduler[Any, Any]().can_meet_deadline(world.due_job(due=-HOUR), [node()]) is False
    assert DueJob(name="x").get_deadline() is None
