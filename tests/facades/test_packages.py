"""The facades are packages of their own: nobody inside needs them, and each is imported under one name only."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FACADES = ROOT / "adapters" / "facades"
PACKAGES = ("common", "render_farm_manager")


def imports(file: Path) -> Iterator[str]:
    """The full names of what a file imports."""
    for statement in ast.walk(ast.parse(file.read_text())):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def sources(*folders: str) -> list[Path]:
    """All source files of some folders."""
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def test_a_facade_has_one_name() -> None:
    wrong = tuple(f"adapters.facades.{package}" for package in PACKAGES)
    files = sources("adapters", "application", "domain", "projections", "tests")
    assert [str(file) for file in files for name in imports(file) if name.startswith(wrong)] == []


def test_nobody_outside_needs_the_facades() -> None:
    outside = [
        file for file in sources("adapters", "application", "domain", "projections") if FACADES not in file.parents
    ]
    needed = {(file.name, name) for file in outside for name in imports(file)}
    assert not {each for each in needed if each[1].split(".")[0] in PACKAGES}
    assert {file for file, name in needed if name.split(".")[0] == "pydantic"} <= {"openjd.py"}, "an extra of its own"
    assert not {each for each in needed if each[1].startswith("adapters.facades")}


def test_what_facades_share_needs_neither_of_them() -> None:
    files = [file for file in (FACADES / "bridge").rglob("*.py") if not file.name.startswith("render")]
    shared = [name for file in files for name in imports(file)]
    assert not [name for name in shared if name.split(".")[0] in (*PACKAGES, "pydantic")]


def test_the_library_needs_nothing_of_the_package_on_top_of_it() -> None:
    assert not [name for file in (FACADES / "common").rglob("*.py") for name in imports(file) if "render_farm" in name]


def test_the_library_needs_no_heavy_one() -> None:
    allowed = {"adapters", "application", "common", "domain", "pydantic", "projections"}
    used = {name.split(".")[0] for file in (FACADES / "common").rglob("*.py") for name in imports(file)}
    assert not used & {"networkx", "numpy", "pandas", "sqlalchemy"}
    assert allowed & used == {"adapters", "application", "common", "domain", "pydantic"}
