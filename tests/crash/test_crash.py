"""The server is killed with SIGKILL at many moments; what was acknowledged is there, and nothing runs twice."""

from pathlib import Path

import pytest

from adapters.executors.local import kill_node
from tests.crash.harness import Crashes
from tests.crash.serve import POINTS


def settle(crashes: Crashes) -> None:
    """The last life, the proof, and no process left behind."""
    try:
        crashes.finish()
        crashes.verify()
    finally:
        for number in range(1, crashes.nodes + 1):
            kill_node(crashes.data, f"node-{number}")


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_server_killed_at_this_point_loses_nothing_and_runs_nothing_twice(tmp_path: Path, point: str) -> None:
    crashes = Crashes(tmp_path / "data", seed=7, nodes=2)
    crashes.data.mkdir()
    crashes.submit(3)
    server = crashes.start(f"{point}:2" if not point.startswith("recovery") else f"{point}:1")
    server.wait(30)  # the point is reached by the work submitted before
    assert server.returncode == -9
    settle(crashes)


@pytest.mark.slow
def test_many_lives_and_deaths_at_random_moments(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path / "data", seed=11)
    crashes.data.mkdir()
    crashes.submit(4)
    for _ in range(8):
        crashes.live_and_die(2.0)
    settle(crashes)
    assert len(crashes.acknowledged) >= 4


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_a_long_series_of_crashes(tmp_path: Path, seed: int) -> None:
    crashes = Crashes(tmp_path / "data", seed=seed)
    crashes.data.mkdir()
    crashes.submit(6)
    for _ in range(40):
        crashes.live_and_die(2.5)
    settle(crashes)
