"""Priority rules: how urgent a job is by now, in ranks (low 0, medium 1, high 2, critical 3)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from domain.dependency import Dependency, DependencyState, dependency_id
from domain.errors import PolicyInvalid
from domain.farm import Farm
from domain.job.values import Attempt, Job, JobStatus, Priority
from domain.policies import FAMILIES, ClientPolicies, Context, Policies, made
from domain.policies.priority import Fair, Given, aged, balance, farm_millicores, inherited, urgency
from tests.builders import NOW, client, farm, job, node

HOUR = 3_600_000
DAY = 24 * HOUR
RULES = ("given", "ageing", "urgent", "fair", "inherited", "combined")


def context(of: Farm, priority: str = "given", **parameters: Any) -> Context:
    """A cycle on a farm under a rule."""
    return Context(of, made(Policies(priority=priority, parameters={"priority": parameters})), NOW)


def level(each: Job, rule: str, of: Farm | None = None, **parameters: Any) -> float:
    """The level of a job under a rule."""
    return context(farm() if of is None else of, rule, **parameters).level(each)


def due(deadline_ms: int | None, **fields: Any) -> Job:
    """A job with this deadline."""
    return replace(job(**fields), deadline_ms=deadline_ms)


def edge(predecessor: str, successor: str, state: DependencyState = DependencyState.PENDING) -> Dependency:
    """A dependency between two jobs."""
    name = dependency_id(predecessor, successor)
    return Dependency(name, predecessor, successor, state=state)


def chained(priorities: dict[str, Priority], *edges: Dependency) -> Farm:
    """Jobs with these priorities and edges between them."""
    jobs = [job(job_id, priority=priority) for job_id, priority in priorities.items()]
    return farm([], jobs, dependencies=edges)


def busy(client_id: str, cores: float) -> Job:
    """A job of a client that holds so many cores of the first node."""
    return job(f"job-of-{client_id}", cores, client_id=client_id, live={1: Attempt(0, (("n1", 1),), NOW, NOW)})


def test_every_rule_starts_from_what_a_person_said() -> None:
    for rule in RULES:
        levels = [level(job(priority=priority, submitted_ms=NOW), rule) for priority in Priority]
        assert levels == [0, 1, 2, 3], rule
        assert FAMILIES["priority"][rule].static is (rule == "given")


# -- ageing ----------------------------------------------------------------------------------------------------------


def test_a_job_rises_while_it_waits_and_no_further_than_the_bound() -> None:
    assert aged(4 * HOUR, 0.25, 2.0) == 1.0
    assert aged(8 * HOUR, 0.25, 2.0) == 2.0
    assert aged(9 * HOUR, 0.25, 2.0) == 2.0
    assert level(job(submitted_ms=NOW - 4 * HOUR), "ageing") == 1.5  # medium, and 4 × 1/8
    assert level(job(submitted_ms=NOW - 99 * HOUR), "ageing") == 3.0
    assert level(job(submitted_ms=NOW - 6 * HOUR), "ageing", ranks_per_hour=0.5, most_ranks=9) == 4.0
    assert level(job(submitted_ms=NOW + HOUR), "ageing") == 1.0  # a clock was set back


# -- deadlines -------------------------------------------------------------------------------------------------------


def test_urgency_rises_as_the_slack_shrinks() -> None:
    assert [urgency(slack, 100) for slack in (200, 100, 75, 0, -50)] == [0.0, 0.0, 0.25, 1.0, 1.0]


@pytest.mark.parametrize(
    ("deadline_ms", "walltime_ms", "expected"),
    [
        (None, HOUR, 1.0),
        (NOW + 25 * HOUR, HOUR, 1.0),  # slack 24 h: the horizon
        (NOW + 13 * HOUR, HOUR, 2.0),  # slack 12 h: half of 2 ranks
        (NOW + 12 * HOUR, None, 2.0),  # nobody knows how long it runs: slack 12 h
        (NOW + HOUR, HOUR, 3.0),  # it must start now
        (NOW - DAY, HOUR, 3.0),  # it is late, and rises no further
    ],
)
def test_a_job_rises_as_its_deadline_comes_near(
    deadline_ms: int | None, walltime_ms: int | None, expected: float
) -> None:
    assert level(due(deadline_ms, walltime_ms=walltime_ms), "urgent") == expected


def test_the_deadline_in_force_counts_not_the_first_one() -> None:
    moved = replace(job(deadline_ms=NOW), deadline_ms=NOW + 9 * DAY)
    assert level(moved, "urgent") == 1.0


# -- fairness --------------------------------------------------------------------------------------------------------


def test_balance_is_the_missing_part_of_the_guarantee_or_what_is_held_of_the_rest() -> None:
    assert balance(0.0, 0.25) == 1.0
    assert balance(0.125, 0.25) == 0.5  # half of the guarantee is missing
    assert balance(0.25, 0.25) == 0.0
    assert balance(0.625, 0.25) == -0.5  # 0.375 of the other 0.75
    assert balance(1.0, 0.25) == -1.0
    assert balance(1.5, 0.25) == -1.0  # the farm has shrunk
    assert balance(0.0, 0.0) == 0.0
    assert balance(1.0, 1.0) == balance(1.5, 1.0) == 0.0


@given(st.floats(0, 2), st.floats(0, 2), st.integers(0, 100))
def test_the_more_a_client_has_the_lower_its_jobs_stand(first: float, second: float, percent: int) -> None:
    less, more = sorted((first, second))
    assert -1 <= balance(more, percent / 100) <= balance(less, percent / 100) <= 1


def test_jobs_of_clients_below_their_share_rise_and_of_those_above_fall() -> None:
    clients = [client("poor", guarantee_percent=50), client("rich", guarantee_percent=20)]
    here = farm([node(cores=16), node(cores=99, retired=True)], [busy("poor", 4), busy("rich", 8)], clients)
    # of 16 cores: poor has 0.25 of its 0.5, rich 0.5 where 0.2 is its own: 0.3 of the other 0.8
    assert level(job(client_id="poor"), "fair", here) == 1.5
    assert level(job(client_id="rich"), "fair", here) == pytest.approx(1 - 0.375)
    assert level(job(client_id="poor"), "fair", here, ranks=4) == 3.0
    assert level(job(client_id="unknown"), "fair", here) == 1.0


def test_on_a_farm_without_processors_only_guarantees_count() -> None:
    here = farm([], [], [client("show", guarantee_percent=1)])
    assert level(job(), "fair", here) == 2.0
    assert level(job(client_id="other"), "fair", here) == 1.0


def test_the_size_of_the_farm_is_summed_up_once_per_cycle() -> None:
    here = farm([node(cores=4), node(cores=12)])
    cycle = context(here)
    assert farm_millicores(cycle) == 16_000
    here.nodes.clear()  # no cycle ever does that: it shows who looks again
    assert farm_millicores(cycle) == 16_000
    assert farm_millicores(context(here)) == 0


def test_each_cycle_sees_what_clients_hold_by_then() -> None:
    here = farm([node(cores=4)], [], [client(guarantee_percent=100)])
    assert Fair().level(job(), context(here)) == 2.0
    here.use["show"] = farm([node(cores=4)], [busy("show", 4)]).use["show"]
    assert Fair().level(job(), context(here)) == 1.0


# -- inheritance -----------------------------------------------------------------------------------------------------


def test_a_job_is_as_urgent_as_the_most_urgent_one_that_waits_for_it() -> None:
    priorities = {"job-a": Priority.LOW, "job-b": Priority.MEDIUM, "job-c": Priority.CRITICAL, "job-d": Priority.HIGH}
    here = chained(priorities, edge("job-a", "job-b"), edge("job-b", "job-c"), edge("job-a", "job-d"))
    cycle = context(here, "inherited")
    assert {job_id: cycle.level(each) for job_id, each in here.jobs.items()} == {
        "job-a": 3,  # over two steps
        "job-b": 3,
        "job-c": 3,
        "job-d": 2,
    }


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (DependencyState.PENDING, 3),
        (DependencyState.FAILED, 3),
        (DependencyState.SATISFIED, 0),
        (DependencyState.BYPASSED, 0),
    ],
)
def test_only_edges_that_still_block_hand_anything_on(state: DependencyState, expected: float) -> None:
    here = chained({"job-a": Priority.LOW, "job-b": Priority.CRITICAL}, edge("job-a", "job-b", state))
    assert level(here.jobs["job-a"], "inherited", here) == expected


def test_who_has_ended_waits_for_nothing() -> None:
    here = chained({"job-a": Priority.LOW, "job-b": Priority.CRITICAL}, edge("job-a", "job-b"))
    here.jobs["job-b"] = replace(here.jobs["job-b"], ended=JobStatus.CANCELLED)
    assert level(here.jobs["job-a"], "inherited", here) == 0
    del here.jobs["job-b"]
    assert level(here.jobs["job-a"], "inherited", here) == 0


def test_inheritance_hands_on_what_any_other_rule_says() -> None:
    here = chained({"job-a": Priority.LOW, "job-b": Priority.LOW}, edge("job-a", "job-b"))
    here.jobs["job-b"] = replace(here.jobs["job-b"], submitted_ms=NOW - 4 * HOUR)
    here.jobs["job-a"] = replace(here.jobs["job-a"], submitted_ms=NOW)
    assert level(here.jobs["job-a"], "inherited", here, base="ageing") == 0.5
    given_more = {"base": "ageing", "base_parameters": {"ranks_per_hour": 0.25}}
    assert level(here.jobs["job-a"], "inherited", here, **given_more) == 1.0
    nested = {"base": "inherited", "base_parameters": {"base": "ageing"}}
    assert level(here.jobs["job-a"], "inherited", here, **nested) == 0.5


def test_rules_of_two_clients_do_not_mix_within_a_cycle() -> None:
    here = chained({"job-a": Priority.LOW, "job-b": Priority.HIGH}, edge("job-a", "job-b"))
    here.jobs["job-b"] = replace(here.jobs["job-b"], submitted_ms=NOW - 4 * HOUR)
    of_b = ClientPolicies("inherited", parameters={"priority": {"base": "ageing"}})
    cycle = Context(here, made(Policies(priority="inherited", clients={"b": of_b})), NOW)
    ours = here.jobs["job-a"]
    theirs = replace(ours, spec=replace(ours.spec, client_id="b"))
    assert cycle.made.of("priority", "show").level(ours, cycle) == 2.0
    assert cycle.made.of("priority", "b").level(theirs, cycle) == 2.5


def test_a_base_rule_that_cannot_be_is_refused_when_the_policies_are_checked() -> None:
    with pytest.raises(PolicyInvalid, match="there is no priority policy 'magic'"):
        Policies(priority="inherited", parameters={"priority": {"base": "magic"}}).check()
    wrong = {"base": "ageing", "base_parameters": {"ranks": 1}}
    with pytest.raises(PolicyInvalid, match="'ageing' has no parameter ranks"):
        Policies(priority="inherited", parameters={"priority": wrong}).check()


def test_a_long_chain_is_no_problem_and_every_edge_is_looked_at_once() -> None:
    count = 5_000
    jobs = [job(f"job-{n}", priority=Priority.LOW) for n in range(count)]
    jobs[-1] = replace(jobs[-1], priority=Priority.HIGH)
    here = farm([], jobs, dependencies=[edge(f"job-{n}", f"job-{n + 1}") for n in range(count - 1)])
    asked: list[str] = []

    def own(each: Job) -> float:
        asked.append(each.spec.job_id)
        return Given().level(each, context(here))

    known: dict[str, float] = {}
    assert {inherited(each, here, own, known) for each in here.jobs.values()} == {2}
    assert len(asked) == count


@given(st.lists(st.sampled_from(list(Priority)), min_size=1, max_size=8), st.data())
def test_inheritance_is_the_maximum_over_all_that_can_be_reached(ranks: list[Priority], data: st.DataObject) -> None:
    pairs = [(a, b) for a in range(len(ranks)) for b in range(a + 1, len(ranks))]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True) if pairs else st.just([]))
    here = chained(
        {f"job-{n}": rank for n, rank in enumerate(ranks)}, *(edge(f"job-{a}", f"job-{b}") for a, b in chosen)
    )

    def reached(start: int) -> set[int]:
        return {start}.union(*(reached(b) for a, b in chosen if a == start))

    cycle = context(here, "inherited")
    for n in range(len(ranks)):
        expected = max(list(Priority).index(ranks[m]) for m in reached(n))
        assert cycle.level(here.jobs[f"job-{n}"]) == expected


# -- all together ----------------------------------------------------------------------------------------------------


def test_the_combined_level_is_the_sum_of_all_boosts() -> None:
    here = farm([node(cores=16)], [busy("show", 4)], [client(guarantee_percent=50)])
    each = due(NOW + 13 * HOUR, submitted_ms=NOW - 4 * HOUR, walltime_ms=HOUR)
    # medium 1, age 4 × 1/8 = 0.5, slack 12 of 24 h: 2 × 0.5 = 1, half of the guarantee missing: 0.5
    assert level(each, "combined", here) == 3.0
    assert level(each, "combined", here, fairness_ranks=0, ageing_ranks_per_hour=0) == 2.0
    assert level(each, "combined", here, urgency_ranks=0, inheritance=False) == 2.0
    assert level(each, "combined", here, ageing_most_ranks=0.25, urgency_horizon_ms=HOUR) == 1.75


def test_the_combined_level_is_handed_on_unless_that_is_switched_off() -> None:
    here = chained({"job-a": Priority.LOW, "job-b": Priority.LOW}, edge("job-a", "job-b"))
    here.jobs["job-a"] = replace(here.jobs["job-a"], submitted_ms=NOW)
    here.jobs["job-b"] = replace(here.jobs["job-b"], submitted_ms=NOW, deadline_ms=NOW)
    assert level(here.jobs["job-a"], "combined", here) == 2.0
    assert level(here.jobs["job-a"], "combined", here, inheritance=False) == 0.0


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [
        ("ageing", {"ranks_per_hour": -1}),
        ("ageing", {"most_ranks": float("nan")}),
        ("urgent", {"horizon_ms": 0}),
        ("fair", {"ranks": float("inf")}),
        ("combined", {"urgency_horizon_ms": 0}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(rule: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(PolicyInvalid, match=rule):
        Policies(priority=rule, parameters={"priority": parameters}).check()
