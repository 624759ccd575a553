"""A reservation tried out: it is decided as it would be, nothing is written, and who is hurt is told."""

from application.decider import Batch
from application.ports import Log
from application.reservations import live_reservations, make
from domain import errors
from domain.farm import Farm
from domain.messages import JobId, Meta, NodeId, Value
from domain.reservation import MakeReservation, Reservation
from domain.rules.conflicts import Conflict, Obstacle, choose
from domain.rules.harm import Harm, Later, harm_of


class Preview(Value, frozen=True):
    """What would come of a reservation."""

    nodes: tuple[NodeId, ...]
    conflicts: tuple[Conflict, ...]
    """What stands against it there: other reservations, running work, promises."""
    refused: str
    """Why it would not be made; empty if it would."""
    harm: Harm


_NOBODY = Meta("preview")
"""Who asks without wanting anything written."""


def preview(farm: Farm, log: Log, now_ms: int, wish: MakeReservation) -> Preview:
    """Decides a reservation on a batch that is thrown away. What can never be right is refused here as well."""
    batch = Batch(farm, log, now_ms)
    refused = ""
    try:
        make(batch, wish, _NOBODY)
    except errors.ReservationConflict as conflict:
        refused = conflict.message
    choice = choose(farm, wish, batch.now_ms, live_reservations(Batch(farm, log, now_ms)))
    tried = Reservation(
        wish.reservation_id, wish.owner, choice.nodes, wish.window, batch.now_ms, wish.asked, wish.repeat, wish.follows
    )
    return Preview(choice.nodes, choice.conflicts, refused, _with_the_evacuated(farm, tried, choice.conflicts, now_ms))


def _with_the_evacuated(farm: Farm, tried: Reservation, conflicts: tuple[Conflict, ...], now_ms: int) -> Harm:
    """The harm to those who wait, and to those who would have to begin again or go on elsewhere."""
    harm = harm_of(farm, tried, now_ms)
    sent = {c.job_id: c for c in conflicts if c.obstacle in (Obstacle.STOPPED, Obstacle.CHECKPOINTED)}
    at_risk = [_sent_away(farm, job_id, conflict) for job_id, conflict in sorted(sent.items())]
    return Harm((*[each for each in at_risk if each is not None], *harm.later), harm.walked, harm.waiting)


def _sent_away(farm: Farm, job_id: JobId, conflict: Conflict) -> Later | None:
    """A running job that cannot meet its deadline even if it goes on the moment it has left."""
    job, window = farm.jobs[job_id], conflict.window
    if job.deadline_ms is None or conflict.until_ms is None or window is None:
        return None
    end_ms = conflict.until_ms + conflict.lost_ms
    if not conflict.until_ms <= job.deadline_ms < end_ms:
        return None
    return Later(job_id, None, window.start_ms, job.deadline_ms, at_risk=True)
