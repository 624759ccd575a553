"""What the clock brings about at the windows of reservations: they begin and end, and who is in the way is sent away.

Fed with every event, as `application.timers`: an alarm is a reminder to look at the farm, never a fact by itself. A
window whose time came while nobody was there is caught up with at the first look.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from application.reservations import TakeNodes, can_be_taken
from application.timers import Alarms, AttemptKey
from domain import intervals
from domain.client import ClientProtectionChanged
from domain.farm import Farm
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import AttemptNumber, Job, StopCause
from domain.messages import Command, Event, JobId, NodeId, Recorded, ReservationId
from domain.node import NodeEvent, NodeStatus
from domain.reservation import (
    ActivateReservation,
    EndReservation,
    Reservation,
    ReservationEvent,
    ReservationStatus,
    window_from,
)
from domain.rules.evacuation import contract_of, leaves_at_ms, must_be_left_alone, owns


class Windows:
    """The alarms of one farm's windows. The caller holds the application's lock, and has it see all commits."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._turns: Alarms[ReservationId] = Alarms()
        """When a window begins, or ends once it has begun."""
        self._leavings: Alarms[AttemptKey] = Alarms()
        """When an attempt is told to leave for a window."""
        self._taking: dict[ReservationId, None] = {}
        """Windows of maintenance that have begun, as long as they may still have to take a node out of service."""
        self._may_be_free = True
        """Whether something has happened since the last look that may have left a node free."""
        for reservation in farm.reservations.values():
            self._await(reservation.reservation_id)
            if reservation.is_maintenance and reservation.status is ReservationStatus.ACTIVE:
                self._taking[reservation.reservation_id] = None

    # -- what happens --------------------------------------------------------------------------------------------

    def see(self, recorded: Sequence[Recorded]) -> None:
        """Takes in a commit; the farm has folded it already, perhaps with more."""
        for _, _, _, event, _ in recorded:
            react = _REACTIONS.get(type(event))
            if react is not None:
                react(self, event)

    def _await(self, reservation_id: ReservationId) -> None:
        """Sets the alarms of a reservation as it stands, and of whoever is on its nodes."""
        reservation = self._farm.reservations.get(reservation_id)
        if reservation is None:
            self._turns.drop(reservation_id)
            self._taking.pop(reservation_id, None)
            return
        is_active = reservation.status is ReservationStatus.ACTIVE
        self._turns.put(reservation_id, reservation.window.end_ms if is_active else reservation.window.start_ms)
        for node_id in reservation.nodes:
            for key in self._farm.placed.get(node_id, ()):
                self._watch(key)

    def _booked(self, event: Any) -> None:
        self._await(event.reservation_id)
        reservation = self._farm.reservations.get(event.reservation_id)
        if reservation is not None and reservation.is_maintenance:
            if reservation.status is ReservationStatus.ACTIVE:
                self._taking[event.reservation_id] = None
                self._may_be_free = True
            else:
                self._taking.pop(event.reservation_id, None)

    def _placed(self, event: e.TasksPlaced) -> None:
        if not self._farm.reservations:
            return
        for placement in event.placements:
            for nth in range(intervals.size(placement.tasks)):
                self._watch((event.job_id, placement.first_attempt + nth))

    def _moved(self, event: Any) -> None:
        """When its attempts will have ended, or whether they may be sent away, is not what it was."""
        job = self._farm.jobs.get(event.job_id)
        if job is not None and self._farm.reservations:
            for number in job.live:
                self._watch((event.job_id, number))

    def _client_moved(self, event: ClientProtectionChanged) -> None:
        for reservation_id in self._farm.reservations:
            self._await(reservation_id)

    def _ended(self, event: e.TasksSucceeded | e.TasksFailed | e.TasksStopped) -> None:
        self._gone(event.job_id, [end.attempt for end in event.ends])

    def _lost(self, event: e.TasksLost) -> None:
        self._gone(event.job_id, event.attempts)

    def _gone(self, job_id: JobId, numbers: Iterable[AttemptNumber]) -> None:
        self._may_be_free = True
        for number in numbers:
            self._leavings.drop((job_id, number))

    def _node_changed(self, event: Event) -> None:
        self._may_be_free = True

    # -- who has to leave ----------------------------------------------------------------------------------------

    def _watch(self, key: AttemptKey) -> int | None:
        """Sets the alarm of an attempt that would meet a window of others; its time."""
        at_ms = self._leaves_at_ms(key)
        if at_ms is None:
            self._leavings.drop(key)
        else:
            self._leavings.put(key, at_ms)
        return at_ms

    def _leaves_at_ms(self, key: AttemptKey) -> int | None:
        job = self._farm.jobs.get(key[0])
        attempt = None if job is None else job.live.get(key[1])
        if job is None or attempt is None or attempt.stopping is not None:
            return None
        nodes = [node_id for node_id, _ in attempt.nodes]
        foreign = [each for each in self._farm.reservations.values() if self._concerns(each, job, nodes)]
        found = [window_from(each.window, each.occurrence, each.repeat, self._farm.now_ms) for each in foreign]
        return leaves_at_ms(job, attempt, [window for window, number in found if number])

    def _concerns(self, reservation: Reservation, job: Job, nodes: Sequence[NodeId]) -> bool:
        mask, numbers = self._farm.reservations.mask(reservation, self._farm.index), self._farm.index.numbers
        return any(mask >> numbers[node_id] & 1 for node_id in nodes) and not owns(reservation.owner, job)

    # -- what is due ---------------------------------------------------------------------------------------------

    def first_ms(self) -> int | None:
        """When something is due next; None if nothing will be by time alone."""
        found = [at_ms for at_ms in (self._turns.first_ms(), self._leavings.first_ms()) if at_ms is not None]
        return min(found, default=None)

    def due(self, now_ms: int) -> list[Command]:
        """Windows that begin or end, attempts that are to leave, nodes that can be taken out of service by now."""
        turns = [command for key in self._turns.due(now_ms) for command in self._turn(key, now_ms)]
        return [*turns, *self._send_away(now_ms), *self._take()]

    def _turn(self, reservation_id: ReservationId, now_ms: int) -> Iterable[Command]:
        reservation = self._farm.reservations.get(reservation_id)
        if reservation is None:
            return
        self._turns.put(reservation_id, max(reservation.window.end_ms, now_ms + 1))
        kind: type[ActivateReservation] | type[EndReservation] = ActivateReservation
        if reservation.window.end_ms <= now_ms:
            kind = EndReservation
        elif reservation.status is ReservationStatus.ACTIVE:
            return
        yield kind(reservation_id=reservation_id, occurrence=reservation.occurrence)

    def _send_away(self, now_ms: int) -> list[Command]:
        """Attempts whose contract forbids it are looked at again when that changes."""
        leaving: dict[JobId, list[AttemptNumber]] = {}
        for job_id, number in self._leavings.due(now_ms):
            at_ms = self._watch((job_id, number))
            if at_ms is None or at_ms > now_ms:
                continue
            self._leavings.drop((job_id, number))
            job = self._farm.jobs[job_id]
            contract = contract_of(self._farm.clients, job)
            if not must_be_left_alone(job, number, contract, now_ms):
                leaving.setdefault(job_id, []).append(number)
            elif contract is not None and contract.until_ms is not None and not contract.never:
                self._leavings.put((job_id, number), max(contract.until_ms, now_ms + 1))
        return [
            c.StopAttempts(job_id=job_id, attempts=tuple(sorted(numbers)), cause=StopCause.EVACUATED)
            for job_id, numbers in sorted(leaving.items())
        ]

    def _take(self) -> list[Command]:
        """Nodes of maintenance that was to wait for them."""
        if not self._taking or not self._may_be_free:
            return []
        self._may_be_free = False
        commands: list[Command] = []
        for reservation_id in list(self._taking):
            nodes = self._farm.reservations[reservation_id].nodes
            if any(can_be_taken(self._farm, node_id) for node_id in nodes):
                commands.append(TakeNodes(reservation_id=reservation_id))
            elif all(self._is_out(node_id) for node_id in nodes):
                del self._taking[reservation_id]
        return commands

    def _is_out(self, node_id: NodeId) -> bool:
        node = self._farm.nodes.get(node_id)
        return node is None or node.retired or node.status in (NodeStatus.MAINTENANCE, NodeStatus.ERROR)


_REACTIONS: dict[type[Event], Callable[[Windows, Any], None]] = {
    **dict.fromkeys(get_args(ReservationEvent), Windows._booked),
    **dict.fromkeys(get_args(NodeEvent), Windows._node_changed),
    **dict.fromkeys(
        (
            e.JobPaused,
            e.JobResumed,
            e.TasksSuspended,
            e.TasksResumed,
            e.TaskCheckpointed,
            e.JobProtectionChanged,
        ),
        Windows._moved,
    ),
    ClientProtectionChanged: Windows._client_moved,
    e.TasksPlaced: Windows._placed,
    e.TasksSucceeded: Windows._ended,
    e.TasksFailed: Windows._ended,
    e.TasksStopped: Windows._ended,
    e.TasksLost: Windows._lost,
}
