"""`milepost reserve` and `milepost maintenance`: what people type, see, and are told no for."""

from pathlib import Path
from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.store.sqlite import open_log
from domain.job.values import Protection
from tests.adapters.cli_runner import Cli
from tests.application.desk import Desk
from tests.builders import HOUR
from tests.fakes import ManualClock


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A farm of three nodes, on which two jobs run for five hours and one waits; one of them may not be interrupted."""
    desk = Desk(log=open_log(tmp_path / "farm"), clock=ManualClock(SystemClock().now_ms()))
    desk.nodes("n1", "n2", "n3")
    desk.client("show")
    desk.submit("job-long", walltime_ms=5 * HOUR, cores=4, protection=Protection(never=True))
    desk.submit("job-run", walltime_ms=5 * HOUR, cores=4)
    desk.submit("job-third", walltime_ms=5 * HOUR, cores=4, checkpoints=True)
    desk.submit("job-wait", walltime_ms=HOUR, cores=4, deadline_ms=desk.clock.now_ms() + 7 * HOUR)
    desk.cycle()
    desk.log.close()
    return Cli(tmp_path / "farm", capsys, monkeypatch)


def made(cli: Cli, *args: str) -> dict[str, Any]:
    """A reservation that was made."""
    found = cli(*args, "--json").document
    assert isinstance(found, dict)
    return found


def test_nodes_are_set_aside_listed_shown_and_given_back(cli: Cli) -> None:
    row = made(cli, "reserve", "--for", "client:show", "--nodes", "n1,n2", "--from", "+6h", "--lasts", "2h")
    assert (row["owner"], row["nodes"], row["end_ms"] - row["start_ms"]) == ("client:show", ["n1", "n2"], 2 * HOUR)
    key = row["reservation_id"]
    assert [each["reservation_id"] for each in cli("reserve", "list", "--json").document["rows"]] == [key]
    assert key in cli("reserve", "list").out
    assert cli("reserve", "show", key, "--json").document["reservation"]["status"] == "made"
    assert "client:show from" in cli("nodes").out
    assert "client:show from" in cli("show", "n2").out
    assert key in cli("show", key[:12]).out
    booked = {node["node_id"]: node["booked"] for node in cli.json("nodes")["rows"]}
    assert [each["reservation_id"] for each in booked["n1"]] == [key]
    assert booked["n3"] == []
    assert "cancelled" in cli("reserve", "cancel", key, "--why", "no need").out
    assert "Nothing is reserved" in cli("reserve", "list").out
    assert "cancelled" in cli("reserve", "list", "--all").out
    assert "(no need)" in cli("story", key).out
    assert key in cli("reserve", "list", "--at", f"@{row['position']}").out


def test_maintenance_comes_again_and_ends_at_another_time(cli: Cli) -> None:
    row = made(cli, "maintenance", "--nodes", "n2", "--from", "+6h", "--for", "4h", "--every", "7d", "--times", "3")
    assert (row["owner"], row["every_ms"], row["times"]) == ("maintenance", 168 * HOUR, 3)
    cli("reserve", "extend", row["reservation_id"], "--until", "+11h", "--why", "late")
    shown = cli("reserve", "show", row["reservation_id"], "--json").document["reservation"]
    assert shown["end_ms"] > row["end_ms"]
    assert "not active" in cli("reserve", "end", row["reservation_id"], code=3).err


def test_what_stands_against_it_is_said_and_may_be_overruled(cli: Cli) -> None:
    said = cli("maintenance", "--all-nodes", "--from", "+1h", "--for", "1h", code=3).err
    assert "1 attempt may not be interrupted and would still run (job-long on n1): the window would wait" in said
    assert "1 attempt would still run and be stopped (job-run on n2). --force makes it all the same" in said
    cli("maintenance", "--all-nodes", "--from", "+1h", "--for", "1h", "--force")
    again = cli("reserve", "--for", "client:show", "--nodes", "n3", "--from", "+90m", "--lasts", "1h", code=3).err
    assert "another reservation has the nodes at that time" in again


def test_a_dry_run_tells_who_is_hurt_and_changes_nothing(cli: Cli) -> None:
    wish = ("maintenance", "--all-nodes", "--from", "+1h", "--for", "6h", "--dry-run")
    found = cli(*wish, "--json").document
    assert found["nodes"] == ["n1", "n2", "n3"]
    assert found["refused"].startswith("reservation 'resv-")
    assert {(each["node_id"], each["job_id"], each["obstacle"]) for each in found["conflicts"]} == {
        ("n1", "job-long", "protected"),
        ("n2", "job-run", "stopped"),
        ("n3", "job-third", "checkpointed"),
    }
    (later,) = [each for each in found["later"] if each["job_id"] == "job-wait"]
    assert later["after_ms"] - later["before_ms"] == pytest.approx(2 * HOUR, abs=60_000)
    assert later["at_risk"], "it was to end an hour before its deadline"
    page = cli(*wish).out
    for words in ("It would be refused", "may not be interrupted", "is stopped and begins again", "at risk"):
        assert words in page
    assert cli("reserve", "list", "--json").document["rows"] == []
    calm = cli("maintenance", "--nodes", "n2", "--from", "+12h", "--for", "1h", "--dry-run").out
    assert "It would be made." in calm
    assert "None of the 1 waiting job looked at would start later." in calm


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        (("reserve", "--nodes", "n1", "--lasts", "1h"), 2, "say for whom"),
        (("reserve", "--for", "show", "--nodes", "n1", "--lasts", "1h"), 2, "is not client:NAME"),
        (("reserve", "--for", "client:nobody", "--nodes", "n1", "--lasts", "1h"), 2, "there is no client"),
        (("maintenance", "--nodes", "n1"), 2, "say until when"),
        (("maintenance", "--nodes", "n1", "--for", "1h", "--until", "+2h"), 2, "and not both"),
        (("maintenance", "--nodes", "n1", "--for", "1h", "--times", "2"), 2, "need --every"),
        (("maintenance", "--nodes", "n9", "--for", "1h"), 2, "there is no node"),
        (("maintenance", "--for", "1h"), 2, "it must say which nodes"),
        (("maintenance", "--nodes", "n1", "--for", "2h", "--every", "1h"), 2, "windows would overlap"),
        (("maintenance", "--all-nodes", "--count", "9", "--for", "1h"), 2, "9 nodes were asked for, and 3 are left"),
        (("reserve", "cancel", "resv-nosuch"), 2, "there is no reservation"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(cli: Cli, args: tuple[str, ...], code: int, problem: str) -> None:
    assert problem in cli(*args, code=code).err
