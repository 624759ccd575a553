"""Do the benchmarks themselves work? Every row runs at a tiny size, without any limit on its ratio."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks import cluster, harness, report
from tests.benchmarks.catalog import ROWS
from tests.benchmarks.cluster import Cluster, Scale
from tests.benchmarks.harness import Pair, Result, Row, Size
from tests.benchmarks.kernel import amounts, place_naively

# -- every row ---------------------------------------------------------------------------------------------------------


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_row_measures_both_sides(row: Row, tmp_path: Path) -> None:
    result = harness.run(row, Size.TINY, tmp_path, rounds=1, warm_up=0)
    assert len(result.ratios) == 1
    for measured in (*result.ratios, result.floor_rate, result.our_rate):
        assert math.isfinite(measured)
        assert measured > 0


@pytest.mark.parametrize("is_busy", [False, True], ids=["empty", "busy"])
def test_planner_kernel_and_naive_loop_place_alike(is_busy: bool) -> None:
    made = Cluster(Scale(nodes=30, waiting=400, shapes=25))
    if is_busy:
        made.make_busy()
    ids, jobs = made.in_order()
    kernel = made.kernel()
    free = [amounts(resources) for resources in made.farm.index.free]
    naive = cluster.named(ids, place_naively(free, kernel.shapes, jobs))
    assert cluster.named(ids, kernel.copy().place(jobs)) == naive
    assert made.placed(made.plan()) == naive
    assert 0 < len(naive) < len(jobs)  # some start and some do not


# -- the harness -------------------------------------------------------------------------------------------------------


def row_of(floors: list[float], ours: list[float], **fields: object) -> Row:
    @contextmanager
    def measure(size: Size, directory: Path) -> Iterator[Pair]:
        yield Pair(iter(floors).__next__, iter(ours).__next__)

    return Row("r", "what", "floor", "unit", measure, **fields)  # type: ignore[arg-type]


def measured(floors: list[float], ours: list[float], **fields: object) -> Result:
    return harness.run(row_of(floors, ours, **fields), Size.TINY, Path(), rounds=len(ours) - 1)


def test_neighbours_make_a_ratio_and_the_first_round_does_not_count() -> None:
    result = measured([9, 1, 2, 4], [9, 2, 6, 40])
    assert result.ratios == [2, 3, 10]
    assert result.ratio == 3
    assert result.best == 2
    assert (result.floor_rate, result.our_rate) == (1 / 2, 1 / 6)


def test_a_row_that_should_be_faster_counts_the_other_way_round() -> None:
    result = measured([9, 8, 8, 8], [9, 1, 2, 4], faster=True)
    assert result.ratios == [8, 4, 2]
    assert result.best == 8


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.0, "goal"), (1.5, "goal"), (1.6, "ok"), (2.0, "ok"), (2.1, "MISSED")]
)
def test_the_median_is_judged(ratio: float, verdict: str) -> None:
    assert measured([1, 1], [1, ratio], accept=2, goal=1.5).verdict == verdict


@pytest.mark.parametrize(("ratio", "verdict"), [(12.0, "goal"), (11.0, "ok"), (8.0, "ok"), (7.0, "MISSED")])
def test_more_is_better_for_a_row_that_should_be_faster(ratio: float, verdict: str) -> None:
    assert measured([1, ratio], [1, 1], accept=8, goal=12, faster=True).verdict == verdict


def test_a_row_without_a_limit_only_informs() -> None:
    assert measured([1, 1], [1, 100]).verdict == ""


# -- what is printed ---------------------------------------------------------------------------------------------------


def test_the_table_says_it_all() -> None:
    lines = report.table([measured([1, 0.001], [1, 0.0025], accept=3, goal=2)]).splitlines()
    assert " ".join(lines[0].split()) == "row floor ratio min – max accept goal verdict floor's rate our rate"
    assert " ".join(lines[1].split()) == "what floor 2.50× 2.50 – 2.50 3× 2× ok 1,000 units/s 400 units/s"


@pytest.mark.parametrize(
    ("arguments", "code"), [([], 0), (["--strict"], 1), (["--json"], 0), (["--only", "no-such-row"], 2)]
)
def test_only_strict_runs_fail_for_a_missed_limit(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "ROWS", (row_of([1.0] * 3, [5.0] * 3, accept=2, goal=1),))
    assert program.main([*arguments, "--rounds", "2"]) == code
    printed = capsys.readouterr().out
    if "--json" in arguments:
        assert json.loads(printed)[0]["verdict"] == "MISSED"
    elif code < 2:
        assert "MISSED" in printed
