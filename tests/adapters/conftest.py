"""What the tests of the command line share: a farm of one small node without a server, and a job that waits there."""

from pathlib import Path

import pytest

from tests.adapters.cli_runner import Cli, make_farm


@pytest.fixture
def milepost(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line on a farm of one node that is offline."""
    data_dir = tmp_path / "farm"
    make_farm(data_dir)
    monkeypatch.chdir(tmp_path)
    return Cli(data_dir, capsys, monkeypatch)


@pytest.fixture
def shot(milepost: Cli) -> str:
    """A job named shot."""
    return milepost.submit("--name", "shot", "--", "sleep", "1")
