"""Scheduling cycles under preemption, against the same cycle without: where nobody makes way, and where hundreds do.

Both sides plan the same busy farm; where nobody makes way both must place the same. Both only compute, so both are
timed in processor time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from domain.client import ProtectClient
from domain.job.commands import ClaimRoom, ReportStarted, SubmitJob
from domain.job.values import Priority, Protection
from domain.planning.planner import plan
from domain.policies import Policies
from domain.resources import Requirement, Resources
from tests.benchmarks import workload
from tests.benchmarks.cluster import CLIENTS, Cluster, Scale
from tests.benchmarks.harness import Pair, Row, Size, processor_seconds

TINY = Scale(nodes=20, waiting=200, shapes=10)
USUAL = Scale(nodes=1_000, waiting=10_000, shapes=300)
OFF = Policies()
HOUR_MS = 3_600_000


class Contended(Cluster):
    """A farm that is full of work of low and medium priority, which has run for a while."""

    def fill(self) -> None:
        """As many cycles as it takes until nothing more fits."""
        while self.scheduler.cycle().decisions:
            continue
        for job_id, job in list(self.farm.jobs.items()):
            if job.live:
                self.app.handle(ReportStarted(job_id=job_id, attempts=tuple(job.live)), "dispatcher")

    def urge(self, count: int) -> None:
        """Jobs of the highest priority that need one core more than any node has free."""
        need = Requirement(Resources(max(free.millicores for free in self.farm.index.free) + 1_000))
        for _ in range(count):
            command = workload.submission(next(self._ids), need, "show-0", Priority.CRITICAL)
            assert isinstance(command, SubmitJob)
            self.app.handle(command, "user:bench")

    def under(self, policies: Policies) -> Callable[[], Any]:
        """One cycle's plan under other policies than those in force, ten minutes later."""
        now_ms = self.farm.now_ms + HOUR_MS // 6
        return lambda: plan(self.farm, policies, now_ms)


def _pair(made: Contended, policies: Policies) -> Pair:
    off, on = made.under(OFF), made.under(policies)
    return Pair(lambda: processor_seconds(off), lambda: processor_seconds(on))


@contextmanager
def idle(size: Size, directory: Path) -> Iterator[Pair]:
    """A busy farm where nobody who waits stands far enough above anything that runs."""
    made = Contended(TINY if size is Size.TINY else USUAL)
    made.make_busy()
    policies = Policies(preemption="requeue", parameters={"preemption": {"levels": 3}})
    assert made.under(policies)() == made.under(OFF)()
    yield _pair(made, policies)


@contextmanager
def protected(size: Size, directory: Path) -> Iterator[Pair]:
    """A busy farm where two hundred jobs of the highest priority fit nowhere, and a contract protects all that runs."""
    made = Contended(TINY if size is Size.TINY else USUAL)
    made.make_busy()
    for number in range(CLIENTS):
        made.app.handle(ProtectClient(client_id=f"show-{number}", protection=Protection(never=True)), "operator")
    made.urge(20 if size is Size.TINY else 200)
    policies = Policies(preemption="requeue")
    assert made.under(policies)().decisions == made.under(OFF)().decisions
    yield _pair(made, policies)


@contextmanager
def many(size: Size, directory: Path, mode: str = "requeue") -> Iterator[Pair]:
    """The same farm without contracts: room is made for every one of them."""
    made, count = Contended(TINY if size is Size.TINY else USUAL), 20 if size is Size.TINY else 200
    made.fill()
    made.urge(count)
    policies = Policies(preemption=mode, parameters={"preemption": {"most_victims": 100_000}})
    claims = [each for each in made.under(policies)().others if isinstance(each, ClaimRoom)]
    assert len(claims) >= count, f"room was made for {len(claims)} of {count}"
    yield _pair(made, policies)


_OFF = "the same cycle without preemption"
ROWS = (
    Row("preempt-idle", "cycle under preemption, nobody may", _OFF, "cycle", idle, accept=1.3, goal=1.1),
    Row("preempt-protected", "cycle under preemption, all protected", _OFF, "cycle", protected, accept=1.3, goal=1.1),
    Row("preempt-200", "cycle with 200 preemptions", _OFF, "cycle", many, rounds=3),
)
