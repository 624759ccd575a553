"""`milepost show`: one job, workflow, node or client on a page."""

from typing import TYPE_CHECKING, Any

import click
from rich.console import RenderableType

from adapters.cli.booked import booked_text, page
from adapters.cli.complete import complete_any
from adapters.cli.frame import Desk, place, verb
from adapters.cli.looking import at_option, given, node_word
from adapters.cli.render import Cell, Column, ago, bar, clock, fields, heading, moment, short, span, styled, table
from adapters.cli.text import plain
from adapters.cli.waiting import failure_text
from domain.errors import NotFound
from projections.words import duration_text, lateness_text, size_text, tasks_text

if TYPE_CHECKING:
    from adapters.door import Door

Document = dict[str, Any]
Page = list[RenderableType]
ATTEMPTS_SHOWN = 20


@verb("show", "milepost show job-01kx…", "milepost show node-2 --at -5m", "milepost show wf-01kx… --json")
@click.argument("what", metavar="ID", shell_complete=complete_any)
@at_option
def show(desk: Desk, what: str, at: str | None) -> None:
    """Show everything about one job, workflow, node or client.

    The beginning of an id is enough where it is unique, and so is the name of a job.
    """
    with desk.door() as door:
        found = door.get(place("/api/resolve", "any", what))
        kind = found["kind"]
        if at is not None and kind not in ("job", "node"):
            raise click.UsageError(f"--at is for jobs and nodes; {found['id']} is a {kind}")
        document = _fetch(door, kind, found["id"], at)
        if desk.as_json:
            desk.answer(document)
        else:
            desk.print(*_PAGES[kind](document, document.get("at_ms") or desk.clock.now_ms()))


def _fetch(door: "Door", kind: str, entity_id: str, at: str | None) -> Document:
    paths = {
        "job": place("/api/jobs", entity_id),
        "workflow": place("/api/workflows", entity_id),
        "reservation": place("/api/reservations", entity_id),
    }
    lists = {"node": "/api/nodes", "client": "/api/clients"}
    if kind not in paths and kind not in lists:
        raise NotFound(f"{entity_id!r} is a {kind}; `milepost story {entity_id}` tells about it")
    found: Document = door.get(paths.get(kind) or lists[kind], **given({"at": at}))
    if kind in paths:
        return found
    rows: dict[str, Document] = {row[f"{kind}_id"]: row for row in found["rows"]}
    if entity_id not in rows:
        raise NotFound(f"{kind} {entity_id!r} was not there at that time")
    return rows[entity_id]


# -- job ---------------------------------------------------------------------------------------------------------


def _job_page(found: Document, now_ms: int) -> Page:
    job, spec = found["job"], found["spec"]
    page: Page = [fields(_job_head(found, job, now_ms) + _job_wish(job, spec, found["output_dir"]))]
    if job["reasons"]:
        page += [heading("Waits for"), *(f"  {plain(each['text'])}" for each in job["reasons"])]
    if found["dependencies"]:
        page += [heading("Dependencies"), _dependencies(found["dependencies"], job["job_id"])]
    if found["attempts"]:
        shown = found["attempts"][-ATTEMPTS_SHOWN:]
        left_out = job["attempts"] - len(shown)
        page += [heading("Attempts" + (f" (the newest; {left_out} more)" if left_out > 0 else ""))]
        page.append(_attempts(shown, now_ms))
    if found["checkpoints"]:
        page += [heading("Checkpoints"), _checkpoints(found["checkpoints"], now_ms)]
    return page


def _job_head(found: Document, job: Document, now_ms: int) -> list[tuple[str, str | Cell]]:
    sets = found["task_sets"]
    names = ("waiting", "running", "succeeded", "failed", "cancelled")
    counts = [f"{job[name]} {name}{_which(sets[name]) if name == 'failed' else ''}" for name in names if job[name]]
    if job["delayed"]:
        counts.append(f"{job['delayed']} in back-off")
    return [
        ("job", job["job_id"]),
        ("name", job["name"]),
        ("status", styled(job["status"])),
        ("tasks", f"{bar(job['progress'])}  {', '.join(counts)}"),
        ("note", job["note"]),
        ("client", job["client_id"]),
        ("workflow", job["workflow_id"] or ""),
        ("priority", job["priority"]),
        ("submitted", moment(job["submitted_ms"], now_ms)),
        ("started", moment(job["started_ms"], now_ms)),
        ("ended", moment(job["ended_ms"], now_ms)),
        ("ran", span(job["started_ms"], job["ended_ms"], now_ms)),
        ("deadline", deadline_text(job, now_ms)),
        ("not before", moment(job["not_before_ms"], now_ms)),
    ]


