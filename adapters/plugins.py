"""Policies from other distributions: entry points of the group `milepost.policies`.

An entry point names a module, which registers its policies when it is imported, or a function without arguments, which
registers them when it is called. One that does not work is left out with a warning; the farm goes on without it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from domain.policies import (
    FAMILIES,
    Backfill,
    Energy,
    Estimate,
    Filter,
    Order,
    Placement,
    Preemption,
    PriorityRule,
    SharingPolicy,
)

GROUP = "milepost.policies"
MAX_SHOWN = 200
PROTOCOLS: dict[str, type[Any]] = {
    "order": Order,
    "priority": PriorityRule,
    "estimate": Estimate,
    "filter": Filter,
    "placement": Placement,
    "backfill": Backfill,
    "energy": Energy,
    "sharing": SharingPolicy,
    "preemption": Preemption,
}
"""What a policy of each family must have."""


class Plugin(NamedTuple):
    """One entry point."""

    name: str
    value: str
    """Where it points: `package.module` or `package.module:function`."""
    distribution: str
    load: Callable[[], object]


_loaded: set[tuple[str, str]] = set()
"""Name and value of every entry point that was tried in this process: each is, once."""


def load_plugins(warn: Callable[[str], None] | None = None) -> list[str]:
    """Loads what has not been loaded yet; the names of what could be. `warn` is told one line about each other one."""
    warn = warn or _warn
    working: list[str] = []
    for plugin in _found():
        if (plugin.name, plugin.value) not in _loaded:
            _loaded.add((plugin.name, plugin.value))
            problem = _try(plugin)
            if problem is None:
                working.append(plugin.name)
            else:
                warn(f"plug-in {plugin.name!r} of {plugin.distribution} ({plugin.value}) is left out: {problem}")
    return working


def _found() -> Sequence[Plugin]:
    """What is installed, by name."""
    from importlib import metadata  # noqa: PLC0415 (slow to load, and `--help` does without)

    found = {(entry.name, entry.value): entry for entry in metadata.entry_points(group=GROUP)}
    return [
        Plugin(entry.name, entry.value, entry.dist.name if entry.dist else "an unknown distribution", entry.load)
        for _, entry in sorted(found.items())
    ]


def _try(plugin: Plugin) -> str | None:
    """Loads one; what is wrong with it, or None. Of one that does not work nothing stays registered."""
    before = {family: dict(known) for family, known in FAMILIES.items()}
    problem = _load(plugin) or next(_lacking(before), None)
    if problem is not None:
        for family, known in FAMILIES.items():
            for name in known.keys() - before[family].keys():
                del known[name]
    return problem


def _lacking(before: dict[str, dict[str, type[Any]]]) -> Iterator[str]:
    """What each policy that was not known before lacks of its family's protocol."""
    for family, known in FAMILIES.items():
        protocol = PROTOCOLS[family]
        needed = [*protocol.__annotations__, *(name for name in vars(protocol) if not name.startswith("_"))]
        for name in sorted(known.keys() - before[family].keys()):
            missing = [member for member in needed if not hasattr(known[name], member)]
            if missing:
                yield f"{family} policy {name!r} has no `{missing[0]}`"


def _load(plugin: Plugin) -> str | None:
    try:
        loaded = plugin.load()
        if ":" in plugin.value:
            if not callable(loaded) or isinstance(loaded, type):
                return "it is neither a module nor a function"
            loaded()
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a stranger's code does, it is said, not hidden)
        text = " ".join(str(error).split())[:MAX_SHOWN]
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    return None


def _warn(text: str) -> None:
    print(f"milepost: warning: {text}", file=sys.stderr)
