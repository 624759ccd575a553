"""Orders: who is looked at first, the lowest key. Ties are broken by submit time, then id, by the planner.

Scores are computed in floating point exactly as written at each rule, left to right, from seconds and processors, so
that schedules agree with those of other simulators to the last job. An order by run time puts jobs whose run time
nobody knows last, among themselves by submit time. `moves` says whether keys change while time passes and nothing else
happens (whatever the level of priority does).
"""

import math
from collections.abc import Callable
from typing import Annotated, TypeAlias

import msgspec

from domain.job.values import Job
from domain.messages import Value
from domain.policies import Context, OrderKey, register
from domain.policies.fairshare import factor_of, remembers
from domain.policies.priority import DAY_MS, PositiveMs, balance_of, farm_millicores, urgency_of
from domain.resources import Requirement

LAST: OrderKey = (math.inf,)
"""After every other key."""
Processors: TypeAlias = int | float
Weight = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class Fifo(Value, frozen=True):
    """First come, first served: submit time alone."""

    monotone = True
    same_in_segment = True
    moves = False

    def key(self, job: Job, context: Context) -> OrderKey:
        """All alike; submit time decides."""
        return ()


class ByPriority(Value, frozen=True):
    """The level that the priority policy gives, then submit time. The plain queue of render farms."""

    monotone = True
    same_in_segment = True
    moves = False

    def key(self, job: Job, context: Context) -> OrderKey:
        """The most urgent first."""
        return (-context.level(job),)


class EarliestDeadline(Value, frozen=True):
    """Earliest deadline first (Jackson 1955); jobs without one last."""

    monotone = False
    moves = False

    def key(self, job: Job, context: Context) -> OrderKey:
        """The deadline."""
        return LAST if job.deadline_ms is None else (job.deadline_ms,)


class LeastSlack(Value, frozen=True):
    """Least slack first: deadline - now - run time (least laxity, Mok 1983); jobs without a deadline last.

    A run time that nobody knows counts as none. As `now` is the same for all, the key leaves it out: the latest start.
    """

    monotone = False
    moves = False

    def key(self, job: Job, context: Context) -> OrderKey:
        """When the job must start to be on time."""
        return LAST if job.deadline_ms is None else (job.deadline_ms - (context.run_ms(job) or 0),)


class ShortestFirst(Value, frozen=True):
    """Shortest requested time first (Smith 1956)."""

    monotone = False
    moves = False

    def key(self, job: Job, context: Context) -> OrderKey:
        """The run time."""
        run_ms = context.run_ms(job)
        return LAST if run_ms is None else (run_ms,)


class SmallestAreaFirst(Value, frozen=True):
    """Smallest requested time × processors first (Carastan-Santos, de Camargo, Trystram & Zrigui, CCGrid 2019)."""

    monotone = False
    moves = False

    def key(self, job: Job, context: Context) -> OrderKey:
        """The area."""
        run_ms = context.run_ms(job)
        return LAST if run_ms is None else (area(run_ms, processors(job.spec.requirement)),)


class Wfp3(Value, frozen=True):
    """Long waits in proportion to the run time first, large jobs more so (WFP3, Tang et al., CLUSTER 2009)."""

    monotone = False
    moves = True

    def key(self, job: Job, context: Context) -> OrderKey:
        """The score at this moment."""
        return _by_wait(wfp3, job, context)


class Unicep(Value, frozen=True):
    """Long waits in proportion to the run time first, small jobs more so (UNICEF, Tang et al., CLUSTER 2009)."""

    monotone = False
    moves = True

    def key(self, job: Job, context: Context) -> OrderKey:
        """The score at this moment."""
        return _by_wait(unicep, job, context)


class F1(Value, frozen=True):
    """The first of four scores fitted to simulations (Carastan-Santos & de Camargo, SC'17)."""

    monotone = False
    moves = False
    origin_ms: int = 0
    """When the clock started on which submit times are read, in milliseconds since 1970."""

    def key(self, job: Job, context: Context) -> OrderKey:
        """The score."""
        return _by_submit(f1, job, context, self.origin_ms)


class F2(Value, frozen=True):
    """The second of four scores fitted to simulations (Carastan-Santos & de Camargo, SC'17)."""

    monotone = False
    moves = False
    origin_ms: int = 0
    """When the clock started on which submit times are read, in milliseconds since 1970."""

    def key(self, job: Job, context: Context) -> OrderKey:
        """The score."""
        return _by_submit(f2, job, context, self.origin_ms)


class F3(Value, frozen=True):
    """The third of four scores fitted to simulations (Carastan-Santos & de Camargo, SC'17)."""

    monotone = False
    moves = False
    origin_ms: int = 0
    """When the clock started on which submit times are read, in milliseconds since 1970."""

    def key(self, job: Job, context: Context) -> OrderKey:
        """The score."""
        return _by_submit(f3, job, context, self.origin_ms)


class F4(Value, frozen=True):
    """The last of four scores fitted to simulations (Carastan-Santos & de Camargo, SC'17)."""

    monotone = False
    moves = False
    origin_ms: int = 0
    """When the clock started on which submit times are read, in milliseconds since 1970."""

    def key(self, job: Job, context: Context) -> OrderKey:
        """The score."""
        return _by_submit(f4, job, context, self.origin_ms)


