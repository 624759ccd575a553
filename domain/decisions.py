"""What a scheduling cycle says: decisions with their reasons, and for all that waits, its blockers as data.

Reasons carry numbers, never sentences; projections and adapters make the text. A whole queue segment (one client, one
priority, one requirement) shares its reasons, because jobs of the same shape are judged once.
"""

from enum import StrEnum
from functools import lru_cache
from hashlib import blake2s
from typing import NamedTuple

import msgspec

from domain.job.values import NodeSlots, Placement, PlacementReason, Priority
from domain.messages import ClientId, Command, JobId, NodeId, Value
from domain.resources import Requirement


class ReasonCode(StrEnum):
    """What stands between a job and its start."""

    DEPENDENCY = "dependency"
    """A predecessor has not completed yet."""
    DEPENDENCY_FAILED = "dependency-failed"
    """A predecessor failed or was cancelled; retry it or bypass the dependency."""
    START_TIME = "start-time"
    """It may not start before a given time."""
    HELD = "held"
    PAUSED = "paused"
    APPROVAL = "approval"
    """Its first tasks are to be looked at; the others wait until somebody approves."""
    BACK_OFF = "back-off"
    """Its failed tasks wait before the next try."""
    CLIENT_LIMIT = "client-limit"
    """Its client already uses what it may use."""
    CLIENT_SUSPENDED = "client-suspended"
    GUARANTEE = "guarantee"
    """It would take what is guaranteed to another client, which could not have it back in time."""
    BORROW_LIMIT = "borrow-limit"
    """Its client uses its guarantee and may borrow no more."""
    PARTITION_LIMIT = "partition-limit"
    """All jobs of its partition together use what they may use."""
    PARTITION_CLIENT = "partition-client"
    """Its client uses what it may use of the partition."""
    PARTITION_CLOSED = "partition-closed"
    """Its client may not use the partition any more."""
    PARTITION_WALLTIME = "partition-walltime"
    """It may run longer than its partition lets jobs run by now."""
    PARTITION_EMPTY = "partition-empty"
    """Its partition has no node, or none with the attributes that it needs."""
    NO_NODES = "no-nodes"
    """No node takes work at all."""
    ATTRIBUTE_MISSING = "attribute-missing"
    """No node has the attribute it needs."""
    TOO_LARGE = "too-large"
    """No node is large enough, even empty."""
    NODES_UNAVAILABLE = "nodes-unavailable"
    """Nodes that could hold it are offline, draining or in maintenance."""
    FILTERED = "filtered"
    """A filter keeps it off the nodes where it would fit."""
    RESOURCES_SHORT = "resources-short"
    """All fitting nodes are busy."""
    SLOTS_SHORT = "slots-short"
    """A gang needs more slots at once than are free."""
    CHEAPER_LATER = "cheaper-later"
    """It is kept back until energy costs less; its deadline allows for that."""
    POWER_CAP = "power-cap"
    """The farm draws as much power as it may."""
    RESERVED = "reserved"
    """The nodes where it would fit are set aside for others before it would have ended."""
    MAINTENANCE = "maintenance"
    """The nodes where it would fit go out of service before it would have ended, or are so by now."""
    ROOM_CLAIMED = "room-claimed"
    """Running work makes way for it; it starts as soon as that has left."""
    SUSPENDED_FIRST = "suspended-first"
    """Where it would fit, suspended work of its level or above goes on first."""
    BEHIND_HEAD = "behind-head"
    """It fits, but a job before it in the queue would start later for it."""


class Reason(Value, frozen=True):
    """One blocker with its numbers."""

    code: ReasonCode
    entity: str = ""
    """The dependency, client, attribute, or job that it is about."""
    resource: str = ""
    """Which resource is short."""
    needed: int = 0
    available: int = 0
    """What there is of it: on the nearest-miss node, or within the limit."""
    node_id: NodeId = ""
    """The nearest miss: the node that came closest."""
    until_ms: int | None = None

    def same_blocker(self, other: "Reason") -> bool:
        """Whether only numbers differ. Who is at the head of the queue is told by the cycle, not by each reason."""
        if self.code is ReasonCode.BEHIND_HEAD:
            return other.code is ReasonCode.BEHIND_HEAD
        return (self.code, self.entity, self.resource, self.node_id) == (
            other.code,
            other.entity,
            other.resource,
            other.node_id,
        )


class Segment(NamedTuple):
    """A part of the queue whose jobs are judged alike."""

    client_id: ClientId
    priority: Priority
    requirement: Requirement

    @property
    def name(self) -> str:
        """How the segment is called in the log."""
        return segment_name(self.client_id, self.priority, self.requirement)


@lru_cache(maxsize=65_536)
def shape_name(requirement: Requirement) -> str:
    """A short stable name of a requirement: equal requirements have equal names."""
    return blake2s(msgspec.json.encode(requirement), digest_size=6).hexdigest()


def segment_name(client_id: ClientId, priority: Priority, requirement: Requirement) -> str:
    """`client/priority/shape`, by which a job's recorded reasons are found."""
    return f"{client_id}/{priority}/{shape_name(requirement)}"


class Place(Value, frozen=True):
    """Bind waiting tasks of one job to nodes now."""

    job_id: JobId
    placements: tuple[Placement, ...]
    reason: PlacementReason


class Blocked(Value, frozen=True):
    """A queue segment that was passed over, and all that blocks it."""

    segment: str
    reasons: tuple[Reason, ...]
    jobs: int = 0
    """How many jobs wait in it."""


class Reserved(Value, frozen=True):
    """Room that is kept for the next task of a blocked job."""

    job_id: JobId
    start_ms: int
    """When it can start, if what runs ends as expected."""
    nodes: tuple[NodeSlots, ...] = ()
    """Where, with how many slots on each."""


class Plan(Value, frozen=True):
    """The output of one scheduling cycle over the farm at one log position."""

    position: int
    decisions: tuple[Place, ...]
    passed_over: tuple[Blocked, ...]
    wake_at_ms: int | None = None
    """When time alone could change the answer; None means never."""
    reserved: tuple[Reserved, ...] = ()
    """The reservations of blocked jobs, in queue order."""
    others: tuple[Command, ...] = ()
    """What rules want done in the same commit, after the placements: preemptions, resumptions, power, bookings."""