def _which(tasks: str) -> str:
    """`(task 7)`, `(tasks 1-3,9)`."""
    return f" ({tasks_text(tasks).lower()})"


def deadline_text(job: Document, now_ms: int) -> str:
    """The deadline; once the job has ended, whether that was in time."""
    when, late_ms = job["deadline_ms"], job["late_ms"]
    return moment(when, now_ms) if late_ms is None else f"{clock(when)}, {lateness_text(late_ms)}"


def _job_wish(job: Document, spec: Document, output_dir: str) -> list[tuple[str, str | Cell]]:
    work = spec["work"]
    argv = work.get("argv") or ()
    retries = spec.get("retries") or 0
    return [
        ("needs", job["requirement"]["text"]),
        ("runs", " ".join(argv) if argv else f"a step of a template ({work.get('runner')})"),
        ("in", work.get("cwd") or ""),
        ("results in", output_dir),
        ("walltime", duration_text(job["walltime_ms"]) if job["walltime_ms"] else ""),
        ("retries", str(retries) if retries else ""),
    ]


def _dependencies(rows: list[Document], job_id: str) -> RenderableType:
    lines = []
    for row in rows:
        waits = row["successor_id"] == job_id
        other = row["predecessor_id"] if waits else row["successor_id"]
        lines.append(("after" if waits else "before", other, styled(row["state"])))
    return table([Column(""), Column("JOB"), Column("STATE")], lines)


def _attempts(rows: list[Document], now_ms: int) -> RenderableType:
    columns = [
        Column("ATTEMPT", right=True),
        Column("TASK", right=True),
        Column("NODES", flexible=True),
        Column("OUTCOME"),
        Column("STARTED", right=True, drop=1),
        Column("RAN", right=True),
        Column("CPU", right=True, drop=3),
        Column("MEMORY", right=True, drop=4),
        Column("NOTE", flexible=True, drop=2, least=20, wraps=True),
    ]
    return table(columns, [_attempt(row, now_ms) for row in rows])


def _attempt(row: Document, now_ms: int) -> tuple[str | Cell, ...]:
    nodes = ", ".join(name if slots == 1 else f"{name} ×{slots}" for name, slots in row["nodes"])
    return (
        str(row["attempt"]),
        str(row["task"]),
        nodes,
        styled(row["outcome"]),
        ago(row["started_ms"], now_ms),
        span(row["started_ms"], row["ended_ms"], now_ms),
        duration_text(row["cpu_ms"]) if row["cpu_ms"] else "",
        size_text(row["max_rss_mib"]) if row["max_rss_mib"] else "",
        _attempt_note(row, now_ms),
    )


def _attempt_note(row: Document, now_ms: int) -> str:
    if row["outcome"] in ("failed", "lost"):
        return failure_text(row)
    notes = [row["status_text"], f"{row['progress']} %" if row["progress"] and row["ended_ms"] is None else ""]
    if row["restored_from"]:
        notes.append(f"from {row['restored_from']}")
    if row["partial_path"]:
        notes.append(_partial_note(row, now_ms))
    return ", ".join(note for note in notes if note)


def _partial_note(row: Document, now_ms: int) -> str:
    """What of it can be seen already, and how much of its time such results took."""
    ran_ms = (row["ended_ms"] or now_ms) - (row["started_ms"] or row["placed_ms"])
    share = f", which took {row['partial_cost_ms'] / max(1, ran_ms):.0%} of its time" if row["partial_cost_ms"] else ""
    return f"{row['partial_path']} shows it at {row['partial_quality']} %{share}"


