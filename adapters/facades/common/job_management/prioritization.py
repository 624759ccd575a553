"""Priorities that change by themselves: with deadlines, along dependencies, with age, and for fairness."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from application.app import Application
from common.core.base import Result
from common.core.enums import JobStatus, Priority, PriorityInheritanceMode, PriorityPolicy
from common.core.exceptions import ConfigurationError
from common.core.ranks import TERMINAL, at_rank, one_down, one_up, rank_of, word_of
from common.hooks import found, guarded
from common.job_management.promotions import Promotions
from common.manager import Managed
from domain.policies import promotion

T = TypeVar("T")
Calculator = Callable[[Any, list[Any], datetime], Any]
WholePolicy = Callable[[list[Any], datetime], Mapping[str, Any] | None]
STEPS = ("deadline", "inheritance", "aging", "fairness")
_STEPS_OF: dict[PriorityPolicy, tuple[str, ...]] = {
    PriorityPolicy.STATIC: (),
    PriorityPolicy.DEADLINE: ("deadline",),
    PriorityPolicy.INHERITANCE: ("inheritance",),
    PriorityPolicy.AGING: ("aging",),
    PriorityPolicy.FAIRNESS: ("fairness",),
    PriorityPolicy.WEIGHTED: STEPS,
}
_POLICIES = {policy.value: policy for policy in PriorityPolicy}
_WAITING = (JobStatus.PENDING, JobStatus.QUEUED)


class _Kept:
    def __init__(self) -> None:
        self.effective: dict[str, Any] = {}
        self.updates: dict[str, list[tuple[datetime, Any]]] = {}
        self.promotions = Promotions()


class PriorityManager(Managed, Generic[T]):
    """Keeps priorities up to date by one of the policies, or by a function of the caller's."""

    _what = "priorities"

    def __init__(
        self,
        policy: PriorityPolicy | WholePolicy = PriorityPolicy.WEIGHTED,
        priority_inheritance_mode: PriorityInheritanceMode = PriorityInheritanceMode.PARENTS_TO_CHILDREN,
        aging_interval: timedelta = timedelta(hours=12),
        aging_factor: float = 0.1,
        deadline_safety_margin_hours: float = 2.0,
        fairness_adjustment_interval: timedelta = timedelta(hours=6),
        *,
        app: Application | None = None,
    ) -> None:
        super().__init__(app)
        self.policy: PriorityPolicy | WholePolicy = policy
        if not callable(policy):
            self.policy = found(_POLICIES, word_of(policy), "priority policy")
        self.priority_inheritance_mode = PriorityInheritanceMode(priority_inheritance_mode)
        self.aging_interval, self.aging_factor = aging_interval, aging_factor
        self.deadline_safety_margin_hours = deadline_safety_margin_hours
        self.fairness_adjustment_interval = fairness_adjustment_interval
        self._history = self._book("priority")
        kept = self._shared(self._load)
        self.effective_priorities: dict[str, Any] = kept.effective
        self.priority_updates: dict[str, list[tuple[datetime, Any]]] = kept.updates
        self._promotions = kept.promotions
        self.last_aging_adjustment = self.last_fairness_adjustment = self._desk.now()
        self.user_fairness_weights: dict[str, float] = {}
        self.project_fairness_weights: dict[str, float] = {}
        self._calculators: list[tuple[str, Calculator, str | None]] = []

    def _load(self) -> _Kept:
        kept = _Kept()
        known = {level.value: level for level in Priority}
        for job_id, values in self._history.load().items():
            if "effective" in values:
                kept.effective[job_id] = known.get(values["effective"], values["effective"])
            updates = [(datetime.fromisoformat(at), known.get(word, word)) for at, word in values.get("updates", ())]
            if updates:
                kept.updates[job_id] = updates
        return kept

    def _plain(self, job_id: str) -> Mapping[str, Any]:
        values: dict[str, Any] = {}
        if job_id in self.effective_priorities:
            values["effective"] = word_of(self.effective_priorities[job_id])
        if job_id in self.priority_updates:
            values["updates"] = [[at.isoformat(), word_of(level)] for at, level in self.priority_updates[job_id]]
        return values

    # -- one job -------------------------------------------------------------------------------------------------

    def set_priority(self, job: T, priority: Any) -> Result[bool]:
        """N2: gives a job another priority and remembers when."""
        self._set(job, priority, "")
        self._desk.done(self._history.waiting)
        return Result.ok(True)

    def _set(self, job: Any, priority: Any, why: str) -> None:
        if word_of(job.get_priority()) == word_of(priority):
            return
        self._see(job)
        job.priority = priority
        self.priority_updates.setdefault(job.id, []).append((self._desk.now(), priority))
        self._see(job, self._what, why)
        self._touch(job.id)

    def _touch(self, job_id: str) -> None:
        self._history.touch(job_id, lambda: self._plain(job_id))

    def get_effective_priority(self, job: T) -> Any:
        """N2: what it inherited, else its own."""
        entry: Any = job
        return self.effective_priorities.get(entry.id, entry.get_priority())

    def register_calculator(self, name: str, fn: Calculator, after: str | None = None) -> None:
        """N7: a calculation of the caller's, at the end or after a named step; ConfigurationError for a name twice."""
        if any(known == name for known, _, _ in self._calculators):
            raise ConfigurationError(f"calculator {name!r} is registered already")
        if after is not None and after not in STEPS:
            raise ConfigurationError(f"there is no step {after!r}; known are {', '.join(STEPS)}")
        self._calculators.append((name, fn, after))

    # -- all jobs ------------------------------------------------------------------------------------------------

    def update_priorities(self, jobs: list[T]) -> list[T]:
        """N1: everything that the policy does; the same objects in the same order."""
        for job in jobs:
            self._see(job)
        if not (callable(self.policy) and self._by_callers_policy(self.policy, jobs)):
            policy = PriorityPolicy.WEIGHTED if callable(self.policy) else self.policy
            steps = _STEPS_OF[policy]
            for step in steps:
                getattr(self, f"_by_{step}")(jobs)
                self._calculate(jobs, lambda after, step=step: after == step)  # type: ignore[misc]
            self._calculate(jobs, lambda after: after not in steps)
        self._desk.done(self._history.waiting)
        return jobs

    def _by_callers_policy(self, policy: WholePolicy, jobs: list[Any]) -> bool:
        """Whether the caller's function has replaced the built-in steps."""
        wanted = guarded("the policy of priorities", policy, jobs, self._desk.now(), instead=lambda: None)
        if wanted is None:
            return False
        name = getattr(policy, "__name__", "policy")
        for job in jobs:
            if job.id in wanted:
                self._set(job, wanted[job.id], name)
        return True

    def _calculate(self, jobs: list[Any], belongs: Callable[[str | None], bool]) -> None:
        for name, calculator, after in self._calculators:
            if not belongs(after):
                continue
            now = self._desk.now()
            for job in jobs:
                told = f"calculator {name}, asked for job {job.id},"
                priority = guarded(told, calculator, job, jobs, now, instead=lambda: None)
                if priority is not None:
                    self._set(job, priority, name)

    def _by_deadline(self, jobs: list[Any]) -> None:
        """N3."""
        now = self._desk.now()
        for job in jobs:
            if job.get_estimated_duration() is not None:
                raised = self._promotions.apply(job, now, self.deadline_safety_margin_hours)
                if raised is not None:
                    self._set(job, raised, "deadline")

    def _by_inheritance(self, jobs: list[Any]) -> None:
        """N4."""
        before = dict(self.effective_priorities)
        self.effective_priorities.clear()
        mode = self.priority_inheritance_mode
        if mode is not PriorityInheritanceMode.NONE:
            self._spread(jobs, mode)
        for job_id in sorted({*before, *self.effective_priorities}):
            self._touch(job_id)

    def _spread(self, jobs: list[Any], mode: PriorityInheritanceMode) -> None:
        """Hands ranks along all edges until nothing rises any more."""
        known = {job.id: job for job in jobs}
        ranks = {job.id: rank_of(job.get_priority()) for job in jobs}
        edges = [(before, job.id) for job in jobs for before in job.get_dependencies() if before in known]
        down = mode is not PriorityInheritanceMode.CHILDREN_TO_PARENTS
        up = mode is not PriorityInheritanceMode.PARENTS_TO_CHILDREN
        givers = [*(edges if down else ()), *([(after, before) for before, after in edges] if up else ())]
        receivers = {job.id for job in jobs if word_of(job.get_status()) not in TERMINAL}
        rising = True
        while rising:
            rising = False
            for giver, receiver in givers:
                if receiver in receivers and ranks[giver] > ranks[receiver]:
                    ranks[receiver], rising = ranks[giver], True
        for job in jobs:
            if ranks[job.id] > rank_of(job.get_priority()):
                self.effective_priorities[job.id] = at_rank(job.get_priority(), ranks[job.id])

    def _by_aging(self, jobs: list[Any]) -> None:
        """N5."""
        now = self._desk.now()
        if now - self.last_aging_adjustment < self.aging_interval:
            return
        self.last_aging_adjustment = now
        for job in jobs:
            if job.get_status() not in _WAITING or rank_of(job.get_priority()) == 4:
                continue
            updates = self.priority_updates.get(job.id)
            if updates and now - updates[-1][0] < self.aging_interval:
                continue
            periods = (now - job.get_submission_time()) / self.aging_interval
            if promotion.aged(periods, self.aging_factor):
                self._set(job, one_up(job.get_priority()), "aging")

    def _by_fairness(self, jobs: list[Any]) -> None:
        """N6."""
        now = self._desk.now()
        if now - self.last_fairness_adjustment < self.fairness_adjustment_interval:
            return
        self.last_fairness_adjustment = now
        waiting = [job for job in jobs if job.get_status() in _WAITING]
        if len(waiting) < 2:
            return
        owners = promotion.shares(job.get_owner() for job in waiting)
        projects = promotion.shares(job.get_project() for job in waiting)
        for job in waiting:
            owner, project = job.get_owner(), job.get_project()
            much = promotion.takes_too_much(owners[owner], self.user_fairness_weights.get(owner, 1.0))
            much = much or promotion.takes_too_much(projects[project], self.project_fairness_weights.get(project, 1.0))
            if much and rank_of(job.get_priority()) < 4:
                self._set(job, one_down(job.get_priority()), "fairness")


__all__ = ["PriorityInheritanceMode", "PriorityManager", "PriorityPolicy"]
