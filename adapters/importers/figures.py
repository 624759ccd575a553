"""What a node draws, how long it takes to come up and what it costs: numbers that are kept as its attributes."""

from typing import Annotated, Protocol

import msgspec

from domain.node import Attributes

Watts = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
WakeSeconds = Annotated[int, msgspec.Meta(ge=0, le=86_400)]
HourPrice = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Figures(Protocol):
    """Who says such numbers; None says nothing."""

    @property
    def watts_idle(self) -> int | None:
        """Drawn while it is on and does nothing."""

    @property
    def watts_peak(self) -> int | None:
        """Drawn in full use."""

    @property
    def wake_s(self) -> int | None:
        """From its power-up until it takes work."""

    @property
    def price_per_h(self) -> float | None:
        """For each hour in which it is on, beside energy, in the tariff's currency."""


def figure_attributes(said: Figures) -> Attributes:
    """The attributes that say the same."""
    numbers = {
        "watts_idle": said.watts_idle,
        "watts_peak": said.watts_peak,
        "wake_s": said.wake_s,
        "price_per_h": said.price_per_h,
    }
    return {name: (str(number),) for name, number in numbers.items() if number is not None}


def figures_problem(said: Figures) -> str:
    """What is wrong with them together; empty if nothing is."""
    idle, peak = said.watts_idle, said.watts_peak
    if peak is not None and peak < (idle or 0):
        return f"watts_peak ({peak}) is below watts_idle ({idle})"
    return ""
