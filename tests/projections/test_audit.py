"""What the audit answers, worked out by hand from a few events."""

import pytest
from sqlalchemy import Connection, Engine

from domain import node
from domain.client import RegisterClient
from domain.dependency import DeclareDependency
from domain.job import commands as c
from domain.job.values import FailureClass, StopCause
from domain.log_level import LogLevel
from domain.resources import Resources
from projections import audit
from projections.audit import AuditFilter, Outcome
from tests.builders import NOW
from tests.projections.reading import folded
from tests.projections.world import World


@pytest.fixture
def world() -> World:
    """Ten events, a second between each two commands."""
    made = World()
    for command in (
        node.RegisterNode(node_id="alpha", capacity=made_of(4)),  # 1
        node.BringOnline(node_id="alpha"),  # 2
        RegisterClient(client_id="alpha"),  # 3
    ):
        made.do(command, actor="system")
        made.now_ms += 1000
    made.submit("job-1", client_id="alpha")  # 4
    made.place("job-1", "0", "alpha")  # 5
    made.now_ms += 1000
    made.start("job-1", 1)  # 6
    made.end("job-1", 1, failure=FailureClass.EXIT, exit_code=2)  # 7: the task failed, 8: so the job did
    made.now_ms += 1000
    made.do(c.HoldJob(job_id="job-1"), actor="user:bob")  # 9: refused
    made.do(node.LoseNode(node_id="alpha", why="power"), actor="watchdog")  # 10
    return made


def made_of(cores: int) -> Resources:
    return Resources(cores * 1000)


def positions(connection: Connection, **which: object) -> list[int]:
    return [entry.position for entry in audit.entries(connection, AuditFilter(**which))]  # type: ignore[arg-type]


def test_every_event_is_entered_with_who_what_when_and_why(engine: Engine, world: World) -> None:
    with folded(engine, world, audit.PROJECTION) as connection:
        found = {entry.position: entry for entry in audit.entries(connection)}
    assert sorted(found) == list(range(1, 11))
    failed = found[7]
    assert (failed.at_ms, failed.topic, failed.stream, failed.version) == (NOW + 4000, "job.tasks_failed", "job-1", 4)
    assert (failed.level, failed.outcome, failed.actor) == (LogLevel.WARNING, Outcome.FAILED, "node")
    assert (failed.reason, failed.command_id) == ("exit code 2", "c6")
    assert failed.summary == "Task 0 of job-1 failed: exit code 2."
    grades = {position: (entry.level.value, entry.outcome.value) for position, entry in found.items()}
    assert grades[4] == ("info", "done")
    assert grades[6] == ("debug", "done")
    assert grades[8] == ("error", "failed")
    assert grades[10] == ("critical", "lost")


def test_every_entry_names_what_it_concerns(engine: Engine, world: World) -> None:
    with folded(engine, world, audit.PROJECTION) as connection:
        found = {entry.position: entry.entities for entry in audit.entries(connection)}
        for position, entities in found.items():
            assert all(position in positions(connection, entity=each) for each in entities)
    assert found[4] == ("job-1", "client:alpha")
    assert found[5] == ("job-1", "client:alpha", "node:alpha")
    assert found[10] == ("node:alpha",)


def test_why_is_said_in_words_and_with_what_a_person_said(engine: Engine) -> None:
    world = World()
    world.submit("job-1", tasks="1-3", retries=1)
    world.place("job-1", "1-3", "n1")
    world.do(c.PauseJob(job_id="job-1", why="lunch"), c.ResumeJob(job_id="job-1"))
    world.do(c.StopAttempts(job_id="job-1", attempts=(1,), cause=StopCause.WALLTIME))
    world.end("job-1", 3, failure=FailureClass.EXIT, exit_code=2)
    world.do(c.RequeueTasks(job_id="job-1", tasks="2", why="wrong node"))
    with folded(engine, world, audit.PROJECTION) as connection:
        found = [(entry.topic, entry.reason) for entry in reversed(audit.entries(connection))]
    assert found[2:] == [
        ("job.paused", "lunch"),
        ("job.resumed", ""),
        ("job.tasks_stopping", "it ran longer than its walltime"),
        ("job.tasks_failed", "exit code 2"),
        ("job.tasks_requeued", "after a bad exit code"),
        ("job.tasks_stopping", "wrong node"),
    ]


