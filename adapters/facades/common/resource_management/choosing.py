"""Which of several usable nodes an allocation takes."""

from typing import Any

from common.core.enums import AllocationStrategy


def choose(strategy: AllocationStrategy, job: Any, nodes: list[Any]) -> Any:
    """A7: the best of some nodes; the list stays as it is, and of equal ones the first is taken."""
    if all(hasattr(node, "calculate_performance_score") for node in nodes):
        return max(nodes, key=lambda node: node.calculate_performance_score(job))
    if strategy is AllocationStrategy.FAIR_SHARE:
        return min(nodes, key=_load)
    if strategy is AllocationStrategy.RESOURCE_EFFICIENT:
        return min(nodes, key=lambda node: sum(node.get_available_resources().values()))
    if strategy is AllocationStrategy.ENERGY_EFFICIENT:
        return max(nodes, key=_efficiency)
    return nodes[0]


def _load(node: Any) -> float:
    return float(sum(node.get_capacity().values()) - sum(node.get_available_resources().values()))


def _efficiency(node: Any) -> float:
    rating = node.get_efficiency()
    return float("-inf") if rating is None else float(rating)
