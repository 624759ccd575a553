"""The deadline schedulers: rules R20 to R31."""

from datetime import timedelta
from typing import Any

import pytest

from render_farm_manager.core.models import JobPriority, RenderJob, RenderJobStatus
from render_farm_manager.scheduling import deadline_scheduler, deadline_scheduler_fixed
from tests.facades.render_farm_manager.farms import due, farm, gpu_node, job, node, parts

BOTH = [deadline_scheduler.DeadlineScheduler, deadline_scheduler_fixed.DeadlineScheduler]


def scheduler(kind: Any = deadline_scheduler.DeadlineScheduler, **more: Any) -> Any:
    return kind(*parts(), **more)


def told(of: Any, event_type: str) -> list[dict[str, Any]]:
    return [entry.details for entry in of.audit_logger.logs if entry.event_type == event_type]


def running(id: str, on: Any, **fields: Any) -> RenderJob:
    on.current_job_id = id
    return job(id, status="running", assigned_node_id=on.id, **fields)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("hours_left", "priority", "after"),
    [
        (5.9, "low", "medium"),  # needs 4 h and 2 h margin: at risk
        (6.0, "medium", "high"),
        (5.0, "high", "critical"),
        (5.0, "critical", "critical"),
        (-3.0, "high", "critical"),
        (23.9, "low", "medium"),
        (23.9, "medium", "high"),
        (23.9, "high", "high"),
        (47.9, "low", "medium"),
        (47.9, "medium", "medium"),
        (48.1, "low", "low"),
    ],
)
def test_r20_the_nearer_the_deadline_the_higher(kind: Any, hours_left: float, priority: str, after: str) -> None:
    shot = job(priority=priority, deadline=due(hours_left))
    of = scheduler(kind)
    assert of.update_priorities([shot]) == [shot]
    assert shot.priority == after
    if after == priority:
        assert told(of, "priority_updated") == []
    else:
        (details,) = told(of, "priority_updated")
        assert set(details) == {
            "job_id",
            "original_priority",
            "new_priority",
            "time_until_deadline",
            "estimated_time_needed",
        }
        assert (details["original_priority"], details["new_priority"]) == (priority, after)
        assert details["time_until_deadline"] == pytest.approx(hours_left, abs=0.01)
        assert details["estimated_time_needed"] == 4.0


def test_r20_progress_counts_and_so_does_the_margin() -> None:
    half = job(priority="high", deadline=due(5.0), progress=50.0)  # needs 2 h and 2 h margin
    assert scheduler().update_priorities([half])[0].priority == "high"
    assert scheduler(deadline_safety_margin_hours=3.5).update_priorities([half])[0].priority == "critical"


def test_r20_the_same_objects_in_the_same_order() -> None:
    jobs = [job(f"j{i}", deadline=due(i)) for i in range(5)]
    result = scheduler().update_priorities(jobs)
    assert all(a is b for a, b in zip(result, jobs, strict=True))


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_r20_ended_jobs_stay_as_they_are(status: str) -> None:
    shot = job(priority="low", deadline=due(1), status=status)
    scheduler().update_priorities([shot])
    assert shot.priority == "low"


def test_r20_one_step_however_often_it_is_asked_until_a_person_says_otherwise() -> None:
    shot, of = job(priority="low", deadline=due(1)), scheduler()
    for _ in range(3):
        of.update_priorities([shot])
    assert shot.priority == "medium"
    shot.priority = JobPriority.HIGH
    of.update_priorities([shot])
    assert shot.priority == "critical"


def test_r21_who_waits_for_an_urgent_job_inherits_without_being_changed() -> None:
    parent, other, child = job("p", priority="critical"), job("o"), job("c", priority="low", dependencies=["p", "o"])
    of = scheduler()
    of.update_priorities([child, parent, other])
    assert of._effective_priorities == {"c": JobPriority.CRITICAL}
    assert child.priority == "low"


def test_r21_an_inherited_priority_counts_while_the_parent_is_unfinished() -> None:
    blade = node()
    parent = running("p", node("n2"), priority="critical", progress=60.0)
    child, rival = job("c", priority="low", dependencies=["p"], deadline=due(300)), job("r", priority="high")
    assert scheduler().schedule_jobs([parent, child, rival], [blade]) == {"c": "n1"}
    parent.status = RenderJobStatus.COMPLETED
    assert scheduler().schedule_jobs([parent, child, rival], [blade]) == {"r": "n1"}


