"""Filters: which nodes a job may not use although it would fit there, as operators keep parts of a farm for something.

Partitions with access lists as in Slurm, taints as in Kubernetes, pools as in render farms. A filter looks at the
client, the priority and the requirement of a job and at nothing else: jobs that are alike in these are judged together.
"""

from typing import Annotated

import msgspec

from domain.indices.nodeindex import NodeIndex
from domain.job.values import Job
from domain.messages import ClientId, Value
from domain.node import Attributes
from domain.policies import Context, register
from domain.resources import AttributeNeed, Requirement, Resources

Mebibytes = Annotated[int, msgspec.Meta(ge=0)]


class GpuNodesForGpuJobs(Value, frozen=True):
    """Jobs that need no GPU stay off nodes that have one, even while these are idle (a GPU partition, Slurm)."""

    def mask(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """All for a job with GPUs, else those without any."""
        return nodes if job.spec.requirement.resources.gpus else nodes & ~index.capable(_A_GPU)


_A_GPU = Requirement(Resources(gpus=1))


class LargeMemoryNodes(Value, frozen=True):
    """Nodes with much memory are kept for jobs that need much of it (a large-memory partition, Slurm)."""

    node_memory_mib: Mebibytes = 262_144
    """Nodes with at least this much are kept."""
    job_memory_mib: Mebibytes = 65_536
    """Jobs that need at least this much per slot may use them."""

    def mask(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """All for a job that needs enough, else those with less than is kept."""
        if job.spec.requirement.resources.memory_mib >= self.job_memory_mib:
            return nodes
        return nodes & ~index.capable(Requirement(Resources(memory_mib=self.node_memory_mib)))


class Dedicated(Value, frozen=True):
    """A node whose attribute names clients takes jobs of these alone (taints and tolerations, Kubernetes)."""

    attribute: str = "dedicated"
    """The attribute with the ids of clients; nodes without it take jobs of all."""

    def mask(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """Those that name the job's client or nobody."""
        client_id = job.spec.client_id
        for clients, members in index.grouped(_ValuesOf(self.attribute)).masks.items():
            if clients and client_id not in clients:
                nodes &= ~members
        return nodes


class _ValuesOf(Value, frozen=True):
    """The values of one attribute of a node."""

    name: str

    def __call__(self, attributes: Attributes, capacity: Resources) -> tuple[str, ...]:
        return attributes.get(self.name, ())


class ClientPools(Value, frozen=True):
    """Jobs of some clients run only in pools of their own (host groups of render farms; Slurm's AllowAccounts)."""

    pools: dict[ClientId, tuple[str, ...]] = {}
    """The pools of each client; one that is not named may use all nodes."""
    attribute: str = "pool"
    """The attribute with the pools to which a node belongs."""

    def __post_init__(self) -> None:
        """ValueError for a client without any pool: its jobs could never run."""
        empty = ", ".join(sorted(client_id for client_id, pools in self.pools.items() if not pools))
        if empty:
            raise ValueError(f"{empty} may use no pool at all")

    def mask(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """Those in one of the pools of the job's client."""
        pools = self.pools.get(job.spec.client_id)
        return nodes if pools is None else nodes & index.with_attributes((AttributeNeed(self.attribute, pools),))


register("filter", "gpu-nodes-for-gpu-jobs", GpuNodesForGpuJobs)
register("filter", "large-memory-nodes", LargeMemoryNodes)
register("filter", "dedicated", Dedicated)
register("filter", "client-pools", ClientPools)
