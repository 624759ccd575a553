"""What the shell proposes: ids and names from the farm. Whatever goes wrong here, nothing is proposed."""

import sqlite3
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from adapters.cli.frame import default_data_dir
from domain.errors import TaskSchedulerError
from domain.job.values import Priority

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


def complete_any(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Jobs, workflows, nodes and clients."""
    workflows = [(row["workflow_id"], row["name"]) for row in _rows(ctx, "/api/workflows", all="1")]
    jobs = complete_all_jobs(ctx, param, incomplete)
    others = complete_nodes(ctx, param, incomplete) + complete_clients(ctx, param, incomplete)
    return jobs + _items(workflows, incomplete) + others


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
