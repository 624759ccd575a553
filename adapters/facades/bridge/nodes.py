"""Nodes of callers in the words of the core."""

from typing import Any, NamedTuple

from adapters.facades.bridge import names
from adapters.facades.bridge.desk import CALLER, Desk
from adapters.facades.bridge.jobs import Jobs, jobs_of
from domain.messages import Command
from domain.node import (
    Attributes,
    BringOnline,
    EndMaintenance,
    LoseNode,
    QuarantineNode,
    RecoverNode,
    RegisterNode,
    StartMaintenance,
    SuspectNode,
)
from domain.observed import Observe, external_stream
from domain.resources import Resources


class NodeFacts(NamedTuple):
    """What a facade watches about a node."""

    name: str
    """The caller's id."""
    status: str
    capacity: Resources
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    error: str = ""


class Nodes:
    """All nodes that facades of one application have seen."""

    def __init__(self, desk: Desk, jobs: Jobs) -> None:
        self._desk, self._jobs = desk, jobs
        self._seen: dict[str, NodeFacts] = {}
        self._odd: set[str] = set()

    def last(self, name: str) -> NodeFacts | None:
        """How a node was seen last."""
        return self._seen.get(name)

    def see(self, facts: NodeFacts, actor: str = CALLER) -> bool:
        """Lays down what a node has become since it was seen last; whether there was anything to say."""
        before = self._seen.get(facts.name)
        if before == facts:
            return False
        node_id = names.node_id(facts.name)
        if before is None or (before.capacity, before.attributes) != (facts.capacity, facts.attributes):
            attributes: Attributes = dict(facts.attributes)
            self._desk.do(RegisterNode(node_id=node_id, capacity=facts.capacity, attributes=attributes), actor)
        if before is None or before.status != facts.status:
            self._move(node_id, "offline" if before is None else before.status, facts, actor)
        self._seen[facts.name] = facts
        return True

    def suspect(self, name: str, silent_ms: int, actor: str) -> None:
        """A node has given no sign of life for so long."""
        if name in self._seen:
            self._desk.do(SuspectNode(node_id=names.node_id(name), silent_ms=silent_ms), actor)

    def trust(self, name: str, actor: str) -> None:
        """A suspected node gave a sign of life."""
        if name in self._seen:
            self._desk.do(RecoverNode(node_id=names.node_id(name)), actor)

    def _move(self, node_id: str, before: str, facts: NodeFacts, actor: str) -> None:
        word, name = facts.status, facts.name
        self._leave(node_id, before, actor)
        if word == "online":
            self._say(name, BringOnline(node_id=node_id), word, actor)
            self._jobs.nodes.add(name)
            return
        self._jobs.nodes.discard(name)
        if word == "offline":
            self._say(name, LoseNode(node_id=node_id, why=facts.error or "it went offline"), word, actor)
            self._jobs.lost_with(name)
        elif word == "maintenance":
            self._say(name, StartMaintenance(node_id=node_id), word, actor)
        elif word == "error":
            self._say(name, QuarantineNode(node_id=node_id, cause=facts.error or "it has an error"), word, actor)
        else:
            self._observe(name, {"status": word}, actor)

    def _leave(self, node_id: str, before: str, actor: str) -> None:
        if before == "maintenance":
            self._desk.do(EndMaintenance(node_id=node_id), actor)
        elif before == "error":
            self._desk.do(RecoverNode(node_id=node_id), actor)

    def _say(self, name: str, command: Command, word: str, actor: str) -> None:
        instead = Observe(stream_id=external_stream("node", name), what="node", changes={"status": word})
        self._desk.do(command, actor, (instead,))
        if name in self._odd:
            self._odd.discard(name)
            forget = Observe(stream_id=external_stream("node", name), what="node", forgotten=("status",))
            self._desk.do(forget, actor)

    def _observe(self, name: str, values: dict[str, Any], actor: str) -> None:
        self._odd.add(name)
        self._desk.do(Observe(stream_id=external_stream("node", name), what="node", changes=values), actor)


def nodes_of(desk: Desk) -> Nodes:
    """The nodes of an application, the same for all its facades."""
    return desk.shared(Nodes, lambda: Nodes(desk, jobs_of(desk)))
