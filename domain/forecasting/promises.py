"""Facts about deadlines: every forecast that was made of a job's end, and how each turned out once it was known.

Streams are one per day (UTC). The farm keeps the first and the last forecast of every live job, so that after a restart
none is scored twice or forgotten.
"""

from enum import StrEnum

from msgspec.structs import replace

from domain.cycle import DAY_MS
from domain.job.values import Job, JobStatus
from domain.messages import Event, JobId, StreamId, Value

FORECAST_STREAMS = "forecast-"
"""How the streams of forecasts begin."""


class Word(StrEnum):
    """How a job stands to its deadline."""

    AHEAD = "ahead"
    """The deadline lies beyond the interval in which it is expected to end."""
    TIGHT = "tight"
    """The deadline lies within the interval, and being late is unlikely."""
    AT_RISK = "at risk"
    """It may well be late, or nobody can say when it ends."""
    LATE = "late"
    """The deadline has passed, or lies before the interval."""


RANK = {word: rank for rank, word in enumerate(Word)}
"""The higher, the worse."""


class Basis(StrEnum):
    """What the run times rest on that a forecast is made of."""

    HISTORY = "history"
    """Past runs of the same clients and kinds."""
    REQUESTED = "requested"
    """Requested walltimes alone: the interval goes from no time at all to all of them."""
    MIXED = "mixed"
    """Past runs for some, requested walltimes for others."""
    INCOMPLETE = "incomplete"
    """Nobody knows when it ends: somebody must let it go on, or something runs without a walltime."""


class Promise(Value, frozen=True):
    """When a job was expected to end; times in ms since 1970, None where nobody could say."""

    job_id: JobId
    deadline_ms: int
    word: Word
    basis: Basis = Basis.HISTORY
    earliest_ms: int | None = None
    expected_ms: int | None = None
    latest_ms: int | None = None
    probability: float | None = None
    """Of being late, 0..1; None where walltimes alone do not tell."""


class ForecastsMade(Event, frozen=True, kw_only=True, tag="forecast.made"):
    """The ends of some jobs with deadlines were forecast, as the farm stood then."""

    rows: tuple[Promise, ...]


STEP = 1.01
"""Deviations are multiplied by this to the power of the widening."""
AT_FIRST = 30
"""The widening before anything was scored."""
MISSED, MOST_WIDENED = 11, 250
"""An end outside its interval widens those to come by so many steps, up to a bound; one within takes one step back."""


class Score(Value, frozen=True):
    """What came of the forecasts of one job. Only a job that completed says anything about them."""

    job_id: JobId
    ended_ms: int
    ended: JobStatus
    made: int
    """How many forecasts there were."""
    deadline_ms: int | None = None
    """The deadline that it had at its end."""
    late: bool | None = None
    """Whether it completed after that; None without one, or if it did not complete."""
    error_ms: int | None = None
    """Its end less the end expected last."""
    within: bool | None = None
    """Whether it ended in the interval stated last; None if that went by walltimes, and so was no estimate."""
    probability: float | None = None
    """Of being late, as stated last for this deadline."""
    brier: float | None = None
    """The square of the distance between that and what happened, 1 for late and 0 for not (Brier 1950)."""
    first_error_ms: int | None = None
    first_within: bool | None = None
    first_probability: float | None = None
    first_brier: float | None = None
    """The same of the first forecast for this deadline."""


class ForecastsScored(Event, frozen=True, kw_only=True, tag="forecast.scored"):
    """Jobs with forecasts ended, which shows how good these were."""

    rows: tuple[Score, ...]


class Standing(Value, frozen=True):
    """The forecasts of one live job that are still to be scored."""

    first: Promise
    """The first one for the deadline of the last."""
    last: Promise
    made_ms: int
    """When the last one was made."""
    made: int = 1


class PromisesState(Value, frozen=True):
    """All standings by job, and the widening, as a farm snapshot stores them."""

    standings: tuple[Standing, ...] = ()
    widening: int = AT_FIRST


