"""A busy farm: a long realistic log, made by the aggregates' own rules, for measuring how fast it is folded."""

import random
from collections import deque

from domain import intervals
from domain.client import RegisterClient
from domain.cycle import CycleDecided, cycle_stream
from domain.decisions import Blocked, Reason, ReasonCode, segment_name
from domain.dependency import DeclareDependency, SatisfyDependency
from domain.job import commands as c
from domain.job.values import AttemptEnd, FailureClass, JobStatus, Placement, Priority
from domain.resources import Requirement, Resources
from domain.workflow import EndWorkflow, SubmitWorkflow
from tests.builders import WHY
from tests.projections.world import World

SHAPES = [Requirement(Resources(cores * 1000, cores * 2048, gpus)) for cores in (1, 2, 4, 8) for gpus in (0, 0, 1)]
CLIENTS = ("animation", "lighting", "research", "training")
CYCLE_MS = 800
SLOTS = 2_000


class BusyFarm(World):
    """200 nodes, 2,000 attempts at once, jobs of 1 to 12 tasks, now and then a failure, a checkpoint, a dependency."""

    def __init__(self, seed: int = 7) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self.waiting: deque[str] = deque()
        self.ending: list[tuple[int, str, int]] = []
        self.edges: dict[str, list[str]] = {}
        self.made = 0
        for number in range(200):
            self.add_node(f"node-{number:04}", cores=64, memory_mib=262_144, gpus=4)
        for name in CLIENTS:
            self.do(RegisterClient(client_id=name))

    def fill(self, events: int) -> "BusyFarm":
        """Goes on until the log has so many events."""
        while len(self.log) < events:
            self.now_ms += CYCLE_MS
            for _ in range(self.chance.randint(4, 24)):
                self._submit()
            self._place()
            self._end()
            if self.chance.random() < 0.3:
                self._decide()
        return self

    def _submit(self) -> None:
        self.made += 1
        job_id = f"job-01j9zq3v{self.made:018}"
        workflow_id = f"wf-01j9zq3v{self.made:018}" if self.made % 8 == 0 else None
        if workflow_id:
            jobs = (job_id,)
            self.do(SubmitWorkflow(workflow_id=workflow_id, name="shot 040", client_id="lighting", jobs=jobs))
        tasks = self.chance.choice((1, 1, 1, 2, 4, 12))
        self.submit(
            job_id,
            name=f"beauty pass {self.made}",
            client_id=self.chance.choice(CLIENTS),
            tasks=f"1-{tasks}" if tasks > 1 else "1",
            priority=self.chance.choice(list(Priority)),
            requirement=self.chance.choice(SHAPES),
            workflow_id=workflow_id,
            retries=1,
            backoff_ms=0,
        )
        if workflow_id and self.waiting:
            edge = DeclareDependency(predecessor_id=self.waiting[-1], successor_id=job_id)
            self.edges.setdefault(edge.predecessor_id, []).append(edge.dependency_id)
            self.do(edge)
        self.waiting.append(job_id)

    def _place(self) -> None:
        while self.waiting and len(self.ending) < SLOTS:
            job_id = self.waiting.popleft()
            state = self.job(job_id)
            first, left, placements = state.next_attempt, state.waiting, []
            while left:
                some = intervals.take(left, self.chance.randint(1, 4))
                placements.append(Placement(some, ((f"node-{self.chance.randrange(200):04}", 1),)))
                left = intervals.difference(left, some)
            self.do(c.PlaceTasks(job_id=job_id, placements=tuple(placements), reason=WHY), actor="scheduler")
            numbers = range(first, self.job(job_id).next_attempt)
            self.now_ms += 1
            self.start(job_id, *numbers)
            over = self.now_ms + self.chance.randint(5_000, 60_000)
            self.ending += [(over + self.chance.choice((0, 0, 3_000)), job_id, number) for number in numbers]

    def _end(self) -> None:
        over: dict[str, list[int]] = {}
        for due, job_id, number in self.ending:
            if due <= self.now_ms:
                over.setdefault(job_id, []).append(number)
        self.ending = [entry for entry in self.ending if entry[0] > self.now_ms]
        for job_id, numbers in over.items():
            self.now_ms += 1
            self._end_some(job_id, numbers)

    def _end_some(self, job_id: str, numbers: list[int]) -> None:
        live = self.job(job_id).live
        if self.chance.random() < 0.3:
            self.do(c.ReportProgress(job_id=job_id, attempt=numbers[0], percent=50, status="half way"))
        ends = []
        for number in numbers:
            bad = FailureClass.EXIT if self.chance.random() < 0.02 else None
            started = live[number].started_ms
            ends.append(
                AttemptEnd(
                    number, live[number].task, 1 if bad else 0, None, bad, "", started, self.now_ms, 40_000, 1_500
                )
            )
        self.do(c.ReportEnded(job_id=job_id, ends=tuple(ends)), actor="node")
        state = self.job(job_id)
        if state.ended is None and state.waiting and not state.live:
            self.waiting.append(job_id)
        if state.ended:
            if state.spec.workflow_id:
                self.do(EndWorkflow(workflow_id=state.spec.workflow_id, outcome=JobStatus.COMPLETED))
            self.do(*(SatisfyDependency(dependency_id=edge_id) for edge_id in self.edges.pop(job_id, ())))

    def _decide(self) -> None:
        blocked = []
        for _ in range(3):
            shape = self.chance.choice(SHAPES)
            short = Reason(ReasonCode.RESOURCES_SHORT, "", "millicores", 4000, 1500, "node-0007")
            segment = segment_name(self.chance.choice(CLIENTS), Priority.HIGH, shape)
            blocked.append(Blocked(segment, (short,), 12))
        event = CycleDecided(at_ms=self.now_ms, position=len(self.log), blocked=tuple(blocked))
        self.record(cycle_stream(self.now_ms), event)
