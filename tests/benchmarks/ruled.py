"""The same farm with all in force that rules of a cycle are about: shares, partitions, windows, preemption, power.

Ten clients are guaranteed 8 % each and lend what they leave unused, which comes back by preemption; every tenth shape
is limited to one of five partitions; each node is in one of fifty windows of maintenance that come every week; half of
the jobs save their state when told to; nodes say what power they draw. Jobs ask for 30 minutes to 4 hours.
"""

import random
from collections.abc import Iterator

from msgspec.structs import replace

from application.commands import AdoptPolicies
from domain.client import ChangeShares, Shares
from domain.job.commands import SubmitJob
from domain.messages import Command
from domain.node import Attributes, RegisterNode
from domain.partition import DefinePartition, Terms
from domain.policies import Policies
from domain.reservation import MAINTENANCE, Capacity, MakeReservation, Repetition
from domain.resources import Requirement
from domain.time_range import TimeRange
from tests.benchmarks.cluster import CLIENTS, Cluster, Scale

HOUR_MS = 3_600_000
WINDOWS, PARTITIONS, GUARANTEE_PERCENT = 50, 5, 8
POLICIES = Policies(
    sharing="lending",
    preemption="checkpoint",
    energy="efficiency",
    parameters={"sharing": {"reclaim": "preempt"}},
)


class RuledCluster(Cluster):
    """A farm on which every rule has something to say."""

    def __init__(self, scale: Scale) -> None:
        super().__init__(scale._replace(waiting=0))
        self.scale = scale
        self._terms = random.Random(5)
        self._shapes = [_limited(at, shape) for at, shape in enumerate(self._shapes)]
        self.app.handle_all(list(self._rules()), "operator")
        self.app.handle_all(list(self._windows()), "operator")
        self.submit(scale.waiting)

    def _rules(self) -> Iterator[Command]:
        nodes = list(self.farm.nodes.values())
        for node in nodes:
            figures: Attributes = {"watts_idle": ("180",), "watts_peak": ("420",), "wake_s": ("150",)}
            yield RegisterNode(node_id=node.node_id, capacity=node.capacity, attributes=figures)
        for number in range(PARTITIONS):
            members = tuple(sorted(node.node_id for node in nodes[number::PARTITIONS]))
            yield DefinePartition(partition=f"part-{number}", terms=Terms(nodes=members, limit_percent=90))
        for number in range(CLIENTS):
            yield ChangeShares(client_id=f"show-{number}", shares=Shares(guarantee_percent=GUARANTEE_PERCENT))
        yield AdoptPolicies(policies=POLICIES)

    def _windows(self) -> Iterator[Command]:
        """The first of them in half an hour, the last in twelve and a half."""
        nodes, now_ms = list(self.farm.nodes), self.farm.now_ms
        windows = min(WINDOWS, len(nodes))
        for number in range(windows):
            start_ms = now_ms + HOUR_MS // 2 + number * 12 * HOUR_MS // windows
            yield MakeReservation(
                reservation_id=f"resv-{number:02d}",
                owner=MAINTENANCE,
                window=TimeRange(start_ms, start_ms + 5 * HOUR_MS),
                asked=Capacity(nodes=tuple(nodes[number::windows])),
                repeat=Repetition(every_ms=7 * 24 * HOUR_MS),
            )

    def _job(self, need: Requirement) -> Command:
        made = super()._job(need)
        assert isinstance(made, SubmitJob)
        walltime_ms = self._terms.randint(1, 8) * HOUR_MS // 2
        saves = self._terms.random() < 0.5
        return replace(made, spec=replace(made.spec, walltime_ms=walltime_ms, checkpoints=saves))


def _limited(at: int, shape: Requirement) -> Requirement:
    return replace(shape, partition=f"part-{at // 10 % PARTITIONS}") if at % 10 == 0 else shape
