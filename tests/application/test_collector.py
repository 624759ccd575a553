"""The garbage collector is calmer while simulations run, and as before when the last one has ended."""

import gc
from collections.abc import Iterator

import pytest

from application.simulation.collector import CALM, calm


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_passes_are_rare_until_the_last_of_several_has_ended() -> None:
    gc.set_threshold(700, 10, 9)
    one, other = calm(), calm()
    one.__enter__()
    assert gc.get_threshold() == (CALM, 10, 9)
    other.__enter__()
    one.__exit__(None, None, None)
    assert gc.get_threshold() == (CALM, 10, 9)
    other.__exit__(None, None, None)
    assert gc.get_threshold() == (700, 10, 9)


@pytest.mark.parametrize("young", [0, CALM + 1])
def test_who_wants_it_calmer_still_or_off_keeps_that(young: int) -> None:
    gc.set_threshold(young, 10, 10)
    with calm():
        assert gc.get_threshold() == (young, 10, 10)
    assert gc.get_threshold() == (young, 10, 10)


def test_a_simulation_that_fails_leaves_it_as_it_was() -> None:
    before = gc.get_threshold()
    with pytest.raises(RuntimeError), calm():
        raise RuntimeError
    assert gc.get_threshold() == before
