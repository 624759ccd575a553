"""Rules of queues that other programs keep: promotion by deadline, readiness, ageing, fairness."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.policies import promotion


@pytest.mark.parametrize(
    ("need", "left", "wanted"),
    [
        (4, 6, [1, 2, 3, 4, 4]),
        (4, 6.1, [1, 2, 3, 3, 4]),
        (0, 23.9, [1, 2, 3, 3, 4]),
        (0, 24, [1, 2, 2, 3, 4]),
        (0, 47.9, [1, 2, 2, 3, 4]),
        (0, 48, [0, 1, 2, 3, 4]),
    ],
)
def test_a_deadline_lifts_by_one_step_the_nearer_the_more_levels(need: float, left: float, wanted: list[int]) -> None:
    assert [promotion.promoted(rank, need, left, 2, 24) for rank in range(5)] == wanted


@given(st.integers(0, 4), st.floats(0, 500), st.floats(-100, 500))
def test_nobody_is_lowered_and_one_step_is_the_most(rank: int, need: float, left: float) -> None:
    assert rank <= promotion.promoted(rank, need, left, 2, 24) <= min(4, rank + 1)
    assert promotion.promoted(rank, need, left - 1, 2, 24) >= promotion.promoted(rank, need, left, 2, 24)


def test_predecessors_hold_back_until_half_done() -> None:
    assert promotion.is_ready([])
    assert promotion.is_ready([None, ("completed", 0), ("running", 50)])
    assert not promotion.is_ready([("running", 49.9)])
    assert not promotion.is_ready([("failed", 100)])
    assert promotion.is_ready([("running", 20)]) is False is not promotion.stands_aside("running", 20, enough=10)


def test_only_a_higher_rank_is_inherited() -> None:
    assert (promotion.inherited([], 2), promotion.inherited([2, 1], 2), promotion.inherited([1, 4], 2)) == (
        None,
        None,
        4,
    )


def test_ageing_and_fairness() -> None:
    assert [promotion.aged(periods, 0.1) for periods in (0.9, 4.9, 5, 50)] == [False, False, True, True]
    assert not promotion.aged(0.9, 1.0)
    shares = promotion.shares(["a", "a", "b"])
    assert shares == {"a": 2 / 3, "b": 1 / 3}
    assert [promotion.takes_too_much(shares["a"], weight) for weight in (1, 0.5, 0)] == [True, False, False]
    assert promotion.shares([]) == {}
