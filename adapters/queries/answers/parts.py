"""What several answers are made of: reasons and resources."""

from typing import Any

import msgspec

from domain.decisions import ReasonCode


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers and their parts."""


class ReasonAnswer(Answer, frozen=True, kw_only=True):
    """One blocker: the numbers, and the sentence they make."""

    code: ReasonCode
    needed: int
    available: int
    resource: str
    node_id: str
    """The node that came closest; empty where no node is meant."""
    entity: str
    """The job, client or attribute that it is about, or the person who held or paused the job."""
    until_ms: int | None
    text: str


class ResourcesAnswer(Answer, frozen=True, kw_only=True):
    """Amounts of every kind of resource."""

    millicores: int
    memory_mib: int
    gpus: int
    storage_mib: int
    network_mbps: int
    named: dict[str, int]
    """Licences and the like, by name."""


class RequirementAnswer(Answer, frozen=True, kw_only=True):
    """What one task needs."""

    resources: ResourcesAnswer
    """Per slot."""
    slots: int
    distinct_nodes: bool
    attributes: list[dict[str, Any]]
    partition: str
    """The partition it is limited to; empty for none."""
    text: str
