"""Functions of callers: registered by name once, and never able to leave anything half changed."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from common.core.exceptions import ConfigurationError

_log = logging.getLogger("common")
A = TypeVar("A")


def guarded(told: str, hook: Callable[..., A], *args: Any, instead: Callable[[], A]) -> A:
    """What a caller's function says; if it raises, that is logged as `told` and the built-in answer is used."""
    try:
        return hook(*args)
    except Exception:  # noqa: BLE001 (a stranger's code may raise anything; it is logged with its trace)
        _log.exception("%s failed; the built-in rule is used", told)
        return instead()


def enter(registry: dict[str, Any], name: str, hook: Any, kind: str) -> None:
    """Registers a hook; ConfigurationError for a name that is taken."""
    if name in registry:
        raise ConfigurationError(f"{kind} {name!r} is registered already")
    registry[name] = hook


def found(registry: Mapping[str, Any], name: str, kind: str) -> Any:
    """A registered hook; ConfigurationError with the known names for any other."""
    if name not in registry:
        raise ConfigurationError(f"there is no {kind} {name!r}; known are {', '.join(sorted(registry))}")
    return registry[name]
