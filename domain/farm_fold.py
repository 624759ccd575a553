"""How each event that is not a job's moves the farm: nodes, clients, workflows, edges, cycles and policies."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from domain import checkpoint, client, dependency, node, partition, reservation, workflow
from domain.client import Client
from domain.cycle import CommandRefused, CycleDecided, PoliciesAdopted
from domain.dependency import Dependency
from domain.forecasting.promises import FORECAST_STREAMS, ForecastsMade, ForecastsScored
from domain.indices.performance import node_class
from domain.messages import Event, StreamId
from domain.node import Node, NodeCapabilitiesChanged, NodeOnline, NodeRegistered
from domain.observed import ObservedExternally
from domain.partition import Partition
from domain.reservation import Reservation
from domain.undo import CommandUndone
from domain.workflow import Workflow

if TYPE_CHECKING:
    from domain.farm import Farm


_CAPABILITIES = (NodeRegistered, NodeCapabilitiesChanged)
"""What may put a node into another class."""


def _node(farm: "Farm", stream: StreamId, event: Any, state: Node | None) -> None:
    after = node.evolve(farm.nodes.get(event.node_id), event) if state is None else state
    farm.nodes[event.node_id] = after
    if type(event) in _CAPABILITIES:
        farm.classes[event.node_id] = node_class(after.attributes, after.capacity)
    if type(event) is NodeOnline:
        farm.idle.note(event.node_id, event.at_ms)
    farm.note_power(after)
    if farm._indexed:
        farm.index.put(after)


def _client(farm: "Farm", stream: StreamId, event: Any, state: Client | None) -> None:
    known = farm.clients.get(event.client_id)
    farm.clients[event.client_id] = client.evolve(known, event) if state is None else state


def _partition(farm: "Farm", stream: StreamId, event: Any, state: Partition | None) -> None:
    after = partition.evolve(farm.partitions.get(event.partition), event) if state is None else state
    farm.partitions[event.partition] = after
    if farm._indexed:
        farm.index.divide(event.partition, None if after.removed else after.terms)


def _workflow(farm: "Farm", stream: StreamId, event: Any, state: Workflow | None) -> None:
    after = state
    if after is None and not isinstance(event, workflow.WorkflowArchived):
        after = workflow.evolve(farm.workflows.get(stream), event)
    if after is None or after.ended is not None:
        for table in (farm.workflows, farm.outcomes, farm.tallies, farm.scouts, farm.versions):
            table.pop(stream, None)
        return
    farm.workflows[stream] = after
    if isinstance(event, workflow.WorkflowReopened):
        farm.outcomes[stream] = dict(event.outcomes)
    else:
        farm.outcomes.setdefault(stream, {})
    if not farm._indexed:
        return
    if isinstance(event, workflow.WorkflowJobAdded):
        farm.tallies[stream].add()
    else:
        farm.tallies[stream] = farm._tally(after)


def _dependency(farm: "Farm", stream: StreamId, event: Any, state: Dependency | None) -> None:
    known = farm.dependencies.get(stream)
    if known is None and not isinstance(event, dependency.DependencyDeclared):
        farm.versions.pop(stream, None)  # neither end lives any more
        return
    after = dependency.evolve(known, event) if state is None else state
    farm.dependencies[stream] = after
    if known is None:
        farm._link(after)
    farm._forget_edge(after)


def _reservation(farm: "Farm", stream: StreamId, event: Any, state: Reservation | None) -> None:
    after = reservation.evolve(farm.reservations.get(stream), event) if state is None else state
    if after.is_over:
        farm.reservations.forget(stream)
        farm.versions.pop(stream, None)
    else:
        farm.reservations[stream] = after


def _nothing(farm: "Farm", stream: StreamId, event: Event, state: Any) -> None:
    """Checkpoints, and what was observed outside, live in their own streams; the job remembers its newest ones."""
    farm.versions.pop(stream, None)


def _cycle(farm: "Farm", stream: StreamId, event: CycleDecided, state: Any) -> None:
    if stream != farm.cycle_day:
        farm.versions.pop(farm.cycle_day, None)
        farm.cycle_day = stream
    if event.keyframe:
        farm.blocked, farm.blocked_ms = {}, {}
    for name in event.cleared:
        farm.blocked.pop(name, None)
        farm.blocked_ms.pop(name, None)
    for blocked in event.blocked:
        farm.blocked[blocked.segment] = blocked
        farm.blocked_ms[blocked.segment] = event.at_ms
    if event.reserved is not None:
        farm.reserved = event.reserved


def _policies(farm: "Farm", stream: StreamId, event: PoliciesAdopted, state: Any) -> None:
    farm.policies = event.policies
    farm.idle.follow(event.policies, event.at_ms)
    farm.usage.follow(event.policies, event.at_ms, farm.jobs.values())


def _refused(farm: "Farm", stream: StreamId, event: CommandRefused, state: Any) -> None:
    for other in [s for s in farm.versions if s.startswith("refusal-") and s != stream]:
        del farm.versions[other]


def _undone(farm: "Farm", stream: StreamId, event: CommandUndone, state: Any) -> None:
    for other in [s for s in farm.versions if s.startswith("undo-") and s != stream]:
        del farm.versions[other]


def _forecast(farm: "Farm", stream: StreamId, event: ForecastsMade, state: Any) -> None:
    _newest_day(farm, stream)
    for promise in event.rows:
        farm.promises.make(promise, event.at_ms)


def _scored(farm: "Farm", stream: StreamId, event: ForecastsScored, state: Any) -> None:
    _newest_day(farm, stream)
    for row in event.rows:
        farm.promises.take_off(row)


def _newest_day(farm: "Farm", stream: StreamId) -> None:
    """Of the streams of forecasts only the newest is remembered; looked for when a day's first event is folded."""
    if farm.versions[stream] == 1:
        for other in [s for s in farm.versions if s.startswith(FORECAST_STREAMS) and s != stream]:
            del farm.versions[other]


def _families() -> dict[type[Event], Callable[["Farm", StreamId, Any, Any], None]]:
    table: dict[type[Event], Callable[[Farm, StreamId, Any, Any], None]] = {
        CycleDecided: _cycle,
        PoliciesAdopted: _policies,
        CommandRefused: _refused,
        ForecastsMade: _forecast,
        ForecastsScored: _scored,
        ObservedExternally: _nothing,
        CommandUndone: _undone,
    }
    for family, handler in (
        (node.NodeEvent, _node),
        (client.ClientEvent, _client),
        (partition.PartitionEvent, _partition),
        (workflow.WorkflowEvent, _workflow),
        (dependency.DependencyEvent, _dependency),
        (checkpoint.CheckpointEvent, _nothing),
        (reservation.ReservationEvent, _reservation),
    ):
        table |= dict.fromkeys(get_args(family), handler)
    return table


FOLD = _families()
