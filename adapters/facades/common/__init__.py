"""The library that render farms and simulation clusters share, over an event-sourced scheduling core.

Names are loaded with the first look at them, so that importing a part of the library loads no other.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.core import *  # noqa: F403
    from common.dependency_tracking.graph import DependencyGraph  # noqa: F401
    from common.dependency_tracking.tracker import DependencyTracker  # noqa: F401
    from common.dependency_tracking.workflow import WorkflowManager  # noqa: F401
    from common.failure_resilience import *  # noqa: F403
    from common.job_management import *  # noqa: F403
    from common.resource_management import *  # noqa: F403

__version__ = "0.1.0"
_PACKAGES = ("common.core", "common.failure_resilience", "common.job_management", "common.resource_management")
_SINGLE = {
    "DependencyGraph": "common.dependency_tracking.graph",
    "DependencyTracker": "common.dependency_tracking.tracker",
    "WorkflowManager": "common.dependency_tracking.workflow",
}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return [*(each for package in _PACKAGES for each in import_module(package).__all__), *_SINGLE]
    if name in _SINGLE:
        return getattr(import_module(_SINGLE[name]), name)
    if not name.startswith("_"):
        for package in _PACKAGES:
            if name in import_module(package).__all__:
                return getattr(import_module(package), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
