"""Answers about shares and partitions."""

from typing import Any

from adapters.queries.answers.parts import Answer


class LoanLine(Answer, frozen=True, kw_only=True):
    """What is lent to a client, or borrowed from one."""

    client_id: str
    """Empty for what nobody is guaranteed."""
    millicores: int
    gpus: int


class ShareLine(Answer, frozen=True, kw_only=True):
    """One client: what it may count on, and who has how much of it."""

    client_id: str
    guarantee_percent: int
    guaranteed_millicores: int
    guaranteed_gpus: int
    demanded_millicores: int
    demanded_gpus: int
    """What it uses, and what it would use if all its tasks ran that may start."""
    used_millicores: int
    used_gpus: int
    lent: list[LoanLine]
    """To whom."""
    borrowed: list[LoanLine]
    """From whom; what nobody is guaranteed stands first."""
    reclaimed_millicores: int
    reclaimed_gpus: int
    """What it had lent and got back while it waited for it, added up since the beginning."""
    fair_share: float | None
    """1 for who has used nothing lately, 1/2 for who has used just its share; None where use is not remembered."""


class BreachLine(Answer, frozen=True, kw_only=True):
    """A guarantee that was not honoured within the reclaim period."""

    client_id: str
    opened: int
    opened_ms: int
    """The event since which a task waited that the guarantee had room for."""
    closed: int | None
    closed_ms: int | None
    """The event that ended it; None while it goes on."""
    lasted_ms: int
    period_ms: int


class SharesAnswer(Answer, frozen=True, kw_only=True):
    """Clients by id, what they lend each other, and the breaches, the newest first."""

    rows: list[ShareLine]
    breaches: list[BreachLine]
    capacity_millicores: int
    capacity_gpus: int
    guaranteed_percent: int
    """All guarantees together."""
    sharing: str
    """The sharing policy in force."""
    period_ms: int | None
    """Its reclaim period; None where guarantees are not kept."""
    position: int
    at_ms: int


class PartitionLine(Answer, frozen=True, kw_only=True):
    """One partition: its terms, its nodes, and what is used of it."""

    partition: str
    named_nodes: list[str]
    """Nodes that belong to it by name."""
    attributes: list[str]
    """What other nodes must have to belong to it, in words."""
    needs: list[dict[str, Any]]
    """The same as data."""
    clients: list[str]
    """Who may use it; none means everybody."""
    max_tasks: int | None
    limit_percent: int
    client_percent: int
    max_walltime_ms: int | None
    default_walltime_ms: int | None
    nodes: list[str]
    """The nodes that belong to it now."""
    capacity_millicores: int
    capacity_gpus: int
    running_tasks: int
    used_millicores: int
    used_gpus: int
    live_jobs: int
    text: str


class PartitionsAnswer(Answer, frozen=True, kw_only=True):
    """Partitions by name."""

    rows: list[PartitionLine]
    position: int
    at_ms: int
