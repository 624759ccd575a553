"""What waits for what, and workflows."""

from common.dependency_tracking import graph, tracker, workflow
from common.dependency_tracking.graph import *  # noqa: F403
from common.dependency_tracking.tracker import *  # noqa: F403
from common.dependency_tracking.workflow import *  # noqa: F403

__all__ = [*graph.__all__, *tracker.__all__, *workflow.__all__]
