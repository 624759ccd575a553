"""A farm with a long queue, made by the application from commands, and the same in the kernel's plain numbers."""

import random
from itertools import islice
from typing import NamedTuple

from adapters.clock import SystemClock, SystemIds
from adapters.store.log import RecorderLog
from adapters.store.memory import MemoryLog
from application.app import Application, Request
from application.scheduler import Scheduler
from domain.client import RegisterClient
from domain.decisions import Plan
from domain.farm import Farm
from domain.job.commands import ReportEnded
from domain.job.values import PRIORITY_RANK, AttemptEnd, Priority
from domain.messages import Command
from domain.node import BringOnline, RegisterNode
from domain.planning.planner import plan
from domain.resources import Requirement
from tests.benchmarks import workload
from tests.benchmarks.kernel import Kernel, amounts

CLIENTS = 10


class Scale(NamedTuple):
    """How large a farm."""

    nodes: int
    waiting: int
    shapes: int


class Cluster:
    """Nodes of several kinds, and jobs of ten clients: each shape is asked for by one of them, at three priorities."""

    def __init__(self, scale: Scale, log: RecorderLog | None = None) -> None:
        self.scale = scale
        self.app = Application(log or MemoryLog(), SystemClock(), SystemIds())
        self.scheduler = Scheduler(self.app)
        self._shapes = workload.shapes(scale.shapes)
        self._ids = workload.job_ids()
        self._rng = random.Random(4)
        self.app.handle_all([RegisterClient(client_id=f"show-{n}") for n in range(CLIENTS)], "operator")
        self.app.handle_all(_nodes(scale.nodes), "operator")
        self.submit(scale.waiting)

    @property
    def farm(self) -> Farm:
        """What cycles read."""
        return self.app.farm

    def plan(self) -> Plan:
        """One cycle's plan of the farm as it stands."""
        return plan(self.farm, self.farm.policies, self.farm.now_ms)

    def submit(self, count: int) -> None:
        """More jobs at the end of the queue."""
        drawn = workload.drawn(count, self._shapes)
        requests = [Request((self._job(need),), workload.USER) for need in drawn]
        for at in range(0, count, workload.PER_COMMIT):
            self.app.commit_all(requests[at : at + workload.PER_COMMIT])

    def _job(self, need: Requirement) -> Command:
        priority = self._rng.choices((Priority.LOW, Priority.MEDIUM, Priority.HIGH), weights=(1, 8, 1))[0]
        client = f"show-{self._shapes.index(need) % CLIENTS}"
        return workload.submission(next(self._ids), need, client, priority)

    def complete(self, share: float = 0.0) -> None:
        """Lets a share of all running tasks end well, drawn by lot; one if the share is nothing."""
        live = [job_id for job_id, job in self.farm.jobs.items() if job.live]
        ended = self._rng.sample(live, max(1, round(len(live) * share)))
        self.app.commit_all([Request((_end(job_id),), workload.DISPATCHER) for job_id in ended])

    def make_busy(self) -> None:
        """Fills the nodes, fills the queue up again, and lets a tenth of what runs end."""
        self.scheduler.cycle()
        self.submit(self.scale.waiting - len(self.farm.queue))
        self.complete(0.1)

    # -- the same for the kernel -------------------------------------------------------------------------------------

    def kernel(self) -> Kernel:
        """What is free, and the shapes."""
        free = [amounts(resources) for resources in self.farm.index.free]
        return Kernel(free, [amounts(shape.resources) for shape in self._shapes])

    def in_order(self) -> tuple[list[str], list[int]]:
        """Ids and shape numbers of the waiting jobs: highest priority first, then by submission."""
        numbers = {shape: number for number, shape in enumerate(self._shapes)}
        waiting = [job for job in self.farm.jobs.values() if job.waiting]
        waiting.sort(key=lambda job: (-PRIORITY_RANK[job.priority], job.submitted_ms, job.spec.job_id))
        return [job.spec.job_id for job in waiting], [numbers[job.spec.requirement] for job in waiting]

    def placed(self, made: Plan) -> list[tuple[str, int]]:
        """A plan's placements as the kernel says them: job and node number."""
        numbers = self.farm.index.numbers
        return [(each.job_id, numbers[p.nodes[0][0]]) for each in made.decisions for p in each.placements]


def _nodes(count: int) -> list[Command]:
    made = enumerate(workload.capacities(count), 1)
    pairs = [(RegisterNode(node_id=f"n{n}", capacity=c), BringOnline(node_id=f"n{n}")) for n, c in made]
    return [command for pair in pairs for command in pair]


def _end(job_id: str) -> ReportEnded:
    return ReportEnded(job_id=job_id, ends=(AttemptEnd(1, 0, exit_code=0),))


def named(ids: list[str], placed: list[tuple[int, int]]) -> list[tuple[str, int]]:
    """The kernel's placements with job ids for places in the queue."""
    return [(ids[at], number) for at, number in placed]


def first(ids: list[str], count: int) -> list[str]:
    """The first ids of a queue."""
    return list(islice(ids, count))
