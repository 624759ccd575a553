"""The page about moving to the core: its example runs as written, and what it names exists."""

import re
from pathlib import Path

import pytest

from domain.catalog import TOPICS

PAGE = (Path(__file__).parents[3] / "adapters" / "docs" / "migration.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "migration.md", "exec"), names)
    assert len(BLOCKS) == 4


def test_every_topic_it_names_exists() -> None:
    named = set(re.findall(r"`((?:job|node|client|dependency|external)\.[a-z_]+)`", PAGE))
    assert named
    assert named <= set(TOPICS)


def test_every_shared_rule_it_names_exists() -> None:
    policies = Path(__file__).parents[3] / "domain" / "policies"
    for name in ("promotion", "displacement", "lending", "suitability", "tariffs"):
        assert f"`{name}`" in PAGE
        assert (policies / f"{name}.py").is_file()
