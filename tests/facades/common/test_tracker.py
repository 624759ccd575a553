"""The tracker (§7.2, 7.3, 7.5)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import ConfigurationError, DependencyGraph, DependencyState, DependencyTracker, DependencyType, JobQueue
from common.dependency_tracking import TransitionRule, TransitionTrigger
from domain.dependency import DependencyBypassed, DependencyDeclared, DependencySatisfied
from tests.facades.common.worlds import HOUR, World


def tracker_of(world: World, *edges: str, owner: str = "o") -> DependencyTracker:
    """A tracker with one graph of edges written as two letters."""
    tracker = DependencyTracker(app=world.app)
    tracker.create_graph(owner)
    for before, after in edges:
        assert tracker.add_dependency(owner, before, after)
    return tracker


def test_t1_an_owner_has_one_graph(world: World) -> None:
    tracker = tracker_of(world)
    assert not tracker.create_graph("o")
    assert isinstance(tracker.get_graph("o"), DependencyGraph)
    assert (tracker.transition_rules["o"], tracker.manual_overrides["o"], tracker.completion_times["o"]) == (
        [],
        set(),
        {},
    )
    assert tracker.get_graph("?") is None


def test_t2_a_dependency_finds_its_graph(world: World) -> None:
    tracker = DependencyTracker(app=world.app)
    assert tracker.register_dependency("a", "b")
    assert tracker.register_dependency("x", "y")
    assert list(tracker.graphs) == ["graph-1", "graph-2"]
    assert tracker.register_dependency("b", "c")
    assert tracker.graphs["graph-1"].has_edge("b", "c")
    assert tracker.register_dependency("c", "x")
    assert "cycle" in str(tracker.register_dependency("y", "a").error)
    assert "cycle" in str(tracker.register_dependency("q", "q").error)
    assert "q" not in {node for graph in tracker.graphs.values() for node in graph.nodes}


def test_t3_changes_need_a_graph(world: World) -> None:
    tracker = tracker_of(world, "ab")
    for refused in (tracker.add_dependency("?", "a", "b"), tracker.remove_dependency("?", "a", "b")):
        assert "'?'" in str(refused.error)
    assert tracker.add_dynamic_dependency("o", "b", "c")
    assert tracker.graphs["o"].dependencies["b", "c"].dependency_type is DependencyType.DATA
    assert tracker.remove_dependency("o", "b", "c")
    assert not tracker.remove_dependency("o", "b", "c")


def test_t4_t5_questions_about_one_job(world: World) -> None:
    tracker = tracker_of(world, "ab", "bc")
    assert tracker.check_dependency("a", "b").value is False
    assert not tracker.check_dependency("a", "c")
    assert not tracker.check_dependency("?", "a")
    tracker.update_status("o", "a", "completed")
    assert tracker.check_dependency("a", "b").value is True
    assert [each.from_id for each in tracker.get_dependencies("b").value] == ["a"]
    assert [each.to_id for each in tracker.get_dependencies("b", as_source=True).value] == ["c"]
    assert [each.from_id for each in tracker.get_dependencies_for("o", "b")] == ["a"]
    assert [each.to_id for each in tracker.get_dependents_for("o", "b")] == ["c"]
    assert tracker.get_dependencies_for("?", "b") == tracker.get_dependents_for("?", "b") == []


def test_t6_a_cycle_is_told_with_its_first_id_repeated(world: World) -> None:
    tracker = tracker_of(world, "ab", "bc")
    assert tracker.has_cycle().value is None
    tracker.graphs["o"].graph.add_edge("c", "a")
    ids = tracker.has_cycle().value
    assert ids[0] == ids[-1]
    assert set(ids) == {"a", "b", "c"}
    assert "cycle" in str(tracker.get_execution_plan("o").error)


def test_t6_a_cycle_over_two_graphs_is_refused_and_found(world: World) -> None:
    tracker = tracker_of(world, "ab")
    tracker.create_graph("p")
    assert tracker.add_dependency("p", "b", "c")
    assert "cycle" in str(tracker.add_dependency("p", "c", "a").error)
    tracker.graphs["p"].graph.add_edge("c", "a")
    assert set(tracker.has_cycle().value) == {"a", "b", "c"}


def test_t7_a_rule_brings_its_edge_or_is_refused(world: World) -> None:
    tracker = tracker_of(world, "ab")
    assert tracker.add_transition_rule("o", "b", "c")
    assert tracker.add_transition_rule("o", "b", "d", TransitionTrigger.MANUAL)
    kinds = [tracker.graphs["o"].dependencies["b", each].dependency_type for each in "cd"]
    assert kinds == [DependencyType.SEQUENTIAL, DependencyType.CONDITIONAL]
    assert not tracker.add_transition_rule("o", "b", "c")
    assert "cycle" in str(tracker.add_transition_rule("o", "c", "a").error)
    assert len(tracker.transition_rules["o"]) == 2
    assert tracker.remove_transition_rule("o", "b", "c")
    assert not tracker.remove_transition_rule("o", "b", "c")
    assert tracker.add_transition_rule("nobody", "x", "y")


def test_t8_a_completed_node_frees_what_waits_and_fires_rules(world: World) -> None:
    tracker = tracker_of(world, "ab", "ac")
    tracker.add_transition_rule("o", "a", "d")
    assert tracker.update_status("o", "a", "COMPLETED").value == ["b", "c", "d"]
    assert tracker.completion_times["o"] == {"a": world.now}
    assert tracker.graphs["o"].dependencies["a", "d"].state is DependencyState.SATISFIED
    assert not tracker.update_status("?", "a", "completed")
    assert tracker.update_status("o", "b", "failed").value == ["d"]


def test_t8_a_rule_of_time_fires_when_its_delay_is_over(world: World) -> None:
    tracker = tracker_of(world, "ab")
    tracker.graphs["o"].add_node("c")
    tracker.transition_rules["o"].append(rule := TransitionRule("a", "c", TransitionTrigger.TIME_BASED, None, 3600))
    rule.clock = lambda: world.now
    assert tracker.update_status("o", "a", "completed").value == ["b"]
    world.passes(HOUR)
    assert tracker.update_status("o", "b", "running").value == ["c"]


def test_72_a_rule_by_itself(world: World) -> None:
    done = {"a": "completed", "b": "Pending"}
    rule = TransitionRule("a", "b")
    assert rule.last_evaluated is None
    assert rule.should_transition(done)
    assert rule.last_evaluated == world.now
    assert not rule.should_transition({"a": "completed"})
    assert not rule.should_transition({"a": "running", "b": "pending"})
    assert not rule.should_transition({"a": "completed", "b": "running"})
    rule.enabled = False
    assert not rule.should_transition(done)
    late = TransitionRule("a", "b", TransitionTrigger.TIME_BASED, delay_seconds=60)
    assert [late.should_transition(done), late.should_transition(done, {"a": world.now})] == [False, False]
    assert late.should_transition(done, {"a": world.now - timedelta(minutes=1)})
    for trigger in (TransitionTrigger.MANUAL, TransitionTrigger.CONDITION_BASED, TransitionTrigger.DATA_DRIVEN):
        assert not TransitionRule("a", "b", trigger).should_transition(done)


def test_t9_ready_and_blocked(world: World) -> None:
    tracker = tracker_of(world, "ab", "bc")
    assert [tracker.is_ready_to_run("o", each, {"a"}) for each in "abc?"] == [True, True, False, False]
    assert not tracker.is_ready_to_run("?", "a", set())
    assert tracker.get_ready_jobs("o", {"a"}) == ["b"]
    assert tracker.get_blocking_jobs("o", "c", {"a"}) == ["b"]
    assert tracker.get_ready_jobs("?", set()) == tracker.get_blocking_jobs("?", "c", set()) == []
    assert tracker.is_stage_ready("o", "a")
    assert tracker.get_ready_stages("o") == ["a"]
    assert tracker.get_blocking_stages("o", "b") == ["a"]
    assert tracker.get_critical_path("o") == ["a", "b", "c"]
    assert tracker.get_critical_path("?") == []


def test_t10_a_bypass_is_remembered_and_may_declare_its_edge(world: World) -> None:
    tracker = tracker_of(world, "ab")
    tracker.graphs["o"].add_node("c")
    assert tracker.bypass_dependency("o", "a", "b")
    assert tracker.bypass_dependency("o", "a", "c")
    assert tracker.manual_overrides["o"] == {("a", "b"), ("a", "c")}
    assert tracker.graphs["o"].dependencies["a", "c"].state is DependencyState.BYPASSED
    assert tracker.is_ready_to_run("o", "c", set())
    assert not tracker.bypass_dependency("o", "a", "?")
    assert not tracker.bypass_dependency("?", "a", "b")


def test_t11_a_chain_of_n_has_n_steps(world: World) -> None:
    tracker = tracker_of(world, "ab", "bc", "cd")
    assert tracker.get_execution_plan("o").value == [["a"], ["b"], ["c"], ["d"]]
    diamond = tracker_of(World(), "ab", "ac", "bd", "cd")
    assert diamond.get_execution_plan("o").value == [["a"], ["b", "c"], ["d"]]
    assert not tracker.get_execution_plan("?")


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_t11_the_plan_is_a_level_order_of_any_graph(pairs: list[tuple[int, int]]) -> None:
    tracker = DependencyTracker()
    tracker.create_graph("o")
    edges = [(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]]
    for before, after in edges:
        assert tracker.add_dependency("o", str(before), str(after))
    plan = tracker.get_execution_plan("o").value
    level = {node: step for step, nodes in enumerate(plan) for node in nodes}
    assert set(level) == set(tracker.graphs["o"].nodes)
    for node, step in level.items():
        before = [level[str(b)] for b, a in edges if str(a) == node]
        assert step == max(before, default=-1) + 1


def test_a_failed_predecessor_blocks_for_good(world: World) -> None:
    tracker = tracker_of(world, "ab")
    assert tracker.update_status("o", "a", "failed").value == ["b"]
    assert tracker.graphs["o"].dependencies["a", "b"].state is DependencyState.FAILED
    assert tracker.get_blocking_jobs("o", "b", set()) == ["a"]


def test_what_the_core_has_words_for_is_said_in_them(world: World) -> None:
    queue, tracker = JobQueue(app=world.app), DependencyTracker(app=world.app)
    for each in "abc":
        queue.enqueue(world.job(each))
    tracker.register_dependency("a", "b")
    tracker.register_dependency("a", "c")
    tracker.bypass_dependency("graph-1", "a", "c")
    tracker.update_status("graph-1", "a", "completed")
    assert len(world.events(DependencyDeclared)) == 2
    assert len(world.events(DependencySatisfied)) == len(world.events(DependencyBypassed)) == 1


# -- 7.5 -------------------------------------------------------------------------------------------------------------


def test_75_a_type_of_the_callers_is_judged_by_its_evaluator_alone(world: World) -> None:
    approved: list[str] = []

    def approval(dependency: Any, statuses: Any, now: datetime) -> DependencyState:
        assert now == world.now
        good = dependency.to_id in approved and statuses[dependency.from_id] == "completed"
        return DependencyState.SATISFIED if good else DependencyState.PENDING

    tracker = tracker_of(world)
    tracker.register_dependency_type("approval", approval)
    tracker.add_dependency("o", "a", "b", "approval")
    assert tracker.update_status("o", "a", "completed").value == []
    approved.append("b")
    assert tracker.update_status("o", "a", "completed").value == ["b"]
    for taken in ("approval", "sequential"):
        with pytest.raises(ConfigurationError):
            tracker.register_dependency_type(taken, approval)


def test_75_conditions_are_predicates_by_name(world: World) -> None:
    tracker = tracker_of(world)
    answers = {"good": False}
    tracker.register_condition("good", lambda dependency, statuses: answers["good"])
    tracker.add_dependency("o", "a", "b", DependencyType.CONDITIONAL, "good")
    tracker.add_transition_rule("o", "a", "c", TransitionTrigger.CONDITION_BASED, "good")
    assert tracker.update_status("o", "a", "completed").value == []
    answers["good"] = True
    assert tracker.update_status("o", "a", "completed").value == ["b", "c"]
    with pytest.raises(ConfigurationError):
        tracker.register_condition("good", lambda dependency, statuses: True)


def test_75_temporal_waits_for_a_delay_or_a_time(world: World) -> None:
    tracker = tracker_of(world)
    tracker.add_dependency("o", "a", "b", DependencyType.TEMPORAL, "3600")
    tracker.add_dependency("o", "a", "c", DependencyType.TEMPORAL, (world.now + 2 * HOUR).isoformat())
    assert tracker.update_status("o", "a", "completed").value == []
    world.passes(HOUR)
    assert tracker.update_status("o", "b", "queued").value == ["b"]
    world.passes(HOUR)
    assert tracker.update_status("o", "c", "queued").value == ["c"]


def test_75_data_and_resources_can_come_before_the_end(world: World) -> None:
    tracker = tracker_of(world)
    tracker.add_dependency("o", "a", "b", DependencyType.DATA, "frames")
    tracker.add_dependency("o", "a", "c", DependencyType.RESOURCE)
    tracker.graphs["o"].add_node("a", metadata={"outputs": ["frames"], "released": True})
    assert tracker.update_status("o", "a", "running").value == ["b", "c"]


def test_75_validators_refuse_and_are_asked_again_by_validate(world: World) -> None:
    tracker = tracker_of(world)
    tracker.add_validator(lambda graph, a, b, kind: None if a < b else f"{a} must not come before {b}")
    assert tracker.add_dependency("o", "a", "b")
    assert tracker.add_dependency("o", "z", "y").error == "z must not come before y"
    assert "z" not in tracker.graphs["o"].nodes
    assert tracker.validate("o") == []
    tracker.graphs["o"].add_dependency("q", "p")
    assert tracker.validate("o") == ["q must not come before p"]
    assert len(tracker.validate("?")) == 1


def test_75_a_graph_of_the_callers_is_used(world: World) -> None:
    class Mine(DependencyGraph):
        """A graph of the caller's."""

    tracker = DependencyTracker(graph_factory=Mine, app=world.app)
    assert isinstance(tracker.create_graph("o").value, Mine)


def test_x10_a_hook_that_raises_refuses_and_changes_nothing(world: World) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("out of order")

    tracker = tracker_of(world, "ab", "ax")
    tracker.register_dependency_type("odd", broken)
    tracker.add_dependency("o", "a", "c", "odd")
    before = tracker.graphs["o"].serialize()
    assert "out of order" in str(tracker.update_status("o", "a", "completed").error)
    assert tracker.graphs["o"].serialize() == before
    assert tracker.completion_times["o"] == {}
    tracker.add_validator(broken)
    assert "out of order" in str(tracker.add_dependency("o", "b", "c").error)
    assert not tracker.graphs["o"].has_edge("b", "c")
