"""Commands that concern more than one stream, and their handlers.

Everything else goes straight to its aggregate (`decider.ROUTES`). A handler stages on the batch; all of it is one
transaction, and a rule that spans streams names the topics that nobody may have written meanwhile (`batch.guards`).
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from application import partitions, reservations
from application.consequences import ENDINGS, lose_attempts_on, may_be_queued
from application.decider import CHECKPOINT, JOB, Batch, encode_snapshot
from application.undo import Undo, undo
from domain import errors
from domain.checkpoint import CheckpointType, TakeCheckpoint
from domain.client import ChangeShares, ClientRegistered, ClientSharesChanged, ClientSuspended, RegisterClient
from domain.cycle import POLICY_STREAM, Evidence, PoliciesAdopted
from domain.decisions import Reason, ReasonCode
from domain.dependency import DeclareDependency, DependencyDeclared, FailDependency, SatisfyDependency, find_path
from domain.job.commands import NoteCheckpoint, QueueJob, SubmitJob, UnqueueJob
from domain.job.events import TasksPlaced
from domain.job.values import JobSpec, JobStatus
from domain.messages import CheckpointId, ClientId, Command, JobId, Meta, WorkflowId, topic_of
from domain.node import LoseNode, StopNode
from domain.partition import ChangePartition, DefinePartition, RemovePartition
from domain.planning import blockers
from domain.policies import Policies
from domain.resources import Requirement
from domain.wording import amount, listed, need_text
from domain.workflow import AddWorkflowJob, SubmitWorkflow

DEFAULT_CLIENT: ClientId = "default"
"""Owns what is submitted without a client; the one client that makes itself."""


class Submit(Command, frozen=True, kw_only=True, tag="submit"):
    """Enter jobs, with the workflow they form (if they do) and the dependencies between them, all or nothing."""

    jobs: tuple[SubmitJob, ...]
    workflow_id: WorkflowId | None = None
    workflow_name: str = ""
    dependencies: tuple[tuple[JobId, JobId], ...] = ()
    """(predecessor, successor); a predecessor may also be a job of long ago."""


class RecordCheckpoint(Command, frozen=True, kw_only=True, tag="record-checkpoint"):
    """A live attempt saved its state: remember the artefact and the job as it stands, together."""

    checkpoint_id: CheckpointId
    job_id: JobId
    attempt: int
    location: str
    size_bytes: int
    sha256: str
    progress: int = 0


class AdoptPolicies(Command, frozen=True, kw_only=True, tag="adopt-policies"):
    """Let cycles follow these policies from now on."""

    policies: Policies
    evidence: tuple[Evidence, ...] = ()
    """What speaks for them, where it was measured."""
    why: str = ""


def submit(batch: Batch, command: Submit, meta: Meta) -> None:
    """Jobs of a known client that is not suspended, on nodes that could ever hold them, in an acyclic graph.

    All belong to the workflow that is submitted with them; a job submitted later by itself lets its workflow grow.
    """
    edges = list(command.dependencies)
    edges += [(before, each.spec.job_id) for each in command.jobs for before in each.after]
    waiting = {after for _, after in edges}
    if command.workflow_id is not None:
        jobs = tuple(each.spec.job_id for each in command.jobs)
        client_id = command.jobs[0].spec.client_id if command.jobs else DEFAULT_CLIENT
        batch.do(
            SubmitWorkflow(workflow_id=command.workflow_id, name=command.workflow_name, client_id=client_id, jobs=jobs),
            meta,
        )
    for each in command.jobs:
        _join_workflow(batch, command.workflow_id, each.spec, meta)
        waits = not each.after and each.spec.job_id in waiting
        _enter(batch, SubmitJob(spec=each.spec, held=each.held, after=("",)) if waits else each, meta)
    for before, after_id in edges:
        declare(batch, DeclareDependency(predecessor_id=before, successor_id=after_id), meta)


def submit_one(batch: Batch, command: SubmitJob, meta: Meta) -> None:
    """One job without a workflow: the same rules."""
    if command.after:
        submit(batch, Submit(jobs=(command,)), meta)
    else:
        _join_workflow(batch, None, command.spec, meta)
        _enter(batch, command, meta)


def _enter(batch: Batch, command: SubmitJob, meta: Meta) -> None:
    _check_client(batch, command.spec.client_id, meta)
    command = partitions.admitted(batch, command)
    check_possible(batch, command)
    batch.do(command, meta)


def _join_workflow(batch: Batch, workflow_id: WorkflowId | None, spec: JobSpec, meta: Meta) -> None:
    if workflow_id is not None and spec.workflow_id != workflow_id:
        problem = f"job {spec.job_id!r} says that it belongs to {spec.workflow_id or 'none'}"
        raise errors.WorkflowInvalid(workflow_id=workflow_id, problem=problem)
    if workflow_id is None and spec.workflow_id is not None:
        batch.do(AddWorkflowJob(workflow_id=spec.workflow_id, job_id=spec.job_id), meta)


_SUSPENDED = topic_of(ClientSuspended)


def _check_client(batch: Batch, client_id: ClientId, meta: Meta) -> None:
    batch.guards.add(_SUSPENDED)
    known = batch.client(client_id)
    if known is None:
        if client_id != DEFAULT_CLIENT:
            raise errors.ClientNotFound(client_id=client_id)
        batch.do(RegisterClient(client_id=DEFAULT_CLIENT), meta)
    elif known.suspended:
        raise errors.ClientSuspended(client_id=client_id)


def check_possible(batch: Batch, command: SubmitJob) -> None:
    """RequirementImpossible if nodes are registered and none of them could ever hold a task of this job."""
    spec = command.spec
    reasons = blockers.impossible(batch.farm.index, spec.requirement)
    if reasons:
        problem = "; ".join(dict.fromkeys(_impossible(batch, spec.requirement, reason) for reason in reasons))
        if spec.workflow_id is not None:
            problem = f"job {spec.name!r}: {problem}"
        raise errors.RequirementImpossible(problem=problem, job=spec.name)


def _impossible(batch: Batch, requirement: Requirement, reason: Reason) -> str:
    """One blocker as the end of a refusal: what is missing on the best node, or how small the farm is for a gang."""
    if reason.code is ReasonCode.PARTITION_EMPTY:
        return f"partition {reason.entity} has no node that could hold it"
    if reason.resource:
        needed, available = amount(reason.resource, reason.needed), amount(reason.resource, reason.available)
        if reason.node_id:
            return f"it needs {needed}, the best node has {available}"
        return f"it needs {needed}, the farm has {reason.available} that could hold it"
    need = next(need for need in requirement.attributes if need.name == reason.entity)
    return f"it needs a node with {need_text(need)}; {_attribute_of_nodes(batch, need.name)}"


def _attribute_of_nodes(batch: Batch, name: str) -> str:
    """The values that an attribute has on this farm."""
    nodes = [node for node in batch.farm.nodes.values() if not node.retired]
    found = sorted({value for node in nodes for value in node.attributes.get(name, ())})
    if found:
        return f"nodes have {listed(found)}"
    known = sorted({name for node in nodes for name in node.attributes})
    return f"no node has that attribute; they have {listed(known) or 'none'}"


def declare(batch: Batch, command: DeclareDependency, meta: Meta) -> None:
    """An edge between known jobs that closes no cycle; one on a job that has ended is settled at once.

    A successor that is queued already leaves the queue again; what of it runs goes on.
    """
    predecessor = batch.job(command.predecessor_id)
    successor = batch.job(command.successor_id)
    for job_id, known in ((command.predecessor_id, predecessor), (command.successor_id, successor)):
        if known is None:
            raise errors.JobNotFound(job_id=job_id)
    assert predecessor is not None
    assert successor is not None
    if successor.ended is not None:
        raise errors.JobEnded(job_id=command.successor_id, status=successor.ended, verb="a new dependency")
    path = find_path(
        command.successor_id,
        command.predecessor_id,
        lambda job_id: [edge.successor_id for edge in batch.edges_from(job_id)],
    )
    if path is not None:
        raise errors.DependencyCycle(
            predecessor_id=command.predecessor_id, successor_id=command.successor_id, path=" → ".join(path)
        )
    batch.guards |= ENDINGS | {topic_of(DependencyDeclared)}
    if batch.do(command, meta):
        batch.declared(command)
        _settle(batch, command, predecessor.ended, meta)
        if predecessor.ended is not JobStatus.COMPLETED:
            why = f"it waits for {command.predecessor_id}"
            batch.do(UnqueueJob(job_id=command.successor_id, why=why), meta)


def _settle(batch: Batch, command: DeclareDependency, ended: JobStatus | None, meta: Meta) -> None:
    if ended is JobStatus.COMPLETED:
        batch.do(SatisfyDependency(dependency_id=command.dependency_id), meta)
    elif ended is not None:
        batch.do(FailDependency(dependency_id=command.dependency_id, why=str(ended)), meta)


def queue(batch: Batch, command: QueueJob, meta: Meta) -> None:
    """A job is queued when its start time has come and no dependency stands before it; else nothing happens."""
    job = batch.job(command.job_id)
    if job is None or may_be_queued(batch, job):
        batch.do(command, meta)


def lose_node(batch: Batch, command: LoseNode, meta: Meta) -> None:
    """A node is given up with its attempts, also when it is offline already because its maintenance has just ended."""
    if not batch.do(command, meta):
        batch.guards.add(topic_of(TasksPlaced))
        for lost in list(lose_attempts_on(batch, command.node_id)):
            batch.do(lost, meta)


def stop_node(batch: Batch, command: StopNode, meta: Meta) -> None:
    """A node on which nothing runs is powered down."""
    batch.guards.add(topic_of(TasksPlaced))
    if batch.farm.placed.get(command.node_id):
        raise errors.NodeStateForbids(node_id=command.node_id, status="in use", verb="stop-node")
    batch.do(command, meta)


def record_checkpoint(batch: Batch, command: RecordCheckpoint, meta: Meta) -> None:
    """The checkpoint, the job's note of it, and a snapshot of the job, in one transaction; each checkpoint once."""
    if batch.load(CHECKPOINT, command.checkpoint_id).state is not None:
        return
    job = batch.job(command.job_id)
    if job is None or command.attempt not in job.live:
        raise errors.AttemptNotFound(job_id=command.job_id, attempt=command.attempt)
    note = NoteCheckpoint(
        job_id=command.job_id,
        attempt=command.attempt,
        checkpoint_id=command.checkpoint_id,
        location=command.location,
        progress=command.progress,
    )
    batch.do(note, meta)
    version, state = batch.load(JOB, command.job_id)
    batch.snapshots.append(encode_snapshot(JOB, command.job_id, version, state))
    batch.do(
        TakeCheckpoint(
            checkpoint_id=command.checkpoint_id,
            job_id=command.job_id,
            task=job.live[command.attempt].task,
            attempt=command.attempt,
            location=command.location,
            size_bytes=command.size_bytes,
            sha256=command.sha256,
            progress=command.progress,
            job_version=version,
            position=batch.farm.position,
            type=CheckpointType.FULL,
        ),
        meta,
    )


