"""How full a farm was while there was work for it, followed through the events of a run.

Demand lasts on a class of nodes while at least one task waits that an empty node of that class could hold. Only that
time counts, and only nodes that take work: a farm cannot use what nobody asks for, and nobody can use a node that is
down. What is reserved for a large job and stands empty meanwhile counts as unused.
"""

from collections.abc import Callable, Sequence

from application.simulation.synthetic_farm import amount_of
from domain.farm import Farm
from domain.indices.nodeindex import NodeIndex, bits
from domain.indices.performance import node_class
from domain.messages import Recorded
from domain.resources import Resources


class Occupancy:
    """Integrals over time of what was used and what could have been, of one kind of resource."""

    def __init__(self, farm: Callable[[], Farm], resource: str) -> None:
        """`resource` is the name of an amount of `domain.resources.Resources`, such as `millicores`."""
        self._farm, self._resource = farm, resource
        self._at_ms: int | None = None
        self._used, self._offered = 0, 0
        """What holds since `_at_ms`."""
        self.used_ms, self.offered_ms = 0, 0
        """Amount × ms, over classes of nodes while demand for them lasts."""
        self.demand_ms = 0
        """How long there was demand for any class."""

    @property
    def share(self) -> float:
        """Used over offered, 0..1; 1 if there never was any demand."""
        return self.used_ms / self.offered_ms if self.offered_ms else 1.0

    def see(self, recorded: Sequence[Recorded]) -> None:
        """Takes in that something was committed; to be called with every commit of the application."""
        if not recorded:
            return
        now_ms = recorded[-1].event.at_ms
        if self._at_ms is not None:
            lasted_ms = now_ms - self._at_ms
            self.used_ms += self._used * lasted_ms
            self.offered_ms += self._offered * lasted_ms
            self.demand_ms += lasted_ms if self._offered else 0
        self._at_ms = now_ms
        self._used, self._offered = self._levels(self._farm())

    def _levels(self, farm: Farm) -> tuple[int, int]:
        index = farm.index
        wanted = 0
        for segment in farm.queue.lines:
            if self._amount(segment.requirement.resources):
                wanted |= index.capable(segment.requirement)
        used = offered = 0
        for number in bits(_whole_classes(index, wanted) & index.open_mask):
            capacity = self._amount(index.capacity[number])
            used += capacity - self._amount(index.free[number])
            offered += capacity
        return used, offered

    def _amount(self, resources: Resources) -> int:
        return amount_of(resources, self._resource)


def _whole_classes(index: NodeIndex, nodes: int) -> int:
    """All nodes of the classes of which some are in a mask."""
    whole = 0
    for members in index.grouped(node_class).masks.values():
        whole |= members if members & nodes else 0
    return whole