def _checkpoints(rows: list[Document], now_ms: int) -> RenderableType:
    columns = [
        Column("CHECKPOINT"),
        Column("TASK", right=True),
        Column("PROGRESS", right=True),
        Column("TAKEN", right=True),
        Column("STATE"),
        Column("WHERE", drop=1, flexible=True, least=20),
    ]
    lines = [
        (
            row["checkpoint_id"], str(row["task"]), f"{row['progress']} %", ago(row["taken_ms"], now_ms),
            styled(row["state"]), row["location"],
        )
        for row in rows
    ]  # fmt: skip
    return table(columns, lines)


# -- workflow, node, client --------------------------------------------------------------------------------------


def _workflow_page(found: Document, now_ms: int) -> Page:
    workflow = found["workflow"]
    counts = ", ".join(f"{count} {word}" for word, count in workflow["jobs"].items() if count)
    head = [
        ("workflow", workflow["workflow_id"]),
        ("name", workflow["name"]),
        ("status", styled(workflow["status"])),
        ("tasks", f"{bar(workflow['progress'])}  {workflow['tasks_succeeded']}/{workflow['tasks']}"),
        ("jobs", counts),
        ("note", workflow["note"]),
        ("client", workflow["client_id"]),
        ("submitted", moment(workflow["submitted_ms"], now_ms)),
        ("ended", moment(workflow["ended_ms"], now_ms)),
    ]
    columns = [Column("JOB"), Column("NAME", flexible=True), Column("STATUS"), Column("DONE", right=True, drop=1)]
    columns.append(Column("AFTER", drop=2, flexible=True, least=24))
    names = {job["job_id"]: job["name"] for job in found["jobs"]}
    before: dict[str, list[str]] = {}
    for edge in found["dependencies"]:
        before.setdefault(edge["successor_id"], []).append(names.get(edge["predecessor_id"], edge["predecessor_id"]))
    lines = [
        (
            job["job_id"], short(job["name"]), styled(job["status"]), f"{job['progress']} %",
            ", ".join(before.get(job["job_id"], ())),
        )
        for job in found["jobs"]
    ]  # fmt: skip
    return [fields(head), "", table(columns, lines)]


def _node_page(node: Document, now_ms: int) -> Page:
    used, have = node["used"], node["capacity"]
    named = [f"{name} {used['named'].get(name, 0)}/{count}" for name, count in have["named"].items()]
    attributes = [f"{name}={','.join(values)}" for name, values in sorted(node["attributes"].items())]
    head = [
        ("node", node["node_id"]),
        ("status", styled(node_word(node))),
        ("why", node["why"]),
        ("attempts", str(node["attempts"])),
        ("cores", f"{used['millicores'] / 1000:g} of {have['millicores'] / 1000:g} in use"),
        ("memory", f"{size_text(used['memory_mib'])} of {size_text(have['memory_mib'])} in use"),
        ("gpus", f"{used['gpus']} of {have['gpus']} in use" if have["gpus"] else ""),
        ("storage", size_text(have["storage_mib"]) if have["storage_mib"] else ""),
        ("other", ", ".join(named)),
        ("attributes", ", ".join(attributes)),
        ("partitions", ", ".join(node["partitions"])),
        ("booked", booked_text(node)),
    ]
    return [fields(head)]


def _client_page(client: Document, now_ms: int) -> Page:
    head = [
        ("client", client["client_id"]),
        ("name", client["name"]),
        ("status", styled("suspended" if client["suspended"] else "active")),
        ("guarantee", f"{client['guarantee_percent']} % of the farm"),
        ("limit", f"{client['limit_percent']} % of the farm"),
        ("borrows", f"at most {client['borrow_percent']} % of the farm" if client["borrow"] else "nothing"),
        ("lends", "what it leaves unused" if client["lend"] else "nothing"),
        ("max tasks", "" if client["max_tasks"] is None else str(client["max_tasks"])),
        ("tier", client["tier"]),
        ("uses now", f"{client['running_tasks']} tasks, {client['used_millicores'] / 1000:g} cores"),
        ("live jobs", str(client["live_jobs"])),
    ]
    return [fields(head)]


def _reservation_page(found: Document, now_ms: int) -> Page:
    return [page(found)]


_PAGES = {
    "job": _job_page,
    "workflow": _workflow_page,
    "node": _node_page,
    "client": _client_page,
    "reservation": _reservation_page,
}
