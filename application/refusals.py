"""Refusals on the record: a well-formed command that a rule did not allow is an event, but never a flood of them."""

from collections.abc import Mapping
from typing import NamedTuple

from application.decider import Batch
from domain import errors
from domain.cycle import CommandRefused, refusal_stream
from domain.job.commands import SubmitJob
from domain.messages import Command, Meta

BURST = 10
PER_ACTOR_MS = 1_000
"""After a burst, an actor's refusals are recorded at most this often; the others are counted."""


class Refusals:
    """Records what was refused, rate-limited per actor."""

    def __init__(self, buckets: "Mapping[str, _Bucket] | None" = None) -> None:
        self._buckets = dict(buckets or {})

    def copy(self) -> "Refusals":
        """An independent copy, for a commit that may have to be decided anew."""
        return Refusals(self._buckets)

    def record(self, batch: Batch, command: Command, error: errors.TaskSchedulerError, meta: Meta) -> None:
        """Stages a refusal if it is one by rule; malformed input and unknown ids store nothing."""
        if not isinstance(error, errors.NotAllowed | errors.DependencyCycle):
            return
        bucket = self._buckets.get(meta.actor, _Bucket(at_ms=batch.now_ms)).filled(batch.now_ms)
        allowed = bucket.tokens >= 1
        self._buckets[meta.actor] = bucket.emptied() if allowed else bucket.skipped()
        if not allowed:
            return
        event = CommandRefused(
            at_ms=batch.now_ms,
            command=str(command.__struct_config__.tag),
            entity_id=_entity(command),
            code=error.code,
            message=error.message,
            repeated=bucket.unrecorded,
        )
        batch.record(refusal_stream(batch.now_ms), event, meta)


class _Bucket(NamedTuple):
    """A token bucket: `BURST` at once, then one per `PER_ACTOR_MS`."""

    at_ms: int
    tokens: float = BURST
    unrecorded: int = 0
    """Refusals since the last one that was recorded."""

    def filled(self, now_ms: int) -> "_Bucket":
        tokens = min(float(BURST), self.tokens + (now_ms - self.at_ms) / PER_ACTOR_MS)
        return _Bucket(now_ms, tokens, self.unrecorded)

    def emptied(self) -> "_Bucket":
        return _Bucket(self.at_ms, self.tokens - 1)

    def skipped(self) -> "_Bucket":
        return self._replace(unrecorded=self.unrecorded + 1)


def _entity(command: Command) -> str:
    """What the command is about, as far as it exists: of an edge that was not declared, its successor."""
    if isinstance(command, SubmitJob):
        return command.spec.job_id
    for name in ("job_id", "node_id", "client_id", "workflow_id", "dependency_id", "checkpoint_id", "successor_id"):
        found = getattr(command, name, None) if name in command.__struct_fields__ else None
        if found:
            return str(found)
    return ""
