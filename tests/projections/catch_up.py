"""How fast projections catch up, each against a raw fold and bulk insert of the same rows.

The floor folds the same events with dicts, lists and one `if` per event type, without asking whether an event is known,
repeated or missing, without being able to stop and go on, and writes the final rows at once with plain `sqlite3`.
`ROWS` has the form of `tests.benchmarks`; `python -m tests.projections.catch_up` measures them alone.
"""

import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from domain import intervals
from domain.forecasting.promises import ForecastsMade, ForecastsScored
from domain.job import events as e
from domain.messages import Recorded
from domain.node import NodeOnline, NodeRegistered
from domain.reservation import ReservationMade
from projections.projection import Projection
from projections.runner import PROJECTIONS, ProjectionRunner
from projections.story import event_sentence
from projections.tables import open_views
from tests.benchmarks.harness import Pair, Row, Size, run, seconds
from tests.projections.busy import BusyFarm

Log = Sequence[Recorded]


# -- raw folds -------------------------------------------------------------------------------------------------------


def fold_queue(log: Log) -> None:  # noqa: C901 (a branch per event type is what makes it raw)
    """Jobs with their counts, attempts with their ends."""
    jobs: dict[str, list[Any]] = {}
    attempts: dict[tuple[str, int], list[Any]] = {}
    for position, stream, _, event, _ in log:
        kind = type(event)
        if kind is e.JobSubmitted:
            spec = event.spec
            count = intervals.size(spec.tasks)
            jobs[stream] = [
                position,
                spec.name,
                spec.client_id,
                spec.workflow_id,
                event.at_ms,
                count,
                0,
                0,
                0,
                "queued",
            ]
        elif kind is e.TasksPlaced:
            job = jobs[stream]
            for placement in event.placements:
                number, nodes = placement.first_attempt, str(placement.nodes)
                for task in intervals.members(placement.tasks):
                    attempts[stream, number] = [job[0], number, task, nodes, event.at_ms, None, None, "running", None]
                    number += 1
                    job[5] -= 1
                    job[6] += 1
        elif kind is e.TasksStarted:
            for number in event.attempts:
                attempts[stream, number][5] = event.at_ms
        elif kind is e.TasksSucceeded or kind is e.TasksFailed:
            job = jobs[stream]
            job[6] -= len(event.ends)
            job[7] += len(event.ends)
            outcome = "succeeded" if kind is e.TasksSucceeded else "failed"
            for end in event.ends:
                row = attempts[stream, end.attempt]
                row[6:] = end.ended_ms, outcome, end.exit_code, end.failure, end.message, end.cpu_ms, end.max_rss_mib
        elif kind is e.TasksRequeued:
            jobs[stream][5] += intervals.size(event.tasks)
        elif kind is e.JobCompleted:
            jobs[stream][9] = "completed"


def fold_nodes(log: Log) -> None:
    """What is used of each node: cores, memory and GPUs."""
    used: dict[str, list[int]] = {}
    needs: dict[str, Any] = {}
    live: dict[tuple[str, int], str] = {}
    for _, stream, _, event, _ in log:
        kind = type(event)
        if kind is e.JobSubmitted:
            needs[stream] = event.spec.requirement.resources
        elif kind is e.TasksPlaced:
            need = needs[stream]
            for placement in event.placements:
                node_id, count = placement.nodes[0][0], intervals.size(placement.tasks)
                for number in range(placement.first_attempt, placement.first_attempt + count):
                    live[stream, number] = node_id
                _move(used[node_id], need, count)
        elif kind is e.TasksSucceeded or kind is e.TasksFailed:
            need = needs[stream]
            for end in event.ends:
                _move(used[live.pop((stream, end.attempt))], need, -1)
        elif kind is NodeRegistered:
            used[event.node_id] = [0, 0, 0]


def fold_reservations(log: Log) -> None:
    """What is booked, by id: a look at every event for the few that are about that."""
    booked: dict[str, list[Any]] = {}
    for _, stream, _, event, _ in log:
        if type(event) is ReservationMade:
            booked[stream] = [event.owner, event.nodes, event.window]


