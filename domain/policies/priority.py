"""Priorities: how urgent a job is by now, from what a person said and what time and the farm make of it.

Levels are in ranks: low is 0, medium 1, high 2, critical 3, and a boost of 1 lifts a job to where the next priority
begins. Every rule starts from what a person said, so a boost of 0 leaves everything as it was.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from domain.job.values import PRIORITY_RANK, Job
from domain.messages import ClientId, JobId, Value
from domain.policies import Context, Policies, PriorityRule, register

if TYPE_CHECKING:
    from domain.farm import Farm

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

Ranks = Annotated[float, msgspec.Meta(ge=0, le=1_000)]
PositiveMs = Annotated[int, msgspec.Meta(ge=1)]


class Given(Value, frozen=True):
    """What a person said: low 0, medium 1, high 2, critical 3."""

    static = True

    def level(self, job: Job, context: Context) -> float:
        """The rank of the job's priority."""
        return PRIORITY_RANK[job.priority]


class Ageing(Value, frozen=True):
    """The longer a job waits, the higher it rises, so that none starves: the usual cure since time-sharing systems."""

    static = False
    ranks_per_hour: Ranks = 0.125
    most_ranks: Ranks = 2.0
    """A job rises no further; with the defaults after 16 hours."""

    def level(self, job: Job, context: Context) -> float:
        """What a person said, and its age."""
        return PRIORITY_RANK[job.priority] + aged(context.waited_ms(job), self.ranks_per_hour, self.most_ranks)


class Urgent(Value, frozen=True):
    """The less time is left until a job must start to be on time, the higher it rises (least laxity, Mok 1983)."""

    static = False
    ranks: Ranks = 2.0
    """How far a job rises that must start at once or is late already."""
    horizon_ms: PositiveMs = DAY_MS
    """With so much slack or more a job does not rise at all."""

    def level(self, job: Job, context: Context) -> float:
        """What a person said, and its urgency."""
        return PRIORITY_RANK[job.priority] + self.ranks * urgency_of(job, context, self.horizon_ms)


class Fair(Value, frozen=True):
    """Jobs of a client below its guaranteed share rise, those of one above it fall (fair share, Kay & Lauder 1988)."""

    static = False
    ranks: Ranks = 1.0
    """How far jobs rise while their client has nothing of its guarantee, and fall while it has the whole farm."""

    def level(self, job: Job, context: Context) -> float:
        """What a person said, and how its client is served."""
        return PRIORITY_RANK[job.priority] + self.ranks * balance_of(job.spec.client_id, context)


class Inherited(Value, frozen=True, dict=True, gc=True):
    """A job is as urgent as the most urgent job that waits for it, over any number of dependencies.

    After priority inheritance (Sha, Rajkumar & Lehoczky 1990): who holds up an urgent one is urgent. Jobs of other
    clients that wait count by the same base rule.
    """

    static = False
    base: str = "given"
    """The rule that says how urgent each job is by itself."""
    base_parameters: dict[str, Any] = {}
    """Its parameters."""

    def __post_init__(self) -> None:
        """PolicyInvalid for a base rule that cannot be so."""
        _ = self._rule

    @cached_property
    def _rule(self) -> PriorityRule:
        rule: PriorityRule = Policies(priority=self.base, parameters={"priority": self.base_parameters}).policy(
            "priority"
        )
        return rule

    def level(self, job: Job, context: Context) -> float:
        """The highest level of the job itself and of all that wait for it."""
        rule = self._rule
        return inherited(job, context.farm, lambda each: rule.level(each, context), notes_of(context, self))


class Combined(Value, frozen=True):
    """What a person said, age, urgency and fairness added up, and handed on to those that hold the job up."""

    static = False
    ageing_ranks_per_hour: Ranks = 0.125
    ageing_most_ranks: Ranks = 2.0
    urgency_ranks: Ranks = 2.0
    urgency_horizon_ms: PositiveMs = DAY_MS
    fairness_ranks: Ranks = 1.0
    inheritance: bool = True
    """Whether a job is as urgent as the most urgent one that waits for it."""

    def level(self, job: Job, context: Context) -> float:
        """The sum; with inheritance the highest one of the job itself and of all that wait for it."""
        if not self.inheritance:
            return self._sum(job, context)
        return inherited(job, context.farm, lambda each: self._sum(each, context), notes_of(context, self))

    def _sum(self, job: Job, context: Context) -> float:
        level: float = PRIORITY_RANK[job.priority]
        level += aged(context.waited_ms(job), self.ageing_ranks_per_hour, self.ageing_most_ranks)
        level += self.urgency_ranks * urgency_of(job, context, self.urgency_horizon_ms)
        return level + self.fairness_ranks * balance_of(job.spec.client_id, context)


