"""Deleting the bookkeeping and folding the log again gives the same answers (F2, §14.6) and calls no hook (X13)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.facades.bridge import times
from adapters.store.sqlite import open_log
from application.app import Application
from common import (
    CheckpointManager,
    DependencyTracker,
    FailureDetector,
    JobQueue,
    JobScheduler,
    JobStatus,
    MemoryCheckpointStorage,
    Priority,
    PriorityManager,
    ResilienceCoordinator,
    ResourceAllocator,
    ResourceForecaster,
    ResourcePartitioner,
    ResourceType,
    Result,
    WorkflowManager,
)
from common.dependency_tracking.graphbook import plain_graph
from tests.facades.common.worlds import HOUR, World, node
from tests.fakes import CountedIds, ManualClock

CPU = ResourceType.CPU
STORAGE = MemoryCheckpointStorage()


class Desk:
    """All managers of one application."""

    def __init__(self, app: Any, storage: MemoryCheckpointStorage) -> None:
        self.queue = JobQueue[Any](app=app)
        self.scheduler = JobScheduler[Any, Any](app=app)
        self.priorities = PriorityManager[Any](app=app)
        self.tracker = DependencyTracker(app=app)
        self.workflows = WorkflowManager(app=app)
        self.checkpoints = CheckpointManager(storage=storage, app=app)
        self.detector = FailureDetector(app=app)
        self.recovery = ResilienceCoordinator(self.checkpoints, self.detector, app=app)
        self.partitioner = ResourcePartitioner(app=app)
        self.forecaster = ResourceForecaster(app=app)

    def books(self) -> dict[str, Any]:
        """All bookkeeping as plain values."""
        return {**self.of_jobs(), **self.of_dependencies(), **self.of_failures(), **self.of_resources()}

    def of_jobs(self) -> dict[str, Any]:
        """Queue and priorities."""
        queue = self.queue
        return {
            "queue": [(each.job.id, each.submit_time, each.priority_updates, each.place) for each in queue.queue],
            "jobs": [each.job.model_dump() for each in queue.queue],
            "order": [job.id for job in queue.get_queued_jobs()],
            "stats": queue.stats.to_plain() if queue.stats.total_jobs_submitted else None,
            "effective": dict(self.scheduler._effective_priorities),
            "priorities": (dict(self.priorities.effective_priorities), dict(self.priorities.priority_updates)),
        }

    def of_dependencies(self) -> dict[str, Any]:
        """Graphs and workflows."""
        tracker = self.tracker
        return {
            "graphs": {
                owner: plain_graph(
                    graph,
                    tracker.transition_rules[owner],
                    tracker.manual_overrides[owner],
                    tracker.completion_times[owner],
                )
                for owner, graph in tracker.graphs.items()
            },
            "workflows": {name: each.to_dict() for name, each in self.workflows.instances.items()},
            "templates": {name: each.to_dict() for name, each in self.workflows.templates.items()},
        }

    def of_failures(self) -> dict[str, Any]:
        """Checkpoints, failures and recoveries."""
        checkpoints = [each for known in self.checkpoints.checkpoints.values() for each in known.values()]
        return {
            "checkpoints": {each.id: each.model_dump() for each in checkpoints},
            "failures": [each.to_dict() for each in self.detector.failure_history],
            "active": {key: each.id for key, each in self.detector.active_failures.items()},
            "signs": (dict(self.detector.heartbeat_timestamps), dict(self.detector.last_progress_update)),
            "plans": {name: each.to_dict() for name, each in self.recovery.active_recovery_plans.items()},
            "recovered": [each.to_dict() for each in self.recovery.recovery_history],
        }

    def of_resources(self) -> dict[str, Any]:
        """Ledgers, divisions and forecasts."""
        parts, allocator = self.partitioner, self.partitioner.allocator
        series = [each for known in self.forecaster.resource_data.values() for each in known.values()]
        models = [each for known in self.forecaster.forecast_models.values() for each in known.values()]
        return {
            "allocations": {owner: each.to_dict() for owner, each in allocator.allocations.items()},
            "guarantees": (allocator.guaranteed_resources, allocator.max_resources),
            "totals": (allocator.total_resources, allocator.reserved_resources),
            "partition": (parts.allocation_monitors, parts.owner_priorities, parts.adaptive_weights),
            "divisions": (dict(parts.borrowing_thresholds), parts.get_allocation_history()),
            "data": {(each.owner_id, each.resource_type): each.to_dict() for each in series},
            "models": {(each.owner_id, each.resource_type): each.to_dict() for each in models},
        }


def move(desk: Desk, world: World, jobs: dict[str, Any], what: int, n: int) -> None:
    """One call, picked by numbers."""
    name, owner = f"j{n % 4}", f"o{n % 2}"
    job = jobs.setdefault(name, world.due_job(name, due=(n % 90) * HOUR, owner=owner, priority=list(Priority)[n % 4]))
    job.resource_requirements = world.job(cpu=n % 5 + 1).resource_requirements
    machine = node(status=("online", "offline", "error")[n % 3])
    calls: list[Any] = [
        lambda: desk.queue.enqueue(job),
        desk.queue.dequeue,
        lambda: desk.queue.remove(name),
        lambda: desk.queue.update_job_status(name, list(JobStatus)[n % 7]),
        lambda: desk.queue.update_priority(name, list(Priority)[n % 4]),
        desk.queue.apply_aging,
        desk.queue.apply_fairness_adjustments,
        lambda: desk.scheduler.schedule_jobs(list(jobs.values()), [node()]),
        lambda: desk.priorities.update_priorities(list(jobs.values())),
        lambda: desk.tracker.register_dependency(name, f"j{n % 5}"),
        lambda: desk.tracker.update_status("graph-1", name, list(JobStatus)[n % 7]),
        lambda: desk.tracker.add_transition_rule("graph-1", name, f"j{n % 7}", delay_seconds=n % 60),
        lambda: desk.tracker.bypass_dependency("graph-1", name, f"j{n % 5}"),
        lambda: desk.tracker.remove_dependency("graph-1", name, f"j{n % 5}"),
        lambda: desk.workflows.create_linear_workflow(
            f"w{n % 3}", ["A", "B"], {f"{n}a": {"name": "A"}, f"{n}b": {"name": "B"}}
        ),
        lambda: [desk.workflows.update_instance(each, f"{n}a", "completed") for each in desk.workflows.instances],
        lambda: desk.checkpoints.create_checkpoint(job, ("full", "delta", "incremental", "metadata")[n % 4]),  # type: ignore[arg-type]
        lambda: [desk.checkpoints.restore_checkpoint(each.id) for each in desk.checkpoints.list_checkpoints(name)[:1]],
        lambda: [desk.checkpoints.delete_checkpoint(each.id) for each in desk.checkpoints.list_checkpoints(name)[:1]],
        lambda: desk.recovery.detect_and_recover(list(jobs.values()), [machine]),
        lambda: [
            desk.recovery.complete_recovery(each, n % 2 == 0) for each in list(desk.recovery.active_recovery_plans)[:1]
        ],
        lambda: desk.detector.register_heartbeat("n1"),
        lambda: desk.detector.update_job_progress(name, n % 100),
        lambda: [desk.detector.resolve_failure(each) for each in list(desk.detector.active_failures)[:1]],
        lambda: desk.partitioner.register_owner(owner, {CPU: n % 9}, {CPU: 9 + n % 9}, n % 4),
        lambda: desk.partitioner.allocate_resources(["o0", "o1"], [node()]),
        lambda: desk.partitioner.allocator.allocate_resources(owner, job, [node(cores=64)]),
        lambda: desk.partitioner.allocator.release_resources(owner, job),
        lambda: desk.partitioner.allocator.borrow_resources("o0", "o1", {CPU: n % 4}),
        lambda: desk.partitioner.calculate_resource_usage(owner, list(jobs.values()), []),
        lambda: desk.partitioner.set_borrowing_threshold(CPU, n % 10 / 10),
        lambda: desk.forecaster.add_data_point(owner, CPU, n % 100),
        lambda: desk.forecaster.train_model(owner, CPU),
        lambda: desk.forecaster.clear_old_data(1),
        lambda: setattr(job, "priority", list(Priority)[n % 4]),
        lambda: setattr(job, "status", list(JobStatus)[n % 7]),
        lambda: setattr(job, "progress", float(n % 101)),
        lambda: world.passes(timedelta(minutes=n % 3_000)),
    ]
    calls[what % len(calls)]()


MOVES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 10**4)), max_size=25)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(MOVES)
def test_14_6_after_any_calls_a_new_process_has_the_same_books(moves: list[tuple[int, int]]) -> None:
    world, storage = World(), MemoryCheckpointStorage()
    with times.ambient(world.clock):
        desk, jobs = Desk(world.app, storage), dict[str, Any]()
        for what, n in moves:
            move(desk, world, jobs, what, n)
        before = desk.books()
        after = Desk(world.restarted().app, storage).books()
        assert after == before


def test_14_6_a_killed_process_finds_its_books_in_the_store(tmp_path: Path) -> None:
    clock, storage = ManualClock(), MemoryCheckpointStorage()
    world = World(clock=clock)
    with times.ambient(clock):
        app = Application(open_log(tmp_path), clock, CountedIds())
        desk, jobs = Desk(app, storage), dict[str, Any]()
        for number in range(150):
            move(desk, world, jobs, number, number * 7919 % 10**4)
        before = desk.books()
        app.log.close()  # and nothing else: no snapshot, no farewell
        again = Application(open_log(tmp_path), clock, CountedIds())
        assert Desk(again, storage).books() == before
        again.log.close()


def test_x13_replay_calls_no_hook(world: World) -> None:
    asked: list[str] = []

    def hook(name: str, answer: Any) -> Any:
        def called(*args: Any) -> Any:
            asked.append(name)
            return answer

        return called

    tracker = DependencyTracker(app=world.app)
    tracker.create_graph("o")
    tracker.register_dependency_type("mine", hook("evaluator", "satisfied"))
    tracker.add_validator(hook("validator", None))
    tracker.add_dependency("o", "a", "b", "mine")
    tracker.update_status("o", "a", "completed")
    priorities = PriorityManager[Any](app=world.app)
    priorities.register_calculator("mine", hook("calculator", Priority.HIGH))
    job = world.job("j")
    priorities.update_priorities([job])
    allocator = ResourceAllocator(hook("strategy", node()), app=world.app)
    allocator.register_owner("ada", {CPU: 4})
    allocator.allocate_resources("ada", job, [node()])
    coordinator = ResilienceCoordinator(CheckpointManager(storage=STORAGE, app=world.app), app=world.app)
    coordinator.set_recovery_executor(hook("executor", Result.ok(True)))
    job.status = JobStatus.FAILED
    coordinator.detect_and_recover([job], [])
    assert set(asked) == {"evaluator", "validator", "calculator", "strategy", "executor"}
    asked.clear()
    again = world.restarted().app
    fresh = DependencyTracker(app=again)
    assert fresh.graphs["o"].dependencies["a", "b"].is_satisfied()
    assert PriorityManager[Any](app=again).priority_updates["j"][-1][1] is Priority.HIGH
    assert ResourceAllocator(app=again).allocations["ada"].nodes == ["n1"]
    ResilienceCoordinator(CheckpointManager(storage=STORAGE, app=again), app=again)
    assert asked == []
