"""Models and their readers (§4)."""

from datetime import datetime, timedelta
from enum import Enum

import pytest
from pydantic import ValidationError

from common import (
    AuditLogEntry,
    BaseJob,
    BaseNode,
    Checkpoint,
    CheckpointStatus,
    CheckpointType,
    ComputeResource,
    Dependency,
    DependencyState,
    DependencyType,
    JobDependency,
    JobStatus,
    LogLevel,
    NodeStatus,
    Priority,
    Resource,
    ResourceRequirement,
    ResourceType,
    Result,
    ResultError,
    StorageResource,
    TaskSchedulerError,
    TimeRange,
)
from common.core.ranks import one_down, one_up, rank_of, write_status
from tests.facades.common.worlds import DAY, HOUR, DueJob, RatedNode, World, node

NOON = datetime(2026, 3, 1, 12)


class Wider(str, Enum):
    """Priorities of another package."""

    BACKGROUND = "background"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


# -- 4.1, 4.2 --------------------------------------------------------------------------------------------------------


def test_a_name_is_a_complete_job() -> None:
    job = BaseJob(name="x")
    assert (job.status, job.priority, job.owner, job.project) == (
        JobStatus.PENDING,
        Priority.MEDIUM,
        "default",
        "default",
    )
    assert job.id.startswith("job-")
    assert BaseJob(name="y").id > job.id
    assert BaseJob(id="i", name="x", status="running", priority="high").status is JobStatus.RUNNING


def test_construction_validates_and_assignment_does_not() -> None:
    with pytest.raises(ValidationError):
        BaseJob(name="x", progress=101)
    job = BaseJob(name="x", unknown="ignored", dependencies=["b", "a", "b"])
    assert job.dependencies == {"a", "b"}
    job.progress = 300
    job.status = "odd"
    assert (job.progress, job.status, job.get_status()) == (300, "odd", JobStatus.PENDING)
    with pytest.raises(ValueError, match="undeclared"):
        job.undeclared = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        BaseJob("x")  # type: ignore[call-arg]


def test_a_job_knows_how_it_stands(world: World) -> None:
    job = world.job()
    assert (job.is_active(), job.is_complete(), job.get_duration()) == (False, False, None)
    job.status, job.start_time = JobStatus.RUNNING, world.now
    world.passes(2 * HOUR)
    assert (job.is_active(), job.get_duration()) == (True, 2 * HOUR)
    job.status, job.end_time = JobStatus.CANCELLED, world.now
    world.passes(HOUR)
    assert (job.is_complete(), job.get_duration()) == (True, 2 * HOUR)
    job.dependencies = {"b", "c"}
    assert [job.can_run({"b"}), job.can_run({"b", "c", "d"})] == [False, True]


def test_readers_read_what_is_there(world: World) -> None:
    job = world.job(owner="o", project="p", progress=30.0, estimated_duration=HOUR, dependencies={"z", "a"})
    job.resource_requirements = [  # type: ignore[list-item]
        {"resource_type": "cpu", "amount": 2},
        ResourceRequirement(resource_type="gpu", amount=1),
        "nonsense",
    ]
    assert (job.get_owner(), job.get_project(), job.get_progress()) == ("o", "p", 30.0)
    assert job.get_dependencies() == ["a", "z"]
    assert [(each.resource_type, each.amount) for each in job.get_requirements()] == [("cpu", 2), ("gpu", 1)]
    assert (job.get_estimated_duration(), job.get_deadline(), job.is_preemptible()) == (HOUR, None, True)
    assert DueJob(name="x", deadline=NOON, can_be_preempted=False).get_deadline() == NOON
    assert not DueJob(name="x", can_be_preempted=False).is_preemptible()


@pytest.mark.parametrize(("word", "status"), [("defined", "pending"), ("scheduled", "queued"), ("RUNNING", "running")])
def test_words_of_other_packages_are_read(word: str, status: str) -> None:
    job = BaseJob(name="x")
    job.status = word  # type: ignore[assignment]
    assert job.get_status() == status


