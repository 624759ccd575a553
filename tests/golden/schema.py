"""The frozen shape of what is stored: topics, fields, types, defaults; and how it may change, which is to grow."""

from typing import Any

import msgspec

from adapters.store.upcasts import UPCASTS
from domain.catalog import TOPICS
from domain.messages import Meta
from tests.golden.lines import FOLDER

FILE = FOLDER / "schema.json"
Shape = dict[str, Any]


def present() -> Shape:
    """The shape of all events and of the metadata, as the code has it now: JSON Schema without references or prose."""
    kinds = [Meta, *TOPICS.values()]
    shapes, definitions = msgspec.json.schema_components(kinds, ref_template="{name}")
    plain = [_inlined(shape, definitions) for shape in shapes]
    now = {"meta": plain[0], "events": dict(sorted(zip(TOPICS, plain[1:], strict=True)))}
    shape: Shape = msgspec.json.decode(msgspec.json.encode(now))  # as it looks when it was written down
    return shape


def _inlined(shape: Any, definitions: Shape) -> Any:
    """Names of classes are not stored, so the frozen shape does without them."""
    if isinstance(shape, list):
        return [_inlined(each, definitions) for each in shape]
    if not isinstance(shape, dict):
        return shape
    rest = {key: _inlined(value, definitions) for key, value in shape.items() if key not in ("$ref", *PROSE)}
    return _inlined(definitions[shape["$ref"]], definitions) | rest if "$ref" in shape else rest


PROSE = ("title", "description")


def frozen() -> Shape:
    """The shape that was written down."""
    shape: Shape = msgspec.json.decode(FILE.read_bytes())
    return shape


def broken(before: Shape, after: Shape) -> list[str]:
    """What of the frozen shape is not so any more; new topics and new fields with defaults break nothing."""
    problems = _broken(before["meta"], after["meta"], "meta")
    for topic, shape in before["events"].items():
        if topic in after["events"]:
            problems += _broken(shape, after["events"][topic], topic)
        elif topic not in UPCASTS:
            problems.append(f"{topic}: it is gone, and nothing reads it in today's shape")
    return problems


def _broken(before: Any, after: Any, where: str) -> list[str]:
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [] if before == after else [f"{where}: {before} has become {after}"]
    problems = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if key == "properties":
            problems += _broken_fields(old, new, where)
        elif key == "required":
            problems += _broken_required(old or [], new or [], before, where)
        elif key == "enum" and isinstance(old, list) and isinstance(new, list):
            problems += [f"{where}: the value {value!r} is gone" for value in old if value not in new]
        elif key in ("anyOf", "prefixItems") and isinstance(old, list) and isinstance(new, list):
            problems += _broken_items(old, new, f"{where}.{key}")
        else:
            problems += _broken(old, new, f"{where}.{key}")
    return problems


def _broken_fields(before: Shape, after: Shape, where: str) -> list[str]:
    problems = [f"{where}: the field {name} is gone" for name in before if name not in after]
    for name in before.keys() & after.keys():
        problems += _broken(before[name], after[name], f"{where}.{name}")
    return sorted(problems)


def _broken_required(before: list[str], after: list[str], shape: Shape, where: str) -> list[str]:
    fresh = [name for name in after if name not in shape["properties"]]
    problems = [f"{where}: the new field {name} needs a default, or old events cannot be read" for name in fresh]
    if sorted(before) != sorted(name for name in after if name not in fresh):
        problems.append(f"{where}: the fields without a default were {before} and are {after}")
    return problems


def _broken_items(before: list[Any], after: list[Any], where: str) -> list[str]:
    if len(before) != len(after):
        return [f"{where}: {len(before)} choices have become {len(after)}"]
    return [
        p for n, (old, new) in enumerate(zip(before, after, strict=True)) for p in _broken(old, new, f"{where}.{n}")
    ]
