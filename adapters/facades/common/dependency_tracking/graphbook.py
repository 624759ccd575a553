"""A graph with its rules as plain values, one name for each node and edge, and made again from them."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from common.core.enums import DependencyState, GraphNodeType
from common.core.ranks import word_of
from common.dependency_tracking.graph import DependencyGraph
from common.dependency_tracking.transitions import TransitionRule
from common.plain import from_plain, to_plain


class Kept:
    """Everything that trackers of one application have in common."""

    def __init__(self) -> None:
        self.graphs: dict[str, DependencyGraph] = {}
        self.rules: dict[str, list[TransitionRule]] = {}
        self.overrides: dict[str, set[tuple[str, str]]] = {}
        self.times: dict[str, dict[str, datetime]] = {}


def plain_graph(
    graph: DependencyGraph | None,
    rules: Iterable[TransitionRule],
    overrides: Iterable[tuple[str, str]],
    done: Mapping[str, datetime],
) -> dict[str, Any]:
    """All of it by name."""
    values: dict[str, Any] = {"graph": graph is not None}
    if graph is not None:
        values |= {f"node {node_id}": to_plain(node) for node_id, node in graph.nodes.items()}
        values |= {f"edge {_pair(*edge)}": _plain_edge(record) for edge, record in graph.dependencies.items()}
    values |= {f"rule {_pair(rule.from_id, rule.to_id)}": _plain_rule(rule) for rule in rules}
    values |= {f"override {_pair(*pair)}": True for pair in sorted(overrides)}
    values |= {f"completed {node_id}": at.isoformat() for node_id, at in done.items()}
    return values


def _pair(before: str, after: str) -> str:
    return json.dumps([before, after])


def _plain_edge(record: Any) -> list[Any]:
    return [word_of(record.dependency_type), word_of(record.state), record.condition]


def _plain_rule(rule: TransitionRule) -> list[Any]:
    return [rule.trigger.value, rule.condition, rule.delay_seconds, rule.enabled]


def read_graph(
    kept: Kept,
    owner_id: str,
    values: Mapping[str, Any],
    make: Callable[[str], DependencyGraph],
    ready: Callable[[TransitionRule], TransitionRule],
) -> None:
    """Puts what was recorded of one owner back."""
    rules, overrides = kept.rules.setdefault(owner_id, []), kept.overrides.setdefault(owner_id, set())
    done = kept.times.setdefault(owner_id, {})
    if values.get("graph"):
        kept.graphs[owner_id] = _read_nodes_and_edges(make(owner_id), values)
    for name, value in values.items():
        sort, _, rest = name.partition(" ")
        if sort == "rule":
            rule = TransitionRule(*json.loads(rest), *value[:3])
            rule.enabled = value[3]
            rules.append(ready(rule))
        elif sort == "override":
            before, after = json.loads(rest)
            overrides.add((before, after))
        elif sort == "completed":
            done[rest] = datetime.fromisoformat(value)


def _read_nodes_and_edges(graph: DependencyGraph, values: Mapping[str, Any]) -> DependencyGraph:
    edges = []
    for name, value in values.items():
        sort, _, rest = name.partition(" ")
        if sort == "node":
            metadata = from_plain(value)
            graph.add_node(rest, GraphNodeType(metadata["type"]), metadata)
        elif sort == "edge":
            edges.append((*json.loads(rest), *value))
    for before, after, kind, state, condition in edges:
        graph.add_dependency(before, after, kind, condition)
        graph.update_dependency_state(before, after, DependencyState(state))
    return graph
