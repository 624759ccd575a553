"""What the kernel's cycles record of those who wait: the same rows, at the same moments, as cycles over a farm record.

One row for each segment that waits, as `domain.planning.passed_over` words them: what is short on the one node, or
who must start first. A row is recorded when it is new, when another thing blocks, and when its numbers moved and are a
minute old; each day opens with all of them. The reservation of the first blocked job goes by the same rule
(`application.cycles`).
"""

from bisect import bisect_left
from collections.abc import Collection
from typing import Any, TypeAlias

from application.simulation.farms import MACHINE
from application.simulation.kernel_scope import Segments
from domain.cycle import DAY_MS, NUMBERS_MS, CycleDecided, cycle_stream
from domain.decisions import Blocked, Reason, ReasonCode, Reserved
from domain.indices.nodeindex import MILLICORES
from domain.messages import JobId
from domain.planning import blockers

NOBODY = -1
ON_THE_MACHINE = ((MACHINE, 1),)
_SHORT, _BEHIND = 1, 2
"""What a row says; 0 where there is none."""
_YOUNG_S = -(-NUMBERS_MS // 1_000)
"""Times here are whole seconds, so that this is the same limit."""
_HEAD_BITS = 42
"""More than a second of any trace has, or a number of millicores."""


Row: TypeAlias = list[Any]
"""A segment: need in millicores, jobs that wait, what the recorded row says, its number, its jobs, until when it is too
young for other numbers, the segment's name, the row itself. A list, because every cycle goes through all of them."""
_JOBS, _SAYS, _YOUNG, _ROW = 1, 2, 5, 7


class Board:
    """What waits by segment, and what is recorded of it. Times in seconds on the trace's clock."""

    def __init__(self, segments: Segments, start_ms: int, *, strict: bool, reserves: bool) -> None:
        """`strict` is whether all wait for the head; `reserves` is whether the head holds a reservation."""
        self._start_ms, self._strict, self._reserves = start_ms, strict, reserves
        self._rows: list[Row] = [
            [need, 0, 0, 0, 0, 0, name, None] for name, need in zip(segments.names, segments.needs, strict=True)
        ]
        self._active: list[int] = []
        """Segments where somebody waits or waited lately, in order."""
        self._active_rows: list[Row] = []
        """Theirs."""
        self._is_active = bytearray(len(self._rows))
        self._known = 0
        """How many rows are recorded."""
        self._head, self._head_id, self._head_s = NOBODY, "", 0
        self._head_row: Row | None = None
        self._behind: tuple[Reason, ...] | None = None
        self._short: dict[int, tuple[Reason, ...]] = {}
        """What is said of a need where so much is free, by both as one number: few are ever different."""
        self._told, self._told_s, self._told_young_until_s = NOBODY, 0, 0
        """The reservation that is recorded."""
        self.stream = ""
        """Where the last cycle was recorded."""
        self._next_day_s = 0
        """When the next one is to be written."""

    def add(self, segment: int) -> None:
        """One more waits."""
        self._rows[segment][_JOBS] += 1
        if not self._is_active[segment]:
            self._is_active[segment] = True
            at = bisect_left(self._active, segment)
            self._active.insert(at, segment)
            self._active_rows.insert(at, self._rows[segment])

    def take(self, segment: int) -> None:
        """One of those who waited starts."""
        self._rows[segment][_JOBS] -= 1

    def says(self, segment: int) -> bool:
        """Whether anything is recorded of a segment."""
        return bool(self._rows[segment][_SAYS])

    def lead(self, head: int, head_id: JobId, segment: int, start_s: int) -> None:
        """Who is the first that waits for room, and when he can start, as far as that is reserved."""
        self._head, self._head_id, self._head_row = head, head_id, self._rows[segment]
        self._head_s = start_s if self._reserves else 0
        self._behind = None

    def nobody_leads(self) -> None:
        """Nobody waits for room."""
        self._head, self._head_row, self._head_s = NOBODY, None, 0

    def decided(self, now_s: int, position: int, free: int) -> CycleDecided | None:
        """What a cycle records that has looked at everybody; None if nothing changed."""
        known = self._known
        fresh, gone = self._look(self._active_rows, now_s, free)
        return self._record(now_s, position, fresh, gone, known)

    def is_quiet(self, now_s: int) -> bool:
        """Whether a cycle that leaves all rows as they are has nothing to record."""
        same = not self._reserves or (self._head == self._told and self._head_s == self._told_s)
        return same and now_s < self._next_day_s

    def joined(self, now_s: int, position: int, free: int, segments: Collection[int]) -> CycleDecided | None:
        """What a cycle records in which nobody started, and some now wait in segments that had no row."""
        known, fresh = self._known, list[Blocked]()
        if segments:
            fresh, _ = self._look([self._rows[segment] for segment in sorted(segments)], now_s, free)
        return self._record(now_s, position, fresh, [], known)

    def _look(self, rows: list[Row], now_s: int, free: int) -> tuple[list[Blocked], list[str]]:
        """Rows that are not the recorded ones, and the names of those that are no more."""
        strict, head_row, young_until_s, short = self._strict, self._head_row, now_s + _YOUNG_S, self._short
        behind = self._head << _HEAD_BITS | self._head_s
        fresh: list[Blocked] = []
        gone: list[str] = []
        left = False
        for row in rows:
            need, jobs, says, number, said_jobs, young_s, name, _ = row
            if not jobs:
                left = True
                if says:
                    row[_SAYS] = 0
                    gone.append(name)
                continue
            if (row is head_row) if strict else need > free:
                if says == _SHORT and (now_s < young_s or (number == free and said_jobs == jobs)):
                    continue
                blocked = Blocked(name, short.get(need << _HEAD_BITS | free) or self._shortage(need, free), jobs)
                row[2:] = _SHORT, free, jobs, young_until_s, name, blocked
            else:
                if says == _BEHIND and (now_s < young_s or (number == behind and said_jobs == jobs)):
                    continue
                blocked = Blocked(name, self._behind or self._behind_head(), jobs)
                row[2:] = _BEHIND, behind, jobs, young_until_s, name, blocked
            if not says:
                self._known += 1
            fresh.append(blocked)
        if left:
            self._known -= len(gone)
            self._forget_empty()
        return fresh, gone

    def _shortage(self, need: int, free: int) -> tuple[Reason, ...]:
        reasons = (Reason(ReasonCode.RESOURCES_SHORT, "", MILLICORES, need, free, MACHINE),)
        self._short[need << _HEAD_BITS | free] = reasons
        return reasons

    def _behind_head(self) -> tuple[Reason, ...]:
        until_ms = self._start_ms + self._head_s * 1_000 if self._reserves else None
        self._behind = (blockers.behind(self._head_id, until_ms),)
        return self._behind

    def _forget_empty(self) -> None:
        for segment in self._active:
            if not self._rows[segment][_JOBS]:
                self._is_active[segment] = False
        self._active = [segment for segment in self._active if self._is_active[segment]]
        self._active_rows = [self._rows[segment] for segment in self._active]

    def _record(
        self, now_s: int, position: int, fresh: list[Blocked], gone: list[str], known: int
    ) -> CycleDecided | None:
        keyframe = now_s >= self._next_day_s
        reserved = self._changed_head(now_s, keyframe) if self._reserves else None
        if keyframe:
            if not self._known and not known and reserved is None:
                return None
            fresh, gone = self._all_rows(now_s), []
            self._open_day(now_s)
        elif not fresh and not gone and reserved is None:
            return None
        return CycleDecided(
            at_ms=self._start_ms + now_s * 1_000,
            position=position,
            blocked=tuple(fresh),
            cleared=tuple(gone),
            keyframe=keyframe,
            reserved=reserved,
        )

    def _all_rows(self, now_s: int) -> list[Blocked]:
        """Every row, recorded anew."""
        rows = [row for row in self._active_rows if row[_SAYS]]
        for row in rows:
            row[_YOUNG] = now_s + _YOUNG_S
        return [row[_ROW] for row in rows]

    def _open_day(self, now_s: int) -> None:
        now_ms = self._start_ms + now_s * 1_000
        self.stream = cycle_stream(now_ms)
        self._next_day_s = -(-((now_ms // DAY_MS + 1) * DAY_MS - self._start_ms) // 1_000)

    def _changed_head(self, now_s: int, keyframe: bool) -> tuple[Reserved, ...] | None:
        """See `Cycles._changed_head`."""
        head, start_s = self._head, self._head_s
        if head == self._told and start_s == self._told_s:
            return self._reservation() if keyframe and head != NOBODY else None
        if head == self._told and not keyframe and now_s < self._told_young_until_s:
            return None
        self._told, self._told_s, self._told_young_until_s = head, start_s, now_s + _YOUNG_S
        return self._reservation() if head != NOBODY else ()

    def _reservation(self) -> tuple[Reserved, ...]:
        return (Reserved(self._head_id, self._start_ms + self._head_s * 1_000, ON_THE_MACHINE),)
