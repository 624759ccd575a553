"""What must hold of a job before anything else is decided about it."""

import msgspec

from domain import errors, intervals
from domain.intervals import TaskSet
from domain.job.values import ENDED, Job, JobSpec, JobStatus, NodeSlots, coarse
from domain.messages import MAX_NAME_CHARS, SAFE_ID, JobId

MAX_TIME_MS = 253_402_300_799_999
"""The last moment of the year 9999; durations are kept below it, too, so that sums stay within 64 bits."""
_TIMES = ("walltime_ms", "grace_ms", "backoff_ms", "deadline_ms", "not_before_ms")


def check_spec(spec: JobSpec) -> None:
    """A specification must name work, at least one task, and amounts that are not negative; else JobInvalid."""
    problems = {
        "its id must be `job-` and plain letters, digits, `_.@+-`": not spec.job_id.startswith("job-")
        or SAFE_ID.fullmatch(spec.job_id) is None,
        "it has no tasks": not spec.tasks,
        "its tasks must be a canonical set such as `1-40,90`": not intervals.is_canonical(spec.tasks),
        f"its name is longer than {MAX_NAME_CHARS} characters": len(spec.name) > MAX_NAME_CHARS,
        "it has nothing to run": not spec.work.argv and not spec.work.payload,
        "a gang needs at least one slot": spec.requirement.slots < 1,
        "its resources are negative": spec.requirement.resources.is_negative(),
        "its named resources must be sorted, not 0, and have names of their own": (
            not spec.requirement.resources.is_canonical()
        ),
        "its walltime must be positive": spec.walltime_ms is not None and spec.walltime_ms <= 0,
        "its retries must not be negative": spec.retries < 0,
        **_of_progressive(spec),
        "its back-off and grace must not be negative": spec.backoff_ms < 0 or spec.grace_ms < 0,
    }
    for problem, broken in problems.items():
        if broken:
            raise errors.JobInvalid(job_id=spec.job_id, problem=problem)
    for name in _TIMES:
        check_time(spec.job_id, name, getattr(spec, name))
    if spec.protection is not None:
        check_time(spec.job_id, "protection", spec.protection.until_ms)
    try:
        msgspec.json.encode(spec)
    except UnicodeEncodeError as error:
        raise errors.JobInvalid(job_id=spec.job_id, problem=f"a text of it is not Unicode ({error.reason})") from error


def _of_progressive(spec: JobSpec) -> dict[str, bool]:
    """What can be wrong with what a job shows before it is done."""
    shown = spec.progressive
    if shown is None:
        return {}
    return {
        "every so many-th task first: the number must be positive": shown.every < 1,
        "its overhead must be 0..100 %": not 0 <= shown.overhead_percent <= 100,
        "nothing of it would wait for approval; let every 2nd (or so) task come first": (
            shown.approve and coarse(spec) == spec.tasks
        ),
    }


def check_time(job_id: JobId, name: str, at_ms: int | None) -> None:
    """JobInvalid unless a time or duration is absent or lies between 0 and the end of the year 9999."""
    if at_ms is not None and not 0 <= at_ms <= MAX_TIME_MS:
        raise errors.JobInvalid(job_id=job_id, problem=f"its {name} {at_ms} is no time between 1970 and 9999")


def ready(job: Job, now_ms: int) -> TaskSet:
    """The tasks that may be placed now: those that wait, and those whose back-off is over."""
    tasks = job.waiting
    for until_ms, delayed in job.delayed:
        if until_ms <= now_ms:
            tasks = intervals.union(tasks, delayed)
    return tasks


def check_slots(job: Job, nodes: tuple[NodeSlots, ...]) -> None:
    """JobInvalid unless these nodes hold all slots of a task, each on its own node where that is required."""
    requirement, counts = job.spec.requirement, [count for _, count in nodes]
    slots, problem = sum(counts), ""
    if slots != requirement.slots or min(counts) < 1:
        problem = f"a placement has {slots} slots, not {requirement.slots} as required"
    elif requirement.distinct_nodes:
        distinct = len({node_id for node_id, _ in nodes})
        if distinct != slots:
            problem = f"a placement of {slots} slots uses {distinct} nodes, where no two may share one"
    if problem:
        raise errors.JobInvalid(job_id=job.spec.job_id, problem=problem)


def must_not_have_ended(job: Job, verb: str) -> None:
    """JobEnded if it has."""
    if job.ended in ENDED:
        raise errors.JobEnded(job_id=job.spec.job_id, status=job.ended or JobStatus.COMPLETED, verb=verb)
