"""What policies there are in this installation: those built in and those of plug-ins, with what they take."""

import difflib
import inspect
from typing import Any

from adapters.importers.edits import parameters_of
from adapters.plugins import load_plugins
from domain.errors import BadInput
from domain.policies import FAMILIES

BUILT_IN = "domain."


def catalog(family: str | None = None) -> list[dict[str, Any]]:
    """One entry for each policy, by family and name; BadInput for a family that there is not."""
    load_plugins()
    if family is not None and family not in FAMILIES:
        near = difflib.get_close_matches(family, FAMILIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(FAMILIES)}"
        raise BadInput(problem=f"there is no family of policies {family[:40]!r}; {hint}")
    chosen = FAMILIES if family is None else {family: FAMILIES[family]}
    return [_entry(name, known, kinds[known]) for name, kinds in chosen.items() for known in sorted(kinds)]


def _entry(family: str, name: str, kind: type[Any]) -> dict[str, Any]:
    return {
        "family": family,
        "name": name,
        "brief": (inspect.getdoc(kind) or "").partition("\n")[0],
        "parameters": parameters_of(kind),
        "plugin": "" if kind.__module__.startswith(BUILT_IN) else kind.__module__,
    }
