"""The questions a scheduling cycle leaves to policies, the registry of answers, and the set in force.

A policy is a frozen Struct of parameters plus one or two methods. Built-in ones use exactly the hooks that strangers
get: `register(family, name, type)`. A `Policies` value names one answer per question; it travels in an event when
adopted.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from domain import errors
from domain.indices.nodeindex import NodeIndex
from domain.job.values import Attempt, Job, PreemptionMode, Priority
from domain.messages import ClientId, Value
from domain.tariff import Tariff

if TYPE_CHECKING:
    from domain.farm import Farm

OrderKey = tuple[Any, ...]


class Order(Protocol):
    """In which order waiting jobs are looked at: the lowest key first.

    One whose key is the same for all jobs of one client, level of priority and requirement says so by
    `same_in_segment = True`, and is asked once for all of them.
    """

    monotone: bool
    """Whether, among jobs of one client, level of priority and requirement, the key never falls as submit time and id
    rise; the planner then never sorts."""
    moves: bool
    """Whether the key of a waiting job changes with time alone."""

    def key(self, job: Job, context: "Context") -> OrderKey:
        """The job's place in the queue; the planner adds submit time and id as the last keys."""
        ...


class PriorityRule(Protocol):
    """How urgent a job is by now, as orders see it: what a person said, and what time and the farm make of it."""

    static: bool
    """Whether the level follows from the priority that the job has, and from nothing else."""

    def level(self, job: Job, context: "Context") -> float:
        """Higher is more urgent; a person's LOW is 0, MEDIUM 1, HIGH 2, CRITICAL 3."""
        ...


class Estimate(Protocol):
    """How long one attempt of a job is expected to run."""

    as_requested: bool
    """Whether that is the requested walltime always, which the farm keeps in order."""

    def run_ms(self, job: Job, context: "Context") -> int | None:
        """Milliseconds from start to end; None when nobody knows."""
        ...


class Filter(Protocol):
    """Which nodes a job may not use although its requirement fits there."""

    def mask(self, job: Job, nodes: int, index: NodeIndex, context: "Context") -> int:
        """Those of the mask `nodes` that the job may use. Jobs of one segment must get the same answer."""
        ...


class Placement(Protocol):
    """On which node a slot goes: the planner has filtered, the policy chooses.

    Tasks of one job that fit go to the chosen node together, unless the policy has `one_at_a_time = True`.
    """

    def choose(self, job: Job, nodes: int, index: NodeIndex, context: "Context") -> int:
        """The number of the best node in the non-empty mask `nodes`; each of them fits."""
        ...

    def score(self, job: Job, number: int, index: NodeIndex, context: "Context") -> float:
        """How well that node suits, 0..1, higher is better; asked before the slot is taken."""
        ...


class Backfill(Protocol):
    """What may start while a job before it cannot: the blocked jobs that hold a reservation are not delayed by it."""

    overtakes: bool
    """Whether a job may start at all while one before it is blocked."""
    reservations: int | None
    """How many blocked jobs hold a reservation, the first in the queue first; None means all."""
    for_anybody: bool
    """Whether `reserves_for` says yes to every job; the planner then need not ask."""

    def reserves_for(self, job: Job, context: "Context") -> bool:
        """Whether this blocked job may hold one."""
        ...


class Energy(Protocol):
    """How much is given up so that less power is drawn or paid for; the numbers are explained at the built-in modes."""

    power_cap_watts: int
    idle_after_s: int | None
    keep_idle: int
    max_delay_h: float
    min_saving_percent: float
    urgent: Priority
    margin_percent: float


class SharingPolicy(Protocol):
    """What a client's guarantee is worth; the numbers are explained at the built-in policies."""

    keeps_guarantees: bool
    reclaim: str
    reclaim_period_s: int
    half_life_h: float


class Preemption(Protocol):
    """Who may be interrupted for whom, and how victims are chosen; the numbers are explained at the built-in modes."""

    mode: PreemptionMode
    levels: float
    grace_s: int | None
    lost_weight: float
    slack_weight: float
    protect_longer_than_h: float
    most_victims: int
    deadlines: bool
    deadline_window_s: int
    cool_down_s: int


