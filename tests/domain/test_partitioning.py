"""Partitions in one cycle: only their nodes, within their limits; and a plain second opinion on random farms."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.decisions import Plan, Reason, ReasonCode
from domain.farm import Farm
from domain.farm_snapshot import Versioned
from domain.intervals import members
from domain.job.values import PRIORITY_RANK, Job, Priority
from domain.node import NodeRegistered
from domain.partition import Partition, PartitionChanged, Terms, belongs, partition_stream
from domain.planning.planner import plan
from domain.policies import Policies
from tests.builders import HOUR, NOW, SECOND, client, farm, having, job, need, node, resources, running
from tests.oracle import one_by_one

GREEDY = Policies()


def with_partition(*args: Any, name: str = "p", **terms: Any) -> Farm:
    """A farm with one partition, of node n1 unless its terms say otherwise."""
    known = farm(*args)
    made = Partition(name, Terms(**({"nodes": ("n1",)} | terms)))
    return Farm.restore(replace(known.snapshot(), partitions=(Versioned(1, made),)))


def limited(cores: float = 1, name: str = "p", **fields: Any) -> Job:
    """A job that is limited to the partition."""
    return job(requirement=replace(need(cores, gpus=fields.pop("gpus", 0)), partition=name), **fields)


def where(made: Plan) -> list[tuple[str, int, str]]:
    return [(job_id, task, nodes[0][0]) for job_id, task, nodes in one_by_one(made)]


def reasons(made: Plan) -> list[Reason]:
    return [reason for row in made.passed_over for reason in row.reasons]


def test_a_job_runs_on_nodes_of_its_partition_and_others_run_anywhere() -> None:
    made = plan(with_partition([node(cores=1), node(cores=9)], [limited(tasks="0-2"), job(tasks="0-1")]), GREEDY, NOW)
    assert where(made) == [("job-1", 0, "n1"), ("job-2", 0, "n2"), ("job-2", 1, "n2")]


def test_nodes_belong_by_their_attributes_too() -> None:
    nodes = [node(), node(attributes={"os": ("linux",)})]
    made = plan(with_partition(nodes, [limited()], nodes=(), attributes=(having("os", "linux"),)), GREEDY, NOW)
    assert where(made) == [("job-1", 0, "n2")]


def test_a_node_that_registers_later_is_in_it_at_once() -> None:
    known = with_partition([node()], [limited()], nodes=(), attributes=(having("os", "linux"),))
    assert reasons(plan(known, GREEDY, NOW)) == [Reason(ReasonCode.PARTITION_EMPTY, "p")]
    fact = NodeRegistered(at_ms=NOW, node_id="n2", capacity=resources(4), attributes={"os": ("linux",)})
    known.apply(2, "node:n2", 1, fact)
    assert known.index.members("p") == 0b10


def test_a_partition_that_loses_a_node_lets_what_runs_there_go_on() -> None:
    known = with_partition([node(), node()], [limited(tasks="0-9")], nodes=("n1", "n2"))
    fact = PartitionChanged(at_ms=NOW, partition="p", terms=Terms(("n2",)))
    known.apply(2, partition_stream("p"), 2, fact)
    assert {node_id for _, _, node_id in where(plan(known, GREEDY, NOW))} == {"n2"}


@pytest.mark.parametrize(
    ("terms", "tasks", "code", "left"),
    [
        ({"max_tasks": 3}, 3, ReasonCode.PARTITION_LIMIT, ("tasks", 1, 0)),
        ({"limit_percent": 50}, 4, ReasonCode.PARTITION_LIMIT, ("millicores", 1_000, 0)),
        ({"client_percent": 25}, 2, ReasonCode.PARTITION_CLIENT, ("millicores", 1_000, 0)),
    ],
)
def test_its_jobs_use_no_more_than_they_may(
    terms: dict[str, Any], tasks: int, code: ReasonCode, left: tuple[str, int, int]
) -> None:
    """Percentages are of its own 8 cores, not of the farm's 16."""
    made = plan(with_partition([node(cores=8), node(cores=8)], [limited(tasks="0-9")], **terms), GREEDY, NOW)
    assert len(where(made)) == tasks
    assert reasons(made) == [Reason(code, "p", *left)]


def test_what_runs_already_counts_and_clients_are_told_apart() -> None:
    held = running(requirement=replace(need(3), partition="p"), client_id="lab")
    jobs = [held, limited(tasks="0-9", client_id="show")]
    made = plan(with_partition([node(cores=8)], jobs, limit_percent=75, client_percent=50), GREEDY, NOW)
    assert len(where(made)) == 3  # 6 of 8 in all, 3 are held; 4 for one client would be more


def test_gpus_are_limited_by_themselves() -> None:
    made = plan(
        with_partition([node(cores=8, gpus=4)], [limited(tasks="0-9", gpus=1), limited(tasks="0-1")], limit_percent=50),
        GREEDY,
        NOW,
    )
    assert [job_id for job_id, _, _ in where(made)] == ["job-1", "job-1", "job-2", "job-2"]


def test_a_client_that_may_not_use_it_any_more_waits_and_is_told_so() -> None:
    made = plan(with_partition([node()], [limited(client_id="lab")], clients=("show",)), GREEDY, NOW)
    assert (where(made), reasons(made)) == ([], [Reason(ReasonCode.PARTITION_CLOSED, "p")])


