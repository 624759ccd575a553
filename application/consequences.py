"""What follows from an event in the same transaction: edges, queueing, workflows, and attempts of a lost node.

Because the consequences are part of the commit, a crash can never leave a completed job with a successor that still
waits. Each function takes the batch and one staged event and says which commands follow.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, get_args

from application import reservations
from application.decider import JOB, WORKFLOW, Batch
from domain import node
from domain.dependency import (
    DependencyBypassed,
    DependencyEvent,
    DependencyReopened,
    DependencySatisfied,
    DependencyState,
    FailDependency,
    ReopenDependency,
    SatisfyDependency,
)
from domain.job import commands as c
from domain.job import events as e
from domain.job.values import Job, JobStatus, StopCause
from domain.messages import Command, Event, JobId, Meta, NodeId, WorkflowId, topic_of
from domain.workflow import EndWorkflow, ReopenWorkflow, Workflow

Commands = Iterator[Command]


def follow(batch: Batch, start: int, meta: Meta) -> None:
    """Decides the consequences of the events staged from `start` on, and theirs, until nothing follows."""
    at, events = start, batch.events
    while at < len(events):
        _, stream, version, event, _ = events[at]
        react = _REACTIONS.get(type(event))
        if react is not None:
            batch.guards |= _GUARDS[type(event)]
            following = list(react(batch, event))
            if following:
                caused = Meta(meta.actor, meta.command_id, f"{stream}@{version}", meta.cycle)
                for command in following:
                    batch.do(command, caused)
        at += 1


def _completed(batch: Batch, event: e.JobCompleted) -> Commands:
    for edge in batch.edges_from(event.job_id):
        yield SatisfyDependency(dependency_id=edge.dependency_id)
    yield from _job_ended(batch, event.job_id)


def _did_not_complete(batch: Batch, event: e.JobFailed | e.JobCancelled) -> Commands:
    why = "failed" if isinstance(event, e.JobFailed) else "cancelled"
    for edge in batch.edges_from(event.job_id):
        yield FailDependency(dependency_id=edge.dependency_id, why=why)
    yield from _job_ended(batch, event.job_id)


def _unblocked(batch: Batch, event: DependencySatisfied | DependencyBypassed) -> Commands:
    successor = batch.job(event.successor_id)
    if successor is not None and may_be_queued(batch, successor):
        yield c.QueueJob(job_id=event.successor_id)


def may_be_queued(batch: Batch, job: Job) -> bool:
    """Whether no dependency stands before a job and its start time has come."""
    if any(edge.blocks for edge in batch.edges_into(job.spec.job_id)):
        return False
    return job.spec.not_before_ms is None or job.spec.not_before_ms <= batch.now_ms


def _reopened(batch: Batch, event: DependencyReopened) -> Commands:
    yield c.UnqueueJob(job_id=event.successor_id, why=f"{event.predecessor_id} runs again")


def _retried(batch: Batch, event: e.JobRetried) -> Commands:
    """Its successors wait again; it waits itself, or is queued, as its own predecessors stand by now."""
    for edge in batch.edges_from(event.job_id):
        yield ReopenDependency(dependency_id=edge.dependency_id)
    blocking = [edge for edge in batch.edges_into(event.job_id) if edge.blocks]
    if blocking:
        yield c.UnqueueJob(job_id=event.job_id, why=f"it waits for {blocking[0].predecessor_id}")
    elif may_be_queued(batch, event.job):
        yield c.QueueJob(job_id=event.job_id)
    yield from _workflow_goes_on(batch, event.job)


def _queued(batch: Batch, event: e.JobQueued) -> Commands:
    queued = batch.job(event.job_id)
    if queued is not None:
        yield from _workflow_goes_on(batch, queued)


def _workflow_goes_on(batch: Batch, going: Job) -> Commands:
    """A job that can run again opens its workflow again, should that have ended."""
    workflow_id = going.spec.workflow_id
    if workflow_id is None:
        return
    workflow = batch.load(WORKFLOW, workflow_id).state
    if workflow is None or workflow.ended is None:
        return
    states = {job_id: batch.job(job_id) for job_id in workflow.jobs}
    outcomes = {job_id: state.ended for job_id, state in states.items() if state and state.ended}
    yield ReopenWorkflow(workflow_id=workflow_id, job_id=going.spec.job_id, outcomes=outcomes)


def _job_ended(batch: Batch, job_id: JobId) -> Commands:
    """Ends the workflow with its last job, or when what is left of it can never go on.

    All jobs are looked at only when it may really be the end: the counts of the workflow say so at nearly every other.
    """
    ended = batch.load(JOB, job_id).state
    workflow_id = ended.spec.workflow_id
    if workflow_id is None or _surely_goes_on(batch, ended, workflow_id):
        return
    workflow = batch.load(WORKFLOW, workflow_id).state
    if workflow is None or workflow.ended is not None or _someone_can_go_on(batch, workflow):
        return
    outcomes = batch.ended_jobs(workflow)
    left = [other for other in workflow.jobs if other not in outcomes]
    if left and (_outcome(outcomes) is JobStatus.COMPLETED or not _all_stuck(batch, left)):
        return
    failed = tuple(other for other in workflow.jobs if outcomes.get(other) is JobStatus.FAILED)
    yield EndWorkflow(workflow_id=workflow_id, outcome=_outcome(outcomes), failed=failed)


def _outcome(outcomes: dict[JobId, JobStatus]) -> JobStatus:
    for status in (JobStatus.FAILED, JobStatus.CANCELLED):
        if status in outcomes.values():
            return status
    return JobStatus.COMPLETED


def _surely_goes_on(batch: Batch, ended: Job, workflow_id: WorkflowId) -> bool:
    """Whether no look at the other jobs is needed to see that this end is not the workflow's, or that it has ended."""
    tally = batch.tally(workflow_id)
    if tally is None:
        return ended.spec.job_id in batch.farm.jobs  # who knows the job also knows its workflow, while that lives
    return tally.left > 0 and (tally.going > 0 or tally.bad == 0 or _lets_one_go_on(batch, ended))


