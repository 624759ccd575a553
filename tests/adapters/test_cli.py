"""The command line without a server: submitting, changing, looking, making and mending."""

import os
from datetime import UTC, datetime
from pathlib import Path

from adapters.bootstrap import open_direct
from adapters.settings import EXAMPLE
from domain.node import RegisterNode
from domain.resources import Resources
from tests.adapters.cli_runner import TEMPLATE, Cli

# -- submitting --------------------------------------------------------------------------------------------------


def test_all_that_can_be_said_of_a_command_arrives_in_the_job(milepost: Cli, tmp_path: Path) -> None:
    before = milepost.submit("--id", "job-before", "--", "true")
    options = (
        "--name shot --cpus 0.5 --memory 1.5G --gpus 1 --storage 10M --license houdini=2 --license nuke "
        "--attr os=linux,macos --nodes 3 --array 1-9:2 --priority critical --deadline 2100-01-01T00:00Z "
        "--start-after 2099-01-01T00:00Z --after before --hold --retries 2 --backoff 5s --walltime 1h30m --grace 2s "
        "--env A=b=c --env HOME --cwd sub --output out"
    )
    # The gang is larger than the farm, which no node of a farm without nodes can know.
    direct = open_direct(milepost.data_dir)
    for number in (1, 2, 3):
        capacity = Resources(4_000, 8_192, 1, 100, 0, (("houdini", 2), ("nuke", 1)))
        command = RegisterNode(node_id=f"big-{number}", capacity=capacity, attributes={"os": ("linux",)})
        direct.app.handle(command, "watchdog")
    direct.close()
    found = milepost.json("show", milepost.submit(*options.split(), "--", "render", "-f", "{task}", "--deep"))
    spec, job = found["spec"], found["job"]
    assert spec["work"]["argv"] == ["render", "-f", "{task}", "--deep"]
    assert spec["work"]["env"] == {"A": "b=c", "HOME": os.environ["HOME"]}
    assert (spec["work"]["cwd"], spec["output_dir"]) == (str(tmp_path / "sub"), str(tmp_path / "out"))
    assert (spec["tasks"], spec["retries"], spec["backoff_ms"], spec["grace_ms"]) == ("1,3,5,7,9", 2, 5_000, 2_000)
    need = job["requirement"]
    assert need["resources"] == {
        "millicores": 500, "memory_mib": 1_536, "gpus": 1, "storage_mib": 10, "network_mbps": 0,
        "named": {"houdini": 2, "nuke": 1},
    }  # fmt: skip
    assert (need["slots"], need["distinct_nodes"]) == (3, True)
    assert need["attributes"] == [{"name": "os", "any_of": ["linux", "macos"], "all_of": []}]
    assert (job["priority"], job["held"], job["walltime_ms"]) == ("critical", True, 5_400_000)
    assert (job["deadline_ms"], job["not_before_ms"]) == (4_102_444_800_000, 4_070_908_800_000)
    assert [edge["predecessor_id"] for edge in found["dependencies"]] == [before]


def test_a_command_runs_where_it_was_submitted_and_is_named_after_itself(milepost: Cli, tmp_path: Path) -> None:
    found = milepost.json("show", milepost.submit("--cpus", "2", "python3", "render.py"))
    assert found["spec"]["work"]["cwd"] == str(tmp_path)
    assert found["job"]["name"] == "python3 render.py"


def test_the_same_submission_under_one_id_is_entered_once(milepost: Cli) -> None:
    first = milepost.json("submit", "--id", "job-mine", "--", "true")
    again = milepost.json("submit", "--id", "job-mine", "--", "true")
    assert (first["new"], again["new"]) == (True, False)
    assert first["position"] == again["position"] == milepost.position()
    assert "job.exists" in milepost("submit", "--json", "--id", "job-mine", "--", "false", code=3).out


def test_a_template_becomes_a_workflow_with_a_job_per_step(milepost: Cli, tmp_path: Path) -> None:
    template = tmp_path / "two.yaml"
    template.write_text(TEMPLATE)
    said = milepost.json("submit", "two.yaml", "-p", "Count=5", "--priority", "high", "--hold")
    assert said["names"] == ["First", "Second"]
    found = milepost.json("show", said["workflow_id"])
    assert found["workflow"]["name"] == "Two steps of 5"
    assert [(job["tasks"], job["priority"], job["held"]) for job in found["jobs"]] == [
        (5, "high", True),
        (1, "high", True),
    ]
    assert [edge["successor_id"] for edge in found["dependencies"]] == [said["job_ids"][1]]
    other = tmp_path / "template"
    other.write_text(TEMPLATE)
    assert milepost.json("submit", "--template", "template")["names"] == ["First", "Second"]


