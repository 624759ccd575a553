"""What can go wrong. The tree is the core's: catching a base catches every error below it, the core's own included."""

import builtins

from domain.errors import (
    CheckpointError,
    Conflict,
    DependencyError,
    Invalid,
    NodeError,
    NotAllowed,
    NotFound,
    ResourceError,
    TaskSchedulerError,
)
from domain.errors import JobError as SchedulingError


class ResourceNotAvailableError(ResourceError, Conflict):
    """the resource is not available now"""

    code = "resource.not-available"


class ResourceExceededError(ResourceError, NotAllowed):
    """that is more than the limit of the resource"""

    code = "resource.exceeded"


class CyclicDependencyError(DependencyError, Invalid):
    """the jobs would wait for each other"""

    code = "dependency.cycle"


class DependencyNotFoundError(DependencyError, NotFound):
    """there is no such dependency"""

    code = "dependency.not-found"


class DeadlineMissedError(SchedulingError, Conflict):
    """the deadline cannot be met"""

    code = "job.deadline-missed"


class PreemptionNotAllowedError(SchedulingError, NotAllowed):
    """the job does not give way"""

    code = "job.preemption-not-allowed"


class CheckpointCreationError(CheckpointError, Conflict):
    """the checkpoint could not be taken"""

    code = "checkpoint.creation"


class CheckpointRestoreError(CheckpointError, Conflict):
    """nothing could be restored from the checkpoint"""

    code = "checkpoint.restore"


class CheckpointNotFoundError(CheckpointError, NotFound):
    """there is no such checkpoint"""

    code = "checkpoint.not-found"


class ValidationError(Invalid, ValueError):
    """the value is not valid"""

    code = "invalid"


class AuthorizationError(NotAllowed):
    """that is not allowed for this owner"""

    code = "not-authorized"


class ConfigurationError(Invalid):
    """the configuration cannot be so"""

    code = "configuration.invalid"


class TimeoutError(Conflict, builtins.TimeoutError):
    """it took longer than allowed"""

    code = "timeout"


class NodeOfflineError(NodeError, Conflict):
    """the node is offline"""

    code = "node.offline"


class NodeMaintenanceError(NodeError, NotAllowed):
    """the node is in maintenance"""

    code = "node.maintenance"


class NodeCapacityError(NodeError, Conflict):
    """the node has no room for that"""

    code = "node.capacity"


class ResultError(Invalid, ValueError):
    """the result holds an error, not a value"""

    code = "result.error"


__all__ = [
    "AuthorizationError",
    "CheckpointCreationError",
    "CheckpointError",
    "CheckpointNotFoundError",
    "CheckpointRestoreError",
    "ConfigurationError",
    "CyclicDependencyError",
    "DeadlineMissedError",
    "DependencyError",
    "DependencyNotFoundError",
    "NodeCapacityError",
    "NodeError",
    "NodeMaintenanceError",
    "NodeOfflineError",
    "PreemptionNotAllowedError",
    "ResourceError",
    "ResourceExceededError",
    "ResourceNotAvailableError",
    "ResultError",
    "SchedulingError",
    "TaskSchedulerError",
    "TimeoutError",
    "ValidationError",
]
