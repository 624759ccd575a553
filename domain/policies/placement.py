"""Placements: which of the nodes that fit. Best fit after Johnson et al. (1974): the tightest place."""

from domain.messages import Value
from domain.nodeindex import NodeIndex
from domain.policies import register
from domain.resources import Requirement


class BestFit(Value, frozen=True):
    """The node with the fewest free GPUs, then cores: large gaps and scarce nodes are kept for those who need them."""

    def choose(self, index: NodeIndex, fitting: int, requirement: Requirement) -> int:
        """Lowest (free GPUs, free cores, node number)."""
        return index.best_fit(fitting, requirement.resources)

    def score(self, index: NodeIndex, number: int, requirement: Requirement) -> float:
        """How full the node will be: the share of its cores that is then in use."""
        capacity = index.capacity[number].millicores
        if not capacity:
            return 1.0
        left = index.free[number].millicores - requirement.resources.millicores
        return round(1 - left / capacity, 4)


register("placement", "best-fit", BestFit)
