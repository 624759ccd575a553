"""`milepost simulate`: schedules worked out by hand, everything counted, and mistakes that change nothing."""

import gzip
import hashlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import BashComplete

from adapters.cli import cli
from adapters.importers.swf import load_swf
from adapters.store.sqlite import LOG_FILE, read_log
from domain.errors import BadInput, StoreNotFound
from tests.adapters.cli_runner import Cli, eventually, finish, start
from tests.adapters.simulating import HEADER, START_MS, THREE, line, write


@pytest.fixture
def trace(tmp_path: Path) -> str:
    return write(tmp_path / "three.swf", THREE)


def sha256(*starts: tuple[int, int]) -> str:
    return hashlib.sha256("\n".join(f"{number} {start_s}" for number, start_s in starts).encode()).hexdigest()


# -- schedules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        ((), (0, 10, 2)),  # 3 ends at 7, before 2 can start
        (("--backfill", "none"), (0, 10, 20)),
        (("--backfill", "greedy"), (0, 10, 2)),
        (("--backfill", "conservative"), (0, 10, 2)),
        (("--backfill", "2", "--pass", "event"), (0, 10, 2)),
        (("--order", "sjf", "--backfill", "none"), (0, 10, 2)),
        (("--procs", "8"), (0, 1, 2)),
    ],
)
def test_the_schedule_is_the_one_worked_out_by_hand(
    milepost: Cli, trace: str, options: tuple[str, ...], starts: tuple[int, int, int]
) -> None:
    found = milepost.json("simulate", trace, *options)
    assert found["starts_sha256"] == sha256(*zip((1, 2, 3), starts, strict=True))
    waits = [start - submit for start, submit in zip(starts, (0, 1, 2), strict=True)]
    assert found["average_wait_s"] == sum(waits) / 3
    assert found["jobs_delayed"] == sum(wait > 0 for wait in waits)
    assert (found["jobs"], found["unfinished"], found["restarts"]) == (3, 0, 0)


def test_the_answer_has_everything(milepost: Cli, trace: str) -> None:
    found = milepost.json("simulate", trace)
    # 1: 0 to 10, 2: 10 to 20, 3: 2 to 7; used are 3 * 10 + 4 * 10 + 5 = 75 of 4 * 20
    assert (found["makespan_s"], found["utilization"], found["processors"]) == (20, 75 / 80, 4)
    assert found["average_bounded_slowdown"] == pytest.approx((1 + 19 / 10 + 1) / 3)
    assert (found["trace"], found["pass"], found["nodes"]) == ("three.swf", "instant", 1)
    assert (found["policies"]["order"], found["policies"]["backfill"]) == ("fifo", "easy")
    assert (found["dropped"], found["adjusted"]) == ({}, {})
    assert milepost.json("simulate", trace) == found


def test_people_read_a_page_and_the_speed_beside_it(milepost: Cli, tmp_path: Path) -> None:
    jobs = line(1, 0, 10, 3, 10) + line(2, 1, 10, 5, 10) + line(3, 2, 0, 1, 5) + line(4, 3, 9, 1, -1)
    said = milepost("simulate", write(tmp_path / "messy.swf", HEADER + jobs))
    words = " ".join(said.out.split())
    assert "trace messy.swf, 2 jobs machine 4 processors" in words
    assert "average wait 0.00 s" in words
    assert "Left out REASON JOBS no-run-time 1 too-large 1" in words
    assert "Adjusted REASON JOBS request-from-run 1" in words
    assert "simulated 2 jobs in" in said.err
    assert "jobs/s" in said.err


def test_overrun_and_size_are_as_the_options_say(milepost: Cli, tmp_path: Path) -> None:
    text = HEADER + "1 0 -1 20 2 -1 -1 4 10 -1 1 1 1 -1 1 -1 -1 -1\n"
    trace = write(tmp_path / "over.swf", text)
    for options, adjusted, makespan_s, used in (
        ((), "request-raised", 20, 1.0),
        (("--overrun", "keep"), "overrun-kept", 20, 1.0),
        (("--overrun", "kill"), "run-cut", 10, 1.0),
        (("--size-field", "allocated"), "request-raised", 20, 0.5),
    ):
        found = milepost.json("simulate", trace, *options)
        assert (found["adjusted"], found["makespan_s"], found["utilization"]) == ({adjusted: 1}, makespan_s, used)


def test_only_the_first_jobs_are_run_when_told_so(milepost: Cli, trace: str) -> None:
    assert milepost.json("simulate", trace, "--jobs", "2")["starts_sha256"] == sha256((1, 0), (2, 10))


