"""Models, interfaces, utilities and exceptions of the library, each loaded with the first look at one of its names."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.core.exceptions import *  # noqa: F403
    from common.core.interfaces import *  # noqa: F403
    from common.core.models import *  # noqa: F403
    from common.core.utils import *  # noqa: F403

_MODULES = ("common.core.models", "common.core.interfaces", "common.core.utils", "common.core.exceptions")


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return [each for module in _MODULES for each in import_module(module).__all__]
    if not name.startswith("_"):
        for module in _MODULES:
            if name in import_module(module).__all__:
                return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
