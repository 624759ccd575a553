"""Placements: which of the nodes that fit.

Fit after Johnson et al. (1974): the tightest place, the roomiest, the first. Specialization learns from recorded run
times which class of nodes is fast for which kind of job; a few trials of each class come first (explore, then commit:
Robbins, 1952). Power follows the linear model of Fan, Weber & Barroso (2007). A weighted sum of scores is how
Kubernetes ranks nodes. Each costs classes of nodes or groups of equal ones, not nodes.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import msgspec

from domain.indices.nodeindex import NodeIndex
from domain.indices.performance import FADES_AT, kind_of, node_class
from domain.job.values import Job
from domain.messages import Value
from domain.node import Attributes
from domain.policies import Context, Placement, Policies, register
from domain.resources import Resources

Scorer = Callable[[int], float]
"""How well a node suits one job, by its number."""

Count = Annotated[int, msgspec.Meta(ge=0)]


class BestFit(Value, frozen=True):
    """The node with the fewest free GPUs, then cores: large gaps and scarce nodes are kept for those who need them."""

    def choose(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """Lowest (free GPUs, free cores, node number)."""
        return index.best_fit(nodes, job.spec.requirement.resources)

    def score(self, job: Job, number: int, index: NodeIndex, context: Context) -> float:
        """How full the node will be: the share of its cores that is then in use."""
        return round(1 - _left(job.spec.requirement.resources, number, index), 4)


class WorstFit(Value, frozen=True):
    """The node with the most free GPUs or cores, so that load spreads; jobs without GPUs avoid nodes with free ones."""

    one_at_a_time = True

    def choose(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """With GPUs: highest (free GPUs, free cores); else highest free cores, first where no GPU is free."""
        return index.worst_fit(nodes, job.spec.requirement.resources)

    def score(self, job: Job, number: int, index: NodeIndex, context: Context) -> float:
        """How empty the node will be: the share of its cores, for a job with GPUs of its GPUs, that is then free."""
        need = job.spec.requirement.resources
        if not need.gpus:
            return round(_left(need, number, index), 4)
        return round((index.free[number].gpus - need.gpus) / index.capacity[number].gpus, 4)


class FirstFit(Value, frozen=True):
    """The node that was registered first: the farm fills from one end, and the other stays empty."""

    def choose(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """Lowest node number."""
        return (nodes & -nodes).bit_length() - 1

    def score(self, job: Job, number: int, index: NodeIndex, context: Context) -> float:
        """How early the node was registered: 1 for the first."""
        return round(1 - number / len(index.ids), 4)


class Specialized(Value, frozen=True):
    """The class of nodes with the shortest mean recorded run time for jobs of this kind, among those with room.

    A class with too few recorded runs is tried first, on its first nodes only, so that few nodes are spent on finding
    out. While nothing is known of a kind, and among nodes of one class, best fit decides.
    """

    explore: Annotated[int, msgspec.Meta(ge=0, le=FADES_AT // 2)] = 2
    """Recorded runs of a kind below which a class of nodes is tried first, and how many of its nodes serve for that."""

    def choose(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """A trial where the fewest runs are known, else the lowest mean run time; ties by best fit."""
        need = job.spec.requirement.resources
        runs = _runs(job, index, context)
        if not any(runs.values()):
            return index.best_fit(nodes, need)
        best = self._trials(job, nodes, runs, index) or _fastest(job, nodes, index, context)
        return index.best_fit(best or nodes, need)

    def _trials(self, job: Job, nodes: int, runs: Mapping[str, int], index: NodeIndex) -> int:
        """Those of a mask that may be spent on a trial, of the classes with the fewest runs among such."""
        fewest, trials = self.explore, 0
        for name, count in runs.items():
            if count <= fewest and count < self.explore:
                here = nodes & self._first(name, job, index)
                if here:
                    trials = here | trials if count == fewest else here
                    fewest = count
        return trials

    def _first(self, name: str, job: Job, index: NodeIndex) -> int:
        """The first open nodes of a class that could hold the job if they were empty."""
        members = index.grouped(node_class).masks[name] & index.open_mask & index.capable(job.spec.requirement)
        return _lowest(members, self.explore)

    def score(self, job: Job, number: int, index: NodeIndex, context: Context) -> float:
        """The shortest mean run time of any class over that of the node's class; 1 for a trial, 0 if unknown.

        While nothing is known of a kind it is the score of best fit.
        """
        return self.scorer(job, index, context)(number)

    def scorer(self, job: Job, index: NodeIndex, context: Context) -> Scorer:
        """The score by node number, for many nodes."""
        runs = _runs(job, index, context)
        if not any(runs.values()):
            return _each_alone(BestFit(), job, index, context)
        trials = 0
        for name, count in runs.items():
            if count < self.explore:
                trials |= self._first(name, job, index)
        means = dict(_means(job, runs, context))
        least_ms, classes = max(1, min(means.values())), index.grouped(node_class).answers
        scores = {name: round(least_ms / max(1, mean_ms), 4) for name, mean_ms in means.items()}
        return lambda number: 1.0 if trials >> number & 1 else scores.get(classes[number], 0.0)


class Power(Value, frozen=True):
    """The node that draws the least extra power: one that is in use before one to be woken, then fewer watts per core.

    Power grows from idle to peak with the share of cores or GPUs in use, the larger of both. A node with none in use
    costs its idle power as well, because it could sleep. Nodes say `watts_idle` and `watts_peak` as attributes.
    """

    idle_watts_per_core: Count = 5
    """For nodes that do not say."""
    peak_watts_per_core: Count = 15
    """For nodes that do not say."""

    def choose(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """Lowest extra milliwatts; ties by best fit."""
        need = job.spec.requirement.resources
        by_extra: dict[int, int] = {}
        for extra_mw, hit in self._offers(need, nodes, index):
            by_extra[extra_mw] = by_extra.get(extra_mw, 0) | hit
        return index.best_fit(by_extra[min(by_extra)], need)

    def _offers(self, need: Resources, nodes: int, index: NodeIndex) -> Iterator[tuple[int, int]]:
        """(extra milliwatts, nodes) for every group of nodes with the same figures, used and unused ones apart."""
        unused = nodes & index.unused()
        in_use = nodes ^ unused
        for figures, members in index.grouped(power_figures).masks.items():
            if in_use & members:
                yield self.extra_milliwatts(figures, need), in_use & members
            if unused & members:
                yield self.extra_milliwatts(figures, need, wakes=True), unused & members

    def extra_milliwatts(self, figures: "Figures", need: Resources, *, wakes: bool = False) -> int:
        """What a node of this sort draws more when it also holds one slot, rounded down."""
        idle_mw, peak_mw = self._idle_and_peak(figures)
        extra_mw = 0
        for have, want in ((figures.millicores, need.millicores), (figures.gpus, need.gpus)):
            if have:
                extra_mw = max(extra_mw, (peak_mw - idle_mw) * want // have)
        return extra_mw + idle_mw * wakes

    def _idle_and_peak(self, figures: "Figures") -> tuple[int, int]:
        """In milliwatts; the peak is never below idle."""
        idle, peak, millicores = figures.idle_watts, figures.peak_watts, figures.millicores
        idle_mw = self.idle_watts_per_core * millicores if idle is None else idle * 1_000
        peak_mw = self.peak_watts_per_core * millicores if peak is None else peak * 1_000
        return idle_mw, max(idle_mw, peak_mw)

    def score(self, job: Job, number: int, index: NodeIndex, context: Context) -> float:
        """How much of the extra power is saved that waking the costliest node of the farm for it would draw."""
        return self.scorer(job, index, context)(number)

    def scorer(self, job: Job, index: NodeIndex, context: Context) -> Scorer:
        """The score by node number, for many nodes."""
        need, sorts = job.spec.requirement.resources, index.grouped(power_figures)
        awake = {each: self.extra_milliwatts(each, need) for each in sorts.masks if each.holds(need)}
        woken = {each: self.extra_milliwatts(each, need, wakes=True) for each in awake}
        unused, most_mw = index.unused(), max(1, *woken.values())
        saved = [{each: round(1 - mw / most_mw, 4) for each, mw in extra.items()} for extra in (awake, woken)]
        return lambda number: saved[unused >> number & 1].get(sorts.answers[number], 0.0)


class Figures(NamedTuple):
    """What decides how much power a node draws."""

    idle_watts: int | None
    """With nothing in use; None if nobody said."""
    peak_watts: int | None
    """With everything in use."""
    millicores: int
    gpus: int

    def holds(self, need: Resources) -> bool:
        """Whether a node of this sort has the cores and GPUs."""
        return self.millicores >= need.millicores and self.gpus >= need.gpus


def power_figures(attributes: Attributes, capacity: Resources) -> Figures:
    """A node's attributes `watts_idle` and `watts_peak`, each one whole number; anything else says nothing."""
    watts = [_whole_number(attributes.get(name, ())) for name in ("watts_idle", "watts_peak")]
    return Figures(watts[0], watts[1], capacity.millicores, capacity.gpus)


