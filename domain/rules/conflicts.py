"""What stands against a reservation on a node, and which nodes would suffer least from one.

Running work may be in the way, other reservations, and room that was promised to somebody. Some of it forbids the
reservation unless somebody insists, some of it only is what the reservation costs.
"""

from enum import StrEnum
from typing import TypeAlias

from domain import errors
from domain.farm import Farm
from domain.indices.nodeindex import bits
from domain.job.values import AttemptNumber, Job, unsaved_ms
from domain.messages import JobId, NodeId, ReservationId, Value
from domain.reservation import Capacity, MakeReservation, Owner, OwnerKind, Repetition, Reservation, window_from
from domain.rules.evacuation import FOREVER, contract_of, latest_end_ms, must_be_left_alone, notice_ms, owns
from domain.time_range import TimeRange

MOST_WINDOWS = 2_000
"""So many windows of two reservations are held against each other; later ones meet as these do, or never."""


class Obstacle(StrEnum):
    """What is in the way on a node."""

    PROTECTED = "protected"
    """Work that its contract lets nobody interrupt; the window begins there only when it has ended."""
    STOPPED = "stopped"
    """Work that would be stopped, and has to begin anew."""
    CHECKPOINTED = "checkpointed"
    """Work that saves its state, leaves, and goes on elsewhere or afterwards."""
    RESERVED = "reserved"
    """Another reservation."""
    PROMISED = "promised"
    """Room that is kept for a waiting job."""


FORBIDDING = (Obstacle.PROTECTED, Obstacle.STOPPED, Obstacle.RESERVED)
"""What must be overruled, not only known."""


class Conflict(Value, frozen=True):
    """One thing that is in the way of a window on one node."""

    obstacle: Obstacle
    node_id: NodeId
    job_id: JobId = ""
    attempt: AttemptNumber = 0
    reservation_id: ReservationId = ""
    until_ms: int | None = None
    """When it is out of the way by itself, as far as anybody knows."""
    lost_ms: int = 0
    """Run time that would be done again."""
    window: TimeRange | None = None
    """Which window it is in the way of."""


class Choice(Value, frozen=True):
    """The nodes of a reservation, and what stands against it there."""

    nodes: tuple[NodeId, ...]
    conflicts: tuple[Conflict, ...]


def choose(farm: Farm, wish: MakeReservation, now_ms: int, others: tuple[Reservation, ...]) -> Choice:
    """The nodes that a wish gets: all it names, or of these as many as it needs where that does the least harm.

    `others` are the reservations that are not over. NodeNotFound, ReservationInvalid where there are not enough.
    """
    numbers = _candidates(farm, wish)
    found = {number: _on_node(farm, wish, farm.index.ids[number], now_ms, others) for number in numbers}
    chosen = numbers
    if wish.asked.count is not None or wish.asked.millicores is not None:
        free = [number for number in numbers if not any(each.obstacle is Obstacle.RESERVED for each in found[number])]
        chosen = sorted(_as_many_as_needed(farm, wish, sorted(free, key=lambda n: (_harm(farm, found[n], n), n))))
    conflicts = tuple([each for number in chosen for each in found[number]])
    return Choice(tuple([farm.index.ids[number] for number in chosen]), conflicts)


def _candidates(farm: Farm, wish: MakeReservation) -> list[int]:
    """The nodes that are like what was asked for, by number."""
    asked, index = wish.asked, farm.index
    mask = index.registered_mask
    if asked.nodes:
        mask &= sum([1 << index.numbers[known_node(farm, node_id)] for node_id in dict.fromkeys(asked.nodes)])
    if asked.partition:
        mask &= partition_mask(farm, asked.partition)
    if asked.attributes:
        mask &= index.with_attributes(asked.attributes)
    if not mask:
        raise errors.ReservationInvalid(reservation_id=wish.reservation_id, problem="no node is like that")
    return list(bits(mask))


def partition_mask(farm: Farm, name: str) -> int:
    """The nodes of a partition; PartitionNotFound for one that is not known."""
    known = farm.partitions.get(name)
    if known is None or known.removed:
        raise errors.PartitionNotFound(partition=name)
    return farm.index.members(name)


def known_node(farm: Farm, node_id: NodeId) -> NodeId:
    """The node itself; NodeNotFound if it is not, or has left the farm."""
    node = farm.nodes.get(node_id)
    if node is None or node.retired:
        raise errors.NodeNotFound(node_id=node_id)
    return node_id


def _as_many_as_needed(farm: Farm, wish: MakeReservation, numbers: list[int]) -> list[int]:
    """The first nodes of a list that are enough, none too many."""
    asked, capacity = wish.asked, farm.index.capacity
    if asked.count is not None:
        if len(numbers) < asked.count:
            raise _too_few(wish, f"{asked.count} nodes were asked for, and {len(numbers)} are left")
        return numbers[: asked.count]
    needed, have, taken = asked.millicores or 0, 0, list[int]()
    for number in numbers:
        if have >= needed:
            break
        taken.append(number)
        have += capacity[number].millicores
    if have < needed:
        raise _too_few(wish, f"{needed / 1000:g} cores were asked for, and {have / 1000:g} are left")
    for number in reversed(taken[:]):
        if have - capacity[number].millicores >= needed:
            taken.remove(number)
            have -= capacity[number].millicores
    return taken