def test_ranks_are_by_value_and_steps_by_rank() -> None:
    assert [rank_of(each) for each in Wider] == [0, 1, 2, 3, 4]
    assert [rank_of(each) for each in ("background", "nonsense", Priority.CRITICAL)] == [0, 0, 4]
    assert [one_up(each) for each in Priority] == [Priority.MEDIUM, Priority.HIGH, Priority.CRITICAL, Priority.CRITICAL]
    assert [one_down(each) for each in Priority] == [Priority.LOW, Priority.LOW, Priority.MEDIUM, Priority.HIGH]
    assert (one_up(Wider.BACKGROUND), one_down(Wider.LOW), one_down(Wider.BACKGROUND)) == (
        Wider.LOW,
        Wider.BACKGROUND,
        Wider.BACKGROUND,
    )
    assert one_up("background") is Priority.LOW


def test_a_status_is_written_in_the_enum_that_the_job_has() -> None:
    class Own(str, Enum):
        DEFINED = "defined"
        SCHEDULED = "scheduled"
        RUNNING = "running"

    class Other(BaseJob):
        status: Own = Own.DEFINED  # type: ignore[assignment]

    job = Other(name="x")
    write_status(job, JobStatus.QUEUED)
    assert job.status is Own.SCHEDULED  # type: ignore[comparison-overlap]
    write_status(job, JobStatus.PAUSED)
    assert job.status is JobStatus.PAUSED


# -- 4.3 -------------------------------------------------------------------------------------------------------------


def test_a_nodes_capacity_and_what_is_free_of_it() -> None:
    machine = node(cores=8, memory_gb=16, gpu_count=2, storage_gb=100, resources={"cpu": 12, "specialized": 3})
    assert machine.get_capacity() == {"cpu": 12, "memory": 16, "gpu": 2, "storage": 100, "network": 1, "specialized": 3}
    machine.current_load = {"cpu": 5, ResourceType.GPU: 2, "nonsense": 9}  # type: ignore[dict-item]
    assert machine.get_available_resources() == {
        "cpu": 7, "memory": 16, "gpu": 0, "storage": 100, "network": 1, "specialized": 3,
    }  # fmt: skip

    def need(**amounts: float) -> list[ResourceRequirement]:
        return [ResourceRequirement(resource_type=kind, amount=amount) for kind, amount in amounts.items()]

    assert [machine.can_satisfy_requirements(need(gpu=2)), machine.can_accommodate(need(gpu=1))] == [True, False]
    assert [machine.can_accommodate(need(cpu=7)), machine.can_accommodate(need(cpu=7.5))] == [True, False]
    assert not BaseNode(name="n").can_satisfy_requirements(need(specialized=1))
    assert BaseNode(name="n").can_satisfy_requirements(need(specialized=0))


def test_a_node_is_available_busy_or_neither() -> None:
    machine = node(cores=2)
    assert [machine.is_available(), machine.is_busy()] == [True, False]
    machine.assigned_jobs = ["a"]
    assert [machine.is_available(), machine.is_busy()] == [True, True]
    machine.assigned_jobs = ["a", "b"]
    assert not machine.is_available()
    assert BaseNode(name="n", assigned_jobs=["a"]).is_available()
    assert not node(current_job_id="a").is_available()
    assert node(current_job_id="a", assigned_jobs=["b"]).get_assigned_jobs() == ["b", "a"]
    assert [node(status=each).is_available() for each in NodeStatus] == [True, False, False, False, False, False]
    assert (BaseNode(name="n").get_efficiency(), RatedNode(name="n").get_efficiency()) == (None, 50.0)
    reserved = node()
    reserved.status = "reserved"  # type: ignore[assignment]
    assert reserved.get_status() is NodeStatus.ONLINE


# -- 4.4 -------------------------------------------------------------------------------------------------------------


def test_a_dependency_is_satisfied_also_when_bypassed() -> None:
    edge = Dependency(from_id="a", to_id="b")
    seen = [edge.is_satisfied()]
    for change in (edge.satisfy, edge.fail, edge.bypass):
        change()
        seen.append(edge.is_satisfied())
    assert seen == [False, True, False, True]
    assert edge.state is DependencyState.BYPASSED
    assert (edge.from_stage_id, edge.to_stage_id) == ("a", "b")
    other = JobDependency(from_id="a", to_id="b", dependency_type="data")
    assert (other.from_job_id, other.to_job_id, other.dependency_type) == ("a", "b", DependencyType.DATA)
    assert Dependency(from_id="a", to_id="b", dependency_type="mine").dependency_type == "mine"


