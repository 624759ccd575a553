"""Noticing what goes wrong: nodes that are gone or silent, jobs that fail, stall or are late."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from adapters.facades.bridge.nodes import nodes_of
from application.app import Application
from common.core.base import Result
from common.core.enums import FailureLevel, FailureType, JobStatus, NodeStatus
from common.core.ranks import word_of
from common.failure_resilience.failures import FailureEvent
from common.hooks import guarded
from common.manager import Managed, coded

Custom = Callable[[list[Any], list[Any]], FailureEvent | None]
Found = tuple[str, FailureType, FailureLevel, str | None, str | None, str, dict[str, Any]]
"""Key, type, level, node, job, description, details."""
_BAD = (NodeStatus.ERROR, NodeStatus.MAINTENANCE)
_IN_TIME = (JobStatus.COMPLETED, JobStatus.CANCELLED)


class _Kept:
    def __init__(self) -> None:
        self.history: list[FailureEvent] = []
        self.active: dict[str, FailureEvent] = {}
        self.heartbeats: dict[str, datetime] = {}
        self.progress: dict[str, tuple[datetime, float]] = {}


class FailureDetector(Managed):
    """Watches jobs and nodes that are shown to it, and reports each failure once while it lasts."""

    _what = "detector"

    def __init__(self, *, app: Application | None = None) -> None:
        super().__init__(app)
        self._failures, self._signs = self._book("failure"), self._book("sign")
        kept = self._shared(self._load)
        self.failure_history: list[FailureEvent] = kept.history
        self.active_failures: dict[str, FailureEvent] = kept.active
        self.heartbeat_timestamps: dict[str, datetime] = kept.heartbeats
        self.last_progress_update: dict[str, tuple[datetime, float]] = kept.progress
        self.node_timeout_seconds: float = 300
        self.job_progress_timeout_seconds: float = 1800
        self.job_timeout_factors: dict[str, float] = {}
        self.custom_detectors: list[tuple[Custom, Any]] = []

    def _load(self) -> _Kept:
        kept = _Kept()
        for values in self._failures.load().values():
            event = FailureEvent.from_dict(values["event"])
            event.clock = self._desk.now
            kept.history.append(event)
            if not event.resolved and values["key"] is not None:
                kept.active[values["key"]] = event
        for name, value in self._signs.load().get("main", {}).items():
            sort, _, rest = name.partition(" ")
            if sort == "heartbeat":
                kept.heartbeats[rest] = datetime.fromisoformat(value)
            else:
                kept.progress[rest] = (datetime.fromisoformat(value[0]), value[1])
        return kept

    def _signs_changed(self) -> None:
        self._signs.touch("main", self._plain_signs)
        self._desk.done()

    def _plain_signs(self) -> Mapping[str, Any]:
        values: dict[str, Any] = {f"heartbeat {node}": at.isoformat() for node, at in self.heartbeat_timestamps.items()}
        return values | {
            f"progress {job}": [at.isoformat(), percent] for job, (at, percent) in self.last_progress_update.items()
        }

    def _note(self, key: str | None, event: FailureEvent, why: str = "") -> None:
        self._failures.note(event.id, {"key": key, "event": event.to_dict()}, why=why)

    # -- signs of life -------------------------------------------------------------------------------------------

    def register_heartbeat(self, node_id: str) -> None:
        """V1: a node gave a sign of life."""
        self.heartbeat_timestamps[node_id] = self._desk.now()
        if self._resolve(f"node_timeout_{node_id}", "a heartbeat came"):
            nodes_of(self._desk).trust(node_id, self._what)
        self._signs_changed()

    def update_job_progress(self, job_id: str, progress: float) -> None:
        """V1: a job said how far it is, in percent."""
        self.last_progress_update[job_id] = (self._desk.now(), progress)
        self._resolve(f"job_timeout_{job_id}", "it makes progress")
        self._signs_changed()

    def set_job_timeout_factor(self, job_id: str, factor: float) -> None:
        """V1: so many times as long a job may make no progress."""
        self.job_timeout_factors[job_id] = max(0.1, factor)

    # -- detecting -----------------------------------------------------------------------------------------------

    def detect_failures(self, jobs: list[Any], nodes: list[Any]) -> list[FailureEvent]:
        """V2: what has gone wrong since the last look: nodes, then jobs, then custom detectors."""
        self._see_all(jobs, nodes)
        now = self._desk.now()
        self._resolve_what_is_over(jobs, nodes)
        conditions = [found for node in nodes for found in self._of_node(node, now)]
        conditions += [found for job in jobs for found in self._of_job(job, now)]
        events = [event for found in conditions if (event := self._enter(found, now)) is not None]
        events += self._custom(jobs, nodes)
        self._desk.done()
        return events

    def _enter(self, found: Found, now: datetime) -> FailureEvent | None:
        key, kind, level, node_id, job_id, description, details = found
        if key in self.active_failures:
            return None
        event = FailureEvent(self._desk.new_id("failure"), kind, level, node_id, job_id, description, details, now)
        if key.startswith("node_timeout_"):
            silent = now - self.heartbeat_timestamps[str(node_id)]
            nodes_of(self._desk).suspect(str(node_id), silent // timedelta(milliseconds=1), self._what)
        return self._activate(key, event)

    def _activate(self, key: str, event: FailureEvent) -> FailureEvent:
        event.clock = self._desk.now
        self.active_failures[key] = event
        self.failure_history.append(event)
        self._note(key, event)
        return event

    def _of_node(self, node: Any, now: datetime) -> Iterator[Found]:
        status, node_id = node.get_status(), node.id
        if status is NodeStatus.OFFLINE:
            kind, level = FailureType.NODE_OFFLINE, FailureLevel.ERROR
            yield f"node_offline_{node_id}", kind, level, node_id, None, f"Node {node_id} is offline", {}
        if status in _BAD:
            details = {
                "node_name": getattr(node, "name", node_id),
                "status": status.value,
                "error": getattr(node, "last_error", None),
            }
            kind, level = FailureType.SYSTEM_FAILURE, FailureLevel.WARNING
            yield f"node_error_{node_id}", kind, level, node_id, None, f"Node {node_id} is in {status.value}", details
        last = self.heartbeat_timestamps.get(node_id)
        if last is not None and now - last > timedelta(seconds=self.node_timeout_seconds):
            details = {"last_heartbeat_time": last, "timeout_seconds": self.node_timeout_seconds}
            kind, level = FailureType.NODE_TIMEOUT, FailureLevel.WARNING
            yield (
                f"node_timeout_{node_id}",
                kind,
                level,
                node_id,
                None,
                f"Node {node_id} is silent since {last}",
                details,
            )

    def _of_job(self, job: Any, now: datetime) -> Iterator[Found]:
        status, job_id, deadline = job.get_status(), job.id, job.get_deadline()
        if status is JobStatus.FAILED:
            error = getattr(job, "error_message", None) or getattr(job, "last_error", None) or "Unknown error"
            details = {
                "job_name": getattr(job, "name", job_id),
                "error_count": getattr(job, "error_count", 0),
                "assigned_node_id": getattr(job, "assigned_node_id", None),
            }
            kind, level = FailureType.JOB_ERROR, FailureLevel.ERROR
            yield f"job_error_{job_id}", kind, level, None, job_id, f"Job {job_id} failed: {error}", details
        if deadline is not None and now > deadline and status not in _IN_TIME:
            details = {
                "deadline": deadline,
                "current_time": now,
                "status": status.value,
                "progress": job.get_progress(),
            }
            text, level = f"Job {job_id} has missed its deadline", FailureLevel.WARNING
            yield f"job_deadline_{job_id}", FailureType.JOB_TIMEOUT, level, None, job_id, text, details
        last = self.last_progress_update.get(job_id)
        if status is JobStatus.RUNNING and last is not None and job.get_progress() == last[1]:
            timeout = self.job_progress_timeout_seconds * self.job_timeout_factors.get(job_id, 1.0)
            if now - last[0] > timedelta(seconds=timeout):
                details = {"last_update_time": last[0], "timeout_seconds": timeout}
                text, level = f"Job {job_id} has made no progress since {last[0]}", FailureLevel.WARNING
                yield f"job_timeout_{job_id}", FailureType.JOB_TIMEOUT, level, None, job_id, text, details

    def _resolve_what_is_over(self, jobs: list[Any], nodes: list[Any]) -> None:
        """V3: nodes that are online again, and jobs that are not failed any more."""
        for node in nodes:
            if node.get_status() is NodeStatus.ONLINE:
                self._resolve(f"node_offline_{node.id}", "the node is online")
                self._resolve(f"node_error_{node.id}", "the node is online")
        for job in jobs:
            if job.get_status() is not JobStatus.FAILED:
                self._resolve(f"job_error_{job.id}", "the job is not failed any more")

    def _custom(self, jobs: list[Any], nodes: list[Any]) -> list[FailureEvent]:
        found = []
        for detector, _ in self.custom_detectors:
            event = guarded("a custom detector", detector, jobs, nodes, instead=lambda: None)
            if event is not None and event.id not in self.active_failures:
                found.append(self._activate(event.id, event))
        return found

    def register_custom_detector(self, fn: Custom, config: Any = None) -> None:
        """V4: a function that may find one more failure at each look."""
        self.custom_detectors.append((fn, config))

    # -- looking and resolving -----------------------------------------------------------------------------------

    def get_active_failures(
        self,
        node_id: str | None = None,
        job_id: str | None = None,
        failure_type: FailureType | None = None,
        level: FailureLevel | None = None,
    ) -> list[FailureEvent]:
        """V5: the failures that last, for which all filters hold that are given."""
        return [each for each in self.active_failures.values() if _matches(each, node_id, job_id, failure_type, level)]

    def get_failure_history(
        self,
        node_id: str | None = None,
        job_id: str | None = None,
        failure_type: FailureType | None = None,
        level: FailureLevel | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        include_resolved: bool = True,
    ) -> list[FailureEvent]:
        """V5: all failures, for which all filters hold that are given; times inclusive."""
        return [
            each
            for each in self.failure_history
            if _matches(each, node_id, job_id, failure_type, level)
            and (start_time is None or each.timestamp >= start_time)
            and (end_time is None or each.timestamp <= end_time)
            and (include_resolved or not each.resolved)
        ]

    def resolve_failure(self, failure_id: str, resolution_description: str = "Manually resolved") -> Result[bool]:
        """V6: ends a failure that lasts, by its id or its key."""
        key = next((key for key, each in self.active_failures.items() if each.id == failure_id), failure_id)
        if not self._resolve(key, resolution_description):
            return coded(f"failure {failure_id!r} not found or already resolved", "failure.not-found")
        self._desk.done()
        return Result.ok(True)

    def _resolve(self, key: str, description: str) -> bool:
        event = self.active_failures.pop(key, None)
        if event is None:
            return False
        event.resolve(description)
        self._note(key, event, description)
        return True


def _matches(
    event: FailureEvent,
    node_id: str | None,
    job_id: str | None,
    failure_type: FailureType | None,
    level: FailureLevel | None,
) -> bool:
    return (
        (node_id is None or event.node_id == node_id)
        and (job_id is None or event.job_id == job_id)
        and (failure_type is None or event.failure_type == word_of(failure_type))
        and (level is None or event.level == word_of(level))
    )


__all__ = ["FailureDetector", "FailureEvent", "FailureLevel", "FailureType"]
