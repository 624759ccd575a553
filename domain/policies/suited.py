"""Specialization on a busy farm: nodes are left to those whom they suit, unless somebody's deadline is near.

A placement chooses among the nodes with room, and on a busy farm there is one: whoever comes first gets it, and in the
end everything runs everywhere. What makes the difference is to leave a node alone. Run times are learned per kind of
job and class of nodes, as for the placement `specialized`, with which this filter belongs together.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from domain import intervals
from domain.decisions import Segment
from domain.indices.nodeindex import NodeIndex
from domain.indices.performance import kind_of, node_class
from domain.job.values import Job
from domain.messages import Value
from domain.planning.limits import Limits
from domain.policies import Context, register
from domain.policies.order import processors
from domain.policies.priority import HOUR_MS, PositiveMs, farm_millicores, notes_of
from domain.resources import Requirement


class SuitedNodes(Value, frozen=True):
    """Nodes are left to those that run faster there than on average, while such a job waits for processors.

    Only jobs that run slower than on average there are held back, and only from there; urgent jobs and gangs may use
    all nodes. Of jobs of one client, priority and requirement each may go where any of them runs fast.
    """

    urgent_ms: PositiveMs = HOUR_MS
    """A job with less slack than this until its deadline is urgent."""

    def mask(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """The nodes that suit the job at least as well as an average one, and those that nobody else waits for."""
        requirement = job.spec.requirement
        if requirement.slots > 1 or is_urgent(job, context, self.urgent_ms):
            return nodes
        held_back = nodes & _wanted(index, context)
        for kind in sorted({kind_of(job.spec), *_waiting(context).get(context.farm.queue.segment_of(job), ())}):
            held_back &= ~_suited(kind, requirement, index, context)
        return nodes ^ held_back


# -- deadlines ---------------------------------------------------------------------------------------------------------


def is_urgent(job: Job, context: Context, urgent_ms: int) -> bool:
    """Whether a job can still be on time, and has less slack than that."""
    if job.deadline_ms is None or job.deadline_ms < context.now_ms:
        return False
    return latest_start_ms(job, context) - urgent_ms <= context.now_ms


def latest_start_ms(job: Job, context: Context) -> float:
    """When a job must start to be on time, had it the whole farm for itself; never for one without a deadline."""
    return math.inf if job.deadline_ms is None else job.deadline_ms - span_ms(job, context)


def span_ms(job: Job, context: Context) -> float:
    """One run, and all that waits divided among the farm's processors. A run time that nobody knows counts as none."""
    run_ms = context.run_ms(job) or 0
    waiting = processors(job.spec.requirement) * 1000 * intervals.size(job.waiting)
    return run_ms + run_ms * waiting / max(1, farm_millicores(context))


# -- speeds ------------------------------------------------------------------------------------------------------------


class Speeds(NamedTuple):
    """What is known of one kind of job on the nodes that could hold it."""

    by_class: Mapping[str, float]
    """Runs per ms on each class of nodes with some that could hold it; what was never tried there counts as usual."""
    nodes: Mapping[str, int]
    """Which nodes of the class these are."""

    @property
    def average(self) -> float:
        """Per node that could hold it; 0 if there is none."""
        counts = {name: nodes.bit_count() for name, nodes in self.nodes.items()}
        total = sum(speed * counts[name] for name, speed in self.by_class.items())
        return total / sum(counts.values()) if counts else 0.0


def speeds_of(kind: str, requirement: Requirement, index: NodeIndex, context: Context) -> Speeds:
    """The recorded speeds of jobs of one kind and requirement, looked up once per cycle."""
    notes = notes_of(context, speeds_of)
    known: Speeds | None = notes.get((kind, requirement))
    if known is None:
        able = index.capable(requirement) & index.open_mask
        nodes = {name: members & able for name, members in index.grouped(node_class).masks.items() if members & able}
        known = notes[kind, requirement] = Speeds(_by_class(kind, nodes, context), nodes)
    return known


def _by_class(kind: str, names: Mapping[str, int], context: Context) -> dict[str, float]:
    """Speeds by class, drawn towards the usual one as if each had been seen at that for some runs more.

    Tasks of one job are alike, so a few runs say more of the job than of the class, and a class that was once believed
    slow would never be looked at again.
    """
    performance = context.farm.performance
    runs = {name: performance.count(name, kind) for name in names}
    speeds = {name: 1 / max(1, performance.mean_ms(name, kind) or 0) for name, count in runs.items() if count}
    seen = sum(runs.values())
    usual = sum(speed * runs[name] for name, speed in speeds.items()) / seen if seen else 1.0
    return {name: usual + (speeds.get(name, usual) - usual) * runs[name] / (runs[name] + DOUBTS) for name in names}


# -- what is kept for whom ---------------------------------------------------------------------------------------------


def _suited(kind: str, requirement: Requirement, index: NodeIndex, context: Context) -> int:
    """The nodes where jobs of a kind run at least as fast as on average over those that could hold them."""
    speeds = speeds_of(kind, requirement, index, context)
    average = speeds.average * _NEARLY
    return sum([speeds.nodes[name] for name, speed in speeds.by_class.items() if speed >= average])


def _wanted(index: NodeIndex, context: Context) -> int:
    """The nodes that suit some job that waits, and that lack nothing but processors for it; seen once per cycle.

    A gang waits for a reservation instead, and a job of a client at its limit for that.
    """
    notes = notes_of(context, _wanted)
    if "nodes" not in notes:
        wanted, limits = 0, Limits(context.farm)
        for segment, kinds in _waiting(context).items():
            need = segment.requirement
            if need.slots == 1 and limits.allows(segment.client_id, need) != 0:
                room = index.fitting(replace(need, resources=replace(need.resources, millicores=0)))
                for kind in sorted(kinds):
                    wanted |= _suited(kind, need, index, context) & room
        notes["nodes"] = wanted
    nodes: int = notes["nodes"]
    return nodes


def _waiting(context: Context) -> Mapping[Segment, set[str]]:
    """The kinds of all jobs in the queue, by segment; looked up once per cycle."""
    notes = notes_of(context, _waiting)
    if "kinds" not in notes:
        jobs, lines = context.farm.jobs, context.farm.queue.lines
        notes["kinds"] = {
            segment: {kind_of(jobs[job_id].spec) for _, job_id in line} for segment, line in lines.items()
        }
    kinds: Mapping[Segment, set[str]] = notes["kinds"]
    return kinds


DOUBTS = 8
"""How many runs a class must have for its mean to count for half."""
_NEARLY = 0.999
"""What is as fast as the average up to rounding."""

register("filter", "suited", SuitedNodes)
