"""The priority manager (§9.4)."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import ConfigurationError, Priority, PriorityInheritanceMode, PriorityManager, PriorityPolicy
from domain.job.events import JobPriorityChanged
from tests.facades.common.worlds import DAY, HOUR, World

MODES = PriorityInheritanceMode
RANKS = {"low": 1, "medium": 2, "high": 3, "critical": 4}


def manager_of(world: World, policy: Any = PriorityPolicy.WEIGHTED, **more: Any) -> PriorityManager[Any]:
    """A manager over the world's application."""
    return PriorityManager(policy, app=world.app, **more)


def levels(jobs: list[Any]) -> list[str]:
    """The priorities as texts."""
    return [getattr(job.priority, "value", job.priority) for job in jobs]


def test_n1_each_policy_does_its_own_steps(world: World) -> None:
    def jobs() -> list[Any]:
        late = world.due_job("late", due=HOUR, priority="low")
        return [
            late,
            world.job("old", priority="low", submission_time=world.now - 9 * DAY),
            world.job("child", priority="low", dependencies={"late"}),
        ]

    wanted = {
        PriorityPolicy.STATIC: ["low"] * 3,
        PriorityPolicy.DEADLINE: ["medium", "low", "low"],
        PriorityPolicy.INHERITANCE: ["low"] * 3,
        PriorityPolicy.AGING: ["low", "medium", "low"],
        PriorityPolicy.FAIRNESS: ["low"] * 3,
        PriorityPolicy.WEIGHTED: ["medium", "medium", "low"],
    }
    for policy, after in wanted.items():
        manager = manager_of(World(clock=world.clock), policy)
        manager.last_aging_adjustment -= DAY
        given_jobs = jobs()
        assert manager.update_priorities(given_jobs) is given_jobs
        assert levels(given_jobs) == after, policy


def test_n2_setting_is_recorded_once(world: World) -> None:
    manager, job = manager_of(world), world.job()
    assert manager.set_priority(job, Priority.MEDIUM)
    assert manager.priority_updates == {}
    assert manager.set_priority(job, Priority.HIGH)
    assert manager.priority_updates == {"a": [(world.now, Priority.HIGH)]}
    assert manager.get_effective_priority(job) is Priority.HIGH
    manager.effective_priorities["a"] = Priority.CRITICAL
    assert manager.get_effective_priority(job) is Priority.CRITICAL
    assert len(world.events(JobPriorityChanged)) == 1


def test_n3_background_rises_and_unknown_durations_do_not(world: World) -> None:
    manager = manager_of(world, PriorityPolicy.DEADLINE)
    jobs = [world.due_job(f"j{due}", due=due * HOUR) for due in (2, 20, 40, 90)]
    for job in jobs:
        job.priority = "background"
    unknown = world.due_job("u", due=HOUR, estimated_duration=None, priority="low")
    for _ in range(2):
        manager.update_priorities([*jobs, unknown])
        assert levels([*jobs, unknown]) == ["low", "low", "low", "background", "low"]


def test_n4_urgency_goes_along_whole_chains_whatever_the_order(world: World) -> None:
    jobs = [world.job("c", dependencies={"b"}), world.job("b", dependencies={"a"}), world.job("a", priority="critical")]
    wanted = {
        MODES.NONE: {},
        MODES.PARENTS_TO_CHILDREN: {"b": "critical", "c": "critical"},
        MODES.CHILDREN_TO_PARENTS: {},
        MODES.BIDIRECTIONAL: {"b": "critical", "c": "critical"},
    }
    for mode, effective in wanted.items():
        manager = manager_of(World(), PriorityPolicy.INHERITANCE, priority_inheritance_mode=mode)
        manager.effective_priorities["old"] = Priority.LOW
        manager.update_priorities(jobs)
        assert (manager.effective_priorities == effective) or mode is MODES.NONE
        assert "old" not in manager.effective_priorities
    assert levels(jobs) == ["medium", "medium", "critical"]


def test_n4_children_hand_on_and_ended_jobs_receive_nothing(world: World) -> None:
    jobs = [
        world.job("a", priority="low"),
        world.job("b", dependencies={"a"}),
        world.job("c", priority="high", dependencies={"b"}),
    ]
    manager = manager_of(world, PriorityPolicy.INHERITANCE, priority_inheritance_mode=MODES.CHILDREN_TO_PARENTS)
    manager.update_priorities(jobs)
    assert manager.effective_priorities == {"a": "high", "b": "high"}
    jobs[0].status = "completed"  # type: ignore[assignment]
    manager.update_priorities(jobs)
    assert manager.effective_priorities == {"b": "high"}


