"""One of each thing that third parties plug in (§11), written as they would: from the public names alone."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from common import (
    AllocationStrategy,
    BaseJob,
    BaseNode,
    Checkpoint,
    CheckpointFrequency,
    CheckpointManager,
    CheckpointNotFoundError,
    CheckpointStorage,
    ConfigurationError,
    DependencyGraph,
    DependencyState,
    DependencyTracker,
    FailureDetector,
    FailureEvent,
    FailureLevel,
    FailureType,
    JobScheduler,
    Priority,
    PriorityManager,
    RecoveryAction,
    RecoveryStrategy,
    ResilienceCoordinator,
    ResourceAllocator,
    ResourcePartitioner,
    ResourceRequirement,
    ResourceType,
    Result,
    SchedulingStrategy,
)
from domain.job.events import JobPriorityChanged
from tests.facades.common.worlds import HOUR, World, node


class ShotJob(BaseJob):
    """A job of a studio: it knows its shot, and small ones go first."""

    shot: str = ""
    frames: int = 1


class SmallShotsFirst(SchedulingStrategy):
    """Fewer frames first."""

    name = "small-shots-first"

    def order(self, jobs: list[Any], now: datetime) -> list[Any]:
        return sorted(jobs, key=lambda job: (getattr(job, "frames", 0), job.id))

    def choose_node(self, job: Any, nodes: list[Any]) -> Any | None:
        return min(nodes, key=lambda node: node.get_capacity()[ResourceType.CPU])


def shot(name: str, frames: int) -> ShotJob:
    """A job of so many frames."""
    return ShotJob(id=name, name=name, shot=name, frames=frames)


def test_a_scheduling_strategy(world: World) -> None:
    scheduler = JobScheduler[ShotJob, BaseNode](strategy=SmallShotsFirst(), app=world.app)
    nodes = [node("large", 32), node("small", 4)]
    assert scheduler.schedule_jobs([shot("a", 9), shot("b", 2), shot("c", 5)], nodes) == {"b": "small", "c": "large"}


def test_a_priority_calculation(world: World) -> None:
    manager = PriorityManager[ShotJob](app=world.app)
    manager.register_calculator("dailies", lambda job, jobs, now: Priority.CRITICAL if job.shot == "hero" else None)
    jobs = [shot("hero", 1), shot("other", 1)]
    manager.update_priorities(jobs)
    assert [job.priority for job in jobs] == [Priority.CRITICAL, Priority.MEDIUM]
    (event,) = world.events(JobPriorityChanged)
    assert event.why == "dailies"


def test_an_allocation_policy(world: World) -> None:
    def same_rack(job: Any, nodes: list[Any]) -> Any:
        return next((each for each in nodes if each.name.startswith("rack-1")), None)

    allocator = ResourceAllocator(same_rack, app=world.app)
    allocator.register_owner("ada", {"cpu": 8})
    job = BaseJob(id="j", name="j", resource_requirements=[ResourceRequirement(resource_type="cpu", amount=2)])
    assert allocator.allocate_resources("ada", job, [node("x"), node("y", name="rack-1-7")])
    assert job.assigned_node_id == "y"
    allocator.strategy = AllocationStrategy.FAIR_SHARE
    partitioner = ResourcePartitioner(allocator)
    partitioner.register_policy(
        "equal", lambda owners, totals, who: {owner: {"cpu": totals["cpu"] / len(owners)} for owner in owners}
    )
    partitioner.partitioning_policy = "equal"
    assert partitioner.allocate_resources(["ada", "bob"], [node(cores=8)]) == {"ada": {"cpu": 4}, "bob": {"cpu": 4}}


def test_a_dependency_type_and_its_validation(world: World) -> None:
    tracker = DependencyTracker(app=world.app)
    seen: list[Any] = []

    def look(dependency: Any, statuses: Any, now: datetime) -> DependencyState:
        seen.append((dependency.from_id, now))
        return DependencyState.SATISFIED if statuses["review"] == "completed" else DependencyState.PENDING

    tracker.register_dependency_type("approved", look)
    tracker.add_validator(lambda graph, before, after, kind: "a review waits for nobody" if after == "review" else None)
    tracker.create_graph("film")
    assert tracker.add_dependency("film", "review", "render", "approved")
    assert tracker.add_dependency("film", "render", "review").error is not None
    assert tracker.add_dependency("film", "model", "review").error == "a review waits for nobody"
    assert tracker.update_status("film", "review", "completed").value == ["render"]
    assert seen == [("review", world.now)]


class Bucket(CheckpointStorage):
    """Artefacts in a bucket of an object store, here a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def write(self, key: str, data: bytes) -> str:
        self.objects[key] = data
        return f"s3://bucket/{key}"

    def read(self, key: str) -> bytes:
        if key not in self.objects:
            raise CheckpointNotFoundError(f"no object {key}")
        return self.objects[key]

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def list(self, prefix: str) -> "list[str]":
        return sorted(key for key in self.objects if key.startswith(prefix))


