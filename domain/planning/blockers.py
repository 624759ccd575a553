"""Why not: the blockers of a requirement on this farm, and of a job that is not even queued, as data with numbers."""

from domain import intervals
from domain.decisions import Blocked, Reason, ReasonCode
from domain.dependency import DependencyState
from domain.farm import Farm
from domain.indices.nodeindex import NodeIndex, amounts_of, bits, slots_in
from domain.job.values import Job
from domain.messages import JobId, NodeId
from domain.node import NodeStatus
from domain.reservation import ReservationStatus
from domain.resources import Requirement


def of_shape(
    farm: Farm, index: NodeIndex, requirement: Requirement, fitting: int, sticky: NodeId = ""
) -> tuple[Reason, ...]:
    """All that keeps one more task of a requirement from being placed on this index. O(resources), not O(nodes).

    `sticky` is the nearest miss that is recorded for it, which stays so as long as it is one.
    """
    if not is_possible(index, requirement):
        return impossible(index, requirement)
    candidates = index.open_mask & index.capable(requirement)
    if not candidates:
        code = ReasonCode.NODES_UNAVAILABLE if index.open_mask else ReasonCode.NO_NODES
        return (in_maintenance(farm, index.capable(requirement)) or Reason(code, needed=requirement.slots),)
    if requirement.slots > 1 and fitting:
        return (_slots_short(index, requirement, fitting),)
    return _short(index, requirement, candidates, sticky)


def in_maintenance(farm: Farm, nodes: int) -> Reason | None:
    """The window of maintenance that gives back the first of these nodes; None if none of them is out for one."""
    best: Reason | None = None
    for reservation in farm.reservations.values() if nodes else ():
        if not reservation.is_maintenance or reservation.status is not ReservationStatus.ACTIVE:
            continue
        until_ms = reservation.window.end_ms
        if best is None or best.until_ms is None or until_ms < best.until_ms:
            for number in bits(farm.reservations.mask(reservation, farm.index) & nodes):
                node_id = farm.index.ids[number]
                if farm.nodes[node_id].status is NodeStatus.MAINTENANCE:
                    best = Reason(
                        ReasonCode.MAINTENANCE, entity=reservation.reservation_id, node_id=node_id, until_ms=until_ms
                    )
                    break
    return best


def still_short(
    index: NodeIndex, requirement: Requirement, known: Blocked, waiting: int, young: bool
) -> Blocked | None:
    """A recorded row brought up to date, where it says that one resource is short on a node and that is still so.

    The shortcut through `of_shape` for what asks for a single resource: the same answer. None if it does not apply; a
    row that is `young`, or would not change, is given back as it is.
    """
    needs, reasons = amounts_of(requirement.resources), known.reasons
    if len(reasons) != 1 or requirement.slots > 1 or len(needs) != 1:
        return None
    reason = reasons[0]
    number = index.numbers.get(reason.node_id, -1)
    if reason.code is not ReasonCode.RESOURCES_SHORT or number < 0 or needs[0] != (reason.resource, reason.needed):
        return None
    if not (index.open_mask & index.capable(requirement)) >> number & 1:
        return None
    available = index.available(number, reason.resource)
    if available >= reason.needed:
        return None
    if young or (available == reason.available and waiting == known.jobs):
        return known
    now = Reason(reason.code, "", reason.resource, reason.needed, available, reason.node_id)
    return Blocked(known.segment, (now,), waiting)


def waits_for_room(index: NodeIndex, requirement: Requirement) -> bool:
    """Whether a task that fits nowhere now would fit if enough of what runs ended."""
    if not index.registered_mask or not is_possible(index, requirement):
        return False
    return bool(index.open_mask & index.capable(requirement))


def is_possible(index: NodeIndex, requirement: Requirement) -> bool:
    """Whether the registered nodes, if there are any, could ever hold a task; remembered per shape."""
    known = index.verdicts.get(requirement)
    if known is None:
        known = index.verdicts[requirement] = not impossible(index, requirement)
    return known


def impossible(index: NodeIndex, requirement: Requirement) -> tuple[Reason, ...]:
    """Why no registered node (or gang of them) could ever hold one task, even empty; nothing if some could."""
    if not index.registered_mask:
        return ()
    capable = index.capable(requirement)
    if capable:
        return _gang_too_large(index, requirement, capable)
    for need in requirement.attributes:
        if not index.with_attributes((need,)):
            return (Reason(ReasonCode.ATTRIBUTE_MISSING, entity=need.name),)
    with_attributes = index.with_attributes(requirement.attributes)
    if not with_attributes:
        return tuple(Reason(ReasonCode.ATTRIBUTE_MISSING, entity=n.name) for n in requirement.attributes)
    if requirement.partition:
        with_attributes &= index.members(requirement.partition)
        if not with_attributes:
            return (Reason(ReasonCode.PARTITION_EMPTY, entity=requirement.partition),)
    return _too_large(index, requirement, with_attributes)


