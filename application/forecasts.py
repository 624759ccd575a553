"""Every forecast on record, and scored: when jobs with deadlines are expected to end, and how that turned out.

Told of every commit, asked now and then to look. A look first scores the forecasts of what has ended, then runs the
farm ahead if that is due, and appends what is new: first forecasts, changed words, and the others once an hour. The
farm is read in one moment and run ahead without its lock. Nobody plans by these facts, so a pass that another process
was faster with is thrown away, and the next one sees what that wrote.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

from application.app import Application, Request
from application.decider import JOB
from application.ports import Unless
from domain import errors
from domain.forecasting.lateness import ends_of, is_worse
from domain.forecasting.promises import ForecastsMade, ForecastsScored, Promise, Score, Standing, forecast_stream, score
from domain.forecasting.scene import Scene
from domain.job.events import JobCancelled, JobCompleted, JobDeadlineChanged, JobFailed, JobRetried, JobSubmitted
from domain.job.values import Job
from domain.messages import Event, JobId, Meta, Recorded, topic_of

ACTOR = "forecaster"
HOUR_MS = 3_600_000
CALM_MS = 600_000
"""A word that becomes better is recorded only so long after the last forecast; one that becomes worse at once."""
PERIOD_MS = 60_000
"""How often the farm is run ahead while no deadline is new."""
GAP_MS = 5_000
"""How long it is not run ahead again in any case, and besides, as a multiple of what the last time took:"""
REST = 20
MOST_ROWS = 500
"""Forecasts, and scores, in one event; what is left comes with the next look."""

_ENDS = frozenset({JobCompleted, JobFailed, JobCancelled})
_NEWS = frozenset({JobSubmitted, JobDeadlineChanged, JobRetried})
_TOPICS = (topic_of(ForecastsMade), topic_of(ForecastsScored))


class Forecasts:
    """The forecasts of one farm. One thread at a time may look."""

    def __init__(self, app: Application, *, gap_ms: int = GAP_MS, period_ms: int = PERIOD_MS) -> None:
        self.app, self._gap_ms, self._period_ms = app, gap_ms, period_ms
        self._is_news = True
        """Whether there may be a deadline that nothing was forecast for."""
        self._looked_ms: int | None = None
        """When the farm was run ahead last."""
        self._rest_until_ms = 0
        with app.lock:
            jobs = app.farm.jobs
            self._ended = dict.fromkeys(
                [each for each in app.farm.promises if each not in jobs or jobs[each].ended is not None]
            )
            """Jobs that have ended and whose forecasts are not scored yet, in order."""
            app.listen(self._saw)

    def _saw(self, recorded: Sequence[Recorded]) -> None:
        """Under the application's lock, in order, after the farm has folded it."""
        for _, stream, _, event, _ in recorded:
            kind = type(event)
            if kind in _NEWS:
                self._is_news = self._is_news or _has_deadline(event)
            elif kind in _ENDS and stream in self.app.farm.promises:
                self._ended[stream] = None

    def look(self) -> int:
        """Scores what has ended and forecasts what is due; how many events that took."""
        written = self.score()
        return written + self._forecast() if self._is_due(self.app.clock.now_ms()) else written

    def _is_due(self, now_ms: int) -> bool:
        if self._looked_ms is None:
            return self.app.farm.index.open_mask != 0  # before nodes report nobody can say anything
        wait_ms = 0 if self._is_news else self._period_ms
        return now_ms >= max(self._rest_until_ms, self._looked_ms + wait_ms)

    # -- scoring -------------------------------------------------------------------------------------------------

    def score(self) -> int:
        """Scores forecasts of jobs that have ended, each end once; how many events that took."""
        if not self._ended:
            return 0
        with self.app.lock:
            chosen = list(islice(self._ended, MOST_ROWS))
            rows = tuple(self._scores(chosen))
            now_ms = self._now_ms()
            if rows and not self._append(now_ms, ForecastsScored(at_ms=now_ms, rows=rows)):
                return 0
            for job_id in chosen:
                self._ended.pop(job_id, None)
        return 1 if rows else 0

    def _scores(self, job_ids: Iterable[JobId]) -> Iterable[Score]:
        """One that runs again meanwhile is scored at its next end."""
        farm = self.app.farm
        for job_id in job_ids:
            standing = farm.promises.get(job_id)
            job: Job | None = farm.jobs.get(job_id) or self.app.load(JOB, job_id).state
            if standing is not None and job is not None and job.ended is not None:
                yield score(standing, job)

    # -- forecasting ---------------------------------------------------------------------------------------------

    def _forecast(self) -> int:
        with self.app.lock:
            farm, began_ms = self.app.farm, self._now_ms()
            self._looked_ms, self._is_news = began_ms, False
            if all(job.deadline_ms is None for job in farm.jobs.values()):
                return 0
            scene = Scene(farm, farm.policies, began_ms)
        promises = ends_of(scene)
        with self.app.lock:
            now_ms = self._now_ms()
            self._rest_until_ms = now_ms + max(self._gap_ms, REST * (now_ms - began_ms))
            rows = self._due_rows(promises.values(), now_ms)
            self._is_news = self._is_news or len(rows) > MOST_ROWS
            if not rows:
                return 0
            if self._append(now_ms, ForecastsMade(at_ms=now_ms, rows=tuple(rows[:MOST_ROWS]))):
                return 1
            self._is_news = True
            return 0

    def _due_rows(self, promises: Iterable[Promise], now_ms: int) -> list[Promise]:
        """What to record: first forecasts first, then words that became worse, then the oldest."""
        farm = self.app.farm
        due: list[tuple[int, int, JobId, Promise]] = []
        for promise in promises:
            job = farm.jobs.get(promise.job_id)
            if job is None or job.ended is not None or job.deadline_ms != promise.deadline_ms:
                continue
            standing = farm.promises.get(promise.job_id)
            why = _why(standing, promise, now_ms)
            if why is not None:
                due.append((why, standing.made_ms if standing else 0, promise.job_id, promise))
        return [promise for *_, promise in sorted(due, key=lambda each: each[:3])]

    # -- writing -------------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return max(self.app.clock.now_ms(), self.app.farm.now_ms)

    def _append(self, now_ms: int, event: Event) -> bool:
        """Appends a fact, unless another process has forecast or scored since the farm was read."""
        request = Request(
            (),
            Meta(ACTOR),
            unless=Unless(self.app.farm.position, _TOPICS),
            facts=((forecast_stream(now_ms), event),),
        )
        outcome = self.app.commit_all((request,))[0]
        if isinstance(outcome, errors.TaskSchedulerError) and not isinstance(outcome, errors.Conflict):
            raise outcome
        return not isinstance(outcome, errors.TaskSchedulerError)


def _has_deadline(event: Event) -> bool:
    if isinstance(event, JobSubmitted):
        return event.spec.deadline_ms is not None
    if isinstance(event, JobRetried):
        return event.job.deadline_ms is not None
    return True


_FIRST, _WORSE, _BETTER, _OLD = range(4)


def _why(standing: Standing | None, promise: Promise, now_ms: int) -> int | None:
    """Why a forecast is to be recorded; None if it is not."""
    if standing is None or standing.last.deadline_ms != promise.deadline_ms:
        return _FIRST
    last, age_ms = standing.last, now_ms - standing.made_ms
    if is_worse(promise.word, last.word):
        return _WORSE
    if promise.word is not last.word and age_ms >= CALM_MS:
        return _BETTER
    return _OLD if age_ms >= HOUR_MS and promise != last else None