# -- the rules themselves --------------------------------------------------------------------------------------------


def aged(waited_ms: int, ranks_per_hour: float, most_ranks: float) -> float:
    """So many ranks per hour waited, up to a bound."""
    return min(most_ranks, waited_ms / HOUR_MS * ranks_per_hour)


def urgency(slack_ms: int, horizon_ms: int) -> float:
    """1 for a job without slack, falling evenly to 0 for one with the slack of the horizon or more."""
    return min(1.0, max(0.0, 1 - slack_ms / horizon_ms))


def urgency_of(job: Job, context: Context, horizon_ms: int) -> float:
    """The urgency of a job; 0 without a deadline. A run time that nobody knows counts as none."""
    if job.deadline_ms is None:
        return 0.0
    return urgency(job.deadline_ms - context.now_ms - (context.run_ms(job) or 0), horizon_ms)


def balance(used: float, guaranteed: float) -> float:
    """How a client is served, -1..1, from two shares of the farm: 0 with just what it is guaranteed.

    Below that, the part of the guarantee that it does not have; above, less than 0, the part of the rest of the farm
    that it has.
    """
    if used < guaranteed:
        return (guaranteed - used) / guaranteed
    if guaranteed >= 1:
        return 0.0
    return max(-1.0, -(used - guaranteed) / (1 - guaranteed))


def balance_of(client_id: ClientId, context: Context) -> float:
    """How a client is served by now, in processors; starts that this cycle has decided are not counted yet."""
    notes = notes_of(context, balance_of)
    known: float | None = notes.get(client_id)
    if known is None:
        client, use = context.farm.clients.get(client_id), context.farm.use.get(client_id)
        capacity = farm_millicores(context)
        used = use.millicores / capacity if use is not None and capacity else 0.0
        guaranteed = 0.0 if client is None else client.shares.guarantee_percent / 100
        known = notes[client_id] = balance(used, guaranteed)
    return known


def inherited(job: Job, farm: "Farm", own: Callable[[Job], float], known: dict[JobId, float]) -> float:
    """The highest level of a job and of all that wait for it, over any number of steps.

    `own` says how urgent a job is by itself; `known` keeps what was worked out, so that a cycle looks at every edge
    once. The graph has no circles; chains may be of any length.
    """
    path = [job]
    while path:
        current = path[-1]
        job_id = current.spec.job_id
        waiting = _waiting_for(job_id, farm) if job_id not in known else []
        unknown = [each for each in waiting if each.spec.job_id not in known]
        if unknown:
            path += unknown
            continue
        if job_id not in known:
            known[job_id] = max([own(current), *(known[each.spec.job_id] for each in waiting)])
        path.pop()
    return known[job.spec.job_id]


def _waiting_for(job_id: JobId, farm: "Farm") -> list[Job]:
    """The jobs that cannot start because of this one."""
    if job_id not in farm.outgoing:
        return []
    jobs = [farm.jobs.get(edge.successor_id) for edge in farm.edges_from(job_id) if edge.blocks]
    return [job for job in jobs if job is not None and job.ended is None]


# -- what is worked out once per cycle -------------------------------------------------------------------------------


def farm_millicores(context: Context) -> int:
    """The processors of the farm, of which shares are a part; summed up once per cycle."""
    notes = notes_of(context, farm_millicores)
    if "all" not in notes:
        nodes = context.farm.nodes.values()
        notes["all"] = sum(node.capacity.millicores for node in nodes if not node.retired)
    total: int = notes["all"]
    return total


def notes_of(context: Context, owner: object) -> dict[Any, Any]:
    """Where a rule keeps what it has worked out within one cycle."""
    kept = context.notes.get(id(owner))
    if kept is None:
        kept = context.notes[id(owner)] = (owner, {})  # with the owner in it, no other object can get its id
    return kept[1]


register("priority", "given", Given)
register("priority", "ageing", Ageing)
register("priority", "urgent", Urgent)
register("priority", "fair", Fair)
register("priority", "inherited", Inherited)
register("priority", "combined", Combined)