def test_r21_what_callers_write_is_neither_removed_nor_lowered() -> None:
    of = scheduler()
    of._effective_priorities["c"] = JobPriority.CRITICAL
    parent = job("p", priority="high", status="completed")
    of.schedule_jobs([parent, job("c", priority="low", dependencies=["p"])], [node()])
    assert of._effective_priorities["c"] is JobPriority.CRITICAL
    del of._effective_priorities["c"]
    of._effective_priorities = {"x": JobPriority.LOW}
    of.schedule_jobs([job()], [node()])
    assert of._effective_priorities == {"x": JobPriority.LOW}


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("status", "progress", "placed"),
    [
        ("completed", 100, True),
        ("running", 50, True),
        ("running", 49, False),
        ("queued", 99, False),
        ("failed", 100, False),
    ],
)
def test_r22_dependencies_within_the_list(kind: Any, status: str, progress: float, placed: bool) -> None:
    parent, child = job("p", status=status, progress=progress), job("c", dependencies=["p", "elsewhere"])
    plan = scheduler(kind).schedule_jobs([parent, child], [node("n1"), node("n2")])
    assert ("c" in plan) is placed
    assert scheduler(kind).schedule_jobs([child], [node()]) == {"c": "n1"}


def test_r22_priorities_are_updated_first() -> None:
    shot = job(priority="low", deadline=due(1))
    scheduler().schedule_jobs([shot], [])
    assert shot.priority == "medium"


def test_r23_higher_priority_first_then_the_earlier_deadline() -> None:
    jobs = [
        job("late", deadline=due(90)),
        job("low", priority="low", deadline=due(60)),
        job("early", deadline=due(70)),
        job("top", priority="critical", deadline=due(95)),
    ]
    nodes = [node(f"n{i}", rating=90 - i) for i in range(3)]
    assert scheduler().schedule_jobs(jobs, nodes) == {"top": "n0", "early": "n1", "late": "n2"}


def test_r24_only_free_online_nodes_and_each_once() -> None:
    nodes = [node("off", status="offline"), node("busy", current_job_id="x"), node("free")]
    assert scheduler().schedule_jobs([job("a"), job("b")], nodes) == {"a": "free"}


@pytest.mark.parametrize(
    ("needs", "has", "fits"),
    [
        ({"requires_gpu": True}, {"gpu_count": 1, "gpu_model": "A"}, True),
        ({"requires_gpu": True}, {"gpu_count": 0, "gpu_model": "A"}, False),
        ({"requires_gpu": True}, {"gpu_count": 1, "gpu_model": ""}, False),
        ({"requires_gpu": True}, {"gpu_count": 1, "gpu_model": None}, False),
        ({"memory_requirements_gb": 64}, {"memory_gb": 64}, True),
        ({"memory_requirements_gb": 65}, {"memory_gb": 64}, False),
        ({"cpu_requirements": 16}, {"cpu_cores": 16}, True),
        ({"cpu_requirements": 17}, {"cpu_cores": 16}, False),
    ],
)
def test_r25_what_a_node_must_have(needs: dict[str, Any], has: dict[str, Any], fits: bool) -> None:
    assert scheduler().schedule_jobs([job(**needs)], [node(**has)]) == ({"job1": "n1"} if fits else {})


@pytest.mark.parametrize("status", ["running", "paused", "completed", "failed", "cancelled"])
def test_r26_only_waiting_jobs_are_planned(status: str) -> None:
    assert scheduler().schedule_jobs([job(status=status)], [node()]) == {}


def test_r26_nothing_but_priorities_is_changed() -> None:
    shot, blade = job(), node()
    before = (shot.status, shot.assigned_node_id, blade.model_dump())
    scheduler().schedule_jobs([shot], [blade])
    assert (shot.status, shot.assigned_node_id, blade.model_dump()) == before


def test_r27_the_most_efficient_node_the_first_of_equals() -> None:
    nodes = [node("a", rating=70), node("b", rating=90), node("c", rating=90), gpu_node("d", rating=80)]
    assert scheduler().schedule_jobs([job()], nodes) == {"job1": "b"}


def test_r27_a_node_that_is_meant_for_the_job_goes_first() -> None:
    nodes = [node("a", rating=90), node("b", rating=70, specialized_for=["compositing"])]
    assert scheduler().schedule_jobs([job()], nodes) == {"job1": "b"}