def fold_preemptions(log: Log) -> None:
    """Claims by job, and who makes way for them: a look at every event that could end one of these."""
    claims: dict[str, list[Any]] = {}
    leaving: dict[tuple[str, int], str] = {}
    for _, stream, _, event, _ in log:
        kind = type(event)
        if kind is e.RoomClaimed:
            claims[stream] = [event.at_ms, event.mode, event.why, event.places, 0]
            leaving |= {(victim.job_id, victim.attempt): stream for victim in event.victims}
        elif kind is e.TasksPlaced:
            claims.pop(stream, None)
        elif kind is e.TasksSucceeded or kind is e.TasksFailed:
            for end in event.ends:
                leaving.pop((stream, end.attempt), None)


def _move(amounts: list[int], need: Any, times: int) -> None:
    amounts[0] += need.millicores * times
    amounts[1] += need.memory_mib * times
    amounts[2] += need.gpus * times


def fold_utilization(log: Log) -> None:  # noqa: C901 (as above)
    """Steps per minute of the levels of farm, clients and nodes."""
    levels: dict[str, list[int]] = {}
    steps: dict[tuple[str, int], list[int]] = {}
    jobs: dict[str, tuple[str, Any]] = {}
    live: dict[tuple[str, int], str] = {}
    for _, stream, _, event, _ in log:
        kind = type(event)
        if kind is e.JobSubmitted:
            jobs[stream] = (event.spec.client_id, event.spec.requirement.resources)
        elif kind is e.TasksPlaced:
            client_id, need = jobs[stream]
            for placement in event.placements:
                node_id, count = placement.nodes[0][0], intervals.size(placement.tasks)
                for number in range(placement.first_attempt, placement.first_attempt + count):
                    live[stream, number] = node_id
                for name in ("", client_id, node_id):
                    _step(levels, steps, name, event.at_ms, need, count)
        elif kind is e.TasksSucceeded or kind is e.TasksFailed:
            client_id, need = jobs[stream]
            for end in event.ends:
                for name in ("", client_id, live.pop((stream, end.attempt))):
                    _step(levels, steps, name, event.at_ms, need, -1)
        elif kind is NodeOnline:
            levels[event.node_id] = [0, 0, 0]


def fold_usage(log: Log) -> None:
    """Steps per quarter of an hour of the levels of each client on each node; nobody's share is worked out."""
    levels: dict[str, list[int]] = {}
    steps: dict[tuple[str, int], list[int]] = {}
    jobs: dict[str, tuple[str, Any]] = {}
    live: dict[tuple[str, int], str] = {}
    for _, stream, _, event, _ in log:
        kind = type(event)
        if kind is e.JobSubmitted:
            jobs[stream] = (event.spec.client_id, event.spec.requirement.resources)
        elif kind is e.TasksPlaced:
            client_id, need = jobs[stream]
            for placement in event.placements:
                name, count = f"{placement.nodes[0][0]} {client_id}", intervals.size(placement.tasks)
                for number in range(placement.first_attempt, placement.first_attempt + count):
                    live[stream, number] = name
                _step(levels, steps, name, event.at_ms, need, count, 900_000)
        elif kind is e.TasksSucceeded or kind is e.TasksFailed:
            need = jobs[stream][1]
            for end in event.ends:
                _step(levels, steps, live.pop((stream, end.attempt)), event.at_ms, need, -1, 900_000)


def _step(
    levels: dict[str, list[int]],
    steps: dict[tuple[str, int], list[int]],
    name: str,
    at_ms: int,
    need: Any,
    times: int,
    row_ms: int = 60_000,
) -> None:
    level = levels.get(name)
    if level is None:
        level = levels[name] = [0, 0, 0]
    level[0] += need.millicores * times
    level[1] += need.gpus * times
    level[2] += times
    part, offset = divmod(at_ms, row_ms)
    known = steps.get((name, part))
    if known is None:
        known = steps[name, part] = []
    known += (offset, *level)


def fold_shares(log: Log) -> None:
    """What every client holds and waits for, in cores and GPUs."""
    used: dict[str, list[int]] = {}
    waits: dict[str, list[int]] = {}
    jobs: dict[str, tuple[str, Any]] = {}
    for _, stream, _, event, _ in log:
        kind = type(event)
        if kind is e.JobSubmitted:
            spec = event.spec
            jobs[stream] = spec.client_id, spec.requirement.resources
            _move(waits.setdefault(spec.client_id, [0, 0, 0]), spec.requirement.resources, intervals.size(spec.tasks))
        elif kind is e.TasksPlaced:
            client_id, need = jobs[stream]
            for placement in event.placements:
                count = intervals.size(placement.tasks)
                _move(waits[client_id], need, -count)
                _move(used.setdefault(client_id, [0, 0, 0]), need, count)
        elif kind in (e.TasksSucceeded, e.TasksFailed):
            client_id, need = jobs[stream]
            _move(used[client_id], need, -len(event.ends))


