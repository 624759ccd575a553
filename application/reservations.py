"""Reservations: which nodes one gets, what forbids it, and what follows when a window begins or ends.

A window of maintenance takes its nodes out of service as soon as nothing runs there, and puts back what it took. All of
it is part of the commit that begins or ends the window, so that a crash leaves nothing half done.
"""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from application.decider import CLIENT, RESERVATION, WORKFLOW, Batch
from domain import errors
from domain.farm import Farm
from domain.job.events import TasksPlaced
from domain.messages import Command, Event, Meta, NodeId, ReservationId, client_stream, topic_of
from domain.node import EndMaintenance, Node, NodeRetired, NodeStatus, StartMaintenance
from domain.reservation import (
    ActivateReservation,
    CancelReservation,
    ChangeReservation,
    MakeReservation,
    Owner,
    OwnerKind,
    Reservation,
    ReservationActivated,
    ReservationCancelled,
    ReservationChanged,
    ReservationEnded,
    ReservationMade,
    ReservationStatus,
    SetAside,
    check_wish,
)
from domain.rules.conflicts import FORBIDDING, Conflict, Obstacle, allows_overlap, choose, conflicts_of, partition_mask
from domain.rules.evacuation import owns
from domain.time_range import TimeRange
from domain.wording import duration_text, plural
from domain.workflow import WorkflowCancelled, WorkflowCompleted, WorkflowFailed

Commands = Iterator[Command]
_AGAINST = frozenset(topic_of(kind) for kind in (ReservationMade, ReservationChanged, TasksPlaced, NodeRetired))
"""What, written meanwhile, could stand against a reservation."""
SAID = 3
"""So many obstacles of a kind are named in a refusal."""


# -- commands ----------------------------------------------------------------------------------------------------


def make(batch: Batch, command: MakeReservation, meta: Meta) -> None:
    """Nodes are chosen and set aside; ReservationConflict names what is in the way unless somebody insists."""
    if batch.load(RESERVATION, command.reservation_id).state is None:
        check_wish(command, batch.now_ms)
        _check_owner(batch, command.owner)
        batch.guards |= _AGAINST
        choice = choose(batch.farm, command, batch.now_ms, live_reservations(batch))
        forced = weigh(batch.farm, command.reservation_id, command.owner, choice.conflicts, command.force)
        batch.do(SetAside(wish=command, nodes=choice.nodes, forced=forced), meta)
    else:
        batch.do(SetAside(wish=command, nodes=()), meta)


def change(batch: Batch, command: ChangeReservation, meta: Meta) -> None:
    """A window that is to end later is held against what is in the way by then, as a new one is."""
    known: Reservation | None = batch.load(RESERVATION, command.reservation_id).state
    if known is not None and not known.is_over and command.end_ms > known.window.end_ms:
        batch.guards |= _AGAINST
        longer = replace(known, window=TimeRange(known.window.end_ms, command.end_ms))
        conflicts = conflicts_of(batch.farm, longer, batch.now_ms, live_reservations(batch))
        weigh(batch.farm, known.reservation_id, known.owner, tuple(conflicts), command.force)
    batch.do(command, meta)


def activate(batch: Batch, command: ActivateReservation, meta: Meta) -> None:
    """A window begins; those nodes are named where something of others still runs."""
    known: Reservation | None = batch.load(RESERVATION, command.reservation_id).state
    busy = () if known is None else tuple([each for each in known.nodes if foreign_on(batch.farm, known, each)])
    batch.do(replace(command, busy=busy), meta)


class TakeNodes(Command, frozen=True, kw_only=True, tag="take-nodes"):
    """Take those nodes of a window of maintenance out of service that are free by now."""

    reservation_id: ReservationId


def take_nodes(batch: Batch, command: TakeNodes, meta: Meta) -> None:
    """Free nodes go out of service while the window is open; what is busy goes later."""
    known: Reservation | None = batch.load(RESERVATION, command.reservation_id).state
    if known is None or known.status is not ReservationStatus.ACTIVE:
        return
    batch.guards |= _AGAINST
    for node_id in known.nodes:
        if can_be_taken(batch.farm, node_id):
            batch.do(take(node_id, command.reservation_id), meta)


HANDLERS: dict[type[Command], Callable[[Batch, Any, Meta], None]] = {
    MakeReservation: make,
    ChangeReservation: change,
    ActivateReservation: activate,
    TakeNodes: take_nodes,
}


def live_reservations(batch: Batch) -> tuple[Reservation, ...]:
    """All reservations that are not over, those staged here included, by id."""
    found: dict[ReservationId, Reservation] = dict(batch.farm.reservations)
    for stream, staged in batch.streams.items():
        if isinstance(staged.state, Reservation):
            found[stream] = staged.state
    return tuple([found[key] for key in sorted(found) if not found[key].is_over])


def foreign_on(farm: Farm, reservation: Reservation, node_id: NodeId) -> bool:
    """Whether something runs on a node that is not the reservation's own."""
    return any(not owns(reservation.owner, farm.jobs[job_id]) for job_id, _ in farm.attempts_on(node_id))


def _check_owner(batch: Batch, owner: Owner) -> None:
    """NotFound, or WorkflowStateForbids, unless it is somebody who can use nodes."""
    if owner.kind is OwnerKind.CLIENT and batch.load(CLIENT, client_stream(owner.id)).state is None:
        raise errors.ClientNotFound(client_id=owner.id)
    if owner.kind is OwnerKind.PARTITION:
        partition_mask(batch.farm, owner.id)
    if owner.kind is OwnerKind.WORKFLOW:
        workflow = batch.load(WORKFLOW, owner.id).state
        if workflow is None:
            raise errors.WorkflowNotFound(workflow_id=owner.id)
        if workflow.ended is not None:
            raise errors.WorkflowStateForbids(workflow_id=owner.id, status=workflow.ended, verb="a reservation for it")


