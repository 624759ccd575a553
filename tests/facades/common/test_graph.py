"""Dependency graphs (§7.1)."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import DependencyGraph, DependencyState, DependencyType
from common.dependency_tracking import DependencyNode, GraphNodeType


def graph_of(*edges: str) -> DependencyGraph:
    """A graph of edges written as two letters."""
    graph = DependencyGraph("o")
    for before, after in edges:
        assert graph.add_dependency(before, after)
    return graph


def test_d1_a_known_node_is_retyped_and_its_metadata_merged() -> None:
    graph = DependencyGraph("o")
    graph.add_node("a", GraphNodeType.GROUP, {"x": 1})
    graph.add_stage("a", {"y": 2})
    assert graph.nodes["a"] == {"type": "stage", "x": 1, "y": 2}
    assert (graph.nodes["a"].id, graph.nodes["a"].node_type) == ("a", GraphNodeType.STAGE)
    assert graph.nodes["a"].metadata is graph.nodes["a"]
    assert DependencyNode("b") == {"type": "job"}
    assert (graph.owner_id, graph.simulation_id) == ("o", "o")


def test_d2_an_edge_adds_its_nodes_unless_it_closes_a_cycle() -> None:
    graph = graph_of("ab", "bc")
    refused = graph.add_dependency("c", "a")
    assert not refused
    assert "cycle" in str(refused.error)
    assert refused.code == "dependency.cycle"  # type: ignore[attr-defined]
    assert "cycle" in str(graph.add_dependency("new", "new").error)
    assert set(graph.nodes) == {"a", "b", "c"}
    graph.satisfy_dependency("a", "b")
    assert graph.add_dependency("a", "b", DependencyType.DATA, "frames")
    record = graph.get_dependency("a", "b")
    assert record is not None
    assert (record.state, record.dependency_type, record.condition) == (DependencyState.PENDING, "data", "frames")
    assert graph.has_edge("a", "b")
    assert not graph.has_edge("b", "a")


def test_d3_an_edge_that_is_not_there_cannot_be_removed() -> None:
    graph = graph_of("ab")
    assert not graph.remove_dependency("b", "a")
    assert graph.remove_dependency("a", "b")
    assert not graph.has_edge("a", "b")
    assert graph.add_dependency("b", "a")


def test_records_are_live_and_unknown_ids_have_none() -> None:
    graph = graph_of("ab", "ac", "bc")
    assert [each.to_id for each in graph.get_dependencies_from("a")] == ["b", "c"]
    assert [each.from_id for each in graph.get_dependencies_to("c")] == ["a", "b"]
    assert graph.get_dependencies_to("?") == graph.get_dependencies_from("?") == []
    assert graph.update_dependency_state("?", "a", DependencyState.FAILED) is None
    graph.get_dependencies_to("b")[0].bypass()
    assert graph.are_all_dependencies_satisfied("b")
    assert graph.fail_dependency("a", "c") is graph.get_dependency("a", "c")


@pytest.mark.parametrize("status", ["completed", "COMPLETED"])
def test_d4_completed_satisfies_what_comes_after(status: str) -> None:
    graph = graph_of("ab", "ac", "ad")
    graph.bypass_dependency("a", "c")
    assert graph.update_node_status("a", status) == ["b", "c", "d"]
    assert [graph.dependencies["a", each].state for each in "bcd"] == ["satisfied", "bypassed", "satisfied"]
    assert graph.nodes["a"]["status"] == "completed"


def test_d4_failed_and_cancelled_fail_what_needs_the_result() -> None:
    graph = DependencyGraph()
    for after, kind in zip("bcde", DependencyType, strict=False):
        graph.add_dependency("a", after, kind)
    assert graph.update_node_status("a", "failed") == ["b", "c"]
    assert [graph.dependencies["a", each].state for each in "bcde"] == ["failed", "failed", "pending", "pending"]
    assert graph_of("ab").update_node_status("a", "cancelled") == ["b"]
    assert graph_of("ab").update_node_status("a", "running") == []
    assert graph_of("ab").update_node_status("?", "completed") == []


def test_d5_blocked_by_what_is_neither_satisfied_nor_completed() -> None:
    graph = graph_of("ac", "bc")
    assert graph.is_node_blocked("c", {"a"}) == ["b"]
    assert graph.dependencies["a", "c"].state is DependencyState.PENDING
    graph.satisfy_dependency("b", "c")
    assert graph.is_node_blocked("c", {"a"}) is None
    assert graph.is_node_blocked("?", set()) is None


def test_d6_ready_are_roots_and_those_whose_way_is_free() -> None:
    graph = graph_of("ab", "bc", "dc")
    assert graph.get_ready_nodes(set()) == {"a", "d"}
    assert graph.get_ready_nodes({"a", "d"}) == {"b"}
    assert graph.get_ready_stages({"a", "b", "d"}) == {"c"}
    assert (graph.get_root_nodes(), graph.get_leaf_nodes()) == (["a", "d"], ["c"])
    assert (graph.get_root_stages(), graph.get_leaf_stages()) == (["a", "d"], ["c"])


def test_d7_the_critical_path_is_the_longest() -> None:
    assert DependencyGraph().get_critical_path() == []
    lonely = DependencyGraph()
    lonely.add_node("x")
    lonely.add_node("y")
    assert lonely.get_critical_path() == ["x"]
    graph = graph_of("ad", "ab", "bc", "cd", "ae")
    assert graph.get_critical_path() == ["a", "b", "c", "d"]
    graph.add_node("e", metadata={"duration": timedelta(hours=1)})
    graph.add_node("d", metadata={"duration": 60})
    assert graph.get_critical_path() == ["a", "e"]


def test_d8_cycles_past_the_rules_and_records_without_nodes_are_found() -> None:
    graph = graph_of("ab", "bc")
    assert graph.validate() == []
    graph.graph.add_edge("c", "a")
    (problem,) = graph.validate()
    assert "cycle" in problem
    assert all(each in problem for each in "abc")
    assert graph.get_critical_path() == []
    del graph.nodes["b"]
    assert any("'b'" in each for each in graph.validate())


def test_d9_d10_a_graph_survives_being_a_dict() -> None:
    graph = graph_of("ab", "bc")
    graph.satisfy_dependency("a", "b")
    told = graph.serialize()
    assert told["edges"][0] == {
        "from_id": "a", "to_id": "b", "dependency_type": "sequential", "state": "satisfied", "condition": None,
    }  # fmt: skip
    again = DependencyGraph.deserialize(told)
    assert again.serialize() == told
    assert again.dependencies["a", "b"].is_satisfied()


def test_d10_older_forms_are_read() -> None:
    graph = DependencyGraph.deserialize(
        {
            "simulation_id": "s",
            "nodes": {"a": {"type": "stage", "metadata": {"x": 1}}, "b": None},
            "edges": [{"from": "a", "to": "b", "type": "TIME", "state": "BYPASSED"}],
        }
    )
    assert (graph.owner_id, graph.nodes["a"]) == ("s", {"type": "stage", "x": 1})
    assert graph.dependencies["a", "b"].dependency_type is DependencyType.TEMPORAL
    assert graph.dependencies["a", "b"].state is DependencyState.BYPASSED


def test_the_directed_graph_is_used_as_graph_libraries_are() -> None:
    inner = graph_of("ab", "ac").graph
    assert ("a" in inner.nodes, "a" in inner.nodes(), len(inner.nodes())) == (True, True, 3)
    assert (list(inner.edges()), ("a", "b") in inner.edges(), len(inner.edges)) == ([("a", "b"), ("a", "c")], True, 2)
    assert (list(inner.successors("a")), list(inner.predecessors("c"))) == (["b", "c"], ["a"])
    assert (inner.in_degree("a"), inner.out_degree("a"), inner.in_degree["b"]) == (0, 2, 1)
    assert inner.has_edge("a", "b")


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30))
def test_d2_no_edges_ever_close_a_cycle(edges: list[tuple[int, int]]) -> None:
    graph = DependencyGraph()
    for before, after in edges:
        graph.add_dependency(str(before), str(after))
    assert graph.validate() == []
    path = graph.get_critical_path()
    assert all(graph.has_edge(before, after) for before, after in pairwise(path))
