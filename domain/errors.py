"""Everything a caller can be told no for: two crossed trees, by entity and by what the caller can do.

Each error has a stable `code`; its docstring is the default message and says what, which id, and what would help.
Style after the crossed hierarchies of the Python `OSError` family: catch the entity, or catch the remedy.
"""

from typing import ClassVar


class TaskSchedulerError(Exception):
    """the scheduler cannot do that"""

    code: ClassVar[str] = "error"

    def __init__(self, message: str = "", **fields: object) -> None:
        self.fields = fields
        super().__init__(message or (type(self).__doc__ or "").format_map(_Fields(fields)))

    @property
    def message(self) -> str:
        """The text for a person."""
        return str(self.args[0])


class _Fields(dict[str, object]):
    """Lets a message name a field that was not given."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"


class NotFound(TaskSchedulerError):
    """there is nothing by that id; `milepost queue` and `milepost nodes` list what there is"""

    code = "not-found"


class NotAllowed(TaskSchedulerError):
    """the present state forbids that"""

    code = "not-allowed"


class Invalid(TaskSchedulerError):
    """that can never be right"""

    code = "invalid"


class Conflict(TaskSchedulerError):
    """somebody else changed it at the same moment; try again"""

    code = "conflict"


class JobError(TaskSchedulerError):
    """about a job"""


class NodeError(TaskSchedulerError):
    """about a node"""


class ResourceError(TaskSchedulerError):
    """about resources"""


class DependencyError(TaskSchedulerError):
    """about a dependency"""


class CheckpointError(TaskSchedulerError):
    """about a checkpoint"""


class ReservationError(TaskSchedulerError):
    """about a reservation"""


class ClientError(TaskSchedulerError):
    """about a client"""


class PartitionError(TaskSchedulerError):
    """about a partition"""


class WorkflowError(TaskSchedulerError):
    """about a workflow"""


class PolicyError(TaskSchedulerError):
    """about a policy"""


class CommandError(TaskSchedulerError):
    """about a command that was given before"""


class StoreError(TaskSchedulerError):
    """about the event store"""


class JobNotFound(JobError, NotFound):
    """there is no job {job_id!r}; `milepost queue --all` lists the jobs"""

    code = "job.not-found"


class JobExists(JobError, NotAllowed):
    """job {job_id!r} was submitted before with another content; give the new one another id"""

    code = "job.exists"


class JobEnded(JobError, NotAllowed):
    """job {job_id!r} has ended ({status}); {verb} needs a job that has not"""

    code = "job.ended"


class JobNotEnded(JobError, NotAllowed):
    """job {job_id!r} is {status}; {verb} needs a job that has ended"""

    code = "job.not-ended"


class NothingToRetry(JobError, NotAllowed):
    """job {job_id!r} is {status}; no task of it failed or was cancelled, so there is nothing to retry"""

    code = "job.nothing-to-retry"


class JobInvalid(JobError, Invalid):
    """job {job_id!r} cannot be accepted: {problem}"""

    code = "job.invalid"


class TasksNotWaiting(JobError, Conflict):
    """tasks {tasks} of job {job_id!r} are not all waiting; plan again"""

    code = "job.tasks-not-waiting"


class AttemptNotFound(JobError, NotFound):
    """job {job_id!r} has no live attempt {attempt}"""

    code = "job.attempt-not-found"


class JobProtected(JobError, NotAllowed):
    """attempt {attempt} of job {job_id!r} is protected by its contract; `milepost protect` changes that"""

    code = "job.protected"


class NothingToApprove(JobError, NotAllowed):
    """job {job_id!r} waits for nobody's approval: it was not submitted so"""

    code = "job.nothing-to-approve"


class RequirementImpossible(ResourceError, Invalid):
    """no node could ever run this: {problem}"""

    code = "resource.impossible"


class NodeNotFound(NodeError, NotFound):
    """there is no node {node_id!r}; `milepost nodes` lists the nodes"""

    code = "node.not-found"


class NodeStateForbids(NodeError, NotAllowed):
    """node {node_id!r} is {status}; {verb} is not possible now"""

    code = "node.state"


class NodeInvalid(NodeError, Invalid):
    """node {node_id!r} cannot be registered: {problem}"""

    code = "node.invalid"


class ClientNotFound(ClientError, NotFound):
    """there is no client {client_id!r}; `milepost client list` lists them, `milepost client add` makes one"""

    code = "client.not-found"


class ClientInvalid(ClientError, Invalid):
    """client {client_id!r} cannot be so: {problem}"""

    code = "client.invalid"


class ClientSuspended(ClientError, NotAllowed):
    """client {client_id!r} is suspended and cannot submit work"""

    code = "client.suspended"


