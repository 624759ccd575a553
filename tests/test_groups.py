"""Groups of tests: by place, counted in the report, and none missing from a complete run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import groups

FILES = {
    "core": "tests/domain/test_core.py",
    "common": "tests/facades/common/test_common.py",
    "render_farm_manager": "tests/facades/render_farm_manager/test_render.py",
    "integration": "tests/crash/test_crash.py",
}
PASSES = "def test_{0}() -> None:\n    assert True\n"
SKIPS = "import pytest\n\n\n@pytest.mark.skip(reason='not here')\n" + PASSES
SETTINGS = """\
[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = ["--import-mode=importlib", "-m", "not slow"]
markers = ["slow: takes long"]
"""


class Run(NamedTuple):
    """How a run of another project ended."""

    code: int
    out: str
    report: dict[str, Any]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one test of each group that passes."""
    shutil.copy(groups.__file__, tmp_path / "the_groups.py")
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    for group, file in FILES.items():
        write(tmp_path / file, PASSES.format(group))
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def run(project: Path, *args: str) -> Run:
    """Runs pytest there as `make test` does."""
    report = project / "report.json"
    command = [sys.executable, "-m", "pytest", "-p", "the_groups", "--json-report", f"--json-report-file={report}"]
    done = subprocess.run([*command, *args], cwd=project, capture_output=True, text=True, timeout=60, check=False)
    return Run(done.returncode, done.stdout, json.loads(report.read_text()))


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/domain/test_job.py::test_x[tests/crash/x]", "core"),
        ("tests/adapters/test_settings.py::test_x", "core"),
        ("tests/test_groups.py::test_x", "core"),
        ("tests/adapters/test_store_sqlite.py::test_x", "integration"),
        ("tests/adapters/test_local_crashes.py::test_x", "integration"),
        ("tests/facades/render_farm_manager/test_durable.py::test_x", "integration"),
        ("tests/facades/render_farm_manager/test_energy.py::test_x", "render_farm_manager"),
        ("tests/facades/common/test_queue.py::TestX::test_x", "common"),
    ],
)
def test_the_place_of_a_test_decides(nodeid: str, group: str) -> None:
    assert groups.group_of(nodeid) == group


def test_every_file_that_a_pattern_names_is_there() -> None:
    root = Path(__file__).resolve().parents[1]
    for _, place in groups.PLACES:
        assert any(root.glob(place)), place


def test_counts_are_reported(project: Path) -> None:
    write(project / "tests/crash/test_more.py", SKIPS.format("more"))
    done = run(project)
    assert done.code == 0, done.out
    one = {"collected": 1, "passed": 1, "failed": 0, "skipped": 0}
    assert done.report["groups"] == {
        "core": one,
        "common": one,
        "render_farm_manager": one,
        "integration": {"collected": 2, "passed": 1, "failed": 0, "skipped": 1},
    }
    assert "integration          2 collected, 1 passed, 0 failed, 1 skipped" in done.out


@pytest.mark.parametrize("group", groups.GROUPS)
def test_every_group_is_missed(group: str) -> None:
    counts = {name: {"collected": 2, "passed": 1, "failed": 0, "skipped": 1} for name in groups.GROUPS}
    assert groups.faults(counts) == []
    counts[group] = {"collected": 2, "passed": 0, "failed": 0, "skipped": 2}
    assert [group in fault for fault in groups.faults(counts)] == [True]
    counts[group] = dict.fromkeys(counts[group], 0)
    assert [group in fault for fault in groups.faults(counts)] == [True]


def test_a_complete_run_without_a_group_fails(project: Path) -> None:
    (project / FILES["common"]).unlink()
    done = run(project)
    assert done.code == 1
    assert "ERROR: group common is empty" in done.out
    assert done.report["exitcode"] == 1


def test_a_group_that_is_skipped_as_a_whole_fails_the_run(project: Path) -> None:
    write(project / FILES["common"], SKIPS.format("common"))
    done = run(project)
    assert done.code == 1
    assert "ERROR: group common was skipped: not one of its 1 tests ran" in done.out


@pytest.mark.parametrize(
    "args", [["tests/domain"], ["-k", "core"], ["-m", "not nothing and not common"], ["--ignore=tests/crash"]]
)
def test_a_part_may_leave_groups_out(project: Path, args: list[str]) -> None:
    shutil.rmtree(project / "tests/facades")
    done = run(project, *args)
    assert done.code == 0, done.out
    assert "ERROR" not in done.out


def test_a_failure_counts_wherever_in_a_test_it_happens(project: Path) -> None:
    text = "import pytest\n\n\n@pytest.fixture\ndef bad():\n    yield\n    assert 0\n\n\n"
    text += "def test_late(bad): pass\n\n\n@pytest.mark.xfail(strict=True)\ndef test_known(): assert 0\n"
    write(project / FILES["core"], text)
    done = run(project)
    assert done.code == 1
    assert done.report["groups"]["core"] == {"collected": 2, "passed": 1, "failed": 1, "skipped": 0}
