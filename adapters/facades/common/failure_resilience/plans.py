"""What to do about which failure, and one attempt to do it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from adapters.facades.bridge import times
from common.core.base import Result
from common.core.enums import FailureType, RecoveryAction
from common.core.ranks import word_of
from common.core.utils import ExponentialBackoff
from common.failure_resilience.failures import FailureEvent

JUDGED = ("job_status", "node_status")
"""Conditions that need the job or node itself, so that the coordinator judges them."""
Executor = Callable[["RecoveryPlan"], Result[Any]]


class RecoveryPlan:
    """One action about one failure."""

    def __init__(
        self,
        failure_event: FailureEvent,
        action: RecoveryAction,
        job_id: str | None = None,
        node_id: str | None = None,
        checkpoint_id: str | None = None,
        description: str = "",
        max_retries: int = 3,
    ) -> None:
        self.id = f"recovery_{failure_event.id}"
        self.failure_event, self.action = failure_event, RecoveryAction(action)
        self.job_id = failure_event.job_id if job_id is None else job_id
        self.node_id = failure_event.node_id if node_id is None else node_id
        self.checkpoint_id, self.description, self.max_retries = checkpoint_id, description, max_retries
        self.clock: Callable[[], datetime] = times.now
        """Where it reads the time."""
        self.created_at: datetime = times.now()
        self.executed_at: datetime | None = None
        self.completed_at: datetime | None = None
        self.success: bool | None = None
        self.error_message: str | None = None
        self.retry_count = 0
        self.retry_backoff = ExponentialBackoff()

    def execute(self, executor: Executor) -> Result[bool]:
        """Tries it once; an error may be tried again until that was done `max_retries` times."""
        self.executed_at = self.clock()
        self.retry_count += 1
        try:
            outcome: Result[Any] = executor(self)
        except Exception as error:  # noqa: BLE001 (a stranger's code: whatever it raises is its answer)
            outcome = Result.err(f"the executor failed: {error}")
        if outcome:
            self.success, self.completed_at = True, self.clock()
            return Result.ok(True)
        self.error_message = outcome.error
        if self.retry_count >= self.max_retries:
            self.success = False
            return Result.err(f"recovery {self.id} failed after {self.retry_count} attempts: {outcome.error}")
        return outcome

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "id": self.id,
            "failure_event": self.failure_event.to_dict(),
            "action": self.action.value,
            "job_id": self.job_id,
            "node_id": self.node_id,
            "checkpoint_id": self.checkpoint_id,
            "description": self.description,
            "max_retries": self.max_retries,
            "created_at": self.created_at.isoformat(),
            "executed_at": self.executed_at.isoformat() if self.executed_at else None,
            "completed_at": self.completed_at.isoformat() if self.completed_at else None,
            "success": self.success,
            "error_message": self.error_message,
            "retry_count": self.retry_count,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RecoveryPlan":
        """The plan that such a dict was made of."""
        plan = cls(
            FailureEvent.from_dict(data["failure_event"]),
            RecoveryAction(data["action"]),
            data["job_id"],
            data["node_id"],
            data["checkpoint_id"],
            data["description"],
            data["max_retries"],
        )
        plan.created_at = datetime.fromisoformat(data["created_at"])
        plan.executed_at = datetime.fromisoformat(data["executed_at"]) if data["executed_at"] else None
        plan.completed_at = datetime.fromisoformat(data["completed_at"]) if data["completed_at"] else None
        plan.success, plan.error_message = data["success"], data["error_message"]
        plan.retry_count = plan.retry_backoff.attempt = data["retry_count"]
        return plan


class RecoveryStrategy:
    """Which action answers which failures; a lower priority number goes first."""

    def __init__(
        self,
        failure_type: FailureType,
        action: RecoveryAction,
        conditions: Mapping[str, Any] | None = None,
        description: str = "",
        priority: int = 1,
        max_retries: int = 3,
    ) -> None:
        self.failure_type, self.action = FailureType(failure_type), RecoveryAction(action)
        self.conditions: dict[str, Any] = dict(conditions or {})
        self.description, self.priority, self.max_retries = description, priority, max_retries

    def applies_to(self, event: FailureEvent) -> bool:
        """Whether type and conditions fit, as far as the event alone tells."""
        return event.failure_type == self.failure_type and all(
            self._holds(name, wanted, event) for name, wanted in self.conditions.items() if name not in JUDGED
        )

    @staticmethod
    def _holds(name: str, wanted: Any, event: FailureEvent) -> bool:
        if name == "level":
            return word_of(event.level) == word_of(wanted)
        return name in event.details and bool(event.details[name] == wanted)

    def create_plan(self, event: FailureEvent, checkpoint_id: str | None = None) -> RecoveryPlan:
        """A plan for one failure."""
        return RecoveryPlan(
            event,
            self.action,
            checkpoint_id=checkpoint_id,
            description=self.description,
            max_retries=self.max_retries,
        )


def default_strategies() -> list[RecoveryStrategy]:
    """What is done unless somebody says otherwise."""
    kinds, actions = FailureType, RecoveryAction
    return [
        RecoveryStrategy(kinds.NODE_OFFLINE, actions.RESCHEDULE, None, "run the job on another node", 1),
        RecoveryStrategy(kinds.NODE_TIMEOUT, actions.RESCHEDULE, None, "run the job on another node", 2),
        RecoveryStrategy(
            kinds.JOB_ERROR, actions.RESTORE_CHECKPOINT, {"job_status": "failed"}, "go on from the last checkpoint", 1
        ),
        RecoveryStrategy(kinds.JOB_ERROR, actions.RESTART_JOB, {"job_status": "failed"}, "start anew", 2),
        RecoveryStrategy(kinds.JOB_TIMEOUT, actions.RESCHEDULE, None, "run the job elsewhere", 1),
        RecoveryStrategy(kinds.RESOURCE_EXHAUSTION, actions.PREEMPT, None, "let the job wait for room", 1),
        RecoveryStrategy(kinds.DEPENDENCY_FAILURE, actions.SKIP, None, "go on without it", 1),
        RecoveryStrategy(kinds.SYSTEM_FAILURE, actions.MANUAL, {"level": "critical"}, "a person must look", 1),
    ]
