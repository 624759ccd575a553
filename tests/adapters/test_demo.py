"""The tour that `make run` takes, as a stranger would take it: everything completes, and the pictures are there."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adapters.samples.png import read_png

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_tour_completes_with_a_node_killed_and_a_checkpoint_restored(tmp_path: Path) -> None:
    data = tmp_path / "farm"
    done = subprocess.run(
        [sys.executable, "-m", "adapters.cli", "demo", "--json", "--data", str(data)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["ok"]
    assert [job["status"] for job in summary["jobs"]] == ["completed"] * 5
    assert summary["resumed_from_checkpoint"]
    assert summary["killed_node"].startswith("node-")
    assert summary["frames"] == 24
    assert read_png(Path(summary["contact_sheet"])).shape[2] == 3
    told = subprocess.run(
        [sys.executable, "-m", "adapters.cli", "demo", "--data", str(data)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    _, _, story = told.stdout.partition("The story of n-body evolve")
    assert " resumes from checkpoint ckpt-" in story
    told_at = [story.index(words) for words in ("went away with node", " resumes from checkpoint ", "completed: every")]
    assert told_at == sorted(told_at)


@pytest.mark.slow
def test_a_tour_that_is_killed_half_way_goes_on_and_completes(tmp_path: Path) -> None:
    data, env = tmp_path / "farm", os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "adapters.cli", "demo", "--json", "--data", str(data)]
    first = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list((data / "outputs").glob("frames/frame_*.png"))) < 4 and time.monotonic() < until:
        time.sleep(0.05)
    first.kill()
    first.wait(10)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert [job["status"] for job in summary["jobs"]] == ["completed"] * 5
    assert summary["frames"] == 24


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("do not touch")
    done = subprocess.run(
        [sys.executable, "-m", "adapters.cli", "demo", "--data", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "not empty" in done.stderr
