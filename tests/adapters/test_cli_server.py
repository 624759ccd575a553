"""The command line with a real server on real nodes: the ways that work takes, and what becomes of it in the end."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.cli_runner import (
    TEMPLATE,
    Cli,
    environment,
    eventually,
    finish,
    kill_nodes,
    living_nodes,
    run,
    server,
    start,
    stop,
)

SLEEP = "60"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a server with two nodes of one core each."""
    data_dir = tmp_path_factory.mktemp("served") / "farm"
    data_dir.mkdir()
    (data_dir / "milepost.toml").write_text("node_count = 2\n[node]\ncores = 1.0\nmemory_mib = 1024\n")
    with server(data_dir):
        yield data_dir


@pytest.fixture
def milepost(served: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The command line on the farm of that server; whatever a test leaves there is cancelled."""
    cli = Cli(served, capsys, monkeypatch)
    yield cli
    left = [row["job_id"] for row in cli.json("queue")["rows"]]
    if left:
        cli("cancel", *left)
        eventually(lambda: cli.json("nodes")["rows"][0]["attempts"] == 0, "the farm is empty again")


# -- the way of a job --------------------------------------------------------------------------------------------


def test_from_submission_to_explanation(milepost: Cli, tmp_path: Path) -> None:
    program = 'echo frame {task} $FLAVOUR; pwd; echo result > "$MILEPOST_OUTPUT_DIR/{task}"'
    options = ("--array", "1-3", "--name", "frames", "--env", "FLAVOUR=mint", "--cwd", str(tmp_path))
    job = milepost.submit(*options, "--output", str(tmp_path / "out"), "--", "sh", "-c", program)
    said = milepost("wait", job)
    assert said.out == f"{job}  completed  frames\n"
    assert milepost("logs", job, "--task", "2").out == f"frame 2 mint\n{tmp_path}\n"
    assert milepost("logs", job, "--task", "2", "--tail", "1").out == f"{tmp_path}\n"
    assert milepost.json("logs", job, "--task", "3")["attempt_id"].startswith(f"{job}.3.")
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["1", "2", "3"]
    found = milepost.json("show", job)
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["succeeded"] * 3
    page = milepost("show", job).out
    for word in ("completed", "3 succeeded", "Attempts", "node-1", f"results in  {tmp_path / 'out'}"):
        assert word in page
    topics = [row["topic"] for row in milepost("events", job, "--json").documents]
    assert topics[0] == "job.submitted"
    assert topics[-1] == "job.completed"
    assert "completed" in milepost("story", job).out.splitlines()[-1]
    assert "best-fit chose it" in milepost("explain", job).out
    audit = milepost.json("audit", "--entity", job, "--level", "info")["rows"]
    assert {row["actor"] for row in audit} >= {"scheduler", "dispatcher"}
    assert milepost.json("status")["server"]["pid"] > 0


def test_a_failure_is_shown_with_what_was_printed(milepost: Cli) -> None:
    program = "echo frame {task}; test {task} != 2 || { echo no licence; exit 3; }"
    said = milepost("submit", "--wait", "--array", "1-3", "--", "sh", "-c", program, code=1)
    job = said.out.split()[0]
    assert f"{job}  failed" in said.out
    assert f"task 2 of {job} failed: exit code 3\n  | frame 2\n  | no licence\n" in said.err
    answer = milepost.json("wait", job, code=1)["results"]
    assert [(each["id"], each["status"], each["outcome"]) for each in answer] == [(job, "failed", "ended")]
    assert milepost("wait", job, milepost.submit("--", "true"), code=1).out.count("\n") == 2
    assert "exit code 3" in milepost("show", job).out


def test_a_failed_job_is_tried_again(milepost: Cli, tmp_path: Path) -> None:
    program = f"test -e {tmp_path}/ready"
    job = milepost.submit("--", "sh", "-c", program)
    milepost("wait", job, code=1)
    (tmp_path / "ready").touch()
    milepost("retry", job)
    milepost("wait", job)
    assert [each["outcome"] for each in milepost.json("show", job)["attempts"]] == ["failed", "succeeded"]


def test_a_template_runs_step_by_step(milepost: Cli, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TEMPLATE)
    said = milepost.json("submit", str(tmp_path / "two.yaml"), "-p", "Count=3", "--wait")
    (result,) = said["results"]
    assert (result["kind"], result["status"]) == ("workflow", "completed")
    found = milepost.json("show", result["id"])
    assert [job["succeeded"] for job in found["jobs"]] == [3, 1]
    first, second = (milepost.json("show", job["job_id"])["attempts"] for job in found["jobs"])
    assert max(each["ended_ms"] for each in first) <= second[0]["placed_ms"]
    assert "Two steps of 3" in milepost("show", result["id"]).out


def test_waiting_can_be_given_up(milepost: Cli) -> None:
    job = milepost.submit("--", "sleep", SLEEP)
    assert "still" in milepost("wait", job, "--timeout", "300ms", code=1).out
    stuck = milepost.submit("--after", _failed(milepost), "--name", "stuck", "--", "true")
    said = milepost("wait", stuck, code=1)
    assert "cannot go on" in said.out
    assert "bypass" in said.out


def _failed(milepost: Cli) -> str:
    job = milepost.submit("--", "false")
    milepost("wait", job, code=1)
    return job


# -- interfering -------------------------------------------------------------------------------------------------


def test_hold_pause_requeue_and_cancel_reach_what_runs(milepost: Cli) -> None:
    job = milepost.submit("--hold", "--", "sleep", SLEEP)
    assert milepost.json("queue")["rows"][0]["why"].startswith("is held by user:")
    milepost("unhold", job)
    milepost.until(job, "running")
    milepost("pause", job)
    assert milepost.status(job) == "paused"
    milepost("resume", job)
    assert milepost.status(job) == "running"
    milepost("requeue", job)
    eventually(lambda: len(milepost.json("show", job)["attempts"]) == 2, "a second attempt")
    milepost("cancel", job, "--why", "no longer needed")
    milepost.until(job, "cancelled")
    assert milepost("wait", job, code=1).out.startswith(f"{job}  cancelled")
    eventually(lambda: _outcomes(milepost, job) == ["requeued", "cancelled"], "both attempts were told to end, and did")
    assert "no longer needed" in milepost("story", job).out


def _outcomes(milepost: Cli, job: str) -> list[str]:
    return [each["outcome"] for each in milepost.json("show", job)["attempts"]]


def test_the_most_urgent_goes_first(milepost: Cli) -> None:
    milepost("drain", "node-1", "node-2")
    first, second = (milepost.submit("--name", name, "--", "true") for name in ("first", "second"))
    milepost("prioritize", "high", second)
    assert [row["name"] for row in milepost.json("queue")["rows"]] == ["second", "first"]
    eventually(lambda: "no node takes work now" in milepost("queue", "--why").out, "the cycle says why")
    milepost("undrain", "node-1")
    milepost("wait", first, second)
    placed = [milepost.json("show", job)["attempts"][0]["placed_ms"] for job in (second, first)]
    assert placed == sorted(placed)
    milepost("undrain", "node-2")


def test_a_clients_limit_holds_its_tasks_back(milepost: Cli) -> None:
    milepost("client", "add", "lab", "--max-tasks", "1")
    job = milepost.submit("--client", "lab", "--array", "1-2", "--", "sleep", SLEEP)
    milepost.until(job, "running")
    eventually(lambda: "client lab may use" in milepost("queue", "--why").out, "the limit is the reason")
    (lab,) = [row for row in milepost.json("client", "list")["rows"] if row["client_id"] == "lab"]
    assert (lab["running_tasks"], lab["live_jobs"]) == (1, 1)
    milepost("client", "set", "lab", "--no-max-tasks")
    eventually(lambda: milepost.json("show", job)["job"]["running"] == 2, "both run")


def test_what_no_node_can_hold_is_refused_at_once(milepost: Cli) -> None:
    before = milepost.position()
    assert "no node could ever run this" in milepost("submit", "--cpus", "64", "--", "true", code=2).err
    assert "no node" in milepost("submit", "--memory", "2T", "--", "true", code=2).err
    assert milepost.position() == before


# -- following ---------------------------------------------------------------------------------------------------


def test_output_is_followed_to_its_end(milepost: Cli) -> None:
    job = milepost.submit("--", "sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done")
    assert milepost("logs", job, "--follow").out == "line 1\nline 2\nline 3\n"
    assert milepost("logs", job, "-f").out == "line 1\nline 2\nline 3\n"


def test_events_and_queue_are_followed_as_they_change(milepost: Cli, served: Path) -> None:
    after = str(milepost.position())
    events = start(served, "events", "--json", "--follow", "--after", after)
    queue = start(served, "queue", "--json", "--watch")
    assert queue.stdout is not None
    assert events.stdout is not None
    assert json.loads(queue.stdout.readline())["rows"] == []
    job = milepost.submit("--hold", "--", "true")
    assert json.loads(events.stdout.readline())["topic"] == "job.submitted"
    assert [row["status"] for row in json.loads(queue.stdout.readline())["rows"]] == ["pending"]
    milepost("cancel", job)
    assert json.loads(events.stdout.readline())["topic"] == "job.cancelled"
    assert json.loads(queue.stdout.readline())["rows"] == []
    for process in (events, queue):
        assert stop(process, signal.SIGINT).code == 0


def test_waiting_is_interrupted_with_a_code_of_its_own(milepost: Cli, served: Path) -> None:
    job = milepost.submit("--", "sleep", SLEEP)
    waiting = start(served, "wait", job)
    assert waiting.stderr is not None
    assert job in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    said = finish(waiting)
    assert said.code == 130
    assert "Traceback" not in said.err


# -- servers -----------------------------------------------------------------------------------------------------


def test_one_store_has_one_server(milepost: Cli, served: Path) -> None:
    pid = milepost.json("status")["server"]["pid"]
    for verb in ("serve", "run", "rebuild"):
        said = milepost(verb, code=5)
        assert f"(pid {pid})" in said.err
        assert said.err.count("\n") == 1
    assert milepost.json("rebuild", "--check")["differences"] == []


def test_a_port_that_is_taken_stops_a_server_before_any_node_starts(milepost: Cli, tmp_path: Path) -> None:
    port = milepost.json("status")["server"]["url"].rpartition(":")[2]
    other = tmp_path / "other"
    said = milepost("serve", "--data", str(other), "--port", port, code=2)
    assert f"cannot listen on 127.0.0.1:{port}" in said.err
    assert said.err.count("\n") == 1
    assert not (other / "nodes").exists()


@pytest.fixture
def alone(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The command line on a farm without a server; nodes that a test leaves there are killed."""
    cli = Cli(tmp_path / "farm", capsys, monkeypatch)
    yield cli
    kill_nodes(cli.data_dir)


def test_what_a_server_leaves_the_next_one_takes_over_or_ends(alone: Cli) -> None:
    with server(alone.data_dir) as process:
        job = alone.submit("--", "sh", "-c", "sleep 3; echo survived")
        alone.until(job, "running")
        said = stop(process)
        assert (said.code, said.err) == (0, "")  # what it does is said in text alone, and this one speaks JSON
        assert living_nodes(alone.data_dir) == ["node-1"]
        assert alone.json("status")["server"] is None
        with server(alone.data_dir, "--terminate") as second:
            alone("wait", job)
            assert alone("logs", job).out == "survived\n"
            assert alone.json("show", job)["job"]["attempts"] == 1
            job = alone.submit("--", "sleep", SLEEP)
            alone.until(job, "running")
            assert stop(second).code == 0
    assert alone.status(job) == "queued"
    assert living_nodes(alone.data_dir) == []
    assert not (alone.data_dir / "server.json").exists()


def test_a_server_that_drains_waits_until_it_is_forced(alone: Cli) -> None:
    with server(alone.data_dir, "--drain") as process:
        job = alone.submit("--", "sleep", "1")
        alone.until(job, "running")
        assert stop(process).code == 0
    assert alone.status(job) == "completed"
    with server(alone.data_dir, "--drain") as process:
        job = alone.submit("--", "sleep", SLEEP)
        alone.until(job, "running")
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)  # the first signal is being heeded: there is nothing to see from outside
        assert alone("hold", job).code == 0  # the door stays open while it waits
        said = stop(process, signal.SIGINT)
        assert (said.code, said.err) == (130, "milepost: forced; nodes and attempts go on\n")
        assert alone.status(job) == "running"
        assert living_nodes(alone.data_dir) == ["node-1"]


