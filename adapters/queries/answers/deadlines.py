"""Answers about deadlines: who may be late, and how good such forecasts have been."""

from adapters.queries.answers.parts import Answer, ReasonAnswer
from domain.forecasting.promises import Basis, Word
from domain.job.values import JobStatus


class DeadlineLine(Answer, frozen=True, kw_only=True):
    """One live job with a deadline, as it is forecast."""

    job_id: str
    name: str
    client_id: str
    workflow_id: str | None
    status: JobStatus
    word: Word
    probability: float | None
    """Of being late; None where walltimes alone do not tell."""
    deadline_ms: int
    earliest_ms: int | None
    expected_ms: int | None
    latest_ms: int | None
    """The interval in which it ends nine times of ten, and the expected end; None where nobody can say."""
    slack_ms: int | None
    """Deadline less expected end."""
    urgency: float
    """1 without slack, falling evenly to 0 with a day of it or more."""
    basis: Basis
    """What the run times rest on."""
    why: str
    """What stands in the way first; empty when all that is left of it runs."""
    reasons: tuple[ReasonAnswer, ...]


class DeadlinesAnswer(Answer, frozen=True, kw_only=True):
    """Live jobs with deadlines, the most likely to be late first."""

    rows: list[DeadlineLine]
    total: int
    """How many there are, without limit and offset."""
    words: dict[Word, int]
    """How many of all that were asked for stand how, those that are ahead included."""
    note: str
    """What the forecasts leave out, where the policies in force cannot be used here."""
    position: int
    at_ms: int


class DecileLine(Answer, frozen=True, kw_only=True):
    """Jobs for which much the same chance was stated."""

    from_percent: int
    to_percent: int
    jobs: int
    forecast: float
    """The mean of the chances stated, 0..1."""
    late: float
    """The share that was late."""


class CalibrationAnswer(Answer, frozen=True, kw_only=True):
    """How the first, or the last, forecasts of jobs that completed turned out."""

    deciles: list[DecileLine]
    """Only those that have jobs."""
    brier: float | None
    """The mean of the squared errors of the chances: 0 is perfect, always saying one half comes to 0.25."""
    chances: int
    """Of how many jobs one was stated."""
    error_ms: float | None
    """The mean distance of the end from the one expected."""
    errors: int
    within: float | None
    """The share that ended in the interval stated, where that was an estimate and no bounds by walltimes."""
    intervals: int


class ScoresAnswer(Answer, frozen=True, kw_only=True):
    """How forecasts have turned out."""

    confidence: float
    """The share of ends that is meant to lie in the interval."""
    scored: int
    """Ends of jobs that had forecasts."""
    completed: int
    """Those that say something about them."""
    late: int
    first: CalibrationAnswer
    last: CalibrationAnswer
    position: int
