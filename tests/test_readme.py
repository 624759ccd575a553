"""What the README shows is what there is: its program runs as it stands, its commands exist, its files are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from adapters.cli.catalog import ENTRIES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_program_in_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    program = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert program is not None
    assert len([line for line in program[1].splitlines() if line.strip()]) <= 18
    done = subprocess.run(
        [sys.executable, "-c", program[1]],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["answer completed 1/1", "frames completed 3/3"]
    assert lines[2] == "frame 2"
    assert lines[-1].endswith("JobCompleted")


def test_the_command_table_is_complete() -> None:
    commands = set(ENTRIES)
    table = README.split("## Commands")[1].split("## Process contract")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = {word for row in rows for word in re.findall(r"`([a-z]+)`", row)}
    assert documented == commands


def test_the_files_that_the_readme_names_exist() -> None:
    for path in re.findall(r"(?:adapters|tests|domain|application|projections)/[a-z_/]+\.(?:py|yaml|md)", README):
        assert (ROOT / path).exists(), path
