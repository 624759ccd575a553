"""Nodes, outages and GPU pods from files, and farms that run on them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.importers.nodes import load_nodes, load_outages
from adapters.importers.pods import is_pod_list, load_pods
from adapters.store.objects import ObjectLog
from application.simulation.farms import Outage, SimulatedNode, merged
from application.simulation.traces import TraceRun
from application.simulation.workload import Trace, TraceJob
from domain.errors import BadInput
from domain.job.events import TasksLost
from domain.node import NodeLost, NodeOnline
from domain.policies import Policies
from domain.resources import AttributeNeed, Resources
from tests.adapters.cli_runner import Cli
from tests.adapters.simulating import THREE, write

TOML = """
[[nodes]]
id = "gpu-{n}"
count = 2
cores = 32
memory_mib = 1024
gpus = 2
class = "gpu"
named = { houdini = 1 }
attributes = { "worker.gpu.model" = ["T4"], zone = "a" }

[[nodes]]
id = "big"
cores = 0.5
"""
JSON = """{"nodes": [
  {"id": "gpu-{n}", "count": 2, "cores": 32, "memory_mib": 1024, "gpus": 2, "class": "gpu", "named": {"houdini": 1},
   "attributes": {"worker.gpu.model": ["T4"], "zone": "a"}},
  {"id": "big", "cores": 0.5}]}"""
CSV = """id,count,cores,memory_mib,gpus,class,attributes.zone,attributes.os
gpu-{n},2,32,1024,2,gpu,a,linux|macos
big,,0.5,,,,,
"""
GPU = Resources(millicores=32_000, memory_mib=1_024, gpus=2)
PODS_HEADER = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
)
ALIBABA = "sn,cpu_milli,memory_mib,gpu,model\na,4000,100,2,T4\nb,4000,100,2,A10\nc,8000,500,0,\n"


def load(tmp_path: Path, name: str, text: str) -> tuple[SimulatedNode, ...]:
    return load_nodes(Path(write(tmp_path / name, text)))


# -- nodes -------------------------------------------------------------------------------------------------------------


def test_toml_and_json_describe_the_same_nodes(tmp_path: Path) -> None:
    attributes = {"class": ("gpu",), "worker.gpu.model": ("T4",), "zone": ("a",)}
    capacity = Resources(millicores=32_000, memory_mib=1_024, gpus=2, named=(("houdini", 1),))
    expected = (
        SimulatedNode("gpu-1", capacity, attributes),
        SimulatedNode("gpu-2", capacity, attributes),
        SimulatedNode("big", Resources(millicores=500)),
    )
    assert load(tmp_path, "nodes.toml", TOML) == expected
    assert load(tmp_path, "nodes.json", JSON) == expected
    assert load(tmp_path, "nodes.json", '[{"id": "big", "cores": 0.5}]') == expected[2:]


def test_csv_has_the_same_columns(tmp_path: Path) -> None:
    attributes = {"class": ("gpu",), "zone": ("a",), "os": ("linux", "macos")}
    assert load(tmp_path, "nodes.csv", CSV) == (
        SimulatedNode("gpu-1", GPU, attributes),
        SimulatedNode("gpu-2", GPU, attributes),
        SimulatedNode("big", Resources(millicores=500)),
    )


def test_nodes_say_what_they_draw_and_cost(tmp_path: Path) -> None:
    said = {"watts_idle": ("90",), "watts_peak": ("350",), "wake_s": ("30",), "price_per_h": ("1.5",)}
    numbers = "watts_idle = 90\nwatts_peak = 350\nwake_s = 30\nprice_per_h = 1.5"
    (toml,) = load(tmp_path, "nodes.toml", f"[[nodes]]\nid = 'a'\ncores = 1\n{numbers}")
    (row,) = load(tmp_path, "nodes.csv", "id,cores,watts_idle,watts_peak,wake_s,price_per_h\na,1,90,350,30,1.5\n")
    assert toml.attributes == row.attributes == said


def test_csv_may_be_that_of_the_alibaba_traces(tmp_path: Path) -> None:
    first, _, last = load(tmp_path, "nodes.csv", ALIBABA)
    capacity = Resources(millicores=4_000, memory_mib=100, gpus=2)
    assert first == SimulatedNode("a", capacity, {"class": ("T4",), "worker.gpu.model": ("T4",)})
    assert last == SimulatedNode("c", Resources(millicores=8_000, memory_mib=500), {"class": ("cpu",)})


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("n.toml", "", "n.toml: there is no node in it"),
        ("n.toml", "node = 1", "n.toml: there is no key 'node'; known is nodes"),
        ("n.toml", "nodes = 1", "n.toml: nodes: not a list of nodes"),
        ("n.json", "7", "n.json: nodes: not a list of nodes"),
        ("n.json", "[7]", "n.json, node 1: not a table"),
        ("n.json", '[{"id": "a"}]', "n.json, node 1: object missing required field `cores`"),
        ("n.json", '[{"id": "a", "cores": 1, "memory": 1}]', "no key 'memory'; did you mean 'memory_mib'?"),
        ("n.json", '[{"id": "a", "cores": 1, "xyz": 1}]', "there is no key 'xyz'; known are id, cores, count,"),
        ("n.json", '[{"id": "a", "cores": "many"}]', "node 1: cores: expected `float`, got `str`"),
        ("n.json", '[{"id": "a", "cores": 0}]', "node 1: cores: expected `float` > 0"),
        ("n.json", '[{"id": "a", "cores": 1, "gpus": -1}]', "node 1: gpus: expected `int` >= 0"),
        ("n.json", '[{"id": "a", "cores": 1, "count": 0}]', "node 1: count: expected `int` >= 1"),
        ("n.json", '[{"id": "a", "cores": 1, "count": 2}]', "id: 'a' is one id for 2 nodes; write it as 'a-{n}'"),
        ("n.json", '[{"id": "a b", "cores": 1}]', "node 1: id: 'a b' is none"),
        ("n.json", '[{"id": "a", "cores": 1}, {"id": "a", "cores": 2}]', "node 2: there are two nodes 'a'"),
        ("n.json", '[{"id": "a", "cores": 1, "watts_idle": 9, "watts_peak": 8}]', "watts_peak (8) is below watts_idle"),
        ("n.json", '[{"id": "a", "cores": 1, "wake_s": 1.5}]', "node 1: wake_s: expected `int | null`"),
        ("n.csv", "", "n.csv: there is no node in it"),
        ("n.csv", "id,cores\na\n", "n.csv, line 2: 1 values under 2 columns"),
        ("n.csv", "id,cores\na,x\n", "n.csv, line 2: cores: expected `float`"),
        ("n.csv", "id,id\na,1\n", "n.csv: the first line names the column 'id' twice"),
        ("n.csv", "id,cores,colour\na,1,red\n", "n.csv, line 2: there is no key 'colour'"),
        ("n.csv", 'id,cores\n"a,1\n', "n.csv, line 2: unexpected end of data"),
        ("n.csv", "sn,cpu_milli\na,4000\n", "n.csv: the first line names no column 'memory_mib'"),
        ("n.csv", "sn,cpu_milli,memory_mib,gpu,model\na,x,1,1,T4\n", "line 2: cpu_milli is not a whole number of 1"),
        ("n.csv", "id,cores\n" + "a" * 70_000 + ",1\n", "n.csv, line 2: longer than 65,536 characters"),
        ("n.txt", "", "n.txt: its name must end in .toml or .json"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_its_place(tmp_path: Path, name: str, text: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, name, text)
    assert problem in str(caught.value)


# -- outages -----------------------------------------------------------------------------------------------------------


def plain(count: int, cores: int = 1) -> tuple[SimulatedNode, ...]:
    return tuple(SimulatedNode(f"n{k}", Resources(millicores=cores * 1_000)) for k in range(count))


def test_outages_name_nodes_by_id_or_by_number(tmp_path: Path) -> None:
    text = "node,down_start_s,down_end_s,cause\nn1,5,9,Hardware\n0,7,7,\n"
    found = load_outages(Path(write(tmp_path / "o.csv", text)), plain(2))
    assert found == (Outage("n1", 5, 9, "Hardware"), Outage("n0", 7, 7))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("n9,1,2,x", "line 2: there is no node 'n9'; known are n0 to n1, or 0 to 1"),
        ("2,1,2,x", "line 2: there is no node '2'"),
        ("n1,-1,2,x", "line 2: down_start_s is not a whole number of 0 or more"),
        ("n1,3,2,x", "line 2: down_end_s is not a whole number of 3 or more: '2'"),
        ("n1,3,1e9,x", "line 2: down_end_s is not a whole number"),
    ],
)
def test_an_outage_that_cannot_be_is_named(tmp_path: Path, row: str, problem: str) -> None:
    path = Path(write(tmp_path / "o.csv", f"node,down_start_s,down_end_s,cause\n{row}\n"))
    with pytest.raises(BadInput) as caught:
        load_outages(path, plain(2))
    assert problem in str(caught.value)


outages = st.builds(
    lambda node, down, long: Outage(node, down, down + long),
    st.sampled_from("ab"),
    st.integers(0, 20),
    st.integers(0, 6),
)


@given(st.lists(outages, max_size=12))
def test_merged_outages_cover_the_same_seconds_and_never_touch(given: list[Outage]) -> None:
    found = merged(given)

    def seconds(of: list[Outage]) -> set[tuple[str, int]]:
        return {(each.node_id, second) for each in of for second in range(each.down_s, each.up_s + 1)}

    assert seconds(found) >= seconds(given)
    assert {(n, s + 0.5) for n, s in seconds(found) if (n, s + 1) in seconds(found)} >= {
        (each.node_id, second + 0.5) for each in given for second in range(each.down_s, each.up_s)
    }
    for node in "ab":
        own = [each for each in found if each.node_id == node]
        assert all(before.up_s < after.down_s for before, after in pairwise(own))
    assert found == sorted(found, key=lambda each: each.down_s)


def run(
    trace: Trace, nodes: tuple[SimulatedNode, ...], *outages: Outage
) -> tuple[TraceRun, dict[int, tuple[int, int]]]:
    """The run, and (start, end) by job."""
    course = TraceRun(trace, ObjectLog(), Policies(order="fifo", backfill="easy"), nodes=nodes, outages=outages)
    return course, {each.number: (each.start_s, each.end_s) for each in course.run()}


def happened(course: TraceRun, kind: type[Any]) -> list[Any]:
    return [each.event for each in course.app.log.read(0, 1_000_000) if isinstance(each.event, kind)]


def test_what_runs_on_a_node_that_is_lost_starts_again_from_the_beginning() -> None:
    trace = Trace((TraceJob(1, 0, 10, 1, 10), TraceJob(2, 1, 10, 1, 10)), 2)
    course, found = run(trace, plain(2), Outage("n0", 4, 6, "Hardware"))
    # 1 starts on n0 at 0 and is lost at 4; n1 is taken by 2 until 11; n0 is back at 6
    assert found == {1: (6, 16), 2: (1, 11)}
    assert course.placed == 3
    assert [(each.at_ms, each.job_id) for each in happened(course, TasksLost)] == [(4_000, "job-000000001")]
    assert [(each.at_ms, each.why) for each in happened(course, NodeLost)] == [(4_000, "Hardware")]
    assert [each.at_ms for each in happened(course, NodeOnline)] == [0, 0, 6_000]


def test_a_gang_is_lost_with_any_of_its_nodes() -> None:
    trace = Trace((TraceJob(1, 0, 10, 2, 10),), 2)
    for node_id in ("n0", "n1"):
        _, found = run(trace, plain(2), Outage(node_id, 4, 7))
        assert found == {1: (7, 17)}


def test_a_restart_loses_what_ran_and_takes_no_time() -> None:
    trace = Trace((TraceJob(1, 0, 10, 1, 10),), 1)
    assert run(trace, plain(1), Outage("n0", 4, 4))[1] == {1: (4, 14)}


def test_a_node_that_is_down_from_the_beginning_takes_nothing_before_it_is_back() -> None:
    trace = Trace((TraceJob(1, 0, 10, 2, 10),), 2)
    assert run(trace, plain(2), Outage("n0", 0, 30))[1] == {1: (30, 40)}


def test_outages_after_the_last_job_do_not_go_on_for_ever() -> None:
    trace = Trace((TraceJob(1, 0, 10, 1, 10),), 1)
    course, found = run(trace, plain(1), *(Outage("n0", 100 * k, 100 * k + 5) for k in range(1, 50)))
    assert found == {1: (0, 10)}
    assert len(happened(course, NodeLost)) <= 1


def test_a_job_that_no_node_could_hold_is_left_out() -> None:
    trace = Trace((TraceJob(1, 0, 10, 5, 10), TraceJob(2, 0, 10, 4, 10)), 4)
    course, found = run(trace, plain(2, cores=2))
    assert (course.impossible, found) == ([1], {2: (0, 10)})


# -- pods --------------------------------------------------------------------------------------------------------------


def pods(tmp_path: Path, *rows: str) -> Path:
    return Path(write(tmp_path / "pods.csv", PODS_HEADER + "".join(f"{row}\n" for row in rows)))


def test_pods_become_jobs_with_needs(tmp_path: Path) -> None:
    path = pods(
        tmp_path,
        "p1,2500,100,1,460,T4|A10,LS,Running,5,25,7",
        "p2,1000,100,0,0,,BE,Pending,6,9,",
        "p3,1000,100,2,1000,,BE,Failed,3,10,10",
        "p4,0,100,8,1000,,BE,Failed,3,10,4",
    )
    assert is_pod_list(path)
    trace, needs = load_pods(path)
    assert trace.jobs == (TraceJob(4, 3, 6, 1, 6), TraceJob(1, 5, 18, 3, 18))
    assert trace.dropped == {"never-scheduled": 1, "no-run-time": 1}
    assert trace.adjusted == {"gpu-share-raised": 1, "request-from-run": 2}
    requirement = needs[1].requirement
    assert requirement.resources == Resources(millicores=2_500, memory_mib=100, gpus=1)
    assert requirement.attributes == (AttributeNeed("worker.gpu.model", any_of=("T4", "A10")),)
    assert (needs[1].name, needs[1].kind, needs[4].requirement.attributes) == ("p1", "LS", ())


def test_a_trace_is_no_list_of_pods(tmp_path: Path) -> None:
    assert not is_pod_list(Path(write(tmp_path / "t.swf", THREE)))
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)) * 10)
    assert not is_pod_list(binary)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("p1,x,100,1,460,,LS,Running,5,25,7", "line 2: cpu_milli is not a whole number"),
        ("p1,1,100,1,460,,LS,Running,-5,25,7", "line 2: creation_time is not a whole number of 0 or more: '-5'"),
        ("p1,1,100,1", "line 2: 4 values under 11 columns"),
        ("p1,1,100,1,460,,LS,Pending,5,25,", "there is no pod in it that ever ran"),
    ],
)
def test_a_pod_that_cannot_be_is_named(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_pods(pods(tmp_path, row))
    assert problem in str(caught.value)


def test_pods_run_where_their_gpus_are(milepost: Cli, tmp_path: Path) -> None:
    nodes = write(tmp_path / "nodes.csv", ALIBABA)
    path = pods(
        tmp_path,
        "p1,1000,10,2,1000,A10,LS,Running,0,10,0",  # on b from 0 to 10
        "p2,1000,10,1,1000,A10,LS,Running,1,6,1",  # waits for b until 10
        "p3,1000,10,1,1000,,LS,Running,2,6,2",  # on a
        "p4,1000,10,0,0,,LS,Running,3,6,3",
        "p5,1000,10,1,1000,V100,LS,Running,3,6,3",  # nowhere
    )
    kept = str(tmp_path / "kept")
    found = milepost.json("simulate", str(path), "--nodes", nodes, "--backfill", "greedy", "--data", kept)
    assert (found["jobs"], found["average_wait_s"], found["dropped"]) == (4, 9 / 4, {"no-node": 1})
    assert (found["processors"], found["nodes"], found["makespan_s"]) == (16, 3, 15)
    # GPU seconds: 2 * 10 + 1 * 5 + 1 * 4 = 29 of 4 * 15; core seconds: 10 + 5 + 4 + 3 = 22 of 16 * 15
    assert found["resources"]["gpus"] == {"capacity": 4, "used_share": 29 / 60}
    assert found["utilization"] == pytest.approx(22 / 240)
    shown = milepost.json("show", "job-000000002", "--data", kept)
    assert shown["job"]["name"] == "p2"
    assert [attempt["nodes"] for attempt in shown["attempts"]] == [[["b", 1]]]


def test_a_farm_with_outages_says_what_was_started_again(milepost: Cli, tmp_path: Path) -> None:
    trace, nodes = write(tmp_path / "t.swf", THREE), write(tmp_path / "n.toml", '[[nodes]]\nid = "a"\ncores = 4\n')
    down = write(tmp_path / "o.csv", "node,down_start_s,down_end_s,cause\na,4,6,Network\n")
    found = milepost.json("simulate", trace, "--nodes", nodes, "--outages", down, "--backfill", "none")
    # 1 runs from 6 to 16, 2 from 16 to 26, 3 from 26 on
    assert (found["restarts"], found["unfinished"], found["makespan_s"]) == (1, 0, 31)
    assert "restarts 1 after a node was lost" in " ".join(
        milepost("simulate", trace, "--nodes", nodes, "--outages", down, "--backfill", "none").out.split()
    )


def test_what_does_not_go_together_is_said(milepost: Cli, tmp_path: Path) -> None:
    path, nodes = pods(tmp_path, "p1,1000,10,2,1000,A10,LS,Running,0,10,0"), write(tmp_path / "nodes.csv", ALIBABA)
    assert "a list of GPU pods runs on nodes" in milepost("simulate", str(path), code=2).err
    assert "leave --procs out" in milepost("simulate", str(path), "--nodes", nodes, "--procs", "4", code=2).err
