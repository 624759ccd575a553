"""Amounts are exact integers per kind; attributes match as Open Job Description says."""

import pytest
from hypothesis import given

from domain.resources import NOTHING, AttributeNeed, Requirement, Resources, ResourceType, has_attributes, named_amounts
from tests.builders import having, need, resources
from tests.strategies import amounts, attribute_needs, node_attributes


def test_the_kinds_of_resource_are_those_that_were_published() -> None:
    assert [kind.value for kind in ResourceType] == ["cpu", "gpu", "memory", "storage", "network", "specialized"]


def test_sums_are_taken_kind_by_kind() -> None:
    have = resources(2, memory_mib=10, gpus=1, licence=3)
    more = resources(1, memory_mib=5, storage_mib=7, network_mbps=9, fpga=1)
    assert have.plus(more) == Resources(3000, 15, 1, 7, 9, (("fpga", 1), ("licence", 3)))
    assert have.plus(more, 2) == Resources(4000, 20, 1, 14, 18, (("fpga", 2), ("licence", 3)))


def test_a_named_amount_that_becomes_zero_is_no_longer_named() -> None:
    assert resources(licence=3).minus(resources(licence=3)) == NOTHING


@given(amounts, amounts)
def test_what_is_taken_and_given_back_leaves_everything_as_it_was(have: Resources, taken: Resources) -> None:
    assert have.minus(taken, 2).plus(taken, 2) == have
    assert have.plus(taken) == taken.plus(have)
    assert have.plus(NOTHING) == have


@given(amounts, amounts)
def test_a_need_fits_as_often_as_it_can_be_taken_away(have: Resources, wanted: Resources) -> None:
    count = have.count_of(wanted)
    if count is None:
        assert wanted == NOTHING
        return
    assert not have.minus(wanted, count).is_negative()
    assert have.minus(wanted, count + 1).is_negative()
    assert have.fits(wanted) == (count >= 1)


@given(amounts, amounts)
def test_one_more_than_there_is_does_not_fit(have: Resources, wanted: Resources) -> None:
    assert have.fits(wanted) == (not have.minus(wanted).is_negative())


def test_the_scarcest_resource_says_how_often_a_need_fits() -> None:
    assert resources(8, memory_mib=10, licence=5).count_of(resources(2, memory_mib=4, licence=1)) == 2  # memory
    assert resources(8, licence=5).count_of(resources(1, licence=2)) == 2  # licences
    assert resources(8).count_of(resources(1, licence=1)) == 0
    assert resources(-1).count_of(resources(1)) == 0  # a node that shrank below what it holds


def test_a_need_of_nothing_fits_without_bound() -> None:
    assert NOTHING.count_of(NOTHING) is None
    assert resources(1).count_of(NOTHING) is None


def test_amounts_are_listed_with_their_names_and_without_zeros() -> None:
    assert resources(1.5, gpus=2, licence=3).items() == [("millicores", 1500), ("gpus", 2), ("licence", 3)]


def test_named_amounts_are_sorted_and_without_zeros() -> None:
    assert named_amounts({"b": 1, "a": 2, "c": 0}) == (("a", 2), ("b", 1))


def test_negative_amounts_are_recognised_wherever_they_are() -> None:
    assert resources(1, gpus=-1).is_negative()
    assert resources(1, licence=-1).is_negative()
    assert not resources(1, licence=1).is_negative()


@pytest.mark.parametrize(
    ("named", "canonical"),
    [
        ((), True),
        ((("fpga", 1), ("licence", 2)), True),
        ((("licence", 2), ("fpga", 1)), False),  # not sorted
        ((("fpga", 1), ("fpga", 1)), False),  # twice
        ((("fpga", 0),), False),  # nothing of it
        ((("gpus", 1),), False),  # means something else already
        ((("", 1),), False),
    ],
)
def test_named_resources_have_one_form_and_names_of_their_own(
    named: tuple[tuple[str, int], ...], canonical: bool
) -> None:
    assert Resources(named=named).is_canonical() is canonical


def test_a_requirement_counts_all_its_slots() -> None:
    assert need(2, gpus=1, slots=3, licence=1).total() == resources(6, gpus=3, licence=3)
    assert need(2).total() == resources(2)
    assert Requirement().total() == NOTHING


NODE = {"os": ("linux",), "features": ("avx2", "avx512"), "empty": ()}


@pytest.mark.parametrize(
    ("wanted", "unmet"),
    [
        ((), None),
        ((having("os", "linux", "macos"),), None),
        ((having("os", "macos"),), "os"),
        ((having("features", all_of=("avx2", "avx512")),), None),
        ((having("features", all_of=("avx2", "neon")),), "features"),
        ((having("features", "neon", "avx2", all_of=("avx512",)),), None),
        ((having("zone", "b2"),), "zone"),  # the node says nothing about it
        ((having("empty", "x"),), "empty"),
        ((having("os", "linux"), having("zone", "b2"), having("features", "neon")), "zone"),  # the first one unmet
        ((having("zone"),), None),  # asks for nothing
    ],
)
def test_attributes_match_any_of_and_all_of(wanted: tuple[AttributeNeed, ...], unmet: str | None) -> None:
    assert has_attributes(NODE, wanted) == unmet


@given(node_attributes, attribute_needs)
def test_an_attribute_demand_is_met_by_set_arithmetic(has: dict[str, tuple[str, ...]], wanted: AttributeNeed) -> None:
    values, any_of = set(has.get(wanted.name, ())), set(wanted.any_of)
    met = (not any_of or bool(values & any_of)) and set(wanted.all_of) <= values
    assert (has_attributes(has, (wanted,)) is None) == met