def test_an_invented_workload_is_the_same_for_the_same_seed(milepost: Cli) -> None:
    words = ("simulate", "--synthetic", "60", "--load", "0.8", "--procs", "64", "--overestimate", "2")
    first = milepost.json(*words, "--seed", "7")
    assert (first["jobs"], first["processors"]) == (60, 64)
    assert milepost.json(*words, "--seed", "7") == first
    assert milepost.json(*words, "--seed", "8")["starts_sha256"] != first["starts_sha256"]


@pytest.mark.parametrize("name", ["out.swf", "out.swf.gz"])
def test_the_schedule_is_a_trace_whose_waits_are_the_simulated_ones(
    milepost: Cli, trace: str, tmp_path: Path, name: str
) -> None:
    out = tmp_path / name
    found = milepost.json("simulate", trace, "--backfill", "none", "--out", str(out))
    assert [(job.number, job.wait_s) for job in load_swf(out).jobs] == [(1, 0), (2, 9), (3, 18)]
    assert milepost.json("simulate", str(out), "--backfill", "none")["starts_sha256"] == found["starts_sha256"]
    assert out.read_bytes().startswith(b"\x1f\x8b" if name.endswith("gz") else b"; Version")
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == sorted([name, "three.swf"])


# -- policies ----------------------------------------------------------------------------------------------------------


def test_names_on_the_command_line_come_before_the_file(milepost: Cli, trace: str, tmp_path: Path) -> None:
    policies = write(tmp_path / "p.toml", 'order = "sjf"\nbackfill = 3\n')
    found = milepost.json("simulate", trace, "--policies", policies)["policies"]
    assert (found["order"], found["backfill"], found["placement"]) == ("sjf", "depth", "best-fit")
    assert found["parameters"] == {"backfill": {"reservations": 3}}
    found = milepost.json("simulate", trace, "--policies", policies, "--order", "fcfs", "--backfill", "none")[
        "policies"
    ]
    assert (found["order"], found["backfill"], found["parameters"]) == ("fcfs", "none", {})


# -- a kept store ------------------------------------------------------------------------------------------------------


def test_a_kept_store_has_the_same_schedule_and_every_other_command_reads_it(
    milepost: Cli, trace: str, tmp_path: Path
) -> None:
    kept = str(tmp_path / "kept")
    for order in ("fifo", "f1"):
        found = milepost.json("simulate", trace, "--order", order, "--backfill", "none", "--data", f"{kept}-{order}")
        in_memory = milepost.json("simulate", trace, "--order", order, "--backfill", "none")
        assert found == in_memory
    kept += "-fifo"
    rows = milepost.json("queue", "--all", "--data", kept)["rows"]
    assert {row["job_id"]: row["status"] for row in rows} == dict.fromkeys(
        ("job-000000001", "job-000000002", "job-000000003"), "completed"
    )
    rows = milepost.json("queue", "--at", str(START_MS + 5_000), "--data", kept)["rows"]
    assert {row["job_id"]: row["status"] for row in rows} == {
        "job-000000001": "running",
        "job-000000002": "queued",
        "job-000000003": "queued",
    }
    job = milepost.json("show", "job-000000003", "--data", kept)["job"]
    assert (job["submitted_ms"], job["ended_ms"]) == (START_MS + 2_000, START_MS + 25_000)
    assert "machine" in milepost("explain", "job-000000001", "--data", kept).out
    assert "job-000000002" in milepost("story", "job-000000002", "--data", kept).out
    assert "job.completed" in milepost("events", "--data", kept).out


