"""What else a cycle obeys beside room and order: whose capacity it is, what is booked, who is interrupted, what is off.

Each such thing is one `Rule`, made for one cycle from the farm and the policies, and absent where it has nothing to
say, so that a farm without it pays nothing. Rules only ever forbid what room and order would allow, rank what they put
in order, and add commands of their own to the plan; they look at the cycle's scratch and never at the clock.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from domain.decisions import Reason, Segment
from domain.job.values import Job
from domain.messages import Command
from domain.planning.closures import Gaps

if TYPE_CHECKING:
    from domain.farm import Farm
    from domain.planning.placing import Placing
    from domain.planning.planner import Cycle
    from domain.policies import Made


class Rule:
    """One rule of one cycle; every method may be left as it is, which forbids nothing."""

    ranks = False
    """Whether `rank` tells segments apart."""
    last_rank: int | None = None
    """The highest rank that there is, which cannot rise any further; None where nobody knows."""
    whole = True
    """Whether no `room` for one job means that none of its segment has any."""

    alike = False
    """Whether all jobs of a segment may use the same nodes, as far as this rule goes."""
    by_time = False
    """Whether time alone lets start whom it keeps off a node (`bars`), so that he may hold a reservation meanwhile."""

    only_ends = False
    """Whether it has nothing to say before the end of this cycle, which then need not ask."""

    def begin(self, cycle: "Placing") -> None:
        """Before anything is looked at: may place what must come first, and take room away from everybody else."""

    def rank(self, segment: Segment) -> int:
        """Who is looked at first, whatever the order says: the lowest. It may rise while the cycle places, never fall.

        Asked before each look, so it must cost little.
        """
        return 0

    def room(self, segment: Segment, job: Job, end_ms: int) -> int | None:
        """How many more tasks of a job may start now, if they end at `end_ms`; None means as many as fit."""
        return None

    def allowed(self, job: Job, nodes: int, end_ms: int) -> int:
        """Those nodes of a mask that a task of a job may use from now until `end_ms`."""
        return nodes

    def preferred(self, job: Job, nodes: int, end_ms: int) -> int:
        """Those of the nodes that a job may use which it should be given first, if they are enough for it."""
        return nodes

    def bars(self, job: Job, nodes: int, end_ms: int) -> bool:
        """Whether it keeps a job off some nodes of a mask that it will leave to it later, without anything ending."""
        return False

    def barred_ms(self, job: Job, nodes: int, end_ms: int) -> int | None:
        """If it keeps a job off all of these nodes: for how long it needs one, as it must keep off what needs longer.

        Jobs of the same client, requirement and workflow are alike to it, but for that time.
        """
        return None

    def gaps(self, job: Job, run_ms: int | None) -> Gaps | None:
        """Where and when a blocked job can be promised room; None where time is no matter."""
        return None

    def took(self, job: Job, nodes: tuple[tuple[int, int], ...], tasks: int, end_ms: int) -> None:
        """So many tasks start now, each on these nodes (number, slots)."""

    def why(self, segment: Segment, job: Job, end_ms: int) -> tuple[Reason, ...]:
        """What this rule has against a job that it gave no room or no node; empty if nothing."""
        return ()

    def end(self, cycle: "Cycle") -> tuple[Command, ...]:
        """After everything is placed that could be: what else is to be done, in the same commit as the placements."""
        return ()

    def wake_at_ms(self) -> int | None:
        """When time alone could change what this rule says; None means never."""
        return None


RuleFactory = Callable[["Farm", "Made", int], Rule | None]
"""The rule of a moment (farm, policies, now in ms); None where it has nothing to say."""

_FACTORIES: list[RuleFactory] = []


def rule(factory: RuleFactory) -> RuleFactory:
    """Lets every cycle ask for a rule; in the order in which modules register, which `policies.builtin` fixes."""
    _FACTORIES.append(factory)
    return factory


def rules_of(farm: "Farm", made: "Made", now_ms: int) -> tuple[Rule, ...]:
    """All rules that have something to say at this moment."""
    found = [factory(farm, made, now_ms) for factory in _FACTORIES]
    return tuple([each for each in found if each is not None])