def test_the_command_line_goes_on_when_a_server_was_killed(alone: Cli) -> None:
    with server(alone.data_dir) as process:
        process.kill()
        finish(process)
        assert alone("queue").out == "The queue is empty.\n"
        alone("submit", "--", "true")
        assert alone.json("status")["server"] is None


# -- run ---------------------------------------------------------------------------------------------------------


def test_run_works_off_the_queue_and_says_what_failed(alone: Cli) -> None:
    alone("submit", "--array", "1-4", "--", "true")
    said = run(alone.data_dir, "run", "--nodes", "2")
    assert (said.code, said.out) == (0, "done: 1 completed\n")
    assert "completed" in said.err
    failed = alone.submit("--name", "bad", "--", "false")
    alone("submit", "--hold", "--name", "kept", "--", "true")
    said = run(alone.data_dir, "run", "--nodes", "2", "--json")
    answer = said.document
    assert (said.code, answer["failed"], answer["completed"]) == (1, [failed], [])
    (left,) = answer["left"]
    assert left["name"] == "kept"
    assert left["why"].startswith("is held by user:")
    assert living_nodes(alone.data_dir) == []


def test_run_lets_other_commands_in_and_can_be_interrupted(alone: Cli) -> None:
    job, other = (alone.submit("--cpus", "0.5", "--", "sleep", SLEEP) for _ in range(2))
    process = start(alone.data_dir, "run", "--nodes", "1")
    try:
        eventually((alone.data_dir / "server.json").exists, "the door is open")
        alone.until(job, "running")
        alone("cancel", other)
    finally:
        said = stop(process, signal.SIGINT)
    assert said.code == 130
    assert (alone.status(job), alone.status(other)) == ("queued", "cancelled")
    assert living_nodes(alone.data_dir) == []


def test_settings_of_the_file_are_heeded(served: Path, milepost: Cli) -> None:
    rows = milepost.json("nodes")["rows"]
    assert [(row["node_id"], row["capacity"]["memory_mib"]) for row in rows] == [("node-1", 1_024), ("node-2", 1_024)]


def test_a_shell_can_complete_from_a_running_farm(served: Path, milepost: Cli) -> None:
    job = milepost.submit("--hold", "--", "true")
    env = {
        **environment(served),
        "_MILEPOST_COMPLETE": "bash_complete",
        "COMP_WORDS": f"milepost cancel {job[:-4]}",
        "COMP_CWORD": "2",
    }
    program = [sys.executable, "-m", "adapters.cli"]
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"plain,{job}\n"
