"""An order that is, from one review to the next, the best of several by what the last hours would have been under each.

Choosing among scheduling algorithms by simulating them on what has just happened follows Deng, Song, Ren & Iosup,
"Exploring portfolio scheduling for long-term execution of scientific workloads in IaaS clouds" (SC'13). Nothing is
trained: reviews adopt the same policies with another `current`, as an event that carries the measurements.
"""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any

import msgspec

from domain import errors
from domain.job.values import Job
from domain.policies import FAMILIES, Context, Order, OrderKey, Policies, register

NAME = "portfolio"
ORIGIN = "origin_ms"
Hours = Annotated[float, msgspec.Meta(gt=0, le=8_784)]


class Objective(StrEnum):
    """What the best candidate has least of."""

    BOUNDED_SLOWDOWN = "bounded-slowdown"
    """Average bounded slowdown."""
    WAIT = "wait"
    """Average wait, in seconds."""
    LATE = "late"
    """The share of the jobs with a deadline that end after it."""


class Portfolio(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """The order that was best in the last review; before the first one, the first candidate."""

    candidates: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)] = (
        "saf",
        "sjf",
        "wfp3",
        "unicep",
        "f1",
        "f2",
        "f3",
        "f4",
        "fifo",
    )
    """Names of orders; the first is in force until there is a past to look at."""
    parameters: dict[str, dict[str, Any]] = {}
    """Their parameters, by name, for those that have some."""
    current: str = ""
    """Which of them is in force; empty means the first."""
    every_h: Hours = 6.0
    """From one review to the next; the first ones come sooner."""
    window_h: Hours = 168.0
    """How long before a review what happened counts."""
    objective: Objective = Objective.BOUNDED_SLOWDOWN
    max_jobs: Annotated[int, msgspec.Meta(ge=1)] = 2_000
    """At most so many submissions are looked at, the last ones: a bound on what a review costs."""
    origin_ms: int = 0
    """When the clock began that candidates read submit times on, for those that do."""

    def __post_init__(self) -> None:
        if len(set(self.candidates)) < len(self.candidates) or NAME in self.candidates:
            raise ValueError(f"its candidates are different orders, none of them {NAME!r}")
        for where, names in (("current", {self.current} - {""}), ("parameters", self.parameters.keys())):
            if unknown := ", ".join(sorted(names - set(self.candidates))):
                raise ValueError(f"{unknown} in `{where}` is none of its candidates")
        try:
            for name in self.candidates:
                self.order(name)
        except errors.PolicyInvalid as error:
            raise ValueError(str(error.fields["problem"])) from error

    @property
    def chosen(self) -> str:
        """The name of the order in force."""
        return self.current or self.candidates[0]

    def order(self, name: str) -> Order:
        """A candidate as an object."""
        order: Order = Policies(order=name, parameters={"order": self.parameters_of(name)}).policy("order")
        return order

    def parameters_of(self, name: str) -> dict[str, Any]:
        """The parameters of a candidate."""
        own = self.parameters.get(name, {})
        reads_a_clock = ORIGIN in getattr(FAMILIES["order"].get(name), "__struct_fields__", ())
        return {ORIGIN: self.origin_ms} | own if reads_a_clock and self.origin_ms else own

    @cached_property
    def in_force(self) -> Order:
        """The order in force as an object."""
        return self.order(self.chosen)

    @property
    def monotone(self) -> bool:
        """As the order in force says."""
        return self.in_force.monotone

    @property
    def moves(self) -> bool:
        """As the order in force says."""
        return self.in_force.moves

    def key(self, job: Job, context: Context) -> OrderKey:
        """The key of the order in force."""
        return self.in_force.key(job, context)


register("order", NAME, Portfolio)
