"""Short ways to write down specifications, facts and whole farms; what a test does not name gets a plain default.

Nodes without an id become `n1, n2, ...` and jobs `job-1, job-2, ...` in the order in which `farm` gets them, which is
also the order of their registration or submission.
"""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from domain.client import Client, Shares
from domain.decisions import Plan
from domain.farm import Farm
from domain.farm_snapshot import FarmSnapshot, Versioned
from domain.intervals import TaskSet
from domain.job import events as e
from domain.job.values import (
    Attempt,
    AttemptEnd,
    FailureClass,
    Job,
    JobSpec,
    NodeSlots,
    Placement,
    PlacementReason,
    Work,
)
from domain.node import Node, NodeStatus
from domain.policies import Policies
from domain.resources import AttributeNeed, Requirement, Resources, named_amounts

NOW = 1_790_000_000_000
"""A moment in 2026."""
SECOND, HOUR = 1_000, 3_600_000
WHY = PlacementReason("best-fit", "priority", 0.5, 1)


def resources(cores: float = 0, memory_mib: int = 0, gpus: int = 0, **named: int) -> Resources:
    """An amount of resources; keywords beyond the usual ones are specialised resources by name."""
    unnamed = {kind: named.pop(kind, 0) for kind in ("storage_mib", "network_mbps")}
    return Resources(round(cores * 1000), memory_mib, gpus, named=named_amounts(named), **unnamed)


def need(
    cores: float = 1,
    *,
    slots: int = 1,
    distinct: bool = False,
    attributes: Iterable[AttributeNeed] = (),
    **amounts: int,
) -> Requirement:
    """What one task needs: cores and other amounts per slot."""
    return Requirement(resources(cores, **amounts), slots, distinct, tuple(attributes))


def having(name: str, *any_of: str, all_of: tuple[str, ...] = ()) -> AttributeNeed:
    """A demand on a node attribute."""
    return AttributeNeed(name, any_of, all_of)


_OF_A_SPEC = frozenset(JobSpec.__struct_fields__)


def spec(job_id: str = "job-1", cores: float = 1, requirement: Requirement | None = None, **fields: Any) -> JobSpec:
    """What a person submits: by default one task of one core that cannot be retried."""
    given = {"name": job_id, "client_id": "show", "work": Work(argv=("true",))} | fields
    return JobSpec(job_id=job_id, requirement=requirement or need(cores), **given)


# -- states, for farms -----------------------------------------------------------------------------------------------


def job(job_id: str = "", cores: float = 1, requirement: Requirement | None = None, **fields: Any) -> Job:
    """A queued job whose tasks all wait, unless its state says otherwise; fields of spec and state may be mixed."""
    of_spec = {name: fields.pop(name) for name in list(fields) if name in _OF_A_SPEC}
    its_spec = spec(job_id, cores, requirement, **of_spec)
    state = {"submitted_ms": 0, "queued": True, "waiting": its_spec.tasks, "priority": its_spec.priority} | fields
    return Job(spec=its_spec, **state)


def running(job_id: str = "", cores: float = 1, on: str = "n1", **fields: Any) -> Job:
    """A job of one task that runs on a node."""
    live = {1: Attempt(0, ((on, 1),), NOW, NOW)}
    return job(job_id, cores, live=live, waiting="", next_attempt=2, **fields)


def node(
    node_id: str = "",
    cores: float = 4,
    *,
    status: NodeStatus = NodeStatus.ONLINE,
    attributes: dict[str, tuple[str, ...]] | None = None,
    draining: bool = False,
    suspected: bool = False,
    retired: bool = False,
    **amounts: int,
) -> Node:
    """A node that takes work, unless its state says otherwise."""
    capacity = resources(cores, **amounts)
    return Node(node_id, capacity, attributes or {}, status, draining, suspected, retired)


def client(client_id: str = "show", *, suspended: bool = False, **shares: Any) -> Client:
    """A client without limits, unless its shares say otherwise."""
    return Client(client_id, client_id, Shares(**shares), suspended)


def farm(
    nodes: Iterable[Node] = (),
    waiting: Iterable[Job] = (),
    clients: Iterable[Client] = (),
    **fields: Any,
) -> Farm:
    """A farm in just this state, at position 1."""
    named_nodes = [n if n.node_id else replace(n, node_id=f"n{k}") for k, n in enumerate(nodes, 1)]
    jobs = [_submitted_as(k, each) for k, each in enumerate(waiting, 1)]
    return Farm.restore(
        FarmSnapshot(
            position=1,
            now_ms=NOW,
            nodes=_versioned(named_nodes),
            jobs=_versioned(jobs),
            clients=_versioned(clients),
            **{name: _versioned(value) if name == "dependencies" else value for name, value in fields.items()},
        )
    )


def _submitted_as(number: int, waiting: Job) -> Job:
    job_id = waiting.spec.job_id or f"job-{number}"
    named = replace(waiting.spec, job_id=job_id, name=waiting.spec.name or job_id)
    return replace(waiting, spec=named, submitted_ms=waiting.submitted_ms or NOW - HOUR + number)


def _versioned(states: Iterable[Any]) -> tuple[Versioned[Any], ...]:
    return tuple(Versioned(1, state) for state in states)


def placements(made: Plan) -> list[tuple[str, TaskSet, tuple[NodeSlots, ...]]]:
    """What a plan places: (job, tasks, nodes) in the order of its decisions."""
    return [(place.job_id, p.tasks, p.nodes) for place in made.decisions for p in place.placements]


STRICT = Policies(backfill="none")
FIFO = Policies(order="fifo")


# -- facts of a job --------------------------------------------------------------------------------------------------


def submitted(job_id: str = "job-1", *, queued: bool = True, held: bool = False, **fields: Any) -> e.JobSubmitted:
    """A job entered the farm, ready to be placed."""
    return e.JobSubmitted(at_ms=NOW, spec=spec(job_id, **fields), queued=queued, held=held)


def placed(tasks: TaskSet = "0", first: int = 1, on: str = "n1", at: int = NOW) -> e.TasksPlaced:
    """Tasks of `job-1` were placed on a node; the first of them is attempt `first`."""
    where = (Placement(tasks, ((on, 1),), first),)
    return e.TasksPlaced(at_ms=at, job_id="job-1", client_id="show", placements=where, reason=WHY)


def stopping(*attempts: int, cause: Any, grace_ms: int = 5_000) -> e.TasksStopping:
    """Attempts of `job-1` were told to end."""
    return e.TasksStopping(at_ms=NOW, job_id="job-1", attempts=attempts, cause=cause, grace_ms=grace_ms)


def end(attempt: int = 1, task: int = 0, failure: FailureClass | None = None, **fields: Any) -> AttemptEnd:
    """How an attempt ended: well, unless a failure is named."""
    return AttemptEnd(attempt, task, failure=failure, **fields)


def succeeded(*ends: AttemptEnd) -> e.TasksSucceeded:
    """Attempts of `job-1` ended well."""
    return e.TasksSucceeded(at_ms=NOW, job_id="job-1", ends=ends or (end(),))


def failed(*ends: AttemptEnd) -> e.TasksFailed:
    """Attempts of `job-1` ended badly."""
    return e.TasksFailed(at_ms=NOW, job_id="job-1", ends=ends or (end(failure=FailureClass.EXIT),))
