"""What waits for what among the jobs or stages of one owner."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from common.core.base import Result
from common.core.enums import DependencyState, DependencyType, GraphNodeType
from common.core.jobs import Dependency
from common.core.ranks import word_of
from common.dependency_tracking.digraph import DirectedGraph, circle, levels
from common.manager import coded
from domain.dependency import find_path

FAILING = (DependencyType.SEQUENTIAL, DependencyType.DATA)
"""Types whose successor cannot go on when the predecessor does not complete."""


class DependencyNode(dict[str, Any]):
    """One node: a dict of its metadata, which always has the key `type`."""

    def __init__(
        self, node_id: str, node_type: GraphNodeType = GraphNodeType.JOB, metadata: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(metadata or {})
        self.id, self.node_type = node_id, node_type
        self["type"] = word_of(node_type)

    @property
    def metadata(self) -> "DependencyNode":
        """The same dict."""
        return self

    def retype(self, node_type: GraphNodeType) -> None:
        """Makes it a node of another type."""
        self.node_type = node_type
        self["type"] = word_of(node_type)


class DependencyGraph:
    """Nodes and the dependencies between them, without circles unless somebody draws one past the rules."""

    def __init__(self, owner_id: str = "") -> None:
        self.owner_id = owner_id
        self.nodes: dict[str, DependencyNode] = {}
        self.dependencies: dict[tuple[str, str], Dependency] = {}
        self.graph = DirectedGraph()

    @property
    def simulation_id(self) -> str:
        """The owner under another name."""
        return self.owner_id

    # -- nodes and edges -----------------------------------------------------------------------------------------

    def add_node(
        self, node_id: str, node_type: GraphNodeType = GraphNodeType.JOB, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """D1: a node; of a known one the type is replaced and metadata added."""
        known = self.nodes.get(node_id)
        if known is None:
            self.nodes[node_id] = DependencyNode(node_id, node_type, metadata)
        else:
            known.update(metadata or {})
            known.retype(node_type)
        self.graph.add_node(node_id)

    def add_stage(self, stage_id: str, metadata: Mapping[str, Any] | None = None) -> None:
        """D1 for a stage."""
        self.add_node(stage_id, GraphNodeType.STAGE, metadata)

    def has_edge(self, from_id: str, to_id: str) -> bool:
        """Whether the second waits for the first."""
        return self.graph.has_edge(from_id, to_id)

    def add_dependency(
        self,
        from_id: str,
        to_id: str,
        dependency_type: DependencyType | str = DependencyType.SEQUENTIAL,
        condition: str | None = None,
    ) -> Result[bool]:
        """D2: the second waits for the first; an error and nothing stored if that closes a cycle."""
        path = self.path(to_id, from_id)
        if path is not None:
            return cycle_error(from_id, to_id, path)
        for node_id in (from_id, to_id):
            if node_id not in self.nodes:
                self.add_node(node_id)
        self.graph.add_edge(from_id, to_id)
        self.dependencies[from_id, to_id] = Dependency(
            from_id=from_id, to_id=to_id, dependency_type=dependency_type, condition=condition
        )
        return Result.ok(True)

    def path(self, start: str, goal: str) -> tuple[str, ...] | None:
        """A way along the edges; None if there is none."""
        return find_path(start, goal, self._after)

    def _after(self, node_id: str) -> Iterable[str]:
        return self.graph.successors(node_id) if node_id in self.graph else ()

    def remove_dependency(self, from_id: str, to_id: str) -> Result[bool]:
        """D3: the second waits no longer."""
        if (from_id, to_id) not in self.dependencies:
            return coded(f"there is no dependency from {from_id!r} to {to_id!r}", "dependency.not-found")
        del self.dependencies[from_id, to_id]
        if self.graph.has_edge(from_id, to_id):
            self.graph.remove_edge(from_id, to_id)
        return Result.ok(True)

    def get_dependency(self, from_id: str, to_id: str) -> Dependency | None:
        """The record of an edge, live."""
        return self.dependencies.get((from_id, to_id))

    def get_dependencies_from(self, node_id: str) -> list[Dependency]:
        """The records of what waits for a node, in the order of the edges."""
        return self._records((node_id, after) for after in self._after(node_id))

    def get_dependencies_to(self, node_id: str) -> list[Dependency]:
        """The records of what a node waits for."""
        before = self.graph.predecessors(node_id) if node_id in self.graph else ()
        return self._records((each, node_id) for each in before)

    def _records(self, edges: Iterable[tuple[str, str]]) -> list[Dependency]:
        return [self.dependencies[edge] for edge in edges if edge in self.dependencies]

    # -- states --------------------------------------------------------------------------------------------------

    def update_dependency_state(self, from_id: str, to_id: str, state: DependencyState) -> Dependency | None:
        """The record with another state; None if there is none."""
        record = self.dependencies.get((from_id, to_id))
        if record is not None:
            record.state = DependencyState(state)
        return record

    def satisfy_dependency(self, from_id: str, to_id: str) -> Dependency | None:
        """The second need wait no longer."""
        return self.update_dependency_state(from_id, to_id, DependencyState.SATISFIED)

    def bypass_dependency(self, from_id: str, to_id: str) -> Dependency | None:
        """A person decided that the second need not wait."""
        return self.update_dependency_state(from_id, to_id, DependencyState.BYPASSED)

    def fail_dependency(self, from_id: str, to_id: str) -> Dependency | None:
        """The first will not complete."""
        return self.update_dependency_state(from_id, to_id, DependencyState.FAILED)

    def update_node_status(self, node_id: str, status: Any) -> list[str]:
        """D4: notes the status; completed satisfies what comes after, failed or cancelled fails it; the ids changed."""
        node = self.nodes.get(node_id)
        if node is None:
            return []
        word = word_of(status)
        node["status"] = word
        if word == "completed":
            return [self._satisfied(record) for record in self.get_dependencies_from(node_id)]
        if word not in ("failed", "cancelled"):
            return []
        return [self._failed(record) for record in self.get_dependencies_from(node_id) if _fails(record)]

    def _satisfied(self, record: Dependency) -> str:
        if record.state != DependencyState.BYPASSED:
            record.satisfy()
        return record.to_id

    def _failed(self, record: Dependency) -> str:
        record.fail()
        return record.to_id

    def are_all_dependencies_satisfied(self, node_id: str) -> bool:
        """Whether nothing stands before a node any more."""
        return all(record.is_satisfied() for record in self.get_dependencies_to(node_id))

    def is_node_blocked(self, node_id: str, completed: set[str]) -> list[str] | None:
        """D5: what a node still waits for; None if nothing."""
        waiting = [
            record.from_id
            for record in self.get_dependencies_to(node_id)
            if not record.is_satisfied() and record.from_id not in completed
        ]
        return waiting or None

    def get_ready_nodes(self, completed: set[str]) -> set[str]:
        """D6: the nodes that wait for nothing and have not completed."""
        return {node for node in self.nodes if node not in completed and self.is_node_blocked(node, completed) is None}

    # -- shape ---------------------------------------------------------------------------------------------------

    def get_root_nodes(self) -> list[str]:
        """The nodes before which nothing stands."""
        return [node for node in self.nodes if not self.graph.in_degree(node)]

    def get_leaf_nodes(self) -> list[str]:
        """The nodes after which nothing comes."""
        return [node for node in self.nodes if not self.graph.out_degree(node)]

    def get_critical_path(self) -> list[str]:
        """D7: a path with the most nodes, or the longest summed duration where nodes have one; [] with a cycle."""
        steps = levels(self.graph)
        if sum(map(len, steps)) < len(self.graph):
            return []
        lengths: dict[str, float] = {}
        came_from: dict[str, str] = {}
        timed = any("duration" in node for node in self.nodes.values())
        for node in (node for step in steps for node in step):
            for before in self.graph.predecessors(node):
                if node not in came_from or lengths[before] > lengths[came_from[node]]:
                    came_from[node] = before
            own = self._duration(node) if timed else 1.0
            lengths[node] = own + (lengths[came_from[node]] if node in came_from else 0.0)
        if not lengths:
            return []
        path = [max(self.graph.nodes, key=lambda node: lengths[str(node)])]
        while path[-1] in came_from:
            path.append(came_from[str(path[-1])])
        return [str(node) for node in reversed(path)]

    def _duration(self, node_id: str) -> float:
        node: Mapping[str, Any] = self.nodes.get(node_id) or {}
        known = node.get("duration", 0.0)
        return known.total_seconds() if isinstance(known, timedelta) else float(known or 0.0)

    def validate(self) -> list[str]:
        """D8: what is wrong, [] if nothing."""
        problems = []
        ids = circle(self.graph)
        if ids is not None:
            problems.append(f"there is a cycle: {' → '.join(ids)}")
        for before, after in self.dependencies:
            problems += [
                f"the dependency from {before!r} to {after!r} names {node_id!r}, which is no node"
                for node_id in (before, after)
                if node_id not in self.nodes
            ]
        return problems

    # -- as a dict -----------------------------------------------------------------------------------------------

    def serialize(self) -> dict[str, Any]:
        """D9: all of it as plain values."""
        return {
            "owner_id": self.owner_id,
            "nodes": [{"id": node_id, "metadata": dict(node)} for node_id, node in self.nodes.items()],
            "edges": [
                {
                    "from_id": record.from_id,
                    "to_id": record.to_id,
                    "dependency_type": word_of(record.dependency_type),
                    "state": word_of(record.state),
                    "condition": record.condition,
                }
                for record in self.dependencies.values()
            ],
        }

    @classmethod
    def deserialize(cls, data: Mapping[str, Any]) -> "DependencyGraph":
        """D10: the graph that such a dict was made of, states included."""
        graph = cls(str(data.get("owner_id", data.get("simulation_id", ""))))
        nodes = data.get("nodes", ())
        entries = (
            [{"id": key, **(value or {})} for key, value in nodes.items()] if isinstance(nodes, Mapping) else nodes
        )
        for entry in entries:
            metadata = dict(entry.get("metadata") or {})
            kind = GraphNodeType(str(entry.get("type", metadata.get("type", "job"))).lower())
            graph.add_node(str(entry["id"]), kind, metadata)
        for edge in data.get("edges", ()):
            graph._read_edge(edge)
        return graph

    def _read_edge(self, edge: Mapping[str, Any]) -> None:
        before, after = str(edge.get("from_id", edge.get("from"))), str(edge.get("to_id", edge.get("to")))
        kind = word_of(edge.get("dependency_type", edge.get("type", "sequential")))
        if self.add_dependency(before, after, "temporal" if kind == "time" else kind, edge.get("condition")):
            self.update_dependency_state(before, after, DependencyState(word_of(edge.get("state", "pending"))))

    # -- other names ---------------------------------------------------------------------------------------------

    get_root_stages = get_root_nodes
    get_leaf_stages = get_leaf_nodes
    get_ready_stages = get_ready_nodes
    is_stage_blocked = is_node_blocked
    update_stage_status = update_node_status


def cycle_error(from_id: str, to_id: str, path: Iterable[str]) -> Result[bool]:
    """The refusal of an edge that would close a cycle."""
    text = f"{from_id!r} cannot come before {to_id!r}: that closes a cycle ({' → '.join(path)})"
    return coded(text, "dependency.cycle")


def _fails(record: Dependency) -> bool:
    return record.state == DependencyState.PENDING and record.dependency_type in FAILING


__all__ = ["DependencyGraph", "DependencyNode", "GraphNodeType"]
