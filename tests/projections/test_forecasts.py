"""The read model of forecasts: every row that was recorded, and a calibration that agrees with counting them."""

from random import Random
from statistics import fmean

import pytest
from sqlalchemy import Engine

from domain.forecasting.promises import ForecastsMade, ForecastsScored, Promise, Score, Word, forecast_stream
from domain.job.values import JobStatus
from projections import forecasts, queue
from projections.forecasts import Calibration, Decile
from projections.runner import ProjectionRunner
from projections.tables import open_views
from tests.builders import HOUR, NOW
from tests.projections.reading import folded, rows_of, runner_of
from tests.projections.world import World

STREAM = forecast_stream(NOW)


@pytest.fixture
def world() -> World:
    return World()


def promise(job_id: str, probability: float | None = 0.5, word: Word = Word.AT_RISK) -> Promise:
    return Promise(
        job_id, NOW + HOUR, word, earliest_ms=NOW, expected_ms=NOW + 5, latest_ms=NOW + 9, probability=probability
    )


def score(job_id: str, first: float | None, last: float | None, late: bool, **fields: object) -> Score:
    briers = [None if chance is None else (chance - late) ** 2 for chance in (first, last)]
    given = {"error_ms": -4, "within": True, "first_error_ms": 8, "first_within": False} | fields
    return Score(
        job_id, NOW, JobStatus.COMPLETED, 2, NOW, late, probability=last, brier=briers[1],
        first_probability=first, first_brier=briers[0], **given,  # type: ignore[arg-type]
    )  # fmt: skip


def test_forecasts_and_scores_are_kept_as_they_were_recorded(engine: Engine, world: World) -> None:
    first, second = promise("job-1", None), promise("job-1", 0.97, Word.LATE)
    world.record(STREAM, ForecastsMade(at_ms=NOW, rows=(first, promise("job-2"))))
    world.record(STREAM, ForecastsMade(at_ms=NOW + 1, rows=(second,)))
    row = score("job-1", None, 0.97, late=True)
    world.record(STREAM, ForecastsScored(at_ms=NOW + 2, rows=(row,)))
    with folded(engine, world, forecasts.PROJECTION) as connection:
        found = forecasts.forecasts_of(connection, "job-1")
        assert [(each.position, each.at_ms, each.promise) for each in found] == [(1, NOW, first), (2, NOW + 1, second)]
        assert forecasts.scores_of(connection, "job-1") == [row]
        assert forecasts.scores_of(connection, "job-2") == []


def test_before_anything_was_scored_nothing_is_said(engine: Engine, world: World) -> None:
    with folded(engine, world, forecasts.PROJECTION) as connection:
        found = forecasts.calibration(connection)
    assert (found.scored, found.completed, found.late) == (0, 0, 0)
    assert found.first == found.last == Calibration((), None, 0, None, 0, None, 0)


def random_scores(count: int) -> list[Score]:
    rng = Random(7)
    made = []
    for number in range(count):
        first, last = (rng.choice((None, rng.random(), 0.0, 1.0)) for _ in range(2))
        fields = {name: rng.choice((None, rng.randrange(-900, 900))) for name in ("error_ms", "first_error_ms")}
        fields |= {name: rng.choice((None, True, False)) for name in ("within", "first_within")}
        made.append(score(f"job-{number}", first, last, rng.random() < 0.4, **fields))
    return made


def test_the_calibration_is_what_counting_gives(engine: Engine, world: World) -> None:
    scores = random_scores(300)
    cancelled = Score("job-x", NOW, JobStatus.CANCELLED, 1, NOW)
    for at in range(0, 300, 50):
        world.record(STREAM, ForecastsScored(at_ms=NOW, rows=(*scores[at : at + 50], cancelled)[: 50 + (at == 0)]))
    with folded(engine, world, forecasts.PROJECTION) as connection:
        found, part = forecasts.calibration(connection), forecasts.calibration(connection, upto=2)
    assert (found.scored, found.completed, found.late) == (301, 300, sum(each.late is True for each in scores))
    check(found.first, counted(scores, "first_"))
    check(found.last, counted(scores, ""))
    check(part.last, counted(scores[:100], ""))


def check(found: Calibration, expected: Calibration) -> None:
    assert [(d.number, d.jobs) for d in found.deciles] == [(d.number, d.jobs) for d in expected.deciles]
    for one, other in zip(found.deciles, expected.deciles, strict=True):
        assert (one.forecast, one.late) == pytest.approx((other.forecast, other.late))
    assert (found.chances, found.errors, found.intervals) == (expected.chances, expected.errors, expected.intervals)
    assert (found.brier, found.error_ms, found.within) == pytest.approx(
        (expected.brier, expected.error_ms, expected.within)
    )


def counted(scores: list[Score], name: str) -> Calibration:
    """The same in plain Python."""
    chances = [(getattr(s, f"{name}probability"), s.late) for s in scores if getattr(s, f"{name}brier") is not None]
    errors = [abs(e) for s in scores if (e := getattr(s, f"{name}error_ms")) is not None]
    within = [w for s in scores if (w := getattr(s, f"{name}within")) is not None]
    parts = [[(p, late) for p, late in chances if min(9, int(p * 10)) == number] for number in range(10)]
    deciles = [
        Decile(number, len(part), fmean(p for p, _ in part), fmean(late is True for _, late in part))
        for number, part in enumerate(parts)
        if part
    ]
    brier = fmean((p - bool(late)) ** 2 for p, late in chances)
    return Calibration(tuple(deciles), brier, len(chances), fmean(errors), len(errors), fmean(within), len(within))


def test_the_calibration_of_one_client(engine: Engine, world: World) -> None:
    world.submit("job-1", client_id="studio")
    world.submit("job-2", client_id="lab")
    rows = (score("job-1", 0.2, 0.2, late=False), score("job-2", 0.8, 0.8, late=True))
    world.record(STREAM, ForecastsScored(at_ms=NOW, rows=rows))
    with folded(engine, world, forecasts.PROJECTION, queue.PROJECTION) as connection:
        found = forecasts.calibration(connection, client_id="lab")
        assert forecasts.calibration(connection, client_id="nobody").scored == 0
    assert (found.scored, found.late, found.last.brier) == (1, 1, pytest.approx(0.04))


def test_a_rebuild_gives_the_same_rows(engine: Engine, world: World) -> None:
    for number, row in enumerate(random_scores(40)):
        world.record(STREAM, ForecastsMade(at_ms=NOW + number, rows=(promise(row.job_id), promise("job-long"))))
        world.record(STREAM, ForecastsScored(at_ms=NOW + number, rows=(row,)))
    step_by_step = runner_of(engine, world, [forecasts.PROJECTION])
    for event in world.log:
        step_by_step.fold([event])
    at_once = open_views("sqlite://")
    ProjectionRunner(at_once, world.read, world.position, [forecasts.PROJECTION]).catch_up()
    assert rows_of(engine, [forecasts.PROJECTION]) == rows_of(at_once, [forecasts.PROJECTION])
    step_by_step.rebuild()
    assert rows_of(engine, [forecasts.PROJECTION]) == rows_of(at_once, [forecasts.PROJECTION])
    assert step_by_step.compare().differences == ()
    at_once.dispose()