def test_r28_a_job_makes_room_where_no_node_is_free() -> None:
    first, second = node("n1"), node("n2")
    jobs = [running("a", first), running("b", second, priority="low"), job("c", priority="critical")]
    of = scheduler()
    assert of.schedule_jobs(jobs, [first, second]) == {"c": "n1"}
    (details,) = told(of, "job_preemption")
    assert details == {
        "job_id": "c",
        "preempted_job_id": "a",
        "node_id": "n1",
        "priority": "critical",
        "deadline": jobs[2].deadline.isoformat(),
    }


def test_r28_each_node_once_and_only_where_the_hardware_fits() -> None:
    first, second = node("n1", cpu_cores=2), node("n2")
    jobs = [
        running("a", first),
        running("b", second),
        job("c", priority="critical"),
        job("d", priority="critical", deadline=due(99)),
    ]
    plan = scheduler().schedule_jobs(jobs, [first, second])
    assert list(plan.values()) == ["n2"]


def test_r28_free_nodes_come_first_and_protected_or_unlisted_jobs_stay() -> None:
    first, second, third = node("n1"), node("n2"), node("n3")
    jobs = [running("a", first, can_be_preempted=False), job("c", priority="critical")]
    second.current_job_id = "unlisted"
    assert scheduler().schedule_jobs(jobs, [first, second]) == {}
    assert scheduler().schedule_jobs([running("b", second), jobs[1]], [second, third]) == {"c": "n3"}
    offline = node("n4", status="offline")
    assert scheduler().schedule_jobs([running("d", offline), jobs[1]], [offline]) == {}


def test_r28_a_node_that_still_shows_an_ended_job_can_be_taken() -> None:
    blade = node()
    ended = running("a", blade)
    ended.status = RenderJobStatus.COMPLETED
    urgent = job("b", priority="critical")
    assert scheduler().schedule_jobs([ended, urgent], [blade]) == {"b": "n1"}
    manager = farm(blade, job("a"), urgent)
    manager.jobs["a"].status = RenderJobStatus.COMPLETED
    assert manager.run_scheduling_cycle()["jobs_preempted"] == 0
    assert (urgent.status, manager.jobs["a"].status, blade.current_job_id) == ("running", "completed", "b")


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("runs", "waits", "hours_left", "preempts"),
    [
        ("low", "critical", 300, True),
        ("high", "critical", 300, True),
        ("critical", "critical", 1, False),
        ("low", "high", 5, True),
        ("low", "high", 300, False),
        ("high", "high", 1, False),
        ("medium", "low", 1, False),
    ],
)
def test_r29_who_displaces_whom(kind: Any, runs: str, waits: str, hours_left: float, preempts: bool) -> None:
    of, pending = scheduler(kind), job("w", priority=waits, deadline=due(hours_left))
    assert of.should_preempt(job(priority=runs), pending) is preempts
    assert of.should_preempt(job(priority=runs, can_be_preempted=False), pending) is False


def test_r29_a_child_class_may_decide_otherwise() -> None:
    class Never(deadline_scheduler.DeadlineScheduler):
        def should_preempt(self, running_job: RenderJob, pending_job: RenderJob) -> bool:
            return False

    blade = node()
    assert scheduler(Never).schedule_jobs([running("a", blade), job("b", priority="critical")], [blade]) == {}


@pytest.mark.parametrize("kind", BOTH)
def test_r30_without_preemption_occupied_nodes_are_left_alone(kind: Any) -> None:
    blade, of = node(), scheduler(kind)
    of.enable_preemption = False
    assert of.schedule_jobs([running("a", blade, priority="low"), job("b", priority="critical")], [blade]) == {}


@pytest.mark.parametrize("kind", BOTH)
def test_r31_whether_a_deadline_can_be_met(kind: Any) -> None:
    of, tight = scheduler(kind), job()
    tight.deadline = due(6) + timedelta(seconds=5)  # 4 h and 2 h margin
    busy = node(status="offline", current_job_id="x")
    assert of.can_meet_deadline(tight, [busy]) is True
    assert of.can_meet_deadline(job(deadline=due(5.9)), [busy]) is False
    assert of.can_meet_deadline(job(requires_gpu=True), [busy]) is False
    assert of.can_meet_deadline(job(), []) is False


def test_plans_are_told_and_timed() -> None:
    of, shot = scheduler(), job()
    of.schedule_jobs([shot], [node()])
    assert told(of, "job_scheduled") == [
        {"job_id": "job1", "node_id": "n1", "priority": "medium", "deadline": shot.deadline.isoformat()}
    ]
    assert set(of.performance_monitor.operation_times) == {"schedule_jobs", "update_priorities"}