def test_a_workflow_under_an_id_of_its_own_is_entered_once(milepost: Cli, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TEMPLATE)
    first = milepost.json("submit", "two.yaml", "--id", "wf-mine")
    again = milepost.json("submit", "two.yaml", "--id", "wf-mine")
    assert first["job_ids"] == again["job_ids"] == ["job-mine-1", "job-mine-2"]
    assert (first["new"], again["new"]) == (True, False)
    answer = milepost.json("cancel", "wf-mine")["results"]
    assert [(each["id"], each["changed"]) for each in answer] == [(job_id, True) for job_id in first["job_ids"]]
    assert milepost.json("show", "wf-mine")["workflow"]["status"] == "cancelled"
    assert "has no job that is pending" in milepost("hold", "wf-mine", code=3).err
    assert [each["ok"] for each in milepost.json("retry", "wf-mine")["results"]] == [True, True]


def test_a_store_is_made_only_where_nothing_else_is(milepost: Cli, tmp_path: Path) -> None:
    fresh, other = tmp_path / "fresh", tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    assert milepost.json("submit", "--data", str(fresh), "--", "true")["position"] > 0
    milepost("submit", "--data", str(other), "--", "true", code=5)
    milepost("hold", "job-1", "--data", str(tmp_path / "none"), code=5)
    assert [each.name for each in other.iterdir()] == ["letter.txt"]
    assert not (tmp_path / "none").exists()


# -- changing ----------------------------------------------------------------------------------------------------


def test_each_of_many_has_its_own_result_and_the_worst_decides(milepost: Cli, shot: str) -> None:
    ended = milepost.submit("--", "true")
    milepost("cancel", ended)
    answer = milepost.json("hold", shot, "nosuch", ended, code=3)["results"]
    assert [(each["id"], each["ok"]) for each in answer] == [(shot, True), ("nosuch", False), (ended, False)]
    assert [each.get("error", {}).get("code") for each in answer] == [None, "job.not-found", "job.ended"]
    said = milepost("unhold", shot, "nosuch", code=2)
    assert said.out == f"{shot}  no longer held\n"
    assert [line.partition(":")[0] for line in said.err.splitlines()] == ["milepost", "to undo"]


def test_names_and_beginnings_of_ids_are_enough_where_they_are_unique(milepost: Cli, shot: str) -> None:
    other = milepost.submit("--", "true")
    assert milepost.json("hold", "shot")["results"][0]["id"] == shot
    assert milepost.json("hold", shot.removeprefix("job-"))["results"][0]["id"] == shot
    said = milepost("hold", "job-", code=2)
    assert shot in said.err
    assert other in said.err


def test_wishes_arrive(milepost: Cli, shot: str) -> None:
    for words, status in (
        (["hold"], "pending"),
        (["release"], "queued"),
        (["pause"], "paused"),
        (["resume"], "queued"),
    ):
        assert milepost(*words, shot).out.startswith(shot)
        assert milepost.status(shot) == status
    milepost("prioritize", "high", shot)
    milepost("prioritize", shot, "critical")
    milepost("deadline", "2100-01-01T00:00Z", shot)
    found = milepost.json("show", shot)["job"]
    assert (found["priority"], found["deadline_ms"]) == ("critical", 4_102_444_800_000)
    milepost("deadline", "none", shot)
    assert milepost.json("show", shot)["job"]["deadline_ms"] is None
    assert milepost("prioritize", "critical", shot).out.endswith("(as before)\n")
    milepost("cancel", shot, "--why", "not needed")
    assert milepost.json("show", shot)["job"]["note"] == "not needed"
    milepost("retry", shot)
    assert milepost.status(shot) == "queued"


def test_a_dependency_can_be_bypassed_one_by_one(milepost: Cli, shot: str) -> None:
    second = milepost.submit("--name", "second", "--", "true")
    waiting = milepost.submit("--name", "waiting", "--after", f"{shot},second", "--", "true")
    assert milepost.json("queue", "--text", "waiting")["rows"][0]["why"] == f"waits for {shot} to complete"
    milepost("bypass", waiting, "--on", "shot", "--why", "urgent")
    assert milepost.json("queue", "--text", "waiting")["rows"][0]["why"] == f"waits for {second} to complete"
    milepost("bypass", "waiting")
    assert milepost.status(waiting) == "queued"


