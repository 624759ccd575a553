"""Commands race cycles: whoever wins, the log breaks no rule that spans streams.

Once from many threads over one application, once from two applications over two connections to one file, as two
processes without a common lock would be.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.store.memory import MemoryLog
from adapters.store.sqlite import LOG_FILE, SQLiteLog, open_log
from application import farms
from application.app import Application
from application.commands import AdoptPolicies
from application.ports import Log
from application.scheduler import Scheduler
from domain import errors
from domain.client import ChangeShares, Shares
from domain.dependency import DeclareDependency
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass
from domain.messages import Command
from domain.node import BringOnline, DrainNode, LoseNode, UndrainNode
from domain.policies import Policies
from tests.application.desk import Desk
from tests.application.referee import Referee
from tests.contents import contents
from tests.contracts.log import together
from tests.fakes import CountedIds, ManualClock

NODES = ("n1", "n2", "n3")
JOBS, EDGES = 40, 15


class Racer:
    """One thread's way to ask an application for things; conflicts and refusals are part of the game."""

    def __init__(self, app: Application, seed: int) -> None:
        self.app, self.random = app, random.Random(seed)
        self.scheduler = Scheduler(app)
        self.refused: list[str] = []

    def ask(self, *commands: Command) -> bool:
        """Whether it was carried out."""
        try:
            self.app.handle_all(commands, "user:racer")
        except (errors.Conflict, errors.NotAllowed, errors.DependencyCycle) as error:
            self.refused.append(error.code)
            return False
        return True

    def drain(self) -> None:
        node_id = self.random.choice(NODES)
        self.ask(DrainNode(node_id=node_id))
        self.ask(UndrainNode(node_id=node_id))

    def limit(self) -> None:
        self.ask(ChangeShares(client_id="show", shares=Shares(max_tasks=self.random.randint(1, 4))))

    def declare(self) -> None:
        before, after = self.random.sample(range(JOBS), 2)
        if len(self.app.farm.dependencies) < EDGES:
            self.ask(DeclareDependency(predecessor_id=f"job-{before}", successor_id=f"job-{after}"))

    def end(self) -> None:
        self.app.catch_up()
        with self.app.lock:
            live = [(job_id, dict(job.live)) for job_id, job in self.app.farm.jobs.items() if job.live]
        for job_id, attempts in live[:3]:
            failure = self.random.choice((None, None, FailureClass.EXIT))
            ends = tuple(AttemptEnd(number, attempt.task, failure=failure) for number, attempt in attempts.items())
            self.ask(c.ReportEnded(job_id=job_id, ends=ends))

    def retry(self) -> None:
        self.ask(c.RetryJob(job_id=f"job-{self.random.randrange(JOBS)}"))

    def lose(self) -> None:
        node_id = self.random.choice(NODES)
        self.ask(LoseNode(node_id=node_id, why="it burned"))
        self.ask(BringOnline(node_id=node_id))

    def policies(self) -> None:
        self.ask(AdoptPolicies(policies=Policies(backfill=self.random.choice(("none", "greedy")))))

    def cycle(self) -> None:
        self.app.catch_up()
        self.scheduler.cycle()


def race(log: Log, racers: list[tuple[Application, Callable[[Racer], None]]], placements: int) -> None:
    """Every racer does its thing over and over, all at once, until so much was placed."""
    start, enough, deadline_s = threading.Barrier(len(racers)), threading.Event(), time.monotonic() + 20

    def run(number: int) -> None:
        app, does = racers[number]
        racer = Racer(app, seed=number)
        start.wait(10)
        while not enough.is_set():
            does(racer)
            os.sched_yield()
            if len(log.read(0, placements, topics=["job.tasks_placed"])) == placements:
                enough.set()
            assert time.monotonic() < deadline_s, f"only {log.position()} events so far"

    together(run, len(racers))


def prepare(log: Log) -> None:
    desk = Desk(log=log)
    desk.nodes(*NODES, cores=2)
    desk.client("show", max_tasks=2)
    for n in range(JOBS):
        desk.submit(f"job-{n}", client_id=("show", "default")[n % 2], tasks="0-9")


def judge(log: Log) -> Referee:
    """The log breaks no rule, and the farm is its fold."""
    referee = Referee()
    referee.watch(log.read(0, 1_000_000))
    assert referee.position == log.position()
    assert referee.acyclic()
    return referee


def stuck(log: Log) -> list[str]:
    """Jobs that wait although all they wait for has completed, or never will be told."""
    farm = farms.load(log)
    return [
        job_id
        for job_id, job in farm.jobs.items()
        if not job.queued and not any(edge.blocks for edge in farm.edges_into(job_id))
    ]


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


WILD = (Racer.drain, Racer.limit, Racer.declare, Racer.end, Racer.retry, Racer.lose, Racer.policies)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_threads_of_one_process_break_no_rule(tmp_path: Path, kind: str) -> None:
    log: Log = open_log(tmp_path) if kind == "sqlite" else MemoryLog()
    prepare(log)
    app = Application(log, ManualClock(), CountedIds())
    race(log, [(app, work) for work in (Racer.cycle, Racer.cycle, *WILD)], placements=60)
    judge(log)
    assert contents(app.farm) == contents(farms.load(log))
    assert stuck(log) == []
    log.close()


@pytest.mark.parametrize("split", range(2))
def test_two_processes_on_one_file_break_no_rule(tmp_path: Path, split: int) -> None:
    open_log(tmp_path).close()
    first, second = SQLiteLog(tmp_path / LOG_FILE), SQLiteLog(tmp_path / LOG_FILE)
    prepare(first)
    one, two = (Application(log, ManualClock(), CountedIds()) for log in (first, second))
    works = [(one, Racer.cycle), (two, Racer.cycle), (one, Racer.end), (two, Racer.end)]
    works += [((one, two)[(n + split) % 2], work) for n, work in enumerate(WILD)]
    race(first, works, placements=40)
    judge(first)
    assert stuck(first) == []
    for app in (one, two):
        app.catch_up()
        assert contents(app.farm) == contents(farms.load(first))
    first.close()
    second.close()


def test_nothing_is_placed_on_a_drained_node_by_a_scheduler_that_has_not_heard_of_it(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    first, second = SQLiteLog(tmp_path / LOG_FILE), SQLiteLog(tmp_path / LOG_FILE)
    prepare(first)
    one, two = (Application(log, ManualClock(), CountedIds()) for log in (first, second))
    for node_id in NODES:
        two.handle(DrainNode(node_id=node_id), "user:ada")
    assert Scheduler(one).cycle().decisions == ()
    judge(first)
    first.close()
    second.close()
