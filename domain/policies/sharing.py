"""Sharing: what a client's guarantee is worth, and who may use what it leaves unused.

`none` knows limits only. `lending` keeps guarantees: who has not got its own comes before everybody else, what is left
over is lent, and comes back within the reclaim period, either by itself (`wait`) or by preemption (`preempt`). As the
queue shares of Borg's quota and of capacity schedulers do (Verma et al., EuroSys 2015; Hadoop YARN CapacityScheduler).
"""

from typing import Annotated, Literal

import msgspec

from domain.messages import Value
from domain.policies import Policies, register

PeriodS = Annotated[int, msgspec.Meta(ge=1, le=31_536_000)]
HalfLifeH = Annotated[float, msgspec.Meta(gt=0, le=87_600)]
Reclaim = Literal["wait", "preempt"]
UNSHARED = "none"


class Unshared(Value, frozen=True):
    """Only limits: a guarantee is a number in a table, and nothing of what was used is remembered."""

    keeps_guarantees = False
    reclaim = "wait"
    reclaim_period_s = 0
    half_life_h = 0.0


class Lending(Value, frozen=True):
    """Guarantees come first; what is left of them is lent, and comes back within the reclaim period."""

    keeps_guarantees = True
    reclaim: Reclaim = "wait"
    """How lent capacity comes back: `wait` lends only to what ends within the period, `preempt` lends to anything."""
    reclaim_period_s: PeriodS = 3_600
    """How long a client may have to wait for what is guaranteed to it."""
    half_life_h: HalfLifeH = 168.0
    """After so many hours use counts half as much in fair share."""


def in_force(policies: Policies) -> Lending | None:
    """The terms on which a set of policies lends, None where it does not; from the set alone, whatever is registered.

    So a log can be read whose policies came from a program that is gone: what is not said there is as in `lending`.
    """
    if policies.sharing == UNSHARED:
        return None
    given = policies.parameters.get("sharing", {})
    return msgspec.convert({name: given[name] for name in Lending.__struct_fields__ if name in given}, Lending)


register("sharing", UNSHARED, Unshared)
register("sharing", "lending", Lending)
