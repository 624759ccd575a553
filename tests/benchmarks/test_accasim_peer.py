"""What the peer simulates is what is said of it: the same jobs, and whatever fits starts."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.importers.swf import write_swf
from application.simulation.lublin import generate
from tests.benchmarks import accasim_peer, simulation
from tests.schedules import read_swf, simulate


@pytest.mark.skipif(not accasim_peer.is_installed(), reason="accasim is not installed")
@pytest.mark.parametrize("nodes", [1, simulation.WANTED.processors])
def test_with_exact_requests_its_waits_are_those_of_greedy_backfilling(nodes: int, tmp_path: Path) -> None:
    swf, processors = tmp_path / "trace.swf", simulation.WANTED.processors
    with swf.open("w") as stream:
        write_swf(generate(replace(simulation.WANTED, jobs=500, overestimate=0.0)), {}, stream)
    peer = accasim_peer.prepare(swf, tmp_path, nodes, processors // nodes)
    peer.run()
    jobs = read_swf(swf, processors)
    starts = simulate(jobs, processors, "fifo", "greedy")
    assert sorted(peer.waits()) == sorted(starts[job.id] - job.submit for job in jobs)
    assert starts != simulate(jobs, processors, "fifo", "easy")
