"""Cycles of a farm that shares: ten clients, eight of them guaranteed a tenth each; against the same without sharing.

Both only compute, so both are timed in processor time, in one run. They do not start the same tasks: with sharing the
queue is looked at in another order, which happens to fill the nodes better here, so that a tenth more starts.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from domain.client import ChangeShares, Shares
from domain.job.commands import SubmitJob
from domain.messages import Command
from domain.planning.planner import plan
from domain.policies import Policies
from domain.resources import Requirement
from tests.benchmarks.cluster import CLIENTS, Cluster, Scale
from tests.benchmarks.cycles import TINY, USUAL
from tests.benchmarks.harness import Pair, Row, Size, processor_seconds

GUARANTEED = 8
WALLTIMES_MS = tuple(minutes * 60_000 for minutes in (10, 20, 30, 60, 120, 240))
WAIT = Policies(sharing="lending")
PREEMPT = Policies(sharing="lending", parameters={"sharing": {"reclaim": "preempt"}})


class _Sharing(Cluster):
    """A busy farm whose clients have shares, and whose jobs say how long they may run: some longer than may be lent."""

    def __init__(self, scale: Scale) -> None:
        self._walltimes = random.Random(5)
        super().__init__(scale)
        shares = [Shares(guarantee_percent=10 if number < GUARANTEED else 0) for number in range(CLIENTS)]
        changes = [ChangeShares(client_id=f"show-{number}", shares=each) for number, each in enumerate(shares)]
        self.app.handle_all(changes, "operator")
        self.make_busy()

    def _job(self, need: Requirement) -> Command:
        command = super()._job(need)
        assert isinstance(command, SubmitJob)
        return replace(command, spec=replace(command.spec, walltime_ms=self._walltimes.choice(WALLTIMES_MS)))

    def takes(self, policies: Policies) -> float:
        """Seconds of one plan of the farm as it stands."""
        return processor_seconds(lambda: plan(self.farm, policies, self.farm.now_ms))


def _against_none(size: Size, policies: Policies) -> Pair:
    made = _Sharing(TINY if size is Size.TINY else USUAL)
    return Pair(lambda: made.takes(Policies()), lambda: made.takes(policies))


@contextmanager
def preempting(size: Size, directory: Path) -> Iterator[Pair]:
    """Anything may be lent."""
    yield _against_none(size, PREEMPT)


@contextmanager
def waiting(size: Size, directory: Path) -> Iterator[Pair]:
    """Only what ends within the period is lent, and nodes are kept for what waits for its guarantee."""
    yield _against_none(size, WAIT)


_FLOOR = "the same without sharing"
ROWS = (
    Row("cycle-sharing", "cycle that lends, preempting", _FLOOR, "cycle", preempting, accept=1.6, goal=1.3),
    Row("cycle-sharing-wait", "cycle that lends, waiting", _FLOOR, "cycle", waiting, accept=2.2, goal=1.3),
)
