"""The scheduler (§9.3)."""

from datetime import datetime
from typing import Any

import pytest

from common import ConfigurationError, JobQueue, JobScheduler, PreemptionPolicy, Priority, SchedulingStrategy
from domain.job.events import JobPriorityChanged
from domain.observed import ObservedExternally
from tests.facades.common.worlds import HOUR, RatedNode, World, node


def scheduler_of(world: World, **more: Any) -> JobScheduler[Any, Any]:
    """A scheduler over the world's application."""
    return JobScheduler(app=world.app, **more)


# -- H1 to H3 --------------------------------------------------------------------------------------------------------


def test_h1_predecessors_must_be_done_or_half_way(world: World) -> None:
    before = {
        "done": world.job("done", status="completed"),
        "half": world.job("half", status="running", progress=50.0),
        "less": world.job("less", status="running", progress=49.0),
        "failed": world.job("failed", status="failed"),
    }
    after = [world.job(f"after-{each}", dependencies={each}) for each in [*before, "elsewhere"]]
    plan = scheduler_of(world).schedule_jobs([*before.values(), *after], [node(f"n{n}") for n in range(9)])
    assert set(plan) == {"after-done", "after-half", "after-elsewhere"}


def test_h1_only_what_waits_is_planned(world: World) -> None:
    jobs = [
        world.job(each, status=each)
        for each in ("pending", "queued", "running", "paused", "completed", "failed", "cancelled")
    ]
    assert set(scheduler_of(world).schedule_jobs(jobs, [node(f"n{n}") for n in range(9)])) == {"pending", "queued"}


@pytest.mark.parametrize(
    ("due", "wanted"),
    [
        (2.9, ["medium", "high", "critical", "critical"]),
        (23, ["medium", "high", "high", "critical"]),
        (47, ["medium", "medium", "high", "critical"]),
        (100, ["low", "medium", "high", "critical"]),
    ],
)
def test_h2_deadlines_lift_by_one_step_however_often_it_is_asked(world: World, due: float, wanted: list[str]) -> None:
    jobs = [world.due_job(level.value, due=due * HOUR, lasts=HOUR, priority=level) for level in Priority]
    scheduler = scheduler_of(world)
    for _ in range(3):
        assert scheduler.update_priorities(jobs) is jobs
        assert [job.priority.value for job in jobs] == wanted
    changed = len(world.events(JobPriorityChanged))
    assert changed == sum(a != b for a, b in zip(["low", "medium", "high", "critical"], wanted, strict=True))


def test_h2_the_step_is_taken_from_what_the_caller_said(world: World) -> None:
    job = world.due_job(due=40 * HOUR, priority="low")
    scheduler = scheduler_of(world)
    scheduler.update_priorities([job])
    world.passes(38 * HOUR)
    scheduler.update_priorities([job])
    assert job.priority is Priority.MEDIUM, "one step above low, however late it is"
    job.priority = Priority.HIGH
    scheduler.update_priorities([job])
    assert job.priority is Priority.CRITICAL
    done = world.due_job("done", due=HOUR, priority="low", status="completed")
    scheduler.update_priorities([done])
    assert done.priority is Priority.LOW
    unknown = world.due_job("unknown", due=1.5 * HOUR, priority="low", estimated_duration=None)
    scheduler.update_priorities([unknown])
    assert unknown.priority is Priority.MEDIUM


def test_h2_urgent_predecessors_make_their_successors_so(world: World) -> None:
    parent, child = (
        world.job("p", priority="critical", status="completed"),
        world.job("c", priority="low", dependencies={"p"}),
    )
    rival = world.job("a", priority="high")
    scheduler = scheduler_of(world)
    assert scheduler.schedule_jobs([rival, child, parent], [node()]) == {"c": "n1"}
    assert (child.priority, scheduler._effective_priorities) == (Priority.LOW, {"c": Priority.CRITICAL})


def test_h3_the_most_urgent_get_the_nodes_and_each_node_is_used_once(world: World) -> None:
    jobs = [
        world.due_job("late", due=300 * HOUR, priority="high"),
        world.due_job("soon", due=200 * HOUR, priority="high"),
        world.job("none", priority="high"),
        world.job("low", priority="low"),
    ]
    nodes = [node("n1"), node("busy", current_job_id="x"), node("off", status="offline"), node("n2"), node("n3")]
    before = [each.model_dump() for each in nodes]
    assert scheduler_of(world).schedule_jobs(jobs, nodes) == {"soon": "n1", "late": "n2", "none": "n3"}
    assert [each.model_dump() for each in nodes] == before


def test_h3_ties_are_broken_by_submission_then_id(world: World) -> None:
    jobs = [world.job("c"), world.job("b", submission_time=world.now + HOUR), world.job("a")]
    plan = scheduler_of(world).schedule_jobs(jobs, [node(f"n{n}") for n in range(3)])
    assert list(plan) == ["a", "c", "b"]


