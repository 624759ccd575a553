"""Random small farms in any state a cycle can meet: few shapes, so that jobs compete, and every reason to wait."""

from random import Random
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from domain.client import Client
from domain.decisions import Blocked, Reason, ReasonCode
from domain.dependency import Dependency
from domain.farm import Farm
from domain.job.values import Attempt, Job, NodeSlots, Priority
from domain.node import Node, NodeStatus
from domain.policies import Policies
from domain.resources import AttributeNeed, Requirement
from tests.builders import NOW, SECOND, client, farm, having, job, need, node
from tests.oracle import SCORES, Oracle, name_of

CLIENTS = ("show", "research", "nobody")
"""The last one is not registered, so it has no limits."""
PLACES = ((), ("linux",), ("linux", "fast"), ("macos",))


def random_farm(rng: Random) -> Farm:
    """Up to five nodes and twelve jobs of up to four shapes, some running, some held, some in back-off."""
    shapes = [random_shape(rng) for _ in range(rng.randint(1, 4))]
    nodes = [random_node(rng, number) for number in range(rng.choice((0, 1, 2, 3, 5)))]
    jobs = [random_job(rng, number, rng.choice(shapes)) for number in range(rng.randint(0, 12))]
    clients = [random_client(rng, name) for name in CLIENTS[:2]]
    made = farm(nodes, run_some(rng, farm(nodes, jobs)), clients)
    made.blocked = {name_of(each): remembered(rng, each) for each in made.jobs.values() if rng.random() < 0.3}
    made.blocked_ms = {segment: NOW - rng.choice((0, 59_999, 60_000)) for segment in made.blocked}
    return made


def random_shape(rng: Random) -> Requirement:
    slots = rng.choice((1, 1, 1, 2, 3))
    amounts = {
        "gpus": rng.choice((0, 0, 0, 1)),
        "licence": rng.choice((0, 0, 0, 1)),
        "memory_mib": rng.choice((0, 0, 4)),
    }
    return need(
        rng.choice((0, 1, 1, 2, 3, 9)), slots=slots, distinct=rng.random() < 0.5, attributes=demands(rng), **amounts
    )


def demands(rng: Random) -> list[AttributeNeed]:
    return rng.choice(
        ([], [], [], [having("os", "linux", "macos")], [having("os", all_of=("linux", "fast"))], [having("os", "vms")])
    )


def random_node(rng: Random, number: int) -> Node:
    sizes: dict[str, Any] = {
        "gpus": rng.choice((0, 0, 1, 2)),
        "licence": rng.choice((0, 1, 3)),
        "memory_mib": rng.choice((2, 8)),
    }
    state: dict[str, Any] = rng.choice(
        ({}, {}, {}, {"draining": True}, {"suspected": True}, {"status": NodeStatus.OFFLINE})
    )
    if rng.random() < 0.1:
        state = {"status": NodeStatus.OFFLINE, "retired": True}
    return node(f"n{number}", rng.choice((1, 2, 4, 8)), attributes={"os": rng.choice(PLACES)}, **state, **sizes)


def random_client(rng: Random, client_id: str) -> Client:
    shares = {"limit_percent": rng.choice((100, 100, 50, 20, 0)), "max_tasks": rng.choice((None, None, 1, 3))}
    return client(client_id, suspended=rng.random() < 0.1, **shares)


def random_job(rng: Random, number: int, shape: Requirement) -> Job:
    """Its tasks 0 to 2 wait at random; tasks 5 and 6 may be in back-off, over or not. Times are whole seconds."""
    tasks = rng.choice(("0", "0", "0-2", "1-3", "0,2", ""))
    delayed = rng.choice(((), (), ((NOW - 1, "5"),), ((NOW, "5"), (NOW + 9, "6")), ((NOW + 1, "5-6"),)))
    state: dict[str, Any] = rng.choice(({}, {}, {}, {}, {}, {"held": True}, {"paused": True}, {"queued": False}))
    return job(
        f"job-{rng.choice('abc')}{number}",
        requirement=shape,
        client_id=rng.choice(CLIENTS),
        priority=rng.choice(list(Priority)),
        submitted_ms=NOW - rng.randint(1, 4) * SECOND,
        walltime_ms=rng.choice((None, *(seconds * SECOND for seconds in (1, 2, 2, 3, 5, 8)))),
        deadline_ms=rng.choice((None, NOW + rng.randint(-3, 9) * SECOND)),
        tasks="0-6",
        waiting=tasks,
        delayed=delayed,
        **state,
    )


def run_some(rng: Random, empty: Farm) -> list[Job]:
    """The jobs of a farm, some of them with one task that runs where it fits, or on a node that has shrunk since."""
    oracle, jobs = Oracle(empty, Policies(), NOW), []
    for each in empty.jobs.values():
        nodes = oracle.choose(each.spec.requirement) if rng.random() < 0.3 else None
        if empty.nodes and rng.random() < 0.05:
            nodes = ((rng.choice(list(empty.nodes)), each.spec.requirement.slots),)
        if nodes is None:
            jobs.append(each)
            continue
        oracle.take(each, nodes)
        jobs.append(
            replace(each, live={1: since(rng, nodes)}, next_attempt=2, paused_ms=rng.choice((0, 0, 2 * SECOND)))
        )
    return jobs


def since(rng: Random, nodes: tuple[NodeSlots, ...]) -> Attempt:
    """A task that has run for a while, perhaps longer than it may."""
    return Attempt(4, nodes, NOW - rng.choice((0, 1, 1, 2, 4, 9)) * SECOND)


def remembered(rng: Random, of: Job) -> Blocked:
    """What an earlier cycle recorded of a job's segment."""
    amounts = of.spec.requirement.resources.items() or [("millicores", 1)]
    reason = Reason(ReasonCode.RESOURCES_SHORT, "", *rng.choice(amounts), 0, f"n{rng.randint(0, 5)}")
    return Blocked(name_of(of), rng.choice(((), (reason,), (Reason(ReasonCode.CLIENT_SUSPENDED),))), 1)


def with_edges(made: Farm, *edges: Dependency) -> Farm:
    """The same farm with edges between its jobs."""
    return farm(made.nodes.values(), made.jobs.values(), made.clients.values(), dependencies=edges)


farms = st.builds(random_farm, st.randoms(use_true_random=False))
"""Farms whose every choice Hypothesis can shrink."""
BACKFILLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("greedy", {}),
    ("none", {}),
    ("easy", {}),
    ("conservative", {}),
    *(("depth", {"backfill": {"reservations": depth}}) for depth in (1, 2, 3)),
)
"""Rules with their parameters."""
ALL_POLICIES = [
    Policies(order=order, backfill=backfill, parameters=parameters)
    for order in sorted(SCORES)
    for backfill, parameters in BACKFILLS
]
"""Every order with every backfill."""
policies = st.sampled_from(ALL_POLICIES)
