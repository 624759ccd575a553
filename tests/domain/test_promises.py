"""Scores of forecasts, and what the farm remembers of them."""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from domain.cycle import DAY_MS
from domain.farm import Farm
from domain.forecasting.promises import (
    AT_FIRST,
    MOST_WIDENED,
    STEP,
    Basis,
    ForecastsMade,
    ForecastsScored,
    Promise,
    Promises,
    Score,
    Standing,
    Word,
    forecast_stream,
    score,
    stand,
)
from domain.job.values import Job, JobStatus
from tests.builders import NOW, job


def promise(**fields: Any) -> Promise:
    given = {"earliest_ms": NOW + 50, "expected_ms": NOW + 100, "latest_ms": NOW + 150, "probability": 0.3}
    return Promise(**{"job_id": "job-1", "deadline_ms": NOW + 120, "word": Word.AT_RISK} | given | fields)


def ended(at: int, deadline: int | None = 120, how: JobStatus = JobStatus.COMPLETED) -> Job:
    return replace(job("job-1"), ended=how, ended_ms=NOW + at, deadline_ms=None if deadline is None else NOW + deadline)


def test_a_job_that_was_late_is_held_against_its_first_and_its_last_forecast() -> None:
    standing = stand(stand(None, promise(), NOW), promise(expected_ms=NOW + 120, probability=0.6), NOW + 10)
    assert score(standing, ended(140)) == Score(
        "job-1", NOW + 140, JobStatus.COMPLETED, 2, NOW + 120, True, 20, True, 0.6, 0.16, 40, True, 0.3, 0.49
    )  # fmt: skip


def test_ending_at_the_deadline_is_in_time() -> None:
    found = score(stand(None, promise(), NOW), ended(120))
    assert (found.late, found.brier) == (False, 0.09)
    assert score(stand(None, promise(), NOW), ended(151)).within is False


@pytest.mark.parametrize("how", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_did_not_complete_says_nothing_about_its_forecasts(how: JobStatus) -> None:
    assert score(stand(None, promise(), NOW), ended(140, how=how)) == Score("job-1", NOW + 140, how, 1, NOW + 120)


def test_a_chance_counts_for_the_deadline_it_was_stated_for() -> None:
    moved = score(stand(None, promise(), NOW), ended(140, deadline=200))
    assert (moved.late, moved.brier, moved.probability, moved.error_ms) == (False, None, None, 40)
    without = score(stand(None, promise(), NOW), ended(140, deadline=None))
    assert (without.late, without.brier, without.error_ms) == (None, None, 40)


def test_another_deadline_begins_anew_what_counts_as_first() -> None:
    other = promise(deadline_ms=NOW + 500)
    standing = stand(stand(stand(None, promise(), NOW), other, NOW + 1), promise(deadline_ms=NOW + 500), NOW + 2)
    assert (standing.first, standing.made, standing.made_ms) == (other, 3, NOW + 2)


def test_without_an_interval_on_both_sides_nothing_lies_in_it() -> None:
    assert score(stand(None, promise(latest_ms=None), NOW), ended(140)).within is None


def test_intervals_widen_until_nine_of_ten_ends_lie_in_them() -> None:
    """Ends twice as spread as the intervals say: the rule finds the factor of two by itself."""
    rng, promises, hits = Random(5), Promises(), []
    for _ in range(3_000):
        reach = round(1_645 * promises.width)
        promises.make(promise(earliest_ms=NOW - reach, expected_ms=NOW, latest_ms=NOW + reach), NOW)
        row = score(promises["job-1"], ended(round(rng.gauss(0, 2_000))))
        hits.append(row.within)
        promises.take_off(row)
    assert sum(map(bool, hits)) / len(hits) == pytest.approx(11 / 12, abs=0.01)
    assert promises.width == pytest.approx(2.1, abs=0.4)


def test_intervals_are_never_narrower_than_the_errors_and_bounds_of_walltimes_do_not_count() -> None:
    promises = Promises()
    for _ in range(AT_FIRST + 10):
        promises.make(promise(), NOW)
        promises.take_off(score(promises["job-1"], ended(100)))
    assert (promises.widening, promises.width) == (0, 1.0)
    for _ in range(50):
        promises.make(promise(basis=Basis.REQUESTED), NOW)
        promises.take_off(score(promises["job-1"], ended(900)))
    assert promises.widening == 0
    for _ in range(50):
        promises.make(promise(), NOW)
        promises.take_off(score(promises["job-1"], ended(900)))
    assert (promises.widening, promises.width) == (MOST_WIDENED, pytest.approx(STEP**MOST_WIDENED))


def test_the_farm_remembers_what_is_still_to_be_scored_and_only_the_newest_day() -> None:
    farm, tomorrow = Farm(), NOW + DAY_MS
    farm.apply(1, forecast_stream(NOW), 1, ForecastsMade(at_ms=NOW, rows=(promise(), promise(job_id="job-2"))))
    farm.apply(2, forecast_stream(tomorrow), 1, ForecastsMade(at_ms=tomorrow, rows=(promise(word=Word.LATE),)))
    assert list(farm.versions) == [forecast_stream(tomorrow)]
    assert farm.promises["job-1"] == Standing(promise(), promise(word=Word.LATE), tomorrow, 2)
    twin = Farm.restore(farm.snapshot())
    assert (twin.promises, twin.promises.widening, twin.versions) == (farm.promises, AT_FIRST, farm.versions)
    scored = ForecastsScored(at_ms=tomorrow, rows=(score(farm.promises["job-1"], ended(900)),))
    for each in (farm, twin):
        each.apply(3, forecast_stream(tomorrow), 2, scored)
        assert list(each.promises) == ["job-2"]
        assert each.promises.widening > AT_FIRST
    assert farm.snapshot() == twin.snapshot()
