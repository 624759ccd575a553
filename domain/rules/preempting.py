"""The rule of preemption: what is held for whom, who goes on, and who makes way in a cycle.

Room that was claimed is held and used first (`claims`), and what found no room at the end of the cycle may take
it from others (`making_way`). Absent where nothing is held, nothing stands still, and nobody who waits could
have a right against anything that runs.
"""

from typing import TYPE_CHECKING

from domain.decisions import Reason, Segment
from domain.job.values import PRIORITY_RANK, Job, PreemptionMode
from domain.messages import Command
from domain.policies import Made
from domain.rules import Rule, rule
from domain.rules.claims import Holding
from domain.rules.making_way import MakingWay

if TYPE_CHECKING:
    from domain.farm import Farm
    from domain.planning.placing import Placing
    from domain.planning.planner import Cycle


class Preempting(Rule):
    """One cycle under one mode of preemption."""

    whole = False

    def __init__(self, farm: "Farm", made: Made, now_ms: int) -> None:
        self._farm, self._policy, self._now_ms = farm, made.preemption, now_ms
        self.only_ends = not farm.interruptions.claims and not farm.interruptions.suspended
        self._holding: Holding | None = None
        """None while there is nothing to hold."""
        self._making_way: MakingWay | None = None

    def begin(self, cycle: "Placing") -> None:
        """Claims and suspended work come first."""
        self._holding = Holding(cycle)
        self._holding.begin()

    def room(self, segment: Segment, job: Job, end_ms: int) -> int | None:
        """Tasks for which room is held start there and nowhere else."""
        return None if self._holding is None else self._holding.room(job)

    def allowed(self, job: Job, nodes: int, end_ms: int) -> int:
        """Nodes without suspended work that goes on before it."""
        return nodes if self._holding is None else self._holding.allowed(job, nodes)

    def took(self, job: Job, nodes: tuple[tuple[int, int], ...], tasks: int, end_ms: int) -> None:
        """Counts what starts of jobs for which room is held."""
        if self._holding is not None:
            self._holding.took(job, tasks)

    def why(self, segment: Segment, job: Job, end_ms: int) -> tuple[Reason, ...]:
        """The room that it waits for, or who goes on before it."""
        return () if self._holding is None else self._holding.why(segment, job)

    def end(self, cycle: "Cycle") -> tuple[Command, ...]:
        """Suspended work goes on; then whoever found no room may take it from others."""
        commands = [] if self._holding is None else self._holding.end()
        if self._policy.mode is not PreemptionMode.NONE:
            self._making_way = MakingWay(cycle, self._policy)
            commands += self._making_way.open()
        return tuple(commands)

    def wake_at_ms(self) -> int | None:
        """When a protection or a cool-down ends that was in the way, or a deadline is close."""
        if self._making_way is None:
            return None
        return min([at_ms for at_ms in self._making_way.wakes_ms if at_ms > self._now_ms], default=None)


@rule
def preemption(farm: "Farm", made: Made, now_ms: int) -> Rule | None:
    """Where room is held, work stands still, or somebody who waits might have a right to the room of what runs."""
    known = farm.interruptions
    if known.claims or known.suspended or _somebody_might(farm, made):
        return Preempting(farm, made, now_ms)
    return None


def _somebody_might(farm: "Farm", made: Made) -> bool:
    """Whether anybody who waits could have a right against anything that runs, by what costs little to know."""
    policy, lowest = made.preemption, farm.interruptions.lowest()
    if policy.mode is PreemptionMode.NONE or lowest is None:
        return False
    if policy.deadlines or made.sharing.reclaim == "preempt" or not made.static_levels or not made.uniform:
        return True
    if made.policies.priority != "given":
        return True
    ranks = [PRIORITY_RANK[segment.priority] for segment in farm.queue.lines]
    ranks += [PRIORITY_RANK[farm.jobs[job_id].priority] for job_id in farm.delayed_due(farm.now_ms)]
    return bool(ranks) and max(ranks) - PRIORITY_RANK[lowest] >= policy.levels