def _too_few(wish: MakeReservation, problem: str) -> errors.ReservationInvalid:
    return errors.ReservationInvalid(reservation_id=wish.reservation_id, problem=problem)


def _harm(farm: Farm, conflicts: list[Conflict], number: int) -> tuple[int, ...]:
    """How much a node would suffer: protected work, work lost, promises, work sent away; out of service is no use."""
    counts = {kind: sum([each.obstacle is kind for each in conflicts]) for kind in Obstacle}
    in_service = farm.index.open_mask >> number & 1
    return (
        1 - in_service,
        counts[Obstacle.PROTECTED],
        sum([each.lost_ms for each in conflicts]),
        counts[Obstacle.STOPPED],
        counts[Obstacle.PROMISED],
        counts[Obstacle.CHECKPOINTED],
    )


# -- what is in the way ------------------------------------------------------------------------------------------


def conflicts_of(farm: Farm, reservation: Reservation, now_ms: int, others: tuple[Reservation, ...]) -> list[Conflict]:
    """What stands against a reservation as it is, or as somebody wants to change it."""
    wish = MakeReservation(
        reservation_id=reservation.reservation_id,
        owner=reservation.owner,
        window=reservation.window,
        asked=Capacity(nodes=reservation.nodes),
        repeat=reservation.repeat,
    )
    return [found for node_id in reservation.nodes for found in _on_node(farm, wish, node_id, now_ms, others)]


def _on_node(
    farm: Farm, wish: MakeReservation, node_id: NodeId, now_ms: int, others: tuple[Reservation, ...]
) -> list[Conflict]:
    window, occurrence = window_from(wish.window, 1, wish.repeat, now_ms)
    found = []
    for job_id, number in farm.attempts_on(node_id) if occurrence else ():
        conflict = _with_attempt(farm, wish.owner, farm.jobs[job_id], number, node_id, window, now_ms)
        if conflict is not None:
            found.append(conflict)
    for other in others:
        if other.reservation_id != wish.reservation_id and node_id in other.nodes:
            met = meeting((wish.window, 1, wish.repeat), (other.window, other.occurrence, other.repeat), now_ms)
            if met is not None:
                found.append(
                    Conflict(
                        Obstacle.RESERVED,
                        node_id,
                        reservation_id=other.reservation_id,
                        until_ms=met.end_ms,
                        window=met,
                    )
                )
    return found + _promises(farm, wish.owner, node_id, window)


def _with_attempt(
    farm: Farm, owner: Owner, job: Job, number: AttemptNumber, node_id: NodeId, window: TimeRange, now_ms: int
) -> Conflict | None:
    attempt = job.live[number]
    end_ms = latest_end_ms(job, attempt)
    if owns(owner, job) or end_ms <= window.start_ms or attempt.stopping is not None:
        return None
    leave_ms = max(now_ms, window.start_ms - notice_ms(job))
    until_ms = None if end_ms >= FOREVER else end_ms
    obstacle, lost_ms = Obstacle.CHECKPOINTED, 0
    if must_be_left_alone(job, number, contract_of(farm.clients, job), leave_ms):
        obstacle = Obstacle.PROTECTED
    elif not job.spec.checkpoints:
        obstacle, lost_ms = Obstacle.STOPPED, unsaved_ms(job, number, leave_ms)
    return Conflict(obstacle, node_id, job.spec.job_id, number, until_ms=until_ms, lost_ms=lost_ms, window=window)


def _promises(farm: Farm, owner: Owner, node_id: NodeId, window: TimeRange) -> list[Conflict]:
    """Room on a node that is kept for a job which might still run when the window begins."""
    found = []
    for kept in farm.reserved:
        job = farm.jobs.get(kept.job_id)
        if job is None or owns(owner, job) or node_id not in dict(kept.nodes) or kept.start_ms >= window.end_ms:
            continue
        end_ms = FOREVER if job.spec.walltime_ms is None else kept.start_ms + job.spec.walltime_ms
        if end_ms > window.start_ms:
            found.append(Conflict(Obstacle.PROMISED, node_id, kept.job_id, until_ms=kept.start_ms, window=window))
    return found


Series: TypeAlias = tuple[TimeRange, int, Repetition | None]
"""A window, its number, and how it comes again."""


def meeting(mine: Series, its: Series, now_ms: int) -> TimeRange | None:
    """The first of these windows that meets one of the others, none that is over; None if none does.

    O(windows) up to MOST_WINDOWS: both series are stepped through in the order of time.
    """
    at_ms = now_ms
    for _ in range(MOST_WINDOWS):
        window, number = window_from(*mine, at_ms)
        other, its_number = window_from(*its, at_ms)
        if not number or not its_number:
            return None
        if window.overlaps(other):
            return window
        at_ms = min(window.end_ms, other.end_ms)
    return None


def allows_overlap(wish: Owner, other: Owner) -> bool:
    """Whether somebody who insists gets a window over another one: maintenance does, over what is not maintenance."""
    return wish.kind is OwnerKind.MAINTENANCE and other.kind is not OwnerKind.MAINTENANCE
