"""Answers about policies: the set in force, and all sets that were."""

from typing import Any

from adapters.queries.answers.parts import Answer


class EvidenceLine(Answer, frozen=True, kw_only=True):
    """What one candidate came to when the last hours were run again under it."""

    candidate: str
    objective: str
    value: float
    jobs: int


class PolicyChange(Answer, frozen=True, kw_only=True):
    """One key that is not as in the set before, such as `energy.idle_after_s`; None where it is not said."""

    key: str
    before: Any
    after: Any


class PolicySetLine(Answer, frozen=True, kw_only=True):
    """One set of policies and how it came to be in force."""

    version: int
    since_ms: int | None
    """None for the set that was there at the start."""
    actor: str
    command_id: str
    position: int
    why: str
    evidence: list[EvidenceLine]
    changes: list[PolicyChange]
    """Against the set before."""
    policies: dict[str, Any]
    """All of it, as the command `adopt-policies` takes it."""


class PolicyLine(Answer, frozen=True, kw_only=True):
    """The answer of one family."""

    family: str
    name: str
    parameters: dict[str, Any]
    """All, with their defaults where nothing else is said."""
    differing: dict[str, Any]
    """Those that are not as by default."""


class ClientPolicyLine(PolicyLine, frozen=True, kw_only=True):
    """An answer that holds for the jobs of one client instead."""

    client_id: str


class PoliciesAnswer(Answer, frozen=True, kw_only=True):
    """The set of policies in force at a moment."""

    set: PolicySetLine
    families: list[PolicyLine]
    """Each filter in force is a line of its own."""
    clients: list[ClientPolicyLine]
    tariff: dict[str, Any]
    """As in a tariff file."""
    price: float
    """Of a kilowatt-hour at that moment."""
    next_price_ms: int | None
    """When the next other price begins; None if there is but one."""
    position: int
    at_ms: int


class PolicySetsAnswer(Answer, frozen=True, kw_only=True):
    """Sets of policies that were in force, the newest first."""

    rows: list[PolicySetLine]
    total: int
    position: int
