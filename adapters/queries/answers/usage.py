"""Answers about usage: time, energy and money, by client, by node, or by hour or day."""

from adapters.queries.answers.parts import Answer


class UsedAnswer(Answer, frozen=True, kw_only=True):
    """What was used; energy in joules, money in the tariff's currency."""

    core_s: float
    gpu_s: float
    task_s: float
    """Attempts times seconds; one on several nodes counts on its first."""
    used_j: float
    """Energy that work drew."""
    idle_j: float
    """Energy that nodes drew because they were on, whatever they did; no client's."""
    used_cost: float
    idle_cost: float
    on_s: float
    """Nodes times seconds in which they were on."""
    node_cost: float
    """What nodes cost beside energy: their attribute `price_per_h` for the time in which they were on."""


class UsageLine(UsedAnswer, frozen=True, kw_only=True):
    """The usage of one client or node, or of one part of the span."""

    name: str
    """The client or node; empty for parts of the span."""
    from_ms: int
    to_ms: int


class UsageAnswer(Answer, frozen=True, kw_only=True):
    """Usage from `from_ms` until before `to_ms`."""

    by: str
    """`client`, `node`, `day` or `hour`: what a row stands for."""
    from_ms: int
    to_ms: int
    rows: list[UsageLine]
    total: UsedAnswer
    currencies: tuple[str, ...]
    """Of the tariffs in force in that time. Where there are several, sums of money mean nothing."""
    utc_offset_min: int
    """Days and hours begin by a clock that is so much ahead of UTC: that of the last tariff in force in that time."""
    position: int
