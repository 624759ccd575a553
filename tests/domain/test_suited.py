"""Filter `suited`: nodes are left to those whom they suit, while such wait and nobody else is in a hurry."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from domain.farm import Farm
from domain.indices.performance import Performance
from domain.job.values import Job
from domain.node import Attributes
from domain.planning.planner import plan
from domain.policies import Context, Policies, made
from domain.policies.suited import DOUBTS, SuitedNodes, is_urgent, latest_start_ms, span_ms, speeds_of
from tests.builders import NOW, client, farm, job, need, node

HOUR, DAY = 3_600_000, 86_400_000
FAST: Attributes = {"class": ("fast",)}
SLOW: Attributes = {"class": ("slow",)}
NEW: Attributes = {"class": ("new",)}
SUITED = Policies(order="edf", filters=("suited",), placement="specialized")


def context(of: Farm) -> Context:
    return Context(of, made(SUITED), NOW)


def experienced(on: Farm, *runs: tuple[str, str, int]) -> Farm:
    """The same farm, where (class of node, kind, run time in ms) have been recorded."""
    on.performance = Performance()
    for name, kind, run_ms in runs:
        on.performance.record("show", kind, name, run_ms)
    return on


def due(in_ms: int, walltime_ms: int | None = HOUR, **fields: Any) -> Job:
    each = job("job-1", walltime_ms=walltime_ms, submitted_ms=NOW, **fields)
    return replace(each, deadline_ms=NOW + in_ms)


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_job_takes_one_run_and_all_its_waiting_tasks_divided_among_the_processors() -> None:
    asked = context(farm([node(cores=8), node(cores=2)]))
    assert span_ms(due(0, tasks="0-4", cores=2), asked) == HOUR + HOUR * 5 * 2 / 10
    assert span_ms(due(0, waiting=""), asked) == HOUR
    assert span_ms(due(0, walltime_ms=None), asked) == 0
    assert span_ms(due(0), context(farm())) > HOUR  # no processors at all: no division by zero


def test_a_job_is_urgent_between_the_latest_start_less_the_margin_and_the_deadline() -> None:
    asked = context(farm([node(cores=10)]))
    assert latest_start_ms(due(3 * HOUR), asked) == NOW + 3 * HOUR - 1.1 * HOUR
    assert not is_urgent(due(3 * HOUR), asked, HOUR)
    assert is_urgent(due(3 * HOUR), asked, 2 * HOUR)
    assert is_urgent(due(0), asked, HOUR)
    assert not is_urgent(due(-1), asked, HOUR)
    assert not is_urgent(job(walltime_ms=HOUR), asked, HOUR)
    assert latest_start_ms(job(), asked) == math.inf


# -- speeds ------------------------------------------------------------------------------------------------------------


def test_few_runs_count_little_and_a_class_that_was_never_tried_counts_as_usual() -> None:
    nodes = [node(attributes=each) for each in (FAST, SLOW, NEW)]
    on = experienced(farm(nodes), *[("fast", "k", 10), ("slow", "k", 20)] * DOUBTS)
    speeds = speeds_of("k", need(1), on.index, context(on))
    assert speeds.by_class == pytest.approx({"fast": 0.0875, "slow": 0.0625, "new": 0.075})
    assert math.isclose(speeds.average, 0.075)
    once = experienced(farm(nodes), *[("slow", "k", 20)] * DOUBTS, ("fast", "k", 10))
    usual = (DOUBTS * 0.05 + 0.1) / (DOUBTS + 1)
    by_class = speeds_of("k", need(1), once.index, context(once)).by_class
    assert by_class["fast"] == pytest.approx(usual + (0.1 - usual) / (DOUBTS + 1))
    assert speeds_of("k", need(99), on.index, context(on)).average == 0


# -- what is kept for whom ---------------------------------------------------------------------------------------------


def picky_farm(*jobs: Job) -> Farm:
    """Two free nodes; renders run twice as fast on the first, copies on the second."""
    on = farm([node("n1", attributes=FAST), node("n2", attributes=SLOW)], jobs)
    return experienced(
        on, ("fast", "render", 10), ("slow", "render", 20), ("fast", "copy", 20), ("slow", "copy", 10)
    )  # fmt: skip


def allowed(each: Job, on: Farm) -> int:
    return SuitedNodes().mask(each, 0b11, on.index, context(on))


def test_a_node_is_left_to_those_whom_it_suits_while_they_wait() -> None:
    render, copy = job("a", kind="render"), job("b", 2, kind="copy")
    on = picky_farm(render, copy)
    assert (allowed(render, on), allowed(copy, on)) == (0b01, 0b10)
    assert allowed(render, picky_farm(render)) == 0b11  # nobody else waits


def test_urgent_jobs_and_gangs_may_use_all_nodes() -> None:
    copy = job("b", 2, kind="copy")
    urgent = due(HOUR, kind="render")
    gang = job("g", requirement=need(1, slots=2), kind="render")
    assert allowed(urgent, picky_farm(urgent, copy)) == 0b11
    assert allowed(gang, picky_farm(gang, copy)) == 0b11


def test_a_gang_that_waits_keeps_nothing_for_itself_and_neither_does_who_lacks_more_than_processors() -> None:
    render = job("a", kind="render")
    assert allowed(render, picky_farm(render, job("g", requirement=need(2, slots=2), kind="copy"))) == 0b11
    large = job("l", requirement=need(1, memory_mib=8), kind="copy")
    on = picky_farm(render, large)
    assert allowed(render, on) == 0b11  # the nodes have no memory, so that the copy cannot start there anyway


def test_who_may_not_start_anyway_keeps_nothing() -> None:
    render, copy = job("a", kind="render"), job("b", 2, kind="copy")
    on = picky_farm(render, replace(copy, spec=replace(copy.spec, client_id="small")))
    assert allowed(render, on) == 0b01
    on.clients["small"] = client("small", max_tasks=0)
    assert allowed(render, on) == 0b11


def test_where_kinds_share_a_segment_each_may_go_where_any_of_them_is_fast() -> None:
    render, copy, other = job("a", kind="render"), job("b", kind="copy"), job("c", 2, kind="copy")
    on = picky_farm(render, copy, other)  # a and b have one client, priority and requirement
    assert (allowed(render, on), allowed(copy, on), allowed(other, on)) == (0b11, 0b11, 0b10)
    elsewhere = picky_farm(render, replace(copy, spec=replace(copy.spec, client_id="other")))
    assert (allowed(render, elsewhere), allowed(copy, elsewhere)) == (0b01, 0b11)


def test_held_back_jobs_start_as_soon_as_nobody_else_wants_the_node() -> None:
    render = [job(f"r{at}", 4, kind="render") for at in range(3)]
    copy = job("c", 2, kind="copy")
    both = plan(picky_farm(*render, copy), SUITED, NOW)
    assert {each.job_id: each.placements[0].nodes[0][0] for each in both.decisions} == {"r0": "n1", "c": "n2"}
    alone = plan(picky_farm(*render), SUITED, NOW)
    assert {each.job_id: each.placements[0].nodes[0][0] for each in alone.decisions} == {"r0": "n1", "r1": "n2"}
