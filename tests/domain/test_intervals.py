"""Task sets behave as sets of numbers, and equal sets are equal texts."""

from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import intervals
from tests.strategies import numbers, task_sets


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("7", "7"),
        ("1-10", "1-10"),
        ("3,1,2", "1-3"),
        ("1-3,4-6", "1-6"),  # touching
        ("1-5,3-9", "1-9"),  # overlapping
        ("1-9,3-4", "1-9"),  # one inside the other
        (" 1 - 3 , 8 ", "1-3,8"),
        ("1-10:3", "1,4,7,10"),
        ("1-4:1", "1-4"),
        ("0-5:2,1-5:2", "0-5"),
        ("-3--1,5", "-3--1,5"),  # film frames may lie before 0
        ("-1-1", "-1-1"),
        ("007", "7"),
        ("1,1,1", "1"),
    ],
)
def test_what_a_person_writes_is_read_as_array_jobs_and_frame_ranges(written: str, canonical: str) -> None:
    assert intervals.parse(written) == canonical


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "'' is not a task number or range"),
        ("1,,2", "'' is not a task number or range"),
        ("a", "'a' is not a task number or range"),
        ("1-", "'1-' is not a task number or range"),
        ("1:2", "'1:2' is not a task number or range"),
        ("5-1", "range '5-1' runs backwards"),
        ("1-5:0", "range '1-5:0' runs backwards"),
        ("0-1000000", "more than 1000000 tasks"),
        ("1-600000,1-600000", "more than 1000000 tasks"),
    ],
)
def test_what_is_no_task_set_is_refused_and_the_error_says_why(written: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        intervals.parse(written)


def test_a_million_tasks_are_a_few_bytes_and_cost_no_more_than_one() -> None:
    assert intervals.parse("0-999999") == "0-999999"
    assert intervals.size("0-999999") == 1_000_000
    assert intervals.difference("0-999999", "1-999998") == "0,999999"


@given(numbers)
def test_a_set_of_numbers_comes_back_as_it_went_in(chosen: set[int]) -> None:
    tasks = intervals.of(chosen)
    assert list(intervals.members(tasks)) == sorted(chosen)
    assert intervals.size(tasks) == len(chosen)
    if chosen:
        assert intervals.first(tasks) == min(chosen)
        assert intervals.parse(tasks) == tasks


@given(numbers)
def test_the_intervals_of_a_canonical_set_are_sorted_and_never_touch(chosen: set[int]) -> None:
    spans = intervals.intervals(intervals.of(chosen))
    assert all(low <= high for low, high in spans)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(spans))


@given(numbers, numbers)
def test_union_and_difference_are_those_of_sets(left: set[int], right: set[int]) -> None:
    a, b = intervals.of(left), intervals.of(right)
    assert intervals.union(a, b) == intervals.of(left | right)
    assert intervals.difference(a, b) == intervals.of(left - right)


@given(task_sets(), st.integers(-6, 41))
def test_a_task_is_contained_when_it_is_a_member(tasks: str, number: int) -> None:
    assert intervals.contains(tasks, number) == (number in set(intervals.members(tasks)))


@given(numbers, st.integers(-1, 30))
def test_taking_some_tasks_takes_the_lowest(chosen: set[int], count: int) -> None:
    assert intervals.take(intervals.of(chosen), count) == intervals.of(sorted(chosen)[: max(0, count)])


@given(st.integers(-99, 99))
def test_a_single_task_is_the_set_of_that_task(number: int) -> None:
    assert intervals.single(number) == intervals.of([number])
    assert intervals.size(intervals.single(number)) == 1


def test_equal_sets_are_equal_texts_and_hash_alike() -> None:
    assert {intervals.of([1, 2, 3, 9])} == {intervals.parse("9,1-3")}


def test_taking_from_a_set_of_many_holes_costs_the_number_of_holes() -> None:
    odd, thirds = intervals.of(range(1, 120_000, 2)), intervals.of(range(0, 120_000, 3))
    began = process_time()
    left = intervals.difference(odd, thirds)  # 60,000 and 40,000 intervals: some 20 ms, but 10 s pair by pair
    assert process_time() - began < 2
    assert intervals.size(left) == 40_000
