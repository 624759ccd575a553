"""The blocked segments of a cycle with their reasons, worked out at its end, when all is placed that could be.

A row stays the very one that is recorded while its blockers are the same and its numbers are less than a minute old, so
that whoever records reasons can tell news by identity.
"""

from collections.abc import Iterable
from operator import attrgetter

from domain.cycle import NUMBERS_MS
from domain.decisions import Blocked, Reason, ReasonCode, Segment
from domain.farm import Farm
from domain.indices.nodeindex import NodeIndex, amounts_of
from domain.indices.queue import Line, Shortage
from domain.messages import NodeId
from domain.planning import blockers
from domain.planning.lanes import Lane, Stop
from domain.policies import Context, Made
from domain.resources import RESOURCE_NAMES, Requirement

_segment_of = attrgetter("segment")


class PassedOver:
    """The rows of one cycle: one for each segment that was passed over, and which of them are news."""

    def __init__(self, farm: Farm, index: NodeIndex, made: Made, context: Context, *, overtaken: bool) -> None:
        """`overtaken` is whether jobs may start before one that is blocked."""
        self._farm, self._index, self._made, self._context = farm, index, made, context
        self._overtaken = overtaken
        self._now_ms = context.now_ms
        self._blocked, self._blocked_ms = farm.blocked, farm.blocked_ms
        self._rows: list[Blocked] = []
        self.fresh: list[Blocked] = []
        """Those rows that are not the recorded ones."""
        self._reasons: dict[tuple[Requirement, NodeId], tuple[Reason, ...]] = {}
        self._known = 0
        """How many segments have a recorded row."""

    def rows(self) -> tuple[Blocked, ...]:
        """All of them, by segment name; those that are news stand in the same order from now on."""
        self._rows.sort(key=_segment_of)
        self.fresh.sort(key=_segment_of)
        return tuple(self._rows)

    def gone(self) -> tuple[str, ...]:
        """Segments with a recorded row that have none any more, by name."""
        if self._known == len(self._blocked):
            return ()
        present = {row.segment for row in self._rows}
        return tuple(sorted([name for name in self._blocked if name not in present]))

    def add(self, lanes: Iterable[Lane]) -> None:
        """Lanes that were looked at and stopped."""
        for lane in lanes:
            known = self._blocked.get(lane.name)
            self._add(known, self._row(lane, known))

    def _add(self, known: Blocked | None, row: Blocked) -> None:
        self._rows.append(row)
        if known is not None:
            self._known += 1
        if row is not known:
            self.fresh.append(row)

    def add_short(self, lines: Iterable[Line]) -> None:
        """Lines whose requirement fitted nowhere from the beginning, no filter being in force."""
        blocked, blocked_ms, free = self._blocked, self._blocked_ms, self._index.free
        version, young_from_ms = self._index.version, self._now_ms - NUMBERS_MS
        for line in lines:
            name = line.name
            known, short = blocked.get(name), line.shortage
            if known is None or short is None or short.row is not known or short.version != version:
                self._add(known, self._short_row(line, known))
                continue
            row = known
            if blocked_ms.get(name, 0) <= young_from_ms:
                available = max(0, getattr(free[short.number], short.resource))
                waiting = len(line)
                if available != known.reasons[0].available or waiting != known.jobs:
                    row = short.row = _renumbered(known, available, waiting)
                    self.fresh.append(row)
            self._known += 1
            self._rows.append(row)

    def _short_row(self, line: Line, known: Blocked | None) -> Blocked:
        """As for a lane, taking note of what the next cycle need not find out again."""
        segment = line.segment
        assert segment is not None
        row = self._lacking(line.name, segment, known, len(line))
        line.shortage = self._shortage(line, row)
        return row

    def _shortage(self, line: Line, row: Blocked) -> Shortage | None:
        """None unless the one thing that it asks for is short: then nothing but numbers can change on these nodes."""
        reason, needs = row.reasons[0], amounts_of(line.need)
        if len(needs) != 1 or reason.code is not ReasonCode.RESOURCES_SHORT or reason.resource not in RESOURCE_NAMES:
            return None
        return Shortage(row, self._index.version, self._index.numbers[reason.node_id])

    # -- lanes ---------------------------------------------------------------------------------------------------

    def _row(self, lane: Lane, known: Blocked | None) -> Blocked:
        reasons, requirement = lane.reasons, lane.segment.requirement
        if lane.stop is Stop.BEHIND and self._overtaken and not self._index.fitting(requirement):
            reasons = ()  # what started after it was passed over took the room, which holds for all of its segment
        if not reasons and self._made.filters:
            fitting = self._index.fitting(requirement)
            if fitting:
                lane.shape.reasons = reasons = lane.shape.reasons or self._filtered(lane, fitting)
        if reasons:
            return self._settled(known, Blocked(lane.name, reasons, lane.waiting))
        return self._lacking(lane.name, lane.segment, known, lane.waiting)

    def _lacking(self, name: str, segment: Segment, known: Blocked | None, waiting: int) -> Blocked:
        """What a segment lacks: the same for all of its requirement of which the same nearest miss was recorded."""
        requirement, sticky = segment.requirement, ""
        if known is not None:
            young = self._now_ms - self._blocked_ms.get(name, 0) < NUMBERS_MS
            row = blockers.still_short(self._index, requirement, known, waiting, young)
            if row is not None:
                return row
            sticky = known.reasons[0].node_id if known.reasons else ""
        reasons = self._reasons.get((requirement, sticky))
        if reasons is None:
            fitting = self._index.fitting(requirement)
            reasons = blockers.of_shape(self._farm, self._index, requirement, fitting, sticky)
            self._reasons[requirement, sticky] = reasons
        return self._settled(known, Blocked(name, reasons, waiting))

    def _filtered(self, lane: Lane, nodes: int) -> tuple[Reason, ...]:
        """The filter that keeps a segment off the last node where it would fit."""
        if lane.line is None:
            return ()
        job, made = self._farm.jobs[lane.line.first()[1]], self._made
        for name, rule in zip(made.policies.filters, made.filters, strict=True):
            nodes = rule.mask(job, nodes, self._index, self._context)
            if not nodes:
                return (Reason(ReasonCode.FILTERED, entity=name),)
        return ()

    def _settled(self, known: Blocked | None, row: Blocked) -> Blocked:
        """The recorded row, where the new one says nothing else, or only has other numbers and comes too soon."""
        if known is None:
            return row
        before, now = known.reasons, row.reasons
        if before == now and known.jobs == row.jobs:
            return known
        if len(before) != len(now) or not all(new.same_blocker(old) for new, old in zip(now, before, strict=True)):
            return row
        return known if self._now_ms - self._blocked_ms.get(row.segment, 0) < NUMBERS_MS else row


def _renumbered(known: Blocked, available: int, waiting: int) -> Blocked:
    """The same single blocker with the numbers of now."""
    reason = known.reasons[0]
    now = Reason(reason.code, "", reason.resource, reason.needed, available, reason.node_id)
    return Blocked(known.segment, (now,), waiting)
