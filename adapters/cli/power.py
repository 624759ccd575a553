"""`milepost power`: power nodes down and up by hand."""

from typing import TYPE_CHECKING, Any

import click

from adapters.cli.changing import each_of, node_ids, resolve, why_option
from adapters.cli.frame import Desk, verb
from domain import errors
from domain.messages import Command
from domain.node import NodeStatus, StartNode, StopNode

if TYPE_CHECKING:
    from adapters.door import Door

HELP = {
    NodeStatus.OFFLINE: "it is down already, and not to save energy; its supervisor brings it back (`milepost serve`)",
    NodeStatus.MAINTENANCE: "it is out of service on purpose; end its maintenance first",
    NodeStatus.ERROR: "it was set aside because it misbehaves; recover it first",
    NodeStatus.STOPPING: "it is being powered down; wait for that",
    NodeStatus.STARTING: "it is being powered up; wait for that",
}


@click.group("power")
def power() -> None:
    """Power nodes down and up; by itself the farm does so as its energy policy says."""


@verb("off", "milepost power off node-2", "milepost power off node-2 node-3 --why 'over the weekend'")
@node_ids
@why_option
def off(desk: Desk, nodes: tuple[str, ...], why: str) -> int:
    """Power nodes down on which nothing runs; drained ones stay down, others come up when work needs them."""
    with desk.door(write=True) as door:
        families = door.get("/api/policies")["families"]
        energy = next(each for each in families if each["family"] == "energy")

        def make(node_id: str) -> list[Command]:
            _check_free(door, node_id, energy)
            return [StopNode(node_id=node_id, why=why)]

        return each_of(desk, door, nodes, lambda text: [resolve(door, "node", text)], make, "powers down")


@verb("on", "milepost power on node-2")
@node_ids
@why_option
def on(desk: Desk, nodes: tuple[str, ...], why: str) -> int:
    """Power nodes up that sleep."""
    with desk.door(write=True) as door:

        def make(node_id: str) -> list[Command]:
            _check_asleep(door, node_id)
            return [StartNode(node_id=node_id, why=why)]

        return each_of(desk, door, nodes, lambda text: [resolve(door, "node", text)], make, "powers up")


for command in (off, on):
    power.add_command(command)


def _check_free(door: "Door", node_id: str, energy: dict[str, Any]) -> None:
    """NotAllowed for a node that is in use, not online, or would come up at once, and what would help.

    The farm decides all the same whether it is free.
    """
    row = _row(door, node_id)
    if row["attempts"]:
        some = f"{row['attempts']} attempt{'s' if row['attempts'] > 1 else ''}"
        problem = f"node {node_id!r} holds {some}: `milepost drain {node_id}` lets no more come, then wait for them"
        raise errors.NotAllowed(f"{problem}, or `milepost requeue` their jobs")
    if row["status"] != NodeStatus.ONLINE and not row["asleep"]:
        raise errors.NotAllowed(f"node {node_id!r} is {row['status']}: {HELP[NodeStatus(row['status'])]}")
    if energy["parameters"].get("idle_after_s") is None and not row["draining"]:
        raise errors.NotAllowed(
            f"the energy policy {energy['name']!r} keeps every node on: {node_id!r} would come up again at once; "
            f"`milepost drain {node_id}` first, or let nodes sleep: `milepost policy adopt energy=efficiency`"
        )


def _check_asleep(door: "Door", node_id: str) -> None:
    """NotAllowed for a node that is down for another reason, and what would help."""
    row = _row(door, node_id)
    status = NodeStatus(row["status"])
    if status not in (NodeStatus.ONLINE, NodeStatus.STARTING) and not row["asleep"]:
        raise errors.NotAllowed(f"node {node_id!r} does not sleep, it is {status}: {HELP[status]}")


def _row(door: "Door", node_id: str) -> dict[str, Any]:
    rows = door.get("/api/nodes", all=True)["rows"]
    found: dict[str, Any] = next(row for row in rows if row["node_id"] == node_id)
    return found
