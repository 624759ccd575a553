"""Which waiting job goes to which node, and which running one gives way."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Generic, TypeVar

from application.app import Application
from common.core.enums import JobStatus, NodeStatus, PreemptionTrigger, Priority, QueuePolicy
from common.core.interfaces import SchedulerInterface
from common.core.needs import Amounts, summed
from common.core.ranks import TERMINAL, at_rank, rank_of, word_of
from common.job_management.promotions import Promotions, hours_left, hours_needed
from common.job_management.queue import JobQueue
from common.job_management.strategies import SchedulingStrategy, asked, core_policies, name_of, planned_by_core
from common.manager import Managed
from domain.policies import displacement, promotion

T = TypeVar("T")
N = TypeVar("N")
_WAITING = (JobStatus.PENDING, JobStatus.QUEUED)


class _Kept:
    def __init__(self) -> None:
        self.effective: dict[str, Any] = {}
        self.promotions = Promotions()


class JobScheduler(Managed, SchedulerInterface, Generic[T, N]):
    """Plans one job for each free node; who starts and stops jobs by the plan is the caller."""

    _what = "scheduler"

    def __init__(
        self,
        queue: JobQueue[Any] | None = None,
        deadline_safety_margin_hours: float = 2.0,
        enable_preemption: bool = True,
        *,
        strategy: Any = None,
        app: Application | None = None,
    ) -> None:
        super().__init__(queue._desk if app is None and isinstance(queue, JobQueue) else app)
        self.queue: JobQueue[Any] = queue or JobQueue(policy=QueuePolicy.WEIGHTED, app=self._desk)  # type: ignore[arg-type]
        self.deadline_safety_margin_hours = deadline_safety_margin_hours
        self.enable_preemption = enable_preemption
        self.strategy = strategy
        self._core = core_policies(strategy) if isinstance(strategy, str) else None
        self._plans, self._inherited = self._book("plan"), self._book("inherited")
        kept = self._shared(self._load)
        self._effective_priorities: dict[str, Any] = kept.effective
        self._promotions = kept.promotions

    def _load(self) -> _Kept:
        kept = _Kept()
        known = {level.value: level for level in Priority}
        for word in self._inherited.load().get("main", {}).items():
            kept.effective[word[0]] = known.get(word[1], word[1])
        return kept

    # -- priorities ----------------------------------------------------------------------------------------------

    def update_priorities(self, jobs: list[T]) -> list[T]:
        """H2: raises what a deadline presses, and notes what a job inherits from those that it waits for."""
        self._see_all(jobs, [])
        now = self._desk.now()
        for job in jobs:
            raised = self._promotions.apply(job, now, self.deadline_safety_margin_hours)
            if raised is not None:
                entry: Any = job
                entry.priority = raised
                self._see(entry, self._what, "deadline")
        self._inherit(jobs)
        self._desk.done()
        return jobs

    def _inherit(self, jobs: list[Any]) -> None:
        known = {job.id: job for job in jobs}
        for job in jobs:
            if word_of(job.get_status()) in TERMINAL:
                continue
            before = [rank_of(known[each].get_priority()) for each in job.get_dependencies() if each in known]
            rank = promotion.inherited(before, rank_of(job.get_priority()))
            if rank is not None:
                self._effective_priorities[job.id] = at_rank(job.get_priority(), rank)
        effective = self._effective_priorities
        self._inherited.touch("main", lambda: {job_id: word_of(level) for job_id, level in effective.items()})

    def _rank(self, job: Any) -> int:
        """How urgent a job is with what it inherited."""
        own = rank_of(job.get_priority())
        return max(own, rank_of(self._effective_priorities.get(job.id, job.get_priority())))

    # -- planning ------------------------------------------------------------------------------------------------

    def schedule_jobs(self, jobs: list[T], nodes: list[N]) -> dict[str, str]:
        """H3 and H4: job id to node id for those that shall start now; a busy node means that its job gives way."""
        self._see_all(jobs, nodes)
        self.update_priorities(jobs)
        plan = self._planned(jobs, nodes)
        if plan:
            self._plans.note("main", plan, why=name_of(self.strategy))
        self._desk.done()
        return plan

    def _planned(self, jobs: list[Any], nodes: list[Any]) -> dict[str, str]:
        now = self._desk.now()
        eligible = self._eligible(jobs)
        if self._core is not None:
            words = {job.id: at_rank(Priority.LOW, max(1, self._rank(job))) for job in jobs}
            now_ms = self._desk.now_ms()
            return planned_by_core(self._core, eligible, jobs, nodes, lambda job: words[job.id], now_ms)
        in_turn = nodes if hasattr(self.strategy, "choose_node") else _most_efficient_first(nodes)
        free = {node.id: node for node in in_turn if _is_free(node)}
        running = {job.id: job for job in jobs if job.get_status() is JobStatus.RUNNING}
        occupied = self._occupied(nodes, running) if self.enable_preemption else []
        taken: set[str] = set()
        plan: dict[str, str] = {}
        for job in asked(self.strategy, "order", self._in_order, eligible, now):
            if len(taken) == len(nodes):
                break
            node = self._free_node(job, list(free.values()))
            if node is None and occupied:
                node = self._busy_node(job, [each for each in occupied if each[0].id not in taken])
            if node is not None:
                taken.add(node.id)
                free.pop(node.id, None)
                plan[job.id] = node.id
        return plan

    def _eligible(self, jobs: list[Any]) -> list[Any]:
        """H1: the jobs that wait for nothing but a node."""
        known = {job.id: (word_of(job.get_status()), job.get_progress()) for job in jobs}
        return [
            job
            for job in jobs
            if job.get_status() in _WAITING and promotion.is_ready(known.get(each) for each in job.get_dependencies())
        ]

    def _in_order(self, jobs: list[Any], now: datetime) -> list[Any]:
        """H3: by effective rank, deadline, submission, id."""
        last = datetime.max
        return sorted(
            jobs, key=lambda job: (-self._rank(job), job.get_deadline() or last, job.get_submission_time(), job.id)
        )

    def _free_node(self, job: Any, free: list[Any]) -> Any | None:
        """H6 among free nodes, the most efficient first, unless the strategy chooses."""
        if not hasattr(self.strategy, "choose_node"):
            requirements = job.get_requirements()
            return next((node for node in free if node.can_accommodate(requirements)), None)
        suitable = self._suitable(job, free)
        if not suitable:
            return None
        return asked(self.strategy, "choose_node", lambda job, nodes: _most_efficient_first(nodes)[0], job, suitable)

    def _suitable(self, job: Any, nodes: list[Any]) -> list[Any]:
        requirements = job.get_requirements()
        return [node for node in nodes if node.can_accommodate(requirements)]

    # -- preemption ----------------------------------------------------------------------------------------------

    def _occupied(self, nodes: list[Any], running: dict[str, Any]) -> list[tuple[Any, list[Any]]]:
        """The nodes that are online and hold running jobs of the list, with these."""
        online = [node for node in nodes if node.get_status() is NodeStatus.ONLINE]
        found = [(node, [running[each] for each in node.get_assigned_jobs() if each in running]) for node in online]
        return [(node, victims) for node, victims in found if victims]

    def _busy_node(self, job: Any, occupied: list[tuple[Any, list[Any]]]) -> Any | None:
        """H4: a node on which a running job gives way, and where this one fits then."""
        where = {victim.id: (victim, node) for victim, node in self._candidates(job, occupied)}
        if not where:
            return None
        candidates = [victim for victim, _ in where.values()]
        victim = asked(self.strategy, "choose_victim", lambda pending, found: found[0], job, candidates)
        return None if victim is None else where[victim.id][1]

    def _candidates(self, job: Any, occupied: list[tuple[Any, list[Any]]]) -> Iterator[tuple[Any, Any]]:
        """Who would give way to a job, and where: the first is enough unless a strategy chooses."""
        needs = summed(job.get_requirements())
        for node, victims in occupied:
            for victim in victims:
                if self.should_preempt(victim, job) and _covers(_without(node, victim), needs):
                    yield victim, node
                    if not hasattr(self.strategy, "choose_victim"):
                        return

    def should_preempt(self, running_job: T, pending_job: T) -> bool:
        """H5: whether the running job shall give way to the pending one."""
        running: Any = running_job
        pending: Any = pending_job
        if not running.is_preemptible():
            return False
        trigger, runtime, now = PreemptionTrigger.HIGHER_PRIORITY, running.get_duration(), self._desk.now()
        if not self.queue.preemption_policy.can_preempt(running, trigger, runtime, now)[0]:
            return False
        critical = rank_of(pending.get_priority()) == 4 and rank_of(running.get_priority()) < 4
        return critical or self._rank(pending) > rank_of(running.get_priority())

    def can_meet_deadline(self, job: T, available_nodes: list[N]) -> bool:
        """H7: whether a job can end in time on one of these nodes."""
        entry: Any = job
        if entry.get_deadline() is None or entry.get_estimated_duration() is None:
            return True
        left = hours_left(entry, self._desk.now())
        if displacement.is_late(hours_needed(entry), left, self.deadline_safety_margin_hours):
            return False
        return bool(self._suitable(entry, available_nodes))


def _is_free(node: Any) -> bool:
    return node.get_status() is NodeStatus.ONLINE and not node.get_assigned_jobs()


def _most_efficient_first(nodes: list[Any]) -> list[Any]:
    """H6: by efficiency where nodes have one, else as given."""
    ratings = {node.id: node.get_efficiency() for node in nodes}
    return sorted(nodes, key=lambda node: float("inf") if ratings[node.id] is None else -ratings[node.id])


def _without(node: Any, victim: Any) -> Amounts:
    """What a node would have free without one of its jobs."""
    capacity = node.get_capacity()
    if node.get_assigned_jobs() == [victim.id]:
        return dict(capacity)
    free, freed = node.get_available_resources(), summed(victim.get_requirements())
    return {kind: min(amount, free.get(kind, 0.0) + freed.get(kind, 0.0)) for kind, amount in capacity.items()}


def _covers(available: Amounts, needs: Amounts) -> bool:
    return all(amount <= available.get(kind, 0.0) for kind, amount in needs.items())


__all__ = ["JobScheduler", "SchedulingStrategy"]
