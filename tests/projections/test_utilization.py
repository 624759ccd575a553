"""What the utilization view answers, worked out by hand from a few events."""

import pytest
from sqlalchemy import Engine

from domain import node
from domain.errors import BadInput
from domain.resources import Requirement, Resources
from projections import utilization
from projections.meters import MINUTE_MS, Meter, Minute
from tests.builders import need, resources
from tests.projections.reading import folded
from tests.projections.world import World

START = 1_790_000_040_000
"""The first millisecond of a minute."""


@pytest.fixture
def world() -> World:
    """Node n1 of 4 cores and 2 GPUs is online from the start of a minute on, n2 of 2 cores 30 s later."""
    made = World(START)
    made.add_node("n1", cores=4, gpus=2)
    made.now_ms = START + 30_000
    made.add_node("n2", cores=2)
    return made


def test_sums_are_exact_for_any_span(engine: Engine, world: World) -> None:
    world.submit("job-1", tasks="1-2", requirement=Requirement(Resources(1500, 0, 1)), client_id="studio")
    world.submit("job-2", client_id="lab", requirement=need(2))
    world.now_ms = START + 40_000
    world.place("job-1", "1-2", "n1")  # 3 cores and 2 GPUs on n1 from 40 s on
    world.now_ms = START + 50_001
    world.place("job-2", "0", "n2")  # 2 cores on n2 from 50.001 s on
    world.now_ms = START + 3 * MINUTE_MS
    world.end("job-1", 1)  # 1.5 cores and one GPU less from 180 s on
    with folded(engine, world, utilization.PROJECTION) as connection:
        whole = utilization.utilization(connection, START, START + 200_000)
        # Used: 3 × 140 s + 1.5 × 20 s + 2 × 149.999 s; there were 4 × 200 s + 2 × 170 s.
        assert whole.core_s == 3 * 140 + 1.5 * 20 + 2 * 149.999
        assert whole.capacity_core_s == 4 * 200 + 2 * 170
        assert whole.core_percent == pytest.approx(100 * whole.core_s / 1140)
        assert (whole.gpu_s, whole.capacity_gpu_s) == (2 * 140 + 20, 2 * 200)
        assert whole.task_s == 2 * 140 + 20 + 149.999
        assert [(use.client_id, use.core_s, use.gpu_s) for use in whole.clients] == [
            ("lab", 2 * 149.999, 0),
            ("studio", 450, 300),
        ]
        assert [(use.node_id, use.core_s, use.capacity_core_s) for use in whole.nodes] == [
            ("n1", 450, 800),
            ("n2", 2 * 149.999, 340),
        ]
        part = utilization.utilization(connection, START + 45_000, START + 50_002)
        assert part.core_s == 15.008  # 3 × 5.002 s + 2 × 0.001 s
        assert part.capacity_core_s == 30.012  # 6 × 5.002 s
        before = utilization.utilization(connection, START - 5_000, START)
        assert (before.core_s, before.core_percent, before.clients, before.nodes) == (0, None, (), ())


def test_capacity_counts_while_a_node_is_in_service(engine: Engine, world: World) -> None:
    world.do(node.DrainNode(node_id="n1"))  # still in service
    world.now_ms = START + 60_000
    world.do(node.StartMaintenance(node_id="n1"))
    world.now_ms = START + 70_000
    world.do(node.LoseNode(node_id="n2", why="gone"), node.BringOnline(node_id="n2"))
    world.now_ms = START + 80_000
    world.do(node.RegisterNode(node_id="n2", capacity=resources(8)))
    with folded(engine, world, utilization.PROJECTION) as connection:
        found = utilization.utilization(connection, START, START + 90_000)
    # n1: 4 cores for 60 s; n2: 2 cores from 30 s to 80 s, then 8 for 10 s.
    assert [use.capacity_core_s for use in found.nodes] == [240, 100 + 80]
    assert found.capacity_core_s == 420


def test_a_curve_gives_the_means_of_equal_parts(engine: Engine, world: World) -> None:
    world.submit("job-1", requirement=need(2))
    world.place("job-1", "0", "n1")
    world.now_ms = START + 75_000
    world.end("job-1", 1)
    with folded(engine, world, utilization.PROJECTION) as connection:
        curve = utilization.history(connection, START, START + 120_000, points=4)
        later = utilization.history(connection, START + 600_000, START + 600_002, points=50)
    assert [point.at_ms - START for point in curve] == [0, 30_000, 60_000, 90_000]
    assert [point.cores for point in curve] == [0, 2, 1, 0]
    assert [point.tasks for point in curve] == [0, 1, 0.5, 0]
    assert [point.capacity_cores for point in curve] == [4, 6, 6, 6]
    assert [(point.cores, point.capacity_cores) for point in later] == [(0, 6), (0, 6)]


def test_an_empty_span_is_bad_input(engine: Engine, world: World) -> None:
    with folded(engine, world, utilization.PROJECTION) as connection:
        with pytest.raises(BadInput):
            utilization.utilization(connection, START, START)
        with pytest.raises(BadInput):
            utilization.history(connection, START, START)


def test_a_restart_in_the_middle_of_a_minute_changes_nothing(engine: Engine, world: World) -> None:
    world.submit("job-1", requirement=need(2))
    world.place("job-1", "0", "n1")
    with folded(engine, world, utilization.PROJECTION):
        world.now_ms += 500
    world.end("job-1", 1)
    with folded(engine, world, utilization.PROJECTION) as connection:
        assert utilization.utilization(connection, START, START + 999_000).core_s == 1


def test_time_that_goes_back_counts_as_the_moment_before() -> None:
    changed: list[Minute] = []
    meter = Meter(1, changed)
    meter.change(70_000, 1000, 0, 1)
    meter.change(65_000, 1000, 0, 1)
    meter.change(50_000, -2000, 0, -2)
    (row,) = changed
    assert (row.minute, row.steps) == (1, [10_000, 0, 0, 0])
    meter.change(71_000, 500, 0, 1)
    assert row.sums_at(72_000).millicore_ms == 500 * 1000


def test_sums_outgrow_64_bits_without_loss() -> None:
    row = Minute(meter=1, minute=1, millicore_ms=10**20 + 7)
    columns = row.columns()
    assert columns[2:4] == (10**17, 7)
    assert Minute.stored(columns).millicore_ms == 10**20 + 7