# -- H4 to H7 --------------------------------------------------------------------------------------------------------


def busy(world: World, cores: int = 8, cpu: float = 8, **fields: Any) -> tuple[Any, Any]:
    """A node and the job that runs on it."""
    job = world.due_job("run", status="running", assigned_node_id="n1", **fields)
    job.resource_requirements = world.job(cpu=cpu).resource_requirements
    return node("n1", cores, current_job_id="run", current_load={"cpu": cpu}), job


def test_h4_a_job_gives_way_where_the_other_fits_then(world: World) -> None:
    machine, running = busy(world, priority="low")
    urgent = world.job("u", cpu=8, priority="high")
    assert scheduler_of(world).schedule_jobs([running, urgent], [machine]) == {"u": "n1"}
    assert scheduler_of(world, enable_preemption=False).schedule_jobs([running, urgent], [machine]) == {}
    large = world.job("large", cpu=9, priority="critical")
    assert scheduler_of(world).schedule_jobs([running, large], [machine]) == {}
    assert running.status == "running"


def test_h4_each_node_is_given_up_once_and_the_rest_of_it_counts(world: World) -> None:
    machine, running = busy(world, cores=8, cpu=4, priority="low")
    machine.current_job_id, machine.assigned_jobs, machine.current_load = None, ["other", "run"], {"cpu": 8}
    fits, too = world.job("a", cpu=4, priority="high"), world.job("b", cpu=5, priority="critical")
    assert scheduler_of(world).schedule_jobs([running, fits, too], [machine]) == {"a": "n1"}
    twins = [world.job(each, cpu=1, priority="critical") for each in "xy"]
    assert scheduler_of(world).schedule_jobs([running, *twins], [machine]) == {"x": "n1"}


def test_h5_who_gives_way_to_whom(world: World) -> None:
    scheduler = scheduler_of(world)

    def gives_way(running: str, pending: str, **fields: Any) -> bool:
        return scheduler.should_preempt(
            world.due_job("r", priority=running, **fields), world.due_job("p", priority=pending)
        )

    assert gives_way("high", "critical")
    assert gives_way("low", "medium")
    assert not gives_way("medium", "medium")
    assert not gives_way("critical", "critical")
    assert not gives_way("low", "critical", can_be_preempted=False)
    assert not gives_way("low", "critical", start_time=world.now - HOUR / 2)
    assert gives_way("low", "critical", start_time=world.now - HOUR)
    scheduler._effective_priorities["p"] = Priority.HIGH
    assert gives_way("medium", "low")


def test_h5_the_protection_of_the_queue_is_asked(world: World) -> None:
    policy = PreemptionPolicy()
    queue: JobQueue[Any] = JobQueue(preemption_policy=policy, app=world.app)
    scheduler = JobScheduler[Any, Any](queue)
    running, pending = world.job("r", priority="low"), world.job("p", priority="high")
    assert scheduler.should_preempt(running, pending)
    policy.record_preemption("r", world.now)
    assert not scheduler.should_preempt(running, pending)


def test_h6_the_most_efficient_suitable_node(world: World) -> None:
    rated = [
        RatedNode(id=f"n{rating}", name="n", cpu_cores=4, power_efficiency_rating=rating) for rating in (10, 90, 50)
    ]
    small = RatedNode(id="small", name="n", cpu_cores=1, power_efficiency_rating=99)
    assert scheduler_of(world).schedule_jobs([world.job(cpu=2)], [*rated, small]) == {"a": "n90"}
    assert scheduler_of(world).schedule_jobs([world.job(cpu=2)], [node("x", 1), node("y"), node("z")]) == {"a": "y"}


def test_h7_whether_a_deadline_can_be_met(world: World) -> None:
    scheduler = scheduler_of(world)
    job = world.due_job(due=6 * HOUR, lasts=4 * HOUR)
    assert scheduler.can_meet_deadline(job, [node()])
    assert not scheduler.can_meet_deadline(job, [])
    job.deadline = world.now + 5.9 * HOUR
    assert not scheduler.can_meet_deadline(job, [node()])
    job.progress = 50.0
    assert scheduler.can_meet_deadline(job, [node()])
    assert scheduler.can_meet_deadline(world.job(), [])
    assert scheduler.can_meet_deadline(world.due_job(due=-HOUR, estimated_duration=None), [])


# -- H8 --------------------------------------------------------------------------------------------------------------


