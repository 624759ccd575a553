"""Nodes that are powered down and up: with real supervisors, and a real hook that leaves a trace."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.library import Milepost
from adapters.power_hook import command_hook
from application.power import Switch
from domain.errors import BadInput, NodeStateForbids
from domain.job.commands import CancelJob
from domain.node import NodeStatus, StopNode
from domain.policies import Policies
from tests.adapters.cli_runner import eventually, kill_nodes, living_nodes

DEADLINE_S = 20.0


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Of a farm; nodes that a test leaves are killed."""
    yield tmp_path / "farm"
    kill_nodes(tmp_path / "farm")


def script(folder: Path, body: str) -> Path:
    """A hook of a few lines of shell."""
    path = folder / "hook.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def sleeping(farm: Milepost) -> list[str]:
    """The nodes that are powered down."""
    return [node.node_id for node in farm.app.farm.nodes.values() if node.asleep and node.status is NodeStatus.OFFLINE]


def test_idle_nodes_are_powered_down_and_come_up_for_work(data_dir: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    hook = script(tmp_path, f'echo "$1 $2" >> {trace}')
    with Milepost.open(data_dir, nodes=2, power_hook=command_hook(str(hook))) as farm:
        eventually(lambda: len(living_nodes(data_dir)) == 2, "both nodes are up")
        farm.adopt(Policies(energy="efficiency", parameters={"energy": {"idle_after_s": 1}}))
        eventually(lambda: sleeping(farm) == ["node-1", "node-2"], "both nodes sleep")
        eventually(lambda: living_nodes(data_dir) == [], "their supervisors have ended")
        eventually(lambda: sorted(trace.read_text().splitlines()) == ["off node-1", "off node-2"], "the hook ran")
        job_id = farm.submit("true")
        eventually(lambda: farm.job(job_id)["job"]["status"] == "completed", "a node came up and did the work")
        assert [line for line in trace.read_text().splitlines() if line.startswith("on")] != []
        lost = farm.app.log.read(0, 1_000, topics=("node.lost",))
        assert lost == [], "nobody was taken for lost"


def test_nodes_come_up_when_none_shall_sleep_any_more(data_dir: Path) -> None:
    with Milepost.open(data_dir, nodes=1) as farm:
        farm.adopt(Policies(energy="efficiency", parameters={"energy": {"idle_after_s": 1}}))
        eventually(lambda: sleeping(farm) == ["node-1"], "it sleeps")
        farm.adopt(Policies())
        eventually(lambda: farm.app.farm.nodes["node-1"].status is NodeStatus.ONLINE, "it is up again")


def test_a_node_that_cannot_be_powered_up_is_given_up(data_dir: Path, tmp_path: Path) -> None:
    hook = script(tmp_path, '[ "$1" = off ] || { echo "no such machine"; exit 3; }')
    with Milepost.open(data_dir, nodes=1, power_hook=command_hook(str(hook))) as farm:
        farm.adopt(Policies(energy="efficiency", parameters={"energy": {"idle_after_s": 1}}))
        eventually(lambda: sleeping(farm) == ["node-1"], "it sleeps")
        farm.submit("true")
        eventually(lambda: "no such machine" in farm.app.farm.nodes["node-1"].why, "it says why it is lost")


def test_a_node_in_use_is_not_powered_down(data_dir: Path) -> None:
    with Milepost.open(data_dir, nodes=1) as farm:
        job_id = farm.submit("sleep", "600")
        eventually(lambda: farm.job(job_id)["job"]["status"] == "running", "it runs")
        with pytest.raises(NodeStateForbids, match="in use"):
            farm.handle(StopNode(node_id="node-1"))
        farm.handle(CancelJob(job_id=job_id))


def test_a_hook_says_what_went_wrong(tmp_path: Path) -> None:
    assert command_hook("true")(Switch.ON, "n1") == ""
    assert command_hook("")(Switch.ON, "n1") == ""
    assert "ended with 1" in command_hook("false")(Switch.OFF, "n1")
    assert "cannot be run" in command_hook(str(tmp_path / "nothing"))(Switch.OFF, "n1")
    assert "longer than" in command_hook("sh -c 'sleep 5'", timeout_s=0.05)(Switch.OFF, "n1")
    with pytest.raises(BadInput, match="power_hook"):
        command_hook("'open")


def test_a_server_that_starts_wakes_nobody_who_sleeps(data_dir: Path, tmp_path: Path) -> None:
    """What was off stays off after a restart; work that comes then wakes it through the hook."""
    trace = tmp_path / "trace"
    hook = command_hook(str(script(tmp_path, f'echo "$1 $2" >> {trace}')))
    with Milepost.open(data_dir, nodes=2, power_hook=hook) as farm:
        farm.adopt(Policies(energy="efficiency", parameters={"energy": {"idle_after_s": 1}}))
        eventually(lambda: sleeping(farm) == ["node-1", "node-2"], "both nodes sleep")
        eventually(lambda: living_nodes(data_dir) == [], "their supervisors have ended")
    trace.write_text("")
    with Milepost.open(data_dir, nodes=2, power_hook=hook) as farm:
        asked = ["off node-1", "off node-2"]
        eventually(lambda: sorted(trace.read_text().splitlines()) == asked, "it asks again for what may not be done")
        eventually(farm.server.idle, "it has settled although nobody reports")
        assert (sleeping(farm), living_nodes(data_dir)) == (["node-1", "node-2"], [])
        job_id = farm.submit("true")
        eventually(lambda: farm.job(job_id)["job"]["status"] == "completed", "a node came up and did the work")
        woken = [line.removeprefix("on ") for line in trace.read_text().splitlines() if line.startswith("on ")]
        assert len(woken) == 1, "only as many as the work needs"
        assert farm.app.log.read(0, 1_000, topics=("node.lost",)) == []
