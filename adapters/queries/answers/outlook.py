"""Answers about what a waiting job can look forward to."""

from adapters.queries.answers.parts import Answer, ReasonAnswer
from domain.forecasting.forecast import Basis
from domain.job.values import NodeSlots


class OutlookAnswer(Answer, frozen=True, kw_only=True):
    """When a waiting job will start its next task, if what runs ends as foreseen and nothing else is submitted."""

    expected_ms: int | None
    """None where nobody can say."""
    earliest_ms: int | None
    latest_ms: int | None
    basis: Basis
    """Where the run times come from that the expected start rests on."""
    unknown: ReasonAnswer | None
    """What must change before it can start, which time alone does not do."""
    ahead: tuple[str, ...]
    """The first jobs before it in the queue, in the order in force."""
    ahead_total: int
    """How many there are."""
    kept_from_ms: int | None
    """From when the last recorded cycle keeps room for it; None if it keeps none that is recorded."""
    kept_nodes: tuple[NodeSlots, ...]
    """Where."""
    note: str
    """Why there is no forecast at all, where the policies in force cannot be used here."""
