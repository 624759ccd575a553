"""The core's own planner over jobs and nodes that callers hold: a small farm made for one cycle and thrown away.

Each node holds one job at a time, whatever room it has, as callers' schedulers plan.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import domain.policies.builtin  # noqa: F401  (registers the built-in policies)
from adapters.clock import SystemIds
from adapters.facades.bridge import names, times
from adapters.store.objects import ObjectLog
from application.app import Application
from application.commands import DEFAULT_CLIENT
from domain.client import RegisterClient
from domain.job.commands import PlaceTasks, ReportStarted, SubmitJob
from domain.job.values import JobSpec, Placement, PlacementReason, Priority, Work
from domain.messages import Command
from domain.node import BringOnline, RegisterNode
from domain.planning.planner import plan
from domain.policies import FAMILIES, Policies
from domain.resources import Requirement, Resources, named_amounts

TURN = "turn"
"""A named resource of which each node has one, so that it gets one job."""
_WORK = Work(runner="external", payload="{}")
_LEVELS = {level.value: level for level in Priority}


class Contender(NamedTuple):
    """A job that could be placed, or one that runs."""

    name: str
    client: str
    priority: str
    resources: Resources
    submitted: datetime
    deadline: datetime | None = None
    lasts_ms: int | None = None
    node: str | None = None
    """Where it runs; None for a job that waits."""


class Room(NamedTuple):
    """A node that takes jobs."""

    name: str
    resources: Resources


def policies_named(name: str) -> Policies | None:
    """The core's policies for a name: an order, a placement, or a backfill such as `easy-backfill`; None for none."""
    if name in FAMILIES["order"]:
        return Policies(order=name)
    if name in FAMILIES["placement"]:
        return Policies(placement=name)
    kind = name.removesuffix("-backfill")
    return Policies(backfill=kind) if kind != name and kind in FAMILIES["backfill"] else None


def known_names() -> list[str]:
    """All names that `policies_named` knows."""
    backfills = [f"{name}-backfill" for name in FAMILIES["backfill"]]
    return sorted({*FAMILIES["order"], *FAMILIES["placement"], *backfills})


class _Then:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at_ms = 0

    def now_ms(self) -> int:
        """The time that it was set to."""
        return self.at_ms


def placed(policies: Policies, contenders: Sequence[Contender], rooms: Sequence[Room], now_ms: int) -> dict[str, str]:
    """Which waiting job the core's planner would place where, now: job name to node name, in the planner's order."""
    clock = _Then()
    app = Application(ObjectLog(), clock, SystemIds())
    job_names = {names.job_id(each.name): each.name for each in contenders}
    node_names = {names.node_id(each.name): each.name for each in rooms}
    app.handle_all([command for room in rooms for command in _node(room)], "facade")
    clients = {names.client_id(each.client) for each in contenders} - {DEFAULT_CLIENT}
    app.handle_all([RegisterClient(client_id=each) for each in sorted(clients)], "facade")
    for each in sorted(contenders, key=lambda each: (each.submitted, each.name)):
        clock.at_ms = max(clock.at_ms, min(now_ms, times.milliseconds(each.submitted)))
        if each.node is None or each.node in node_names.values():
            app.handle_all(_job(each), "facade")
    decided = plan(app.farm, policies, now_ms)
    return {
        job_names[each.job_id]: node_names[placement.nodes[0][0]]
        for each in decided.decisions
        for placement in each.placements
    }


def _node(room: Room) -> list[Command]:
    node_id = names.node_id(room.name)
    return [RegisterNode(node_id=node_id, capacity=_with_turn(room.resources)), BringOnline(node_id=node_id)]


def _job(each: Contender) -> list[Command]:
    job_id = names.job_id(each.name)
    spec = JobSpec(
        job_id=job_id,
        name=job_id,
        client_id=names.client_id(each.client),
        work=_WORK,
        requirement=Requirement(_with_turn(each.resources)),
        priority=_LEVELS.get(each.priority, Priority.LOW),
        deadline_ms=None if each.deadline is None else max(0, times.milliseconds(each.deadline)),
        walltime_ms=each.lasts_ms or None,
    )
    if each.node is None:
        return [SubmitJob(spec=spec)]
    placement = Placement("0", ((names.node_id(each.node), 1),))
    reason = PlacementReason(policy="facade", order="facade")
    return [
        SubmitJob(spec=spec),
        PlaceTasks(job_id=job_id, placements=(placement,), reason=reason),
        ReportStarted(job_id=job_id, attempts=(1,)),
    ]


def _with_turn(resources: Resources) -> Resources:
    return Resources(*resources.amounts(), named_amounts({**dict(resources.named), TURN: 1}))
