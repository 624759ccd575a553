"""Fair share: who has used less than its share lately goes first (classic fair share of Slurm, Kay & Lauder 1988).

The share of a client is its guarantee and an equal part of what nobody is guaranteed. What it has used is its part of
what all have used, each second counting less the longer ago it is; use of cores and GPUs is measured in parts of what
the farm has of them, and the larger one counts (dominant resource, Ghodsi et al., NSDI 2011).
"""

from typing import TYPE_CHECKING

from domain.indices.usage import fair_share
from domain.job.values import PRIORITY_RANK, Job
from domain.messages import ClientId, Value
from domain.policies import Context, register
from domain.policies.priority import Ranks, notes_of

if TYPE_CHECKING:
    from domain.farm import Farm


class FairShare(Value, frozen=True):
    """Jobs rise by how little of its share their client has used lately, where the sharing policy remembers use."""

    static = False
    ranks: Ranks = 1.0
    """How far jobs of a client rise that has used nothing; half as far if it has used just its share."""

    def level(self, job: Job, context: Context) -> float:
        """What a person said, and the fair share of its client."""
        return PRIORITY_RANK[job.priority] + self.ranks * factor_of(job.spec.client_id, context)


def factor_of(client_id: ClientId, context: Context) -> float:
    """2^(-used / share) of a client at this moment; 1 for everybody where use is not remembered."""
    if not remembers(context):
        return 1.0
    notes = notes_of(context, factor_of)
    known: float | None = notes.get(client_id)
    if known is None:
        charges = notes.get(None)
        if charges is None:
            charges = notes[None] = charges_of(context.farm, context.now_ms)
        total = sum(charges.values())
        used = charges.get(client_id, 0.0) / total if total else 0.0
        known = notes[client_id] = fair_share(used, share_of(context.farm, client_id))
    return known


def remembers(context: Context) -> bool:
    """Whether the farm knows what was used lately."""
    return context.farm.usage.half_life_ms is not None


def charges_of(farm: "Farm", now_ms: int) -> dict[ClientId, float]:
    """What each client has used lately, in seconds of the whole farm."""
    live = [node.capacity for node in farm.nodes.values() if not node.retired]
    cores = sum([capacity.millicores for capacity in live]) / 1000
    gpus = sum([capacity.gpus for capacity in live])
    charges = {}
    for client_id in sorted(farm.usage.clients):
        used = farm.usage.of(client_id, now_ms)
        charges[client_id] = max(used.core_s / cores if cores else 0.0, used.gpu_s / gpus if gpus else 0.0)
    return charges


def share_of(farm: "Farm", client_id: ClientId) -> float:
    """The part of the farm, 0..1, that a client should have in the long run."""
    guaranteed = sum([client.shares.guarantee_percent for client in farm.clients.values()])
    client = farm.clients.get(client_id)
    if client is None:
        return 0.0
    return (client.shares.guarantee_percent + max(0, 100 - guaranteed) / len(farm.clients)) / 100


register("priority", "fair-share", FairShare)
