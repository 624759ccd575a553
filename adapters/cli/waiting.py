"""Waiting for jobs and workflows: progress while it lasts, and what failed when it is over."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from adapters.cli import exits
from adapters.cli import values as v
from adapters.cli.changing import resolve
from adapters.cli.complete import complete_jobs
from adapters.cli.frame import Desk, need_server, place, verb
from adapters.cli.render import console
from adapters.cli.text import plain
from domain import errors

if TYPE_CHECKING:
    from adapters.door import Door

LOOK_S = 0.5
"""How long one question waits at the server; between two of them progress is shown."""
TAIL_LINES = 15
FAILED_TASKS = 3
"""Of how many failed tasks the output is shown."""
Document = dict[str, Any]


@verb("wait", "milepost wait job-01kx…", "milepost wait wf-01kx… job-01ky… --timeout 1h && make movie")
@click.argument("jobs", metavar="JOB|WORKFLOW...", nargs=-1, required=True, shell_complete=complete_jobs)
@click.option("--timeout", type=v.DURATION, metavar="TIME", help="Give up after so long, with exit code 1.")
def wait(desk: Desk, jobs: tuple[str, ...], timeout: int | None) -> int:
    """Wait until jobs or workflows have ended; exit code 1 unless all completed.

    Ends early, with exit code 1, when one of them cannot go on unless somebody does something.
    """
    with desk.door() as door:
        ids = [resolve(door, "workflow" if each.startswith("wf-") else "job", each) for each in jobs]
        return wait_for(desk, door, ids, timeout)


def wait_for(desk: Desk, door: "Door", ids: Sequence[str], timeout_ms: int | None = None) -> int:
    """Waits for all of them and says how they ended; 0 if all completed, else 1."""
    until_s = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
    with _progress(desk) as progress:
        results = [_wait_for_one(desk, door, each, until_s, progress) for each in ids]
    desk.answer({"results": results})
    if not desk.as_json:
        for result in results:
            _tell(door, result)
    return exits.OK if all(result["status"] == "completed" for result in results) else exits.FAILED


def _wait_for_one(
    desk: Desk, door: "Door", entity_id: str, until_s: float | None, progress: "ProgressShown"
) -> Document:
    while True:
        left_s = LOOK_S if until_s is None else max(0.0, min(LOOK_S, until_s - time.monotonic()))
        found: Document = door.get(place("/api/wait", entity_id), timeout_s=left_s)
        if found["outcome"] != "timeout" or (until_s is not None and time.monotonic() >= until_s):
            progress.show(found, _line_of(door, found))
            return found
        need_server(desk, door)
        progress.show(found, _line_of(door, found))


def _line_of(door: "Door", found: Document) -> Document:
    line: Document
    if found["kind"] == "workflow":
        line = door.get(place("/api/workflows", found["id"]))["workflow"]
        return {"progress": line["progress"], "done": line["tasks_succeeded"], "tasks": line["tasks"]}
    line = door.get(place("/api/jobs", found["id"]))["job"]
    return {"progress": line["progress"], "done": line["succeeded"], "tasks": line["tasks"]}


# -- progress ----------------------------------------------------------------------------------------------------


class ProgressShown(Protocol):
    """Where progress goes."""

    def show(self, found: Document, line: Document) -> None:
        """Takes in how one job or workflow stands."""
        ...


class Bars:
    """A bar per job on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def show(self, found: Document, line: Document) -> None:
        """Moves the bar."""
        if found["id"] not in self._bars:
            self._bars[found["id"]] = self._progress.add_task(plain(found["name"]), total=100, done="", status="")
        bar = self._bars[found["id"]]
        done = f"{line['done']}/{line['tasks']}"
        self._progress.update(bar, completed=line["progress"], done=done, status=found["status"])


class Lines:
    """A line on standard error whenever the status changes; nothing with `--json`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen: dict[str, str] = {}

    def show(self, found: Document, line: Document) -> None:
        """Writes the line if there is news."""
        if self._seen.get(found["id"]) != found["status"]:
            self._seen[found["id"]] = found["status"]
            self._desk.note(f"{found['id']}  {found['status']}  {line['done']}/{line['tasks']}  {plain(found['name'])}")


@contextmanager
def _progress(desk: Desk) -> "Iterator[ProgressShown]":
    if desk.as_json or not console(stderr=True).is_terminal:
        yield Lines(desk)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[done]} {task.fields[status]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        yield Bars(progress)


# -- what came of it ---------------------------------------------------------------------------------------------


def _tell(door: "Door", result: Document) -> None:
    """How it ended; of what failed, which tasks, and the end of what they printed."""
    name = plain(result["name"])
    if result["outcome"] == "ended":
        click.echo(f"{result['id']}  {result['status']}  {name}")
    else:
        said = "cannot go on" if result["outcome"] == "stuck" else f"still {result['status']}"
        click.echo(f"{result['id']}  {said}  {name}" + (f": {plain(result['why'])}" if result["why"] else ""))
    if result["status"] == "failed":
        for job_id in _failed_jobs(door, result):
            _tell_failures(door, job_id)


def _failed_jobs(door: "Door", result: Document) -> list[str]:
    if result["kind"] == "job":
        return [result["id"]]
    jobs = door.get(place("/api/workflows", result["id"]))["jobs"]
    return [job["job_id"] for job in jobs if job["status"] == "failed"]


def _tell_failures(door: "Door", job_id: str) -> None:
    found = door.get(place("/api/jobs", job_id))
    last = {attempt["task"]: attempt for attempt in found["attempts"] if attempt["outcome"] in ("failed", "lost")}
    for task, attempt in list(last.items())[:FAILED_TASKS]:
        click.echo(f"\ntask {task} of {job_id} failed: {failure_text(attempt)}", err=True)
        _echo_tail(door, job_id, attempt["attempt"])
    if len(last) > FAILED_TASKS:
        click.echo(f"\nand {len(last) - FAILED_TASKS} more failed; milepost show {job_id}", err=True)


def _echo_tail(door: "Door", job_id: str, attempt: int) -> None:
    try:
        log = door.get(place("/api/logs", job_id), attempt=attempt, tail=TAIL_LINES)
    except errors.NotFound:
        return  # it never ran, so it printed nothing
    if log["text"]:
        click.echo("".join(f"  | {line}\n" for line in log["text"].splitlines()), err=True, nl=False)


def failure_text(attempt: Document) -> str:
    """How an attempt failed: `exit code 3`, `signal 9`, with what was said about it."""
    how = str(attempt["failure"] or attempt["outcome"])
    if attempt["failure"] == "exit" and attempt["exit_code"] is not None:
        how = f"exit code {attempt['exit_code']}"
    elif attempt["signal"] is not None:
        how = f"{how}, signal {attempt['signal']}" if how != "signal" else f"signal {attempt['signal']}"
    message = plain(attempt["message"])
    return f"{how} ({message})" if message not in ("", how) else how
