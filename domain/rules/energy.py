"""Energy in the cycle: idle nodes are powered down and up again, work waits for cheaper hours, a power cap holds.

What a node draws grows with the share of its cores or GPUs in use, the larger of both, from `watts_idle` to
`watts_peak` (the linear model of Fan, Weber & Barroso, 2007); both are attributes of the node, as is `wake_s`, how long
it takes to come up. Nodes that do not say what they draw draw nothing, as far as a power cap is concerned.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING

from domain import intervals
from domain.decisions import Reason, ReasonCode, Segment
from domain.farm import Farm
from domain.indices.nodeindex import NodeIndex, bits
from domain.job.values import PRIORITY_RANK, Job
from domain.messages import Command
from domain.node import Attributes, Node, NodeStatus, StartNode, StopNode
from domain.planning.lanes import Lane, Stop
from domain.planning.openings import FOREVER
from domain.policies import Energy, Made
from domain.policies.placement import Figures, power_figures
from domain.resources import Requirement, Resources
from domain.rules import Rule, rule
from domain.tariff import HOUR_MS, Tariff
from domain.wording import duration_text

if TYPE_CHECKING:
    from domain.planning.placing import Placing
    from domain.planning.planner import Cycle

ANY = 1 << 30
"""As many tasks as anybody has."""
MOST_STARTS = 8
"""How many moments of another price are looked at when a job waits for a cheaper one."""


@rule
def energy_rule(farm: Farm, made: Made, now_ms: int) -> Rule | None:
    """In force unless the mode gives nothing up and no node sleeps."""
    mode, tariff = made.energy, made.policies.tariff
    defers = mode.max_delay_h > 0 and tariff.varies
    if mode.idle_after_s is None and not mode.power_cap_watts and not defers and not farm.asleep:
        return None
    return EnergyRule(farm, made, now_ms)


class EnergyRule(Rule):
    """One cycle under one energy mode."""

    whole = False

    def __init__(self, farm: Farm, made: Made, now_ms: int) -> None:
        self.farm, self.made, self.now_ms = farm, made, now_ms
        self.mode: Energy = made.energy
        self._delays: Delays | None = None
        self._cap: PowerCap | None = None
        self._wakes: list[int] = []

    def begin(self, cycle: "Placing") -> None:
        """Finds out what there is to mind in this cycle."""
        mode, tariff = self.mode, self.made.policies.tariff
        if mode.max_delay_h > 0 and tariff.varies and tariff.price_at(self.now_ms) > tariff.lowest:
            self._delays = Delays(cycle, mode, tariff)
        if mode.power_cap_watts:
            self._cap = PowerCap(self.farm, cycle, mode.power_cap_watts)

    def room(self, segment: Segment, job: Job, end_ms: int) -> int | None:
        """None for a job that waits for a cheaper hour; under a cap no more at once than are sure to keep it."""
        if self._delays is not None and self._delays.until_ms(job, end_ms):
            return 0
        return None if self._cap is None else self._cap.room(job)

    def allowed(self, job: Job, nodes: int, end_ms: int) -> int:
        """Those nodes on which it draws no more than the cap leaves."""
        return nodes if self._cap is None else self._cap.allowed(job, nodes)

    def took(self, job: Job, nodes: tuple[tuple[int, int], ...], tasks: int, end_ms: int) -> None:
        """Counts what a start draws."""
        if self._cap is not None:
            self._cap.took(job, nodes, tasks)

    def why(self, segment: Segment, job: Job, end_ms: int) -> tuple[Reason, ...]:
        """It waits for a cheaper hour, or the farm draws as much as it may."""
        until_ms = None if self._delays is None else self._delays.until_ms(job, end_ms)
        if until_ms:
            return (Reason(ReasonCode.CHEAPER_LATER, until_ms=until_ms),)
        if self._cap is None:
            return ()
        return (self._cap.reason(job),)

    def end(self, cycle: "Cycle") -> tuple[Command, ...]:
        """Powers up what those who lack room can use, and down what has had nothing to do for long enough."""
        woken = [] if not self.farm.asleep else list(self._wake(cycle))
        stopped = [] if self.mode.idle_after_s is None else list(self._stop(cycle))
        return (*woken, *stopped)

    def wake_at_ms(self) -> int | None:
        """When a node will have been idle for long enough, or a job has waited long enough."""
        waits = [] if self._delays is None else self._delays.waits
        return min([at_ms for at_ms in (*self._wakes, *waits) if at_ms > self.now_ms], default=None)

    # -- power up ------------------------------------------------------------------------------------------------

    def _wake(self, cycle: "Cycle") -> Iterator[Command]:
        """Nodes for those who wait for room, what comes up already counted first; all of them, if none should sleep."""
        fleet = Fleet(self.farm, cycle.index)
        if self.mode.idle_after_s is None:
            numbers = list(bits(fleet.asleep))
        else:
            lanes = [lane for lane in cycle.blocked if lane.shape.lacking or lane.stop is Stop.LACKING]
            numbers = fleet.needed(lanes, partial(self._wanted, cycle))
        for number in numbers:
            if self._cap is None or self._cap.may_wake(number):
                yield StartNode(node_id=cycle.index.ids[number], why="work waits for it")

    def _wanted(self, cycle: "Cycle", job: Job, nodes: int) -> int:
        """Those nodes of a mask that a job could use if they were up; none while it waits for a cheaper hour."""
        end_ms = cycle.end_ms(job)
        if self._delays is not None and self._delays.until_ms(job, end_ms) is not None:
            return 0
        nodes = cycle.allowed(job, nodes)
        for other in cycle.rules:
            if other is not self:
                nodes = other.allowed(job, nodes, end_ms) if nodes else 0
        return nodes

    # -- power down ----------------------------------------------------------------------------------------------

    def _stop(self, cycle: "Cycle") -> Iterator[Command]:
        """Nodes that were idle for so long, but for those kept in reserve, and those that somebody waits for."""
        assert self.mode.idle_after_s is not None
        index, after_ms = cycle.index, self.mode.idle_after_s * 1_000
        candidates = index.open_mask & index.unused() & ~self._awaited(cycle)
        idle: dict[str, list[tuple[int, int]]] = {}
        for number in bits(candidates):
            node_id = index.ids[number]
            if not self.farm.placed.get(node_id):
                idle.setdefault(self.farm.classes[node_id], []).append((self.farm.idle.of(node_id), number))
        for of_class in idle.values():
            of_class.sort()
            for since_ms, number in of_class[: len(of_class) - self.mode.keep_idle]:
                if since_ms + after_ms <= self.now_ms:
                    idle_text = duration_text((self.now_ms - since_ms) // 1_000 * 1_000)
                    yield StopNode(node_id=index.ids[number], why=f"nothing to do for {idle_text}")
                else:
                    self._wakes.append(since_ms + after_ms)

    def _awaited(self, cycle: "Cycle") -> int:
        """Nodes that a job which lacks room could use, or that are kept for one."""
        awaited = 0
        for lane in cycle.blocked:
            if lane.stop is Stop.LACKING:
                nodes = cycle.index.capable(lane.segment.requirement)
                awaited |= nodes if lane.job is None else cycle.allowed(lane.job, nodes)
        for reserved in cycle.reserved:
            for node_id, _ in reserved.nodes:
                awaited |= 1 << cycle.index.numbers[node_id]
        return awaited


class Fleet:
    """What sleeps and what comes up, and how much of it those who wait can use."""

    def __init__(self, farm: Farm, index: NodeIndex) -> None:
        self.farm, self.index = farm, index
        self.asleep = 0
        self._room: dict[int, Resources] = {}
        """What is left of each node that comes up, once those looked at have their tasks there."""
        for node_id in farm.asleep:
            number, node = index.numbers[node_id], farm.nodes[node_id]
            if node.status is NodeStatus.STARTING:
                self._room[number] = node.capacity
            elif node.sleeps:
                self.asleep |= 1 << number

    def needed(self, lanes: Iterable[Lane], wanted: Callable[[Job, int], int]) -> list[int]:
        """The nodes to power up for the jobs of some lanes, in their order, each on those it may use of a mask."""
        found: list[int] = []
        for lane in lanes:
            requirement = lane.segment.requirement
            capable = self.index.capable(requirement) & (self.asleep | sum([1 << number for number in self._room]))
            if not capable:
                continue
            for job_id in self._waiting(lane):
                job = self.farm.jobs[job_id]
                usable = wanted(job, capable)
                slots = intervals.size(job.waiting) * requirement.slots if usable else 0
                found += self._hold(slots, requirement.resources, usable)
                if not capable & self.asleep:
                    break
        return found

    def _waiting(self, lane: Lane) -> Iterator[str]:
        return iter(()) if lane.line is None else (job_id for _, job_id in lane.line.walk())

    def _hold(self, slots: int, need: Resources, capable: int) -> list[int]:
        """Sets slots aside on what comes up, and names the nodes that have to come up besides."""
        for number in self._room:
            if slots and capable >> number & 1:
                slots -= self._take(number, slots, need)
        woken = []
        while slots > 0 and capable & self.asleep:
            number = self._thriftiest(capable & self.asleep)
            self.asleep ^= 1 << number
            self._room[number] = self.index.capacity[number]
            slots -= self._take(number, slots, need)
            woken.append(number)
        return woken

    def _take(self, number: int, slots: int, need: Resources) -> int:
        room = self._room[number].count_of(need)
        taken = slots if room is None else min(slots, room)
        self._room[number] = self._room[number].minus(need, taken)
        return taken

    def _thriftiest(self, mask: int) -> int:
        """The node of a mask with the fewest watts per core in full use, the lowest number among equals."""
        return min(bits(mask), key=lambda number: (self._watts_per_core(number), number))

    def _watts_per_core(self, number: int) -> float:
        figures = power_figures(self.index.attributes[number], self.index.capacity[number])
        return (figures.peak_watts or 0) / max(1, figures.millicores)


class Delays:
    """Which jobs wait for a cheaper hour, and until when.

    A job waits if its deadline still leaves the time it takes and a margin after the cheaper start, if all that has to
    be done by that deadline fits into a part of the nodes that can do it from the first cheaper moment on, and if it is
    worth it. The time it takes is that of all its tasks on that part of the nodes, were they empty, after the longest
    task that may stand in its way.
    """

    def __init__(self, cycle: "Placing", mode: Energy, tariff: Tariff) -> None:
        self.cycle, self.mode, self.tariff, self.now_ms = cycle, mode, tariff, cycle.now_ms
        self.waits: set[int] = set()
        """Until when jobs wait."""
        self._share = max(0.01, 1 - mode.margin_percent / 100)
        """The part of the nodes that is counted on."""
        self._slots: dict[Requirement, int] = {}
        self._longest: dict[int, int] = {}

    def until_ms(self, job: Job, end_ms: int) -> int | None:
        """When it should start instead of now; None for now. A job of which part has started goes on."""
        if end_ms >= FOREVER or PRIORITY_RANK[job.priority] >= PRIORITY_RANK[self.mode.urgent] or job.next_attempt > 1:
            return None
        run_ms = end_ms - self.now_ms
        latest_ms = job.submitted_ms + round(self.mode.max_delay_h * HOUR_MS)
        if job.deadline_ms is not None:
            if job.deadline_ms <= self._tight_until_ms.get(self._capable(job.spec.requirement), 0):
                return None
            takes_ms = max(run_ms, round(self._load_ms(job, run_ms) / self._share))
            takes_ms = round(takes_ms * (1 + self.mode.margin_percent / 100)) + self._in_the_way_ms(job)
            latest_ms = min(latest_ms, job.deadline_ms - takes_ms)
        best_ms = self._cheapest_ms(run_ms, latest_ms)
        if best_ms is not None:
            self.waits.add(self._changes[0])
        return best_ms

    def _cheapest_ms(self, run_ms: int, latest_ms: int) -> int | None:
        """The start up to a moment at which a run costs least; None if that saves too little of what it costs now."""
        best = self.tariff.price_hours(self.now_ms, self.now_ms + run_ms) * (1 - self.mode.min_saving_percent / 100)
        best_ms = None
        for start_ms in self._changes:
            if start_ms > latest_ms:
                break
            costs = self.tariff.price_hours(start_ms, start_ms + run_ms)
            if costs < best:
                best_ms, best = start_ms, costs
        return best_ms

    @cached_property
    def _changes(self) -> list[int]:
        """The next moments with another price, the earliest first."""
        found: list[int] = []
        at_ms: int | None = self.now_ms
        while at_ms is not None and len(found) < MOST_STARTS:
            at_ms = self.tariff.next_change_ms(at_ms)
            if at_ms is not None:
                found.append(at_ms)
        return found

    def _in_the_way_ms(self, job: Job) -> int:
        """How long a task that has just started may stand in the way of a job: the longest that could."""
        capable = self._capable(job.spec.requirement)
        known = self._longest.get(capable)
        if known is None:
            waiting = [run_ms for nodes, run_ms in self._waiting_ms.items() if nodes & capable]
            from_ms = self._changes[0] if self._changes else self.now_ms
            running = [
                ending.end_ms - from_ms
                for ending in self.cycle.farm.endings.rows
                if any(capable >> number & 1 for number, _ in ending.nodes)
            ]
            known = self._longest[capable] = max([*waiting, *running, 0])
        return known

    @cached_property
    def _waiting_ms(self) -> dict[int, int]:
        """By the nodes that can do it, the longest run of all that waits."""
        longest: dict[int, int] = {}
        for segment, line in self.cycle.farm.queue.lines.items():
            nodes = self._capable(segment.requirement)
            for _, job_id in line.walk():
                run_ms = self.cycle.context.run_ms(self.cycle.farm.jobs[job_id]) or 0
                longest[nodes] = max(run_ms, longest.get(nodes, 0))
        return longest

    @cached_property
    def _tight_until_ms(self) -> dict[int, int]:
        """By the nodes that can do it, the last deadline by which so much is due that nothing due by then may wait."""
        from_ms = self._changes[0] if self._changes else self.now_ms
        work: dict[int, list[tuple[int, float]]] = {}
        for line in self.cycle.farm.queue.lines.values():
            for _, job_id in line.walk():
                job = self.cycle.farm.jobs[job_id]
                run_ms = self.cycle.context.run_ms(job)
                if job.deadline_ms is not None and run_ms is not None:
                    due = work.setdefault(self._capable(job.spec.requirement), [])
                    due.append((job.deadline_ms, self._load_ms(job, run_ms)))
        tight: dict[int, int] = {}
        for nodes, due in work.items():
            load_ms = self._still_running_ms(nodes, from_ms)
            for deadline_ms, more_ms in sorted(due):
                load_ms += more_ms
                if load_ms > self._share * max(0, deadline_ms - from_ms):
                    tight[nodes] = deadline_ms
        return tight

    def _capable(self, requirement: Requirement) -> int:
        index = self.cycle.index
        return index.capable(requirement) & index.registered_mask

    def _load_ms(self, job: Job, run_ms: int) -> float:
        """How long all its waiting tasks take, if they fill all nodes that can do them."""
        requirement = job.spec.requirement
        slots = self._slots.get(requirement)
        if slots is None:
            slots = self.cycle.index.slots_when_empty(self._capable(requirement), requirement.resources)
            slots = self._slots[requirement] = max(1, slots)
        return run_ms * intervals.size(job.waiting) * requirement.slots / slots

    def _still_running_ms(self, nodes: int, from_ms: int) -> float:
        """How long what runs beyond a moment goes on, spread over all of some nodes by its cores and GPUs."""
        index, load_ms = self.cycle.farm.index, 0.0
        millicores = max(1, sum(index.capacity[number].millicores for number in bits(nodes)))
        for ending in self.cycle.farm.endings.rows:
            beyond_ms = ending.end_ms - from_ms
            if beyond_ms > 0:
                slots = sum([count for number, count in ending.nodes if nodes >> number & 1])
                load_ms += beyond_ms * ending.per_slot.millicores * slots / millicores
        return load_ms


class PowerCap:
    """What the farm draws in a cycle, tentative starts included, against what it may."""

    def __init__(self, farm: Farm, cycle: "Placing", cap_watts: int) -> None:
        self.index, self.cap_watts = cycle.index, cap_watts
        self._sorts = farm.index.grouped(power_figures)
        self._most: dict[Requirement, float] = {}
        self.drawn = sum(
            watts(figures_of(node), node.capacity, farm.index.free[farm.index.numbers[node_id]])
            for node_id, node in farm.nodes.items()
            if node.status in (NodeStatus.ONLINE, NodeStatus.STARTING)
        )

    @property
    def left(self) -> float:
        """Watts that may still be drawn."""
        return self.cap_watts - self.drawn

    def allowed(self, job: Job, nodes: int) -> int:
        """Those nodes of a mask on which one task more keeps the cap."""
        requirement = job.spec.requirement
        for figures, members in self._sorts.masks.items():
            if nodes & members and extra_watts(figures, requirement.resources) * requirement.slots > self.left:
                nodes &= ~members
        return nodes

    def room(self, job: Job) -> int:
        """How many tasks keep the cap wherever they go, at least one: `allowed` says where."""
        requirement = job.spec.requirement
        most = self._most.get(requirement)
        if most is None:
            capable = self.index.capable(requirement)
            usable = [figures for figures, members in self._sorts.masks.items() if members & capable]
            most = max([extra_watts(figures, requirement.resources) for figures in usable], default=0.0)
            self._most[requirement] = most = most * requirement.slots
        return max(1, int(self.left / most)) if most else ANY

    def took(self, job: Job, nodes: tuple[tuple[int, int], ...], tasks: int) -> None:
        """Tasks start."""
        need = job.spec.requirement.resources
        self.drawn += sum([extra_watts(self._sorts.answers[number], need) * slots * tasks for number, slots in nodes])

    def may_wake(self, number: int) -> bool:
        """Whether a node may come up; if so, it is counted."""
        idle = self._sorts.answers[number].idle_watts or 0
        if idle > self.left:
            return False
        self.drawn += idle
        return True

    def reason(self, job: Job) -> Reason:
        """What the job needs at least, and what is left."""
        requirement = job.spec.requirement
        capable = self.index.capable(requirement)
        least = min(
            extra_watts(figures, requirement.resources)
            for figures, members in self._sorts.masks.items()
            if members & capable
        )
        left = max(0, int(self.left))
        return Reason(ReasonCode.POWER_CAP, resource="watts", needed=round(least * requirement.slots), available=left)


@lru_cache(maxsize=65_536)
def extra_watts(figures: Figures, need: Resources) -> float:
    """What one slot draws on a node that is on, in watts."""
    share = 0.0
    for have, want in ((figures.millicores, need.millicores), (figures.gpus, need.gpus)):
        if have:
            share = max(share, want / have)
    return max(0, (figures.peak_watts or 0) - (figures.idle_watts or 0)) * share


def figures_of(node: Node) -> Figures:
    """The power figures of a node."""
    return power_figures(node.attributes, node.capacity)


def watts(figures: Figures, capacity: Resources, free: Resources) -> float:
    """What a node that is on draws with so much of it free, in watts."""
    idle, peak = figures.idle_watts or 0, figures.peak_watts or 0
    return idle + max(0, peak - idle) * use_share(capacity, free)


def use_share(capacity: Resources, free: Resources) -> float:
    """The share of a node's cores or GPUs in use, the larger of both, 0..1."""
    share = 0.0
    for have, left in ((capacity.millicores, free.millicores), (capacity.gpus, free.gpus)):
        if have:
            share = max(share, (have - left) / have)
    return min(1.0, max(0.0, share))


def wake_ms_of(attributes: Attributes) -> int:
    """How long a node takes to come up, in ms: its attribute `wake_s`, two minutes if it does not say."""
    said = attributes.get("wake_s", ())
    return int(said[0]) * 1_000 if len(said) == 1 and said[0].isascii() and said[0].isdecimal() else WAKE_MS


WAKE_MS = 120_000
"""How long a node is taken to need to come up if it does not say."""
