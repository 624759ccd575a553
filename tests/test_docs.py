"""The documentation names everything that there is: topics, policies, and only files that exist."""

import re
from pathlib import Path

import domain.policies.builtin  # noqa: F401  (registers what must be documented)
from domain.catalog import TOPICS
from domain.policies import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "adapters" / "docs"


def test_every_topic_is_documented_with_its_fields() -> None:
    page = (DOCS / "events.md").read_text()
    for topic, kind in TOPICS.items():
        row = next((line for line in page.splitlines() if line.startswith(f"| `{topic}` |")), None)
        assert row is not None, f"{topic} is missing in events.md"
        for field in kind.__struct_fields__:
            assert field == "at_ms" or f"`{field}`" in row, f"{topic}: {field} is missing in events.md"


def test_no_documented_topic_has_gone() -> None:
    page = (DOCS / "events.md").read_text()
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE)) == set(TOPICS)


def test_every_policy_is_documented() -> None:
    page = (DOCS / "policies.md").read_text()
    for family, policies in FAMILIES.items():
        assert f"## {family}" in page
        for name, kind in policies.items():
            built_in = kind.__module__.startswith("domain.")  # others come from tests of the hooks
            assert not built_in or f"`{name}`" in page, f"the {family} policy {name} is missing in policies.md"
