"""Which simulations the kernel can take over: one machine, jobs that differ in numbers alone, an order without clocks.

Decided before the first job arrives, from the trace, the policies and the farm; what is in doubt is left to the engine.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from application.app import Application
from application.simulation.farms import DEFAULT_CLIENT, MACHINE, Needs
from application.simulation.workload import TraceJob
from domain import errors, rules
from domain.decisions import segment_name
from domain.farm import Farm
from domain.indices.idle import STAYS_ON
from domain.job.checks import MAX_TIME_MS, check_spec
from domain.job.values import Job, JobSpec
from domain.messages import JobId
from domain.policies import Context, OrderKey, made
from domain.policies.backfill import Depth, Easy, Greedy, NoBackfill
from domain.policies.estimate import Requested
from domain.policies.order import (
    F1,
    F2,
    F3,
    F4,
    ByPriority,
    EarliestDeadline,
    Fifo,
    LeastSlack,
    ShortestFirst,
    SmallestAreaFirst,
)
from domain.policies.placement import BestFit, FirstFit, WorstFit
from domain.policies.priority import Given
from domain.resources import Requirement, Resources
from domain.rules import rules_of
from domain.rules.bookings import bookings
from domain.rules.energy import energy_rule
from domain.rules.partitioning import partitioned
from domain.rules.preempting import preemption
from domain.rules.sharing import lending

Spec = Callable[[JobId, TraceJob, Needs], JobSpec]
"""The specification under which a job is submitted."""

_BACKFILLS = (NoBackfill, Greedy, Easy, Depth)
_ORDERS = (
    Fifo,
    ByPriority,
    ShortestFirst,
    SmallestAreaFirst,
    EarliestDeadline,
    LeastSlack,
    F1,
    F2,
    F3,
    F4,
)
"""Those that look at nothing but the job itself."""
_PLACEMENTS = (BestFit, WorstFit, FirstFit)
"""Those that look at nothing but free processors."""
_RULES = frozenset({partitioned, energy_rule, lending, bookings, preemption})
"""Those that stay out of force on such a farm; of any other nobody knows when it comes into force."""
_MAX_S = MAX_TIME_MS // 1_000


class Segments(NamedTuple):
    """The segments of the queue, sorted by their names in the log; one column for each thing known of them."""

    names: list[str]
    needs: list[int]
    """Millicores."""


class Columns(NamedTuple):
    """Jobs in the order of the queue: job k comes before job k + 1 wherever both wait. Times in seconds."""

    jobs: list[TraceJob]
    ids: list[JobId]
    needs: list[Needs]
    millicores: list[int]
    segments: list[int]
    """By number in `Segments`."""
    arriving: Sequence[int]
    """The same jobs in the order in which they arrive."""


class Scope(NamedTuple):
    """A simulation that the kernel can run."""

    columns: Columns
    segments: Segments
    start_ms: int
    """When second 0 of the trace is."""


def scope_of(
    app: Application, jobs: Sequence[TraceJob], needs: Sequence[Needs], ids: list[JobId], spec: Spec, start_ms: int
) -> Scope | None:
    """What the kernel needs to know of a simulation; None where it does not apply. Jobs come with needs and ids."""
    if not jobs or not _is_one_machine(app.farm) or not _are_plain(app.farm):
        return None
    distinct = {id(each): each for each in needs}.values()
    if not _are_in_order(jobs, start_ms) or not _need_nothing_else(distinct):
        return None
    keys: list[OrderKey] | None = None
    in_order = type(made(app.farm.policies).order) is Fifo
    if not in_order or any(each.deadline_s is not None or each.name for each in distinct):
        specs = list(map(spec, ids, jobs, needs))
        if not _are_valid(specs):
            return None
        keys = None if in_order else _keys(app.farm, specs, jobs, start_ms)
    return Scope(*_columns(jobs, needs, ids, keys), start_ms)


# -- the farm and its policies -------------------------------------------------------------------------------------


def _is_one_machine(farm: Farm) -> bool:
    """Whether there is one node of nothing but processors, and nothing else at all."""
    if list(farm.nodes) != [MACHINE] or farm.clients or farm.jobs or farm.workflows or farm.partitions:
        return False
    if farm.cycle_day or farm.reservations or farm.dependencies:
        return False
    machine = farm.nodes[MACHINE]
    plain = Resources(machine.capacity.millicores)
    return machine.takes_work and not machine.attributes and machine.capacity == plain


def _are_plain(farm: Farm) -> bool:
    """Whether policies leave nothing but integers to compare."""
    policies, objects = farm.policies, made(farm.policies)
    if not objects.uniform or objects.filters or policies.sharing != "none" or policies.preemption != "none":
        return False
    if policies.energy != STAYS_ON or not policies.parameters.keys().isdisjoint(("energy", "sharing", "preemption")):
        return False
    if type(objects.priority) is not Given or type(objects.estimate) is not Requested:
        return False
    if not isinstance(objects.backfill, _BACKFILLS) or objects.backfill.reservations not in (0, 1):
        return False
    if type(objects.order) not in _ORDERS or type(objects.placement) not in _PLACEMENTS:
        return False
    return _RULES.issuperset(rules._FACTORIES) and not rules_of(farm, objects, farm.now_ms)


# -- the jobs ------------------------------------------------------------------------------------------------------


def _are_in_order(jobs: Sequence[TraceJob], start_ms: int) -> bool:
    """Whether jobs come by time and number, each with a number of its own, and times that nobody refuses."""
    if start_ms < 0 or len({job.number for job in jobs}) < len(jobs):
        return False
    last_s, last_number, latest_s = 0, -1, _MAX_S - start_ms // 1_000 - 1
    for job in jobs:
        submit_s, number = job.submit_s, job.number
        if number < 0 or submit_s < last_s or (submit_s == last_s and number < last_number) or submit_s > latest_s:
            return False
        if job.run_s < 1 or not 1 <= job.requested_s <= _MAX_S:
            return False
        last_s, last_number = submit_s, number
    return True


def _need_nothing_else(needs: Iterable[Needs]) -> bool:
    """Whether jobs need processors of one node alone, for the client that makes itself."""
    for each in needs:
        resources = each.requirement.resources
        plain = Requirement(Resources(resources.millicores))
        if resources.millicores < 1 or each.requirement != plain or each.client_id != DEFAULT_CLIENT:
            return False
    return True


def _are_valid(specs: Iterable[JobSpec]) -> bool:
    """Whether nobody would refuse one of them."""
    try:
        for spec in specs:
            check_spec(spec)
    except errors.JobInvalid:
        return False
    return True


def _keys(farm: Farm, specs: Sequence[JobSpec], jobs: Sequence[TraceJob], start_ms: int) -> list[OrderKey]:
    """The key of each job in the order in force, which nothing changes while it waits."""
    objects = made(farm.policies)
    context = Context(farm, objects, start_ms)
    keys = []
    for spec, job in zip(specs, jobs, strict=True):
        state = Job(spec, start_ms + job.submit_s * 1_000, spec.priority, spec.deadline_ms, True, waiting=spec.tasks)
        keys.append(objects.order.key(state, context))
    return keys


def _columns(
    jobs: Sequence[TraceJob], needs: Sequence[Needs], ids: list[JobId], keys: list[OrderKey] | None
) -> tuple[Columns, Segments]:
    """Jobs sorted by key, those of the same key as they arrive, and their segments by name."""
    count = len(jobs)
    ranked = list(range(count)) if keys is None else sorted(range(count), key=keys.__getitem__)
    arriving = ranked.copy()
    for rank, at in enumerate(ranked) if keys is not None else ():
        arriving[at] = rank
    segments, number_of = _segments({id(each): each for each in needs}.values())
    sorted_needs = [needs[at] for at in ranked]
    numbers = [number_of[id(each)] for each in sorted_needs]
    millicores = [segments.needs[number] for number in numbers]
    by_rank = [jobs[at] for at in ranked], [ids[at] for at in ranked]
    return Columns(*by_rank, sorted_needs, millicores, numbers, arriving), segments


def _segments(needs: Collection[Needs]) -> tuple[Segments, dict[int, int]]:
    """All segments, and the number of the one of each of these needs, by its identity."""
    names = {id(each): segment_name(DEFAULT_CLIENT, each.priority, each.requirement) for each in needs}
    millicores = {names[id(each)]: each.requirement.resources.millicores for each in needs}
    known = sorted(millicores)
    numbers = {name: number for number, name in enumerate(known)}
    segments = Segments(known, [millicores[name] for name in known])
    return segments, {identity: numbers[name] for identity, name in names.items()}