def test_a_refused_command_is_entered_with_its_reason(engine: Engine, world: World) -> None:
    with folded(engine, world, audit.PROJECTION) as connection:
        (entry,) = audit.entries(connection, AuditFilter(actor="user:bob"))
    assert (entry.outcome, entry.level, entry.reason) == (Outcome.REFUSED, LogLevel.WARNING, entry.reason)
    assert entry.reason == "job 'job-1' has ended (failed); hold needs a job that has not"
    assert entry.summary.startswith("The command hold-job on job-1 was refused: job 'job-1' has ended (failed)")


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({"entity": "job-1"}, [9, 8, 7, 6, 5, 4]),
        ({"entity": "alpha"}, [10, 5, 4, 3, 2, 1]),
        ({"entity": "node:alpha"}, [10, 5, 2, 1]),
        ({"entity": "client:alpha"}, [5, 4, 3]),
        ({"entity": "nobody"}, []),
        ({"actor": "system"}, [3, 2, 1]),
        ({"level": LogLevel.WARNING}, [10, 9, 8, 7]),
        ({"level": LogLevel.CRITICAL}, [10]),
        ({"topic": "node."}, [10, 2, 1]),
        ({"topic": "job.tasks_"}, [7, 6, 5]),
        ({"topic": "%"}, []),
        ({"since_ms": NOW + 3000}, [10, 9, 8, 7, 6, 5, 4]),
        ({"until_ms": NOW + 1000}, [2, 1]),
        ({"since_ms": NOW + 1000, "until_ms": NOW + 2999}, [3, 2]),
        ({"since_ms": NOW + 99_000}, []),
        ({"until_ms": NOW - 1}, []),
        ({"before": 4}, [3, 2, 1]),
        ({"entity": "job-1", "level": LogLevel.WARNING, "before": 9}, [8, 7]),
    ],
    ids=str,
)
def test_entries_are_found_newest_first(
    engine: Engine, world: World, which: dict[str, object], expected: list[int]
) -> None:
    with folded(engine, world, audit.PROJECTION) as connection:
        assert positions(connection, **which) == expected


def test_a_list_can_be_read_page_by_page(engine: Engine, world: World) -> None:
    with folded(engine, world, audit.PROJECTION) as connection:
        first = audit.entries(connection, limit=6)
        second = audit.entries(connection, AuditFilter(before=first[-1].position), limit=6)
    assert [entry.position for entry in (*first, *second)] == list(range(10, 0, -1))


def test_a_dependency_belongs_to_both_its_jobs(engine: Engine, world: World) -> None:
    world.submit("job-2", after=("job-1",))
    edge = DeclareDependency(predecessor_id="job-1", successor_id="job-2")
    world.do(edge)
    with folded(engine, world, audit.PROJECTION) as connection:
        assert positions(connection, entity=edge.dependency_id) == [12]
        assert positions(connection, entity="job-2") == [12, 11]
        assert 12 in positions(connection, entity="job-1")


def test_a_moment_is_found_by_its_time(engine: Engine, world: World) -> None:
    moments = [NOW - 1, NOW, NOW + 999, NOW + 1000, NOW + 4500, NOW + 10**9]
    with folded(engine, world, audit.PROJECTION) as connection:
        assert [audit.position_at(connection, at_ms) for at_ms in moments] == [0, 1, 1, 2, 8, 10]


def test_levels_are_ranked_from_detail_to_alarm() -> None:
    assert [level.rank for level in LogLevel] == [0, 1, 2, 3, 4]
    assert list(LogLevel) == ["debug", "info", "warning", "error", "critical"]
