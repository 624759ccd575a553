"""Does every event change the read models once, whatever happens in between?"""

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from domain.catalog import TOPICS
from domain.job import commands as c
from domain.job.events import JobHeld
from domain.messages import Event, Meta, Recorded
from projections import audit, queue
from projections.compare import Comparison
from projections.projection import OtherLog, PositionBroken, Projection, ProjectionNotFound, UnknownTopic
from projections.queue.rows import QueueFold
from projections.rows import RowMissing
from projections.runner import BATCH, PROJECTIONS, ProjectionRunner
from projections.tables import JOBS, METERS, open_views
from tests.builders import NOW
from tests.projections.reading import Log, rows_of, runner_of
from tests.projections.world import World

WAIT_S = 10.0


class Disaster(Exception):
    """What a test lets happen."""


class Unheard(Event, frozen=True, kw_only=True, tag="job.unheard_of"):
    """An event type of a later release."""


@pytest.fixture
def world() -> World:
    """Two nodes and a job of three tasks, of which one has succeeded and one runs: 10 events."""
    made = World()
    made.add_node("n1")
    made.add_node("n2")
    made.submit("job-1", tasks="1-3")
    made.place("job-1", "1-2", "n1")
    made.start("job-1", 1, 2)
    made.end("job-1", 1)
    made.do(c.HoldJob(job_id="job-1"), c.UnholdJob(job_id="job-1"))
    return made


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda projection: projection.name)
def test_every_topic_is_handled_or_knowingly_ignored(projection: Projection) -> None:
    assert projection.missing(TOPICS) == []
    assert len(projection.table) == len(TOPICS)


def test_a_projection_that_does_not_know_a_topic_does_not_start(engine: Engine, world: World) -> None:
    forgetful = Projection("forgetful", (), QueueFold, {JobHeld: lambda fold, event, recorded: None})
    with pytest.raises(UnknownTopic, match="forgetful"):
        runner_of(engine, world, [forgetful])


def test_an_unknown_event_stops_the_runner_and_changes_nothing(engine: Engine, world: World) -> None:
    runner = runner_of(engine, world)
    runner.catch_up()
    before = rows_of(engine)
    world.log.append(Recorded(11, "job-1", 9, Unheard(at_ms=NOW), Meta("x")))
    with pytest.raises(UnknownTopic, match=r"'queue'.*'job.unheard_of' \(position 11\)"):
        runner.catch_up()
    assert rows_of(engine) == before


def test_a_repeated_event_is_refused_and_changes_nothing(engine: Engine, world: World) -> None:
    runner = runner_of(engine, world)
    runner.catch_up()
    before = rows_of(engine)
    with pytest.raises(PositionBroken, match="stands at 10, so event 10 cannot be next"):
        runner.fold(world.log[-1:])
    assert rows_of(engine) == before


@pytest.mark.parametrize("events", [[0, 2], [1], [0, 0]], ids=["a gap", "not the first", "one twice"])
def test_events_that_are_not_the_very_next_are_refused(engine: Engine, world: World, events: list[int]) -> None:
    runner = runner_of(engine, world)
    before = rows_of(engine)
    with pytest.raises(PositionBroken):
        runner.fold([world.log[at] for at in events])
    assert rows_of(engine) == before


def test_two_processes_on_one_database_never_fold_an_event_twice(tmp_path: Path, world: World) -> None:
    engine = open_views(f"sqlite:///{tmp_path / 'views.db'}")
    one, other = runner_of(engine, world), runner_of(engine, world)
    one.fold(world.log[:6])
    with pytest.raises(PositionBroken, match="stands at 6"):
        other.fold(world.log[:4])  # it still believes that nothing was folded
    assert other.catch_up() == 10
    world.do(c.HoldJob(job_id="job-1"))
    assert one.catch_up() == 11
    assert one.compare().differences == ()
    engine.dispose()


