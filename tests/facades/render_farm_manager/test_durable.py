"""A farm on a store whose process is killed: what was recorded is there, whole calls only, and can be asked about."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.bootstrap import open_direct
from adapters.facades.bridge.render import folded
from domain.farm import Farm
from render_farm_manager.core.manager import RenderFarmManager
from tests.adapters.cli_runner import Cli
from tests.facades.render_farm_manager import dying_farm
from tests.facades.render_farm_manager.farms import farm, job, node
from tests.facades.render_farm_manager.playing import says_all

ROOT = Path(__file__).resolve().parents[3]
CALLS = 60
LONGEST_S = 120


def start(data: Path, seed: int, death: str = "") -> "subprocess.Popen[str]":
    """A farm that plays in a process of its own."""
    return subprocess.Popen(
        [sys.executable, dying_farm.__file__, str(data), str(seed), str(CALLS), death],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters" / "facades")])},
        stdout=subprocess.PIPE,
        text=True,
    )


def lines(said: str) -> Iterator[dict[str, Any]]:
    """What a process said, without a line that death cut short."""
    for line in said.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def reopened(data: Path) -> Any:
    """What a manager on the store says; replay gives what is there, and the farm goes on."""
    store = open_direct(data)
    try:
        manager = RenderFarmManager(app=store.app)
        found = json.loads(json.dumps(says_all(manager)))
        assert {kind: folded(store.app)[kind] for kind in ("job", "node", "client")} == {
            kind: found[kind] for kind in ("job", "node", "client")
        }
        again = Farm.fold(store.app.log.replay(0))
        assert (again.position, again.jobs, again.nodes) == (
            store.app.farm.position, store.app.farm.jobs, store.app.farm.nodes,
        )  # fmt: skip
        manager.run_scheduling_cycle()
        return found
    finally:
        store.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("point", ["before", "after"])
def test_killed_at_a_commit_a_farm_is_as_it_was_before_or_after_it(tmp_path: Path, seed: int, point: str) -> None:
    number = random.Random(seed).randint(8, 40)
    process = start(tmp_path, seed, f"{point}:{number}")
    said, _ = process.communicate(timeout=LONGEST_S)
    assert process.returncode == -signal.SIGKILL
    told = list(lines(said))
    assert told[-1]["when"] == "record"
    whole = told[-1] if point == "after" else told[-2]  # a call may have a second commit, of its reasons
    assert reopened(tmp_path) == whole["says"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_a_farm_is_as_its_last_call_or_the_next_left_it(tmp_path: Path, seed: int) -> None:
    process = start(tmp_path, 100 + seed)
    assert process.stdout is not None
    wanted, said = random.Random(seed).randint(20, 80), ""
    for _ in range(wanted):
        said += process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read()  # `communicate` would miss what was read ahead
    process.stdout.close()
    assert process.wait(LONGEST_S) == process.returncode == -signal.SIGKILL
    told = list(lines(said + rest))
    done = max(at for at, line in enumerate(told) if line["when"] == "done")
    assert reopened(tmp_path) in [line["says"] for line in told[done:]]


def test_what_the_parts_remember_of_jobs_outlives_them(tmp_path: Path) -> None:
    def opened() -> Any:
        return open_direct(tmp_path)

    store = opened()
    before = farm(node("n1"), node("n2"), app=store.app)
    shot = job("a", supports_progressive_output=True, priority="low")
    shot.deadline = shot.submission_time.replace(year=shot.submission_time.year - 1)
    before.submit_job(shot)
    before.submit_job(job("b", dependencies=["a"], priority="low"))
    before.run_scheduling_cycle()
    before.progressive_renderer.scheduled_outputs["a"].insert(0, shot.submission_time)
    before.run_scheduling_cycle()
    path = before.get_job_status("a")
    priorities = {name: each.priority for name, each in before.jobs.items()}
    assert priorities["a"] == "medium"
    store.close()

    store = opened()
    after = RenderFarmManager(app=store.app)
    assert path is not None
    assert after.get_job_status("a")["progressive_output_path"] == path["progressive_output_path"] is not None  # type: ignore[index]
    assert after.progressive_renderer.scheduled_outputs == before.progressive_renderer.scheduled_outputs
    assert after.scheduler._effective_priorities == {"b": "medium"}
    after.run_scheduling_cycle()
    assert {name: each.priority for name, each in after.jobs.items()} == priorities, "promoted once, not once a life"
    store.close()


def test_the_command_line_answers_for_a_farm_on_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_direct(tmp_path)
    manager = farm(node("n1"), job("a"), job("b"), job("c", dependencies=["b"]), app=store.app)
    manager.run_scheduling_cycle()
    middle = store.app.log.position()
    manager.complete_job("a")
    manager.run_scheduling_cycle()
    manager.handle_node_failure("n1", "smoke")
    store.close()
    cli = Cli(tmp_path, capsys, monkeypatch)
    story = cli("story", "job-+a").out
    assert "submitted" in story
    assert "n1" in story
    assert "completed" in story.splitlines()[-1]
    waits = cli.json("explain", "job-+c", "--at", f"@{middle}")
    assert [reason["code"] for reason in waits["reasons"]] == ["dependency"]
    then = {row["job_id"]: row["status"] for row in cli.json("queue", "--at", f"@{middle}")["rows"]}
    assert then == {"job-+a": "running", "job-+b": "queued", "job-+c": "pending"}
    now = {row["job_id"]: row["status"] for row in cli.json("queue")["rows"]}
    assert now == {"job-+b": "queued", "job-+c": "pending"}, "the node of the second job failed"
    audit = cli("audit").out
    assert "caller" in audit
    assert "scheduler" in audit
