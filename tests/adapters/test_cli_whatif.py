"""`milepost whatif`: other policies and nodes for what a store has on record, for people and as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.cli import exits
from tests.adapters.cli_runner import Cli

JOBS = 60


@pytest.fixture
def kept(milepost: Cli, tmp_path: Path) -> str:
    """The data directory of a simulation."""
    data_dir = tmp_path / "kept"
    trace = tmp_path / "crowded.swf"
    # One of 4 processors each second for 100 s, every fourth for 10 s.
    rows = [
        f"{n} {n} -1 {10 if n % 4 == 0 else 100} 1 -1 -1 1 {10 if n % 4 == 0 else 100} -1 1 1 1 1 1 -1 -1 -1"
        for n in range(1, JOBS + 1)
    ]
    trace.write_text("; MaxProcs: 4\n" + "\n".join(rows) + "\n")
    milepost("simulate", str(trace), "--data", str(data_dir))
    return str(data_dir)


def asked(milepost: Cli, kept: str, *args: str) -> Any:
    """The answer as a document."""
    return milepost.json("whatif", "--data", kept, "--from", "@1", *args)


def test_the_same_policies_and_nodes_lead_to_the_same_starts(milepost: Cli, kept: str) -> None:
    found = asked(milepost, kept)
    assert (len(found["jobs"]), found["moved"]) == (JOBS, 0)
    assert found["recorded"] == found["simulated"]
    assert found["policies"]["order"] == "fifo"


def test_another_order_is_compared_job_by_job_and_client_by_client(milepost: Cli, kept: str) -> None:
    found = asked(milepost, kept, "--order", "sjf", "--backfill", "2")
    policies = found["policies"]
    assert (policies["order"], policies["backfill"]) == ("sjf", "depth")
    assert policies["parameters"]["backfill"] == {"reservations": 2}
    assert found["simulated"]["average_bounded_slowdown"] < found["recorded"]["average_bounded_slowdown"]
    (client,) = found["clients"]
    assert (client["client_id"], client["jobs"]) == ("default", JOBS)
    job = next(each for each in found["jobs"] if each["wait_change_ms"] < 0)
    assert job["simulated"]["started_ms"] < job["recorded"]["started_ms"]


def test_policies_come_from_a_file_over_those_on_record(milepost: Cli, kept: str, tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    file.write_text('order = "saf"\n')
    policies = asked(milepost, kept, "--policies", str(file))["policies"]
    assert (policies["order"], policies["backfill"]) == ("saf", "easy")


def test_an_order_that_reads_submit_times_is_told_when_the_log_began(milepost: Cli, tmp_path: Path) -> None:
    trace, data_dir = tmp_path / "dated.swf", tmp_path / "dated"
    rows = [f"{n} {n} -1 {n % 7 + 1} 1 -1 -1 1 {n % 5 + 8} -1 1 1 1 1 1 -1 -1 -1" for n in range(1, JOBS + 1)]
    trace.write_text("; MaxProcs: 1\n; UnixStartTime: 844000000\n" + "\n".join(rows) + "\n")
    milepost("simulate", str(trace), "--order", "f1", "--data", str(data_dir))
    fifo = tmp_path / "fifo"
    milepost("simulate", str(trace), "--data", str(fifo))
    found, wanted = asked(milepost, str(fifo), "--order", "f1"), asked(milepost, str(data_dir))
    assert found["policies"]["parameters"]["order"] == {"origin_ms": 844_000_000_000}
    assert found["simulated"] == wanted["recorded"]


def test_nodes_come_from_a_file(milepost: Cli, kept: str, tmp_path: Path) -> None:
    file = tmp_path / "nodes.json"
    file.write_text(json.dumps({"nodes": [{"id": "machine", "cores": 4}, {"id": "more", "cores": 60}]}))
    found = asked(milepost, kept, "--nodes", str(file))
    assert found["simulated"]["average_wait_s"] == 0.0
    assert found["recorded"]["average_wait_s"] > 0.0


def test_a_part_of_the_time_is_enough(milepost: Cli, kept: str) -> None:
    found = asked(milepost, kept, "--to", "1970-01-01T00:01:00+00:00", "--order", "sjf")
    assert found["to_ms"] == 60_000
    assert found["simulated"]["completed"] < JOBS


def test_a_portfolio_can_be_tried(milepost: Cli, kept: str, tmp_path: Path) -> None:
    file = tmp_path / "portfolio.toml"
    file.write_text(
        'order = "portfolio"\n[parameters.order]\ncandidates = ["fifo", "sjf"]\nevery_h = 0.05\nwindow_h = 0.1\n'
    )
    found = asked(milepost, kept, "--policies", str(file))
    assert found["policies"]["parameters"]["order"]["current"] == "sjf"
    assert found["moved"] > 0


def test_people_see_both_courses_beside_each_other(milepost: Cli, kept: str) -> None:
    shown = milepost("whatif", "--data", kept, "--from", "@1", "--order", "sjf", "--limit", "3").out
    for text in ("RECORDED", "WHAT IF", "average wait", "slowdown", "utilization", "greatest changes", "sjf, easy"):
        assert text in shown
    assert shown.count("\njob-") == 3


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--from", "@999999"], "there is no event @999999"),
        (["--from", "@0"], "there is no event @0"),
        (["--from", "@2", "--to", "1960-01-01T00:00:00Z"], "later than --to"),
        (["--from", "soon"], "soon"),
        (["--from", "@1", "--order", "best"], "best"),
        (["--from", "@1", "--nodes", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(milepost: Cli, kept: str, args: list[str], problem: str) -> None:
    said = milepost("whatif", "--data", kept, *args, code=exits.BAD_INPUT)
    assert problem in said.err
    assert len(said.err.splitlines()) <= 2


def test_a_store_without_events_has_nothing_to_run_again(milepost: Cli, tmp_path: Path) -> None:
    said = milepost("whatif", "--data", str(tmp_path / "none"), "--from", "@1", code=exits.UNAVAILABLE)
    assert "none" in said.err
