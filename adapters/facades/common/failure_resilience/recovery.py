"""Answering failures: which strategy applies, and who carries it out."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from adapters.facades.bridge.desk import Desk
from adapters.facades.bridge.recovering import AGAIN, carry_out
from application.app import Application
from common.core.base import Result
from common.core.enums import CheckpointType, FailureType, JobStatus, RecoveryAction
from common.core.exceptions import TaskSchedulerError
from common.core.jobs import Checkpoint
from common.core.ranks import word_of, write_status
from common.failure_resilience.checkpoint import CheckpointManager
from common.failure_resilience.detector import FailureDetector
from common.failure_resilience.failures import FailureEvent
from common.failure_resilience.plans import JUDGED, Executor, RecoveryPlan, RecoveryStrategy, default_strategies
from common.manager import Managed, coded, failed


class _Kept:
    def __init__(self) -> None:
        self.active: dict[str, RecoveryPlan] = {}
        self.history: list[RecoveryPlan] = []


class ResilienceCoordinator(Managed):
    """Detects failures and plans what to do about each."""

    _what = "recovery"

    def __init__(
        self,
        checkpoint_manager: CheckpointManager | None = None,
        failure_detector: FailureDetector | None = None,
        *,
        app: Application | None = None,
    ) -> None:
        super().__init__(app or _desk_of(checkpoint_manager) or _desk_of(failure_detector))
        desk: Any = self._desk
        self.checkpoint_manager = checkpoint_manager or CheckpointManager(app=desk)
        self.failure_detector = failure_detector or FailureDetector(app=desk)
        self.recovery_strategies: list[RecoveryStrategy] = []
        for strategy in default_strategies():
            self.register_recovery_strategy(strategy)
        self._plans = self._book("recovery")
        kept = self._shared(self._load)
        self.active_recovery_plans: dict[str, RecoveryPlan] = kept.active
        self.recovery_history: list[RecoveryPlan] = kept.history
        self.recovery_executor: Executor | None = None
        self._seen_jobs: dict[str, Any] = {}
        """The caller's own objects, as they were handed in last."""

    def _load(self) -> _Kept:
        kept = _Kept()
        done = []
        known = {event.id: event for event in self.failure_detector.failure_history}
        for plan_id, values in self._plans.load().items():
            plan = RecoveryPlan.from_dict(values["plan"])
            plan.clock = self._desk.now
            plan.failure_event = known.get(plan.failure_event.id, plan.failure_event)
            if values["active"]:
                kept.active[plan_id] = plan
            else:
                done.append((values["place"], plan))
        kept.history += [plan for _, plan in sorted(done, key=lambda each: each[0])]
        return kept

    def _note(self, plan: RecoveryPlan) -> None:
        active = plan.id in self.active_recovery_plans
        place = None if active else len(self.recovery_history)
        self._plans.note(plan.id, {"active": active, "place": place, "plan": plan.to_dict()}, why=plan.description)

    # -- hooks ---------------------------------------------------------------------------------------------------

    def register_recovery_strategy(self, strategy: RecoveryStrategy) -> None:
        """V10: one more strategy, in its place by priority."""
        self.recovery_strategies.append(strategy)
        self.recovery_strategies.sort(key=lambda each: each.priority)

    def set_recovery_executor(self, fn: Executor) -> None:
        """V10: who carries plans out."""
        self.recovery_executor = fn

    def create_checkpoint(self, job: Any, checkpoint_type: CheckpointType = CheckpointType.FULL) -> Result[Checkpoint]:
        """V10: K1 of the checkpoint manager."""
        return self.checkpoint_manager.create_checkpoint(job, checkpoint_type)

    # -- recovering ----------------------------------------------------------------------------------------------

    def detect_and_recover(
        self, jobs: list[Any], nodes: list[Any], auto_recover: bool = True
    ) -> tuple[list[FailureEvent], list[RecoveryPlan]]:
        """V11: the new failures, and a plan for each that has a strategy."""
        self._see_all(jobs, nodes)
        failures = self.failure_detector.detect_failures(jobs, nodes)
        known_jobs, known_nodes = {job.id: job for job in jobs}, {node.id: node for node in nodes}
        self._seen_jobs.update(known_jobs)
        busy = {plan.failure_event.id for plan in self.active_recovery_plans.values()}
        plans = []
        for event in failures:
            plan = None if event.id in busy else self._plan_for(event, known_jobs, known_nodes)
            if plan is not None:
                plan.clock, plan.created_at = self._desk.now, self._desk.now()
                self.active_recovery_plans[plan.id] = plan
                plans.append(plan)
        executor = self._executor() if auto_recover else None
        for plan in plans:
            if executor is not None:
                plan.execute(executor)
            self._note(plan)
        self._desk.done()
        return failures, plans

    def _plan_for(self, event: FailureEvent, jobs: Mapping[str, Any], nodes: Mapping[str, Any]) -> RecoveryPlan | None:
        for strategy in self.recovery_strategies:
            if not (strategy.applies_to(event) and _fits(strategy, event, jobs, nodes)):
                continue
            if strategy.action is not RecoveryAction.RESTORE_CHECKPOINT:
                return strategy.create_plan(event)
            latest = None if event.job_id is None else self.checkpoint_manager.get_latest_checkpoint(event.job_id)
            if latest is not None:
                return strategy.create_plan(event, latest.id)
        return None

    def _executor(self) -> Executor | None:
        """The caller's, else the application's own where one was given."""
        if self.recovery_executor is not None or self._desk.owned:
            return self.recovery_executor
        return self._carry_out

    def _carry_out(self, plan: RecoveryPlan) -> Result[bool]:
        """By commands: what the core can do about it."""
        try:
            done = carry_out(self._desk, plan.action.value, plan.job_id, plan.node_id, plan.checkpoint_id, self._what)
        except TaskSchedulerError as error:
            return failed(error)
        if done:
            self._write_back(plan)
        return Result.ok(True) if done else Result.err(f"{plan.action.value} is for a person to do")

    def _write_back(self, plan: RecoveryPlan) -> None:
        """Tells callers through their own objects what became of their jobs: they wait again, or are cancelled."""
        after = AFTERWARDS.get(plan.action.value)
        if after is None:
            return
        known = self._seen_jobs.values()
        for job in [job for job in known if _is_about(plan, job)]:
            write_status(job, after)
            if after is JobStatus.QUEUED and getattr(job, "assigned_node_id", None) is not None:
                job.assigned_node_id = None
            self._see(job)

    def execute_recovery_plan(self, plan_id: str) -> Result[bool]:
        """V12: tries an active plan once."""
        plan, executor = self.active_recovery_plans.get(plan_id), self._executor()
        if plan is None:
            return coded(f"there is no active recovery plan {plan_id!r}", "recovery.not-found")
        if executor is None:
            return Result.err(f"recovery plan {plan_id!r} has nobody to carry it out: set a recovery executor")
        outcome = plan.execute(executor)
        self._note(plan)
        self._desk.done()
        return outcome

    def complete_recovery(self, plan_id: str, success: bool, error_message: str | None = None) -> None:
        """V12: an active plan is over; success ends its failure, too."""
        plan = self.active_recovery_plans.pop(plan_id, None)
        if plan is None:
            return
        plan.success, plan.completed_at = success, self._desk.now()
        plan.error_message = error_message
        self.recovery_history.append(plan)
        if success:
            self.failure_detector.resolve_failure(plan.failure_event.id, f"resolved by recovery plan {plan_id}")
        self._note(plan)
        self._desk.done()

    # -- looking -------------------------------------------------------------------------------------------------

    def get_active_recovery_plans(
        self,
        job_id: str | None = None,
        node_id: str | None = None,
        failure_type: FailureType | None = None,
        action: RecoveryAction | None = None,
    ) -> list[RecoveryPlan]:
        """V13: the plans that are not over, for which all filters hold that are given."""
        wanted = _wanted(job_id, node_id, failure_type, action)
        return [plan for plan in self.active_recovery_plans.values() if wanted(plan)]

    def get_recovery_history(
        self,
        job_id: str | None = None,
        node_id: str | None = None,
        failure_type: FailureType | None = None,
        action: RecoveryAction | None = None,
        success: bool | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> list[RecoveryPlan]:
        """V13: the plans that are over, for which all filters hold that are given; times are those of creation."""
        wanted = _wanted(job_id, node_id, failure_type, action)
        return [
            plan
            for plan in self.recovery_history
            if wanted(plan)
            and (success is None or plan.success == success)
            and (start_time is None or plan.created_at >= start_time)
            and (end_time is None or plan.created_at <= end_time)
        ]


def _desk_of(manager: Any) -> "Desk | None":
    return manager._desk if isinstance(manager, Managed) else None


AFTERWARDS = {**dict.fromkeys(AGAIN, JobStatus.QUEUED), "abort": JobStatus.CANCELLED}
"""What a job is once the application has carried out an action."""


def _is_about(plan: RecoveryPlan, job: Any) -> bool:
    """Whether a plan is about a job: by its id, or because it runs on the plan's node."""
    if plan.job_id is not None:
        return bool(job.id == plan.job_id)
    on = getattr(job, "assigned_node_id", None)
    return on is not None and on == plan.node_id and job.get_status() is JobStatus.RUNNING


def _fits(strategy: RecoveryStrategy, event: FailureEvent, jobs: Mapping[str, Any], nodes: Mapping[str, Any]) -> bool:
    """Whether the conditions hold that need the job or node itself; an unknown one does not match."""
    for name, wanted in strategy.conditions.items():
        if name in JUDGED:
            known = jobs.get(event.job_id or "") if name == "job_status" else nodes.get(event.node_id or "")
            if known is None or word_of(known.get_status()) != word_of(wanted):
                return False
    return True


def _wanted(
    job_id: str | None, node_id: str | None, failure_type: FailureType | None, action: RecoveryAction | None
) -> Callable[[RecoveryPlan], bool]:
    def check(plan: RecoveryPlan) -> bool:
        return (
            (job_id is None or plan.job_id == job_id)
            and (node_id is None or plan.node_id == node_id)
            and (failure_type is None or plan.failure_event.failure_type == word_of(failure_type))
            and (action is None or plan.action == word_of(action))
        )

    return check


__all__ = ["RecoveryAction", "RecoveryPlan", "RecoveryStrategy", "ResilienceCoordinator"]