@given(
    st.lists(st.sampled_from(list(RANKS)), min_size=1, max_size=8),
    st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_n4_a_job_gets_the_highest_of_all_before_it(words: list[str], pairs: set[tuple[int, int]], rng: Any) -> None:
    world = World()
    edges = {(a, b) for a, b in pairs if a < b < len(words)}
    jobs = [
        world.job(str(n), priority=word, dependencies={str(a) for a, b in edges if b == n})
        for n, word in enumerate(words)
    ]
    ranks = [RANKS[word] for word in words]
    for n in range(len(words)):
        ranks[n] = max([ranks[n], *(ranks[a] for a, b in edges if b == n)])
    rng.shuffle(jobs)
    manager = manager_of(world, PriorityPolicy.INHERITANCE)
    manager.update_priorities(jobs)
    found = {job.id: RANKS[manager.get_effective_priority(job).value] for job in jobs}
    assert found == {str(n): rank for n, rank in enumerate(ranks)}


def test_n5_ageing_at_most_once_an_interval(world: World) -> None:
    manager = manager_of(world, PriorityPolicy.AGING)
    jobs = [world.job("low", priority="low"), world.job("top", priority="critical"), world.job("run", status="running")]
    world.passes(60 * HOUR)
    manager.update_priorities(jobs)
    manager.update_priorities(jobs)
    assert levels(jobs) == ["medium", "critical", "medium"]
    world.passes(6 * HOUR)
    manager.update_priorities(jobs)
    assert levels(jobs)[0] == "medium"
    world.passes(6 * HOUR)
    manager.update_priorities(jobs)
    assert levels(jobs)[0] == "high"
    manager.set_priority(jobs[0], Priority.LOW)
    world.passes(11 * HOUR)
    manager.last_aging_adjustment -= DAY
    manager.update_priorities(jobs)
    assert levels(jobs)[0] == "low", "its priority was changed within the interval"


def test_n6_fairness_at_most_once_an_interval(world: World) -> None:
    manager = manager_of(world, PriorityPolicy.FAIRNESS)
    jobs = [world.job(f"a{n}", owner="ada", project=f"p{n}") for n in range(3)] + [world.job("b", owner="bob")]
    manager.update_priorities(jobs)
    assert levels(jobs) == ["medium"] * 4
    world.passes(6 * HOUR)
    manager.update_priorities(jobs)
    manager.update_priorities(jobs)
    assert levels(jobs) == ["low"] * 3 + ["medium"]


def test_n7_calculators_run_where_they_are_put(world: World) -> None:
    manager = manager_of(world, PriorityPolicy.WEIGHTED)
    asked: list[str] = []

    def at_end(job: Any, jobs: list[Any], now: datetime) -> Any:
        asked.append(f"end {job.priority.value}")
        assert now == world.now

    def after_deadline(job: Any, jobs: list[Any], now: datetime) -> Any:
        asked.append(f"deadline {job.priority.value}")
        return Priority.CRITICAL

    manager.register_calculator("last", at_end)
    manager.register_calculator("first", after_deadline, after="deadline")
    job = world.due_job(due=HOUR, priority="low")
    manager.update_priorities([job])
    assert asked == ["deadline medium", "end critical"]
    assert [level for _, level in manager.priority_updates["a"]] == [Priority.MEDIUM, Priority.CRITICAL]
    assert [event.why for event in world.events(JobPriorityChanged)] == ["deadline", "first"]
    with pytest.raises(ConfigurationError):
        manager.register_calculator("last", at_end)
    with pytest.raises(ConfigurationError):
        manager.register_calculator("other", at_end, after="lunch")


def test_n7_a_function_replaces_the_policy(world: World) -> None:
    def by_name(jobs: list[Any], now: datetime) -> dict[str, Any]:
        return {"a": Priority.CRITICAL}

    jobs = [world.job("a"), world.due_job("b", due=HOUR)]
    manager_of(world, by_name).update_priorities(jobs)
    assert levels(jobs) == ["critical", "medium"]
    assert world.events(JobPriorityChanged)[0].why == "by_name"


def test_x10_a_calculation_that_raises_leaves_the_built_in_answer(world: World) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("out of order")

    manager = manager_of(world, broken)
    manager.register_calculator("broken", broken)
    job = world.due_job(due=HOUR, priority="low")
    manager.update_priorities([job])
    assert job.priority is Priority.MEDIUM
