"""Answers about who made way for whom."""

from adapters.queries.answers.parts import Answer
from domain.job.values import NodeSlots, PreemptionCause, PreemptionMode


class VictimAnswer(Answer, frozen=True, kw_only=True):
    """One attempt that made way, as it stood when that was decided."""

    job_id: str
    attempt: int
    task: int
    nodes: tuple[NodeSlots, ...]
    millicores: int
    level: float
    """Its level of priority."""
    ran_ms: int
    at_risk_ms: int
    """How much of that it had not saved."""
    lost_ms: int
    """How much of that was expected to be done again."""


class AlternativeAnswer(Answer, frozen=True, kw_only=True):
    """Other victims that would have made enough room."""

    victims: tuple[tuple[str, int], ...]
    """Job and attempt."""
    nodes: tuple[str, ...]
    worse: str
    """The first measure in which they are worse: `level`, `cost`, `victims` or `name`."""
    level: float
    cost: float
    text: str


class ClaimedPlaceAnswer(Answer, frozen=True, kw_only=True):
    """Where one task was to start."""

    nodes: tuple[NodeSlots, ...]
    otherwise_ms: int | None
    """When it would have started without, as the cycle saw it; null when nobody could say."""


class PreemptionLine(Answer, frozen=True, kw_only=True):
    """One preemption: who made way for whom, and what that cost and spared."""

    position: int
    at_ms: int
    job_id: str
    """The preemptor."""
    client_id: str
    mode: PreemptionMode
    why: PreemptionCause
    state: str
    """`held` while room is held for some task, `started`, or `released`."""
    released_why: str
    settled_ms: int | None
    tasks: int
    started: int
    leaving: int
    """Victims that have not ended yet: what they lose is not in the sums."""
    lost_core_ms: int
    """Work that is done again, times its processors."""
    spared_core_ms: int
    """Waiting time that the preemptor was spared, times its processors."""
    unknown: int
    """Tasks that are not in that sum, because nobody could say when they would have started."""
    regret_core_ms: int
    """Lost less spared; negative is gain."""
    considered: int
    places: list[ClaimedPlaceAnswer]
    victims: list[VictimAnswer]
    alternatives: list[AlternativeAnswer]


class PreemptionsAnswer(Answer, frozen=True, kw_only=True):
    """Preemptions, newest first, and their sums."""

    rows: list[PreemptionLine]
    victims: int
    lost_core_ms: int
    spared_core_ms: int
    unknown: int
    regret_core_ms: int
    position: int
