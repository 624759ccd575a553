"""The rules that this package shares with the core, loaded with the first call that needs one.

A rule is a module of pure functions of numbers. The package it lies in also holds the policies of the core's planner,
which a caller who only builds models, or asks one part of a farm, never needs: so the module is loaded without them.
"""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import TYPE_CHECKING, Any

import domain

PACKAGE = "domain.policies"


class _Rules:
    """A module of rules that is not loaded before something of it is used."""

    def __init__(self, name: str) -> None:
        self._name = f"{PACKAGE}.{name}"

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(_loaded(self._name), attribute)
        setattr(self, attribute, value)  # the next look finds it at once
        return value


def _loaded(name: str) -> Any:
    """A module of the package, by itself as long as the package is not loaded."""
    package = None if PACKAGE in sys.modules else PathFinder.find_spec(PACKAGE, domain.__path__)
    if name in sys.modules or package is None:
        return import_module(name)
    spec = PathFinder.find_spec(name, package.submodule_search_locations)
    if spec is None or spec.loader is None:
        return import_module(name)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from domain.policies import displacement, lending, promotion, suitability, tariffs
else:
    displacement, lending, promotion = _Rules("displacement"), _Rules("lending"), _Rules("promotion")
    suitability, tariffs = _Rules("suitability"), _Rules("tariffs")

__all__ = ["displacement", "lending", "promotion", "suitability", "tariffs"]
