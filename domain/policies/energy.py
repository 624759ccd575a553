"""Energy modes: how much is given up so that less power is drawn or paid for.

Powering idle nodes down with a time-out is the oldest rule of power management (e.g. Benini, Bogliolo & De Micheli,
2000); waiting for a cheaper hour is load shifting, as far as deadlines and patience allow. Modes differ in their
defaults only, and every number can be given.
"""

from typing import Annotated

import msgspec

from domain.job.values import Priority
from domain.messages import Value
from domain.policies import register

Seconds = Annotated[int, msgspec.Meta(ge=0)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class Performance(Value, frozen=True):
    """Every node stays on and every job starts as early as it can."""

    power_cap_watts: Annotated[int, msgspec.Meta(ge=0)] = 0
    """What the farm may draw at most, as far as nodes say what they draw; 0 means no cap."""
    idle_after_s: Seconds | None = None
    """How long a node stays on with nothing to do before it is powered down; None means for ever."""
    keep_idle: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many idle nodes stay on for what comes next, the first of those that were idle last."""
    max_delay_h: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """How long a job may be kept waiting, from its submission on, for a cheaper hour; 0 means not at all."""
    min_saving_percent: Percent = 10.0
    """A job waits for a cheaper hour only if that saves so much of what it costs now."""
    urgent: Priority = Priority.HIGH
    """Jobs of this priority and above are never kept waiting."""
    margin_percent: Percent = 60.0
    """How much of a run time is added to it when a deadline is kept in mind, and of the farm kept out of account."""


class Balanced(Performance, frozen=True):
    """Nodes with nothing to do for half an hour are powered down, but for two."""

    idle_after_s: Seconds | None = 1_800
    keep_idle: Annotated[int, msgspec.Meta(ge=0)] = 2


class Efficiency(Performance, frozen=True):
    """Nodes with nothing to do for five minutes are powered down."""

    idle_after_s: Seconds | None = 300


class NightSavings(Performance, frozen=True):
    """As efficiency; and what is not urgent waits for a cheaper hour, as far as deadlines allow."""

    idle_after_s: Seconds | None = 300
    max_delay_h: Annotated[float, msgspec.Meta(ge=0)] = 24.0


register("energy", "performance", Performance)
register("energy", "balanced", Balanced)
register("energy", "efficiency", Efficiency)
register("energy", "night-savings", NightSavings)
