"""How the events of workflows, dependencies and cycles change the rows of the queue view."""

from domain import dependency as d
from domain import workflow as w
from domain.cycle import CycleDecided
from domain.decisions import Blocked
from domain.dependency import DependencyState
from domain.messages import Event, Recorded
from domain.planning.blockers import behind
from projections.projection import Handler
from projections.queue.rows import HEAD, DependencyRow, QueueFold


def _workflow_submitted(fold: QueueFold, event: w.WorkflowSubmitted, recorded: Recorded) -> None:
    row = fold.workflow(event.workflow_id, recorded)
    row.name, row.client_id = event.name, event.client_id


def _workflow_grew(fold: QueueFold, event: w.WorkflowJobAdded, recorded: Recorded) -> None:
    fold.workflow(event.workflow_id, recorded)


def _workflow_reopened(fold: QueueFold, event: w.WorkflowReopened, recorded: Recorded) -> None:
    row = fold.workflow(event.workflow_id, recorded)
    row.ended_ms, row.why, row.archived = None, "", False


def _workflow_ended(fold: QueueFold, event: w.WorkflowEvent, recorded: Recorded) -> None:
    row = fold.workflow(event.workflow_id, recorded)
    row.status, row.ended_ms = _WORKFLOW_END[type(event)], event.at_ms
    row.why = event.why if isinstance(event, w.WorkflowCancelled) else ""


def _workflow_archived(fold: QueueFold, event: w.WorkflowArchived, recorded: Recorded) -> None:
    fold.workflow(event.workflow_id, recorded).archived = True


_WORKFLOW_END: dict[type[Event], str] = {
    w.WorkflowCompleted: "completed",
    w.WorkflowFailed: "failed",
    w.WorkflowCancelled: "cancelled",
}


def _declared(fold: QueueFold, event: d.DependencyDeclared, recorded: Recorded) -> None:
    ids = (event.dependency_id, event.predecessor_id, event.successor_id)
    row = DependencyRow(recorded.position, *ids, event.type.value, DependencyState.PENDING.value)
    fold.edges.add(event.dependency_id, row)


def _edge_moved(fold: QueueFold, event: d.DependencyEvent, recorded: Recorded) -> None:
    row = fold.edges.get(event.dependency_id, fold.connection)
    row.state, row.why = _EDGE_STATE[type(event)].value, getattr(event, "why", "")


_EDGE_STATE: dict[type[Event], DependencyState] = {
    d.DependencySatisfied: DependencyState.SATISFIED,
    d.DependencyFailed: DependencyState.FAILED,
    d.DependencyBypassed: DependencyState.BYPASSED,
    d.DependencyReopened: DependencyState.PENDING,
}


def _decided(fold: QueueFold, event: CycleDecided, recorded: Recorded) -> None:
    if event.keyframe:
        fold.keyframe = True
        fold.blocked = {HEAD: fold.blocked[HEAD]} if HEAD in fold.blocked else {}
    for segment in event.cleared:
        fold.blocked[segment] = None
    for blocked in event.blocked:
        fold.blocked[blocked.segment] = (blocked, event.at_ms)
    if event.reserved is not None:
        reasons = tuple([behind(head.job_id, head.start_ms) for head in event.reserved[:1]])
        fold.blocked[HEAD] = (Blocked(HEAD, reasons), event.at_ms) if reasons else None


HANDLERS: dict[type[Event], Handler] = {
    w.WorkflowSubmitted: _workflow_submitted,
    w.WorkflowJobAdded: _workflow_grew,
    w.WorkflowCompleted: _workflow_ended,
    w.WorkflowFailed: _workflow_ended,
    w.WorkflowCancelled: _workflow_ended,
    w.WorkflowReopened: _workflow_reopened,
    w.WorkflowArchived: _workflow_archived,
    d.DependencyDeclared: _declared,
    d.DependencySatisfied: _edge_moved,
    d.DependencyFailed: _edge_moved,
    d.DependencyBypassed: _edge_moved,
    d.DependencyReopened: _edge_moved,
    CycleDecided: _decided,
}
