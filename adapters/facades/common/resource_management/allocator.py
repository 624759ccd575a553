"""Amounts that owners are guaranteed, may not exceed, hold for their jobs, and lend each other."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from adapters.facades.bridge.shares import clients_of
from application.app import Application
from common.core.base import Result
from common.core.enums import AllocationStrategy, JobStatus, ResourceType
from common.core.interfaces import ResourceManagerInterface
from common.core.needs import Amounts, ResourceAllocation, plain, read_amounts, summed
from common.hooks import enter, found, guarded
from common.manager import Managed, coded
from common.resource_management.choosing import choose
from common.resource_management.ledger import give_back, move, summed_by_type

Choice = Callable[[Any, list[Any]], Any]
EXCEEDED = "resource.exceeded"


class _Kept:
    def __init__(self) -> None:
        self.allocations: dict[str, ResourceAllocation] = {}
        self.guaranteed: dict[str, Amounts] = {}
        self.maximum: dict[str, Amounts] = {}
        self.total: Amounts = {}
        self.reserved: Amounts = {}
        self.held: dict[str, dict[str, Amounts]] = {}
        """By owner and job: what was added for it."""
        self.special: dict[str, float] = {}
        """Capacity of each resource that is tracked by name."""
        self.special_held: dict[str, dict[str, float]] = {}
        """By such a name and job."""


class ResourceAllocator(Managed, ResourceManagerInterface):
    """The ledger of what owners have; every amount that one borrows another has lent."""

    _what = "allocator"

    def __init__(
        self,
        strategy: AllocationStrategy | str | Choice = AllocationStrategy.FAIR_SHARE,
        *,
        app: Application | None = None,
    ) -> None:
        super().__init__(app)
        self._strategies: dict[str, Any] = {kind.value: kind for kind in AllocationStrategy}
        self.strategy: Any = (
            strategy
            if callable(strategy)
            else found(self._strategies, str(getattr(strategy, "value", strategy)), "allocation strategy")
        )
        self._owners, self._main = self._book("allocation"), self._book("resources")
        kept = self._kept = self._shared(self._load)
        self.allocations: dict[str, ResourceAllocation] = kept.allocations
        self.guaranteed_resources: dict[str, Amounts] = kept.guaranteed
        self.max_resources: dict[str, Amounts] = kept.maximum
        self.total_resources: Amounts = kept.total
        self.reserved_resources: Amounts = kept.reserved
        self.borrowing_enabled = True

    # -- what is kept --------------------------------------------------------------------------------------------

    def _load(self) -> _Kept:
        kept = _Kept()
        for owner_id, values in self._owners.load().items():
            if "guaranteed" in values:
                kept.guaranteed[owner_id] = read_amounts(values["guaranteed"])
                kept.maximum[owner_id] = read_amounts(values["maximum"])
            if "allocation" in values:
                kept.allocations[owner_id] = _read_allocation(values["allocation"])
            kept.held[owner_id] = {job_id: read_amounts(amounts) for job_id, amounts in values["held"].items()}
        main = self._main.load().get("main", {})
        kept.total |= read_amounts(main.get("total", {}))
        kept.reserved |= read_amounts(main.get("reserved", {}))
        kept.special |= main.get("special", {})
        kept.special_held |= main.get("special_held", {})
        return kept

    def _changed(self, *owner_ids: str) -> None:
        for owner_id in owner_ids:
            self._owners.touch(owner_id, lambda owner_id=owner_id: self._plain(owner_id))  # type: ignore[misc]
        self._main.touch("main", self._plain_main)
        self._desk.done(self._owners.waiting)

    def _plain(self, owner_id: str) -> Mapping[str, Any]:
        held = self._kept.held.get(owner_id, {})
        values: dict[str, Any] = {"held": {job_id: plain(amounts) for job_id, amounts in held.items()}}
        if owner_id in self.guaranteed_resources:
            values["guaranteed"] = plain(self.guaranteed_resources[owner_id])
            values["maximum"] = plain(self.max_resources[owner_id])
        if owner_id in self.allocations:
            values["allocation"] = self.allocations[owner_id].to_dict()
        return values

    def _plain_main(self) -> Mapping[str, Any]:
        return {
            "total": plain(self.total_resources),
            "reserved": plain(self.reserved_resources),
            "special": dict(self._kept.special),
            "special_held": {name: dict(jobs) for name, jobs in self._kept.special_held.items()},
        }

    # -- owners and totals ---------------------------------------------------------------------------------------

    def register_owner(
        self, owner_id: str, guaranteed: Mapping[Any, float], maximum: Mapping[Any, float] | None = None
    ) -> None:
        """A1: what an owner may count on, and may not exceed unless it borrows."""
        self.guaranteed_resources[owner_id] = read_amounts(guaranteed)
        self.max_resources[owner_id] = read_amounts(guaranteed if maximum is None else maximum)
        self._allocation(owner_id)
        self._reserve()
        self._changed(owner_id)

    def update_total_resources(self, resources: Mapping[Any, float]) -> None:
        """A2: what there is in all."""
        self.total_resources.clear()
        self.total_resources |= read_amounts(resources)
        self._reserve()
        self._changed()

    def _reserve(self) -> None:
        self.reserved_resources.clear()
        for amounts in self.guaranteed_resources.values():
            for kind, amount in amounts.items():
                self.reserved_resources[kind] = self.reserved_resources.get(kind, 0.0) + amount
        whole = self.total_resources.get(ResourceType.CPU, 0.0)
        for owner_id, amounts in self.guaranteed_resources.items() if whole > 0 else ():
            most = self.max_resources[owner_id].get(ResourceType.CPU, 0.0)
            guarantee = amounts.get(ResourceType.CPU, 0.0)
            clients_of(self._desk).see(owner_id, 100 * guarantee / whole, 100 * most / whole, self._what)

    def _allocation(self, owner_id: str) -> ResourceAllocation:
        known = self.allocations.get(owner_id)
        if known is None:
            known = self.allocations[owner_id] = ResourceAllocation(owner_id, {})
            known.start_time = self._desk.now()
        return known

    # -- hooks ---------------------------------------------------------------------------------------------------

    def register_strategy(self, name: str, fn: Choice) -> None:
        """A9: lets `strategy` be this name; ConfigurationError if it is taken."""
        enter(self._strategies, name, fn, "allocation strategy")

    def register_resource(self, name: str, capacity: float) -> None:
        """A9: tracks something by name, such as licences: SPECIALIZED requirements with this name as their unit."""
        enter(self._kept.special, name, capacity, "resource")
        self._kept.special_held[name] = {}
        self._changed()

    def _choose(self, job: Any, nodes: list[Any]) -> Any:
        strategy = self.strategy
        if isinstance(strategy, str) and not isinstance(strategy, AllocationStrategy):
            strategy = found(self._strategies, str(getattr(strategy, "value", strategy)), "allocation strategy")
        if isinstance(strategy, AllocationStrategy):
            return choose(strategy, job, nodes)
        told = f"the allocation strategy, asked for job {job.id},"
        fair = AllocationStrategy.FAIR_SHARE
        return guarded(told, strategy, job, list(nodes), instead=lambda: choose(fair, job, nodes))

    # -- jobs ----------------------------------------------------------------------------------------------------

    def allocate_resources(self, owner_id: Any, job: Any, nodes: Any = None) -> Any:
        """A3: gives an owner what a job needs, on a node; for a list of owners, what each is guaranteed."""
        if isinstance(owner_id, list):
            return {
                each: dict(self.guaranteed_resources[each]) for each in owner_id if each in self.guaranteed_resources
            }
        self._see(job)
        mine = self._allocation(owner_id)
        special, needs = self._split(job)
        usable = [node for node in nodes or () if node.is_available() and node.can_accommodate(needs)]
        best = self._choose(job, usable) if usable else None
        if best is None:
            self._changed(owner_id)
            return coded(f"No suitable nodes for job {job.id!r} of owner {owner_id!r}", "resource.not-available")
        refused = self._lacking_special(job, special)
        if refused is None:
            refused = self._take(mine, job, summed(needs))
        if refused is not None:
            self._changed(*self.allocations)
            return refused
        for name, amount in special.items():
            jobs = self._kept.special_held[name]
            jobs[job.id] = jobs.get(job.id, 0.0) + amount
        mine.nodes.append(best.id)
        job.assigned_node_id = best.id
        self._see(job, self._what)
        self._changed(*self.allocations)
        return Result.ok(mine)

    def _split(self, job: Any) -> tuple[dict[str, float], list[Any]]:
        """What a job needs of resources tracked by name, and all the rest."""
        special: dict[str, float] = {}
        rest = []
        for each in job.get_requirements():
            if each.resource_type == ResourceType.SPECIALIZED and each.unit in self._kept.special:
                special[each.unit] = special.get(each.unit, 0.0) + each.amount
            else:
                rest.append(each)
        return special, rest

    def _lacking_special(self, job: Any, special: Mapping[str, float]) -> Result[Any] | None:
        for name, amount in special.items():
            used, capacity = sum(self._kept.special_held[name].values()), self._kept.special[name]
            if used + amount > capacity:
                return _exceeded(name, amount, used, capacity)
        return None

    def _take(self, mine: ResourceAllocation, job: Any, needs: Amounts) -> Result[Any] | None:
        """Adds what is needed, borrowing what is missing; the refusal if that is not enough, nothing being changed."""
        limits = self.max_resources.get(mine.owner_id, {})
        borrowed: list[tuple[ResourceAllocation, ResourceType, float]] = []
        own: Amounts = {}
        for kind, amount in needs.items():
            before, limit = mine.total_allocated(kind), limits.get(kind, 0.0)
            missing = max(0.0, before + amount - limit) if before + amount > limit else 0.0
            lent = self._borrow_for(mine, kind, min(missing, amount))
            borrowed += lent
            got = sum(each for _, _, each in lent)
            if got < min(missing, amount):
                for lender, lent_kind, each in borrowed:
                    give_back(lender, mine, {lent_kind: each})
                return _exceeded(kind.value, amount, before, limit)
            own[kind] = amount - got
        for kind, amount in own.items():
            mine.resources[kind] = mine.resources.get(kind, 0.0) + amount
        held = self._kept.held.setdefault(mine.owner_id, {}).setdefault(job.id, {})
        for kind, amount in needs.items():
            held[kind] = held.get(kind, 0.0) + amount
        return None

    def _borrow_for(
        self, mine: ResourceAllocation, kind: ResourceType, missing: float
    ) -> list[tuple[ResourceAllocation, ResourceType, float]]:
        """Borrows so much of one type, from one owner after the other; what was lent, which may be less."""
        lent: list[tuple[ResourceAllocation, ResourceType, float]] = []
        may_borrow = self.borrowing_enabled and mine.owner_id in self.guaranteed_resources
        for owner_id in self.guaranteed_resources if may_borrow else ():
            if missing <= 0:
                break
            amount = 0.0 if owner_id == mine.owner_id else min(missing, self._lendable(owner_id, kind))
            if amount > 0:
                lender = self._allocation(owner_id)
                move(lender, mine, kind, amount)
                lent.append((lender, kind, amount))
                missing -= amount
        return lent

    def release_resources(self, owner_id: str, job: Any) -> Result[ResourceAllocation]:
        """A4: takes back what a job had, and returns what is borrowed and no longer used."""
        mine = self.allocations.get(owner_id)
        if mine is None:
            return coded(f"owner {owner_id!r} has no allocation", "client.not-found")
        self._see(job)
        special, needs = self._split(job)
        for kind, amount in summed(needs).items():
            mine.resources[kind] = max(0.0, mine.resources.get(kind, 0.0) - amount)
        for name in special:
            self._kept.special_held[name].pop(job.id, None)
        self._kept.held.get(owner_id, {}).pop(job.id, None)
        node_id = getattr(job, "assigned_node_id", None)
        if node_id in mine.nodes:
            mine.nodes.remove(node_id)
        job.assigned_node_id = None
        self._return_unused(mine)
        self._see(job, self._what)
        self._changed(*self.allocations)
        return Result.ok(mine)

    def _return_unused(self, mine: ResourceAllocation) -> None:
        kinds = {kind for amounts in mine.borrowed.values() for kind in amounts}
        for kind in sorted(kinds):
            short = max(0.0, self._used(mine, kind) - mine.resources.get(kind, 0.0))
            excess = summed_by_type(mine.borrowed, kind) - short
            for lender_id in list(mine.borrowed):
                if excess <= 0:
                    break
                excess -= give_back(self._allocation(lender_id), mine, {kind: excess}).get(kind, 0.0)

    def _used(self, allocation: ResourceAllocation, kind: ResourceType) -> float:
        """What is in use: as measured, or as held by jobs, whichever is more."""
        held = self._kept.held.get(allocation.owner_id, {})
        return max(allocation.utilization.get(kind, 0.0), summed_by_type(held, kind))

    # -- lending -------------------------------------------------------------------------------------------------

    def _lendable(self, owner_id: str, kind: ResourceType) -> float:
        """A5: how much of a type an owner can lend; its idle guarantee counts before any job has it."""
        lender = self._allocation(owner_id)
        guarantee, used = self.guaranteed_resources.get(owner_id, {}).get(kind, 0.0), self._used(lender, kind)
        left = guarantee - summed_by_type(lender.lent, kind)
        total = max(lender.total_allocated(kind), left)
        return max(0.0, min(guarantee - used, total - used, left))

    def can_borrow_resources(self, from_owner: str, to_owner: str, resources: Mapping[Any, float]) -> bool:
        """A5: whether the second may use so much of the first one's share, within its own maximum."""
        known = from_owner in self.guaranteed_resources and to_owner in self.guaranteed_resources
        if not self.borrowing_enabled or not known or from_owner == to_owner:
            return False
        borrower = self._allocation(to_owner)
        limits = self.max_resources[to_owner]
        return all(
            amount <= self._lendable(from_owner, kind) and borrower.can_borrow(kind, amount, limits.get(kind, 0.0))
            for kind, amount in read_amounts(resources).items()
        )

    def borrow_resources(self, from_owner: str, to_owner: str, resources: Mapping[Any, float]) -> Result[Amounts]:
        """A6: lends so much of each type; what was lent."""
        if not self.can_borrow_resources(from_owner, to_owner, resources):
            asked = ", ".join(f"{kind} {amount:g}" for kind, amount in plain(resources).items())
            return coded(f"owner {to_owner!r} cannot borrow {asked} from {from_owner!r}", "resource.not-available")
        lent = {kind: amount for kind, amount in read_amounts(resources).items() if amount > 0}
        for kind, amount in lent.items():
            move(self._allocation(from_owner), self._allocation(to_owner), kind, amount)
        self._changed(from_owner, to_owner)
        return Result.ok(lent)

    def return_borrowed_resources(
        self, from_owner: str, to_owner: str, resources: Mapping[Any, float] | None = None
    ) -> Result[Amounts]:
        """A6: the first gives back to the second what it borrowed, or part of it; what was returned."""
        borrower, lender = self.allocations.get(from_owner), self.allocations.get(to_owner)
        if borrower is None or lender is None:
            return coded(
                f"owner {from_owner if borrower is None else to_owner!r} has no allocation", "client.not-found"
            )
        if not borrower.borrowed.get(to_owner):
            return Result.err(f"owner {from_owner!r} has borrowed nothing from {to_owner!r}")
        if not lender.lent.get(from_owner):
            return Result.err(f"owner {to_owner!r} has lent nothing to {from_owner!r}")
        asked = dict(borrower.borrowed[to_owner]) if resources is None else read_amounts(resources)
        returned = give_back(lender, borrower, asked)
        self._changed(from_owner, to_owner)
        return Result.ok(returned)

    def calculate_resource_usage(self, owner_id: str, jobs: list[Any], nodes: list[Any]) -> Amounts:
        """A8: how much of what it has an owner uses by its running jobs, in percent."""
        mine = self.allocations.get(owner_id)
        if mine is None:
            return {}
        running = [job for job in jobs if job.get_owner() == owner_id and job.get_status() is JobStatus.RUNNING]
        used = summed(each for job in running for each in job.get_requirements())
        percent: Amounts = {}
        for kind in dict.fromkeys([*mine.resources, *used, *mine.utilization]):
            mine.update_utilization(kind, used.get(kind, 0.0))
            total = mine.total_allocated(kind)
            percent[kind] = min(100.0, used.get(kind, 0.0) / total * 100) if total > 0 else 0.0
        self._changed(owner_id)
        return percent


def _exceeded(name: str, requested: float, allocated: float, maximum: float) -> Result[Any]:
    text = f"Resource limit exceeded for {name}: requested {requested:g}, allocated {allocated:g}, maximum {maximum:g}"
    return coded(text, EXCEEDED)


def _read_allocation(told: Mapping[str, Any]) -> ResourceAllocation:
    ledgers = ({owner: read_amounts(each) for owner, each in told[name].items()} for name in ("borrowed", "lent"))
    allocation = ResourceAllocation(told["owner_id"], read_amounts(told["resources"]), list(told["nodes"]), *ledgers)
    allocation.start_time = datetime.fromisoformat(told["start_time"])
    allocation.end_time = datetime.fromisoformat(told["end_time"]) if told["end_time"] else None
    allocation.utilization = read_amounts(told["utilization"])
    return allocation


__all__ = ["AllocationStrategy", "ResourceAllocation", "ResourceAllocator"]
