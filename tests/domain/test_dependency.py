"""Edges between jobs: when they hold a successor back, what settles them, and ways through the graph."""

from itertools import pairwise

import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st

from domain import dependency
from domain.dependency import DependencyState, DependencyType, find_path
from domain.errors import DependencyCycle, DependencyNotFound
from tests.builders import NOW
from tests.spec import scenarios

given = scenarios(dependency)
EDGE = "dep-job-a:job-b"
ENDS = {"dependency_id": EDGE, "predecessor_id": "job-a", "successor_id": "job-b"}
FACT = {"at_ms": NOW} | ENDS

declared = dependency.DependencyDeclared(**FACT)
FACTS = {
    DependencyState.PENDING: (declared,),
    DependencyState.SATISFIED: (declared, dependency.DependencySatisfied(**FACT)),
    DependencyState.FAILED: (declared, dependency.DependencyFailed(**FACT, why="failed")),
    DependencyState.BYPASSED: (declared, dependency.DependencyBypassed(**FACT)),
}
COMMANDS = {
    "satisfy": dependency.SatisfyDependency(dependency_id=EDGE),
    "fail": dependency.FailDependency(dependency_id=EDGE, why="failed"),
    "bypass": dependency.BypassDependency(dependency_id=EDGE, why="good enough"),
    "reopen": dependency.ReopenDependency(dependency_id=EDGE),
}
TABLE = [
    ("pending", "satisfy", "satisfied"),
    ("pending", "fail", "failed"),
    ("pending", "bypass", "bypassed"),
    ("pending", "reopen", None),
    ("satisfied", "satisfy", None),
    ("satisfied", "fail", None),
    ("satisfied", "bypass", None),
    ("satisfied", "reopen", "pending"),
    ("failed", "satisfy", "satisfied"),
    ("failed", "fail", None),
    ("failed", "bypass", "bypassed"),
    ("failed", "reopen", "pending"),
    ("bypassed", "satisfy", None),
    ("bypassed", "fail", None),
    ("bypassed", "bypass", None),
    ("bypassed", "reopen", None),  # a person decided
]


@pytest.mark.parametrize(("before", "verb", "after"), TABLE)
def test_each_command_moves_an_edge_as_the_table_says(before: str, verb: str, after: str | None) -> None:
    asked = given(*FACTS[DependencyState(before)]).when(COMMANDS[verb])
    if after is None:
        asked.then_nothing()
        return
    (fact,) = asked.facts
    assert {name: getattr(fact, name) for name in ENDS} == ENDS
    assert asked.then(fact).state.state is DependencyState(after)


def test_the_table_is_complete() -> None:
    assert {(before, verb) for before, verb, _ in TABLE} == {
        (s.value, verb) for s in DependencyState for verb in COMMANDS
    }


@pytest.mark.parametrize(
    ("state", "blocks"), [("pending", True), ("failed", True), ("satisfied", False), ("bypassed", False)]
)
def test_an_edge_holds_its_successor_back_until_it_is_satisfied_or_bypassed(state: str, blocks: bool) -> None:
    assert given(*FACTS[DependencyState(state)]).state.blocks is blocks


def test_an_edge_is_declared_once() -> None:
    asked = dependency.DeclareDependency(predecessor_id="job-a", successor_id="job-b")
    after = given().when(asked).then(declared)
    assert (after.state.state, after.state.type) == (DependencyState.PENDING, DependencyType.SEQUENTIAL)
    after.when(asked).then_nothing()
    given(*FACTS[DependencyState.SATISFIED]).when(asked).then_nothing()


def test_a_job_cannot_wait_for_itself() -> None:
    asked = dependency.DeclareDependency(predecessor_id="job-a", successor_id="job-a")
    given().when(asked).then_raises(DependencyCycle, predecessor_id="job-a", path="job-a")


@pytest.mark.parametrize("verb", COMMANDS)
def test_nothing_can_be_asked_of_an_edge_that_was_never_declared(verb: str) -> None:
    given().when(COMMANDS[verb]).then_raises(DependencyNotFound, dependency_id=EDGE)


def test_two_different_edges_never_share_an_id() -> None:
    one = dependency.dependency_id("job-a", "job-b-job-c")
    other = dependency.dependency_id("job-a-job-b", "job-c")
    assert one != other


# -- ways through the graph ------------------------------------------------------------------------------------------

edges = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14)


@given_any(edges, st.integers(0, 6), st.integers(0, 6))
def test_a_path_is_found_exactly_when_there_is_one(graph: set[tuple[int, int]], start: int, goal: int) -> None:
    path = find_path(str(start), str(goal), lambda job_id: [str(b) for a, b in sorted(graph) if str(a) == job_id])
    reached, grew = {start}, True
    while grew:
        more = {b for a, b in graph if a in reached} - reached
        reached, grew = reached | more, bool(more)
    assert (path is not None) == (goal in reached)
    if path is not None:
        steps = [(int(a), int(b)) for a, b in pairwise(path)]
        assert (path[0], path[-1]) == (str(start), str(goal))
        assert set(steps) <= graph


def test_a_long_chain_is_no_deeper_than_memory() -> None:
    path = find_path("0", "50000", lambda job_id: [str(int(job_id) + 1)])
    assert path is not None
    assert len(path) == 50_001
