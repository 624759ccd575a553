"""`milepost shares` and `milepost partition`, and clients that lend and borrow on a farm of real processes."""

from pathlib import Path
from typing import Any

import click
import pytest

from adapters.bootstrap import open_direct
from adapters.cli.complete import complete_partitions
from adapters.executors.machine import LocalNode
from adapters.importers.submission import Extras
from adapters.library import Milepost
from application.commands import AdoptPolicies
from application.cycles import Cycles
from domain.client import Shares
from domain.decisions import ReasonCode
from domain.errors import PartitionForbids, PartitionNotFound
from domain.job.events import TasksPlaced
from domain.job.values import Priority
from domain.node import BringOnline, RegisterNode
from domain.partition import DefinePartition, Terms
from domain.policies import Policies
from domain.resources import Resources
from tests.adapters.cli_runner import DEADLINE_S, TEMPLATE, Cli, eventually, kill_nodes

LENDING = Policies(sharing="lending")


def group(milepost: Cli, *args: str) -> Any:
    """The document of a command of `milepost partition`."""
    return milepost("partition", args[0], "--json", *args[1:]).document


# -- partitions ------------------------------------------------------------------------------------------------------


def test_a_partition_is_made_changed_shown_and_removed(milepost: Cli) -> None:
    assert milepost("partition", "list").out.startswith("There are no partitions")
    milepost("client", "add", "lab")
    added = group(
        milepost, "add", "night", "--node", "node-1", "--attr", "os=linux,macos", "--client", "lab", "--max-tasks", "5",
        "--limit", "50", "--client-limit", "25", "--max-walltime", "2h", "--default-walltime", "1h",
    )  # fmt: skip
    assert (added["partition"], added["changed"]) == ("night", True)
    (row,) = group(milepost, "list")["rows"]
    expected = {
        "partition": "night", "named_nodes": ["node-1"], "attributes": ["os linux or macos"], "clients": ["lab"],
        "max_tasks": 5, "limit_percent": 50, "client_percent": 25, "max_walltime_ms": 7_200_000,
        "default_walltime_ms": 3_600_000, "nodes": ["node-1"], "capacity_millicores": 4_000, "capacity_gpus": 1,
        "running_tasks": 0, "used_millicores": 0, "used_gpus": 0, "live_jobs": 0,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    milepost("partition", "set", "night", "--no", "any-client", "--no", "max-tasks", "--limit", "75", "--why", "calm")
    shown = group(milepost, "show", "night")
    assert (shown["clients"], shown["max_tasks"], shown["limit_percent"], shown["client_percent"]) == ([], None, 75, 25)
    assert shown["needs"] == [{"name": "os", "any_of": ["linux", "macos"], "all_of": []}]
    assert "at most 75 % of it in all" in milepost("partition", "list").out
    assert "2 h" in milepost("partition", "show", "night").out
    assert milepost.json("show", "node-1")["partitions"] == ["night"]
    assert "night" in milepost("show", "node-1").out
    milepost("partition", "remove", "night", "--why", "the nodes went back")
    assert group(milepost, "list")["rows"] == []
    assert "there is no partition 'night'" in milepost("partition", "show", "night", code=2).err
    assert [row["partition"] for row in group(milepost, "list", "--at", "@4")["rows"]] == ["night"]


def test_its_story_is_told(milepost: Cli) -> None:
    milepost("partition", "add", "night", "--node", "node-1")
    milepost("partition", "set", "night", "--max-walltime", "1h", "--why", "short nights")
    told = milepost("story", "night").out
    assert "Partition night was defined: node-1." in told
    assert "Partition night is now node-1, jobs of at most 1 h (short nights)." in told


def test_jobs_are_limited_to_it_whatever_they_are_made_of(milepost: Cli, tmp_path: Path) -> None:
    milepost("partition", "add", "night", "--node", "node-1", "--max-walltime", "1h")
    job_id = milepost.submit("--partition", "night", "--", "true")
    shown = milepost.json("show", job_id)["job"]
    assert shown["requirement"]["partition"] == "night"
    assert shown["requirement"]["text"].endswith("in partition night")
    assert shown["walltime_ms"] == 3_600_000
    (tmp_path / "steps.yaml").write_text(TEMPLATE)
    ids = milepost.json("submit", "steps.yaml", "--partition", "night", "--walltime", "10m")["job_ids"]
    assert {milepost.json("show", each)["job"]["requirement"]["partition"] for each in ids} == {"night"}
    assert "is used by 3 jobs" in milepost("partition", "remove", "night", code=3).err


@pytest.mark.parametrize(
    ("options", "said", "code"),
    [
        (("--partition", "day"), "there is no partition 'day'; there are night", 2),
        (("--partition", "night", "--walltime", "2h"), "a walltime of 2 h is longer than its longest, 1 h", 3),
        (("--partition", "night", "--client", "lab"), "it is for show, not for client lab", 3),
    ],
)
def test_what_a_partition_does_not_take_is_refused_with_what_would_help(
    milepost: Cli, options: tuple[str, ...], said: str, code: int
) -> None:
    for client_id in ("lab", "show"):
        milepost("client", "add", client_id)
    milepost("partition", "add", "night", "--node", "node-1", "--max-walltime", "1h", "--client", "show")
    options = options if "--client" in options else (*options, "--client", "show")
    assert said in milepost("submit", *options, "--", "true", code=code).err


def test_mistakes_are_told(milepost: Cli) -> None:
    assert "it has no nodes" in milepost("partition", "add", "night", code=2).err
    assert "there is nothing to change" in milepost("partition", "set", "night", code=2).err
    assert "there is no partition 'night'" in milepost("partition", "set", "night", "--limit", "5", code=2).err
    assert "there is no client" in milepost("partition", "add", "x", "--node", "n", "--client", "who", code=2).err


def test_the_shell_proposes_partitions(milepost: Cli) -> None:
    milepost("partition", "add", "night", "--node", "node-1")
    context = click.Context(click.Command("partition"))
    context.params = {"data_dir": milepost.data_dir}
    param = click.Argument(["name"])
    assert [(item.value, item.help) for item in complete_partitions(context, param, "ni")] == [("night", "node-1")]


# -- shares ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lent(milepost: Cli) -> Cli:
    """A farm of four cores: film is guaranteed half, show holds all, film waits for two of them."""
    direct = open_direct(milepost.data_dir)
    capacity = Resources(4_000, 8_192, 1)
    direct.app.handle_all(
        (RegisterNode(node_id="node-1", capacity=capacity), BringOnline(node_id="node-1")), "watchdog"
    )
    direct.app.handle(AdoptPolicies(policies=LENDING), "operator")
    direct.close()
    milepost("client", "add", "film", "--guarantee", "50")
    milepost("client", "add", "show", "--borrow-limit", "100")
    milepost.submit("--client", "show", "--array", "1-4", "--walltime", "10m", "--", "true")
    place_what_can_start(milepost)
    milepost.submit("--client", "film", "--array", "1-3", "--", "true")
    place_what_can_start(milepost)
    return milepost


def place_what_can_start(milepost: Cli) -> None:
    """One scheduling cycle."""
    direct = open_direct(milepost.data_dir)
    Cycles(direct.app).cycle()
    direct.close()


def test_shares_are_shown_with_who_lends_to_whom(lent: Cli) -> None:
    found = lent.json("shares")
    rows = {row["client_id"]: row for row in found["rows"]}
    film, show = rows["film"], rows["show"]
    assert (film["guaranteed_millicores"], film["demanded_millicores"], film["used_millicores"]) == (2_000, 3_000, 0)
    assert film["lent"] == [{"client_id": "show", "millicores": 2_000, "gpus": 0}]
    assert [(loan["client_id"], loan["millicores"]) for loan in show["borrowed"]] == [("", 2_000), ("film", 2_000)]
    assert (found["sharing"], found["period_ms"], found["breaches"]) == ("lending", 3_600_000, [])
    assert film["fair_share"] == 1
    text = lent("shares").out
    assert "nobody 2 + 0, film 2 + 0" in text
    assert "50 % of the farm is guaranteed; what is lent comes back within 1 h; no guarantee was broken." in text
    assert [row["client_id"] for row in lent.json("shares", "--client", "film")["rows"]] == ["film"]


def test_shares_are_shown_as_they_were(lent: Cli) -> None:
    past = lent.json("shares", "--at", f"@{lent.position() - 2}")
    now = lent.json("shares")
    assert {row["client_id"]: row["used_millicores"] for row in past["rows"]} == {"film": 0, "show": 4_000}
    at_once = lent.json("shares", "--at", f"@{lent.position()}")
    ignored = {"at_ms", "rows"}
    assert {k: v for k, v in at_once.items() if k not in ignored} == {k: v for k, v in now.items() if k not in ignored}
    for row, other in zip(at_once["rows"], now["rows"], strict=True):
        assert row | {"fair_share": None} == other | {"fair_share": None}
    assert lent("shares", "--at", "@1").out.startswith("There are no clients yet")


def test_explain_says_whose_guarantee_is_in_the_way(lent: Cli) -> None:
    job_id = lent.submit("--client", "show", "--walltime", "9h", "--cpus", "0.5", "--", "true")
    place_what_can_start(lent)
    (reason,) = lent.json("explain", job_id)["reasons"]
    assert reason["code"] in (ReasonCode.GUARANTEE, ReasonCode.RESOURCES_SHORT)
    direct = open_direct(lent.data_dir)
    direct.app.handle(AdoptPolicies(policies=Policies(order="fifo")), "operator")
    direct.close()
    assert "Guarantees are not kept" in lent("shares").out


def test_clients_are_given_their_terms(milepost: Cli) -> None:
    milepost("client", "add", "lab", "--guarantee", "20", "--no-borrow", "--no-lend")
    milepost("client", "set", "lab", "--borrow", "--borrow-limit", "30")
    (lab,) = milepost.json("client", "list")["rows"]
    assert (lab["borrow"], lab["borrow_percent"], lab["lend"], lab["guarantee_percent"]) == (True, 30, False, 20)
    told = milepost("story", "lab").out
    assert "tier standard, borrowing nothing, lending nothing." in told
    assert "tier standard, borrowing at most 30 %, lending nothing." in told
    page = milepost("show", "lab").out
    assert "at most 30 % of the farm" in page


# -- real processes --------------------------------------------------------------------------------------------------


def test_what_was_borrowed_comes_back_on_a_farm_of_real_processes(tmp_path: Path) -> None:
    """show fills both cores and has more; film asks for its half, and gets the first core that comes free."""
    node = LocalNode("alone", Resources(millicores=2_000, memory_mib=512))
    with Milepost.open(tmp_path / "farm", nodes=[node]) as farm:
        farm.adopt(LENDING)
        farm.add_client("film", Shares(guarantee_percent=50))
        farm.add_client("show")
        gate = tmp_path / "gate"
        waits = ("sh", "-c", f"until [ -e {gate} ]; do sleep 0.02; done")
        lent = farm.submit(*waits, client="show", tasks="1-6", walltime_ms=60_000, priority=Priority.CRITICAL)
        eventually(lambda: len(farm.app.farm.jobs[lent].live) == 2, "both cores are lent")
        own = farm.submit("true", client="film", tasks="1-2", priority=Priority.LOW)
        gate.touch()
        assert farm.run(timeout_s=DEADLINE_S)
        placed = [each for each in farm.app.log.read(0, 100_000) if isinstance(each.event, TasksPlaced)]
        order = [each.stream for each in placed]
        assert order[:2] == [lent, own], "film was next, however urgent the rest of show was"
        (film, show) = farm.server.queries.get("/api/shares")["rows"][-2:]
        assert (film["client_id"], film["used_millicores"], show["used_millicores"]) == ("film", 0, 0)
        assert film["reclaimed_millicores"] == 1_000
        assert 0 < show["fair_share"] < film["fair_share"] <= 1
    kill_nodes(tmp_path / "farm")


def test_a_program_limits_its_jobs_to_a_partition(tmp_path: Path) -> None:
    node = LocalNode("alone", Resources(millicores=2_000, memory_mib=512))
    with Milepost.open(tmp_path / "farm", nodes=[node]) as farm:
        farm.handle(DefinePartition(partition="night", terms=Terms(("alone",), max_walltime_ms=60_000)))
        with pytest.raises(PartitionNotFound):
            farm.submit("true", partition="day")
        with pytest.raises(PartitionForbids):
            farm.submit("true", partition="night", walltime_ms=60_001)
        job_id = farm.submit("true", partition="night")
        (tmp_path / "steps.yaml").write_text(TEMPLATE)
        _, ids = farm.submit_template(tmp_path / "steps.yaml", {}, Extras(partition="night", walltime_ms=30_000))
        assert farm.run(timeout_s=DEADLINE_S)
        assert {farm.job(each)["job"]["status"] for each in (job_id, *ids)} == {"completed"}
    kill_nodes(tmp_path / "farm")
