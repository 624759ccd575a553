"""A directed graph of ids: nodes and edges in the order in which they came, as graph libraries offer them."""

from collections.abc import Hashable, Iterator
from typing import Any


class _Nodes(dict[Hashable, dict[str, Any]]):
    """Nodes with their attributes; called, the same once more."""

    def __call__(self, data: bool = False) -> Any:
        return list(self.items()) if data else self


class _Edges:
    """The edges; iterated or called, pairs in order."""

    def __init__(self, graph: "DirectedGraph") -> None:
        self._graph = graph

    def __call__(self, data: bool = False) -> Any:
        return [(*edge, self._graph.attributes[edge]) for edge in self] if data else self

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(list(self._graph.attributes))

    def __len__(self) -> int:
        return len(self._graph.attributes)

    def __contains__(self, edge: object) -> bool:
        return isinstance(edge, tuple) and tuple(edge[:2]) in self._graph.attributes

    def __getitem__(self, edge: tuple[Any, Any]) -> dict[str, Any]:
        return self._graph.attributes[edge]


class _Degrees:
    """How many edges a node has on one side; called with a node, or indexed by it."""

    def __init__(self, table: dict[Any, dict[Any, None]]) -> None:
        self._table = table

    def __call__(self, node: Any = None) -> Any:
        return list(self) if node is None else len(self._table[node])

    def __getitem__(self, node: Any) -> int:
        return len(self._table[node])

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        return ((node, len(others)) for node, others in self._table.items())


class DirectedGraph:
    """Nodes, and edges between them; adding an edge adds its nodes."""

    def __init__(self) -> None:
        self.nodes = _Nodes()
        self.attributes: dict[tuple[Any, Any], dict[str, Any]] = {}
        """By edge."""
        self._after: dict[Any, dict[Any, None]] = {}
        self._before: dict[Any, dict[Any, None]] = {}
        self.edges = _Edges(self)
        self.out_degree, self.in_degree = _Degrees(self._after), _Degrees(self._before)

    def add_node(self, node: Any, **attributes: Any) -> None:
        """Adds a node, or attributes to it."""
        if node not in self.nodes:
            self.nodes[node] = {}
            self._after[node], self._before[node] = {}, {}
        self.nodes[node].update(attributes)

    def add_edge(self, before: Any, after: Any, **attributes: Any) -> None:
        """Adds an edge, whatever circle it closes."""
        self.add_node(before)
        self.add_node(after)
        self._after[before][after] = None
        self._before[after][before] = None
        self.attributes.setdefault((before, after), {}).update(attributes)

    def remove_edge(self, before: Any, after: Any) -> None:
        """Removes an edge; KeyError if there is none."""
        del self.attributes[before, after]
        del self._after[before][after]
        del self._before[after][before]

    def has_node(self, node: Any) -> bool:
        """Whether there is such a node."""
        return node in self.nodes

    def has_edge(self, before: Any, after: Any) -> bool:
        """Whether there is such an edge."""
        return (before, after) in self.attributes

    def successors(self, node: Any) -> Iterator[Any]:
        """The ends of edges out of a node, in order."""
        return iter(list(self._after[node]))

    def predecessors(self, node: Any) -> Iterator[Any]:
        """The beginnings of edges into a node, in order."""
        return iter(list(self._before[node]))

    def number_of_nodes(self) -> int:
        """How many nodes there are."""
        return len(self.nodes)

    def number_of_edges(self) -> int:
        """How many edges there are."""
        return len(self.attributes)

    def __contains__(self, node: object) -> bool:
        return node in self.nodes

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.nodes)


def levels(graph: DirectedGraph) -> list[list[str]]:
    """Nodes step by step, each after all its predecessors; those on a circle, or behind one, are left out."""
    missing = {node: graph.in_degree(node) for node in graph.nodes}
    steps: list[list[str]] = []
    step = [node for node, count in missing.items() if not count]
    order = {node: at for at, node in enumerate(graph.nodes)}
    while step:
        steps.append([str(node) for node in step])
        following: list[Any] = []
        for node in step:
            for after in graph.successors(node):
                missing[after] -= 1
                if not missing[after]:
                    following.append(after)
        step = sorted(following, key=order.__getitem__)
    return steps


def circle(graph: DirectedGraph) -> list[str] | None:
    """The nodes of one circle, the first repeated at the end; None if there is none."""
    done: set[Any] = set()
    for start in graph.nodes:
        path: dict[Any, Iterator[Any]] = {}
        if start not in done:
            path[start] = graph.successors(start)
        while path:
            node = next(reversed(path))
            after = next(path[node], None)
            if after is None:
                done.add(node)
                del path[node]
            elif after in path:
                nodes = list(path)
                return [str(each) for each in (*nodes[nodes.index(after) :], after)]
            elif after not in done:
                path[after] = graph.successors(after)
    return None
