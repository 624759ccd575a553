"""`milepost logs`: what an attempt printed, and prints."""

import codecs
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.cli import exits
from adapters.cli import values as v
from adapters.cli.changing import resolve
from adapters.cli.complete import complete_all_jobs
from adapters.cli.frame import Desk, place, verb
from adapters.cli.looking import given
from domain import errors

if TYPE_CHECKING:
    from adapters.door import Door

LOOK_S = 0.1
CHUNK_BYTES = 1 << 16


@verb(
    "logs", "milepost logs job-01kx…", "milepost logs job-01kx… --task 7 --follow", "milepost logs job-01kx… --tail 50"
)
@click.argument("job", shell_complete=complete_all_jobs)
@click.option("--task", type=int, metavar="N", help="Which task. Default: that of the newest attempt.")
@click.option("--attempt", type=v.whole(1), metavar="N", help="Which attempt. Default: the newest one.")
@click.option("--tail", type=v.whole(0), metavar="N", help="Only the last N lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the attempt has ended.")
def logs(desk: Desk, job: str, follow: bool, **which: Any) -> int | None:
    """Print what an attempt of a job wrote to standard output and standard error."""
    if follow and desk.as_json:
        raise click.UsageError("--follow prints text as it comes; it cannot be one JSON document")
    with desk.door() as door:
        job_id = resolve(door, "job", job)
        try:
            if follow:
                _follow(door, job_id, which)
                return None
        except KeyboardInterrupt:
            return exits.OK
        found = door.get(place("/api/logs", job_id), **given(which))
        desk.answer(found)
        if not desk.as_json:
            click.echo(found["text"], nl=False)
            if not found["complete"] and which["tail"] is None:
                desk.note(f"(the end of {found['size_bytes']} bytes; all of it is in {found['path']})")
    return None


def _follow(door: "Door", job_id: str, which: dict[str, Any]) -> None:
    """Prints what is there and then what comes, until the attempt that was meant has ended."""
    found = _first(door, job_id, which)
    click.echo(found["text"], nl=False)
    path, at = Path(found["path"]), found["size_bytes"]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    running = True
    while running:
        running = _is_running(door, job_id, found["attempt_id"])
        for chunk in _news(path, at):
            click.echo(decoder.decode(chunk), nl=False)
            at += len(chunk)
        if running:
            time.sleep(LOOK_S)


def _news(path: Path, at: int) -> Iterator[bytes]:
    """What stands in a file behind a position; nothing while there is no file."""
    if path.exists():
        with path.open("rb") as file:
            file.seek(at)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def _first(door: "Door", job_id: str, which: dict[str, Any]) -> Any:
    """What there is to read, as soon as there is an attempt."""
    while True:
        try:
            return door.get(place("/api/logs", job_id), **given(which))
        except errors.NotFound:
            job = door.get(place("/api/jobs", job_id))["job"]
            if job["ended_ms"] is not None or which["attempt"] is not None or not door.is_server:
                raise
            time.sleep(LOOK_S)


def _is_running(door: "Door", job_id: str, attempt_id: str) -> bool:
    attempts = door.get(place("/api/jobs", job_id))["attempts"]
    return any(each["attempt_id"] == attempt_id and each["ended_ms"] is None for each in attempts)
