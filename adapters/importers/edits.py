"""Sets of policies key by key: how two differ, and small changes written as `key=value`.

    order=edf   backfill=2   filters=suited,dedicated   energy.idle_after_s=600   filter.dedicated.attribute=team
    clients.studio.placement=spread   clients.studio.priority.ranks=2   tariff.price=0.3   tariff.utc_offset=+01:00

Values are written as in TOML, text without quotes too; nothing behind `=` means the default again.
"""

import difflib
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from adapters.importers import tariffs
from adapters.importers.policies import named
from domain.errors import BadInput
from domain.policies import FAMILIES, PER_CLIENT, ClientPolicies, Policies

ANSWERS = tuple(family for family in FAMILIES if family != "filter")
"""Families of which a set names one policy."""
TOP_KEYS = (*ANSWERS, "filters", "filter", "clients", "tariff")
TARIFF_KEYS = tuple(key for key in tariffs.KEYS if key != "windows")


class Difference(NamedTuple):
    """One key that is not the same in two sets; None where it is not said."""

    key: str
    before: Any
    after: Any


def differences(before: Policies, after: Policies) -> list[Difference]:
    """Where two sets differ, in the order of their keys; their numbers do not count."""
    old, new = flat(before), flat(after)
    keys = [*old, *(key for key in new if key not in old)]
    return [Difference(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def flat(policies: Policies) -> dict[str, Any]:
    """All that a set says, by key: answers, parameters behind them, those of clients, and the tariff."""
    found: dict[str, Any] = {}
    for family in ANSWERS:
        found[family] = getattr(policies, family)
        found |= _under(family, policies.parameters.get(family, {}))
    found["filters"] = list(policies.filters)
    for name, own in policies.parameters.get("filter", {}).items():
        found |= _under(f"filter.{name}", own)
    for client_id, client in policies.clients.items():
        for family in PER_CLIENT:
            if getattr(client, family) is not None:
                found[f"clients.{client_id}.{family}"] = getattr(client, family)
            found |= _under(f"clients.{client_id}.{family}", client.parameters.get(family, {}))
    return found | _under("tariff", tariffs.table_of(policies.tariff))


def _under(place: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{place}.{name}": value for name, value in values.items()}


# -- changes -------------------------------------------------------------------------------------------------------


def edited(policies: Policies, text: str) -> Policies:
    """The set with one `key=value` changed; BadInput says what is known. Whether it holds together, `check` says."""
    key, equals, written = text.partition("=")
    first, *rest = key.strip().split(".")
    if not equals or first not in TOP_KEYS:
        near = difflib.get_close_matches(first, TOP_KEYS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"keys begin with {', '.join(TOP_KEYS)}"
        raise BadInput(problem=f"{text[:60]!r} is no key=value of a set of policies; {hint}")
    value = _value(written.strip())
    if first == "filters" and not rest:
        return replace(policies, filters=_names(key, value))
    if first == "clients" and len(rest) in (2, 3):
        return _with_client(policies, key, rest, value)
    if first == "tariff" and len(rest) == 1:
        return _with_tariff(policies, key, rest[0], value)
    if first == "filter" and len(rest) == 2:
        return _with_filter(policies, rest[0], rest[1], value)
    if first in ANSWERS and not rest:
        return _with_answer(policies, first, value)
    if first in ANSWERS and len(rest) == 1:
        return replace(policies, parameters=_set(policies.parameters, first, rest[0], value))
    raise BadInput(problem=f"{key[:60]!r} is no key of a set of policies; {_form(first)}")


def _form(first: str) -> str:
    forms = {
        "filters": "write filters=NAME,NAME",
        "filter": "write filter.NAME.PARAMETER=VALUE",
        "clients": f"write clients.CLIENT.FAMILY=NAME, where families are {', '.join(PER_CLIENT)}",
        "tariff": f"known are {', '.join(f'tariff.{name}' for name in TARIFF_KEYS)}; windows come from a file",
    }
    return forms.get(first, f"write {first}=NAME or {first}.PARAMETER=VALUE")


def _value(written: str) -> Any:
    """As TOML reads it; what TOML cannot read is text. None for nothing."""
    if not written:
        return None
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        return written


def _name(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadInput(problem=f"{key}: {value!r} is no name")
    return value


def _names(key: str, value: Any) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else () if value is None else value
    if not isinstance(words, list | tuple):
        raise BadInput(problem=f"{key}: {value!r} is no list of names")
    return tuple(_name(key, word.strip() if isinstance(word, str) else word) for word in words)


def _with_answer(policies: Policies, family: str, value: Any) -> Policies:
    if value is None:
        value = getattr(Policies(), family)
    if family == "backfill" and isinstance(value, int) and not isinstance(value, bool):
        return named(policies, family, value)
    return named(policies, family, _name(family, value))


def _set(parameters: Mapping[str, dict[str, Any]], family: str, name: str, value: Any) -> dict[str, dict[str, Any]]:
    own = {key: old for key, old in parameters.get(family, {}).items() if key != name}
    if value is not None:
        own[name] = value
    others = {key: old for key, old in parameters.items() if key != family}
    return {**others, family: own} if own else others


def _with_filter(policies: Policies, filter_name: str, name: str, value: Any) -> Policies:
    own = _set(policies.parameters.get("filter", {}), filter_name, name, value)
    others = {key: old for key, old in policies.parameters.items() if key != "filter"}
    return replace(policies, parameters={**others, "filter": own} if own else others)


def _with_client(policies: Policies, key: str, rest: list[str], value: Any) -> Policies:
    client_id, family, *names = rest
    if family not in PER_CLIENT:
        raise BadInput(problem=f"{key[:60]}: {_form('clients')}")
    client = policies.clients.get(client_id, ClientPolicies())
    if names:
        client = replace(client, parameters=_set(client.parameters, family, names[0], value))
    else:
        answer = None if value is None else _name(key, value)
        parameters = {each: own for each, own in client.parameters.items() if each != family}
        client = replace(client, **{family: answer}, parameters=parameters)
    others = {each: own for each, own in policies.clients.items() if each != client_id}
    return replace(policies, clients=others if client == ClientPolicies() else {**others, client_id: client})


def _with_tariff(policies: Policies, key: str, name: str, value: Any) -> Policies:
    if name not in TARIFF_KEYS:
        raise BadInput(problem=f"{key[:60]}: {_form('tariff')}")
    table = {each: old for each, old in tariffs.table_of(policies.tariff).items() if each != name}
    return replace(policies, tariff=tariffs.read_tariff(table | ({} if value is None else {name: value}), "tariff."))


# -- what there is -------------------------------------------------------------------------------------------------


def parameters_of(kind: type[Any]) -> dict[str, Any]:
    """The parameters of a policy and their defaults, in their order; None for one without."""
    if not issubclass(kind, msgspec.Struct):
        return {}
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        made = field.default_factory is not msgspec.NODEFAULT
        default = field.default_factory() if made else field.default
        found[field.name] = None if default is msgspec.NODEFAULT else msgspec.to_builtins(default)
    return found


def differing(kind: type[Any] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the given parameters that are not as by default; all of them for a policy that is not known here."""
    usual = {} if kind is None else parameters_of(kind)
    return {name: value for name, value in given.items() if name not in usual or usual[name] != value}
