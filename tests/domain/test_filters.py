"""Filters keep nodes for those they are meant for, and judge all jobs of one segment alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import domain.policies.builtin  # noqa: F401  (registers the policies that stand beside a filter in a set)
from domain.errors import PolicyInvalid
from domain.farm import Farm
from domain.indices.nodeindex import bits
from domain.job.values import Job
from domain.policies import Context, Policies, filters, made
from tests.builders import NOW, farm, job, need, node
from tests.random_farms import farms

NAMES = ("gpu-nodes-for-gpu-jobs", "large-memory-nodes", "dedicated", "client-pools")
PARAMETERS = {
    "large-memory-nodes": {"node_memory_mib": 8, "job_memory_mib": 4},
    "dedicated": {"attribute": "os"},
    "client-pools": {"pools": {"show": ("linux",), "research": ("macos", "fast")}, "attribute": "os"},
}


def allowed(on: Farm, name: str, each: Job, **parameters: object) -> list[str]:
    """The ids of all nodes that one filter leaves to a job."""
    policies = Policies(filters=(name,), parameters={"filter": {name: parameters}} if parameters else {})
    context = Context(on, made(policies), NOW)
    (rule,) = context.made.filters
    left = rule.mask(each, (1 << len(on.index.ids)) - 1, on.index, context)
    return [on.index.ids[number] for number in bits(left)]


def test_the_built_in_filters_are_registered_under_their_names() -> None:
    kinds = (filters.GpuNodesForGpuJobs, filters.LargeMemoryNodes, filters.Dedicated, filters.ClientPools)
    for name, kind in zip(NAMES, kinds, strict=True):
        assert type(made(Policies(filters=(name,))).filters[0]) is kind


def test_jobs_without_gpus_stay_off_nodes_with_some_even_when_none_of_these_is_free() -> None:
    on = farm([node(), node(gpus=2), node(gpus=1)])
    on.index.allocate(2, need(0, gpus=1).resources)
    assert allowed(on, "gpu-nodes-for-gpu-jobs", job()) == ["n1"]
    assert allowed(on, "gpu-nodes-for-gpu-jobs", job(requirement=need(1, gpus=1))) == ["n1", "n2", "n3"]


def test_large_memory_is_kept_for_jobs_that_need_much_of_it() -> None:
    on = farm([node(memory_mib=262_143), node(memory_mib=262_144), node(memory_mib=1_048_576)])
    small, large = job(requirement=need(1, memory_mib=65_535)), job(requirement=need(1, memory_mib=65_536))
    assert allowed(on, "large-memory-nodes", small) == ["n1"]
    assert allowed(on, "large-memory-nodes", large) == ["n1", "n2", "n3"]
    assert allowed(on, "large-memory-nodes", small, node_memory_mib=300_000) == ["n1", "n2"]
    assert allowed(on, "large-memory-nodes", small, job_memory_mib=1_000) == ["n1", "n2", "n3"]


def test_a_dedicated_node_takes_the_jobs_of_the_clients_that_it_names() -> None:
    mine, ours = {"dedicated": ("show",)}, {"dedicated": ("show", "research"), "owner": ("research",)}
    on = farm([node(), node(attributes=mine), node(attributes=ours)])
    assert allowed(on, "dedicated", job(client_id="show")) == ["n1", "n2", "n3"]
    assert allowed(on, "dedicated", job(client_id="research")) == ["n1", "n3"]
    assert allowed(on, "dedicated", job(client_id="other")) == ["n1"]
    assert allowed(on, "dedicated", job(client_id="other"), attribute="owner") == ["n1", "n2"]


def test_a_client_with_pools_runs_nowhere_else() -> None:
    on = farm([node(), node(attributes={"pool": ("a",)}), node(attributes={"pool": ("b", "c")})])
    pools = {"show": ("a",), "research": ("a", "c")}
    assert allowed(on, "client-pools", job(client_id="show"), pools=pools) == ["n2"]
    assert allowed(on, "client-pools", job(client_id="research"), pools=pools) == ["n2", "n3"]
    assert allowed(on, "client-pools", job(client_id="other"), pools=pools) == ["n1", "n2", "n3"]
    assert allowed(on, "client-pools", job(client_id="show")) == ["n1", "n2", "n3"]


def test_a_client_without_any_pool_is_refused() -> None:
    policies = Policies(filters=("client-pools",), parameters={"filter": {"client-pools": {"pools": {"show": ()}}}})
    with pytest.raises(PolicyInvalid, match="show may use no pool at all"):
        policies.check()


def slowly(on: Farm, name: str, each: Job) -> list[str]:
    """The same as `allowed` with PARAMETERS, node by node."""
    needs, own = each.spec.requirement.resources, each.spec.client_id
    pools = PARAMETERS["client-pools"]["pools"].get(own)
    rules = {
        "gpu-nodes-for-gpu-jobs": lambda n, os: needs.gpus or not n.capacity.gpus,
        "large-memory-nodes": lambda n, os: needs.memory_mib >= 4 or n.capacity.memory_mib < 8,
        "dedicated": lambda n, os: not os or own in os,
        "client-pools": lambda n, os: pools is None or set(pools) & set(os),
    }
    return [n.node_id for n in on.nodes.values() if rules[name](n, n.attributes.get("os", ()))]


@given(farms, st.sampled_from(NAMES))
def test_filters_agree_with_plain_loops_and_with_themselves_for_one_segment(on: Farm, name: str) -> None:
    answers: dict[tuple, list[str]] = {}
    registered = {n.node_id for n in on.nodes.values() if not n.retired}
    for each in on.jobs.values():
        left = [n for n in allowed(on, name, each, **PARAMETERS.get(name, {})) if n in registered]
        assert left == [n for n in slowly(on, name, each) if n in registered]
        segment = (each.spec.client_id, each.priority, each.spec.requirement)
        assert answers.setdefault(segment, left) == left
