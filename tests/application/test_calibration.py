"""Are forecasts what they say? Twenty farms whose run times are off by chance, run and scored in virtual time."""

from statistics import fmean, median

import pytest

from domain.forecasting.chances import CONFIDENCE
from domain.forecasting.promises import Basis, ForecastsMade
from tests.calibration import Played, play

SEEDS = 20
JOBS = 100
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def farms() -> list[Played]:
    return [play(seed, JOBS) for seed in range(SEEDS)]


def test_every_job_is_forecast_and_scored_once(farms: list[Played]) -> None:
    for played in farms:
        assert sorted(row.job_id for row in played.scores) == [f"job-b{number:04d}" for number in range(JOBS)]
        assert played.app.farm.promises == {}
        rows = [row for each in played.log if isinstance(each.event, ForecastsMade) for row in each.event.rows]
        assert {row.basis for row in rows} == {Basis.HISTORY}
        assert len(rows) <= 8 * JOBS


def test_the_interval_holds_what_it_is_meant_to_hold(farms: list[Played]) -> None:
    """The share of ends in the interval stated last: nine tenths are meant."""
    shares = [fmean(row.within is True for row in played.completed) for played in farms]
    print(f"in the interval: median {median(shares):.3f}, worst {min(shares):.3f} of {SEEDS} farms")
    assert median(shares) >= CONFIDENCE
    assert fmean(shares) >= CONFIDENCE
    assert min(shares) >= CONFIDENCE - 0.1  # of 100 jobs: three standard errors


def test_chances_are_worth_something_from_the_first_forecast_on(farms: list[Played]) -> None:
    """Against always stating the share that is late, which comes to p (1 - p)."""
    rows = [row for played in farms for row in played.completed]
    base = fmean(row.late is True for row in rows)
    first, last = (
        fmean([b for b in briers if b is not None])
        for briers in zip(*[(r.first_brier, r.brier) for r in rows], strict=True)
    )
    print(f"Brier: first {first:.3f}, last {last:.3f}, blind {base * (1 - base):.3f}")
    assert last <= first <= base * (1 - base) / 2


def test_of_those_that_are_likely_late_most_are_and_of_the_others_few(farms: list[Played]) -> None:
    rows = [row for played in farms for row in played.completed if row.first_probability is not None]
    shares = []
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        late = [r.late is True for r in rows if low <= (r.first_probability or 0) < low + 0.2 + (low == 0.8)]
        shares.append(fmean(late))
        assert abs(fmean(late) - (low + 0.1)) < 0.25
    print(f"late of those with a first chance up to 20, 40, 60, 80, 100 %: {[round(each, 2) for each in shares]}")
    assert shares == sorted(shares)