def test_a_crash_while_writing_changes_nothing_and_can_be_repeated(
    engine: Engine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_of(engine, world)
    runner.fold(world.log[:5])
    before = rows_of(engine)
    flush = audit.AuditFold.flush

    def flush_and_fail(fold: audit.AuditFold) -> None:
        flush(fold)
        raise Disaster

    monkeypatch.setattr(audit.AuditFold, "flush", flush_and_fail)
    with pytest.raises(Disaster):
        runner.catch_up()
    assert rows_of(engine) == before
    assert runner.position() == 5
    monkeypatch.undo()
    assert runner.catch_up() == 10
    assert runner.compare().differences == ()


def test_a_crash_in_the_middle_of_a_rebuild_leaves_no_rows_at_a_position_they_do_not_stand_for(
    engine: Engine, world: World
) -> None:
    def read(after: int, limit: int) -> Sequence[Recorded]:
        raise Disaster

    runner_of(engine, world).catch_up()
    broken = ProjectionRunner(engine, read, world.position)
    with pytest.raises(Disaster):
        broken.rebuild(["queue"])
    runner = runner_of(engine, world)
    assert (runner.position(), runner.lag()) == (0, 10)
    assert rows_of(engine)["jobs"] == []
    assert len(rows_of(engine)["audit"]) == 10
    runner.catch_up()
    assert runner.compare().differences == ()


def test_one_projection_can_be_rebuilt_alone(engine: Engine, world: World) -> None:
    runner = runner_of(engine, world)
    runner.catch_up()
    before = rows_of(engine)
    with engine.begin() as connection:
        connection.execute(update(JOBS).values(name="spoilt"))
    seen: list[tuple[int, int]] = []
    assert runner.rebuild(["queue"], progress=lambda at, goal: seen.append((at, goal))) == 10
    assert rows_of(engine) == before
    assert seen == [(10, 10)]


def test_only_known_projections_can_be_rebuilt(engine: Engine, world: World) -> None:
    with pytest.raises(ProjectionNotFound, match=r"there are queue, nodes, .*utilization, .*audit"):
        runner_of(engine, world).rebuild(["timeline"])


def test_a_comparison_finds_rows_that_are_wrong_missing_or_too_many(engine: Engine, world: World) -> None:
    runner = runner_of(engine, world)
    runner.catch_up()
    with engine.begin() as connection:
        connection.execute(update(JOBS).values(name="spoilt", waiting=7))
        connection.execute(queue.PROJECTION.tables[3].delete().where(queue.PROJECTION.tables[3].c.attempt == 1))
        connection.execute(METERS.insert().values(number=99, kind="client", name="nobody"))
    found = runner.compare()
    wrong, missing, extra = found.differences
    assert found.position == 10
    assert (wrong.table, wrong.key) == ("jobs", {"number": 5})
    assert wrong.expected == {"name": "name of job-1", "waiting": 1}
    assert wrong.found == {"name": "spoilt", "waiting": 7}
    assert (missing.table, missing.key, missing.found) == ("attempts", {"job": 5, "attempt": 1}, None)
    assert (extra.table, extra.key, extra.expected) == ("meters", {"number": 99}, None)


def test_tables_of_an_older_shape_are_made_anew(engine: Engine, world: World) -> None:
    old = queue.PROJECTION
    runner_of(engine, world, [old, audit.PROJECTION]).catch_up()
    new = Projection(old.name, old.tables, QueueFold, *_parts(old), version=old.version + 1)
    runner = runner_of(engine, world, [new, audit.PROJECTION])
    assert runner.position() == 0
    assert rows_of(engine, [new])["jobs"] == []
    assert runner.catch_up() == 10
    assert [position for _, position, _ in rows_of(engine, [new])["positions"]] == [10, 10]


def _parts(projection: Projection) -> tuple[dict[Any, Any], list[Any]]:
    handled = {kind: handler for kind, handler in projection.table.items() if handler is not None}
    return handled, [kind for kind, handler in projection.table.items() if handler is None]


def test_a_long_log_is_read_in_batches(engine: Engine) -> None:
    world = World()
    world.submit("job-1")
    for _ in range(BATCH // 2):
        world.do(c.HoldJob(job_id="job-1"), c.UnholdJob(job_id="job-1"))
    asked: list[tuple[int, int]] = []

    def read(after: int, limit: int) -> Sequence[Recorded]:
        asked.append((after, limit))
        return world.read(after, limit)

    assert ProjectionRunner(engine, read, world.position, [queue.PROJECTION]).catch_up() == BATCH + 1
    assert asked == [(0, BATCH), (BATCH, 1)]


def test_catching_up_can_stop_at_a_position(engine: Engine, world: World) -> None:
    runner = runner_of(engine, world)
    assert runner.catch_up(upto=5) == 5
    assert runner.lag() == 5


def test_rows_that_the_log_speaks_of_but_the_table_lacks_are_an_error(engine: Engine, world: World) -> None:
    runner_of(engine, world).catch_up()
    with engine.begin() as connection:
        connection.execute(JOBS.delete())
    world.do(c.HoldJob(job_id="job-1"))
    with pytest.raises(RowMissing, match="'jobs' lacks the row 'job-1'"):
        runner_of(engine, world).catch_up()


def test_a_running_runner_follows_the_log_and_wakes_those_who_wait(tmp_path: Path, world: World) -> None:
    engine = open_views(f"sqlite:///{tmp_path / 'views.db'}")
    runner = runner_of(engine, world)
    stop, wake = threading.Event(), threading.Event()
    thread = threading.Thread(target=runner.run, args=(stop, wake))
    thread.start()
    try:
        assert runner.wait_for(10, WAIT_S)
        world.do(c.HoldJob(job_id="job-1"))
        wake.set()
        assert runner.wait_for(11, WAIT_S)
        assert not runner.wait_for(12, 0.01)
    finally:
        stop.set()
        wake.set()
        thread.join(WAIT_S)
    assert not thread.is_alive()
    engine.dispose()


def test_the_failure_of_a_running_runner_reaches_those_who_wait(engine: Engine, world: World) -> None:
    world.log.append(Recorded(11, "job-1", 9, Unheard(at_ms=NOW), Meta("x")))
    runner = runner_of(engine, world)
    with pytest.raises(UnknownTopic):
        runner.run(threading.Event(), threading.Event())
    with pytest.raises(UnknownTopic):
        runner.wait_for(11, WAIT_S)


def test_readers_are_not_kept_waiting_by_the_writer(tmp_path: Path, world: World) -> None:
    engine = open_views(f"sqlite:///{tmp_path / 'views.db'}")
    runner = runner_of(engine, world)
    runner.fold(world.log[:5])
    with engine.connect() as reader:
        assert queue.jobs_by_status(reader)["queued"] == 1
        runner.fold(world.log[5:])
        assert queue.jobs_by_status(reader)["queued"] == 1  # as it was when this reader began
    with engine.connect() as reader:
        assert queue.jobs_by_status(reader)["running"] == 1
    engine.dispose()


def test_rows_made_from_a_longer_log_are_not_taken_for_those_of_this_one(engine: Engine, world: World) -> None:
    runner_of(engine, world).catch_up()
    del world.log[6:]  # restored from a backup
    runner = runner_of(engine, world)
    with pytest.raises(OtherLog, match="stands at 10, but the log ends at 6"):
        runner.catch_up()
    assert runner.rebuild() == 6
    assert runner.compare().differences == ()


def test_many_processes_can_open_a_new_database_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from projections.runner import ProjectionRunner; from projections.tables import open_views; "
        "ProjectionRunner(open_views(sys.argv[1]), lambda after, limit: [], lambda: 0).catch_up()"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path / 'views.db'}"]
    root = Path(__file__).parents[2]
    processes = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE) for _ in range(4)]
    assert [process.communicate(timeout=60)[1].decode() for process in processes] == [""] * 4


def test_an_empty_log_gives_empty_read_models(engine: Engine) -> None:
    log = Log([])
    runner = ProjectionRunner(engine, log.read, log.position)
    assert (runner.catch_up(), runner.lag()) == (0, 0)
    assert runner.compare() == Comparison(position=0, rows=0, differences=())
