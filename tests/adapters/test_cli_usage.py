"""`milepost usage` and `milepost power`: what was used, and nodes that are powered by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.bootstrap import open_direct
from adapters.cli.usage import energy_text, money_text
from application.commands import AdoptPolicies
from domain.job.commands import PlaceTasks
from domain.job.values import Placement
from domain.messages import Command
from domain.node import BringOnline, RegisterNode, StartMaintenance, TakeOffline
from domain.policies import Policies
from domain.resources import Resources
from domain.tariff import Tariff
from tests.adapters.cli_runner import Cli, eventually, living_nodes, server
from tests.adapters.counter import Counter, counter
from tests.adapters.test_cli_help import completions
from tests.builders import HOUR, WHY

POWER = {"watts_idle": ("100",), "watts_peak": ("300",), "price_per_h": ("0.5",)}


def do(milepost: Cli, *commands: Command) -> None:
    """What nodes and the farm itself would say."""
    direct = open_direct(milepost.data_dir)
    for command in commands:
        direct.app.handle(command, "watchdog")
    direct.close()


# -- usage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Counter]:
    """Two hours of one node of four cores: one core of `show` for the first hour, at 0.5 EUR a kilowatt-hour."""
    with counter(tmp_path) as opened:
        opened.do(AdoptPolicies(policies=Policies(tariff=Tariff(0.5, (), 0, "EUR"))))
        opened.do(RegisterNode(node_id="n1", capacity=Resources(4_000, 8_192), attributes=POWER))
        opened.do(BringOnline(node_id="n1"))
        opened.client("show")
        opened.submit("job-1", client_id="show", cores=1)
        opened.do(PlaceTasks(job_id="job-1", placements=(Placement("0", (("n1", 1),)),), reason=WHY))
        opened.clock.advance(HOUR)
        opened.finish("job-1")
        opened.clock.advance(HOUR)
        yield opened


def test_work_pays_what_it_adds_and_idle_power_is_nobodys(day: Counter) -> None:
    found = day.ask("/api/usage")
    (row,) = found["rows"]
    assert (row["name"], row["core_s"], row["task_s"], row["used_j"]) == ("show", 3_600, 3_600, 50 * 3_600)
    total = found["total"]
    assert (total["idle_j"], total["on_s"], total["node_cost"]) == (100 * 7_200, 7_200, 1.0)
    assert total["idle_cost"] == pytest.approx(0.1)
    assert row["used_cost"] == pytest.approx(0.025)
    assert (found["by"], found["currencies"], found["utc_offset_min"]) == ("client", ["EUR"], 0)


def test_rows_are_clients_nodes_hours_or_days_of_any_span(day: Counter) -> None:
    (node,) = day.ask("/api/usage", by="node")["rows"]
    assert (node["name"], node["used_j"], node["idle_j"]) == ("n1", 180_000, 720_000)
    hours = day.ask("/api/usage", by="hour", since="-90m")["rows"]
    assert sum(each["used_j"] for each in hours) == pytest.approx(90_000)
    assert [each["to_ms"] for each in hours[:-1]] == [each["from_ms"] for each in hours[1:]]
    assert day.ask("/api/usage", by="day", client="show")["total"]["idle_j"] == 0
    assert day.ask("/api/usage", node="n1", until="-30m")["total"]["idle_j"] == pytest.approx(540_000)


def test_the_table_names_what_is_idle_and_what_all_is(milepost: Cli) -> None:
    shown = milepost("usage").out
    assert shown.startswith("Nothing was used from ")
    do(
        milepost,
        RegisterNode(node_id="node-1", capacity=Resources(4_000), attributes=POWER),
        BringOnline(node_id="node-1"),
    )
    said = milepost("usage")
    assert [line.split()[0] for line in said.out.splitlines()] == ["CLIENT", "idle", "total"]
    assert said.err.startswith("from ")
    do(milepost, RegisterNode(node_id="node-1", capacity=Resources(4_000)))
    assert "no node says what it draws" in milepost("usage", "--from", "now", "--to", "2999-01-01", "--by", "node").err
    assert milepost.json("usage", "--node", "node-1", "--by", "hour")["by"] == "hour"


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        (["--from", "soon"], 2, "'soon' is no time such as"),
        (["--from", "now", "--to", "-1h"], 2, "is empty"),
        (["--from", "@99999"], 2, "the log ends at @"),
        (["--client", "nobody"], 2, "nobody"),
        (["--by", "week"], 2, "week"),
        (["--by", "hour", "--to", "2999-01-01"], 2, "ask for days"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(milepost: Cli, args: list[str], code: int, problem: str) -> None:
    said = milepost("usage", *args, code=code)
    assert problem in said.err


def test_amounts_are_short_and_empty_for_nothing() -> None:
    assert [energy_text(joules) for joules in (0, 3_600, 3_600_000_000)] == ["", "0.001 kWh", "1,000.000 kWh"]
    assert [money_text(amount, "EUR") for amount in (0, 0.00123, 1_234.5)] == ["", "0.00123 EUR", "1,234.50 EUR"]
    assert money_text(2, "") == "2.00"


# -- power -----------------------------------------------------------------------------------------------------------


def test_a_node_is_powered_down_and_up_by_hand(milepost: Cli) -> None:
    do(milepost, BringOnline(node_id="node-1"))
    said = milepost("power", "off", "node-1", code=3)
    assert "the energy policy 'performance' keeps every node on" in said.err
    milepost("policy", "adopt", "energy=efficiency")
    assert milepost("power", "off", "node-1", "--why", "weekend").out == "node-1  powers down\n"
    assert milepost("power", "off", "node-1").out == "node-1  powers down (as before)\n"
    assert "stopping" in milepost("nodes").out
    do(milepost, TakeOffline(node_id="node-1", why="powered down"))
    assert "asleep" in milepost("nodes").out
    assert milepost.json("nodes", "--at", "now")["rows"][0]["asleep"] is True
    assert milepost("power", "on", "node-1").out == "node-1  powers up\n"
    assert "starting" in milepost("nodes").out
    assert milepost("power", "on", "node-1").out == "node-1  powers up (as before)\n"


def test_what_is_in_use_or_down_for_another_reason_is_refused_with_what_helps(milepost: Cli, shot: str) -> None:
    off = milepost("power", "off", "node-1", code=3)
    assert "node 'node-1' is offline: it is down already, and not to save energy" in off.err
    assert "node 'node-1' does not sleep, it is offline" in milepost("power", "on", "node-1", code=3).err
    do(milepost, BringOnline(node_id="node-1"), StartMaintenance(node_id="node-1"))
    assert "end its maintenance first" in milepost("power", "off", "node-1", code=3).err
    assert completions(["power", "off"], "") == {"node-1": "maintenance"}


@pytest.mark.slow
def test_a_real_supervisor_ends_and_comes_back_and_one_in_use_stays(milepost: Cli) -> None:
    with server(milepost.data_dir):
        job_id = milepost.submit("--", "sleep", "60")
        milepost.until(job_id, "running")
        said = milepost("power", "off", "node-1", code=3)
        assert "node 'node-1' holds 1 attempt: `milepost drain node-1` lets no more come" in said.err
        milepost("cancel", job_id)
        milepost.until(job_id, "cancelled")
        eventually(lambda: not milepost.json("nodes")["rows"][0]["attempts"], "nothing runs any more")
        milepost("drain", "node-1")
        milepost("power", "off", "node-1")
        eventually(lambda: living_nodes(milepost.data_dir) == [], "its supervisor has ended")
        eventually(lambda: "asleep" in milepost("nodes").out, "it sleeps")
        milepost("power", "on", "node-1")
        eventually(lambda: milepost.json("nodes")["rows"][0]["status"] == "online", "it is back")
