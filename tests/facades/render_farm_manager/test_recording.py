"""What a farm's calls leave in the log: words of the core, questions, restarts, and replay after any calls."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.bootstrap import Direct, open_direct
from adapters.clock import SystemClock, SystemIds
from adapters.facades.bridge.render import folded
from adapters.facades.bridge.times import local
from adapters.facades.bridge.wallclock import now
from adapters.queries import Queries
from adapters.store.memory import MemoryLog
from adapters.views import Views
from application.app import Application
from domain.farm import Farm
from domain.messages import topic_of
from render_farm_manager.core import recording
from render_farm_manager.core.manager import RenderFarmManager
from render_farm_manager.core.models import JobPriority, RenderJobStatus
from render_farm_manager.core.recording import memories
from tests.facades.render_farm_manager.farms import client, due, farm, job, node
from tests.facades.render_farm_manager.playing import Player, says


class Hand:
    """A clock that is set by hand, and dates by it."""

    def __init__(self) -> None:
        self.at_ms = 1_741_000_000_000

    def now_ms(self) -> int:
        return self.at_ms


def questions(app: Application, data_dir: Path) -> Queries:
    return Queries(app.log, Views(data_dir, app.log), farm=lambda: app.farm, data_dir=data_dir, lock=app.lock)


def topics(app: Application, stream: str) -> list[str]:
    return [topic_of(type(recorded.event)) for recorded in app.log.stream(stream)]


def test_a_job_from_submission_to_its_end_in_the_words_of_the_core() -> None:
    manager = farm(node(), job())
    manager.run_scheduling_cycle()
    manager.update_job_progress("job1", 60)
    manager.handle_node_failure("n1", "smoke")
    manager.set_node_online("n1")
    manager.run_scheduling_cycle()
    manager.complete_job("job1")
    app = manager.app
    own = topics(app, "job-+job1")
    assert own == [
        "job.submitted",
        "job.tasks_placed",
        "job.tasks_started",
        "job.progress_marked",
        "job.tasks_stopping",
        "job.tasks_stopped",
        "job.tasks_requeued",
        "job.tasks_placed",
        "job.tasks_started",
        "job.tasks_succeeded",
        "job.completed",
    ]
    assert topics(app, "node:n1") == ["node.registered", "node.online", "node.quarantined", "node.recovered"]
    placed = app.log.stream("job-+job1")[1]
    assert placed.meta.actor == "scheduler"
    assert not [each for each in app.log.read(0, 1000) if topic_of(type(each.event)) == "command.refused"]


def test_dependencies_are_declared_when_both_ends_are_known_and_settled_when_the_first_ends() -> None:
    manager = farm(node(), job("b", dependencies=["a"]))
    manager.submit_job(job("a"))
    manager.run_scheduling_cycle()
    manager.complete_job("a")
    manager.run_scheduling_cycle()
    edge = "dep-job-+a:job-+b"
    assert topics(manager.app, edge) == ["dependency.declared", "dependency.satisfied"]
    assert manager.jobs["b"].status == "running"
    assert "job.tasks_placed" in topics(manager.app, "job-+b")


def test_a_child_that_starts_at_half_of_its_parent_bypasses_it() -> None:
    manager = farm(node("n1"), node("n2"), job("a"), job("b", dependencies=["a"]))
    manager.run_scheduling_cycle()
    manager.update_job_progress("a", 50)
    manager.run_scheduling_cycle()
    assert topics(manager.app, "dep-job-+a:job-+b") == ["dependency.declared", "dependency.bypassed"]
    assert topics(manager.app, "job-+b")[-1] == "job.tasks_started"


def test_unfinished_pictures_are_published_by_the_attempt_that_runs() -> None:
    manager = farm(node(), job(supports_progressive_output=True))
    manager.run_scheduling_cycle()
    manager.progressive_renderer.scheduled_outputs["job1"] = [due(-1)]
    manager.run_scheduling_cycle()
    shown = manager.app.log.stream("job-+job1")[-1].event
    assert topic_of(type(shown)) == "job.partial_published"
    assert (shown.quality, shown.path) == (10, manager.progressive_renderer.get_latest_progressive_output("job1"))


def test_what_callers_change_between_calls_is_recorded_as_theirs() -> None:
    manager = farm(node(), job())
    manager.jobs["job1"].deadline = datetime.fromisoformat("2031-01-01T00:00")
    manager.jobs["job1"].priority = JobPriority.CRITICAL
    app = manager.app
    assert topics(app, "job-+job1") == ["job.submitted", "job.priority_changed", "job.deadline_changed"]
    assert {recorded.meta.actor for recorded in app.log.stream("job-+job1")} == {"caller"}
    observed = app.log.stream("external-render-job-job1")[-1].event
    assert observed.changes == {"deadline": "2031-01-01T00:00:00", "priority": "critical"}
    assert observed.why == "changed by the caller between two calls"


def test_facts_have_the_time_at_which_they_happened_though_they_are_told_later() -> None:
    manager = farm(node(), job("a"))
    first = int(now().timestamp() * 1000)
    while int(now().timestamp() * 1000) < first + 5:
        pass
    manager.submit_job(job("b"))
    times = [manager.app.log.stream(f"job-+{name}")[0].event.at_ms for name in "ab"]
    assert times[0] <= first < times[1]


def test_story_explanation_and_audit_work_on_it_at_any_position(tmp_path: Path) -> None:
    manager = farm(node(), job("a"), job("b", memory_requirements_gb=32), job("c", dependencies=["a"]))
    manager.run_scheduling_cycle()
    middle = manager.app.log.position()
    manager.complete_job("a")
    manager.run_scheduling_cycle()
    ask = questions(manager.app, tmp_path)
    story = [line["sentence"] for line in ask.get("/api/story/job-+a")["rows"]]
    assert "submitted" in story[0]
    assert any("n1" in line for line in story)
    assert "completed" in story[-1]
    then = ask.get("/api/explain/job-+b", at=f"@{middle}")
    assert then["status"] == "queued"
    assert [reason["code"] for reason in then["reasons"]] == ["resources-short"]
    waits = ask.get("/api/explain/job-+c", at=f"@{middle}")
    assert [reason["code"] for reason in waits["reasons"]] == ["dependency"]
    now = ask.get("/api/explain/job-+b")
    assert (now["status"], now["placements"][0]["nodes"]) == ("running", [["n1", 1]])
    actors = {line["actor"] for line in ask.get("/api/audit")["rows"]}
    assert {"caller", "scheduler"} <= actors
    node_story = [line["sentence"] for line in ask.get("/api/story/n1")["rows"]]
    assert "registered" in node_story[0]


def test_many_notes_are_told_little_by_little_without_anybody_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_NOTES", 20)
    manager = farm(node(), *[job(f"j{number}") for number in range(60)])
    assert 20 <= len(manager._recorder._notes) <= 22
    assert manager._recorder._told().app.log.position() > 0
    assert set(folded(manager.app)["job"]) == set(manager.jobs)


def test_an_application_that_is_handed_in_is_told_at_the_end_of_every_call() -> None:
    app = Application(MemoryLog(), Hand(), SystemIds())
    manager = farm(node(), job(), app=app)
    assert topics(app, "job-+job1") == ["job.submitted"]
    manager.run_scheduling_cycle()
    assert topics(app, "job-+job1")[-1] == "job.tasks_started"
    assert manager.app is app


def test_the_clock_of_the_application_is_the_clock_of_the_farm() -> None:
    clock = Hand()
    manager = farm(node(), app=Application(MemoryLog(), clock, SystemIds()))
    start = local(clock.at_ms)
    manager.submit_job(job(submission_time=start, deadline=start.replace(year=2031), supports_progressive_output=True))
    clock.at_ms += 3_600_000
    assert manager.run_scheduling_cycle()["progressive_outputs"] == 2
    manager.complete_job("job1")
    assert manager.performance_monitor.job_metrics["job1"]["turnaround_hours"] == 1.0


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[Direct]]:
    """A store on disk, and another opening of it."""
    stores: list[Direct] = []
    yield stores
    for store in stores:
        store.close()


def test_a_farm_goes_on_from_its_log_after_a_restart(tmp_path: Path, opened: list[Direct]) -> None:
    opened.append(open_direct(tmp_path))
    before = farm(node("n1"), node("n2"), job("a"), job("b"), job("c", dependencies=["b"]), app=opened[0].app)
    before.run_scheduling_cycle()
    before.update_job_progress("a", 35)
    before.complete_job("b")
    said, counted = says(before), before.performance_metrics
    opened.pop().close()
    opened.append(open_direct(tmp_path))
    after = RenderFarmManager(app=opened[0].app)
    assert says(after) == said
    assert after.performance_metrics == counted
    assert counted.total_jobs_completed == 1
    after.run_scheduling_cycle()
    assert after.jobs["c"].status == "running"
    assert after.complete_job("a")
    assert topics(after.app, "job-+a")[-2:] == ["job.tasks_succeeded", "job.completed"]
    assert folded(after.app)["job"] == says(after)["job"]


def test_two_managers_of_one_application_are_told_alike() -> None:
    app = Application(MemoryLog(), Hand(), SystemIds())
    first = farm(node(), job(), app=app)
    second = RenderFarmManager(app=app)
    assert second.jobs["job1"] == first.jobs["job1"]


def test_odd_names_and_sizes_are_recorded() -> None:
    manager = RenderFarmManager()
    for number in range(4):
        manager.add_client(client(f"c {number}/ü", guaranteed=60, most=180))
    manager.add_node(node("näme with blanks"))
    manager.submit_job(job("shot/010:v1", client_id="c 0/ü", name="x" * 500))
    manager.submit_job(job("too big", client_id="c 0/ü", memory_requirements_gb=9000))
    manager.submit_job(job("", client_id="c 0/ü"))
    manager.run_scheduling_cycle()
    manager.jobs["too big"].status, manager.jobs["too big"].assigned_node_id = RenderJobStatus.RUNNING, "nowhere"
    manager.jobs["shot/010:v1"].progress = 300
    manager.jobs["shot/010:v1"].priority = "urgent"  # type: ignore[assignment]
    manager.nodes["näme with blanks"].status = "melting"
    told = folded(manager.app)
    assert {kind: told[kind] for kind in ("job", "node", "client")} == says(manager)


# -- replay after any calls --------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), looks=st.lists(st.integers(0, 40), max_size=3), handed_in=st.booleans())
@settings(max_examples=60, deadline=None)
def test_replaying_the_log_gives_what_the_facade_says(seed: int, looks: list[int], handed_in: bool) -> None:
    app = Application(MemoryLog(), SystemClock(), SystemIds()) if handed_in else None
    manager = farm(node("n1"), node("n2"), client("c2", guaranteed=90, most=200), app=app)
    player = Player(seed, manager)
    for turn in range(40):
        player.play()
        if turn in looks:
            check(manager)
    check(manager)


def check(manager: RenderFarmManager) -> None:
    app = manager.app
    told = folded(app)
    assert {kind: told[kind] for kind in ("job", "node", "client")} == says(manager)
    again = Farm.fold(app.log.replay(0))
    assert again.position == app.farm.position
    assert again.jobs == app.farm.jobs
    assert again.nodes == app.farm.nodes
    back = RenderFarmManager(app=app)
    assert says(back) == says(manager)
    assert memories(back) == memories(manager)
