"""Questions to the farm: the present and the past give the same answers, and explanations come from the log."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.queries import Queries, past
from adapters.queries.explain import explain
from adapters.queries.lines import job_line, reason_answers
from adapters.queries.past import Point
from adapters.store.memory import MemoryLog
from application import farms
from domain import errors
from domain.job import commands as c
from domain.messages import Meta, Recorded
from projections import queue
from projections.queue import JobFilter
from projections.runner import ProjectionRunner
from projections.tables import open_views
from tests.adapters.counter import ODD_NAME, Counter, a_day, as_json, beside, counter
from tests.history import History, histories

JOBS = ("job-a1", "job-a2", "job-a3", "job-b", "job-c", "job-d", "job-e")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """A farm with a day behind it, for tests that change nothing."""
    with counter(tmp_path_factory.mktemp("day")) as opened:
        a_day(opened)
        yield opened


@pytest.fixture
def own_day(tmp_path: Path) -> Iterator[Counter]:
    """Such a farm for one test alone."""
    with counter(tmp_path) as opened:
        a_day(opened)
        yield opened


# -- present and past ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["priority", "oldest", "newest", "deadline", "name", "ended"])
def test_the_queue_as_it_was_a_moment_ago_is_the_queue_as_it_is(day: Counter, order: str) -> None:
    present = day.ask("/api/queue", all=True, order=order)
    assert day.ask("/api/queue", all=True, order=order, at=f"@{day.position}") == present | {
        "at_ms": day.app.farm.now_ms
    }
    assert {row["job_id"] for row in present["rows"]} == {*JOBS}


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"status": "running"},
        {"status": "completed, cancelled"},
        {"client": "show"},
        {"workflow": "wf-1", "all": True},
        {"text": "COMP"},
        {"limit": 2, "offset": 1},
        {"client": "nobody"},
    ],
)
def test_filters_mean_the_same_now_and_then(day: Counter, filters: dict[str, Any]) -> None:
    present, then = day.ask("/api/queue", **filters), day.ask("/api/queue", **filters, at="now")
    assert (present["rows"], present["total"]) == (then["rows"], then["total"])


@pytest.mark.parametrize("job_id", JOBS)
def test_a_job_as_it_was_a_moment_ago_is_the_job_as_it_is(day: Counter, job_id: str) -> None:
    present = day.ask(f"/api/jobs/{job_id}")
    assert day.ask(f"/api/jobs/{job_id}", at=f"@{day.position}") == present | {"at_ms": day.app.farm.now_ms}


def test_nodes_as_they_were_a_moment_ago_are_the_nodes_as_they_are(day: Counter) -> None:
    assert day.ask("/api/nodes", at="now") == day.ask("/api/nodes")


def test_other_eyes_see_the_same(tmp_path: Path) -> None:
    with counter(tmp_path / "data", on_disk=True) as opened:
        a_day(opened)
        other = beside(opened)
        for path in (
            "/api/status",
            "/api/queue",
            "/api/nodes",
            "/api/clients",
            "/api/audit",
            "/api/jobs/b",
            "/api/explain/c",
        ):
            assert other.get(path) == opened.ask(path)
        other.log.close()


def test_the_past_is_what_the_read_models_showed_then(day: Counter) -> None:
    for position in range(0, day.position + 1, 3):
        rows = day.ask("/api/queue", all=True, order="oldest", at=f"@{position}")["rows"]
        assert [without_reasons(row) for row in rows] == [without_reasons(row) for row in shown_at(day.log, position)]


def shown_at(log: Any, position: int) -> list[dict[str, Any]]:
    """All jobs in read models that know the log up to a position only."""
    runner = ProjectionRunner(open_views("sqlite://"), log.read, log.position)
    runner.catch_up(upto=position)
    with runner.engine.begin() as connection:
        views = queue.list_jobs(connection, JobFilter(all=True), queue.JobOrder.OLDEST)
    runner.engine.dispose()
    return [as_json(job_line(view, view.blockers)) for view in views]


def without_reasons(row: dict[str, Any]) -> dict[str, Any]:
    """Reasons of the past are judged by the farm and have their own test."""
    return {name: value for name, value in row.items() if name not in ("reasons", "why")}


@settings(max_examples=15)
@given(histories(), st.integers(0, 10**6))
def test_the_past_of_any_history_is_what_was_shown_and_what_the_farm_knew(history: History, number: int) -> None:
    log = log_of(history)
    position = number % (len(history.rows) + 1)
    farm = farms.load(log, position)
    point = Point(position, farm.now_ms)
    shown = {row["job_id"]: row for row in shown_at(log, position)}
    jobs = past.all_jobs(log, position)
    assert shown.keys() == jobs.keys()
    for view in past.views_at(log, jobs, position):
        assert without_reasons(as_json(job_line(view, ()))) == without_reasons(shown[view.job_id])
    for job_id, state in jobs.items():
        told = explain(log, job_id, point)
        live = state.ended is None and state.unplaced
        known = past.blockers_of(farm, farm.jobs[job_id], farm.now_ms) if state.ended is None else ()
        assert told.reasons == reason_answers(past.said_by(known, "x", "x"))
        assert [wait.to_ms for wait in told.waits].count(None) == (1 if live else 0)


def log_of(history: History) -> MemoryLog:
    log = MemoryLog()
    log.append([Recorded(0, stream, version, event, Meta("x")) for _, stream, version, event in history.rows])
    return log


def test_a_position_that_was_not_reached_yet_is_refused(day: Counter) -> None:
    with pytest.raises(errors.BadInput, match=f"the log ends at @{day.position}"):
        day.ask("/api/queue", at="@100000")
    assert day.ask("/api/queue", at="@0")["rows"] == []
    assert day.ask("/api/queue", at="2001-01-01")["rows"] == []


def test_a_job_cannot_be_seen_before_it_was_submitted(day: Counter) -> None:
    for path in ("/api/jobs/job-e", "/api/explain/job-e"):
        with pytest.raises(errors.JobNotFound):
            day.ask(path, at="@3")


# -- one job -----------------------------------------------------------------------------------------------------


def test_everything_about_a_job(day: Counter) -> None:
    found = day.ask("/api/jobs/job-b")
    assert found["job"]["name"] == ODD_NAME
    assert found["spec"]["retries"] == 1
    assert found["spec"]["work"]["argv"] == ["true"]
    assert found["spec"]["cwd" if "cwd" in found["spec"] else "deadline_ms"] is None, "defaults are named too"
    assert found["task_sets"]["all"] == "1-6"
    failed = [a for a in found["attempts"] if a["outcome"] == "failed"]
    assert [(a["exit_code"], a["failure"], a["message"]) for a in failed] == [(3, "exit", "no licence")]
    assert failed[0]["output_log"] == str(day.data_dir / "attempts" / failed[0]["attempt_id"] / "output.log")
    assert [a["outcome"] for a in found["attempts"]].count("lost") > 0
    (saved,) = found["checkpoints"]
    assert (saved["state"], saved["newest"], saved["progress"], saved["size_bytes"]) == ("taken", True, 40, 1 << 20)
    assert found["output_dir"] == str(day.data_dir / "jobs" / "job-b" / "output")


def test_only_the_newest_attempts_are_listed(day: Counter) -> None:
    every = day.ask("/api/jobs/job-b")["attempts"]
    assert day.ask("/api/jobs/job-b", attempts=2)["attempts"] == every[-2:]
    assert len(every) > 2


def test_dependencies_of_a_job_are_shown_with_their_states(day: Counter) -> None:
    edges = {
        (edge["predecessor_id"], edge["successor_id"]): edge["state"]
        for edge in day.ask("/api/jobs/job-a2")["dependencies"]
    }
    assert edges == {("job-a1", "job-a2"): "satisfied", ("job-a2", "job-a3"): "bypassed"}


# -- the farm ----------------------------------------------------------------------------------------------------


def test_the_status_counts(day: Counter) -> None:
    found = day.ask("/api/status")
    assert sum(found["jobs"].values()) == len(JOBS)
    assert (found["jobs"]["completed"], found["jobs"]["cancelled"]) == (1, 1)
    assert found["nodes"] == {"online": 1, "offline": 1, "maintenance": 0, "error": 0, "starting": 0, "stopping": 0}
    assert (found["position"], found["lag"], found["server"]) == (day.position, 0, None)


def test_nodes_say_how_full_they_are(day: Counter) -> None:
    n1, n2 = day.ask("/api/nodes")["rows"]
    assert (n1["node_id"], n1["draining"], n1["why"], n1["capacity"]["millicores"]) == ("n1", True, "new disks", 4000)
    assert n1["used"]["millicores"] > 0
    assert (n2["status"], n2["attempts"], n2["used"]["millicores"]) == ("offline", 0, 0)


def test_clients_say_what_they_may_and_do_use(day: Counter) -> None:
    rows = {row["client_id"]: row for row in day.ask("/api/clients")["rows"]}
    assert rows.keys() == {"default", "guest", "show"}
    assert (rows["show"]["limit_percent"], rows["show"]["live_jobs"]) == (50, 1)
    assert rows["show"]["running_tasks"] == len(day.job("job-b").live)


def test_workflows_are_sums_over_their_jobs(day: Counter) -> None:
    (line,) = day.ask("/api/workflows")["rows"]
    assert (line["workflow_id"], line["tasks"], line["jobs"]["completed"]) == ("wf-1", 3, 1)
    found = day.ask("/api/workflows/wf-1")
    assert [job["job_id"] for job in found["jobs"]] == ["job-a1", "job-a2", "job-a3"]
    assert len(found["dependencies"]) == 2


def test_utilization_is_that_of_the_span(day: Counter) -> None:
    found = day.ask("/api/utilization")
    assert 0 < found["percent"] <= 100
    assert found["to_ms"] == day.clock.now_ms()
    assert {client["client_id"] for client in found["clients"]} >= {"default", "show"}
    early = day.ask("/api/utilization", since="-1h", until="-30m")
    assert (early["percent"], early["core_s"]) == (0.0, 0.0)
    with pytest.raises(errors.BadInput):
        day.ask("/api/utilization", since="-30m", until="-1h")


# -- what happened -----------------------------------------------------------------------------------------------


def test_events_come_in_pages_as_they_are_stored(day: Counter) -> None:
    seen: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = day.ask("/api/events", after=after, limit=7)
        seen += page["rows"]
        after = page["next_after"]
    assert [row["position"] for row in seen] == list(range(1, day.position + 1))
    assert all(row["sentence"] and row["event"]["topic"] == row["topic"] for row in seen)


def test_events_can_be_narrowed_down(day: Counter) -> None:
    assert {row["topic"] for row in day.ask("/api/events", topic="node.")["rows"]} >= {"node.lost", "node.drained"}
    assert {row["stream"] for row in day.ask("/api/events", entity="job-b")["rows"]} == {"job-b"}
    assert {row["stream"] for row in day.ask("/api/events", entity="n1")["rows"]} == {"node:n1"}
    rows = day.ask("/api/events", since="-2500ms", until="-2s")["rows"]
    assert {row["event"]["at_ms"] for row in rows} == {day.clock.now_ms() - 2_000}
    with pytest.raises(errors.BadInput, match="no topic begins with"):
        day.ask("/api/events", topic="dragons")


def test_a_story_has_what_others_did_to_it(day: Counter) -> None:
    told = day.ask("/api/story/n2")
    topics = [row["topic"] for row in told["rows"]]
    assert topics[0] == "node.registered"
    assert {"job.tasks_placed", "node.lost", "job.tasks_lost"} <= set(topics)
    assert (told["kind"], told["complete"]) == ("node", True)
    assert day.ask("/api/story/n2", limit=2)["rows"] == told["rows"][-2:]
    assert not day.ask("/api/story/n2", limit=2)["complete"]


def test_the_audit_knows_who_and_what_was_refused(day: Counter) -> None:
    (refused,) = day.ask("/api/audit", topic="command.refused")["rows"]
    assert (refused["actor"], refused["outcome"], refused["level"]) == ("user:ada", "refused", "warning")
    assert {row["level"] for row in day.ask("/api/audit", level="critical")["rows"]} == {"critical"}
    assert {row["actor"] for row in day.ask("/api/audit", actor="scheduler")["rows"]} == {"scheduler"}
    newest = day.ask("/api/audit", limit=3)["rows"]
    older = day.ask("/api/audit", limit=3, before=newest[-1]["position"])["rows"]
    assert [row["position"] for row in newest + older] == list(range(day.position, day.position - 6, -1))


def test_the_output_of_an_attempt_is_found(own_day: Counter) -> None:
    newest = own_day.ask("/api/jobs/job-b")["attempts"][-1]
    file = Path(newest["output_log"])
    assert own_day.ask("/api/logs/job-b")["text"] == ""
    file.parent.mkdir(parents=True)
    file.write_bytes(b"one\ntwo\n\xff\nthree\n")
    found = own_day.ask("/api/logs/job-b")
    assert (found["text"], found["attempt_id"], found["complete"]) == (
        "one\ntwo\n�\nthree\n",
        newest["attempt_id"],
        True,
    )
    tail = own_day.ask("/api/logs/job-b", tail=1, attempt=newest["attempt"])
    assert (tail["text"], tail["complete"], tail["size_bytes"]) == ("three\n", False, 16)
    with pytest.raises(errors.NotFound, match="no attempt yet"):
        own_day.ask("/api/logs/job-e")
    with pytest.raises(errors.NotFound, match="no attempt 99"):
        own_day.ask("/api/logs/job-b", attempt=99)


# -- who is meant ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "meant"),
    [
        ("job", "job-b", ("job", "job-b")),
        ("job", "b", ("job", "job-b")),
        ("job", ODD_NAME, ("job", "job-b")),
        ("job", "comp", ("job", "job-c")),  # job-d of this name has been cancelled
        ("job", "job-d", ("job", "job-d")),
        ("any", "wf-1", ("workflow", "wf-1")),
        ("any", "a film", ("workflow", "wf-1")),
        ("node", "n2", ("node", "n2")),
        ("client", "gu", ("client", "guest")),
        ("any", "ckpt-job-b", ("checkpoint", None)),
        ("any", "dep-job-a1:job-a2", ("dependency", "dep-job-a1:job-a2")),
    ],
)
def test_a_beginning_or_a_name_is_enough(day: Counter, kind: str, text: str, meant: tuple[str, str | None]) -> None:
    found = day.ask(f"/api/resolve/{kind}/{quote(text, safe='')}")
    assert found["kind"] == meant[0]
    assert found["id"] == (meant[1] or found["id"])


def test_the_name_of_an_ended_job_counts_while_no_live_one_has_it(own_day: Counter) -> None:
    own_day.do(c.CancelJob(job_id="job-b"))
    assert own_day.ask(f"/api/resolve/any/{quote(ODD_NAME, safe='')}")["id"] == "job-b"
    own_day.do(c.CancelJob(job_id="job-c"))
    with pytest.raises(errors.AmbiguousId, match="job-d, job-c"):
        own_day.ask("/api/resolve/job/comp")


def test_what_could_be_several_is_refused_with_the_candidates(own_day: Counter) -> None:
    with pytest.raises(errors.AmbiguousId, match="'job-a' is the beginning of several ids: job-a1, job-a2, job-a3"):
        own_day.ask("/api/jobs/job-a")
    own_day.submit("job-f", name="comp")
    with pytest.raises(errors.AmbiguousId, match="'comp' is the name of several jobs: job-c, job-f; "):
        own_day.ask("/api/resolve/job/comp")
    own_day.submit("job-g", name="n1")
    with pytest.raises(errors.AmbiguousId, match="several things: job job-g, node n1; "):
        own_day.ask("/api/resolve/any/n1")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/api/jobs/nothing", errors.JobNotFound),
        ("/api/explain/nothing", errors.JobNotFound),
        ("/api/logs/nothing", errors.JobNotFound),
        ("/api/workflows/nothing", errors.WorkflowNotFound),
        ("/api/story/nothing", errors.NotFound),
        ("/api/resolve/node/nothing", errors.NodeNotFound),
        ("/api/resolve/client/nothing", errors.ClientNotFound),
        ("/api/resolve/checkpoint/nothing", errors.CheckpointNotFound),
        ("/api/resolve/dependency/nothing", errors.DependencyNotFound),
        ("/api/resolve/any/%2e%2e%2fetc", errors.NotFound),
        ("/api/resolve/dragon/x", errors.BadInput),
        ("/api/nowhere", errors.NotFound),
        ("/api/jobs/", errors.NotFound),
    ],
)
def test_what_is_not_there_is_said_to_be_missing(day: Counter, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        day.ask(path)


@pytest.mark.parametrize(
    ("path", "parameters", "place"),
    [
        ("/api/queue", {"limit": "many"}, "limit"),
        ("/api/queue", {"limit": -1}, "limit"),
        ("/api/queue", {"offset": -1}, "offset"),
        ("/api/workflows", {"limit": -1}, "limit"),
        ("/api/events", {"limit": 0}, "limit"),
        ("/api/audit", {"limit": -5}, "limit"),
        ("/api/audit", {"topic": "nosuch"}, "topic"),
        ("/api/queue", {"all": "perhaps"}, "all"),
        ("/api/queue", {"status": "sleeping"}, "status"),
        ("/api/queue", {"order": "random"}, "order"),
        ("/api/queue", {"colour": "red"}, ""),
        ("/api/queue", {"text": "x" * 1_001}, "text"),
        ("/api/audit", {"level": "loud"}, "level"),
        ("/api/logs/job-b", {"task": "first"}, "task"),
        ("/api/wait/job-b", {"timeout_s": "long"}, "timeout_s"),
    ],
)
def test_a_wrong_parameter_is_named(day: Counter, path: str, parameters: dict[str, str], place: str) -> None:
    with pytest.raises(errors.BadInput) as refused:
        day.ask(path, **parameters)
    assert refused.value.fields["place"] == place


def test_every_question_takes_the_position_of_ones_own_writes(day: Counter) -> None:
    for path in ("/api/queue", "/api/status", "/api/clients", "/api/explain/job-b"):
        assert day.ask(path, position=day.position)["position"] == day.position
    with pytest.raises(errors.BadInput, match=f"the log ends at @{day.position}"):
        day.ask("/api/queue", position=day.position + 1)


def test_who_asks_a_live_server_sees_his_own_writes(own_day: Counter) -> None:
    """Read models that a thread of the server keeps up with the log, woken by every commit."""
    stop, wake = threading.Event(), threading.Event()
    own_day.app.listen(lambda recorded: wake.set())
    engine = open_views(f"sqlite:///{own_day.data_dir / 'views.db'}")
    views = ProjectionRunner(engine, own_day.log.read, own_day.log.position)
    folding = threading.Thread(target=views.run, args=(stop, wake))
    folding.start()
    live = Queries(
        own_day.log,
        views,
        farm=lambda: own_day.app.farm,
        data_dir=own_day.data_dir,
        lock=own_day.app.lock,
        clock=own_day.clock,
        live=True,
    )
    for number in range(20):
        own_day.submit(f"job-x{number}")
        found = live.get("/api/queue", text=f"job-x{number}", position=own_day.position)
        assert [row["job_id"] for row in found["rows"]] == [f"job-x{number}"]
        assert live.get(f"/api/jobs/job-x{number}")["job"]["status"] == "queued"
    stop.set()
    wake.set()
    folding.join()
    engine.dispose()


def test_a_job_that_the_read_models_do_not_know_yet_is_read_from_the_log(own_day: Counter) -> None:
    live = Queries(
        own_day.log,
        own_day.views,
        farm=lambda: own_day.app.farm,
        data_dir=own_day.data_dir,
        clock=own_day.clock,
        live=True,
    )  # and nobody folds
    own_day.submit("job-new")
    assert live.get("/api/jobs/job-new")["job"]["status"] == "queued"
    assert live.get("/api/status")["lag"] > 0
