"""What being a facade means (§2): one record, one clock, live objects, results with codes."""

import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.facades.bridge import names
from common import DependencyTracker, FailureDetector, JobQueue, JobScheduler, JobStatus, Priority, PriorityManager
from domain.client import ClientRegistered
from domain.job.events import (
    JobCancelled,
    JobCompleted,
    JobDeadlineChanged,
    JobFailed,
    JobPaused,
    JobPriorityChanged,
    JobResumed,
    JobRetried,
    JobSubmitted,
    TasksPlaced,
    TasksStarted,
)
from domain.messages import SAFE_ID
from domain.node import NodeLost, NodeMaintenanceStarted, NodeOnline, NodeQuarantined, NodeRegistered
from domain.observed import ObservedExternally
from projections.story import sentence
from tests.facades.common.worlds import HOUR, World, node


def told(world: World) -> list[tuple[str, str]]:
    """Who said what, without what nobody has a word for."""
    return [
        (type(each.event).__name__, each.meta.actor)
        for each in world.recorded()
        if not isinstance(each.event, (ObservedExternally, NodeRegistered, NodeOnline, ClientRegistered))
    ]


def test_f1_a_private_application_is_made_when_it_is_needed() -> None:
    queue: JobQueue[Any] = JobQueue()
    assert queue._desk._app is None
    queue.enqueue(World().job())
    assert queue._desk._app is None, "nobody has looked yet"
    assert len(queue.app.farm.jobs) == 1
    assert queue.app is queue.app


def test_f1_importing_the_library_makes_nothing() -> None:
    code = "import common, sys; print('sqlalchemy' in sys.modules, 'numpy' in sys.modules, 'networkx' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert ran.stdout.split()[1:] == ["False", "False"]


def test_f1_managers_of_one_application_see_the_same(world: World) -> None:
    one, other = JobQueue[Any](app=world.app), JobQueue[Any](app=world.app)
    one.enqueue(world.job("a"))
    assert other.get_position("a") == 1
    assert other.stats is one.stats
    tracker = DependencyTracker(app=world.app)
    tracker.create_graph("o")
    assert DependencyTracker(app=world.app).get_graph("o") is tracker.get_graph("o")
    separate = JobQueue[Any]()
    assert separate.get_position("a") is None


def test_f2_every_change_is_a_word_of_the_core_where_it_has_one(world: World) -> None:
    scheduler = JobScheduler[Any, Any](app=world.app)
    job, machine = world.due_job("a"), node()
    scheduler.schedule_jobs([job], [machine])
    steps: list[dict[str, Any]] = [
        {"priority": Priority.HIGH},
        {"deadline": world.now + 50 * HOUR},
        {"status": JobStatus.RUNNING, "assigned_node_id": "n1"},
        {"status": JobStatus.PAUSED},
        {"status": JobStatus.RUNNING},
        {"status": JobStatus.FAILED, "assigned_node_id": None},
        {"status": JobStatus.PENDING},
        {"status": JobStatus.RUNNING, "assigned_node_id": "n1"},
        {"status": JobStatus.COMPLETED, "assigned_node_id": None},
    ]
    for step in steps:
        for name, value in step.items():
            setattr(job, name, value)
        scheduler.update_priorities([job])
    kinds = [name for name, actor in told(world) if actor == "caller"]
    wanted = [
        JobSubmitted, JobPriorityChanged, JobDeadlineChanged, TasksPlaced, TasksStarted, JobPaused, JobResumed,
        JobFailed, JobRetried, TasksPlaced, TasksStarted, JobCompleted,
    ]  # fmt: skip
    assert [name for name in kinds if name not in ("TasksFailed", "TasksSucceeded")] == [
        kind.__name__ for kind in wanted
    ]
    cancelled = world.job("b")
    scheduler.update_priorities([cancelled])
    cancelled.status = JobStatus.CANCELLED
    scheduler.update_priorities([cancelled])
    assert len(world.events(JobCancelled)) == 1


def test_f2_nodes_too(world: World) -> None:
    detector, machine = FailureDetector(app=world.app), node()
    for status in ("online", "maintenance", "online", "error", "online", "offline", "online", "starting"):
        machine.status = status  # type: ignore[assignment]
        detector.detect_failures([], [machine])
    assert world.app.farm.nodes["n1"].capacity.millicores == 8_000
    assert [len(world.events(kind)) for kind in (NodeMaintenanceStarted, NodeQuarantined, NodeLost)] == [1, 1, 1]
    odd = [event.changes for event in world.events(ObservedExternally) if event.what == "node"]
    assert odd == [{"status": "starting"}]


