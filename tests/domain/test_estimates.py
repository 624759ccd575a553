"""Estimates: how long an attempt will run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from domain.farm import Farm
from domain.indices.performance import Performance
from domain.job.values import Attempt
from domain.policies import Context, Policies, made
from domain.policies.estimate import Predicted, Requested, predicted_ms
from tests.builders import NOW, farm, job

HOUR = 3_600_000


def context(*runs: tuple[str, str, int], estimate: str = "predicted") -> Context:
    """A cycle on a farm that has seen these runs: (client, kind, run_ms)."""
    learned: Farm = farm()
    learned.performance = Performance()
    for client_id, kind, run_ms in runs:
        learned.performance.record(client_id, kind, "any", run_ms)
    return Context(learned, made(Policies(estimate=estimate)), NOW)


def test_what_was_requested_is_the_walltime() -> None:
    here = context(("show", "comp", 60_000), estimate="requested")
    assert here.run_ms(job(walltime_ms=HOUR, kind="comp")) == HOUR
    assert here.run_ms(job(kind="comp")) is None
    assert Requested().run_ms(job(walltime_ms=5), here) == 5


@pytest.mark.parametrize(
    ("runs", "walltime_ms", "expected_ms"),
    [
        ([], HOUR, HOUR),  # nothing is known
        ([], None, None),
        ([("show", "comp", 60_000)], HOUR, 60_000),
        ([("show", "comp", 9), ("show", "comp", 60_000), ("show", "comp", 30_001)], HOUR, 45_000),  # 90,001 / 2
        ([("show", "comp", 60_000)], 50_000, 50_000),  # nothing runs longer than its walltime
        ([("show", "comp", 60_000)], None, 60_000),
        ([("show", "render", 60_000)], HOUR, HOUR),  # another kind
        ([("other", "comp", 60_000)], HOUR, HOUR),  # another client
        ([("show", "comp", 0)], HOUR, 1),
    ],
)
def test_the_last_two_runs_of_a_client_and_kind_predict_the_next(
    runs: list[tuple[str, str, int]], walltime_ms: int | None, expected_ms: int | None
) -> None:
    assert context(*runs).run_ms(job(walltime_ms=walltime_ms, kind="comp")) == expected_ms


def test_a_job_without_a_kind_is_of_the_kind_of_its_name() -> None:
    assert context(("show", "shot-4", 60_000)).run_ms(job(name="shot-4", walltime_ms=HOUR)) == 60_000


def test_a_prediction_says_how_far_off_such_predictions_have_been() -> None:
    asked = job(kind="comp")
    assert Predicted().error_ms(asked, context(("show", "comp", 100))) is None
    assert Predicted().error_ms(asked, context(("show", "comp", 100), ("show", "comp", 160))) == 60


@pytest.mark.parametrize(
    ("walltime_ms", "so_far_ms", "in_all_ms"),
    [
        (50_000, 9_999, 10_000),
        (50_000, 10_000, 50_000),  # it should have ended by now: the prediction was wrong
        (50_000, 60_000, 50_000),  # so was the request; it is overdue
        (None, 9_999, 10_000),
        (None, 10_000, None),
    ],
)
def test_an_attempt_that_outlived_its_prediction_is_expected_to_take_what_was_requested(
    walltime_ms: int | None, so_far_ms: int, in_all_ms: int | None
) -> None:
    attempt = Attempt(0, (("n1", 1),), NOW - so_far_ms, NOW - so_far_ms)
    here = context(("show", "comp", 10_000))
    assert here.attempt_ms(job(walltime_ms=walltime_ms, kind="comp"), attempt) == in_all_ms


@given(st.integers(0, 10**9), st.none() | st.integers(1, 10**9))
def test_a_prediction_is_positive_and_never_above_the_request(average_ms: int, requested_ms: int | None) -> None:
    run_ms = predicted_ms(average_ms, requested_ms)
    assert 1 <= run_ms <= (requested_ms or max(1, average_ms))
