"""Who lends to whom: what clients hold beyond their guarantees, and what covers that. Integer-exact, and nothing more.

Of each resource by itself, what clients hold beyond their guarantees (their excess) is covered first by what nobody is
guaranteed, then by what clients that lend leave unused of theirs, each in proportion to what it leaves. If even that
does not cover it (no sharing policy was in force, or the farm has shrunk), those that do not lend are drawn on in the
same way, and at last nobody. Parts are rounded by the largest remainder, ties by id, so that the loans of a borrower
add up to its excess, and those of a lender never exceed what it leaves unused.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from domain import intervals
from domain.messages import ClientId

if TYPE_CHECKING:
    from domain.farm import Farm

NOBODY: ClientId = ""
"""Covers what is lent by no client."""
Pair = tuple[int, int]
"""Millicores and GPUs."""


class Stand(NamedTuple):
    """How one client stands in one resource."""

    client_id: ClientId
    guaranteed: int
    used: int
    lends: bool = True


class Loan(NamedTuple):
    """How much of one resource one client holds of what another is guaranteed, or nobody."""

    lender: ClientId
    borrower: ClientId
    amount: int


class Account(NamedTuple):
    """How one client stands, in millicores and GPUs."""

    client_id: ClientId
    guaranteed: Pair
    demanded: Pair
    """What it holds, and what it would hold if all its tasks ran that may start."""
    used: Pair
    lends: bool


def loans(capacity: int, stands: Sequence[Stand]) -> list[Loan]:
    """Who lends how much of one resource to whom, by lender and borrower; what nobody is guaranteed comes first."""
    left = {each.client_id: each.used - each.guaranteed for each in sorted(stands) if each.used > each.guaranteed}
    found: list[Loan] = []
    for lender, amount in _sources(capacity, stands, sum(left.values())):
        for borrower, part in apportioned(amount, left).items():
            left[borrower] -= part
            if part:
                found.append(Loan(lender, borrower, part))
    return found


def _sources(capacity: int, stands: Sequence[Stand], needed: int) -> Iterable[tuple[ClientId, int]]:
    """What covers so much excess, in this order; a part may be nothing."""
    guaranteed = sum([each.guaranteed for each in stands])
    part = min(needed, max(0, capacity - guaranteed))
    yield NOBODY, part
    needed -= part
    for lends in (True, False):
        unused = {
            each.client_id: each.guaranteed - each.used
            for each in sorted(stands)
            if each.lends is lends and each.guaranteed > each.used
        }
        part = min(needed, sum(unused.values()))
        yield from apportioned(part, unused).items()
        needed -= part
    yield NOBODY, needed


def apportioned(amount: int, weights: Mapping[ClientId, int]) -> dict[ClientId, int]:
    """An amount in proportion to weights, by the largest remainder (Hamilton), ties by id; no part above its weight.

    The amount is not more than all weights together.
    """
    total = sum(weights.values())
    if not total:
        return {}
    parts = {key: amount * weight // total for key, weight in weights.items()}
    over = amount - sum(parts.values())
    for key in sorted(weights, key=lambda key: (-(amount * weights[key] % total), key))[:over]:
        parts[key] += 1
    return parts


def lent_by(capacity: int, stands: Sequence[Stand]) -> dict[ClientId, int]:
    """How much of one resource each client lends to all others."""
    lent: dict[ClientId, int] = {}
    for loan in loans(capacity, stands):
        if loan.lender != NOBODY:
            lent[loan.lender] = lent.get(loan.lender, 0) + loan.amount
    return lent


def guaranteed_part(capacity: Pair, percent: int) -> Pair:
    """What a guarantee comes to, rounded down."""
    return capacity[0] * percent // 100, capacity[1] * percent // 100


def capacity_of(farm: "Farm") -> Pair:
    """The cores (in thousandths) and GPUs of all nodes that have not left the farm."""
    live = [node.capacity for node in farm.nodes.values() if not node.retired]
    return sum([each.millicores for each in live]), sum([each.gpus for each in live])


def accounts_of(farm: "Farm") -> list[Account]:
    """How all clients of a farm stand, by id; those without a registration stand without a guarantee."""
    capacity, waiting = capacity_of(farm), _waiting(farm)
    names = {*farm.clients, *(key for key, use in farm.use.items() if use.tasks), *waiting}
    found = []
    for client_id in sorted(names):
        client, use, wanted = farm.clients.get(client_id), farm.use.get(client_id), waiting.get(client_id, (0, 0))
        used = (0, 0) if use is None else (use.millicores, use.gpus)
        percent, lends = (0, True) if client is None else (client.shares.guarantee_percent, client.shares.lend)
        demanded = (used[0] + wanted[0], used[1] + wanted[1])
        found.append(Account(client_id, guaranteed_part(capacity, percent), demanded, used, lends))
    return found


def _waiting(farm: "Farm") -> dict[ClientId, Pair]:
    """What the tasks of each client ask for that may start now."""
    sums: dict[ClientId, Pair] = {}
    for segment, line in farm.queue.lines.items():
        need, slots = segment.requirement.resources, segment.requirement.slots
        tasks = sum([intervals.size(farm.jobs[job_id].waiting) for _, job_id in line])
        before = sums.get(segment.client_id, (0, 0))
        sums[segment.client_id] = (
            before[0] + need.millicores * slots * tasks,
            before[1] + need.gpus * slots * tasks,
        )
    return sums
