"""Drives a real server through crashes and proves, from outside, that nothing was lost and nothing ran twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from adapters.clock import SystemIds
from adapters.door import connect
from adapters.store.sqlite import SQLiteLog, read_log
from application.decider import JOB, load_stream
from domain import errors
from domain.job.commands import SubmitJob
from domain.job.events import TasksLost
from domain.job.values import JobSpec, Work
from domain.messages import Recorded
from domain.resources import Requirement, Resources
from tests.crash.serve import POINTS

ROOT = Path(__file__).resolve().parents[2]
TIMING = {
    "MILEPOST_TIMING_LEASE_MS": "2000",
    "MILEPOST_TIMING_SUSPECT_MS": "1500",
    "MILEPOST_TIMING_RESPAWN_MS": "300",
}
"""Impatient, so that a test of many lives is short."""
TASK = Path(__file__).with_name("task.py")


@dataclass
class Run:
    """What one attempt did, in its own words."""

    job: str
    task: int
    attempt: str
    start_ns: int
    end_ns: int | None = None


@dataclass
class Crashes:
    """One store, many lives of its server."""

    data: Path
    seed: int
    nodes: int = 3
    acknowledged: dict[str, int] = field(default_factory=dict)
    """Job id → tasks, for every submission whose reply arrived."""
    lives: list[str] = field(default_factory=list)
    node_kills: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.log = self.data.parent / "ran.log"
        self.ids = SystemIds()

    def start(self, crash: str | None = None) -> subprocess.Popen[bytes]:
        """A server process, with a crash point armed or without."""
        env = os.environ | TIMING | {"PYTHONPATH": str(ROOT), "MILEPOST_CRASH": crash or ""}
        self.lives.append(crash or "none")
        with (self.data.parent / "serve.log").open("ab") as out:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.crash.serve",
                    "serve",
                    "--data",
                    str(self.data),
                    "--nodes",
                    str(self.nodes),
                    "--port",
                    "0",
                ],
                cwd=ROOT,
                env=env,
                stdout=out,
                stderr=out,
            )

    def submit(self, jobs: int) -> None:
        """Submits jobs through whatever door there is; counts only those that were acknowledged."""
        for _ in range(jobs):
            tasks = self.random.randint(1, 4)
            seconds = self.random.choice((0.0, 0.02, 0.1, 0.3))
            spec = JobSpec(
                job_id=self.ids.new("job"),
                name="crash",
                client_id="default",
                work=Work((sys.executable, "-S", str(TASK), str(self.log), str(seconds)), cwd=str(self.data.parent)),
                requirement=Requirement(Resources(millicores=500)),
                tasks=f"1-{tasks}" if tasks > 1 else "1",
            )
            try:
                door = connect(self.data, write=True)
            except (errors.TaskSchedulerError, OSError):
                return
            try:
                door.handle([SubmitJob(spec=spec)])
                self.acknowledged[spec.job_id] = tasks
            except (errors.TaskSchedulerError, OSError):
                return
            finally:
                door.close()

    def live_and_die(self, seconds: float) -> None:
        """One life: a random crash point, or SIGKILL from outside at a random moment."""
        point = self.random.choice([None, *POINTS])
        server = self.start(f"{point}:{self.random.randint(1, 12)}" if point else None)
        until = time.monotonic() + self.random.uniform(0.3, seconds)
        self.await_door(server, until)
        self.submit(self.random.randint(0, 4))
        while time.monotonic() < until and server.poll() is None:
            time.sleep(0.01)
        if self.random.random() < 0.2:
            self.kill_a_node()
        server.send_signal(signal.SIGKILL)
        server.wait(10)

    def await_door(self, server: subprocess.Popen[bytes], until: float) -> bool:
        """Waits until the server of this process id answers; False if it died or took too long."""
        note = self.data / "server.json"
        while time.monotonic() < until and server.poll() is None:
            with suppress(OSError, ValueError, KeyError):  # not there yet, or half written
                if json.loads(note.read_text())["pid"] == server.pid:
                    return True
            time.sleep(0.01)
        return False

    def kill_a_node(self) -> None:
        """As a power cut at one node."""
        from adapters.executors.local import kill_node  # noqa: PLC0415

        self.node_kills += 1
        kill_node(self.data, f"node-{self.random.randint(1, self.nodes)}")

    def finish(self, seconds: float = 60.0) -> None:
        """A last life without crashes, until every acknowledged job has ended."""
        server = self.start()
        try:
            assert self.await_door(server, time.monotonic() + 20), self.tail()
            door = connect(self.data, write=False)
            until = time.monotonic() + seconds
            for job_id in self.acknowledged:
                left = max(0.1, until - time.monotonic())
                row = door.get(f"/api/wait/{job_id}", timeout_s=left)
                assert row["status"] == "completed", (job_id, row, self.lives, self.tail())
            door.close()
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()

    def tail(self) -> str:
        """The end of what the servers printed."""
        return (self.data.parent / "serve.log").read_text(errors="replace")[-3_000:]

    def lost_attempts(self) -> set[str]:
        """The attempts that the log calls lost, with a node that this test has killed."""
        log = read_log(self.data)
        lost: set[str] = set()
        for recorded in log.read(0, 1_000_000, topics=("job.tasks_lost",)):
            if isinstance(recorded.event, TasksLost):
                assert self.node_kills, "an attempt was lost though no node was killed"
                lost |= {f"{recorded.stream}.{task}.{n}" for n, task in self._tasks_of(log, recorded)}
        log.close()
        return lost

    def _tasks_of(self, log: SQLiteLog, recorded: Recorded) -> list[tuple[int, int]]:
        job = load_stream(log, JOB, recorded.stream, recorded.version - 1).state
        return [(number, job.live[number].task) for number in recorded.event.attempts]

    # -- what the tasks say --------------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """Every attempt that ran, from the tasks' own log."""
        runs: dict[tuple[str, int], Run] = {}
        if not self.log.exists():
            return []
        for line in self.log.read_text().splitlines():
            what, job, task, attempt, at_ns, pid = line.split()
            if what == "start":
                assert (attempt, int(pid)) not in runs
                runs[attempt, int(pid)] = Run(job, int(task), attempt, int(at_ns))
            else:
                runs[attempt, int(pid)].end_ns = int(at_ns)
        return list(runs.values())

    def verify(self) -> None:
        """Every acknowledged job ran to the end, no attempt ran twice, no two attempts of a task overlapped."""
        runs = self.runs()
        attempts = [run.attempt for run in runs]
        assert len(attempts) == len(set(attempts)), "an attempt id ran twice"
        by_task: dict[tuple[str, int], list[Run]] = defaultdict(list)
        for run in runs:
            by_task[run.job, run.task].append(run)
        lost = self.lost_attempts()
        for job_id, tasks in self.acknowledged.items():
            for task in range(1, tasks + 1):
                done = by_task.get((job_id, task), [])
                finished = [run for run in done if run.end_ns is not None]
                assert finished, f"task {task} of {job_id} never finished ({len(done)} attempts)"
                again = [run.attempt for run in done if run.attempt not in lost]
                assert len(again) == 1, f"task {task} of {job_id} ran again though nothing was lost: {again}"
        for several in by_task.values():
            several.sort(key=lambda run: run.start_ns)
            for before, after in pairwise(several):
                assert before.end_ns is None or before.end_ns <= after.start_ns, "two attempts of a task overlapped"
