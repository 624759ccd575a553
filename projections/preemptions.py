"""Who made way for whom, what that cost, what it spared, and how much of it is to be regretted.

Regret of a preemption = work lost by its victims - waiting time spared to the preemptor, both times their processors.
Work lost: of a victim that was told to end, the run time at its end less that of its own last checkpoint; of one that
was suspended, none. Waiting time spared: for each task that started on the claim, from its start to the moment at which
it would have started otherwise, as the cycle saw it when it decided (the job's reservation, else the first room in the
outlook of what ends when); negative if it started later than that. Where nobody could say, that time is unknown and
not counted. Negative regret is gain.
"""

from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection, Select, select

from domain import intervals
from domain.catalog import AnyEvent
from domain.job import events as e
from domain.job.values import Alternative, ClaimedPlace, NodeSlots, PreemptionCause, PreemptionMode, StopCause, Victim
from domain.messages import ClientId, Event, JobId, Recorded
from projections.projection import Fold, Handler, Projection
from projections.rows import Row, Rows
from projections.tables import PREEMPTION_VICTIMS, PREEMPTIONS

HELD, STARTED, RELEASED = "held", "started", "released"
"""How a claim stands: room is held for some task, every task has started, or it was given up."""


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was decided, as the event has it."""

    places: tuple[ClaimedPlace, ...]
    victims: tuple[Victim, ...]
    alternatives: tuple[Alternative, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode_places = msgspec.json.Decoder(tuple[ClaimedPlace, ...]).decode
_decode_detail = msgspec.json.Decoder(Detail).decode


class ClaimRow(Row):
    """A row of `preemptions`."""

    number: int
    at_ms: int
    job_id: JobId
    client_id: ClientId
    mode: str
    why: str
    millicores: int
    tasks: int
    considered: int
    detail: str
    places: str
    """Places on which no task has started yet."""
    victims: int
    leaving: int
    """Of these, those that were told to end and have not ended yet."""
    started: int = 0
    unknown: int = 0
    """Of the tasks that started, those of which nobody could say when they would have otherwise."""
    lost: int = 0
    spared: int = 0
    state: str = HELD
    settled_ms: int | None = None
    """When its last task started, or it was released."""
    released_why: str = ""


class VictimRow(Row):
    """A row of `preemption_victims`."""

    job_id: JobId
    attempt: int
    number: int
    task: int
    at_ms: int
    millicores: int
    ran_ms: int
    at_risk_ms: int
    lost_ms: int = 0
    saved_ms: int | None = None
    """How long it had run when it saved its state after it was told to end."""
    open: bool = True


VictimKey = tuple[JobId, int, int]


class PreemptionsFold(Fold):
    """Claims that hold room, and victims that have not ended, are in memory."""

    def __init__(self) -> None:
        self.claims: Rows[int, ClaimRow] = Rows(PREEMPTIONS, ClaimRow, done=_is_settled)
        self.victims: Rows[VictimKey, VictimRow] = Rows(PREEMPTION_VICTIMS, VictimRow, done=_is_gone)
        self.holding: dict[JobId, int] = {}
        """The claim of each job that has one."""
        self.leaving: dict[tuple[JobId, int], int] = {}
        """The claim for which an attempt makes way that has not ended yet."""

    def load(self) -> None:
        """Finds those that are not settled."""
        for number, job_id in self.connection.execute(
            select(PREEMPTIONS.c.number, PREEMPTIONS.c.job_id).where(PREEMPTIONS.c.state == HELD)
        ):
            self.holding[job_id] = number
        victims = PREEMPTION_VICTIMS.c
        for job_id, attempt, number in self.connection.execute(
            select(victims.job_id, victims.attempt, victims.number).where(victims.open.is_(True))
        ):
            self.leaving[job_id, attempt] = number

    def claim(self, number: int) -> ClaimRow:
        """A claim, to be changed."""
        return self.claims.get(number, self.connection)

    def victim(self, job_id: JobId, attempt: int) -> VictimRow | None:
        """An attempt that makes way, to be changed; None for any other."""
        number = self.leaving.get((job_id, attempt))
        return None if number is None else self.victims.get((job_id, attempt, number), self.connection)

    def flush(self) -> None:
        """Writes claims and victims."""
        self.claims.flush(self.connection)
        self.victims.flush(self.connection)


def _is_settled(row: ClaimRow) -> bool:
    return row.state != HELD and not row.leaving


def _is_gone(row: VictimRow) -> bool:
    return not row.open


def _claimed(fold: PreemptionsFold, event: e.RoomClaimed, recorded: Recorded) -> None:
    number, detail = recorded.position, Detail(event.places, event.victims, event.alternatives)
    row = ClaimRow(
        number, event.at_ms, event.job_id, event.client_id, event.mode.value, event.why.value, event.millicores,
        len(event.places), event.considered, _encode(detail).decode(), _encode(event.places).decode(),
        len(event.victims), len(event.victims),
    )  # fmt: skip
    fold.claims.add(number, row)
    fold.holding[event.job_id] = number
    for each in event.victims:
        victim = VictimRow(
            each.job_id, each.attempt, number, each.task, event.at_ms, each.millicores, each.ran_ms, each.at_risk_ms
        )
        fold.victims.add((each.job_id, each.attempt, number), victim)
        fold.leaving[each.job_id, each.attempt] = number


def _suspended(fold: PreemptionsFold, event: e.TasksSuspended, recorded: Recorded) -> None:
    """They lose nothing, and have made way already."""
    for number in event.attempts:
        victim = fold.victim(event.job_id, number)
        if victim is not None:
            _over(fold, victim, 0)


def _checkpointed(fold: PreemptionsFold, event: e.TaskCheckpointed, recorded: Recorded) -> None:
    victim = fold.victim(event.job_id, event.attempt)
    if victim is not None:
        victim.saved_ms = event.ran_ms


def _stopped(fold: PreemptionsFold, event: e.TasksStopped, recorded: Recorded) -> None:
    for end in event.ends:
        victim = fold.victim(event.job_id, end.attempt)
        if victim is None:
            continue
        if event.cause is not StopCause.PREEMPTED:
            _over(fold, victim, 0)  # somebody else ended it first
            continue
        more_ms = max(0, event.at_ms - victim.at_ms)
        unsaved_ms = victim.at_risk_ms if victim.saved_ms is None else victim.ran_ms - victim.saved_ms
        _over(fold, victim, max(0, unsaved_ms + more_ms))


def _ended(fold: PreemptionsFold, event: e.TasksSucceeded | e.TasksFailed, recorded: Recorded) -> None:
    """It ended by itself before it was made to."""
    if fold.leaving:
        _not_lost(fold, event.job_id, [end.attempt for end in event.ends])


def _lost(fold: PreemptionsFold, event: e.TasksLost, recorded: Recorded) -> None:
    """Its node took it along, and its work."""
    _not_lost(fold, event.job_id, event.attempts)


def _not_lost(fold: PreemptionsFold, job_id: JobId, numbers: Iterable[int]) -> None:
    for number in numbers:
        victim = fold.victim(job_id, number)
        if victim is not None:
            _over(fold, victim, 0)


def _over(fold: PreemptionsFold, victim: VictimRow, lost_ms: int) -> None:
    claim = fold.claim(victim.number)
    victim.open, victim.lost_ms = False, lost_ms
    claim.leaving -= 1
    claim.lost += lost_ms * victim.millicores
    del fold.leaving[victim.job_id, victim.attempt]


def _placed(fold: PreemptionsFold, event: e.TasksPlaced, recorded: Recorded) -> None:
    number = fold.holding.get(event.job_id)
    if number is None:
        return
    claim = fold.claim(number)
    places = list(_decode_places(claim.places))
    for placement in event.placements:
        for _ in range(intervals.size(placement.tasks)):
            _start(claim, places, placement.nodes, event.at_ms)
    claim.places = _encode(places).decode()
    if not places:
        _settle(fold, claim, STARTED, event.at_ms)


def _start(claim: ClaimRow, places: list[ClaimedPlace], nodes: tuple[NodeSlots, ...], at_ms: int) -> None:
    """One task starts: on a place of the claim if there is one on these nodes."""
    place = next((each for each in places if each.nodes == nodes), None)
    if place is None:
        return
    places.remove(place)
    claim.started += 1
    if place.otherwise_ms is None:
        claim.unknown += 1
    else:
        claim.spared += (place.otherwise_ms - at_ms) * claim.millicores


def _released(fold: PreemptionsFold, event: e.ClaimReleased, recorded: Recorded) -> None:
    number = fold.holding.get(event.job_id)
    if number is not None:
        claim = fold.claim(number)
        claim.released_why = event.why
        _settle(fold, claim, RELEASED, event.at_ms)


def _settle(fold: PreemptionsFold, claim: ClaimRow, state: str, at_ms: int) -> None:
    claim.state, claim.settled_ms = state, at_ms
    del fold.holding[claim.job_id]


_HANDLERS: dict[type[Event], Handler] = {
    e.RoomClaimed: _claimed,
    e.TasksSuspended: _suspended,
    e.TaskCheckpointed: _checkpointed,
    e.TasksStopped: _stopped,
    e.TasksSucceeded: _ended,
    e.TasksFailed: _ended,
    e.TasksLost: _lost,
    e.TasksPlaced: _placed,
    e.ClaimReleased: _released,
}


PROJECTION = Projection(
    "preemptions",
    (PREEMPTIONS, PREEMPTION_VICTIMS),
    PreemptionsFold,
    _HANDLERS,
    ignored=get_args(AnyEvent),  # whatever else there is or will be has no part in who makes way for whom
)


# -- questions ---------------------------------------------------------------------------------------------------


class PreemptionView(msgspec.Struct, frozen=True):
    """One preemption."""

    position: int
    at_ms: int
    job_id: JobId
    """The preemptor."""
    client_id: ClientId
    mode: PreemptionMode
    why: PreemptionCause
    tasks: int
    """For how many of its tasks room was claimed."""
    started: int
    """How many of them have started there."""
    state: str
    """`held`, `started` or `released`."""
    released_why: str
    settled_ms: int | None
    leaving: int
    """How many victims have not ended yet: what they lose is not in the sums."""
    lost_core_ms: int
    """Work lost, times its processors."""
    spared_core_ms: int
    """Waiting time spared, times the processors of the preemptor."""
    unknown: int
    """How many of the tasks that started are not in that sum, because nobody could say when they would have."""
    regret_core_ms: int
    considered: int
    """How many ways to make room for the first of these tasks were weighed."""
    places: tuple[ClaimedPlace, ...]
    victims: tuple[Victim, ...]
    """As they stood when it was decided."""
    alternatives: tuple[Alternative, ...]


def preemptions(
    connection: Connection,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    job_id: JobId | None = None,
    limit: int = 100,
) -> list[PreemptionView]:
    """Preemptions, newest first: those for a job, and those in which an attempt of it made way, or all."""
    query = select(PREEMPTIONS).order_by(PREEMPTIONS.c.number.desc()).limit(limit)
    if since_ms is not None:
        query = query.where(PREEMPTIONS.c.at_ms >= since_ms)
    if until_ms is not None:
        query = query.where(PREEMPTIONS.c.at_ms <= until_ms)
    if job_id is not None:
        query = query.where((PREEMPTIONS.c.job_id == job_id) | PREEMPTIONS.c.number.in_(_made_way(job_id)))
    return [_view(row) for row in connection.execute(query)]


def _made_way(job_id: JobId) -> Select[tuple[int]]:
    return select(PREEMPTION_VICTIMS.c.number).where(PREEMPTION_VICTIMS.c.job_id == job_id)


def _view(row: Any) -> PreemptionView:
    detail = _decode_detail(row.detail)
    lost, spared = row.lost // 1_000, row.spared // 1_000
    return PreemptionView(
        position=row.number,
        at_ms=row.at_ms,
        job_id=row.job_id,
        client_id=row.client_id,
        mode=PreemptionMode(row.mode),
        why=PreemptionCause(row.why),
        tasks=row.tasks,
        started=row.started,
        state=row.state,
        released_why=row.released_why,
        settled_ms=row.settled_ms,
        leaving=row.leaving,
        lost_core_ms=lost,
        spared_core_ms=spared,
        unknown=row.unknown,
        regret_core_ms=lost - spared,
        considered=row.considered,
        places=detail.places,
        victims=detail.victims,
        alternatives=detail.alternatives,
    )
