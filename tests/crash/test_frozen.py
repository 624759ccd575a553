"""A node whose supervisor hangs is given up only when nothing of it runs any more: seen from outside."""

import os
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from adapters.door import connect
from adapters.executors.identity import Identity, read_identity
from adapters.executors.layout import Layout
from adapters.executors.local import kill_node
from domain.job.commands import SubmitJob
from domain.job.values import JobSpec, Work
from domain.resources import Requirement, Resources
from tests.crash.harness import Crashes

BEATING = Path(__file__).with_name("beating.py")


class Hang:
    """A farm of two nodes with one task that beats, and a supervisor that can be frozen under it."""

    def __init__(self, folder: Path) -> None:
        self.crashes = Crashes(folder / "data", seed=1, nodes=2)
        self.crashes.data.mkdir()
        self.log = folder / "beats.log"
        self.server = self.crashes.start()
        assert self.crashes.await_door(self.server, time.monotonic() + 20), self.crashes.tail()
        self.job_id = self.crashes.ids.new("job")

    def submit(self) -> None:
        work = Work((sys.executable, "-S", str(BEATING), str(self.log)))
        spec = JobSpec(
            job_id=self.job_id, name="beating", client_id="default", work=work, requirement=Requirement(Resources(500))
        )
        door = connect(self.crashes.data, write=True)
        door.handle([SubmitJob(spec=spec)])
        door.close()

    def beats(self) -> dict[str, list[int]]:
        """When each attempt has beaten, the attempts in the order in which they began."""
        beats: dict[str, list[int]] = {}
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            attempt, at_ns = line.split()
            beats.setdefault(attempt, []).append(int(at_ns))
        return beats

    def await_attempts(self, count: int) -> None:
        until_s = time.monotonic() + 30
        while len(self.beats()) < count:
            assert time.monotonic() < until_s, self.crashes.tail()
            time.sleep(0.02)

    def host(self) -> Identity:
        """Who supervises the node on which the task runs."""
        layout = Layout(self.crashes.data)
        (node_id,) = [each for each in layout.known_nodes() if layout.node(each).live_attempts()]
        identity = read_identity(layout.node(node_id).lock)
        assert identity is not None
        return identity

    def finish(self) -> None:
        """Lets the task end and waits until its job has."""
        time.sleep(0.5)  # an attempt that runs beside the other shows itself meanwhile
        self.log.with_suffix(".enough").touch()
        door = connect(self.crashes.data, write=False)
        row = door.get(f"/api/wait/{self.job_id}", timeout_s=30.0)
        door.close()
        assert row["status"] == "completed", self.crashes.tail()

    def close(self) -> None:
        self.log.with_suffix(".enough").touch()
        self.server.send_signal(signal.SIGINT)  # in order: a node that is just being started again ends as well
        self.server.wait(20)
        for node_id in Layout(self.crashes.data).known_nodes():
            kill_node(self.crashes.data, node_id)


@pytest.mark.slow
@pytest.mark.parametrize("guard_too", [False, True])
def test_no_two_attempts_run_at_once_when_a_supervisor_hangs(tmp_path: Path, guard_too: bool) -> None:
    hang = Hang(tmp_path)
    try:
        hang.submit()
        hang.await_attempts(1)
        identity = hang.host()
        if guard_too:
            os.kill(identity.guard_pid, signal.SIGSTOP)
        os.kill(identity.pid, signal.SIGSTOP)
        hang.await_attempts(2)
        hang.finish()
        beats = list(hang.beats().values())
        assert len(beats) == 2
        for before, after in pairwise(beats):
            assert before[-1] < after[0], "two attempts of a task overlapped"
    finally:
        hang.close()
