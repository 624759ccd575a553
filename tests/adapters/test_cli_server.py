"""The command line with a real server on real nodes: the ways that work takes, and what becomes of it in the end."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.executors.locks import is_held
from tests.adapters.cli_runner import (
    TEMPLATE,
    Cli,
    environment,
    eventually,
    finish,
    run,
    server,
    shut_down,
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
    assert milepost.json("queue")["rows"][0]["why"] == "is held"
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
    outcomes = [each["outcome"] for each in milepost.json("show", job)["attempts"]]
    assert outcomes == ["requeued", "cancelled"]
    assert "no longer needed" in milepost("story", job).out


def test_the_most_urgent_goes_first(milepost: Cli) -> None:
    milepost("drain", "node-1", "node-2")
    first, second = (milepost.submit("--name", name, "--", "true") for name in ("first", "second"))
    milepost("prioritize", "high", second)
    assert [row["name"] for row in milepost.json("queue")["rows"]] == ["second", "first"]
    eventually(lambda: "draining" in milepost.json("queue")["rows"][0]["why"], "the cycle says why")
    assert "no node takes work" in milepost("queue", "--why").out or "draining" in milepost("queue", "--why").out
    milepost("undrain", "node-1")
    milepost("wait", first, second)
    placed = [milepost.json("show", job)["attempts"][0]["placed_ms"] for job in (second, first)]
    assert placed == sorted(placed)
    assert "undrained" not in milepost("nodes").out
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


def test_a_server_that_is_left_is_taken_over_with_all_that_runs(tmp_path: Path) -> None:
    data_dir = tmp_path / "farm"
    with server(data_dir) as first:
        job = run(data_dir, "submit", "--json", "--", "sh", "-c", "sleep 2; echo survived").document["job_ids"][0]
        eventually(lambda: _job(data_dir, job)["status"] == "running", "it runs")
        said = stop(first)
        assert (said.code, said.err.splitlines()[-1]) == (0, "stopped") or said.code == 0
        assert is_held(data_dir / "nodes" / "node-1" / "lock")
        with server(data_dir):
            assert run(data_dir, "wait", job).code == 0
            assert run(data_dir, "logs", job).out == "survived\n"
            assert _job(data_dir, job)["attempts"] == 1


def test_a_server_that_drains_waits_and_one_that_terminates_does_not(tmp_path: Path) -> None:
    data_dir = tmp_path / "farm"
    with server(data_dir, "--terminate") as process:
        job = run(data_dir, "submit", "--json", "--", "sleep", SLEEP).document["job_ids"][0]
        eventually(lambda: _job(data_dir, job)["status"] == "running", "it runs")
        assert stop(process).code == 0
    assert _job(data_dir, job)["status"] == "queued"
    assert not is_held(data_dir / "nodes" / "node-1" / "lock")
    run(data_dir, "cancel", job)
    with server(data_dir, "--drain") as process:
        job = run(data_dir, "submit", "--json", "--", "sleep", "1").document["job_ids"][0]
        eventually(lambda: _job(data_dir, job)["status"] == "running", "it runs")
        assert stop(process).code == 0
    assert _job(data_dir, job)["status"] == "completed"
    assert not (data_dir / "server.json").exists()


def test_a_second_signal_ends_a_server_at_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "farm"
    with server(data_dir, "--drain") as process:
        job = run(data_dir, "submit", "--json", "--", "sleep", SLEEP).document["job_ids"][0]
        eventually(lambda: _job(data_dir, job)["status"] == "running", "it runs")
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)  # the first signal is being heeded: there is nothing to see from outside
        said = stop(process, signal.SIGINT)
        assert said.code == 130
        assert "forced" in said.err
        assert _job(data_dir, job)["status"] == "running"
    assert run(data_dir, "show", job).code == 0


def test_the_command_line_goes_on_when_a_server_was_killed(tmp_path: Path) -> None:
    data_dir = tmp_path / "farm"
    with server(data_dir) as process:
        process.kill()
        finish(process)
        assert run(data_dir, "queue").out == "The queue is empty.\n"
        assert run(data_dir, "submit", "--", "true").code == 0
        assert run(data_dir, "status", "--json").document["server"] is None


def _job(data_dir: Path, job: str) -> dict[str, object]:
    found: dict[str, object] = run(data_dir, "show", "--json", job).document["job"]
    return found


# -- run ---------------------------------------------------------------------------------------------------------


def test_run_works_off_the_queue_and_says_what_failed(tmp_path: Path) -> None:
    data_dir = tmp_path / "farm"
    assert run(data_dir, "submit", "--array", "1-4", "--", "true").code == 0
    said = run(data_dir, "run", "--nodes", "2")
    assert (said.code, said.out) == (0, "done: 1 completed\n")
    assert "completed" in said.err
    run(data_dir, "submit", "--name", "bad", "--", "false")
    run(data_dir, "submit", "--hold", "--name", "kept", "--", "true")
    said = run(data_dir, "run", "--nodes", "2", "--json")
    assert said.code == 1
    answer = said.document
    assert (len(answer["failed"]), answer["completed"]) == (1, [])
    assert [(each["name"], each["why"]) for each in answer["left"]] == [("kept", "is held")]
    assert not is_held(data_dir / "nodes" / "node-1" / "lock")


def test_run_lets_other_commands_in_and_can_be_interrupted(tmp_path: Path) -> None:
    data_dir = tmp_path / "farm"
    job = run(data_dir, "submit", "--json", "--", "sleep", SLEEP).document["job_ids"][0]
    other = run(data_dir, "submit", "--json", "--cpus", "0", "--", "sleep", SLEEP).document["job_ids"][0]
    process = start(data_dir, "run", "--nodes", "1")
    try:
        eventually(lambda: (data_dir / "server.json").exists(), "the door is open")
        eventually(lambda: _job(data_dir, job)["status"] == "running", "it runs")
        assert run(data_dir, "cancel", other).code == 0
        said = stop(process, signal.SIGINT)
    finally:
        stop(process)
        shut_down(data_dir)
    assert said.code == 130
    assert _job(data_dir, job)["status"] == "queued"
    assert _job(data_dir, other)["status"] == "cancelled"


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
