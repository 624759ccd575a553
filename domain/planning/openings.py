"""Where and when there will be room: the reservations of blocked jobs, and who may start beside them.

What is expected to end, and when, makes a step function of free resources on every node. A blocked job gets the
earliest moment at which all its slots fit for as long as it is expected to run; what starts now must leave that alone.
`Shadow` is the special case of one reservation (EASY: Lifka 1995), where free resources only grow until it begins, so
that two moments matter, now and then; `Outlook` keeps whole step functions for any number of reservations. Both give
the same answers for one (a property test).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush, merge
from typing import NamedTuple, Protocol

from domain.indices.endings import Ending
from domain.indices.nodeindex import NodeIndex, bits, slots_in
from domain.planning.closures import Gaps
from domain.resources import Requirement, Resources

FOREVER = 1 << 62
"""After the end of everything: when an attempt ends whose run time nobody knows."""


class Opening(NamedTuple):
    """The earliest room for one task."""

    start_ms: int
    nodes: tuple[tuple[int, int], ...]
    """(node number, slots)."""


class Openings(Protocol):
    """The reservations that a cycle has made so far."""

    index: NodeIndex
    """What is free now, what the cycle has placed taken off."""

    def reserve(
        self, requirement: Requirement, nodes: int, run_ms: int | None, gaps: Gaps | None = None
    ) -> Opening | None:
        """Keeps the earliest room on the nodes of a mask for one task, between windows; None if none is in sight."""
        ...

    def beside(self, requirement: Requirement, nodes: int, end_ms: int) -> int:
        """Those nodes of a mask where one more slot may run from now until `end_ms` without touching a reservation."""
        ...

    def room(self, number: int, need: Resources, end_ms: int) -> int | None:
        """How many slots may run on a node from now until `end_ms` beside the reservations; None means no bound."""
        ...

    def bounded(self, end_ms: int) -> int:
        """The nodes where reservations bound what may run until `end_ms`."""
        ...

    def take(self, nodes: Iterable[tuple[int, int]], need: Resources, end_ms: int) -> None:
        """Takes note that something starts now: (node number, slots), already taken from the index."""
        ...


class Shadow:
    """One reservation: when it begins, and what it leaves of its nodes from then on."""

    def __init__(self, index: NodeIndex, endings: Sequence[Ending], now_ms: int) -> None:
        self.index, self._endings, self._now_ms = index, endings, now_ms
        self.start_ms = FOREVER
        """When the reservation begins."""
        self._spare: dict[int, Resources] = {}
        """What is free on each reserved node once the reservation has begun."""

    def reserve(
        self, requirement: Requirement, nodes: int, run_ms: int | None, gaps: Gaps | None = None
    ) -> Opening | None:
        """The first moment when enough has ended; everything expected to end in that moment is counted first."""
        if gaps is not None:
            found = self._between(requirement, nodes, run_ms, gaps)
        else:
            find = self._first_slot if requirement.slots == 1 else self._first_slots
            found = find(requirement, nodes)
        if found is None:
            return None
        upto, opening = found
        self.start_ms = opening.start_ms
        freed = self._freed(upto, [number for number, _ in opening.nodes])
        for number, slots in opening.nodes:
            self._spare[number] = freed[number].plus(requirement.resources, -slots)
        return opening

    def _between(
        self, requirement: Requirement, nodes: int, run_ms: int | None, gaps: Gaps
    ) -> tuple[int, Opening] | None:
        """Between windows more moments matter than those when something ends: whole step functions say which."""
        opening = Outlook(self.index, self._endings, self._now_ms).reserve(requirement, nodes, run_ms, gaps)
        if opening is None:
            return None
        return sum([max(each.end_ms, self._now_ms) <= opening.start_ms for each in self._endings]), opening

    def _moments(self) -> Iterator[tuple[int, int, int]]:
        """(when, first, last): endings, one moment after the other; what should have ended does so now."""
        endings, last = self._endings, 0
        while last < len(endings):
            first, end_ms = last, max(endings[last].end_ms, self._now_ms)
            while last < len(endings) and endings[last].end_ms <= end_ms:
                last += 1
            yield end_ms, first, last

    def _first_slot(self, requirement: Requirement, nodes: int) -> tuple[int, Opening] | None:
        """For a task of one slot: only a node where something ends can be the first with room."""
        need = requirement.resources
        scarce, rest = need.millicores, need.amounts()[1:] != (0, 0, 0, 0) or bool(need.named)
        free, moment_ms, last = self.index.free, self._now_ms, 0
        have: dict[int, int] = {}
        """Millicores by node, counted on alone as long as they are too few."""
        enough: list[int] = []
        """Nodes where something ended in the moment that is looked at, and which have enough of them."""
        for end_ms, _, _, ending, per_slot in self._endings:
            if end_ms > moment_ms:
                found = self._fits_there(need, rest, enough, last) if enough else -1
                if found >= 0:
                    return last, Opening(moment_ms, ((found, 1),))
                moment_ms, enough = end_ms, []
            for number, slots in ending:
                known = have.get(number)
                millicores = have[number] = (free[number].millicores if known is None else known) + (
                    per_slot.millicores * slots
                )
                if (millicores >= scarce or not scarce) and nodes >> number & 1:
                    enough.append(number)
            last += 1
        found = self._fits_there(need, rest, enough, last)
        return (last, Opening(moment_ms, ((found, 1),))) if found >= 0 else None

    def _fits_there(self, need: Resources, rest: bool, nodes: list[int], upto: int) -> int:
        """The first of some nodes with room once so many endings have come; -1 if none. `rest`: not cores alone."""
        for number in sorted(nodes):
            if not rest or self._freed(upto, (number,))[number].fits(need):
                return number
        return -1

    def _first_slots(self, requirement: Requirement, nodes: int) -> tuple[int, Opening] | None:
        """For a gang: the rooms of all nodes are added up, those where something has ended anew."""
        need, slots, distinct = requirement.resources, requirement.slots, requirement.distinct_nodes
        now = self.index.rooms(nodes, requirement)
        room_now = {number: room for room, mask in now.items() for number in bits(mask)}
        free: dict[int, Resources] = {}
        rooms: dict[int, int] = {}
        """Of the nodes where something has ended."""
        total = slots_in(now)
        for end_ms, first, last in self._moments():
            touched: dict[int, None] = {}
            for ending in self._endings[first:last]:
                for number, count in ending.nodes:
                    if nodes >> number & 1:
                        before = free.get(number)
                        before = self.index.free[number] if before is None else before
                        free[number] = before.plus(ending.per_slot, count)
                        touched[number] = None
            for number in touched:
                room = _bounded(free[number].count_of(need), slots, distinct)
                total += room - (rooms[number] if number in rooms else room_now.get(number, 0))
                rooms[number] = room
            if total >= slots:
                return last, Opening(end_ms, _fill(room_now | rooms, slots))
        return None

    def _freed(self, upto: int, numbers: Iterable[int]) -> dict[int, Resources]:
        """What is free on some nodes once the first so many endings have come."""
        slots_of: dict[int, dict[Resources, int]] = {number: {} for number in numbers}
        for _, _, _, nodes, per_slot in self._endings[:upto]:
            for number, slots in nodes:
                ended = slots_of.get(number)
                if ended is not None:
                    ended[per_slot] = ended.get(per_slot, 0) + slots
        free = {number: self.index.free[number] for number in slots_of}
        for number, ended in slots_of.items():
            for per_slot, slots in ended.items():
                free[number] = free[number].plus(per_slot, slots)
        return free

    def beside(self, requirement: Requirement, nodes: int, end_ms: int) -> int:
        """All of them for what ends before the reservation begins, else those that it leaves enough of."""
        if end_ms > self.start_ms:
            for number, spare in self._spare.items():
                if not spare.fits(requirement.resources):
                    nodes &= ~(1 << number)
        return nodes

    def room(self, number: int, need: Resources, end_ms: int) -> int | None:
        """No bound for what ends in time or elsewhere."""
        spare = self._spare.get(number)
        return None if spare is None or end_ms <= self.start_ms else spare.count_of(need)

    def bounded(self, end_ms: int) -> int:
        """The reserved nodes, for what does not end in time."""
        return sum([1 << number for number in self._spare]) if end_ms > self.start_ms else 0

    def take(self, nodes: Iterable[tuple[int, int]], need: Resources, end_ms: int) -> None:
        """What ends in time uses nothing that is reserved. While nothing is, it is one more end to wait for."""
        if self.start_ms == FOREVER:
            if end_ms < FOREVER:
                ending = Ending(end_ms, "", len(self._endings), tuple(nodes), need)
                self._endings = sorted([*self._endings, ending])
        elif end_ms > self.start_ms:
            for number, slots in nodes:
                spare = self._spare.get(number)
                if spare is not None:
                    self._spare[number] = spare.plus(need, -slots)


class Timeline:
    """One node's free resources from now on: `free[k]` from `times[k]` until `times[k + 1]`."""

    __slots__ = ("free", "times")

    def __init__(self, now_ms: int, free: Resources, endings: Iterable[tuple[int, Resources]]) -> None:
        self.times, self.free = [now_ms], [free]
        for end_ms, resources in endings:
            free = free.plus(resources)
            if end_ms == self.times[-1]:
                self.free[-1] = free
            else:
                self.times.append(end_ms)
                self.free.append(free)

    def hold(self, start_ms: int, end_ms: int, resources: Resources) -> None:
        """Takes resources away from one moment until another."""
        first, last = self._cut(start_ms), self._cut(end_ms)
        for at in range(first, last):
            self.free[at] = self.free[at].minus(resources)

    def _cut(self, at_ms: int) -> int:
        """The step that begins at a moment, made if there is none; past the last one for FOREVER."""
        if at_ms >= FOREVER:
            return len(self.times)
        at = bisect_left(self.times, at_ms)
        if at == len(self.times) or self.times[at] != at_ms:
            self.times.insert(at, at_ms)
            self.free.insert(at, self.free[at - 1])
        return at

    def first_fit(self, need: Resources, run_ms: int | None, not_before_ms: int) -> int:
        """The earliest moment from which one slot fits as long as it runs; FOREVER if none."""
        times, free, millicores = self.times, self.free, need.millicores
        at = max(0, bisect_right(times, not_before_ms) - 1)
        start_ms: int | None = None
        for step in range(at, len(times)):
            here = free[step]
            if (here.millicores < millicores and millicores) or not here.fits(need):
                start_ms = None
                continue
            if start_ms is None:
                start_ms = max(times[step], not_before_ms)
            if run_ms is not None and step + 1 < len(times) and times[step + 1] - start_ms >= run_ms:
                return start_ms
        return FOREVER if start_ms is None else start_ms

    def full_until_ms(self, need: Resources, start_ms: int, end_ms: int) -> int:
        """Until when no slot can begin that lasts so long, by the first step in its way; `start_ms` if one fits."""
        times, free, millicores = self.times, self.free, need.millicores
        for step in range(max(0, bisect_right(times, start_ms) - 1), len(times)):
            if times[step] >= end_ms:
                break
            here = free[step]
            if (here.millicores < millicores and millicores) or not here.fits(need):
                return times[step + 1] if step + 1 < len(times) else FOREVER
        return start_ms

    def room(self, need: Resources, start_ms: int, end_ms: int) -> int | None:
        """How many slots fit all the time from one moment until another; None means no bound."""
        at = max(0, bisect_right(self.times, start_ms) - 1)
        least: int | None = None
        millicores = need.millicores
        for step in range(at, len(self.times)):
            if self.times[step] >= end_ms:
                break
            here = self.free[step]
            if here.millicores < millicores and millicores:
                return 0
            count = here.count_of(need)
            if not count:
                return count  # none at all; a need of nothing has no bound at any step
            if least is None or count < least:
                least = count
        return least


