"""What a simulated farm has beyond a count of processors: nodes, what jobs need of them, and nodes that fail.

A trace of the Standard Workload Format knows processors and times only; whatever else is known of its jobs stands
beside it as `Needs` by job number.
"""

from collections.abc import Iterable, Iterator, Sequence

from application.simulation.engine import Arrival
from domain.job.values import Priority
from domain.messages import ClientId, NodeId, Value
from domain.node import Attributes, BringOnline, LoseNode
from domain.resources import NOTHING, Requirement, Resources

DEFAULT_CLIENT: ClientId = "default"
NO_NODE = "no-node"
"""Why a job was left out, beside `workload.Dropped`: no node could ever hold it, or all together not its gang."""
MACHINE: NodeId = "machine"
"""The node that stands for all processors of a trace."""


class SimulatedNode(Value, frozen=True):
    """A node of a simulated farm."""

    node_id: NodeId
    capacity: Resources
    attributes: Attributes = {}


class Needs(Value, frozen=True):
    """What a job needs, and who waits for it, as far as processors and times do not say it."""

    requirement: Requirement
    name: str = ""
    """What people call it; empty means its id."""
    client_id: ClientId = DEFAULT_CLIENT
    priority: Priority = Priority.MEDIUM
    deadline_s: int | None = None
    """When it should be done, in seconds on the trace's clock."""
    kind: str = ""
    """What sort of work it is, for what is learned about run times."""


class Outage(Value, frozen=True):
    """A node is down from one second up to another; what runs there is lost at the first."""

    node_id: NodeId
    down_s: int
    up_s: int
    cause: str = ""


class Use(Value, frozen=True):
    """How much of one kind of resource a schedule used."""

    capacity: int
    """Of all nodes, in the unit that the name of the resource tells."""
    used_share: float
    """Amount × time held by the runs that completed, over capacity × makespan."""


def merged(outages: Iterable[Outage]) -> list[Outage]:
    """The same outages by time, those of one node that overlap or touch as one with the cause of the first."""
    last: dict[NodeId, Outage] = {}
    whole: list[Outage] = []
    for each in sorted(outages, key=lambda outage: (outage.down_s, outage.node_id, outage.up_s)):
        before = last.get(each.node_id)
        if before is not None and each.down_s <= before.up_s:
            last[each.node_id] = Outage(each.node_id, before.down_s, max(before.up_s, each.up_s), before.cause)
            continue
        if before is not None:
            whole.append(before)
        last[each.node_id] = each
    return sorted([*whole, *last.values()], key=lambda outage: (outage.down_s, outage.node_id))


def node_changes(outages: Iterable[Outage], start_ms: int) -> Iterator[Arrival]:
    """Nodes that are lost and come back, by time; at one moment those that come back first."""
    changes: list[tuple[int, int, NodeId, Arrival]] = []
    for each in merged(outages):
        down_ms, up_ms = start_ms + each.down_s * 1_000, start_ms + each.up_s * 1_000
        lost = LoseNode(node_id=each.node_id, why=each.cause or "outage")
        back = BringOnline(node_id=each.node_id)
        if each.up_s == each.down_s:  # a restart: all in one moment, in this order
            changes.append((down_ms, 1, each.node_id, Arrival(down_ms, (lost, back))))
        else:
            changes.append((down_ms, 1, each.node_id, Arrival(down_ms, (lost,))))
            changes.append((up_ms, 0, each.node_id, Arrival(up_ms, (back,))))
    for *_, arrival in sorted(changes, key=lambda change: change[:3]):
        yield arrival


def machine(processors: int) -> SimulatedNode:
    """One node for all processors: a trace says nothing about where they are."""
    return SimulatedNode(MACHINE, Resources(millicores=processors * 1_000))


def whole(processors: int) -> Needs:
    """So many processors of one node."""
    return Needs(Requirement(Resources(millicores=processors * 1_000)))


def gang(processors: int) -> Needs:
    """So many processors over any nodes."""
    return Needs(Requirement(Resources(millicores=1_000), slots=processors))


def uses(held: Iterable[tuple[Requirement, int]], nodes: Sequence[SimulatedNode], makespan_s: int) -> dict[str, Use]:
    """What completed runs used of each kind of resource; `held` are (requirement, run_s)."""
    capacity, used = NOTHING, NOTHING
    for node in nodes:
        capacity = capacity.plus(node.capacity)
    for requirement, run_s in held:
        used = used.plus(requirement.total(), run_s)
    amounts = dict(used.items())
    return {
        name: Use(amount, amounts.get(name, 0) / (amount * makespan_s) if makespan_s else 0.0)
        for name, amount in capacity.items()
    }
