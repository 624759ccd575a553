"""Do the parts keep to their places? Read from the source text, so it holds for untested code too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "domain": {"domain"},
    "application": {"application", "domain"},
    "projections": {"projections", "domain"},
    "adapters": {"adapters", "application", "projections", "domain"},
}
PARTS = {*MAY_IMPORT, "tests"}
DOMAIN_LIBRARIES = {"msgspec"}
IMPURE = {
    "asyncio", "http", "logging", "multiprocessing", "os", "secrets", "shutil", "signal", "socket", "sqlite3",
    "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
"""What the standard library has of I/O, clocks and chance; `random` stays for seeded generators."""

CLOCK_READS = {
    "datetime.date.today", "datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow",
    "time.time", "time.time_ns",
}  # fmt: skip
CLOCK = "adapters/*clock.py"
"""The one kind of file that may ask what time it is; everyone else is told."""

TOP_LEVEL = PARTS | {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "pyproject.toml",
}  # fmt: skip
MADE_BY_TOOLS = ("build", "dist", "report.json", "venv", "__pycache__", "*.egg-info")
MAX_LINES = 500


def test_imports_between_the_packages_point_inward() -> None:
    wrong = [f"{where(f)} imports {name}" for f in package_files() for name in wrong_arrows(f, f.read_text())]
    assert wrong == []


def test_the_domain_needs_nothing_but_pure_python_and_msgspec() -> None:
    domain = files("domain")
    wrong = [f"{where(f)} imports {name}" for f in domain for name in foreign_imports(f, f.read_text())]
    assert wrong == []


def test_only_the_clock_adapter_asks_for_the_time() -> None:
    wrong = [
        f"{where(f)}:{line} uses {name}"
        for f in package_files()
        if not fnmatch(where(f), CLOCK)
        for line, name in clock_reads(f.read_text())
    ]
    assert wrong == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [where(f) for f in package_files() if not ast.get_docstring(ast.parse(f.read_text()))]
    assert silent == []


def test_no_module_is_longer_than_one_concept() -> None:
    lines = {where(f): len(f.read_text().splitlines()) for part in PARTS for f in files(part)}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_the_top_level_holds_only_what_was_agreed() -> None:
    assert top_level() - TOP_LEVEL == set()


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("domain/job/decide.py", "import adapters.cli", ["adapters.cli"]),
        ("domain/job/decide.py", "from ...adapters import cli", ["adapters"]),
        ("application/app.py", "def f():\n    from projections.queue import rows", ["projections.queue"]),
        ("projections/queue.py", "import domain.job, application", ["application"]),
        ("adapters/cli.py", "from tests.builders import farm", ["tests.builders"]),
        ("adapters/cli.py", "from application import app\nfrom projections import queue", []),
        ("domain/job/decide.py", "from ..node import Node\nfrom . import events", []),
    ],
)
def test_a_wrong_arrow_is_seen_however_it_is_written(path: str, source: str, found: list[str]) -> None:
    assert wrong_arrows(ROOT / path, source) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import re, msgspec.json, domain.job", []),
        ("import sqlalchemy", ["sqlalchemy"]),
        ("from os import path", ["os"]),
        ("import msgspec_extras", ["msgspec_extras"]),
    ],
)
def test_a_foreign_import_in_the_domain_is_seen(source: str, found: list[str]) -> None:
    assert foreign_imports(ROOT / "domain" / "node.py", source) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import datetime\ndatetime.datetime.now()", [(2, "datetime.datetime.now")]),
        ("from datetime import datetime as d, UTC\nd.now(UTC)", [(2, "datetime.datetime.now")]),
        ("import time as t\nread = t.time_ns", [(2, "time.time_ns")]),
        ("from time import time\nprint(time())", [(2, "time.time")]),
        ("import time\ntime.monotonic()", []),
        ("def f(clock):\n    return clock.now()", []),
        ("def f(time):\n    return time + 1", []),
    ],
)
def test_asking_for_the_time_is_seen_however_it_is_written(source: str, found: list[tuple[int, str]]) -> None:
    assert clock_reads(source) == found


def where(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def files(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def package_files() -> list[Path]:
    return [file for part in MAY_IMPORT for file in files(part)]


def wrong_arrows(file: Path, source: str) -> list[str]:
    """The imports of one module of our own that its package may not know."""
    allowed = MAY_IMPORT[top(where(file).replace("/", "."))]
    return [name for name in imports(file, source) if top(name) in PARTS - allowed]


def foreign_imports(file: Path, source: str) -> list[str]:
    """The imports of one domain module that are neither ours, nor pure standard library, nor msgspec."""
    allowed = (sys.stdlib_module_names - IMPURE) | DOMAIN_LIBRARIES | PARTS
    return [name for name in imports(file, source) if top(name) not in allowed]


def imports(file: Path, source: str) -> Iterator[str]:
    """Full names of the modules that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield imported_from(file, node)


def imported_from(file: Path, node: ast.ImportFrom) -> str:
    """The module after `from`, with leading dots resolved: one dot is the folder of the file."""
    if not node.level:
        return node.module or ""
    folder = file.relative_to(ROOT).parts[: -node.level]
    return ".".join([*folder, *([node.module] if node.module else [])])


def clock_reads(source: str) -> list[tuple[int, str]]:
    """Line and full name of every mention of a wall clock, under whatever name it was imported."""
    tree = ast.parse(source)
    known = imported_names(tree)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    chains = (
        (node.lineno, ast.unparse(node))
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner
    )
    full = ((line, known.get(top(chain), "") + chain[len(top(chain)) :]) for line, chain in chains)
    return sorted((line, name) for line, name in full if name in CLOCK_READS)


def imported_names(tree: ast.Module) -> dict[str, str]:
    """What each name bound by an import stands for: `d` for `datetime.datetime`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
            names |= {top(alias.name): top(alias.name) for alias in node.names if not alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def top(name: str) -> str:
    return name.partition(".")[0]


def top_level() -> set[str]:
    """What git tracks in the root; outside a checkout, what neither hides nor was made by a tool."""
    tracked = git_tracked()
    if tracked:
        return {name.partition("/")[0] for name in tracked}
    return {
        entry.name
        for entry in ROOT.iterdir()
        if not entry.name.startswith(".") and not any(fnmatch(entry.name, made) for made in MADE_BY_TOOLS)
    }


def git_tracked() -> list[str]:
    """Paths that git tracks below the root; none when there is no git, no checkout or no file added yet."""
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    return listing.stdout.split("\0")[:-1]
