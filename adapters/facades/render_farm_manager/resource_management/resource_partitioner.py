"""The farm divided among clients: what each is guaranteed, and what is lent to those who want more.

Allocations inform; they keep no job off a node. All nodes count, whatever their status.
"""

from typing import TYPE_CHECKING

from render_farm_manager.core.interfaces import ResourceManagerInterface
from render_farm_manager.core.models import Client, RenderJob, RenderNode, ResourceAllocation
from render_farm_manager.core.rules import lending

if TYPE_CHECKING:
    from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor


class ResourcePartitioner(ResourceManagerInterface):
    """Deals out nodes to clients by their guarantees, and lends what is left."""

    def __init__(
        self,
        audit_logger: "AuditLogger",
        performance_monitor: "PerformanceMonitor",
        allow_borrowing: bool = True,
        borrowing_limit_percentage: float = 50.0,
    ) -> None:
        self.audit_logger = audit_logger
        self.performance_monitor = performance_monitor
        self.allow_borrowing = allow_borrowing
        self.borrowing_limit_percentage = borrowing_limit_percentage
        self.clients: dict[str, Client] = {}
        self.nodes: dict[str, RenderNode] = {}
        self.client_demand: dict[str, float] = {}
        """Percent of the farm; when it is empty, demand is estimated."""
        self.current_allocations: dict[str, ResourceAllocation] = {}

    # -- who and what there is -----------------------------------------------------------------------------------

    def add_client(self, client: Client) -> None:
        """Makes a client known, without demand so far."""
        self.clients[client.id] = client
        self.client_demand[client.id] = 0.0
        self.audit_logger.log_event(
            "client_added_to_partitioner",
            f"Client {client.name} takes part in sharing",
            client_id=client.id,
            client_name=client.name,
            sla_tier=client.sla_tier,
            guaranteed_resources=client.guaranteed_resources,
            max_resources=client.max_resources,
        )

    def add_node(self, node: RenderNode) -> None:
        """Makes a node known."""
        self.nodes[node.id] = node
        self.audit_logger.log_event(
            "node_added_to_partitioner",
            f"Node {node.name} is shared",
            node_id=node.id,
            node_name=node.name,
            node_status=node.status,
        )

    def update_client_demand(self, client_id: str, demand_percentage: float) -> None:
        """A known client wants so many percent of the farm; what was allocated is void."""
        if client_id not in self.clients:
            return
        self.current_allocations = {}
        demand = max(0.0, min(100.0, demand_percentage))
        self.client_demand[client_id] = demand
        self.audit_logger.log_event(
            "client_demand_updated",
            f"Client {client_id} wants {demand} %",
            client_id=client_id,
            demand_percentage=demand,
        )

    # -- allocating ----------------------------------------------------------------------------------------------

    def allocate_resources(
        self, clients: list[Client] | None = None, nodes: list[RenderNode] | None = None
    ) -> dict[str, ResourceAllocation]:
        """What each client gets; None stands for the clients or nodes that are known here."""
        who = list(self.clients.values()) if clients is None else clients
        what = list(self.nodes.values()) if nodes is None else nodes
        found: dict[str, ResourceAllocation] = {}
        with self.performance_monitor.time_operation("allocate_resources"):
            left = self._guarantee(who, what, found)
            if self.allow_borrowing and left:
                self._lend(who, left, len(what), found)
            self.current_allocations = found
            for client_id, allocation in found.items():
                self._tell(client_id, allocation, len(what))
        return found

    def _guarantee(
        self, clients: list[Client], nodes: list[RenderNode], found: dict[str, ResourceAllocation]
    ) -> list[str]:
        """Deals each client its guaranteed nodes from the front; the ids of those that are left."""
        total = len(nodes)
        shares = lending.guaranteed(total, [client.guaranteed_resources for client in clients])
        if shares.scale is not None:
            self._tell_scaled(shares.scale, shares.wanted, sum(shares.counts))
        ids, at = [node.id for node in nodes], 0
        for client, count in zip(clients, shares.counts, strict=True):
            found[client.id] = ResourceAllocation(
                client_id=client.id,
                allocated_percentage=count / total * 100 if total else 0.0,
                allocated_nodes=ids[at : at + count],
            )
            at += count
        return ids[at:]

    def _lend(self, clients: list[Client], left: list[str], total: int, found: dict[str, ResourceAllocation]) -> None:
        """Gives the nodes that nobody is guaranteed to those who want more, within the cap."""
        demands = [self._calculate_client_demand(client, found[client.id]) for client in clients]
        for client, dealt in zip(clients, lending.deal(demands, len(left)), strict=True):
            kept = lending.within_cap(len(dealt), total, self.borrowing_limit_percentage)
            if kept:
                _borrow(client.id, [left[at] for at in dealt[:kept]], kept / total * 100, found)

    def _calculate_client_demand(self, client: Client, allocation: ResourceAllocation) -> float:
        if self.client_demand:
            return self.client_demand.get(client.id, 0.0)
        return lending.room(allocation.allocated_percentage, client.guaranteed_resources, client.max_resources)

    def _tell_scaled(self, scale: float, wanted: int, scaled: int) -> None:
        self.audit_logger.log_event(
            "resource_allocation_scaled",
            f"The guarantees come to {wanted} nodes and are scaled by {scale:.3f}",
            scale_factor=scale,
            original_total_guaranteed=wanted,
            scaled_total_guaranteed=scaled,
        )

    def _tell(self, client_id: str, allocation: ResourceAllocation, total: int) -> None:
        self.audit_logger.log_event(
            "resources_allocated",
            f"Client {client_id} gets {len(allocation.allocated_nodes)} of {total} nodes",
            client_id=client_id,
            allocated_percentage=allocation.allocated_percentage,
            allocated_node_count=len(allocation.allocated_nodes),
            borrowed_percentage=allocation.borrowed_percentage,
            lent_percentage=allocation.lent_percentage,
            total_nodes=total,
        )
        self.performance_monitor.update_client_resource_metrics(
            client_id=client_id,
            allocated_percentage=allocation.allocated_percentage,
            borrowed_percentage=allocation.borrowed_percentage,
            lent_percentage=allocation.lent_percentage,
        )

    # -- questions -----------------------------------------------------------------------------------------------

    def get_borrowed_percentage(self, client_id: str) -> float:
        """How much of the farm a client borrows now."""
        known = self.current_allocations.get(client_id)
        return known.borrowed_percentage if known else 0.0

    def get_lent_percentage(self, client_id: str) -> float:
        """How much of the farm a client lends now."""
        known = self.current_allocations.get(client_id)
        return known.lent_percentage if known else 0.0

    def get_borrowed_from(self, client_id: str) -> dict[str, float]:
        """From whom a client borrows, and how much."""
        known = self.current_allocations.get(client_id)
        return known.borrowed_from if known else {}

    def get_lent_to(self, client_id: str) -> dict[str, float]:
        """To whom a client lends, and how much."""
        known = self.current_allocations.get(client_id)
        return known.lent_to if known else {}

    def can_borrow_resources(self, from_client: Client, to_client: Client, amount: float) -> bool:  # type: ignore[override]
        """Whether a client may use so many percent that another is guaranteed."""
        if not self.allow_borrowing:
            return False
        return lending.may_lend(
            from_client.guaranteed_resources, amount, self.borrowing_limit_percentage
        ) and lending.may_borrow(to_client.guaranteed_resources, to_client.max_resources, amount)

    def calculate_resource_usage(self, client_id: str, jobs: list[RenderJob], nodes: list[RenderNode]) -> float:
        """The share of the nodes that show a job of the client, in percent."""
        if not nodes:
            return 0.0
        own = {job.id for job in jobs if job.client_id == client_id}
        return sum(node.current_job_id in own for node in nodes) / len(nodes) * 100


def _borrow(client_id: str, nodes: list[str], percent: float, found: dict[str, ResourceAllocation]) -> None:
    """Enters a loan with the borrower, and in equal parts with all others as its lenders."""
    borrower = found[client_id]
    borrower.allocated_nodes += nodes
    borrower.allocated_percentage += percent
    borrower.borrowed_percentage = percent
    lenders = [other for other in found if other != client_id]
    for lender in lenders:
        share = percent / len(lenders)
        borrower.borrowed_from[lender] = share
        lent_to = found[lender].lent_to
        lent_to[client_id] = lent_to.get(client_id, 0.0) + share
        found[lender].lent_percentage += share
