"""The blocked segments of a cycle with their reasons, worked out at its end, when all is placed that could be.

A row stays the very one that is recorded while its blockers are the same and its numbers are less than a minute old, so
that whoever records reasons can tell news by identity.
"""

from collections.abc import Sequence
from operator import attrgetter

from domain import blockers
from domain.cycle import NUMBERS_MS
from domain.decisions import Blocked, Reason, ReasonCode
from domain.farm import Farm
from domain.lanes import Lane, Stop
from domain.nodeindex import NodeIndex
from domain.policies import Context, Made

_segment_of = attrgetter("segment")


def rows_of(
    farm: Farm, index: NodeIndex, made: Made, context: Context, lanes: Sequence[Lane], *, overtaken: bool
) -> tuple[Blocked, ...]:
    """One row for each lane, by segment name; `overtaken` is whether jobs may start before one that is blocked."""
    rows, now_ms = [], context.now_ms
    for lane in lanes:
        name = lane.name
        known = farm.blocked.get(name)
        reasons = lane.reasons
        if lane.stop is Stop.BEHIND and overtaken and not index.fitting(lane.segment.requirement):
            reasons = ()  # what started after it was passed over took the room, which holds for all of its segment
        if not reasons:
            shape = lane.shape
            if known is not None and shape.reasons is None and not made.filters:
                young = now_ms - farm.blocked_ms.get(name, 0) < NUMBERS_MS
                row = blockers.still_short(index, lane.segment.requirement, known, lane.waiting, young)
                if row is not None:
                    rows.append(row)
                    continue
            reasons = shape.reasons or _lacks(farm, index, made, context, lane)
        row = Blocked(name, reasons, lane.waiting)
        rows.append(row if known is None else _row(farm, known, row, now_ms))
    rows.sort(key=_segment_of)
    return tuple(rows)


def _lacks(farm: Farm, index: NodeIndex, made: Made, context: Context, lane: Lane) -> tuple[Reason, ...]:
    """What the shape of a lane lacks, worked out once for all lanes of that shape."""
    fitting = index.fitting(lane.segment.requirement)
    off = _filtered(farm, index, made, context, lane, fitting) if made.filters and fitting else ()
    lane.shape.reasons = reasons = off or blockers.of_shape(farm, index, lane.segment, fitting)
    return reasons


def _filtered(farm: Farm, index: NodeIndex, made: Made, context: Context, lane: Lane, nodes: int) -> tuple[Reason, ...]:
    """The filter that keeps a segment off the last node where it would fit."""
    if lane.line is None:
        return ()
    job = farm.jobs[next(lane.line.walk())[1]]
    for name, rule in zip(made.policies.filters, made.filters, strict=True):
        nodes = rule.mask(job, nodes, index, context)
        if not nodes:
            return (Reason(ReasonCode.FILTERED, entity=name),)
    return ()


def _row(farm: Farm, known: Blocked, row: Blocked, now_ms: int) -> Blocked:
    """The recorded row, where the new one says nothing else, or only has other numbers and comes too soon."""
    before, now = known.reasons, row.reasons
    if before == now and known.jobs == row.jobs:
        return known
    if len(before) != len(now) or not all(new.same_blocker(old) for new, old in zip(now, before, strict=True)):
        return row
    return known if now_ms - farm.blocked_ms.get(row.segment, 0) < NUMBERS_MS else row
