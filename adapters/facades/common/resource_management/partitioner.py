"""Dividing what all nodes have among owners."""

from collections.abc import Callable, Mapping
from typing import Any

from application.app import Application
from common.core.base import Result
from common.core.enums import BorrowingPolicy, PartitioningPolicy, ResourceType
from common.core.interfaces import ResourceManagerInterface
from common.core.needs import Amounts, plain, read_amounts
from common.hooks import enter, found, guarded
from common.manager import Managed, coded
from common.resource_management.allocator import ResourceAllocator

Division = dict[str, Amounts]
Divide = Callable[[list[str], Amounts, "ResourcePartitioner"], Mapping[str, Mapping[Any, float]]]
Permission = Callable[[str, str, Mapping[Any, float]], bool]
THRESHOLD = 0.7


class _Kept:
    def __init__(self) -> None:
        self.monitors: Division = {}
        self.priorities: dict[str, int] = {}
        self.weights: dict[str, float] = {}
        self.thresholds: Amounts = {}
        self.history: list[dict[str, Any]] = []


class ResourcePartitioner(Managed, ResourceManagerInterface):
    """Shares of owners by a policy, and the rules of borrowing between them."""

    _what = "partitioner"

    def __init__(
        self,
        allocator: ResourceAllocator | None = None,
        partitioning_policy: PartitioningPolicy | str | Divide = PartitioningPolicy.FIXED,
        borrowing_policy: BorrowingPolicy = BorrowingPolicy.THRESHOLD,
        *,
        permission: Permission | None = None,
        app: Application | None = None,
    ) -> None:
        super().__init__(allocator._desk if app is None and isinstance(allocator, ResourceAllocator) else app)
        self.allocator = allocator or ResourceAllocator(app=self._desk)  # type: ignore[arg-type]
        self._policies: dict[str, Any] = {kind.value: kind for kind in PartitioningPolicy}
        known = callable(partitioning_policy)
        self.partitioning_policy: Any = (
            partitioning_policy
            if known
            else found(self._policies, str(_word(partitioning_policy)), "partitioning policy")
        )
        self.borrowing_policy = BorrowingPolicy(borrowing_policy)
        self.borrowing_enabled = self.borrowing_policy is not BorrowingPolicy.NONE
        self.allocator.borrowing_enabled = self.borrowing_enabled
        self.permission = permission
        self._owners, self._divisions = self._book("owner"), self._book("division")
        kept = self._shared(self._load)
        self.allocation_monitors: Division = kept.monitors
        self.owner_priorities: dict[str, int] = kept.priorities
        self.adaptive_weights: dict[str, float] = kept.weights
        self.borrowing_thresholds: Amounts = kept.thresholds
        self.partition_history: list[dict[str, Any]] = kept.history
        self.owner_demands: Division = {}
        """What owners want beyond anything, as far as the caller knows."""

    def _load(self) -> _Kept:
        kept = _Kept()
        for owner_id, values in self._owners.load().items():
            kept.monitors[owner_id] = read_amounts(values["monitor"])
            for name, table in (("priority", kept.priorities), ("weight", kept.weights)):
                if name in values:
                    table[owner_id] = values[name]
        main = self._divisions.load()
        kept.thresholds |= read_amounts(main.pop("thresholds", {}))
        kept.history += [main[number] for number in sorted(main, key=int)]
        return kept

    def _changed(self, *owner_ids: str) -> None:
        for owner_id in owner_ids:
            self._owners.touch(owner_id, lambda owner_id=owner_id: self._plain(owner_id))  # type: ignore[misc]
        self._desk.done(self._owners.waiting)

    def _plain(self, owner_id: str) -> Mapping[str, Any]:
        values: dict[str, Any] = {"monitor": plain(self.allocation_monitors.get(owner_id, {}))}
        for name, table in (("priority", self.owner_priorities), ("weight", self.adaptive_weights)):
            if owner_id in table:
                values[name] = table[owner_id]
        return values

    # -- owners --------------------------------------------------------------------------------------------------

    def register_owner(
        self,
        owner_id: str,
        guaranteed_resources: Mapping[Any, float],
        max_resources: Mapping[Any, float] | None = None,
        priority: int = 1,
    ) -> None:
        """B1: an owner with its guarantee, limit and importance."""
        self.allocator.register_owner(owner_id, guaranteed_resources, max_resources)
        self.owner_priorities[owner_id] = priority
        self.allocation_monitors[owner_id] = {}
        self.adaptive_weights[owner_id] = 1.0
        self._changed(owner_id)

    def set_total_resources(self, resources: Mapping[Any, float]) -> None:
        """B1: what there is in all."""
        self.allocator.update_total_resources(resources)

    def set_borrowing_threshold(self, resource_type: ResourceType, threshold: float) -> None:
        """B1: the share of its own, 0 to 1, up to which an owner may use a type and still lend of it."""
        self.borrowing_thresholds[ResourceType(resource_type)] = max(0.0, min(1.0, threshold))
        self._divisions.note("thresholds", plain(self.borrowing_thresholds))
        self._desk.done()

    def register_policy(self, name: str, fn: Divide) -> None:
        """B5: lets `partitioning_policy` be this name; ConfigurationError if it is taken."""
        enter(self._policies, name, fn, "partitioning policy")

    # -- dividing ------------------------------------------------------------------------------------------------

    def allocate_resources(self, owners: list[str], nodes: list[Any]) -> Division:
        """B2: what each owner gets of all that the nodes have, whatever their status."""
        totals: Amounts = {}
        for node in nodes:
            for kind, amount in node.get_capacity().items():
                totals[kind] = totals.get(kind, 0.0) + amount
        self.set_total_resources(totals)
        name, shares = self._divided(list(owners), totals)
        self._remember(name, shares, totals)
        return shares

    def _divided(self, owners: list[str], totals: Amounts) -> tuple[str, Division]:
        policy = self.partitioning_policy
        if not callable(policy):
            policy = found(self._policies, str(_word(policy)), "partitioning policy")
        if isinstance(policy, PartitioningPolicy):
            return policy.value, self._by(policy, owners, totals)
        name = next((name for name, known in self._policies.items() if known is policy), "custom")
        shares = guarded(f"partitioning policy {name}", policy, owners, dict(totals), self, instead=lambda: None)
        if shares is None:
            return PartitioningPolicy.FIXED.value, self._by(PartitioningPolicy.FIXED, owners, totals)
        return name, {owner: read_amounts(amounts) for owner, amounts in shares.items()}

    def _by(self, policy: PartitioningPolicy, owners: list[str], totals: Amounts) -> Division:
        if policy is PartitioningPolicy.WEIGHTED:
            return _by_weight(owners, totals, {owner: self.owner_priorities.get(owner, 1) for owner in owners})
        if policy is PartitioningPolicy.ADAPTIVE:
            return _by_weight(owners, totals, {owner: self.adaptive_weights.get(owner, 1.0) for owner in owners})
        if policy is PartitioningPolicy.PROPORTIONAL:
            return self._by_demand(owners, totals) or _by_weight(owners, totals, dict.fromkeys(owners, 1.0))
        fixed = self._fixed(owners, totals)
        if policy is PartitioningPolicy.DYNAMIC:
            left = {kind: total - sum(each.get(kind, 0.0) for each in fixed.values()) for kind, total in totals.items()}
            for owner, more in self._by_demand(list(fixed), left).items():
                for kind, amount in more.items():
                    fixed[owner][kind] = fixed[owner].get(kind, 0.0) + amount
        return fixed

    def _fixed(self, owners: list[str], totals: Amounts) -> Division:
        """The guarantees of known owners, scaled where together they are more than there is."""
        known = {owner: self.allocator.guaranteed_resources.get(owner) for owner in owners}
        wanted: Amounts = {}
        for amounts in known.values():
            for kind, amount in (amounts or {}).items():
                wanted[kind] = wanted.get(kind, 0.0) + amount
        scale = {
            kind: min(1.0, totals.get(kind, 0.0) / amount) if amount > 0 else 1.0 for kind, amount in wanted.items()
        }
        return {
            owner: {kind: amount * scale[kind] for kind, amount in amounts.items()}
            for owner, amounts in known.items()
            if amounts is not None
        }

    def _by_demand(self, owners: list[str], totals: Amounts) -> Division:
        """Each type in parts of what owners want of it; {} if nobody said what they want."""
        demands = {owner: read_amounts(self.owner_demands.get(owner, {})) for owner in owners}
        if not any(demands.values()):
            return {}
        shares: Division = {owner: {} for owner in owners}
        for kind, total in totals.items():
            whole = sum(each.get(kind, 0.0) for each in demands.values())
            for owner, each in demands.items():
                shares[owner][kind] = max(0.0, total) * each.get(kind, 0.0) / whole if whole > 0 else 0.0
        return shares

    def _remember(self, name: str, shares: Division, totals: Amounts) -> None:
        entry = {
            "timestamp": self._desk.now().isoformat(),
            "partitioning_policy": name,
            "allocations": {owner: plain(amounts) for owner, amounts in shares.items()},
            "total_resources": plain(totals),
        }
        self.partition_history.append(entry)
        self._divisions.note(str(len(self.partition_history)), entry, why=name)
        self._desk.done()

    def get_allocation_history(self) -> list[dict[str, Any]]:
        """B2: all divisions so far, oldest first."""
        return list(self.partition_history)

    # -- borrowing -----------------------------------------------------------------------------------------------

    def can_borrow_resources(self, from_owner: str, to_owner: str, amounts: Mapping[Any, float]) -> bool:
        """B3: whether the policy lets the second use so much of the first one's share, and there is so much idle."""
        rules: dict[BorrowingPolicy, Callable[[], bool]] = {
            BorrowingPolicy.NONE: lambda: False,
            BorrowingPolicy.THRESHOLD: lambda: self._below_threshold(from_owner, amounts),
            BorrowingPolicy.PRIORITY: lambda: (
                self.owner_priorities.get(to_owner, 1) > self.owner_priorities.get(from_owner, 1)
            ),
            BorrowingPolicy.PERMISSION: lambda: self._permitted(from_owner, to_owner, amounts),
            BorrowingPolicy.UNRESTRICTED: lambda: True,
        }
        allowed = rules[BorrowingPolicy(self.borrowing_policy)]()
        return allowed and self.allocator.can_borrow_resources(from_owner, to_owner, amounts)

    def _below_threshold(self, owner_id: str, amounts: Mapping[Any, float]) -> bool:
        monitor = self.allocation_monitors.get(owner_id, {})
        return all(
            monitor.get(kind, 0.0) / 100 <= self.borrowing_thresholds.get(kind, THRESHOLD)
            for kind in read_amounts(amounts)
        )

    def _permitted(self, from_owner: str, to_owner: str, amounts: Mapping[Any, float]) -> bool:
        if self.permission is None:
            return False
        told = f"the permission to lend from {from_owner} to {to_owner}"
        return bool(guarded(told, self.permission, from_owner, to_owner, amounts, instead=lambda: False))

    def borrow_resources(self, from_owner: str, to_owner: str, amounts: Mapping[Any, float]) -> Result[Amounts]:
        """B4: lends so much of each type."""
        if not self.can_borrow_resources(from_owner, to_owner, amounts):
            text = f"owner {to_owner!r} cannot borrow from {from_owner!r} by policy {self.borrowing_policy.value}"
            return coded(text, "resource.not-available")
        return self.allocator.borrow_resources(from_owner, to_owner, amounts)

    def return_borrowed_resources(
        self, from_owner: str, to_owner: str, resources: Mapping[Any, float] | None = None
    ) -> Result[Amounts]:
        """B4: the first gives back to the second."""
        return self.allocator.return_borrowed_resources(from_owner, to_owner, resources)

    def calculate_resource_usage(self, owner_id: str, jobs: list[Any], nodes: list[Any]) -> Amounts:
        """B4: how much of what it has an owner uses, in percent; kept in the monitor."""
        percent = self.allocator.calculate_resource_usage(owner_id, jobs, nodes)
        self.allocation_monitors[owner_id] = dict(percent)
        if self.partitioning_policy is PartitioningPolicy.ADAPTIVE and percent:
            mean = sum(percent.values()) / len(percent) / 100
            self.adaptive_weights[owner_id] = 0.7 * self.adaptive_weights.get(owner_id, 1.0) + 0.3 * mean
        self._changed(owner_id)
        return percent


def _word(policy: Any) -> Any:
    return getattr(policy, "value", policy)


def _by_weight(owners: list[str], totals: Amounts, weights: Mapping[str, float]) -> Division:
    whole = sum(weights.values())
    return {
        owner: {kind: total * weights[owner] / whole if whole > 0 else 0.0 for kind, total in totals.items()}
        for owner in owners
    }


__all__ = ["BorrowingPolicy", "PartitioningPolicy", "ResourcePartitioner"]
