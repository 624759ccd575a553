"""A farm with a counter: a desk over a store, its queries, and a day on which a bit of everything happens."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from adapters.queries import Queries
from adapters.store.memory import MemoryLog
from adapters.store.sqlite import open_log, read_log
from application import farms
from application.commands import RecordCheckpoint
from application.ports import Log
from domain.client import ChangeShares, RegisterClient, Shares
from domain.dependency import BypassDependency, dependency_id
from domain.errors import NotAllowed
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass, Priority
from domain.node import DrainNode, LoseNode
from domain.reservation import Capacity, MakeReservation, Owner, OwnerKind
from domain.time_range import TimeRange
from projections.runner import ProjectionRunner
from projections.tables import open_views
from tests.application.desk import Desk
from tests.builders import HOUR, SECOND, need

ODD_NAME = "<script>alert('x')</script> & \"shot/010\" – ü"


class Counter(Desk):
    """A desk that also answers questions, as a server over a data directory does."""

    def __init__(self, data_dir: Path, log: Log) -> None:
        super().__init__(log)
        self.data_dir = data_dir
        self.clock.advance(max(0, self.app.farm.now_ms + 2 * SECOND - self.clock.now_ms()))
        self.views = ProjectionRunner(open_views("sqlite://"), log.read, log.position)
        self.queries = Queries(
            log,
            self.views,
            farm=lambda: self.app.farm,
            data_dir=data_dir,
            lock=self.app.lock,
            clock=self.clock,
        )

    def ask(self, path: str, **parameters: Any) -> Any:
        """The answer in builtins."""
        return self.queries.get(path, **parameters)

    def close(self) -> None:
        """Lets go of everything."""
        self.queries.close()
        self.views.engine.dispose()
        self.app.close()


@contextmanager
def counter(data_dir: Path, on_disk: bool = False) -> Iterator[Counter]:
    """An empty farm in a directory; with `on_disk` other processes could open it too."""
    data_dir.mkdir(parents=True, exist_ok=True)
    opened = Counter(data_dir, open_log(data_dir) if on_disk else MemoryLog())
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def copy_of(store: Path, data_dir: Path) -> Iterator[Counter]:
    """A farm that goes on from where another one was when its store was closed."""
    shutil.copytree(store, data_dir)
    with counter(data_dir, on_disk=True) as opened:
        yield opened


def beside(opened: Counter) -> Queries:
    """Other eyes on the same directory, as a program without a server has them: own log, own read models, own farm."""
    log = read_log(opened.data_dir)
    views = ProjectionRunner(open_views("sqlite://"), log.read, log.position)
    return Queries(log, views, farm=lambda: farms.load(log), data_dir=opened.data_dir, clock=opened.clock)


def a_day(desk: Desk) -> None:
    """A workflow, an array with a failure and a lost node, a hold, a refusal, a checkpoint, a bypass, and time."""
    desk.nodes("n1", "n2", cores=4, memory_mib=8192)
    desk.client("show", max_tasks=6)
    desk.clock.advance(SECOND)
    desk.submit_workflow("job-a1", "job-a2", "job-a3", edges=(("job-a1", "job-a2"), ("job-a2", "job-a3")))
    desk.submit("job-b", tasks="1-6", client_id="show", retries=1, backoff_ms=5_000, name=ODD_NAME)
    desk.cycle()
    desk.clock.advance(SECOND)
    desk.submit("job-c", requirement=need(3, memory_mib=1024), priority=Priority.HIGH, name="comp")
    desk.submit("job-d", held=True, name="comp")
    desk.cycle()
    for job_id in ("job-a1", "job-b"):
        desk.start(job_id)
    desk.clock.advance(3 * SECOND)
    _one_fails(desk, "job-b")
    _leaves_a_checkpoint(desk, "job-b")
    desk.finish("job-a1")
    desk.clock.advance(SECOND)
    desk.cycle()
    desk.do(LoseNode(node_id="n2", why="its supervisor died"), by="watchdog")
    _refused(desk)
    desk.do(c.PrioritizeJob(job_id="job-c", priority=Priority.CRITICAL))
    desk.clock.advance(10 * SECOND)
    desk.cycle()
    desk.do(BypassDependency(dependency_id=dependency_id("job-a2", "job-a3"), why="in a hurry"))
    desk.do(c.CancelJob(job_id="job-d", why="no longer wanted"))
    desk.do(ChangeShares(client_id="show", shares=Shares(limit_percent=50)), RegisterClient(client_id="guest"))
    desk.do(DrainNode(node_id="n1", why="new disks"), command_id="cmd-drain")
    desk.clock.advance(SECOND)
    desk.submit("job-e", after=("job-c",))
    desk.cycle()
    night = TimeRange(desk.clock.now_ms() + 12 * HOUR, desk.clock.now_ms() + 20 * HOUR)
    show, asked = Owner(OwnerKind.CLIENT, "show"), Capacity(nodes=("n2",))
    desk.do(MakeReservation(reservation_id="resv-night", owner=show, window=night, asked=asked, why="the trailer"))
    desk.clock.advance(2 * SECOND)


def _one_fails(desk: Desk, job_id: str) -> None:
    number, attempt = next(iter(desk.job(job_id).live.items()))
    end = AttemptEnd(number, attempt.task, exit_code=3, failure=FailureClass.EXIT, message="no licence")
    desk.do(c.ReportEnded(job_id=job_id, ends=(end,)), by="dispatcher")


def _leaves_a_checkpoint(desk: Desk, job_id: str) -> None:
    number, attempt = next(iter(desk.job(job_id).live.items()))
    saved = RecordCheckpoint(
        checkpoint_id=f"ckpt-{job_id}.{attempt.task}.{number}.1",
        job_id=job_id,
        attempt=number,
        location="/data/saved",
        size_bytes=1 << 20,
        sha256="0" * 64,
        progress=40,
    )
    desk.do(saved, by="dispatcher")
    desk.do(c.ReportProgress(job_id=job_id, attempt=number, percent=40, status="pass 2"), by="dispatcher")


def _refused(desk: Desk) -> None:
    try:
        desk.do(c.HoldJob(job_id="job-a1"))
    except NotAllowed:
        return
    raise AssertionError("an ended job was held")


def as_json(answer: Any) -> Any:
    """A Struct as a client reads it."""
    return msgspec.json.decode(msgspec.json.encode(answer))