class Backwards(SchedulingStrategy):
    """The last job first, on the last node; of victims the last."""

    name = "backwards"

    def order(self, jobs: list[Any], now: datetime) -> list[Any]:
        return sorted(jobs, key=lambda job: job.id, reverse=True)

    def choose_node(self, job: Any, nodes: list[Any]) -> Any | None:
        return nodes[-1]

    def choose_victim(self, pending: Any, candidates: list[Any]) -> Any | None:
        return candidates[-1]


def test_h8_a_strategy_of_the_callers_decides_and_is_named(world: World) -> None:
    scheduler = scheduler_of(world, strategy=Backwards())
    plan = scheduler.schedule_jobs([world.job(each) for each in "abc"], [node("n1"), node("n2")])
    assert plan == {"c": "n2", "b": "n1"}
    (decided,) = [event for event in world.events(ObservedExternally) if event.what == "plan"]
    assert (decided.changes, decided.why) == (plan, "backwards")


def test_h8_victims_are_the_strategys_choice(world: World) -> None:
    runs = [world.job(f"r{n}", status="running", priority="low") for n in range(2)]
    nodes = [node(f"n{n}", current_job_id=f"r{n}") for n in range(2)]
    urgent = world.job("u", priority="critical")
    assert scheduler_of(world).schedule_jobs([*runs, urgent], nodes) == {"u": "n0"}
    assert scheduler_of(world, strategy=Backwards()).schedule_jobs([*runs, urgent], nodes) == {"u": "n1"}


def test_h8_what_a_strategy_leaves_out_stays_as_it_is(world: World) -> None:
    class OnlyOrder:
        def order(self, jobs: list[Any], now: datetime) -> list[Any]:
            return sorted(jobs, key=lambda job: job.id, reverse=True)

    jobs = [world.job(each) for each in "ab"]
    assert scheduler_of(world, strategy=OnlyOrder()).schedule_jobs(jobs, [node("n1"), node("n2")]) == {
        "b": "n1",
        "a": "n2",
    }

    class Refuses(SchedulingStrategy):
        def choose_node(self, job: Any, nodes: list[Any]) -> Any | None:
            return None

    assert scheduler_of(world, strategy=Refuses()).schedule_jobs(jobs, [node("n1")]) == {}


def test_x10_a_strategy_that_raises_is_passed_over(world: World) -> None:
    class Broken:
        def order(self, jobs: list[Any], now: datetime) -> list[Any]:
            raise RuntimeError("out of order")

    assert scheduler_of(world, strategy=Broken()).schedule_jobs([world.job("a")], [node()]) == {"a": "n1"}


@pytest.mark.parametrize(
    ("name", "first"), [("fifo", "early"), ("priority", "high"), ("edf", "due"), ("easy-backfill", "high")]
)
def test_h8_the_cores_policies_go_by_name(world: World, name: str, first: str) -> None:
    jobs = [
        world.job("early", cpu=2, priority="low", submission_time=world.now - HOUR),
        world.job("high", cpu=2, priority="high"),
        world.due_job("due", due=200 * HOUR, priority="low"),
    ]
    jobs[2].resource_requirements = jobs[0].resource_requirements
    scheduler = scheduler_of(world, strategy=name)
    assert scheduler.schedule_jobs(jobs, [node("n1", 2)]) == {first: "n1"}
    assert len(scheduler.schedule_jobs(jobs, [node("n1"), node("n2"), node("n3")])) == 3


def test_h8_backfill_lets_a_short_job_pass_a_blocked_one_that_it_does_not_delay(world: World) -> None:
    running = world.job("r", cpu=4, status="running", estimated_duration=2 * HOUR, assigned_node_id="n1")
    nodes = [node("n1", 4, current_job_id="r"), node("n2", 2)]
    head = world.job("head", cpu=4, priority="high", estimated_duration=HOUR)
    short = world.job("short", cpu=2, priority="low", estimated_duration=HOUR)
    jobs = [running, head, short]
    assert scheduler_of(world, strategy="easy-backfill").schedule_jobs(jobs, nodes) == {"short": "n2"}
    assert scheduler_of(world, strategy="none-backfill").schedule_jobs(jobs, nodes) == {}


def test_x12_an_unknown_policy_is_refused_with_the_known_ones(world: World) -> None:
    with pytest.raises(ConfigurationError, match="easy-backfill") as raised:
        scheduler_of(world, strategy="nonsense")
    assert "fifo" in str(raised.value)


def test_a_cycle_over_a_thousand_jobs_is_of_reasonable_size(world: World) -> None:
    jobs = [world.job(f"j{n:04}", cpu=1, priority=list(Priority)[n % 4]) for n in range(300)]
    nodes = [node(f"n{n}") for n in range(50)]
    plan = scheduler_of(world).schedule_jobs(jobs, nodes)
    assert len(plan) == 50
    assert set(plan) == {f"j{n:04}" for n in range(3, 200, 4)}
