"""The study of energy modes on a small scale: what night savings are worth, and that no deadline pays for it."""

import json
from functools import cache

import pytest
from msgspec.structs import replace

from tests.studies import energy
from tests.studies.__main__ import main
from tests.studies.energy import Outcome

SEEDS = (1, 2, 3)


@cache
def outcomes() -> tuple[Outcome, ...]:
    return tuple(energy.study(SEEDS))


def of(mode: str) -> dict[int, Outcome]:
    return {each.seed: each for each in outcomes() if each.mode == mode}


@pytest.mark.slow
def test_night_savings_save_and_miss_no_deadline_that_performance_meets() -> None:
    assert energy.missed(outcomes()) == []
    for seed, night in of("night-savings").items():
        usual = of("performance")[seed]
        assert night.cost <= (1 - energy.TARGET) * usual.cost
        assert set(night.met) >= set(usual.met)


@pytest.mark.slow
def test_all_work_is_done_under_every_mode_and_each_saves_more_than_the_one_before() -> None:
    assert all(each.completed == each.jobs for each in outcomes())
    for seed in SEEDS:
        costs = [of(mode)[seed].cost for mode in energy.MODES]
        assert costs == sorted(costs, reverse=True)
        assert of("performance")[seed].powered_down == 0
        assert of("efficiency")[seed].powered_down > 0


def outcome(mode: str, cost: float, *met: str) -> Outcome:
    return Outcome(1, mode, 2 * cost, cost, 3, 3, met, 2, 0)


def test_a_target_that_was_missed_is_told_with_its_seed() -> None:
    usual = outcome("performance", 100.0, "job-1", "job-2")
    assert energy.missed([usual, outcome("night-savings", 85.0, "job-2", "job-1")]) == []
    assert energy.missed([usual, outcome("night-savings", 86.0, "job-1")]) == [
        "seed 1: saved 14.0%",
        "seed 1: missed job-2",
    ]


def test_the_table_has_the_median_and_the_worst_of_every_mode() -> None:
    rows = [
        replace(outcome(mode, cost, "job-1"), seed=seed)
        for seed in SEEDS
        for mode, cost in (("performance", 100.0), ("night-savings", 50.0 + seed))
    ]
    *_, line = energy.table(rows).splitlines()
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[0] == "night-savings"
    assert "104 kWh (106 kWh)" in cells
    assert "48.0% (47.0%)" in cells


@pytest.mark.slow
def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["energy", "--seeds", "1", "--only", "night-savings"]) == 0
    assert "No target was missed." in capsys.readouterr().out
    assert main(["energy", "--seeds", "1", "--only", "efficiency", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["mode"] for each in found] == ["performance", "efficiency"]