def weigh(
    farm: Farm, reservation_id: ReservationId, owner: Owner, conflicts: tuple[Conflict, ...], force: bool
) -> tuple[str, ...]:
    """What is overruled, in words; ReservationConflict where that is not allowed, or nobody has insisted."""
    others = farm.reservations
    never = [
        each
        for each in conflicts
        if each.obstacle is Obstacle.RESERVED
        and (each.reservation_id not in others or not allows_overlap(owner, others[each.reservation_id].owner))
    ]
    against = [each for each in conflicts if each.obstacle in FORBIDDING]
    if never:
        raise errors.ReservationConflict(reservation_id=reservation_id, problem="; ".join(said(never)))
    if against and not force:
        problem = f"{'; '.join(said(against))}. --force makes it all the same"
        raise errors.ReservationConflict(reservation_id=reservation_id, problem=problem)
    return said(against)


def said(conflicts: list[Conflict]) -> tuple[str, ...]:
    """Conflicts in words, those of a kind together."""
    texts = []
    for kind, text_of in _TEXTS.items():
        alike = [each for each in conflicts if each.obstacle is kind]
        if alike:
            more = f" and {len(alike) - SAID} more" if len(alike) > SAID else ""
            named = ", ".join([_subject(each) for each in alike[:SAID]]) + more
            texts.append(text_of(named, alike))
    return tuple(texts)


def _subject(conflict: Conflict) -> str:
    if conflict.obstacle is Obstacle.RESERVED:
        return f"{conflict.reservation_id} on {conflict.node_id}"
    return f"{conflict.job_id} on {conflict.node_id}"


def _lost(alike: list[Conflict]) -> str:
    lost_ms = sum([each.lost_ms for each in alike])
    return f", losing {duration_text(lost_ms)} of work" if lost_ms else ""


_TEXTS: dict[Obstacle, Callable[[str, list[Conflict]], str]] = {
    Obstacle.RESERVED: lambda named, alike: f"another reservation has the nodes at that time ({named})",
    Obstacle.PROTECTED: lambda named, alike: (
        f"{plural(len(alike), 'attempt')} may not be interrupted and would still run ({named}): the window would wait"
    ),
    Obstacle.STOPPED: lambda named, alike: (
        f"{plural(len(alike), 'attempt')} would still run and be stopped{_lost(alike)} ({named})"
    ),
    Obstacle.CHECKPOINTED: lambda named, alike: f"{plural(len(alike), 'attempt')} would save and leave ({named})",
    Obstacle.PROMISED: lambda named, alike: f"room is kept there for {plural(len(alike), 'waiting job')} ({named})",
}


# -- consequences ------------------------------------------------------------------------------------------------


def take(node_id: NodeId, reservation_id: ReservationId) -> StartMaintenance:
    """Takes a node out of service for a window, which gives it back."""
    return StartMaintenance(node_id=node_id, why=f"reservation {reservation_id}", reservation_id=reservation_id)


def _activated(batch: Batch, event: ReservationActivated) -> Commands:
    """A window of maintenance takes its nodes out of service, those first where nothing runs."""
    if event.owner.kind is OwnerKind.MAINTENANCE:
        for node_id in event.nodes:
            if can_be_taken(batch.farm, node_id):
                yield take(node_id, event.reservation_id)


def can_be_taken(farm: Farm, node_id: NodeId) -> bool:
    """Whether nothing runs on a node that is in service or down, but not asleep, under suspicion or set aside."""
    node = farm.nodes.get(node_id)
    if node is None or node.retired or node.asleep or node.status not in (NodeStatus.ONLINE, NodeStatus.OFFLINE):
        return False
    return not farm.placed.get(node_id)


def _over(batch: Batch, event: ReservationEnded | ReservationCancelled) -> Commands:
    """What was taken out of service for it is given back."""
    for node_id in event.nodes:
        node: Node | None = batch.farm.nodes.get(node_id)
        if node is not None and is_held(node, event.reservation_id):
            yield EndMaintenance(node_id=node_id)


def is_held(node: Node, reservation_id: ReservationId) -> bool:
    """Whether a node is out of service for this reservation, and not for another reason."""
    return not node.retired and node.status is NodeStatus.MAINTENANCE and node.reservation_id == reservation_id


def _workflow_ended(batch: Batch, event: WorkflowCompleted | WorkflowFailed | WorkflowCancelled) -> Commands:
    """What was set aside for as long as the workflow lives is set aside no longer."""
    for reservation in live_reservations(batch):
        owner = reservation.owner
        if reservation.follows and owner.kind is OwnerKind.WORKFLOW and owner.id == event.workflow_id:
            yield CancelReservation(reservation_id=reservation.reservation_id, why="its workflow has ended")


REACTIONS: dict[type[Event], Callable[[Batch, Any], Commands]] = {
    ReservationActivated: _activated,
    ReservationEnded: _over,
    ReservationCancelled: _over,
    WorkflowCompleted: _workflow_ended,
    WorkflowFailed: _workflow_ended,
    WorkflowCancelled: _workflow_ended,
}
"""What follows in the same commit."""
_BOOKED = frozenset({topic_of(ReservationMade)})
GUARDS: dict[type[Event], frozenset[str]] = {
    kind: _BOOKED if react is _workflow_ended else _AGAINST for kind, react in REACTIONS.items()
}
"""What no other process may have written meanwhile."""
