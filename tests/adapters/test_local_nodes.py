"""What becomes of nodes when servers stop, die or are configured otherwise: with real supervisors."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.bootstrap import Ending
from adapters.executors.local import kill_node, supervisor_pid
from adapters.library import Milepost
from adapters.web.serverfile import ServerFile, read_server_file, write_server_file
from application.watchdog import Timing
from domain.node import DrainNode, NodeStatus
from tests.adapters.cli_runner import eventually, finish, kill_nodes, living_nodes, start
from tests.adapters.cli_runner import run as milepost

LONG = Timing(lease_ms=60_000)
"""A lease that no test can sit out."""
DEADLINE_S = 20.0


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Of a farm; nodes that a test leaves are killed."""
    yield tmp_path / "farm"
    kill_nodes(tmp_path / "farm")


def work_off(data_dir: Path, nodes: int) -> None:
    """A farm with so many nodes works off one job, in less than a lease."""
    with Milepost.open(data_dir, nodes=nodes, timing=LONG) as farm:
        farm.submit("true")
        assert farm.run(timeout_s=DEADLINE_S)


def leave_running(data_dir: Path, *, drained: str | None = None) -> None:
    """A farm of two nodes is left with one task that runs."""
    with Milepost.open(data_dir, nodes=2, timing=LONG, ending=Ending.LEAVE) as farm:
        eventually(lambda: len(farm.app.farm.nodes) == 2, "both nodes are known")
        if drained is not None:
            farm.handle(DrainNode(node_id=drained))
        job_id = farm.submit("sleep", "600")
        eventually(lambda: farm.job(job_id)["job"]["status"] == "running", "the job runs")


def kill_everything(data_dir: Path) -> None:
    """The supervisors die as in a power cut."""
    for node_id in living_nodes(data_dir):
        assert kill_node(data_dir, node_id)


def test_fewer_nodes_than_before_are_not_waited_for(data_dir: Path) -> None:
    work_off(data_dir, 2)
    work_off(data_dir, 1)
    assert living_nodes(data_dir) == []


def test_nodes_that_died_with_their_server_are_lost_at_once(data_dir: Path) -> None:
    leave_running(data_dir)
    kill_everything(data_dir)
    with Milepost.open(data_dir, nodes=2, timing=LONG) as farm:
        eventually(lambda: bool(farm.app.log.read(0, 1_000, topics=("node.lost",))), "the node is lost")


def test_a_node_that_held_work_and_is_configured_no_longer_is_buried_and_not_started(data_dir: Path) -> None:
    leave_running(data_dir, drained="node-1")
    assert living_nodes(data_dir) == ["node-2"]
    kill_everything(data_dir)
    with Milepost.open(data_dir, nodes=1, timing=LONG) as farm:
        eventually(lambda: farm.app.farm.nodes["node-2"].status is NodeStatus.OFFLINE, "the node is lost")
        eventually(lambda: "node-1" in living_nodes(data_dir), "the other one is up")
        assert not farm.app.farm.attempts_on("node-2")
        assert living_nodes(data_dir) == ["node-1"]


def test_a_node_that_was_left_out_for_a_while_takes_work_again(data_dir: Path) -> None:
    with Milepost.open(data_dir, nodes=2, timing=LONG, ending=Ending.LEAVE) as farm:
        jobs = [farm.submit("sleep", "600") for _ in range(2)]
        eventually(lambda: all(farm.job(job_id)["job"]["status"] == "running" for job_id in jobs), "the jobs run")
        assert farm.server.staying() == {"node-1": 1, "node-2": 1}
    with Milepost.open(data_dir, nodes=1, timing=LONG) as farm:
        assert farm.app.farm.nodes["node-2"].draining
    assert living_nodes(data_dir) == []
    with Milepost.open(data_dir, nodes=2, timing=LONG) as farm:
        eventually(lambda: farm.app.farm.nodes["node-2"].takes_work, "it takes work")


def test_a_drain_by_a_person_outlives_any_configuration(data_dir: Path) -> None:
    work_off(data_dir, 2)
    with Milepost.open(data_dir, nodes=1, timing=LONG) as farm:
        farm.handle(DrainNode(node_id="node-2", why="loud fan"))
    with Milepost.open(data_dir, nodes=2, timing=LONG) as farm:
        assert farm.app.farm.nodes["node-2"].draining


def test_a_server_that_leaves_shuts_unused_nodes_down_and_says_which_stay(data_dir: Path) -> None:
    server = start(data_dir, "serve", "--nodes", "2", "--port", "0")
    try:
        eventually(lambda: living_nodes(data_dir) == ["node-1", "node-2"], "the nodes live")
        assert milepost(data_dir, "submit", "--", "sleep", "600").code == 0
        eventually(lambda: '"attempts":1' in milepost(data_dir, "nodes", "--json").out, "the task runs")
    finally:
        server.send_signal(signal.SIGINT)
        said = finish(server)
    (left,) = living_nodes(data_dir)
    pid = supervisor_pid(data_dir, left)
    assert said.err.splitlines() == [
        "stopping: what runs goes on, and the next `milepost serve` takes it over",
        f"  {left} stays up with 1 attempt; `kill {pid}` ends it and what runs there",
        "stopped",
    ]
    rows = milepost(data_dir, "nodes", "--json").out
    assert '"offline"' in rows
    subprocess.run(["kill", str(pid)], check=True)
    eventually(lambda: living_nodes(data_dir) == [], "the node ends")


def test_a_server_that_is_a_zombie_does_not_live(tmp_path: Path) -> None:
    dying = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / "server.lock").write_text(str(dying.pid))
    write_server_file(
        tmp_path, ServerFile(pid=dying.pid, url="http://127.0.0.1:1", token="t", started_ms=1, version="1")
    )
    assert read_server_file(tmp_path) is not None
    dying.kill()
    until_s = time.monotonic() + DEADLINE_S
    while read_server_file(tmp_path) is not None:
        assert time.monotonic() < until_s
        time.sleep(0.01)
    assert dying.returncode is None  # nobody has waited for it yet
    dying.communicate()
