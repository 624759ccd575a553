"""A queue as plain values, and made again from them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from application.ports import Log
from common.core.needs import plain, read_amounts
from common.core.ranks import word_of
from common.job_management.fairness import Started
from common.job_management.queued import QueuedJob
from common.job_management.stats import QueueStats
from common.seeing import remembered_job


class QueueState:
    """Everything that queues of one application have in common."""

    def __init__(self) -> None:
        self.queue: list[QueuedJob] = []
        self.job_map: dict[str, QueuedJob] = {}
        self.stats = QueueStats()
        self.started: dict[str, Started] = {}
        self.last_fairness: datetime | None = None


def plain_entry(queued: QueuedJob) -> dict[str, Any]:
    """One waiting job."""
    return {
        "state": "queued",
        "place": queued.place,
        "submit_time": queued.submit_time.isoformat(),
        "priorities": [[at.isoformat(), word_of(priority)] for at, priority in queued.priority_updates],
        "preemptions": queued.preemption_count,
        "retries": queued.retry_count,
        "notified": queued.user_notified,
    }


def plain_queue(stats: QueueStats, last_fairness: datetime, started: Mapping[str, Started]) -> dict[str, Any]:
    """The queue but for its jobs."""
    values = {"stats": stats.to_plain(), "last_fairness": last_fairness.isoformat()}
    return values | {
        f"started {job_id}": [each.owner, each.at.isoformat(), plain(each.amounts)] for job_id, each in started.items()
    }


def read_queue(
    state: QueueState,
    entries: Mapping[str, Mapping[str, Any]],
    main: Mapping[str, Mapping[str, Any]],
    log: Log | None,
) -> None:
    """Puts what was recorded back."""
    for name, value in main.get("main", {}).items():
        if name == "stats":
            state.stats.read(value)
        elif name == "last_fairness":
            state.last_fairness = datetime.fromisoformat(value)
        else:
            job_id, (owner, at, amounts) = name.removeprefix("started "), value
            job = None if log is None else remembered_job(log, job_id)
            state.started[job_id] = Started(job, datetime.fromisoformat(at), owner, read_amounts(amounts))
    for job_id, values in entries.items():
        if values.get("state") == "queued" and log is not None:
            _read_entry(state, values, remembered_job(log, job_id))
    state.queue.sort(key=lambda queued: queued.place)


def _read_entry(state: QueueState, values: Mapping[str, Any], job: Any) -> None:
    queued = QueuedJob(job, datetime.fromisoformat(values["submit_time"]))
    kind = type(job.get_priority())
    queued.priority_updates = [(datetime.fromisoformat(at), kind(word)) for at, word in values["priorities"]]
    queued.place, queued.preemption_count, queued.retry_count = (
        values["place"],
        values["preemptions"],
        values["retries"],
    )
    queued.user_notified = values["notified"]
    state.queue.append(queued)
    state.job_map[job.id] = queued
