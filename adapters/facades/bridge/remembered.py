"""What the log knows of a caller's job: the document it came with, and what it has become since."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from adapters.facades.bridge import names, times
from adapters.facades.bridge.jobfacts import RUNNER, JobFacts
from application.decider import EXTERNAL, JOB, load_stream
from application.ports import Log
from domain.job.values import Job
from domain.observed import Observed, external_stream


class Remembered(NamedTuple):
    """One job as the log has it."""

    facts: JobFacts
    document: str
    """The object as it came, as JSON."""
    rest: dict[str, Any]
    """What of it was seen to be different since, beyond the facts."""
    job: Job
    odd: frozenset[str]
    """Names whose value was observed, because the core has no word for it."""
    placed_on: str | None
    """The node that holds its live attempt, by the core's id."""


class _Payload(msgspec.Struct, frozen=True):
    name: str
    object: msgspec.Raw


def payload_of(name: str, document: str) -> str:
    """What the core keeps of a caller's job without looking inside: its name there, and the object as JSON."""
    return f'{{"name":{msgspec.json.encode(name).decode()},"object":{document or "null"}}}'


def remembered(log: Log, name: str) -> Remembered | None:
    """A job that a facade submitted under this name; None if there was none."""
    job: Job | None = load_stream(log, JOB, names.job_id(name)).state
    if job is None or job.spec.work.runner != RUNNER:
        return None
    payload = msgspec.json.decode(job.spec.work.payload, type=_Payload)
    told, document = payload.name, bytes(payload.object).decode()
    state: Observed | None = load_stream(log, EXTERNAL, external_stream("job", told)).state
    values = {} if state is None else state.values
    node = next((attempt.nodes[0][0] for attempt in job.live.values()), None)
    deadline = None if job.deadline_ms is None else times.local(job.deadline_ms)
    if "deadline" in values:
        deadline = None if values["deadline"] is None else datetime.fromisoformat(values["deadline"])
    status = job.status.value
    facts = JobFacts(
        told,
        values.get("status", "pending" if status == "queued" else status),
        values.get("priority", job.priority.value),
        values.get("progress", 0.0),
        values.get("node", node),
        deadline,
        values.get("errors", 0),
    )
    return Remembered(facts, document, values.get("rest", {}), job, frozenset(values), node)
