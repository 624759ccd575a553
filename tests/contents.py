"""What a farm holds, as plain values: two farms are equal when these are; an index is sound when it agrees with itself.

Caches of the node index may differ between equal farms (which amounts somebody once asked for); what they say may not.
"""

from collections.abc import Iterable
from typing import Any

from domain.farm import Farm
from domain.indices.nodeindex import NodeIndex
from domain.resources import RESOURCE_NAMES, Resources

Level = tuple[str, int]


def contents(farm: Farm, levels: Iterable[Level] = ()) -> dict[str, Any]:
    """Everything that a cycle could read, without the leftovers that mean nothing (zeros, empty sets)."""
    return {
        "snapshot": farm.snapshot(),
        "versions": farm.versions,
        "index": index_contents(farm.index, levels),
        "queue": {segment: list(line) for segment, line in farm.queue.lines.items()},
        "queued": len(farm.queue),
        "delayed": farm.delayed,
        "back_offs": list(farm.back_offs),
        "tallies": {key: (tally.left, tally.going, tally.bad) for key, tally in farm.tallies.items()},
        "use": {key: (u.millicores, u.gpus, u.tasks) for key, u in farm.use.items() if u.tasks},
        "placed": {node_id: attempts for node_id, attempts in farm.placed.items() if attempts},
        "running": {priority: jobs for priority, jobs in farm.interruptions.running.items() if jobs},
        "suspended": farm.interruptions.suspended,
        "claims": farm.interruptions.claims,
        "incoming": farm.incoming,
        "outgoing": farm.outgoing,
    }


def index_contents(index: NodeIndex, levels: Iterable[Level] = ()) -> dict[str, Any]:
    """What an index says of each node, and of the amounts named."""
    asked = index.fork()  # so that asking teaches the index itself nothing
    return {
        "ids": list(index.ids),
        "capacity": list(index.capacity),
        "free": list(index.free),
        "attributes": list(index.attributes),
        "open": index.open_mask,
        "registered": index.registered_mask,
        "in best-fit order": list(index.by_best_fit((1 << len(index.ids)) - 1)),
        "at least": {level: asked.at_least(*level) for level in levels},
    }


def levels_of(*indices: NodeIndex) -> set[Level]:
    """All amounts that any of these indices keeps a mask of."""
    return {level for index in indices for level in masks_of(index)}


def masks_of(index: NodeIndex) -> dict[Level, int]:
    """The masks that an index keeps, by resource and amount."""
    index.settle()
    gauges = index._gauges.items()
    return {(name, amount): gauge.mask(amount) or 0 for name, gauge in gauges for amount in gauge.amounts}


def check_index(index: NodeIndex) -> None:
    """Every mask and every bucket says what the free amounts say."""
    for (resource, amount), mask in masks_of(index).items():
        enough = [number for number, free in enumerate(index.free) if amount_of(free, resource) >= amount]
        assert mask == sum(1 << number for number in enough), (resource, amount)
    for gauge in index._gauges.values():
        assert gauge.amounts == sorted(set(gauge.amounts))
        assert gauge.places == {amount: at for at, amount in enumerate(gauge.amounts)}
    by_fit = sorted(
        range(len(index.ids)), key=lambda n: (index.available(n, "gpus"), index.available(n, "millicores"), n)
    )
    assert list(index.by_best_fit((1 << len(index.ids)) - 1)) == by_fit
    assert sum(mask.bit_count() for mask in index._buckets.values()) == len(index.ids)
    assert index._keys == sorted(index._buckets)


def amount_of(amounts: Resources, resource: str) -> int:
    """One amount by its name, the slow and obvious way."""
    return getattr(amounts, resource) if resource in RESOURCE_NAMES else dict(amounts.named).get(resource, 0)
