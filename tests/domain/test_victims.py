"""The choice of victims against every set there is: enough, none too many, and the best where few enough to try."""

from itertools import combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from domain.farm import Farm
from domain.indices.nodeindex import slots_in
from domain.job.values import Attempt, Job, Priority
from domain.policies import Context, Policies, made
from domain.resources import Requirement
from domain.rules import victims
from domain.rules.victims import Candidate, Roll, Way, Ways, objective
from tests.builders import HOUR, NOW, farm, job, need, node


def random_case(rng: Random) -> tuple[Farm, Requirement]:
    """Up to four nodes with up to seven attempts, some of them gangs, and what somebody asks for."""
    nodes = [node(f"n{k}", rng.choice((2, 4)), gpus=rng.choice((0, 1))) for k in range(rng.randint(1, 4))]
    free = {each.node_id: each.capacity for each in nodes}
    jobs = []
    for k in range(rng.randint(1, 7)):
        wanted = need(rng.choice((1, 1, 2, 3)), gpus=rng.choice((0, 0, 1)))
        ids = rng.sample(sorted(free), rng.choice((1, 1, min(2, len(free)))))
        if all(free[node_id].fits(wanted.resources) for node_id in ids):
            for node_id in ids:
                free[node_id] = free[node_id].minus(wanted.resources)
            jobs.append(running(rng, k, wanted, ids))
    asked = need(
        rng.choice((1, 2, 3, 4)),
        gpus=rng.choice((0, 0, 0, 1)),
        slots=rng.choice((1, 1, 2, 3)),
        distinct=rng.random() < 0.5,
    )
    return farm(nodes, jobs), asked


def running(rng: Random, k: int, wanted: Requirement, ids: list[str]) -> Job:
    """A job with one attempt that has run for up to three hours."""
    requirement = Requirement(wanted.resources, len(ids), True)
    started_ms = NOW - rng.choice((0, 1, 1, 2, 3)) * HOUR
    attempt = Attempt(0, tuple([(node_id, 1) for node_id in ids]), started_ms, started_ms)
    fields: dict[str, Any] = {"priority": rng.choice((Priority.LOW, Priority.LOW, Priority.MEDIUM))}
    if rng.random() < 0.3:
        fields["deadline_ms"] = NOW + rng.choice((1, 12, 30)) * HOUR
    return job(f"job-{k}", requirement=requirement, waiting="", live={1: attempt}, next_attempt=2, **fields)


def ways_of(case: tuple[Farm, Requirement]) -> tuple[list[Way], Roll, Ways]:
    where, asked = case
    policies = made(Policies(preemption="requeue"))
    roll = Roll(Context(where, policies, NOW), policies.preemption)
    nodes = where.index.open_mask & where.index.capable(asked)
    ways = Ways(where.index, roll, asked, nodes, lambda victim: True)
    return ways.found(), roll, ways


def makes_room(where: Farm, asked: Requirement, chosen: tuple[Candidate, ...]) -> bool:
    """Whether one task fits once these have left."""
    index = where.index.fork()
    for victim in chosen:
        for number, slots in victim.nodes:
            index.release(number, victim.frees, slots)
    return slots_in(index.rooms(index.fitting(asked), asked)) >= asked.slots


def every_way(where: Farm, asked: Requirement, candidates: list[Candidate]) -> list[Way]:
    """All sets that make room and of which none can be left out, the slow and obvious way."""
    by_name = {each.name: each for each in candidates}
    enough = [
        frozenset([each.name for each in chosen])
        for size in range(1, len(candidates) + 1)
        for chosen in combinations(candidates, size)
        if makes_room(where, asked, chosen)
    ]
    minimal = [names for names in enough if not any(other < names for other in enough)]
    return [Way.of([by_name[name] for name in sorted(names)]) for names in minimal]


def candidates_of(roll: Roll) -> list[Candidate]:
    return sorted({each.name: each for of in roll.by_node.values() for each in of}.values(), key=victims._by_cost)


@given(st.randoms(use_true_random=False).map(random_case))
def test_the_way_taken_is_the_best_there_is(case: tuple[Farm, Requirement]) -> None:
    where, asked = case
    if makes_room(where, asked, ()):
        return
    found, roll, _ = ways_of(case)
    best = sorted(every_way(where, asked, candidates_of(roll)), key=objective)
    assert [way.names for way in found[:1]] == [way.names for way in best[:1]]


@given(st.randoms(use_true_random=False).map(random_case))
def test_where_there_are_too_many_to_try_no_victim_can_be_left_out_all_the_same(case: tuple[Farm, Requirement]) -> None:
    where, asked = case
    if makes_room(where, asked, ()):
        return
    tried, victims.SETS = victims.SETS, 0
    try:
        found, roll, _ = ways_of(case)
    finally:
        victims.SETS = tried
    ways = {way.names for way in every_way(where, asked, candidates_of(roll))}
    assert bool(found) == bool(ways)
    assert {way.names for way in found} <= ways


@given(st.randoms(use_true_random=False).map(random_case))
def test_what_is_remembered_is_forgotten_where_something_changes(case: tuple[Farm, Requirement]) -> None:
    """After one way was taken, the next one found is what a fresh search finds."""
    where, asked = case
    found, roll, ways = ways_of(case)
    if not found:
        return
    index = ways._index = where.index.fork()
    for victim in found[0].victims:
        for number, slots in victim.nodes:
            index.release(number, victim.frees, slots)
    touched = roll.strike(found[0].victims)
    for number in touched:
        index.allocate(number, asked.resources)
    ways.forget(touched)
    nodes = where.index.open_mask & where.index.capable(asked)
    fresh = Ways(index, roll, asked, nodes, lambda victim: True)
    if slots_in(index.rooms(index.fitting(asked), asked)) < asked.slots:
        assert [way.names for way in ways.found()] == [way.names for way in fresh.found()]


@pytest.mark.parametrize("count", [200])
def test_many_small_ones_make_way_for_a_large_one_without_trying_every_set(count: int) -> None:
    small = [
        job(
            f"job-{k:03}",
            waiting="",
            live={1: Attempt(0, (("n1", 1),), NOW, NOW)},
            next_attempt=2,
            priority=Priority.LOW,
        )
        for k in range(count)
    ]
    where = farm([node("n1", count)], small)
    found, _, _ = ways_of((where, need(count // 2)))
    assert (len(found), found[0].size) == (1, count // 2)
