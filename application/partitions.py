"""Commands about partitions that concern more than one stream, and what a partition says to a job that is submitted."""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from application.decider import Batch
from domain import errors
from domain.job.commands import SubmitJob
from domain.job.events import JobRetried, JobSubmitted
from domain.job.values import Job, JobSpec
from domain.messages import Meta, topic_of
from domain.partition import (
    ChangePartition,
    DefinePartition,
    Partition,
    PartitionChanged,
    PartitionRemoved,
    RemovePartition,
    Terms,
    belongs,
    partition_stream,
)
from domain.wording import duration_text, listed, plural

_TERMS = frozenset({topic_of(PartitionChanged), topic_of(PartitionRemoved)})
_USERS = frozenset({topic_of(JobSubmitted), topic_of(JobRetried)})


def set_terms(batch: Batch, command: DefinePartition | ChangePartition, meta: Meta) -> None:
    """A partition gets its terms; the clients that it names are known."""
    for client_id in command.terms.clients:
        if batch.client(client_id) is None:
            raise errors.ClientNotFound(client_id=client_id)
    batch.do(command, meta)


def remove(batch: Batch, command: RemovePartition, meta: Meta) -> None:
    """A partition that no live job uses is removed: PartitionInUse names some that do."""
    batch.guards |= _USERS
    users = sorted({job.spec.job_id for job in _users(batch, command.partition)})
    if users:
        raise errors.PartitionInUse(
            partition=command.partition, jobs=f"{plural(len(users), 'job')} ({listed(users)})", job_ids=users
        )
    batch.do(command, meta)


def _users(batch: Batch, name: str) -> Iterator[Job]:
    """The jobs that have not ended, or of which something still runs, what was staged here included."""
    staged = [stream.state for stream in batch.streams.values() if isinstance(stream.state, Job)]
    known = {job.spec.job_id for job in staged}
    for job in (*staged, *(job for job_id, job in batch.farm.jobs.items() if job_id not in known)):
        if job.spec.requirement.partition == name and (job.ended is None or job.live):
            yield job


def admitted(batch: Batch, command: SubmitJob) -> SubmitJob:
    """The command with the walltime that its partition gives it; an error says why the partition does not take it.

    PartitionNotFound, PartitionForbids.
    """
    spec = command.spec
    name = spec.requirement.partition
    if not name:
        return command
    batch.guards |= _TERMS
    partition = partition_of(batch, name)
    if partition is None:
        raise errors.PartitionNotFound(_unknown(batch, spec), partition=name, job=spec.name)
    terms = partition.terms
    walltime_ms = terms.walltime_ms(spec.walltime_ms)
    problem = _problem(batch, spec, terms, walltime_ms)
    if problem is not None:
        raise errors.PartitionForbids(partition=name, problem=problem, job=spec.name)
    if walltime_ms == spec.walltime_ms:
        return command
    return replace(command, spec=replace(spec, walltime_ms=walltime_ms))


def partition_of(batch: Batch, name: str) -> Partition | None:
    """A partition as it stands, what was staged here included; None if there is none, or none any more."""
    staged = batch.streams.get(partition_stream(name))
    known: Partition | None = batch.farm.partitions.get(name) if staged is None else staged.state
    return None if known is None or known.removed else known


def _unknown(batch: Batch, spec: JobSpec) -> str:
    names = [name for name in sorted(batch.farm.partitions) if not batch.farm.partitions[name].removed]
    there = f"there are {listed(names)}" if names else "`milepost partition add` makes one"
    return f"there is no partition {spec.requirement.partition!r}; {there}"


def _problem(batch: Batch, spec: JobSpec, terms: Terms, walltime_ms: int | None) -> str | None:
    """What keeps a job out, and what would help; None if nothing does."""
    if not terms.admits(spec.client_id):
        others = _names(batch, lambda other: other.admits(spec.client_id))
        help_text = f"; {spec.client_id} may use {others}" if others else ""
        return f"it is for {listed(terms.clients)}, not for client {spec.client_id}{help_text}"
    if terms.max_walltime_ms is not None and walltime_ms is not None and walltime_ms > terms.max_walltime_ms:
        most_ms = terms.max_walltime_ms
        others = _names(
            batch,
            lambda other: other.admits(spec.client_id) and (other.max_walltime_ms or walltime_ms) >= walltime_ms,
        )
        help_text = f"; {others} would take it" if others else ""
        asked = f"a walltime of {duration_text(walltime_ms)} is longer than its longest, {duration_text(most_ms)}"
        return f"{asked}{help_text}"
    return None


def _names(batch: Batch, fits: Callable[[Terms], bool]) -> str:
    """The partitions that have nodes, and of which something is true."""
    nodes = batch.farm.nodes.values()
    known = [each for _, each in sorted(batch.farm.partitions.items()) if not each.removed and fits(each.terms)]
    return listed([each.partition for each in known if any(belongs(node, each.terms) for node in nodes)])