FAMILIES: dict[str, dict[str, type[Any]]] = {
    "order": {},
    "priority": {},
    "estimate": {},
    "filter": {},
    "placement": {},
    "backfill": {},
    "energy": {},
    "sharing": {},
    "preemption": {},
}
PER_CLIENT = ("priority", "estimate", "placement")
"""Families whose answer may differ from client to client; the others concern the queue as a whole."""


def register(family: str, name: str, policy: type[Any]) -> None:
    """Makes a policy available under a name; PolicyInvalid for an unknown family or a name already taken."""
    known = FAMILIES.get(family)
    if known is None:
        raise errors.PolicyInvalid(problem=f"there is no policy family {family!r}, only {', '.join(FAMILIES)}")
    if known.get(name, policy) is not policy:
        raise errors.PolicyInvalid(problem=f"{family} policy {name!r} is registered already")
    known[name] = policy


class ClientPolicies(Value, frozen=True):
    """Answers that hold for the jobs of one client instead of the farm's."""

    priority: str | None = None
    estimate: str | None = None
    placement: str | None = None
    parameters: dict[str, dict[str, Any]] = {}
    """Parameters by family, for the answers named here."""


class Policies(Value, frozen=True):
    """Which policy answers which question, with its parameters."""

    version: int = 1
    """Counts the sets adopted on a farm; the command that adopts one sets it."""
    order: str = "priority"
    placement: str = "best-fit"
    backfill: str = "greedy"
    parameters: dict[str, dict[str, Any]] = {}
    """Parameters by family, for policies that have some; those of filters by their names."""
    priority: str = "given"
    estimate: str = "requested"
    filters: tuple[str, ...] = ()
    """All that must agree to a node."""
    clients: dict[ClientId, ClientPolicies] = {}
    """What differs for some clients."""
    energy: str = "performance"
    tariff: Tariff = Tariff()
    """What energy costs, which the energy policy and the bill go by."""
    sharing: str = "none"
    preemption: str = "none"

    def policy(self, family: str) -> Any:
        """The policy of a family, made from its parameters; PolicyInvalid names what is wrong."""
        return _make(family, getattr(self, family), self.parameters.get(family, {}))

    def check(self) -> None:
        """PolicyInvalid unless every name is known and every parameter fits."""
        _check_families(self.parameters, tuple(FAMILIES))
        self.tariff.check()
        Made(self)


class Made:
    """A set of policies as objects, made once and used by many cycles."""

    __slots__ = (
        "_clients",
        "as_requested",
        "backfill",
        "energy",
        "estimate",
        "filters",
        "order",
        "placement",
        "policies",
        "preemption",
        "priority",
        "sharing",
        "static_levels",
        "uniform",
    )

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        self.order: Order = policies.policy("order")
        self.priority: PriorityRule = policies.policy("priority")
        self.estimate: Estimate = policies.policy("estimate")
        self.placement: Placement = policies.policy("placement")
        self.backfill: Backfill = policies.policy("backfill")
        self.energy: Energy = policies.policy("energy")
        self.sharing: SharingPolicy = policies.policy("sharing")
        self.preemption: Preemption = policies.policy("preemption")
        given = policies.parameters.get("filter", {})
        _check_filters(given, policies.filters)
        self.filters: tuple[Filter, ...] = tuple(
            _make("filter", name, given.get(name, {})) for name in policies.filters
        )
        self._clients = {client_id: _overrides(client_id, own) for client_id, own in policies.clients.items()}
        self.uniform = not self._clients
        """Whether all clients get the same answers."""
        self.static_levels = all(rule.static for rule in self._all("priority"))
        """Whether a job's level of priority is what a person said, for every client."""
        self.as_requested = all(estimate.as_requested for estimate in self._all("estimate"))
        """Whether every attempt is expected to run as long as was requested."""

    def _all(self, family: str) -> list[Any]:
        return [getattr(self, family), *(own[family] for own in self._clients.values() if family in own)]

    def of(self, family: str, client_id: ClientId) -> Any:
        """The answer of a family for the jobs of one client."""
        own = self._clients.get(client_id)
        return getattr(self, family) if own is None else own.get(family) or getattr(self, family)

    def name_of(self, family: str, client_id: ClientId) -> str:
        """Its name."""
        own = self.policies.clients.get(client_id)
        name = None if own is None else getattr(own, family)
        return str(getattr(self.policies, family) if name is None else name)