def _whole_number(values: tuple[str, ...]) -> int | None:
    return int(values[0]) if len(values) == 1 and values[0].isascii() and values[0].isdecimal() else None


class Weighted(Value, frozen=True, dict=True, gc=True):
    """The node with the highest weighted mean of the scores of other placements; the lowest number among equals.

    Nodes with the same capacity, attributes and free cores and GPUs are taken for equal, and the first stands for all.
    """

    weights: dict[str, float] = msgspec.field(default_factory=lambda: {"best-fit": 1.0, "specialized": 2.0})
    """How much each placement counts, by name."""
    parameters: dict[str, dict[str, Any]] = {}
    """Their parameters, by name."""

    def __post_init__(self) -> None:
        """ValueError unless there is something to add up; PolicyInvalid for a placement that cannot be so."""
        if "weighted" in self.weights or self.parameters.keys() - self.weights.keys():
            raise ValueError("weights name other placements, and only those named have parameters")
        if not all(0 <= weight < float("inf") for weight in self.weights.values()) or not sum(self.weights.values()):
            raise ValueError("weights are 0 or more, and not all of them 0")
        _ = self._parts

    @cached_property
    def _parts(self) -> tuple[tuple[float, Placement], ...]:
        """The placements with their weights, which add up to 1."""
        total = sum(self.weights.values())
        return tuple((weight / total, self._part(name)) for name, weight in self.weights.items() if weight)

    def _part(self, name: str) -> Placement:
        made: Placement = Policies(placement=name, parameters={"placement": self.parameters.get(name, {})}).policy(
            "placement"
        )
        return made

    def choose(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """Highest weighted mean, then lowest node number."""
        score = self.scorer(job, index, context)
        numbers = index.one_of_each(nodes, index.grouped(capabilities))
        return min(numbers, key=lambda number: (-score(number), number))

    def score(self, job: Job, number: int, index: NodeIndex, context: Context) -> float:
        """The weighted mean of the scores."""
        return self.scorer(job, index, context)(number)

    def scorer(self, job: Job, index: NodeIndex, context: Context) -> Scorer:
        """The score by node number, for many nodes."""
        parts = [(weight, _scorer(part, job, index, context)) for weight, part in self._parts]
        return lambda number: min(1.0, round(sum([weight * score(number) for weight, score in parts]), 6))


def capabilities(attributes: Attributes, capacity: Resources) -> Hashable:
    """All that was registered of a node: its capacity and attributes."""
    return capacity, tuple(sorted(attributes.items()))


def _scorer(part: Placement, job: Job, index: NodeIndex, context: Context) -> Scorer:
    """The scores of a placement: by its `scorer`, if it has one that looks once at what holds for all nodes."""
    made: Scorer | None = part.scorer(job, index, context) if hasattr(part, "scorer") else None
    return made or _each_alone(part, job, index, context)


def _each_alone(part: Placement, job: Job, index: NodeIndex, context: Context) -> Scorer:
    return lambda number: part.score(job, number, index, context)


def _left(need: Resources, number: int, index: NodeIndex) -> float:
    """The share of a node's cores that is still free with one more slot, 0..1; 0 for a node without cores."""
    capacity = index.capacity[number].millicores
    return max(0.0, (index.free[number].millicores - need.millicores) / capacity) if capacity else 0.0


def _lowest(mask: int, count: int) -> int:
    """The first so many nodes of a mask."""
    lowest = 0
    while mask and count:
        low = mask & -mask
        lowest, mask, count = lowest | low, mask ^ low, count - 1
    return lowest


def _runs(job: Job, index: NodeIndex, context: Context) -> dict[str, int]:
    """How many runs of a job's kind are recorded, by class of nodes."""
    count, kind = context.farm.performance.count, kind_of(job.spec)
    return {name: count(name, kind) for name in index.grouped(node_class).masks}


def _means(job: Job, names: Mapping[str, int], context: Context) -> Iterator[tuple[str, int]]:
    """(class of nodes, mean run time of jobs of this kind there in ms), where it is known."""
    mean_ms_of, kind = context.farm.performance.mean_ms, kind_of(job.spec)
    for name in names:
        mean_ms = mean_ms_of(name, kind)
        if mean_ms is not None:
            yield name, mean_ms


def _fastest(job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
    """Those of a mask whose class has the shortest mean run time for jobs of this kind; none if nothing is known."""
    least_ms, fastest = 0, 0
    masks = index.grouped(node_class).masks
    with_room = {name: nodes & members for name, members in masks.items() if nodes & members}
    for name, mean_ms in _means(job, with_room, context):
        if not fastest or mean_ms < least_ms:
            least_ms, fastest = mean_ms, with_room[name]
        elif mean_ms == least_ms:
            fastest |= with_room[name]
    return fastest


register("placement", "best-fit", BestFit)
register("placement", "worst-fit", WorstFit)
register("placement", "spread", WorstFit)
register("placement", "first-fit", FirstFit)
register("placement", "specialized", Specialized)
register("placement", "power", Power)
register("placement", "weighted", Weighted)