class Multifactor(Value, frozen=True):
    """The largest weighted sum of five factors first, each of them 0..1 (as in Slurm's plugin priority/multifactor).

    With the default weights one step of priority counts as much as the whole of any other factor. A weight of 0 leaves
    a factor out.
    """

    moves = True
    age: Weight = 1.0
    """For the time waited, in parts of `max_age_ms`."""
    size: Weight = 1.0
    """For the processors of one task, in parts of the farm's: large jobs are hard to place, so they go first."""
    fair_share: Weight = 1.0
    """For how its client is served: 1 with nothing of its guarantee, 1/2 with just that, 0 with the whole farm.

    Where the sharing policy keeps guarantees: by what it used lately, 2^(-used / share) as in Slurm's classic rule.
    """
    priority: Weight = 3.0
    """For the level of priority: low 0, medium 1/3, high 2/3, critical 1."""
    deadline: Weight = 1.0
    """For the slack until the deadline: 1 with none, 0 with `horizon_ms` or more or without a deadline."""
    max_age_ms: PositiveMs = 7 * DAY_MS
    horizon_ms: PositiveMs = DAY_MS
    favor_small: bool = False
    """Whether small jobs go before large ones: 1 less the size."""

    @property
    def monotone(self) -> bool:
        """Deadlines alone could put a later job before an earlier one that is otherwise alike."""
        return not self.deadline

    def key(self, job: Job, context: Context) -> OrderKey:
        """The sum, negative because the largest goes first."""
        total = self.age * min(1.0, context.waited_ms(job) / self.max_age_ms)
        if self.size:
            total += self.size * self._size(job, context)
        if self.fair_share:
            total += self.fair_share * self._fair_share(job, context)
        total += self.priority * min(1.0, max(0.0, context.level(job) / 3))
        if self.deadline:
            total += self.deadline * urgency_of(job, context, self.horizon_ms)
        return (-total,)

    def _fair_share(self, job: Job, context: Context) -> float:
        """By what was used lately, where the sharing policy remembers that, else by what is used now."""
        if remembers(context):
            return factor_of(job.spec.client_id, context)
        return (1 + balance_of(job.spec.client_id, context)) / 2

    def _size(self, job: Job, context: Context) -> float:
        share = size_share(processors(job.spec.requirement), farm_millicores(context) / 1000)
        return 1 - share if self.favor_small else share


# -- the rules themselves: w waited, r requested and s submitted in seconds, n processors ------------------------------


def area(requested_ms: int, processors: Processors) -> float:
    """Requested time × processors."""
    return requested_ms * processors


def wfp3(wait_s: float, requested_s: float, processors: Processors) -> float:
    """-(w / r)³ · n."""
    return -((wait_s / requested_s) ** 3) * processors


def unicep(wait_s: float, requested_s: float, processors: Processors) -> float:
    """-w / (max(log₂ n, 10⁻⁹) · r)."""
    return -wait_s / (max(_log2(processors), 1e-9) * requested_s)


def f1(requested_s: float, processors: Processors, submit_s: float) -> float:
    """log₁₀(r) · n + 870 · log₁₀(s)."""
    return _log10(requested_s) * processors + 870 * _log10(submit_s)


def f2(requested_s: float, processors: Processors, submit_s: float) -> float:
    """√r · n + 25,600 · log₁₀(s)."""
    return math.sqrt(requested_s) * processors + 25600 * _log10(submit_s)


def f3(requested_s: float, processors: Processors, submit_s: float) -> float:
    """r · n + 6,860,000 · log₁₀(s)."""
    return requested_s * processors + 6860000 * _log10(submit_s)


def f4(requested_s: float, processors: Processors, submit_s: float) -> float:
    """r · √n + 530,000 · log₁₀(s)."""
    return requested_s * math.sqrt(processors) + 530000 * _log10(submit_s)


def size_share(need: Processors, have: Processors) -> float:
    """The part of the farm's processors that one task needs, at most 1."""
    return need / max(need, have)


def processors(requirement: Requirement) -> Processors:
    """The processors of one task over all its slots: whole where possible; a task that asks for none counts as one."""
    millicores = requirement.resources.millicores * requirement.slots
    if millicores % 1000:
        return millicores / 1000
    return millicores // 1000 or 1


def _log10(value: float) -> float:
    """The decimal logarithm; values that have none count as 0.1."""
    return math.log10(value if value > 0 else 0.1)


def _log2(value: float) -> float:
    """The binary logarithm; values that have none count as 0.1."""
    return math.log2(value if value > 0 else 0.1)


def _by_wait(rule: Callable[[float, float, Processors], float], job: Job, context: Context) -> OrderKey:
    run_ms = context.run_ms(job)
    if run_ms is None:
        return LAST
    return (rule(context.waited_ms(job) / 1000, _seconds(run_ms), processors(job.spec.requirement)),)


def _by_submit(
    rule: Callable[[float, Processors, float], float], job: Job, context: Context, origin_ms: int
) -> OrderKey:
    run_ms = context.run_ms(job)
    if run_ms is None:
        return LAST
    submit_s = (job.submitted_ms - origin_ms) / 1000
    return (rule(_seconds(run_ms), processors(job.spec.requirement), submit_s),)


def _seconds(run_ms: int) -> float:
    """An attempt that is expected to take no time at all takes a millisecond, so that it can divide."""
    return max(1, run_ms) / 1000


register("order", "fifo", Fifo)
register("order", "fcfs", Fifo)
register("order", "priority", ByPriority)
register("order", "edf", EarliestDeadline)
register("order", "slack", LeastSlack)
register("order", "sjf", ShortestFirst)
register("order", "saf", SmallestAreaFirst)
register("order", "wfp3", Wfp3)
register("order", "unicep", Unicep)
register("order", "unicef", Unicep)
register("order", "f1", F1)
register("order", "f2", F2)
register("order", "f3", F3)
register("order", "f4", F4)
register("order", "multifactor", Multifactor)
