"""Sets of policies as files: TOML or JSON, as the name of the file ends; a file says what differs from a base.

order = "wfp3"
backfill = 2                    # or none, greedy, easy, conservative: how many blocked jobs hold a reservation

[parameters.priority]
days = 3

[clients.studio]
placement = "spread"

[tariff]                        # see `adapters.importers.tariffs`
price = 0.30
"""

import difflib
from collections.abc import Collection
from pathlib import Path

import msgspec
from msgspec.structs import replace

import domain.policies.builtin  # noqa: F401  (makes the built-in policies known by name)
from adapters.importers import tariffs
from adapters.importers.tables import Table, read_table, write_table
from adapters.settings import DEPTH, MAX_RESERVATIONS, RESERVATIONS
from domain.errors import BadInput, PolicyInvalid
from domain.policies import ClientPolicies, Policies


def load_policies(path: Path, base: Policies | None = None) -> Policies:
    """The policies that a file describes, checked; BadInput names the file, the key, and what is known.

    What the file does not say is as in `base`, or else as a new farm has it.
    """
    found = read_table(path)
    if not isinstance(found, dict):
        raise BadInput(problem=f"{path}: not a table of keys and values")
    try:
        return read_policies(found, base or Policies())
    except (BadInput, PolicyInvalid) as error:
        raise BadInput(problem=f"{path}: {error.fields.get('problem', error.message)}") from error


def read_policies(found: Table, base: Policies) -> Policies:
    """The policies that a table describes; BadInput or PolicyInvalid says what is wrong with it."""
    _refuse_unknown(found, Policies, "")
    clients = found.get("clients", {})
    for client_id, own in clients.items() if isinstance(clients, dict) else ():
        if isinstance(own, dict):
            _refuse_unknown(own, ClientPolicies, f"clients.{client_id}.")
    policies = _over(_converted(_with_tariff(_with_depth(found))), found.keys(), base)
    policies.check()
    return policies


def _with_tariff(found: Table) -> Table:
    """The table with the tariff in the farm's own words."""
    if "tariff" not in found:
        return found
    return found | {"tariff": msgspec.to_builtins(tariffs.read_tariff(found["tariff"], "tariff."))}


def _with_depth(found: Table) -> Table:
    """The table with a number for `backfill` written out."""
    depth = found.get("backfill", "")
    if not isinstance(depth, int):
        return found
    parameters = found.get("parameters", {})
    if not isinstance(parameters, dict) or "backfill" in parameters:
        raise BadInput(problem="backfill: a number stands for `depth` with so many reservations; it has no parameters")
    return found | {"backfill": DEPTH, "parameters": parameters | {"backfill": {RESERVATIONS: _reservations(depth)}}}


def _reservations(number: int) -> int:
    if isinstance(number, bool) or not 1 <= number <= MAX_RESERVATIONS:
        problem = (
            f"backfill: {number} is no number of reservations (1 to {MAX_RESERVATIONS:,}), nor one of none, greedy"
        )
        raise BadInput(problem=f"{problem}, easy, conservative")
    return number


def named(policies: Policies, family: str, name: str | int) -> Policies:
    """The same policies with another answer for one family, which keeps parameters only if its name stays.

    A whole number for `backfill` is how many blocked jobs hold a reservation.
    """
    parameters = dict(policies.parameters)
    if isinstance(name, int):
        parameters[family] = {RESERVATIONS: _reservations(name)}
        return replace(policies, **{family: DEPTH}, parameters=parameters)
    if getattr(policies, family) != name:
        parameters.pop(family, None)
    return replace(policies, **{family: name}, parameters=parameters)


def dump_policies(policies: Policies, path: Path) -> None:
    """Writes a file that `load_policies` reads as the same policies, whatever the base; BadInput for what it cannot."""
    write_table(path, table_of(policies) | {"tariff": tariffs.table_of(policies.tariff)})


def table_of(policies: Policies) -> Table:
    """All fields, those that are as by default too: what a file leaves out is the reader's to decide."""
    table: Table = {name: msgspec.to_builtins(getattr(policies, name)) for name in Policies.__struct_fields__}
    return table


def _refuse_unknown(found: Table, kind: type[msgspec.Struct], place: str) -> None:
    known = kind.__struct_fields__
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise BadInput(problem=f"there is no key {place + key!r}; {hint}")


def _converted(given: Table) -> Policies:
    try:
        return msgspec.convert(given, Policies)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at ")
        key = where.strip("`").removeprefix("$").removeprefix(".")
        raise BadInput(problem=f"{key or 'the whole file'}: {problem[:1].lower()}{problem[1:]}") from error


def _over(policies: Policies, given: Collection[str], base: Policies) -> Policies:
    """What is given, and of the rest what the base has; an answer that is given has no parameters but those given."""
    fields = {name: getattr(policies if name in given else base, name) for name in Policies.__struct_fields__}
    renamed = {"filter" if name == "filters" else name for name in given}
    kept = {family: own for family, own in base.parameters.items() if family not in renamed}
    return Policies(**fields | {"parameters": kept | policies.parameters})