class GuaranteesExceeded(ClientError, NotAllowed):
    """client {client_id!r} cannot be guaranteed {percent} %: together {total} % of the farm ({others})"""

    code = "client.guarantees-exceeded"


class PartitionNotFound(PartitionError, NotFound):
    """there is no partition {partition!r}; `milepost partition list` lists them, `milepost partition add` makes one"""

    code = "partition.not-found"


class PartitionInvalid(PartitionError, Invalid):
    """partition {partition!r} cannot be so: {problem}"""

    code = "partition.invalid"


class PartitionInUse(PartitionError, NotAllowed):
    """partition {partition!r} cannot be removed: it is used by {jobs}; cancel them, or wait until they have ended"""

    code = "partition.in-use"


class PartitionForbids(PartitionError, NotAllowed):
    """partition {partition!r} does not take this job: {problem}"""

    code = "partition.forbids"


class WorkflowNotFound(WorkflowError, NotFound):
    """there is no workflow {workflow_id!r}"""

    code = "workflow.not-found"


class WorkflowInvalid(WorkflowError, Invalid):
    """workflow {workflow_id!r} cannot be accepted: {problem}"""

    code = "workflow.invalid"


class WorkflowStateForbids(WorkflowError, NotAllowed):
    """workflow {workflow_id!r} is {status}; {verb} is not possible now"""

    code = "workflow.state"


class DependencyNotFound(DependencyError, NotFound):
    """there is no dependency {dependency_id!r}"""

    code = "dependency.not-found"


class DependencyCycle(DependencyError, Invalid):
    """{predecessor_id!r} cannot come before {successor_id!r}: the jobs would wait for each other ({path})"""

    code = "dependency.cycle"


class CheckpointNotFound(CheckpointError, NotFound):
    """there is no checkpoint {checkpoint_id!r}"""

    code = "checkpoint.not-found"


class CheckpointStateForbids(CheckpointError, NotAllowed):
    """checkpoint {checkpoint_id!r} is {state}; {verb} is not possible now"""

    code = "checkpoint.state"


class ReservationNotFound(ReservationError, NotFound):
    """there is no reservation {reservation_id!r}; `milepost reserve list --all` lists them"""

    code = "reservation.not-found"


class ReservationExists(ReservationError, NotAllowed):
    """reservation {reservation_id!r} was made before for something else; give the new one another id"""

    code = "reservation.exists"


class ReservationInvalid(ReservationError, Invalid):
    """reservation {reservation_id!r} cannot be made: {problem}"""

    code = "reservation.invalid"


class ReservationStateForbids(ReservationError, NotAllowed):
    """reservation {reservation_id!r} is {status}; {verb} is not possible now, {hint}"""

    code = "reservation.state"


class ReservationConflict(ReservationError, NotAllowed):
    """reservation {reservation_id!r} is in the way of others: {problem}"""

    code = "reservation.conflict"


class PolicyInvalid(PolicyError, Invalid):
    """the policies cannot be so: {problem}"""

    code = "policy.invalid"


class CommandNotFound(CommandError, NotFound):
    """no command {command_id!r} has changed anything here; `milepost audit` shows the ids of commands"""

    code = "command.not-found"


class NothingToUndo(CommandError, NotAllowed):
    """command {command_id!r} changed nothing, so there is nothing to undo"""

    code = "command.nothing-to-undo"


class UndoForbidden(CommandError, NotAllowed):
    """command {command_id!r} cannot be undone: {problem}"""

    code = "command.not-undoable"


class UndoOvertaken(CommandError, NotAllowed):
    """command {command_id!r} cannot be undone: {what} was changed again by {actor} at {at}; undo {by!r} first"""

    code = "command.overtaken"


class AlreadyUndone(CommandError, NotAllowed):
    """command {command_id!r} was undone already by {actor} at {at}; `milepost undo {undone_by}` does it again"""

    code = "command.already-undone"


class VersionConflict(StoreError, Conflict):
    """another writer was faster; load again and retry"""

    code = "store.version-conflict"


class PositionConflict(StoreError, Conflict):
    """an event after position {position} could change the decision; decide again"""

    code = "store.position-conflict"


class StoreLocked(StoreError, NotAllowed):
    """another process writes to the store in {path} (pid {pid}); talk to that server, or stop it first"""

    code = "store.locked"


class StoreNotFound(StoreError, NotFound):
    """there is no store in {path}; `milepost init` or `milepost serve` makes one"""

    code = "store.not-found"


class AmbiguousId(Invalid):
    """{prefix!r} is the beginning of several ids: {candidates}; type more of it"""

    code = "id.ambiguous"


class BadInput(Invalid):
    """{problem}"""

    code = "input.invalid"


class ExtraMissing(NotAllowed):
    """this needs the extra {extra!r}: install it with `pip install 'milepost[{extra}]'`"""

    code = "extra.missing"
