"""Refusals on the record: a well-formed command that a rule did not allow is an event, but never a flood of them."""

from application.decider import Batch
from domain import errors
from domain.cycle import CommandRefused, refusal_stream
from domain.messages import Command, Meta

BURST = 10
PER_ACTOR_MS = 1_000
"""After a burst, an actor's refusals are recorded at most this often; the others are counted."""


class Refusals:
    """Records what was refused, rate-limited per actor."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def record(self, batch: Batch, command: Command, error: errors.TaskSchedulerError, meta: Meta) -> None:
        """Stages a refusal if it is one by rule; malformed input and unknown ids store nothing."""
        if not isinstance(error, errors.NotAllowed | errors.DependencyCycle):
            return
        bucket = self._buckets.setdefault(meta.actor, _Bucket(batch.now_ms))
        if not bucket.take(batch.now_ms):
            return
        event = CommandRefused(
            at_ms=batch.now_ms,
            command=str(command.__struct_config__.tag),
            entity_id=_entity(command),
            code=error.code,
            message=error.message,
            repeated=bucket.forget_skipped(),
        )
        batch.record(refusal_stream(batch.now_ms), event, meta)


class _Bucket:
    """A token bucket: `BURST` at once, then one per `PER_ACTOR_MS`."""

    def __init__(self, now_ms: int) -> None:
        self._tokens, self._at_ms, self._skipped = float(BURST), now_ms, 0

    def take(self, now_ms: int) -> bool:
        self._tokens = min(float(BURST), self._tokens + (now_ms - self._at_ms) / PER_ACTOR_MS)
        self._at_ms = now_ms
        if self._tokens < 1:
            self._skipped += 1
            return False
        self._tokens -= 1
        return True

    def forget_skipped(self) -> int:
        skipped, self._skipped = self._skipped, 0
        return skipped


def _entity(command: Command) -> str:
    for name in ("job_id", "node_id", "client_id", "workflow_id", "dependency_id", "checkpoint_id", "successor_id"):
        found = getattr(command, name, None)
        if found:
            return str(found)
    return ""