def test_a_directory_that_holds_something_is_left_alone(milepost: Cli, trace: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    milepost("init", str(kept))
    milepost("simulate", trace, "--data", str(kept))  # settings and an empty store are no obstacle
    before = (kept / LOG_FILE).read_bytes()
    said = milepost("simulate", trace, "--data", str(kept), code=2)
    assert "holds a store of" in said.err
    assert (kept / LOG_FILE).read_bytes() == before
    assert "holds other things" in milepost("simulate", trace, "--data", str(tmp_path), code=2).err
    assert "not a directory" in milepost("simulate", trace, "--data", trace, code=2).err


@pytest.fixture
def endless(tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """A simulation into `kept` that is at work and has long to go."""
    kept = tmp_path / "kept"
    words = ("simulate", "--synthetic", "200000", "--load", "0.7", "--data", str(kept))
    process = start(tmp_path / "unused", *words)
    try:
        eventually(lambda: process.poll() is not None or stored(kept) >= 10_000, "there are events")
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def stored(kept: Path) -> int:
    """How many events another process finds."""
    try:
        log = read_log(kept)
    except (StoreNotFound, BadInput):  # not yet, or just without its tables
        return 0
    try:
        return log.position()
    finally:
        log.close()


def test_an_interrupted_simulation_leaves_a_store_that_is_a_beginning(
    endless: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    endless.send_signal(signal.SIGINT)
    said = finish(endless)
    assert said.code == 130
    assert said.err.splitlines() == [f"what was simulated so far is kept in {kept}", "milepost: interrupted"]
    log = read_log(kept)
    assert [recorded.position for recorded in log.read(0, 10_000)] == list(range(1, 10_001))
    log.close()


def test_a_killed_simulation_leaves_a_store_that_is_a_beginning(
    milepost: Cli, endless: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    endless.kill()
    endless.wait()
    found = milepost.json("status", "--data", str(kept))
    assert found["position"] >= 10_000
    assert milepost.json("rebuild", "--data", str(kept)) == {"position": found["position"]}


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "name a TRACE, or the number of jobs to invent"),
        (("{trace}", "--synthetic", "5"), "name a TRACE, or the number"),
        (("{trace}", "--seed", "5"), "--seed is for --synthetic"),
        (("--synthetic", "5", "--overrun", "keep"), "--overrun is for a TRACE"),
        (("--synthetic", "0"), "'0' is not between 1 and"),
        (("--synthetic", "5", "--load", "nan"), "'nan' is not a number of 0 or more"),
        (("--synthetic", "5", "--load", "0"), "load 0"),
        (("nosuch.swf",), "nosuch.swf"),
        (("{folder}/empty.swf",), "empty.swf: there is no job line in it"),
        (("{folder}/text.swf",), "text.swf, line 1:"),
        (("{folder}/damaged.swf.gz",), "damaged.swf.gz"),
        (("{trace}", "--order", "fastest"), "there is no order policy 'fastest'; known are"),
        (("{trace}", "--placement", "nosuch"), "there is no placement policy 'nosuch'"),
        (("{trace}", "--estimate", "nosuch"), "there is no estimate policy 'nosuch'"),
        (("{trace}", "--priority", "nosuch"), "there is no priority policy 'nosuch'"),
        (("{trace}", "--backfill", "0"), "backfill: 0 is no number of reservations"),
        (("{trace}", "--backfill", "-1"), "there is no backfill policy '-1'"),
        (("{trace}", "--policies", "{folder}/nosuch.toml"), "nosuch.toml: cannot be read"),
        (("{trace}", "--policies", "{trace}"), "three.swf: its name must end in .toml or .json"),
        (("{trace}", "--nodes", "{folder}/nosuch.csv"), "nosuch.csv: cannot be read"),
        (("{trace}", "--outages", "{folder}/nosuch.csv"), "--outages says which nodes are down, so it needs --nodes"),
        (("{trace}", "--procs", "0"), "'0' is not between 1"),
        (("{trace}", "--jobs", "0"), "'0' is not between 1"),
        (("{trace}", "--pass", "both"), "'both' is not one of"),
        (("{trace}", "--out", "{folder}/nosuch/out.swf"), "its directory does not exist"),
        (("{trace}", "--out", "{folder}"), "a directory"),
        (("{trace}", "--out", "{trace}"), "that is what the simulation reads"),
    ],
)
def test_every_mistake_is_one_line_and_changes_nothing(
    milepost: Cli, trace: str, tmp_path: Path, words: tuple[str, ...], problem: str
) -> None:
    write(tmp_path / "empty.swf", HEADER)
    write(tmp_path / "text.swf", "this is no trace\n")
    (tmp_path / "damaged.swf.gz").write_bytes(gzip.compress(THREE.encode())[:-20])
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    kept = tmp_path / "kept"
    given = [word.format(trace=trace, folder=tmp_path) for word in words]
    said = milepost("simulate", *given, "--data", str(kept), code=2)
    assert problem in said.err
    assert said.err.startswith("milepost: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before
    assert not kept.exists()


# -- completion --------------------------------------------------------------------------------------------------------


def test_the_shell_proposes_policies() -> None:
    def proposals(option: str, incomplete: str) -> list[Any]:
        shell = BashComplete(cli, {}, "milepost", "_MILEPOST_COMPLETE")
        return [item.value for item in shell.get_completions(["simulate", option], incomplete)]

    assert "fifo" in proposals("--order", "f")
    assert proposals("--backfill", "con") == ["conservative"]
    assert proposals("--pass", "e") == ["event"]
