"""The words of the library. All members equal, hash and order like their text, which is the lower-case name."""

from enum import Enum


class JobStatus(str, Enum):
    """Where a job stands."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NodeStatus(str, Enum):
    """Where a node stands."""

    ONLINE = "online"
    OFFLINE = "offline"
    MAINTENANCE = "maintenance"
    ERROR = "error"
    STARTING = "starting"
    STOPPING = "stopping"


class Priority(str, Enum):
    """How urgent a job is; levels are compared by rank (`common.core.ranks`), never by text."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ResourceType(str, Enum):
    """What a job needs and a node has."""

    CPU = "cpu"
    GPU = "gpu"
    MEMORY = "memory"
    STORAGE = "storage"
    NETWORK = "network"
    SPECIALIZED = "specialized"


class DependencyType(str, Enum):
    """What a successor waits for."""

    SEQUENTIAL = "sequential"
    DATA = "data"
    RESOURCE = "resource"
    CONDITIONAL = "conditional"
    TEMPORAL = "temporal"


class DependencyState(str, Enum):
    """Whether a successor still waits."""

    PENDING = "pending"
    SATISFIED = "satisfied"
    FAILED = "failed"
    BYPASSED = "bypassed"


class CheckpointType(str, Enum):
    """What a checkpoint is relative to."""

    FULL = "full"
    INCREMENTAL = "incremental"
    DELTA = "delta"
    METADATA = "metadata"


class LogLevel(str, Enum):
    """How much an entry of the audit matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class CheckpointStatus(str, Enum):
    """Whether a checkpoint can be used."""

    PENDING = "pending"
    CREATING = "creating"
    COMPLETE = "complete"
    VERIFIED = "verified"
    FAILED = "failed"
    RESTORING = "restoring"
    RESTORED = "restored"
    ARCHIVED = "archived"
    DELETED = "deleted"


class GraphNodeType(str, Enum):
    """What a node of a dependency graph stands for."""

    JOB = "job"
    STAGE = "stage"
    GROUP = "group"
    RESOURCE = "resource"
    SIMULATION = "simulation"
    EXTERNAL = "external"


class TransitionTrigger(str, Enum):
    """What lets a transition rule fire."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"
    TIME_BASED = "time_based"
    CONDITION_BASED = "condition_based"
    DATA_DRIVEN = "data_driven"


class WorkflowTemplateType(str, Enum):
    """The shape of a workflow."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"
    DAG = "dag"
    CONDITIONAL = "conditional"
    ITERATIVE = "iterative"


class WorkflowNodeType(str, Enum):
    """The part that a stage plays in its workflow."""

    STAGE = "stage"
    START = "start"
    END = "end"
    FORK = "fork"
    JOIN = "join"
    DECISION = "decision"
    LOOP = "loop"
    CHECKPOINT = "checkpoint"


class WorkflowTransitionType(str, Enum):
    """When a transition between stages is taken."""

    NORMAL = "normal"
    CONDITIONAL = "conditional"
    ERROR = "error"
    LOOP = "loop"


class QueuePolicy(str, Enum):
    """In which order a queue hands out its jobs."""

    FIFO = "fifo"
    PRIORITY = "priority"
    FAIR = "fair"
    DEADLINE = "deadline"
    WEIGHTED = "weighted"


class FairnessMetric(str, Enum):
    """By what the use of an owner is measured."""

    CPU_TIME = "cpu_time"
    WAIT_TIME = "wait_time"
    JOB_COUNT = "job_count"
    RESOURCE_SHARE = "resource_share"
    WEIGHTED = "weighted"


class PreemptionTrigger(str, Enum):
    """Why a running job would have to give way."""

    HIGHER_PRIORITY = "higher_priority"
    MAINTENANCE = "maintenance"
    RESOURCE_SHORTAGE = "resource_shortage"
    FAIRNESS = "fairness"
    ADMIN = "admin"
    DEADLINE = "deadline"


class PreemptionAction(str, Enum):
    """What becomes of a job that gives way."""

    CHECKPOINT_AND_STOP = "checkpoint_and_stop"
    MIGRATE = "migrate"
    REQUEUE = "requeue"
    CONTINUE_LIMITED = "continue_limited"
    CANCEL = "cancel"


class PriorityPolicy(str, Enum):
    """Which rules change priorities."""

    STATIC = "static"
    DEADLINE = "deadline"
    INHERITANCE = "inheritance"
    AGING = "aging"
    FAIRNESS = "fairness"
    WEIGHTED = "weighted"


class PriorityInheritanceMode(str, Enum):
    """Along which direction of dependencies urgency is handed on."""

    NONE = "none"
    PARENTS_TO_CHILDREN = "parents_to_children"
    CHILDREN_TO_PARENTS = "children_to_parents"
    BIDIRECTIONAL = "bidirectional"


class AllocationStrategy(str, Enum):
    """Which of several suitable nodes an allocation takes."""

    FAIR_SHARE = "fair_share"
    PRIORITY_BASED = "priority_based"
    DEADLINE_FIRST = "deadline_first"
    RESOURCE_EFFICIENT = "resource_efficient"
    ENERGY_EFFICIENT = "energy_efficient"


class PartitioningPolicy(str, Enum):
    """How the farm is divided among owners."""

    FIXED = "fixed"
    DYNAMIC = "dynamic"
    WEIGHTED = "weighted"
    PROPORTIONAL = "proportional"
    ADAPTIVE = "adaptive"


class BorrowingPolicy(str, Enum):
    """When an owner may use another's share."""

    NONE = "none"
    THRESHOLD = "threshold"
    PERMISSION = "permission"
    PRIORITY = "priority"
    UNRESTRICTED = "unrestricted"


class ForecastMethod(str, Enum):
    """How future use is predicted."""

    MOVING_AVERAGE = "moving_average"
    WEIGHTED_AVERAGE = "weighted_average"
    EXPONENTIAL = "exponential"
    LINEAR_REGRESSION = "linear_regression"
    CUSTOM = "custom"


class FailureType(str, Enum):
    """What went wrong."""

    NODE_OFFLINE = "node_offline"
    NODE_TIMEOUT = "node_timeout"
    JOB_TIMEOUT = "job_timeout"
    JOB_ERROR = "job_error"
    RESOURCE_EXHAUSTION = "resource_exhaustion"
    DATA_CORRUPTION = "data_corruption"
    DEPENDENCY_FAILURE = "dependency_failure"
    NETWORK_FAILURE = "network_failure"
    SYSTEM_FAILURE = "system_failure"


class FailureLevel(str, Enum):
    """How bad it is."""

    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class RecoveryAction(str, Enum):
    """What is done about a failure."""

    RESTART_JOB = "restart_job"
    RESTORE_CHECKPOINT = "restore_checkpoint"
    RESCHEDULE = "reschedule"
    PREEMPT = "preempt"
    RETRY = "retry"
    SKIP = "skip"
    ABORT = "abort"
    MANUAL = "manual"