def test_a_job_that_may_run_too_long_by_now_waits_and_shorter_ones_of_its_kind_pass() -> None:
    jobs = [limited(walltime_ms=3 * HOUR), limited(), limited(walltime_ms=HOUR)]
    made = plan(with_partition([node()], jobs, max_walltime_ms=2 * HOUR), GREEDY, NOW)
    assert where(made) == [("job-3", 0, "n1")]
    assert reasons(made) == [Reason(ReasonCode.PARTITION_WALLTIME, "p", "walltime_ms", 3 * HOUR, 2 * HOUR)]


def test_what_none_of_its_nodes_could_hold_is_said_of_its_nodes() -> None:
    made = plan(with_partition([node(cores=2), node(cores=9)], [limited(4)]), GREEDY, NOW)
    assert reasons(made) == [Reason(ReasonCode.TOO_LARGE, "", "millicores", 4_000, 2_000, "n1")]


# -- a second opinion ------------------------------------------------------------------------------------------------


def random_farm(rng: Random) -> Farm:
    """Up to four nodes, two partitions that overlap, ten jobs of two clients."""
    nodes = [
        node(f"n{k}", rng.choice((2, 4)), attributes={"os": (rng.choice(("linux", "macos")),)})
        for k in range(rng.randint(1, 4))
    ]
    jobs = [
        job(
            requirement=replace(need(rng.choice((1, 1, 2))), partition=rng.choice(("", "p", "q"))),
            client_id=rng.choice(("show", "lab")), priority=rng.choice(list(Priority)),
            submitted_ms=NOW - rng.randint(1, 9) * SECOND, tasks=rng.choice(("0", "0-2", "1-5")),
        )
        for _ in range(rng.randint(0, 10))
    ]  # fmt: skip
    terms = [
        Terms(
            rng.choice((("n0",), ("n0", "n2"))), rng.choice(((), (having("os", "linux"),))), rng.choice(((), ("lab",))),
            rng.choice((None, 2)), rng.choice((100, 50)), rng.choice((100, 50)),
        )
        for _ in range(2)
    ]  # fmt: skip
    partitions = tuple(Versioned(1, Partition(name, each)) for name, each in zip("pq", terms, strict=True))
    return Farm.restore(replace(farm(nodes, jobs).snapshot(), partitions=partitions))


def slowly(known: Farm) -> list[tuple[str, int, str]]:
    """One task after the other in the order of the queue, wherever it may go, on the fullest node that fits."""
    free = {each.node_id: each.capacity for each in known.nodes.values()}
    running_in: list[tuple[str, str, int]] = []
    placed = []
    for each in sorted(known.jobs.values(), key=lambda j: (-PRIORITY_RANK[j.priority], j.submitted_ms, j.spec.job_id)):
        requirement, client_id = each.spec.requirement, each.spec.client_id
        for task in members(each.waiting):
            nodes = [n for n in known.nodes.values() if free[n.node_id].fits(requirement.resources)]
            name = requirement.partition
            if name:
                terms = known.partitions[name].terms
                nodes = (
                    [n for n in nodes if belongs(n, terms)]
                    if admits(known, terms, name, client_id, requirement.resources.millicores, running_in)
                    else []
                )
            if not nodes:
                break
            best = min(nodes, key=lambda n: (free[n.node_id].millicores, known.index.numbers[n.node_id]))
            free[best.node_id] = free[best.node_id].minus(requirement.resources)
            running_in.append((name, client_id, requirement.resources.millicores))
            placed.append((each.spec.job_id, task, best.node_id))
    return sorted(placed)


def admits(
    known: Farm, terms: Terms, name: str, client_id: str, millicores: int, running_in: list[tuple[str, str, int]]
) -> bool:
    whole = sum(n.capacity.millicores for n in known.nodes.values() if belongs(n, terms))
    mine = [held for held in running_in if held[0] == name]
    used, by_client = sum(h[2] for h in mine), sum(h[2] for h in mine if h[1] == client_id)
    return (
        (not terms.clients or client_id in terms.clients)
        and (terms.max_tasks is None or len(mine) < terms.max_tasks)
        and (terms.limit_percent == 100 or used + millicores <= whole * terms.limit_percent // 100)
        and (terms.client_percent == 100 or by_client + millicores <= whole * terms.client_percent // 100)
    )


@given(st.builds(random_farm, st.randoms(use_true_random=False)))
def test_the_planner_starts_what_plain_loops_start(known: Farm) -> None:
    assert sorted(where(plan(known, GREEDY, NOW))) == slowly(known)


def test_a_job_is_told_what_its_partition_and_what_its_client_lacks() -> None:
    """First the partition is full, then, for a job outside of it, all that may be borrowed is."""
    shares = [client("show", guarantee_percent=20, borrow_percent=30)]
    jobs = [
        limited(tasks="0-9", client_id="show", walltime_ms=HOUR),
        job(tasks="0-9", client_id="show", walltime_ms=HOUR),
    ]
    known = with_partition([node(cores=10)], jobs, shares, max_tasks=3)
    made = plan(known, Policies(sharing="lending"), NOW)
    assert [place.job_id for place in made.decisions] == ["job-1", "job-2"]
    assert {reason.code for reason in reasons(made)} == {ReasonCode.PARTITION_LIMIT, ReasonCode.BORROW_LIMIT}
