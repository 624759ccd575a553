"""Jobs that wait, in the order of a policy."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from adapters.facades.bridge.outlook import foreseen_wait
from application.app import Application
from common.core.base import Result
from common.core.enums import (
    FairnessMetric,
    JobStatus,
    PreemptionAction,
    PreemptionTrigger,
    QueuePolicy,
)
from common.core.ranks import one_down, one_up, rank_of, status_of, word_of, write_status
from common.job_management.fairness import Started, usage
from common.job_management.preemption import PreemptionPolicy
from common.job_management.queuebook import QueueState, plain_entry, plain_queue, read_queue
from common.job_management.queued import QueuedJob
from common.job_management.stats import QueueStats
from common.manager import Managed, coded
from domain.policies import promotion

T = TypeVar("T")
PLACE_IN_LINE = timedelta(minutes=30)
FACTORS = {"critical": 0.2, "high": 0.5, "medium": 1.0, "low": 2.0, "background": 4.0}


class JobQueue(Managed, Generic[T]):
    """A queue of jobs; the objects are the caller's own."""

    _what = "queue"

    def __init__(
        self,
        policy: QueuePolicy = QueuePolicy.WEIGHTED,
        preemption_policy: PreemptionPolicy | None = None,
        *,
        app: Application | None = None,
    ) -> None:
        super().__init__(app)
        self.policy = QueuePolicy(policy)
        self.preemption_policy = preemption_policy or PreemptionPolicy()
        self._entries, self._main = self._book("queued"), self._book("queue")
        state = self._shared(self._load)
        self.queue: list[QueuedJob] = state.queue
        self.job_map: dict[str, QueuedJob] = state.job_map
        self.stats: QueueStats = state.stats
        self._started: dict[str, Started] = state.started
        self.priority_aging_factor = 0.1
        self.aging_interval = timedelta(hours=12)
        self.user_fairness_weights: dict[str, float] = {}
        self.project_fairness_weights: dict[str, float] = {}
        self.fairness_metric = FairnessMetric.WEIGHTED
        self.last_fairness_adjustment: datetime = state.last_fairness or self._desk.now()
        self.fairness_adjustment_interval = timedelta(hours=6)

    def _load(self) -> QueueState:
        state = QueueState()
        log = None if self._desk.is_new else self._desk.app.log
        read_queue(state, self._entries.load(), self._main.load(), log)
        state.stats.clock = self._desk.now
        for queued in state.queue:
            queued.clock = self._desk.now
        return state

    # -- what is recorded ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Takes in what callers have changed about jobs that wait."""
        for queued in self.queue:
            if queued.look():
                self._entries.touch(queued.job.id, partial(plain_entry, queued))
            self._see(queued.job)
        self._desk.done(self._entries.waiting)

    def _changed(self, job_id: str, state: str = "") -> None:
        """A job came, went (into `state`), or has another priority."""
        queued = self.job_map.get(job_id)
        if state:
            self._entries.note(job_id, {"state": state})
        elif queued is not None:
            self._entries.touch(job_id, partial(plain_entry, queued))
        self._main.touch("main", self._plain)
        self._desk.done(self._entries.waiting)

    def _plain(self) -> Mapping[str, Any]:
        return plain_queue(self.stats, self.last_fairness_adjustment, self._started)

    # -- coming and going ----------------------------------------------------------------------------------------

    def enqueue(self, job: T) -> Result[bool]:
        """Q2: a job waits from now on."""
        entry: Any = job
        if entry.id in self.job_map:
            return Result.err(f"job {entry.id!r} is already in the queue")
        self._see(entry)
        write_status(entry, JobStatus.QUEUED)
        self._see(entry, self._what)
        queued = QueuedJob(entry, self._desk.now())
        queued.clock = self._desk.now
        self.queue.append(queued)
        self.job_map[entry.id] = queued
        self.stats.update_on_submit(entry)
        queued.place = self.stats.total_jobs_submitted
        self._changed(entry.id)
        return Result.ok(True)

    def dequeue(self) -> T | None:
        """Q3: the first job in order, which runs from now on; None if nothing waits."""
        queued = self._first()
        if queued is None:
            return None
        write_status(queued.job, JobStatus.RUNNING)
        self._start(queued)
        job: T = queued.job
        return job

    def peek(self) -> T | None:
        """Q3: the first job in order; None if nothing waits."""
        queued = self._first()
        return None if queued is None else queued.job

    def _start(self, queued: QueuedJob) -> None:
        self._take_out(queued)
        self._started[queued.job.id] = Started(queued.job, self._desk.now())
        self.stats.update_on_start(queued.job, queued.submit_time)
        self._see(queued.job, self._what)
        self._changed(queued.job.id, "started")

    def _take_out(self, queued: QueuedJob) -> None:
        self.queue.remove(queued)
        del self.job_map[queued.job.id]

    def remove(self, job_id: str) -> Result[bool]:
        """Q4: a job waits no longer and counts as cancelled; its own status stays."""
        queued = self.job_map.get(job_id)
        if queued is None:
            return self._absent(job_id)
        self._take_out(queued)
        self.stats.update_on_cancel(queued.job)
        self._changed(job_id, "cancelled")
        return Result.ok(True)

    def update_job_status(self, job_id: str, status: JobStatus) -> Result[bool]:
        """Q4: a waiting job has another status; one that runs or has ended leaves the queue."""
        queued = self.job_map.get(job_id)
        if queued is None:
            return self._absent(job_id)
        self._see(queued.job)
        queued.job.status = status
        word = status_of(status)
        if word is JobStatus.RUNNING:
            self._start(queued)
        elif word in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED):
            self._end(queued, word)
        else:
            self._see(queued.job, self._what)
            self._changed(job_id)
        return Result.ok(True)

    def _end(self, queued: QueuedJob, status: JobStatus) -> None:
        self._take_out(queued)
        if status is JobStatus.COMPLETED:
            self.stats.update_on_complete(queued.job)
        elif status is JobStatus.FAILED:
            self.stats.update_on_fail(queued.job)
        else:
            self.stats.update_on_cancel(queued.job)
        self.stats.current_queue_length = len(self.queue)
        self._see(queued.job, self._what)
        self._changed(queued.job.id, status.value)

    def update_priority(self, job_id: str, new_priority: Any) -> Result[bool]:
        """Q5: a waiting job has another priority."""
        queued = self.job_map.get(job_id)
        if queued is None:
            return self._absent(job_id)
        self._prioritize(queued, new_priority, self._what)
        self._desk.done(self._entries.waiting)
        return Result.ok(True)

    def _prioritize(self, queued: QueuedJob, priority: Any, why: str) -> None:
        self._see(queued.job)
        queued.update_priority(priority)
        self._see(queued.job, self._what, why)
        self._entries.touch(queued.job.id, partial(plain_entry, queued))

    def _absent(self, job_id: str) -> Result[Any]:
        return coded(f"job {job_id!r} not found in queue", "job.not-found")

    # -- order ---------------------------------------------------------------------------------------------------

    def _first(self) -> QueuedJob | None:
        self._look()
        if not self.queue:
            return None
        return min(self.queue, key=self._order())

    def _order(self) -> Any:
        """Q1: the key of the policy, then submit time, then id."""
        policy = QueuePolicy(self.policy)  # callers may assign its text
        if policy is QueuePolicy.FIFO:
            return lambda queued: (queued.submit_time, queued.job.id)
        if policy is QueuePolicy.DEADLINE:
            return lambda queued: (queued.job.get_deadline() or datetime.max, *queued.order())
        if policy is QueuePolicy.FAIR:
            had = self._had()
            return lambda queued: (had.get(queued.job.get_owner(), 0.0), *queued.order())
        return QueuedJob.order

    def _had(self) -> dict[str, float]:
        waiting = [(queued.job.get_owner(), queued.submit_time) for queued in self.queue]
        used = usage(self.fairness_metric, self._started.values(), waiting, self._desk.now())
        weights = self.user_fairness_weights
        return {owner: amount / (weights.get(owner, 1.0) or 1e-9) for owner, amount in used.items()}

    def _in_order(self) -> list[QueuedJob]:
        self._look()
        return sorted(self.queue, key=self._order())

    def get_position(self, job_id: str) -> int | None:
        """Q5: 1 for the job that is taken next; None for one that does not wait."""
        if job_id not in self.job_map:
            return None
        return [queued.job.id for queued in self._in_order()].index(job_id) + 1

    def get_queued_jobs(self) -> list[T]:
        """Q5: the jobs in the order in which they would be taken."""
        return [queued.job for queued in self._in_order()]

    def get_stats(self) -> QueueStats:
        """Q5: what was counted so far."""
        return self.stats

    # -- ageing and fairness -------------------------------------------------------------------------------------

    def apply_aging(self) -> None:
        """Q6: jobs that have waited long enough rise one level."""
        self._look()
        now = self._desk.now()
        for queued in self.queue:
            unchanged = now - queued.priority_updates[-1][0]
            periods = (now - queued.submit_time) / self.aging_interval
            may_rise = rank_of(queued.effective_priority) < 4 and unchanged >= self.aging_interval
            if may_rise and promotion.aged(periods, self.priority_aging_factor):
                self._prioritize(queued, one_up(queued.job.get_priority()), "it has waited long")
        self._desk.done(self._entries.waiting)

    def apply_fairness_adjustments(self) -> None:
        """Q7: jobs of owners and projects with more than their part of the queue fall one level."""
        now = self._desk.now()
        if now - self.last_fairness_adjustment < self.fairness_adjustment_interval:
            return
        self.last_fairness_adjustment = now
        self._main.touch("main", self._plain)
        self._look()
        if len(self.queue) >= 2:
            self._lower_those_of_the_greedy()
        self._desk.done(self._entries.waiting)

    def _lower_those_of_the_greedy(self) -> None:
        owners = promotion.shares(queued.job.get_owner() for queued in self.queue)
        projects = promotion.shares(queued.job.get_project() for queued in self.queue)
        for queued in self.queue:
            owner, project = queued.job.get_owner(), queued.job.get_project()
            much = promotion.takes_too_much(owners[owner], self.user_fairness_weights.get(owner, 1.0))
            much = much or promotion.takes_too_much(projects[project], self.project_fairness_weights.get(project, 1.0))
            if much and rank_of(queued.job.get_priority()) < 4:
                self._prioritize(queued, one_down(queued.job.get_priority()), "fairness")

    def get_wait_time_estimate(self, job: T) -> timedelta:
        """Q8: about how long a job would wait; what the core foresees, where it does."""
        entry: Any = job
        foreseen = None if self._desk.owned else foreseen_wait(self._desk.app, entry.id)
        if foreseen is not None:
            return foreseen
        factor = FACTORS.get(word_of(entry.get_priority()), 1.0)
        return PLACE_IN_LINE * factor * max(1.0, len(self.queue) / 10)


__all__ = [
    "FairnessMetric",
    "JobQueue",
    "PreemptionAction",
    "PreemptionPolicy",
    "PreemptionTrigger",
    "QueuePolicy",
    "QueueStats",
    "QueuedJob",
]
