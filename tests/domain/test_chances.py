"""The arithmetic of forecasts against plain sampling: what is worked out is what happens, counted many times."""

from collections.abc import Callable
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.forecasting.chances import CONFIDENCE, WIDTH, Run, above, late, latest, latest_of, outlived, run_of

DRAWS = 40_000
moments = st.floats(-1e6, 1e6)
deviations = st.floats(0, 1e5)


def sampled(draw: Callable[[Random], float | None], seed: int = 1) -> list[float]:
    rng = Random(seed)
    return [each for each in (draw(rng) for _ in range(DRAWS)) if each is not None]


def test_the_interval_holds_the_share_that_is_stated() -> None:
    assert 1 - 2 * above(WIDTH) == pytest.approx(CONFIDENCE)
    inside = sampled(lambda rng: float(abs(rng.gauss(0, 1)) <= WIDTH))
    assert fmean(inside) == pytest.approx(CONFIDENCE, abs=0.01)


@pytest.mark.parametrize(("mean", "deviation", "deadline"), [(100, 20, 110), (100, 20, 60), (100, 5, 100), (0, 30, 70)])
def test_the_chance_of_being_late_is_how_often_it_is(mean: float, deviation: float, deadline: int) -> None:
    found = sampled(lambda rng: float(rng.gauss(mean, deviation) > deadline))
    assert late(deadline, mean, deviation) == pytest.approx(fmean(found), abs=0.01)


def test_without_any_error_a_job_is_late_or_it_is_not() -> None:
    assert (late(100, 100, 0), late(100, 100.5, 0)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second"),
    [((100, 10), (100, 10)), ((100, 10), (120, 5)), ((100, 30), (90, 1)), ((0, 5), (500, 5)), ((100, 0), (100, 20))],
)
def test_the_later_of_two_is_as_clark_says(first: tuple[float, float], second: tuple[float, float]) -> None:
    found = sampled(lambda rng: max(rng.gauss(*first), rng.gauss(*second)))
    mean, variance = latest(first[0], first[1] ** 2, second[0], second[1] ** 2)
    assert mean == pytest.approx(fmean(found), abs=0.5)
    assert variance**0.5 == pytest.approx(pstdev(found), abs=0.5)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 20, 100])
def test_the_latest_of_many_is_close_to_what_happens(count: int) -> None:
    found = [max(rng.gauss(100, 10) for _ in range(count)) for rng in [Random(2)] for _ in range(4_000)]
    mean, variance = latest_of(count, 100, 100)
    assert mean == pytest.approx(fmean(found), abs=2)  # a fifth of a deviation: maxima are not normal themselves
    assert variance**0.5 == pytest.approx(pstdev(found), rel=0.4)  # Clark: the more, the narrower


@pytest.mark.parametrize("lived", [0, 60, 100, 130])
def test_what_has_lived_so_long_ends_as_those_do_that_lived_so_long(lived: int) -> None:
    run = Run(100, 2 / 3 * 400, (400 / 3) ** 0.5)
    whole = sampled(lambda rng: next((x for x in [rng.gauss(100, 20)] if x > lived), None))
    left = outlived(run, lived)
    assert run.deviation_ms == pytest.approx(20)
    assert left.mean_ms == pytest.approx(fmean(whole), abs=1.0)
    assert left.deviation_ms == pytest.approx(pstdev(whole), abs=1.0)


def test_what_has_lived_far_too_long_is_half_way_and_never_beyond_its_walltime() -> None:
    run = Run(100, 60, 5)
    assert outlived(run, 1_000).mean_ms == 2_000
    assert outlived(run, 1_000, 1_500).mean_ms == 1_500
    assert outlived(Run(100), 50) == Run(100)
    assert outlived(Run(100), 100).mean_ms >= 100


def test_errors_are_a_third_common_and_two_good_predictions_prove_nothing() -> None:
    never_checked, twice, often = run_of(1_000, 0, 0), run_of(1_000, 2, 0), run_of(1_000, 60, 60 * 100)
    assert never_checked.deviation_ms == pytest.approx(500 * 1.2533, rel=1e-3)
    assert twice.deviation_ms == pytest.approx(500 / 3 * 1.2533, rel=1e-3)
    assert often.deviation_ms == pytest.approx(6_500 / 61 * 1.2533, rel=1e-3)
    assert often.common_ms**2 == pytest.approx(often.own / 2)
    assert run_of(1_000, 5, 50, most_ms=700).mean_ms == 700


def test_a_prediction_from_two_runs_is_off_by_what_its_parts_say() -> None:
    """Runs of deviation 1, predicted by the mean of two: the error has variance 1.5, a third of it the mean's own."""
    rng = Random(3)
    means = [(rng.gauss(0, 1) + rng.gauss(0, 1)) / 2 for _ in range(DRAWS)]
    errors = [rng.gauss(0, 1) - mean for mean in means]
    assert pstdev(means) ** 2 / pstdev(errors) ** 2 == pytest.approx(1 / 3, abs=0.02)


@given(moments, deviations, st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_a_chance_is_one_and_never_grows_with_the_deadline(mean: float, deviation: float, at: int, more: int) -> None:
    now, then = late(at, mean, deviation), late(at + more, mean, deviation)
    assert 0 <= then <= now <= 1


@given(moments, deviations, moments, deviations)
def test_the_later_of_two_is_no_earlier_than_either(first: float, one: float, second: float, other: float) -> None:
    mean, variance = latest(first, one**2, second, other**2)
    assert mean >= max(first, second) - 1e-3
    assert variance >= 0
    assert (mean, variance) == pytest.approx(latest(second, other**2, first, one**2), rel=1e-6, abs=1e-2)


@given(st.integers(1, 10**7), st.integers(0, 64), st.integers(0, 10**7), st.integers(0, 10**8))
def test_what_still_runs_ends_no_earlier_than_now(predicted: int, checked: int, missed: int, lived: int) -> None:
    left = outlived(run_of(predicted, checked, missed), lived)
    assert left.mean_ms >= lived - 1e-6 * lived or left.mean_ms == predicted
    assert left.own >= 0