def test_resources_and_requirements() -> None:
    need = ResourceRequirement(resource_type="cpu", amount=2)
    assert {need, ResourceRequirement(resource_type="cpu", amount=2.0)} == {need}
    have = Resource(resource_type="cpu", capacity=4, allocated=2.5)
    assert (have.available(), have.can_satisfy(need)) == (1.5, False)
    assert Resource(resource_type="gpu", capacity=1, allocated=3).available() == 0
    with pytest.raises(ValidationError):
        Resource(resource_type="cpu", capacity=-1)
    assert ComputeResource(resource_type="gpu", capacity=1).model is None
    assert StorageResource(capacity=1).resource_type is ResourceType.STORAGE
    with pytest.raises(ValidationError):
        ComputeResource(resource_type="storage", capacity=1)
    with pytest.raises(ValidationError):
        StorageResource(resource_type="cpu", capacity=1)


def test_a_checkpoint_says_what_it_is_good_for() -> None:
    point = Checkpoint(job_id="j", path="/p")
    assert (point.status, point.checkpoint_type, point.creation_time) == (
        CheckpointStatus.CREATING, CheckpointType.FULL, point.timestamp,
    )  # fmt: skip
    good = {CheckpointStatus.COMPLETE, CheckpointStatus.VERIFIED}
    for status in CheckpointStatus:
        point.status = status
        assert point.is_complete() == (status in good)
        assert point.is_restorable() == (status in good | {CheckpointStatus.RESTORED})


# -- 4.5 -------------------------------------------------------------------------------------------------------------


def test_m1_a_value_keeps_its_identity_also_on_a_subscripted_class() -> None:
    for value in ([], {}, set(), object()):
        assert Result.ok(value).value is value
        assert Result[list[int]].ok(value).value is value


def test_m2_unwrapping_and_mapping() -> None:
    assert Result.ok(3).map(lambda x: x + 1).unwrap() == 4
    bad = Result[int].err("no job 'j'")
    assert bad.map(str) is bad
    assert (bad.unwrap_or(7), Result.ok(1).unwrap_or(7)) == (7, 1)
    with pytest.raises(ResultError, match="no job 'j'") as raised:
        bad.unwrap()
    assert isinstance(raised.value, TaskSchedulerError)
    assert isinstance(raised.value, ValueError)


def test_m3_a_result_is_true_when_it_succeeded() -> None:
    assert (bool(Result.ok(0)), bool(Result.err("x"))) == (True, False)
    extra = Result.ok(1)
    extra.note = "kept"  # type: ignore[attr-defined]
    assert extra.note == "kept"  # type: ignore[attr-defined]


# -- 4.6 -------------------------------------------------------------------------------------------------------------


def test_a_time_range(world: World) -> None:
    usual = TimeRange()
    assert (usual.start_time, usual.end_time, usual.duration()) == (world.now, world.now + HOUR, HOUR)
    day = TimeRange(start=NOON, end=NOON + DAY)
    assert (day.start, day.end) == (day.start_time, day.end_time) == (NOON, NOON + DAY)
    assert [day.contains(at) for at in (NOON, NOON + DAY, NOON - HOUR)] == [True, True, False]
    touching = TimeRange(start_time=NOON + DAY, end_time=NOON + 2 * DAY)
    assert day.overlaps(touching)
    shared = day.intersection(touching)
    assert shared is not None
    assert shared.duration() == timedelta(0)
    assert day.intersection(TimeRange(start=NOON + 2 * DAY, end=NOON + 3 * DAY)) is None


def test_an_audit_entry_names_its_user() -> None:
    entry = AuditLogEntry(event_type="e", description="d", owner_id="ada")
    assert (entry.user_id, entry.level, entry.details) == ("ada", LogLevel.INFO, {})
