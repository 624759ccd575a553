"""What a question is answered with: one frozen Struct per answer, whose JSON is the same at every door.

Every field is always there. Times are milliseconds since 1970-01-01 UTC and None where it has not come to that; amounts
are integers in the unit of their name. `position` is the log position that an answer is true for.
"""

from adapters.queries.answers.farm import (
    ClientLine,
    ClientsAnswer,
    ClientUseAnswer,
    CurvePoint,
    NodeLine,
    NodesAnswer,
    NodeUseAnswer,
    ServerLine,
    StatusAnswer,
    UtilizationAnswer,
    WorkflowAnswer,
    WorkflowLine,
    WorkflowsAnswer,
)
from adapters.queries.answers.history import (
    AuditAnswer,
    AuditLine,
    EventLine,
    EventsAnswer,
    ResolveAnswer,
    StoryAnswer,
    StoryLine,
)
from adapters.queries.answers.jobs import (
    AttemptAnswer,
    CheckpointAnswer,
    DependencyAnswer,
    ExplainAnswer,
    FailureAnswer,
    JobAnswer,
    JobLine,
    LogAnswer,
    PlacementAnswer,
    QueueAnswer,
    TaskSets,
    WaitAnswer,
    WaitedAnswer,
)
from adapters.queries.answers.outlook import OutlookAnswer
from adapters.queries.answers.parts import (
    Answer,
    ReasonAnswer,
    RequirementAnswer,
    ResourcesAnswer,
)

__all__ = [
    "Answer",
    "AttemptAnswer",
    "AuditAnswer",
    "AuditLine",
    "CheckpointAnswer",
    "ClientLine",
    "ClientUseAnswer",
    "ClientsAnswer",
    "CurvePoint",
    "DependencyAnswer",
    "EventLine",
    "EventsAnswer",
    "ExplainAnswer",
    "FailureAnswer",
    "JobAnswer",
    "JobLine",
    "LogAnswer",
    "NodeLine",
    "NodeUseAnswer",
    "NodesAnswer",
    "OutlookAnswer",
    "PlacementAnswer",
    "QueueAnswer",
    "ReasonAnswer",
    "RequirementAnswer",
    "ResolveAnswer",
    "ResourcesAnswer",
    "ServerLine",
    "StatusAnswer",
    "StoryAnswer",
    "StoryLine",
    "TaskSets",
    "UtilizationAnswer",
    "WaitAnswer",
    "WaitedAnswer",
    "WorkflowAnswer",
    "WorkflowLine",
    "WorkflowsAnswer",
]
