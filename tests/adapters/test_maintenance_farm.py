"""A window of maintenance on a farm of real processes: who is there saves, leaves, and goes on when it is over."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from adapters.executors.machine import LocalNode
from adapters.library import Milepost
from domain.client import RegisterClient
from domain.job import events as e
from domain.job.commands import SubmitJob
from domain.job.values import JobSpec, Priority, StopCause, Work
from domain.messages import Event, JobId
from domain.node import NodeMaintenanceEnded, NodeMaintenanceStarted, NodeOnline, NodeStatus
from domain.reservation import (
    MAINTENANCE,
    Capacity,
    MakeReservation,
    ReservationActivated,
    ReservationEnded,
)
from domain.resources import Requirement, Resources
from domain.time_range import TimeRange
from tests.adapters.local_farm import eventually

NODE = LocalNode("node-1", Resources(2_000, 4_096))
STEPS = """
import json, os, signal, sys, time
from pathlib import Path

folder, restore = Path(os.environ["MILEPOST_CHECKPOINT_DIR"]), os.environ.get("MILEPOST_RESTORE_FROM")
seen = Path(sys.argv[1])
done = json.loads(Path(restore).read_text())["done"] if restore else 0
leaving = []
signal.signal(signal.SIGTERM, lambda number, frame: leaving.append(number))
seen.joinpath(f"started-{os.getpid()}").write_text(json.dumps({"from": done, "restored": restore}))
while done < int(sys.argv[2]) and not leaving:
    time.sleep(0.02)
    done += 1
if leaving:
    told = {"signal": leaving[0], "at_ms": time.time_ns() // 1_000_000}
    seen.joinpath(f"signal-{os.getpid()}").write_text(json.dumps(told))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"state-{done}.json"
    path.write_text(json.dumps({"done": done}))
    print("milepost_checkpoint:", json.dumps({"path": str(path), "progress": 50}), flush=True)
    sys.exit(143)
"""
"""Counts to a number in steps of 20 ms; told to leave it saves where it is, and goes on from there."""


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Milepost]:
    with Milepost.open(tmp_path / "farm", nodes=[NODE]) as opened:
        opened.handle(RegisterClient(client_id="default"))
        yield opened


def submit(farm: Milepost, job_id: JobId, seen: Path, steps: int, **fields: Any) -> None:
    work = Work(argv=(sys.executable, "-c", STEPS, str(seen), str(steps)))
    requirement = Requirement(Resources(1_000))
    given = {"client_id": "default", "grace_ms": 500, "priority": Priority.MEDIUM} | fields
    farm.handle(SubmitJob(spec=JobSpec(job_id=job_id, name=job_id, work=work, requirement=requirement, **given)))


def events_of(farm: Milepost, kind: type[Event]) -> list[Any]:
    return [recorded.event for recorded in farm.app.log.read(0, 100_000) if type(recorded.event) is kind]


def test_a_checkpointing_attempt_leaves_in_time_and_goes_on_after_the_maintenance(
    farm: Milepost, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    now_ms = farm.app.clock.now_ms()
    window = TimeRange(now_ms + 4_500, now_ms + 6_500)
    farm.handle(
        MakeReservation(reservation_id="resv-1", owner=MAINTENANCE, window=window, asked=Capacity(nodes=("node-1",)))
    )
    submit(farm, "job-saves", seen, 250, checkpoints=True)
    submit(farm, "job-long", seen, 1)  # it may run for ever, so it must not start before the window
    eventually(lambda: farm.app.farm.jobs["job-saves"].live)
    eventually(lambda: farm.app.farm.nodes["node-1"].status is NodeStatus.MAINTENANCE)
    assert not list(counting(seen)), "nothing runs on a node that is out of service"
    assert farm.run(timeout_s=30), "whoever works off the queue waits for the end of the window"
    assert len(events_of(farm, e.JobCompleted)) == 2
    told = events_of(farm, e.TasksStopping)
    assert [(each.job_id, each.cause) for each in told] == [("job-saves", StopCause.EVACUATED)]
    assert told[0].at_ms <= window.start_ms - 500
    (signal,) = [json.loads(path.read_text()) for path in seen.glob("signal-*")]
    assert signal["signal"] == 15
    assert signal["at_ms"] <= window.start_ms, "it was told in time, and had left by then"
    (stopped,) = events_of(farm, e.TasksStopped)
    assert stopped.at_ms <= window.start_ms
    assert not events_of(farm, e.TasksFailed)
    assert [each.busy for each in events_of(farm, ReservationActivated)] == [()]
    began, ended = events_of(farm, NodeMaintenanceStarted), events_of(farm, NodeMaintenanceEnded)
    assert (len(began), len(ended), len(events_of(farm, ReservationEnded))) == (1, 1, 1)
    assert window.start_ms <= began[0].at_ms < window.start_ms + 1_500
    assert window.end_ms <= ended[0].at_ms < window.end_ms + 1_500
    assert events_of(farm, NodeOnline)[-1].at_ms >= ended[0].at_ms, "its supervisor brought it back"
    starts = sorted((json.loads(path.read_text()) for path in seen.glob("started-*")), key=lambda each: each["from"])
    resumed = [each for each in starts if each["restored"]]
    assert len(resumed) == 1
    assert resumed[0]["from"] > 0, "it went on from where it was"
    placed = {each.job_id: each.at_ms for each in events_of(farm, e.TasksPlaced)}
    assert placed["job-long"] >= ended[0].at_ms


def counting(seen: Path) -> Iterator[psutil.Process]:
    """Processes that count for this test."""
    for process in psutil.process_iter(["cmdline", "status"]):
        if str(seen) in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE:
            yield process
