"""Queues (§9.1) and who may be preempted (§9.2)."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.facades.bridge import times
from common import (
    BaseJob,
    FairnessMetric,
    JobQueue,
    JobStatus,
    PreemptionAction,
    PreemptionPolicy,
    PreemptionTrigger,
    Priority,
    QueuedJob,
    QueuePolicy,
    QueueStats,
)
from domain.job.events import JobPriorityChanged, JobSubmitted
from domain.observed import ObservedExternally
from tests.facades.common.worlds import DAY, HOUR, World

RANKS = {"critical": 4, "high": 3, "medium": 2, "low": 1}


def queue_of(world: World, policy: QueuePolicy = QueuePolicy.WEIGHTED) -> JobQueue[BaseJob]:
    """An empty queue."""
    return JobQueue[BaseJob](policy, app=world.app)


def ids(queue: JobQueue[BaseJob]) -> list[str]:
    """The ids in the order in which they would be taken."""
    return [job.id for job in queue.get_queued_jobs()]


# -- Q1 --------------------------------------------------------------------------------------------------------------


def test_q1_the_policy_decides_the_order(world: World) -> None:
    jobs = [
        world.due_job("a", due=9 * HOUR, priority="low"),
        world.due_job("b", due=3 * HOUR, priority="medium"),
        world.due_job("c", due=9 * HOUR, priority="critical"),
        world.job("d", priority="critical"),
    ]
    wanted = {
        QueuePolicy.FIFO: "abcd", QueuePolicy.PRIORITY: "cdba",
        QueuePolicy.WEIGHTED: "cdba", QueuePolicy.DEADLINE: "bcad",
    }  # fmt: skip
    for policy, order in wanted.items():
        queue: JobQueue[Any] = JobQueue(policy, app=World(clock=world.clock).app)
        for job in jobs:
            job.status = JobStatus.PENDING
            queue.enqueue(job)
            world.passes(timedelta(seconds=1))
        assert "".join(ids(queue)) == order, policy


def test_q1_ties_are_broken_by_submission_then_id(world: World) -> None:
    queue = queue_of(world)
    for each in "cab":
        queue.enqueue(world.job(each))
    world.passes(HOUR)
    queue.enqueue(world.job("0"))
    assert ids(queue) == ["a", "b", "c", "0"]


@pytest.mark.parametrize("metric", list(FairnessMetric))
def test_q1_fair_takes_from_whoever_had_the_least(world: World, metric: FairnessMetric) -> None:
    queue = queue_of(world, QueuePolicy.FAIR)
    queue.fairness_metric = metric
    queue.enqueue(world.job("a1", owner="ada", cpu=4))
    first = queue.dequeue()
    assert first is not None
    world.passes(2 * HOUR)
    queue.enqueue(world.job("a2", owner="ada", priority="high"))
    world.passes(HOUR)
    queue.enqueue(world.job("b1", owner="bob"))
    first_owner = "ada" if metric is FairnessMetric.WAIT_TIME else "bob"
    assert queue.get_queued_jobs()[0].owner == first_owner
    queue.user_fairness_weights["ada"] = 1e9
    if metric is not FairnessMetric.WAIT_TIME:
        queue.user_fairness_weights["bob"] = 1e-9
        assert queue.get_position("a2") in (1, 2)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(RANKS)), st.integers(0, 3), st.none() | st.integers(-5, 50), st.sampled_from("xyz")
        ),
        max_size=14,
    ),
    st.sampled_from([QueuePolicy.FIFO, QueuePolicy.PRIORITY, QueuePolicy.WEIGHTED, QueuePolicy.DEADLINE]),
)
def test_q1_14_4_taking_all_is_sorting_by_the_policy(rows: list[Any], policy: QueuePolicy) -> None:
    world = World()
    with times.ambient(world.clock):
        queue: JobQueue[Any] = JobQueue(policy, app=world.app)
        entered = []
        for number, (priority, wait, due, owner) in enumerate(rows):
            world.passes(timedelta(seconds=wait))
            job: Any = world.job(f"j{number}", priority=priority, owner=owner)
            if due is not None:
                job = world.due_job(f"j{number}", due=due * HOUR, priority=priority, owner=owner)
            queue.enqueue(job)
            entered.append((job, world.now))
        last = world.now + 10_000 * HOUR

        def key(entry: Any) -> Any:
            job, at = entry
            tail = (at, job.id)
            if policy is QueuePolicy.FIFO:
                return tail
            ranked = (-RANKS[job.priority.value], *tail)
            return (job.get_deadline() or last, *ranked) if policy is QueuePolicy.DEADLINE else ranked

        wanted = [job.id for job, _ in sorted(entered, key=key)]
        positions = {job.id: queue.get_position(job.id) for job, _ in entered}
        taken = []
        while (job := queue.dequeue()) is not None:
            taken.append(job.id)
        assert taken == wanted
        assert positions == {job_id: at for at, job_id in enumerate(wanted, 1)}
        _recounted(queue, world)


def _recounted(queue: JobQueue[Any], world: World) -> None:
    """The statistics are what the events say."""
    states = [
        e.changes["state"] for e in world.events(ObservedExternally) if e.what == "queued" and "state" in e.changes
    ]
    assert queue.stats.total_jobs_submitted == states.count("queued") == len(world.events(JobSubmitted))
    assert queue.stats.total_jobs_started == states.count("started")
    assert queue.stats.total_jobs_cancelled == states.count("cancelled")


# -- Q2 to Q5 --------------------------------------------------------------------------------------------------------


def test_q2_a_job_enters_once(world: World) -> None:
    queue, job = queue_of(world), world.job("j", owner="ada", project="film", priority="high")
    assert queue.enqueue(job)
    assert job.status is JobStatus.QUEUED
    assert "already in the queue" in str(queue.enqueue(job).error)
    stats = queue.get_stats()
    assert (stats.total_jobs_submitted, stats.current_queue_length, stats.peak_queue_length) == (1, 1, 1)
    assert (stats.by_user, stats.by_project, stats.by_priority[Priority.HIGH]) == ({"ada": 1}, {"film": 1}, 1)
    assert queue.job_map["j"] is queue.queue[0]
    assert queue.queue[0].job is job


def test_q3_taking_gives_the_callers_own_object(world: World) -> None:
    queue, job = queue_of(world), world.job()
    assert (queue.peek(), queue.dequeue()) == (None, None)
    queue.enqueue(job)
    world.passes(2 * HOUR)
    assert queue.peek() is job
    assert queue.dequeue() is job
    assert (job.status, queue.queue, queue.job_map) == (JobStatus.RUNNING, [], {})
    stats = queue.stats
    assert (stats.total_jobs_started, stats.current_queue_length) == (1, 0)
    assert stats.total_wait_time == stats.avg_wait_time == stats.max_wait_time == 2 * HOUR


def test_q4_removing_counts_as_cancelled_and_leaves_the_job_alone(world: World) -> None:
    queue, job = queue_of(world), world.job()
    assert "not found in queue" in str(queue.remove("a").error)
    queue.enqueue(job)
    assert queue.remove("a")
    assert (job.status, queue.stats.total_jobs_cancelled, queue.stats.current_queue_length) == (JobStatus.QUEUED, 1, 0)
    assert queue.enqueue(job)


@pytest.mark.parametrize(
    ("status", "count"),
    [
        ("running", "started"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
        ("paused", ""),
    ],
)
def test_q4_a_status_takes_a_job_out_or_leaves_it(world: World, status: str, count: str) -> None:
    queue, job = queue_of(world), world.job()
    assert not queue.update_job_status("a", JobStatus(status))
    queue.enqueue(job)
    assert queue.update_job_status("a", JobStatus(status))
    assert job.status == status
    assert len(queue.queue) == queue.stats.current_queue_length == (0 if count else 1)
    if count:
        assert getattr(queue.stats, f"total_jobs_{count}") == 1


def test_q5_priorities_positions_and_history(world: World) -> None:
    queue = queue_of(world)
    for each in "ab":
        queue.enqueue(world.job(each))
    assert (queue.get_position("b"), queue.get_position("?")) == (2, None)
    assert queue.update_priority("b", Priority.HIGH)
    assert queue.update_priority("b", Priority.HIGH)
    assert not queue.update_priority("?", Priority.HIGH)
    assert queue.get_position("b") == 1
    assert [each for _, each in queue.job_map["b"].get_priority_history()] == [Priority.MEDIUM, Priority.HIGH]
    assert len(world.events(JobPriorityChanged)) == 1


def test_f4_what_the_caller_writes_is_the_truth_at_the_next_call(world: World) -> None:
    queue = queue_of(world)
    jobs = [world.job(each) for each in "ab"]
    for job in jobs:
        queue.enqueue(job)
    jobs[1].priority = Priority.CRITICAL
    assert queue.peek() is jobs[1]
    assert queue.job_map["b"].effective_priority is Priority.CRITICAL
    (actor,) = {each.meta.actor for each in world.recorded() if isinstance(each.event, JobPriorityChanged)}
    assert actor == "caller"


# -- Q6 to Q8 --------------------------------------------------------------------------------------------------------


def test_q6_jobs_rise_once_they_have_waited_60_hours(world: World) -> None:
    queue = queue_of(world)
    low, top = world.job("low", priority="low"), world.job("top", priority="critical")
    queue.enqueue(low)
    queue.enqueue(top)
    world.passes(59 * HOUR)
    queue.apply_aging()
    assert low.priority is Priority.LOW
    world.passes(HOUR)
    queue.apply_aging()
    queue.apply_aging()
    assert (low.priority, top.priority) == (Priority.MEDIUM, Priority.CRITICAL)
    world.passes(12 * HOUR)
    queue.apply_aging()
    assert low.priority is Priority.HIGH


def test_q7_who_has_more_than_half_falls_one_level(world: World) -> None:
    queue = queue_of(world)
    jobs = [world.job(f"a{n}", owner="ada", project=f"p{n}", priority="high") for n in range(3)]
    jobs += [
        world.job("b", owner="bob", project="q", priority="high"),
        world.job("c", owner="ada", project="r", priority="critical"),
    ]
    for job in jobs:
        queue.enqueue(job)
    queue.apply_fairness_adjustments()
    assert {job.priority for job in jobs[:3]} == {Priority.HIGH}, "not before six hours have passed"
    world.passes(6 * HOUR)
    queue.apply_fairness_adjustments()
    assert [job.priority.value for job in jobs] == ["medium"] * 3 + ["high", "critical"]
    assert queue.last_fairness_adjustment == world.now
    world.passes(6 * HOUR)
    queue.user_fairness_weights["ada"] = 0.5
    queue.apply_fairness_adjustments()
    assert jobs[0].priority is Priority.MEDIUM


def test_q7_one_job_is_never_unfair(world: World) -> None:
    queue, job = queue_of(world), world.job()
    queue.enqueue(job)
    world.passes(DAY)
    queue.apply_fairness_adjustments()
    assert (job.priority, queue.last_fairness_adjustment) == (Priority.MEDIUM, world.now)


@pytest.mark.parametrize(
    ("word", "minutes"), [("critical", 6), ("high", 15), ("medium", 30), ("low", 60), ("background", 120), ("?", 30)]
)
def test_q8_the_wait_is_estimated_by_level_and_length(world: World, word: str, minutes: int) -> None:
    queue, job = JobQueue[BaseJob](), world.job()
    job.priority = word  # type: ignore[assignment]
    assert queue.get_wait_time_estimate(job) == timedelta(minutes=minutes)
    for number in range(20):
        queue.enqueue(world.job(f"j{number}"))
    assert queue.get_wait_time_estimate(job) == timedelta(minutes=2 * minutes)


def test_a_queued_job_by_itself(world: World) -> None:
    low, high = (
        QueuedJob(world.job("l", priority="low"), world.now),
        QueuedJob(world.job("h", priority="high"), world.now),
    )
    assert high < low
    world.passes(HOUR)
    assert low.wait_time() == HOUR
    low.record_preemption()
    assert (low.preemption_count, low.last_preemption_time, low.retry_count, low.user_notified) == (
        1,
        world.now,
        0,
        False,
    )
    low.update_priority(Priority.CRITICAL)
    assert (low.job.priority, low.effective_priority, len(low.priority_updates)) == (
        Priority.CRITICAL,
        Priority.CRITICAL,
        2,
    )
    assert low < high
    history = low.get_priority_history()
    history.clear()
    assert low.priority_updates


def test_statistics_by_themselves(world: World) -> None:
    stats, job = QueueStats(), world.job()
    assert stats.by_priority == dict.fromkeys(Priority, 0)
    stats.update_on_cancel(job)
    assert stats.current_queue_length == 0
    job.priority = "background"  # type: ignore[assignment]
    stats.update_on_submit(job)
    assert stats.by_priority["background"] == 1
    stats.update_on_complete(job)
    stats.update_on_fail(job)
    assert (stats.total_jobs_completed, stats.total_jobs_failed, stats.last_updated) == (1, 1, world.now)


# -- 9.2 -------------------------------------------------------------------------------------------------------------

ANY = PreemptionTrigger.HIGHER_PRIORITY


def test_e1_the_first_reason_counts(world: World) -> None:
    policy, job = PreemptionPolicy(), world.due_job(priority="medium")
    assert policy.can_preempt(job, ANY) == (True, None)
    assert policy.can_preempt(job, ANY, HOUR, world.now) == (True, None)
    assert policy.can_preempt(job, ANY, HOUR / 2)[0] is False
    assert policy.can_preempt(job, PreemptionTrigger.MAINTENANCE, HOUR / 2) == (True, None)
    policy.record_preemption(job.id, world.now)
    assert "recently preempted" in str(policy.can_preempt(job, ANY, 2 * HOUR, world.now + HOUR)[1])
    job.can_be_preempted = False
    assert policy.can_preempt(job, PreemptionTrigger.MAINTENANCE)[0] is False
    job.priority = Priority.CRITICAL
    assert "Critical" in str(policy.can_preempt(job, PreemptionTrigger.MAINTENANCE)[1])


@pytest.mark.parametrize(("word", "most"), [("high", 1), ("medium", 2), ("low", 4), ("background", 8), ("?", 0)])
def test_e1_so_often_a_day(world: World, word: str, most: int) -> None:
    policy, job = PreemptionPolicy(protection_after_preemption=timedelta(0)), world.job()
    job.priority = word  # type: ignore[assignment]
    noon = world.now.replace(hour=12)
    for _ in range(most):
        assert policy.can_preempt(job, ANY, current_time=noon)[0]
        policy.record_preemption(job.id, noon)
    assert "maximum preemptions" in str(policy.can_preempt(job, ANY, current_time=noon)[1])
    assert policy.can_preempt(job, ANY, current_time=noon + DAY)[0] is (most > 0)


def test_e2_a_preemption_is_now_unless_said_otherwise(world: World) -> None:
    policy = PreemptionPolicy()
    policy.record_preemption("j")
    assert policy.preemption_history == {"j": [world.now]}


def test_e3_what_becomes_of_the_job(world: World) -> None:
    policy = PreemptionPolicy()
    stop, migrate, requeue = PreemptionAction.CHECKPOINT_AND_STOP, PreemptionAction.MIGRATE, PreemptionAction.REQUEUE
    limited, cancel = PreemptionAction.CONTINUE_LIMITED, PreemptionAction.CANCEL
    wanted = {
        PreemptionTrigger.MAINTENANCE: [stop] * 4,
        PreemptionTrigger.ADMIN: [stop] * 4,
        PreemptionTrigger.HIGHER_PRIORITY: [stop, migrate, migrate, stop],
        PreemptionTrigger.RESOURCE_SHORTAGE: [requeue, limited, limited, limited],
        PreemptionTrigger.FAIRNESS: [requeue] * 4,
        PreemptionTrigger.DEADLINE: [cancel] * 4,
    }
    for trigger, actions in wanted.items():
        found = [policy.get_action_for_trigger(world.job(priority=level), trigger) for level in Priority]
        assert found == actions, trigger
