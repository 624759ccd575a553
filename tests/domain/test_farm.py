"""The farm is a fold of the log: one by one, in one go or from a snapshot, it is the same farm at every position."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import dependency, job, node, reservation, workflow
from domain.catalog import TOPICS
from domain.cycle import CycleDecided, cycle_stream
from domain.decisions import Blocked
from domain.farm import Farm
from domain.farm_snapshot import ClientUse, FarmSnapshot
from domain.intervals import members
from domain.job import commands as c
from domain.job.values import FailureClass, JobStatus
from domain.messages import topic_of
from domain.resources import NOTHING
from tests.builders import NOW, spec
from tests.builders import farm as farm_of
from tests.builders import node as node_state
from tests.contents import check_index, contents, levels_of
from tests.history import (
    CLIENTS,
    History,
    add_node,
    end_attempts,
    histories,
    made_by,
    random_moves,
    run_cycle,
    submit,
    wind_down,
)

UNSUCCESSFUL = (JobStatus.FAILED, JobStatus.CANCELLED)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(FarmSnapshot).decode


def restored(farm: Farm) -> Farm:
    """The farm that comes back from its own snapshot, written and read."""
    return Farm.restore(_decode(_encode(farm.snapshot())))


def same(*farms: Farm) -> None:
    """All these farms are equal, and their indices are sound."""
    levels = sorted(levels_of(*(farm.index for farm in farms)))
    first, *others = [contents(farm, levels) for farm in farms]
    for other in others:
        for part, held in first.items():
            assert other[part] == held, part
    for farm in farms:
        check_index(farm.index)


# -- replay equals live ----------------------------------------------------------------------------------------------


@settings(max_examples=settings.default.max_examples // 2)
@given(histories())
def test_at_every_position_the_farm_is_the_same_event_by_event_in_one_go_and_from_a_snapshot(history: History) -> None:
    live = Farm()
    for count, row in enumerate(history.rows, 1):
        live.apply(*row)
        same(live, Farm.fold(history.rows[:count]), restored(live))
    same(live, history.farm)  # which was told the states, and has answered plans meanwhile


@given(histories(), st.integers(0, 200))
def test_a_farm_can_go_on_from_any_snapshot_in_either_way(history: History, at: int) -> None:
    before, after = history.rows[: at % (len(history.rows) + 1)], history.rows[at % (len(history.rows) + 1) :]
    snapshot = Farm.fold(before)
    stepwise = restored(snapshot)
    for row in after:
        stepwise.apply(*row)
    same(history.farm, stepwise, Farm.fold(after, start=restored(snapshot)))


@given(histories())
def test_a_snapshot_of_a_restored_farm_is_the_same_snapshot(history: History) -> None:
    assert _encode(restored(history.farm).snapshot()) == _encode(history.farm.snapshot())


# -- what is true of every farm --------------------------------------------------------------------------------------


@given(histories())
def test_the_farm_holds_what_lives_and_nothing_else(history: History) -> None:
    farm, states = history.farm, history.states
    jobs = {s.spec.job_id: s for s in states.values() if isinstance(s, job.Job) and (s.ended is None or s.live)}
    assert farm.jobs == jobs
    assert list(farm.nodes.values()) == [s for s in states.values() if isinstance(s, node.Node)]
    assert farm.workflows == {k: s for k, s in states.items() if isinstance(s, workflow.Workflow) and not s.ended}
    assert farm.outcomes.keys() == farm.workflows.keys()
    for workflow_id, outcomes in farm.outcomes.items():
        gone = {job_id for job_id in farm.workflows[workflow_id].jobs if job_id not in jobs}
        assert outcomes == {job_id: states[job_id].ended for job_id in gone}
    edges = {k: s for k, s in states.items() if isinstance(s, dependency.Dependency)}
    assert {k for k, s in edges.items() if s.blocks} <= farm.dependencies.keys()
    for edge_id, edge in farm.dependencies.items():
        assert edge == edges[edge_id]
        assert edge.blocks or edge.predecessor_id in jobs or edge.successor_id in jobs
    booked = {k: s for k, s in states.items() if isinstance(s, reservation.Reservation) and not s.is_over}
    assert farm.reservations == booked
    aggregates = {*jobs, *farm.workflows, *farm.dependencies, *booked}
    others = ("node:", "client:", "partition:", "cycle-", "refusal-", "undo-", "forecast-", "policies")
    kept = {s for s in farm.versions if not s.startswith(others)}
    assert kept == aggregates
    assert all(farm.versions[stream] == history.versions[stream] for stream in farm.versions)


@given(histories())
def test_a_workflow_is_counted_as_its_jobs_stand(history: History) -> None:
    farm, states = history.farm, history.states
    assert farm.tallies.keys() == farm.workflows.keys()
    for workflow_id, tally in farm.tallies.items():
        jobs = [states.get(job_id) for job_id in farm.workflows[workflow_id].jobs]
        left = [each for each in jobs if each is None or each.ended is None]
        assert tally.left == len(left)
        assert tally.going == sum(1 for each in left if each is not None and (each.queued or each.live))
        assert tally.bad == sum(1 for each in jobs if each is not None and each.ended in UNSUCCESSFUL)


@given(histories())
def test_back_offs_end_when_a_look_at_every_job_says_so(history: History) -> None:
    farm = history.farm
    ends = [(ms, each.spec.job_id) for each in farm.jobs.values() for ms, _ in each.delayed]
    for now_ms in {history.now_ms, *(ms + more for ms, _ in ends for more in (-1, 0, 1))}:
        assert farm.delayed_due(now_ms) == sorted({job_id for ms, job_id in ends if ms <= now_ms})
        assert farm.next_back_off(now_ms) == min((ms for ms, _ in ends if ms > now_ms), default=None)


@given(histories())
def test_what_is_free_is_what_is_not_held(history: History) -> None:
    farm = history.farm
    held = dict.fromkeys(farm.nodes, NOTHING)
    shrunk = {event.node_id for _, _, _, event in history.rows if isinstance(event, node.NodeCapabilitiesChanged)}
    use = {client_id: [0, 0, 0] for client_id in CLIENTS}
    placed: dict[str, set[tuple[str, int]]] = {node_id: set() for node_id in farm.nodes}
    for each in farm.jobs.values():
        need = each.spec.requirement
        for number, attempt in each.live.items():
            for node_id, slots in attempt.nodes:
                kept = replace(need.resources, millicores=0) if attempt.suspended_at_ms is not None else need.resources
                held[node_id] = held[node_id].plus(kept, slots)
                placed[node_id].add((each.spec.job_id, number))
            cores = 0 if attempt.suspended_at_ms is not None else need.total().millicores
            for kind, amount in enumerate((cores, need.total().gpus, 1)):
                use[each.spec.client_id][kind] += amount
    for node_id, each in farm.nodes.items():
        assert farm.index.free[farm.index.numbers[node_id]] == each.capacity.minus(held[node_id])
        if node_id not in shrunk:
            assert not each.capacity.minus(held[node_id]).is_negative(), f"{node_id} is over-allocated\n{history}"
        assert farm.attempts_on(node_id) == sorted(placed[node_id])
    for client_id, (millicores, gpus, tasks) in use.items():
        known = farm.use.get(client_id, ClientUse())
        assert [known.millicores, known.gpus, known.tasks] == [millicores, gpus, tasks]


@given(histories())
def test_no_task_is_lost_or_in_two_places(history: History) -> None:
    for each in (s for s in history.states.values() if isinstance(s, job.Job)):
        waiting = [each.waiting, each.gated, *(tasks for _, tasks in each.delayed)]
        sets = [*waiting, each.succeeded, each.failed, each.cancelled]
        found = [task for tasks in sets for task in members(tasks)] + [a.task for a in each.live.values()]
        assert sorted(found) == list(members(each.spec.tasks)), str(history)


@given(histories())
def test_a_farm_on_which_everything_has_ended_remembers_nothing_of_it(history: History) -> None:
    wind_down(history)
    farm = history.farm
    for edge in list(farm.dependencies.values()):  # between jobs that did not complete, and could be retried
        bypass = dependency.BypassDependency(dependency_id=edge.dependency_id)
        assert edge.blocks
        assert history.ask(dependency, edge.dependency_id, bypass)
    tables = (
        "jobs",
        "workflows",
        "dependencies",
        "outcomes",
        "tallies",
        "incoming",
        "outgoing",
        "delayed",
        "back_offs",
    )
    assert {name: len(getattr(farm, name)) for name in tables} == dict.fromkeys(tables, 0)
    assert (len(farm.queue), farm.queue.lines) == (0, {})
    assert not any(use.tasks or use.millicores or use.gpus for use in farm.use.values())
    assert not any(farm.placed.values())
    assert farm.index.free == farm.index.capacity
    assert {stream.partition(":")[0].partition("-")[0] for stream in farm.versions} <= {
        "node", "client", "partition", "cycle", "refusal", "undo", "forecast", "policies",
    }  # fmt: skip
    days = [stream for stream in farm.versions if stream.startswith(("cycle-", "refusal-", "undo-", "forecast-"))]
    kinds = {stream.rpartition("-")[0] for stream in days}
    assert len(days) == len(kinds), "of day streams only the newest is remembered"
    same(farm, Farm.fold(history.rows), restored(farm))


def test_random_histories_tell_of_everything_that_can_happen() -> None:
    told = {topic_of(type(event)) for seed in range(200) for _, _, _, event in made_by(random_moves(seed, 80)).rows}
    assert told == set(TOPICS)


# -- some of it by hand ----------------------------------------------------------------------------------------------


def small() -> History:
    """Nodes n0 and n1, and one workflow of two jobs in a row with three tasks each, the first three running."""
    history = History()
    add_node(history, 0)
    add_node(history, 1)
    submit(history, 28)  # job-0a and job-0b, one core each, tasks 1-3, one retry
    run_cycle(history, 0)
    return history


def test_a_job_is_forgotten_when_it_has_ended_and_nothing_of_it_runs() -> None:
    history = small()
    assert list(history.farm.jobs) == ["job-0a", "job-0b"]
    end_attempts(history, "job-0a", (1, 2, 3), None)
    assert list(history.farm.jobs) == ["job-0b"]
    assert history.farm.outcomes == {"wf-0": {"job-0a": JobStatus.COMPLETED}}
    assert history.farm.jobs["job-0b"].queued, "its predecessor has completed"
    assert history.farm.edges_into("job-0b")[0].predecessor_id == "job-0a"


def test_a_cancelled_job_holds_its_resources_until_its_attempts_are_gone() -> None:
    history = small()
    history.of_job(c.CancelJob, "job-0a")
    assert "job-0a" in history.farm.jobs
    assert history.farm.index.free != history.farm.index.capacity
    end_attempts(history, "job-0a", (1, 2, 3), FailureClass.SIGNAL)
    assert "job-0a" not in history.farm.jobs
    assert history.farm.index.free == history.farm.index.capacity


def test_a_workflow_that_was_cancelled_and_is_retried_job_by_job_keeps_its_order() -> None:
    history = small()
    for job_id in ("job-0a", "job-0b"):
        history.of_job(c.CancelJob, job_id)
    end_attempts(history, "job-0a", (1, 2, 3), FailureClass.SIGNAL)
    assert history.farm.jobs == {}
    for job_id in ("job-0b", "job-0a"):
        history.of_job(c.RetryJob, job_id)
    assert not history.farm.jobs["job-0b"].queued
    run_cycle(history, 0)
    end_attempts(history, "job-0a", (4, 5, 6), None)
    assert history.farm.jobs["job-0b"].queued


@pytest.mark.parametrize("how", ["apply", "fold"])
def test_a_retried_job_of_a_live_workflow_has_no_outcome_any_more(how: str) -> None:
    history = small()
    for _ in range(2):
        for number in list(history.states["job-0a"].live):
            end_attempts(history, "job-0a", (number,), FailureClass.EXIT)
        history.now_ms += 60_000
        run_cycle(history, 0)
    assert history.farm.outcomes == {"wf-0": {"job-0a": JobStatus.FAILED}}
    history.of_job(c.RetryJob, "job-0a")
    farm = history.farm if how == "apply" else Farm.fold(history.rows)
    assert farm.outcomes == {"wf-0": {}}
    assert farm.jobs["job-0a"].waiting == "1-3"


def test_a_workflow_that_grows_and_shrinks_is_counted_on() -> None:
    history = small()

    def counts() -> tuple[int, int, int]:
        tally = history.farm.tallies["wf-0"]
        return tally.left, tally.going, tally.bad

    assert counts() == (2, 1, 0), "job-0b waits for job-0a"
    history.ask(workflow, "wf-0", workflow.AddWorkflowJob(workflow_id="wf-0", job_id="job-0c"))
    assert counts() == (3, 1, 0), "it is named, but not submitted yet"
    history.ask(job, "job-0c", c.SubmitJob(spec=spec("job-0c", workflow_id="wf-0")))
    assert counts() == (3, 2, 0)
    history.of_job(c.CancelJob, "job-0a")
    assert counts() == (2, 1, 1), "it still stops"
    end_attempts(history, "job-0a", (1, 2, 3), FailureClass.SIGNAL)
    assert counts() == (2, 1, 1)
    history.of_job(c.RetryJob, "job-0a")
    assert counts() == (3, 2, 0)


def test_questions_about_edges_are_answered_in_order() -> None:
    farm = small().farm
    assert farm.successors("job-0a") == ["job-0b"]
    assert [edge.dependency_id for edge in farm.edges_from("job-0a")] == ["dep-job-0a:job-0b"]
    assert farm.edges_from("job-0b") == farm.edges_into("job-0a") == []
    assert farm.attempts_on("n0") == [("job-0a", 1), ("job-0a", 2), ("job-0a", 3)]
    assert farm.attempts_on("n7") == []


def test_reasons_are_replaced_cleared_and_renewed_by_each_days_keyframe() -> None:
    farm, day = Farm(), cycle_stream(NOW)
    a, b, c_ = (Blocked(name, ()) for name in "abc")
    rows = [
        (1, day, 1, CycleDecided(at_ms=NOW, position=0, blocked=(a, b), keyframe=True)),
        (2, day, 2, CycleDecided(at_ms=NOW, position=1, blocked=(Blocked("a", (), 5),), cleared=("b",))),
        (3, cycle_stream(NOW + 86_400_000), 1, CycleDecided(at_ms=NOW, position=2, blocked=(c_,), keyframe=True)),
    ]
    expected = [{"a": a, "b": b}, {"a": Blocked("a", (), 5)}, {"c": c_}]
    for row, blocked in zip(rows, expected, strict=True):
        farm.apply(*row)
        assert farm.blocked == blocked
    assert farm.versions == {cycle_stream(NOW + 86_400_000): 1}


def test_nodes_are_numbered_in_the_order_of_their_registration_also_after_a_restart() -> None:
    farm = farm_of([node_state("b"), node_state("a")])
    assert restored(farm).index.ids == ["b", "a"]


def test_an_empty_log_is_an_empty_farm() -> None:
    same(Farm(), Farm.fold([]), restored(Farm()))


def test_a_job_waits_in_the_farm_without_any_node() -> None:
    farm = Farm()
    (fact,) = job.decide(None, c.SubmitJob(spec=spec()), NOW)
    farm.apply(1, "job-1", 1, fact)
    assert (farm.position, farm.now_ms, len(farm.queue)) == (1, NOW, 1)
