"""What the shell proposes: ids and names from the farm. Whatever goes wrong here, nothing is proposed."""

import getpass
import sqlite3
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from adapters.cli.frame import default_data_dir
from domain.errors import TaskSchedulerError
from domain.job.values import Priority
from domain.undo import UNDOABLE_TOPICS

MANY = 200
Rows = list[dict[str, Any]]


def complete_jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Jobs that have not ended, by id, with their names."""
    return _items(_jobs(ctx, {}), incomplete)


def complete_priority(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A priority first, then jobs."""
    if ctx.params.get(param.name or ""):
        return complete_jobs(ctx, param, incomplete)
    return _items([(str(each), "") for each in Priority], incomplete)


def complete_template(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files."""
    return [CompletionItem(incomplete, type="file")]


def complete_all_jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Jobs, ended ones too."""
    return _items(_jobs(ctx, {"all": "1"}), incomplete)


def complete_nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Nodes."""
    return _items([(row["node_id"], row["status"]) for row in _rows(ctx, "/api/nodes")], incomplete)


def complete_clients(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Clients."""
    return _items([(row["client_id"], row["name"]) for row in _rows(ctx, "/api/clients")], incomplete)


def complete_reservations(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Reservations that are not over."""
    return _items([(row["reservation_id"], row["owner"]) for row in _rows(ctx, "/api/reservations")], incomplete)


def complete_partitions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Partitions, with their terms."""
    return _items([(row["partition"], row["text"]) for row in _rows(ctx, "/api/partitions")], incomplete)


def complete_any(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Jobs, workflows, nodes and clients."""
    workflows = [(row["workflow_id"], row["name"]) for row in _rows(ctx, "/api/workflows", all="1")]
    jobs = complete_all_jobs(ctx, param, incomplete)
    others = complete_nodes(ctx, param, incomplete) + complete_clients(ctx, param, incomplete)
    return jobs + _items(workflows, incomplete) + others


def complete_commands(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What this person changed lately and can undo, by command, with the first thing that each changed."""
    try:
        rows = _rows(ctx, "/api/audit", actor=f"user:{getpass.getuser()}", limit=MANY)
    except (KeyError, OSError):  # a process without a name
        return []
    found = {row["command_id"]: row["summary"] for row in rows if row["topic"] in UNDOABLE_TOPICS}
    return _items(list(found.items()), incomplete)


def complete_family(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Families of policies."""
    from domain.policies import FAMILIES  # noqa: PLC0415 (not needed for other words)

    return _items([(family, "") for family in FAMILIES], incomplete)


def complete_edit(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Changes of a set of policies: `order=`, then the names that there are; and files."""
    from adapters.importers.catalog import catalog  # noqa: PLC0415 (not needed for other words)

    rows = catalog()
    family, equals, _ = incomplete.partition("=")
    if equals:
        named = [(f"{family}={row['name']}", str(row["brief"])) for row in rows if row["family"] == family]
        return _items(named, incomplete)
    words = {f"{row['family']}=": "" for row in rows if row["family"] != "filter"}
    found = _items(list(words.items()), incomplete)
    return found or [CompletionItem(incomplete, type="file")]


def _jobs(ctx: click.Context, filters: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["job_id"], row["name"]) for row in _rows(ctx, "/api/queue", limit=MANY, **filters)]


def _rows(ctx: click.Context, path: str, **params: Any) -> Rows:
    from adapters.door import connect  # noqa: PLC0415 (loaded only when there is something to ask)

    data_dir: Path = ctx.params.get("data_dir") or default_data_dir()
    try:
        door = connect(data_dir, write=False)
    except (TaskSchedulerError, OSError, sqlite3.Error):
        return []
    try:
        rows: Rows = door.get(path, **params)["rows"]
    except (TaskSchedulerError, OSError, sqlite3.Error):
        return []
    finally:
        door.close()
    return rows


def _items(found: list[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word, help=note) for word, note in found if word.startswith(incomplete)]
