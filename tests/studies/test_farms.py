"""The study of farms on a small scale: targets, baselines that are what they say, and nodes that fail."""

from functools import cache

import pytest
from msgspec.structs import replace

from application.simulation.synthetic_farm import HOUR_S, STUDIO, outages
from domain.planning.planner import plan
from domain.policies import Policies
from tests.builders import farm as built
from tests.builders import job, node
from tests.studies import baselines, report
from tests.studies.__main__ import main
from tests.studies.farms import SETS, Day, FarmRun, Outcome, outcome

MORNING = replace(STUDIO, hourly=STUDIO.hourly[:4])
"""Less work than on a whole day; a higher load makes it as dense."""


@cache
def day(seed: int) -> Day:
    return Day.of(seed, MORNING, load=1.25)


@cache
def measured(seed: int, name: str) -> Outcome:
    return outcome(day(seed), name, SETS[name]())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 3])
def test_the_targets_hold(seed: int) -> None:
    ours, turns = measured(seed, "ours"), measured(seed, "round robin")
    assert ours.completed == ours.jobs
    assert ours.utilization >= 0.95
    assert ours.on_time >= 0.99
    assert ours.render_h <= 0.8 * turns.render_h
    assert turns.on_time < 0.9  # there is something to be good at
    assert 0 <= ours.met <= ours.feasible <= ours.deadlines


@pytest.mark.slow
def test_with_nodes_that_fail_all_work_completes_and_the_referee_finds_nothing() -> None:
    farm = Day.of(3, MORNING, load=0.5).farm
    down = outages(farm, 3, mtbf_s=6 * HOUR_S, repair_s=HOUR_S, until_s=20 * HOUR_S)
    run = FarmRun(farm, SETS["ours"](), down).run()  # the referee raises at the first rule that is broken
    assert run.ended.keys() == farm.by_id.keys()
    assert run.lost_ms > 0
    assert not run.referee.live
    assert all(node.takes_work for node in run.referee.nodes.values())


def test_round_robin_gives_each_task_to_the_next_node_with_room() -> None:
    on = built([node(cores=2), node(cores=2), node(cores=0), node(cores=2)], [job("a", tasks="0-4")])
    made_plan = plan(on, baselines.round_robin(), on.now_ms)
    placed = [placement.nodes[0][0] for each in made_plan.decisions for placement in each.placements]
    assert placed == ["n1", "n2", "n4", "n1", "n2"]


@pytest.mark.parametrize("name", SETS)
def test_every_set_of_policies_can_be_adopted(name: str) -> None:
    policies = SETS[name]()
    assert isinstance(policies, Policies)
    policies.check()


def row(seed: int, policies: str, on_time: float, utilization: float, render_h: float) -> Outcome:
    return Outcome(
        seed, policies, 10, 100, 10, 5, 5, 5, on_time, "millicores", utilization, 9.0, render_h, 0.0, 12.0
    )  # fmt: skip


def test_the_table_has_the_median_and_the_worst_of_every_measure() -> None:
    rows = [row(1, "ours", 1.0, 0.97, 80), row(2, "ours", 0.9, 0.96, 90), row(3, "ours", 1.0, 0.99, 70)]
    (line,) = [each for each in report.table(rows).splitlines() if "ours" in each]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "ours", "100.0% (90.0%)", "97.0% (96.0%)", "80 h (90 h)", "12.0 h (12.0 h)", "100.0% (100.0%)",
    ]  # fmt: skip


def test_a_target_is_judged_by_the_median_and_tells_the_worst() -> None:
    rows = [row(1, "ours", 1.0, 0.97, 80), row(2, "ours", 0.9, 0.96, 75), row(3, "ours", 1.0, 0.99, 70)]
    turns = [row(seed, "round robin", 0.5, 0.9, 100) for seed in (1, 2, 3)]
    assert not report.missed(rows + turns)
    told = report.targets(rows + turns)
    assert "deadlines met ≥ 99%: median 100.00%, worst 90.00%, below it on 1 of 3 seeds" in told
    assert "round robin ≥ 20%: median 25.00%, worst 20.00%" in told
    assert report.missed([*rows, *[row(seed, "round robin", 0.5, 0.9, 85) for seed in (1, 2, 3)]])


@pytest.mark.slow
def test_the_command_prints_outcomes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["farms", "--seeds", "1", "--load", "0.05", "--only", "fifo", "--json"]) == 0
    shown = capsys.readouterr().out
    assert '"policies": "fifo"' in shown