class Outlook:
    """Any number of reservations: a timeline for each node that matters, made when it is first looked at."""

    def __init__(self, index: NodeIndex, endings: Sequence[Ending], now_ms: int) -> None:
        self.index, self._now_ms = index, now_ms
        self._timelines: dict[int, Timeline] = {}
        self._endings: dict[int, list[tuple[int, Resources]]] = {}
        for ending in endings:
            for number, slots in ending.nodes:
                freed = ending.per_slot if slots == 1 else Resources().plus(ending.per_slot, slots)
                self._endings.setdefault(number, []).append((max(ending.end_ms, now_ms), freed))
        self._reserved = 0
        """The nodes with reservations."""
        self._first_ms = FOREVER
        """When the first of them begins."""
        self._not_before: dict[tuple[object, ...], int] = {}
        """Room only shrinks within a cycle: where the search for another task of the same kind goes on."""

    def timeline(self, number: int) -> Timeline:
        """A node's free resources from now on, what starts and is reserved in this cycle included."""
        known = self._timelines.get(number)
        if known is None:
            endings = sorted(self._endings.get(number, ()), key=lambda ending: ending[0])
            known = self._timelines[number] = Timeline(self._now_ms, self.index.free[number], endings)
        return known

    def reserve(
        self, requirement: Requirement, nodes: int, run_ms: int | None, gaps: Gaps | None = None
    ) -> Opening | None:
        """The earliest moment on any node, the lowest number among equals; for a gang when enough nodes agree."""
        kind = (requirement, nodes, run_ms, gaps and gaps.kind)
        not_before_ms = self._not_before.get(kind, self._now_ms)
        find = self._earliest if requirement.slots == 1 else self._earliest_gang
        opening = find(requirement, nodes, run_ms, not_before_ms, gaps)
        if opening is None:
            return None
        self._not_before[kind] = opening.start_ms
        end_ms = FOREVER if run_ms is None else opening.start_ms + run_ms
        for number, slots in opening.nodes:
            self.timeline(number).hold(opening.start_ms, end_ms, Resources().plus(requirement.resources, slots))
            self._reserved |= 1 << number
        self._first_ms = min(self._first_ms, opening.start_ms)
        return opening

    def _earliest(
        self, requirement: Requirement, nodes: int, run_ms: int | None, not_before_ms: int, gaps: Gaps | None
    ) -> Opening | None:
        best_ms, best = FOREVER, -1
        for number in bits(nodes):
            start_ms = self._first_fit(number, requirement.resources, run_ms, not_before_ms, gaps)
            if start_ms < best_ms:
                best_ms, best = start_ms, number
                if start_ms <= not_before_ms:
                    break
        return None if best < 0 else Opening(best_ms, ((best, 1),))

    def _first_fit(self, number: int, need: Resources, run_ms: int | None, from_ms: int, gaps: Gaps | None) -> int:
        """The earliest moment on one node, between windows; FOREVER if none is in sight."""
        line = self.timeline(number)
        start_ms = line.first_fit(need, run_ms, from_ms)
        while gaps is not None and start_ms < FOREVER:
            clear_ms = gaps.start_from(number, start_ms)
            if clear_ms == start_ms:
                return start_ms
            start_ms = line.first_fit(need, run_ms, clear_ms) if clear_ms < FOREVER else FOREVER
        return start_ms

    def _earliest_gang(
        self, requirement: Requirement, nodes: int, run_ms: int | None, not_before_ms: int, gaps: Gaps | None
    ) -> Opening | None:
        need, slots, distinct = requirement.resources, requirement.slots, requirement.distinct_nodes
        lines = {number: self.timeline(number) for number in bits(nodes)}
        moments = {time for line in lines.values() for time in line.times if time > not_before_ms}
        starts: Iterable[int] = sorted({not_before_ms, *moments})
        if gaps is not None:
            starts = merge(starts, gaps.ends_after(not_before_ms, nodes))
        looked_at, full = nodes, list[tuple[int, int]]()
        for start_ms in starts:
            while full and full[0][0] <= start_ms:
                looked_at |= 1 << heappop(full)[1]
            end_ms = FOREVER if run_ms is None else start_ms + run_ms
            rooms: dict[int, int] = {}
            for number in bits(looked_at if gaps is None else looked_at & ~gaps.closed_at(start_ms)):
                full_until_ms = lines[number].full_until_ms(need, start_ms, end_ms)
                if full_until_ms > start_ms:
                    looked_at ^= 1 << number
                    heappush(full, (full_until_ms, number))
                elif distinct:
                    rooms[number] = 1
                else:
                    rooms[number] = _bounded(lines[number].room(need, start_ms, end_ms), slots, distinct)
            if sum(rooms.values()) >= slots:
                return Opening(start_ms, _fill(rooms, slots))
        return None

    def beside(self, requirement: Requirement, nodes: int, end_ms: int) -> int:
        """A node without reservations can always be used; one with some if its timeline says so."""
        if end_ms > self._first_ms:
            for number in bits(nodes & self._reserved):
                room = self.timeline(number).room(requirement.resources, self._now_ms, end_ms)
                if room is not None and room < 1:
                    nodes &= ~(1 << number)
        return nodes

    def room(self, number: int, need: Resources, end_ms: int) -> int | None:
        """No bound where nothing is reserved."""
        if not self._reserved >> number & 1 or end_ms <= self._first_ms:
            return None
        return self.timeline(number).room(need, self._now_ms, end_ms)

    def bounded(self, end_ms: int) -> int:
        """The nodes with reservations, for what does not end before the first of them."""
        return self._reserved if end_ms > self._first_ms else 0

    def take(self, nodes: Iterable[tuple[int, int]], need: Resources, end_ms: int) -> None:
        """Takes it off the timeline, or off what the timeline will be made of."""
        for number, slots in nodes:
            taken = Resources().plus(need, slots)
            known = self._timelines.get(number)
            if known is not None:
                known.hold(self._now_ms, end_ms, taken)
            elif end_ms < FOREVER:
                self._endings.setdefault(number, []).append((end_ms, taken))


def _bounded(room: int | None, slots: int, distinct: bool) -> int:
    """No more slots on a node than the task has, and one where they may not share."""
    most = 1 if distinct else slots
    return most if room is None else min(most, max(0, room))


def _fill(rooms: dict[int, int], slots: int) -> tuple[tuple[int, int], ...]:
    """The fewest nodes for so many slots: the roomiest first, the lowest number among equals."""
    taken = []
    for number, room in sorted(rooms.items(), key=lambda each: (-each[1], each[0])):
        if slots <= 0:
            break
        taken.append((number, min(room, slots)))
        slots -= room
    return tuple(taken)
