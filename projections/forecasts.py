"""Forecasts: what was said of every job with a deadline, how it turned out, and how far such words can be trusted.

A row per forecast and job, and a row per score. Calibration is worked out when somebody asks: of the jobs for which a
chance of 30 to 40 % was stated, 30 to 40 % should be late; nine of ten ends should lie in the interval that was stated.
"""

from typing import Any, get_args

import msgspec
from sqlalchemy import ColumnElement, Connection, case, func, select

from domain.catalog import AnyEvent
from domain.forecasting.promises import Basis, ForecastsMade, ForecastsScored, Promise, Score, Word
from domain.job.values import JobStatus
from domain.messages import ClientId, Event, JobId, Recorded
from projections import tables as t
from projections.projection import Fold, Handler, Projection
from projections.rows import insert_rows

DECILES = 10


class ForecastView(msgspec.Struct, frozen=True):
    """One forecast as it was recorded."""

    position: int
    at_ms: int
    promise: Promise


class Decile(msgspec.Struct, frozen=True):
    """The jobs for which much the same chance was stated."""

    number: int
    """0 for chances below a tenth, up to 9."""
    jobs: int
    forecast: float
    """The mean of the chances stated."""
    late: float
    """The share that was late."""


class Calibration(msgspec.Struct, frozen=True):
    """How one kind of forecasts (the first of each job, or the last) turned out over all jobs that completed."""

    deciles: tuple[Decile, ...]
    """Those that have jobs, by chance."""
    brier: float | None
    """The mean of the squared errors of the chances: 0 is perfect, 0.25 what saying one half always comes to."""
    chances: int
    """Of how many jobs a chance was stated."""
    error_ms: float | None
    """The mean distance of the end from the one expected."""
    errors: int
    within: float | None
    """The share that ended in the interval stated."""
    intervals: int
    """Of how many jobs there was one."""


class Scores(msgspec.Struct, frozen=True):
    """How forecasts turned out up to a position."""

    scored: int
    """Ends that were held against forecasts."""
    completed: int
    late: int
    first: Calibration
    last: Calibration


def forecasts_of(connection: Connection, job_id: JobId, limit: int = 1_000) -> list[ForecastView]:
    """The forecasts of one job, the oldest first."""
    query = select(t.FORECASTS).where(t.FORECASTS.c.job_id == job_id).order_by(t.FORECASTS.c.position).limit(limit)
    return [_view(row) for row in connection.execute(query)]


def scores_of(connection: Connection, job_id: JobId) -> list[Score]:
    """How the forecasts of one job turned out, at each of its ends."""
    query = select(t.SCORES).where(t.SCORES.c.job_id == job_id).order_by(t.SCORES.c.position)
    return [_score(row) for row in connection.execute(query)]


def calibration(connection: Connection, upto: int | None = None, client_id: ClientId | None = None) -> Scores:
    """How forecasts turned out, up to a log position, of one client or of all. O(scores)."""
    which = _which(upto, client_id)
    completed = t.SCORES.c.ended == JobStatus.COMPLETED
    query = select(func.count(), _count(completed), _count(t.SCORES.c.late.is_(True))).select_from(t.SCORES)
    scored, done, late = connection.execute(query.where(*which)).one()
    first, last = (_calibration(connection, name, which) for name in ("first_", ""))
    return Scores(scored, done or 0, late or 0, first, last)


def _which(upto: int | None, client_id: ClientId | None) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if upto is not None:
        found.append(t.SCORES.c.position <= upto)
    if client_id is not None:
        found.append(t.SCORES.c.job_id.in_(select(t.JOBS.c.job_id).where(t.JOBS.c.client_id == client_id)))
    return found


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _calibration(connection: Connection, name: str, which: list[ColumnElement[bool]]) -> Calibration:
    columns = t.SCORES.c
    error, within, brier = columns[f"{name}error_ms"], columns[f"{name}within"], columns[f"{name}brier"]
    query = select(
        func.avg(brier),
        func.count(brier),
        func.avg(func.abs(error)),
        func.count(error),
        _count(within.is_(True)),
        func.count(within),
    ).where(*which)
    mean_brier, chances, mean_error, errors, hits, intervals = connection.execute(query).one()
    return Calibration(
        deciles=tuple(_deciles(connection, name, which)),
        brier=mean_brier,
        chances=chances,
        error_ms=None if mean_error is None else float(mean_error),
        errors=errors,
        within=hits / intervals if intervals else None,
        intervals=intervals,
    )


def _deciles(connection: Connection, name: str, which: list[ColumnElement[bool]]) -> list[Decile]:
    decile, chance = t.SCORES.c[f"{name}decile"], t.SCORES.c[f"{name}probability"]
    late = _count(t.SCORES.c.late.is_(True))
    query = select(decile, func.count(), func.avg(chance), late).where(t.SCORES.c[f"{name}brier"].is_not(None), *which)
    rows = connection.execute(query.group_by(decile).order_by(decile))
    return [Decile(number, jobs, mean, late / jobs) for number, jobs, mean, late in rows]


def _view(row: Any) -> ForecastView:
    times = (row.earliest_ms, row.expected_ms, row.latest_ms)
    promise = Promise(row.job_id, row.deadline_ms, Word(row.word), Basis(row.basis), *times, row.probability)
    return ForecastView(row.position, row.at_ms, promise)


def _score(row: Any) -> Score:
    values = {name: getattr(row, name) for name in Score.__struct_fields__}
    return Score(**values | {"ended": JobStatus(row.ended)})


# -- folding -----------------------------------------------------------------------------------------------------


class ForecastsFold(Fold):
    """Nothing is remembered: rows are written once."""

    def __init__(self) -> None:
        self.forecasts: list[tuple[object, ...]] = []
        self.scores: list[tuple[object, ...]] = []

    def flush(self) -> None:
        """Writes the rows of the batch."""
        insert_rows(self.connection, t.FORECASTS, self.forecasts)
        insert_rows(self.connection, t.SCORES, self.scores)
        self.forecasts, self.scores = [], []


def _made(fold: ForecastsFold, event: ForecastsMade, recorded: Recorded) -> None:
    for row in event.rows:
        times = (row.earliest_ms, row.expected_ms, row.latest_ms)
        said = (row.deadline_ms, row.word.value, row.basis.value, *times, row.probability)
        fold.forecasts.append((row.job_id, recorded.position, event.at_ms, *said))


def _scored(fold: ForecastsFold, event: ForecastsScored, recorded: Recorded) -> None:
    for row in event.rows:
        ended = (row.ended_ms, row.ended.value, row.made, row.deadline_ms, row.late)
        last = (row.error_ms, row.within, row.probability, _decile(row.probability), row.brier)
        first = (row.first_error_ms, row.first_within, row.first_probability, _decile(row.first_probability))
        fold.scores.append((recorded.position, row.job_id, event.at_ms, *ended, *last, *first, row.first_brier))


def _decile(probability: float | None) -> int | None:
    return None if probability is None else min(DECILES - 1, int(probability * DECILES))


_HANDLERS: dict[type[Event], Handler] = {ForecastsMade: _made, ForecastsScored: _scored}

PROJECTION = Projection(
    "forecasts",
    (t.FORECASTS, t.SCORES),
    ForecastsFold,
    _HANDLERS,
    ignored=[kind for kind in get_args(AnyEvent) if kind not in _HANDLERS],
)