def _overrides(client_id: ClientId, own: ClientPolicies) -> dict[str, Any]:
    try:
        _check_families(own.parameters, PER_CLIENT)
        named = {family: getattr(own, family) for family in PER_CLIENT}
        return {family: _make(family, name, own.parameters.get(family, {})) for family, name in named.items() if name}
    except errors.PolicyInvalid as error:
        raise errors.PolicyInvalid(problem=f"client {client_id!r}: {error.fields['problem']}") from error


def _make(family: str, name: str, parameters: Mapping[str, Any]) -> Any:
    kind = FAMILIES[family].get(name)
    if kind is None:
        known = ", ".join(sorted(FAMILIES[family]))
        raise errors.PolicyInvalid(problem=f"there is no {family} policy {name!r}; known are {known}")
    fields = getattr(kind, "__struct_fields__", ())
    unknown = ", ".join(sorted(parameters.keys() - set(fields)))
    if unknown:
        having = f"it has {', '.join(fields)}" if fields else "it has none"
        raise errors.PolicyInvalid(problem=f"{family} policy {name!r} has no parameter {unknown}; {having}")
    try:
        return msgspec.convert(parameters, kind)
    except msgspec.ValidationError as error:
        raise errors.PolicyInvalid(problem=f"{family} policy {name!r}: {error}") from error


def _check_families(parameters: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = ", ".join(sorted(parameters.keys() - set(known)))
    if unknown:
        raise errors.PolicyInvalid(problem=f"there is no policy family {unknown}, only {', '.join(known)}")


def _check_filters(parameters: Mapping[str, Any], named: tuple[str, ...]) -> None:
    unused = ", ".join(sorted(parameters.keys() - set(named)))
    if unused:
        raise errors.PolicyInvalid(problem=f"filter {unused} has parameters and is not among `filters`")


def made(policies: Policies) -> Made:
    """The objects of a set; the few sets that a process deals with are kept."""
    for known in _MADE:
        if known.policies is policies:
            return known
    fresh = Made(policies)
    _MADE.append(fresh)
    del _MADE[:-_KEPT]
    return fresh


_KEPT = 16
_MADE: list[Made] = []
"""By identity, because policies hold dictionaries and cannot be hashed; each entry keeps its set alive."""


class Context:
    """What a policy may look at beside the job: the farm as it is, the time, and what other policies answer."""

    __slots__ = ("_levels", "_static", "farm", "made", "notes", "now_ms")

    def __init__(self, farm: "Farm", made: Made, now_ms: int) -> None:
        self.farm, self.made, self.now_ms = farm, made, now_ms
        self._levels: dict[str, float] = {}
        self._static: dict[Priority, float] = {}
        """By priority, where that is all a level depends on."""
        self.notes: dict[int, tuple[object, dict[Any, Any]]] = {}
        """What policies have worked out in this cycle and keep for later, by the id of whoever keeps it."""

    def level(self, job: Job) -> float:
        """How urgent a job is by the priority policy of its client; asked once per job and cycle."""
        made = self.made
        if made.uniform and made.static_levels:
            level = self._static.get(job.priority)
            if level is None:
                level = self._static[job.priority] = made.priority.level(job, self)
            return level
        level = self._levels.get(job.spec.job_id)
        if level is None:
            rule = made.of("priority", job.spec.client_id)
            level = self._levels[job.spec.job_id] = rule.level(job, self)
        return level

    def run_ms(self, job: Job) -> int | None:
        """How long an attempt of a job is expected to run, by the estimate policy of its client."""
        made = self.made
        estimate = made.estimate if made.uniform else made.of("estimate", job.spec.client_id)
        run_ms: int | None = estimate.run_ms(job, self)
        return run_ms

    def attempt_ms(self, job: Job, attempt: Attempt) -> int | None:
        """How long a live attempt is expected to run in all. Once it has outlived the estimate, the walltime holds."""
        run_ms = self.run_ms(job)
        if run_ms is None or self.now_ms - attempt.placed_ms - job.paused_ms - attempt.suspended_ms >= run_ms:
            return job.spec.walltime_ms
        return run_ms

    def waited_ms(self, job: Job) -> int:
        """How long a job has waited since its submission, a moment ago counting as none."""
        return max(0, self.now_ms - job.submitted_ms)
