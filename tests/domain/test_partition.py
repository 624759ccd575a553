"""Partitions: terms that make sense, one definition, and which nodes belong."""

from typing import Any

import pytest

from domain import partition
from domain.errors import PartitionInvalid, PartitionNotFound
from domain.partition import Terms, belongs
from tests.builders import HOUR, NOW, having, node
from tests.spec import scenarios

given = scenarios(partition)
ID = {"at_ms": NOW, "partition": "gpu"}
TERMS = Terms(("n1", "n2"), max_walltime_ms=HOUR)
defined = partition.PartitionDefined(**ID, terms=TERMS)
removed = partition.PartitionRemoved(**ID, why="sold")


def define(terms: Terms = TERMS, name: str = "gpu") -> partition.DefinePartition:
    return partition.DefinePartition(partition=name, terms=terms)


def change(terms: Terms) -> partition.ChangePartition:
    return partition.ChangePartition(partition="gpu", terms=terms, why="more nodes")


def test_a_partition_is_defined_once() -> None:
    after = given().when(define()).then(defined)
    assert (after.state.terms, after.state.removed) == (TERMS, False)
    after.when(define()).then_nothing()


def test_defining_it_again_otherwise_is_refused_and_the_error_names_the_way() -> None:
    asked = given(defined).when(define(Terms(("n3",))))
    asked.then_raises(PartitionInvalid, partition="gpu")
    assert "milepost partition set" in str(asked.refusal)


def test_terms_change_at_any_time() -> None:
    terms = Terms(("n1",), (having("os", "linux"),), ("show",), 4, 50, 25, 2 * HOUR, HOUR)
    changed = partition.PartitionChanged(**ID, terms=terms, why="more nodes")
    after = given(defined).when(change(terms)).then(changed)
    assert after.state.terms == terms
    after.when(change(terms)).then_nothing()


def test_a_partition_that_was_removed_can_be_defined_anew() -> None:
    remove = partition.RemovePartition(partition="gpu", why="sold")
    after = given(defined).when(remove).then(removed)
    assert after.state.removed
    after.when(remove).then_nothing()
    after.when(change(TERMS)).then_raises(PartitionNotFound, partition="gpu")
    assert not after.when(define()).then(defined).state.removed


def test_what_is_not_there_cannot_be_changed_or_removed() -> None:
    given().when(change(TERMS)).then_raises(PartitionNotFound, partition="gpu")
    given().when(partition.RemovePartition(partition="gpu")).then_raises(PartitionNotFound, partition="gpu")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"nodes": ()}, "it has no nodes: name some, or an attribute"),
    ({"nodes": ("../x",)}, "no node can be called '../x'"),
    ({"nodes": ("n2", "n1")}, "sorted and named once"),
    ({"nodes": ("n1", "n1")}, "sorted and named once"),
    ({"clients": ("b", "a")}, "sorted and named once"),
    ({"attributes": (having("os"),)}, "an attribute needs a name and a value"),
    ({"attributes": (having("", "linux"),)}, "an attribute needs a name and a value"),
    ({"limit_percent": 101}, "a limit of 101 % is not within 0..100"),
    ({"client_percent": -1}, "a limit of -1 % is not within 0..100"),
    ({"max_tasks": 0}, "the task limit must be at least 1"),
    ({"max_walltime_ms": 0}, "a walltime must be at least 1 ms"),
    ({"default_walltime_ms": 0}, "a walltime must be at least 1 ms"),
    ({"max_walltime_ms": 5, "default_walltime_ms": 6}, "the default walltime is longer than the longest one"),
]


@pytest.mark.parametrize(("fields", "problem"), WRONG)
def test_terms_that_make_no_sense_are_refused(fields: dict[str, Any], problem: str) -> None:
    terms = Terms(**({"nodes": ("n1",)} | fields))
    for asked in (given().when(define(terms)), given(defined).when(change(terms))):
        asked.then_raises(PartitionInvalid, partition="gpu")
        assert problem in str(asked.refusal)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a"])
def test_a_partition_has_a_plain_name(name: str) -> None:
    given().when(define(name=name)).then_raises(PartitionInvalid, partition=name)


def test_a_job_that_names_no_walltime_gets_the_default_else_the_longest() -> None:
    assert Terms(max_walltime_ms=HOUR, default_walltime_ms=5).walltime_ms(None) == 5
    assert Terms(max_walltime_ms=HOUR).walltime_ms(None) == HOUR
    assert Terms().walltime_ms(None) is None
    assert Terms(max_walltime_ms=HOUR).walltime_ms(7) == 7


@pytest.mark.parametrize(
    ("fields", "inside"),
    [
        ({"node_id": "n1"}, True),
        ({"node_id": "n9"}, False),
        ({"node_id": "n9", "attributes": {"os": ("linux", "fast")}}, True),
        ({"node_id": "n9", "attributes": {"os": ("macos",)}}, False),
        ({"node_id": "n1", "retired": True}, False),
    ],
)
def test_nodes_belong_by_their_name_or_by_what_they_have(fields: dict[str, Any], inside: bool) -> None:
    assert belongs(node(**fields), Terms(("n1",), (having("os", "linux"),))) is inside
