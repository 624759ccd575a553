"""How tables mark deadlines."""

from typing import Any

import pytest

from adapters.cli.details import deadline_text
from adapters.cli.looking import deadline_cell
from tests.builders import NOW, SECOND


def row(**fields: Any) -> dict[str, Any]:
    return {"deadline_ms": NOW, "ended_ms": None, "late_ms": None, "status": "running"} | fields


@pytest.mark.parametrize(
    ("job", "now_ms", "said"),
    [
        (row(deadline_ms=None), NOW, ""),
        (row(), NOW - 7_200 * SECOND, "in 2 h"),
        (row(), NOW + 2 * SECOND, "late by 2 s"),
        (row(ended_ms=NOW + SECOND, late_ms=SECOND, status="completed"), NOW + 60 * SECOND, "late by 1 s"),
        (row(ended_ms=NOW - SECOND, late_ms=-SECOND, status="completed"), NOW + 60 * SECOND, "met"),
        (row(ended_ms=NOW - SECOND, late_ms=-SECOND, status="cancelled"), NOW + 60 * SECOND, ""),
    ],
)
def test_the_queue_says_how_a_job_stands_to_its_deadline(job: dict[str, Any], now_ms: int, said: str) -> None:
    cell = deadline_cell(job, now_ms)
    assert cell.text == said
    assert (cell.style == "red") is said.startswith("late")


def test_the_page_of_an_ended_job_says_whether_it_was_in_time() -> None:
    assert deadline_text(row(), NOW + 2 * SECOND).endswith("(2 s ago)")
    late = row(ended_ms=NOW + SECOND, late_ms=SECOND)
    assert deadline_text(late, NOW + 2 * SECOND).endswith(", late by 1 s")