class EveryTenth(CheckpointFrequency):
    """At each tenth frame."""

    def is_due(self, job: Any, last: Checkpoint | None, now: datetime) -> bool:
        return bool(job.frames % 10 == 0)


def test_a_checkpoint_storage_and_frequencies(world: World) -> None:
    bucket = Bucket()
    manager = CheckpointManager(storage=bucket, frequency=EveryTenth(), app=world.app)
    job = shot("s", 20)
    point = manager.create_checkpoint(job).unwrap()
    assert point.path == f"s3://bucket/s/{point.id}.json"
    assert manager.restore_checkpoint(point.id).value == job
    assert [manager.should_checkpoint(shot("s", frames)) for frames in (19, 20)] == [False, True]
    manager.frequency = lambda job, last, now: last is not None and now - last.timestamp > timedelta(minutes=1)
    assert not manager.should_checkpoint(job)
    world.passes(HOUR)
    assert manager.should_checkpoint(job)
    bucket.objects.clear()
    assert not manager.validate_checkpoint(point.id)


def test_x10_a_frequency_that_raises_means_once_an_hour(world: World) -> None:
    manager = CheckpointManager(storage=Bucket(), frequency=lambda *args: 1 / 0, app=world.app)  # type: ignore[arg-type, return-value]
    job = world.job()
    assert manager.should_checkpoint(job)
    manager.create_checkpoint(job)
    assert not manager.should_checkpoint(job)
    world.passes(HOUR)
    assert manager.should_checkpoint(job)


def test_a_failure_detector_and_a_recovery(world: World) -> None:
    done: list[str] = []
    detector = FailureDetector(app=world.app)
    smoke = FailureEvent(
        "smoke", FailureType.SYSTEM_FAILURE, FailureLevel.CRITICAL, node_id="n1", details={"sensor": "roof"}
    )
    detector.register_custom_detector(lambda jobs, nodes: smoke)
    coordinator = ResilienceCoordinator(CheckpointManager(storage=Bucket(), app=world.app), detector)
    wanted = {"level": "critical", "sensor": "roof"}
    coordinator.register_recovery_strategy(
        RecoveryStrategy(FailureType.SYSTEM_FAILURE, RecoveryAction.ABORT, wanted, priority=0)
    )
    coordinator.set_recovery_executor(lambda plan: Result.ok(not done.append(plan.action.value)))
    failures, plans = coordinator.detect_and_recover([], [node()])
    assert (failures, done, plans[0].success) == ([smoke], ["abort"], True)


def test_a_graph_of_another_kind(world: World) -> None:
    class Numbered(DependencyGraph):
        """A graph that counts its questions."""

        asked = 0

        def get_ready_nodes(self, completed: set[str]) -> set[str]:
            Numbered.asked += 1
            return super().get_ready_nodes(completed)

    tracker = DependencyTracker(graph_factory=Numbered, app=world.app)
    tracker.register_dependency("a", "b")
    assert tracker.get_ready_jobs("graph-1", set()) == ["a"]
    assert Numbered.asked == 1


def test_x12_names_are_given_once(world: World) -> None:
    manager = PriorityManager[Any](app=world.app)
    manager.register_calculator("x", lambda job, jobs, now: None)
    with pytest.raises(ConfigurationError, match="'x'"):
        manager.register_calculator("x", lambda job, jobs, now: None)
