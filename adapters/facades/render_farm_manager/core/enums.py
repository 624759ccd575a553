"""The words of the render farm. A member equals, hashes and orders like its text."""

from enum import Enum


class JobPriority(str, Enum):
    """How urgent a job is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ServiceTier(str, Enum):
    """What a client pays for."""

    BASIC = "basic"
    STANDARD = "standard"
    PREMIUM = "premium"


class NodeType(str, Enum):
    """What a node is made for."""

    CPU = "cpu"
    GPU = "gpu"
    HYBRID = "hybrid"
    SPECIALIZED = "specialized"


class LogLevel(str, Enum):
    """How grave an audit entry is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class RenderJobStatus(str, Enum):
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


class EnergyMode(str, Enum):
    """How much speed is traded for energy."""

    PERFORMANCE = "performance"
    BALANCED = "balanced"
    EFFICIENCY = "efficiency"
    NIGHT_SAVINGS = "night_savings"