def test_nodes_are_drained_and_clients_changed(milepost: Cli) -> None:
    milepost("drain", "node-1", "--why", "new disk")
    assert "draining" in milepost("nodes").out
    assert milepost.json("nodes")["rows"][0]["why"] == "new disk"
    milepost("undrain", "node")
    assert milepost.json("nodes")["rows"][0]["draining"] is False
    milepost("client", "add", "lab", "--guarantee", "20", "--limit", "50", "--max-tasks", "3", "--name", "The lab")
    milepost("client", "set", "lab", "--limit", "40")
    (lab,) = milepost.json("client", "list")["rows"]
    assert (lab["guarantee_percent"], lab["limit_percent"], lab["max_tasks"], lab["name"]) == (20, 40, 3, "The lab")
    milepost("client", "set", "lab", "--no-max-tasks", "--tier", "rush")
    milepost("client", "suspend", "lab")
    (lab,) = milepost.json("client", "list")["rows"]
    assert (lab["max_tasks"], lab["tier"], lab["suspended"]) == (None, "rush", True)
    assert "suspended" in milepost("client", "list").out
    milepost("client", "reinstate", "lab")
    assert milepost("client", "add", "lab2").out == "lab2  added\n"


# -- looking -----------------------------------------------------------------------------------------------------


HEADER = ["JOB", "NAME", "CLIENT", "STATUS", "PRIORITY", "TASKS", "DONE", "SUBMITTED", "WAITS", "FOR"]


def test_tables_for_people_and_documents_for_programs(milepost: Cli, shot: str) -> None:
    milepost("hold", shot)
    table = milepost("queue", "--why").out
    assert table.splitlines()[0].split() == HEADER
    assert table.splitlines()[1].startswith(f"{shot}  shot")
    assert "  pending  " in table.splitlines()[1]  # held is no status
    assert " is held by user:" in table.splitlines()[1]
    assert " is held by user:" in milepost("queue").out
    assert "\x1b" not in table  # colours are for terminals
    assert all(line == line.rstrip() for line in table.splitlines())
    (row,) = milepost.json("queue")["rows"]
    assert (row["job_id"], row["why"]) == (shot, f"is held by {row['held_by']}")
    page = milepost("show", "shot").out
    for word in (shot, "held", "sleep 1", "1 core", "Waits for"):
        assert word in page
    assert "1 queued" not in milepost("status").out
    milepost("client", "add", "lab")
    assert milepost("queue", "--client", "lab").out == "The queue is empty.\n"


def test_why_somebody_did_it_can_be_said_of_every_change_and_is_told(milepost: Cli, shot: str) -> None:
    milepost("client", "add", "lab")
    for words in (
        ("hold", shot), ("unhold", shot), ("pause", shot), ("resume", shot), ("prioritize", "high", shot),
        ("deadline", "+2h", shot), ("cancel", shot), ("retry", shot), ("drain", "node-1"), ("undrain", "node-1"),
        ("client", "set", "lab", "--limit", "5"), ("client", "suspend", "lab"), ("client", "reinstate", "lab"),
    ):  # fmt: skip
        milepost(*words, "--why", f"because of {words[0]}")
    milepost("requeue", shot, "--why", "nothing runs, so nothing is said")
    said = [row["reason"] for row in milepost.json("audit", "--actor", milepost.user())["rows"]]
    assert said[:13][::-1] == [
        "because of hold", "because of unhold", "because of pause", "because of resume", "because of prioritize",
        "because of deadline", "because of cancel", "because of retry", "because of drain", "because of undrain",
        "because of client", "because of client", "because of client",
    ]  # fmt: skip
    story = milepost("story", shot).out
    assert "goes on after its pause (because of resume)." in story
    assert "was paused (because of pause); its attempts" in story


def test_a_paused_job_waits_for_whoever_paused_it(milepost: Cli, shot: str) -> None:
    milepost("pause", shot, "--why", "lunch")
    assert " paused  " in milepost("queue").out
    assert f"is paused by {milepost.user()} (lunch)" in milepost("queue").out


def test_ages_of_the_past_are_those_of_then(milepost: Cli, shot: str) -> None:
    (row,) = milepost.json("queue")["rows"]
    made = datetime.fromtimestamp((row["submitted_ms"] + 60_000) / 1_000, UTC).isoformat()
    with_age = [line for line in milepost("show", shot, "--at", made).out.splitlines() if "submitted" in line]
    assert "(1 min ago)" in with_age[0]


def test_a_new_farm_is_announced_beside_the_answer(milepost: Cli, tmp_path: Path) -> None:
    mistyped = tmp_path / "mistyped"
    said = milepost("submit", "--data", str(mistyped), "--", "true")
    assert said.err == (
        f"new farm in {mistyped}; no server runs there: `milepost serve --data {mistyped}` (or run) does its work\n"
    )
    assert milepost("submit", "--data", str(mistyped), "--", "true").err == ""


def test_long_names_are_cut_in_tables_only(milepost: Cli) -> None:
    milepost("submit", "--name", "x" * 200, "--", "true")
    assert f"  {'x' * 59}…  " in milepost("queue").out
    assert milepost.json("queue")["rows"][0]["name"] == "x" * 200


