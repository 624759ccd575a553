"""Do the read models say what the aggregates say, after any valid history, however it was cut into batches?"""

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection

from domain import intervals
from domain.decisions import Reason, ReasonCode
from domain.farm import Farm
from domain.job.events import TasksResumed, TasksSuspended
from domain.job.values import Job, attempt_id
from domain.node import Node
from domain.planning import blockers
from domain.resources import NOTHING, Resources
from domain.workflow import Workflow
from projections import audit, nodes, queue, utilization
from projections.runner import ProjectionRunner
from projections.tables import open_views
from tests.history import History, histories, made_by, random_moves, wind_down
from tests.projections.reading import Log, recorded, rows_of

pytestmark = pytest.mark.slow


@settings(max_examples=settings().max_examples // 3)
@given(history=histories(count=40), cuts=st.randoms(use_true_random=False))
def test_single_events_random_batches_and_a_rebuild_give_the_same_rows(history: History, cuts: random.Random) -> None:
    log = Log(recorded(history))
    batched, at_once = open_views("sqlite://"), open_views("sqlite://")
    runner = ProjectionRunner(batched, log.read, log.position)
    at = 0
    while at < len(log.events):
        size = cuts.choice((1, 1, 2, 7, 40))
        runner.fold(log.events[at : at + size])
        at += size
        if cuts.random() < 0.2:  # a restart: all memory is gone
            runner = ProjectionRunner(batched, log.read, log.position)
    ProjectionRunner(at_once, log.read, log.position).catch_up()
    assert rows_of(batched) == rows_of(at_once)
    runner.rebuild()
    assert rows_of(batched) == rows_of(at_once)


@settings(max_examples=settings().max_examples // 2)
@given(history=histories(count=100))
def test_read_models_say_what_the_aggregates_say(history: History) -> None:
    log, engine = Log(recorded(history)), open_views("sqlite://")
    ProjectionRunner(engine, log.read, log.position).catch_up()
    with engine.connect() as connection:
        for state in history.states.values():
            if isinstance(state, Job):
                check_job(connection, state)
            elif isinstance(state, Node):
                check_node(connection, state, history)
            elif isinstance(state, Workflow):
                check_workflow(connection, state, history)
        check_blockers(connection, history.farm, history.now_ms)
        check_counts(connection, history)


@settings(max_examples=settings().max_examples // 2)
@given(history=histories(), parts=st.lists(st.integers(0, 10**6), min_size=2, max_size=6, unique=True))
def test_utilization_is_the_integral_of_what_was_held_over_any_span(history: History, parts: list[int]) -> None:
    events = recorded(history)
    log, engine = Log(events), open_views("sqlite://")
    ProjectionRunner(engine, log.read, log.position).catch_up()
    first, last = events[0].event.at_ms - 1000, history.now_ms + 100_000
    edges = sorted({first + (last - first) * part // 10**6 for part in parts})
    with engine.connect() as connection:
        for from_ms, to_ms in pairwise(edges):
            found = utilization.utilization(connection, from_ms, to_ms)
            assert found.core_s * 1e6 == pytest.approx(held(events, from_ms, to_ms), abs=1e-3)
            assert sum(client.core_s for client in found.clients) == pytest.approx(found.core_s)
            assert sum(node.core_s for node in found.nodes) == pytest.approx(found.core_s)
            assert sum(node.capacity_core_s for node in found.nodes) == pytest.approx(found.capacity_core_s)


def test_a_farm_that_has_wound_down_holds_nothing() -> None:
    for seed in range(5):
        history = made_by(random_moves(seed, 150))
        wind_down(history)
        log, engine = Log(recorded(history)), open_views("sqlite://")
        ProjectionRunner(engine, log.read, log.position).catch_up()
        rows = rows_of(engine)
        with engine.connect() as connection:
            assert all(node.used == NOTHING and node.attempts == 0 for node in nodes.list_nodes(connection))
            assert queue.list_jobs(connection) == []
        assert [rows[name] for name in ("nodes_jobs", "nodes_attempts", "usage_jobs", "usage_attempts")] == [[]] * 4


def check_job(connection: Connection, state: Job) -> None:
    view = queue.job(connection, state.spec.job_id)
    assert view is not None
    assert (view.status, view.priority, view.deadline_ms) == (state.status, state.priority, state.deadline_ms)
    assert (view.held, view.paused, view.ended_ms) == (state.held, state.paused, state.ended_ms)
    waiting = intervals.union(state.waiting, state.gated)  # whoever waits for approval waits, too
    sets = (waiting, state.succeeded, state.failed, state.cancelled)
    assert (view.waiting, view.succeeded, view.failed, view.cancelled) == tuple(map(intervals.size, sets))
    assert view.delayed == sum(intervals.size(tasks) for _, tasks in state.delayed)
    assert (view.running, view.attempts) == (len(state.live), state.next_attempt - 1)
    attempts = {attempt.attempt: attempt for attempt in queue.attempts_of(connection, state.spec.job_id)}
    assert sorted(attempts) == list(range(1, state.next_attempt))
    live = {number: attempt for number, attempt in attempts.items() if attempt.outcome == "running"}
    assert live.keys() == state.live.keys()
    for number, attempt in state.live.items():
        found = live[number]
        assert (found.nodes, found.task, found.progress) == (attempt.nodes, attempt.task, attempt.progress)
        assert (found.placed_ms, found.started_ms, found.stopping) == (
            attempt.placed_ms,
            attempt.started_ms,
            attempt.stopping,
        )
        assert found.attempt_id == attempt_id(state.spec.job_id, attempt.task, number)


def check_node(connection: Connection, state: Node, history: History) -> None:
    view = nodes.node(connection, state.node_id)
    assert view is not None
    flags = (view.status, view.draining, view.suspected, view.retired, view.why)
    assert flags == (state.status, state.draining, state.suspected, state.retired, state.why)
    assert (view.capacity, view.attributes, view.asleep) == (state.capacity, state.attributes, state.asleep)
    used, attempts = NOTHING, 0
    for job in history.farm.jobs.values():
        for attempt in job.live.values():
            slots = dict(attempt.nodes).get(state.node_id, 0)
            used = used.plus(attempt.held(job.spec.requirement.resources), slots)
            attempts += slots > 0
    assert (view.used, view.attempts) == (used, attempts)


def check_workflow(connection: Connection, state: Workflow, history: History) -> None:
    view = queue.workflow(connection, state.workflow_id)
    assert view is not None
    jobs = [history.states[job_id] for job_id in state.jobs]
    counted = [sum(job.status is status for job in jobs) for status in view.jobs]
    assert list(view.jobs.values()) == counted
    assert (view.name, view.client_id, view.archived) == (state.name, state.client_id, state.archived)
    assert view.tasks_succeeded == sum(intervals.size(job.succeeded) for job in jobs)
    assert view.tasks_running == sum(len(job.live) for job in jobs)
    assert state.ended is None or view.status is state.ended


BY_SOMEBODY = (ReasonCode.HELD, ReasonCode.PAUSED)
PAUSED = (Reason(ReasonCode.PAUSED),)


def check_blockers(connection: Connection, farm: Farm, now_ms: int) -> None:
    """What the view says stands before a job is what the domain says."""
    for view in queue.list_jobs(connection, limit=1000, now_ms=now_ms):
        job = farm.jobs[view.job_id]
        expected = blockers.of_job(farm, job, now_ms) if job.unplaced else PAUSED if job.paused else ()
        assert (
            tuple(replace(each, entity="") if each.code in BY_SOMEBODY else each for each in view.blockers) == expected
        )
        assert all(each.entity == "user:ada" for each in view.blockers if each.code in BY_SOMEBODY)
        assert bool(view.blocker) == bool(expected)


def check_counts(connection: Connection, history: History) -> None:
    jobs = [state for state in history.states.values() if isinstance(state, Job)]
    for status, count in queue.jobs_by_status(connection).items():
        assert count == sum(job.status is status for job in jobs)
        which = queue.JobFilter(status=frozenset({status}))
        assert queue.count_jobs(connection, which) == len(queue.list_jobs(connection, which)) == count
    assert len(audit.entries(connection, limit=10_000)) == len(history.rows)


def held(events: list[Any], from_ms: int, to_ms: int) -> int:
    """Millicore-milliseconds, attempt by attempt from the events alone."""
    total = 0
    per_slot: dict[str, Resources] = {}
    placed: dict[tuple[str, int], tuple[int, int]] = {}
    asked: dict[tuple[str, int], int] = {}
    for recorded_event in events:
        event, stream = recorded_event.event, recorded_event.stream
        if hasattr(event, "spec"):
            per_slot[stream] = event.spec.requirement.resources
        for placement in getattr(event, "placements", ()):
            for at, _ in enumerate(intervals.members(placement.tasks)):
                amount = per_slot[stream].millicores * sum(slots for _, slots in placement.nodes)
                placed[stream, placement.first_attempt + at] = (event.at_ms, amount)
                asked[stream, placement.first_attempt + at] = amount
        if isinstance(event, TasksSuspended | TasksResumed):
            for number in event.attempts:
                began, amount = placed[stream, number]
                total += amount * overlap(began, event.at_ms, from_ms, to_ms)
                cores = asked[stream, number] if isinstance(event, TasksResumed) else 0
                placed[stream, number] = (event.at_ms, cores)
        over = [end.attempt for end in getattr(event, "ends", ())]
        if type(event).__name__ == "TasksLost":
            over = event.attempts
        for number in over:
            began, amount = placed.pop((stream, number))
            total += amount * overlap(began, event.at_ms, from_ms, to_ms)
    return total + sum(amount * overlap(began, to_ms, from_ms, to_ms) for began, amount in placed.values())


def overlap(began: int, ended: int, from_ms: int, to_ms: int) -> int:
    return max(0, min(ended, to_ms) - max(began, from_ms))
