"""The questions a scheduling cycle leaves to policies, the registry of answers, and the set in force.

A policy is a frozen Struct of parameters plus one method. Built-in ones use exactly the hooks that strangers get:
`register(family, name, type)`. A `Policies` value names one answer per question; it travels in an event when adopted.
"""

from typing import Any, Protocol

import msgspec

from domain import errors
from domain.job.values import Job
from domain.messages import Value
from domain.nodeindex import NodeIndex
from domain.resources import Requirement

OrderKey = tuple[Any, ...]


class Order(Protocol):
    """In which order waiting jobs are looked at: the lowest key first."""

    monotone: bool
    """Whether, among jobs of one client, priority and requirement, the key never falls as submit time and id rise."""

    def key(self, job: Job, now_ms: int) -> OrderKey:
        """The job's place in the queue; the planner adds submit time and id as the last keys."""
        ...


class Placement(Protocol):
    """On which node a slot goes: the planner has filtered, the policy chooses."""

    def choose(self, index: NodeIndex, fitting: int, requirement: Requirement) -> int:
        """The number of the best node in the non-empty mask `fitting`."""
        ...

    def score(self, index: NodeIndex, number: int, requirement: Requirement) -> float:
        """How well that node suits, 0..1, higher is better; asked before the slot is taken."""
        ...


class Backfill(Protocol):
    """What may start while a job before it cannot."""

    def goes_on_after(self, blocked_before: int) -> bool:
        """Whether to look further once so many segments are blocked."""
        ...


FAMILIES: dict[str, dict[str, type[Any]]] = {"order": {}, "placement": {}, "backfill": {}}


def register(family: str, name: str, policy: type[Any]) -> None:
    """Makes a policy available under a name; PolicyInvalid for an unknown family or a name already taken."""
    known = FAMILIES.get(family)
    if known is None:
        raise errors.PolicyInvalid(problem=f"there is no policy family {family!r}, only {', '.join(FAMILIES)}")
    if known.get(name, policy) is not policy:
        raise errors.PolicyInvalid(problem=f"{family} policy {name!r} is registered already")
    known[name] = policy


class Policies(Value, frozen=True):
    """Which policy answers which question, with its parameters."""

    version: int = 1
    order: str = "priority"
    placement: str = "best-fit"
    backfill: str = "greedy"
    parameters: dict[str, dict[str, Any]] = {}
    """Parameters by family, for policies that have some."""

    def policy(self, family: str) -> Any:
        """The policy of a family, made from its parameters; PolicyInvalid names what is wrong."""
        name = getattr(self, family)
        kind = FAMILIES[family].get(name)
        if kind is None:
            known = ", ".join(sorted(FAMILIES[family]))
            raise errors.PolicyInvalid(problem=f"there is no {family} policy {name!r}; known are {known}")
        given = self.parameters.get(family, {})
        unknown = ", ".join(sorted(given.keys() - set(kind.__struct_fields__)))
        if unknown:
            raise errors.PolicyInvalid(problem=f"{family} policy {name!r} has no parameter {unknown}")
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            raise errors.PolicyInvalid(problem=f"{family} policy {name!r}: {error}") from error

    def check(self) -> None:
        """PolicyInvalid unless every family has a known policy with parameters that fit, and no other is named."""
        unknown = ", ".join(sorted(self.parameters.keys() - FAMILIES.keys()))
        if unknown:
            raise errors.PolicyInvalid(problem=f"there is no policy family {unknown}, only {', '.join(FAMILIES)}")
        for family in FAMILIES:
            self.policy(family)