def test_the_past_is_shown_as_it_was(milepost: Cli, shot: str) -> None:
    at = f"@{milepost.position()}"
    milepost("prioritize", "high", shot)
    milepost("drain", "node-1")
    milepost("cancel", shot)
    assert milepost.json("queue")["rows"] == []
    assert milepost.json("queue", "--at", at)["rows"][0]["priority"] == "medium"
    assert milepost.json("show", shot, "--at", at)["job"]["status"] == "queued"
    assert milepost.json("nodes", "--at", at)["rows"][0]["draining"] is False
    assert milepost.json("explain", shot, "--at", at)["status"] == "queued"
    assert milepost.json("show", "node-1", "--at", at)["draining"] is False
    milepost("client", "add", "lab")
    assert "--at is for jobs and nodes" in milepost("show", "lab", "--at", at, code=2).err


def test_what_happened_is_told_from_the_log(milepost: Cli, shot: str) -> None:
    milepost("hold", shot, "--why", "wrong camera")
    rows = milepost("events", shot, "--json").documents
    assert [row["topic"] for row in rows] == ["job.submitted", "job.held"]
    assert rows[1]["event"]["why"] == "wrong camera"
    assert rows[1]["meta"]["actor"].startswith("user:")
    lines = milepost("events", shot).out.splitlines()
    assert [line.split()[0] for line in lines] == [str(row["position"]) for row in rows]
    assert len(milepost("events", "--json", "--limit", "2").documents) == 2
    assert milepost("events", "--json", "--after", str(rows[0]["position"])).documents == rows[1:]
    assert "wrong camera" in milepost("story", shot).out
    assert len(milepost.json("story", shot, "--limit", "1")["rows"]) == 1
    assert "is held" in milepost("explain", shot).out
    audit = milepost.json("audit", "--entity", "shot")["rows"]
    assert [row["topic"] for row in audit] == ["job.held", "job.submitted"]
    assert "wrong camera" in milepost("audit", "--topic", "job.held").out
    assert milepost.json("audit", "--level", "critical")["rows"] == []
    assert "Nothing of that kind" in milepost("audit", "--actor", "nobody").out


def test_a_job_that_never_ran_has_nothing_to_read(milepost: Cli, shot: str) -> None:
    assert "no attempt" in milepost("logs", shot, code=2).err
    assert "no attempt" in milepost("logs", shot, "--follow", code=2).err
    assert "cannot be one JSON document" in milepost("logs", shot, "--follow", "--json", code=2).err


# -- making and mending ------------------------------------------------------------------------------------------


def test_a_data_directory_is_made_with_every_setting_explained(milepost: Cli, tmp_path: Path) -> None:
    farm = tmp_path / "new" / "farm"
    answer = milepost.json("init", str(farm))
    assert (farm / "milepost.toml").read_text() == EXAMPLE
    assert answer == {"data_dir": str(farm), "settings": str(farm / "milepost.toml")}
    assert milepost.json("queue", "--data", str(farm))["rows"] == []
    (farm / "milepost.toml").write_text("node_count = 3")
    assert "--force" in milepost("init", "--data", str(farm), code=2).err
    milepost("init", str(farm), "--force")
    assert (farm / "milepost.toml").read_text() == EXAMPLE


def test_wrong_settings_stop_a_server_before_it_starts(milepost: Cli) -> None:
    (milepost.data_dir / "milepost.toml").write_text("[timing]\nlese_ms = 1")
    for verb in ("serve", "run"):
        said = milepost(verb, code=2)
        assert "milepost.toml: there is no setting 'timing.lese_ms'; did you mean 'lease_ms'?" in said.err


def test_read_models_are_compared_and_made_anew(milepost: Cli, shot: str) -> None:
    milepost("hold", shot)
    milepost("queue")
    assert milepost.json("rebuild", "--check")["differences"] == []
    (milepost.data_dir / "views.db").unlink()
    assert milepost.json("rebuild")["position"] == milepost.position()
    assert milepost.json("queue")["rows"][0]["held"] is True
    assert "are what the log says" in milepost("rebuild", "--check").out


def test_damaged_read_models_are_named_and_made_anew(milepost: Cli, shot: str) -> None:
    for path in milepost.data_dir.glob("views.db*"):
        path.unlink()
    (milepost.data_dir / "views.db").write_bytes(b"torn page" * 1_000)
    assert "`milepost rebuild`" in milepost("queue", code=5).err
    milepost("rebuild")
    assert milepost.json("queue")["rows"][0]["job_id"] == shot


def test_the_demo_wants_a_directory_of_its_own(milepost: Cli) -> None:
    assert "is not empty" in milepost("demo", "--data", str(milepost.data_dir), code=2).err
