"""When nodes are closed to somebody: the windows of reservations that are not his, as he must plan around them.

A closure is one reservation's coming windows. Looked at from one moment, only the first window of each that is not over
matters for what starts then; for what starts later, the windows after it matter as well, however long they go on.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from domain.indices.nodeindex import bits
from domain.messages import ReservationId
from domain.reservation import Repetition, window_from
from domain.time_range import TimeRange

FOREVER = 1 << 62
"""After the end of everything, as in `domain.planning.openings`."""
MOST_WINDOWS = 1_000
"""So many windows are looked past for one opening; where not even then there is one, none is in sight."""


class Closure(NamedTuple):
    """The windows of one reservation from some moment on."""

    window: TimeRange
    """The first that is not over."""
    occurrence: int
    repeat: Repetition | None
    nodes: int
    """Mask of its nodes."""
    reservation_id: ReservationId
    is_maintenance: bool

    def window_at(self, at_ms: int) -> TimeRange | None:
        """The first window that is not over at a moment; None if there is none any more."""
        found, number = window_from(self.window, self.occurrence, self.repeat, at_ms)
        return found if number else None

    def overlap(self, start_ms: int, end_ms: int) -> TimeRange | None:
        """The first window that shares a moment with a span; None if there is none."""
        found = self.window_at(start_ms)
        return found if found is not None and found.start_ms < end_ms else None

    def never_leaves(self, lasts_ms: int) -> bool:
        """Whether its windows come again for ever and none leaves so much time until the next."""
        repeat = self.repeat
        if repeat is None or repeat.times is not None or repeat.until_ms is not None:
            return False
        return repeat.every_ms - self.window.lasts_ms < lasts_ms


class Closures:
    """All closures that concern the same jobs, seen from one moment."""

    def __init__(self, rows: Iterable[Closure], own: int = 0) -> None:
        self.rows = sorted(rows, key=lambda row: (row.window.start_ms, row.reservation_id))
        """By the start of the first window."""
        self.own = own
        """Mask of the nodes that are set aside for these jobs now."""
        self._starts = [row.window.start_ms for row in self.rows]
        self._masks = [0]
        """The k-th: nodes of the first k closures."""
        for row in self.rows:
            self._masks.append(self._masks[-1] | row.nodes)

    def closed(self, end_ms: int) -> int:
        """Mask of the nodes where a window begins before a moment, or has begun. O(log closures)."""
        return self._masks[bisect_left(self._starts, end_ms)]

    @cached_property
    def by_node(self) -> dict[int, tuple[Closure, ...]]:
        """Node number → its closures, for nodes that have any."""
        found: dict[int, list[Closure]] = {}
        for row in self.rows:
            for number in bits(row.nodes):
                found.setdefault(number, []).append(row)
        return {number: tuple(rows) for number, rows in found.items()}

    def latest(self, nodes: int) -> tuple[Closure, int]:
        """Of nodes that all have windows, the one that is left undisturbed for longest, and what ends that."""
        for at in range(len(self.rows) - 1, -1, -1):
            hit = self.rows[at].nodes & nodes & ~self._masks[at]
            if hit:
                return self.rows[at], (hit & -hit).bit_length() - 1
        raise ValueError("a node without windows was asked about")


class Gaps:
    """Where and when a task that lasts so long can run between the windows of others."""

    def __init__(self, closures: Closures, lasts_ms: int) -> None:
        self.closures = closures
        self.lasts_ms = lasts_ms
        """How long it needs its nodes undisturbed; FOREVER if nobody knows."""
        self._known: dict[tuple[tuple[ReservationId, ...], int], int] = {}
        """What was found for nodes with the same windows."""

    @property
    def kind(self) -> tuple[int, int]:
        """Equal for those who see the same windows and last as long; good for as long as one cycle."""
        return id(self.closures), self.lasts_ms

    def start_from(self, number: int, at_ms: int) -> int:
        """The earliest start on a node at or after a moment that meets no window; FOREVER if none is in sight."""
        rows = self.closures.by_node.get(number)
        if rows is None:
            return at_ms
        alike = (tuple([row.reservation_id for row in rows]), at_ms)
        known = self._known.get(alike)
        if known is None:
            known = self._known[alike] = self._search(rows, at_ms)
        return known

    def _search(self, rows: tuple[Closure, ...], at_ms: int) -> int:
        for _ in range(MOST_WINDOWS):
            end_ms = min(at_ms + self.lasts_ms, FOREVER)
            met = [(window, row) for row in rows if (window := row.overlap(at_ms, end_ms)) is not None]
            if not met:
                return at_ms
            if any(row.never_leaves(self.lasts_ms) for _, row in met):
                return FOREVER
            at_ms = min([window.end_ms for window, _ in met])
        return FOREVER

    def closed_at(self, at_ms: int) -> int:
        """Mask of the nodes where a start at a moment would meet a window."""
        end_ms = min(at_ms + self.lasts_ms, FOREVER)
        mask = 0
        for row in self.closures.rows:
            if row.overlap(at_ms, end_ms) is not None:
                mask |= row.nodes
        return mask

    def ends_after(self, at_ms: int, nodes: int) -> Iterator[int]:
        """When windows on the nodes of a mask end after a moment, in order; bounded by MOST_WINDOWS."""
        for _ in range(MOST_WINDOWS):
            ends = [
                window.end_ms
                for row in self.closures.rows
                if row.nodes & nodes and (window := row.window_at(at_ms)) is not None
            ]
            if not ends:
                return
            at_ms = min(ends)
            yield at_ms
