"""By the machine's own clock: nothing is dated before the moment at which a caller looked at a watch and called."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.clock import SystemClock, SystemIds
from adapters.store.objects import ObjectLog
from application.app import Application
from common import (
    AuditLogEntry,
    BaseJob,
    Checkpoint,
    CheckpointManager,
    DependencyTracker,
    FailureDetector,
    JobQueue,
    MemoryCheckpointStorage,
    PriorityManager,
    QueuePolicy,
    TimeRange,
)
from common.job_management import PreemptionPolicy


def heartbeat() -> datetime:
    detector = FailureDetector()
    detector.register_heartbeat("n1")
    return detector.heartbeat_timestamps["n1"]


def submitted() -> datetime:
    queue: JobQueue[BaseJob] = JobQueue()
    queue.enqueue(BaseJob(name="a"))
    return queue.queue[0].submit_time


def checkpointed() -> datetime:
    job = BaseJob(name="a")
    taken: Checkpoint = CheckpointManager(storage=MemoryCheckpointStorage()).create_checkpoint(job).unwrap()
    return taken.timestamp


def preempted() -> datetime:
    policy = PreemptionPolicy()
    policy.record_preemption("a")
    return policy.preemption_history["a"][0]


@pytest.mark.parametrize(
    "dated",
    [
        lambda: BaseJob(name="a").submission_time,
        lambda: TimeRange().start_time,
        lambda: AuditLogEntry(event_type="a", description="a").timestamp,
        heartbeat,
        submitted,
        checkpointed,
        preempted,
    ],
)
def test_a_date_lies_between_two_looks_at_the_watch(dated: Callable[[], datetime]) -> None:
    for _ in range(20):
        before = datetime.now()
        at = dated()
        assert before <= at <= datetime.now()


def test_a_span_that_a_caller_began_is_not_short() -> None:
    job = BaseJob(name="a", start_time=datetime.now() - timedelta(hours=1))
    found = job.get_duration()
    assert found is not None
    assert found >= timedelta(hours=1)


def test_first_in_first_out_however_fast_jobs_come() -> None:
    queue: JobQueue[BaseJob] = JobQueue(QueuePolicy.FIFO)
    names = [f"job-{number:03}" for number in reversed(range(100))]
    for name in names:
        queue.enqueue(BaseJob(id=name, name=name))
    assert [job.id for job in queue.get_queued_jobs()] == names


def test_what_is_read_back_has_the_same_dates() -> None:
    log = ObjectLog()

    def life() -> tuple[Any, ...]:
        app = Application(log, SystemClock(), SystemIds())
        return JobQueue(app=app), FailureDetector(app=app), DependencyTracker(app=app)

    queue, detector, tracker = life()
    for number in range(5):
        queue.enqueue(BaseJob(id=f"j{9 - number}", name="a"))
    detector.register_heartbeat("n1")
    detector.update_job_progress("j1", 3.0)
    tracker.create_graph("o")
    tracker.add_dependency("o", "a", "b")
    tracker.update_status("o", "a", "completed")
    again_queue, again_detector, again_tracker = life()
    assert [(each.job.id, each.submit_time) for each in again_queue.queue] == [
        (each.job.id, each.submit_time) for each in queue.queue
    ]
    assert again_detector.heartbeat_timestamps == detector.heartbeat_timestamps
    assert again_detector.last_progress_update == detector.last_progress_update
    assert again_tracker.completion_times == tracker.completion_times


def test_priorities_are_dated_so_too() -> None:
    manager: PriorityManager[BaseJob] = PriorityManager()
    job, before = BaseJob(name="a"), datetime.now()
    manager.set_priority(job, "high")
    assert before <= manager.priority_updates[job.id][-1][0] <= datetime.now()