class Promises(dict[JobId, Standing]):
    """Forecasts that are still to be scored: of live jobs, and of those that have just ended; a fold of the facts."""

    def __init__(self, state: PromisesState | None = None) -> None:
        known = state or PromisesState()
        super().__init__({standing.last.job_id: standing for standing in known.standings})
        self.widening = known.widening
        """How much wider intervals are stated than errors of run times alone make them, in steps: see `widened`."""

    @property
    def width(self) -> float:
        """By how much deviations are multiplied for that."""
        return float(STEP**self.widening)

    def make(self, promise: Promise, at_ms: int) -> None:
        """One more forecast of a job."""
        self[promise.job_id] = stand(self.get(promise.job_id), promise, at_ms)

    def take_off(self, row: Score) -> None:
        """The forecasts of a job were scored."""
        standing = self.pop(row.job_id, None)
        if standing is not None:
            self.widening = widened(self.widening, standing, row)

    def state(self) -> PromisesState:
        """All of it as one value, from which an equal one can be made."""
        return PromisesState(tuple([standing for _, standing in sorted(self.items())]), self.widening)


def forecast_stream(now_ms: int) -> StreamId:
    """The stream of a day's forecasts."""
    return f"{FORECAST_STREAMS}{now_ms // DAY_MS}"


def stand(before: Standing | None, promise: Promise, at_ms: int) -> Standing:
    """The standing of a job after one more forecast; another deadline begins anew what counts as the first."""
    if before is None:
        return Standing(promise, promise, at_ms)
    first = before.first if before.first.deadline_ms == promise.deadline_ms else promise
    return Standing(first, promise, at_ms, before.made + 1)


def score(standing: Standing, job: Job) -> Score:
    """What came of the forecasts of a job that has ended."""
    assert job.ended is not None
    assert job.ended_ms is not None
    done, deadline_ms, ended_ms = job.ended is JobStatus.COMPLETED, job.deadline_ms, job.ended_ms
    late = ended_ms > deadline_ms if done and deadline_ms is not None else None
    plain = Score(standing.last.job_id, ended_ms, job.ended, standing.made, deadline_ms, late)
    if not done:
        return plain
    first, last = standing.first, standing.last
    before, after = _chance(first, deadline_ms), _chance(last, deadline_ms)
    return replace(
        plain,
        error_ms=_error_ms(last, ended_ms),
        within=_within(last, ended_ms),
        probability=after,
        brier=_brier(after, late),
        first_error_ms=_error_ms(first, ended_ms),
        first_within=_within(first, ended_ms),
        first_probability=before,
        first_brier=_brier(before, late),
    )


def widened(widening: int, standing: Standing, row: Score) -> int:
    """The widening after one more score, so that in the long run at least nine of ten ends lie in their intervals.

    Adaptive conformal inference (Gibbs & Candès 2021): whatever is wrong with the model of the errors, the rule only
    rests where misses are one in twelve. Intervals are never narrower than the model says, and those that rest on
    walltimes are no estimates and do not count.
    """
    for within in (row.first_within, row.within):
        if within is not None:
            widening = max(0, widening - 1) if within else min(MOST_WIDENED, widening + MISSED)
        if standing.made == 1:
            break  # the first is the last
    return widening


def _error_ms(promise: Promise, ended_ms: int) -> int | None:
    return None if promise.expected_ms is None else ended_ms - promise.expected_ms


def _within(promise: Promise, ended_ms: int) -> bool | None:
    if promise.basis is not Basis.HISTORY or promise.earliest_ms is None or promise.latest_ms is None:
        return None
    return promise.earliest_ms <= ended_ms <= promise.latest_ms


def _chance(promise: Promise, deadline_ms: int | None) -> float | None:
    """A probability says nothing about another deadline than its own."""
    return promise.probability if promise.deadline_ms == deadline_ms else None


def _brier(probability: float | None, late: bool | None) -> float | None:
    if probability is None or late is None:
        return None
    return round((probability - late) ** 2, 6)
