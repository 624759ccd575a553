"""Groups of tests: every test belongs to one, by its place, and a complete run must have run something of each.

Their counts stand in `report.json` under `groups` and at the end of the run. A run is complete when it was not told
which tests to take: no path, no `-k`, no other `-m` than that of the project. It fails if a group is empty or all of it
was skipped.
"""

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

import pytest

GROUPS = ("core", "common", "render_farm_manager", "integration")
PLACES = (
    ("integration", "tests/crash/*"),
    ("integration", "tests/contracts/*"),
    ("integration", "tests/adapters/test_store_*"),
    ("integration", "tests/adapters/test_local_*"),
    ("integration", "tests/adapters/test_cli*"),
    ("integration", "tests/adapters/test_door*"),
    ("integration", "tests/adapters/test_link*"),
    ("integration", "tests/adapters/test_openjd_*"),
    ("integration", "tests/adapters/test_demo*"),
    ("integration", "tests/facades/*/test_durable.py"),
    ("common", "tests/facades/common/*"),
    ("render_farm_manager", "tests/facades/render_farm_manager/*"),
    ("core", "*"),
)
"""The first pattern that a file matches decides. Integration: real processes, stores on disk, doors, crashes."""
CHOOSING = ("keyword", "lf", "failedfirst", "stepwise", "deselect", "ignore", "ignore_glob", "collectonly")
"""Options that take some tests and leave others, or run none."""


def group_of(nodeid: str) -> str:
    """The group of a test."""
    file = nodeid.partition("::")[0]
    return next(group for group, place in PLACES if fnmatch(file, place))


def faults(counts: dict[str, dict[str, int]]) -> list[str]:
    """What is missing from a complete run."""
    found = []
    for group, count in counts.items():
        if not count["collected"]:
            found.append(f"group {group} is empty: a complete run must have tests of it")
        elif count["skipped"] == count["collected"]:
            found.append(f"group {group} was skipped: not one of its {count['skipped']} tests ran")
    return found


class Groups:
    """Counts the tests of one run by group."""

    def __init__(self, config: pytest.Config) -> None:
        self.complete = is_complete(config)
        self._collected: set[str] = set()
        self._outcomes: dict[str, str] = {}

    def counts(self) -> dict[str, dict[str, int]]:
        """How many tests of each group were collected, passed, failed and were skipped."""
        names = ("collected", "passed", "failed", "skipped")
        found = {group: dict.fromkeys(names, 0) for group in GROUPS}
        for group, number in Counter(map(group_of, self._collected)).items():
            found[group]["collected"] = number
        for nodeid, outcome in self._outcomes.items():
            found[group_of(nodeid)][outcome] += 1
        return found

    # -- hooks ---------------------------------------------------------------------------------------------------

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What will run."""
        self._collected.update(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Iterable[str]) -> None:
        """The same when other processes run it."""
        self._collected.update(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """How a test went: a failure in any of its phases counts, a failure that was expected does not."""
        outcome = "passed" if report.skipped and hasattr(report, "wasxfail") else report.outcome
        if report.when == "call" or outcome != "passed":
            self._outcomes[report.nodeid] = outcome

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fails a complete run that misses a group, before any report of it is written."""
        if self.complete and session.exitstatus == pytest.ExitCode.OK and faults(self.counts()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_json_modifyreport(self, json_report: dict[str, Any]) -> None:
        """Into `report.json`."""
        json_report["groups"] = self.counts()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """For a complete run, one line for each group, and one for each that is missing."""
        if not self.complete:
            return
        counts = self.counts()
        terminalreporter.section("groups")
        for group, count in counts.items():
            terminalreporter.line(f"{group:20} " + ", ".join(f"{number} {name}" for name, number in count.items()))
        for fault in faults(counts):
            terminalreporter.line(f"ERROR: {fault}", red=True)


def is_complete(config: pytest.Config) -> bool:
    """Whether the run takes all tests that the project's own settings do."""
    usual = list(config.getini("addopts"))
    marks = usual[usual.index("-m") + 1] if "-m" in usual else ""
    taken = any(getattr(config.option, name, None) for name in CHOOSING)
    return config.args_source != pytest.Config.ArgsSource.ARGS and config.option.markexpr == marks and not taken


def pytest_configure(config: pytest.Config) -> None:
    """Counts in the process that reports, not in those that it may have started to run tests."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Groups(config), "groups")