def test_f2_what_the_core_has_no_word_for_is_observed_and_told(world: World) -> None:
    queue = JobQueue[Any](app=world.app)
    job = world.job("a b")
    queue.enqueue(job)
    job.status, job.progress = JobStatus.COMPLETED, 33.0
    queue.peek()
    seen = [
        each for each in world.recorded() if isinstance(each.event, ObservedExternally) and each.event.what == "job"
    ]
    assert [each.event.changes for each in seen if isinstance(each.event, ObservedExternally)] == [
        {"status": "queued"}, {"status": "completed"}, {"progress": 33.0},
    ]  # fmt: skip
    assert [each.meta.actor for each in seen] == ["queue", "caller", "caller"]
    assert sentence(seen[1]) == "From outside, job a b was seen with status completed."


def test_f3_now_is_the_applications(world: World) -> None:
    queue = JobQueue[Any](app=world.app)
    world.passes(77 * HOUR)
    queue.enqueue(world.job())
    assert queue.queue[0].submit_time == world.now
    assert queue.stats.last_updated == world.now


def test_f4_the_callers_own_objects_are_kept_and_written(world: World) -> None:
    queue, job = JobQueue[Any](app=world.app), world.job()
    queue.enqueue(job)
    assert queue.queue[0].job is job
    assert queue.dequeue() is job
    assert job.status is JobStatus.RUNNING


def test_f6_results_carry_the_text_and_the_code(world: World) -> None:
    refused = JobQueue[Any](app=world.app).remove("j7")
    assert "'j7'" in str(refused.error)
    assert refused.code == "job.not-found"  # type: ignore[attr-defined]
    tracker = DependencyTracker(app=world.app)
    tracker.register_dependency("a", "b")
    assert tracker.register_dependency("b", "a").code == "dependency.cycle"  # type: ignore[attr-defined]


def test_f8_answers_do_not_depend_on_the_order_of_sets(world: World) -> None:
    def answers(order: str) -> Any:
        own = World()
        manager = PriorityManager[Any](app=own.app)
        jobs = [own.job(each, dependencies=set(order) - {each} if each == "z" else set()) for each in sorted(order)]
        manager.update_priorities(jobs)
        return JobScheduler[Any, Any](app=own.app).schedule_jobs(jobs, [node(f"n{n}") for n in range(4)])

    assert answers("abz") == answers("bza") == answers("zab")


@given(st.lists(st.text(max_size=130), unique=True, max_size=40))
def test_f7_any_text_is_an_id_and_no_two_are_the_same(ids: list[str]) -> None:
    ids = [*ids, "job-1", "1", "+31.", "x+.", "-1", "job-+1"]
    ids = list(dict.fromkeys(ids))
    for spell in (names.safe, names.job_id):
        spelled = [spell(each) for each in ids]
        assert len(set(spelled)) == len(ids)
        assert all(SAFE_ID.fullmatch(each) for each in spelled)
    assert all(names.job_id(each).startswith("job-") for each in ids)
    assert names.job_id("job-7") == "job-7"


def test_many_calls_are_few_commits() -> None:
    queue, world = JobQueue[Any](), World()
    for number in range(300):
        queue.enqueue(world.job(f"j{number}"))
    commands = {each.meta.command_id for each in queue.app.log.read(0, 10_000)}
    assert len(commands) < 20


def test_a_refusal_of_the_core_changes_nothing_for_the_caller(world: World) -> None:
    FailureDetector(app=world.app).detect_failures([], [node(cores=2)])
    queue, job = JobQueue[Any](app=world.app), world.job("big", cpu=64)
    assert queue.enqueue(job)
    assert world.app.farm.jobs["job-+big"].held
    assert [error.code for error in queue._desk.refusals] == ["resource.impossible"]
    assert queue.dequeue() is job


def test_a_call_about_many_jobs_is_one_commit(world: World) -> None:
    jobs = [world.job(f"j{number}", owner=f"o{number % 7}") for number in range(200)]
    commits: list[int] = []
    world.app.listen(lambda events: commits.append(len(events)))
    JobScheduler[Any, Any](app=world.app).schedule_jobs(jobs, [node()])
    assert len(commits) <= 3
    assert len(world.app.farm.jobs) == 200