def _lets_one_go_on(batch: Batch, ended: Job) -> bool:
    """Whether a job of the same workflow waits for nothing else than this one, which has completed."""
    if ended.ended is not JobStatus.COMPLETED:
        return False
    job_id, workflow_id = ended.spec.job_id, ended.spec.workflow_id
    for successor_id in (edge.successor_id for edge in batch.edges_from(job_id) if edge.blocks):
        successor = batch.present_job(successor_id)
        if successor is not None and successor.ended is None and successor.spec.workflow_id == workflow_id:
            edges = batch.edges_into(successor_id)
            if all(edge.predecessor_id == job_id for edge in edges if edge.blocks):
                return True
    return False


def _someone_can_go_on(batch: Batch, workflow: Workflow) -> bool:
    """Whether a job is found that runs or waits for no other; looks first where the last one was found."""
    jobs, scouts = workflow.jobs, batch.farm.scouts
    first = min(scouts.get(workflow.workflow_id, 0), len(jobs))
    for at in chain(range(first, len(jobs)), range(first)):
        state = batch.present_job(jobs[at])
        if state is not None and state.ended is None and _can_go_on(batch, state):
            scouts[workflow.workflow_id] = at
            return True
    return False


def _can_go_on(batch: Batch, job: Job) -> bool:
    return bool(job.live) or not any(edge.blocks for edge in batch.edges_into(job.spec.job_id))


def _all_stuck(batch: Batch, left: list[JobId]) -> bool:
    """Whether each of these jobs, none of which runs, waits, directly or not, for one that did not complete.

    O(jobs and edges): who waits for a stuck job is stuck.
    """
    stuck = [job_id for job_id in left if _waits_in_vain(batch, job_id)]
    others = set(left).difference(stuck)
    while stuck:
        for edge in batch.edges_from(stuck.pop()):
            if edge.blocks and edge.successor_id in others:
                others.remove(edge.successor_id)
                stuck.append(edge.successor_id)
    return not others


def _waits_in_vain(batch: Batch, job_id: JobId) -> bool:
    return any(
        edge.state is DependencyState.FAILED or _ended_badly(batch, edge.predecessor_id)
        for edge in batch.edges_into(job_id)
        if edge.blocks
    )


def _ended_badly(batch: Batch, job_id: JobId) -> bool:
    state = batch.job(job_id)
    return state is not None and state.ended in (JobStatus.FAILED, JobStatus.CANCELLED)


def _node_went(batch: Batch, event: node.NodeLost | node.NodeOffline) -> Commands:
    yield from lose_attempts_on(batch, event.node_id)


def lose_attempts_on(batch: Batch, node_id: NodeId) -> Commands:
    """With a node go the attempts that it hosts; a gang that only had slots there is stopped where it still runs."""
    hosted: dict[JobId, list[int]] = {}
    broken: dict[JobId, list[int]] = {}
    for job_id, number in batch.farm.attempts_on(node_id):
        host = batch.farm.jobs[job_id].live[number].nodes[0][0]
        (hosted if host == node_id else broken).setdefault(job_id, []).append(number)
    for job_id, numbers in sorted(hosted.items()):
        yield c.LoseAttempts(job_id=job_id, node_id=node_id, attempts=tuple(numbers))
    for job_id, numbers in sorted(broken.items()):
        yield c.StopAttempts(job_id=job_id, attempts=tuple(numbers), cause=StopCause.GANG_BROKEN)


_REACTIONS: dict[type[Event], Callable[[Batch, Any], Commands]] = {
    e.JobCompleted: _completed,
    e.JobFailed: _did_not_complete,
    e.JobCancelled: _did_not_complete,
    e.JobRetried: _retried,
    e.JobQueued: _queued,
    DependencySatisfied: _unblocked,
    DependencyBypassed: _unblocked,
    DependencyReopened: _reopened,
    node.NodeLost: _node_went,
    node.NodeOffline: _node_went,
    **reservations.REACTIONS,
}

ENDINGS = frozenset(topic_of(kind) for kind in (e.JobCompleted, e.JobFailed, e.JobCancelled, e.JobRetried))
"""When one of these is written, a job stands elsewhere than before in all that depends on it."""
_EDGES = frozenset(topic_of(kind) for kind in get_args(DependencyEvent))
_GUARDS: dict[type[Event], frozenset[str]] = {
    kind: frozenset({topic_of(e.TasksPlaced)}) if react is _node_went else ENDINGS | _EDGES
    for kind, react in _REACTIONS.items()
} | reservations.GUARDS
"""What no other process may have written meanwhile, because the consequences were decided without it."""