def fold_forecasts(log: Log) -> None:
    """Who has a forecast: none of these jobs has a deadline, so there is nothing but to look."""
    rows = []
    for position, _, _, event, _ in log:
        if type(event) in (ForecastsMade, ForecastsScored):
            rows += [(position, row) for row in event.rows]


def fold_audit(log: Log) -> None:
    """A tuple with a sentence per event; the sentences are ours, as any audit needs some."""
    rows = []
    concerned = []
    for position, stream, version, event, meta in log:
        topic = event.__struct_config__.tag
        envelope = (position, event.at_ms, topic, stream, version, meta.actor, meta.command_id, meta.cause, meta.cycle)
        rows.append((*envelope, 1, "done", "", event_sentence(event)))
        concerned.append((stream, position))


FLOORS: dict[str, Callable[[Log], None]] = {
    "queue": fold_queue,
    "nodes": fold_nodes,
    "reservations": fold_reservations,
    "preemptions": fold_preemptions,
    "utilization": fold_utilization,
    "usage": fold_usage,
    "shares": fold_shares,
    "forecasts": fold_forecasts,
    "audit": fold_audit,
}


# -- measuring -------------------------------------------------------------------------------------------------------


@contextmanager
def catch_up(projections: Sequence[Projection], size: Size, directory: Path) -> Iterator[Pair]:
    """A busy log folded into fresh tables by the runner, and raw."""
    world = BusyFarm().fill(size.of(200_000, 50_000, 2_000))
    _ours(world, projections, directory / "model.db")
    tables = _tables(directory / "model.db", projections)
    events = len(world.log)
    yield Pair(
        lambda: seconds(lambda: _floor(world.log, projections, tables, _fresh(directory / "floor.db"))) / events,
        lambda: seconds(lambda: _ours(world, projections, _fresh(directory / "ours.db"))) / events,
    )


def _fresh(path: Path) -> Path:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return path


def _ours(world: BusyFarm, projections: Sequence[Projection], path: Path) -> None:
    engine = open_views(f"sqlite:///{path}")
    ProjectionRunner(engine, world.read, world.position, projections).catch_up()
    engine.dispose()


Tables = list[tuple[list[str], str, list[Any]]]
"""For each table the statements that make it, the one that fills it, and its rows."""


def _tables(path: Path, projections: Sequence[Projection]) -> Tables:
    connection = sqlite3.connect(path)
    found: Tables = []
    for table in [table for projection in projections for table in projection.tables]:
        making = "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL ORDER BY type DESC"
        made = [sql for (sql,) in connection.execute(making, (table.name,))]
        rows = connection.execute(f"SELECT * FROM {table.name}").fetchall()
        marks = ", ".join("?" * len(table.columns))
        found.append((made, f"INSERT INTO {table.name} VALUES ({marks})", rows))
    connection.close()
    return found


def _floor(log: Log, projections: Sequence[Projection], tables: Tables, path: Path) -> None:
    for projection in projections:
        FLOORS[projection.name](log)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    for made, fill, rows in tables:
        for statement in made:
            connection.execute(statement)
        connection.execute("BEGIN")
        connection.executemany(fill, rows)
        connection.execute("COMMIT")
    connection.close()


def _row(name: str, projections: Sequence[Projection]) -> Row:
    what = f"projection catch-up, {name}, 200,000 events"
    measure = partial(catch_up, projections)
    return Row(f"projection-{name}", what, "raw fold + bulk insert", "event", measure, accept=6, goal=3, rounds=5)


ROWS = (*(_row(projection.name, [projection]) for projection in PROJECTIONS), _row("all", PROJECTIONS))


if __name__ == "__main__":
    for row in ROWS:
        with tempfile.TemporaryDirectory() as scratch:
            result = run(row, Size.QUICK if "--quick" in sys.argv else Size.FULL, Path(scratch))
        print(
            f"{row.name:24} {result.our_rate:10,.0f} events/s  {result.ratio:5.2f} × the floor's time  {result.verdict}"
        )