def adopt(batch: Batch, command: AdoptPolicies, meta: Meta) -> None:
    """Policies are adopted when they are known and their parameters fit; the same ones again change nothing.

    Their version is the number of the set on this farm, whatever the command says; number 1 was there at the start.
    """
    command.policies.check()
    present = batch.farm.policies
    if replace(command.policies, version=present.version) != present:
        policies = replace(command.policies, version=present.version + 1)
        adopted = PoliciesAdopted(at_ms=batch.now_ms, policies=policies, evidence=command.evidence, why=command.why)
        batch.record(POLICY_STREAM, adopted, meta)


_SHARES = frozenset({topic_of(ClientRegistered), topic_of(ClientSharesChanged)})


def share(batch: Batch, command: RegisterClient | ChangeShares, meta: Meta) -> None:
    """A client gets its shares, unless all guarantees together would be more than the farm: GuaranteesExceeded."""
    if not batch.do(command, meta) or not command.shares.guarantee_percent:
        return
    batch.guards |= _SHARES
    staged = [stream.removeprefix("client:") for stream in batch.streams if stream.startswith("client:")]
    known = {client_id: batch.client(client_id) for client_id in sorted({*batch.farm.clients, *staged})}
    held = {client_id: client.shares.guarantee_percent for client_id, client in known.items() if client is not None}
    total = sum(held.values())
    if total > 100:
        percent = held.pop(command.client_id)
        others = ", ".join(f"{client_id} has {share} %" for client_id, share in held.items() if share)
        raise errors.GuaranteesExceeded(client_id=command.client_id, percent=percent, total=total, others=others)


def take_back(batch: Batch, command: Undo, meta: Meta) -> None:
    """What a command changed is changed back by commands that are carried out like all others."""
    undo(batch, command, meta, carry_out, lambda policies: AdoptPolicies(policies=policies))


def carry_out(batch: Batch, command: Command, meta: Meta) -> None:
    """Stages one command, whoever has to decide it."""
    HANDLERS.get(type(command), Batch.do)(batch, command, meta)


HANDLERS: dict[type[Command], Callable[[Batch, Any, Meta], None]] = {
    Submit: submit,
    SubmitJob: submit_one,
    DeclareDependency: declare,
    QueueJob: queue,
    RegisterClient: share,
    ChangeShares: share,
    LoseNode: lose_node,
    StopNode: stop_node,
    RecordCheckpoint: record_checkpoint,
    AdoptPolicies: adopt,
    Undo: take_back,
    DefinePartition: partitions.set_terms,
    ChangePartition: partitions.set_terms,
    RemovePartition: partitions.remove,
    **reservations.HANDLERS,
}
