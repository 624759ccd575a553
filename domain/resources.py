"""How much of what: integer resource vectors, node attributes, and what a task requires.

Quantities are integers in fixed units, so that sums are exact and a node can never be over-allocated by rounding.
Attributes and their `any_of`/`all_of` matching follow the host requirements of Open Job Description 2023-09.
"""

from collections.abc import Mapping
from enum import StrEnum

from domain.messages import Value


class ResourceType(StrEnum):
    """What kinds of resource a node can have."""

    CPU = "cpu"
    GPU = "gpu"
    MEMORY = "memory"
    STORAGE = "storage"
    NETWORK = "network"
    SPECIALIZED = "specialized"


class Resources(Value, frozen=True):
    """An amount of each kind of resource; never negative in a requirement or a capacity."""

    millicores: int = 0
    """Processor time: 1000 is one core."""
    memory_mib: int = 0
    gpus: int = 0
    storage_mib: int = 0
    network_mbps: int = 0
    named: tuple[tuple[str, int], ...] = ()
    """Specialised amounts by name (licences, FPGAs), sorted by name, without zeros."""

    def plus(self, other: "Resources", times: int = 1) -> "Resources":
        """Sum of this and `times` the other."""
        return Resources(
            self.millicores + other.millicores * times,
            self.memory_mib + other.memory_mib * times,
            self.gpus + other.gpus * times,
            self.storage_mib + other.storage_mib * times,
            self.network_mbps + other.network_mbps * times,
            _add_named(self.named, other.named, times) if other.named else self.named,
        )

    def minus(self, other: "Resources", times: int = 1) -> "Resources":
        """This less `times` the other; the caller has made sure that it fits."""
        return self.plus(other, -times)

    def count_of(self, need: "Resources") -> int | None:
        """How many times `need` fits in this; None means without bound (a need of nothing)."""
        counts = []
        if need.millicores > 0:
            counts.append(self.millicores // need.millicores)
        if need.memory_mib > 0:
            counts.append(self.memory_mib // need.memory_mib)
        if need.gpus > 0:
            counts.append(self.gpus // need.gpus)
        if need.storage_mib > 0:
            counts.append(self.storage_mib // need.storage_mib)
        if need.network_mbps > 0:
            counts.append(self.network_mbps // need.network_mbps)
        if need.named:
            have_named = dict(self.named)
            counts += [have_named.get(name, 0) // amount for name, amount in need.named]
        return max(0, min(counts)) if counts else None

    def fits(self, need: "Resources") -> bool:
        """Whether `need` fits in this once; what it does not ask for may even be overdrawn."""
        if (
            (need.millicores > self.millicores and need.millicores)
            or (need.memory_mib > self.memory_mib and need.memory_mib)
            or (need.gpus > self.gpus and need.gpus)
            or (need.storage_mib > self.storage_mib and need.storage_mib)
            or (need.network_mbps > self.network_mbps and need.network_mbps)
        ):
            return False
        if not need.named:
            return True
        have = dict(self.named)
        return all(have.get(name, 0) >= amount for name, amount in need.named)

    def amounts(self) -> tuple[int, int, int, int, int]:
        """The five unnamed amounts in field order."""
        return (self.millicores, self.memory_mib, self.gpus, self.storage_mib, self.network_mbps)

    def items(self) -> list[tuple[str, int]]:
        """All amounts that are not zero, by name: the five kinds first, then the named ones."""
        named = zip(RESOURCE_NAMES, self.amounts(), strict=True)
        return [(name, amount) for name, amount in named if amount] + list(self.named)

    def is_negative(self) -> bool:
        """Whether any amount is below zero."""
        return min(self.amounts()) < 0 or (bool(self.named) and min(amount for _, amount in self.named) < 0)

    def is_canonical(self) -> bool:
        """Whether named amounts are sorted, without zeros or repetitions, and under names of their own."""
        if not self.named:
            return True
        if any(not name or name in RESOURCE_NAMES for name, _ in self.named):
            return False
        return self.named == named_amounts(dict(self.named))


RESOURCE_NAMES = ("millicores", "memory_mib", "gpus", "storage_mib", "network_mbps")
NOTHING = Resources()


def named_amounts(amounts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Named amounts in canonical form."""
    return tuple(sorted((name, amount) for name, amount in amounts.items() if amount))


def _add_named(
    left: tuple[tuple[str, int], ...], right: tuple[tuple[str, int], ...], times: int
) -> tuple[tuple[str, int], ...]:
    total = dict(left)
    for name, amount in right:
        total[name] = total.get(name, 0) + amount * times
    return named_amounts(total)


class AttributeNeed(Value, frozen=True):
    """One demand on a node attribute: at least one of `any_of`, and all of `all_of`, among the node's values."""

    name: str
    any_of: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()


class Requirement(Value, frozen=True):
    """What one task needs: `slots` times a resource vector, on nodes with some attributes.

    One slot is the usual task. A gang of n nodes is `slots=n, distinct_nodes=True`; a gang of n processors over any
    nodes is `slots=n` with one core each. All slots start together or none does.
    """

    resources: Resources = NOTHING
    """Per slot."""
    slots: int = 1
    distinct_nodes: bool = False
    """Whether no two slots may share a node."""
    attributes: tuple[AttributeNeed, ...] = ()
    partition: str = ""
    """Only nodes of this partition; empty means any."""

    def total(self) -> Resources:
        """What one task holds over all its slots."""
        return self.resources if self.slots == 1 else NOTHING.plus(self.resources, self.slots)


def has_attributes(attributes: Mapping[str, tuple[str, ...]], needs: tuple[AttributeNeed, ...]) -> str | None:
    """The name of the first demand that these node attributes do not meet; None when all are met."""
    for need in needs:
        values = attributes.get(need.name, ())
        if need.any_of and not any(value in values for value in need.any_of):
            return need.name
        if not all(value in values for value in need.all_of):
            return need.name
    return None