def _too_large(index: NodeIndex, requirement: Requirement, mask: int) -> tuple[Reason, ...]:
    """What the node that lacks the fewest resources lacks even when empty."""
    best: tuple[Reason, ...] = ()
    for number in bits(mask):
        has = dict(index.capacity[number].items())
        lacking = tuple(
            Reason(ReasonCode.TOO_LARGE, "", resource, amount, has.get(resource, 0), index.ids[number])
            for resource, amount in requirement.resources.items()
            if has.get(resource, 0) < amount
        )
        if not best or (len(lacking), -lacking[0].available) < (len(best), -best[0].available):
            best = lacking
    return best


def _gang_too_large(index: NodeIndex, requirement: Requirement, capable: int) -> tuple[Reason, ...]:
    if requirement.slots == 1:
        return ()
    slots = slots_in(index.rooms_when_empty(capable, requirement))
    if slots >= requirement.slots:
        return ()
    what = "nodes" if requirement.distinct_nodes else "slots"
    return (Reason(ReasonCode.TOO_LARGE, "", what, requirement.slots, slots),)


def _slots_short(index: NodeIndex, requirement: Requirement, fitting: int) -> Reason:
    if requirement.distinct_nodes:
        return Reason(ReasonCode.SLOTS_SHORT, "", "nodes", requirement.slots, fitting.bit_count())
    slots = slots_in(index.rooms(fitting, requirement))
    return Reason(ReasonCode.SLOTS_SHORT, "", "slots", requirement.slots, slots)


def _short(index: NodeIndex, requirement: Requirement, candidates: int, sticky: NodeId) -> tuple[Reason, ...]:
    """The resources short on the nearest-miss node: one that lacks a single resource if any does, else all of them."""
    needs = amounts_of(requirement.resources)
    for resource, amount in needs:
        others = candidates
        for other, other_amount in needs:
            if other != resource:
                others &= index.at_least(other, other_amount)
        if others:
            return (_miss(index, resource, amount, others, sticky),)
    return tuple(_miss(index, resource, amount, candidates, sticky) for resource, amount in needs)


def _miss(index: NodeIndex, resource: str, amount: int, mask: int, sticky: NodeId) -> Reason:
    """The nearest miss in a mask; the node named last time stays named while it is still one, to keep the log quiet."""
    number = index.numbers.get(sticky, -1)
    if number < 0 or not mask >> number & 1:
        number = index.most_free(mask, resource)
    available = index.available(number, resource)
    return Reason(ReasonCode.RESOURCES_SHORT, "", resource, amount, available, index.ids[number])


def behind(head: JobId, start_ms: int | None = None) -> Reason:
    """A job further up must start first, and will at `start_ms`, where that is known."""
    return Reason(ReasonCode.BEHIND_HEAD, entity=head, until_ms=start_ms)


def of_job(farm: Farm, job: Job, now_ms: int) -> tuple[Reason, ...]:
    """Everything that keeps a live job's unplaced tasks waiting, from its own facts and the recorded reasons."""
    reasons = []
    if job.held:
        reasons.append(Reason(ReasonCode.HELD))
    if job.paused:
        reasons.append(Reason(ReasonCode.PAUSED))
    if job.gated:
        reasons.append(Reason(ReasonCode.APPROVAL, needed=intervals.size(job.gated)))
    for edge in farm.edges_into(job.spec.job_id):
        if edge.blocks:
            failed = edge.state is DependencyState.FAILED
            code = ReasonCode.DEPENDENCY_FAILED if failed else ReasonCode.DEPENDENCY
            reasons.append(Reason(code, entity=edge.predecessor_id))
    if not job.queued and job.spec.not_before_ms is not None and job.spec.not_before_ms > now_ms:
        reasons.append(Reason(ReasonCode.START_TIME, until_ms=job.spec.not_before_ms))
    later = [until_ms for until_ms, _ in job.delayed if until_ms > now_ms]
    if later:
        reasons.append(Reason(ReasonCode.BACK_OFF, until_ms=later[0]))
    recorded = farm.blocked.get(farm.queue.segment_of(job).name)
    if recorded is not None and job.startable and (job.waiting or len(later) < len(job.delayed)):
        reasons += recorded.reasons
    return tuple(reasons)
