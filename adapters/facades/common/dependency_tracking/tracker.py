"""What waits for what, over the graphs of all owners."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from adapters.facades.bridge.edges import edges_of
from application.app import Application
from common.core.base import Result
from common.core.enums import DependencyState, DependencyType, TransitionTrigger
from common.core.interfaces import DependencyTrackerInterface
from common.core.jobs import Dependency
from common.core.ranks import word_of
from common.dependency_tracking.digraph import DirectedGraph, circle, levels
from common.dependency_tracking.evaluators import Evaluator, Evaluators, Predicate
from common.dependency_tracking.graph import DependencyGraph, cycle_error
from common.dependency_tracking.graphbook import Kept, plain_graph, read_graph
from common.dependency_tracking.transitions import TransitionRule
from common.manager import Managed, coded, failed
from domain.dependency import find_path

Validator = Callable[[DependencyGraph, str, str, Any], str | None]


class DependencyTracker(Managed, DependencyTrackerInterface):
    """The graphs of all owners, rules between their jobs, and what people bypassed."""

    _what = "tracker"

    def __init__(
        self, *, graph_factory: Callable[[str], DependencyGraph] | None = None, app: Application | None = None
    ) -> None:
        super().__init__(app)
        self._make = graph_factory or DependencyGraph
        self._graph_book = self._book("graph")
        self._evaluators = Evaluators()
        self._validators: list[Validator] = []
        kept = self._shared(self._load)
        self.graphs: dict[str, DependencyGraph] = kept.graphs
        self.transition_rules: dict[str, list[TransitionRule]] = kept.rules
        self.manual_overrides: dict[str, set[tuple[str, str]]] = kept.overrides
        self.completion_times: dict[str, dict[str, datetime]] = kept.times

    # -- what is kept --------------------------------------------------------------------------------------------

    def _load(self) -> Kept:
        kept = Kept()
        for owner, values in self._graph_book.load().items():
            read_graph(kept, owner, values, self._make, self._ready)
        return kept

    def _ready(self, rule: TransitionRule) -> TransitionRule:
        rule.clock, rule.judge = self._desk.now, self._condition_holds
        return rule

    def _changed(self, owner_id: str) -> None:
        self._graph_book.touch(owner_id, lambda: self._plain(owner_id))
        self._desk.done()

    def _plain(self, owner_id: str) -> Mapping[str, Any] | None:
        graph = self.graphs.get(owner_id)
        edges = edges_of(self._desk)
        for record in () if graph is None else graph.dependencies.values():
            edges.see(record.from_id, record.to_id, word_of(record.state), self._what)
        return plain_graph(
            graph,
            self.transition_rules.get(owner_id, []),
            self.manual_overrides.get(owner_id, set()),
            self.completion_times.get(owner_id, {}),
        )

    @property
    def app(self) -> Application:
        """The application, with everything in it that was done so far, records that callers changed included."""
        for owner_id in self.graphs:
            self._graph_book.touch(owner_id, lambda owner_id=owner_id: self._plain(owner_id))  # type: ignore[misc]
        return self._desk.app

    # -- hooks ---------------------------------------------------------------------------------------------------

    def register_dependency_type(self, name: str, evaluator: Evaluator) -> None:
        """Makes `dependency_type=name` possible; the evaluator says what becomes of a pending record of that type."""
        self._evaluators.register_type(name, evaluator)

    def register_condition(self, name: str, predicate: Predicate) -> None:
        """Makes `condition=name` mean something."""
        self._evaluators.register_condition(name, predicate)

    def add_validator(self, fn: Validator) -> None:
        """Lets a function refuse edges by returning a text."""
        self._validators.append(fn)

    def _objection(self, graph: DependencyGraph, from_id: str, to_id: str, dependency_type: Any) -> str | None:
        for validator in self._validators:
            try:
                text = validator(graph, from_id, to_id, dependency_type)
            except Exception as error:  # noqa: BLE001 (a stranger's code: whatever it raises refuses)
                text = f"the check of {from_id!r} before {to_id!r} failed: {error}"
            if text:
                return text
        return None

    # -- graphs --------------------------------------------------------------------------------------------------

    def create_graph(self, owner_id: str) -> Result[DependencyGraph]:
        """T1: an empty graph for an owner who has none."""
        if owner_id in self.graphs:
            return Result.err(f"owner {owner_id!r} has a graph already")
        graph = self._make(owner_id)
        self._enter(owner_id, graph)
        return Result.ok(graph)

    def _enter(self, owner_id: str, graph: DependencyGraph) -> None:
        self.graphs[owner_id] = graph
        self.transition_rules.setdefault(owner_id, [])
        self.manual_overrides.setdefault(owner_id, set())
        self.completion_times.setdefault(owner_id, {})
        self._changed(owner_id)

    def get_graph(self, owner_id: str) -> DependencyGraph | None:
        """The graph of an owner."""
        return self.graphs.get(owner_id)

    def _no_graph(self, owner_id: str) -> Result[Any]:
        return coded(f"owner {owner_id!r} has no graph", "dependency.not-found")

    # -- dependencies --------------------------------------------------------------------------------------------

    def register_dependency(
        self,
        from_job_id: str,
        to_job_id: str,
        dependency_type: DependencyType | str = DependencyType.SEQUENTIAL,
        condition: str | None = None,
    ) -> Result[bool]:
        """T2: an edge in the graph that knows both jobs, or one of them, or in a new one."""
        ids = {from_job_id, to_job_id}
        owner_id = self._first_with(2, ids) or self._first_with(1, ids)
        if owner_id is not None:
            return self.add_dependency(owner_id, from_job_id, to_job_id, dependency_type, condition)
        number = len(self.graphs) + 1
        while f"graph-{number}" in self.graphs:
            number += 1
        graph = self._make(f"graph-{number}")
        added = self._add(graph, from_job_id, to_job_id, dependency_type, condition)
        if added:
            self._enter(graph.owner_id, graph)
        return added

    def _first_with(self, count: int, ids: set[str]) -> str | None:
        wanted = min(count, len(ids))
        return next((owner for owner, graph in self.graphs.items() if len(ids & graph.nodes.keys()) >= wanted), None)

    def add_dependency(
        self,
        owner_id: str,
        from_id: str,
        to_id: str,
        dependency_type: DependencyType | str = DependencyType.SEQUENTIAL,
        condition: str | None = None,
    ) -> Result[bool]:
        """T3: D2 on the graph of an owner."""
        graph = self.graphs.get(owner_id)
        if graph is None:
            return self._no_graph(owner_id)
        added = self._add(graph, from_id, to_id, dependency_type, condition)
        self._changed(owner_id)
        return added

    def _add(
        self, graph: DependencyGraph, from_id: str, to_id: str, dependency_type: Any, condition: str | None
    ) -> Result[bool]:
        """D2 with no cycle over any graphs, and nobody objecting; nothing is stored otherwise."""
        path = find_path(to_id, from_id, self._after_anywhere)
        if path is not None:
            return cycle_error(from_id, to_id, path)
        objection = self._objection(graph, from_id, to_id, dependency_type)
        if objection is not None:
            return Result.err(objection)
        return graph.add_dependency(from_id, to_id, dependency_type, condition)

    def _after_anywhere(self, node_id: str) -> list[str]:
        found = (graph.graph.successors(node_id) for graph in self.graphs.values() if node_id in graph.graph)
        return [after for successors in found for after in successors]

    def remove_dependency(self, owner_id: str, from_id: str, to_id: str) -> Result[bool]:
        """T3: D3 on the graph of an owner."""
        graph = self.graphs.get(owner_id)
        if graph is None:
            return self._no_graph(owner_id)
        removed = graph.remove_dependency(from_id, to_id)
        self._changed(owner_id)
        return removed

    def check_dependency(self, from_job_id: str, to_job_id: str) -> Result[bool]:
        """T4: whether the second need no longer wait for the first."""
        records = [graph.get_dependency(from_job_id, to_job_id) for graph in self.graphs.values()]
        known = next((record for record in records if record is not None), None)
        if known is None:
            return coded(f"there is no dependency from {from_job_id!r} to {to_job_id!r}", "dependency.not-found")
        return Result.ok(known.is_satisfied())

    def get_dependencies(self, job_id: str, as_source: bool = False) -> Result[list[Dependency]]:
        """T5: what a job waits for in any graph, or with `as_source` what waits for it."""
        found: list[Dependency] = []
        for graph in self.graphs.values():
            found += graph.get_dependencies_from(job_id) if as_source else graph.get_dependencies_to(job_id)
        return Result.ok(found)

    def get_dependencies_for(self, owner_id: str, node_id: str) -> list[Dependency]:
        """What a node waits for in the graph of an owner."""
        graph = self.graphs.get(owner_id)
        return [] if graph is None else graph.get_dependencies_to(node_id)

    def get_dependents_for(self, owner_id: str, node_id: str) -> list[Dependency]:
        """What waits for a node in the graph of an owner."""
        graph = self.graphs.get(owner_id)
        return [] if graph is None else graph.get_dependencies_from(node_id)

    def has_cycle(self) -> Result[list[str] | None]:
        """T6: the ids along a cycle over all graphs, the first repeated at the end; None if there is none."""
        whole = DirectedGraph()
        for graph in self.graphs.values():
            for node in graph.graph.nodes:
                whole.add_node(node)
            for before, after in graph.graph.edges:
                whole.add_edge(before, after)
        return Result.ok(circle(whole))

    def add_dynamic_dependency(
        self,
        owner_id: str,
        from_id: str,
        to_id: str,
        dependency_type: DependencyType | str = DependencyType.DATA,
        condition: str | None = None,
    ) -> Result[bool]:
        """T3 while things run."""
        return self.add_dependency(owner_id, from_id, to_id, dependency_type, condition)

    def bypass_dependency(self, owner_id: str, from_id: str, to_id: str) -> Result[bool]:
        """T10: the second need not wait for the first, whatever happens; an edge is declared for it if need be."""
        graph = self.graphs.get(owner_id)
        if graph is None:
            return self._no_graph(owner_id)
        if graph.get_dependency(from_id, to_id) is None:
            if from_id not in graph.nodes or to_id not in graph.nodes:
                return coded(f"there is no dependency from {from_id!r} to {to_id!r}", "dependency.not-found")
            added = self._add(graph, from_id, to_id, DependencyType.SEQUENTIAL, None)
            if not added:
                return added
        graph.bypass_dependency(from_id, to_id)
        self.manual_overrides.setdefault(owner_id, set()).add((from_id, to_id))
        self._changed(owner_id)
        return Result.ok(True)

    # -- rules ---------------------------------------------------------------------------------------------------

    def add_transition_rule(
        self,
        owner_id: str,
        from_id: str,
        to_id: str,
        trigger: TransitionTrigger = TransitionTrigger.AUTOMATIC,
        condition: str | None = None,
        delay_seconds: float = 0,
    ) -> Result[bool]:
        """T7: one rule for a pair, with an edge for it where the owner has a graph."""
        rules = self.transition_rules.setdefault(owner_id, [])
        if any((rule.from_id, rule.to_id) == (from_id, to_id) for rule in rules):
            return Result.err(f"there is a rule from {from_id!r} to {to_id!r} already")
        graph = self.graphs.get(owner_id)
        if graph is not None and not graph.has_edge(from_id, to_id):
            automatic = trigger == TransitionTrigger.AUTOMATIC
            kind = DependencyType.SEQUENTIAL if automatic else DependencyType.CONDITIONAL
            added = self._add(graph, from_id, to_id, kind, condition)
            if not added:
                return added
        rules.append(self._ready(TransitionRule(from_id, to_id, trigger, condition, delay_seconds)))
        self._changed(owner_id)
        return Result.ok(True)

    def remove_transition_rule(self, owner_id: str, from_id: str, to_id: str) -> Result[bool]:
        """Removes the rule of a pair; its edge stays."""
        rules = self.transition_rules.get(owner_id, [])
        for rule in rules:
            if (rule.from_id, rule.to_id) == (from_id, to_id):
                rules.remove(rule)
                self._changed(owner_id)
                return Result.ok(True)
        return Result.err(f"there is no rule from {from_id!r} to {to_id!r}")

    def _condition_holds(self, rule: TransitionRule, statuses: Mapping[str, Any]) -> bool:
        predicate = self._evaluators.conditions.get(rule.condition or "")
        if predicate is None:
            return False
        for graph in self.graphs.values():
            record = graph.get_dependency(rule.from_id, rule.to_id)
            if record is not None:
                return bool(predicate(record, statuses))
        return bool(predicate(Dependency(from_id=rule.from_id, to_id=rule.to_id), statuses))

    # -- statuses ------------------------------------------------------------------------------------------------

    def update_status(self, owner_id: str, node_id: str, status: Any) -> Result[list[str]]:
        """T8: notes a status; the ids of those that something changed for, in the order of discovery."""
        graph = self.graphs.get(owner_id)
        if graph is None:
            return self._no_graph(owner_id)
        states = {edge: record.state for edge, record in graph.dependencies.items()}
        before = graph.nodes[node_id].get("status") if node_id in graph.nodes else None
        done = self.completion_times.setdefault(owner_id, {})
        done_before = dict(done)
        try:
            affected = self._spread(owner_id, graph, node_id, status, done)
        except Exception as error:  # noqa: BLE001 (a stranger's evaluator: nothing may be half changed)
            self._take_back(graph, states, node_id, before)
            done.clear()
            done.update(done_before)
            return failed(error)
        self._changed(owner_id)
        return Result.ok(list(dict.fromkeys(affected)))

    def _spread(
        self, owner_id: str, graph: DependencyGraph, node_id: str, status: Any, done: dict[str, datetime]
    ) -> list[str]:
        now, judges = self._desk.now(), self._evaluators
        pending = [record for record in graph.dependencies.values() if record.state == DependencyState.PENDING]
        alone = [record for record in pending if judges.decides_alone(record)]
        affected = graph.update_node_status(node_id, status)
        for record in alone:
            if record.state != DependencyState.PENDING:
                record.state = DependencyState.PENDING
                affected.remove(record.to_id)
        if word_of(status) == "completed" and node_id in graph.nodes:
            done[node_id] = now
        statuses = {each: node.get("status", "pending") for each, node in graph.nodes.items()}
        for record in pending:
            if record.state == DependencyState.PENDING:
                record.state = judges.judge(record, graph, statuses, done, now)
                if record.state != DependencyState.PENDING:
                    affected.append(record.to_id)
        for rule in self.transition_rules.get(owner_id, ()):
            if rule.should_transition(statuses, done):
                affected.append(rule.to_id)
                waiting = graph.get_dependency(rule.from_id, rule.to_id)
                if waiting is not None and waiting.state == DependencyState.PENDING:
                    waiting.satisfy()
        return affected

    def _take_back(
        self, graph: DependencyGraph, states: Mapping[tuple[str, str], DependencyState], node_id: str, before: Any
    ) -> None:
        for edge, state in states.items():
            graph.dependencies[edge].state = state
        node = graph.nodes.get(node_id)
        if node is not None and before is None:
            node.pop("status", None)
        elif node is not None:
            node["status"] = before

    # -- questions -----------------------------------------------------------------------------------------------

    def is_ready_to_run(self, owner_id: str, node_id: str, completed: set[str]) -> bool:
        """T9: whether a known node waits for nothing."""
        graph = self.graphs.get(owner_id)
        return graph is not None and node_id in graph.nodes and graph.is_node_blocked(node_id, completed) is None

    def get_ready_jobs(self, owner_id: str, completed: set[str]) -> list[str]:
        """The nodes that wait for nothing and have not completed, in the order of the graph."""
        graph = self.graphs.get(owner_id)
        if graph is None:
            return []
        ready = graph.get_ready_nodes(completed)
        return [node for node in graph.nodes if node in ready]

    def get_blocking_jobs(self, owner_id: str, node_id: str, completed: set[str]) -> list[str]:
        """What a node still waits for."""
        graph = self.graphs.get(owner_id)
        return [] if graph is None else graph.is_node_blocked(node_id, completed) or []

    def get_critical_path(self, owner_id: str) -> list[str]:
        """D7 of the graph of an owner."""
        graph = self.graphs.get(owner_id)
        return [] if graph is None else graph.get_critical_path()

    def get_execution_plan(self, owner_id: str) -> Result[list[list[str]]]:
        """T11: the nodes step by step, each after everything that it waits for."""
        graph = self.graphs.get(owner_id)
        if graph is None:
            return self._no_graph(owner_id)
        ids = circle(graph.graph)
        if ids is not None:
            return coded(f"there is a cycle: {' → '.join(ids)}", "dependency.cycle")
        return Result.ok(levels(graph.graph))

    def validate(self, owner_id: str) -> list[str]:
        """D8 of the graph of an owner, and what validators object to in it."""
        graph = self.graphs.get(owner_id)
        if graph is None:
            return [f"owner {owner_id!r} has no graph"]
        records = list(graph.dependencies.values())
        objections = [self._objection(graph, each.from_id, each.to_id, each.dependency_type) for each in records]
        return [*graph.validate(), *(text for text in objections if text is not None)]

    # -- other names ---------------------------------------------------------------------------------------------

    create_dependency_graph = create_graph
    get_dependency_graph = get_graph
    update_stage_status = update_status
    validate_simulation = validate

    def is_stage_ready(self, owner_id: str, node_id: str, completed: set[str] | None = None) -> bool:
        """`is_ready_to_run`; without a set, nothing has completed."""
        return self.is_ready_to_run(owner_id, node_id, completed or set())

    def get_ready_stages(self, owner_id: str, completed: set[str] | None = None) -> list[str]:
        """`get_ready_jobs`; without a set, nothing has completed."""
        return self.get_ready_jobs(owner_id, completed or set())

    def get_blocking_stages(self, owner_id: str, node_id: str, completed: set[str] | None = None) -> list[str]:
        """`get_blocking_jobs`; without a set, nothing has completed."""
        return self.get_blocking_jobs(owner_id, node_id, completed or set())


__all__ = ["DependencyTracker", "TransitionRule", "TransitionTrigger"]
