"""Commands that change jobs and nodes, one by one or many at once: each item has its own result."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from adapters.cli import exits
from adapters.cli import values as v
from adapters.cli.complete import complete_all_jobs, complete_jobs, complete_nodes, complete_priority
from adapters.cli.frame import Desk, place, verb
from adapters.clock import SystemIds
from domain import errors
from domain.dependency import BypassDependency, DependencyState
from domain.job.commands import (
    ApproveJob,
    CancelJob,
    HoldJob,
    PauseJob,
    PrioritizeJob,
    RequeueTasks,
    ResumeJob,
    RetryJob,
    SetDeadline,
    UnholdJob,
)
from domain.job.values import JobStatus, Priority
from domain.messages import Command
from domain.node import DrainNode, UndrainNode
from domain.undo import UNDOABLE

if TYPE_CHECKING:
    from adapters.door import Door

LIVE = ("pending", "queued", "running", "paused")
PRIORITY_WORDS = tuple(str(each) for each in Priority)
AGAIN = (JobStatus.FAILED, JobStatus.CANCELLED)
BLOCKING = (DependencyState.PENDING, DependencyState.FAILED)
why_option = click.option("--why", default="", help="Say why; it is kept in the log.")
live_jobs = click.argument("jobs", metavar="JOB|WORKFLOW...", nargs=-1, required=True, shell_complete=complete_jobs)
all_jobs = click.argument("jobs", metavar="JOB|WORKFLOW...", nargs=-1, required=True, shell_complete=complete_all_jobs)
node_ids = click.argument("nodes", metavar="NODE...", nargs=-1, required=True, shell_complete=complete_nodes)
Make = Callable[[str], Command]
UNDO_AT_MOST = 3
"""So many ids are told to people; `--json` has all."""


@verb("hold", "milepost hold job-01kx…", "milepost hold wf-01kx… --why 'wrong camera'")
@live_jobs
@why_option
def hold(desk: Desk, jobs: tuple[str, ...], why: str) -> int:
    """Start no further task of a job; what runs goes on."""
    return change_jobs(desk, jobs, lambda job_id: HoldJob(job_id=job_id, why=why), "held")


@verb("unhold", "milepost unhold job-01kx…")
@live_jobs
@why_option
def unhold(desk: Desk, jobs: tuple[str, ...], why: str) -> int:
    """Lift the hold of a job."""
    return change_jobs(desk, jobs, lambda job_id: UnholdJob(job_id=job_id, why=why), "no longer held")


@verb("pause", "milepost pause job-01kx…")
@live_jobs
@why_option
def pause(desk: Desk, jobs: tuple[str, ...], why: str) -> int:
    """Suspend what runs of a job and start no further task."""
    return change_jobs(desk, jobs, lambda job_id: PauseJob(job_id=job_id, why=why), "paused")


@verb("resume", "milepost resume job-01kx…")
@live_jobs
@why_option
def resume(desk: Desk, jobs: tuple[str, ...], why: str) -> int:
    """Let a paused job go on."""
    return change_jobs(desk, jobs, lambda job_id: ResumeJob(job_id=job_id, why=why), "no longer paused")


@verb("cancel", "milepost cancel job-01kx… job-01ky…", "milepost cancel wf-01kx… --why 'no longer needed'")
@live_jobs
@why_option
def cancel(desk: Desk, jobs: tuple[str, ...], why: str) -> int:
    """End a job: what runs is told to end, what waits never starts."""
    return change_jobs(desk, jobs, lambda job_id: CancelJob(job_id=job_id, why=why), "cancelled")


@verb("requeue", "milepost requeue job-01kx…", "milepost requeue job-01kx… --tasks 3,7-9")
@live_jobs
@click.option("--tasks", type=v.TASKS, metavar="TASKS", help="Only these of its tasks. Default: all that run.")
@why_option
def requeue(desk: Desk, jobs: tuple[str, ...], tasks: str | None, why: str) -> int:
    """Stop running tasks of a job and let them wait again."""
    return change_jobs(desk, jobs, lambda job_id: RequeueTasks(job_id=job_id, tasks=tasks, why=why), "requeued")


@verb("approve", "milepost approve job-01kx…", "milepost approve wf-01kx… --why 'the light is right'")
@live_jobs
@why_option
def approve(desk: Desk, jobs: tuple[str, ...], why: str) -> int:
    """Let the other tasks of a job go on, after a look at what its first ones have made.

    Jobs that wait for it were submitted with `--approval`; `milepost show` says where their results lie.
    """
    return change_jobs(desk, jobs, lambda job_id: ApproveJob(job_id=job_id, why=why), "approved")


@verb("retry", "milepost retry job-01kx…", "milepost retry wf-01kx…      (all its failed and cancelled jobs)")
@all_jobs
@why_option
def retry(desk: Desk, jobs: tuple[str, ...], why: str) -> int:
    """Open an ended job again for the tasks that failed or were cancelled."""
    return change_jobs(desk, jobs, lambda job_id: RetryJob(job_id=job_id, why=why), "open again", AGAIN)


@verb(
    "bypass",
    "milepost bypass job-01ky…                   (it waits for nothing any more)",
    "milepost bypass job-01ky… --on job-01kx…    (it does not wait for that one)",
)
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True, shell_complete=complete_jobs)
@click.option(
    "--on", "predecessors", metavar="JOB", multiple=True, shell_complete=complete_all_jobs, help="Only on these."
)
@why_option
def bypass(desk: Desk, jobs: tuple[str, ...], predecessors: tuple[str, ...], why: str) -> int:
    """Let a job start although jobs before it have not completed."""
    with desk.door(write=True) as door:
        only = {resolve(door, "job", each) for each in predecessors}

        def make(job_id: str) -> list[Command]:
            edges = blocking_edges(door, job_id, only)
            return [BypassDependency(dependency_id=edge, why=why) for edge in edges]

        return each_of(desk, door, jobs, lambda text: jobs_of(door, text, LIVE), make, "waits no longer")


@verb("prioritize", "milepost prioritize high job-01kx…", "milepost prioritize critical wf-01kx…")
@click.argument("words", metavar="PRIORITY JOB|WORKFLOW...", nargs=-1, required=True, shell_complete=complete_priority)
@why_option
def prioritize(desk: Desk, words: tuple[str, ...], why: str) -> int:
    """Give a job another priority: low, medium, high or critical."""
    found = [at for at in (0, len(words) - 1) if words[at].lower() in PRIORITY_WORDS]
    jobs = words[1:] if found[:1] == [0] else words[:-1]
    if not found or not jobs:
        raise click.UsageError(f"give a priority ({', '.join(PRIORITY_WORDS)}) and at least one job")
    priority = v.priority(words[found[0]])

    def make(job_id: str) -> Command:
        return PrioritizeJob(job_id=job_id, priority=priority, why=why)

    return change_jobs(desk, jobs, make, f"now {priority}")


def deadline_or_none(text: str) -> int | str:
    """A deadline, or the word none."""
    return "none" if text == "none" else v.deadline_ms(text)


@verb(
    "deadline",
    "milepost deadline +2h job-01kx…",
    "milepost deadline 18:00 wf-01kx…",
    "milepost deadline none job-01kx…",
)
@click.argument("time", type=v.Written("time", deadline_or_none))
@live_jobs
@why_option
def deadline(desk: Desk, time: int | str, jobs: tuple[str, ...], why: str) -> int:
    """Say when a job should be done: +2h, 18:00, ISO 8601, or none."""
    deadline_ms = None if isinstance(time, str) else time

    def make(job_id: str) -> Command:
        return SetDeadline(job_id=job_id, deadline_ms=deadline_ms, why=why)

    return change_jobs(desk, jobs, make, "has a new deadline")


@verb("drain", "milepost drain node-2 --why 'new disk'")
@node_ids
@why_option
def drain(desk: Desk, nodes: tuple[str, ...], why: str) -> int:
    """Place nothing more on a node; what runs there goes on."""
    return change_nodes(desk, nodes, lambda node_id: DrainNode(node_id=node_id, why=why), "draining")


@verb("undrain", "milepost undrain node-2")
@node_ids
@why_option
def undrain(desk: Desk, nodes: tuple[str, ...], why: str) -> int:
    """Let a drained node take work again."""
    return change_nodes(desk, nodes, lambda node_id: UndrainNode(node_id=node_id, why=why), "takes work again")


def change_jobs(desk: Desk, texts: Sequence[str], make: Make, said: str, statuses: Sequence[str] = LIVE) -> int:
    """Sends a command for each job, and for each job of a workflow that stands in one of the statuses."""
    with desk.door(write=True) as door:
        return each_of(
            desk, door, texts, lambda text: jobs_of(door, text, statuses), lambda job_id: [make(job_id)], said
        )


def change_nodes(desk: Desk, texts: Sequence[str], make: Make, said: str) -> int:
    """Sends a command for each node."""
    with desk.door(write=True) as door:
        return each_of(
            desk, door, texts, lambda text: [resolve(door, "node", text)], lambda node_id: [make(node_id)], said
        )


def each_of(
    desk: Desk,
    door: "Door",
    texts: Sequence[str],
    expand: Callable[[str], Sequence[str]],
    make: Callable[[str], Sequence[Command]],
    said: str,
) -> int:
    """Carries out one item after the other, whatever becomes of the others; the highest of their exit codes."""
    results: list[dict[str, Any]] = []
    for text in texts:
        for found, error in _ids(text, expand):
            results.append(_result(desk, door, found, error, make, said))
    _tell_how_to_undo(desk, [each["undo"] for each in results if each.get("undo")])
    desk.answer({"results": [{name: value for name, value in each.items() if name != "exit"} for each in results]})
    return max(int(each["exit"]) for each in results)


def _ids(text: str, expand: Callable[[str], Sequence[str]]) -> list[tuple[str, errors.TaskSchedulerError | None]]:
    try:
        return [(found, None) for found in expand(text)]
    except errors.StoreError:
        raise
    except errors.TaskSchedulerError as error:
        return [(text, error)]


def _result(
    desk: Desk,
    door: "Door",
    found: str,
    error: errors.TaskSchedulerError | None,
    make: Callable[[str], Sequence[Command]],
    said: str,
) -> dict[str, Any]:
    try:
        if error is not None:
            raise error
        commands, command_id = make(found), SystemIds().new("cmd")
        reply = door.handle(commands, command_id)
    except errors.StoreError:
        raise  # the others would fail alike
    except errors.TaskSchedulerError as refusal:
        failure = exits.failure_of(refusal)
        click.echo(f"milepost: {failure.message}", err=True)
        return {"id": found, "ok": False, **failure.document(), "exit": failure.exit_code}
    if not desk.as_json:
        click.echo(f"{found}  {said}" if reply.events else f"{found}  {said} (as before)")
    undo = command_id if reply.events and all(isinstance(each, UNDOABLE) for each in commands) else None
    done = {"changed": reply.events > 0, "position": reply.position, "command_id": command_id, "undo": undo}
    return {"id": found, "ok": True, **done, "exit": exits.OK}


def _tell_how_to_undo(desk: Desk, command_ids: Sequence[str]) -> None:
    """The command line that changes all of it back, as far as a line has room."""
    if command_ids:
        more = " …" if len(command_ids) > UNDO_AT_MOST else ""
        desk.note(f"to undo: milepost undo {' '.join(command_ids[:UNDO_AT_MOST])}{more}")


def jobs_of(door: "Door", text: str, statuses: Sequence[str]) -> list[str]:
    """The job that is meant, or those of a workflow that stand in one of the statuses; NotAllowed if it has none."""
    if not text.startswith("wf-"):
        return [resolve(door, "job", text)]
    workflow_id = resolve(door, "workflow", text)
    jobs = door.get(place("/api/workflows", workflow_id))["jobs"]
    found = [job["job_id"] for job in jobs if job["status"] in statuses]
    if not found:
        raise errors.NotAllowed(f"workflow {workflow_id!r} has no job that is {' or '.join(statuses)}")
    return found


def resolve(door: "Door", kind: str, text: str) -> str:
    """The full id that a person means."""
    return str(door.get(place("/api/resolve", kind, text))["id"])


def blocking_edges(door: "Door", job_id: str, only: set[str]) -> list[str]:
    """The dependencies that keep a job waiting, all or those on some predecessors; NotAllowed if there are none."""
    edges = door.get(place("/api/jobs", job_id))["dependencies"]
    found = [
        edge["dependency_id"]
        for edge in edges
        if edge["successor_id"] == job_id and edge["state"] in BLOCKING and (not only or edge["predecessor_id"] in only)
    ]
    if not found:
        raise errors.NotAllowed(f"job {job_id!r} waits for no other job" + (" of those named" if only else ""))
    return found
