"""A gang that loses a node other than its host is stopped before its task runs again: seen from outside."""

import sys
import time
from pathlib import Path

import pytest

from adapters.executors.local import kill_node
from adapters.library import Milepost
from application.watchdog import Timing
from domain.job.commands import SubmitJob
from domain.job.values import JobSpec, Work
from domain.resources import Requirement, Resources

TASK = Path(__file__).with_name("task.py")


@pytest.mark.slow
def test_a_gang_that_loses_another_node_ends_before_it_runs_again(tmp_path: Path) -> None:
    log = tmp_path / "ran.log"
    with Milepost.open(
        tmp_path / "data", nodes=2, timing=Timing(lease_ms=2_000, suspect_ms=1_500, respawn_ms=200)
    ) as farm:
        work = Work((sys.executable, "-S", str(TASK), str(log), "3"))
        spec = JobSpec(
            job_id=farm.app.ids.new("job"),
            name="gang",
            client_id="default",
            work=work,
            requirement=Requirement(Resources(500), slots=2, distinct_nodes=True),
        )
        farm.handle(SubmitJob(spec=spec))
        until = time.monotonic() + 20
        while not log.exists() and time.monotonic() < until:
            time.sleep(0.02)
        attempt = next(iter(farm.app.farm.jobs[spec.job_id].live.values()))
        kill_node(farm.server.data_dir, attempt.nodes[1][0])
        assert farm.run(timeout_s=40)
        shown = farm.job(spec.job_id)
    lines = [line.split() for line in log.read_text().splitlines()]
    assert [words[0] for words in lines] == ["start", "start", "end"]
    assert lines[0][3] != lines[1][3]
    first, second = shown["attempts"]
    assert first["ended_ms"] <= second["placed_ms"]
