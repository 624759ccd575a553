"""Since when nodes have nothing to do; followed only while the energy policy in force may power them down."""

from domain.messages import NodeId
from domain.policies import Policies

STAYS_ON = Policies().energy
"""The policy under which no node is ever powered down, unless it has parameters that say so."""


class Idle:
    """When something last ended on each node, or when it came online."""

    __slots__ = ("from_ms", "since_ms")

    def __init__(self, from_ms: int | None = None, since_ms: dict[NodeId, int] | None = None) -> None:
        self.from_ms = from_ms
        """Since when that is followed; None while it is not. A node of which nothing is known is idle since then."""
        self.since_ms: dict[NodeId, int] = since_ms or {}

    def follow(self, policies: Policies, at_ms: int) -> None:
        """Other policies are in force from now on."""
        if policies.energy == STAYS_ON and "energy" not in policies.parameters:
            self.from_ms, self.since_ms = None, {}
        elif self.from_ms is None:
            self.from_ms = at_ms

    def note(self, node_id: NodeId, at_ms: int) -> None:
        """Something ended there, or the node came online."""
        if self.from_ms is not None:
            self.since_ms[node_id] = at_ms

    def of(self, node_id: NodeId) -> int:
        """Since when a node on which nothing runs has nothing to do; 0 while that is not followed."""
        return self.since_ms.get(node_id, self.from_ms or 0)
